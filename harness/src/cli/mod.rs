//! The command line. `run` is what is done where no command is named.
//!
//! Results go to standard output, everything else to standard error. A usage error is exit 64:
//! clap's own 2 would read as "unknown verdict".

mod bench_args;
mod check;
mod list;
mod matrix_args;
mod power_loss_args;
mod run_args;
mod suggest;
mod target_args;

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand, ValueEnum};

pub use bench_args::BenchArgs;
pub use matrix_args::MatrixArgs;
pub use power_loss_args::PowerLossArgs;
pub use target_args::{Setting, Target, TargetArgs};

pub use run_args::{Choice, DurabilityName, RunArgs, RuntimeName, Workload};

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
    /// Measure how fast a cluster is, and how long it is gone when a leader dies.
    Bench(Box<BenchArgs>),
    /// Run every seeded bug many times, and say how often its alarm rings.
    Matrix(Box<MatrixArgs>),
    /// What survives when one, two or all brokers lose power at once, in both durability modes:
    /// simulated, as a table.
    PowerLoss(PowerLossArgs),
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
pub fn main(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> Exit {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing can be done where even standard error is closed.
            let _ = error.print();
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Valid,
                _ => Exit::Usage,
            };
        }
    };
    let command = cli.command.unwrap_or(Command::Run(Box::new(cli.run)));
    log_to_stderr(match &command {
        // Simulated brokers complain of every fault, and they are in this process.
        Command::Run(args) if args.runtime == RuntimeName::Sim => "off",
        Command::Matrix(_) => "off",
        Command::PowerLoss(_) => "off",
        _ => "warn",
    });
    match command {
        Command::Run(args) => crate::run::main(&args),
        Command::Bench(args) => crate::bench::main(&args),
        Command::Matrix(args) => crate::matrix::main(&args),
        Command::PowerLoss(args) => crate::run::power_loss(&args),
        Command::Heal { out } => crate::run::heal(&out),
        Command::Doctor { json } => crate::run::doctor(json),
        Command::Check {
            path,
            json,
            profile,
        } => check::check(&path, &profile, json),
        Command::Report { dir } => check::report(&dir),
        Command::List { what, json } => list::list(what, json),
    }
}

/// `RUST_LOG` chooses; without it what is worth `least` is shown.
fn log_to_stderr(least: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(least));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // A second subscriber in one process (in tests) is refused, and the first one stays.
    let _ = subscriber.try_init();
}

#[cfg(test)]
#[path = "cli_test.rs"]
mod tests;
