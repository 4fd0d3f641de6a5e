//! The flags of `run`, and what they come to together.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use broker::chaos::seeded_bug::SeededBug;
use clap::{Args, ValueEnum};
use nemesis::{FaultKind, Platform};

use super::suggest::nearest;
use super::target_args::{Setting, Target, TargetArgs, parse_setting, setting_flags};
use crate::clients::Acks;
use crate::value::MIN_BYTES;

/// What is sent and read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Workload {
    /// Producers and consumers at a rate, in batches, for a while.
    Batch,
    /// One batch of 5,000 messages into a fresh topic, read at once: the test that found the bug
    /// this project began with.
    LargeBatch,
}

/// Where the cluster runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RuntimeName {
    /// Docker where its engine answers, else namespaces.
    Auto,
    /// Containers of a Docker engine.
    Docker,
    /// Processes in network namespaces: no Docker, no root.
    Namespaces,
    /// Whole brokers in this process, in simulated time, exactly repeatable; see --seeds.
    Sim,
    /// Somebody else's cluster, at --bootstrap; only `--nemesis none`.
    External,
}

/// When the broker counts a write as held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DurabilityName {
    /// After fdatasync.
    Fsync,
    /// After the write, as Kafka does: durable by replication.
    Replicated,
}

/// Messages of a batch.
const BATCH: u32 = 5000;
/// Producers of small batches.
const TRICKLES: u32 = 6;

/// Flags of `run`.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// Faults: partition, kill, pause, delay-watermark and many more (`harness list nemeses`), a
    /// list of them (partition,kill); all (each that the runtime offers, in turn; give it --time);
    /// random (in each period some of them together, or none); or none [default: partition; none
    /// for large-batch and for --bootstrap].
    #[arg(long, value_name = "LIST", value_parser = parse_nemesis)]
    pub nemesis: Option<NemesisList>,
    /// What is sent and read.
    #[arg(long, value_enum, default_value_t = Workload::Batch)]
    pub workload: Workload,
    /// Where the cluster runs.
    #[arg(long, value_enum, default_value_t = RuntimeName::Auto)]
    pub runtime: RuntimeName,
    /// Everything random is drawn from it; printed and stored [default: a fresh one].
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// How many seeds are simulated, counted up from --seed (--runtime sim only).
    #[arg(long, default_value_t = 1, value_name = "N",
        value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub seeds: u64,
    /// Simulate the remaining seeds also after one that failed.
    #[arg(long)]
    pub keep_going: bool,
    /// Messages to be acknowledged at least [default: 100000; large-batch: 5000].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub messages: Option<u64>,
    /// Messages of one batch, which is one operation of the history.
    #[arg(long, default_value_t = BATCH, value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub batch: u32,
    /// Partitions of the topic [default: 6; large-batch: 3].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=1000))]
    pub partitions: Option<i32>,
    /// Seconds of the main phase, in which the faults are; it goes on until enough messages are
    /// acknowledged.
    #[arg(long, default_value = "36", value_name = "SECONDS", value_parser = parse_seconds)]
    pub time: Duration,
    /// Messages a second of all large batches together; 0: as fast as possible
    /// [default: 1.25 times what --messages in --time needs].
    #[arg(long, value_name = "N", value_parser = parse_rate)]
    pub rate: Option<f64>,
    /// What producers wait for: 0, 1 or all.
    #[arg(long, default_value = "all", value_parser = str::parse::<Acks>)]
    pub acks: Acks,
    /// Payload sizes in bytes, many small ones, some large; K and M are understood.
    #[arg(long, default_value = "100..10240", value_name = "MIN..MAX", value_parser = parse_size)]
    pub size: RangeInclusive<usize>,
    /// Producers, each a thread and a librdkafka client.
    #[arg(long, default_value_t = 4, value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=256))]
    pub producers: u32,
    /// Further producers that send 20 messages to one partition each, ten times a second: between
    /// two large batches there is no moment without a write at risk.
    #[arg(long, default_value_t = TRICKLES, value_name = "N",
        value_parser = clap::value_parser!(u32).range(0..=256))]
    pub trickles: u32,
    /// Consumers, each with its share of the partitions.
    #[arg(long, default_value_t = 2, value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=256))]
    pub consumers: u32,
    /// Brokers of the cluster.
    #[arg(long, default_value_t = 3, value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=9))]
    pub brokers: u32,
    /// Replicas of each partition [default: 3, or the number of brokers].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i16).range(1..=9))]
    pub replication_factor: Option<i16>,
    /// Fewest in-sync replicas for a write with acks=all [default: 2, or the replicas that there
    /// are].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=9))]
    pub min_insync_replicas: Option<i32>,
    /// The broker under test.
    #[command(flatten)]
    pub target: TargetArgs,
    /// A setting of every topic of the run, may be repeated (`retention.ms=600000`).
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_setting)]
    pub topic_config: Vec<Setting>,
    /// When the broker counts a write as held [default: fsync; replicated for --target kafka,
    /// where fsync sets `log.flush.interval.messages=1`].
    #[arg(long, value_enum)]
    pub durability: Option<DurabilityName>,
    /// Producers retry without idempotence (always so unless acks=all).
    #[arg(long)]
    pub no_idempotence: bool,
    /// A rule of the broker that is switched off, to see the alarm ring (`harness list
    /// seeded-bugs`).
    #[arg(long, value_name = "NAME", value_parser = parse_bug)]
    pub seeded_bug: Option<SeededBug>,
    /// Partitions cut the clients off, too, not only brokers from each other.
    #[arg(long)]
    pub cut_clients: bool,
    /// Processes fail while the network does: faults of --nemesis that hold (partition,
    /// delay-watermark, one-way, slow-disk) have the others inside them.
    #[arg(long)]
    pub overlap: bool,
    /// Passes of the large-batch workload, each on a fresh topic.
    #[arg(long, default_value_t = 1, value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub repeat: u32,
    /// Seconds until a message that is not acknowledged is given up.
    #[arg(long, default_value = "30", value_name = "SECONDS", value_parser = parse_seconds)]
    pub delivery_timeout: Duration,
    /// Seconds that the cluster has to recover after the last fault.
    #[arg(long, default_value = "30", value_name = "SECONDS", value_parser = parse_seconds)]
    pub recovery_limit: Duration,
    /// Stop at the first violation that is seen while the run goes on: heal, check, report, exit 1.
    #[arg(long)]
    pub fail_fast: bool,
    /// Print the schedule of faults and do nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// One JSON object on standard output.
    #[arg(long)]
    pub json: bool,
    /// Folder of the runs; each run has its own in it, and `latest` points to the newest.
    #[arg(long, default_value = "results", value_name = "DIR")]
    pub out: PathBuf,
    /// Leave the cluster running at the end (`harness heal` removes it).
    #[arg(long)]
    pub keep: bool,
    /// Addresses of somebody else's cluster (HOST:PORT,...); implies --runtime external.
    #[arg(long, value_name = "ADDRESSES")]
    pub bootstrap: Option<String>,
}

