//! `double-consume`: two committed transactions of one group consumed the same record.
//!
//! A transaction that sends offsets of its group commits them with its writes, so a record below
//! them is consumed once (KIP-98, consume-transform-produce). A transaction consumed what its
//! polls returned below the offset that it sent; it committed if it ended ok, or if one of its own
//! messages was read.
//! was read.

use rustc_hash::FxHashMap;

use super::facts::{Facts, NONE};
use super::findings::{About, Details, Findings};
use super::kind::Kind;
use crate::history::{Detail, Function, KeyId, OpId, RunKind};

/// Finds records that were consumed twice; once for each record.
pub(super) fn find(facts: &Facts, findings: &mut Findings) {
    let history = facts.history;
    let mut consumed: FxHashMap<(&str, KeyId, i64, u32), Vec<OpId>> = FxHashMap::default();
    for (id, op) in facts.data_ops() {
        let detail = history.detail(op).filter(|_| op.function == Function::Txn);
        let Some(detail) = detail.filter(|_| facts.must_have_committed(id)) else {
            continue;
        };
        for (group, key, end) in sent(detail) {
            let runs = history.runs(op).iter();
            for run in runs.filter(|run| run.kind == RunKind::Poll && run.key == key) {
                let messages = facts.messages_of(run).filter(|&(_, n)| n != NONE);
                for (record, number) in messages.filter(|(record, _)| record.offset < end) {
                    let by = consumed
                        .entry((group, key, record.offset, number))
                        .or_default();
                    if by.last() != Some(&id) {
                        by.push(id);
                    }
                }
            }
        }
    }
    let mut twice: Vec<_> = consumed
        .into_iter()
        .filter(|(_, by)| by.len() > 1)
        .collect();
    twice.sort_by_key(|((_, key, offset, number), by)| (by[1], *key, *offset, *number));
    for ((group, key, offset, number), by) in twice {
        let about = About::from(key).transactional(true);
        findings.add(Kind::DoubleConsume, about, || {
            Details::new(history)
                .key(key)
                .value(facts.key(key).messages[number as usize].value)
                .json("offset", offset)
                .json("group", group)
                .ops("ops", &by)
                .finish()
        });
    }
}

/// Offsets that an operation sent to its transaction.
fn sent(detail: &Detail) -> impl Iterator<Item = (&str, KeyId, i64)> {
    let groups = detail.sent_offsets.iter();
    groups.flat_map(|(group, offsets)| offsets.iter().map(|&(key, end)| (group.as_str(), key, end)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::analysis::testing::{names, own};

    fn txn(process: i64, kind: &str, end: i64) -> String {
        format!(
            r#"{{"process":{process},"type":"{kind}","f":"txn","value":[["poll",{{"x":[[0,1],[1,2]]}}],["send","y",[null,{process}]],["offsets","g",{{"x":{end}}}]]}}"#
        )
    }

    #[test]
    fn two_transactions_took_one_record() {
        let findings = own(&format!(
            "9 ok send x=1@0 x=2@1\n{}\n{}",
            txn(0, "ok", 1),
            txn(1, "ok", 2)
        ));
        let found = &findings.get(Kind::DoubleConsume).expect("found").listed;
        assert_eq!(found.len(), 1, "the first left the second record alone");
        assert_eq!(
            (&found[0].details["value"], &found[0].details["offset"]),
            (&json!(1), &json!(0))
        );
    }

    #[test]
    fn an_aborted_transaction_consumed_nothing() {
        let findings = own(&format!(
            "9 ok send x=1@0 x=2@1\n{}\n{}",
            txn(0, "fail", 2),
            txn(1, "ok", 2)
        ));
        assert_eq!(findings.total(Kind::DoubleConsume), 0);
        assert_eq!(names(&findings), ["unseen"]);
    }
}
