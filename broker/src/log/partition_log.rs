//! One partition's log as its owner sees it: the single writer.
//!
//! Three ends are told apart:
//! * `written_end` (the LEO): appended, readable, what followers may fetch;
//! * `durable_end`: survives power loss, its frames are fdatasynced;
//! * `held_end`: what counts as held by this replica in the store's durability mode, that is
//!   `durable_end` in fsync mode, and in replicated mode what was handed to the operating
//!   system. It feeds the high watermark and a follower's fetch offset, in both modes.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};
use thiserror::Error;

use super::batch::{self, BatchError, ProducedBatch};
use super::committer::{Owner, Receipt};
use super::epoch_cache::EpochEnd;
use super::extent::Cached;
use super::frame::{BATCHES_MAX, Kept, Payload};
use super::partition_state::{Break, PartitionState};
use super::recovery::batches_at;
use super::snapshot::{LogSnapshot, ReadError};
use super::store::StoreInner;
use crate::chaos::seeded_bug::SeededBug;
use crate::invariants::{Invariant, uphold};
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
    /// A new file of the log is due, and this process may open no more: reads go on, appends come
    /// back when some were closed.
    #[error(
        "the log cannot begin its next file: this process, or the machine, has as many files open \
         as it may (ulimit -n); appends resume when some are closed"
    )]
    TooManyOpenFiles,
    /// The WAL has failed for good (the process is about to end) or was closed.
    #[error("the log is closed to writes: {reason}")]
    Closed {
        /// What happened.
        reason: String,
    },
    /// The topic was deleted.
    #[error("the partition was deleted")]
    Deleted,
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
    /// A truncation must know where in an extent to cut, and could not read it.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl AppendError {
    /// The Kafka error code that says this to a client.
    #[must_use]
    pub const fn code(&self) -> i16 {
        match self {
            Self::DiskFull { .. } | Self::TooManyOpenFiles | Self::Closed { .. } => 56,
            Self::Deleted => 3,
            Self::Batch(error) => error.code(),
            Self::Read(error) => error.code(),
            Self::NotContiguous { .. } | Self::EpochGoesBack { .. } => -1,
        }
    }
}

/// Frames of one partition that may not be held yet; beyond this many they are counted coarsely.
const PENDING_MAX: usize = 4096;

/// A log without an owner.
#[derive(Debug, Default)]
pub(super) struct Parked {
    state: PartitionState,
    pending: Pending,
}

impl Parked {
    /// As replay found it: everything is durable.
    pub fn recovered(state: PartitionState) -> Self {
        let pending = Pending {
            settled: state.end,
            waiting: VecDeque::new(),
        };
        Self { state, pending }
    }

    pub fn high_watermark(&self) -> Offset {
        self.state.high_watermark
    }
}

/// Which end of the log is held once which LSN is.
#[derive(Debug, Default)]
struct Pending {
    /// The log's end as of the last frame that is known to be durable.
    settled: Offset,
    /// (end of the frame in the WAL, the log's end with it), in order.
    waiting: VecDeque<(Lsn, Offset)>,
}

impl Pending {
    /// The log's end as far as the WAL is good up to `lsn`.
    fn end_at(&self, lsn: Lsn) -> Offset {
        let done = self.waiting.partition_point(|(end, _)| *end <= lsn);
        match done.checked_sub(1) {
            Some(last) => self.waiting[last].1,
            None => self.settled,
        }
    }

    fn is_settled_at(&self, lsn: Lsn) -> bool {
        self.waiting.back().is_none_or(|(end, _)| *end <= lsn)
    }

    /// A frame that ends at `lsn` was enqueued; the log now ends at `end`. All is durable up to
    /// `durable`.
    fn push(&mut self, lsn: Lsn, end: Offset, durable: Lsn) {
        self.settled = self.end_at(durable);
        let done = self.waiting.partition_point(|(end, _)| *end <= durable);
        self.waiting.drain(..done);
        if self.waiting.len() >= PENDING_MAX {
            // Every second one is forgotten: an end is then told later, never too early.
            let mut keep = false;
            self.waiting.retain(|_| {
                keep = !keep;
                keep
            });
        }
        self.waiting.push_back((lsn, end));
    }

    /// Nothing at or above `to` is in the log any more, whatever older frames say.
    fn truncate(&mut self, to: Offset) {
        self.settled = self.settled.min(to);
        for (_, end) in &mut self.waiting {
            *end = to.min(*end);
        }
    }
}

/// The single writer of one partition. Dropping it gives the log back to the store.
pub struct PartitionLog {
    pub(super) store: Arc<StoreInner>,
    pub(super) tp: TopicPartition,
    pub(super) owner: Arc<Owner>,
    pub(super) state: PartitionState,
    pending: Pending,
    /// Extents that are not what was written, by their first offset (`damage`).
    pub(super) damaged: BTreeSet<Offset>,
}

