//! Offsets by operation: offsets go across, operations down in the order in which they completed;
//! what each of them sent, was given or said stands in the cells. The order that a log has for
//! everybody is the same in each column, and what breaks it stands out. A finding about several
//! keys has a table for each.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::cells::{Mark, Place, head, marks, outcome_ink, span};
use super::cycle::ground;
use super::table::{Cell, Column, Row, Table};
use crate::analysis::Kind;
use crate::analysis::facts::{Facts, NONE};
use crate::history::{Function, History, KeyId, OpId, Value};
use crate::report::data::faults::people;
use crate::report::scene::{Ink, Scene, Words};
use crate::report::text::clip;

/// Offsets on each side of the first one in question.
const AROUND: i64 = 6;
const COLUMNS: usize = 16;
const ROWS: usize = 24;
/// Keys that have a table.
const KEYS: usize = 4;

/// A row: an operation and what it did at the places shown.
type Marked = (OpId, BTreeMap<Place, Vec<Mark>>);

/// What a picture is about: a key, and offsets of it.
type Focus = (KeyId, BTreeSet<i64>);

/// Draws the neighbourhood of a finding; its name alone where it names no offset.
pub fn picture(
    history: &History,
    facts: Option<&Facts>,
    kind: Kind,
    detail: &Json,
    named: &[i64],
) -> Scene {
    let focus = facts.map_or_else(Vec::new, |facts| focus(history, facts, detail));
    let tables = focus.into_iter().take(KEYS);
    let scenes = tables.map(|focus| table(history, kind, detail, &focus, named).draw());
    let stacked = scenes.reduce(|mut above, below| {
        above.stack(&below);
        above.size.0 = above.size.0.max(below.size.0);
        above
    });
    stacked.unwrap_or_else(|| words_only(kind))
}

fn table(
    history: &History,
    kind: Kind,
    detail: &Json,
    (key, focus): &Focus,
    named: &[i64],
) -> Table {
    let key = *key;
    let first = focus.first().copied().unwrap_or(0);
    let shown = first.saturating_sub(AROUND)..=first.saturating_add(AROUND);
    let rows = rows(history, key, named, |place| match place {
        Place::Offset(offset) => shown.contains(&offset) || focus.contains(&offset),
        Place::Unknown => true,
    });
    let mut places: BTreeSet<Place> = rows
        .iter()
        .flat_map(|(_, cells)| cells.keys().copied())
        .collect();
    places.extend(focus.iter().map(|&offset| Place::Offset(offset)));
    let places = window(&places, Place::Offset(first));
    let expected = expected(&rows);
    let wrong = wrong_message(history, kind, detail);
    let name = clip(history.keys().name(key), 60);
    let columns = places.iter().map(|place| Column {
        label: place.label(),
        asked: matches!(place, Place::Offset(offset) if focus.contains(offset)),
    });
    let drawn = rows.iter().map(|(id, marked)| {
        let op = history.op(*id);
        let cells = places.iter().enumerate().filter_map(|(at, place)| {
            let marks = marked.get(place)?;
            let mut cell = cell(history, marks, expected.get(place));
            if marks
                .iter()
                .any(|mark| wrong.is_some() && mark.value() == wrong)
            {
                cell.ink = Ink::Alarm;
            }
            Some((at, cell))
        });
        Row {
            head: head(history, *id, key),
            named: named.contains(&op.index),
            outcome: Some(outcome_ink(op.outcome)),
            span: span(history, *id, key).map(|(from, to)| columns_of(&places, from, to)),
            cells: cells.collect(),
        }
    });
    let drawn: Vec<Row> = drawn.collect();
    Table {
        title: format!("{}: who sent and read what of {name}", kind.name()),
        hint: hint(&rows),
        summary: format!("{}: offsets of {name} by operation", kind.name()),
        columns: columns.collect(),
        rows: drawn,
        legend: vec![
            (Ink::Series(0), "sent"),
            (Ink::Read, "read"),
            (Ink::Alarm, "what is wrong"),
            (Ink::Ok, "ok"),
            (Ink::Info, "nobody knows"),
            (Ink::Fail, "failed"),
        ],
    }
}

/// The message that should not have been there, where a finding is about one.
fn wrong_message(history: &History, kind: Kind, detail: &Json) -> Option<Value> {
    let wrong = matches!(
        kind,
        Kind::G1a
            | Kind::Duplicate
            | Kind::UnwrittenRead
            | Kind::InvalidOffset
            | Kind::ZombieWrite
            | Kind::PrecommittedRead
            | Kind::DoubleConsume
            | Kind::NonUniqueWrite
    );
    let value = detail
        .get("value")
        .filter(|value| wrong && !value.is_null())?;
    history.values().find(value)
}

