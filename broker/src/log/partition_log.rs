//! One partition's log as its owner sees it: the single writer.
//!
//! Three ends are told apart:
//! * `written_end` (the LEO): appended, readable, what followers may fetch;
//! * `durable_end`: survives power loss, its frames are fdatasynced;
//! * `held_end`: what counts as held by this replica in the store's durability mode, that is
//!   `durable_end` in fsync mode, and in replicated mode what was handed to the operating
//!   system. It feeds the high watermark and a follower's fetch offset, in both modes.

use bytes::Bytes;
use thiserror::Error;

use super::batch::{BatchError, ProducedBatch};
use super::epoch_cache::EpochEnd;
use super::snapshot::LogSnapshot;
use crate::types::{LeaderEpoch, Lsn, Offset, TopicPartition};

/// Where an append landed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// The log's new written end: offset of the last record + 1.
    pub end: Offset,
}

/// Why nothing was appended. The log is as it was.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AppendError {
    /// The disk is full, or nearly: reads go on, appends come back when there is room.
    #[error("the log's disk is full: free some space under {dir}; appends then resume")]
    DiskFull {
        /// The log's directory.
        dir: String,
    },
    /// The WAL has failed for good (the process is about to end) or was closed.
    #[error("the log is closed to writes: {reason}")]
    Closed {
        /// What happened.
        reason: String,
    },
    /// The topic was deleted.
    #[error("partition {0} was deleted")]
    Deleted(TopicPartition),
    /// What came is not a sound batch.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// A follower's records do not continue its log (rule R12).
    #[error("records at offset {found} do not continue a log that ends at {end}")]
    NotContiguous {
        /// The log's end.
        end: Offset,
        /// Base offset of the batch.
        found: Offset,
    },
    /// A batch is of an older epoch than the log's last one, or of no epoch (rule R12).
    #[error("a batch of epoch {found} may not follow epoch {last}")]
    EpochGoesBack {
        /// Last epoch in the log.
        last: LeaderEpoch,
        /// Epoch of the batch.
        found: LeaderEpoch,
    },
}

impl AppendError {
    /// The Kafka error code that says this to a client.
    #[must_use]
    pub const fn code(&self) -> i16 {
        match self {
            Self::DiskFull { .. } | Self::Closed { .. } => 56,
            Self::Deleted(_) => 3,
            Self::Batch(error) => error.code(),
            Self::NotContiguous { .. } | Self::EpochGoesBack { .. } => -1,
        }
    }
}

/// The single writer of one partition. Dropping it gives the log back to the store.
pub struct PartitionLog {}

impl PartitionLog {
    /// Which partition this is.
    #[must_use]
    pub fn topic_partition(&self) -> TopicPartition {
        unimplemented!()
    }

    /// First offset that may be read.
    #[must_use]
    pub fn log_start(&self) -> Offset {
        unimplemented!()
    }

    /// Offset of the next record to be appended (the LEO).
    #[must_use]
    pub fn written_end(&self) -> Offset {
        unimplemented!()
    }

    /// End of what survives power loss.
    #[must_use]
    pub fn durable_end(&self) -> Offset {
        unimplemented!()
    }

    /// End of what this replica counts as held, by the durability mode.
    #[must_use]
    pub fn held_end(&self) -> Offset {
        unimplemented!()
    }

    /// Whether everything done to this log so far, truncations included, is held.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        unimplemented!()
    }

    /// Epoch of the last batch, if there is or was one.
    #[must_use]
    pub fn last_epoch(&self) -> Option<LeaderEpoch> {
        unimplemented!()
    }

    /// Where `epoch` ends in this log.
    #[must_use]
    pub fn end_offset_for(&self, epoch: LeaderEpoch) -> EpochEnd {
        let _ = epoch;
        unimplemented!()
    }

    /// Appends a producer's batch as the leader of `epoch`: assigns offsets, stamps the epoch.
    ///
    /// # Errors
    /// See [`AppendError`].
    ///
    /// # Panics
    /// If `epoch` is older than the log's last one: a leader never goes back.
    pub fn append(
        &mut self,
        epoch: LeaderEpoch,
        batch: &ProducedBatch,
    ) -> Result<Appended, AppendError> {
        let _ = (epoch, batch);
        unimplemented!()
    }

    /// Appends what a leader sent: whole batches, CRC right, contiguous with this log, epochs
    /// not going back (rule R12). All of it or nothing.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub fn append_as_follower(&mut self, records: &Bytes) -> Result<Appended, AppendError> {
        let _ = records;
        unimplemented!()
    }

    /// Removes every batch that ends above `to` (rule R11); nothing happens at or above the end.
    /// Whether it is on disk is told by [`Self::is_settled`].
    ///
    /// # Errors
    /// The WAL is closed. A full disk does not refuse a truncation.
    ///
    /// # Panics
    /// If `to` is below the log's start.
    pub fn truncate(&mut self, to: Offset) -> Result<Lsn, AppendError> {
        let _ = to;
        unimplemented!()
    }

    /// Forgets everything and begins again, empty, at `at` (a follower below its leader's start).
    ///
    /// # Errors
    /// The WAL is closed.
    pub fn restart_at(&mut self, at: Offset) -> Result<Lsn, AppendError> {
        let _ = at;
        unimplemented!()
    }

    /// Raises the log's start to `to`, at most to the log's end; never lowers it.
    ///
    /// # Errors
    /// The WAL is closed.
    pub fn advance_log_start(&mut self, to: Offset) -> Result<Lsn, AppendError> {
        let _ = to;
        unimplemented!()
    }

    /// The last high watermark that was checkpointed, capped at the log's end (0 if none was).
    #[must_use]
    pub fn checkpointed_high_watermark(&self) -> Offset {
        unimplemented!()
    }

    /// Notes the high watermark for the next checkpoint (`LogStore::checkpoint`): no IO.
    pub fn note_high_watermark(&self, high_watermark: Offset) {
        let _ = high_watermark;
        unimplemented!()
    }

    /// What readers see from now on: immutable, cheap to make and to clone.
    #[must_use]
    pub fn snapshot(&self) -> LogSnapshot {
        unimplemented!()
    }
}
