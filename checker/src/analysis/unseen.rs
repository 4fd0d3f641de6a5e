//! `unseen`: acknowledged, and never read.
//!
//! In our own dialect what is left when nothing else can be proven: the message was acknowledged,
//! no poll of any outcome returned it, and it is neither lost-write nor lost-tail nor vanished.
//! Slow, not lost: alone it makes a run `stalled`. jepsen.tests.kafka counts, at the last ok
//! operation, what ok operations sent and no ok operation polled.
//!
//! (That checker's sets are merged in a way that counts all messages of a key whose first ok poll
//! is the very last ok operation, and which no ok operation sent. The dialect keeps the quirk.)

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use super::claims::Claims;
use super::facts::{Dialect, Facts, NONE};
use super::findings::{Details, Findings};
use super::kind::Kind;
use crate::history::{KeyId, OpId, Outcome, RunKind, Value};

/// Finds unseen messages; one finding for all of them.
pub(super) fn find(facts: &Facts, claims: &Claims, limit: usize, findings: &mut Findings) {
    let last = facts
        .data_ops()
        .filter(|(_, op)| op.outcome == Outcome::Ok)
        .last();
    let mut unseen: BTreeMap<KeyId, Vec<Value>> = BTreeMap::new();
    for key in &facts.keys {
        let start = key
            .messages
            .iter()
            .enumerate()
            .filter(|&(number, message)| match facts.dialect {
                Dialect::Jepsen => message.sent_ok() && !message.read_ok(),
                Dialect::Own => {
                    message.acknowledged()
                        && !message.read()
                        && !claims.holds(key.key, number as u32)
                }
            });
        let values: Vec<Value> = start.map(|(_, message)| message.value).collect();
        if !values.is_empty() {
            unseen.insert(key.key, values);
        }
    }
    if let Some((id, _)) = last.filter(|_| facts.dialect == Dialect::Jepsen) {
        quirk(facts, id, &mut unseen);
    }
    if unseen.is_empty() {
        return;
    }
    let time = last.map_or(-1, |(_, op)| op.completed.time);
    let total = unseen.values().map(|values| values.len() as u64).sum();
    let (counts, messages) = describe(facts, unseen, limit);
    findings.add_whole(Kind::Unseen, total, || {
        Details::new(facts.history)
            .json("time", time)
            .json("unseen", counts)
            .json("messages", messages)
            .finish()
    });
}

fn describe(
    facts: &Facts,
    unseen: BTreeMap<KeyId, Vec<Value>>,
    limit: usize,
) -> (Map<String, Json>, Map<String, Json>) {
    let table = facts.history.values();
    let mut counts = Map::new();
    let mut messages = Map::new();
    for (key, mut values) in unseen {
        let name = facts.history.keys().name(key);
        values.sort_by(|&a, &b| table.compare(a, b));
        counts.insert(name.to_owned(), Json::from(values.len()));
        let listed: Vec<_> = values
            .into_iter()
            .take(limit)
            .map(|v| table.json(v))
            .collect();
        messages.insert(name.to_owned(), Json::from(listed));
    }
    (counts, messages)
}

/// Keys that the last ok operation polled, and no ok operation sent or polled before.
fn quirk(facts: &Facts, last: OpId, unseen: &mut BTreeMap<KeyId, Vec<Value>>) {
    let mut touched = vec![false; facts.keys.len()];
    for (id, op) in facts.data_ops().filter(|(_, op)| op.outcome == Outcome::Ok) {
        for run in facts.history.runs(op) {
            if id != last || run.kind == RunKind::Send {
                touched[run.key.at()] = true;
            }
        }
    }
    let runs = facts.history.runs(facts.history.op(last)).iter();
    for run in runs.filter(|run| run.kind == RunKind::Poll && !touched[run.key.at()]) {
        let values = unseen.entry(run.key).or_default();
        for (record, number) in facts.messages_of(run) {
            if number != NONE && !values.contains(&record.value) {
                values.push(record.value);
            }
        }
    }
    unseen.retain(|_, values| !values.is_empty());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::analysis::testing::{names, own};

    #[test]
    fn acknowledged_and_never_read() {
        let findings = own("
            0 ok send x=1@0 x=2@1 y=5@0
            1 ok poll x:1@0
        ");
        let found = &findings.get(Kind::Unseen).expect("found").listed[0].details;
        assert_eq!(found["unseen"], json!({"x": 1, "y": 1}));
        assert_eq!(found["messages"], json!({"x": [2], "y": [5]}));
        assert_eq!(findings.total(Kind::Unseen), 2);
    }

    #[test]
    fn what_was_never_acknowledged_may_stay_away() {
        let findings = own("
            0 info send x=1
            1 fail send x=2
            2> send x=3
        ");
        assert!(names(&findings).is_empty());
    }
}
