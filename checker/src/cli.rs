//! The command line of `checker`: history.md section 2, and what goes beyond a verdict.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use checker::simulate::{Injection, Plan};
use checker::{Model, Options, SubVia};

const EXIT_CODES: &str = "\
Exit codes: 0 valid, 1 invalid (an anomaly that the profile forbids), 2 unknown (too little data, \
or a bound was hit), 3 vacuous (what the run was to exercise did not happen), 4 stalled (slow, not \
lost), 5 infrastructure (the cluster never came up, or a fault could not be healed), 64 usage, \
65 bad input, 70 internal error.";

/// Checks histories of Kafka-like logs: reads what clients saw, proves what went wrong, and says so
/// in plain words.
#[derive(Debug, Parser)]
#[command(name = "checker", version, after_help = EXIT_CODES, infer_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Checks a history and prints the verdict.
    Check(Check),
    /// Explains one finding: step by step, with the operations behind it and a picture.
    Explain(Explain),
    /// Tells the whole story of one message.
    Trace(Trace),
    /// Translates a history between history.jsonl and Jepsen's history.edn, without loss.
    Convert {
        /// The history: a file, or a run's folder.
        path: PathBuf,
        /// Where to write; `.edn` or `.jsonl` says which format.
        output: PathBuf,
    },
    /// Renders a run's report again (HTML and PNG) from what is stored in its folder.
    Report {
        /// The run's folder.
        dir: PathBuf,
    },
    /// Writes the history of a simulated correct cluster: something to try the checker on.
    Generate(Generate),
    /// Prints the profiles: which anomalies each configuration allows, and why.
    Profiles {
        /// Only this one.
        name: Option<String>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

/// What one finding or message is shown as.
#[derive(Debug, Args)]
pub struct Shown {
    /// Prints one JSON object and nothing else.
    #[arg(long)]
    pub json: bool,
    /// Also draws the picture as SVG.
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Also draws the picture as PNG.
    #[arg(long, value_name = "FILE")]
    pub png: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Explain {
    /// A history file, a run's folder, or - for standard input.
    pub path: PathBuf,
    /// Type and number, as `lost-write/3`: the third of them.
    pub finding: String,
    #[command(flatten)]
    pub shown: Shown,
    #[command(flatten)]
    pub by: By,
}

#[derive(Debug, Args)]
pub struct Trace {
    /// A history file, a run's folder, or - for standard input.
    pub path: PathBuf,
    /// The message's key: its partition.
    #[arg(long, value_name = "K")]
    pub key: String,
    /// The message's value.
    #[arg(long, value_name = "V", allow_negative_numbers = true)]
    pub value: String,
    #[command(flatten)]
    pub shown: Shown,
    #[command(flatten)]
    pub by: By,
}

#[derive(Debug, Args)]
pub struct Check {
    /// A history file, a run's folder, or - for standard input.
    pub path: PathBuf,
    /// Prints one JSON object and nothing else.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub by: By,
}

/// By what a history is judged.
#[derive(Debug, Args)]
pub struct By {
    /// What the history is a history of.
    #[arg(long, value_enum, default_value_t = ModelName::Kafka)]
    pub model: ModelName,
    /// Which anomalies are allowed: see `checker profiles`. By default the one that fits the run's
    /// own settings, which is `safe` unless they say otherwise.
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// How consumers were attached (by default read from the history).
    #[arg(long, value_enum, value_delimiter = ',')]
    pub sub_via: Vec<Via>,
    /// Infers write-write dependencies from offsets.
    #[arg(long)]
    pub ww_deps: bool,
    /// Forbids these types in any case.
    #[arg(long, value_name = "A,B,...", value_delimiter = ',')]
    pub anomalies: Vec<String>,
    /// Forbids rw cycles on polls.
    #[arg(long)]
    pub strict_reads: bool,
    /// How long the cluster may take to get going again after the last fault.
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, default_value_t = 30.0, value_parser = seconds)]
    pub recovery_limit: f64,
    /// list-append: a consistency model that must hold (repeatable).
    #[arg(long = "consistency-model", value_name = "M")]
    pub consistency_models: Vec<String>,
    /// Lists at most this many details of each type; totals always count all.
    #[arg(long, value_name = "N", default_value_t = Options::default().limit)]
    pub limit: usize,
}

