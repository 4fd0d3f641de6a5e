//! `internal` and `future-read`: a transaction that contradicts itself.
//!
//! `internal` (Cerone, Bernardi and Gotsman, 2015, axiom INT): a read does not show what the
//! transaction's own earlier reads of and appends to that key demand. After an append to a list
//! that was not read before, only the end of the list is known. `future-read`: a read shows an
//! element that the transaction appends only later. Judged for transactions that ended ok; the
//! first contradiction of each kind is reported.

use serde_json::{Value as Json, json};

use super::index::Lists;
use crate::analysis::{Details, Findings, Kind};
use crate::history::{KeyId, Op, OpId, Outcome, Run, RunKind};

/// What a transaction must see in a key.
struct Expected {
    key: KeyId,
    /// The beginning is not known: only the end of the list counts.
    suffix: bool,
    /// The last read showed null, the state before any append.
    null: bool,
    elements: Vec<u32>,
}

/// Finds transactions that contradict themselves.
pub(super) fn find(lists: &Lists, findings: &mut Findings) {
    for (id, op) in lists.txns().filter(|(_, op)| op.outcome == Outcome::Ok) {
        let runs = lists.history.runs(op);
        // Only what is said of one key can contradict itself.
        let repeats = |at: usize| runs[..at].iter().any(|run| run.key == runs[at].key);
        if !(1..runs.len()).any(repeats) {
            continue;
        }
        if let Some((run, expected)) = contradiction(lists, op) {
            findings.add(Kind::Internal, run.key, || {
                detail(lists, id, &run).json("expected", expected).finish()
            });
        }
        if let Some((run, number)) = future(lists, op) {
            findings.add(Kind::FutureRead, run.key, || {
                detail(lists, id, &run)
                    .json("element", element(lists, run.key, number))
                    .finish()
            });
        }
    }
}

fn contradiction(lists: &Lists, op: &Op) -> Option<(Run, Json)> {
    let mut known: Vec<Expected> = Vec::new();
    for run in lists.history.runs(op) {
        let at = known.iter().position(|expected| expected.key == run.key);
        match (run.kind, at) {
            (RunKind::Append, Some(at)) => {
                known[at].null = false;
                known[at].elements.push(lists.appended(run));
            }
            (RunKind::Append, None) => known.push(Expected {
                key: run.key,
                suffix: true,
                null: false,
                elements: vec![lists.appended(run)],
            }),
            (RunKind::Read | RunKind::ReadUnknown, at) => {
                let seen = lists.numbers(run);
                let null = run.kind == RunKind::ReadUnknown;
                if let Some(expected) = at.map(|at| &known[at])
                    && !agrees(expected, seen, null)
                {
                    return Some((*run, shown(lists, expected)));
                }
                let state = Expected {
                    key: run.key,
                    suffix: false,
                    null,
                    elements: seen.to_vec(),
                };
                match at {
                    Some(at) => known[at] = state,
                    None => known.push(state),
                }
            }
            _ => {}
        }
    }
    None
}

fn agrees(expected: &Expected, seen: &[u32], null: bool) -> bool {
    if expected.suffix {
        seen.ends_with(&expected.elements)
    } else {
        expected.null == null && expected.elements == seen
    }
}

fn shown(lists: &Lists, expected: &Expected) -> Json {
    if expected.null {
        return Json::Null;
    }
    let prefix = expected.suffix.then(|| json!("..."));
    let elements = expected
        .elements
        .iter()
        .map(|&n| element(lists, expected.key, n));
    prefix.into_iter().chain(elements).collect()
}

fn future(lists: &Lists, op: &Op) -> Option<(Run, u32)> {
    let runs = lists.history.runs(op);
    runs.iter()
        .enumerate()
        .filter(|(_, run)| run.kind == RunKind::Append)
        .find_map(|(at, append)| {
            let number = lists.appended(append);
            let earlier = runs[..at].iter();
            let read = earlier
                .filter(|run| run.kind == RunKind::Read && run.key == append.key)
                .find(|run| lists.numbers(run).contains(&number))?;
            Some((*read, number))
        })
}

/// An element as the history writes it.
pub(super) fn element(lists: &Lists, key: KeyId, number: u32) -> Json {
    lists
        .history
        .values()
        .json(lists.key(key).elements[number as usize].value)
}

/// A micro-op of an operation, as details show it.
pub(super) fn detail<'h>(lists: &Lists<'h>, id: OpId, run: &Run) -> Details<'h> {
    let key = lists.history.keys().name(run.key);
    let list = || -> Json {
        lists
            .numbers(run)
            .iter()
            .map(|&number| element(lists, run.key, number))
            .collect()
    };
    let mop = match run.kind {
        RunKind::Append => json!(["append", key, element(lists, run.key, lists.appended(run))]),
        RunKind::Read => json!(["r", key, list()]),
        _ => json!(["r", key, null]),
    };
    Details::new(lists.history)
        .op("op", Some(id))
        .json("mop", mop)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{found, names};

    #[test]
    fn a_read_forgets_what_the_transaction_saw() {
        let text = r#"
            ok [["append","x",1]]
            ok [["r","x",[1]],["append","x",2],["r","x",[1]]]
            ok [["append","y",5],["r","y",[5,6]]]
        "#;
        assert_eq!(found(text)["internal"], 2);
    }

    #[test]
    fn a_read_sees_what_the_transaction_appends_later() {
        assert_eq!(
            found(r#"ok [["r","x",[1]],["append","x",1]]"#)["future-read"],
            1
        );
    }

    #[test]
    fn transactions_that_agree_with_themselves() {
        let text = r#"
            ok [["r","x",null],["append","x",1],["r","x",[1]],["r","x",[1]]]
            ok [["append","x",2],["r","x",[1,2]],["append","x",3],["r","x",[1,2,3]]]
            info [["r","x",[9]],["append","x",9]]
        "#;
        assert!(
            !names(text).contains(&"internal".to_owned()),
            "{:?}",
            names(text)
        );
        assert!(!names(text).contains(&"future-read".to_owned()));
    }
}
