//! `G1a`, aborted read: an ok poll returned a message whose send certainly failed.
//!
//! (Adya, 2000.) A send that failed did not happen. In our own dialect a value that was sent twice
//! proves nothing: the other send may have happened (`non-unique-write`).

use super::facts::{Dialect, Facts, Message, NONE};
use super::findings::{About, Details, Findings};
use super::kind::Kind;
use super::lost_write::by_transaction;
use crate::history::{Outcome, RunKind};

/// Finds aborted reads.
pub(super) fn find(facts: &Facts, findings: &mut Findings) {
    let aborted = |message: &Message| {
        message.failed() && (message.sends == 1 || facts.dialect == Dialect::Jepsen)
    };
    let mut messages = facts.keys.iter().flat_map(|key| &key.messages);
    if !messages.any(|message| aborted(message) && message.read_ok()) {
        return;
    }
    for (id, op) in facts.data_ops().filter(|(_, op)| op.outcome == Outcome::Ok) {
        for run in facts
            .history
            .runs(op)
            .iter()
            .filter(|run| run.kind == RunKind::Poll)
        {
            for (_, number) in facts.messages_of(run).filter(|&(_, number)| number != NONE) {
                let message = &facts.key(run.key).messages[number as usize];
                if aborted(message) {
                    let about = About::from(run.key).transactional(by_transaction(facts, message));
                    findings.add(Kind::G1a, about, || {
                        Details::new(facts.history)
                            .key(run.key)
                            .value(message.value)
                            .op("writer", message.writer())
                            .op("reader", Some(id))
                            .finish()
                    });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::analysis::testing::{names, own};

    #[test]
    fn a_failed_send_was_read() {
        let findings = own("
            0 fail send x=1
            1 ok poll x:1@0
        ");
        let found = &findings.get(Kind::G1a).expect("found").listed[0].details;
        assert_eq!((&found["writer"], &found["reader"]), (&json!(1), &json!(3)));
    }

    #[test]
    fn reading_what_may_have_happened_is_fine() {
        let findings = own("
            0 info send x=1
            1 ok poll x:1@0
            2 fail send x=2
        ");
        assert!(names(&findings).is_empty());
    }
}