#[derive(Debug, Args)]
pub struct Generate {
    /// Where all chance comes from.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// What kind of history. For list-append, partitions are the keys in use at a time.
    #[arg(long, value_enum, default_value_t = ModelName::Kafka)]
    pub model: ModelName,
    /// Client operations, about.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub operations: u64,
    /// Producers and consumers at work at any time.
    #[arg(long, value_name = "N", default_value_t = Plan::default().clients)]
    pub clients: u32,
    /// Partitions.
    #[arg(long, value_name = "N", default_value_t = Plan::default().partitions)]
    pub partitions: u32,
    /// Messages in a batch, at most.
    #[arg(long, value_name = "N", default_value_t = Plan::default().batch)]
    pub batch: u32,
    /// Records that one poll returns, at most.
    #[arg(long, value_name = "N", default_value_t = Plan::default().poll)]
    pub poll: u32,
    /// Share of operations that are transactions, 0 to 1.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    pub transactions: f64,
    /// Share of operations left without an answer, and as many again that fail, 0 to 1.
    #[arg(long, value_name = "SHARE", default_value_t = Plan::default().trouble,
        value_parser = share)]
    pub trouble: f64,
    /// Chance, at each operation, that the sampler asks a broker for its offsets.
    #[arg(long, value_name = "SHARE", default_value_t = 0.01, value_parser = share)]
    pub sampling: f64,
    /// No complete passes and audits at the end.
    #[arg(long)]
    pub no_drains: bool,
    /// Puts in faults that must be found as this anomaly (repeatable), or `all`.
    #[arg(long, value_name = "ANOMALY", value_parser = injections)]
    pub inject: Vec<Injections>,
    /// Chance of each of them at each operation.
    #[arg(long, value_name = "RATE", default_value_t = 1e-6, value_parser = share)]
    pub inject_rate: f64,
    /// Where to write, compressed if its name ends in .gz or .zst; standard output without it.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

impl Generate {
    /// What the library is asked.
    pub fn plan(&self) -> Plan {
        Plan {
            seed: self.seed,
            model: self.model.model(),
            operations: self.operations,
            clients: self.clients,
            partitions: self.partitions,
            batch: self.batch,
            poll: self.poll,
            transactions: self.transactions,
            trouble: self.trouble,
            sampling: self.sampling,
            drains: !self.no_drains,
            inject: {
                let named = self.inject.iter().flat_map(|named| &named.0);
                named.map(|&one| (one, self.inject_rate)).collect()
            },
            ..Plan::default()
        }
    }
}

/// One or all of them.
#[derive(Clone, Debug)]
pub struct Injections(Vec<Injection>);

fn injections(text: &str) -> Result<Injections, String> {
    let all = || Injection::ALL.iter().copied();
    let named: Vec<_> = all()
        .filter(|one| text == "all" || one.name() == text)
        .collect();
    if named.is_empty() {
        let names: Vec<_> = all().map(Injection::name).collect();
        return Err(format!("give one of {}, or all", names.join(", ")));
    }
    Ok(Injections(named))
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("give a share between 0 and 1".to_owned()),
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ModelName {
    /// Logs with offsets.
    Kafka,
    /// Elle's list-append.
    ListAppend,
}

impl ModelName {
    fn model(self) -> Model {
        match self {
            ModelName::Kafka => Model::Kafka,
            ModelName::ListAppend => Model::ListAppend,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Via {
    /// By hand.
    Assign,
    /// By group.
    Subscribe,
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| "give a number of seconds".to_owned())?;
    if Duration::try_from_secs_f64(seconds).is_ok() {
        Ok(seconds)
    } else {
        Err("give a number of seconds that is not negative".to_owned())
    }
}

impl By {
    /// What the library is asked.
    pub fn options(&self) -> Options {
        Options {
            model: self.model.model(),
            profile: self.profile.clone().unwrap_or_default(),
            sub_via: self
                .sub_via
                .iter()
                .map(|via| match via {
                    Via::Assign => SubVia::Assign,
                    Via::Subscribe => SubVia::Subscribe,
                })
                .collect(),
            ww_deps: self.ww_deps,
            anomalies: self.anomalies.clone(),
            strict_reads: self.strict_reads,
            recovery_limit: Duration::try_from_secs_f64(self.recovery_limit)
                .expect("the argument's parser has tried it"),
            consistency_models: self.consistency_models.clone(),
            limit: self.limit,
            ..Options::default()
        }
    }
}
