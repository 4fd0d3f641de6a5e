//! Guarantees: every anomaly that is looked for, what was found, and on how much evidence. Rows
//! without a finding matter as much as the others: they say what was verified.

use crate::history::{Function, History};
use crate::report::facts::Facts;
use crate::report::glossary;
use crate::report::text::{count, plural};
use crate::report::witness;

/// One anomaly type.
pub struct Row {
    /// Name as in the verdict.
    pub name: String,
    /// What must not happen.
    pub what: String,
    /// The result as a class: `held`, `broken`, `allowed`, `unexercised`, `unchecked`.
    pub class: &'static str,
    /// The result in words, with a sign.
    pub result: String,
}

/// Anomalies that contradict one promise.
pub struct Group {
    /// The promise.
    pub promise: &'static str,
    /// How much was looked at.
    pub evidence: String,
    /// Anomalies.
    pub rows: Vec<Row>,
}

/// The section.
pub struct Guarantees {
    /// Promises.
    pub groups: Vec<Group>,
    /// The profile.
    pub profile: String,
    /// Found, but allowed: name, total, first witness.
    pub allowed: Vec<(String, String, String)>,
}

/// How much of what proves a promise the history holds.
struct Amounts {
    acknowledged: u64,
    delivered: u64,
    passes: u64,
    audits: u64,
    answers: u64,
    transactions: u64,
    group_operations: u64,
    healed: u64,
}

/// Of which amount a promise lives: in words, and whether it is there at all.
type Evidence = fn(&Amounts) -> (String, bool);

const PROMISES: [(&str, &[&str], Evidence); 8] = [
    (
        "What is acknowledged stays, and can be read",
        &["lost-write", "vanished", "lost-tail", "unseen"],
        |a| {
            let text = format!(
                "{} against {} and {}",
                plural(
                    a.acknowledged,
                    "acknowledged message",
                    "acknowledged messages"
                ),
                plural(a.delivered, "delivery", "deliveries"),
                plural(a.passes, "complete pass", "complete passes")
            );
            (text, a.acknowledged > 0)
        },
    ),
    (
        "One offset, one message",
        &["inconsistent-offsets", "duplicate"],
        |a| {
            let text = format!(
                "offsets of {} and {}",
                plural(a.acknowledged, "acknowledgement", "acknowledgements"),
                plural(a.delivered, "delivery", "deliveries")
            );
            (text, a.acknowledged + a.delivered > 0)
        },
    ),
    (
        "All replicas hold the same log",
        &["replica-divergence"],
        |a| {
            let text = plural(
                a.audits,
                "replica read from disk",
                "replicas read from disk",
            );
            (text, a.audits > 1)
        },
    ),
    (
        "Reads and writes keep their order",
        &[
            "nonmonotonic-poll",
            "int-nonmonotonic-poll",
            "poll-skip",
            "int-poll-skip",
            "nonmonotonic-send",
            "int-nonmonotonic-send",
        ],
        |a| {
            let text = format!(
                "{} and {} in sequence",
                plural(a.delivered, "delivery", "deliveries"),
                plural(a.acknowledged, "acknowledgement", "acknowledgements")
            );
            (text, a.delivered > 0)
        },
    ),
    (
        "Nothing is read that was not written",
        &["unwritten-read", "invalid-offset", "G1a"],
        |a| {
            let text = plural(a.delivered, "delivery", "deliveries");
            (format!("{text}, each with its checksum"), a.delivered > 0)
        },
    ),
    (
        "Watermarks and leaders are what they claim",
        &[
            "stale-watermark",
            "watermark-regression",
            "visible-above-watermark",
            "dual-leader",
            "epoch-regression",
        ],
        |a| {
            let text = plural(a.answers, "answer about offsets", "answers about offsets");
            (text, a.answers > 0)
        },
    ),
    (
        "Transactions and groups",
        &[
            "torn-transaction",
            "precommitted-read",
            "zombie-write",
            "G1c",
            "double-ownership",
            "double-consume",
            "committed-offset-regression",
            "committed-offset-overrun",
        ],
        |a| {
            let text = format!(
                "{}, {}",
                plural(a.transactions, "transaction", "transactions"),
                plural(a.group_operations, "group operation", "group operations")
            );
            (text, a.transactions + a.group_operations > 0)
        },
    ),
    ("After faults it goes on", &["not-recovered"], |a| {
        let text = plural(a.healed, "fault healed", "faults healed");
        (text, a.healed > 0)
    }),
];

