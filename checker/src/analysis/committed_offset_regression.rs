//! `committed-offset-regression`: a group's committed offset went back, though nobody reset it.
//!
//! An answer to `fetch-offsets` is lower than an offset that is known to have been in force before
//! it was asked for, and no attempt to commit the lower one can have come in between: none that was
//! still under way, or undecided, after the higher one was asked for. (A client that seeks back and
//! commits is such an attempt.)

use super::facts::Facts;
use super::findings::{Details, Findings};
use super::group_offsets::{Entry, GroupOffsets};
use super::kind::Kind;

/// How many proofs back are compared: an offset that went back does so between neighbours.
const REACH: usize = 64;

/// Finds committed offsets that went back.
pub(super) fn find(facts: &Facts, offsets: &GroupOffsets, findings: &mut Findings) {
    for (group, key, entries) in offsets.iter() {
        for (at, answer) in entries.iter().enumerate().filter(|(_, entry)| entry.answer) {
            let proofs = entries[..at].iter().rev().filter(|entry| entry.proven);
            let higher = proofs.take(REACH).find(|proof| {
                proof.offset > answer.offset
                    && proof.over < answer.invoked
                    && !explained(entries, proof, answer)
                    && !offsets.unknown_between(proof.invoked, answer.over)
            });
            let Some(higher) = higher else { continue };
            findings.add(Kind::CommittedOffsetRegression, key, || {
                Details::new(facts.history)
                    .key(key)
                    .json("group", group)
                    .json("from", higher.offset)
                    .json("to", (answer.offset >= 0).then_some(answer.offset))
                    .ops("ops", &[higher.op, answer.op])
                    .finish()
            });
        }
    }
}

fn explained(entries: &[Entry], proof: &Entry, answer: &Entry) -> bool {
    entries.iter().any(|attempt| {
        !attempt.answer
            && attempt.op != proof.op
            && attempt.offset == answer.offset
            && attempt.over > proof.invoked
            && attempt.invoked < answer.over
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::analysis::testing::{names, own};

    fn op(kind: &str, f: &str, offset: &str) -> String {
        format!(
            r#"{{"process":1,"type":"{kind}","f":"{f}","value":{{"group":"g","offsets":{{"x":{offset}}}}}}}"#
        )
    }

    fn script(steps: &[(&str, &str, &str)]) -> Findings<'static> {
        let steps = steps.iter().map(|(kind, f, offset)| {
            format!("{}\n{}\n", op("invoke", f, offset), op(kind, f, offset))
        });
        let polled = r#"{"process":1,"type":"ok","f":"poll","group":"g","value":[["poll",{"x":[[0,1],[1,2],[2,3]]}]]}"#;
        own(&format!(
            "0 ok send x=1@0 x=2@1 x=3@2\n{polled}\n{}",
            steps.collect::<String>()
        ))
    }

    #[test]
    fn the_answer_is_older_than_the_commit() {
        let findings = script(&[
            ("ok", "commit-offsets", "1"),
            ("ok", "commit-offsets", "3"),
            ("ok", "fetch-offsets", "1"),
        ]);
        let found = findings
            .get(Kind::CommittedOffsetRegression)
            .expect("found");
        assert_eq!(found.listed[0].details["from"], json!(3));
        assert_eq!(found.listed[0].details["to"], json!(1));
        let findings = script(&[
            ("ok", "fetch-offsets", "2"),
            ("ok", "fetch-offsets", "null"),
        ]);
        assert_eq!(findings.total(Kind::CommittedOffsetRegression), 1);
    }

    #[test]
    fn somebody_committed_the_lower_one() {
        for kind in ["ok", "info"] {
            let findings = script(&[
                ("ok", "commit-offsets", "3"),
                (kind, "commit-offsets", "1"),
                ("ok", "fetch-offsets", "1"),
            ]);
            assert!(names(&findings).is_empty(), "{:?}", names(&findings));
        }
    }
}
