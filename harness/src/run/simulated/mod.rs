//! `--runtime sim`: seeds, one after the other, each a whole run in simulated time, each checked.
//!
//! A seed counts when it acknowledged 1,000 messages, saw an election and 30 simulated seconds.
//! A seed fails when its verdict is bad or an assertion of a broker failed; its history is kept,
//! and the command that repeats it is printed. Nothing is written about seeds that are well.

mod churn;
mod one;
pub mod power_loss;

use std::time::{Duration, Instant};

use anyhow::Context as _;
use checker::verdict::Conclusion;
use checker::{Options, Verdict};
use nemesis::Schedule;
use serde_json::json;

use super::{replay_command, schedule_spec, verdict};
use crate::cli::RunArgs;
use crate::exit::Exit;
use crate::run::folder::Folder;

pub use one::{Simulated, simulate};

/// What all seeds together came to.
#[derive(Default)]
struct Tally {
    run: u64,
    counted: u64,
    failed: Vec<u64>,
    simulated: Duration,
    worst: Option<Conclusion>,
}

/// Runs `--seeds` seeds from `first` on.
///
/// # Errors
/// Where a failing seed cannot be stored.
pub fn main(args: &RunArgs, first: u64) -> anyhow::Result<Exit> {
    let args = &args.for_simulation();
    let began = Instant::now();
    let mut tally = Tally::default();
    for seed in (first..).take(usize::try_from(args.seeds).unwrap_or(usize::MAX)) {
        let (simulated, verdict) = of_seed(args, seed)?;
        tally.add(seed, &simulated, &verdict);
        let bad = is_bad(&simulated, &verdict);
        if bad || args.seeds == 1 {
            let folder = store(args, seed, &simulated, &verdict)?;
            tell(args, seed, &simulated, &verdict, &folder);
        }
        if bad && !args.keep_going {
            break;
        }
        if tally.run.is_multiple_of(50) {
            say!("{}", tally.sentence(began.elapsed()));
        }
    }
    tell!("{}", tally.sentence(began.elapsed()));
    Ok(match tally.worst {
        Some(worst) => verdict::exit_of(worst),
        None => Exit::Valid,
    })
}

/// One seed, simulated and judged; `args` are those of a simulation already.
///
/// # Errors
/// As [`simulate`] and [`judge`], and where there is no schedule for these flags.
pub fn of_seed(args: &RunArgs, seed: u64) -> anyhow::Result<(Simulated, Verdict)> {
    let schedule = Schedule::generate(seed, &schedule_spec(args))?;
    let simulated = simulate(args, seed, schedule)?;
    let verdict = judge(args, &simulated)?;
    Ok((simulated, verdict))
}

fn is_bad(simulated: &Simulated, verdict: &Verdict) -> bool {
    !simulated.panics.is_empty()
        || !simulated.broken.is_empty()
        || !matches!(verdict.verdict, Conclusion::Valid | Conclusion::Vacuous)
}

/// The checker's verdict on a seed's history.
///
/// # Errors
/// Where our own history cannot be read: a defect of ours.
pub fn judge(args: &RunArgs, simulated: &Simulated) -> anyhow::Result<Verdict> {
    let options = Options {
        profile: verdict::profile(args).to_owned(),
        recovery_limit: args.recovery_limit,
        ..Options::default()
    };
    let history = checker::history::read::read_from(&simulated.history[..], "history")
        .context("our own history is bad")?;
    let mut verdict = checker::check(&history, &options)?;
    let broken = simulated.panics.iter().chain(&simulated.broken);
    verdict.notes.extend(broken.cloned());
    if let Some(first) = simulated.panics.first().or(simulated.broken.first())
        && Conclusion::Infrastructure < verdict.verdict
    {
        verdict.verdict = Conclusion::Infrastructure;
        verdict.sentence = format!("Infrastructure: {first}");
    }
    Ok(verdict)
}

fn store(
    args: &RunArgs,
    seed: u64,
    simulated: &Simulated,
    verdict: &Verdict,
) -> anyhow::Result<Folder> {
    let folder = Folder::create(&args.out, seed)
        .with_context(|| format!("no folder can be made in {}", args.out.display()))?;
    let schedule = Schedule::generate(seed, &schedule_spec(args))?;
    let path = folder.file("history.jsonl");
    std::fs::write(&path, &simulated.history).context("the history cannot be written")?;
    folder.write_json("schedule.json", &json!({"generated": schedule}))?;
    let stored = serde_json::to_value(verdict).context("a verdict is JSON")?;
    folder.write_json("verdict.json", &stored)?;
    let summary = json!({
        "command": replay_command(args, seed),
        "seed": seed,
        "config": super::config::config(args, seed, None, schedule.faults.len()),
    });
    folder.write_json("run.json", &summary)?;
    if let Err(error) = checker::report::render(folder.path()) {
        // The verdict stands without its picture.
        say!("the report could not be rendered: {error}");
    }
    Ok(folder)
}

fn tell(args: &RunArgs, seed: u64, simulated: &Simulated, verdict: &Verdict, folder: &Folder) {
    tell!("seed {seed}: {}", verdict.sentence);
    for line in simulated.panics.iter().chain(&simulated.broken) {
        tell!("  {line}");
    }
    tell!("replay: {}", replay_command(args, seed));
    tell!("report: {}", folder.shown("report.html"));
}

impl Tally {
    fn add(&mut self, seed: u64, simulated: &Simulated, verdict: &Verdict) {
        self.run += 1;
        self.simulated += simulated.simulated;
        if is_bad(simulated, verdict) {
            self.failed.push(seed);
            let worse = self.worst.is_none_or(|worst| verdict.verdict < worst);
            if worse {
                self.worst = Some(verdict.verdict);
            }
        } else if simulated.counts() && verdict.verdict == Conclusion::Valid {
            self.counted += 1;
        }
    }

    fn sentence(&self, took: Duration) -> String {
        let rate = self.simulated.as_secs_f64() / took.as_secs_f64().max(1e-9);
        let failed = match self.failed.as_slice() {
            [] => "none failed".to_owned(),
            some => format!("failed: {some:?}"),
        };
        format!(
            "{} seeds, {} counted, {failed}; {:.0} simulated seconds in {:.1} s ({rate:.0} a \
             second)",
            self.run,
            self.counted,
            self.simulated.as_secs_f64(),
            took.as_secs_f64()
        )
    }
}
