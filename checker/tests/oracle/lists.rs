//! Lists: all orders of all transactions.

use std::collections::BTreeMap;
use std::io::Cursor;

use checker::history::read::read_from;
use checker::verdict::Conclusion;
use checker::{Model, Options, Verdict, check};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

const KEYS: usize = 2;

/// A micro-op: an append of its element, or a read and what it returned.
#[derive(Clone, Debug)]
enum MicroOp {
    Append(usize, i64),
    Read(usize, Vec<i64>),
}

#[derive(Clone, Debug)]
struct Txn {
    micro_ops: Vec<MicroOp>,
    /// `ok`, `info` or `fail`.
    outcome: &'static str,
    /// When it was invoked and when it completed.
    span: (u32, u32),
}

type State = [Vec<i64>; KEYS];

/// Applies a transaction; `false` if it read anything else than what is there.
fn apply(state: &mut State, txn: &Txn) -> bool {
    txn.micro_ops.iter().all(|micro_op| match micro_op {
        MicroOp::Append(key, element) => {
            state[*key].push(*element);
            true
        }
        MicroOp::Read(key, list) => txn.outcome != "ok" || state[*key] == *list,
    })
}

/// Whether the rest can be put into an order after `state`. Undecided transactions may be left out.
fn orderable(state: &State, rest: &[&Txn]) -> bool {
    if rest.iter().all(|txn| txn.outcome != "ok") {
        return true;
    }
    (0..rest.len()).any(|at| {
        let next = rest[at];
        let waits = |other: &&Txn| other.outcome == "ok" && other.span.1 < next.span.0;
        if rest.iter().any(waits) {
            return false;
        }
        let mut state = state.clone();
        let mut left = rest.to_vec();
        left.remove(at);
        apply(&mut state, next) && orderable(&state, &left)
    })
}

fn serializable(txns: &[Txn]) -> bool {
    let possible: Vec<&Txn> = txns.iter().filter(|txn| txn.outcome != "fail").collect();
    orderable(&State::default(), &possible)
}

fn lines(txns: &[Txn]) -> String {
    let mut events: BTreeMap<(u32, usize), Json> = BTreeMap::new();
    for (process, txn) in txns.iter().enumerate() {
        let value = |done: bool| -> Vec<Json> {
            let shown = txn.micro_ops.iter().map(|micro_op| match micro_op {
                MicroOp::Append(key, element) => json!(["append", key, element]),
                MicroOp::Read(key, list) if done && txn.outcome == "ok" => json!(["r", key, list]),
                MicroOp::Read(key, _) => json!(["r", key, null]),
            });
            shown.collect()
        };
        let event = |kind: &str, done: bool| json!({"process": process, "type": kind, "f": "txn", "value": value(done)});
        events.insert((txn.span.0, process), event("invoke", false));
        events.insert((txn.span.1, process), event(txn.outcome, true));
    }
    let lines: Vec<String> = events.values().map(Json::to_string).collect();
    lines.join("\n")
}

fn verdict(txns: &[Txn]) -> Verdict {
    let history = read_from(Cursor::new(lines(txns)), "random").expect("a good history");
    let options = Options {
        model: Model::ListAppend,
        ..Options::default()
    };
    check(&history, &options).expect("good options")
}

/// What one transaction does, before anything is run.
type Plan = (Vec<(bool, usize)>, u8, u32, u32, u32, u8);

/// Runs the plans on one store, each at a moment within its span; some reads are stale, or take a
/// look too early or too late, and what failed may have happened.
fn run(plans: &[Plan]) -> Vec<Txn> {
    let mut order: Vec<usize> = (0..plans.len()).collect();
    order.sort_by_key(|&at| (plans[at].3, at));
    let mut txns: Vec<Option<Txn>> = vec![None; plans.len()];
    let mut states: Vec<State> = vec![State::default()];
    for &at in &order {
        let (micro_ops, outcome, moment, _, width, twist) = &plans[at];
        let mut state = states[states.len() - 1].clone();
        let seen = match twist {
            0 => states[states.len().saturating_sub(2)].clone(),
            1 => states[*moment as usize % states.len()].clone(),
            _ => state.clone(),
        };
        let mut view = seen;
        let mut done = Vec::new();
        for (nth, &(append, key)) in micro_ops.iter().enumerate() {
            if append {
                let element = (at * 10 + nth) as i64 + 1;
                state[key].push(element);
                view[key].push(element);
                done.push(MicroOp::Append(key, element));
            } else {
                done.push(MicroOp::Read(key, view[key].clone()));
            }
        }
        let outcome = ["ok", "ok", "ok", "ok", "info", "fail"][usize::from(*outcome)];
        let happened = match outcome {
            "ok" => true,
            "info" => width % 2 == 0,
            _ => *twist == 2,
        };
        if happened {
            states.push(state);
        }
        let from = (plans[at].3 * 10).saturating_sub(width % 13);
        txns[at] = Some(Txn {
            micro_ops: done,
            outcome,
            span: (from * 2 + 1, (plans[at].3 * 10 + width % 17) * 2 + 2),
        });
    }
    let last = states.pop().expect("there is a first state");
    let mut txns: Vec<Txn> = txns.into_iter().flatten().collect();
    // Everything is read in the end.
    txns.push(Txn {
        micro_ops: (0..KEYS)
            .map(|key| MicroOp::Read(key, last[key].clone()))
            .collect(),
        outcome: "ok",
        span: (100_000, 100_001),
    });
    txns
}

fn plans() -> impl Strategy<Value = Vec<Plan>> {
    let micro_ops = proptest::collection::vec((any::<bool>(), 0..KEYS), 1..4);
    let plan = (micro_ops, 0u8..6, 0u32..20, 0u32..6, 0u32..40, 0u8..12);
    proptest::collection::vec(plan, 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 3000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_history_is_valid_if_and_only_if_some_order_explains_it(plans in plans()) {
        let txns = run(&plans);
        let verdict = verdict(&txns);
        prop_assert_eq!(
            verdict.verdict != Conclusion::Invalid,
            serializable(&txns),
            "{}\n{}", verdict.sentence, lines(&txns)
        );
    }
}

#[test]
fn both_answers_occur() {
    let append = |element| MicroOp::Append(0, element);
    let read = |list: &[i64]| MicroOp::Read(0, list.to_vec());
    let txn = |micro_op, from| Txn {
        micro_ops: vec![micro_op],
        outcome: "ok",
        span: (from, from + 1),
    };
    let good = [txn(append(1), 1), txn(read(&[1]), 3)];
    let bad = [txn(append(1), 1), txn(read(&[]), 3), txn(read(&[1]), 5)];
    assert!(serializable(&good) && !serializable(&bad));
    assert_eq!(verdict(&bad).verdict, Conclusion::Invalid);
}
