//! `harness matrix`: each seeded bug, run until it is known how often its alarm rings, and the
//! same runs without a bug, in which none may.
//!
//! * [`plan`]: which runs; [`trial`]: one run, and many together; [`table`]: what is stored and
//!   printed; [`wilson`]: what a share out of few runs supports
//!
//! Results are kept for each runtime (`results/matrix/RUNTIME.json`); the table
//! (`results/matrix/matrix.md`) is drawn from all that are there.

mod plan;
mod table;
mod trial;
mod wilson;

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context as _;
use broker::chaos::catalogue::{self, Entry};
use clap::ValueEnum as _;

use crate::cli::{MatrixArgs, RuntimeName};
use crate::exit::Exit;
use plan::Experiment;
use table::{Matrix, Row};
use trial::{Tally, Trial};

/// `harness matrix`.
#[must_use]
pub fn main(args: &MatrixArgs) -> Exit {
    match made(args) {
        Ok(exit) => exit,
        Err(error) => {
            say!("error: {error:#}");
            Exit::Infrastructure
        }
    }
}

fn made(args: &MatrixArgs) -> anyhow::Result<Exit> {
    let dir = args.out.join("matrix");
    std::fs::create_dir_all(&dir).with_context(|| format!("{} cannot be made", dir.display()))?;
    let runtime = args.runtime.to_possible_value().expect("none is hidden");
    let started = jiff::Timestamp::now().to_string();
    let (experiments, skipped) = planned(args);
    let controls = match args.no_controls {
        true => Vec::new(),
        false => plan::controls(&experiments),
    };
    let all: Vec<Experiment> = experiments.iter().chain(&controls).cloned().collect();
    let mut rows = run_all(args, &all)?;
    let controls = rows.split_off(experiments.len());
    rows.extend(skipped);
    rows.sort_by(|a, b| a.id.cmp(&b.id));
    let matrix = Matrix {
        runtime: runtime.get_name().to_owned(),
        command: args.command(),
        started,
        machine: crate::run::machine(),
        bugs: rows,
        controls,
    };
    let stored = store(&dir, matrix, args)?;
    let false_alarms: u64 = stored.controls.iter().map(|row| row.tally.alarms).sum();
    if false_alarms > 0 {
        say!("{false_alarms} runs without a bug raised an alarm");
        return Ok(Exit::Invalid);
    }
    Ok(Exit::Valid)
}

/// What is to be run, and a row for each bug that cannot be.
fn planned(args: &MatrixArgs) -> (Vec<Experiment>, Vec<Row>) {
    let wanted = |entry: &&Entry| match (entry.bug, args.bugs.as_slice()) {
        (None, _) => false,
        (Some(_), []) => true,
        (Some(bug), some) => some.contains(&bug),
    };
    let mut experiments = Vec::new();
    let mut skipped = Vec::new();
    for entry in catalogue::entries().into_iter().filter(wanted) {
        let Some(bug) = entry.bug else { continue };
        match plan::of(entry, bug, args.runtime) {
            Ok(experiment) => experiments.push(experiment),
            Err(why) => skipped.push(Row {
                id: Some(entry.id()),
                flags: String::new(),
                skipped: Some(why),
                tally: Tally::default(),
            }),
        }
    }
    (experiments, skipped)
}

/// Runs all seeds of all experiments, `--jobs` at a time, and tells each experiment's outcome as
/// it is complete.
fn run_all(args: &MatrixArgs, all: &[Experiment]) -> anyhow::Result<Vec<Row>> {
    let seeds: Vec<u64> = (args.seed..).take(args.seeds).collect();
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<Vec<(u64, Trial)>>> = Mutex::new(vec![Vec::new(); all.len()]);
    let work = || -> anyhow::Result<()> {
        loop {
            let task = next.fetch_add(1, Ordering::Relaxed);
            let Some(one) = all.get(task / seeds.len()) else {
                return Ok(());
            };
            let seed = seeds[task % seeds.len()];
            let dir = args.out.join("matrix").join("runs");
            let trial = trial::run(one, args.runtime, seed, &dir)?;
            let mut done = done
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            let trials = &mut done[task / seeds.len()];
            trials.push((seed, trial));
            if trials.len() == seeds.len() {
                say!("{}", table::line(&row(one, trials)));
            }
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..args.jobs()).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().expect("a worker does not panic"))
    })?;
    let mut done = done
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    Ok(all
        .iter()
        .zip(&mut done)
        .map(|(one, trials)| row(one, trials))
        .collect())
}

fn row(one: &Experiment, trials: &mut [(u64, Trial)]) -> Row {
    trials.sort_by_key(|(seed, _)| *seed);
    let mut tally = Tally::default();
    for (seed, trial) in trials.iter() {
        tally.add(*seed, trial);
    }
    Row {
        id: one.bug.map(|bug| catalogue::entry(bug).id()),
        flags: one.flags.join(" "),
        skipped: None,
        tally,
    }
}

/// Stores what was measured (beside bugs that were measured before, where only some were asked
/// for), and draws the table.
fn store(dir: &Path, mut matrix: Matrix, args: &MatrixArgs) -> anyhow::Result<Matrix> {
    let path = dir.join(format!("{}.json", matrix.runtime));
    if !args.bugs.is_empty()
        && let Ok(text) = std::fs::read(&path)
        && let Ok(before) = serde_json::from_slice::<Matrix>(&text)
    {
        matrix = merged(before, matrix);
    }
    let text = serde_json::to_string_pretty(&matrix)?;
    std::fs::write(&path, text).with_context(|| format!("{} cannot be written", path.display()))?;
    let page = table::markdown(&stored(dir)?);
    let shown = dir.join("matrix.md");
    std::fs::write(&shown, &page)
        .with_context(|| format!("{} cannot be written", shown.display()))?;
    if args.json {
        tell!("{}", serde_json::to_string(&matrix)?);
    } else {
        tell_raw!("{page}");
        tell!("stored: {}", shown.display());
    }
    Ok(matrix)
}

fn merged(before: Matrix, now: Matrix) -> Matrix {
    let keep = |old: Vec<Row>, new: &[Row], key: fn(&Row) -> (Option<String>, String)| {
        let fresh: Vec<_> = new.iter().map(key).collect();
        let mut all: Vec<Row> = old
            .into_iter()
            .filter(|row| !fresh.contains(&key(row)))
            .collect();
        all.extend(new.iter().cloned());
        all.sort_by_key(key);
        all
    };
    Matrix {
        bugs: keep(before.bugs, &now.bugs, |row| {
            (row.id.clone(), String::new())
        }),
        controls: keep(before.controls, &now.controls, |row| {
            (None, row.flags.clone())
        }),
        command: before.command,
        ..now
    }
}

/// Everything that was ever measured here, simulations first.
fn stored(dir: &Path) -> anyhow::Result<Vec<Matrix>> {
    let order = [
        RuntimeName::Sim,
        RuntimeName::Docker,
        RuntimeName::Namespaces,
    ];
    let mut all = Vec::new();
    for runtime in order {
        let value = runtime.to_possible_value().expect("none is hidden");
        let path: PathBuf = dir.join(format!("{}.json", value.get_name()));
        let Ok(text) = std::fs::read(&path) else {
            continue;
        };
        let matrix = serde_json::from_slice(&text)
            .with_context(|| format!("{} is no table; remove it", path.display()))?;
        all.push(matrix);
    }
    Ok(all)
}
