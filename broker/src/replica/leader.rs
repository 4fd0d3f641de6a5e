//! The leader of one partition in one epoch: rules R1 to R9.
//!
//! Pure: what it knows of time is `now`, what it knows of the log are [`LogFacts`], and what it
//! wants done is returned as [`Effect`]s. Only this file computes a high watermark.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::chaos::seeded_bug::{BugSet, SeededBug};
use crate::invariants::{Invariant, uphold};
use crate::replica::cluster::PartitionMeta;
use crate::replica::core::{Effect, Settings};
use crate::replica::isr::{AlterReply, Isr, IsrState, Proposal};
use crate::replica::log_facts::{EpochEnd, LogFacts};
use crate::replica::progress::Progress;
use crate::replica::watermark::{FollowerHw, LeaderHw};
use crate::types::{Acks, BrokerEpoch, BrokerId, LeaderEpoch, Offset, PartitionEpoch};

/// What a follower asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FollowerFetch {
    /// Who.
    pub replica: BrokerId,
    /// Its incarnation.
    pub broker_epoch: BrokerEpoch,
    /// The leadership that it follows.
    pub leader_epoch: LeaderEpoch,
    /// The end of its log (what is durable of it in fsync mode): it holds everything below.
    pub offset: Offset,
    /// Epoch of the last record below `offset`; `None` when it has none.
    pub last_epoch: Option<LeaderEpoch>,
}

/// What comes of a follower's fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FetchOutcome {
    /// Nothing was recorded.
    Refused(FetchRefusal),
    /// OFFSET_OUT_OF_RANGE: the follower has nothing in common with this log, which starts here.
    OutOfRange {
        /// Where the leader's log starts.
        log_start: Offset,
    },
    /// The logs differ below the offset asked for; nothing was recorded.
    Diverging(EpochEnd),
    /// Recorded; the answer is the records from the offset on.
    Recorded,
}

/// Why a fetch was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FetchRefusal {
    /// FENCED_LEADER_EPOCH (74): the follower is behind.
    FencedEpoch,
    /// UNKNOWN_LEADER_EPOCH (75): this replica is behind, or does not know the follower yet.
    UnknownEpoch,
    /// NOT_LEADER_OR_FOLLOWER (6).
    NotLeader,
    /// NOT_LEADER_OR_FOLLOWER (6): the follower's incarnation has been replaced (KIP-903).
    StaleBroker,
}

/// Why a batch is not appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AppendRefusal {
    /// NOT_LEADER_OR_FOLLOWER (6).
    NotLeader,
    /// NOT_ENOUGH_REPLICAS (19): nothing was appended.
    NotEnoughReplicas,
}

/// Whether a produce request may be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Completion {
    /// Not yet.
    Wait,
    /// The records are held as `acks` demands.
    Done,
    /// NOT_ENOUGH_REPLICAS_AFTER_APPEND (20): appended, and may be committed later.
    NotEnoughReplicas,
}

/// One leadership.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Leader {
    epoch: LeaderEpoch,
    /// The log's end when the epoch began; below it the local watermark may be stale.
    epoch_start: Offset,
    hw: LeaderHw,
    isr: Isr,
    min_isr: usize,
    /// Every other replica.
    progress: BTreeMap<BrokerId, Progress>,
}

impl Leader {
    /// The epoch begins: whatever was known of followers is forgotten.
    #[must_use]
    pub fn begin(
        settings: &Settings,
        meta: &PartitionMeta,
        local: FollowerHw,
        log_end: Offset,
        now: Duration,
    ) -> Self {
        // A replica knows of nothing committed that it lacks.
        let complete = local.get() <= log_end;
        uphold(Invariant::LeaderComplete, settings.bugs, complete);
        let others = meta.replicas.iter().filter(|id| **id != settings.me);
        let progress = others
            .map(|id| {
                let in_isr = meta.isr.contains(id);
                (
                    *id,
                    Progress::begin(meta.peers.get(id).copied(), in_isr, now),
                )
            })
            .collect();
        Self {
            epoch: meta.leader_epoch,
            epoch_start: log_end,
            hw: LeaderHw::inherit(local),
            isr: Isr::committed_at(meta.isr.clone(), meta.partition_epoch),
            min_isr: meta.min_isr,
            progress,
        }
    }

