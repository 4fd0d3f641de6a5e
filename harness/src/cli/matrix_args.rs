//! Flags of `harness matrix`.

use std::path::PathBuf;

use broker::chaos::seeded_bug::SeededBug;
use clap::{Args, ValueEnum as _};

use super::RuntimeName;
use super::run_args::parse_bug;

/// Which bugs, where, how often.
#[derive(Clone, Debug, Args)]
pub struct MatrixArgs {
    /// Where the clusters run: sim, docker or namespaces.
    #[arg(long, value_enum, default_value_t = RuntimeName::Sim)]
    pub runtime: RuntimeName,
    /// Only these bugs [default: all that are built].
    #[arg(long, value_delimiter = ',', value_name = "NAME,..", value_parser = parse_bug)]
    pub bugs: Vec<SeededBug>,
    /// Runs of each bug, and of each control.
    #[arg(long, default_value_t = 20, value_name = "N",
        value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1_000_000))]
    pub seeds: usize,
    /// The first seed.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
    /// Simulations at a time [default: one a core; elsewhere always one].
    #[arg(long, value_name = "N",
        value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=256))]
    pub jobs: Option<usize>,
    /// Leave out the runs without a bug.
    #[arg(long)]
    pub no_controls: bool,
    /// Folder of the results; they go to `matrix/` in it.
    #[arg(long, default_value = "results", value_name = "DIR")]
    pub out: PathBuf,
    /// One JSON object on standard output.
    #[arg(long)]
    pub json: bool,
}

impl MatrixArgs {
    /// How many runs at a time: clusters of processes would disturb each other.
    #[must_use]
    pub fn jobs(&self) -> usize {
        match self.runtime {
            RuntimeName::Sim => self.jobs.unwrap_or_else(|| {
                std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
            }),
            _ => 1,
        }
    }

    /// The command that measures the same.
    #[must_use]
    pub fn command(&self) -> String {
        let runtime = self.runtime.to_possible_value().expect("none is hidden");
        let mut command = format!(
            "cargo run --release -p harness -- matrix --runtime {} --seeds {} --seed {}",
            runtime.get_name(),
            self.seeds,
            self.seed
        );
        if !self.bugs.is_empty() {
            let names: Vec<_> = self.bugs.iter().map(|bug| bug.name()).collect();
            command.push_str(&format!(" --bugs {}", names.join(",")));
        }
        command
    }
}
