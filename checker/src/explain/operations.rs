//! The operations that an explanation names, as the history has them.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value as Json, json};

use crate::history::{History, Op, OpId, Outcome, Process, Record, RunKind};
use crate::report::text::moment;

/// An operation, as it was recorded.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Operation {
    /// `index` of its completion.
    pub index: i64,
    /// Who.
    pub process: String,
    /// `ok`, `fail`, `info`, or `open` where it has no completion.
    #[serde(rename = "type")]
    pub outcome: &'static str,
    /// What it did.
    pub f: &'static str,
    /// When it was invoked, in ns; -1 where the history does not say.
    pub invoked: i64,
    /// When it completed, in ns.
    pub completed: i64,
    /// Its micro-ops.
    pub value: Json,
}

/// Finds operations by the index of their completion.
pub struct Operations<'h> {
    pub history: &'h History,
    by_index: BTreeMap<i64, OpId>,
}

impl<'h> Operations<'h> {
    /// Prepares to find any of `wanted`.
    pub fn new(history: &'h History, wanted: &[i64]) -> Operations<'h> {
        let found = history.iter().filter(|(_, op)| wanted.contains(&op.index));
        Operations {
            history,
            by_index: found.map(|(id, op)| (op.index, id)).collect(),
        }
    }

    /// The operation whose completion has that index.
    pub fn op(&self, index: i64) -> Option<&'h Op> {
        self.by_index.get(&index).map(|&id| self.history.op(id))
    }

    /// Those named, each once, in order.
    pub fn all(&self, named: &[i64]) -> Vec<Operation> {
        let mut named = named.to_vec();
        named.sort_unstable();
        named.dedup();
        let ops = named.iter().filter_map(|&index| self.op(index));
        ops.map(|op| shown(self.history, op)).collect()
    }

    /// `operation 7 (process 3, send, ok at 1.20 s)`.
    pub fn name(&self, index: i64) -> String {
        let Some(op) = self.op(index) else {
            return format!("operation {index}");
        };
        let time = op.completed.time;
        let at = match time {
            0.. => format!(" at {}", moment(time)),
            _ => String::new(),
        };
        format!(
            "operation {index} ({}, {}, {}{at})",
            process(self.history.process(op.process)),
            function(op),
            outcome(op)
        )
    }
}

pub fn shown(history: &History, op: &Op) -> Operation {
    Operation {
        index: op.index,
        process: process(history.process(op.process)),
        outcome: outcome(op),
        f: function(op),
        invoked: op.invoked.time,
        completed: op.completed.time,
        value: value(history, op),
    }
}

pub fn process(process: Process) -> String {
    match process {
        Process::Client(number) => format!("process {number}"),
        Process::Nemesis => "nemesis".to_owned(),
        Process::Sampler => "sampler".to_owned(),
        Process::Unknown => "a client".to_owned(),
    }
}

pub fn outcome(op: &Op) -> &'static str {
    match op.outcome {
        Outcome::Ok => "ok",
        Outcome::Fail => "fail",
        Outcome::Info => "info",
        Outcome::Open => "open",
    }
}

pub fn function(op: &Op) -> &'static str {
    crate::report::data::errors::name(op.function)
}

/// The micro-ops again, as history.md writes them.
fn value(history: &History, op: &Op) -> Json {
    let mut ops: Vec<Json> = Vec::new();
    let mut poll = None;
    for run in history.runs(op) {
        let key = history.keys().name(run.key);
        let pair = |record: &Record| json!([record.offset(), history.values().json(record.value)]);
        let records = history.records(run);
        let values = || -> Json {
            let values = records
                .iter()
                .map(|record| history.values().json(record.value));
            values.collect()
        };
        match run.kind {
            RunKind::Send => {
                ops.extend(
                    records
                        .iter()
                        .map(|record| json!(["send", key, pair(record)])),
                );
            }
            RunKind::Poll => {
                if poll != Some(run.micro_op()) {
                    ops.push(json!(["poll", {}]));
                    poll = Some(run.micro_op());
                }
                let last = ops.last_mut().expect("a poll was just pushed");
                last[1][key] = records.iter().map(pair).collect();
            }
            RunKind::Assign => ops.push(Json::from(key)),
            RunKind::Append => ops.push(json!(["append", key, values()[0]])),
            RunKind::Read => ops.push(json!(["r", key, values()])),
            RunKind::ReadUnknown => ops.push(json!(["r", key, null])),
        }
    }
    Json::Array(ops)
}
