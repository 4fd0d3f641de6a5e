//! `epoch-regression`: one broker's leader epoch for a partition went back.
//!
//! Judged for each broker asked and within one incarnation of it: answers on both sides of a kill
//! (of any broker: what a fault was aimed at is the nemesis's business) or of a phase named
//! `restart` are not compared.

use super::facts::Facts;
use super::findings::{Details, Findings};
use super::kind::Kind;
use super::watermarks::{Answer, Watermarks};
use crate::history::History;

/// Finds epochs that went back.
pub(super) fn find(facts: &Facts, watermarks: &Watermarks, findings: &mut Findings) {
    let restarts = restarts(facts.history);
    for (key, answers) in watermarks.iter() {
        let (mut seen, mut highest) = (0, None);
        answers.after_settled(|answer, settled| {
            let arrived = settled[seen..].iter();
            highest = arrived
                .map(|earlier| earlier.sample.epoch)
                .max()
                .max(highest);
            seen = settled.len();
            if highest.is_none_or(|highest| answer.sample.epoch >= highest) {
                return; // Nobody has seen a higher one.
            }
            let earlier = settled.iter().rev().take(REACH).find(|earlier| {
                earlier.sample.asked.is_some()
                    && earlier.sample.asked == answer.sample.asked
                    && earlier.sample.epoch > answer.sample.epoch
                    && answer.sample.epoch.is_some()
                    && same_incarnation(&restarts, earlier, answer)
            });
            if let Some(earlier) = earlier {
                findings.add(Kind::EpochRegression, key, || {
                    Details::new(facts.history)
                        .key(key)
                        .json("asked", answer.sample.asked)
                        .json("from", earlier.sample.epoch)
                        .json("to", answer.sample.epoch)
                        .ops("ops", &[earlier.sample.op, answer.sample.op])
                        .finish()
                });
            }
        });
    }
}

/// How many answers back are compared: an epoch that went back does so between neighbours.
const REACH: usize = 64;

/// Moments at which a broker may have become another incarnation, ascending.
fn restarts(history: &History) -> Vec<u32> {
    let faults = history.nemesis.iter().filter(|step| {
        ["kill", "crash", "restart", "power", "lose"]
            .iter()
            .any(|word| step.fault.contains(word))
    });
    let phases = history
        .phases
        .iter()
        .filter(|phase| phase.name.contains("restart"));
    let mut moments: Vec<u32> = faults
        .map(|step| step.at.seq)
        .chain(phases.map(|phase| phase.at.seq))
        .collect();
    moments.sort_unstable();
    moments
}

fn same_incarnation(restarts: &[u32], earlier: &Answer, later: &Answer) -> bool {
    let from = restarts.partition_point(|&moment| moment < earlier.invoked);
    restarts
        .get(from)
        .is_none_or(|&moment| moment > later.completed)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::analysis::testing::{names, own};

    #[test]
    fn one_broker_goes_back() {
        let findings = own("
            sample x hw=1 epoch=4 asked=1
            sample x hw=1 epoch=3 asked=1
        ");
        let found = &findings.get(Kind::EpochRegression).expect("found").listed[0].details;
        assert_eq!(
            (&found["from"], &found["to"], &found["asked"]),
            (&json!(4), &json!(3), &json!(1))
        );
    }

    #[test]
    fn another_broker_or_another_incarnation_may() {
        let findings = own(r#"
            sample x hw=1 epoch=4 asked=1
            sample x hw=1 epoch=2 asked=2
            {"process":"nemesis","type":"info","f":"kill","value":{"fault":"kill","id":"1","step":"effective","targets":[1]}}
            sample x hw=1 epoch=3 asked=1
        "#);
        assert!(names(&findings).is_empty(), "{:?}", names(&findings));
    }
}
