//! One run of an experiment: in this process where time is simulated, else as a command of its
//! own, so that a run that hangs or dies takes nothing with it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, bail};
use checker::Verdict;
use checker::verdict::Conclusion;

use super::plan::Experiment;
use crate::cli::RuntimeName;
use crate::run::simulated;

/// What one run came to.
#[derive(Clone, Debug)]
pub struct Trial {
    /// Whether an alarm rang.
    pub alarm: bool,
    /// What rang: anomalies, `stalled`, `assertion`.
    pub by: Vec<String>,
    /// Why the run says nothing of the broker, where its test bed failed.
    pub broken: Option<String>,
    /// Messages acknowledged.
    pub acknowledged: u64,
    /// Time on the run's own clock in seconds: simulated, or real.
    pub seconds: f64,
}

/// Does the run.
///
/// # Errors
/// Where the run could not be made at all.
pub fn run(one: &Experiment, runtime: RuntimeName, seed: u64, dir: &Path) -> anyhow::Result<Trial> {
    match runtime {
        RuntimeName::Sim => in_simulation(one, seed),
        _ => as_command(one, runtime, seed, dir),
    }
}

fn in_simulation(one: &Experiment, seed: u64) -> anyhow::Result<Trial> {
    let args = one.run_args(RuntimeName::Sim, seed);
    let args = args.map_err(anyhow::Error::msg)?.for_simulation();
    let (simulated, verdict) = simulated::of_seed(&args, seed)?;
    let mut trial = Trial::of(&verdict, simulated.simulated.as_secs_f64());
    if !simulated.panics.is_empty() {
        trial.alarm = true;
        trial.by.push("assertion".to_owned());
        trial.broken = None;
    } else if let Some(first) = simulated.broken.first() {
        trial.broken = Some(first.clone());
    }
    Ok(trial)
}

fn as_command(
    one: &Experiment,
    runtime: RuntimeName,
    seed: u64,
    dir: &Path,
) -> anyhow::Result<Trial> {
    let began = Instant::now();
    let program = std::env::current_exe().context("this program has no path")?;
    let output = Command::new(program)
        .args(one.arguments(runtime, seed))
        .args(["--json", "--out"])
        .arg(dir)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .context("a run cannot be started")?;
    let took = began.elapsed().as_secs_f64();
    let text = String::from_utf8_lossy(&output.stdout);
    match serde_json::from_str::<Verdict>(&text) {
        Ok(verdict) => Ok(Trial::of(&verdict, took)),
        Err(_) => bail!(
            "seed {seed} gave no verdict ({}): {}",
            output.status,
            text.trim()
        ),
    }
}

impl Trial {
    fn of(verdict: &Verdict, seconds: f64) -> Self {
        let alarm = matches!(verdict.verdict, Conclusion::Invalid | Conclusion::Stalled);
        let mut by: Vec<String> = verdict.anomalies.keys().cloned().collect();
        if verdict.verdict == Conclusion::Stalled {
            by.push("stalled".to_owned());
        }
        let broken = verdict.verdict == Conclusion::Infrastructure;
        Self {
            alarm,
            by,
            broken: broken.then(|| verdict.sentence.clone()),
            acknowledged: verdict.counts.acknowledged,
            seconds,
        }
    }
}

/// The runs of one experiment together.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Tally {
    /// Runs made.
    pub runs: u64,
    /// Runs in which an alarm rang.
    pub alarms: u64,
    /// How many runs each anomaly (or `stalled`, `assertion`) was seen in.
    pub by: BTreeMap<String, u64>,
    /// Seeds whose test bed failed, with the reason: they say nothing of the broker.
    pub broken: BTreeMap<u64, String>,
    /// Seeds that rang.
    pub seeds: Vec<u64>,
    /// Messages acknowledged, all runs together.
    pub acknowledged: u64,
    /// Seconds on the runs' own clock, all of them together.
    pub seconds: f64,
    /// Runs until the first alarm, this one included, in the order of seeds.
    pub runs_to_first: Option<u64>,
    /// Seconds on the runs' own clock until the run with the first alarm was over.
    pub seconds_to_first: Option<f64>,
}

impl Tally {
    /// Takes in the next seed; seeds come in ascending order.
    pub fn add(&mut self, seed: u64, trial: &Trial) {
        self.runs += 1;
        self.acknowledged += trial.acknowledged;
        self.seconds += trial.seconds;
        if let Some(why) = &trial.broken {
            self.broken.insert(seed, why.clone());
        }
        if !trial.alarm {
            return;
        }
        self.alarms += 1;
        self.seeds.push(seed);
        for name in &trial.by {
            *self.by.entry(name.clone()).or_default() += 1;
        }
        if self.runs_to_first.is_none() {
            self.runs_to_first = Some(self.runs);
            self.seconds_to_first = Some(self.seconds);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(by: &[&str]) -> Trial {
        Trial {
            alarm: !by.is_empty(),
            by: by.iter().map(|&name| name.to_owned()).collect(),
            broken: None,
            acknowledged: 1000,
            seconds: 30.0,
        }
    }

    #[test]
    fn a_tally_says_when_the_first_alarm_rang_and_by_what() {
        let mut tally = Tally::default();
        for (seed, by) in [&[][..], &["lost-write", "unseen"], &["lost-write"]]
            .iter()
            .enumerate()
        {
            tally.add(seed as u64 + 7, &trial(by));
        }
        assert_eq!((tally.runs, tally.alarms), (3, 2));
        assert_eq!(tally.seeds, [8, 9]);
        assert_eq!(tally.by["lost-write"], 2);
        assert_eq!(tally.by["unseen"], 1);
        assert_eq!(tally.runs_to_first, Some(2));
        assert_eq!(tally.seconds_to_first, Some(60.0));
        assert_eq!(tally.acknowledged, 3000);
    }
}
