//! What readers see of a partition: an immutable view, published by the partition's one writer.
//!
//! A reader loads the view once and takes everything from it, so that it never pairs a new
//! watermark with an old log. The bytes of records are behind a [`ReadBound`], which only
//! [`PartitionView::bound`] makes: there is no reading without saying who reads (invariant I5).

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use tokio::sync::Notify;

use crate::chaos::seeded_bug::{BugSet, SeededBug};
use crate::invariants::{Invariant, uphold};
use crate::log::{EpochEnd, LogSnapshot, ReadError, Records, TimestampOffset};
use crate::replica::follower::FetchPosition;
use crate::replica::leader;
use crate::replica::publication::{Publication, Shows};
use crate::replica::waiters::Seen;
use crate::types::{BrokerId, LeaderEpoch, Offset, PartitionEpoch, TopicPartition};

/// Who reads, and how far it may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// A consumer: below the high watermark.
    ReadUncommitted,
    /// A consumer: below the last stable offset.
    ReadCommitted,
    /// A follower: everything.
    Replica,
}

/// One follower as the leader knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowerView {
    /// Who.
    pub id: BrokerId,
    /// Where it last fetched in this epoch: what it holds.
    pub offset: Option<Offset>,
    /// Where its log starts, as it said in this epoch.
    pub log_start: Option<Offset>,
}

/// What a view says of the leadership, when this replica leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeadershipView {
    /// LESO: below it the watermark may be stale.
    pub epoch_start: Offset,
    /// The committed in-sync replicas.
    pub isr: Vec<BrokerId>,
    /// The size of the ISR that committing needs.
    pub min_isr: usize,
    /// The other replicas.
    pub followers: Vec<FollowerView>,
    /// The watermark stands still for longer than is normal.
    pub is_stalled: bool,
    /// How many followers are further behind than is normal.
    pub behind: usize,
}

/// A partition at one moment.
pub struct PartitionView {
    /// Which partition.
    pub tp: TopicPartition,
    /// Who leads, if anybody does.
    pub leader: Option<BrokerId>,
    /// Number of the current leadership.
    pub epoch: LeaderEpoch,
    /// Number of the committed state.
    pub partition_epoch: PartitionEpoch,
    /// Set when this replica leads.
    pub leadership: Option<LeadershipView>,
    /// Where this replica fetches next, when it follows and all of its log is held.
    pub position: Option<FetchPosition>,
    /// The high watermark.
    pub hw: Offset,
    /// End of what this replica holds by its durability mode.
    pub held_end: Offset,
    /// The high watermark that consumers see: the same, but for a seeded bug.
    visible_hw: Offset,
    log: LogSnapshot,
    bugs: BugSet,
}

/// What the actor publishes; see the fields of [`PartitionView`].
pub struct ViewParts {
    /// Who leads.
    pub leader: Option<BrokerId>,
    /// Number of the leadership.
    pub epoch: LeaderEpoch,
    /// Number of the committed state.
    pub partition_epoch: PartitionEpoch,
    /// Set when this replica leads.
    pub leadership: Option<LeadershipView>,
    /// Where to fetch next.
    pub position: Option<FetchPosition>,
    /// The high watermark.
    pub hw: Offset,
    /// What consumers see of it.
    pub visible_hw: Offset,
    /// What is held.
    pub held_end: Offset,
    /// The log.
    pub log: LogSnapshot,
}

impl PartitionView {
    /// A view of one moment.
    ///
    /// # Panics
    /// When it is inconsistent (invariant I4).
    #[must_use]
    pub fn new(parts: ViewParts, bugs: BugSet) -> Self {
        let view = Self {
            tp: parts.log.topic_partition(),
            leader: parts.leader,
            epoch: parts.epoch,
            partition_epoch: parts.partition_epoch,
            leadership: parts.leadership,
            position: parts.position,
            hw: parts.hw,
            held_end: parts.held_end,
            visible_hw: parts.visible_hw,
            log: parts.log,
            bugs,
        };
        let ordered = view.log_start() <= view.lso()
            && view.lso() <= view.hw
            && view.hw <= view.held_end
            && view.held_end <= view.end();
        uphold(Invariant::ViewOrdered, bugs, ordered);
        view
    }

