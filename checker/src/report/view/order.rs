//! Neighbourhoods of offsets as tables: see [`crate::report::data::order`].

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::report::data::faults::people;
use crate::report::data::order::{Cell, Order, PLACES, Place, orders};
use crate::report::facts::Facts;
use crate::report::witness;

/// One cell.
pub struct CellView {
    /// What stands there.
    pub text: String,
    /// How it looks: `silent`, `gap`, `same`, `other`.
    pub class: &'static str,
    /// The column in question.
    pub focus: bool,
}

/// One row.
pub struct RowView {
    /// Who.
    pub who: String,
    /// By offset.
    pub cells: Vec<CellView>,
}

/// One table; without rows, there is nothing to show.
#[derive(Default)]
pub struct OrderView {
    /// What it is of.
    pub caption: String,
    /// Columns: offset, and whether it is the one in question.
    pub offsets: Vec<(i64, bool)>,
    /// Rows.
    pub rows: Vec<RowView>,
}

/// All tables of the page, by key and offset.
pub struct Orders {
    found: BTreeMap<Place, Order>,
}

/// Witnesses of one type whose neighbourhood is shown.
const PER_TYPE: usize = 8;

impl Orders {
    /// Looks at the places of stories and witnesses.
    #[must_use]
    pub fn gather(facts: &Facts<'_>) -> Orders {
        let Some(verdict) = facts.verdict else {
            return Orders {
                found: BTreeMap::new(),
            };
        };
        let mut places = Vec::new();
        let mut told: BTreeMap<&str, usize> = BTreeMap::new();
        for story in &verdict.stories {
            let told = told.entry(&story.anomaly).or_default();
            if *told < PER_TYPE {
                *told += 1;
                places.extend(place(facts, &story.key, story.offset));
            }
        }
        for details in verdict.anomalies.values() {
            for one in witness::list(details).into_iter().take(PER_TYPE) {
                places.extend(place_of(facts, one));
            }
        }
        places.truncate(PLACES);
        Orders {
            found: orders(facts.history, &places, facts.end),
        }
    }

    /// The table around an offset of a key.
    #[must_use]
    pub fn at(&self, facts: &Facts<'_>, key: &str, offset: Option<i64>) -> OrderView {
        let order = place(facts, key, offset).and_then(|place| self.found.get(&place));
        order.map(|order| view(key, order)).unwrap_or_default()
    }

    /// The table around the offset that a witness names.
    #[must_use]
    pub fn of(&self, facts: &Facts<'_>, witness: &Json) -> OrderView {
        let order = place_of(facts, witness).and_then(|place| self.found.get(&place));
        let key = witness.get("key").map_or_else(String::new, people);
        order.map(|order| view(&key, order)).unwrap_or_default()
    }
}

fn place(facts: &Facts<'_>, key: &str, offset: Option<i64>) -> Option<Place> {
    let key = facts.keys().find(key)?;
    let offset = offset.filter(|offset| (0..1 << 60).contains(offset))?;
    Some(Place { key, offset })
}

fn place_of(facts: &Facts<'_>, witness: &Json) -> Option<Place> {
    let key = people(witness.get("key")?);
    let single = witness.get("offset").and_then(Json::as_i64);
    let several = || witness.get("offsets")?.as_array()?.first()?.as_i64();
    place(facts, &key, single.or_else(several))
}

fn view(key: &str, order: &Order) -> OrderView {
    let focus = |offset: &i64| *offset == order.focus;
    OrderView {
        caption: format!(
            "Who saw what around offset {} of {}",
            order.focus,
            crate::report::text::clip(key, 100)
        ),
        offsets: order.offsets.iter().map(|o| (*o, focus(o))).collect(),
        rows: order
            .rows
            .iter()
            .map(|row| RowView {
                who: row.who.clone(),
                cells: row
                    .cells
                    .iter()
                    .zip(&order.offsets)
                    .map(|(cell, offset)| cell_view(cell, focus(offset)))
                    .collect(),
            })
            .collect(),
    }
}

fn cell_view(cell: &Cell, focus: bool) -> CellView {
    let (text, class) = match cell {
        Cell::Silent => ("·".to_owned(), "silent"),
        Cell::Absent => ("✖ nothing".to_owned(), "gap"),
        Cell::Message(text) => (text.clone(), "same"),
        Cell::Other(text) => (format!("≠ {text}"), "other"),
    };
    CellView { text, class, focus }
}
