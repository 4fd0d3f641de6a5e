//! What the WAL's records say of all partitions: the fold that recovery, the committer and
//! `dump` share.
//!
//! The running broker has two folds of the same records: each partition's own, in the hands of its
//! writer, which is ahead by what is not held yet; and this one, in the hands of the committer,
//! which at any time is what recovery would find. Checkpoints are made from it, and it says which
//! WAL files hold nothing that lives.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::frame::Record;
use super::partition_state::{Break, PartitionState, Relocation};
use super::recovery::batches_at;
use crate::types::{Lsn, TopicId, TopicPartition};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub partitions: BTreeMap<TopicPartition, PartitionState>,
    /// Topics that are gone for good: their records are passed over.
    pub deleted: BTreeSet<TopicId>,
}

impl Ledger {
    pub const fn of(
        partitions: BTreeMap<TopicPartition, PartitionState>,
        deleted: BTreeSet<TopicId>,
    ) -> Self {
        Self {
            partitions,
            deleted,
        }
    }

    /// The same for another writer.
    pub fn fork(&self) -> Self {
        let fork = |(tp, state): (&TopicPartition, &PartitionState)| (*tp, state.fork());
        Self {
            partitions: self.partitions.iter().map(fork).collect(),
            deleted: self.deleted.clone(),
        }
    }

    /// Bytes of all batches that are in a log.
    pub fn live_bytes(&self) -> u64 {
        self.partitions.values().map(|s| s.index.bytes()).sum()
    }

    /// The lowest LSN of a batch that is in a log.
    pub fn lowest(&self) -> Option<Lsn> {
        self.partitions
            .values()
            .flat_map(|state| state.index.iter_from(0).map(|extent| extent.lsn))
            .min()
    }

    /// Takes in the record at `lsn`. What contradicts the records before it is said in words.
    /// Returns what was moved.
    pub fn fold(&mut self, lsn: Lsn, record: Record<'_>) -> Result<Vec<Relocation>, String> {
        let Self {
            partitions,
            deleted,
        } = self;
        match record {
            Record::Append { tp, batches } if !deleted.contains(&tp.topic) => {
                let state = partitions.entry(tp).or_default();
                state
                    .check(batches)
                    .map_err(|broken| explain(tp, state, broken))?;
                state.append(batches_at(lsn), batches, None);
            }
            Record::Moved { tp, batches } => {
                if let Some(state) = partitions.get_mut(&tp) {
                    return Ok(state.moved(batches_at(lsn), batches));
                }
            }
            Record::Truncate { tp, to, kept } if !deleted.contains(&tp.topic) => {
                let state = partitions.entry(tp).or_default();
                state
                    .truncate(to, kept)
                    .map_err(|reason| format!("{tp}: {reason}"))?;
            }
            Record::Restart { tp, at } if !deleted.contains(&tp.topic) => {
                partitions.entry(tp).or_default().restart(at);
            }
            Record::LogStart { tp, to, producers } if !deleted.contains(&tp.topic) => {
                let producers = Bytes::copy_from_slice(producers);
                let state = partitions.entry(tp).or_default();
                state.advance_log_start(to, producers);
            }
            Record::DeleteTopic { topic } => {
                partitions.retain(|tp, _| tp.topic != topic);
                deleted.insert(topic);
            }
            Record::HighWatermarks(all) => {
                for (tp, high_watermark) in all {
                    if let Some(state) = partitions.get_mut(&tp) {
                        state.high_watermark = high_watermark.max(state.log_start).min(state.end);
                    }
                }
            }
            Record::Append { .. }
            | Record::Truncate { .. }
            | Record::Restart { .. }
            | Record::LogStart { .. }
            | Record::Checkpoint(_) => {}
        }
        Ok(Vec::new())
    }
}

fn explain(tp: TopicPartition, state: &PartitionState, broken: Break) -> String {
    match broken {
        Break::Batch(error) => format!("{tp}: {error}"),
        Break::Gap(found) => {
            format!(
                "{tp}: records at offset {found} after a log that ends at {}",
                state.end
            )
        }
        Break::EpochGoesBack(found) => format!("{tp}: a batch of epoch {found} after a later one"),
    }
}
