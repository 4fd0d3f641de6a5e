//! An immutable picture of one partition's log, for readers: no locks, no second look.

use bytes::Bytes;
use thiserror::Error;

use super::batch::BatchHeader;
use super::epoch_cache::EpochEnd;
use crate::types::{LeaderEpoch, Offset, TopicPartition};

/// Why nothing was read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReadError {
    /// Below the log's start or above its end.
    #[error("offset {from} is outside the log, which holds {start} to {end}")]
    OutOfRange {
        /// Asked for.
        from: Offset,
        /// The log's start.
        start: Offset,
        /// The log's written end.
        end: Offset,
    },
    /// What is on disk is not what was written.
    #[error(
        "{file} is corrupt at byte {position}: {reason}; the data there must come from another replica"
    )]
    Corrupt {
        /// The WAL file.
        file: String,
        /// Where in it.
        position: u64,
        /// What is wrong.
        reason: String,
    },
    /// The operating system could not read.
    #[error("cannot read {file} at byte {position}: {reason}")]
    Io {
        /// The WAL file.
        file: String,
        /// Where in it.
        position: u64,
        /// What it said.
        reason: String,
    },
}

impl ReadError {
    /// The Kafka error code that says this to a client.
    #[must_use]
    pub const fn code(&self) -> i16 {
        match self {
            Self::OutOfRange { .. } => 1,
            Self::Corrupt { .. } | Self::Io { .. } => 56,
        }
    }
}

/// Whole batches in offset order, byte for byte as they are stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// Runs of whole batches.
    pub chunks: Vec<Bytes>,
    /// Bytes of all chunks.
    pub size: usize,
    /// Offset after the last record; where the next read goes on. Equal to the offset asked for
    /// when there is nothing.
    pub next_offset: Offset,
}

impl Records {
    /// All bytes in one piece, as a Fetch response wants them: copies only if there are several.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        unimplemented!()
    }
}

/// A timestamp and the offset it leads to (`ListOffsets`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampOffset {
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// Of a batch that has it.
    pub offset: Offset,
    /// Epoch of that batch.
    pub leader_epoch: LeaderEpoch,
}

/// An immutable picture of one partition's log.
#[derive(Clone)]
pub struct LogSnapshot {}

impl LogSnapshot {
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

    /// The written end (LEO).
    #[must_use]
    pub fn end(&self) -> Offset {
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

    /// Reads whole batches from the one that holds `from` (it may begin below) up to `up_to`,
    /// which no batch crosses, and to `max_bytes` in all; the first batch comes even if it is
    /// larger when `at_least_one`. `from` at or above `up_to`, up to the end: empty, no error.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn read(
        &self,
        from: Offset,
        up_to: Offset,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Result<Records, ReadError> {
        let _ = (from, up_to, max_bytes, at_least_one);
        unimplemented!()
    }

    /// Bytes that a read of `from..up_to` would give, at most `enough` (for `min_bytes`): no IO.
    #[must_use]
    pub fn available(&self, from: Offset, up_to: Offset, enough: usize) -> usize {
        let _ = (from, up_to, enough);
        unimplemented!()
    }

    /// The headers of all batches from the one that holds `from`, in order: what producer state
    /// is folded from.
    pub fn headers(
        &self,
        from: Offset,
    ) -> impl Iterator<Item = Result<BatchHeader, ReadError>> + use<'_> {
        let _ = from;
        std::iter::empty()
    }

    /// The first batch that ends below or at `up_to` and has a record of `timestamp` or later.
    ///
    /// # Errors
    /// The batch cannot be read from disk.
    pub fn find_timestamp(
        &self,
        timestamp: i64,
        up_to: Offset,
    ) -> Result<Option<TimestampOffset>, ReadError> {
        let _ = (timestamp, up_to);
        unimplemented!()
    }

    /// The largest timestamp of the batches that end below or at `up_to`.
    ///
    /// # Errors
    /// The batch cannot be read from disk.
    pub fn max_timestamp(&self, up_to: Offset) -> Result<Option<TimestampOffset>, ReadError> {
        let _ = up_to;
        unimplemented!()
    }
}
