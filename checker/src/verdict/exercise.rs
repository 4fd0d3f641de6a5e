//! What a run exercised, counted partition by partition and fault by fault: further demands of
//! [`super::vacuity`].
//!
//! * `operations-in-faults`: while a fault was in effect, some client did something. A fault that
//!   nobody met tested nothing.
//! * `acks-at-risk`: messages were acknowledged whose partition then got another leader. Only such
//!   an acknowledgement could have been lost by an election.
//! * `partitions-in-use`: messages were acknowledged in every partition that the sampler asked
//!   about. Of an idle partition nothing is known.

use super::Criterion;
use super::faults::Fault;
use crate::History;
use crate::analysis::facts::acknowledged;
use crate::analysis::{KeyAnswers, Watermarks};
use crate::history::{Op, RunKind};

/// While each fault was in effect, some client did something.
pub(super) fn met_by_operations(history: &History, faults: &[Fault]) -> Option<Criterion> {
    let effective: Vec<&Fault> = faults.iter().filter(|f| f.effective.is_some()).collect();
    if effective.is_empty() {
        return None;
    }
    let mut met = vec![0_u64; effective.len()];
    for op in history.ops().iter().filter(|op| op.function.is_data()) {
        for (count, fault) in met.iter_mut().zip(&effective) {
            *count += u64::from(fault.overlaps(op));
        }
    }
    let pairs = || effective.iter().zip(&met);
    let alone = pairs().filter(|(_, count)| **count == 0);
    let alone: Vec<String> = alone.map(|(fault, _)| fault.name()).collect();
    let achieved = effective.len() - alone.len();
    let fewest = met.iter().min().copied().unwrap_or(0);
    let mut says = format!(
        "{achieved} of {} faults were met by operations of clients (the fewest: {fewest})",
        effective.len()
    );
    if !alone.is_empty() {
        says += &format!(" (not: {})", alone.join(", "));
    }
    Some(Criterion {
        name: "operations-in-faults".to_owned(),
        achieved: achieved as f64,
        required: effective.len() as f64,
        met: alone.is_empty(),
        says,
    })
}

/// What each partition's acknowledgements went through.
pub(super) struct Partitions {
    /// Partitions that the sampler asked about.
    asked: u64,
    /// Of these, with acknowledged messages.
    used: u64,
    /// The first few without.
    idle: Vec<String>,
    /// Acknowledged messages whose partition then got another leader, before the brokers were
    /// restarted on purpose.
    at_risk: u64,
}

const NAMED: usize = 5;

impl Partitions {
    pub(super) fn of(history: &History, watermarks: &Watermarks) -> Self {
        let restart = history.phases.iter();
        let restart = restart.filter(|phase| phase.name.contains("restart"));
        let restart = restart.map(|phase| phase.at.seq).min().unwrap_or(u32::MAX);
        let keys = history.keys().len();
        let mut changed = vec![None; keys];
        for (key, answers) in watermarks.iter() {
            changed[key.at()] = last_change(answers, restart);
        }
        let (mut counts, mut at_risk) = (vec![0_u64; keys], 0);
        for op in history.ops().iter().filter(|op| op.function.is_data()) {
            for (key, count) in acknowledged_by_key(history, op) {
                counts[key] += count;
                if changed[key].is_some_and(|change| op.completed.seq < change) {
                    at_risk += count;
                }
            }
        }
        let idle = watermarks.iter().filter(|(key, _)| counts[key.at()] == 0);
        let idle = idle.map(|(key, _)| history.keys().name(key).to_owned());
        let idle: Vec<String> = idle.collect();
        let asked = watermarks.iter().count() as u64;
        Self {
            asked,
            used: asked - idle.len() as u64,
            idle: idle.into_iter().take(NAMED).collect(),
            at_risk,
        }
    }

    /// `acks-at-risk`.
    pub(super) fn at_risk(&self) -> Criterion {
        let n = self.at_risk;
        Criterion {
            name: "acks-at-risk".to_owned(),
            achieved: n as f64,
            required: 1.0,
            met: n > 0,
            says: format!(
                "{n} messages were acknowledged before their partition got another leader, which \
                 had to have them"
            ),
        }
    }

