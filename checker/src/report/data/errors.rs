//! Errors by operation and code: what clients were told.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::{Bins, ended};
use crate::history::{Function, History, Outcome};

/// One code as one kind of operation met it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorRow {
    /// The operation: `send`, `poll`, ...
    pub function: String,
    /// The code.
    pub code: String,
    /// Operations that certainly failed with it.
    pub fail: u64,
    /// Operations that may have happened.
    pub info: u64,
    /// Operations that succeeded all the same.
    pub ok: u64,
    /// The first and the last time, in ns.
    pub first: i64,
    /// See `first`.
    pub last: i64,
    /// One message that came with it.
    pub message: String,
}

/// Codes that are listed; the others are summed up in a last row.
const MOST: usize = 60;

/// Counts errors, the most frequent first.
#[must_use]
pub fn errors(history: &History, bins: &Bins) -> Vec<ErrorRow> {
    let mut rows: BTreeMap<(String, String), ErrorRow> = BTreeMap::new();
    for op in history.ops() {
        let detail = history.detail(op);
        let Some(error) = detail.and_then(|detail| detail.error.as_ref()) else {
            continue;
        };
        let function = match op.function {
            Function::Other => detail
                .and_then(|detail| detail.function_name.clone())
                .unwrap_or_else(|| "other".to_owned()),
            known => name(known).to_owned(),
        };
        let (code, message) = code(error);
        let time = ended(op, bins.end);
        let key = (function.clone(), code.clone());
        let row = rows.entry(key).or_insert_with(|| ErrorRow {
            function,
            code,
            first: time,
            message,
            ..ErrorRow::default()
        });
        row.last = row.last.max(time);
        row.first = row.first.min(time);
        match op.outcome {
            Outcome::Ok => row.ok += 1,
            Outcome::Fail => row.fail += 1,
            Outcome::Info | Outcome::Open => row.info += 1,
        }
    }
    let mut rows: Vec<ErrorRow> = rows.into_values().collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.fail + row.info + row.ok));
    if rows.len() > MOST {
        let rest = rows.split_off(MOST);
        let sum = |of: fn(&ErrorRow) -> u64| rest.iter().map(of).sum();
        rows.push(ErrorRow {
            function: "all".to_owned(),
            code: format!("{} further codes", rest.len()),
            fail: sum(|row| row.fail),
            info: sum(|row| row.info),
            ok: sum(|row| row.ok),
            first: rest.iter().map(|row| row.first).min().unwrap_or(0),
            last: rest.iter().map(|row| row.last).max().unwrap_or(0),
            message: String::new(),
        });
    }
    rows
}

/// The word that a history uses for a function.
#[must_use]
pub fn name(function: Function) -> &'static str {
    match function {
        Function::Send => "send",
        Function::Poll => "poll",
        Function::Txn => "txn",
        Function::Assign => "assign",
        Function::Subscribe => "subscribe",
        Function::CommitOffsets => "commit-offsets",
        Function::FetchOffsets => "fetch-offsets",
        Function::Config => "config",
        Function::Phase => "phase",
        Function::Drain => "drain",
        Function::Audit => "audit",
        Function::ListOffsets => "list-offsets",
        Function::Crash => "crash",
        Function::Nemesis => "nemesis",
        Function::Other => "other",
    }
}

/// Code and message of an error, whatever its shape.
fn code(error: &Json) -> (String, String) {
    let short = |json: &Json| {
        let text = match json {
            Json::String(text) => text.clone(),
            other => other.to_string(),
        };
        let cut: String = text.chars().take(200).collect();
        cut
    };
    match error {
        Json::Object(fields) => {
            let message = fields.get("message").map_or_else(String::new, short);
            match fields.get("code").or_else(|| fields.get("type")) {
                Some(code) => (short(code), message),
                None => (short(error), message),
            }
        }
        Json::Array(parts) => (
            parts.first().map_or_else(String::new, short),
            parts.get(1).map_or_else(String::new, short),
        ),
        other => (short(other), String::new()),
    }
}