impl std::fmt::Debug for PartitionLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (start, end) = (self.log_start(), self.written_end());
        write!(f, "PartitionLog({} from {start} to {end})", self.tp)
    }
}

impl PartitionLog {
    pub(super) fn new(
        store: Arc<StoreInner>,
        tp: TopicPartition,
        owner: Arc<Owner>,
        parked: Parked,
    ) -> Self {
        Self {
            store,
            tp,
            owner,
            state: parked.state,
            pending: parked.pending,
            damaged: BTreeSet::new(),
        }
    }

    /// Which partition this is.
    #[must_use]
    pub const fn topic_partition(&self) -> TopicPartition {
        self.tp
    }

    /// First offset that may be read.
    #[must_use]
    pub const fn log_start(&self) -> Offset {
        self.state.log_start
    }

    /// Offset of the next record to be appended (the LEO).
    #[must_use]
    pub const fn written_end(&self) -> Offset {
        self.state.end
    }

    /// End of what survives power loss. In replicated mode it lags: files are synced when they
    /// are full.
    #[must_use]
    pub fn durable_end(&self) -> Offset {
        self.pending.end_at(self.store.committer.durable())
    }

    /// End of what this replica counts as held, by the durability mode.
    #[must_use]
    pub fn held_end(&self) -> Offset {
        if self.store.bugs.has(SeededBug::AckBeforeFsync) {
            return self.state.end;
        }
        self.pending.end_at(self.store.committer.held())
    }