    /// `partitions-in-use`.
    pub(super) fn in_use(&self) -> Option<Criterion> {
        if self.asked == 0 {
            return None;
        }
        let mut says = format!(
            "messages were acknowledged in {} of {} partitions",
            self.used, self.asked
        );
        if !self.idle.is_empty() {
            let more = self.asked - self.used - self.idle.len() as u64;
            let more = if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            says += &format!(" (idle: {}{more})", self.idle.join(", "));
        }
        Some(Criterion {
            name: "partitions-in-use".to_owned(),
            achieved: self.used as f64,
            required: self.asked as f64,
            met: self.idle.is_empty(),
            says,
        })
    }
}

/// When a leader epoch higher than all before it was last heard of.
fn last_change(answers: &KeyAnswers, until: u32) -> Option<u32> {
    let (mut known, mut last) = (None, None);
    for answer in answers.answers.iter().filter(|a| a.completed < until) {
        let Some(epoch) = answer.sample.epoch else {
            continue;
        };
        if known.is_some_and(|known| epoch > known) {
            last = Some(answer.completed);
        }
        known = known.max(Some(epoch));
    }
    last
}

fn acknowledged_by_key<'a>(
    history: &'a History,
    op: &'a Op,
) -> impl Iterator<Item = (usize, u64)> + 'a {
    let sends = history.runs(op).iter();
    let sends = sends.filter(|run| run.kind == RunKind::Send);
    sends.map(move |run| {
        let records = history.records(run).iter();
        let count = records.filter(|&&record| acknowledged(op, record)).count();
        (run.key.at(), count as u64)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::testing::script;
    use crate::verdict::faults::faults;

    #[test]
    fn only_what_was_acknowledged_before_another_leader_is_at_risk() {
        let history = script(
            "
            0 ok send x-0=1@0 x-0=2@1
            sample x-0 hw=2 epoch=3 asked=1
            0 ok send x-0=3@2 x-1=1@0
            sample x-0 hw=3 epoch=4 asked=2
            0 ok send x-0=4@3
            sample x-1 hw=1 epoch=1 asked=1
            ",
        );
        let partitions = Partitions::of(&history, &Watermarks::collect(&history));
        assert_eq!(partitions.at_risk, 3);
        assert!(partitions.in_use().expect("sampled").met);
        let calm = script("0 ok send x-0=1@0\nsample x-0 hw=1 epoch=3 asked=1");
        let partitions = Partitions::of(&calm, &Watermarks::collect(&calm));
        assert!(!partitions.at_risk().met);
    }

    #[test]
    fn an_idle_partition_is_named() {
        let history = script(
            "
            0 ok send x-0=1@0
            0 fail send x-1=1
            sample x-0 hw=1 epoch=1 asked=1
            sample x-1 hw=0 epoch=1 asked=1
            ",
        );
        let partitions = Partitions::of(&history, &Watermarks::collect(&history));
        let criterion = partitions.in_use().expect("sampled");
        assert!(!criterion.met);
        assert!(
            criterion.says.ends_with("1 of 2 partitions (idle: x-1)"),
            "{}",
            criterion.says
        );
    }

    #[test]
    fn a_fault_that_nobody_met_tested_nothing() {
        let step = |id: u32, step: &str| {
            format!(
                r#"{{"process":"nemesis","type":"info","f":"kill","value":{{"fault":"kill","id":{id},"step":"{step}","targets":[1]}}}}"#
            )
        };
        let history = script(&format!(
            "{}\n{}\n0 ok send x-0=1@0\n{}\n{}\n{}\n{}",
            step(1, "asked"),
            step(1, "effective"),
            step(1, "verified"),
            step(2, "asked"),
            step(2, "effective"),
            step(2, "verified"),
        ));
        let faults = faults(&history, &Watermarks::collect(&history));
        let criterion = met_by_operations(&history, &faults).expect("there are faults");
        assert!(!criterion.met);
        assert!(
            criterion.says.ends_with("(not: kill 2)"),
            "{}",
            criterion.says
        );
    }
}
