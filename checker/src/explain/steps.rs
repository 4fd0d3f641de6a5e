//! A finding step by step, in sentences.

use serde_json::Value as Json;

use super::Step;
use super::operations::{Operations, process};
use crate::analysis::Kind;
use crate::history::{Op, RunKind};
use crate::report::data::faults::people;

/// Why there can be no such cycle.
pub fn contradiction(kind: Kind, steps: usize) -> String {
    format!(
        "{}: {steps} operations, each of which came before the next, and the last before the first.",
        kind.name()
    )
}

/// The short name of the n-th operation of a cycle.
pub fn short(at: usize) -> String {
    format!("T{}", at + 1)
}

/// A sentence for each edge: "T1 came before T2, because T2 read 3, which T1 sent to orders-0 at
/// offset 7."
pub fn of_cycle(operations: &Operations, detail: &Json) -> Vec<Step> {
    let Some(steps) = detail.get("steps").and_then(Json::as_array) else {
        return Vec::new();
    };
    let cycle: Vec<i64> = numbers(detail.get("cycle"));
    let count = steps.len();
    let edges = steps.iter().enumerate().filter_map(|(at, step)| {
        let (&a, &b) = (cycle.get(at)?, cycle.get(at + 1)?);
        let (first, second) = (short(at), short((at + 1) % count));
        let because = because(operations, step, (a, &first), (b, &second));
        Some(Step {
            says: format!("{first} came before {second}, because {because}."),
            operations: vec![a, b],
        })
    });
    edges.collect()
}

fn because(operations: &Operations, step: &Json, a: (i64, &str), b: (i64, &str)) -> String {
    let field = |name: &str| step.get(name).map_or_else(String::new, people);
    let (key, value, next) = (field("key"), field("value"), field("value'"));
    let lists = step.get("type").is_some() && is_list(operations, a.0);
    let (sent, verb) = if lists {
        ("appended", "appended")
    } else {
        ("sent", "sent")
    };
    let at = |op: i64, value: &str| {
        let offset = operations
            .op(op)
            .and_then(|op| offset(operations, op, &key, value));
        offset.map_or_else(String::new, |offset| format!(" at offset {offset}"))
    };
    match step.get("type").and_then(Json::as_str) {
        Some("wr") => format!(
            "{} read {value}, which {} {sent} to {key}{}",
            b.1,
            a.1,
            // A reader knows where the message stands, even if its writer was not told.
            Some(at(b.0, &value))
                .filter(|at| !at.is_empty())
                .unwrap_or_else(|| at(a.0, &value))
        ),
        Some("ww") => format!(
            "{} {verb} {next} to {key}{}, after {value}, which {} {verb}{}",
            b.1,
            at(b.0, &next),
            a.1,
            at(a.0, &value)
        ),
        Some("rw") if value.is_empty() => format!(
            "{} read {key} while it was empty, before {} {verb} {next}",
            a.1, b.1
        ),
        Some("rw") => format!(
            "{} read {key} up to {value} and did not see {next}, which {} {verb}{} next",
            a.1,
            b.1,
            at(b.0, &next)
        ),
        Some("process") => {
            let who = operations
                .op(a.0)
                .map(|op| process(operations.history.process(op.process)));
            format!("{} did one after the other", who.unwrap_or_default())
        }
        _ => realtime(operations, a, b),
    }
}

fn realtime(operations: &Operations, a: (i64, &str), b: (i64, &str)) -> String {
    let (Some(first), Some(second)) = (operations.op(a.0), operations.op(b.0)) else {
        return format!("{} was over when {} began", a.1, b.1);
    };
    let between = second.invoked.time - first.completed.time;
    let known = first.completed.time >= 0 && second.invoked.time >= 0 && between > 0;
    let lead = match known {
        true => format!("{} before ", crate::report::text::duration(between)),
        false => "before ".to_owned(),
    };
    format!("{} was over {lead}{} began", a.1, b.1)
}

fn is_list(operations: &Operations, op: i64) -> bool {
    let runs = operations.op(op).map(|op| operations.history.runs(op));
    runs.into_iter().flatten().any(|run| {
        matches!(
            run.kind,
            RunKind::Append | RunKind::Read | RunKind::ReadUnknown
        )
    })
}

