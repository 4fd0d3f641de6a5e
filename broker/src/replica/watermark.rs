//! The high watermark: everything below it is committed.
//!
//! A leader's can only rise, within its epoch ([`LeaderHw`], invariant I1 by type). A follower's
//! copies what its leader says, which may be less than it knew before, because a new leader can
//! start with a stale value ([`FollowerHw`]). They turn into each other only when a role begins.

use crate::types::Offset;

/// The high watermark of a leader: monotone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaderHw(Offset);

impl LeaderHw {
    /// A leadership begins with what the replica knew, which may be stale.
    #[must_use]
    pub fn inherit(local: FollowerHw) -> Self {
        Self(local.0)
    }

    /// The watermark.
    #[must_use]
    pub fn get(self) -> Offset {
        self.0
    }

    /// Raises it to `to`; a lower value changes nothing. Returns whether it rose.
    #[must_use]
    pub fn raise(&mut self, to: Offset) -> bool {
        let rises = to > self.0;
        if rises {
            self.0 = to;
        }
        rises
    }
}

/// The high watermark that a follower knows of: what its leader last said, within its own log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FollowerHw(Offset);

impl FollowerHw {
    /// After a restart: the checkpoint, which may be older or (after a lost tail) higher than
    /// the log that was recovered.
    #[must_use]
    pub fn recovered(checkpoint: Offset, log_start: Offset, own_end: Offset) -> Self {
        Self(within(checkpoint, log_start, own_end))
    }

    /// A leadership ended.
    #[must_use]
    pub fn deposed(leader: LeaderHw) -> Self {
        Self(leader.0)
    }

    /// The watermark.
    #[must_use]
    pub fn get(self) -> Offset {
        self.0
    }

    /// Takes over the leader's, as far as the own log reaches. Returns whether it moved,
    /// upwards or downwards.
    #[must_use]
    pub fn learn(&mut self, leader: Offset, log_start: Offset, own_end: Offset) -> bool {
        let next = within(leader, log_start, own_end);
        let moves = next != self.0;
        self.0 = next;
        moves
    }
}

fn within(hw: Offset, log_start: Offset, own_end: Offset) -> Offset {
    hw.min(own_end).max(log_start)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_restart_caps_the_checkpoint_at_what_was_recovered() {
        let recovered = |hw, start, end| {
            FollowerHw::recovered(Offset(hw), Offset(start), Offset(end))
                .get()
                .get()
        };
        assert_eq!(recovered(7, 0, 5), 5);
        assert_eq!(recovered(3, 0, 5), 3);
        assert_eq!(recovered(3, 4, 5), 4);
    }

    proptest! {
        #[test]
        fn a_leaders_watermark_only_rises(
            start in 0i64..100,
            steps in prop::collection::vec(0i64..100, 0..50)
        ) {
            let local = FollowerHw::recovered(Offset(start), Offset(0), Offset(100));
            let mut hw = LeaderHw::inherit(local);
            let mut highest = hw.get();
            for step in steps {
                let rose = hw.raise(Offset(step));
                prop_assert_eq!(rose, Offset(step) > highest);
                prop_assert!(hw.get() >= highest);
                highest = highest.max(Offset(step));
                prop_assert_eq!(hw.get(), highest);
            }
            prop_assert_eq!(FollowerHw::deposed(hw).get(), highest);
        }

        #[test]
        fn a_followers_watermark_stays_within_its_log(
            steps in prop::collection::vec((0i64..100, 0i64..50, 0i64..50), 0..50)
        ) {
            let mut hw = FollowerHw::recovered(Offset(0), Offset(0), Offset(0));
            for (leader, start, length) in steps {
                let before = hw.get();
                let end = start + length;
                let moved = hw.learn(Offset(leader), Offset(start), Offset(end));
                prop_assert_eq!(moved, hw.get() != before);
                prop_assert!(Offset(start) <= hw.get() && hw.get() <= Offset(end));
                prop_assert!(hw.get() <= Offset(leader.max(start)));
            }
        }
    }
}
