//! What is true of the whole cluster, seen by nobody in it.

use std::collections::BTreeMap;

use broker::types::{LeaderEpoch, Offset};

use crate::replica::{ListLog, Record, index};

/// Ghost variables: they are updated with every step and never read by the brokers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ghost {
    /// The committed log: what was below some leader's high watermark when it got there.
    pub committed: Vec<Record>,
    /// Highest watermark of each leadership.
    pub hw_of_epoch: BTreeMap<LeaderEpoch, Offset>,
    /// Records that a producer was told are safe, by offset.
    pub acknowledged: BTreeMap<usize, Record>,
    /// A follower cut its log.
    pub truncated: bool,
    /// A broker has joined the ISR.
    pub joined: bool,
    /// A broker came back with less than it had.
    pub lost_a_tail: bool,
    /// A member of the ELR, outside of the ISR, was elected.
    pub elected_from_elr: bool,
    /// The first thing that went wrong, if anything did.
    pub broken: Option<&'static str>,
}

impl Ghost {
    /// A leader's high watermark is seen: a consumer could read everything below it now.
    pub fn observe(&mut self, epoch: LeaderEpoch, hw: Offset, log: &ListLog) {
        let highest = self.hw_of_epoch.entry(epoch).or_insert(hw);
        if hw < *highest {
            self.broken = Some("I1: a leader's high watermark went back");
        }
        *highest = hw.max(*highest);
        let readable = log.below(hw);
        if readable.len() < index(hw) {
            self.broken = Some("I4: a high watermark above the log end");
        }
        let common = readable.len().min(self.committed.len());
        if readable[..common] != self.committed[..common] {
            self.broken = Some("I5, I8: two values were readable at one offset");
        }
        if readable.len() > self.committed.len() {
            self.committed = readable.to_vec();
        }
    }

    /// A producer was told that `record` at `offset` is safe.
    pub fn acknowledge(&mut self, offset: usize, record: Record) {
        if self
            .acknowledged
            .insert(offset, record)
            .is_some_and(|other| other != record)
        {
            self.broken = Some("two acknowledgements with one offset");
        }
        if self.committed.get(offset) != Some(&record) {
            self.broken = Some("I17: acknowledged before it was committed");
        }
    }
}
