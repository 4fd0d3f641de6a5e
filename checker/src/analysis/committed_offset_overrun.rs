//! `committed-offset-overrun`: a group's committed offset is ahead of everything delivered to it.
//!
//! A member commits the position after what it was given, so a committed offset with a message
//! before it that no poll of the group had returned makes the group pass that message by. Judged
//! against polls invoked before the commit or the answer was over. A log into which transactions
//! write has control records, which polls pass over in silence: there, a message must be known to
//! lie in between. Groups of which the history shows no poll of the key are not judged.
//! in between. Groups of which the history shows no poll of the key are not judged.

use rustc_hash::FxHashMap;

use super::facts::Facts;
use super::findings::{Details, Findings};
use super::group_offsets::{GroupOffsets, groups_of_processes};
use super::kind::Kind;
use crate::history::{Function, KeyId, RunKind};

/// By group and key: the highest offset delivered, by the moment of the poll's invocation.
type Delivered<'h> = FxHashMap<(&'h str, KeyId), Vec<(u32, i64)>>;

/// Finds committed offsets that are ahead.
pub(super) fn find(facts: &Facts, offsets: &GroupOffsets, findings: &mut Findings) {
    if facts.history.group_offsets.is_empty() && offsets.iter().next().is_none() {
        return;
    }
    let delivered = delivered(facts);
    let transactional = transactional(facts);
    for (group, key, entries) in offsets.iter() {
        let Some(polls) = delivered.get(&(group, key)) else {
            continue;
        };
        for entry in entries.iter().filter(|entry| entry.proven) {
            let before = polls.partition_point(|&(invoked, _)| invoked < entry.over);
            let highest = polls[..before].last().map_or(-1, |&(_, highest)| highest);
            let passed_by = passed_by(facts, key, highest, entry.offset);
            let ahead = entry.offset > highest.saturating_add(1);
            if passed_by.is_none() && (transactional[key.at()] || !ahead) {
                continue;
            }
            findings.add(Kind::CommittedOffsetOverrun, key, || {
                Details::new(facts.history)
                    .key(key)
                    .json("group", group)
                    .json("offset", entry.offset)
                    .json("delivered", highest)
                    .json("passed-by", passed_by)
                    .op("op", Some(entry.op))
                    .finish()
            });
        }
    }
}

/// The first known message behind what was delivered and before what was committed.
fn passed_by(facts: &Facts, key: KeyId, highest: i64, committed: i64) -> Option<i64> {
    let offsets = &facts.key(key).log.offsets;
    let after = offsets.partition_point(|&offset| offset <= highest);
    offsets
        .get(after)
        .copied()
        .filter(|&offset| offset < committed)
}

fn delivered<'h>(facts: &Facts<'h>) -> Delivered<'h> {
    let history = facts.history;
    let groups = groups_of_processes(facts);
    let mut delivered: Delivered = FxHashMap::default();
    for (_, op) in facts.data_ops() {
        let own = history
            .detail(op)
            .and_then(|detail| detail.group.as_deref());
        let Some(group) = own.or(groups[op.process.at()]) else {
            continue;
        };
        for run in history
            .runs(op)
            .iter()
            .filter(|run| run.kind == RunKind::Poll)
        {
            let offsets = history
                .records(run)
                .iter()
                .filter_map(|record| record.offset());
            let highest = offsets.max().unwrap_or(-1);
            delivered
                .entry((group, run.key))
                .or_default()
                .push((op.invoked.seq, highest));
        }
    }
    for polls in delivered.values_mut() {
        polls.sort_unstable();
        let mut highest = -1;
        for poll in polls {
            highest = highest.max(poll.1);
            poll.1 = highest;
        }
    }
    delivered
}

/// By key: whether a transaction wrote to it.
fn transactional(facts: &Facts) -> Vec<bool> {
    let mut keys = vec![false; facts.keys.len()];
    for (_, op) in facts
        .data_ops()
        .filter(|(_, op)| op.function == Function::Txn)
    {
        for run in facts
            .history
            .runs(op)
            .iter()
            .filter(|run| run.kind == RunKind::Send)
        {
            keys[run.key.at()] = true;
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::analysis::testing::{names, own};

    fn script(sends: &str, committed: i64) -> Findings<'static> {
        own(&format!(
            r#"
            {sends}
            {{"process":1,"type":"ok","f":"poll","group":"g","value":[["poll",{{"x":[[0,1],[1,2]]}}]]}}
            {{"process":1,"type":"ok","f":"commit-offsets","value":{{"group":"g","offsets":{{"x":{committed}}}}}}}
            2 ok poll x:1@0,2@1,3@4
        "#
        ))
    }

    #[test]
    fn a_message_is_passed_by() {
        let findings = script("0 ok send x=1@0 x=2@1 x=3@4", 5);
        let found = &findings
            .get(Kind::CommittedOffsetOverrun)
            .expect("found")
            .listed[0];
        assert_eq!(found.details["delivered"], json!(1));
        assert_eq!(found.details["passed-by"], json!(4));
    }

    #[test]
    fn up_to_the_end_of_what_was_given_or_over_a_marker() {
        let findings = script("0 ok send x=1@0 x=2@1 x=3@4", 2);
        assert!(names(&findings).is_empty(), "{:?}", names(&findings));
        let findings = script("0 ok txn x=1@0 x=2@1\n0 ok txn x=3@4", 4);
        assert_eq!(findings.total(Kind::CommittedOffsetOverrun), 0);
    }
}
