//! One run from the command line to its exit code.
//!
//! * [`site`]: the cluster under test; [`phases`]: what is done to it, in order
//! * [`recovery`]: whether it has recovered; [`audit`]: what its disks hold
//! * [`verdict`]: check, report, last lines
//! * [`simulated`]: runs in simulated time, many seeds after each other
//! * [`folder`], [`environment`], [`progress`], [`interrupt`]: what surrounds a run

mod audit;
mod config;
mod environment;
mod faults;
pub(crate) mod folder;
mod interrupt;
mod main_phase;
mod phases;
mod progress;
mod quiet;
mod recovery;
pub mod simulated;
pub(crate) mod site;
pub(crate) mod threads;
mod verdict;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use nemesis::{Schedule, ScheduleSpec};
use serde_json::json;

use crate::artifacts::{self, Artifacts, BuildOptions};
use crate::cli::{Choice, PowerLossArgs, RunArgs, RuntimeName, Target, Workload};
use crate::exit::Exit;
use crate::runtime::doctor::Health;
use crate::runtime::{self, RuntimeChoice, RuntimeKind};
use crate::seed;

pub(crate) use environment::describe as machine;
pub use verdict::exit_of;

/// `harness run`.
#[must_use]
pub fn main(args: &RunArgs) -> Exit {
    if let Err(why) = args.validate() {
        say!("error: {why}");
        return Exit::Usage;
    }
    let seed = args.seed.unwrap_or_else(seed::fresh);
    let schedule = match Schedule::generate(seed, &schedule_spec(args)) {
        Ok(schedule) => schedule,
        Err(error) => {
            say!("error: {error}");
            return Exit::Usage;
        }
    };
    if args.dry_run {
        tell_raw!("{}", shown(&schedule, args.json));
        return Exit::Valid;
    }
    let run = match args.runtime() {
        RuntimeName::Sim => simulated::main(args, seed),
        _ => prepare_and_run(args, seed, schedule),
    };
    match run {
        Ok(exit) => exit,
        Err(error) => {
            say!("error: {error:#}");
            if args.json {
                let sentence = format!("Infrastructure: {error:#}");
                tell!(
                    "{}",
                    json!({"verdict": "infrastructure", "sentence": sentence})
                );
            }
            Exit::Infrastructure
        }
    }
}

/// `harness power-loss`.
#[must_use]
pub fn power_loss(args: &PowerLossArgs) -> Exit {
    simulated::power_loss::main(args).unwrap_or_else(|error| {
        say!("error: {error:#}");
        Exit::Infrastructure
    })
}

fn prepare_and_run(args: &RunArgs, seed: u64, schedule: Schedule) -> anyhow::Result<Exit> {
    let place = match args.runtime() {
        RuntimeName::External => None,
        _ => Some(own_runtime(args)?),
    };
    let tokio = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("no asynchronous runtime")?;
    let exit = tokio.block_on(phases::run(args, seed, schedule, place));
    // A question to a broker that never answers must not hold the process up.
    tokio.shutdown_background();
    exit
}

/// What a cluster of our own is made of.
pub struct Own {
    /// Which runtime.
    pub kind: RuntimeKind,
    /// Why that one.
    pub why: String,
    /// Binaries.
    pub artifacts: Artifacts,
}

/// Chooses the runtime, builds what it needs, and enters its namespaces where it has some: call it
/// while there is one thread.
pub(crate) fn own_runtime(args: &RunArgs) -> anyhow::Result<Own> {
    let choice = match args.runtime() {
        _ if args.target.target == Target::Kafka => RuntimeChoice::Only(RuntimeKind::Docker),
        RuntimeName::Docker => RuntimeChoice::Only(RuntimeKind::Docker),
        RuntimeName::Namespaces => RuntimeChoice::Only(RuntimeKind::Namespaces),
        RuntimeName::Auto | RuntimeName::External | RuntimeName::Sim => RuntimeChoice::Auto,
    };
    // Small runtimes of their own, gone before namespaces are entered: that needs one thread.
    let healed = block_on(runtime::heal(&journal_dir(&args.out), false))??;
    for line in &healed.removed {
        say!("left by a killed run, removed: {line}");
    }
    let selected = block_on(runtime::select(choice))??;
    if args.keep && selected.kind == RuntimeKind::Namespaces {
        let why = selected.why;
        bail!("--keep needs Docker: namespaces end with the harness ({why})");
    }
    let options = BuildOptions {
        seeded_bugs: args.seeded_bug.is_some(),
    };
    let mut tell = |line: &str| say!("{line}");
    let artifacts = match args.target.target {
        Target::Broker => artifacts::build(&workspace(), options, &mut tell)?,
        Target::Kafka => artifacts::build_agent(&workspace(), &mut tell)?,
    };
    runtime::enter(&selected, &artifacts)?;
    Ok(Own {
        kind: selected.kind,
        why: selected.why,
        artifacts,
    })
}

fn block_on<T>(future: impl Future<Output = T>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no asynchronous runtime")?;
    Ok(runtime.block_on(future))
}

/// The workspace that the harness was built from: where the broker is built.
fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// Where the journals of faults are.
pub(crate) fn journal_dir(out: &Path) -> PathBuf {
    out.join(".journal")
}

