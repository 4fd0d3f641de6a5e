//! Moments between which a crash, or a cut link, makes a difference that it makes nowhere else.
//!
//! A simulation is told of each one as it is reached, in the middle of the code that reaches it,
//! and may strike then and there: kill the process, cut its links. Elsewhere nothing is told to
//! anybody, and nothing is compiled. Deciding code (the pure cores) knows of none of it.

use crate::types::{BrokerId, LeaderEpoch, TopicPartition};

/// Something that happens at one point of the code of one broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Entries of the metadata log are in memory, and nothing of them is on disk.
    MetaAppended,
    /// They are on disk, and nobody was told.
    MetaSynced,
    /// A majority has them, and they are not applied here.
    MetaCommitted,
    /// They are applied and published here, and their proposer was not told.
    MetaApplied,
    /// This broker begins to lead a partition.
    LeaderBegan {
        /// Which.
        partition: TopicPartition,
        /// In which epoch.
        epoch: LeaderEpoch,
    },
    /// A leader is about to propose an ISR with one more member.
    ExpandProposed {
        /// Of which partition.
        partition: TopicPartition,
        /// Who joins.
        joiner: BrokerId,
    },
}

impl Moment {
    /// Between which steps of a commit of the metadata it lies, by name; `None` elsewhere.
    #[must_use]
    pub fn of_commit(self) -> Option<&'static str> {
        match self {
            Self::MetaAppended => Some("meta-appended"),
            Self::MetaSynced => Some("meta-synced"),
            Self::MetaCommitted => Some("meta-committed"),
            Self::MetaApplied => Some("meta-applied"),
            Self::LeaderBegan { .. } | Self::ExpandProposed { .. } => None,
        }
    }
}

/// The code that runs now has come to `moment`. No lock is held.
#[inline]
pub fn reached(moment: Moment) {
    #[cfg(feature = "simulation")]
    crate::sim::world::tell(moment);
    #[cfg(not(feature = "simulation"))]
    let _ = moment;
}
