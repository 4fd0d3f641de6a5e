//! What the checker finds, and that it finds nothing else.
//!
//! `cargo bench -p checker --bench power` puts each fault that the generator knows, alone, into a
//! history of a million operations at a rate of one in a million, and looks for it under its right
//! name; a history into which chance put none is generated again from the next seed. The same
//! histories without the fault are the control: not one alarm. `CHECKER_POWER_OPERATIONS` sets how
//! long they are (the rate follows), `CHECKER_POWER_CLEAN` how many clean operations more are to be
//! checked, of all kinds in turn.

use std::io::Write as _;
use std::path::Path;

use checker::compression::Output;
use checker::simulate::{Injection, Plan, generate};
use checker::verdict::Conclusion;
use checker::{Model, Options, Verdict, check_path};

/// Seeds tried until one has the fault.
const SEEDS: u64 = 40;

fn number(name: &str, default: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// A kind of history in which the fault can be.
fn plan_for(injection: Injection, operations: u64) -> Plan {
    let lists = matches!(
        injection,
        Injection::StaleRead | Injection::DuplicateElements | Injection::IncompatibleOrder
    );
    let transactions = f64::from(u8::from(injection == Injection::PrecommittedRead));
    Plan {
        model: if lists {
            Model::ListAppend
        } else {
            Model::Kafka
        },
        transactions,
        ..clean(operations, 0)
    }
}

/// Clean histories: send and poll, transactions, both, lists, in turn.
fn clean(operations: u64, turn: u64) -> Plan {
    let lists = turn % 4 == 3;
    Plan {
        seed: 1000 + turn,
        model: if lists {
            Model::ListAppend
        } else {
            Model::Kafka
        },
        operations,
        clients: 20,
        partitions: if lists { 10 } else { 12 },
        sampling: 0.01,
        transactions: [0.0, 1.0, 0.3, 0.0][(turn % 4) as usize],
        drains: turn % 8 < 4,
        ..Plan::default()
    }
}

fn checked(plan: &Plan, path: &Path) -> (u64, Verdict) {
    let mut output = Output::create(path).expect("a file can be written");
    let done = generate(plan, &mut output)
        .and_then(|done| output.finish().map(|()| done))
        .expect("a history can be written");
    let options = Options {
        model: plan.model,
        ..Options::default()
    };
    let verdict = check_path(path, &options).expect("a good history");
    (done.values().sum(), verdict)
}

fn main() {
    let operations = number("CHECKER_POWER_OPERATIONS", 1_000_000);
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("history.jsonl");
    let mut missed = Vec::new();
    println!(
        "{:<26} {:>5} {:>9} {:>8}  beside it",
        "injected, one in a million", "seed", "put in", "found"
    );
    for &injection in Injection::ALL {
        let name = injection.name();
        let rate = 1.0 / operations as f64;
        let found = (0..SEEDS).find_map(|seed| {
            let plan = Plan {
                seed,
                inject: vec![(injection, rate)],
                ..plan_for(injection, operations)
            };
            let (done, verdict) = checked(&plan, &path);
            (done > 0).then_some((seed, done, verdict))
        });
        let Some((seed, done, verdict)) = found else {
            missed.push(format!("{name} was never put in"));
            continue;
        };
        let total = verdict.totals.get(name).copied().unwrap_or(0);
        let others = verdict.anomalies.keys().filter(|kind| *kind != name);
        let others: Vec<&str> = others.map(String::as_str).collect();
        println!(
            "{name:<26} {seed:>5} {done:>9} {total:>8}  {}",
            others.join(", ")
        );
        if total == 0 {
            missed.push(format!("{name} was put in and not found"));
        }
    }
    let wanted = number("CHECKER_POWER_CLEAN", 0);
    let mut sound = 0;
    for turn in 0.. {
        if sound >= wanted {
            break;
        }
        let (_, verdict) = checked(&clean(operations, turn), &path);
        let counts = &verdict.counts;
        sound += counts.ok + counts.fail + counts.info;
        if verdict.verdict != Conclusion::Valid {
            missed.push(format!("clean history {turn}: {}", verdict.sentence));
        }
        println!("{sound:>12} clean operations, {} alarms", missed.len());
        std::io::stdout().flush().expect("a place to print to");
    }
    assert!(missed.is_empty(), "{missed:#?}");
}
