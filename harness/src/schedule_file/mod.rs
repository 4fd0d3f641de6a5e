//! Schedules as TOML: what `--dry-run=toml` prints, what each run leaves as `schedule.toml`, and
//! what `--schedule FILE` carries out. People edit them, so mistakes are told at the line.
//!
//! ```toml
//! [run]                  # settings of `run`; flags on the command line win
//! seed = 42
//! brokers = 3
//!
//! [[fault]]
//! at-ms = 2_000          # since the main phase began
//! for-ms = 6_000
//! kind = "kill"
//! target = { role = "leader", partition = 0 }
//! ```
//!
//! Names and values of a fault are those of `schedule.json`. There is no second description of
//! the kinds here: whether a field is known and what it may hold is asked of the type itself.

mod check;
mod fault;

use std::fmt::Write as _;
use std::ops::Range;
use std::path::Path;

use anyhow::Context as _;
use nemesis::{Fault, Platform, Schedule};
use serde_json::Value as Json;
use toml::de::DeValue;

use crate::located::{Mistake, Text};

/// A schedule that was read from a file.
#[derive(Clone, Debug)]
pub struct ScheduleFile {
    name: String,
    text: String,
    entries: Vec<Entry>,
}

/// One fault, and where it is written.
#[derive(Clone, Debug)]
struct Entry {
    fault: Fault,
    /// All of it.
    whole: Range<usize>,
    /// Its target, its nodes, or its kind.
    aim: Range<usize>,
    /// Its length.
    length: Range<usize>,
}

/// The run that a schedule is to be carried out in.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Brokers, counted from 1.
    pub nodes: u32,
    /// Partitions, counted from 0.
    pub partitions: u32,
    /// Length of the main phase in milliseconds.
    pub main_ms: u64,
    /// Where the faults are done.
    pub platform: Platform,
}

impl ScheduleFile {
    /// Reads a file.
    ///
    /// # Errors
    /// Where it cannot be read or understood; the latter with its line.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("the schedule {name} cannot be read"))?;
        Ok(Self::parse(&name, text)?)
    }

    /// Reads a text, which messages call `name`.
    ///
    /// # Errors
    /// Where it cannot be understood, with the line.
    pub fn parse(name: &str, text: String) -> Result<Self, Mistake> {
        let mut entries = entries(Text { name, text: &text })?;
        // Faults are counted in order of time.
        entries.sort_by_key(|entry| entry.fault.at_ms);
        for (id, entry) in (1..).zip(&mut entries) {
            entry.fault.id = id;
        }
        Ok(Self {
            name: name.to_owned(),
            text,
            entries,
        })
    }

    /// The file as it was read.
    #[must_use]
    pub fn source(&self) -> Text<'_> {
        Text {
            name: &self.name,
            text: &self.text,
        }
    }

    /// The faults, in order of time.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        let faults = self.entries.iter().map(|entry| entry.fault.clone());
        faults.collect()
    }

    /// Whether that run can carry it out.
    ///
    /// # Errors
    /// The first fault that it cannot, with the line and the mend.
    pub fn check(&self, limits: &Limits) -> Result<(), Mistake> {
        check::check(self.source(), &self.entries, limits)
    }
}

fn entries(source: Text<'_>) -> Result<Vec<Entry>, Mistake> {
    let table = source.parse()?;
    let known = ["run", "fault"];
    for (key, _) in &table {
        let name: &str = key.get_ref();
        if !known.contains(&name) {
            return Err(source.unknown(key.span(), "part of a schedule", name, known));
        }
    }
    let Some(list) = table.get("fault") else {
        return Ok(Vec::new());
    };
    let DeValue::Array(faults) = list.get_ref() else {
        let what = "faults are written as a list: [[fault]], each with its fields";
        return Err(source.mistake(list.span(), what));
    };
    let faults = faults.iter().map(|written| fault::read(source, written));
    faults.collect()
}

/// The schedule as TOML. `settings` are those of its run, as (flag, value).
#[must_use]
pub fn to_toml(schedule: &Schedule, settings: &[(String, toml::Value)]) -> String {
    let mut text = format!(
        "# Schedule of faults of seed {}. `harness run --schedule FILE` carries it out.\n\
         # Times are milliseconds since the main phase began.\n",
        schedule.seed
    );
    let mut line = |line: String| {
        writeln!(text, "{line}").expect("writing to a string cannot fail");
    };
    line("\n[run]".to_owned());
    for (flag, value) in settings {
        line(format!("{flag} = {value}"));
    }
    for fault in &schedule.faults {
        let (id, action) = (fault.id, &fault.action);
        line(format!(
            "\n# {id}: {}: {}",
            action.kind(),
            action.describe()
        ));
        line("[[fault]]".to_owned());
        line(format!("at-ms = {}", fault.at_ms));
        line(format!("for-ms = {}", fault.for_ms));
        for (field, value) in fields(fault) {
            line(format!("{field} = {value}"));
        }
    }
    text
}

/// The fields of an action, its kind first.
fn fields(fault: &Fault) -> Vec<(String, toml::Value)> {
    let written = serde_json::to_value(&fault.action).expect("an action is plain data");
    let Json::Object(mut fields) = written else {
        unreachable!("an action has fields");
    };
    let kind = fields.remove("kind").map(|kind| ("kind".to_owned(), kind));
    let all = kind.into_iter().chain(fields);
    let toml = |value: Json| toml::Value::try_from(value).expect("it has no null in it");
    all.map(|(field, value)| (field, toml(value))).collect()
}

#[cfg(test)]
mod tests;