/// What the words in the cells mean, of those that occur.
fn hint(rows: &[Marked]) -> String {
    let all = || rows.iter().flat_map(|(_, cells)| cells.values()).flatten();
    let any = |is: fn(&Mark) -> bool| all().any(is);
    let mut parts = vec!["w sent, r read"];
    if any(|mark| matches!(mark, Mark::Read(_, Some(_)))) {
        parts.push("r.. #2: as its second");
    }
    if any(|mark| matches!(mark, Mark::Held(..))) {
        parts.push("held: what a replica holds, and of which epoch");
    }
    if any(|mark| matches!(mark, Mark::Watermark)) {
        parts.push("hw watermark: what lies before it is readable");
    }
    if any(|mark| matches!(mark, Mark::Committed | Mark::Fetched)) {
        parts.push("committed: where the group reads on");
    }
    format!("{}; time goes down, offsets go across", parts.join(", "))
}

/// The columns that a range of offsets covers.
fn columns_of(places: &[Place], from: i64, to: i64) -> (usize, usize) {
    let at = |offset: i64| places.partition_point(|&place| place < Place::Offset(offset));
    (at(from), at(to))
}

/// The keys that a finding is about, and the offsets of the messages that it names.
fn focus(history: &History, facts: &Facts, detail: &Json) -> Vec<Focus> {
    let mut by_key: BTreeMap<KeyId, BTreeSet<i64>> = BTreeMap::new();
    let mut order: Vec<KeyId> = Vec::new();
    let mut about = |key: KeyId| {
        if !order.contains(&key) {
            order.push(key);
        }
    };
    let one = detail
        .get("key")
        .or_else(|| detail.get("steps")?.get(0)?.get("key"));
    if let Some(key) = one.and_then(|key| history.keys().find(&people(key))) {
        about(key);
        let named = offsets_named(detail);
        let values = ["value", "values", "skipped"];
        let values = values.iter().filter_map(|field| detail.get(*field));
        let values: Vec<&Json> = values.flat_map(each).collect();
        let of_key = by_key.entry(key).or_default();
        of_key.extend(named);
        of_key.extend(places_of(facts, key, &values));
        if of_key.is_empty() {
            of_key.extend(places_in(history, key, detail));
        }
    }
    let unseen = detail.get("messages").and_then(Json::as_object);
    for (name, values) in unseen.into_iter().flatten() {
        let Some(key) = history.keys().find(name) else {
            continue;
        };
        about(key);
        let values: Vec<&Json> = each(values).collect();
        let places = places_of(facts, key, &values);
        by_key.entry(key).or_default().extend(places);
    }
    for field in ["visible", "missing"] {
        for pair in detail.get(field).into_iter().flat_map(each) {
            let (Some(name), Some(value)) = (pair.get(0), pair.get(1)) else {
                continue;
            };
            let Some(key) = history.keys().find(&people(name)) else {
                continue;
            };
            about(key);
            let places = places_of(facts, key, &[value]);
            by_key.entry(key).or_default().extend(places);
        }
    }
    let several = order.len() > 1;
    let with = order.into_iter().map(|key| {
        let offsets = by_key.remove(&key).unwrap_or_default();
        (key, offsets)
    });
    // One key of several may have no place at all: that is what there is to see.
    with.filter(|(_, offsets)| several || !offsets.is_empty())
        .collect()
}

fn each(field: &Json) -> impl Iterator<Item = &Json> {
    let (list, one) = match field {
        Json::Array(all) => (&all[..], None),
        one => (&[][..], Some(one)),
    };
    list.iter().take(8).chain(one)
}

fn offsets_named(detail: &Json) -> Vec<i64> {
    let mut fields = vec!["offset", "offsets", "passed-by", "high-watermark", "end"];
    if detail.get("field").is_some() || detail.get("group").is_some() {
        fields.extend(["from", "to"]);
    }
    let named = fields.into_iter();
    named
        .flat_map(|field| super::steps::numbers(detail.get(field)))
        .collect()
}

/// Where messages of a key stand.
fn places_of(facts: &Facts, key: KeyId, values: &[&Json]) -> Vec<i64> {
    let of_key = facts.key(key);
    let table = facts.history.values();
    let is_named = |value: Value| values.iter().any(|&v| *v == table.json(value));
    let messages = of_key.messages.iter();
    let placed = messages.filter(|message| of_key.first(message) != NONE);
    placed
        .filter(|message| is_named(message.value))
        .flat_map(|message| [of_key.first(message), of_key.last(message)])
        .map(|index| of_key.log.offsets[index as usize])
        .collect()
}

