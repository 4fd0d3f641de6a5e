//! What the runs so far support: how many of one sort were clean, and below which probability a
//! failure lies then.
//!
//! A run counts when it proves something: its verdict is valid (nothing forbidden, and every
//! demand on what it had to exercise met), or it failed (invalid or stalled). Vacuous, unknown,
//! broken and interrupted runs say nothing. Each seed counts once: a replay is no new draw.

pub mod bound;
pub mod sort;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use checker::verdict::Conclusion;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::cli::PowerArgs;
use crate::exit::Exit;

/// A stored run, as far as it matters here.
struct Stored {
    name: String,
    seed: u64,
    sort: Json,
    worth: Worth,
}

/// What a run adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Worth {
    /// Nothing was wrong, and it would have shown.
    Clean,
    /// Something was.
    Failed,
    /// It proves nothing, and why.
    Nothing(&'static str),
}

#[derive(Deserialize)]
struct RunFile {
    seed: u64,
    sort: Option<Json>,
    #[serde(default)]
    interrupted: bool,
}

#[derive(Deserialize)]
struct VerdictFile {
    verdict: Conclusion,
}

/// Runs of one sort together.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Seeds of which every run that counts was clean.
    pub clean: u64,
    /// Seeds of which a run failed.
    pub failed: u64,
    /// Runs that do not count, by reason.
    pub left_out: BTreeMap<&'static str, u64>,
    /// Runs that count, by name of their folder.
    pub runs: Vec<String>,
}

impl Tally {
    fn of<'a>(runs: impl IntoIterator<Item = &'a Stored>) -> Self {
        let mut tally = Self::default();
        let mut seeds: BTreeMap<u64, bool> = BTreeMap::new();
        for run in runs {
            let clean = match run.worth {
                Worth::Nothing(why) => {
                    *tally.left_out.entry(why).or_default() += 1;
                    continue;
                }
                Worth::Clean => true,
                Worth::Failed => false,
            };
            tally.runs.push(run.name.clone());
            match seeds.entry(run.seed) {
                std::collections::btree_map::Entry::Vacant(seed) => {
                    seed.insert(clean);
                }
                std::collections::btree_map::Entry::Occupied(mut seed) => {
                    *tally
                        .left_out
                        .entry("of a seed that was counted")
                        .or_default() += 1;
                    *seed.get_mut() &= clean;
                }
            }
        }
        tally.clean = seeds.values().filter(|clean| **clean).count() as u64;
        tally.failed = seeds.len() as u64 - tally.clean;
        tally
    }

    /// Below this lies the probability that such a run fails, with [`bound::CONFIDENCE`].
    #[must_use]
    pub fn upper(&self) -> f64 {
        bound::upper(self.failed, self.clean + self.failed)
    }

    /// What they support, in words.
    #[must_use]
    pub fn sentence(&self) -> String {
        let counted = self.clean + self.failed;
        let mut text = match (counted, self.failed) {
            (0, _) => "no run of this sort proves anything yet".to_owned(),
            (1, 0) => "the only run of this sort was clean".to_owned(),
            (n, 0) => format!("all {n} runs of this sort (each with a seed of its own) were clean"),
            (n, k) => format!("{k} of {n} runs of this sort (each with a seed of its own) failed"),
        };
        if counted > 0 {
            text += &format!(
                ": with {:.0} % confidence such a run fails with a probability below {} %",
                bound::CONFIDENCE * 100.0,
                bound::percent(self.upper())
            );
        }
        if !self.left_out.is_empty() {
            let left_out = self.left_out.iter();
            let left_out: Vec<String> = left_out.map(|(why, n)| format!("{n} {why}")).collect();
            text += &format!("; not counted: {}", left_out.join(", "));
        }
        text
    }

    /// As `power.json` holds it.
    #[must_use]
    pub fn to_json(&self) -> Json {
        json!({
            "clean": self.clean,
            "failed": self.failed,
            "left-out": self.left_out,
            "confidence": bound::CONFIDENCE,
            "failure-probability-below": self.upper(),
            "sentence": self.sentence(),
            "runs": self.runs,
        })
    }
}

/// Reads a run's folder; nothing where it is none.
fn read(dir: &Path) -> Option<Stored> {
    let text = |name: &str| std::fs::read_to_string(dir.join(name)).ok();
    let run: RunFile = serde_json::from_str(&text("run.json")?).ok()?;
    let verdict: Option<VerdictFile> =
        text("verdict.json").and_then(|text| serde_json::from_str(&text).ok());
    let name = dir.file_name().unwrap_or_default();
    let worth = match verdict.map(|file| file.verdict) {
        // However a run ended: what it proved is proved.
        Some(Conclusion::Invalid) => Worth::Failed,
        _ if run.interrupted => Worth::Nothing("interrupted"),
        None => Worth::Nothing("without a verdict"),
        Some(Conclusion::Valid) => Worth::Clean,
        Some(Conclusion::Stalled) => Worth::Failed,
        Some(Conclusion::Vacuous) => Worth::Nothing("vacuous"),
        Some(Conclusion::Unknown) => Worth::Nothing("unknown"),
        Some(Conclusion::Infrastructure) => Worth::Nothing("with a broken test bed"),
    };
    Some(Stored {
        name: name.to_string_lossy().into_owned(),
        seed: run.seed,
        sort: run.sort?,
        worth,
    })
}

