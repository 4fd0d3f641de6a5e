//! What the pure cores take from the cluster's metadata: one partition as the controller
//! committed it, and the brokers that hold its replicas.

use std::collections::{BTreeMap, BTreeSet};

use crate::meta::image::MetadataImage;
use crate::types::{BrokerEpoch, BrokerId, LeaderEpoch, PartitionEpoch, TopicPartition};

/// A broker that holds a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    /// Its current registration.
    pub broker_epoch: BrokerEpoch,
    /// Neither fenced nor stopping: it may be in an ISR (KIP-841).
    pub eligible: bool,
}

/// One partition in one metadata image.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PartitionMeta {
    /// Assigned replicas.
    pub replicas: BTreeSet<BrokerId>,
    /// Committed in-sync replicas.
    pub isr: BTreeSet<BrokerId>,
    /// Who leads, if anybody may.
    pub leader: Option<BrokerId>,
    /// Grows with every election.
    pub leader_epoch: LeaderEpoch,
    /// Grows with every committed change.
    pub partition_epoch: PartitionEpoch,
    /// `min.insync.replicas` of the topic, at most the number of replicas.
    pub min_isr: usize,
    /// The registered brokers among the replicas.
    pub peers: BTreeMap<BrokerId, Peer>,
}

impl PartitionMeta {
    /// The partition in `image`, if it exists there.
    #[must_use]
    pub fn of(image: &MetadataImage, tp: TopicPartition) -> Option<Self> {
        let partition = image.partition(tp)?;
        let min_isr = image.topics.get(&tp.topic)?.min_isr(partition);
        let replicas: BTreeSet<_> = partition.replicas.iter().copied().collect();
        let peers = replicas
            .iter()
            .filter_map(|id| {
                let broker = image.brokers.get(id)?;
                let peer = Peer {
                    broker_epoch: broker.epoch,
                    eligible: broker.active(),
                };
                Some((*id, peer))
            })
            .collect();
        Some(Self {
            replicas,
            isr: partition.isr.iter().copied().collect(),
            leader: partition.leader,
            leader_epoch: partition.leader_epoch,
            partition_epoch: partition.partition_epoch,
            min_isr,
            peers,
        })
    }
}
