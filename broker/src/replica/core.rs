//! One replica of one partition: leader or follower, as the newest image says.
//!
//! This is the whole of replication's decisions. A shell feeds it what happens (images, appends,
//! fsyncs, fetches, answers, time) and carries out what it returns; a model does the same with a
//! list for a log. Nothing is decided outside.

use std::time::Duration;

use crate::chaos::seeded_bug::{BugSet, SeededBug};
use crate::replica::cluster::PartitionMeta;
use crate::replica::follower::{FetchAnswer, FetchPosition, FollowStep, Follower};
use crate::replica::isr::{AlterReply, Proposal};
use crate::replica::leader::{
    AppendRefusal, Completion, FetchOutcome, FetchRefusal, FollowerFetch, Leader,
};
use crate::replica::log_facts::LogFacts;
use crate::replica::watermark::FollowerHw;
use crate::types::{Acks, BrokerEpoch, BrokerId, Durability, LeaderEpoch, Offset, PartitionEpoch};

/// What does not change while a broker's process lives.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Settings {
    /// This broker.
    pub me: BrokerId,
    /// Its incarnation.
    pub broker_epoch: BrokerEpoch,
    /// When a record counts as held.
    pub durability: Durability,
    /// How long a follower may be behind before it leaves the ISR.
    pub lag_time_max: Duration,
    /// Rules that are switched off.
    pub bugs: BugSet,
}

/// What the core wants done.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// The high watermark moved (a follower's also downwards).
    HighWatermark(Offset),
    /// Ask the controller; its outcome comes back through [`ReplicaCore::alter_reply`].
    Propose(Proposal),
    /// A leadership ended here: everybody who waits for it fails with NOT_LEADER_OR_FOLLOWER.
    LeadershipEnded(LeaderEpoch),
    /// Another epoch began: leader or follower.
    EpochBegan(LeaderEpoch),
    /// Cut the log before anything else is done (only with the seeded bugs truncate-to-hw and
    /// hw-from-metadata).
    Truncate(Offset),
}

/// Leader or follower.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// This replica leads.
    Leader(Leader),
    /// Another one leads, or nobody.
    Follower(Follower),
}

/// One replica of one partition.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReplicaCore {
    settings: Settings,
    role: Role,
}

impl ReplicaCore {
    /// After a start: it follows nobody until an image says whom.
    #[must_use]
    pub fn new(settings: Settings, checkpoint_hw: Offset, log: &impl LogFacts) -> Self {
        let hw = FollowerHw::recovered(checkpoint_hw, log.log_start(), log.held_end());
        let role = Role::Follower(Follower::begin(
            LeaderEpoch(-1),
            PartitionEpoch(-1),
            None,
            hw,
        ));
        Self { settings, role }
    }

    /// The unchanging part.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Leader or follower.
    #[must_use]
    pub fn role(&self) -> &Role {
        &self.role
    }

    /// The leadership, if it is this replica's.
    #[must_use]
    pub fn as_leader(&self) -> Option<&Leader> {
        match &self.role {
            Role::Leader(leader) => Some(leader),
            Role::Follower(_) => None,
        }
    }

    /// Number of the current leadership, whoever leads.
    #[must_use]
    pub fn epoch(&self) -> LeaderEpoch {
        match &self.role {
            Role::Leader(leader) => leader.epoch(),
            Role::Follower(follower) => follower.epoch(),
        }
    }

    /// Number of the committed state that it knows.
    #[must_use]
    pub fn partition_epoch(&self) -> PartitionEpoch {
        match &self.role {
            Role::Leader(leader) => leader.isr().partition_epoch(),
            Role::Follower(follower) => follower.partition_epoch(),
        }
    }

    /// Who leads, as far as it knows.
    #[must_use]
    pub fn leader_id(&self) -> Option<BrokerId> {
        match &self.role {
            Role::Leader(_) => Some(self.settings.me),
            Role::Follower(follower) => follower.leader(),
        }
    }

    /// The high watermark as this replica knows it.
    #[must_use]
    pub fn hw(&self) -> Offset {
        match &self.role {
            Role::Leader(leader) => leader.hw().get(),
            Role::Follower(follower) => follower.hw().get(),
        }
    }

    /// A newer metadata image. Images must come in order.
    ///
    /// An image that does not know this incarnation is ignored: a broker leads only in an epoch
    /// that was granted after its current registration.
    pub fn adopt(
        &mut self,
        meta: &PartitionMeta,
        log: &impl LogFacts,
        now: Duration,
    ) -> Vec<Effect> {
        let me = meta.peers.get(&self.settings.me);
        let knows_me = me.is_some_and(|peer| peer.broker_epoch == self.settings.broker_epoch);
        if !knows_me || meta.partition_epoch < self.partition_epoch() {
            return Vec::new();
        }
        if meta.leader_epoch > self.epoch() {
            return self.begin_epoch(meta, log, now);
        }
        match &mut self.role {
            Role::Leader(leader) => leader.adopt(&self.settings, meta, log, now),
            Role::Follower(follower) => {
                follower.adopt(meta.partition_epoch);
                Vec::new()
            }
        }
    }

