//! The in-sync replicas as a leader holds them: committed, or with one change under way.
//!
//! The leader never decides its own ISR, it proposes ([`Proposal`], KIP-497). Until it knows the
//! outcome the high watermark counts the *maximal* ISR: the committed members and a pending
//! joiner; a pending leaver still counts (R6, invariant I13). Then the set that the leader counts
//! is a superset of any set that the controller may elect from.

use std::collections::BTreeSet;

use crate::chaos::seeded_bug::{BugSet, SeededBug};
use crate::types::{BrokerEpoch, BrokerId, LeaderEpoch, PartitionEpoch};

/// What the leader asks of the controller: a compare-and-swap of the whole ISR.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Proposal {
    /// The leadership in which it is proposed.
    pub leader_epoch: LeaderEpoch,
    /// The committed state that it starts from.
    pub partition_epoch: PartitionEpoch,
    /// The new ISR, each member with the incarnation that the leader means.
    pub new_isr: Vec<(BrokerId, BrokerEpoch)>,
}

/// What became of a proposal (R9).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AlterReply {
    /// Committed; adopted if it is newer than what the leader has.
    Committed {
        /// After the change.
        partition_epoch: PartitionEpoch,
        /// The committed ISR.
        isr: BTreeSet<BrokerId>,
    },
    /// Decided and nothing changed, for the sake of a proposed member: INELIGIBLE_REPLICA,
    /// OPERATION_NOT_ATTEMPTED.
    Ineligible,
    /// The controller is ahead of this leader (FENCED_LEADER_EPOCH, INVALID_UPDATE_VERSION,
    /// NEW_LEADER_ELECTED, unknown topic, invalid request): an earlier try may have been
    /// committed, so the change stays pending until a newer image tells.
    Outdated,
    /// Decided, nothing changed, and the same proposal may succeed later.
    TryAgain,
    /// No decision is known: it may be committed, now or later.
    Unknown,
}

/// How far a pending change has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Attempt {
    /// A proposal is on its way; otherwise it is due to be sent (again).
    in_flight: bool,
    /// A try ended without a decision: a copy of the proposal may still be under way.
    doubtful: bool,
}

/// Whether a change of the ISR is under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum IsrState {
    /// None is.
    Committed,
    /// A follower is to join.
    PendingExpand {
        /// Who joins; it counts for the high watermark at once.
        joiner: BrokerId,
        /// How far it has come.
        attempt: Attempt,
    },
    /// Followers are to leave.
    PendingShrink {
        /// Who leaves; they count until the controller has committed.
        leavers: BTreeSet<BrokerId>,
        /// How far it has come.
        attempt: Attempt,
    },
}

/// The ISR of one leadership.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Isr {
    committed: BTreeSet<BrokerId>,
    partition_epoch: PartitionEpoch,
    state: IsrState,
}

impl Isr {
    /// As an image has it.
    #[must_use]
    pub fn committed_at(committed: BTreeSet<BrokerId>, partition_epoch: PartitionEpoch) -> Self {
        Self {
            committed,
            partition_epoch,
            state: IsrState::Committed,
        }
    }

    /// The members that the controller has committed, as far as the leader knows.
    #[must_use]
    pub fn committed(&self) -> &BTreeSet<BrokerId> {
        &self.committed
    }

    /// The committed state's number.
    #[must_use]
    pub fn partition_epoch(&self) -> PartitionEpoch {
        self.partition_epoch
    }

    /// Whether a change is under way.
    #[must_use]
    pub fn state(&self) -> &IsrState {
        &self.state
    }

