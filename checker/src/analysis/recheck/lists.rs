//! Witnesses of list-append histories.

use serde_json::Value as Json;

use super::{Claim, Finding, Raw, claim, cycles, text};
use crate::analysis::Kind;
use crate::history::{Op, Outcome, Run, RunKind};

/// Checks one witness.
pub fn check(raw: &Raw, kind: Kind, finding: &Finding) -> Claim {
    if finding.details.contains_key("cycle") {
        let by = cycles::Steps {
            write: RunKind::Append,
            read: RunKind::Read,
        };
        return cycles::check(raw, finding, &by);
    }
    match kind {
        Kind::G1a | Kind::G1b | Kind::Internal | Kind::FutureRead | Kind::DuplicateElements => {
            of_one(raw, kind, finding)
        }
        Kind::LostUpdate => {
            let (ops, key) = (raw.ops(finding, "txns"), text(finding, "key"));
            claim(ops.len() > 1, "several transactions collided")?;
            let value = finding.details.get("value").unwrap_or(&Json::Null);
            let collides = |op: &&Op| {
                op.outcome == Outcome::Ok
                    && reads(raw, op, key).any(|read| read == *value)
                    && raw
                        .history
                        .runs(op)
                        .iter()
                        .any(|run| appends(raw, run, key))
            };
            claim(
                ops.iter().all(collides),
                "each read that state and appended to it",
            )
        }
        Kind::DirtyUpdate => match raw.ops(finding, "txns")[..] {
            [first, second] => claim(
                first.outcome == Outcome::Fail && second.outcome == Outcome::Ok,
                "a committed transaction follows an aborted one",
            ),
            _ => Err("it names two transactions"),
        },
        Kind::IncompatibleOrder => {
            let values = finding.details.get("values").and_then(Json::as_array);
            let lists =
                values.and_then(|all| Some((all.first()?.as_array()?, all.get(1)?.as_array()?)));
            let (a, b) = lists.ok_or("it has two lists")?;
            claim(
                !b.starts_with(a) && !a.starts_with(b),
                "neither begins the other",
            )
        }
        _ => Ok(()),
    }
}

fn appends(raw: &Raw, run: &Run, key: &str) -> bool {
    run.kind == RunKind::Append && raw.history.keys().name(run.key) == key
}

/// What an operation read of a key; nothing is an empty list.
fn reads<'r>(raw: &'r Raw, op: &Op, key: &'r str) -> impl Iterator<Item = Json> + 'r {
    let runs = raw.history.runs(op).to_vec();
    let of_key = runs.into_iter().filter(move |run| {
        matches!(run.kind, RunKind::Read | RunKind::ReadUnknown)
            && raw.history.keys().name(run.key) == key
    });
    of_key.map(|run| {
        let records = raw.history.records(&run).iter();
        records
            .map(|record| raw.history.values().json(record.value))
            .collect()
    })
}

fn of_one(raw: &Raw, kind: Kind, finding: &Finding) -> Claim {
    let op = raw.op(finding, "op").ok_or("it names an operation")?;
    let mop = finding.details.get("mop").ok_or("it names a micro-op")?;
    let key = mop[1].as_str().unwrap_or("");
    let list = match &mop[2] {
        Json::Null => Json::Array(Vec::new()),
        list => list.clone(),
    };
    claim(
        reads(raw, op, key).any(|read| read == list),
        "the operation has that read",
    )?;
    let element = finding.details.get("element").unwrap_or(&Json::Null);
    let in_list = list.as_array().is_some_and(|list| list.contains(element));
    let wrote = |op: &Op| raw.has(op, RunKind::Append, key, element);
    match kind {
        Kind::G1a => {
            let writer = raw.op(finding, "writer").ok_or("somebody appended it")?;
            claim(
                writer.outcome == Outcome::Fail && wrote(writer),
                "it was aborted",
            )?;
            claim(in_list && op.outcome == Outcome::Ok, "and read")
        }
        Kind::G1b => {
            let writer = raw.op(finding, "writer").ok_or("somebody appended it")?;
            let of_key = raw
                .history
                .runs(writer)
                .iter()
                .filter(|run| appends(raw, run, key));
            claim(
                wrote(writer) && of_key.count() > 1,
                "its writer appended more than that",
            )?;
            claim(in_list, "it was read")
        }
        Kind::FutureRead => claim(in_list && wrote(op), "it read what it appends"),
        Kind::DuplicateElements => {
            let list = list.as_array().ok_or("it is a list")?;
            let twice = list
                .iter()
                .any(|one| list.iter().filter(|other| *other == one).count() > 1);
            claim(twice, "an element stands in it twice")
        }
        _ => Ok(()),
    }
}
