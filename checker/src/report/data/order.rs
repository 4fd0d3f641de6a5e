//! Who saw what around one offset: producers' acknowledgements, each reader, each replica.
//!
//! The picture that explains a lost, replaced or doubled message at one look: offsets go across,
//! one row per witness, and the cell that is empty or different stands out.

use std::collections::BTreeMap;

use super::ended;
use super::lookup::process;
use crate::history::{History, KeyId, Outcome, Process, RunKind, Value};
use crate::report::data::faults::people;
use crate::report::text::clip;

/// Offsets shown on each side of the one in question.
const AROUND: i64 = 5;
/// Rows of one table.
const ROWS: usize = 14;
/// Places looked at in one pass.
pub const PLACES: usize = 256;

/// A place of interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The key.
    pub key: KeyId,
    /// The offset.
    pub offset: i64,
}

/// What one witness has at one offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// It says nothing about the offset.
    Silent,
    /// It has nothing there, although it has something on both sides.
    Absent,
    /// A message that agrees with the acknowledgements.
    Message(String),
    /// A message that others do not have there.
    Other(String),
}

/// One witness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderRow {
    /// Who.
    pub who: String,
    /// By offset.
    pub cells: Vec<Cell>,
}

/// The neighbourhood of one offset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// The offsets, in order.
    pub offsets: Vec<i64>,
    /// The offset in question.
    pub focus: i64,
    /// Witnesses.
    pub rows: Vec<OrderRow>,
}

/// Who a row is of: producers first, then readers by their first look, then replicas.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Acknowledged,
    Reader(i64, String),
    Replica(i64, i64),
}

/// What one witness has: values by offset, and the range that it looked at.
#[derive(Default)]
struct Seen {
    values: BTreeMap<i64, Vec<Value>>,
    low: Option<i64>,
    high: Option<i64>,
}

impl Seen {
    fn look(&mut self, offset: i64) {
        self.low = Some(self.low.map_or(offset, |low| low.min(offset)));
        self.high = Some(self.high.map_or(offset, |high| high.max(offset)));
    }

    fn add(&mut self, offset: i64, value: Value, place: &Place) {
        self.look(offset);
        if (offset - place.offset).abs() <= AROUND {
            let values = self.values.entry(offset).or_default();
            if !values.contains(&value) && values.len() < 4 {
                values.push(value);
            }
        }
    }
}

type Rows = BTreeMap<Who, Seen>;

/// Looks at all places in one pass over the history.
#[must_use]
pub fn orders(history: &History, places: &[Place], end: i64) -> BTreeMap<Place, Order> {
    let mut by_key: BTreeMap<KeyId, Vec<(Place, Rows)>> = BTreeMap::new();
    for place in places.iter().take(PLACES) {
        let of_key = by_key.entry(place.key).or_default();
        if !of_key.iter().any(|(known, _)| known == place) {
            of_key.push((*place, Rows::new()));
        }
    }
    if by_key.is_empty() {
        return BTreeMap::new();
    }
    clients(history, &mut by_key, end);
    for audit in &history.audits {
        let time = ended(history.op(audit.op), end);
        for (place, rows) in by_key.get_mut(&audit.key).into_iter().flatten() {
            let seen = rows.entry(Who::Replica(time, audit.broker)).or_default();
            for record in &audit.records {
                seen.add(record.offset, record.value, place);
            }
        }
    }
    let orders = by_key.into_values().flatten();
    orders
        .map(|(place, rows)| (place, order(history, place, rows)))
        .collect()
}

fn clients(history: &History, by_key: &mut BTreeMap<KeyId, Vec<(Place, Rows)>>, end: i64) {
    for op in history.ops().iter().filter(|op| op.function.is_data()) {
        for run in history.runs(op) {
            let Some(places) = by_key.get_mut(&run.key) else {
                continue;
            };
            let who = match run.kind {
                RunKind::Send => Who::Acknowledged,
                RunKind::Poll if op.outcome == Outcome::Ok => {
                    let time = ended(op, end);
                    reader(history, history.process(op.process), time)
                }
                _ => continue,
            };
            for (place, rows) in places {
                let near = |offset: i64| (offset - place.offset).abs() <= 4 * AROUND;
                let records = history.records(run);
                let seen = match rows.get_mut(&who) {
                    Some(seen) => seen,
                    None => rows.entry(who.clone()).or_default(),
                };
                for record in records {
                    match record.offset() {
                        Some(offset) if near(offset) => seen.add(offset, record.value, place),
                        Some(offset) => seen.look(offset),
                        None => {}
                    }
                }
            }
        }
    }
}

/// A reader in one phase of the run: who reads again after a restart is a new witness.
fn reader(history: &History, who: Process, time: i64) -> Who {
    let phases = &history.phases;
    let at = phases.partition_point(|phase| phase.at.time <= time);
    let phase = at.checked_sub(1).map(|at| &phases[at]);
    let name = match phase {
        Some(phase) => format!("{} · {}", process(who), clip(&phase.name, 24)),
        None => process(who),
    };
    Who::Reader(phase.map_or(-1, |phase| phase.at.time), name)
}

fn order(history: &History, place: Place, rows: Rows) -> Order {
    let from = (place.offset - AROUND).max(0);
    let offsets: Vec<i64> = (from..=place.offset + AROUND).collect();
    let expected = expected(&rows, &offsets);
    let of_interest = |(who, seen): &(Who, Seen)| {
        *who == Who::Acknowledged || seen.low <= Some(place.offset) && !seen.values.is_empty()
    };
    let rows = rows.into_iter().filter(of_interest).take(ROWS);
    Order {
        focus: place.offset,
        rows: rows
            .map(|(who, seen)| OrderRow {
                who: match who {
                    Who::Acknowledged => "acknowledged".to_owned(),
                    Who::Reader(_, name) => name,
                    Who::Replica(_, broker) => format!("on broker {broker}'s disk"),
                },
                cells: offsets
                    .iter()
                    .zip(&expected)
                    .map(|(offset, expected)| cell(history, &seen, *offset, *expected))
                    .collect(),
            })
            .collect(),
        offsets,
    }
}

/// The value that should stand at each offset: what was acknowledged there first, else what
/// somebody read there first.
fn expected(rows: &Rows, offsets: &[i64]) -> Vec<Option<Value>> {
    let first = |offset: &i64| {
        let mut seen = rows.values().filter_map(|seen| seen.values.get(offset));
        seen.find_map(|values| values.first()).copied()
    };
    offsets.iter().map(first).collect()
}

fn cell(history: &History, seen: &Seen, offset: i64, expected: Option<Value>) -> Cell {
    let word = |value: &Value| clip(&people(&history.values().json(*value)), 14);
    match seen.values.get(&offset).map(Vec::as_slice) {
        Some([one]) if Some(*one) == expected => Cell::Message(word(one)),
        Some(several) => {
            let words: Vec<String> = several.iter().map(word).collect();
            Cell::Other(words.join(" / "))
        }
        None if expected.is_some() && seen.low < Some(offset) && seen.high > Some(offset) => {
            Cell::Absent
        }
        None => Cell::Silent,
    }
}
