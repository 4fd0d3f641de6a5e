//! One run from the command line to its exit code.
//!
//! * [`site`]: the cluster under test; [`phases`]: what is done to it, in order
//! * [`recovery`]: whether it has recovered; [`audit`]: what its disks hold
//! * [`verdict`]: check, report, last lines
//! * [`simulated`]: runs in simulated time, many seeds after each other
//! * [`repeat`]: what is stored so that a run can be carried out again, and doing so
//! * [`folder`], [`environment`], [`progress`], [`tui`], [`interrupt`]: what surrounds a run

mod audit;
mod config;
mod driven;
mod environment;
mod faults;
pub(crate) mod folder;
mod interrupt;
mod main_phase;
mod phases;
mod progress;
mod quiet;
mod recovery;
mod repeat;
pub mod simulated;
pub(crate) mod site;
pub(crate) mod threads;
mod tui;
mod verdict;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use nemesis::schedule::SpecError;
use nemesis::{FaultKind, Schedule, ScheduleSpec};
use serde_json::json;

use crate::artifacts::{self, Artifacts, BuildOptions};
use crate::cli::{Choice, Form, PowerLossArgs, RunArgs, RuntimeName, Target};
use crate::exit::Exit;
use crate::runtime::doctor::Health;
use crate::runtime::driver::Driver;
use crate::runtime::{self, RuntimeChoice, RuntimeKind};
use crate::seed;

pub(crate) use environment::describe as machine;
pub use repeat::{replay, replay_command};
pub use verdict::exit_of;

/// `harness run`.
#[must_use]
pub fn main(args: &RunArgs) -> Exit {
    let mut args = args.sized();
    if let Err(error) = args.read_schedule() {
        say!("error: {error:#}");
        return Exit::Usage;
    }
    carry_out(&args)
}

/// A run whose faults are known, if they are not drawn.
fn carry_out(args: &RunArgs) -> Exit {
    if let Err(why) = args.validate() {
        say!("error: {why}");
        return Exit::Usage;
    }
    let (args, driver) = match driven::read(args) {
        Ok(read) => read,
        Err(exit) => return exit,
    };
    let args = &args;
    let seed = args.seed.unwrap_or_else(seed::fresh);
    let schedule = match schedule_of(args, seed) {
        Ok(schedule) => schedule,
        Err(error) => {
            say!("error: {error}");
            return Exit::Usage;
        }
    };
    if let Some(form) = args.dry_run {
        let form = if args.json { Form::Json } else { form };
        tell_raw!("{}", shown(args, &schedule, form));
        return Exit::Valid;
    }
    let run = match args.runtime() {
        RuntimeName::Sim => simulated::main(args, seed),
        _ => prepare_and_run(args, seed, schedule, driver),
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

fn prepare_and_run(
    args: &RunArgs,
    seed: u64,
    schedule: Schedule,
    driver: Option<Arc<dyn Driver>>,
) -> anyhow::Result<Exit> {
    let place = match (driver, &args.bootstrap) {
        (Some(driver), _) => {
            heal_others(&args.out)?;
            Place::Driven(driver)
        }
        (None, Some(bootstrap)) => Place::Theirs(bootstrap.clone()),
        (None, None) => Place::Own(own_runtime(args)?),
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

/// Which cluster is under test.
pub enum Place {
    /// One of our own.
    Own(Own),
    /// Somebody else's, whose processes can be worked.
    Driven(Arc<dyn Driver>),
    /// Somebody else's, at these addresses.
    Theirs(String),
}

impl Place {
    /// The runtime's name.
    fn name(&self) -> &'static str {
        match self {
            Self::Own(own) => own.kind.name(),
            Self::Driven(_) | Self::Theirs(_) => RuntimeKind::External.name(),
        }
    }

    /// Whether every broker can be killed and started again.
    fn restarts(&self) -> bool {
        match self {
            Self::Own(_) => true,
            Self::Driven(driver) => driver.offers(FaultKind::Kill),
            Self::Theirs(_) => false,
        }
    }
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
        RuntimeName::Local => RuntimeChoice::Only(RuntimeKind::Local),
        RuntimeName::Auto | RuntimeName::External | RuntimeName::Sim => RuntimeChoice::Auto,
    };
    // Small runtimes of their own, gone before namespaces are entered: that needs one thread.
    heal_others(&args.out)?;
    let selected = block_on(runtime::select(choice))??;
    if args.keep && selected.kind != RuntimeKind::Docker {
        let (name, why) = (selected.kind.name(), selected.why);
        bail!("--keep needs Docker: {name} ends with the harness ({why})");
    }
    let missing = |kind: &&FaultKind| kind.fidelity(selected.kind.platform()).is_none();
    if let Some(kind) = args.nemesis().0.iter().find(missing) {
        let (name, why) = (selected.kind.name(), selected.why);
        bail!(
            "--nemesis {kind} is not possible in {name} ({why}); `harness list nemeses` says what \
             is, or give --runtime {name} and --nemesis all"
        );
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

/// Takes back what killed harnesses left.
fn heal_others(out: &Path) -> anyhow::Result<()> {
    let healed = block_on(runtime::heal(&journal_dir(out), false))??;
    for line in &healed.removed {
        say!("left by a killed run, removed: {line}");
    }
    Ok(())
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

/// The faults of a run: those that it was given, or those of its seed.
///
/// # Errors
/// Where there is no schedule for these flags.
pub fn schedule_of(args: &RunArgs, seed: u64) -> Result<Schedule, SpecError> {
    let spec = schedule_spec(args);
    match &args.faults {
        None => Schedule::generate(seed, &spec),
        Some(faults) => Ok(Schedule {
            seed,
            spec,
            faults: faults.clone(),
        }),
    }
}

/// The schedule as `--dry-run` prints it.
fn shown(args: &RunArgs, schedule: &Schedule, form: Form) -> String {
    match form {
        Form::Text => schedule.to_text(),
        Form::Json => schedule.to_json(),
        Form::Toml => repeat::to_toml(args, schedule),
    }
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
