//! Producer state as the partition's writer uses it: folded from batch headers, answered to
//! clients in error codes.

use bytes::Bytes;
use kafka_protocol::ResponseError;
use tracing::warn;

use crate::chaos::seeded_bug::BugSet;
use crate::log::{BatchHeader, LogSnapshot, batch};
use crate::producer::state::{ProducerStates, SequencedBatch, Verdict};

/// What the producer state wants to know of a batch; `None` if no idempotent producer sent it.
pub(super) fn sequenced(header: &BatchHeader) -> Option<SequencedBatch> {
    header.is_idempotent().then(|| SequencedBatch {
        producer_id: header.producer_id,
        producer_epoch: header.producer_epoch,
        base_sequence: header.base_sequence,
        records: header.last_offset_delta.saturating_add(1),
        max_timestamp_ms: header.max_timestamp,
    })
}

/// Invariant I19: the state of producers is a fold over the log.
pub(super) fn fold_producers(log: &LogSnapshot, bugs: BugSet) -> ProducerStates {
    let stored = ProducerStates::restore(log.producers());
    let stored = stored.unwrap_or_else(|| ProducerStates::for_log_starting_at(log.log_start()));
    let mut producers = stored.with_bugs(bugs);
    for header in log.headers(log.log_start()) {
        match header {
            Ok(header) => {
                if let Some(batch) = sequenced(&header) {
                    producers.fold(&batch, header.base_offset);
                }
            }
            Err(error) => {
                let partition = log.topic_partition();
                warn!(%partition, %error, "producers are known only as far as the log is readable");
                break;
            }
        }
    }
    producers
}

/// Folds batches that were just appended.
pub(super) fn fold_batches(producers: &mut ProducerStates, records: &Bytes) {
    for header in batch::headers(records).map_while(Result::ok) {
        if let Some(batch) = sequenced(&header) {
            producers.fold(&batch, header.base_offset);
        }
    }
}

pub(super) fn sequence_error(verdict: &Verdict) -> (ResponseError, String) {
    match verdict {
        Verdict::OutOfOrderSequence { expected } => (
            ResponseError::OutOfOrderSequenceNumber,
            format!("out of order: the producer's next sequence number here is {expected}"),
        ),
        Verdict::InvalidProducerEpoch { current } => (
            ResponseError::InvalidProducerEpoch,
            format!("a newer incarnation of this producer, epoch {current}, has written"),
        ),
        Verdict::Malformed | Verdict::Accept | Verdict::Duplicate(_) => (
            ResponseError::InvalidRecord,
            "the batch's producer epoch, sequence number or record count is invalid".to_owned(),
        ),
    }
}
