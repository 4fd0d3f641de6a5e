//! Flags of `harness bench`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::run_args::parse_seconds;
use super::{DurabilityName, RunArgs, RuntimeName, TargetArgs};

/// What is measured, and where.
#[derive(Clone, Debug, Args)]
pub struct BenchArgs {
    /// Where the cluster runs.
    #[arg(long, value_enum, default_value_t = RuntimeName::Auto)]
    pub runtime: RuntimeName,
    /// Somebody else's cluster: `HOST:PORT,..`. Nobody is killed there.
    #[arg(long, value_name = "HOST:PORT,..", conflicts_with = "runtime")]
    pub bootstrap: Option<String>,
    /// The broker that is measured.
    #[command(flatten)]
    pub target: TargetArgs,
    /// Brokers of the cluster.
    #[arg(long, default_value_t = 3, value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=9))]
    pub brokers: u32,
    /// Durability of our own brokers: each has a cluster of its own.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "replicated,fsync"
    )]
    pub durability: Vec<DurabilityName>,
    /// Seconds that each case is measured, after a warm-up.
    #[arg(long, default_value = "8", value_name = "SECONDS", value_parser = parse_seconds)]
    pub seconds: Duration,
    /// Payload sizes in bytes.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "100,1000,10000,100000",
        value_name = "N,.."
    )]
    pub sizes: Vec<usize>,
    /// Numbers of partitions.
    #[arg(long, value_delimiter = ',', default_value = "1,6,60,500", value_name = "N,..",
        value_parser = clap::value_parser!(i32).range(1..=10_000))]
    pub partitions: Vec<i32>,
    /// Numbers of producers.
    #[arg(long, value_delimiter = ',', default_value = "1,4,16,64", value_name = "N,..",
        value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub producers: Vec<u32>,
    /// Only cases whose name contains this (`base`, `bytes`, `partitions`, `producers`, ...).
    #[arg(long, value_name = "WORD")]
    pub only: Option<String>,
    /// Leaders that are killed, and as many leaders that are the controller.
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub deaths: u32,
    /// Folder of the results; they go to `bench/` in it.
    #[arg(long, default_value = "results", value_name = "DIR")]
    pub out: PathBuf,
    /// One JSON object for each cluster on standard output.
    #[arg(long)]
    pub json: bool,
}

impl BenchArgs {
    /// The flags of a run in the same place: what chooses and prepares a runtime.
    ///
    /// # Errors
    /// What cannot be asked for together.
    pub fn as_run_args(&self) -> anyhow::Result<RunArgs> {
        let flags = ["--nemesis", "none"].map(str::to_owned);
        let mut args = RunArgs::parsed(flags).map_err(anyhow::Error::msg)?;
        args.runtime = self.runtime;
        args.brokers = self.brokers;
        args.target.clone_from(&self.target);
        args.out.clone_from(&self.out);
        args.validate().map_err(anyhow::Error::msg)?;
        Ok(args)
    }
}
