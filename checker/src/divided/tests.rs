//! A history checked in parts shows what it shows as a whole, key by key, and is never called
//! valid.

use std::io::Write;

use super::*;
use crate::check_path;
use crate::simulate::{Injection, Plan, generate};

fn plan(seed: u64, model: Model) -> Plan {
    let inject = Injection::ALL.iter().map(|&one| (one, 0.002));
    Plan {
        seed,
        model,
        operations: 3000,
        transactions: [0.0, 0.3, 1.0][(seed % 3) as usize],
        partitions: 7,
        drains: seed.is_multiple_of(2),
        inject: if seed < 3 {
            Vec::new()
        } else {
            inject.collect()
        },
        ..Plan::default()
    }
}

fn written(plan: &Plan) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    let mut bytes = Vec::new();
    generate(plan, &mut bytes).expect("writing to memory cannot fail");
    file.write_all(&bytes).expect("a disk");
    file
}

fn checked(path: &Path, model: Model, memory: Option<u64>) -> Verdict {
    let options = Options {
        model,
        memory,
        ..Options::default()
    };
    check_path(path, &options).expect("a good history")
}

/// What two keys can show together: the parts may miss some of it.
fn spans_keys(name: &str) -> bool {
    let kind = Kind::named(name).expect("a type");
    matches!(
        kind,
        Kind::TornTransaction | Kind::ReadSkew | Kind::EmptyTransactionGraph | Kind::ZombieWrite
    ) || (kind >= Kind::G0 && kind <= Kind::G1cRealtime)
        || (kind >= Kind::GSingleItem && kind <= Kind::G2ItemRealtime)
        || name.ends_with("cycle-exists")
}

fn compare(seed: u64, model: Model, share: u64) -> usize {
    let file = written(&plan(seed, model));
    let whole = checked(file.path(), model, None);
    let needed = {
        let (history, _) = read_part(file.path(), Selection::default()).expect("readable");
        select::bytes(&history) as u64
    };
    let parts = checked(file.path(), model, Some(needed / share));
    assert_ne!(parts.verdict, Conclusion::Valid);
    assert!(parts.sentence.contains("--memory"), "{}", parts.sentence);
    assert_eq!(whole.counts.ops, parts.counts.ops);
    assert_eq!(whole.counts.acknowledged, parts.counts.acknowledged);
    assert_eq!(whole.counts.polled, parts.counts.polled);
    // A lower bound: in a part less is known of how far a process had come.
    let lag = |verdict: &Verdict| verdict.worst_realtime_lag.as_ref().map(|lag| lag.lag);
    assert!(lag(&parts) <= lag(&whole), "seed {seed}");
    for (name, total) in &whole.totals {
        let found = parts.totals.get(name).copied().unwrap_or(0);
        match spans_keys(name) {
            // Fewer, or more: how many cycles are shown depends on where components end.
            true => {}
            false => assert_eq!(found, *total, "{name}, seed {seed}"),
        }
    }
    for name in parts.totals.keys() {
        assert!(whole.totals.contains_key(name), "{name}, seed {seed}");
    }
    whole.totals.len()
}

#[test]
fn parts_of_logs_show_what_the_whole_shows() {
    let types = (0..12).map(|seed| compare(seed, Model::Kafka, 2 + seed % 4));
    assert!(types.sum::<usize>() > 40, "there was something to find");
}

#[test]
fn parts_of_lists_show_what_the_whole_shows() {
    let types = (0..9).map(|seed| compare(seed, Model::ListAppend, 2 + seed % 4));
    assert!(types.sum::<usize>() > 10, "there was something to find");
}

#[test]
fn keys_too_large_for_the_bound_are_named() {
    let file = written(&plan(0, Model::Kafka));
    let verdict = checked(file.path(), Model::Kafka, Some(0));
    assert_eq!(verdict.verdict, Conclusion::Unknown);
    let says = "(and 6 more) was not checked: it does not fit by itself";
    assert!(verdict.sentence.contains(says), "{}", verdict.sentence);
    assert!(verdict.notes.iter().any(|note| note.contains(says)));
}
