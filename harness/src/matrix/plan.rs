//! Which runs show which seeded bug: the catalogue's faults and durability, as flags of `run`.

use std::collections::BTreeSet;

use broker::chaos::catalogue::{Entry, Needs};
use broker::chaos::seeded_bug::SeededBug;
use nemesis::{FaultKind, Platform, Schedule, ScheduleSpec};

use crate::cli::{RunArgs, RuntimeName};

/// Runs that differ in their seed alone.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// The rule that is switched off; none is the control.
    pub bug: Option<SeededBug>,
    /// Flags of `run`, without the bug, the seed and the runtime.
    pub flags: Vec<String>,
}

/// What a bug needs beside faults.
fn special(bug: SeededBug) -> &'static [&'static str] {
    match bug {
        // Only acks=1 is answered before the record is held.
        SeededBug::AckBeforeAppend => &["--acks", "1", "--replication-factor", "1"],
        // Replicas that are always on brokers 1, 2 and 3 show where there are others.
        SeededBug::HardcodedAssignment => &["--brokers", "5"],
        _ => &[],
    }
}

/// The runs of one bug.
///
/// # Errors
/// Says why there are none: what it needs the runtime does not have.
pub fn of(entry: &Entry, bug: SeededBug, runtime: RuntimeName) -> Result<Experiment, String> {
    let named = entry.nemeses.iter().copied().filter(|name| *name != "none");
    let offered = |name: &&str| match name.parse::<FaultKind>() {
        Ok(kind) => kind.fidelity(platform(runtime)).is_some(),
        Err(_) => false,
    };
    let (kinds, missing): (Vec<&str>, Vec<&str>) = named.partition(offered);
    if kinds.is_empty() && !missing.is_empty() {
        return Err(format!("needs {}", missing.join(",")));
    }
    let nemesis = match kinds.is_empty() {
        true => "none".to_owned(),
        false => kinds.join(","),
    };
    let mut flags = vec!["--nemesis".to_owned(), nemesis];
    if entry.needs == Needs::Replicated {
        flags.extend(["--durability", "replicated"].map(str::to_owned));
    }
    if overlaps(&kinds) {
        flags.push("--overlap".to_owned());
    }
    flags.extend(special(bug).iter().map(|&flag| flag.to_owned()));
    Ok(Experiment {
        bug: Some(bug),
        flags,
    })
}

fn platform(runtime: RuntimeName) -> Platform {
    match runtime {
        RuntimeName::Sim => Platform::Sim,
        _ => Platform::Namespaces,
    }
}

/// Whether there are faults that hold and others to come inside them: then two things go wrong
/// at once, which most of these bugs need.
fn overlaps(kinds: &[&str]) -> bool {
    let spec = ScheduleSpec {
        kinds: kinds.iter().filter_map(|name| name.parse().ok()).collect(),
        nodes: 3,
        partitions: 1,
        main_ms: 60_000,
        clients: false,
        overlap: true,
        random: false,
    };
    Schedule::generate(0, &spec).is_ok()
}

/// The same runs with a broker that keeps all rules, each kind once.
#[must_use]
pub fn controls(experiments: &[Experiment]) -> Vec<Experiment> {
    let kinds: BTreeSet<&Vec<String>> = experiments.iter().map(|one| &one.flags).collect();
    let control = |flags: &Vec<String>| Experiment {
        bug: None,
        flags: flags.clone(),
    };
    kinds.into_iter().map(control).collect()
}

impl Experiment {
    /// The arguments of `run` that make it.
    #[must_use]
    pub fn arguments(&self, runtime: RuntimeName, seed: u64) -> Vec<String> {
        use clap::ValueEnum as _;
        let runtime = runtime.to_possible_value().expect("no value is hidden");
        let mut all = vec!["--runtime".to_owned(), runtime.get_name().to_owned()];
        all.extend(self.flags.iter().cloned());
        if let Some(bug) = self.bug {
            all.extend(["--seeded-bug".to_owned(), bug.name().to_owned()]);
        }
        all.extend(["--seed".to_owned(), seed.to_string()]);
        all
    }

    /// The same, parsed.
    ///
    /// # Errors
    /// Where the catalogue names what the command line does not know, with the reason.
    pub fn run_args(&self, runtime: RuntimeName, seed: u64) -> Result<RunArgs, String> {
        let args = RunArgs::parsed(self.arguments(runtime, seed))?;
        args.validate()?;
        Ok(args)
    }
}

#[cfg(test)]
mod tests {
    use broker::chaos::catalogue;

    use super::*;

    #[test]
    fn every_bug_that_is_built_can_be_run_in_a_simulation() {
        for entry in catalogue::entries() {
            let Some(bug) = entry.bug else { continue };
            let experiment = of(entry, bug, RuntimeName::Sim).expect("a simulation has all faults");
            let args = experiment.run_args(RuntimeName::Sim, 7).expect("valid");
            assert_eq!(args.seeded_bug, Some(bug));
            assert_eq!(args.seed, Some(7));
        }
    }

    #[test]
    fn a_bug_that_needs_lost_writes_is_not_run_in_containers() {
        let entries = catalogue::entries();
        let entry = entries
            .iter()
            .find(|entry| entry.nemeses == ["torn-writes"]);
        let entry = entry.expect("there is one");
        let bug = entry.bug.expect("built");
        let why = of(entry, bug, RuntimeName::Docker).expect_err("containers keep their cache");
        assert_eq!(why, "needs torn-writes");
    }

    #[test]
    fn controls_are_the_same_runs_without_a_bug() {
        let experiments: Vec<Experiment> = catalogue::entries()
            .into_iter()
            .filter_map(|entry| of(entry, entry.bug?, RuntimeName::Sim).ok())
            .collect();
        let controls = controls(&experiments);
        assert!(controls.iter().all(|one| one.bug.is_none()));
        for experiment in &experiments {
            let same = controls.iter().filter(|one| one.flags == experiment.flags);
            assert_eq!(same.count(), 1, "{:?}", experiment.flags);
        }
    }
}
