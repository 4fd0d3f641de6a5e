//! `precommitted-read`: an operation polled a message that it itself sent.
//!
//! Consumers see committed records only, and a transaction commits after its last poll. Any type
//! of completion counts; at most one finding for each operation.

use super::facts::{Facts, NONE};
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
    let polls = runs
        .iter()
        .any(|run| run.kind == RunKind::Poll && run.len > 0);
    let sent = runs.iter().filter(|run| run.kind == RunKind::Send && polls);
    sent.flat_map(|run| {
        facts
            .messages_of(run)
            .map(move |(record, number)| (run, record, number))
    })
    .find(|&(run, _, number)| {
        number != NONE
            && runs
                .iter()
                .filter(|poll| poll.kind == RunKind::Poll && poll.key == run.key)
                .any(|poll| facts.messages_of(poll).any(|(_, polled)| polled == number))
    })
    .map(|(run, record, _)| (run.key, record.value))
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
