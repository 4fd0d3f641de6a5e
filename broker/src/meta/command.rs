//! What can be written into the metadata log, and what comes of it.
//!
//! Commands carry everything that their decision needs (ids, random draws, nothing of time), so
//! that `apply` is a pure function of state and command and equal on every broker.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::meta::codec::{CodecError, Format};
use crate::meta::image::Endpoint;
use crate::types::{
    BrokerEpoch, BrokerId, LeaderEpoch, PartitionEpoch, ProducerId, TopicId, TopicPartition,
};

/// One entry of the metadata log.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Command {
    /// A process starts serving as broker `id` (KIP-631). It is fenced until its first heartbeat
    /// that has caught up.
    RegisterBroker {
        /// The broker.
        id: BrokerId,
        /// Drawn at process start.
        incarnation: uuid::Uuid,
        /// Used by the first registration of a cluster, ignored afterwards.
        cluster_id: String,
        /// Listener for clients.
        client: Endpoint,
        /// Listener for followers.
        replication: Endpoint,
        /// What it can say of the log that it starts with.
        log: LogClaim,
    },
    /// The broker's heartbeats have caught up: it may lead and follow.
    UnfenceBroker {
        /// The broker.
        id: BrokerId,
        /// Registration that this is about; another one is rejected.
        epoch: BrokerEpoch,
    },
    /// The broker's session ended.
    FenceBroker {
        /// The broker.
        id: BrokerId,
        /// Registration that this is about.
        epoch: BrokerEpoch,
    },
    /// The broker wants to stop: move its leaderships, keep it out of ISRs (KIP-841).
    BeginControlledShutdown {
        /// The broker.
        id: BrokerId,
        /// Registration that this is about.
        epoch: BrokerEpoch,
    },
    /// Create one topic.
    CreateTopic {
        /// Name.
        name: String,
        /// Drawn by the proposer.
        id: TopicId,
        /// Number of partitions, at least 1.
        partitions: i32,
        /// Replicas per partition, 1 to 3.
        replication_factor: i16,
        /// Topic settings.
        configs: BTreeMap<String, String>,
    },
    /// A leader proposes a new ISR (KIP-497).
    AlterPartition(AlterPartition),
    /// An operator orders that `leader` leads a partition that has no leader, whatever its log
    /// lacks.
    ElectUnclean {
        /// Which.
        partition: TopicPartition,
        /// One of its replicas.
        leader: BrokerId,
    },
    /// A block of producer ids for one broker (KIP-730).
    AllocateProducerIds {
        /// Who asks.
        id: BrokerId,
        /// Its registration.
        epoch: BrokerEpoch,
        /// How many.
        count: i32,
    },
}

/// What a starting broker can say of its log (invariant I16).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LogClaim {
    /// Fsync mode: recovery accepted the log, so everything that the broker ever vouched for is
    /// in it. Membership in ISR and ELR keeps its worth.
    Recovered,
    /// Replicated mode: the clean-shutdown marker, and the broker epoch that it carries. It
    /// counts only when that is the broker's last registration.
    CleanShutdown(BrokerEpoch),
    /// Acknowledged records may be missing: the broker leaves every ISR and ELR.
    Unclean,
    /// Fsync mode: the log is not the one that the broker had. Like [`LogClaim::Unclean`], and
    /// the broker is no heir of what it led last.
    Lost,
}

/// The leader's proposal (KIP-497, with broker epochs of KIP-903).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AlterPartition {
    /// Who proposes.
    pub leader: BrokerId,
    /// The proposer's registration.
    pub leader_broker_epoch: BrokerEpoch,
    /// Which partition.
    pub partition: TopicPartition,
    /// The leadership in which it proposes.
    pub leader_epoch: LeaderEpoch,
    /// The committed state that it saw: compare-and-swap.
    pub partition_epoch: PartitionEpoch,
    /// The whole new ISR, each member with the broker epoch of its last fetch (the leader: its
    /// own). The epoch of a member of the committed ISR is not looked at: a member that
    /// registered anew has left the ISR, and the partition epoch has moved.
    pub new_isr: Vec<(BrokerId, BrokerEpoch)>,
}

/// What an accepted command did.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Applied {
    /// Nothing to tell.
    Done,
    /// The registration's epoch (also for a retried registration of the same incarnation).
    Registered {
        /// The epoch granted.
        epoch: BrokerEpoch,
    },
    /// The topic exists.
    TopicCreated {
        /// Its identity.
        id: TopicId,
    },
    /// The ISR was committed.
    PartitionAltered {
        /// After the change.
        partition_epoch: PartitionEpoch,
        /// Committed ISR.
        isr: Vec<BrokerId>,
    },
    /// Producer ids `first .. first + count`.
    ProducerIds {
        /// First id of the block.
        first: ProducerId,
        /// Size of the block.
        count: i32,
    },
}

