//! Settings from outside of the command line: the environment and files, and where each value
//! came from.
//!
//! There is one description of what can be set: the flags. A file's keys and the environment's
//! variables are flags by another spelling, and become words of the command line where that does
//! not name the flag itself. In falling order of precedence:
//!
//! 1. flags
//! 2. `[run]` of a `--schedule FILE`
//! 3. the environment: `HARNESS_MESSAGES` is `--messages`, `HARNESS_BENCH_SIZES` is `bench --sizes`
//! 4. `harness.toml` in the current directory; its tables `[bench]`, `[matrix]` and `[power-loss]`
//!    hold flags of those commands
//! 5. `$XDG_CONFIG_HOME/harness/config.toml`, or `~/.config/harness/config.toml`

mod environment;
mod file;
mod show;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};

pub use show::show;

use super::Workload;
use crate::located::Mistake;
use crate::schedule_file::ScheduleFile;

/// Commands with settings: those whose flags are all that they take.
pub const COMMANDS: [&str; 4] = [RUN, "bench", "matrix", "power-loss"];
/// What a setting without a command is of.
pub const RUN: &str = "run";
/// Settings of `run` that hold for every command that knows the flag.
const SHARED: [&str; 2] = ["out", "json"];

/// Set for a harness that another one starts, which says everything by flags.
pub const NONE: &str = "HARNESS_INTERNAL_NO_SETTINGS";

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// A line of a file.
    File {
        /// Its name.
        name: String,
        /// Counted from 1.
        line: usize,
    },
    /// A variable.
    Environment(String),
    /// A flag.
    Flag,
    /// The default of a workload.
    Workload(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { name, line } => write!(f, "{name}:{line}"),
            Self::Environment(variable) => f.write_str(variable),
            Self::Flag => f.write_str("command line"),
            Self::Workload(name) => write!(f, "workload {name}"),
        }
    }
}

/// One flag, as somebody set it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its values; none for a switch that is off.
    pub values: Vec<String>,
    /// Whether it takes no value.
    pub switch: bool,
    /// Who set it.
    pub origin: Origin,
}

impl Setting {
    /// As words of a command line.
    pub fn words(&self, flag: &str) -> Vec<String> {
        if self.switch {
            let on = self.values.iter().any(|value| value == "true");
            return on.then(|| format!("--{flag}")).into_iter().collect();
        }
        let values = self.values.iter();
        values.map(|value| format!("--{flag}={value}")).collect()
    }
}

/// A flag without its dashes, and its values; `true` for a switch.
pub type Given = (String, Vec<String>);

/// Settings of one origin's sort: by command, then by flag.
pub type Layer = BTreeMap<(String, String), Setting>;

/// What surrounds the program.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Every variable.
    pub variables: Vec<(String, String)>,
    /// The user's own file.
    pub user: Option<PathBuf>,
    /// The project's file.
    pub project: Option<PathBuf>,
}

impl Surroundings {
    /// Those of this process.
    #[must_use]
    pub fn of_process() -> Self {
        if std::env::var_os(NONE).is_some() {
            return Self::default();
        }
        let text = |text: OsString| text.into_string().ok();
        let variables = std::env::vars_os().filter_map(|(k, v)| Some((text(k)?, text(v)?)));
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let config = set("XDG_CONFIG_HOME").map(PathBuf::from);
        let home = set("HOME").map(|home| Path::new(&home).join(".config"));
        Self {
            variables: variables.collect(),
            user: config
                .or(home)
                .map(|dir| dir.join("harness").join("config.toml")),
            project: Some(PathBuf::from("harness.toml")),
        }
    }
}

/// What is wrong with a setting.
#[derive(Debug, thiserror::Error)]
pub enum SettingError {
    /// In a file.
    #[error(transparent)]
    Misplaced(#[from] Mistake),
    /// In the environment.
    #[error("{variable}: {what}")]
    Variable {
        /// Which variable.
        variable: String,
        /// In words, with the mend.
        what: String,
    },
    /// A file is there and cannot be read, or a schedule cannot.
    #[error("{0}")]
    Unreadable(String),
}

/// The layers, the strongest first; without the schedule's.
pub fn layers(clap: &Command, around: &Surroundings) -> Result<Vec<Layer>, SettingError> {
    let mut layers = vec![environment::layer(clap, &around.variables)?];
    for path in [&around.project, &around.user].into_iter().flatten() {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => {
                let what = format!("{} cannot be read: {error}", path.display());
                return Err(SettingError::Unreadable(what));
            }
        };
        layers.push(file::layer(clap, &shown(path), &text)?);
    }
    Ok(layers)
}

/// A path as people write it.
fn shown(path: &Path) -> String {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    match home.and_then(|home| path.strip_prefix(home).ok().map(Path::to_owned)) {
        Some(below) => format!("~/{}", below.display()),
        None => path.display().to_string(),
    }
}

/// The layer of a schedule's `[run]`.
pub fn schedule_layer(clap: &Command, path: &str) -> Result<Layer, SettingError> {
    let file = ScheduleFile::read(Path::new(path));
    let file = file.map_err(|error| SettingError::Unreadable(format!("{error:#}")))?;
    Ok(file::run_layer(clap, file.source())?)
}

