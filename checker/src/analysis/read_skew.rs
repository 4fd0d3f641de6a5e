//! `read-skew` and other rw cycles on polls: polls that saw one part of what an operation did, and
//! not the other.
//!
//! An rw edge leads from an operation that polled a key to the writer of the message after the
//! last one that it was given. A cycle with exactly one of them is `read-skew` (Adya's G-single),
//! with several, never two in a row, `G-nonadjacent-item`, with several `G2-item`; the other edges
//! are wr. Kafka's polls are no snapshots, so every profile allows it; `--strict-reads` forbids
//! it. Write dependencies take no part: writes are not isolated either.
//! dependencies take no part: writes are not isolated either.

use super::cycles::class::{Class, Turns};
use super::cycles::graph::{Graph, GraphBuilder, Rels};
use super::cycles::search::{Cycle, search};
use super::facts::{Facts, NONE};
use super::findings::{Details, Finding, Findings};
use super::kind::Kind;
use crate::history::{KeyId, OpId, Outcome, RunKind};

/// Beyond so many operations rw cycles are looked for only where they are forbidden.
pub const OPERATIONS_MAX: usize = 200_000;

const CLASSES: &[Class] = &[
    class(Kind::ReadSkew, Turns::Single),
    class(Kind::GNonadjacentItem, Turns::Nonadjacent),
    class(Kind::G2Item, Turns::Multiple),
];

const fn class(kind: Kind, turns: Turns) -> Class {
    Class {
        kind,
        rels: Rels::WR,
        required: &[],
        turns,
    }
}

/// Finds rw cycles on polls.
pub(super) fn find(facts: &Facts, findings: &mut Findings) {
    let graph = build(facts);
    for cycle in search(&graph, CLASSES) {
        findings.add_whole(cycle.kind, 1, || detail(facts, &cycle));
    }
}

fn build(facts: &Facts) -> Graph {
    let mut builder = GraphBuilder::new(facts.history.ops().len() as u32);
    for (id, op) in facts.data_ops().filter(|(_, op)| op.outcome == Outcome::Ok) {
        for run in facts
            .history
            .runs(op)
            .iter()
            .filter(|run| run.kind == RunKind::Poll)
        {
            for (_, number) in facts.messages_of(run).filter(|&(_, number)| number != NONE) {
                let writer = facts.key(run.key).messages[number as usize].writer();
                if let Some(writer) = writer.filter(|&writer| happened(facts, writer)) {
                    builder.link(writer.0, id.0, Rels::WR);
                }
            }
        }
        for (key, _, next) in missed(facts, id) {
            let writer = facts.key(key).at_index(next).writer();
            if let Some(writer) = writer.filter(|&writer| happened(facts, writer)) {
                builder.link(id.0, writer.0, Rels::RW);
            }
        }
    }
    builder.finish()
}

fn happened(facts: &Facts, op: OpId) -> bool {
    facts.history.op(op).outcome != Outcome::Open
}

/// For each key that an operation polled: the index of the last message that it was given, and of
/// the next one. To be given a part of one batch is no matter of snapshots.
fn missed(facts: &Facts, id: OpId) -> Vec<(KeyId, u32, u32)> {
    let mut last: Vec<(KeyId, u32)> = Vec::new();
    let op = facts.history.op(id);
    for run in facts
        .history
        .runs(op)
        .iter()
        .filter(|run| run.kind == RunKind::Poll)
    {
        // Where another message stands in the order, nothing says what comes next.
        let order = &facts.key(run.key).log.order;
        let places = facts.messages_of(run).filter_map(|(record, number)| {
            let index = facts.index_of(run.key, record, number)?;
            (order[index as usize] == number).then_some(index)
        });
        let Some(highest) = places.max() else {
            continue;
        };
        match last.iter_mut().find(|(key, _)| *key == run.key) {
            Some((_, index)) => *index = highest.max(*index),
            None => last.push((run.key, highest)),
        }
    }
    let missed = last.into_iter().map(|(key, index)| (key, index, index + 1));
    missed
        .filter(|&(key, _, next)| (next as usize) < facts.key(key).log.order.len())
        .filter(|&(key, index, next)| {
            let of_key = facts.key(key);
            let message = of_key.log.order[next as usize];
            of_key.at_index(index).writer() != of_key.at_index(next).writer()
                && !was_given(facts, id, key, message)
        })
        .collect()
}

/// Whether an operation polled a message, wherever it stood.
fn was_given(facts: &Facts, id: OpId, key: KeyId, message: u32) -> bool {
    let runs = facts.history.runs(facts.history.op(id)).iter();
    let mut polls = runs.filter(|run| run.kind == RunKind::Poll && run.key == key);
    polls.any(|run| facts.messages_of(run).any(|(_, number)| number == message))
}

fn detail(facts: &Facts, cycle: &Cycle) -> Finding {
    let mut ops: Vec<OpId> = cycle.steps.iter().map(|&(node, _)| OpId(node)).collect();
    ops.extend(ops.first().copied());
    let steps = cycle
        .steps
        .iter()
        .zip(ops.windows(2))
        .map(|(&(_, rel), pair)| {
            let step = match rel {
                Rels::RW => rw_step(facts, pair[0], pair[1]),
                _ => super::cycles::wr_step(facts, pair[0], pair[1]),
            };
            step.expect("an edge of the graph can be explained")
        });
    let steps: Vec<serde_json::Value> = steps.collect();
    Details::new(facts.history)
        .ops("cycle", &ops)
        .json("steps", steps)
        .finish()
}

fn rw_step(facts: &Facts, a: OpId, b: OpId) -> Option<serde_json::Value> {
    missed(facts, a).into_iter().find_map(|(key, index, next)| {
        let of_key = facts.key(key);
        (of_key.at_index(next).writer() == Some(b)).then(|| {
            let values = facts.history.values();
            serde_json::json!({
                "type": "rw",
                "key": facts.history.keys().name(key),
                "value": values.json(of_key.at_index(index).value),
                "value'": values.json(of_key.at_index(next).value),
            })
        })
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::analysis::testing::own;

    #[test]
    fn one_half_of_a_transaction_was_seen() {
        let findings = own("
            0 ok send x=1@0
            1 ok txn x=2@1 y=2@0
            2 ok poll x:1@0 y:2@0
        ");
        let found = &findings.get(Kind::ReadSkew).expect("found").listed[0].details;
        let types: Vec<_> = (0..2)
            .map(|at| found["steps"][at]["type"].clone())
            .collect();
        assert_eq!(types, [json!("wr"), json!("rw")]);
    }

    #[test]
    fn both_halves_or_none() {
        let findings = own("
            0 ok send x=1@0 y=1@0
            1 ok txn x=2@1 y=2@1
            2 ok poll x:1@0 y:1@0
            3 ok poll x:1@0,2@1 y:1@0,2@1
        ");
        assert_eq!(findings.total(Kind::ReadSkew), 0);
    }
}
