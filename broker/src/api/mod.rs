//! One file per Kafka API, named as in the protocol's documentation; version notes on top of each.
//!
//! A handler has two halves. The first runs at once, on the connection's task, in the order in
//! which requests came: it does everything whose order matters (hands batches to the partitions).
//! What it returns is the second half, a future that waits (for the high watermark, for more
//! bytes) and ends in a [`Reply`]; the connection awaits these in order, so that answers leave in
//! the order of their requests (invariant I25) while later requests are already being worked on.

pub mod body;
pub mod fetch;
mod fetch_wait;
pub mod list_offsets;
pub mod offset_for_leader_epoch;
pub mod produce;
pub mod replica_fetch;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::protocol::Encodable;

use crate::api::body::Body;

use crate::config::BrokerConfig;
use crate::meta::handle::MetadataHandle;
use crate::replica::manager::ReplicaManager;

/// What every handler sees.
pub struct Context {
    /// Settings.
    pub config: Arc<BrokerConfig>,
    /// Cluster metadata.
    pub meta: MetadataHandle,
    /// The partitions that this broker holds.
    pub replicas: Arc<ReplicaManager>,
}

/// How a request ends.
#[derive(Debug)]
pub enum Reply {
    /// The encoded body of the response, without its header.
    Body(Body),
    /// acks=0: nothing is written.
    NoAnswer,
    /// The connection is closed; why goes to the log.
    Close(String),
}

/// The second half of a request.
pub type Pending = Pin<Box<dyn Future<Output = Reply> + Send>>;

/// A request that is answered without waiting.
#[must_use]
pub fn ready(reply: Reply) -> Pending {
    Box::pin(std::future::ready(reply))
}

/// Encodes a response of `version`. A response that cannot be encoded is our bug, not the
/// client's: the connection is closed and the log says so.
#[must_use]
pub fn encode<R: Encodable>(response: &R, version: i16) -> Reply {
    encode_sharing(response, version, &[])
}

/// As [`encode`], for a response that carries record batches: those in `shared` (handles on the
/// same memory as fields of `response`) are sent from where they are instead of being copied.
#[must_use]
pub fn encode_sharing<R: Encodable>(response: &R, version: i16, shared: &[Bytes]) -> Reply {
    match body::encode_sharing(response, version, shared) {
        Ok(body) => Reply::Body(body),
        Err(error) => Reply::Close(format!("response of version {version}: {error}")),
    }
}
