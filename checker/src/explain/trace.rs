//! The whole story of one message: who sent it, what became of each attempt, which watermarks
//! covered it, who was given it and who was not, what each replica holds.

use serde::Serialize;
use serde_json::Value as Json;

use super::operations::shown;
use super::{Operation, detail_of, order};
use crate::analysis::facts::{Dialect, Facts};
use crate::analysis::{self, Finding, Findings, Kind};
use crate::history::{History, KeyId, RunKind, Value};
use crate::report::data::faults::people;
use crate::report::scene::Scene;
use crate::verdict::profile::Bench;
use crate::verdict::{Story, story};
use crate::{CheckError, Options, suggest};

/// Operations shown in full.
const OPERATIONS: usize = 64;

/// A message's story.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Trace {
    /// The story.
    pub story: Story,
    /// The findings that are about it, as `explain` names them.
    pub findings: Vec<String>,
    /// The operations that sent it or were given it (the first of them, if there are many).
    pub operations: Vec<Operation>,
    /// Offsets by operation, around its own.
    #[serde(skip)]
    pub picture: Scene,
}

/// Traces a message.
///
/// # Errors
/// [`CheckError::Usage`] for a key or value that the history does not mention.
pub fn trace(
    history: &History,
    options: &Options,
    key: &str,
    value: &str,
) -> Result<Trace, CheckError> {
    let bench = Bench::new(history, options)?;
    let facts = Facts::derive(history, Dialect::of(&bench));
    let key = history.keys().find(key).ok_or_else(|| {
        let names: Vec<_> = history
            .keys()
            .iter()
            .map(|key| history.keys().name(key))
            .collect();
        CheckError::Usage(suggest::unknown("key", key, &names))
    })?;
    let number = find(&facts, key, value)?;
    let message = &facts.key(key).messages[number as usize];
    let (findings, evidence) = analysis::run(&facts, &bench, options);
    let names = about(history, &findings, key, message.value);
    let kinds = names
        .iter()
        .filter_map(|name| Kind::named(name.split('/').next()?));
    let missing = kinds
        .into_iter()
        .find(|kind| *kind == Kind::Unseen || story::TOLD.contains(kind));
    let operations = touching(history, key, message.value);
    let named: Vec<i64> = operations.iter().map(|operation| operation.index).collect();
    let detail = detail_of(history, key, message.value);
    Ok(Trace {
        story: story::trace(&facts, &evidence, missing, key, number),
        findings: names,
        picture: order::picture(history, Some(&facts), Kind::LostWrite, &detail, &named),
        operations,
    })
}

/// The number of the message that is written like this.
fn find(facts: &Facts, key: KeyId, value: &str) -> Result<u32, CheckError> {
    let values = facts.history.values();
    let of_key = &facts.key(key).messages;
    let found = of_key
        .iter()
        .position(|message| people(&values.json(message.value)) == value);
    if let Some(number) = found {
        return Ok(number as u32);
    }
    let name = facts.history.keys().name(key);
    let elsewhere = facts.keys.iter().find(|other| {
        let mut messages = other.messages.iter();
        messages.any(|message| people(&values.json(message.value)) == value)
    });
    let mut message = format!("{name} has no message {value} ({} messages)", of_key.len());
    if let Some(other) = elsewhere {
        message += &format!("; {} has one", facts.history.keys().name(other.key));
    }
    Err(CheckError::Usage(message))
}

/// Findings that name the message.
fn about(history: &History, findings: &Findings, key: KeyId, value: Value) -> Vec<String> {
    let (name, json) = (history.keys().name(key), history.values().json(value));
    let names_it = |finding: &Finding| {
        let of_key = finding.key == Some(key);
        let values = ["values", "skipped"]
            .iter()
            .filter_map(|field| finding.details.get(*field));
        let listed = values
            .filter_map(Json::as_array)
            .flatten()
            .any(|other| *other == json);
        let unseen = finding
            .details
            .get("messages")
            .and_then(|messages| messages.get(name));
        let unseen = unseen
            .and_then(Json::as_array)
            .is_some_and(|all| all.contains(&json));
        of_key && (finding.value == Some(value) || listed) || unseen
    };
    // As `explain` numbers them: forbidden ones first, then those that are allowed.
    let mut names = Vec::new();
    for &kind in Kind::ALL {
        let forbidden = findings.forbidden().filter(|&(of, _)| of == kind);
        let allowed = findings.allowed().filter(|&(of, _)| of == kind);
        let listed = forbidden
            .chain(allowed)
            .flat_map(|(_, found)| &found.listed);
        let numbered = (1..).zip(listed).filter(|(_, finding)| names_it(finding));
        names.extend(numbered.map(|(at, _)| format!("{}/{at}", kind.name())));
    }
    names
}

fn touching(history: &History, key: KeyId, value: Value) -> Vec<Operation> {
    let touches = |op: &&crate::history::Op| {
        history.runs(op).iter().any(|run| {
            matches!(run.kind, RunKind::Send | RunKind::Poll)
                && run.key == key
                && history
                    .records(run)
                    .iter()
                    .any(|record| record.value == value)
        })
    };
    let ops = history.ops().iter().filter(touches).take(OPERATIONS);
    ops.map(|op| shown(history, op)).collect()
}

/// The story behind a finding about one message that is missing.
pub(super) fn of_finding(
    facts: &Facts,
    findings: &Findings,
    evidence: &analysis::Evidence,
    kind: Kind,
    finding: &Finding,
) -> Option<Story> {
    if !story::TOLD.contains(&kind) || findings.total(kind) == 0 {
        return None;
    }
    let (key, value) = finding.key.zip(finding.value)?;
    let number = facts.key(key).find(value)?;
    Some(story::trace(facts, evidence, Some(kind), key, number))
}
