//! `driver.toml`: the commands by which the processes of somebody else's cluster are worked.
//!
//! Everything that can be wrong with the file is told with its line and column, and a key that
//! does not exist with the one that was meant.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nemesis::FaultKind;
use serde::Deserialize;
use toml::Spanned;

use checker::suggest::nearest;

/// A command ends within this, where the file does not say otherwise.
const LIMIT: f64 = 30.0;

/// What can be done by a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Begins a broker on the data that it had, in the background.
    Start,
    /// Ends it in good order.
    Stop,
    /// Ends it at once.
    Kill,
    /// Makes it stand still.
    Pause,
    /// Lets it go on.
    Resume,
}

impl Verb {
    /// The key in the file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Resume => "resume",
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Commands {
    start: Option<Spanned<String>>,
    stop: Option<Spanned<String>>,
    kill: Option<Spanned<String>>,
    pause: Option<Spanned<String>>,
    resume: Option<Spanned<String>>,
    logs: Option<Spanned<String>>,
    role_of: Option<Spanned<String>>,
    addresses: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Entry {
    id: Spanned<u32>,
    address: Spanned<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Document {
    timeout_seconds: Option<Spanned<f64>>,
    commands: Spanned<Commands>,
    #[serde(default)]
    node: Vec<Entry>,
}

/// A file that cannot be used, and where in it the reason is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}:{line}:{column}: {why}", path.display())]
pub struct FileError {
    /// The file.
    pub path: PathBuf,
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1, in characters.
    pub column: usize,
    /// What is wrong and what would mend it.
    pub why: String,
}

/// One broker of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeEntry {
    /// Its id in Kafka's protocol.
    pub id: u32,
    /// `HOST:PORT`, as clients are told by the brokers.
    pub address: String,
}

/// A `driver.toml` that was read and is consistent in itself.
#[derive(Debug)]
pub struct DriverFile {
    /// Where it is.
    pub path: PathBuf,
    /// What is in it, word for word.
    pub text: String,
    /// How long a command may take.
    pub limit: Duration,
    /// The brokers; empty: `addresses` tells them.
    pub nodes: Vec<NodeEntry>,
    commands: Commands,
}

impl DriverFile {
    /// Reads a file.
    ///
    /// # Errors
    /// With the place in the file; line 1 where there is no file.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let text = std::fs::read_to_string(path).map_err(|error| FileError {
            path: path.to_owned(),
            line: 1,
            column: 1,
            why: format!("cannot be read: {error}"),
        })?;
        Self::parse(path, text)
    }

    /// Reads the text of a file that is at `path`.
    ///
    /// # Errors
    /// With the place in the text.
    pub fn parse(path: &Path, text: String) -> Result<Self, FileError> {
        let place = Place { path, text: &text };
        let document: Document = toml::from_str(&text).map_err(|error| {
            let why = meant(error.message());
            place.error(error.span().unwrap_or(0..0), why)
        })?;
        let commands = document.commands;
        check_commands(&place, &commands)?;
        let limit = seconds(&place, document.timeout_seconds)?;
        let nodes = nodes(&place, document.node)?;
        let commands = commands.into_inner();
        if nodes.is_empty() && commands.addresses.is_none() {
            let why = "no brokers: add a [[node]] with id and address for each, or a command \
                       `addresses` that prints `ID HOST:PORT` lines";
            return Err(place.error(0..0, why.to_owned()));
        }
        Ok(Self {
            path: path.to_owned(),
            limit,
            nodes,
            commands,
            text,
        })
    }

    /// The command of a verb.
    #[must_use]
    pub fn command(&self, verb: Verb) -> Option<&str> {
        let command = match verb {
            Verb::Start => &self.commands.start,
            Verb::Stop => &self.commands.stop,
            Verb::Kill => &self.commands.kill,
            Verb::Pause => &self.commands.pause,
            Verb::Resume => &self.commands.resume,
        };
        text_of(command)
    }

    /// The command that prints a broker's log.
    #[must_use]
    pub fn logs(&self) -> Option<&str> {
        text_of(&self.commands.logs)
    }

    /// The command that prints who has a role.
    #[must_use]
    pub fn role_of(&self) -> Option<&str> {
        text_of(&self.commands.role_of)
    }

    /// The command that prints who is where.
    #[must_use]
    pub fn addresses(&self) -> Option<&str> {
        text_of(&self.commands.addresses)
    }

    /// The faults that these commands can do and undo.
    #[must_use]
    pub fn offers(&self, kind: FaultKind) -> bool {
        let has = |verb| self.command(verb).is_some();
        match kind {
            FaultKind::Kill | FaultKind::Chase => has(Verb::Kill) && has(Verb::Start),
            FaultKind::Stop | FaultKind::RollingRestart => has(Verb::Stop) && has(Verb::Start),
            FaultKind::Pause => has(Verb::Pause) && has(Verb::Resume),
            _ => false,
        }
    }
}

