//! Requests that wait for a partition: produces for their records to be held, fetches for more
//! to read.
//!
//! A parked produce belongs to a leadership: when that ends it fails, and never completes later,
//! because another leader's log may hold other records at the same offsets. It is owned by the
//! partition's actor, which alone completes it.
//!
//! A parked fetch is woken after a view was published that differs in what it waits for
//! ([`Seen`]); how, without a lock and without losing a wake-up, is told in
//! [`crate::replica::publication`].

use std::collections::BTreeMap;

use tokio::sync::Notify;

use crate::replica::publication::{Shows, Wake};
use crate::replica::view::{Isolation, PartitionView};
use crate::types::{Acks, LeaderEpoch, Offset};

/// Produces that wait, by the offset of their last record.
pub struct ProduceWaiters<T> {
    /// acks=1: for the leader to hold it.
    held: BTreeMap<(Offset, u64), T>,
    /// acks=all: for the high watermark.
    committed: BTreeMap<(Offset, u64), T>,
    /// Tells apart those that wait for the same offset (a batch and its repetition).
    next: u64,
}

impl<T> Default for ProduceWaiters<T> {
    fn default() -> Self {
        Self {
            held: BTreeMap::new(),
            committed: BTreeMap::new(),
            next: 0,
        }
    }
}

impl<T> ProduceWaiters<T> {
    /// Parks a request whose last record is at `last`.
    pub fn park(&mut self, acks: Acks, last: Offset, waiter: T) {
        let key = (last, self.next);
        self.next += 1;
        match acks {
            Acks::All => self.committed.insert(key, waiter),
            Acks::Zero | Acks::One => self.held.insert(key, waiter),
        };
    }

    /// Takes out those of `acks` whose last record is below `end`, in the order of offsets.
    pub fn take_below(&mut self, acks: Acks, end: Offset) -> Vec<(Offset, T)> {
        let parked = match acks {
            Acks::All => &mut self.committed,
            Acks::Zero | Acks::One => &mut self.held,
        };
        if parked.first_key_value().is_none_or(|(key, _)| key.0 >= end) {
            return Vec::new();
        }
        let rest = parked.split_off(&(end, 0));
        let ready = std::mem::replace(parked, rest);
        ready
            .into_iter()
            .map(|((last, _), waiter)| (last, waiter))
            .collect()
    }

    /// Takes out all: the leadership has ended.
    pub fn take_all(&mut self) -> Vec<T> {
        let held = std::mem::take(&mut self.held);
        let committed = std::mem::take(&mut self.committed);
        held.into_values().chain(committed.into_values()).collect()
    }

    /// Forgets those that nobody waits for any more.
    pub fn retain(&mut self, mut waits: impl FnMut(&T) -> bool) {
        self.held.retain(|_, waiter| waits(waiter));
        self.committed.retain(|_, waiter| waits(waiter));
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.held.len() + self.committed.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a parked fetch has seen of a partition: it waits for anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    isolation: Isolation,
    epoch: LeaderEpoch,
    is_leader: bool,
    up_to: Offset,
    /// Followers also wait for the watermark, so that theirs is not late by a poll interval.
    hw: Option<Offset>,
    /// Followers also hear soon that records were deleted.
    log_start: Option<Offset>,
}

impl Seen {
    /// What `view` shows to `isolation`.
    #[must_use]
    pub fn of(view: &PartitionView, isolation: Isolation) -> Self {
        Self {
            isolation,
            epoch: view.epoch,
            is_leader: view.is_leader(),
            up_to: view.bound(isolation).up_to(),
            hw: (isolation == Isolation::Replica).then_some(view.hw),
            log_start: (isolation == Isolation::Replica).then(|| view.log_start()),
        }
    }
}

impl Shows for PartitionView {
    type Seen = Seen;

    fn shows_else(&self, seen: &Seen) -> bool {
        Seen::of(self, seen.isolation) != *seen
    }
}

impl Wake for Notify {
    fn wake(&self) {
        self.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn produces_are_taken_when_the_end_has_passed_their_last_record() {
        let mut waiters = ProduceWaiters::default();
        waiters.park(Acks::All, Offset(4), "all 4");
        waiters.park(Acks::All, Offset(9), "all 9");
        waiters.park(Acks::All, Offset(4), "its repetition");
        waiters.park(Acks::One, Offset(4), "one 4");
        assert_eq!(waiters.take_below(Acks::All, Offset(4)), vec![]);
        assert_eq!(
            waiters.take_below(Acks::All, Offset(5)),
            vec![(Offset(4), "all 4"), (Offset(4), "its repetition")]
        );
        assert_eq!(
            waiters.take_below(Acks::One, Offset(9)),
            vec![(Offset(4), "one 4")]
        );
        assert_eq!(waiters.len(), 1);
        assert_eq!(waiters.take_all(), vec!["all 9"]);
        assert!(waiters.is_empty());
    }
}
