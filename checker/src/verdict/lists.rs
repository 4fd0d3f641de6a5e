//! The verdict on a list-append history: which consistency models are ruled out, and which of those
//! that had to hold.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::conclude::{client_counts, list, notes, totals};
use super::phrase::grouped;
use super::{Conclusion, Verdict};
use crate::History;
use crate::analysis::cycles::elle::exists::model_of;
use crate::analysis::list_append::{Demand, models};
use crate::analysis::{Findings, Kind};

/// Types that leave the question open.
const OPEN: [Kind; 2] = [Kind::EmptyTransactionGraph, Kind::NonUniqueWrite];

/// Puts the verdict together.
#[must_use]
pub fn conclude(history: &History, demand: &Demand, findings: &Findings) -> Verdict {
    let found = |kind: Kind| findings.total(kind) > 0;
    // An element that nobody appended is no matter of models: it is wrong under every one.
    let phantom = found(Kind::UnwrittenRead);
    let broken = findings.forbidden().next().is_some() || phantom;
    let open = OPEN.into_iter().find(|&kind| found(kind));
    let verdict = match (broken, open) {
        (_, Some(Kind::NonUniqueWrite)) => Conclusion::Unknown,
        (true, _) => Conclusion::Invalid,
        (false, Some(_)) => Conclusion::Unknown,
        (false, None) => Conclusion::Valid,
    };
    let all = findings.forbidden().chain(findings.allowed());
    let (not, also_not) = match verdict {
        Conclusion::Valid => Default::default(),
        _ => models::ruled_out(all.map(|(kind, _)| kind.name())),
    };
    let mut anomalies = list(findings.forbidden(), usize::MAX);
    let mut allowed = list(findings.allowed(), usize::MAX);
    for kind in OPEN.into_iter().chain([Kind::UnwrittenRead]) {
        if let Some(details) = allowed.remove(kind.name()) {
            anomalies.insert(kind.name().to_owned(), details);
        }
    }
    let mut totals = totals(findings);
    let mut clauses = clauses(findings, demand);
    for name in repeated(findings, &anomalies) {
        anomalies.remove(name);
        allowed.remove(name);
        totals.remove(name);
        clauses.remove(name);
    }
    let not: Vec<String> = not.into_iter().map(str::to_owned).collect();
    Verdict {
        schema: 1,
        verdict,
        sentence: sentence(history, demand, verdict, open, phantom, &not),
        clauses,
        anomalies,
        allowed,
        totals,
        counts: client_counts(history),
        worst_realtime_lag: None,
        profile: demand.models.join(", "),
        criteria: Vec::new(),
        faults: Vec::new(),
        stories: Vec::new(),
        not,
        also_not: also_not.into_iter().map(str::to_owned).collect(),
        notes: notes(history),
    }
}

/// Types `*-cycle-exists` that add nothing: the others that are reported contradict the same model,
/// or nobody asked for it.
fn repeated(findings: &Findings, anomalies: &serde_json::Map<String, Json>) -> Vec<&'static str> {
    let reported = || {
        Kind::ALL
            .iter()
            .filter(|kind| anomalies.contains_key(kind.name()))
    };
    let others = reported().filter(|&&kind| model_of(kind).is_none());
    let (weakest, stronger) = models::ruled_out(others.map(|kind| kind.name()));
    let adds_nothing = |kind: Kind| {
        let model = model_of(kind)?;
        let asked = findings.get(kind).is_some();
        (!asked || weakest.contains(model) || stronger.contains(model)).then_some(kind.name())
    };
    Kind::ALL.iter().copied().filter_map(adds_nothing).collect()
}

fn clauses(findings: &Findings, demand: &Demand) -> BTreeMap<String, String> {
    let models = demand.models.join(", ");
    let found = findings.forbidden();
    found
        .map(|(kind, _)| (kind.name().to_owned(), clause(kind, &models)))
        .collect()
}

/// Why a type is forbidden where these models must hold: them, and the weakest that rule it out.
pub(crate) fn clause(kind: Kind, models: &str) -> String {
    let (weakest, _) = models::ruled_out([kind.name()]);
    let weakest: Vec<_> = weakest.into_iter().collect();
    match weakest.is_empty() {
        true => format!("contradicts {models}"),
        false => format!(
            "{models} had to hold; it rules out {} already",
            weakest.join(", ")
        ),
    }
}

fn sentence(
    history: &History,
    demand: &Demand,
    verdict: Conclusion,
    open: Option<Kind>,
    phantom: bool,
    not: &[String],
) -> String {
    let models = demand.models.join(" and ");
    let transactions = grouped(history.totals.ok + history.totals.info + history.totals.fail);
    match (verdict, open) {
        (Conclusion::Valid, _) => {
            format!("Valid: {transactions} transactions, and nothing in them contradicts {models}.")
        }
        (Conclusion::Invalid, _) if phantom => {
            "Invalid: an element was read that nobody appended.".to_owned()
        }
        (Conclusion::Invalid, _) => format!(
            "Invalid: {models} does not hold over these {transactions} transactions; they are not \
             even {}.",
            not.join(", nor ")
        ),
        (_, Some(Kind::NonUniqueWrite)) => {
            "Unknown: the workload appended one element twice, so nothing can be told apart."
                .to_owned()
        }
        _ => "Unknown: the transactions have nothing to do with each other.".to_owned(),
    }
}
