//! InitProducerId (22): a producer id for an idempotent producer. It is new each time and its
//! epoch is 0; a producer that wants another epoch counts it up by itself (KIP-360).
//!
//! Version notes: v2 is flexible, v3 may name the producer's current id and epoch, which only
//! matters with a transactional id. Transactions are refused.
//!
//! While this broker's disk is full the answer is KAFKA_STORAGE_ERROR, which clients retry.

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};

use crate::api::{Context, Pending, encode, ready};

/// For a block of ids from the controller; clients retry.
const PATIENCE: Duration = Duration::from_secs(5);

/// Answers with an id that nobody else has.
#[must_use]
pub fn handle(ctx: &Arc<Context>, version: i16, request: InitProducerIdRequest) -> Pending {
    if let Some(transactional_id) = request.transactional_id {
        let id = &**transactional_id;
        tracing::debug!(
            id,
            "refused a transactional producer: there are no transactions"
        );
        return ready(encode(&refusal(ResponseError::InvalidRequest), version));
    }
    if ctx.replicas.disk_is_full() {
        tracing::debug!("no producer id: the disk is full, and nothing could be produced with it");
        return ready(encode(&refusal(ResponseError::KafkaStorageError), version));
    }
    let ctx = ctx.clone();
    Box::pin(async move {
        let response = match tokio::time::timeout(PATIENCE, ctx.producer_ids.next()).await {
            Ok(Ok(id)) => InitProducerIdResponse::default()
                .with_producer_id(id.get().into())
                .with_producer_epoch(0),
            Ok(Err(error)) => {
                tracing::debug!(%error, "no producer id");
                refusal(ResponseError::CoordinatorLoadInProgress)
            }
            Err(_) => refusal(ResponseError::CoordinatorLoadInProgress),
        };
        encode(&response, version)
    })
}

fn refusal(error: ResponseError) -> InitProducerIdResponse {
    InitProducerIdResponse::default()
        .with_error_code(error.code())
        .with_producer_id((-1).into())
        .with_producer_epoch(-1)
}
