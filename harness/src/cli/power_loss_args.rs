//! Flags of `harness power-loss`.

use std::path::PathBuf;

use clap::{Args, Parser as _};

use super::{DurabilityName, RunArgs, RuntimeName};

/// How much is simulated for each row of the table.
#[derive(Clone, Debug, Args)]
pub struct PowerLossArgs {
    /// Seeds of each row, each a whole run with four to five power losses.
    #[arg(long, default_value_t = 20, value_name = "N",
        value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
    /// Folder of the results; the table goes to `power-loss/` in it.
    #[arg(long, default_value = "results", value_name = "DIR")]
    pub out: PathBuf,
    /// One JSON object on standard output instead of the table.
    #[arg(long)]
    pub json: bool,
}

#[derive(clap::Parser)]
struct Run {
    #[command(flatten)]
    args: RunArgs,
}

impl PowerLossArgs {
    /// The flags of the simulated runs of one row.
    ///
    /// # Errors
    /// None, unless the flags of a run have changed their names.
    pub fn as_run_args(&self, durability: DurabilityName, min_isr: i32) -> anyhow::Result<RunArgs> {
        let mut args = Run::try_parse_from(["run", "--nemesis", "blackout"])?.args;
        args.runtime = RuntimeName::Sim;
        args.durability = Some(durability);
        args.min_insync_replicas = Some(min_isr);
        args.out.clone_from(&self.out);
        Ok(args.for_simulation())
    }
}