/// The faults of `--nemesis`; empty is `none`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NemesisList(pub Vec<FaultKind>, pub Choice);

/// How the kinds of faults were chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// By name.
    #[default]
    Named,
    /// `all`: what the runtime offers, in turn.
    All,
    /// `random`: subsets of what the runtime offers, by period.
    Random,
}

impl std::fmt::Display for NemesisList {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.1 {
            Choice::Named => {}
            Choice::All => return f.write_str("all"),
            Choice::Random => return f.write_str("random"),
        }
        if self.0.is_empty() {
            return f.write_str("none");
        }
        let names: Vec<&str> = self.0.iter().map(|kind| kind.name()).collect();
        f.write_str(&names.join(","))
    }
}

#[derive(clap::Parser)]
struct Alone {
    #[command(flatten)]
    args: RunArgs,
}

impl RunArgs {
    /// From flags alone.
    ///
    /// # Errors
    /// What the command line would say.
    pub fn parsed(flags: impl IntoIterator<Item = String>) -> Result<Self, String> {
        use clap::Parser as _;
        let line = std::iter::once("run".to_owned()).chain(flags);
        match Alone::try_parse_from(line) {
            Ok(alone) => Ok(alone.args),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The faults.
    #[must_use]
    pub fn nemesis(&self) -> NemesisList {
        let bare = self.workload == Workload::LargeBatch || self.bootstrap.is_some();
        match &self.nemesis {
            Some(NemesisList(named, Choice::Named)) => NemesisList(named.clone(), Choice::Named),
            Some(NemesisList(_, choice)) => {
                NemesisList(FaultKind::offered(self.platform()).collect(), *choice)
            }
            None if bare => NemesisList::default(),
            None => NemesisList(vec![FaultKind::Partition], Choice::Named),
        }
    }

    /// Where the faults are done. Docker and namespaces offer the same.
    #[must_use]
    pub fn platform(&self) -> Platform {
        match self.runtime() {
            RuntimeName::Sim => Platform::Sim,
            RuntimeName::External => Platform::External,
            RuntimeName::Docker => Platform::Docker,
            RuntimeName::Auto | RuntimeName::Namespaces => Platform::Namespaces,
        }
    }

    /// Fewest in-sync replicas for a write with acks=all.
    #[must_use]
    pub fn min_insync_replicas(&self) -> i32 {
        let most = i32::from(self.replication_factor());
        self.min_insync_replicas.unwrap_or(most.min(2))
    }

    /// When the broker counts a write as held.
    #[must_use]
    pub fn durability(&self) -> DurabilityName {
        let usual = Self::usual_durability(self.target.target);
        self.durability.unwrap_or(usual)
    }

    /// What is taken where nothing is asked for: what the broker's authors ship.
    #[must_use]
    pub fn usual_durability(target: Target) -> DurabilityName {
        match target {
            Target::Broker => DurabilityName::Fsync,
            Target::Kafka => DurabilityName::Replicated,
        }
    }

    /// The flags that choose the broker under test and set it up, for a command that repeats a
    /// run.
    pub fn target_flags(&self) -> impl Iterator<Item = String> {
        let topic = setting_flags("--topic-config", &self.topic_config);
        self.target.flags().chain(topic)
    }

    /// Messages to be acknowledged.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.messages.unwrap_or(match self.workload {
            Workload::Batch => 100_000,
            Workload::LargeBatch => 5000,
        })
    }

    /// Partitions of a topic.
    #[must_use]
    pub fn partitions(&self) -> i32 {
        self.partitions.unwrap_or(match self.workload {
            Workload::Batch => 6,
            Workload::LargeBatch => 3,
        })
    }

    /// Messages a second, 0 for as fast as possible.
    #[must_use]
    pub fn rate(&self) -> f64 {
        let needed = 1.25 * self.messages() as f64 / self.time.as_secs_f64().max(1.0);
        self.rate.unwrap_or(needed)
    }

    /// Replicas of each partition.
    #[must_use]
    pub fn replication_factor(&self) -> i16 {
        let brokers = i16::try_from(self.brokers).unwrap_or(i16::MAX);
        self.replication_factor.unwrap_or(brokers.min(3))
    }

    /// Whether producers are idempotent; librdkafka allows it with acks=all alone.
    #[must_use]
    pub fn idempotence(&self) -> bool {
        self.acks == Acks::All && !self.no_idempotence
    }

    /// The runtime, `--bootstrap` taken into account.
    #[must_use]
    pub fn runtime(&self) -> RuntimeName {
        match self.bootstrap {
            Some(_) => RuntimeName::External,
            None => self.runtime,
        }
    }

    /// The same run in a size that suits a simulation, where nothing else was asked for: its
    /// point is the number of seeds.
    #[must_use]
    pub fn for_simulation(&self) -> Self {
        let mut args = self.clone();
        args.messages = self.messages.or(Some(3000));
        args.partitions = self.partitions.or(Some(3));
        if self.batch == BATCH {
            args.batch = 8;
        }
        if self.trickles == TRICKLES {
            // Batches are as small as a trickle's.
            args.trickles = 0;
        }
        if self.size == (100..=10_240) {
            args.size = 100..=1000;
        }
        args
    }

    /// What cannot be asked of Apache Kafka.
    fn validate_kafka(&self) -> Result<(), String> {
        if self.target.target != Target::Kafka {
            return Ok(());
        }
        if !matches!(self.runtime(), RuntimeName::Auto | RuntimeName::Docker) {
            return Err("--target kafka runs in containers only: --runtime docker".to_owned());
        }
        if let Some(bug) = self.seeded_bug {
            let bug = bug.name();
            return Err(format!(
                "--seeded-bug {bug} is one of our broker, not of --target kafka"
            ));
        }
        Ok(())
    }

    /// What cannot be asked for together.
    ///
    /// # Errors
    /// A sentence that names the flags and the mend.
    pub fn validate(&self) -> Result<(), String> {
        self.target.validate()?;
        self.validate_kafka()?;
        let (platform, wanted) = (self.platform(), self.nemesis());
        let missing = |kind: &&FaultKind| kind.fidelity(platform).is_none();
        if platform != Platform::External
            && let Some(kind) = wanted.0.iter().find(missing)
        {
            let offered: Vec<&str> = kind.platforms().map(Platform::name).collect();
            return Err(format!(
                "--nemesis {kind} needs --runtime {}",
                offered.join(" or ")
            ));
        }
        if self.runtime() != RuntimeName::Sim {
            if self.seeds != 1 {
                return Err("--seeds needs --runtime sim".to_owned());
            }
        } else if self.workload != Workload::Batch {
            return Err("--runtime sim has only --workload batch".to_owned());
        } else if self.durability() == DurabilityName::Replicated
            && self.nemesis().0.contains(&FaultKind::Blackout)
        {
            return Err(
                "--nemesis blackout with --durability replicated loses data, as it must: what is \
                 held by replication alone does not survive the loss of all replicas"
                    .to_owned(),
            );
        }
        if self.runtime() == RuntimeName::External {
            if self.bootstrap.is_none() {
                return Err("--runtime external needs --bootstrap HOST:PORT,...".to_owned());
            }
            if !self.nemesis().0.is_empty() {
                let wanted = self.nemesis();
                return Err(format!(
                    "--nemesis {wanted} needs a cluster of our own; with --bootstrap only \
                     --nemesis none is possible"
                ));
            }
            if self.seeded_bug.is_some() {
                return Err("--seeded-bug needs a cluster of our own, not --bootstrap".to_owned());
            }
        }
        if self.keep && self.runtime() == RuntimeName::Namespaces {
            return Err("--keep needs Docker: namespaces end with the harness".to_owned());
        }
        let factor = self.replication_factor();
        if self.bootstrap.is_none() && i64::from(factor) > i64::from(self.brokers) {
            let brokers = self.brokers;
            return Err(format!(
                "--replication-factor {factor} needs as many brokers; there are {brokers}"
            ));
        }
        let min = self.min_insync_replicas();
        if min > i32::from(factor) {
            return Err(format!(
                "--min-insync-replicas {min} can never be met with {factor} replicas"
            ));
        }
        Ok(())
    }
}

