//! What can be asked for, by name.

use broker::chaos::catalogue;
use broker::chaos::seeded_bug::SeededBug;
use nemesis::FaultKind;
use serde_json::json;

use super::Listing;
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
                ("all", "each kind that the runtime offers, in turn"),
                (
                    "random",
                    "in each period some of the kinds together, or none",
                ),
                ("none", "no faults at all"),
            ];
            let kinds = FaultKind::every().map(|kind| (kind.name().to_owned(), described(kind)));
            kinds.chain(words.map(owned)).collect()
        }
        Listing::Workloads => WORKLOADS.iter().copied().map(owned).collect(),
        Listing::Anomalies => ANOMALIES.iter().copied().map(owned).collect(),
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

const WORKLOADS: &[(&str, &str)] = &[
    (
        "batch",
        "producers and consumers at a rate, in batches of 5,000, with a trickle of small ones",
    ),
    (
        "large-batch",
        "one batch of 5,000 into a fresh topic, read at once",
    ),
];

const ANOMALIES: &[(&str, &str)] = &[
    (
        "lost-write",
        "acknowledged, never read, though later messages were",
    ),
    (
        "lost-tail",
        "acknowledged or read, and behind the end of the log afterwards",
    ),
    (
        "vanished",
        "acknowledged or read, and missing from a later complete pass",
    ),
    (
        "unseen",
        "acknowledged, not read, and none of the above proven",
    ),
    ("duplicate", "one message at two offsets"),
    ("inconsistent-offsets", "two messages at one offset"),
    (
        "unwritten-read",
        "a message that nobody sent, or a wrong checksum",
    ),
    ("invalid-offset", "a negative or absurd offset"),
    ("G1a", "a message that certainly failed was read"),
    ("poll-skip", "between two polls messages were left out"),
    ("nonmonotonic-poll", "a poll went back"),
    ("int-poll-skip", "within one poll messages were left out"),
    (
        "int-nonmonotonic-poll",
        "within one poll the order went back",
    ),
    (
        "nonmonotonic-send",
        "a producer's later message lies before an earlier one",
    ),
    ("int-nonmonotonic-send", "the same within one batch"),
    (
        "int-send-skip",
        "a batch is not contiguous (always allowed)",
    ),
    (
        "stale-watermark",
        "the end told is below what had been acknowledged",
    ),
    ("watermark-regression", "an end that was told went back"),
    ("epoch-regression", "a broker's leader epoch went back"),
    ("dual-leader", "two leaders of one partition in one epoch"),
    (
        "visible-above-watermark",
        "a record was delivered above the watermark",
    ),
    (
        "replica-divergence",
        "two replicas differ below both their watermarks",
    ),
    (
        "not-recovered",
        "no progress after the last fault was healed",
    ),
];