    /// The leadership's number.
    #[must_use]
    pub fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// LESO: the log's end when the epoch began.
    #[must_use]
    pub fn epoch_start(&self) -> Offset {
        self.epoch_start
    }

    /// The high watermark.
    #[must_use]
    pub fn hw(&self) -> LeaderHw {
        self.hw
    }

    /// The in-sync replicas.
    #[must_use]
    pub fn isr(&self) -> &Isr {
        &self.isr
    }

    /// The ISR that this leadership needs, to commit anything.
    #[must_use]
    pub fn min_isr(&self) -> usize {
        self.min_isr
    }

    /// What is known of each follower.
    #[must_use]
    pub fn progress(&self) -> &BTreeMap<BrokerId, Progress> {
        &self.progress
    }

    /// A newer image of the same leadership.
    pub fn adopt(
        &mut self,
        settings: &Settings,
        meta: &PartitionMeta,
        log: &impl LogFacts,
        now: Duration,
    ) -> Vec<Effect> {
        for (id, progress) in &mut self.progress {
            progress.register(meta.peers.get(id).copied());
        }
        self.min_isr = meta.min_isr;
        self.isr.adopt(&meta.isr, meta.partition_epoch);
        self.reconsider(settings, log, now)
    }

    /// R1: whether a batch may be appended.
    ///
    /// # Errors
    /// With acks=all, when the committed ISR is too small.
    pub fn admit(&self, settings: &Settings, acks: Acks) -> Result<LeaderEpoch, AppendRefusal> {
        if acks == Acks::All && !self.has_min_isr(settings) {
            return Err(AppendRefusal::NotEnoughReplicas);
        }
        Ok(self.epoch)
    }

    /// Whether records up to `last` (inclusive) that were appended in this epoch may be
    /// acknowledged.
    #[must_use]
    pub fn completion(
        &self,
        settings: &Settings,
        acks: Acks,
        last: Offset,
        log: &impl LogFacts,
    ) -> Completion {
        let done = |held_below: Offset| {
            uphold(Invariant::AckedIsHeld, settings.bugs, last < held_below);
            Completion::Done
        };
        let end = log.held_end();
        let local_only = acks != Acks::All || settings.bugs.has(SeededBug::AcksAllAs1);
        if local_only {
            let early = acks != Acks::All && settings.bugs.has(SeededBug::AckBeforeAppend);
            return if end > last || early {
                done(end)
            } else {
                Completion::Wait
            };
        }
        if self.hw.get() <= last {
            return Completion::Wait;
        }
        if self.still_has_min_isr(settings) {
            done(self.hw.get())
        } else {
            Completion::NotEnoughReplicas
        }
    }

    /// R2 to R5: a follower fetches.
    pub fn fetch(
        &mut self,
        settings: &Settings,
        fetch: &FollowerFetch,
        log: &impl LogFacts,
        now: Duration,
    ) -> (FetchOutcome, Vec<Effect>) {
        match self.judge(settings, fetch, log) {
            FetchOutcome::Recorded => {}
            refused => return (refused, Vec::new()),
        }
        let fenced = fetch.leader_epoch == self.epoch;
        uphold(Invariant::EpochFenced, settings.bugs, fenced);
        let progress = self
            .progress
            .get_mut(&fetch.replica)
            .expect("judged: it is a replica");
        progress.record(fetch.broker_epoch, fetch.offset, log.log_end(), now);
        (FetchOutcome::Recorded, self.reconsider(settings, log, now))
    }

