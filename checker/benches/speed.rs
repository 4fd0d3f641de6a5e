//! How fast histories are checked, from the file to the verdict, against the goals.
//!
//! `cargo bench -p checker --bench speed` checks generated histories of three kinds, of N and 10 N
//! operations, on all cores and on one, and says of each goal whether it is met: operations per CPU
//! second, growth of CPU time for ten times the work, how much faster all cores are than one, and
//! for ten million send and poll operations CPU seconds and peak memory. CPU seconds are user and
//! system time of all threads; how much faster is wall time, so the machine must be quiet. It fails
//! where a goal is missed. `CHECKER_BENCH_OPERATIONS` sets 10 N, a million by default;
//! `CHECKER_BENCH_KIND` does one kind only.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Instant;

use checker::compression::Output;
use checker::memory::LargeTables;
use checker::simulate::{Plan, generate};
use checker::verdict::Conclusion;
use checker::{Model, Options, check_path};

#[global_allocator]
static MEMORY: LargeTables = LargeTables;

/// Ten times the work may take this many times as long.
const GROWTH_MAX: f64 = 12.0;

/// Two cores are to be this many times as fast as one.
const CORES_MIN: f64 = 1.6;

/// Ten million send and poll operations: CPU seconds, and GiB.
const TEN_MILLION: (u64, f64, f64) = (10_000_000, 25.0, 3.0);

/// Each check is repeated so often, and the cheapest counts: what disturbs one only ever adds.
const REPEATED: usize = 3;

/// One kind of history, and how many operations per CPU second it is to be checked at.
struct Kind {
    name: &'static str,
    goal: f64,
    plan: Plan,
}

/// What one check took.
#[derive(Clone, Copy)]
struct Cost {
    user: f64,
    system: f64,
    wall: f64,
    peak_kib: u64,
}

impl Cost {
    fn cpu(&self) -> f64 {
        self.user + self.system
    }
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

/// The goals, and which of them are missed.
#[derive(Default)]
struct Goals {
    missed: Vec<String>,
}

impl Goals {
    fn judge(&mut self, what: &str, reached: f64, goal: f64, met: bool) {
        let word = if met { "met" } else { "MISSED" };
        println!("  {word:<6} {what}: {reached:.2}, goal {goal}");
        if !met {
            self.missed
                .push(format!("{what}: {reached:.2}, goal {goal}"));
        }
    }
}

fn main() {
    let large: u64 = std::env::var("CHECKER_BENCH_OPERATIONS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1_000_000);
    let only = std::env::var("CHECKER_BENCH_KIND").unwrap_or_default();
    let dir = tempfile::tempdir().expect("a temporary folder");
    println!(
        "{:<20} {:>10} {:>7} {:>7} {:>7} {:>7} {:>8} {:>10} {:>8}",
        "history",
        "operations",
        "user s",
        "sys s",
        "CPU s",
        "wall s",
        "one core",
        "op/CPU s",
        "peak MiB"
    );
    let mut goals = Goals::default();
    for kind in kinds().into_iter().filter(|kind| kind.name.contains(&only)) {
        let mut before = None;
        for operations in [large / 10, large] {
            let cost = measure(&kind, operations, dir.path(), &mut goals);
            if let Some(before) = before.replace(cost.cpu()) {
                let (what, growth) = (format!("{}: growth", kind.name), cost.cpu() / before);
                goals.judge(&what, growth, GROWTH_MAX, growth <= GROWTH_MAX);
            }
        }
    }
    if !goals.missed.is_empty() {
        println!("missed: {:#?}", goals.missed);
        std::process::exit(1);
    }
}

fn measure(kind: &Kind, operations: u64, dir: &Path, goals: &mut Goals) -> Cost {
    let path = dir.join("history.jsonl");
    let plan = Plan {
        operations,
        ..kind.plan.clone()
    };
    let mut output = Output::create(&path).expect("a file can be written");
    generate(&plan, &mut output)
        .and_then(|_| output.finish())
        .expect("a history can be written");
    let best = |of: &dyn Fn(&Cost) -> f64, costs: &[Cost]| {
        let best = costs.iter().min_by(|a, b| of(a).total_cmp(&of(b)));
        *best.expect("it is repeated")
    };
    let all: Vec<Cost> = (0..REPEATED)
        .map(|_| check_once(&path, plan.model))
        .collect();
    let one = on_one_core(|| check_once(&path, plan.model));
    let cost = best(&Cost::cpu, &all);
    let wall = best(&|cost| cost.wall, &all).wall;
    let speed = operations as f64 / cost.cpu();
    println!(
        "{:<20} {operations:>10} {:>7.2} {:>7.2} {:>7.2} {wall:>7.2} {:>8.2} {speed:>10.0} {:>8}",
        kind.name,
        cost.user,
        cost.system,
        cost.cpu(),
        one.wall,
        cost.peak_kib / 1024,
    );
    let name = format!("{}, {operations}", kind.name);
    let per_second = format!("{name}: operations per CPU second");
    goals.judge(&per_second, speed, kind.goal, speed >= kind.goal);
    if thread::available_parallelism().is_ok_and(|cores| cores.get() == 2) {
        let faster = one.wall / wall;
        let what = format!("{name}: times as fast on two cores as on one");
        goals.judge(&what, faster, CORES_MIN, faster >= CORES_MIN);
    }
    let (ten_million, cpu, gib) = TEN_MILLION;
    if operations == ten_million && kind.plan.model == Model::Kafka && kind.plan.transactions == 0.0
    {
        let peak = cost.peak_kib as f64 / f64::from(1 << 20);
        goals.judge(
            &format!("{name}: CPU s"),
            cost.cpu(),
            cpu,
            cost.cpu() <= cpu,
        );
        goals.judge(&format!("{name}: peak GiB"), peak, gib, peak <= gib);
    }
    cost
}

fn check_once(path: &Path, model: Model) -> Cost {
    let options = Options {
        model,
        ..Options::default()
    };
    // The peak is counted from here on, where the kernel allows it.
    let _ = fs::write("/proc/self/clear_refs", "5");
    let (began, before) = (Instant::now(), cpu_seconds());
    let verdict = check_path(path, &options).expect("a good history");
    assert_eq!(verdict.verdict, Conclusion::Valid, "{}", verdict.sentence);
    let after = cpu_seconds();
    Cost {
        user: after.0 - before.0,
        system: after.1 - before.1,
        wall: began.elapsed().as_secs_f64(),
        peak_kib: peak_kib(),
    }
}

/// Does it on a thread that may use one core only, and so may those that it starts.
fn on_one_core<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let pinned = || {
        // SAFETY: a zeroed set is an empty one, and the call reads no more than its size.
        let done = unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            libc::CPU_SET(0, &mut set);
            libc::sched_setaffinity(0, size_of_val(&set), &set)
        };
        assert_eq!(done, 0, "core 0 is there");
        work()
    };
    thread::scope(|scope| scope.spawn(pinned).join().expect("a check does not panic"))
}

/// CPU time of this process so far, all threads, user and system: fields 14 and 15 of
/// `/proc/self/stat`, in the hundredths of a second that Linux reports to user space on every
/// architecture.
fn cpu_seconds() -> (f64, f64) {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields = stat.rsplit(')').next().expect("a name in brackets");
    let mut ticks = fields.split_whitespace().skip(11);
    let mut seconds = || {
        let ticks = ticks.next().and_then(|field| field.parse::<f64>().ok());
        ticks.unwrap_or(0.0) / 100.0
    };
    (seconds(), seconds())
}

fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
        .unwrap_or(0)
}
