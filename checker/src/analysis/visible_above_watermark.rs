//! `visible-above-watermark`: a consumer was given a record that the watermark does not cover.
//!
//! Consumers see only what lies below the high watermark, at every level of acknowledgement. So a
//! record delivered at an offset at or above a high watermark which was *asked for after* that
//! delivery was shown before it was safe, or has been lost since. Excused as in
//! [`super::stale_watermark`]: an answer that may come from a deposed leader.

use super::facts::Facts;
use super::findings::{Details, Findings};
use super::kind::Kind;
use super::watermarks::{Frontiers, Watermarks};
use crate::history::{Outcome, RunKind};

/// Finds records shown above the watermark.
pub(super) fn find(facts: &Facts, watermarks: &Watermarks, findings: &mut Findings) {
    if facts.history.samples.is_empty() {
        return;
    }
    let mut delivered = Frontiers::new(watermarks);
    for (id, op) in facts
        .data_ops()
        .filter(|(_, op)| op.outcome != Outcome::Open)
    {
        for run in facts
            .history
            .runs(op)
            .iter()
            .filter(|run| run.kind == RunKind::Poll)
        {
            let offsets = facts
                .history
                .records(run)
                .iter()
                .filter_map(|record| record.offset());
            if let Some(offset) = offsets.max() {
                delivered.advance(run.key, op.completed.seq, offset, id);
            }
        }
    }
    for (key, answers) in watermarks.iter() {
        for (position, answer) in answers.answers.iter().enumerate() {
            let Some(watermark) = answer.sample.high_watermark else {
                continue;
            };
            let Some((offset, reader)) = delivered.before(key, answer.invoked) else {
                continue;
            };
            if watermark > offset || !answers.speaks_for_leader(position, offset) {
                continue;
            }
            findings.add(Kind::VisibleAboveWatermark, key, || {
                Details::new(facts.history)
                    .key(key)
                    .json("offset", offset)
                    .json("high-watermark", watermark)
                    .json("epoch", answer.sample.epoch)
                    .json("asked", answer.sample.asked)
                    .op("reader", Some(reader))
                    .op("op", Some(answer.sample.op))
                    .finish()
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::analysis::testing::{names, own};

    #[test]
    fn read_first_and_not_covered_later() {
        let findings = own("
            0 info send x=1
            1 ok poll x:1@0
            sample x hw=0 epoch=2 asked=1
        ");
        let found = &findings
            .get(Kind::VisibleAboveWatermark)
            .expect("found")
            .listed[0]
            .details;
        assert_eq!(
            (&found["offset"], &found["high-watermark"]),
            (&json!(0), &json!(0))
        );
        assert_eq!((&found["reader"], &found["op"]), (&json!(3), &json!(5)));
    }

    #[test]
    fn asked_before_the_delivery_or_of_an_older_epoch() {
        let findings = own("
            0 ok send x=1@0
            1> poll
            sample x hw=1 epoch=3 asked=2
            1< ok poll x:1@0
            sample x hw=0 epoch=2 asked=1
        ");
        assert!(names(&findings).is_empty(), "{:?}", names(&findings));
    }
}
