//! The command line. `run` is what is done where no command is named.
//!
//! Results go to standard output, everything else to standard error. A usage error is exit 64:
//! clap's own 2 would read as "unknown verdict".

mod bench_args;
mod check;
mod list;
mod matrix_args;
mod names;
mod power_args;
mod power_loss_args;
mod replay_args;
mod run_args;
pub mod settings;
mod sim_args;
mod target_args;
mod workloads;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};

pub use bench_args::BenchArgs;
pub use matrix_args::MatrixArgs;
pub use power_args::PowerArgs;
pub use power_loss_args::PowerLossArgs;
pub use sim_args::SimArgs;
pub use target_args::{Setting, Target, TargetArgs};

pub use replay_args::{ReplayArgs, ReplayTargets, ReplayTimes};
pub use run_args::{Choice, DurabilityName, Form, RunArgs, RuntimeName, SubVia};
pub use workloads::Workload;

use crate::exit::{self, Exit};

/// Drives a Kafka-compatible cluster while the nemesis is at work, checks everything that clients
/// saw, and reports. Without a command it does `run`.
#[derive(Debug, Parser)]
#[command(
    name = "harness",
    version,
    args_conflicts_with_subcommands = true,
    after_help = exit::table(),
    after_long_help = exit::table()
)]
pub struct Cli {
    /// What to do (default: run).
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Flags of `run`.
    #[command(flatten)]
    pub run: RunArgs,
}

/// What the harness can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a cluster, drive it, disturb it, check it, report (the default command).
    #[command(after_help = exit::table(), after_long_help = exit::table())]
    Run(Box<RunArgs>),
    /// Carry the schedule of a stored run out again: same settings, same seed, same faults.
    #[command(after_help = exit::table(), after_long_help = exit::table())]
    Replay(ReplayArgs),
    /// Measure how fast a cluster is, and how long it is gone when a leader dies.
    Bench(Box<BenchArgs>),
    /// Run every seeded bug many times, and say how often its alarm rings.
    Matrix(Box<MatrixArgs>),
    /// What survives when one, two or all brokers lose power at once, in both durability modes:
    /// simulated, as a table.
    PowerLoss(PowerLossArgs),
    /// What the stored runs support: how many of each sort were clean, and below which probability
    /// a failure lies then.
    Power(PowerArgs),
    /// Remove what a killed harness left: rules, containers, networks, namespaces.
    Heal {
        /// Folder of the runs, with the journals of their faults.
        #[arg(long, default_value = "results", value_name = "DIR")]
        out: PathBuf,
    },
    /// Say what this machine can do, what it cannot, and how to get the rest.
    Doctor {
        /// One JSON object on standard output.
        #[arg(long)]
        json: bool,
    },
    /// Check a run's folder or a history again, with the exit code of its verdict.
    Check {
        /// A run's folder, or a history file.
        #[arg(value_name = "DIR")]
        path: PathBuf,
        /// One JSON object on standard output.
        #[arg(long)]
        json: bool,
        /// Which anomalies are allowed (`checker profiles` lists them).
        #[arg(long, default_value = "safe", value_name = "NAME")]
        profile: String,
    },
    /// Draw the report of a run again from what is stored.
    Report {
        /// A run's folder (`results/latest`).
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
    /// Show every setting, and whether it is a default or comes from a file, the environment or
    /// the command line.
    ///
    /// Settings are the flags of `run`, also as HARNESS_MESSAGES=5 in the environment, or as
    /// messages = 5 in ./harness.toml or ~/.config/harness/config.toml, where tables [bench],
    /// [matrix] and [power-loss] hold the flags of those commands. A flag wins over the
    /// environment, that over ./harness.toml, that over the user's own file; --overlap=false turns
    /// a switch off again.
    Config(Box<RunArgs>),
    /// Print a completion script: source it from your shell's start-up file.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page of the harness, or of one of its commands.
    Man {
        /// Which command.
        command: Option<String>,
    },
    /// List what can be asked for.
    List {
        /// Which list.
        what: Listing,
        /// One JSON object on standard output.
        #[arg(long)]
        json: bool,
    },
}

/// What can be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Listing {
    /// Faults for `--nemesis`.
    Nemeses,
    /// Names for `--workload`.
    Workloads,
    /// What the checker finds.
    Anomalies,
    /// Names for `--seeded-bug`.
    SeededBugs,
}

/// Does what the command line says.
#[must_use]
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    main_in(arguments, &settings::Surroundings::of_process())
}

/// The same, with the environment and the files of somebody else.
#[must_use]
pub fn main_in(
    arguments: impl IntoIterator<Item = OsString>,
    around: &settings::Surroundings,
) -> Exit {
    match understand(arguments.into_iter().collect(), around) {
        Ok(command) => carry_out(command),
        Err(exit) => exit,
    }
}

/// Commands that set nothing up and must work whatever is in a file.
const WITHOUT_SETTINGS: [&str; 8] = [
    "doctor",
    "check",
    "report",
    "list",
    "power",
    "completions",
    "man",
    "help",
];

