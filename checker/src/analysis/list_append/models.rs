//! Consistency models and the anomalies that they rule out, as data: three graphs and four
//! questions.
//!
//! Sources: Adya, "Weak Consistency" (1999); Bailis et al., "Highly Available Transactions" (2013);
//! Cerone, Bernardi and Gotsman, "A Framework for Transactional Consistency Models" (2015); Daudjee
//! and Salem (2004, 2006); Zuikeviciute and Pedone (2005); Liu et al., "ROLA" (2018); gathered in
//! Elle (elle.consistency-model), whose names and edges these are.

use std::collections::BTreeSet;

type Edges = &'static [(&'static str, &'static [&'static str])];

/// Whoever satisfies the first satisfies the others.
const MODELS: Edges = &[
    ("causal-cerone", &["read-atomic"]),
    ("consistent-view", &["cursor-stability", "monotonic-view"]),
    ("cursor-stability", &["read-committed"]),
    ("forward-consistent-view", &["consistent-view"]),
    ("read-committed", &["read-uncommitted"]),
    (
        "serializable",
        &[
            "repeatable-read",
            "update-serializable",
            "snapshot-isolation",
            "view-serializable",
        ],
    ),
    ("update-serializable", &["forward-consistent-view"]),
    ("monotonic-atomic-view", &["read-committed"]),
    ("monotonic-view", &["read-committed"]),
    ("monotonic-snapshot-read", &["read-committed"]),
    (
        "parallel-snapshot-isolation",
        &["causal-cerone", "update-atomic"],
    ),
    ("prefix", &["causal-cerone"]),
    ("read-atomic", &["monotonic-atomic-view"]),
    (
        "repeatable-read",
        &["cursor-stability", "monotonic-atomic-view"],
    ),
    ("update-atomic", &["read-atomic"]),
    ("session-serializable", &["1SR"]),
    (
        "snapshot-isolation",
        &[
            "forward-consistent-view",
            "monotonic-atomic-view",
            "monotonic-snapshot-read",
            "parallel-snapshot-isolation",
            "prefix",
        ],
    ),
    (
        "strong-serializable",
        &[
            "serializable",
            "linearizable",
            "snapshot-isolation",
            "strong-snapshot-isolation",
            "strong-session-serializable",
            "session-serializable",
        ],
    ),
    ("strong-session-read-uncommitted", &["read-uncommitted"]),
    (
        "strong-session-read-committed",
        &["read-committed", "strong-session-read-uncommitted"],
    ),
    (
        "strong-read-uncommitted",
        &["strong-session-read-uncommitted"],
    ),
    (
        "strong-read-committed",
        &["strong-session-read-committed", "strong-read-uncommitted"],
    ),
    (
        "strong-session-serializable",
        &["serializable", "strong-session-snapshot-isolation"],
    ),
    (
        "strong-session-snapshot-isolation",
        &["snapshot-isolation", "strong-session-read-committed"],
    ),
    (
        "strong-snapshot-isolation",
        &["strong-session-snapshot-isolation", "strong-read-committed"],
    ),
    ("linearizable", &["sequential"]),
    ("sequential", &["causal"]),
    ("causal", &["writes-follow-reads", "PRAM"]),
    (
        "PRAM",
        &["monotonic-reads", "monotonic-writes", "read-your-writes"],
    ),
];

/// Models that stand nowhere as the first of an edge.
const LEAVES: &[&str] = &[
    "1SR",
    "view-serializable",
    "read-uncommitted",
    "writes-follow-reads",
    "monotonic-reads",
    "monotonic-writes",
    "read-your-writes",
];

/// Other names.
const SYNONYMS: &[(&str, &str)] = &[
    ("PL-1", "read-uncommitted"),
    ("PL-2", "read-committed"),
    ("PL-2+", "consistent-view"),
    ("PL-2.99", "repeatable-read"),
    ("PL-2L", "monotonic-view"),
    ("PL-3", "serializable"),
    ("PL-3U", "update-serializable"),
    ("PL-CS", "cursor-stability"),
    ("PL-FCV", "forward-consistent-view"),
    ("PL-MSR", "monotonic-snapshot-read"),
    ("PL-SI", "snapshot-isolation"),
    ("PL-SS", "strong-serializable"),
    ("conflict-serializable", "serializable"),
    ("strict-serializable", "strong-serializable"),
    ("strong-session-PL-1", "strong-session-read-uncommitted"),
    ("strong-session-PL-2", "strong-session-read-committed"),
    ("strong-PL-1", "strong-read-uncommitted"),
    ("strong-PL-2", "strong-read-committed"),
];

