//! Whether a run exercised what it was to exercise. Without that, "nothing wrong" means nothing.
//!
//! Judged where the history holds nemesis operations. For `partition`, `kill` and `pause`: at least
//! one change of the leader epoch for each fault that takes a leader away; at least 10 % of the
//! acknowledgements of sends invoked inside fault windows; at least 95 % of the messages sent
//! outside of them acknowledged. For every kind: each fault that was asked for, and not skipped for
//! want of a target, took effect, and at least one did.
//!
//! A history whose `config` says what was to be (`nemesis`, `faults`: how many were scheduled) is
//! held to that: faults that were never asked for are missing, not "none", and a run without faults
//! must have been available.

use serde_json::Value as Json;

use super::Criterion;
use super::faults::{Fault, acknowledged_in, is_of};
use crate::History;
use crate::history::{Op, RunKind};

const ACKNOWLEDGED_INSIDE: f64 = 0.10;
const ACKNOWLEDGED_OUTSIDE: f64 = 0.95;

/// The demands on a run and what it reached; none where it had no nemesis.
#[must_use]
pub fn criteria(history: &History, faults: &[Fault]) -> Vec<Criterion> {
    let promised = Promised::of(history);
    let mut criteria: Vec<_> = promised.asked(faults).into_iter().collect();
    if faults.is_empty() {
        if promised.by_config {
            criteria.push(available(&Tally::of(history, faults)));
        }
        return criteria;
    }
    criteria.push(effective(faults));
    let drastic = |fault: &&Fault| is_of(&fault.window.fault, &["partition", "kill", "pause"]);
    if !faults.iter().any(|fault| drastic(&fault)) {
        return criteria;
    }
    criteria.extend(leader_changes(faults));
    let tally = Tally::of(history, faults);
    criteria.push(criterion(
        "acks-in-faults",
        ratio(tally.acknowledged_inside, tally.acknowledged),
        ACKNOWLEDGED_INSIDE,
        |achieved, required| {
            format!(
                "{achieved} of the acknowledgements fell inside of faults (at least {required})"
            )
        },
    ));
    criteria.push(available(&tally));
    criteria
}

/// What the run's own `config` says that it was to do.
struct Promised {
    /// The history says with which nemesis it was made.
    by_config: bool,
    /// Faults that were scheduled, at least.
    faults: u64,
}

impl Promised {
    fn of(history: &History) -> Self {
        let nemesis = history.config.get("nemesis").and_then(Json::as_str);
        let scheduled = history.config.get("faults").and_then(Json::as_u64);
        let named = nemesis.is_some_and(|name| name != "none");
        Self {
            by_config: nemesis.is_some(),
            faults: scheduled.unwrap_or(u64::from(named)),
        }
    }

    fn asked(&self, faults: &[Fault]) -> Option<Criterion> {
        let (asked, scheduled) = (faults.len() as u64, self.faults);
        (scheduled > 0).then(|| Criterion {
            name: "faults-scheduled".to_owned(),
            achieved: asked as f64,
            required: scheduled as f64,
            met: asked >= scheduled,
            says: format!("{asked} of {scheduled} scheduled faults were begun"),
        })
    }
}

fn available(tally: &Tally) -> Criterion {
    criterion(
        "available-outside-faults",
        ratio(tally.acknowledged_outside, tally.sent_outside),
        ACKNOWLEDGED_OUTSIDE,
        |achieved, required| {
            format!(
                "{achieved} of the messages sent outside of faults were acknowledged (at least \
                 {required})"
            )
        },
    )
}

fn effective(faults: &[Fault]) -> Criterion {
    let applied = faults.iter().filter(|fault| !fault.skipped).count();
    let effective = faults
        .iter()
        .filter(|fault| fault.effective.is_some())
        .count();
    let skipped = faults.len() - applied;
    let mut says = format!("{effective} of {applied} faults were seen to take effect");
    if skipped > 0 {
        says += &format!(" ({skipped} more found nobody or nothing to hit)");
    }
    Criterion {
        name: "faults-effective".to_owned(),
        achieved: effective as f64,
        required: applied.max(1) as f64,
        met: effective >= applied.max(1),
        says,
    }
}

fn leader_changes(faults: &[Fault]) -> Option<Criterion> {
    let aimed: Vec<_> = faults
        .iter()
        .filter(|fault| fault.demands_leader_change && fault.effective.is_some())
        .collect();
    if aimed.is_empty() {
        return None;
    }
    let without: Vec<_> = aimed
        .iter()
        .filter(|fault| fault.window.leader_changes == 0)
        .map(|fault| fault.name())
        .collect();
    let achieved = aimed.len() - without.len();
    let mut says = format!(
        "{achieved} of {} faults aimed at a leader brought another leader",
        aimed.len()
    );
    if !without.is_empty() {
        says += &format!(" (not: {})", without.join(", "));
    }
    Some(Criterion {
        name: "leader-changes".to_owned(),
        achieved: achieved as f64,
        required: aimed.len() as f64,
        met: without.is_empty(),
        says,
    })
}

