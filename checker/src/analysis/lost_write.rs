//! `lost-write`: an acknowledged message that should have been read was not.
//!
//! For each key: the bound is the highest of the *first* indices of the messages that ok polls
//! returned: whoever read that far should have read everything before. All messages whose *last*
//! index is at or below the bound must have been read. Lost are those that were not, if their
//! write is known to have happened: nobody missed a message that was never written.
//!
//! First and last, so that a message seen at two offsets is judged by the kinder one. In our own
//! dialect a message that any poll returned was not lost by then (a later loss is `vanished`), and
//! one below the log's start was deleted by retention. Messages behind the bound are `lost-tail`
//! or `unseen`, not lost-write.

use std::cmp::Ordering;

use super::claims::Claims;
use super::facts::{Dialect, Facts, KeyFacts, Message, NONE, clojure};
use super::findings::{About, Details, Findings};
use super::kind::Kind;
use super::watermarks::Watermarks;
use crate::history::{Function, OpId};

/// Finds lost writes.
pub(super) fn find(
    facts: &Facts,
    watermarks: &Watermarks,
    claims: &mut Claims,
    findings: &mut Findings,
) {
    for key in &facts.keys {
        let read_ok = key.messages.iter().filter(|message| message.read_ok());
        let Some(bound) = read_ok
            .map(|message| key.first(message))
            .filter(|&i| i != NONE)
            .max()
        else {
            continue;
        };
        let start = watermarks.of(key.key).log_start;
        let mut lost: Vec<(u32, &Message)> = (0..)
            .zip(&key.messages)
            .filter(|(_, message)| key.last(message) != NONE && key.last(message) <= bound)
            .filter(|(_, message)| is_lost(facts, key, message, start))
            .collect();
        lost.sort_by_key(|(_, message)| key.last(message));
        let max_read = reader_at(facts, key, bound);
        for (number, message) in lost {
            claims.add(key.key, number);
            let about = About::from(key.key).transactional(by_transaction(facts, message));
            findings.add(Kind::LostWrite, about, || {
                Details::new(facts.history)
                    .key(key.key)
                    .value(message.value)
                    .json("index", key.first(message))
                    .json("max-read-index", bound)
                    .op("writer", message.writer())
                    .op("max-read", max_read)
                    .finish()
            });
        }
    }
}

/// Whether a transaction sent it.
pub(super) fn by_transaction(facts: &Facts, message: &Message) -> bool {
    let writer = message.writer().map(|writer| facts.history.op(writer));
    writer.is_some_and(|writer| writer.function == Function::Txn)
}

fn is_lost(facts: &Facts, key: &KeyFacts, message: &Message, start: Option<i64>) -> bool {
    let Some(writer) = message.writer() else {
        return false;
    };
    match facts.dialect {
        Dialect::Jepsen => !message.read_ok() && facts.must_have_committed(writer),
        Dialect::Own => {
            let offset = key.log.offsets[key.last(message) as usize];
            let written = message.acknowledged()
                || (facts.history.op(writer).function == Function::Txn
                    && facts.must_have_committed(writer));
            !message.read() && written && start.is_none_or(|start| offset >= start)
        }
    }
}

/// The first operation that read the message which has its last place at that index.
fn reader_at(facts: &Facts, key: &KeyFacts, index: u32) -> Option<OpId> {
    let ordered = key.log.order[index as usize];
    let from = key.log.conflicts.partition_point(|&(at, _)| at < index);
    let beside = key.log.conflicts[from..]
        .iter()
        .take_while(|&&(at, _)| at == index);
    let mut candidates: Vec<&Message> = std::iter::once(ordered)
        .chain(beside.map(|&(_, number)| number))
        .map(|number| &key.messages[number as usize])
        .filter(|message| key.last(message) == index)
        .collect();
    match facts.dialect {
        Dialect::Jepsen if candidates.len() > 1 => {
            pick_as_clojure(facts, key, index, &mut candidates).first_reader()
        }
        Dialect::Jepsen => candidates.first()?.first_reader(),
        Dialect::Own => candidates.into_iter().find_map(Message::first_reader),
    }
}

/// Of several messages jepsen.tests.kafka takes the first of what it put together by walking a map
/// from messages to their last indices: a hash set, but a list (the last one first) where the walk
/// met a higher index before. Maps of up to eight entries are walked in the order of the log,
/// larger ones by hash.
/// ones by hash.
fn pick_as_clojure<'k>(
    facts: &Facts,
    key: &'k KeyFacts,
    index: u32,
    candidates: &mut [&'k Message],
) -> &'k Message {
    let values = facts.history.values();
    let by_hash = |a: &&Message, b: &&Message| clojure::compare(values, a.value, b.value);
    let stored = || {
        key.messages
            .iter()
            .filter(|message| key.last(message) != NONE)
    };
    let small = stored().take(9).count() <= 8;
    let walked = |a: &&Message, b: &&Message| {
        let by_log = if small {
            key.first(a).cmp(&key.first(b))
        } else {
            Ordering::Equal
        };
        by_log.then_with(|| by_hash(a, b))
    };
    candidates.sort_by(walked);
    let first = candidates[0];
    let higher = stored()
        .filter(|message| key.last(message) > index)
        .any(|message| walked(&message, &first).is_lt());
    if higher {
        return candidates[candidates.len() - 1];
    }
    candidates.sort_by(by_hash);
    candidates[0]
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::analysis::testing::{names, own};

    fn detail<'d>(findings: &'d Findings, field: &str) -> &'d Json {
        let found = findings.get(Kind::LostWrite).expect("a lost write");
        &found.listed[0].details[field]
    }

    #[test]
    fn what_a_reader_passed_by_is_lost() {
        let findings = own("
            0 ok send x=1@0 x=2@1 x=3@2
            1 ok poll x:1@0,3@2
        ");
        assert_eq!(findings.total(Kind::LostWrite), 1);
        assert_eq!(detail(&findings, "value"), &json!(2));
        assert_eq!(detail(&findings, "index"), &json!(1));
        assert_eq!(detail(&findings, "max-read-index"), &json!(2));
        assert_eq!(detail(&findings, "writer"), &json!(1));
        assert_eq!(detail(&findings, "max-read"), &json!(3));
    }

    #[test]
    fn nothing_is_lost_that_somebody_read_or_that_lies_behind() {
        let findings = own("
            0 ok send x=1@0 x=2@1 x=3@2 x=4@3
            1 ok poll x:1@0,2@1
            2 ok poll x:1@0,2@1,3@2
        ");
        assert_eq!(names(&findings), ["unseen"]);
    }

    #[test]
    fn a_timed_out_neighbour_hides_nothing() {
        let findings = own("
            0 info send x=1@0 x=2
            1 ok send x=3@2
            2 ok poll x:3@2
        ");
        assert_eq!(detail(&findings, "value"), &json!(1));
        assert_eq!(
            findings.total(Kind::LostWrite),
            1,
            "2 was never acknowledged"
        );
    }

    #[test]
    fn retention_is_no_loss() {
        let findings = own(r#"
            0 ok send x=1@0 x=2@1
            1 ok poll x:2@1
            {"process":"sampler","type":"ok","f":"list-offsets","value":{"x":{"log-start":1,"high-watermark":2,"epoch":0,"asked":1}}}
        "#);
        assert_eq!(findings.total(Kind::LostWrite), 0);
    }
}