/// Why a command was refused. Each maps to one Kafka error code. A refused command changes
/// nothing, with one exception: see [`Rejected::IneligibleReplica`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum Rejected {
    /// DUPLICATE_BROKER_REGISTRATION and kin.
    #[error("broker {0} is not registered")]
    UnknownBroker(BrokerId),
    /// STALE_BROKER_EPOCH (77).
    #[error("broker epoch is stale: the current one is {current}")]
    StaleBrokerEpoch {
        /// The current epoch.
        current: BrokerEpoch,
    },
    /// TOPIC_ALREADY_EXISTS (36).
    #[error("topic {0} exists already")]
    TopicExists(String),
    /// UNKNOWN_TOPIC_OR_PARTITION (3).
    #[error("no such topic or partition")]
    UnknownPartition,
    /// INVALID_TOPIC_EXCEPTION (17).
    #[error(
        "{0:?} is no topic name: 1 to 249 of ASCII letters, digits, '.', '_', '-'; not '.' or '..'"
    )]
    InvalidTopicName(String),
    /// INVALID_PARTITIONS (37).
    #[error("{0} partitions: at least 1 and at most 10000 are allowed")]
    InvalidPartitions(i32),
    /// INVALID_REPLICATION_FACTOR (38).
    #[error("replication factor {wanted}: {available} brokers are available")]
    InvalidReplicationFactor {
        /// Asked for.
        wanted: i16,
        /// Registered and not fenced.
        available: usize,
    },
    /// INVALID_CONFIG (40).
    #[error("{0}")]
    InvalidConfig(String),
    /// FENCED_LEADER_EPOCH (74) or NEW_LEADER_ELECTED: the proposer no longer leads.
    #[error("leader epoch is fenced: the current one is {current}")]
    FencedLeaderEpoch {
        /// The current epoch.
        current: LeaderEpoch,
    },
    /// INVALID_UPDATE_VERSION (95): the compare-and-swap failed.
    #[error("partition epoch differs: the current one is {current}")]
    InvalidUpdateVersion {
        /// The current epoch.
        current: PartitionEpoch,
    },
    /// INELIGIBLE_REPLICA (107): a proposed member is fenced, stopping or of an older incarnation.
    ///
    /// The one refusal after which a leader takes its proposal back, so it also raises the
    /// partition epoch: no other copy of the proposal, still under way in the network, can be
    /// committed behind the leader's back (M56 with a delayed copy).
    #[error("broker {0} may not be in the ISR")]
    IneligibleReplica(BrokerId),
    /// INVALID_REQUEST (42).
    #[error("{0}")]
    InvalidRequest(String),
    /// POLICY_VIOLATION (44): more partitions than a cluster may have.
    #[error("{wanted} partitions more: the cluster has {existing}, and {limit} are allowed")]
    TooManyPartitions {
        /// Asked for.
        wanted: usize,
        /// That there are.
        existing: usize,
        /// In all topics together.
        limit: usize,
    },
}

/// How a command is written down.
pub const FORMAT: Format = Format {
    what: "metadata command",
    version: 1,
};

/// Largest command, in bytes as written down. A larger one is refused before it is proposed.
pub const MAX_COMMAND_BYTES: usize = 64 << 10;

impl Command {
    /// As written down: a version byte, then JSON.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        FORMAT.encode(self)
    }

    /// The command that `bytes` hold.
    ///
    /// # Errors
    /// [`CodecError`], also for a command that is too large.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        if bytes.len() > MAX_COMMAND_BYTES {
            return Err(CodecError::Malformed {
                what: FORMAT.what,
                reason: format!("{} bytes, {MAX_COMMAND_BYTES} are allowed", bytes.len()),
            });
        }
        FORMAT.decode(bytes)
    }

    /// Refuses a command that no log should carry, whatever the state: called by the proposer.
    ///
    /// # Errors
    /// [`Rejected::InvalidRequest`].
    pub fn check_size(&self) -> Result<(), Rejected> {
        let size = self.encode().len();
        if size > MAX_COMMAND_BYTES {
            return Err(Rejected::InvalidRequest(format!(
                "a metadata command of {size} bytes, {MAX_COMMAND_BYTES} are allowed"
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_survive_being_written_down() {
        let proposal = AlterPartition {
            leader: BrokerId(1),
            leader_broker_epoch: BrokerEpoch(7),
            partition: TopicPartition {
                topic: TopicId(uuid::Uuid::from_u128(9)),
                partition: 3,
            },
            leader_epoch: LeaderEpoch(4),
            partition_epoch: PartitionEpoch(5),
            new_isr: vec![(BrokerId(1), BrokerEpoch(7)), (BrokerId(2), BrokerEpoch(8))],
        };
        let create = Command::CreateTopic {
            name: "t".to_owned(),
            id: TopicId(uuid::Uuid::from_u128(9)),
            partitions: 1,
            replication_factor: 3,
            configs: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
        };
        for command in [Command::AlterPartition(proposal), create] {
            assert_eq!(Command::decode(&command.encode()), Ok(command));
        }
    }

    #[test]
    fn oversized_and_foreign_bytes_are_refused() {
        let huge = Command::CreateTopic {
            name: "t".to_owned(),
            id: TopicId::default(),
            partitions: 1,
            replication_factor: 1,
            configs: BTreeMap::from([("a".to_owned(), "b".repeat(MAX_COMMAND_BYTES))]),
        };
        assert!(huge.check_size().is_err());
        assert!(Command::decode(&huge.encode()).is_err());
        assert!(Command::decode(b"\x02{}").is_err());
        assert!(Command::decode(b"").is_err());
    }
}