/// Wherever the first is found, the others are there too.
const IMPLIED: Edges = &[
    ("G0", &["G1c", "G0-process"]),
    ("G0-process", &["G1c-process", "G0-realtime"]),
    ("G0-realtime", &["G1c-realtime"]),
    ("G1a", &["G1"]),
    ("G1b", &["G1"]),
    ("G1c", &["G1", "G1c-process"]),
    ("G1c-process", &["G1c-realtime", "G1-process"]),
    ("G1c-realtime", &["G1-realtime"]),
    ("G1", &["G1-process"]),
    ("G1-process", &["G1-realtime"]),
    (
        "G-single-item",
        &["G-single", "G-single-item-process", "G-nonadjacent-item"],
    ),
    (
        "G-single-item-process",
        &[
            "G-single-process",
            "G-single-item-realtime",
            "G-nonadjacent-item-process",
        ],
    ),
    (
        "G-single-item-realtime",
        &["G-single-realtime", "G-nonadjacent-item-realtime"],
    ),
    ("G-single", &["G-nonadjacent", "GSIb", "G-single-process"]),
    (
        "G-single-process",
        &["G-nonadjacent-process", "G-single-realtime"],
    ),
    ("G-single-realtime", &["G-nonadjacent-realtime"]),
    (
        "G-nonadjacent-item",
        &["G-nonadjacent", "G2-item", "G-nonadjacent-item-process"],
    ),
    (
        "G-nonadjacent-item-process",
        &[
            "G-nonadjacent-process",
            "G2-item-process",
            "G-nonadjacent-item-realtime",
        ],
    ),
    (
        "G-nonadjacent-item-realtime",
        &["G2-item-realtime", "G-nonadjacent-realtime"],
    ),
    ("G-nonadjacent", &["G2", "G-nonadjacent-process"]),
    (
        "G-nonadjacent-process",
        &["G2-process", "G-nonadjacent-realtime"],
    ),
    ("G-nonadjacent-realtime", &["G2-realtime"]),
    ("G2", &["G2-process"]),
    ("G2-item", &["G2", "G2-item-process"]),
    ("G2-item-process", &["G2-process", "G2-item-realtime"]),
    ("G2-item-realtime", &["G2-realtime"]),
    ("G2-process", &["G2-realtime"]),
    ("GSIa", &["GSI"]),
    ("GSIb", &["GSI"]),
    // G-single-item on the polls of a Kafka history.
    ("read-skew", &["G-nonadjacent-item"]),
    ("incompatible-order", &["G1a"]),
    ("future-read", &["G1c"]),
    ("dirty-update", &["G1a"]),
    ("lost-update", &["write-skew", "G2-item"]),
    ("write-skew", &["G2"]),
];

/// Anomalies that a model rules out, beyond those of the models that it implies.
const PROSCRIBED: Edges = &[
    ("causal-cerone", &["internal", "G1a"]),
    ("cursor-stability", &["G1", "G-cursor", "lost-update"]),
    ("monotonic-view", &["G1", "G-monotonic"]),
    ("monotonic-snapshot-read", &["G1", "G-MSR"]),
    ("consistent-view", &["G1", "G-single"]),
    ("forward-consistent-view", &["G1", "G-SIb"]),
    ("parallel-snapshot-isolation", &["internal", "G1a"]),
    (
        "serializable",
        &[
            "G1",
            "G2",
            "predicate-read-miss",
            "internal",
            "PL-3-cycle-exists",
        ],
    ),
    ("read-committed", &["G1", "PL-2-cycle-exists"]),
    (
        "read-uncommitted",
        &[
            "G0",
            "duplicate-elements",
            "cyclic-versions",
            "PL-1-cycle-exists",
        ],
    ),
    ("prefix", &["internal", "G1a"]),
    (
        "snapshot-isolation",
        &[
            "internal",
            "G1",
            "G-SI",
            "G-nonadjacent",
            "PL-SI-cycle-exists",
        ],
    ),
    ("read-atomic", &["internal", "G1a", "future-read"]),
    (
        "repeatable-read",
        &["G1", "G2-item", "lost-update", "PL-2.99-cycle-exists"],
    ),
    ("update-atomic", &["lost-update"]),
    (
        "strong-serializable",
        &["G1", "G1c-realtime", "G2-realtime", "PL-SS-cycle-exists"],
    ),
    (
        "strong-session-read-uncommitted",
        &["G0-process", "strong-session-PL-1-cycle-exists"],
    ),
    (
        "strong-session-read-committed",
        &["G1c-process", "strong-session-PL-2-cycle-exists"],
    ),
    (
        "strong-read-uncommitted",
        &["G0-realtime", "strong-PL-1-cycle-exists"],
    ),
    (
        "strong-read-committed",
        &["G1c-realtime", "strong-PL-2-cycle-exists"],
    ),
    (
        "strong-session-snapshot-isolation",
        &[
            "internal",
            "G1-process",
            "G-nonadjacent-process",
            "strong-session-snapshot-isolation-cycle-exists",
        ],
    ),
    (
        "strong-snapshot-isolation",
        &[
            "internal",
            "G1-realtime",
            "G-nonadjacent-realtime",
            "strong-snapshot-isolation-cycle-exists",
        ],
    ),
    (
        "strong-session-serializable",
        &[
            "G1-process",
            "G2-process",
            "strong-session-serializable-cycle-exists",
        ],
    ),
    ("update-serializable", &["G1", "G-update"]),
];