    /// Whether this replica leads.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.leadership.is_some()
    }

    /// First offset that is kept.
    #[must_use]
    pub fn log_start(&self) -> Offset {
        self.log.log_start()
    }

    /// LEO.
    #[must_use]
    pub fn end(&self) -> Offset {
        self.log.end()
    }

    /// The last stable offset: the high watermark, until there are transactions.
    #[must_use]
    pub fn lso(&self) -> Offset {
        self.hw
    }

    /// The leader's watermark may still be below what an earlier leader acknowledged: its value
    /// must not be told as the partition's end.
    #[must_use]
    pub fn is_hw_stale(&self) -> bool {
        let leadership = self.leadership.as_ref();
        let tells = self.bugs.has(SeededBug::LatestBeforeLeso);
        leadership.is_some_and(|leadership| self.hw < leadership.epoch_start && !tells)
    }

    /// Whether a client that knows the leadership `epoch` (-1: none, KIP-320) may be served.
    ///
    /// # Errors
    /// FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH or NOT_LEADER_OR_FOLLOWER, in this order.
    pub fn check_leader(&self, epoch: i32) -> Result<(), ResponseError> {
        match epoch.cmp(&self.epoch.get()) {
            Ordering::Less if epoch >= 0 => Err(ResponseError::FencedLeaderEpoch),
            Ordering::Greater => Err(ResponseError::UnknownLeaderEpoch),
            _ if !self.is_leader() => Err(ResponseError::NotLeaderOrFollower),
            _ => Ok(()),
        }
    }

    /// Whether a fetch at `offset` is out of range. Between the watermark and the log's end there
    /// is nothing yet, which is no error.
    #[must_use]
    pub fn is_out_of_range(&self, offset: Offset) -> bool {
        let end = match self.bugs.has(SeededBug::RangeErrorAboveHw) {
            false => self.end(),
            true => self.hw,
        };
        offset < self.log_start() || offset > end
    }

    /// Whether `seen` is old news. Asked after a reader has registered for what is published.
    #[must_use]
    pub fn is_news_to(&self, seen: Seen) -> bool {
        self.shows_else(&seen) && !self.bugs.has(SeededBug::LostWakeup)
    }

    /// R3, for whoever has the record before `offset` with `last_epoch`: where the logs part.
    #[must_use]
    pub fn diverged(&self, last_epoch: LeaderEpoch, offset: Offset) -> Option<EpochEnd> {
        let own = self.log.end_offset_for(last_epoch);
        leader::diverged(self.bugs, last_epoch, offset, own)
    }

    /// Looks through batches on disk; no byte of them is handed out.
    #[must_use]
    pub fn look_through(&self, from: Offset, bytes: usize) -> (Offset, Option<Offset>) {
        self.log.look_through(from, bytes)
    }

    /// Where `epoch` ends.
    #[must_use]
    pub fn end_offset_for(&self, epoch: LeaderEpoch) -> EpochEnd {
        self.log.end_offset_for(epoch)
    }

    /// How far `isolation` may read: the only way to record bytes.
    #[must_use]
    pub fn bound(&self, isolation: Isolation) -> ReadBound<'_> {
        let up_to = match isolation {
            Isolation::Replica => self.end(),
            _ if self.bugs.has(SeededBug::HwIsLeo) => self.end(),
            Isolation::ReadUncommitted => self.visible_hw,
            Isolation::ReadCommitted => self.visible_hw.min(self.lso()),
        };
        ReadBound { view: self, up_to }
    }
}

/// The permission to read a view's log below an offset.
#[derive(Clone, Copy)]
pub struct ReadBound<'a> {
    view: &'a PartitionView,
    up_to: Offset,
}

impl ReadBound<'_> {
    /// The offset below which may be read.
    #[must_use]
    pub fn up_to(&self) -> Offset {
        self.up_to
    }

    /// Reads whole batches from the one that holds `from`; see [`LogSnapshot::read`]. Between
    /// the bound and the log's end there is nothing to read yet, which is no error.
    ///
    /// # Errors
    /// `from` is outside the log, or the disk fails.
    pub fn read(
        &self,
        from: Offset,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Result<Records, ReadError> {
        let records = self
            .view
            .log
            .read(from, self.up_to, max_bytes, at_least_one)?;
        let within = records.size == 0 || records.next_offset <= self.up_to;
        uphold(Invariant::ReadWithinBound, self.view.bugs, within);
        Ok(records)
    }

    /// How many bytes a read would find, at most `enough`: no IO.
    #[must_use]
    pub fn available(&self, from: Offset, enough: usize) -> usize {
        if from >= self.up_to || from < self.view.log_start() {
            return 0;
        }
        self.view.log.available(from, self.up_to, enough)
    }

    /// The first batch below the bound with a record of `timestamp` (ms since 1970) or later.
    ///
    /// # Errors
    /// The disk fails.
    pub fn find_timestamp(&self, timestamp: i64) -> Result<Option<TimestampOffset>, ReadError> {
        self.view.log.find_timestamp(timestamp, self.up_to)
    }

    /// The largest timestamp below the bound.
    ///
    /// # Errors
    /// The disk fails.
    pub fn max_timestamp(&self) -> Result<Option<TimestampOffset>, ReadError> {
        self.view.log.max_timestamp(self.up_to)
    }
}

/// Where views are published: readers load, and wait for news, without locks.
pub type Published = Arc<Publication<PartitionView, Notify>>;

/// Fetches that were given up are swept away at this many.
pub const SWEEP_FROM: usize = 32;

/// What consumers see of the high watermark: the newest, always. With the seeded bug
/// hw-sync-5s, the one of the last synchronisation.
#[derive(Clone, Copy, Debug)]
pub struct VisibleHw {
    synced: Offset,
    synced_at: Duration,
}

/// The period of the background synchronisation that M02 puts back.
const SYNC_PERIOD: Duration = Duration::from_secs(5);

impl VisibleHw {
    /// At a start.
    #[must_use]
    pub fn new(hw: Offset, now: Duration) -> Self {
        Self {
            synced: hw,
            synced_at: now,
        }
    }

    /// What consumers see at `now`, when the high watermark is `hw` and the log is `log`.
    pub fn see(&mut self, hw: Offset, log: &LogSnapshot, now: Duration, bugs: BugSet) -> Offset {
        let due = now.saturating_sub(self.synced_at) >= SYNC_PERIOD;
        if due || !bugs.has(SeededBug::HwSync5s) {
            self.synced = hw;
            self.synced_at = now;
        }
        self.synced.min(log.end()).max(log.log_start())
    }
}

#[cfg(test)]
#[path = "view_test.rs"]
mod tests;