    /// Whether everything done to this log so far, truncations included, is held.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.pending.is_settled_at(self.store.committer.held())
    }

    /// Epoch of the last batch, if there is or was one.
    #[must_use]
    pub fn last_epoch(&self) -> Option<LeaderEpoch> {
        self.state.epochs.last()
    }

    /// Where `epoch` ends in this log.
    #[must_use]
    pub fn end_offset_for(&self, epoch: LeaderEpoch) -> EpochEnd {
        self.state.epochs.end_offset_for(epoch, self.state.end)
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
        let last = self.last_epoch();
        assert!(
            epoch.get() >= 0 && last.is_none_or(|last| last <= epoch),
            "leader of epoch {epoch} appends to {self:?}, whose last epoch is {last:?}"
        );
        let (base, bugs) = (self.state.end, self.store.bugs);
        self.write(batch.size(), |out| {
            out.extend_from_slice(batch.bytes());
            batch::patch(out, base, epoch);
            let untouched = batch::is_untouched(out, batch.bytes());
            uphold(Invariant::BatchesUntouched, bugs, untouched);
        })
    }

    /// Appends what a leader sent: whole batches, CRC right, contiguous with this log, epochs
    /// not going back (rule R12). All of it or nothing.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub fn append_as_follower(&mut self, records: &Bytes) -> Result<Appended, AppendError> {
        if records.is_empty() {
            return Err(BatchError::Empty.into());
        }
        let mut at = 0;
        while at < records.len() {
            at += batch::check(&records[at..])?.size;
        }
        let end = self.state.end;
        self.state.check(records).map_err(|broken| match broken {
            Break::Batch(error) => AppendError::Batch(error),
            Break::Gap(found) => AppendError::NotContiguous { end, found },
            Break::EpochGoesBack(found) => AppendError::EpochGoesBack {
                last: self.last_epoch().unwrap_or_default(),
                found,
            },
        })?;
        self.write(records.len(), |out| out.extend_from_slice(records))
    }

    /// Enqueues one append frame and indexes it. The one copy that a record costs is made here:
    /// what is kept in memory then pins no request buffer.
    fn write(
        &mut self,
        size: usize,
        fill: impl FnOnce(&mut BytesMut),
    ) -> Result<Appended, AppendError> {
        if size > BATCHES_MAX {
            return Err(AppendError::Batch(BatchError::TooLarge {
                size,
                limit: BATCHES_MAX,
            }));
        }
        let payload = Payload::append(self.tp, size, fill);
        let batches = payload.batches();
        let cached = Cached::new(batches.clone());
        let frame_len = payload.frame_len();
        let receipt = Receipt {
            owner: Some(self.owner.clone()),
            cached: Some(cached.clone()),
        };
        let lsn = self.store.enqueue(payload, receipt)?;
        let base_offset = self.state.end;
        self.state.append(batches_at(lsn), &batches, Some(&cached));
        self.wait_for(Lsn(lsn.get() + frame_len));
        Ok(Appended {
            base_offset,
            end: self.state.end,
        })
    }

    /// Removes every batch that ends above `to` (rule R11); nothing happens at or above the end.
    /// Returns the log's end, which is below `to` if that is not a batch boundary. Whether it is
    /// on disk is told by [`Self::is_settled`].
    ///
    /// # Errors
    /// The WAL is closed, or the extent to be cut cannot be read. A full disk does not refuse a
    /// truncation.
    ///
    /// # Panics
    /// If `to` is below the log's start.
    pub fn truncate(&mut self, to: Offset) -> Result<Offset, AppendError> {
        assert!(to >= self.log_start(), "truncation of {self:?} to {to}");
        if to >= self.state.end {
            return Ok(self.state.end);
        }
        let (to, kept) = self.cut_at(to)?;
        let payload = Payload::truncate(self.tp, to, kept);
        let end = self.enqueue(payload)?;
        let truncated = self.state.truncate(to, kept);
        truncated.expect("the cut was computed from this very log");
        self.forget_damage();
        self.pending.truncate(to);
        let noted = &self.owner.high_watermark;
        noted.fetch_min(to.get(), Ordering::Relaxed);
        self.wait_for(end);
        Ok(to)
    }

    /// The batch boundary at or below `to`, and what is left of the extent that it lies in.
    fn cut_at(&self, to: Offset) -> Result<(Offset, Kept), AppendError> {
        let Some(extent) = self.state.cut_by(to) else {
            return Ok((to, Kept::default()));
        };
        let mut kept = Kept {
            max_timestamp: i64::MIN,
            ..Kept::default()
        };
        let mut end = extent.base;
        for header in self.snapshot().headers_of(extent) {
            let header = header?;
            if header.next_offset() > to {
                break;
            }
            end = header.next_offset();
            kept.len += u32::try_from(header.size).expect("inside an extent");
            kept.batches += 1;
            kept.max_timestamp = kept.max_timestamp.max(header.max_timestamp);
        }
        // The log's start may lie inside the batch that goes: the log is then empty.
        match end <= self.log_start() {
            true => Ok((self.log_start(), Kept::default())),
            false => Ok((end, kept)),
        }
    }

    /// Forgets everything and begins again, empty, at `at` (a follower below its leader's start).
    ///
    /// # Errors
    /// The WAL is closed.
    pub fn restart_at(&mut self, at: Offset) -> Result<(), AppendError> {
        let end = self.enqueue(Payload::restart(self.tp, at))?;
        self.state.restart(at);
        self.damaged.clear();
        self.pending = Pending {
            settled: at,
            waiting: VecDeque::new(),
        };
        self.note_high_watermark(at);
        self.wait_for(end);
        Ok(())
    }

    /// Raises the log's start to `to`, at most to the log's end; never lowers it. `producers` is
    /// what is to be remembered of those whose batches go, in the caller's own form (see
    /// [`LogSnapshot::producers`]).
    ///
    /// # Errors
    /// The WAL is closed.
    pub fn advance_log_start(&mut self, to: Offset, producers: Bytes) -> Result<(), AppendError> {
        if to.min(self.state.end) <= self.state.log_start {
            return Ok(());
        }
        let to = to.min(self.state.end);
        let end = self.enqueue(Payload::log_start(self.tp, to, &producers))?;
        self.state.advance_log_start(to, producers);
        self.forget_damage();
        self.wait_for(end);
        Ok(())
    }

    fn enqueue(&self, payload: Payload) -> Result<Lsn, AppendError> {
        let receipt = Receipt {
            owner: Some(self.owner.clone()),
            cached: None,
        };
        let frame_len = payload.frame_len();
        let lsn = self.store.enqueue(payload, receipt)?;
        Ok(Lsn(lsn.get() + frame_len))
    }

    /// What the log is now is held once the WAL is good up to `lsn`.
    pub(super) fn wait_for(&mut self, lsn: Lsn) {
        let durable = self.store.committer.durable();
        self.pending.push(lsn, self.state.end, durable);
    }

    /// The last high watermark that was checkpointed, within the log's bounds (its start if none
    /// was).
    #[must_use]
    pub fn checkpointed_high_watermark(&self) -> Offset {
        let noted = Offset(self.owner.high_watermark.load(Ordering::Relaxed));
        noted.max(self.state.log_start).min(self.state.end)
    }

    /// Notes the high watermark for the next checkpoint (`LogStore::checkpoint`): no IO.
    pub fn note_high_watermark(&self, high_watermark: Offset) {
        let noted = &self.owner.high_watermark;
        noted.store(high_watermark.get(), Ordering::Relaxed);
    }

    /// What readers see from now on: immutable, cheap to make and to clone.
    #[must_use]
    pub fn snapshot(&self) -> LogSnapshot {
        LogSnapshot {
            tp: self.tp,
            state: self.state.clone(),
            files: self.store.files.clone(),
            bugs: self.store.bugs,
        }
    }
}

impl Drop for PartitionLog {
    fn drop(&mut self) {
        let mut state = std::mem::take(&mut self.state);
        state.high_watermark = Offset(self.owner.high_watermark.load(Ordering::Relaxed));
        let pending = std::mem::take(&mut self.pending);
        self.store
            .park(self.tp, &self.owner, Parked { state, pending });
    }
}
