//! The field's quantities as types, so that an offset is never taken for an epoch.
//!
//! Every newtype here is a plain integer on the wire; `get()` is the only way back.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! newtype {
    ($(#[$doc:meta])* $name:ident($int:ty)) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash,
        )]
        #[derive(Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $int);

        impl $name {
            /// The bare integer, for the wire and for arithmetic.
            #[must_use]
            pub const fn get(self) -> $int {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

newtype! {
    /// A broker's number, unique in the cluster and stable over restarts.
    BrokerId(i32)
}
newtype! {
    /// Position of a record in one partition's log, counted in records from 0.
    Offset(i64)
}
newtype! {
    /// Number of a leadership of one partition (KIP-101); grows by one with every election.
    LeaderEpoch(i32)
}
newtype! {
    /// Number of a committed change of one partition's leader or ISR (KIP-497): what
    /// `AlterPartition` compares and swaps.
    PartitionEpoch(i32)
}
newtype! {
    /// Number of one incarnation of a broker, granted at registration (KIP-380, KIP-903).
    BrokerEpoch(i64)
}
newtype! {
    /// Identity of an idempotent or transactional producer (KIP-98).
    ProducerId(i64)
}
newtype! {
    /// Fences older incarnations of one producer id (KIP-98).
    ProducerEpoch(i16)
}
newtype! {
    /// Position in a broker's write-ahead log, in bytes since the log's beginning.
    Lsn(u64)
}

impl Offset {
    /// The first offset of every log.
    pub const ZERO: Offset = Offset(0);

    /// The offset `records` further on.
    #[must_use]
    pub const fn plus(self, records: i64) -> Offset {
        Offset(self.0 + records)
    }
}

/// Identity of a topic (KIP-516): a name can be deleted and made again, an id cannot.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct TopicId(pub uuid::Uuid);

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One partition of one topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopicPartition {
    /// The topic's identity, not its name.
    pub topic: TopicId,
    /// The partition's number in the topic, from 0.
    pub partition: i32,
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// What a producer waits for (`acks`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Acks {
    /// Nothing: there is no answer.
    Zero,
    /// The record is in the leader's log (durable there in fsync mode).
    One,
    /// The record is below the high watermark with at least `min.insync.replicas` in sync.
    All,
}

/// When a write counts as held by a replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// After fdatasync: acknowledged data survives power loss of every replica at once.
    #[default]
    Fsync,
    /// After write: Kafka's default, durable by replication only.
    Replicated,
}