/// What a workload has instead of the usual defaults: the weakest layer.
#[must_use]
pub fn workload_layer(workload: Workload) -> Layer {
    let defaults = workload.defaults().iter();
    let setting = |(flag, value): &(&str, &str)| {
        let setting = Setting {
            values: vec![(*value).to_owned()],
            switch: *value == "true",
            origin: Origin::Workload(workload.name()),
        };
        ((RUN.to_owned(), (*flag).to_owned()), setting)
    };
    defaults.map(setting).collect()
}

/// The layer of the workload that these settings name, if they name one.
#[must_use]
pub fn workload_of(settings: &BTreeMap<String, Setting>) -> Option<Layer> {
    let name = settings.get("workload")?.values.first()?;
    let workload = Workload::every().find(|workload| workload.name() == name)?;
    Some(workload_layer(workload))
}

/// All flags of a command that anybody set, with who did: on the command line, else in the
/// first layer that has it.
#[must_use]
pub fn resolve(
    clap: &Command,
    command: &str,
    matches: Option<&ArgMatches>,
    off: &[String],
    layers: &[Layer],
) -> BTreeMap<String, Setting> {
    let mut all = BTreeMap::new();
    for arg in flags(clap, command) {
        let flag = arg.get_long().unwrap_or_default().to_owned();
        let switch = is_switch(arg);
        let by_flag = |values: Vec<String>| Setting {
            values,
            switch,
            origin: Origin::Flag,
        };
        let setting = if off.contains(&flag) {
            Some(by_flag(Vec::new()))
        } else if let Some(matches) = matches.filter(|matches| is_given(matches, arg)) {
            Some(by_flag(raw(matches, arg)))
        } else {
            layers.iter().find_map(|layer| {
                let key = |command: &str| (command.to_owned(), flag.clone());
                let shared = SHARED.contains(&flag.as_str());
                let general = shared.then(|| layer.get(&key(RUN))).flatten();
                layer.get(&key(command)).or(general).cloned()
            })
        };
        if let Some(setting) = setting {
            all.insert(flag, setting);
        }
    }
    all
}

/// The flags that a command line gave, with their values, in the order of the help.
#[must_use]
pub fn given(clap: &Command, command: &str, matches: &ArgMatches) -> Vec<Given> {
    let given = flags(clap, command).filter(|arg| is_given(matches, arg));
    let name = |arg: &Arg| arg.get_long().unwrap_or_default().to_owned();
    given.map(|arg| (name(arg), raw(matches, arg))).collect()
}

fn is_given(matches: &ArgMatches, arg: &Arg) -> bool {
    matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine)
}

fn raw(matches: &ArgMatches, arg: &Arg) -> Vec<String> {
    if is_switch(arg) {
        return vec!["true".to_owned()];
    }
    let values = matches.get_raw(arg.get_id().as_str());
    let values = values.into_iter().flatten();
    values
        .map(|value| value.to_string_lossy().into_owned())
        .collect()
}

/// The flags of a command.
pub fn flags<'a>(clap: &'a Command, command: &str) -> impl Iterator<Item = &'a Arg> {
    let of = match command {
        RUN => Some(clap),
        _ => clap.find_subcommand(command),
    };
    let arguments = of.into_iter().flat_map(Command::get_arguments);
    let words = |arg: &&Arg| !matches!(arg.get_action(), ArgAction::Help | ArgAction::Version);
    arguments
        .filter(|arg| arg.get_long().is_some())
        .filter(words)
}

fn flag<'a>(clap: &'a Command, command: &str, name: &str) -> Option<&'a Arg> {
    flags(clap, command).find(|arg| arg.get_long() == Some(name))
}

/// Whether a flag of a command takes no value.
#[must_use]
pub fn is_switch_of(clap: &Command, command: &str, name: &str) -> bool {
    flag(clap, command, name).is_some_and(is_switch)
}

fn is_switch(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::SetTrue)
}

/// Whether it may be given several times.
fn is_list(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
}

/// Takes `--switch=true` and `--switch=false` out of a command line, which is how a switch that a
/// file turned on is turned off again. Returns the rest, and the switches that are off.
#[must_use]
pub fn without_switches(clap: &Command, arguments: Vec<OsString>) -> (Vec<OsString>, Vec<String>) {
    let everywhere = COMMANDS.iter().flat_map(|command| flags(clap, command));
    let switches: Vec<&str> = everywhere
        .filter(|arg| is_switch(arg))
        .filter_map(Arg::get_long)
        .collect();
    let (mut rest, mut off) = (Vec::new(), Vec::new());
    for word in arguments {
        let text = word.to_str().and_then(|word| word.strip_prefix("--"));
        match text.and_then(|text| text.split_once('=')) {
            Some((flag, "true")) if switches.contains(&flag) => {
                rest.push(OsString::from(format!("--{flag}")));
            }
            Some((flag, "false")) if switches.contains(&flag) => off.push(flag.to_owned()),
            _ => rest.push(word),
        }
    }
    (rest, off)
}

/// What clap says of one setting alone.
fn complaint(clap: &Command, command: &str, words: &[String]) -> Option<String> {
    let line = ["harness", command].map(str::to_owned);
    let line = line.into_iter().chain(words.iter().cloned());
    let error = clap.clone().try_get_matches_from(line).err()?;
    let text = error.to_string();
    let first = text.split("\n\nFor more").next().unwrap_or_default();
    let first = first.trim_start_matches("error: ").trim();
    // On one line: what the choices are, and what was meant.
    let lines: Vec<&str> = first
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect();
    Some(lines.join("; "))
}

#[cfg(test)]
mod tests;
