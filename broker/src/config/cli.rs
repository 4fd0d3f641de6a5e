//! How settings are read: flags before the environment before the file before the defaults.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Command};

use crate::admin::elect::{self, Order};
use crate::config::settings::{self, SETTINGS, Setting};
use crate::config::{BrokerConfig, Voter, check};
use crate::meta::image::Endpoint;
use crate::storage::{self, disk::Disk};

/// Wrong usage of the command line (`sysexits.h`).
pub const EXIT_USAGE: i32 = 64;
/// A bug in the broker: an assertion failed.
pub const EXIT_INTERNAL: i32 = 70;
/// The log or another file cannot be opened, read or written.
pub const EXIT_IO: i32 = 74;
/// A setting has a value that will not do.
pub const EXIT_CONFIG: i32 = 78;

/// What openraft has to say is told by `meta` in the words of this broker; its own lines are many
/// during every cut of the network.
const DEFAULT_FILTER: &str = "info,openraft=off";

const ABOUT: &str = "A reference Kafka-compatible broker: what it acknowledges it keeps.

Started without a command it serves: alone as a cluster of one, or as one of --voters.
It listens on loopback unless told otherwise.";

const AFTER: &str =
    "Every setting can be given as a flag, in the environment (--wal-roll-bytes is \
BROKER_WAL_ROLL_BYTES), or in the --config file (wal-roll-bytes = 8388608); a flag goes before the \
environment, the environment before the file.

Exit codes: 0 stopped when asked to; 64 wrong usage; 70 internal error (an assertion failed);
74 a file cannot be opened, read or written; 78 a setting is wrong.";

/// What the command line asks for.
#[derive(Debug)]
pub enum Invocation {
    /// Serve.
    Serve(Box<Serve>),
    /// Audit the log of a stopped broker.
    DumpLog {
        /// The data directory, or the log's own.
        dir: PathBuf,
        /// Batches and records too, not only partitions.
        records: bool,
    },
    /// Order an unclean election.
    ElectUnclean {
        /// The admin listener of any broker.
        admin: Endpoint,
        /// What to elect.
        order: Order,
    },
    /// Print this (help, version) and stop.
    Print(String),
}

/// To serve.
#[derive(Debug)]
pub struct Serve {
    /// The settings.
    pub config: BrokerConfig,
    /// Which log lines are written: a level, or directives as `RUST_LOG` takes them.
    pub log_filter: String,
    /// Things to tell at start: what was given and is not used.
    pub warnings: Vec<String>,
}

/// Why there is nothing to run.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// [`EXIT_USAGE`]; clap's message.
    #[error("{0}")]
    Usage(String),
    /// [`EXIT_CONFIG`].
    #[error("{}", .0.join("\n"))]
    Config(Vec<String>),
    /// [`EXIT_IO`]: the configuration file.
    #[error("cannot read the configuration file {path}: {error}")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        error: std::io::Error,
    },
}

impl CliError {
    /// The process's exit code.
    #[must_use]
    pub const fn exit_code(&self) -> i32 {
        match self {
            CliError::Usage(_) => EXIT_USAGE,
            CliError::Config(_) => EXIT_CONFIG,
            CliError::File { .. } => EXIT_IO,
        }
    }
}

/// Reads arguments (the program's name first), environment and file.
///
/// # Errors
/// [`CliError`].
pub fn parse<I, A, E>(arguments: I, environment: E) -> Result<Invocation, CliError>
where
    I: IntoIterator<Item = A>,
    A: Into<OsString> + Clone,
    E: IntoIterator<Item = (String, String)>,
{
    let matches = match command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) if error.use_stderr() => return Err(CliError::Usage(error.to_string())),
        Err(help) => return Ok(Invocation::Print(help.to_string())),
    };
    if let Some(("dump-log", dump)) = matches.subcommand() {
        let dir = dump.get_one::<PathBuf>("dir").cloned();
        let dir = dir.expect("clap requires it");
        let records = !dump.get_flag("partitions");
        return Ok(Invocation::DumpLog { dir, records });
    }
    if let Some(("elect-unclean", elect)) = matches.subcommand() {
        return elect_unclean(elect);
    }
    let environment: BTreeMap<String, String> = environment.into_iter().collect();
    serve(&matches, &environment).map(|serve| Invocation::Serve(Box::new(serve)))
}

fn elect_unclean(matches: &ArgMatches) -> Result<Invocation, CliError> {
    let text = |name: &str| matches.get_one::<String>(name).cloned().unwrap_or_default();
    let number = |name: &str| matches.get_one::<i32>(name).copied().unwrap_or_default();
    let admin = text("admin");
    let endpoint = admin.rsplit_once(':').and_then(|(host, port)| {
        let (host, port) = (host.to_owned(), port.parse().ok()?);
        Some(Endpoint { host, port })
    });
    let wrong = |what: String| CliError::Usage(format!("error: {what}"));
    let admin = endpoint.ok_or_else(|| wrong(format!("--admin {admin}: HOST:PORT is needed")))?;
    let order = Order {
        topic: text("topic"),
        partition: number("partition"),
        leader: number("leader"),
    };
    if !elect::is_plain(&order.topic) {
        return Err(wrong(format!("{:?} is no topic name", order.topic)));
    }
    Ok(Invocation::ElectUnclean { admin, order })
}