    /// No change is under way: another may be proposed.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.state == IsrState::Committed
    }

    /// A proposal was made whose outcome is not known.
    #[must_use]
    pub fn is_doubtful(&self) -> bool {
        match &self.state {
            IsrState::Committed => false,
            IsrState::PendingExpand { attempt, .. } | IsrState::PendingShrink { attempt, .. } => {
                attempt.doubtful
            }
        }
    }

    /// R6: whether `id` counts for the high watermark.
    #[must_use]
    pub fn counts(&self, id: BrokerId, bugs: BugSet) -> bool {
        match &self.state {
            IsrState::PendingExpand { joiner, .. } if *joiner == id => {
                !bugs.has(SeededBug::ExpandAfterCommit)
            }
            IsrState::PendingShrink { leavers, .. }
                if bugs.has(SeededBug::ShrinkBeforeCommit) && leavers.contains(&id) =>
            {
                false
            }
            _ => self.committed.contains(&id),
        }
    }

    /// R6: everybody who counts.
    #[must_use]
    pub fn maximal(&self) -> BTreeSet<BrokerId> {
        let mut maximal = self.committed.clone();
        if let IsrState::PendingExpand { joiner, .. } = self.state {
            maximal.insert(joiner);
        }
        maximal
    }

    /// R7: `joiner` is to join. Due to be sent.
    pub fn expand(&mut self, joiner: BrokerId) {
        assert!(self.is_settled(), "one change of the ISR at a time");
        let attempt = Attempt::default();
        self.state = IsrState::PendingExpand { joiner, attempt };
    }

    /// R8: `leavers` are to leave. Due to be sent.
    pub fn shrink(&mut self, leavers: BTreeSet<BrokerId>) {
        assert!(self.is_settled(), "one change of the ISR at a time");
        let attempt = Attempt::default();
        self.state = IsrState::PendingShrink { leavers, attempt };
    }

    /// The ISR to propose now, if a proposal is due; from then on it counts as in flight.
    #[must_use]
    pub fn take_due(&mut self) -> Option<BTreeSet<BrokerId>> {
        let mut proposed = self.committed.clone();
        let attempt = match &mut self.state {
            IsrState::Committed => return None,
            IsrState::PendingExpand { joiner, attempt } => {
                proposed.insert(*joiner);
                attempt
            }
            IsrState::PendingShrink { leavers, attempt } => {
                proposed.retain(|id| !leavers.contains(id));
                attempt
            }
        };
        if attempt.in_flight {
            return None;
        }
        attempt.in_flight = true;
        Some(proposed)
    }

    /// R9: takes over a newer committed state. Returns whether it was newer.
    pub fn adopt(
        &mut self,
        committed: &BTreeSet<BrokerId>,
        partition_epoch: PartitionEpoch,
    ) -> bool {
        let newer = partition_epoch > self.partition_epoch;
        if newer {
            // Whatever was pending was proposed against an older state: it is either part of
            // this one, or its compare-and-swap can no longer succeed.
            *self = Self::committed_at(committed.clone(), partition_epoch);
        }
        newer
    }

    /// R9: the outcome of the proposal that was made against `proposed_at`.
    pub fn reply(&mut self, proposed_at: PartitionEpoch, reply: &AlterReply, bugs: BugSet) {
        if proposed_at != self.partition_epoch {
            return;
        }
        if let AlterReply::Committed {
            partition_epoch,
            isr,
        } = reply
        {
            self.adopt(isr, *partition_epoch);
            return;
        }
        let (IsrState::PendingExpand { attempt, .. } | IsrState::PendingShrink { attempt, .. }) =
            &mut self.state
        else {
            return;
        };
        match reply {
            AlterReply::Committed { .. } | AlterReply::Outdated => {}
            AlterReply::TryAgain => attempt.in_flight = false,
            AlterReply::Unknown if bugs.has(SeededBug::RollbackOnUnknown) => {
                self.state = IsrState::Committed;
            }
            AlterReply::Unknown => {
                attempt.in_flight = false;
                attempt.doubtful = true;
            }
            // A copy without an answer can still be committed before the refusal's own image
            // (which raises the partition epoch) has come: the change stays pending until then.
            AlterReply::Ineligible if attempt.doubtful => {}
            AlterReply::Ineligible => self.state = IsrState::Committed,
        }
    }
}

#[cfg(test)]
#[path = "isr_test.rs"]
mod tests;
