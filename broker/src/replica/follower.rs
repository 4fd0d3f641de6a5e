//! A follower of one partition in one epoch: rules R10 to R12.
//!
//! Pure: it says where to fetch, and what to do with an answer. There is no truncation but the
//! one that the leader's answer to a fetch asks for (KIP-595's form).

use crate::chaos::seeded_bug::SeededBug;
use crate::invariants::{Invariant, uphold};
use crate::replica::core::Settings;
use crate::replica::log_facts::{EpochEnd, LogFacts};
use crate::replica::watermark::FollowerHw;
use crate::types::{BrokerId, Durability, LeaderEpoch, Offset, PartitionEpoch};

/// Where a follower fetches next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FetchPosition {
    /// From whom.
    pub leader: BrokerId,
    /// In which leadership.
    pub leader_epoch: LeaderEpoch,
    /// The log's end, all of it held; or below it what is to be fetched again. The leader counts
    /// on what is below it and no more.
    pub offset: Offset,
    /// Epoch of the last record; `None` when there is none.
    pub last_epoch: Option<LeaderEpoch>,
}

/// A leader's answer, and what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FetchAnswer {
    /// The position that was sent.
    pub asked: FetchPosition,
    /// What the leader said to it.
    pub said: LeaderSaid,
}

/// A leader's answer without its bytes. Errors (74, 75, 6, ..) change nothing and are not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LeaderSaid {
    /// Records, maybe none.
    Records {
        /// First offset and first epoch of the records, if there are any.
        first: Option<(Offset, LeaderEpoch)>,
        /// The leader's high watermark.
        leader_hw: Offset,
    },
    /// The logs differ below the position.
    Diverging(EpochEnd),
    /// The position lies outside of the leader's log.
    OutOfRange {
        /// Where the leader's log starts.
        log_start: Offset,
    },
}

/// What is to be done to the log, before [`crate::replica::core::ReplicaCore::followed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FollowStep {
    /// The answer is of another epoch or to another position: it is dropped.
    Ignore,
    /// The answer contradicts the log: it is dropped, and somebody should look at it.
    Refuse,
    /// Nothing to do to the log; the watermark may move.
    Keep,
    /// Append the records of the answer; or, where some were to be fetched again, put them in
    /// their place.
    Append,
    /// Cut the log at the offset.
    Truncate(Offset),
    /// Drop the whole log and begin anew at the offset.
    RestartAt(Offset),
}

/// One epoch of following (or of waiting for a leader).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Follower {
    epoch: LeaderEpoch,
    partition_epoch: PartitionEpoch,
    leader: Option<BrokerId>,
    hw: FollowerHw,
}

impl Follower {
    /// R10: a new epoch begins. Answers to fetches of older ones will be ignored.
    #[must_use]
    pub fn begin(
        epoch: LeaderEpoch,
        partition_epoch: PartitionEpoch,
        leader: Option<BrokerId>,
        hw: FollowerHw,
    ) -> Self {
        Self {
            epoch,
            partition_epoch,
            leader,
            hw,
        }
    }

    /// The leadership that it follows.
    #[must_use]
    pub fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// The committed state that it knows.
    #[must_use]
    pub fn partition_epoch(&self) -> PartitionEpoch {
        self.partition_epoch
    }

    /// Whom it follows.
    #[must_use]
    pub fn leader(&self) -> Option<BrokerId> {
        self.leader
    }

    /// The watermark that it knows of.
    #[must_use]
    pub fn hw(&self) -> FollowerHw {
        self.hw
    }

    /// A newer image of the same leadership.
    pub fn adopt(&mut self, partition_epoch: PartitionEpoch) {
        self.partition_epoch = partition_epoch;
    }

    /// M08: where the log is cut when an epoch begins, by the rule before KIP-101.
    #[must_use]
    pub fn truncation_at_begin(&self, settings: &Settings, log: &impl LogFacts) -> Option<Offset> {
        let to_hw = settings.bugs.has(SeededBug::TruncateToHw) && self.leader.is_some();
        (to_hw && self.hw.get() < log.log_end()).then_some(self.hw.get())
    }

    /// Where to fetch; `None` without a leader, or while the own tail is not held yet (in fsync
    /// mode the position is a promise that everything below survives).
    #[must_use]
    pub fn position(&self, settings: &Settings, log: &impl LogFacts) -> Option<FetchPosition> {
        let leader = self.leader.filter(|id| *id != settings.me)?;
        if !log.is_settled() {
            return None;
        }
        let (offset, last_epoch) = log.fetch_position();
        Some(FetchPosition {
            leader,
            leader_epoch: self.epoch,
            offset,
            last_epoch,
        })
    }

    /// R10 to R12: what an answer asks for.
    #[must_use]
    pub fn step(
        &self,
        settings: &Settings,
        answer: &FetchAnswer,
        log: &impl LogFacts,
    ) -> FollowStep {
        let asked = &answer.asked;
        let current = asked.leader_epoch == self.epoch
            && Some(asked.leader) == self.leader
            && (asked.offset, asked.last_epoch) == log.fetch_position();
        if !current {
            return FollowStep::Ignore;
        }
        match answer.said {
            LeaderSaid::Records { first: None, .. } => FollowStep::Keep,
            LeaderSaid::Records {
                first: Some((base, epoch)),
                ..
            } => {
                // What is fetched again may come in a batch that begins earlier.
                let again = asked.offset < log.log_end() && base <= asked.offset;
                let on = base == asked.offset || again;
                if !on || Some(epoch) < asked.last_epoch || epoch > self.epoch {
                    return FollowStep::Refuse;
                }
                FollowStep::Append
            }
            LeaderSaid::Diverging(leaders) => self.truncate(settings, leaders, log),
            LeaderSaid::OutOfRange { log_start } => FollowStep::RestartAt(log_start),
        }
    }

    /// R11: cut to where both logs can still agree.
    fn truncate(&self, settings: &Settings, leaders: EpochEnd, log: &impl LogFacts) -> FollowStep {
        let own = log.end_offset_for(leaders.epoch);
        let shared = match settings.bugs.has(SeededBug::EpochEndOffByOne) {
            false => leaders.end.min(own.end),
            true => leaders.end,
        };
        let to = shared.max(log.log_start());
        let gives_up = settings.durability == Durability::Fsync && to < self.hw.get();
        if gives_up && settings.bugs.is_empty() {
            // A follower's own watermark is never above the true one, and in fsync mode nobody
            // who holds less becomes leader, unless the disks of all members were lost. Then this
            // log may be the last that has what was committed: nothing is cut. The process goes
            // on: its other partitions are sound.
            return FollowStep::Refuse;
        }
        uphold(Invariant::TruncateFirst, settings.bugs, !gives_up);
        if to >= log.log_end() {
            // The leader sees a divergence where this log has none: nothing would ever change.
            return FollowStep::Refuse;
        }
        FollowStep::Truncate(to)
    }

    /// R12, after the step was taken: the watermark follows the leader's. Returns whether it
    /// moved.
    pub fn followed(&mut self, leader_hw: Option<Offset>, log: &impl LogFacts) -> bool {
        let known = leader_hw.unwrap_or(self.hw.get());
        self.hw.learn(known, log.log_start(), log.held_end())
    }
}
