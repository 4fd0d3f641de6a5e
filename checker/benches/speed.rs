//! How fast histories are checked, from the file to the verdict, in CPU seconds.
//!
//! `cargo bench -p checker` checks generated histories of three kinds, of N and 10 N operations,
//! and prints operations per CPU second, how the time grows for ten times the work, and peak
//! memory. CPU seconds (user and system, of all threads) count because wall time depends on who
//! else is at work. It fails where a goal is missed by more than a machine of another kind
//! explains. `CHECKER_BENCH_OPERATIONS` sets 10 N; a million by default.

use std::fs;
use std::path::Path;
use std::time::Instant;

use checker::compression::Output;
use checker::simulate::{Plan, generate};
use checker::verdict::Conclusion;
use checker::{Model, Options, check_path};

/// One kind of history, and how many operations per CPU second it is to be checked at.
struct Kind {
    name: &'static str,
    goal: f64,
    plan: Plan,
}

/// Below this share of a goal something is wrong with the checker, not with the machine.
const TOLERANCE: f64 = 0.4;

/// Ten times the work may take this many times as long.
const GROWTH_MAX: f64 = 12.0;

/// What one check took.
struct Cost {
    cpu: f64,
    wall: f64,
    peak_kib: u64,
}

fn kinds() -> Vec<Kind> {
    let plan = Plan {
        clients: 20,
        partitions: 12,
        sampling: 0.01,
        drains: false,
        ..Plan::default()
    };
    vec![
        Kind {
            name: "Kafka send/poll",
            goal: 400_000.0,
            plan: plan.clone(),
        },
        Kind {
            name: "Kafka transactions",
            goal: 250_000.0,
            plan: Plan {
                transactions: 1.0,
                ..plan.clone()
            },
        },
        Kind {
            name: "list-append",
            goal: 600_000.0,
            plan: Plan {
                model: Model::ListAppend,
                partitions: 10,
                ..plan
            },
        },
    ]
}

fn main() {
    let large: u64 = std::env::var("CHECKER_BENCH_OPERATIONS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1_000_000);
    let dir = tempfile::tempdir().expect("a temporary folder");
    println!(
        "{:<20} {:>10} {:>9} {:>9} {:>12} {:>9} {:>8} {:>8}",
        "history", "operations", "CPU s", "wall s", "op/CPU s", "goal", "growth", "peak MiB"
    );
    let mut missed = Vec::new();
    for kind in kinds() {
        let mut before = None;
        for operations in [large / 10, large] {
            let cost = measure(&kind, operations, dir.path());
            let growth = before.map(|before: f64| cost.cpu / before);
            let speed = operations as f64 / cost.cpu;
            println!(
                "{:<20} {operations:>10} {:>9.2} {:>9.2} {speed:>12.0} {:>9.0} {:>8} {:>8}",
                kind.name,
                cost.cpu,
                cost.wall,
                kind.goal,
                growth.map_or_else(String::new, |growth| format!("{growth:.1}")),
                cost.peak_kib / 1024,
            );
            if speed < kind.goal * TOLERANCE {
                missed.push(format!(
                    "{}: {speed:.0} operations per CPU second",
                    kind.name
                ));
            }
            if let Some(growth) = growth.filter(|&growth| growth > GROWTH_MAX) {
                missed.push(format!(
                    "{}: {growth:.1} times for ten times the work",
                    kind.name
                ));
            }
            before = Some(cost.cpu);
        }
    }
    assert!(missed.is_empty(), "missed: {missed:#?}");
}

/// The cheapest of three checks: what disturbs a measurement only ever adds to it.
fn measure(kind: &Kind, operations: u64, dir: &Path) -> Cost {
    let path = dir.join("history.jsonl");
    let plan = Plan {
        operations,
        ..kind.plan.clone()
    };
    let mut output = Output::create(&path).expect("a file can be written");
    generate(&plan, &mut output)
        .and_then(|_| output.finish())
        .expect("a history can be written");
    let options = Options {
        model: plan.model,
        ..Options::default()
    };
    let costs = (0..3).map(|_| {
        // The peak is counted from here on, where the kernel allows it.
        let _ = fs::write("/proc/self/clear_refs", "5");
        let (began, cpu) = (Instant::now(), cpu_seconds());
        let verdict = check_path(&path, &options).expect("a good history");
        assert_eq!(verdict.verdict, Conclusion::Valid, "{}", verdict.sentence);
        Cost {
            cpu: cpu_seconds() - cpu,
            wall: began.elapsed().as_secs_f64(),
            peak_kib: peak_kib(),
        }
    });
    costs
        .min_by(|a, b| a.cpu.total_cmp(&b.cpu))
        .expect("three are not none")
}

/// CPU time of this process so far, all threads: fields 14 and 15 of `/proc/self/stat`, in the
/// hundredths of a second that Linux reports to user space on every architecture.
fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields = stat.rsplit(')').next().expect("a name in brackets");
    let ticks = fields.split_whitespace().skip(11).take(2);
    ticks
        .filter_map(|field| field.parse::<f64>().ok())
        .sum::<f64>()
        / 100.0
}

fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
        .unwrap_or(0)
}
