//! The log directory: opened once, replayed, and each partition handed to one owner.

use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;

use super::partition_log::{AppendError, PartitionLog};
use crate::storage::Storage;
use crate::types::{BrokerEpoch, Durability, Offset, TopicId, TopicPartition};

/// Called by the committer after it made something of this partition durable (or held): it must
/// not wait. The owner then asks [`PartitionLog::held_end`]. Calls may be spurious.
pub type OnHeld = Arc<dyn Fn() + Send + Sync>;

/// How a log store is opened.
#[derive(Clone)]
pub struct LogConfig {
    /// Directory of the WAL; it is made if it is not there.
    pub dir: PathBuf,
    /// When a write counts as held.
    pub durability: Durability,
    /// A WAL file is closed and a new one begun at this size, in bytes.
    pub wal_roll_bytes: u64,
    /// Bytes of recent batches kept in memory for tailing readers, over all partitions.
    pub cache_bytes: usize,
    /// Bytes that may wait for the committer before [`LogStore::wait_for_room`] waits.
    pub queue_bytes: usize,
    /// Appends are refused while the disk has less than this free, in bytes.
    pub min_free_bytes: u64,
}

impl LogConfig {
    /// Defaults for a log in `dir`.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            durability: Durability::Fsync,
            wal_roll_bytes: 64 << 20,
            cache_bytes: 64 << 20,
            queue_bytes: 32 << 20,
            min_free_bytes: 16 << 20,
        }
    }
}

/// Why a log directory was not opened. Nothing in it was changed.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("{dir} is in use by another process: stop it, or choose another data directory")]
    InUse {
        /// The directory.
        dir: String,
    },
    /// What is on disk is not what was written, below a point known to have been durable.
    #[error(
        "{file} is corrupt at byte {position}: {reason}; nothing was changed: restore the file, or remove the data directory to start over from the other replicas"
    )]
    Corrupt {
        /// The WAL file.
        file: String,
        /// Where in it.
        position: u64,
        /// What is wrong.
        reason: String,
    },
    /// The operating system said no.
    #[error("cannot open the log in {dir}: {source}")]
    Io {
        /// The directory.
        dir: String,
        /// What it said.
        source: std::io::Error,
    },
}

/// Why a partition's log was not handed out.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PartitionError {
    /// It has an owner already: a partition has one writer.
    #[error("the log of partition {0} is open already")]
    AlreadyOpen(TopicPartition),
    /// The topic was deleted; topic ids are not used twice.
    #[error("partition {0} was deleted")]
    Deleted(TopicPartition),
}

/// All logs of one broker. Cheap to clone.
#[derive(Clone)]
pub struct LogStore {}

impl LogStore {
    /// Opens or makes the store on the real file system, and starts its committer thread.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(config: LogConfig) -> Result<Self, OpenError> {
        let _ = config;
        unimplemented!()
    }

    /// Opens or makes the store on `storage`, for tests and simulation: nothing is committed
    /// until [`Self::commit_pending`] is called.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_manual(config: LogConfig, storage: Arc<dyn Storage>) -> Result<Self, OpenError> {
        let _ = (config, storage);
        unimplemented!()
    }

    /// One group commit of everything that waits (stores of [`Self::open_manual`] only). Returns
    /// whether there was anything.
    pub fn commit_pending(&self) -> bool {
        unimplemented!()
    }

    /// Takes the log of one partition, made empty if it is new. `on_held` is called from the
    /// committer's thread until the log is dropped.
    ///
    /// # Errors
    /// It has an owner, or was deleted.
    pub fn partition(
        &self,
        tp: TopicPartition,
        on_held: OnHeld,
    ) -> Result<PartitionLog, PartitionError> {
        let _ = (tp, on_held);
        unimplemented!()
    }

    /// Every partition that has a log here, in order, with its written end as recovered.
    #[must_use]
    pub fn partitions(&self) -> Vec<(TopicPartition, Offset)> {
        unimplemented!()
    }

    /// Forgets every partition of a deleted topic, durably; their open logs refuse appends.
    ///
    /// # Errors
    /// The WAL is closed.
    pub fn delete_topic(&self, topic: TopicId) -> Result<(), AppendError> {
        let _ = topic;
        unimplemented!()
    }

    /// Waits until the committer's queue has room: called before taking in more data.
    pub async fn wait_for_room(&self) {
        unimplemented!()
    }

    /// Writes the high watermarks that changed since the last checkpoint into the WAL.
    ///
    /// # Errors
    /// The WAL is closed.
    pub fn checkpoint(&self) -> Result<(), AppendError> {
        unimplemented!()
    }

    /// The broker epoch of the last incarnation if it stopped cleanly. Reading it consumed the
    /// marker: it is gone from disk since `open`.
    #[must_use]
    pub fn clean_shutdown(&self) -> Option<BrokerEpoch> {
        unimplemented!()
    }

    /// Commits what waits, closes the WAL to writes, and leaves the clean-shutdown marker.
    ///
    /// # Errors
    /// The WAL has failed; no marker is left then.
    pub fn close(&self, broker_epoch: BrokerEpoch) -> Result<(), AppendError> {
        let _ = broker_epoch;
        unimplemented!()
    }
}