fn elect_unclean_command() -> Command {
    let number = || clap::value_parser!(i32);
    Command::new("elect-unclean")
        .about(
            "Makes a broker the leader of a partition that has none because the logs of all \
             in-sync replicas are gone. Acknowledged records that its log lacks are lost: look at \
             the replicas with dump-log first, and choose the one that holds most",
        )
        .arg(
            Arg::new("admin")
                .long("admin")
                .value_name("HOST:PORT")
                .default_value("127.0.0.1:9095")
                .help("The admin listener of any broker"),
        )
        .arg(Arg::new("topic").value_name("TOPIC").required(true))
        .arg(
            Arg::new("partition")
                .value_name("PARTITION")
                .required(true)
                .value_parser(number()),
        )
        .arg(
            Arg::new("leader")
                .value_name("BROKER")
                .required(true)
                .value_parser(number())
                .help("Number of the broker that is to lead"),
        )
}

/// The command line, from the table of settings.
#[must_use]
pub fn command() -> Command {
    let mut command = Command::new("broker")
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .after_help(AFTER)
        .arg(
            Arg::new("config")
                .long("config")
                .value_name("FILE")
                .value_parser(clap::value_parser!(PathBuf))
                .help("A TOML file with settings [env: BROKER_CONFIG]"),
        )
        .arg(Arg::new("log").long("log").value_name("FILTER").help(
            "What is logged, to stderr: error, warn, info, debug, trace, or directives such as \
             info,broker::replica=debug [env: RUST_LOG] [default: info,openraft=off]",
        ))
        .subcommand(elect_unclean_command())
        .subcommand(
            Command::new("dump-log")
                .about("Prints what the log of a stopped broker holds as JSON lines, and changes nothing")
                .arg(
                    Arg::new("dir")
                        .value_name("DIR")
                        .required(true)
                        .value_parser(clap::value_parser!(PathBuf))
                        .help("The data directory"),
                )
                .arg(
                    Arg::new("partitions")
                        .long("partitions")
                        .action(clap::ArgAction::SetTrue)
                        .help("Only what each partition holds, not every batch and record"),
                ),
        );
    let defaults = BrokerConfig::default();
    for setting in SETTINGS {
        let default = (setting.get)(&defaults);
        let help = format!("{} [default: {default}]", setting.help);
        command = command.arg(
            Arg::new(setting.name)
                .long(setting.name)
                .value_name(setting.placeholder)
                .allow_hyphen_values(true)
                .help(help),
        );
    }
    #[cfg(feature = "seeded-bugs")]
    {
        let names: Vec<_> = crate::chaos::seeded_bug::SeededBug::ALL
            .iter()
            .map(|bug| bug.name())
            .collect();
        let help = format!(
            "Break one rule, to show that it is noticed (may be given again): {}",
            names.join(", ")
        );
        command = command.arg(
            Arg::new("seeded-bug")
                .long("seeded-bug")
                .value_name("NAME")
                .action(clap::ArgAction::Append)
                .help(help),
        );
    }
    command
}

/// Where a value came from, for messages.
struct Given {
    value: String,
    place: String,
}

fn serve(matches: &ArgMatches, environment: &BTreeMap<String, String>) -> Result<Serve, CliError> {
    let mut problems = Vec::new();
    let mut warnings = Vec::new();
    let file = match config_path(matches, environment) {
        Some(path) => read_file(&path, &mut problems)?,
        None => BTreeMap::new(),
    };
    warn_of_unknown_variables(environment, &mut warnings);
    let mut config = BrokerConfig::default();
    let mut given = BTreeMap::new();
    for setting in SETTINGS {
        let Some(found) = find_value(setting, matches, environment, &file) else {
            continue;
        };
        if let Err(wrong) = (setting.set)(&mut config, &found.value) {
            problems.push(format!("{}: {wrong}", found.place));
        }
        given.insert(setting.name, ());
    }
    let is_given = |name: &str| given.contains_key(name);
    derive_unset(&mut config, &is_given);
    seeded_bugs(matches, &mut config, &mut problems);
    if problems.is_empty() {
        problems = check::problems(&config, &is_given);
    }
    if !problems.is_empty() {
        return Err(CliError::Config(problems));
    }
    let log_filter = matches.get_one::<String>("log").cloned();
    let log_filter = log_filter.or_else(|| environment.get("RUST_LOG").cloned());
    Ok(Serve {
        config,
        log_filter: log_filter.unwrap_or_else(|| DEFAULT_FILTER.to_owned()),
        warnings,
    })
}

fn config_path(matches: &ArgMatches, environment: &BTreeMap<String, String>) -> Option<PathBuf> {
    let flag = matches.get_one::<PathBuf>("config").cloned();
    flag.or_else(|| environment.get("BROKER_CONFIG").map(PathBuf::from))
}