fn parse_nemesis(text: &str) -> Result<NemesisList, String> {
    if text == "none" {
        return Ok(NemesisList::default());
    }
    for (word, choice) in [("all", Choice::All), ("random", Choice::Random)] {
        if text == word {
            return Ok(NemesisList(Vec::new(), choice));
        }
    }
    let alone = |name: &&str| ["none", "all", "random"].contains(name);
    if let Some(word) = text.split(',').map(str::trim).find(alone) {
        return Err(format!("`{word}` stands alone"));
    }
    let mut kinds = Vec::new();
    for name in text.split(',').map(str::trim) {
        let kind: FaultKind = name.parse().map_err(|error| {
            let names = FaultKind::every().map(FaultKind::name);
            match nearest(name, names.chain(["none", "all", "random"])) {
                Some(near) => format!("unknown nemesis `{name}`; did you mean `{near}`?"),
                None => format!("{error}"),
            }
        })?;
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    Ok(NemesisList(kinds, Choice::Named))
}

pub(super) fn parse_bug(text: &str) -> Result<SeededBug, String> {
    SeededBug::by_name(text).ok_or_else(|| {
        let names = SeededBug::ALL.iter().map(|bug| bug.name());
        match nearest(text, names) {
            Some(near) => format!("unknown seeded bug `{text}`; did you mean `{near}`?"),
            None => format!("unknown seeded bug `{text}`; `harness list seeded-bugs` has them"),
        }
    })
}

pub(super) fn parse_seconds(text: &str) -> Result<Duration, String> {
    let number = text.strip_suffix('s').unwrap_or(text);
    match number.parse::<f64>() {
        Ok(seconds) if (1.0..=86_400.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(format!("`{text}` is no number of seconds from 1 to 86400")),
    }
}

fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.0..=1e9).contains(&rate) => Ok(rate),
        _ => Err(format!("`{text}` is no number of messages a second")),
    }
}

fn parse_size(text: &str) -> Result<RangeInclusive<usize>, String> {
    let (min, max) = text.split_once("..").unwrap_or((text, text));
    let max = max.strip_prefix('=').unwrap_or(max);
    let (min, max) = (parse_bytes(min)?, parse_bytes(max)?);
    if min < MIN_BYTES || min > max || max > 900_000 {
        return Err(format!(
            "sizes go from {MIN_BYTES} to 900000 bytes, the smaller one first; `{text}` does not"
        ));
    }
    Ok(min..=max)
}

fn parse_bytes(text: &str) -> Result<usize, String> {
    let text = text.trim();
    let upper = text.to_ascii_uppercase();
    let (digits, factor) = match (upper.strip_suffix('K'), upper.strip_suffix('M')) {
        (Some(digits), _) => (digits, 1024),
        (_, Some(digits)) => (digits, 1024 * 1024),
        _ => (upper.as_str(), 1),
    };
    let number: usize = digits
        .parse()
        .map_err(|_| format!("`{text}` is no number of bytes"))?;
    Ok(number.saturating_mul(factor))
}
