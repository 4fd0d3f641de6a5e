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
        // Replicas that are always on brokers 1, 2 and 3 show where there is no third.
        SeededBug::HardcodedAssignment => &["--brokers", "2", "--min-insync-replicas", "1"],
        // Only an ISR of one leaves two brokers to elect another.
        SeededBug::UncleanElection => &["--min-insync-replicas", "1"],
        _ => &[],
    }
}

/// Where time is simulated: the moment that a bug needs, or the clients that it shows to.
fn simulated(bug: SeededBug) -> &'static [&'static str] {
    match bug {
        SeededBug::TruncateToHw | SeededBug::EpochEndOffByOne => &["--ambush", "blips"],
        SeededBug::ExpandAfterCommit | SeededBug::RollbackOnUnknown => &["--ambush", "joiner"],
        SeededBug::ExpandWithoutLeso => &["--ambush", "fenced-joiner"],
        SeededBug::StaleBrokerEpoch => &["--ambush", "reborn-joiner"],
        SeededBug::LastReplicaStanding => &["--ambush", "last-standing"],
        // Copies of a batch come together where a producer does not wait for the first.
        SeededBug::CheckThenActSequences => &["--ambush", "stutter", "--request-timeout", "120"],
        SeededBug::DuplicateAckedEarly => &["--request-timeout", "300"],
        // The oldest of several batches is sent again.
        SeededBug::DedupeWindow1 => &["--request-timeout", "500", "--pipeline", "4"],
        // Requests wait behind each other on one connection.
        SeededBug::ResponseOutOfOrder => &["--pipeline", "4", "--partitions", "9", "--batch", "40"],
        SeededBug::NoProducerEpochFence => &["--zombies"],
        // What is out of range is told by where its consumers go on.
        SeededBug::RangeErrorAboveHw => &["--ambush", "blips", "--offset-reset", "earliest"],
        SeededBug::TimeIndexStrict => &["--seek-by-time"],
        // Nobody else wakes a fetch that has missed its records.
        SeededBug::LostWakeup => &[
            "--messages",
            "600",
            "--partitions",
            "9",
            "--fetch-wait",
            "20000",
        ],
        // The tail that is torn has to be long.
        SeededBug::TornTailAccepted => &["--ambush", "torn"],
        _ => &[],
    }
}

/// Why a bug that its own tests see is hard to see from outside.
pub fn why_hidden(bug: SeededBug) -> Option<&'static str> {
    Some(match bug {
        SeededBug::NoEpochFence => {
            "a fetch would have to be under way for two elections, arrive at a process that leads \
             again, and name a position that the divergence check (R3) lets pass; the model finds \
             it with a delayed message and three epochs"
        }
        SeededBug::IsrNeverShrinks => {
            "writes wait for as long as the follower is cut off and are acknowledged when it is \
             back: slow, which no profile forbids while a fault holds"
        }
        SeededBug::StickyControllerClock => {
            "whoever is fenced too soon is back with its next heartbeat: some more elections, and \
             nothing that a history forbids"
        }
        SeededBug::RollbackOnUnknown => {
            "a leader that hears nothing of its proposal is fenced, and its followers leave it, \
             before it gives the proposal up"
        }
        SeededBug::TornView => {
            "with one writer a partition the next publication follows within the same group \
             commit, and what consumers are promised is bounded by the log beside it"
        }
        _ => return None,
    })
}

/// The faults of the catalogue, or others: an ambush brings its own.
fn nemeses(entry: &Entry, bug: SeededBug, runtime: RuntimeName) -> Vec<&'static str> {
    let in_simulation: Option<&[&str]> = match bug {
        _ if runtime != RuntimeName::Sim => None,
        _ if simulated(bug).contains(&"--ambush") => Some(&[]),
        // What is acknowledged and not yet written is lost with the power.
        SeededBug::AckBeforeAppend => Some(&["slow-disk", "lose-unsynced"]),
        SeededBug::DedupeWindow1 => Some(&["delay-watermark", "kill"]),
        // The leader's port of replication is cut off alone, so that the ISR shrinks to it.
        SeededBug::UncleanElection => Some(&["port-partition", "kill"]),
        _ => None,
    };
    in_simulation.map_or_else(|| entry.nemeses.to_vec(), <[&str]>::to_vec)
}

/// The runs of one bug.
///
/// # Errors
/// Says why there are none: what it needs the runtime does not have.
pub fn of(entry: &Entry, bug: SeededBug, runtime: RuntimeName) -> Result<Experiment, String> {
    let named = nemeses(entry, bug, runtime).into_iter();
    let named = named.filter(|name| *name != "none");
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
    if runtime == RuntimeName::Sim {
        flags.extend(simulated(bug).iter().map(|&flag| flag.to_owned()));
    }
    Ok(Experiment {
        bug: Some(bug),
        flags,
    })
}

fn platform(runtime: RuntimeName) -> Platform {
    match runtime {
        RuntimeName::Sim => Platform::Sim,
        RuntimeName::Local => Platform::Local,
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
