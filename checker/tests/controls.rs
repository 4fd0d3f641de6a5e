//! Controls: histories of a correct cluster must never alarm, and whatever is then broken in them
//! must be caught, under its right name.

#[path = "controls/mutations.rs"]
mod mutations;

use std::io::Cursor;

use checker::history::read::read_from;
use checker::simulate::{Plan, generate};
use checker::verdict::Conclusion;
use checker::{Options, Verdict, check};

fn generated(plan: &Plan) -> String {
    let mut bytes = Vec::new();
    generate(plan, &mut bytes).expect("writing to memory cannot fail");
    String::from_utf8(bytes).expect("histories are text")
}

fn checked(history: &str, options: &Options) -> Verdict {
    let history = read_from(Cursor::new(history), "generated").expect("a good history");
    check(&history, options).expect("good options")
}

/// Plans that differ in everything.
fn plans(count: u64) -> impl Iterator<Item = Plan> {
    (0..count).map(|seed| Plan {
        seed,
        model: checker::Model::Kafka,
        operations: 100 + seed % 7 * 100,
        clients: 2 + (seed % 20) as u32,
        partitions: 1 + (seed % 5) as u32,
        batch: 1 + (seed % 9) as u32,
        poll: 1 + (seed * 5 % 40) as u32,
        transactions: [0.0, 0.0, 0.3, 1.0][(seed % 4) as usize],
        trouble: [0.0, 0.05, 0.2][(seed % 3) as usize],
        failover: [0.0, 0.02, 0.2][(seed / 3 % 3) as usize],
        sampling: 0.3,
        drains: seed % 11 != 0,
        inject: Vec::new(),
    })
}

#[test]
fn a_correct_cluster_never_alarms() {
    for plan in plans(300) {
        let history = generated(&plan);
        for ww_deps in [false, true] {
            let profile = if plan.transactions > 0.0 {
                "txn"
            } else {
                "safe"
            };
            let profile = profile.to_owned();
            let options = Options {
                profile,
                ww_deps,
                ..Options::default()
            };
            let verdict = checked(&history, &options);
            let expected = if plan.drains { "" } else { "unseen" };
            let alarms = verdict.anomalies.keys().filter(|kind| *kind != expected);
            assert_eq!(alarms.count(), 0, "{plan:?}: {:?}", verdict.anomalies);
            if plan.drains {
                assert_eq!(
                    verdict.verdict,
                    Conclusion::Valid,
                    "{plan:?}: {}",
                    verdict.sentence
                );
                assert_eq!(verdict.counts.passes, 2);
            }
        }
    }
}

#[test]
fn the_generator_is_deterministic_and_does_what_it_says() {
    let plan = Plan {
        operations: 4000,
        transactions: 0.3,
        ..Plan::default()
    };
    let history = generated(&plan);
    assert_eq!(history, generated(&plan));
    let verdict = checked(
        &history,
        &Options {
            profile: "txn".to_owned(),
            ..Options::default()
        },
    );
    let counts = verdict.counts;
    let data = counts.ok + counts.fail + counts.info;
    assert!(
        counts.info * 20 > data,
        "at least 5 % without an answer: {counts:?}"
    );
    assert!(counts.fail * 30 > data, "failures and aborts: {counts:?}");
    assert!(
        counts.indeterminate > 100 && counts.acknowledged > 1000,
        "{counts:?}"
    );
    let epochs: std::collections::BTreeSet<_> = history
        .match_indices("\"epoch\":")
        .map(|(at, _)| &history[at..at + 10])
        .collect();
    assert!(epochs.len() > 5, "leaders change");
}

#[test]
fn whatever_is_broken_is_caught_under_its_right_name() {
    let mut applied = std::collections::BTreeMap::new();
    for plan in plans(60) {
        let history = generated(&plan);
        for mutation in mutations::ALL {
            let Some(broken) = mutations::apply(mutation, &history, plan.seed) else {
                continue;
            };
            *applied.entry(mutation.name).or_insert(0) += 1;
            let profile = if plan.transactions > 0.0 {
                "txn"
            } else {
                "safe"
            };
            let options = Options {
                profile: profile.to_owned(),
                ..Options::default()
            };
            let verdict = checked(&broken, &options);
            for kind in mutation.caught_as {
                assert!(
                    verdict.anomalies.contains_key(*kind),
                    "{}: expected {kind}, found {:?} with {plan:?}",
                    mutation.name,
                    verdict.totals
                );
            }
        }
    }
    for mutation in mutations::ALL {
        let times = applied.get(mutation.name).copied().unwrap_or(0);
        assert!(
            times >= 10,
            "{} could be applied {times} times only",
            mutation.name
        );
    }
}