fn find_value(
    setting: &Setting,
    matches: &ArgMatches,
    environment: &BTreeMap<String, String>,
    file: &BTreeMap<&'static str, Given>,
) -> Option<Given> {
    if let Some(value) = matches.get_one::<String>(setting.name) {
        let place = format!("--{}", setting.name);
        let value = value.clone();
        return Some(Given { value, place });
    }
    let variable = setting.variable();
    if let Some(value) = environment.get(&variable) {
        let place = format!("environment variable {variable}");
        let value = value.clone();
        return Some(Given { value, place });
    }
    file.get(setting.name).map(|given| Given {
        value: given.value.clone(),
        place: given.place.clone(),
    })
}

/// Listeners are advertised as they listen, and a broker without voters is its own.
fn derive_unset(config: &mut BrokerConfig, is_given: &dyn Fn(&str) -> bool) {
    let as_endpoint = |address: std::net::SocketAddr| Endpoint {
        host: address.ip().to_string(),
        port: address.port(),
    };
    if !is_given("client-advertised") {
        config.client_advertised = as_endpoint(config.client_listen);
    }
    if !is_given("replication-advertised") {
        config.replication_advertised = as_endpoint(config.replication_listen);
    }
    if !is_given("voters") {
        config.voters = vec![Voter {
            id: config.id,
            controller: as_endpoint(config.controller_listen),
        }];
    }
    if config.seed == 0 {
        config.seed = uuid::Uuid::new_v4().as_u64_pair().0.max(1);
    }
}

#[cfg(feature = "seeded-bugs")]
fn seeded_bugs(matches: &ArgMatches, config: &mut BrokerConfig, problems: &mut Vec<String>) {
    use crate::chaos::seeded_bug::SeededBug;
    for name in matches
        .get_many::<String>("seeded-bug")
        .into_iter()
        .flatten()
    {
        match SeededBug::by_name(name) {
            Some(bug) => config.bugs = config.bugs.with(bug),
            None => problems.push(format!("--seeded-bug: {name:?} is none; see --help")),
        }
    }
}

#[cfg(not(feature = "seeded-bugs"))]
fn seeded_bugs(_: &ArgMatches, _: &mut BrokerConfig, _: &mut Vec<String>) {}

/// Variables that look like settings and are none: told, not refused, because an orchestrator
/// sets some of its own for a service that is called "broker".
fn warn_of_unknown_variables(environment: &BTreeMap<String, String>, warnings: &mut Vec<String>) {
    for name in environment.keys() {
        let Some(rest) = name.strip_prefix("BROKER_") else {
            continue;
        };
        let known = SETTINGS.iter().any(|setting| setting.variable() == *name);
        if !known && rest != "CONFIG" {
            let near = settings::find(settings::nearest(&rest.to_lowercase().replace('_', "-")));
            let near = near.map(Setting::variable).unwrap_or_default();
            warnings.push(format!(
                "environment variable {name} is no setting (did you mean {near}?)"
            ));
        }
    }
}

fn read_file(
    path: &Path,
    problems: &mut Vec<String>,
) -> Result<BTreeMap<&'static str, Given>, CliError> {
    let shown = path.display().to_string();
    let unreadable = |error| CliError::File {
        path: shown.clone(),
        error,
    };
    let text = storage::read_small(&Disk, path).map_err(unreadable)?;
    let text = text.ok_or_else(|| unreadable(std::io::ErrorKind::NotFound.into()))?;
    let text = String::from_utf8_lossy(&text);
    let table: toml::Table = match text.parse() {
        Ok(table) => table,
        Err(error) => {
            return Err(CliError::Config(vec![format!("{shown}: {error}")]));
        }
    };
    let mut flat = Vec::new();
    flatten("", &table, &mut flat);
    let mut found = BTreeMap::new();
    for (key, value) in flat {
        let Some(setting) = settings::find(&key) else {
            let near = settings::nearest(&key);
            problems.push(format!(
                "{shown}: {key} is no setting (did you mean {near}?)"
            ));
            continue;
        };
        let place = format!("{shown}: {key}");
        if found.insert(setting.name, Given { value, place }).is_some() {
            problems.push(format!(
                "{shown}: {key} is set twice, under two of its names"
            ));
        }
    }
    Ok(found)
}

/// `a.b.c = 1` is a table in a table in TOML and a name with dots for us.
fn flatten(prefix: &str, table: &toml::Table, flat: &mut Vec<(String, String)>) {
    for (key, value) in table {
        let key = if prefix.is_empty() {
            key.clone()
        } else {
            format!("{prefix}.{key}")
        };
        match value {
            toml::Value::Table(inner) => flatten(&key, inner, flat),
            toml::Value::String(text) => flat.push((key, text.clone())),
            toml::Value::Array(items) => {
                let items: Vec<_> = items.iter().map(plain).collect();
                flat.push((key, items.join(",")));
            }
            other => flat.push((key, plain(other))),
        }
    }
}

fn plain(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
#[path = "cli_test.rs"]
mod tests;