/// What the schedule of faults is drawn for: nothing of the broker under test goes in.
#[must_use]
pub fn schedule_spec(args: &RunArgs) -> ScheduleSpec {
    ScheduleSpec {
        kinds: args.nemesis().0,
        nodes: args.brokers,
        partitions: u32::try_from(args.partitions()).unwrap_or(1),
        main_ms: u64::try_from(args.time.as_millis()).unwrap_or(u64::MAX),
        clients: args.cut_clients,
        overlap: args.overlap,
        random: args.nemesis().1 == Choice::Random,
    }
}

/// The schedule as `--dry-run` prints it.
fn shown(schedule: &Schedule, json: bool) -> String {
    if json {
        schedule.to_json()
    } else {
        schedule.to_text()
    }
}

/// The command that does this run again.
#[must_use]
pub fn replay_command(args: &RunArgs, seed: u64) -> String {
    let mut command = format!(
        "cargo run -p harness -- --nemesis {} --seed {seed}",
        args.nemesis()
    );
    let mut add = |flag: &str, value: String| command.push_str(&format!(" --{flag} {value}"));
    if args.workload == Workload::LargeBatch {
        add("workload", "large-batch".to_owned());
    }
    if let Some(messages) = args.messages {
        add("messages", messages.to_string());
    }
    if let Some(partitions) = args.partitions {
        add("partitions", partitions.to_string());
    }
    if let Some(rate) = args.rate {
        add("rate", rate.to_string());
    }
    if args.batch != 5000 {
        add("batch", args.batch.to_string());
    }
    if args.time.as_secs() != 36 {
        add("time", args.time.as_secs_f64().to_string());
    }
    if args.acks != crate::clients::Acks::All {
        add("acks", args.acks.to_string());
    }
    if args.size != (100..=10_240) {
        let size = format!("{}..{}", args.size.start(), args.size.end());
        add("size", size);
    }
    if args.producers != 4 {
        add("producers", args.producers.to_string());
    }
    if args.trickles != 6 {
        add("trickles", args.trickles.to_string());
    }
    if args.consumers != 2 {
        add("consumers", args.consumers.to_string());
    }
    if args.brokers != 3 {
        add("brokers", args.brokers.to_string());
    }
    if let Some(factor) = args.replication_factor {
        add("replication-factor", factor.to_string());
    }
    if let Some(min) = args.min_insync_replicas {
        add("min-insync-replicas", min.to_string());
    }
    if args.durability() != RunArgs::usual_durability(args.target.target) {
        let mode = format!("{:?}", args.durability()).to_lowercase();
        add("durability", mode);
    }
    if args.repeat != 1 {
        add("repeat", args.repeat.to_string());
    }
    if let Some(bug) = args.seeded_bug {
        add("seeded-bug", bug.name().to_owned());
    }
    if let Some(bootstrap) = &args.bootstrap {
        add("bootstrap", bootstrap.clone());
    }
    for word in args.target_flags() {
        command.push(' ');
        command.push_str(&quoted(&word));
    }
    command.push_str(switches(args).as_str());
    command
}

/// A word of a command line as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=.,:/@+%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The part of the command that says where, and what is switched on.
fn switches(args: &RunArgs) -> String {
    let runtime = match args.runtime {
        RuntimeName::Docker => " --runtime docker",
        RuntimeName::Namespaces => " --runtime namespaces",
        RuntimeName::Sim => " --runtime sim",
        RuntimeName::Auto | RuntimeName::External => "",
    };
    let mut switches = runtime.to_owned();
    for (flag, set) in [
        (" --no-idempotence", args.no_idempotence),
        (" --cut-clients", args.cut_clients),
        (" --overlap", args.overlap),
        (" --fail-fast", args.fail_fast),
    ] {
        if set {
            switches.push_str(flag);
        }
    }
    switches
}

/// `harness heal`.
#[must_use]
pub fn heal(out: &Path) -> Exit {
    match block_on(runtime::heal(&journal_dir(out), true)) {
        Ok(Ok(healed)) => {
            for line in &healed.removed {
                tell!("removed {line}");
            }
            for line in &healed.alive {
                tell!("left alone: {line}");
            }
            if healed.removed.is_empty() {
                tell!("nothing was left behind");
            }
            Exit::Valid
        }
        Ok(Err(error)) => {
            say!("error: {error}");
            Exit::Infrastructure
        }
        Err(error) => {
            say!("error: {error:#}");
            Exit::Internal
        }
    }
}

/// `harness doctor`: exit 0 where a run is possible.
#[must_use]
pub fn doctor(json: bool) -> Exit {
    let findings = match block_on(runtime::doctor::examine()) {
        Ok(findings) => findings,
        Err(error) => {
            say!("error: {error:#}");
            return Exit::Internal;
        }
    };
    let word = |health| match health {
        Health::Good => "good",
        Health::Missing => "missing",
        Health::Needed => "needed",
    };
    if json {
        let list: Vec<_> = findings
            .iter()
            .map(|finding| {
                serde_json::json!({
                    "what": finding.what,
                    "health": word(finding.health),
                    "detail": finding.detail,
                    "for": finding.for_what,
                })
            })
            .collect();
        tell!("{}", serde_json::json!(list));
    } else {
        for finding in &findings {
            let (what, for_what) = (finding.what, finding.for_what);
            tell!(
                "{:8} {what:12} {} (for {for_what})",
                word(finding.health),
                finding.detail
            );
        }
    }
    if findings
        .iter()
        .any(|finding| finding.health == Health::Needed)
    {
        return Exit::Infrastructure;
    }
    Exit::Valid
}

#[cfg(test)]
#[path = "run_test.rs"]
mod tests;
