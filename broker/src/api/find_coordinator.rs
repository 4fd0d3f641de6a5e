//! FindCoordinator (10): there are no consumer groups and no transactions yet, and the answer
//! says so: COORDINATOR_NOT_AVAILABLE, which clients retry. No broker is named: an answer that
//! names the wrong one makes clients move brokers to other addresses.
//!
//! Version notes: v1 adds the key type, v4 asks for several keys at once.

use std::sync::Arc;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;

use crate::api::{Context, Pending, encode, ready};

const NOBODY: i32 = -1;
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

/// Answers that there is no coordinator.
#[must_use]
pub fn handle(_: &Arc<Context>, version: i16, request: FindCoordinatorRequest) -> Pending {
    let (error, message) = match request.key_type {
        GROUP => (
            ResponseError::CoordinatorNotAvailable,
            "consumer groups are not supported: assign partitions instead",
        ),
        TRANSACTION => (
            ResponseError::CoordinatorNotAvailable,
            "transactions are not supported",
        ),
        _ => (ResponseError::InvalidRequest, "unknown key type"),
    };
    let message = Some(StrBytes::from_static_str(message));
    let response = FindCoordinatorResponse::default();
    let response = match version {
        0 => response
            .with_error_code(error.code())
            .with_node_id(NOBODY.into())
            .with_port(NOBODY),
        1..=3 => response
            .with_error_code(error.code())
            .with_error_message(message)
            .with_node_id(NOBODY.into())
            .with_port(NOBODY),
        _ => {
            let one = |key: StrBytes| {
                Coordinator::default()
                    .with_key(key)
                    .with_node_id(NOBODY.into())
                    .with_port(NOBODY)
                    .with_error_code(error.code())
                    .with_error_message(message.clone())
            };
            response.with_coordinators(request.coordinator_keys.into_iter().map(one).collect())
        }
    };
    ready(encode(&response, version))
}
