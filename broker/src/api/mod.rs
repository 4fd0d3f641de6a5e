//! One file per Kafka API, named as in the protocol's documentation; version notes on top of each.
//!
//! A handler has two halves. The first runs at once, on the connection's task, in the order in
//! which requests came: it does everything whose order matters (hands batches to the partitions).
//! What it returns is the second half, a future that waits (for the high watermark, for more
//! bytes) and ends in a [`Reply`]; the connection awaits these in order, so that answers leave in
//! the order of their requests (invariant I25) while later requests are already being worked on.

pub mod api_versions;
pub mod body;
pub mod create_topics;
pub mod delete_records;
pub mod describe_cluster;
pub mod describe_configs;
pub mod fetch;
mod fetch_wait;
pub mod find_coordinator;
pub mod init_producer_id;
pub mod list_offsets;
pub mod metadata;
pub mod offset_for_leader_epoch;
pub mod produce;
pub mod replica_fetch;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::protocol::Encodable;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use uuid::Uuid;

use crate::api::body::Body;

use crate::config::BrokerConfig;
use crate::locks::{Lock, Mutex};
use crate::meta::handle::MetadataHandle;
use crate::meta::image::MetadataImage;
use crate::net::budget::AnswerBudget;
use crate::producer::ids::ProducerIds;
use crate::replica::manager::ReplicaManager;

/// Records in unwritten answers, over all consumers, and again over all followers.
const ANSWER_BYTES: usize = 256 << 20;

/// What every handler sees.
pub struct Context {
    /// Settings.
    pub config: Arc<BrokerConfig>,
    /// Cluster metadata.
    pub meta: MetadataHandle,
    /// The partitions that this broker holds.
    pub replicas: Arc<ReplicaManager>,
    /// Ids for idempotent producers.
    pub producer_ids: ProducerIds,
    /// Memory for records that consumers are sent.
    pub answers: AnswerBudget,
    /// Memory for records that followers are sent: consumers that do not read are not in their
    /// way.
    pub replica_answers: AnswerBudget,
    /// Draws ids of topics. A lock: held for one draw, by CreateTopics only.
    random: Mutex<Option<ChaCha8Rng>>,
}

impl Context {
    /// Ties together what handlers see.
    #[must_use]
    pub fn new(
        config: Arc<BrokerConfig>,
        meta: MetadataHandle,
        replicas: Arc<ReplicaManager>,
    ) -> Self {
        let producer_ids = ProducerIds::new(config.id, meta.clone());
        Self {
            config,
            meta,
            replicas,
            producer_ids,
            answers: AnswerBudget::new(ANSWER_BYTES),
            replica_answers: AnswerBudget::new(ANSWER_BYTES),
            random: Mutex::new(Lock::TopicIds, None),
        }
    }

    /// A new identity. What is drawn depends on the seed and on this registration of the broker,
    /// so that a restart with the same seed draws others.
    fn draw_uuid(&self) -> Uuid {
        let mut random = self.random.lock();
        let random = random.get_or_insert_with(|| {
            let epoch = self.meta.broker_epoch().map_or(-1, |epoch| epoch.get());
            let mut seed = [0; 32];
            seed[..8].copy_from_slice(&self.config.seed.to_le_bytes());
            seed[8..12].copy_from_slice(&self.config.id.get().to_le_bytes());
            seed[12..20].copy_from_slice(&epoch.to_le_bytes());
            ChaCha8Rng::from_seed(seed)
        });
        let mut bytes = [0; 16];
        random.fill_bytes(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }
}

/// The active controller's number if it is alive, else -1.
fn live_controller(ctx: &Context, image: &MetadataImage) -> i32 {
    let controller = ctx.meta.controller();
    let alive = controller.filter(|id| image.live_broker(*id).is_some());
    alive.map_or(-1, |id| id.get())
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

/// A request that is answered without waiting, by work that is done when its answer is next to be
/// written: answers that nobody reads do not pile up.
#[must_use]
pub fn in_turn(work: impl FnOnce() -> Reply + Send + 'static) -> Pending {
    Box::pin(async move { work() })
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
