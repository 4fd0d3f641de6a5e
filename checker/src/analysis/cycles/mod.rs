//! Cycles: orders that contradict each other (anomalies.md section 6).
//!
//! Edges of a Kafka history, between completions of sends, polls and transactions:
//! * ww, only where `--ww-deps` asks for it: the writer of a message to the writer of the next one
//!   in the version order;
//! * wr: the writer of a message to every other operation that polled it;
//! * real time: an operation that ended ok to those invoked after its completion.
//!
//! A cycle of ww edges is `G0`, one with wr edges `G1c`; `-realtime` if it needs an edge of real
//! time. A history without any edge has no data flow: `empty-transaction-graph`. Polls are no
//! snapshots, so there are no rw edges.
//!
//! Under `--profile jepsen` cycles are named as Elle names them ([`elle`]); elsewhere each class of
//! which there is a cycle is named ([`search`]).

pub mod class;
pub mod elle;
pub mod graph;
pub mod points;
pub mod scc;
pub mod search;

use serde_json::{Value as Json, json};

use super::facts::{Dialect, Facts, NONE};
use super::findings::{Details, Findings};
use super::kind::Kind;
use crate::history::{KeyId, OpId, Outcome, Run, RunKind};
use graph::{Graph, GraphBuilder, Rels};
use search::Cycle;

/// Finds cycles, and the want of any edge.
pub(super) fn find(facts: &Facts, ww_deps: bool, findings: &mut Findings) {
    if !contradict(facts, ww_deps) && points::any_precedes(facts.history.ops()) {
        return;
    }
    let graph = build(facts, ww_deps);
    if graph.edges() == 0 {
        findings.add_whole(Kind::EmptyTransactionGraph, 1, || {
            Details::new(facts.history).finish()
        });
        return;
    }
    let cycles = match facts.dialect {
        Dialect::Own => search::search(&graph, class::FORWARD),
        Dialect::Jepsen => {
            let timed = facts.data_ops().map(|(id, op)| (id.0, op));
            elle::search(facts.history.ops(), &graph, class::FORWARD, Some(timed)).named
        }
    };
    for cycle in cycles {
        findings.add_whole(cycle.kind, 1, || detail(facts, &cycle));
    }
}

/// Whether there is any cycle.
fn contradict(facts: &Facts, ww_deps: bool) -> bool {
    let history = facts.history;
    let nodes = facts.data_ops().map(|(id, _)| id.0);
    points::contradict(history.ops(), true, nodes, |node, cursor| {
        let op = history.op(OpId(node));
        if op.outcome == Outcome::Open && !ww_deps {
            return None;
        }
        let runs = history.runs(op);
        while let Some(run) = runs.get(cursor.0 as usize) {
            let key = facts.key(run.key);
            let polled = run.kind == RunKind::Poll && op.outcome != Outcome::Open;
            let sent = run.kind == RunKind::Send && ww_deps;
            if polled || sent {
                while let Some(number) = facts.message_at(run, cursor.1) {
                    cursor.1 += 1;
                    if number == NONE {
                        continue;
                    }
                    let writer = match polled {
                        true => key.messages[number as usize].writer(),
                        false => neighbours(facts, run.key, number)
                            .filter(|&(_, later)| later.0 == node)
                            .map(|(earlier, _)| earlier),
                    };
                    if let Some(writer) = writer.filter(|writer| writer.0 != node) {
                        return Some(writer.0);
                    }
                }
            }
            *cursor = (cursor.0 + 1, 0);
        }
        None
    })
}

fn build(facts: &Facts, ww_deps: bool) -> Graph {
    let mut builder = GraphBuilder::new(facts.history.ops().len() as u32);
    if ww_deps {
        for key in &facts.keys {
            for number in 0..key.messages.len() as u32 {
                if let Some((earlier, later)) = neighbours(facts, key.key, number) {
                    builder.link(earlier.0, later.0, Rels::WW);
                }
            }
        }
    }
    for (id, op) in facts
        .data_ops()
        .filter(|(_, op)| op.outcome != Outcome::Open)
    {
        for run in facts
            .history
            .runs(op)
            .iter()
            .filter(|run| run.kind == RunKind::Poll)
        {
            for (_, number) in facts.messages_of(run).filter(|&(_, number)| number != NONE) {
                let writer = facts.key(run.key).messages[number as usize].writer;
                if writer != NONE {
                    builder.link(writer, id.0, Rels::WR);
                }
            }
        }
    }
    builder.link_realtime(facts.data_ops().map(|(id, op)| (id.0, op)));
    builder.finish()
}

/// The writers of a message's predecessor and of the message itself, where both are known.
fn neighbours(facts: &Facts, key: KeyId, number: u32) -> Option<(OpId, OpId)> {
    let key = facts.key(key);
    let message = &key.messages[number as usize];
    let before = message
        .index
        .checked_sub(1)
        .filter(|_| message.index != NONE)?;
    Some((key.at_index(before).writer()?, message.writer()?))
}

