//! Operations by their index in the history, in words: what a witness points at.

use rustc_hash::FxHashMap;

use super::ended;
use super::errors::name;
use crate::history::{History, Op, OpId, Outcome, Process, Run, RunKind};
use crate::report::text::{clip, duration, moment, plural};

/// One operation in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpRow {
    /// Index of its completion.
    pub index: i64,
    /// Who.
    pub process: String,
    /// What.
    pub function: String,
    /// How it ended: `ok`, `fail`, `info`, `never completed`.
    pub outcome: &'static str,
    /// When it was invoked.
    pub invoked: String,
    /// How long it took.
    pub took: String,
    /// What it sent or read, by key.
    pub did: String,
    /// Its error.
    pub error: String,
}

/// Finds operations by index.
pub struct Lookup<'a> {
    history: &'a History,
    by_index: FxHashMap<i64, OpId>,
    end: i64,
}

impl<'a> Lookup<'a> {
    /// Prepares to find any of `wanted`.
    #[must_use]
    pub fn new(history: &'a History, wanted: &[i64], end: i64) -> Lookup<'a> {
        let wanted: rustc_hash::FxHashSet<i64> = wanted.iter().copied().collect();
        let found = history.iter().filter(|(_, op)| wanted.contains(&op.index));
        Lookup {
            history,
            by_index: found.map(|(id, op)| (op.index, id)).collect(),
            end,
        }
    }

    /// The operation whose completion has this index.
    #[must_use]
    pub fn op(&self, index: i64) -> Option<&'a Op> {
        self.by_index.get(&index).map(|id| self.history.op(*id))
    }

    /// When the operation with this index ended.
    #[must_use]
    pub fn time(&self, index: i64) -> Option<i64> {
        let op = self.op(index)?;
        (op.invoked.time >= 0).then(|| ended(op, self.end))
    }

    /// The operation in words.
    #[must_use]
    pub fn row(&self, index: i64) -> Option<OpRow> {
        let op = self.op(index)?;
        let detail = self.history.detail(op);
        let function = detail
            .and_then(|detail| detail.function_name.clone())
            .unwrap_or_else(|| name(op.function).to_owned());
        let error = detail.and_then(|detail| detail.error.as_ref());
        Some(OpRow {
            index,
            process: process(self.history.process(op.process)),
            function,
            outcome: match op.outcome {
                Outcome::Ok => "ok",
                Outcome::Fail => "fail",
                Outcome::Info => "info",
                Outcome::Open => "never completed",
            },
            invoked: moment(op.invoked.time),
            took: match op.outcome {
                Outcome::Open => "—".to_owned(),
                _ => duration(ended(op, self.end) - op.invoked.time.max(0)),
            },
            did: self.did(op),
            error: error.map_or_else(String::new, |error| {
                clip(&super::faults::people(error), 300)
            }),
        })
    }

    fn did(&self, op: &Op) -> String {
        let runs = self.history.runs(op);
        // A batch alternates between keys message by message: sum it up by key and kind.
        let mut parts: Vec<Part<'_>> = Vec::new();
        for run in runs {
            let records = self.history.records(run);
            let name = self.history.keys().name(run.key);
            let same = |(kind, key, ..): &Part<'_>| *kind == run.kind && *key == name;
            let known = parts.iter().position(same);
            let span = span(self.history, run);
            match known {
                Some(at) => {
                    let (_, _, count, known) = &mut parts[at];
                    *count += records.len() as u64;
                    *known = match (*known, span) {
                        (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
                        (a, b) => a.or(b),
                    };
                }
                None if parts.len() < 12 => {
                    parts.push((run.kind, name, records.len() as u64, span));
                }
                None => {}
            }
        }
        let parts: Vec<String> = parts
            .into_iter()
            .map(|(kind, key, count, span)| describe(kind, key, count, span))
            .collect();
        parts.join("; ")
    }
}

/// Kind, key, number of messages, lowest and highest offset.
type Part<'a> = (RunKind, &'a str, u64, Option<(i64, i64)>);

fn span(history: &History, run: &Run) -> Option<(i64, i64)> {
    let offsets = || {
        history
            .records(run)
            .iter()
            .filter_map(|record| record.offset())
    };
    Some((offsets().min()?, offsets().max()?))
}

fn describe(kind: RunKind, key: &str, count: u64, span: Option<(i64, i64)>) -> String {
    let verb = match kind {
        RunKind::Send => "sent",
        RunKind::Poll => "read",
        RunKind::Assign => return format!("took {key}"),
        RunKind::Append => "appended",
        RunKind::Read => "read",
        RunKind::ReadUnknown => return format!("read {key}, result unknown"),
    };
    let key = clip(key, 100);
    let messages = plural(count, "message", "messages");
    let offsets = match span {
        Some((a, b)) if a == b => format!(", offset {a}"),
        Some((a, b)) => format!(", offsets {a}–{b}"),
        None => String::new(),
    };
    format!("{verb} {key}: {messages}{offsets}")
}

/// Who a process is, in words.
#[must_use]
pub fn process(process: Process) -> String {
    match process {
        Process::Client(id) => format!("client {id}"),
        Process::Nemesis => "nemesis".to_owned(),
        Process::Sampler => "sampler".to_owned(),
        Process::Unknown => "unknown".to_owned(),
    }
}