    fn judge(
        &self,
        settings: &Settings,
        fetch: &FollowerFetch,
        log: &impl LogFacts,
    ) -> FetchOutcome {
        // R2, and invariant I10: a fetch of another epoch changes nothing.
        if !settings.bugs.has(SeededBug::NoEpochFence) {
            if fetch.leader_epoch < self.epoch {
                return FetchOutcome::Refused(FetchRefusal::FencedEpoch);
            }
            if fetch.leader_epoch > self.epoch {
                return FetchOutcome::Refused(FetchRefusal::UnknownEpoch);
            }
        }
        let Some(progress) = self.progress.get(&fetch.replica) else {
            return FetchOutcome::Refused(FetchRefusal::UnknownEpoch);
        };
        if progress.is_stale(fetch.broker_epoch) {
            return FetchOutcome::Refused(FetchRefusal::StaleBroker);
        }
        let log_start = log.log_start();
        if fetch.offset < log_start {
            return FetchOutcome::OutOfRange { log_start };
        }
        // R3. A log without records has no epoch to compare: only its position can be wrong.
        match fetch.last_epoch {
            Some(epoch) => {
                let own = log.end_offset_for(epoch);
                match diverged(settings.bugs, epoch, fetch.offset, own) {
                    Some(end) => FetchOutcome::Diverging(end),
                    None => FetchOutcome::Recorded,
                }
            }
            None if fetch.offset > log.log_end() => FetchOutcome::OutOfRange { log_start },
            None => FetchOutcome::Recorded,
        }
    }

    /// The own log grew, or more of it became durable.
    pub fn log_grew(
        &mut self,
        settings: &Settings,
        log: &impl LogFacts,
        now: Duration,
    ) -> Vec<Effect> {
        self.advance(settings, log, now).into_iter().collect()
    }

    /// R9: the outcome of a proposal.
    pub fn alter_reply(
        &mut self,
        settings: &Settings,
        proposed_at: PartitionEpoch,
        reply: &AlterReply,
        log: &impl LogFacts,
        now: Duration,
    ) -> Vec<Effect> {
        self.isr.reply(proposed_at, reply, settings.bugs);
        self.advance(settings, log, now).into_iter().collect()
    }

    /// Time passed: proposals without a decision are sent again, laggards are to leave.
    pub fn tick(&mut self, settings: &Settings, log: &impl LogFacts, now: Duration) -> Vec<Effect> {
        self.propose_shrink(settings, log.log_end(), now);
        let mut effects = self.reconsider(settings, log, now);
        effects.extend(self.take_proposal(settings));
        effects
    }

    /// After anything that can move the watermark or let a follower join.
    fn reconsider(
        &mut self,
        settings: &Settings,
        log: &impl LogFacts,
        now: Duration,
    ) -> Vec<Effect> {
        let mut effects: Vec<_> = self.advance(settings, log, now).into_iter().collect();
        if self.propose_expand(settings, now) {
            effects.extend(self.take_proposal(settings));
        }
        effects
    }

    /// R5: the one rule by which a high watermark rises.
    fn advance(
        &mut self,
        settings: &Settings,
        log: &impl LogFacts,
        now: Duration,
    ) -> Option<Effect> {
        let under = settings.bugs.has(SeededBug::HwMovesUnderMinIsr);
        if !self.still_has_min_isr(settings) && !under {
            return None;
        }
        let mut target = log.held_end();
        for (id, progress) in &self.progress {
            if settings.bugs.has(SeededBug::HwAtLocalFsync) {
                break;
            }
            if self.counts(settings, *id) {
                target = target.min(progress.offset()?);
            } else if progress.is_eligible()
                && progress.is_caught_up(log.log_end(), now, settings.lag_time_max)
                && let Some(offset) = progress.offset()
            {
                // Not a member, but about to be: a watermark that runs ahead of it would keep it
                // out for ever (R7 asks for a fetch at or above the watermark).
                target = target.min(offset);
            }
        }
        if !self.hw.raise(target) {
            return None;
        }
        let holds = |id: &BrokerId| {
            *id == settings.me || self.progress.get(id).and_then(Progress::offset) >= Some(target)
        };
        let maximal = self.isr.maximal();
        let all_count = |id: &BrokerId| *id == settings.me || self.counts(settings, *id);
        let counted = maximal.iter().all(all_count);
        uphold(Invariant::MaximalIsr, settings.bugs, counted);
        let overlap = self.isr.committed().iter().all(all_count);
        uphold(Invariant::QuorumsOverlap, settings.bugs, overlap && counted);
        let within = maximal.iter().all(holds);
        uphold(Invariant::HwWithinMaximalIsr, settings.bugs, within);
        let enough = self.isr.committed().len() >= self.min_isr;
        uphold(Invariant::HwNeedsMinIsr, settings.bugs, enough);
        Some(Effect::HighWatermark(target))
    }

