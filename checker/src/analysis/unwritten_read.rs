//! `unwritten-read`: a poll returned a message that nobody sent, or one that is damaged.
//!
//! A send that failed, or that never completed, is still somebody's send: reading it is another
//! matter (`G1a`, or nothing at all). A record whose checksum does not match its content counts
//! whoever may have sent it; its value is null and the reason stands beside it.
//! (jepsen.tests.kafka stops with an exception here: section 7.)

use super::facts::{Facts, NONE};
use super::findings::{Details, Findings};
use super::kind::Kind;
use crate::history::{Op, OpId, Record, RunKind, Value};

/// Finds reads of what nobody wrote.
pub(super) fn find(facts: &Facts, findings: &mut Findings) {
    for key in &facts.keys {
        for message in key.messages.iter().filter(|message| message.sends == 0) {
            findings.add(Kind::UnwrittenRead, key.key, || {
                let first = key.first(message);
                let offset = (first != NONE).then(|| key.log.offsets[first as usize]);
                Details::new(facts.history)
                    .key(key.key)
                    .value(message.value)
                    .json("offset", offset)
                    .op("reader", message.first_reader())
                    .finish()
            });
        }
    }
    for (id, op) in facts.data_ops() {
        let corrupt = facts
            .history
            .detail(op)
            .map_or(&[][..], |detail| &detail.corrupt);
        for (position, why) in corrupt {
            damaged(facts, findings, (id, op), *position, why);
        }
    }
}

fn damaged(
    facts: &Facts,
    findings: &mut Findings,
    (id, op): (OpId, &Op),
    position: u32,
    why: &str,
) {
    let mut before = 0;
    let run = facts.history.runs(op).iter().find(|run| {
        before += run.len;
        before > position
    });
    let Some(run) = run.filter(|run| run.kind == RunKind::Poll) else {
        return;
    };
    let at = position - (before - run.len);
    let record: Record = facts.history.records(run)[at as usize];
    findings.add(Kind::UnwrittenRead, run.key, || {
        Details::new(facts.history)
            .key(run.key)
            .value(Value::NULL)
            .json("offset", record.offset())
            .op("reader", Some(id))
            .json("corrupt", why)
            .finish()
    });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::analysis::testing::{names, own};

    #[test]
    fn a_phantom_and_a_damaged_record() {
        let findings = own(r#"
            0 ok send x=1@0
            1 ok poll x:1@0,77@1
            {"process":2,"type":"ok","f":"poll","value":[["poll",{"y":[[0,null]],"x":[[0,1],[2,null,{"corrupt":"crc"}]]}]]}
        "#);
        let found = &findings.get(Kind::UnwrittenRead).expect("found").listed;
        assert_eq!(found.len(), 2);
        assert_eq!(
            (&found[0].details["value"], &found[0].details["reader"]),
            (&json!(77), &json!(3))
        );
        assert_eq!(found[1].details["corrupt"], json!("crc"));
        assert_eq!(
            (&found[1].details["key"], &found[1].details["offset"]),
            (&json!("x"), &json!(2))
        );
    }

    #[test]
    fn a_send_that_never_completed_is_somebodys() {
        let findings = own("
            0> send x=1
            1 ok poll x:1@0
        ");
        assert!(names(&findings).is_empty());
    }
}