/// Builds the section.
#[must_use]
pub fn guarantees(facts: &Facts<'_>) -> Guarantees {
    let amounts = amounts(facts);
    let mut groups: Vec<Group> = PROMISES
        .iter()
        .map(|(promise, names, evidence)| {
            let (evidence, exercised) = evidence(&amounts);
            let rows = names.iter().map(|name| row(facts, name, exercised));
            Group {
                promise,
                evidence,
                rows: rows.collect(),
            }
        })
        .collect();
    let listed = |name: &str| {
        let mut all = PROMISES.iter().flat_map(|(_, names, _)| names.iter());
        all.any(|known| *known == name)
    };
    let others = facts.verdict.iter().flat_map(|verdict| {
        let found = verdict.anomalies.keys().chain(verdict.allowed.keys());
        found.filter(|name| !listed(name))
    });
    let rows: Vec<Row> = others.map(|name| row(facts, name, true)).collect();
    if !rows.is_empty() {
        groups.push(Group {
            promise: "Others that were found",
            evidence: String::new(),
            rows,
        });
    }
    Guarantees {
        groups,
        profile: facts
            .verdict
            .map_or_else(String::new, |verdict| verdict.profile.clone()),
        allowed: allowed(facts),
    }
}

fn row(facts: &Facts<'_>, name: &str, exercised: bool) -> Row {
    let found = |of: &serde_json::Map<String, serde_json::Value>| {
        let verdict = facts.verdict?;
        let details = of.get(name)?;
        Some(count(witness::total(verdict, name, details)))
    };
    let forbidden = facts.verdict.and_then(|verdict| found(&verdict.anomalies));
    let allowed = facts.verdict.and_then(|verdict| found(&verdict.allowed));
    let (class, result) = match (facts.verdict, forbidden, allowed) {
        (None, ..) => ("unchecked", "? not checked".to_owned()),
        (_, Some(total), _) => ("broken", format!("✖ found: {total}")),
        (_, _, Some(total)) => ("allowed", format!("○ found, allowed: {total}")),
        _ if exercised => ("held", "✔ none found".to_owned()),
        _ => ("unexercised", "– not exercised".to_owned()),
    };
    let term = glossary::anomaly(name);
    Row {
        name: name.to_owned(),
        what: term.map_or_else(String::new, |term| term.what.to_owned()),
        class,
        result,
    }
}

fn allowed(facts: &Facts<'_>) -> Vec<(String, String, String)> {
    let found = facts.verdict.iter().flat_map(|verdict| {
        let all = verdict.allowed.iter();
        all.map(|(name, details)| {
            let total = count(witness::total(verdict, name, details));
            let first = witness::list(details).first().copied();
            let first = first.map_or_else(String::new, |one| witness::sentence(name, one));
            (name.clone(), total, first)
        })
    });
    found.collect()
}

fn amounts(facts: &Facts<'_>) -> Amounts {
    let history: &History = facts.history;
    let [.., delivered] = facts.rates.totals();
    let of = |wanted: Function| {
        let ops = history.ops().iter();
        ops.filter(|op| op.function == wanted).count() as u64
    };
    Amounts {
        acknowledged: facts.unseen.acknowledged_in_all(),
        delivered,
        passes: facts.passes(),
        audits: history.audits.len() as u64,
        answers: history.samples.len() as u64,
        transactions: of(Function::Txn),
        group_operations: of(Function::CommitOffsets) + of(Function::FetchOffsets),
        healed: facts
            .faults
            .iter()
            .filter(|fault| fault.healed.is_some())
            .count() as u64,
    }
}
