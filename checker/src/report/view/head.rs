//! The verdict: what a reader must know if they read nothing else.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use crate::report::data::faults::people;
use crate::report::data::names::{self, Names};
use crate::report::facts::Facts;
use crate::report::glossary;
use crate::report::text::{clip, count, duration, plural};
use crate::report::witness;

/// Numbers at a glance.
pub struct Tile {
    /// The number.
    pub value: String,
    /// What it counts.
    pub label: &'static str,
    /// What to know about it.
    pub detail: String,
    /// It is bad news.
    pub alarm: bool,
}

/// The first section.
pub struct Head {
    /// Name of the run.
    pub name: String,
    /// The verdict's word, as a class: one of the known words, or `unchecked`.
    pub class: &'static str,
    /// The verdict's word with a sign, for people.
    pub sign: &'static str,
    /// See `sign`.
    pub word: String,
    /// One sentence.
    pub sentence: String,
    /// What the word means.
    pub meaning: &'static str,
    /// Tiles.
    pub tiles: Vec<Tile>,
    /// The command that does it again.
    pub replay: String,
    /// Workload, nemesis and seed in a few words.
    pub settings: Vec<(String, String)>,
}

const KNOWN: [(&str, &str); 6] = [
    ("valid", "✔"),
    ("invalid", "✖"),
    ("vacuous", "◌"),
    ("stalled", "◫"),
    ("infrastructure", "⚠"),
    ("unknown", "?"),
];

/// Builds the first section.
#[must_use]
pub fn head(facts: &Facts<'_>) -> Head {
    let word = facts.verdict.map(|verdict| verdict.verdict.word());
    let known = word.and_then(|word| KNOWN.iter().find(|(known, _)| *known == word));
    let (class, sign) = known.copied().unwrap_or(("unchecked", "?"));
    Head {
        name: facts.name.to_owned(),
        class,
        sign,
        word: word.unwrap_or("not checked").to_owned(),
        sentence: sentence(facts, class),
        meaning: glossary::verdict(class),
        tiles: tiles(facts),
        replay: replay(facts),
        settings: settings(facts),
    }
}

fn sentence(facts: &Facts<'_>, class: &str) -> String {
    match facts.verdict {
        Some(verdict) if !verdict.sentence.is_empty() => clip(&verdict.sentence, 600),
        Some(verdict) => {
            let found: Vec<String> = verdict
                .anomalies
                .iter()
                .map(|(name, details)| {
                    let total = witness::total(verdict, name, details);
                    format!(
                        "{} ({})",
                        glossary::title(name).to_lowercase(),
                        count(total)
                    )
                })
                .collect();
            match found.is_empty() {
                true => glossary::verdict(class).to_owned(),
                false => format!("Found: {}.", found.join(", ")),
            }
        }
        None => "This run has no verdict: it was cut off before it was checked. What it recorded \
                 until then is shown below."
            .to_owned(),
    }
}

fn tiles(facts: &Facts<'_>) -> Vec<Tile> {
    let acknowledged = facts.unseen.acknowledged_in_all();
    let never = facts.unseen.never_in_all();
    let (missing, complete) = missing(facts);
    let missing_is = match (missing, never) {
        (0, 0) if acknowledged == 0 => "nothing was acknowledged".to_owned(),
        (0, 0) => "every acknowledged message was read".to_owned(),
        (0, never) => format!("{} never read, none proven lost", count(never)),
        (_, never) => format!("{} never read by anybody", count(never)),
    };
    let [_, uncertain, failed, _] = facts.rates.totals();
    let (worst, worst_is, long) = worst_gap(facts);
    let bitten = facts.bitten();
    let skipped = facts.faults.iter().filter(|fault| fault.skipped).count();
    let asked = facts.faults.len() - skipped;
    vec![
        Tile {
            value: count(acknowledged),
            label: "acknowledged",
            detail: format!("{} uncertain, {} failed", count(uncertain), count(failed)),
            alarm: false,
        },
        Tile {
            value: count(acknowledged - never),
            label: "read back",
            detail: passes(facts),
            alarm: false,
        },
        Tile {
            value: format!("{}{}", if complete { "" } else { "≥ " }, count(missing)),
            label: "missing",
            detail: missing_is,
            alarm: missing > 0,
        },
        Tile {
            value: worst,
            label: "worst unavailability",
            detail: worst_is,
            alarm: long,
        },
        Tile {
            value: count(facts.leader_changes()),
            label: "leader changes",
            detail: leaders_known_of(facts),
            alarm: false,
        },
        Tile {
            value: format!("{bitten} of {asked}"),
            label: "faults that bit",
            detail: match asked {
                0 if skipped == 0 => "none were asked for".to_owned(),
                _ if skipped > 0 => format!("{}; {skipped} skipped", kinds(facts)),
                _ => kinds(facts),
            },
            alarm: bitten < asked,
        },
    ]
}

