//! The immutable snapshot of the cluster's metadata that a broker acts on.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::types::{BrokerEpoch, BrokerId, LeaderEpoch, PartitionEpoch, TopicId, TopicPartition};

/// Host and port that other parties connect to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Endpoint {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// One broker as the controller knows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BrokerImage {
    /// The broker's number.
    pub id: BrokerId,
    /// Epoch of its current registration.
    pub epoch: BrokerEpoch,
    /// Drawn anew by the process at each start: tells a retried registration from a new one.
    pub incarnation: uuid::Uuid,
    /// Fenced brokers lead nothing, join no ISR and are left out of Metadata answers.
    pub fenced: bool,
    /// It asked to stop: leaders move away and it may not join an ISR (KIP-841).
    pub in_controlled_shutdown: bool,
    /// Listener for clients.
    pub client: Endpoint,
    /// Listener for followers' fetches.
    pub replication: Endpoint,
}

/// One partition as the controller committed it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PartitionImage {
    /// Assigned replicas, preferred leader first.
    pub replicas: Vec<BrokerId>,
    /// Committed in-sync replicas.
    pub isr: Vec<BrokerId>,
    /// Eligible leader replicas (KIP-966): left the ISR cleanly while it was at its minimum.
    pub elr: Vec<BrokerId>,
    /// Who led last (the current leader if there is one), for the case that ISR and ELR are both
    /// empty (KIP-966).
    pub last_known_leader: Option<BrokerId>,
    /// Who leads now, if anybody may.
    pub leader: Option<BrokerId>,
    /// Grows with every election.
    pub leader_epoch: LeaderEpoch,
    /// Grows with every committed change.
    pub partition_epoch: PartitionEpoch,
}

/// One topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TopicImage {
    /// Identity.
    pub id: TopicId,
    /// Name.
    pub name: String,
    /// By partition number.
    pub partitions: Vec<Arc<PartitionImage>>,
    /// Settings that were given at creation; the rest are defaults. `min.insync.replicas` is
    /// always among them: the proposer writes its own default into the command, so that a rule
    /// which decides safety is the same on every broker.
    pub configs: BTreeMap<String, String>,
}

/// The one topic setting that the controller itself acts on.
pub const MIN_INSYNC_REPLICAS: &str = "min.insync.replicas";

impl TopicImage {
    /// `min.insync.replicas` capped at the number of replicas of `partition`: the size below
    /// which an ISR neither moves the high watermark nor takes acks=all.
    #[must_use]
    pub fn min_isr(&self, partition: &PartitionImage) -> usize {
        self.configs
            .get(MIN_INSYNC_REPLICAS)
            .and_then(|value| value.parse::<usize>().ok())
            .unwrap_or(1)
            .min(partition.replicas.len())
            .max(1)
    }
}

impl BrokerImage {
    /// Whether it may lead and join ISRs: not fenced and not stopping (KIP-841).
    #[must_use]
    pub fn active(&self) -> bool {
        !self.fenced && !self.in_controlled_shutdown
    }
}

/// Everything that was committed up to `index`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MetadataImage {
    /// Raft index of the last applied command; a leader ignores an image older than the one it has.
    pub index: u64,
    /// Identity of the cluster, drawn at its first start.
    pub cluster_id: String,
    /// Every broker ever registered.
    pub brokers: BTreeMap<BrokerId, Arc<BrokerImage>>,
    /// Every topic.
    pub topics: BTreeMap<TopicId, Arc<TopicImage>>,
    /// Topic names.
    pub topic_ids: BTreeMap<String, TopicId>,
    /// First producer id that was not handed out yet.
    pub next_producer_id: i64,
}

impl MetadataImage {
    /// The topic of that name.
    #[must_use]
    pub fn topic_by_name(&self, name: &str) -> Option<&Arc<TopicImage>> {
        self.topics.get(self.topic_ids.get(name)?)
    }

    /// One partition.
    #[must_use]
    pub fn partition(&self, tp: TopicPartition) -> Option<&Arc<PartitionImage>> {
        self.topics
            .get(&tp.topic)?
            .partitions
            .get(usize::try_from(tp.partition).ok()?)
    }

    /// Whether that broker is registered, not fenced and not stopping.
    #[must_use]
    pub fn is_active(&self, id: BrokerId) -> bool {
        self.brokers.get(&id).is_some_and(|broker| broker.active())
    }

    /// The broker if it is registered and not fenced.
    #[must_use]
    pub fn live_broker(&self, id: BrokerId) -> Option<&Arc<BrokerImage>> {
        self.brokers.get(&id).filter(|broker| !broker.fenced)
    }
}