    /// R7: a follower that has everything that may be committed, and still fetches, is to join.
    /// (While the watermark stands still, for want of members, one that died at it would else be
    /// taken back as soon as it has left.)
    fn propose_expand(&mut self, settings: &Settings, now: Duration) -> bool {
        if !self.isr.is_settled() {
            return false;
        }
        let hw = self.hw.get();
        let joiner = self.progress.iter().find_map(|(id, progress)| {
            let offset = progress.offset()?;
            let complete =
                offset >= self.epoch_start || settings.bugs.has(SeededBug::ExpandWithoutLeso);
            let joins = !self.isr.committed().contains(id)
                && offset >= hw
                && complete
                && progress.is_fetching(now, settings.lag_time_max)
                && progress.is_eligible();
            joins.then_some((*id, offset))
        });
        let Some((joiner, offset)) = joiner else {
            return false;
        };
        let complete = offset >= hw && offset >= self.epoch_start;
        uphold(Invariant::JoinerComplete, settings.bugs, complete);
        self.isr.expand(joiner);
        true
    }

    /// R8: followers that have been behind for too long are to leave.
    fn propose_shrink(&mut self, settings: &Settings, log_end: Offset, now: Duration) {
        if !self.isr.is_settled() || settings.bugs.has(SeededBug::IsrNeverShrinks) {
            return;
        }
        let leavers: BTreeSet<_> = self
            .progress
            .iter()
            .filter(|(id, progress)| {
                self.isr.committed().contains(id)
                    && progress.lags(log_end, now, settings.lag_time_max)
            })
            .map(|(id, _)| *id)
            .collect();
        if !leavers.is_empty() {
            self.isr.shrink(leavers);
        }
    }

    fn take_proposal(&mut self, settings: &Settings) -> Option<Effect> {
        let members = self.isr.take_due()?;
        let new_isr = members
            .into_iter()
            .map(|id| {
                let known = match self.progress.get(&id) {
                    Some(progress) => progress.broker_epoch(),
                    None => Some(settings.broker_epoch),
                };
                // A member of which no registration is known is refused by the controller.
                (id, known.unwrap_or(BrokerEpoch(-1)))
            })
            .collect();
        Some(Effect::Propose(Proposal {
            leader_epoch: self.epoch,
            partition_epoch: self.isr.partition_epoch(),
            new_isr,
        }))
    }

    fn counts(&self, settings: &Settings, id: BrokerId) -> bool {
        self.isr.counts(id, settings.bugs) && !self.is_zombie(settings)
    }

    fn has_min_isr(&self, settings: &Settings) -> bool {
        self.isr.committed().len() >= self.min_isr || self.is_zombie(settings)
    }

    /// Asked again after the append: before the watermark rises, and before a producer is told.
    fn still_has_min_isr(&self, settings: &Settings) -> bool {
        self.has_min_isr(settings) || settings.bugs.has(SeededBug::MinIsrOnlyAtAppend)
    }

    /// M12, M07: a leader that wants its followers out, or that cannot learn what became of its
    /// proposal, behaves as if it were alone already.
    fn is_zombie(&self, settings: &Settings) -> bool {
        let wants_out = matches!(self.isr.state(), IsrState::PendingShrink { .. });
        settings.bugs.has(SeededBug::ZombieSelfIsr) && wants_out
            || settings.bugs.has(SeededBug::QuorumFallback1) && self.isr.is_doubtful()
    }
}

/// R3: where the logs part, if somebody whose last record below `offset` has `last_epoch` holds
/// something that this log, where that epoch ends at `own`, does not.
pub(super) fn diverged(
    bugs: BugSet,
    last_epoch: LeaderEpoch,
    offset: Offset,
    own: EpochEnd,
) -> Option<EpochEnd> {
    if bugs.has(SeededBug::NoTruncate) {
        return None;
    }
    (own.epoch < last_epoch || own.end < offset).then_some(own)
}

#[cfg(test)]
#[path = "leader_test.rs"]
mod tests;
