//! `stale-watermark`: a high watermark does not cover a message acknowledged before it was asked.
//!
//! With `acks=all` a leader acknowledges offset `o` only when its high watermark is above `o`;
//! every later leader knows at least that much before it answers. So an acknowledgement of `o` that
//! completed before the invocation of a `list-offsets` whose answer is at most `o` proves that the
//! broker answered with an old watermark, or acknowledged too early. Excused: an answer that may
//! come from a deposed leader (see [`super::watermarks`]). No threshold of time is involved.

use super::facts::{Facts, acknowledged};
use super::findings::{Details, Findings};
use super::kind::Kind;
use super::watermarks::{Frontiers, Watermarks};
use crate::history::{Op, OpId, Outcome, RunKind};

/// Finds stale watermarks; nothing where producers did not ask for all acknowledgements.
pub(super) fn find(facts: &Facts, watermarks: &Watermarks, findings: &mut Findings) {
    if !facts.history.acks_all() {
        return;
    }
    let mut frontiers = Frontiers::new(watermarks);
    for (id, op) in facts.data_ops() {
        advance(facts, &mut frontiers, id, op);
    }
    for (key, answers) in watermarks.iter() {
        for (position, answer) in answers.answers.iter().enumerate() {
            let Some(watermark) = answer.sample.high_watermark else {
                continue;
            };
            let Some((offset, writer)) = frontiers.before(key, answer.invoked) else {
                continue;
            };
            if watermark > offset || !answers.speaks_for_leader(position, offset) {
                continue;
            }
            findings.add(Kind::StaleWatermark, key, || {
                Details::new(facts.history)
                    .key(key)
                    .json("offset", offset)
                    .json("high-watermark", watermark)
                    .json("epoch", answer.sample.epoch)
                    .json("asked", answer.sample.asked)
                    .op("writer", Some(writer))
                    .op("op", Some(answer.sample.op))
                    .finish()
            });
        }
    }
}

fn advance(facts: &Facts, frontiers: &mut Frontiers, id: OpId, op: &Op) {
    if matches!(op.outcome, Outcome::Fail | Outcome::Open) {
        return;
    }
    for run in facts
        .history
        .runs(op)
        .iter()
        .filter(|run| run.kind == RunKind::Send)
    {
        let records = facts.history.records(run).iter();
        let acknowledged = records.filter(|&&record| acknowledged(op, record));
        if let Some(offset) = acknowledged.filter_map(|record| record.offset()).max() {
            frontiers.advance(run.key, op.completed.seq, offset, id);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::analysis::testing::{names, own};

    #[test]
    fn the_watermark_lags_behind_an_acknowledgement() {
        let findings = own("
            0 ok send x=1@0 x=2@1
            sample x hw=1 epoch=0 asked=1
            sample x hw=2 epoch=0 asked=1
            1 ok poll x:1@0,2@1
        ");
        let found = &findings.get(Kind::StaleWatermark).expect("found").listed[0].details;
        assert_eq!(
            (&found["offset"], &found["high-watermark"]),
            (&json!(1), &json!(1))
        );
        assert_eq!((&found["writer"], &found["op"]), (&json!(1), &json!(3)));
        assert_eq!(findings.total(Kind::StaleWatermark), 1);
    }

    #[test]
    fn a_deposed_leader_is_excused() {
        for samples in [
            "sample x hw=2 epoch=1 asked=2\nsample x hw=0 epoch=0 asked=1",
            "sample x hw=0 epoch=0 asked=1\nsample x hw=2 epoch=1 asked=2",
            "sample x hw=0 epoch=0 asked=1\nsample x hw=0 epoch=0 asked=1\nsample x hw=2 epoch=1 asked=2",
        ] {
            let findings = own(&format!(
                "0 ok send x=1@0 x=2@1\n{samples}\n1 ok poll x:1@0,2@1"
            ));
            assert!(names(&findings).is_empty(), "{samples}");
        }
    }

    #[test]
    fn an_answer_in_flight_proves_nothing() {
        let findings = own(r#"
            {"process":"sampler","type":"invoke","f":"list-offsets","value":null}
            0 ok send x=1@0
            {"process":"sampler","type":"ok","f":"list-offsets","value":{"x":{"high-watermark":0,"epoch":0,"asked":1}}}
            0> send x=2
            sample x hw=1 epoch=0 asked=1
            0< ok send x=2@1
            1 ok poll x:1@0,2@1
        "#);
        assert!(names(&findings).is_empty(), "{:?}", names(&findings));
    }

    #[test]
    fn acks_1_promises_nothing() {
        let findings = own(r#"
            {"process":"sampler","type":"ok","f":"config","value":{"acks":"1"}}
            0 ok send x=1@0
            sample x hw=0 epoch=0 asked=1
            1 ok poll x:1@0
        "#);
        assert_eq!(findings.total(Kind::StaleWatermark), 0);
    }
}
