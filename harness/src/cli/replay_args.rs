//! Flags of `harness replay`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{Form, RuntimeName};

/// Whom the faults of a replay hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReplayTargets {
    /// Whoever has the role now.
    Role,
    /// The node that had the role then.
    Recorded,
}

/// When the faults of a replay are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReplayTimes {
    /// When they were due.
    Scheduled,
    /// When they were asked for and taken back, which on a slow machine is later.
    Executed,
}

/// Which run, and what is to be different.
#[derive(Clone, Debug, Args)]
pub struct ReplayArgs {
    /// A run's folder (`results/latest`). Its schedule.toml may have been edited.
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Where the cluster runs [default: where it ran].
    #[arg(long, value_enum)]
    pub runtime: Option<RuntimeName>,
    /// Whom the faults hit: who has the role, or the node that had it.
    #[arg(long, value_enum, default_value_t = ReplayTargets::Role)]
    pub targets: ReplayTargets,
    /// When the faults come: as they were scheduled, or as they were carried out.
    #[arg(long, value_enum, default_value_t = ReplayTimes::Scheduled)]
    pub times: ReplayTimes,
    /// Another seed for everything but the faults [default: the run's].
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Print the schedule of faults and do nothing.
    #[arg(long, value_enum, value_name = "FORM", num_args = 0..=1, require_equals = true,
        default_missing_value = "text")]
    pub dry_run: Option<Form>,
    /// One JSON object on standard output.
    #[arg(long)]
    pub json: bool,
    /// Folder of the runs, for the new one.
    #[arg(long, default_value = "results", value_name = "DIR")]
    pub out: PathBuf,
}
