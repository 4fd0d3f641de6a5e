//! `precommitted-read`: an operation polled a message that it itself sent.
//!
//! Consumers see committed records only, and a transaction commits after its last poll. Any type
//! of completion counts; at most one finding for each operation.

use super::facts::{Facts, NONE, clojure};
use super::findings::{Details, Findings};
use super::kind::Kind;
use crate::history::{KeyId, Op, RunKind, Value};

/// Finds precommitted reads.
pub(super) fn find(facts: &Facts, findings: &mut Findings) {
    for (id, op) in facts.data_ops() {
        if let Some((key, value)) = own_read(facts, op) {
            findings.add(Kind::PrecommittedRead, key, || {
                Details::new(facts.history)
                    .op("op", Some(id))
                    .key(key)
                    .value(value)
                    .finish()
            });
        }
    }
}

fn own_read(facts: &Facts, op: &Op) -> Option<(KeyId, Value)> {
    let runs = facts.history.runs(op);
    let of = |kind: RunKind, key: Option<KeyId>| {
        let runs = runs
            .iter()
            .filter(move |run| run.kind == kind && key.is_none_or(|k| run.key == k));
        runs.flat_map(|run| {
            facts
                .messages_of(run)
                .map(|(record, number)| (run.key, record, number))
        })
        .filter(|&(_, _, number)| number != NONE)
    };
    if !runs
        .iter()
        .any(|run| run.kind == RunKind::Poll && run.len > 0)
    {
        return None;
    }
    let polled =
        |key: KeyId, sent: u32| of(RunKind::Poll, Some(key)).any(|(_, _, number)| number == sent);
    // Keys in the order of the sends; of several messages the one that jepsen.tests.kafka names.
    let (key, _, _) = of(RunKind::Send, None).find(|&(key, _, number)| polled(key, number))?;
    of(RunKind::Send, Some(key))
        .filter(|&(_, _, number)| polled(key, number))
        .map(|(_, record, _)| record.value)
        .min_by(|&a, &b| clojure::compare(facts.history.values(), a, b))
        .map(|value| (key, value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::analysis::testing::{names, own};

    #[test]
    fn a_transaction_read_its_own_send() {
        let findings = own("0 ok txn y=9@4 x=1@0 x:1@0");
        let found = &findings.get(Kind::PrecommittedRead).expect("found").listed[0].details;
        assert_eq!((&found["key"], &found["value"]), (&json!("x"), &json!(1)));
    }

    #[test]
    fn reading_what_an_earlier_transaction_sent_is_fine() {
        let findings = own("
            0 ok txn x=1@0
            0 ok txn x=2@2 x:1@0
            0 ok poll x:2@2
        ");
        assert!(names(&findings).is_empty(), "{:?}", names(&findings));
    }
}