type Names = BTreeSet<&'static str>;

fn out(edges: Edges, from: &str) -> &'static [&'static str] {
    edges
        .iter()
        .find(|(name, _)| *name == from)
        .map_or(&[], |(_, to)| to)
}

/// Everything reachable from some names, themselves included.
fn reachable(edges: Edges, from: impl IntoIterator<Item = &'static str>) -> Names {
    let mut reached = Names::new();
    let mut open: Vec<&'static str> = from.into_iter().collect();
    while let Some(name) = open.pop() {
        if reached.insert(name) {
            open.extend(out(edges, name));
        }
    }
    reached
}

/// Everything from which some of the names are reachable, themselves included.
fn reaching(edges: Edges, to: &Names) -> Names {
    let mut reached = to.clone();
    loop {
        let new: Vec<_> = edges
            .iter()
            .filter(|(from, targets)| {
                !reached.contains(from) && targets.iter().any(|target| reached.contains(target))
            })
            .map(|&(from, _)| from)
            .collect();
        if new.is_empty() {
            return reached;
        }
        reached.extend(new);
    }
}

/// Every name of a model.
#[must_use]
pub fn names() -> Vec<&'static str> {
    let models = MODELS.iter().map(|(name, _)| *name);
    models
        .chain(LEAVES.iter().copied())
        .chain(SYNONYMS.iter().map(|(name, _)| *name))
        .collect()
}

/// The model of that name, under its proper name.
#[must_use]
pub fn model(name: &str) -> Option<&'static str> {
    if let Some((_, proper)) = SYNONYMS.iter().find(|(synonym, _)| *synonym == name) {
        return Some(proper);
    }
    names().into_iter().find(|known| *known == name)
}

/// Anomalies that may not occur if all these models hold.
#[must_use]
pub fn prohibited(models: &[&'static str]) -> Names {
    let held = reachable(MODELS, models.iter().copied());
    let direct = held
        .iter()
        .flat_map(|model| out(PROSCRIBED, model))
        .copied()
        .collect();
    reaching(IMPLIED, &direct)
}

/// These anomalies, and every one whose occurrence would imply one of them.
#[must_use]
pub fn implying(anomalies: &Names) -> Names {
    reaching(IMPLIED, anomalies)
}

/// Everything that the occurrence of an anomaly implies, itself included.
#[must_use]
pub fn implied(anomaly: &'static str) -> Names {
    reachable(IMPLIED, [anomaly])
}

/// Models that cannot hold where this one does not, itself included.
#[must_use]
pub fn stronger(model: &'static str) -> Names {
    reaching(MODELS, &Names::from([model]))
}

/// Models that cannot hold where these anomalies occur: the weakest of them, and the others.
#[must_use]
pub fn ruled_out(anomalies: impl IntoIterator<Item = &'static str>) -> (Names, Names) {
    let implied = reachable(IMPLIED, anomalies);
    let direct: Names = PROSCRIBED
        .iter()
        .filter(|(_, proscribed)| proscribed.iter().any(|anomaly| implied.contains(anomaly)))
        .map(|&(model, _)| model)
        .collect();
    let impossible = reaching(MODELS, &direct);
    let weakest: Names = impossible
        .iter()
        .copied()
        .filter(|model| {
            let weaker = reachable(MODELS, out(MODELS, model).iter().copied());
            weaker.is_disjoint(&impossible)
        })
        .collect();
    let others = impossible.difference(&weakest).copied().collect();
    (weakest, others)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_known() {
        let names: Names = names().into_iter().collect();
        for (model, weaker) in MODELS {
            assert!(names.contains(model));
            assert!(
                weaker.iter().all(|name| names.contains(name)),
                "{model}: {weaker:?}"
            );
        }
        assert!(PROSCRIBED.iter().all(|(model, _)| names.contains(model)));
        assert_eq!(model("strict-serializable"), Some("strong-serializable"));
        assert_eq!(model("seralizable"), None);
    }

    #[test]
    fn the_lattice_has_no_cycle() {
        for edges in [MODELS, IMPLIED] {
            for (name, to) in edges {
                assert!(
                    !reachable(edges, to.iter().copied()).contains(name),
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn what_a_cycle_rules_out() {
        let (weakest, others) = ruled_out(["G-single-item"]);
        assert_eq!(weakest, Names::from(["consistent-view", "repeatable-read"]));
        assert!(others.contains("serializable") && !others.contains("read-committed"));
        assert!(prohibited(&["read-committed"]).contains("G1a"));
        assert!(!prohibited(&["read-committed"]).contains("G-single-item"));
        assert!(ruled_out([]).0.is_empty());
    }
}
