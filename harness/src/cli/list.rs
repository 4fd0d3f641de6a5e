//! What can be asked for, by name.

use broker::chaos::catalogue;
use broker::chaos::seeded_bug::SeededBug;
use checker::report::glossary;
use nemesis::FaultKind;
use serde_json::json;

use super::{Listing, Workload};
use crate::exit::Exit;

/// Prints one list.
pub fn list(what: Listing, json: bool) -> Exit {
    let entries = entries(what);
    if json {
        let entries: Vec<_> = entries
            .iter()
            .map(|(name, about)| json!({"name": name, "about": about}))
            .collect();
        tell!("{}", json!(entries));
        return Exit::Valid;
    }
    let width = entries
        .iter()
        .map(|(name, _)| name.len())
        .max()
        .unwrap_or(0);
    for (name, about) in entries {
        tell!("{name:width$}  {about}");
    }
    Exit::Valid
}

fn entries(what: Listing) -> Vec<(String, String)> {
    let owned = |(name, about): (&str, &str)| (name.to_owned(), about.to_owned());
    match what {
        Listing::Nemeses => {
            let words = [
                (
                    "all",
                    "each kind that the runtime offers, in turn, but for bit-flip and truncation",
                ),
                (
                    "random",
                    "in each period some of the kinds together, or none",
                ),
                ("none", "no faults at all"),
            ];
            let kinds = FaultKind::every().map(|kind| (kind.name().to_owned(), described(kind)));
            kinds.chain(words.map(owned)).collect()
        }
        Listing::Workloads => {
            let flags = |workload: Workload| {
                let flags = workload.defaults().iter();
                flags
                    .map(|(flag, value)| format!(" --{flag} {value}"))
                    .collect::<String>()
            };
            let about = |workload: Workload| match flags(workload) {
                flags if flags.is_empty() => workload.about().to_owned(),
                flags => format!("{} [batch{flags}]", workload.about()),
            };
            Workload::every()
                .map(|one| (one.name().to_owned(), about(one)))
                .collect()
        }
        Listing::Anomalies => {
            let terms = glossary::ANOMALIES.iter();
            terms.map(|term| owned((term.name, term.what))).collect()
        }
        Listing::SeededBugs => catalogue::entries()
            .into_iter()
            .map(|entry| {
                let name = entry.bug.map_or("-", SeededBug::name);
                (name.to_owned(), entry.about())
            })
            .collect(),
    }
}

/// What it does, and on which runtimes how faithfully.
fn described(kind: FaultKind) -> String {
    let mut fidelity: Vec<(&str, Vec<&str>)> = Vec::new();
    for platform in kind.platforms() {
        let how = kind.fidelity(platform).unwrap_or_default();
        match fidelity.iter_mut().find(|(other, _)| *other == how) {
            Some((_, names)) => names.push(platform.name()),
            None => fidelity.push((how, vec![platform.name()])),
        }
    }
    let told = fidelity
        .iter()
        .map(|(how, names)| format!("{}: {how}", names.join(", ")));
    let told: Vec<String> = told.collect();
    format!("{} [{}]", kind.about(), told.join("; "))
}