/// Where a message of a key stands, by that operation.
fn offset(operations: &Operations, op: &Op, key: &str, value: &str) -> Option<i64> {
    let history = operations.history;
    let runs = history
        .runs(op)
        .iter()
        .filter(|run| history.keys().name(run.key) == key);
    let mut records = runs.flat_map(|run| history.records(run));
    records
        .find(|record| people(&history.values().json(record.value)) == value)
        .and_then(|record| record.offset())
}

/// Fields that name operations, and what each of them did.
const ROLES: [(&str, &str); 6] = [
    ("writer", "It was sent by"),
    ("reader", "It was read by"),
    ("max-read", "Its place was passed by"),
    ("op", "It shows in"),
    ("ops", "It shows in"),
    ("txns", "It shows in"),
];

/// A sentence for each operation that the finding names: who it was, and what it did to the key.
pub fn of_operations(operations: &Operations, detail: &Json) -> Vec<Step> {
    let key = detail.get("key").map(people);
    let roles = ROLES.iter().flat_map(|&(field, role)| {
        numbers(detail.get(field))
            .into_iter()
            .map(move |index| (index, role))
    });
    let mut named: Vec<(i64, &str)> = Vec::new();
    for (index, role) in roles {
        if named.iter().all(|&(known, _)| known != index) {
            named.push((index, role));
        }
    }
    // In the order in which they happened.
    named.sort_by_key(|&(index, _)| operations.op(index).map(|op| op.completed.seq));
    let step = |(index, role): (i64, &str)| Step {
        says: format!(
            "{role} {}{}.",
            operations.name(index),
            did(operations, index, key.as_deref())
        ),
        operations: vec![index],
    };
    named.into_iter().map(step).collect()
}

/// Messages of one operation that a sentence lists.
const LISTED: usize = 6;

fn did(operations: &Operations, index: i64, key: Option<&str>) -> String {
    let history = operations.history;
    let Some(op) = operations.op(index) else {
        return String::new();
    };
    let mut parts: Vec<String> = Vec::new();
    for run in history.runs(op) {
        let name = history.keys().name(run.key);
        if key.is_some_and(|key| key != name) {
            continue;
        }
        let verb = match run.kind {
            RunKind::Send => "sent",
            RunKind::Poll => "was given",
            RunKind::Append => "appended",
            RunKind::Read => "read",
            RunKind::Assign | RunKind::ReadUnknown => continue,
        };
        let records = history.records(run);
        let shown = records.iter().take(LISTED).map(|record| {
            let value = people(&history.values().json(record.value));
            match record.offset() {
                Some(offset) => format!("{value} at {offset}"),
                None => value,
            }
        });
        let mut shown: Vec<_> = shown.collect();
        if records.len() > LISTED {
            shown.push(format!("{} more", records.len() - LISTED));
        }
        if !shown.is_empty() {
            parts.push(format!("{verb} {} of {name}", shown.join(", ")));
        }
    }
    parts.extend(sampled(operations, index, key));
    match parts.is_empty() {
        true => String::new(),
        false => format!(": it {}", parts.join("; ")),
    }
}

/// What a sample or a pass said.
fn sampled(operations: &Operations, index: i64, key: Option<&str>) -> Vec<String> {
    let history = operations.history;
    let of_key = |id, of: crate::history::KeyId| {
        let op: &Op = history.op(id);
        op.index == index && key.is_none_or(|key| history.keys().name(of) == key)
    };
    let samples = history
        .samples
        .iter()
        .filter(|sample| of_key(sample.op, sample.key));
    let answers = samples.map(|sample| {
        let number = |name: &str, of: Option<i64>| of.map(|n| format!("{name} {n}"));
        let fields = [
            number("high watermark", sample.high_watermark),
            number("last stable offset", sample.last_stable),
            number("leader", sample.leader),
            number("epoch", sample.epoch),
        ];
        let fields: Vec<_> = fields.into_iter().flatten().collect();
        let who = sample
            .asked
            .map_or_else(String::new, |broker| format!(" broker {broker}"));
        format!("asked{who}: {}", fields.join(", "))
    });
    let passes = history
        .drains
        .iter()
        .filter(|drain| of_key(drain.op, drain.key));
    let passes = passes.map(|drain| format!("read everything from {} to {}", drain.from, drain.to));
    answers.chain(passes).take(LISTED).collect()
}

/// The numbers in a field: one, or a list.
pub fn numbers(field: Option<&Json>) -> Vec<i64> {
    match field {
        Some(Json::Array(all)) => all.iter().filter_map(Json::as_i64).collect(),
        Some(one) => one.as_i64().into_iter().collect(),
        None => Vec::new(),
    }
}
