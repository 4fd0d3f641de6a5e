//! `watermark-regression`: a watermark went back.
//!
//! An answer (high watermark or last stable offset) that is lower than one which arrived before it
//! was asked for, although its epoch is at least as high. A leader's watermark never goes back
//! within its epoch, and a new leader answers nothing until its own has passed the start of its
//! epoch. Answers without an epoch prove nothing.

use super::facts::Facts;
use super::findings::{Details, Findings};
use super::kind::Kind;
use super::watermarks::{Answer, Watermarks};
use crate::history::{KeyId, Sample};

type Field = (&'static str, fn(&Sample) -> Option<i64>);

const FIELDS: [Field; 2] = [
    ("high-watermark", |sample| sample.high_watermark),
    ("lso", |sample| sample.last_stable),
];

/// Finds watermarks that went back.
pub(super) fn find(facts: &Facts, watermarks: &Watermarks, findings: &mut Findings) {
    for (key, answers) in watermarks.iter() {
        for field in FIELDS {
            let mut highest = Highest::default();
            answers.after_settled(|answer, settled| {
                highest.take_in(settled, field);
                if let Some(earlier) = highest.above(answer, field) {
                    findings.add(Kind::WatermarkRegression, key, || {
                        detail(facts, key, field, earlier, answer)
                    });
                }
            });
        }
    }
}

/// The highest answers so far by epoch: only those that are above every answer of an earlier epoch,
/// so that they grow with their epochs and the last one up to an epoch is the highest.
#[derive(Default)]
struct Highest<'a> {
    seen: usize,
    by_epoch: Vec<(i64, i64, &'a Answer)>,
}

impl<'a> Highest<'a> {
    /// How many stand for this epoch or an earlier one. Most answers are of the latest epoch.
    fn up_to(&self, epoch: i64) -> usize {
        match self.by_epoch.last() {
            Some(&(latest, ..)) if latest > epoch => {
                self.by_epoch.partition_point(|&(known, ..)| known <= epoch)
            }
            _ => self.by_epoch.len(),
        }
    }

    fn take_in(&mut self, settled: &[&'a Answer], (_, field): Field) {
        for &answer in &settled[self.seen..] {
            let (Some(epoch), Some(offset)) = (answer.sample.epoch, field(&answer.sample)) else {
                continue;
            };
            let mut at = self.up_to(epoch);
            match self.by_epoch[..at].last() {
                Some(&(_, highest, _)) if highest >= offset => continue,
                Some(&(known, ..)) if known == epoch => at -= 1,
                _ => {}
            }
            let passed = self.by_epoch[at..]
                .iter()
                .take_while(|&&(_, highest, _)| highest <= offset)
                .count();
            let new = [(epoch, offset, answer)];
            self.by_epoch.splice(at..at + passed, new);
        }
        self.seen = settled.len();
    }

    /// The highest answer of the same or an earlier epoch, if it is above this one.
    fn above(&self, answer: &Answer, (_, field): Field) -> Option<&'a Answer> {
        let (epoch, offset) = (answer.sample.epoch?, field(&answer.sample)?);
        let &(_, highest, earlier) = self.by_epoch[..self.up_to(epoch)].last()?;
        (highest > offset).then_some(earlier)
    }
}

fn detail(
    facts: &Facts,
    key: KeyId,
    (name, field): Field,
    earlier: &Answer,
    later: &Answer,
) -> super::findings::Finding {
    Details::new(facts.history)
        .key(key)
        .json("field", name)
        .json("from", field(&earlier.sample))
        .json("to", field(&later.sample))
        .json("epochs", vec![earlier.sample.epoch, later.sample.epoch])
        .json("asked", vec![earlier.sample.asked, later.sample.asked])
        .ops("ops", &[earlier.sample.op, later.sample.op])
        .finish()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::analysis::testing::{names, own};

    #[test]
    fn the_new_leader_knows_less() {
        let findings = own("
            sample x hw=9 lso=9 epoch=3 asked=1
            sample x hw=7 lso=9 epoch=4 asked=2
        ");
        let found = &findings
            .get(Kind::WatermarkRegression)
            .expect("found")
            .listed;
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].details["field"], json!("high-watermark"));
        assert_eq!(
            (&found[0].details["from"], &found[0].details["to"]),
            (&json!(9), &json!(7))
        );
        assert_eq!(found[0].details["epochs"], json!([3, 4]));
    }

    #[test]
    fn a_deposed_leader_and_an_answer_in_flight_may_be_lower() {
        let findings = own(r#"
            {"process":"sampler","type":"invoke","f":"list-offsets","value":null}
            {"process":5,"type":"invoke","f":"list-offsets","value":null}
            {"process":5,"type":"ok","f":"list-offsets","value":{"x":{"high-watermark":9,"epoch":4,"asked":2}}}
            {"process":"sampler","type":"ok","f":"list-offsets","value":{"x":{"high-watermark":8,"epoch":4,"asked":2}}}
            sample x hw=5 epoch=3 asked=1
            sample x hw=9 epoch=4 asked=2
        "#);
        assert!(names(&findings).is_empty(), "{:?}", names(&findings));
    }
}