fn text_of(command: &Option<Spanned<String>>) -> Option<&str> {
    command.as_ref().map(|command| command.as_ref().as_str())
}

/// The text of a file, to say where in it something is.
struct Place<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Place<'_> {
    fn error(&self, span: Range<usize>, why: String) -> FileError {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        FileError {
            path: self.path.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            why,
        }
    }
}

/// What can be undone is allowed, and nothing is empty.
fn check_commands(place: &Place<'_>, commands: &Spanned<Commands>) -> Result<(), FileError> {
    let of = commands.as_ref();
    let all = [
        ("start", &of.start),
        ("stop", &of.stop),
        ("kill", &of.kill),
        ("pause", &of.pause),
        ("resume", &of.resume),
        ("logs", &of.logs),
        ("role-of", &of.role_of),
        ("addresses", &of.addresses),
    ];
    for (name, command) in all {
        if let Some(command) = command
            && command.as_ref().trim().is_empty()
        {
            let why = format!("`{name}` is empty; leave it out if there is no such command");
            return Err(place.error(command.span(), why));
        }
    }
    for (name, command, undo, undone) in [
        ("kill", &of.kill, "start", of.start.is_some()),
        ("stop", &of.stop, "start", of.start.is_some()),
        ("pause", &of.pause, "resume", of.resume.is_some()),
    ] {
        if let Some(command) = command
            && !undone
        {
            let why = format!("`{name}` needs `{undo}`: what is done must be undone");
            return Err(place.error(command.span(), why));
        }
    }
    Ok(())
}

fn seconds(place: &Place<'_>, given: Option<Spanned<f64>>) -> Result<Duration, FileError> {
    let Some(given) = given else {
        return Ok(Duration::from_secs_f64(LIMIT));
    };
    let (span, seconds) = (given.span(), given.into_inner());
    if (0.1..=600.0).contains(&seconds) {
        return Ok(Duration::from_secs_f64(seconds));
    }
    let why = format!("`timeout-seconds` is from 0.1 to 600, not {seconds}");
    Err(place.error(span, why))
}

fn nodes(place: &Place<'_>, entries: Vec<Entry>) -> Result<Vec<NodeEntry>, FileError> {
    let mut nodes: Vec<NodeEntry> = Vec::new();
    for Entry { id, address } in entries {
        let (id_span, address_span) = (id.span(), address.span());
        let (id, address) = (id.into_inner(), address.into_inner());
        if i32::try_from(id).is_err() {
            return Err(place.error(id_span, format!("{id} is no broker id")));
        }
        if nodes.iter().any(|node| node.id == id) {
            let why = format!("a second node with id {id}; each broker has its own");
            return Err(place.error(id_span, why));
        }
        if !is_address(&address) {
            let why = format!("`{address}` is not HOST:PORT");
            return Err(place.error(address_span, why));
        }
        if nodes.iter().any(|node| node.address == address) {
            let why = format!("a second node at {address}; each broker has its own address");
            return Err(place.error(address_span, why));
        }
        nodes.push(NodeEntry { id, address });
    }
    nodes.sort_by_key(|node| node.id);
    Ok(nodes)
}

/// Whether it is `HOST:PORT`.
pub(super) fn is_address(text: &str) -> bool {
    let parts = text.rsplit_once(':');
    parts.is_some_and(|(host, port)| {
        !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0)
    })
}

/// The reader's message, for a key that does not exist with the one that is nearest.
fn meant(message: &str) -> String {
    let mut words = message.split('`').skip(1).step_by(2);
    if !message.starts_with("unknown field") {
        return message.to_owned();
    }
    let Some(unknown) = words.next() else {
        return message.to_owned();
    };
    let known: Vec<&str> = words.collect();
    match nearest(unknown, known.iter().copied()) {
        Some(near) => format!("unknown key `{unknown}`; did you mean `{near}`?"),
        None => format!("unknown key `{unknown}`; there are {}", known.join(", ")),
    }
}

#[cfg(test)]
#[path = "file_test.rs"]
mod tests;
