//! Who sees all brokers: what must hold after every step, and once all faults are healed.
//!
//! I6 to I8 and liveness can be told by nobody in the cluster; they are asserted here.

use std::collections::BTreeMap;

use broker::chaos::seeded_bug::BugSet;
use broker::invariants::Invariant;
use broker::types::{LeaderEpoch, Offset};

use crate::cluster::Cluster;
use crate::log::{Log, Record, index};

/// What is true of the whole cluster.
#[derive(Default)]
pub struct Oracle {
    /// What was below some leader's high watermark when it got there.
    pub committed: Vec<Record>,
    hw_of_epoch: BTreeMap<LeaderEpoch, Offset>,
    /// Records that producers were told are safe, by offset.
    pub acknowledged: BTreeMap<usize, Record>,
    /// The first thing that went wrong.
    pub broken: Option<String>,
}

impl Oracle {
    /// Knows what is committed, and nothing else.
    pub fn successor(&self) -> Self {
        Self {
            committed: self.committed.clone(),
            ..Self::default()
        }
    }

    pub fn fail(&mut self, which: Invariant, what: &str) {
        let number = which as u8;
        self.broken
            .get_or_insert_with(|| format!("I{number}: {what}"));
    }

    /// A consumer reads everything below a leader's watermark.
    pub fn observe(&mut self, epoch: LeaderEpoch, hw: Offset, log: &Log) {
        let highest = self.hw_of_epoch.entry(epoch).or_insert(hw);
        if hw < *highest {
            self.fail(Invariant::HwMonotone, "a leader's watermark went back");
        } else {
            *highest = hw;
        }
        let readable = log.below(hw);
        if readable.len() < index(hw) {
            self.fail(Invariant::ViewOrdered, "a watermark above the log's end");
        }
        let common = readable.len().min(self.committed.len());
        if readable[..common] != self.committed[..common] {
            self.fail(
                Invariant::LogsMatch,
                "two values were readable at one offset",
            );
        } else if readable.len() > common {
            self.committed = readable.to_vec();
        }
    }

    /// A producer was told that its record is committed.
    pub fn acknowledge(&mut self, at: usize, record: Record) {
        let before = self.acknowledged.insert(at, record);
        let twice = before.is_some_and(|before| before != record);
        if twice || self.committed.get(at) != Some(&record) {
            self.fail(Invariant::AckedIsHeld, "acknowledged what is not committed");
        }
    }

    /// Everything that must hold between two steps.
    pub fn look(&mut self, cluster: &Cluster) {
        if !self.leader_is_complete(cluster) {
            self.fail(
                Invariant::LeaderComplete,
                "a leader lacks committed records",
            );
        }
        if !self.candidates_are_complete(cluster) {
            self.fail(
                Invariant::CandidatesComplete,
                "a candidate lacks committed records",
            );
        }
        if !self.logs_match(cluster) {
            self.fail(
                Invariant::LogsMatch,
                "two logs differ below both watermarks",
            );
        }
    }

    fn leader_is_complete(&self, cluster: &Cluster) -> bool {
        let image = cluster.controller.partition();
        cluster.nodes.values().all(|node| {
            let newest = |epoch| epoch == image.leader_epoch;
            let core = node.core.as_ref().filter(|core| core.as_leader().is_some());
            core.is_none_or(|core| !newest(core.epoch()) || self.has_committed(&node.log))
        })
    }

    /// A replica that has lost its tail and has not said so yet is no candidate.
    fn candidates_are_complete(&self, cluster: &Cluster) -> bool {
        let image = cluster.controller.partition();
        image.isr.iter().chain(&image.elr).all(|id| {
            let node = &cluster.nodes[id];
            node.has_lost || self.has_committed(&node.log)
        })
    }

    fn logs_match(&self, cluster: &Cluster) -> bool {
        let mut known = cluster.nodes.values().filter_map(|node| {
            let hw = node.core.as_ref()?.hw();
            Some(node.log.below(hw))
        });
        known.all(|log| {
            let common = log.len().min(self.committed.len());
            log[..common] == self.committed[..common]
        })
    }

    fn has_committed(&self, log: &Log) -> bool {
        log.records.starts_with(&self.committed)
    }

    /// Once everything is healed: L1 to L3, equal logs, and no acknowledged record missing.
    pub fn look_at_the_end(&mut self, cluster: &mut Cluster, bugs: BugSet) {
        let mut fail = |what: String| {
            self.broken.get_or_insert(what);
        };
        if !one_leader(cluster) {
            fail("L1: not one leader after healing".to_owned());
        } else if !all_in_sync(cluster) {
            fail("L2: a live replica is not in sync after healing".to_owned());
        } else if !acks_all_succeeds(cluster) {
            fail("L3: acks=all does not succeed after healing".to_owned());
        }
        if self.broken.is_some() {
            return;
        }
        let leader = &cluster.nodes[&cluster.leader().expect("one leader")].log;
        for (at, record) in &self.acknowledged {
            if leader.records.get(*at) != Some(record) {
                self.broken = Some(format!("lost: {record:?} at {at} ({bugs:?})"));
            }
        }
        let mut logs = cluster.nodes.values().map(|node| &node.log.records);
        if !logs.all(|records| *records == leader.records) {
            self.broken = Some("I8: replicas differ when nothing is under way".to_owned());
        }
    }
}

fn one_leader(cluster: &Cluster) -> bool {
    let leads = |id| {
        cluster.nodes[id]
            .core
            .as_ref()
            .and_then(|core| core.as_leader())
    };
    cluster.nodes.keys().filter_map(leads).count() == 1
}

fn all_in_sync(cluster: &Cluster) -> bool {
    cluster.controller.partition().isr.len() == cluster.nodes.len()
}

fn acks_all_succeeds(cluster: &mut Cluster) -> bool {
    let before = cluster.acknowledged_count;
    let Some(leader) = cluster.leader() else {
        return false;
    };
    cluster.produce(leader, broker::types::Acks::All);
    cluster.settle_down(6);
    cluster.acknowledged_count > before
}