/// The command with all its settings; or nothing is left to do.
fn understand(arguments: Vec<OsString>, around: &settings::Surroundings) -> Result<Command, Exit> {
    let clap = Cli::command();
    let (arguments, off) = settings::without_switches(&clap, arguments);
    let matches = clap.clone().try_get_matches_from(&arguments);
    let matches = matches.map_err(|error| told(&error))?;
    let (name, own) = match matches.subcommand() {
        Some((name, own)) => (name, own),
        None => (settings::RUN, &matches),
    };
    if WITHOUT_SETTINGS.contains(&name) {
        return command_of(&matches);
    }
    let wrong = |error: settings::SettingError| {
        say!("error: {error}");
        Exit::Usage
    };
    let mut layers = settings::layers(&clap, around).map_err(wrong)?;
    if name == "config" {
        let run = settings::resolve(&clap, settings::RUN, Some(own), &off, &layers);
        layers.extend(settings::workload_of(&run));
        settings::show(&clap, own, &off, &layers);
        return Err(Exit::Valid);
    }
    let mut all = settings::resolve(&clap, name, Some(own), &off, &layers);
    if name == settings::RUN
        && let Some(path) = all.get("schedule").and_then(|path| path.values.first())
    {
        let layer = settings::schedule_layer(&clap, path).map_err(wrong)?;
        layers.insert(0, layer);
        all = settings::resolve(&clap, name, Some(own), &off, &layers);
        // Those of files and environment are for runs without a schedule.
        let strong = |origin: &settings::Origin| *origin == settings::Origin::Flag;
        all.retain(|flag, setting| {
            !["nemesis", "overlap"].contains(&flag.as_str()) || strong(&setting.origin)
        });
    }
    if let Some(layer) = settings::workload_of(&all).filter(|_| name == settings::RUN) {
        layers.push(layer);
        let more = settings::resolve(&clap, name, Some(own), &off, &layers);
        more.into_iter().for_each(|(flag, setting)| {
            all.entry(flag).or_insert(setting);
        });
    }
    let words = all.iter().flat_map(|(flag, setting)| setting.words(flag));
    let line: Vec<OsString> = if settings::COMMANDS.contains(&name) {
        let head = ["harness", name].map(str::to_owned);
        head.into_iter().chain(words).map(OsString::from).collect()
    } else {
        let more = all
            .iter()
            .filter(|(_, setting)| setting.origin != settings::Origin::Flag);
        let more = more.flat_map(|(flag, setting)| setting.words(flag));
        arguments
            .into_iter()
            .chain(more.map(OsString::from))
            .collect()
    };
    let matches = clap.clone().try_get_matches_from(line);
    let matches = matches.map_err(|error| told(&error))?;
    let mut command = command_of(&matches)?;
    if let (Command::Run(args), Some((_, own))) = (&mut command, matches.subcommand()) {
        args.given = settings::given(&clap, settings::RUN, own);
    }
    Ok(command)
}

/// Tells what clap has to say; help is no error.
fn told(error: &clap::Error) -> Exit {
    // Nothing can be done where even standard error is closed.
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Valid,
        _ => Exit::Usage,
    }
}

fn command_of(matches: &ArgMatches) -> Result<Command, Exit> {
    let cli = Cli::from_arg_matches(matches).map_err(|error| told(&error))?;
    Ok(cli.command.unwrap_or(Command::Run(Box::new(cli.run))))
}

fn carry_out(command: Command) -> Exit {
    log_to_stderr(match &command {
        // Simulated brokers complain of every fault, and they are in this process.
        Command::Run(args) if args.runtime == RuntimeName::Sim => "off",
        Command::Replay(_) | Command::Matrix(_) | Command::PowerLoss(_) => "off",
        _ => "warn",
    });
    match command {
        Command::Run(args) => crate::run::main(&args),
        Command::Replay(args) => crate::run::replay(&args),
        Command::Bench(args) => crate::bench::main(&args),
        Command::Matrix(args) => crate::matrix::main(&args),
        Command::PowerLoss(args) => crate::run::power_loss(&args),
        Command::Power(args) => crate::power::main(&args),
        Command::Completions { shell } => names::completions(shell),
        Command::Man { command } => names::manual(command.as_deref()),
        Command::Heal { out } => crate::run::heal(&out),
        Command::Doctor { json } => crate::run::doctor(json),
        Command::Check {
            path,
            json,
            profile,
        } => check::check(&path, &profile, json),
        Command::Report { dir } => check::report(&dir),
        Command::List { what, json } => list::list(what, json),
        // It was shown when the settings were read.
        Command::Config(_) => Exit::Valid,
    }
}

/// `RUST_LOG` chooses; without it what is worth `least` is shown.
fn log_to_stderr(least: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(least));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(crate::output::colours())
        .with_writer(|| crate::output::Lines);
    // A second subscriber in one process (in tests) is refused, and the first one stays.
    let _ = subscriber.try_init();
}

#[cfg(test)]
#[path = "cli_test.rs"]
mod tests;
