//! Every witness is checked a second time, against the raw history, before it is reported.
//!
//! This knows nothing of facts, logs, graphs or passes: it takes a finding's detail as it will be
//! printed, looks up the operations that it names, and reads off them what the detail claims. A
//! witness that fails is a fault of the checker, and stops it: a wrong finding must be loud, and
//! one that is quietly dropped might have been right.
//! that is quietly dropped might have been right.

mod cycles;
mod kafka;
mod lists;

use rustc_hash::FxHashMap;
use serde_json::Value as Json;

use super::findings::{Finding, Findings};
use super::kind::Kind;
use crate::CheckError;
use crate::history::{History, KeyId, Op, OpId, RunKind, Value};

/// Whether a claim holds, and if not, which one.
type Claim = Result<(), &'static str>;

/// Checks every listed finding of a Kafka history.
///
/// [`CheckError::Witness`] for the first that does not hold.
pub fn kafka(history: &History, findings: &Findings) -> Result<(), CheckError> {
    let raw = Raw::new(history, findings);
    all(findings, |kind, finding| kafka::check(&raw, kind, finding))
}

/// Checks every listed finding of a list-append history.
///
/// As [`kafka`].
pub fn lists(history: &History, findings: &Findings) -> Result<(), CheckError> {
    let raw = Raw::new(history, findings);
    all(findings, |kind, finding| lists::check(&raw, kind, finding))
}

fn all(findings: &Findings, check: impl Fn(Kind, &Finding) -> Claim) -> Result<(), CheckError> {
    for (kind, found) in findings.forbidden().chain(findings.allowed()) {
        for finding in &found.listed {
            check(kind, finding).map_err(|claim| CheckError::Witness {
                anomaly: kind.name(),
                claim,
                detail: Json::Object(finding.details.clone()).to_string(),
            })?;
        }
    }
    Ok(())
}

fn claim(holds: bool, what: &'static str) -> Claim {
    if holds { Ok(()) } else { Err(what) }
}

/// Where one message was sent and polled: operations with offsets.
#[derive(Debug, Default)]
struct Seen {
    sends: Vec<(OpId, Option<i64>)>,
    polls: Vec<(OpId, Option<i64>)>,
}

/// The operations and messages that findings name.
struct Raw<'h> {
    history: &'h History,
    by_index: FxHashMap<i64, OpId>,
    seen: FxHashMap<(KeyId, Value), Seen>,
}

impl<'h> Raw<'h> {
    /// One pass over the history, for what is named alone.
    fn new(history: &'h History, findings: &Findings) -> Raw<'h> {
        let mut raw = Raw {
            history,
            by_index: FxHashMap::default(),
            seen: FxHashMap::default(),
        };
        let mut wanted: FxHashMap<i64, ()> = FxHashMap::default();
        for (_, found) in findings.forbidden().chain(findings.allowed()) {
            for finding in &found.listed {
                let fields = OPERATIONS
                    .iter()
                    .filter_map(|name| finding.details.get(*name));
                fields.for_each(|field| wanted.extend(integers(field).map(|index| (index, ()))));
                raw.want(finding);
            }
        }
        if wanted.is_empty() && raw.seen.is_empty() {
            return raw;
        }
        for (id, op) in history.iter() {
            if wanted.contains_key(&op.index) {
                raw.by_index.insert(op.index, id);
            }
            if op.function.is_data() && !raw.seen.is_empty() {
                raw.see(id, op);
            }
        }
        raw
    }

    fn want(&mut self, finding: &Finding) {
        let Some(key) = finding.key else { return };
        self.seen
            .extend(finding.value.map(|value| ((key, value), Seen::default())));
        let values = finding.details.get("values").and_then(Json::as_array);
        let values = values.into_iter().flatten();
        let values = values.filter_map(|value| self.history.values().find(value));
        self.seen
            .extend(values.map(|value| ((key, value), Seen::default())));
    }

    fn see(&mut self, id: OpId, op: &Op) {
        for run in self.history.runs(op) {
            for record in self.history.records(run) {
                let Some(seen) = self.seen.get_mut(&(run.key, record.value)) else {
                    continue;
                };
                match run.kind {
                    RunKind::Send => seen.sends.push((id, record.offset())),
                    RunKind::Poll => seen.polls.push((id, record.offset())),
                    _ => {}
                }
            }
        }
    }

    /// The operation that a field names.
    fn op(&self, finding: &Finding, field: &str) -> Option<&'h Op> {
        let index = finding.details.get(field)?.as_i64()?;
        self.by_index(index)
    }

    fn by_index(&self, index: i64) -> Option<&'h Op> {
        self.by_index.get(&index).map(|&id| self.history.op(id))
    }

    /// The operations that a field lists; fewer than it lists where some are not there.
    fn ops(&self, finding: &Finding, field: &str) -> Vec<&'h Op> {
        let listed = finding.details.get(field).into_iter().flat_map(integers);
        listed.filter_map(|index| self.by_index(index)).collect()
    }

    /// The message that a finding is about.
    fn message(&self, finding: &Finding) -> Option<&Seen> {
        self.seen.get(&(finding.key?, finding.value?))
    }

    /// Whether an operation has a record with that value, as JSON, of a key's name.
    fn has(&self, op: &Op, kind: RunKind, key: &str, value: &Json) -> bool {
        self.history.runs(op).iter().any(|run| {
            run.kind == kind
                && self.history.keys().name(run.key) == key
                && self
                    .history
                    .records(run)
                    .iter()
                    .any(|record| self.history.values().json(record.value) == *value)
        })
    }

    /// Whether an operation did anything of that kind to a key.
    fn touches(&self, op: &Op, kind: RunKind, key: Option<KeyId>) -> bool {
        let mut runs = self.history.runs(op).iter();
        runs.any(|run| run.kind == kind && Some(run.key) == key)
    }
}

/// Fields that name operations.
const OPERATIONS: [&str; 8] = [
    "op", "ops", "writer", "reader", "max-read", "cycle", "txns", "readers",
];

fn integers(field: &Json) -> impl Iterator<Item = i64> {
    let one = field.as_i64();
    let list = field
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Json::as_i64);
    one.into_iter().chain(list)
}

fn text<'f>(finding: &'f Finding, field: &str) -> &'f str {
    finding
        .details
        .get(field)
        .and_then(Json::as_str)
        .unwrap_or("")
}

fn integer(finding: &Finding, field: &str) -> Option<i64> {
    finding.details.get(field)?.as_i64()
}

#[cfg(test)]
mod tests;
