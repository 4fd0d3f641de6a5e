//! Flags of `harness bench`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::run_args::parse_seconds;
use super::target_args::parse_setting;
use super::{DurabilityName, RunArgs, RuntimeName, Setting, Target, TargetArgs};

/// What is measured, and where.
#[derive(Clone, Debug, Args)]
pub struct BenchArgs {
    /// Where the cluster runs.
    #[arg(long, value_enum, default_value_t = RuntimeName::Auto)]
    pub runtime: RuntimeName,
    /// Somebody else's cluster: `HOST:PORT,..`. Nobody is killed there.
    #[arg(long, value_name = "HOST:PORT,..", conflicts_with = "runtime")]
    pub bootstrap: Option<String>,
    /// Whose brokers are measured; with both (`broker,kafka`), one after the other, in the same
    /// runtime, and compared in one table.
    #[arg(
        long = "target",
        value_enum,
        value_delimiter = ',',
        default_value = "broker"
    )]
    pub targets: Vec<Target>,
    /// Image in which Apache Kafka runs [default: harness-kafka:4.3.1].
    #[arg(long, value_name = "NAME")]
    pub image: Option<String>,
    /// A setting of every broker, may be repeated; with one --target only.
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_setting)]
    pub broker_config: Vec<Setting>,
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
    /// The flags about one target.
    #[must_use]
    pub fn target_args(&self, target: Target) -> TargetArgs {
        TargetArgs {
            target,
            image: self.image.clone().filter(|_| target == Target::Kafka),
            broker_config: self.broker_config.clone(),
        }
    }

    /// What cannot be asked for together.
    fn validate(&self) -> Result<(), String> {
        let kafka = self.targets.contains(&Target::Kafka);
        if self.targets.len() > 1 && !self.broker_config.is_empty() {
            return Err("--broker-config needs one --target: settings have other names".to_owned());
        }
        if self.image.is_some() && !kafka {
            return Err("--image needs --target kafka".to_owned());
        }
        if kafka && !matches!(self.runtime, RuntimeName::Auto | RuntimeName::Docker) {
            return Err("--target kafka runs in containers only: --runtime docker".to_owned());
        }
        Ok(())
    }

    /// The flags of a run in the same place: what chooses and prepares a runtime.
    ///
    /// # Errors
    /// What cannot be asked for together.
    pub fn as_run_args(&self) -> anyhow::Result<RunArgs> {
        self.validate().map_err(anyhow::Error::msg)?;
        let flags = ["--nemesis", "none"].map(str::to_owned);
        let mut args = RunArgs::parsed(flags).map_err(anyhow::Error::msg)?;
        args.runtime = self.runtime;
        args.brokers = self.brokers;
        args.target = self.target_args(match self.targets.contains(&Target::Broker) {
            // What is built for ours serves the other one, too.
            true => Target::Broker,
            false => Target::Kafka,
        });
        if self.targets.contains(&Target::Kafka) && args.runtime == RuntimeName::Auto {
            args.runtime = RuntimeName::Docker;
        }
        args.out.clone_from(&self.out);
        args.validate().map_err(anyhow::Error::msg)?;
        Ok(args)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Alone {
        #[command(flatten)]
        bench: BenchArgs,
    }

    fn args(line: &[&str]) -> anyhow::Result<RunArgs> {
        let line = std::iter::once("bench").chain(line.iter().copied());
        Alone::try_parse_from(line)?.bench.as_run_args()
    }

    #[test]
    fn both_targets_are_measured_in_the_same_runtime() {
        let pair = args(&["--target", "broker,kafka"]).expect("possible");
        assert_eq!(pair.runtime, RuntimeName::Docker);
        assert_eq!(pair.target.target, Target::Broker);
        let kafka = args(&["--target", "kafka", "--image", "k:1"]).expect("possible");
        assert_eq!(kafka.target.image.as_deref(), Some("k:1"));
        assert!(args(&["--target", "kafka", "--runtime", "namespaces"]).is_err());
        assert!(args(&["--target", "broker,kafka", "--broker-config", "a=1"]).is_err());
        assert!(args(&["--image", "k:1"]).is_err());
    }
}