fn detail(facts: &Facts, cycle: &Cycle) -> super::findings::Finding {
    let mut ops: Vec<OpId> = cycle.steps.iter().map(|&(node, _)| OpId(node)).collect();
    ops.extend(ops.first().copied());
    let steps = cycle
        .steps
        .iter()
        .zip(ops.windows(2))
        .map(|(&(_, rel), pair)| {
            let step = match rel {
                Rels::WW => ww_step(facts, pair[0], pair[1]),
                Rels::WR => wr_step(facts, pair[0], pair[1]),
                _ => None,
            };
            step.unwrap_or_else(|| realtime_step(facts, pair[0], pair[1]))
        });
    let steps: Vec<Json> = steps.collect();
    Details::new(facts.history)
        .ops("cycle", &ops)
        .json("steps", steps)
        .finish()
}

/// The records of one kind in an operation, with their keys, micro-ops and messages.
fn records(facts: &Facts, op: OpId, kind: RunKind) -> impl Iterator<Item = (Run, u32, u32)> {
    let runs = facts.history.runs(facts.history.op(op)).iter();
    runs.filter(move |run| run.kind == kind)
        .flat_map(move |run| {
            // Each send is a micro-op of its own; a poll's records share one.
            let step = u32::from(kind == RunKind::Send);
            let numbers = facts.messages_of(run).map(|(_, number)| number);
            numbers
                .zip(0..)
                .map(move |(number, at)| (*run, run.micro_op() + step * at, number))
        })
}

fn ww_step(facts: &Facts, a: OpId, b: OpId) -> Option<Json> {
    records(facts, b, RunKind::Send)
        .filter(|&(_, _, number)| number != NONE)
        .find_map(|(run, b_at, number)| {
            let (earlier, _) = neighbours(facts, run.key, number).filter(|&pair| pair == (a, b))?;
            let key = facts.key(run.key);
            let message = &key.messages[number as usize];
            let before = key.log.order[message.index as usize - 1];
            let a_at = micro_op_of(facts, earlier, RunKind::Send, run.key, before);
            Some(json!({
                "type": "ww",
                "key": facts.history.keys().name(run.key),
                "value": facts.history.values().json(key.messages[before as usize].value),
                "value'": facts.history.values().json(message.value),
                "a-mop-index": a_at,
                "b-mop-index": b_at,
            }))
        })
}

pub(super) fn wr_step(facts: &Facts, a: OpId, b: OpId) -> Option<Json> {
    records(facts, b, RunKind::Poll)
        .filter(|&(_, _, number)| number != NONE)
        .find_map(|(run, b_at, number)| {
            let message = &facts.key(run.key).messages[number as usize];
            (message.writer() == Some(a)).then(|| {
                json!({
                    "type": "wr",
                    "key": facts.history.keys().name(run.key),
                    "value": facts.history.values().json(message.value),
                    "a-mop-index": micro_op_of(facts, a, RunKind::Send, run.key, number),
                    "b-mop-index": b_at,
                })
            })
        })
}

fn micro_op_of(facts: &Facts, op: OpId, kind: RunKind, key: KeyId, number: u32) -> Option<u32> {
    records(facts, op, kind)
        .find(|(run, _, other)| run.key == key && *other == number)
        .map(|(_, at, _)| at)
}

fn realtime_step(facts: &Facts, a: OpId, b: OpId) -> Json {
    let index = |op: OpId| facts.history.op(op).index;
    json!({"type": "realtime", "a'": index(a), "b'": index(b)})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::testing::{names, own, own_with_ww};

    #[test]
    fn two_transactions_read_each_other() {
        let findings = own("
            0> txn
            1> txn
            0< ok txn x=1@0 y:2@0
            1< ok txn y=2@0 x:1@0
        ");
        let found = &findings.get(Kind::G1c).expect("found").listed[0].details;
        assert_eq!(found["cycle"].as_array().expect("a list").len(), 3);
        assert_eq!(found["steps"][0]["type"], json!("wr"));
    }

    #[test]
    fn a_message_was_read_before_it_was_sent() {
        let findings = own("
            1 ok poll x:1@0
            0 ok send x=1@0
        ");
        let found = &findings.get(Kind::G1cRealtime).expect("found").listed[0].details;
        let types: Vec<_> = (0..2)
            .map(|at| found["steps"][at]["type"].clone())
            .collect();
        assert!(types.contains(&json!("wr")) && types.contains(&json!("realtime")));
    }

    #[test]
    fn interleaved_sends_are_a_cycle_of_writes() {
        let text = "
            0> send
            1> send
            0< ok send x=1@0 x=3@2
            1< ok send x=2@1
            2 ok poll x:1@0,2@1,3@2
        ";
        let found = own_with_ww(text);
        let step = &found.get(Kind::G0).expect("found").listed[0].details["steps"][0];
        assert_eq!((&step["type"], &step["key"]), (&json!("ww"), &json!("x")));
        assert!(
            names(&own(text)).is_empty(),
            "without --ww-deps nothing is inferred"
        );
    }

    #[test]
    fn nothing_flows() {
        assert_eq!(own("0 info poll").total(Kind::EmptyTransactionGraph), 1);
        let findings = own("0 ok poll\n0 ok poll");
        assert_eq!(
            findings.total(Kind::EmptyTransactionGraph),
            0,
            "real time alone is an order"
        );
    }
}
