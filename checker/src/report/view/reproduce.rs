//! How to get this run again: settings, versions, and the schedule as it was carried out.

use serde_json::Value as Json;

use crate::report::data::faults::people;
use crate::report::facts::{DRAWN, Facts};
use crate::report::text::{moment, visible};

/// One fault of the schedule, as executed.
pub struct ScheduleRow {
    /// `#3 partition`
    pub label: String,
    /// At whom.
    pub targets: String,
    /// Asked, effective, healed, verified.
    pub steps: [String; 4],
    /// What went wrong.
    pub trouble: String,
}

/// The section.
pub struct Reproduce {
    /// Settings and versions: dotted name and value.
    pub settings: Vec<(String, String)>,
    /// How many settings are not listed.
    pub cut: usize,
    /// The schedule as executed.
    pub schedule: Vec<ScheduleRow>,
    /// `schedule.json` as it stands, unless it is long.
    pub raw: String,
    /// Files of the folder.
    pub files: &'static [(&'static str, &'static str)],
}

const SETTINGS: usize = 150;
/// A longer schedule is not repeated on the page, in bytes.
const RAW: usize = 64 * 1024;

const FILES: [(&str, &str); 7] = [
    ("history.jsonl", "every operation, as it happened"),
    ("verdict.json", "what the checker found, in full"),
    (
        "schedule.json",
        "faults as generated from the seed and as executed",
    ),
    ("run.json", "settings, versions, environment, timings"),
    ("brokers/*.log", "what each broker wrote"),
    ("metrics.jsonl", "samples of the brokers' metrics"),
    ("*.png", "the pictures of this page"),
];

/// Builds the section.
#[must_use]
pub fn reproduce(facts: &Facts<'_>) -> Reproduce {
    let mut settings = Vec::new();
    let config = Json::Object(facts.history.config.clone());
    flatten("config", &config, &mut settings);
    if let Some(run) = &facts.folder.run {
        flatten("", run, &mut settings);
    }
    let cut = settings.len().saturating_sub(SETTINGS);
    settings.truncate(SETTINGS);
    let schedule = facts.folder.schedule.as_ref();
    let raw = schedule.map_or_else(String::new, |schedule| {
        serde_json::to_string_pretty(schedule).unwrap_or_default()
    });
    Reproduce {
        settings,
        cut,
        schedule: facts.faults.iter().take(DRAWN).map(row).collect(),
        raw: match raw.len() {
            0..=RAW => visible(&raw),
            _ => String::new(),
        },
        files: &FILES,
    }
}

fn row(fault: &crate::report::data::faults::Fault) -> ScheduleRow {
    let steps = [fault.asked, fault.effective, fault.healed, fault.verified];
    ScheduleRow {
        label: fault.label(),
        targets: match &fault.role {
            Some(role) => format!("{role} → {}", fault.targets),
            None => fault.targets.clone(),
        },
        steps: steps.map(|time| time.map_or_else(|| "—".to_owned(), moment)),
        trouble: fault.trouble.clone().unwrap_or_default(),
    }
}

/// Leaves of nested objects, with dotted names; lists in one line.
fn flatten(prefix: &str, json: &Json, into: &mut Vec<(String, String)>) {
    let Json::Object(fields) = json else {
        let text = people(json);
        let cut: String = text.chars().take(400).collect();
        let value = if cut.len() < text.len() {
            format!("{cut}…")
        } else {
            cut
        };
        into.push((prefix.to_owned(), value));
        return;
    };
    for (name, value) in fields {
        let name = match prefix {
            "" => name.clone(),
            prefix => format!("{prefix}.{name}"),
        };
        if into.len() < 10 * SETTINGS {
            flatten(&name, value, into);
        }
    }
}