/// Every run of a folder of runs, in the order of their names.
fn runs_of(out: &Path) -> Vec<Stored> {
    let entries = std::fs::read_dir(out).into_iter().flatten().flatten();
    // `latest` is a link to one of them.
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut paths: Vec<PathBuf> = folders.map(|entry| entry.path()).collect();
    paths.sort();
    paths.iter().filter_map(|path| read(path)).collect()
}

/// What the runs beside a run support, its own among them, as `power.json` in its folder.
///
/// # Errors
/// Where it cannot be written.
pub fn store(run: &Path) -> std::io::Result<Option<Tally>> {
    let (Some(own), Some(out)) = (read(run), run.parent()) else {
        return Ok(None);
    };
    let runs = runs_of(out);
    let tally = Tally::of(runs.iter().filter(|other| other.sort == own.sort));
    let mut text = serde_json::to_string_pretty(&tally.to_json())?;
    text.push('\n');
    std::fs::write(run.join("power.json"), text)?;
    Ok(Some(tally))
}

/// `harness power`.
#[must_use]
pub fn main(args: &PowerArgs) -> Exit {
    let mut sorts: Vec<(Json, Vec<Stored>)> = Vec::new();
    for dir in &args.dirs {
        if !dir.is_dir() {
            say!("error: {} is no folder", dir.display());
            return Exit::BadInput;
        }
        // A run's own folder, or a folder of runs.
        let runs = match read(dir) {
            Some(run) => vec![run],
            None => runs_of(dir),
        };
        for run in runs {
            let sort = if args.across_builds {
                sort::across_builds(&run.sort)
            } else {
                run.sort.clone()
            };
            match sorts.iter_mut().find(|(other, _)| *other == sort) {
                Some((_, runs)) => runs.push(run),
                None => sorts.push((sort, vec![run])),
            }
        }
    }
    let tallies = sorts.iter().map(|(sort, runs)| (sort, Tally::of(runs)));
    if args.json {
        let list: Vec<Json> = tallies
            .map(|(sort, tally)| {
                let mut object = tally.to_json();
                object["name"] = json!(sort::name(sort));
                object["sort"] = sort.clone();
                object
            })
            .collect();
        tell!("{}", json!(list));
        return Exit::Valid;
    }
    for (sort, tally) in tallies {
        tell!("{}\n  {}", sort::name(sort), tally.sentence());
    }
    if sorts.is_empty() {
        tell!("no runs");
    }
    Exit::Valid
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(out: &Path, name: &str, seed: u64, sort: &str, verdict: &str) {
        let dir = out.join(name);
        std::fs::create_dir(&dir).expect("made");
        let run = json!({"seed": seed, "sort": {"settings": {"nemesis": sort}}});
        std::fs::write(dir.join("run.json"), run.to_string()).expect("written");
        let verdict = json!({"verdict": verdict});
        std::fs::write(dir.join("verdict.json"), verdict.to_string()).expect("written");
    }

    #[test]
    fn runs_of_one_sort_count_once_a_seed_and_only_if_they_prove_something() {
        let out = tempfile::tempdir().expect("temp dir");
        let out = out.path();
        for seed in 1..=9 {
            run(out, &format!("a{seed}"), seed, "kill", "valid");
        }
        run(out, "b", 9, "kill", "valid");
        run(out, "c", 10, "kill", "vacuous");
        run(out, "d", 11, "pause", "invalid");
        run(out, "e", 12, "kill", "valid");
        std::os::unix::fs::symlink("e", out.join("latest")).expect("linked");
        let tally = store(&out.join("e")).expect("stored").expect("a run");
        assert_eq!((tally.clean, tally.failed), (10, 0));
        assert_eq!(tally.left_out["vacuous"], 1);
        assert_eq!(tally.left_out["of a seed that was counted"], 1);
        assert!((tally.upper() - 0.258_866).abs() < 1e-6);
        let sentence = tally.sentence();
        assert!(sentence.contains("all 10 runs"), "{sentence}");
        assert!(sentence.contains("below 26 %"), "{sentence}");
        let stored = std::fs::read_to_string(out.join("e/power.json")).expect("stored");
        assert!(stored.contains("\"clean\": 10"), "{stored}");
    }

    #[test]
    fn a_seed_of_which_one_run_failed_is_no_clean_one() {
        let out = tempfile::tempdir().expect("temp dir");
        run(out.path(), "a", 1, "kill", "valid");
        run(out.path(), "b", 1, "kill", "stalled");
        run(out.path(), "c", 2, "kill", "valid");
        let tally = Tally::of(&runs_of(out.path()));
        assert_eq!((tally.clean, tally.failed), (1, 1));
        assert!(
            tally.sentence().contains("1 of 2 runs"),
            "{}",
            tally.sentence()
        );
    }
}
