//! The log: one group-committed WAL per broker, and each partition's view of it.
//!
//! * [`LogStore`] owns the directory: it is opened once, replays the WAL, and hands out each
//!   partition's log to one owner.
//! * [`PartitionLog`] is the single writer of one partition. Its methods do not wait: they put
//!   frames into the WAL's queue, and a committer thread makes many of them durable with one
//!   write and one fdatasync. The owner is told through the callback that it gave to
//!   [`LogStore::partition`], and asks [`PartitionLog::held_end`].
//! * [`LogSnapshot`] is what readers see: immutable, cheap to clone, no locks.
//!
//! A partition has no files of its own: its log is an index over extents of the WAL, plus the
//! bytes of recent batches in memory. The WAL is append-only, truncation included, so whatever a
//! snapshot points to stays readable.

pub mod batch;
pub mod dump;
pub mod metrics;

mod checkpoint;
mod committer;
mod damage;
mod epoch_cache;
mod extent;
mod frame;
mod identity;
mod keeper;
mod ledger;
mod partition_log;
mod partition_state;
mod recovery;
mod replayed;
mod retention;
mod snapshot;
mod store;
mod wal;
mod wal_files;

pub use batch::{BatchError, BatchHeader, ProducedBatch};
pub use epoch_cache::EpochEnd;
pub use identity::{LogFound, LogIdentity};
pub use metrics::LogMetrics;
pub use partition_log::{AppendError, Appended, PartitionLog};
pub use recovery::TornTail;
pub use retention::Retention;
pub use snapshot::{LogSnapshot, ReadError, Records, TimestampOffset};
pub use store::{LOG_DIR, LogConfig, LogStore, OnHeld, OpenError, PartitionError};

#[cfg(test)]
mod tests;