    fn begin_epoch(
        &mut self,
        meta: &PartitionMeta,
        log: &impl LogFacts,
        now: Duration,
    ) -> Vec<Effect> {
        let mut effects = Vec::new();
        let local = match &self.role {
            Role::Leader(leader) => {
                if !self.waiters_outlive() {
                    effects.push(Effect::LeadershipEnded(leader.epoch()));
                }
                FollowerHw::deposed(leader.hw())
            }
            Role::Follower(follower) => follower.hw(),
        };
        effects.push(Effect::EpochBegan(meta.leader_epoch));
        if meta.leader == Some(self.settings.me) {
            let stale = self.settings.bugs.has(SeededBug::HwFromMetadata);
            let cut = (stale && local.get() < log.log_end()).then_some(local.get());
            let log_end = cut.unwrap_or(log.log_end());
            let mut leader = Leader::begin(&self.settings, meta, local, log_end, now);
            match cut {
                Some(to) => effects.push(Effect::Truncate(to)),
                None => effects.extend(leader.log_grew(&self.settings, log, now)),
            }
            self.role = Role::Leader(leader);
        } else {
            let follower =
                Follower::begin(meta.leader_epoch, meta.partition_epoch, meta.leader, local);
            let cut = follower.truncation_at_begin(&self.settings, log);
            effects.extend(cut.map(Effect::Truncate));
            self.role = Role::Follower(follower);
        }
        effects
    }

    /// R1: whether a batch may be appended, and with which epoch it is stamped.
    ///
    /// # Errors
    /// When this replica does not lead, or too few replicas are in sync for acks=all.
    pub fn admit(&self, acks: Acks) -> Result<LeaderEpoch, AppendRefusal> {
        let leader = self.as_leader().ok_or(AppendRefusal::NotLeader)?;
        leader.admit(&self.settings, acks)
    }

    /// Whether records up to `last` (inclusive), appended in the leadership `epoch`, may be
    /// acknowledged; `None` when that leadership has ended.
    #[must_use]
    pub fn completion(
        &self,
        epoch: LeaderEpoch,
        acks: Acks,
        last: Offset,
        log: &impl LogFacts,
    ) -> Option<Completion> {
        if self.waiters_outlive() && epoch != self.epoch() {
            let done = self.hw() > last;
            return Some(if done {
                Completion::Done
            } else {
                Completion::Wait
            });
        }
        let leader = self.as_leader().filter(|leader| leader.epoch() == epoch)?;
        Some(leader.completion(&self.settings, acks, last, log))
    }

    /// M53: requests that wait belong to the partition, not to a leadership.
    fn waiters_outlive(&self) -> bool {
        self.settings.bugs.has(SeededBug::WaitersOutliveEpoch)
    }

    /// The own log grew, or more of it became durable.
    pub fn log_grew(&mut self, log: &impl LogFacts, now: Duration) -> Vec<Effect> {
        match &mut self.role {
            Role::Leader(leader) => leader.log_grew(&self.settings, log, now),
            Role::Follower(_) => Vec::new(),
        }
    }

    /// R2 to R5: a follower fetches.
    pub fn fetch(
        &mut self,
        fetch: &FollowerFetch,
        log: &impl LogFacts,
        now: Duration,
    ) -> (FetchOutcome, Vec<Effect>) {
        match &mut self.role {
            Role::Leader(leader) => leader.fetch(&self.settings, fetch, log, now),
            Role::Follower(follower) => {
                let refusal = match fetch.leader_epoch.cmp(&follower.epoch()) {
                    std::cmp::Ordering::Less => FetchRefusal::FencedEpoch,
                    std::cmp::Ordering::Equal => FetchRefusal::NotLeader,
                    std::cmp::Ordering::Greater => FetchRefusal::UnknownEpoch,
                };
                (FetchOutcome::Refused(refusal), Vec::new())
            }
        }
    }

    /// R9: the outcome of `proposal`.
    pub fn alter_reply(
        &mut self,
        proposal: &Proposal,
        reply: &AlterReply,
        log: &impl LogFacts,
        now: Duration,
    ) -> Vec<Effect> {
        match &mut self.role {
            Role::Leader(leader) if leader.epoch() == proposal.leader_epoch => {
                leader.alter_reply(&self.settings, proposal.partition_epoch, reply, log, now)
            }
            _ => Vec::new(),
        }
    }

    /// Time passed.
    pub fn tick(&mut self, log: &impl LogFacts, now: Duration) -> Vec<Effect> {
        match &mut self.role {
            Role::Leader(leader) => leader.tick(&self.settings, log, now),
            Role::Follower(_) => Vec::new(),
        }
    }

    /// Where this replica fetches next, if it follows somebody.
    #[must_use]
    pub fn position(&self, log: &impl LogFacts) -> Option<FetchPosition> {
        match &self.role {
            Role::Leader(_) => None,
            Role::Follower(follower) => follower.position(&self.settings, log),
        }
    }

    /// What is to be done to the log because of a leader's answer. Once it is done,
    /// [`ReplicaCore::followed`] is told.
    #[must_use]
    pub fn follow(&self, answer: &FetchAnswer, log: &impl LogFacts) -> FollowStep {
        match &self.role {
            Role::Leader(_) => FollowStep::Ignore,
            Role::Follower(follower) => follower.step(&self.settings, answer, log),
        }
    }

    /// The step of [`ReplicaCore::follow`] was taken (or [`Effect::Truncate`] was carried out);
    /// `leader_hw` is what the answer said.
    pub fn followed(&mut self, leader_hw: Option<Offset>, log: &impl LogFacts) -> Vec<Effect> {
        let Role::Follower(follower) = &mut self.role else {
            return Vec::new();
        };
        let moved = follower.followed(leader_hw, log);
        let hw = follower.hw().get();
        moved
            .then_some(Effect::HighWatermark(hw))
            .into_iter()
            .collect()
    }
}

#[cfg(test)]
#[path = "core_test.rs"]
mod tests;
