//! The page: what each section shows, as plain strings that the template escapes.
//!
//! The template in `checker/templates/report.html` holds the markup and no decisions; pictures
//! come as SVG that [`crate::report::scene::svg`] has escaped.

mod attention;
mod brokers;
mod charts;
mod guarantees;
mod head;
mod order;
mod power;
mod reproduce;
mod stories;
mod tables;

use std::collections::BTreeSet;

use askama::Template;

use super::chart::Picture;
use super::csp;
use super::facts::Facts;
use super::scene::{Theme, ink, svg};
use super::text::clip;

pub use head::{Head, Tile, head};

const STYLE: &str = include_str!("../../../templates/report.css");
const SCRIPT: &str = include_str!("../../../templates/report.js");

/// The page.
#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    policy: String,
    style: &'a str,
    script: &'a str,
    patterns: String,
    head: Head,
    remarks: Vec<String>,
    notes: Vec<String>,
    attention: attention::Attention,
    charts: charts::Charts,
    availability: tables::AvailabilityTable,
    stories: stories::Stories,
    guarantees: guarantees::Guarantees,
    power: power::Power,
    errors: tables::ErrorTable,
    brokers: Vec<brokers::BrokerView>,
    operations: Vec<super::data::lookup::OpRow>,
    reproduce: reproduce::Reproduce,
    glossary: Vec<Entry>,
}

/// One entry of the glossary.
struct Entry {
    id: String,
    word: String,
    kind: &'static str,
    text: String,
    cause: String,
    picture: String,
}

/// The style sheet: colours of both themes, then everything else.
fn style() -> String {
    let (light, dark) = (ink::variables(Theme::Light), ink::variables(Theme::Dark));
    format!(
        ":root{{color-scheme:light dark;{light}}}\
         @media(prefers-color-scheme:dark){{:root:not([data-theme=light]){{{dark}}}}}\
         :root[data-theme=dark]{{color-scheme:dark;{dark}}}\
         :root[data-theme=light]{{color-scheme:light}}\
         @media print{{:root{{color-scheme:light;{light}}}}}\n{}\n{STYLE}",
        ink::classes()
    )
}

/// Writes the page.
///
/// # Errors
/// When the template cannot be rendered, which only a failing formatter can cause.
pub fn page(facts: &Facts<'_>, pictures: &[Picture]) -> Result<String, askama::Error> {
    let style = style();
    let orders = order::Orders::gather(facts);
    let attention = attention::attention(facts, &orders);
    let stories = stories::stories(facts, &orders);
    let operations = operations(facts, &attention, &stories);
    let page = Page {
        policy: csp::policy(SCRIPT, &style),
        style: &style,
        script: SCRIPT,
        patterns: svg::patterns(),
        head: head(facts),
        remarks: remarks(facts),
        notes: notes(facts),
        charts: charts::charts(facts, pictures),
        availability: tables::availability(facts),
        guarantees: guarantees::guarantees(facts),
        power: power::power(facts),
        errors: tables::errors(facts),
        brokers: brokers::brokers(facts),
        reproduce: reproduce::reproduce(facts),
        glossary: glossary(facts),
        attention,
        stories,
        operations,
    };
    page.render()
}

fn remarks(facts: &Facts<'_>) -> Vec<String> {
    let mut remarks = facts.folder.remarks.clone();
    if facts.faults.len() > super::facts::DRAWN {
        remarks.push(format!(
            "Of {} faults the first {} are drawn and listed; schedule.json has all.",
            facts.faults.len(),
            super::facts::DRAWN
        ));
    }
    remarks
        .iter()
        .map(|text| clip(text, 2_000))
        .take(100)
        .collect()
}

/// What the checker remarks without judging.
fn notes(facts: &Facts<'_>) -> Vec<String> {
    let notes = facts.verdict.iter().flat_map(|verdict| &verdict.notes);
    notes.map(|note| clip(note, 600)).take(40).collect()
}

/// Operations listed in full, so that the references above them lead somewhere.
const MOST_OPERATIONS: usize = 400;

fn operations(
    facts: &Facts<'_>,
    attention: &attention::Attention,
    stories: &stories::Stories,
) -> Vec<super::data::lookup::OpRow> {
    let mut named: Vec<i64> = attention.operations();
    named.extend(stories.operations());
    named.sort_unstable();
    named.dedup();
    let rows = named.iter().filter_map(|index| facts.lookup.row(*index));
    rows.take(MOST_OPERATIONS).collect()
}

fn glossary(facts: &Facts<'_>) -> Vec<Entry> {
    let mut entries = Vec::new();
    let found = facts.verdict.iter().flat_map(|verdict| {
        let anomalies = verdict.anomalies.keys();
        anomalies.chain(verdict.allowed.keys())
    });
    let mut slugs = Slugs::default();
    let mut known = BTreeSet::new();
    for name in found.take(60) {
        if !known.insert(name) {
            continue;
        }
        if let Some(term) = super::glossary::anomaly(name) {
            entries.push(Entry {
                id: slugs.unique("term", name),
                word: format!("{} ({name})", term.title),
                kind: "anomaly",
                text: term.what.to_owned(),
                cause: term.cause.to_owned(),
                picture: term.picture.to_owned(),
            });
        }
    }
    let mut kinds: Vec<&str> = facts
        .faults
        .iter()
        .map(|fault| fault.kind.as_str())
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    for kind in kinds {
        if let Some(text) = super::glossary::fault(kind) {
            entries.push(word(&mut slugs, kind, "fault", text));
        }
    }
    for (term, text) in super::glossary::WORDS {
        entries.push(word(&mut slugs, term, "word", text));
    }
    entries
}

fn word(slugs: &mut Slugs, word: &str, kind: &'static str, text: &str) -> Entry {
    Entry {
        id: slugs.unique("term", word),
        word: word.to_owned(),
        kind,
        text: text.to_owned(),
        cause: String::new(),
        picture: String::new(),
    }
}

/// Identifiers of the page: each is given out once.
#[derive(Default)]
struct Slugs(BTreeSet<String>);

impl Slugs {
    /// An identifier that begins with `prefix` and resembles `name`.
    fn unique(&mut self, prefix: &str, name: &str) -> String {
        let plain = format!("{prefix}-{}", slug(name));
        let numbered = (2..).map(|n| format!("{plain}-{n}"));
        let mut candidates = std::iter::once(plain.clone()).chain(numbered);
        let id = candidates
            .find(|id| !self.0.contains(id))
            .expect("there is always a further number");
        self.0.insert(id.clone());
        id
    }
}

/// A name as an identifier: letters, digits and hyphens only, whatever the history says.
fn slug(name: &str) -> String {
    let plain = name.chars().map(|c| match c {
        c if c.is_ascii_alphanumeric() => c,
        _ => '-',
    });
    plain.take(60).collect()
}