fn leaders_known_of(facts: &Facts<'_>) -> String {
    if !facts.leaders.known() {
        return "nobody was asked".to_owned();
    }
    let led = facts
        .leaders
        .keys
        .iter()
        .filter(|reigns| !reigns.is_empty());
    format!(
        "on {}",
        plural(led.count() as u64, "partition", "partitions")
    )
}

fn passes(facts: &Facts<'_>) -> String {
    match facts.passes() {
        0 => "no complete pass".to_owned(),
        n => plural(n, "complete pass", "complete passes"),
    }
}

fn kinds(facts: &Facts<'_>) -> String {
    let bitten = facts.faults.iter().filter(|fault| fault.bit());
    let mut kinds: Vec<&str> = bitten.map(|fault| fault.kind.as_str()).collect();
    kinds.sort_unstable();
    let groups = kinds.chunk_by(|a, b| a == b);
    let words: Vec<String> = groups
        .map(|group| format!("{} {}", group.len(), group[0]))
        .collect();
    words.join(", ")
}

fn worst_gap(facts: &Facts<'_>) -> (String, String, bool) {
    let names = Names::new(facts.keys());
    match facts.availability.worst() {
        None if facts.unseen.acknowledged_in_all() == 0 => {
            ("—".to_owned(), "nobody waited for long".to_owned(), false)
        }
        None => (
            format!("< {}", duration(facts.availability.floor)),
            "no partition made writers wait".to_owned(),
            false,
        ),
        Some((key, gap)) => (
            duration(gap.length()),
            format!("{} at {:.1} s", names.short(key), gap.from as f64 / 1e9),
            !gap.ended,
        ),
    }
}

/// Types whose details name one missing message each.
const MISSING: [&str; 3] = ["lost-write", "lost-tail", "vanished"];

/// How many distinct messages are missing, and whether all of them are listed.
#[must_use]
pub fn missing(facts: &Facts<'_>) -> (u64, bool) {
    let Some(verdict) = facts.verdict else {
        return (0, true);
    };
    let mut seen: BTreeSet<(String, String)> = BTreeSet::new();
    let mut most = 0;
    let mut complete = true;
    for (name, details) in verdict.anomalies.iter().chain(&verdict.allowed) {
        if !MISSING.contains(&name.as_str()) {
            continue;
        }
        let listed = witness::list(details);
        let total = witness::total(verdict, name, details);
        complete &= total == listed.len() as u64;
        most = most.max(total);
        let word = |one: &Json, field: &str| one.get(field).map_or_else(String::new, people);
        seen.extend(
            listed
                .iter()
                .map(|one| (word(one, "key"), word(one, "value"))),
        );
    }
    (most.max(seen.len() as u64), complete)
}

/// The command that repeats the run; the harness writes it into `run.json`.
fn replay(facts: &Facts<'_>) -> String {
    let run = facts.folder.run.as_ref();
    let places = ["/replay", "/command", "/replay-command"];
    let written = run.and_then(|run| {
        let text = |place: &&str| run.pointer(place).map(command);
        places.iter().find_map(text)
    });
    written
        .filter(|text| !text.is_empty())
        .unwrap_or_else(|| format!("cargo run -p checker -- check results/{}", facts.name))
}

/// A command as it is typed: one string, or a list of arguments.
fn command(json: &Json) -> String {
    match json {
        Json::Array(arguments) => {
            let arguments: Vec<String> = arguments.iter().map(people).collect();
            arguments.join(" ")
        }
        other => people(other),
    }
}

fn settings(facts: &Facts<'_>) -> Vec<(String, String)> {
    let names = [
        "workload",
        "nemesis",
        "seeded-bug",
        "seed",
        "acks",
        "runtime",
    ];
    let known = names.iter().filter_map(|name| {
        let value = clip(&people(facts.setting(name)?), 60);
        (!value.is_empty()).then(|| ((*name).to_owned(), value))
    });
    let mut settings: Vec<(String, String)> = known.collect();
    if let Some(topic) = names::topic(facts.keys()) {
        settings.push(("topic".to_owned(), clip(topic, 60)));
    }
    if facts.end > 0 {
        settings.push(("lasted".to_owned(), duration(facts.end)));
    }
    settings
}