fn criterion(
    name: &str,
    achieved: f64,
    required: f64,
    says: impl Fn(String, String) -> String,
) -> Criterion {
    let percent = |part: f64| format!("{:.0} %", part * 100.0);
    // Not rounded up to what was missed.
    let shown = format!("{:.1} %", (achieved * 1000.0).floor() / 10.0);
    Criterion {
        name: name.to_owned(),
        achieved,
        required,
        met: achieved >= required,
        says: says(shown, percent(required)),
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

/// Messages, counted against the windows.
#[derive(Default)]
struct Tally {
    acknowledged: u64,
    acknowledged_inside: u64,
    sent_outside: u64,
    acknowledged_outside: u64,
}

impl Tally {
    fn of(history: &History, faults: &[Fault]) -> Tally {
        let mut tally = Tally::default();
        for op in history.ops().iter().filter(|op| op.function.is_data()) {
            tally.add(history, faults, op);
        }
        tally
    }

    fn add(&mut self, history: &History, faults: &[Fault], op: &Op) {
        let sends = history
            .runs(op)
            .iter()
            .filter(|run| run.kind == RunKind::Send);
        let sent: u64 = sends.map(|run| history.records(run).len() as u64).sum();
        if sent == 0 {
            return;
        }
        let acknowledged = acknowledged_in(history, op);
        self.acknowledged += acknowledged;
        if faults.iter().any(|fault| fault.in_force(op.invoked.seq)) {
            self.acknowledged_inside += acknowledged;
        }
        // An operation that so much as touches a fault may fail because of it.
        if !faults.iter().any(|fault| fault.touches(op)) {
            self.sent_outside += sent;
            self.acknowledged_outside += acknowledged;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::Watermarks;
    use crate::analysis::testing::script;
    use crate::verdict::faults::faults;

    fn step(step: &str, more: &str) -> String {
        format!(
            r#"{{"process":"nemesis","type":"info","f":"kill","value":{{"fault":"kill","id":1,"step":"{step}","targets":[1]{more}}}}}"#
        )
    }

    fn judged(inside: &str, epoch: u32) -> Vec<(String, bool)> {
        let aimed = r#","role":"leader","partition":0"#;
        let history = script(&format!(
            "
            0 ok send x-0=1@0 x-0=2@1
            sample x-0 hw=2 epoch=3 asked=1
            {}
            {}
            {inside}
            {}
            sample x-0 hw=9 epoch={epoch} asked=2
            0 ok send x-0=8@7
            ",
            step("asked", aimed),
            step("effective", aimed),
            step("verified", aimed),
        ));
        let faults = faults(&history, &Watermarks::collect(&history));
        let criteria = criteria(&history, &faults);
        criteria
            .into_iter()
            .map(|criterion| (criterion.name, criterion.met))
            .collect()
    }

    fn unmet(criteria: &[(String, bool)]) -> Vec<&str> {
        criteria
            .iter()
            .filter(|(_, met)| !met)
            .map(|(name, _)| name.as_str())
            .collect()
    }

    #[test]
    fn a_run_that_bit_is_worth_something() {
        let criteria = judged("5 ok send x-0=3@2\n6 info send x-0=4", 4);
        assert_eq!(criteria.len(), 4);
        assert!(unmet(&criteria).is_empty(), "{criteria:?}");
    }

    #[test]
    fn no_new_leader_or_nobody_writing() {
        assert_eq!(unmet(&judged("5 ok send x-0=3@2", 3)), ["leader-changes"]);
        assert_eq!(unmet(&judged("", 4)), ["acks-in-faults"]);
    }

    #[test]
    fn a_cluster_that_is_never_available() {
        let history = script(&format!(
            "
            0 info send x=1
            {}
            {}
            1 ok send x=2@0
            {}
            ",
            step("asked", ""),
            step("effective", ""),
            step("verified", "")
        ));
        let faults = faults(&history, &Watermarks::collect(&history));
        let criteria = criteria(&history, &faults);
        let names: Vec<_> = criteria
            .iter()
            .filter(|c| !c.met)
            .map(|c| c.name.as_str())
            .collect();
        assert_eq!(names, ["available-outside-faults"]);
    }

    #[test]
    fn a_run_is_held_to_what_its_config_promises() {
        let config = |nemesis: &str, faults: u64| {
            format!(
                r#"{{"process":"sampler","type":"ok","f":"config","value":{{"nemesis":"{nemesis}","faults":{faults}}}}}"#
            )
        };
        let judged = |config: String, more: &str| {
            let history = script(&format!("{config}\n0 ok send x=2@0\n{more}"));
            let faults = faults(&history, &Watermarks::collect(&history));
            let criteria = criteria(&history, &faults);
            let named = |c: Criterion| (!c.met).then_some(c.name);
            criteria.into_iter().filter_map(named).collect::<Vec<_>>()
        };
        assert_eq!(judged(config("kill", 3), ""), ["faults-scheduled"]);
        assert_eq!(judged(config("none", 0), ""), Vec::<String>::new());
        let refused = "1 fail send x=3\n1 fail send x=4";
        assert_eq!(
            judged(config("none", 0), refused),
            ["available-outside-faults"]
        );
    }

    #[test]
    fn a_fault_without_effect() {
        let history = script(&step("asked", ""));
        let faults = faults(&history, &Watermarks::collect(&history));
        let criteria = criteria(&history, &faults);
        assert_eq!(
            (criteria[0].name.as_str(), criteria[0].met),
            ("faults-effective", false)
        );
    }
}
