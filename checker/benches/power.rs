//! What the checker finds, and that it finds nothing else.
//!
//! `cargo bench -p checker --bench power` puts each fault that the generator knows, alone, into a
//! history of a million operations at a rate of one in a million, and looks for it under its right
//! name; a history into which chance put none is generated again from the next seed. The same
//! histories without the fault are the control: not one alarm. `CHECKER_POWER_OPERATIONS` sets how
//! long they are (the rate follows), `CHECKER_POWER_CLEAN` how many clean operations more are to be
//! checked, of all kinds in turn, and `CHECKER_POWER_FAULTS=none` leaves out the faults. It prints
//! its table as Markdown, and fails where anything was missed or a clean history alarmed.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write as _};
use std::thread;

use checker::memory::LargeTables;
use checker::simulate::{Injection, Plan, generate};
use checker::verdict::Conclusion;
use checker::{Model, Options, Verdict, check_reader};

#[global_allocator]
static MEMORY: LargeTables = LargeTables;

/// Seeds tried until one has the fault.
const SEEDS: u64 = 60;

fn number(name: &str, default: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(default)
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

/// Checks a history while it is generated; gives back how many faults were put in too.
fn checked(plan: &Plan, options: &Options) -> (BTreeMap<&'static str, u64>, Verdict) {
    let options = Options {
        model: plan.model,
        ..options.clone()
    };
    let (reader, writer) = io::pipe().expect("a pipe");
    thread::scope(|scope| {
        let generated = scope.spawn(|| {
            let mut out = BufWriter::with_capacity(1 << 20, writer);
            generate(plan, &mut out).and_then(|done| out.flush().map(|()| done))
        });
        let verdict = check_reader(reader, "generated", &options);
        let done = generated.join().expect("the generator does not panic");
        let verdict = verdict.expect("a good history");
        (done.expect("a history can be written"), verdict)
    })
}

/// The first seed of which the history has the fault.
fn first_seed(plan: &Plan) -> Option<Plan> {
    let mut plans = (0..SEEDS).map(|seed| Plan {
        seed,
        ..plan.clone()
    });
    plans.find(|plan| {
        let done = generate(plan, &mut io::sink()).expect("nothing can go wrong with a sink");
        done.values().sum::<u64>() > 0
    })
}

fn faults(operations: u64, missed: &mut Vec<String>) {
    println!(
        "| injected at {:e} | into | seed | times | found | beside it |",
        1.0 / operations as f64
    );
    println!("|---|---|---|---|---|---|");
    for (model, turn) in [(Model::Kafka, 0), (Model::ListAppend, 3)] {
        let shown = Injection::ALL.iter().filter(|one| one.shown_by(model));
        for &injection in shown {
            let name = injection.name();
            let mut plan = Plan {
                inject: vec![(injection, 1.0 / operations as f64)],
                ..clean(operations, turn)
            };
            let mut options = Options::default();
            injection.demand(&mut plan, &mut options);
            let Some(plan) = first_seed(&plan) else {
                missed.push(format!("{name} was never put in"));
                continue;
            };
            let (done, verdict) = checked(&plan, &options);
            let found = verdict.totals.get(name).copied().unwrap_or(0);
            let others = verdict.totals.keys().filter(|kind| *kind != name);
            let others: Vec<&str> = others.map(String::as_str).collect();
            let into = match model {
                Model::Kafka => "logs",
                Model::ListAppend => "lists",
            };
            let (seed, done) = (plan.seed, done.values().sum::<u64>());
            println!(
                "| `{name}` | {into} | {seed} | {done} | {found} | {} |",
                others.join(", ")
            );
            if found == 0 {
                missed.push(format!("{name} was put into {into} and not found"));
            }
        }
    }
}

fn soundness(operations: u64, wanted: u64, missed: &mut Vec<String>) {
    let (mut sound, mut alarms) = (0, 0);
    for turn in 0.. {
        if sound >= wanted {
            break;
        }
        let plan = clean(operations, turn);
        let (_, verdict) = checked(&plan, &Options::default());
        let counts = &verdict.counts;
        sound += counts.ok + counts.fail + counts.info;
        if verdict.verdict != Conclusion::Valid {
            alarms += 1;
            missed.push(format!("clean history {turn}: {}", verdict.sentence));
        }
        eprintln!("{sound:>12} clean operations, {alarms} alarms");
    }
    if wanted > 0 {
        println!("\n{sound} clean operations, {alarms} alarms");
    }
}

fn main() {
    let operations = number("CHECKER_POWER_OPERATIONS", 1_000_000);
    let mut missed = Vec::new();
    if std::env::var("CHECKER_POWER_FAULTS").as_deref() != Ok("none") {
        faults(operations, &mut missed);
    }
    soundness(operations, number("CHECKER_POWER_CLEAN", 0), &mut missed);
    assert!(missed.is_empty(), "{missed:#?}");
}