/// What the operations that a finding names were given of a key, where it names nothing else.
fn places_in(history: &History, key: KeyId, detail: &Json) -> Vec<i64> {
    let named = super::steps::numbers(detail.get("ops"));
    let ops = history.iter().filter(|(_, op)| named.contains(&op.index));
    let places = ops.flat_map(|(id, _)| marks(history, key, id).into_keys());
    let known = places.filter_map(|place| match place {
        Place::Offset(offset) => Some(offset),
        Place::Unknown => None,
    });
    known.take(COLUMNS / 2).collect()
}

/// Operations that sent, read or said anything shown; the named ones, and as many others as there
/// is room for, those at the first offset before the rest.
fn rows(
    history: &History,
    key: KeyId,
    named: &[i64],
    shown: impl Fn(Place) -> bool,
) -> Vec<Marked> {
    let mut kept: Vec<Marked> = Vec::new();
    let mut others: Vec<Marked> = Vec::new();
    for (id, op) in history.iter() {
        let is_named = named.contains(&op.index);
        if !is_named && !op.function.is_data() {
            continue;
        }
        let mut cells = marks(history, key, id);
        cells.retain(|&place, _| shown(place) || is_named && place != Place::Unknown);
        if is_named && kept.len() < ROWS {
            kept.push((id, cells));
        } else if !cells.is_empty() && others.len() < ROWS {
            others.push((id, cells));
        }
    }
    let room = ROWS - kept.len();
    kept.extend(others.into_iter().take(room));
    kept.retain(|(id, cells)| !cells.is_empty() || concerns(history, *id, key));
    kept.sort_by_key(|&(id, _)| history.op(id).completed.seq);
    kept
}

/// Whether an operation has to do with a key, even if it says nothing about an offset of it.
fn concerns(history: &History, id: OpId, key: KeyId) -> bool {
    let op = history.op(id);
    let nothing_told = matches!(
        op.function,
        Function::CommitOffsets | Function::FetchOffsets
    );
    let mut runs = history.runs(op).iter();
    runs.any(|run| run.key == key) || span(history, id, key).is_some() || nothing_told
}

/// At most [`COLUMNS`] places, those near the first one in question.
fn window(places: &BTreeSet<Place>, first: Place) -> Vec<Place> {
    let all: Vec<Place> = places.iter().copied().collect();
    let at = all.partition_point(|&place| place < first);
    let from = at
        .saturating_sub(COLUMNS / 2)
        .min(all.len().saturating_sub(COLUMNS));
    all.into_iter().skip(from).take(COLUMNS).collect()
}

/// The value that was seen first at each place.
fn expected(rows: &[Marked]) -> BTreeMap<Place, Value> {
    let mut expected = BTreeMap::new();
    for (&place, marks) in rows.iter().flat_map(|(_, cells)| cells) {
        if let (Place::Offset(_), Some(value)) = (place, marks.iter().find_map(Mark::value)) {
            expected.entry(place).or_insert(value);
        }
    }
    expected
}

fn cell(history: &History, marks: &[Mark], expected: Option<&Value>) -> Cell {
    let differs = |mark: &Mark| {
        let value = mark.value();
        value.is_some_and(|value| expected.is_some_and(|known| *known != value))
    };
    let ink = match marks[0] {
        _ if marks.iter().any(differs) => Ink::Alarm,
        Mark::Sent(_) => Ink::Series(0),
        Mark::Read(..) | Mark::Held(..) => Ink::Read,
        Mark::Watermark | Mark::Committed | Mark::Fetched => Ink::Info,
    };
    let shown = marks.iter().map(|mark| mark.words(history));
    Cell {
        text: shown.collect::<Vec<_>>().join(" "),
        ink,
    }
}

/// For findings that are about no message: their name.
fn words_only(kind: Kind) -> Scene {
    let mut scene = Scene {
        size: (640.0, 90.0),
        summary: kind.name().to_owned(),
        ..Scene::default()
    };
    ground(&mut scene);
    scene.words((24.0, 38.0), kind.name(), Words::TITLE.sized(16.0));
    let why = "This finding is about no offset: there is nothing to draw.";
    scene.words((24.0, 62.0), why, Words::SMALL.sized(12.0));
    scene
}
