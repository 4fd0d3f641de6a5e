//! What needs attention: one card per forbidden anomaly type, and what weakens the run.

use serde_json::Value as Json;

use super::Slugs;
use super::order::{OrderView, Orders};
use crate::report::data::faults::Fault;
use crate::report::facts::Facts;
use crate::report::glossary;
use crate::report::text::{count, plural};
use crate::report::witness;

/// One anomaly type.
pub struct Card {
    /// Identifier.
    pub id: String,
    /// Name as in the verdict.
    pub name: String,
    /// Heading.
    pub title: String,
    /// How many in all.
    pub total: String,
    /// How many are listed.
    pub shown: String,
    /// Whether some are not listed.
    pub cut: bool,
    /// What it is.
    pub what: String,
    /// What usually causes it.
    pub cause: String,
    /// The clause of the profile that it breaks.
    pub clause: String,
    /// The first witness.
    pub first: String,
    /// How many lie within faults.
    pub within: String,
    /// Who saw what around the first witness, where no story tells it.
    pub order: OrderView,
    /// Witnesses: sentence, operations, time.
    pub witnesses: Vec<WitnessRow>,
    /// The names of the operations' indexes.
    operations: Vec<i64>,
}

/// One witness.
pub struct WitnessRow {
    /// In words.
    pub sentence: String,
    /// Operations that it points at.
    pub operations: Vec<i64>,
    /// Every field, in words.
    pub fields: String,
    /// Faults in effect at its time.
    pub faults: String,
}

/// The section.
pub struct Attention {
    /// Forbidden anomalies, the most severe first.
    pub cards: Vec<Card>,
    /// What the run did not do, or did badly.
    pub weak: Vec<String>,
}

impl Attention {
    /// Operations that the cards name.
    #[must_use]
    pub fn operations(&self) -> Vec<i64> {
        let all = self.cards.iter().flat_map(|card| &card.operations);
        all.copied().collect()
    }
}

/// Anomaly types shown.
const CARDS: usize = 60;
/// Weaknesses listed.
const WEAK: usize = 40;

/// Builds the section.
#[must_use]
pub fn attention(facts: &Facts<'_>, orders: &Orders) -> Attention {
    let Some(verdict) = facts.verdict else {
        return Attention {
            cards: Vec::new(),
            weak: Vec::new(),
        };
    };
    let mut found: Vec<(&String, &Json)> = verdict.anomalies.iter().collect();
    found.sort_by_key(|(name, details)| {
        let total = witness::total(verdict, name, details);
        (glossary::severity(name), std::cmp::Reverse(total), *name)
    });
    let mut weak: Vec<String> = verdict
        .criteria
        .iter()
        .filter(|criterion| !criterion.met)
        .map(|criterion| criterion.says.clone())
        .collect();
    let skipped = facts.faults.iter().filter(|fault| fault.skipped).count();
    if skipped > 0 {
        weak.push(format!(
            "{} found nobody in the role that it was aimed at, or nothing to hit, and was skipped.",
            plural(skipped as u64, "fault", "faults")
        ));
    }
    let missed = |fault: &&Fault| !fault.bit() && !fault.skipped;
    for fault in facts.faults.iter().filter(missed) {
        let why = fault
            .trouble
            .clone()
            .unwrap_or_else(|| "no effect was seen".to_owned());
        weak.push(format!(
            "Fault {} was asked for and did not bite: {why}.",
            fault.label()
        ));
    }
    let unhealed = facts
        .faults
        .iter()
        .filter(|fault| fault.bit() && fault.verified.is_none());
    for fault in unhealed {
        weak.push(format!(
            "Fault {} was never seen to be healed.",
            fault.label()
        ));
    }
    if weak.len() > WEAK {
        let more = weak.len() - WEAK;
        weak.truncate(WEAK);
        weak.push(format!("And {more} more."));
    }
    let mut slugs = Slugs::default();
    Attention {
        cards: found
            .into_iter()
            .take(CARDS)
            .map(|(name, details)| {
                let id = slugs.unique("a", name);
                card(facts, orders, id, name, details)
            })
            .collect(),
        weak,
    }
}

fn card(facts: &Facts<'_>, orders: &Orders, id: String, name: &str, details: &Json) -> Card {
    let term = glossary::anomaly(name);
    let all = witness::list(details);
    let rows: Vec<WitnessRow> = all
        .iter()
        .take(witness::SHOWN)
        .map(|one| row(facts, name, one))
        .collect();
    let verdict = facts.verdict;
    let total = verdict.map_or(0, |verdict| witness::total(verdict, name, details));
    let clause = verdict.and_then(|verdict| verdict.clauses.get(name));
    let sighted: Vec<i64> = facts
        .sightings
        .iter()
        .filter(|sighting| sighting.anomaly == name)
        .map(|sighting| sighting.time)
        .collect();
    let within = sighted.iter().filter(|time| !at(facts, **time).is_empty());
    let within = match (within.count(), sighted.len(), facts.faults.len()) {
        (0, ..) | (_, 0, _) | (_, _, 0) => String::new(),
        (within, all, _) => format!("{within} of {all} came to light during a fault"),
    };
    let told = verdict.is_some_and(|verdict| {
        let mut stories = verdict.stories.iter();
        stories.any(|story| story.anomaly == name)
    });
    // One object (`unseen`) is one witness that stands for many.
    let single = !details.is_array();
    Card {
        id,
        name: name.to_owned(),
        title: glossary::title(name),
        total: count(total),
        shown: count(rows.len() as u64),
        cut: !single && (rows.len() as u64) < total,
        what: term.map_or_else(String::new, |term| term.what.to_owned()),
        cause: term.map_or_else(String::new, |term| term.cause.to_owned()),
        clause: clause.cloned().unwrap_or_default(),
        first: rows
            .first()
            .map_or_else(String::new, |row| row.sentence.clone()),
        within,
        order: match told {
            true => OrderView::default(),
            false => all
                .first()
                .map_or_else(OrderView::default, |one| orders.of(facts, one)),
        },
        operations: rows.iter().flat_map(|row| row.operations.clone()).collect(),
        witnesses: rows,
    }
}

fn row(facts: &Facts<'_>, name: &str, one: &Json) -> WitnessRow {
    let operations = witness::points_at(one);
    let cells = one.as_object().map(witness::cells).unwrap_or_default();
    let fields: Vec<String> = cells
        .into_iter()
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    let time = operations
        .iter()
        .find_map(|index| facts.lookup.time(*index));
    WitnessRow {
        sentence: witness::sentence(name, one),
        operations: operations.into_iter().take(12).collect(),
        fields: fields.join(" · "),
        faults: time.map_or_else(String::new, |time| at(facts, time)),
    }
}

/// Labels of the faults in effect at a moment.
#[must_use]
pub fn at(facts: &Facts<'_>, time: i64) -> String {
    let labels: Vec<String> = facts
        .faults
        .iter()
        .filter(|fault| {
            let from = fault.from().unwrap_or(i64::MAX);
            (from..=fault.over(facts.end)).contains(&time)
        })
        .map(Fault::label)
        .collect();
    labels.join(", ")
}
