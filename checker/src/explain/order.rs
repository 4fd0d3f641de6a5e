//! Offsets by operation: offsets go across, operations down in the order in which they completed;
//! what each of them sent or was given stands in the cells. The order that a log has for everybody
//! is the same in each column, and what breaks it stands out.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::cycle::{ground, outline};
use super::operations::{function, outcome, process};
use crate::analysis::Kind;
use crate::analysis::facts::{Facts, NONE};
use crate::history::{Function, History, KeyId, Op, OpId, Outcome, RunKind, Value};
use crate::report::data::faults::people;
use crate::report::scene::{Anchor, Fill, Frame, Ink, Scene, Shape, Words, font};
use crate::report::text::clip;

/// Offsets on each side of the first one in question.
const AROUND: i64 = 6;
const COLUMNS: usize = 16;
const ROWS: usize = 24;
const CELL: (f64, f64) = (58.0, 24.0);
const LEFT: f64 = 250.0;
const TOP: f64 = 96.0;
const MARGIN: f64 = 24.0;

/// What one operation did at the offsets shown, by offset.
type Cells = BTreeMap<i64, Vec<Cell>>;

#[derive(Clone, Copy)]
enum Cell {
    /// It sent this.
    Sent(Value),
    /// It was given this; as its n-th message, where it was not given them in order.
    Read(Value, Option<usize>),
    /// It was told that the log is readable up to here.
    Watermark,
}

impl Cell {
    fn value(self) -> Option<Value> {
        match self {
            Cell::Sent(value) | Cell::Read(value, _) => Some(value),
            Cell::Watermark => None,
        }
    }
}

/// Draws the neighbourhood of a finding; an empty picture where it names no offset.
pub fn picture(
    history: &History,
    facts: Option<&Facts>,
    kind: Kind,
    detail: &Json,
    named: &[i64],
) -> Scene {
    let Some((key, focus)) = facts.and_then(|facts| focus(history, facts, detail)) else {
        return words_only(kind);
    };
    let first = focus.first().copied().unwrap_or(0);
    let shown = first.saturating_sub(AROUND)..=first.saturating_add(AROUND);
    let rows = rows(history, key, named, |offset| {
        shown.contains(&offset) || focus.contains(&offset)
    });
    let mut offsets: BTreeSet<i64> = rows
        .iter()
        .flat_map(|(_, cells)| cells.keys().copied())
        .collect();
    offsets.extend(focus.iter().copied());
    let offsets: Vec<i64> = window(&offsets, first);
    let height = TOP + rows.len().max(1) as f64 * CELL.1 + 64.0;
    let width = LEFT + offsets.len() as f64 * CELL.0 + MARGIN;
    let name = history.keys().name(key);
    let mut scene = Scene {
        size: (width.max(640.0), height),
        summary: format!("{}: offsets of {name} by operation", kind.name()),
        ..Scene::default()
    };
    ground(&mut scene);
    let title = format!(
        "{}: who sent and read what of {}",
        kind.name(),
        clip(name, 60)
    );
    scene.words((MARGIN, 34.0), title, Words::TITLE.sized(16.0));
    let hint =
        "w sent, r read (#2: as its second), hw watermark; time goes down, offsets go across";
    scene.words((MARGIN, 54.0), hint, Words::SMALL.sized(11.5));
    columns(&mut scene, &offsets, &focus, rows.len());
    let expected = expected(&rows);
    for (at, (id, cells)) in rows.iter().enumerate() {
        let op = history.op(*id);
        let y = TOP + at as f64 * CELL.1;
        head(&mut scene, history, op, named.contains(&op.index), y);
        for (column, offset) in offsets.iter().enumerate() {
            if let Some(values) = cells.get(offset) {
                let x = LEFT + column as f64 * CELL.0;
                cell(&mut scene, history, (x, y), values, expected.get(offset));
            }
        }
    }
    legend(&mut scene, height - 26.0);
    scene
}

/// The key that a finding is about, and the offsets of the messages that it names.
fn focus(history: &History, facts: &Facts, detail: &Json) -> Option<(KeyId, BTreeSet<i64>)> {
    let unseen = detail.get("messages").and_then(Json::as_object);
    let unseen = unseen.and_then(|messages| messages.iter().next());
    let key = detail
        .get("key")
        .or_else(|| detail.get("steps")?.get(0)?.get("key"))
        .map(people)
        .or_else(|| unseen.map(|(key, _)| key.clone()))?;
    let key = history.keys().find(&key)?;
    let of_key = facts.key(key);
    let mut offsets = BTreeSet::new();
    let mut fields = vec!["offset", "offsets", "passed-by", "high-watermark"];
    if detail.get("field").is_some() {
        fields.extend(["from", "to"]);
    }
    for field in fields {
        offsets.extend(super::steps::numbers(detail.get(field)));
    }
    let values = ["value", "values", "skipped"]
        .iter()
        .filter_map(|field| detail.get(*field));
    let values = values.chain(unseen.map(|(_, values)| values));
    let values: Vec<&Json> = values
        .flat_map(|values| match values {
            Json::Array(all) => all.iter().take(8).collect(),
            one => vec![one],
        })
        .collect();
    for message in &of_key.messages {
        let (first, last) = (of_key.first(message), of_key.last(message));
        if first != NONE
            && values
                .iter()
                .any(|&v| *v == history.values().json(message.value))
        {
            offsets.insert(of_key.log.offsets[first as usize]);
            offsets.insert(of_key.log.offsets[last as usize]);
        }
    }
    offsets.retain(|&offset| offset >= 0);
    (!offsets.is_empty()).then_some((key, offsets))
}

/// Operations that sent or read anything shown; the named ones, and as many others as there is room
/// for, those at the first offset before the rest.
fn rows(
    history: &History,
    key: KeyId,
    named: &[i64],
    shown: impl Fn(i64) -> bool,
) -> Vec<(OpId, Cells)> {
    let mut kept: Vec<(OpId, Cells)> = Vec::new();
    let mut others: Vec<(OpId, Cells)> = Vec::new();
    for (id, op) in history.iter() {
        let cells = match op.function {
            Function::ListOffsets if named.contains(&op.index) => answered(history, key, id),
            function if function.is_data() => done(history, key, op, &shown),
            _ => continue,
        };
        if named.contains(&op.index) && kept.len() < ROWS {
            kept.push((id, cells));
        } else if !cells.is_empty() && others.len() < ROWS {
            others.push((id, cells));
        }
    }
    let room = ROWS - kept.len();
    kept.extend(others.into_iter().take(room));
    kept.sort_by_key(|&(id, _)| history.op(id).completed.seq);
    kept
}

/// What an operation that carries messages did to a key.
fn done(history: &History, key: KeyId, op: &Op, shown: impl Fn(i64) -> bool) -> Cells {
    let runs = history.runs(op).iter().filter(|run| run.key == key);
    let read = runs.clone().filter(|run| run.kind == RunKind::Poll);
    let read: Vec<i64> = read
        .flat_map(|run| history.records(run).iter().map(|record| record.offset))
        .collect();
    let in_order = read.is_sorted();
    let mut nth = 0;
    let mut cells = Cells::new();
    for run in runs {
        for record in history.records(run) {
            let cell = match run.kind {
                RunKind::Send => Cell::Sent(record.value),
                RunKind::Poll => {
                    nth += 1;
                    Cell::Read(record.value, Some(nth).filter(|_| !in_order))
                }
                _ => continue,
            };
            if record.offset().is_some_and(&shown) {
                cells.entry(record.offset).or_default().push(cell);
            }
        }
    }
    cells
}

/// What a broker answered about a key.
fn answered(history: &History, key: KeyId, id: OpId) -> Cells {
    let samples = history.samples.iter();
    let of_key = samples.filter(|sample| sample.op == id && sample.key == key);
    of_key
        .filter_map(|sample| Some((sample.high_watermark?, vec![Cell::Watermark])))
        .collect()
}

/// At most [`COLUMNS`] offsets, those near the first one in question.
fn window(offsets: &BTreeSet<i64>, first: i64) -> Vec<i64> {
    let all: Vec<i64> = offsets.iter().copied().collect();
    let at = all.partition_point(|&offset| offset < first);
    let from = at
        .saturating_sub(COLUMNS / 2)
        .min(all.len().saturating_sub(COLUMNS));
    all.into_iter().skip(from).take(COLUMNS).collect()
}

/// The value that was seen first at each offset.
fn expected(rows: &[(OpId, Cells)]) -> BTreeMap<i64, Value> {
    let mut expected = BTreeMap::new();
    for (offset, values) in rows.iter().flat_map(|(_, cells)| cells) {
        if let Some(value) = values.iter().find_map(|cell| cell.value()) {
            expected.entry(*offset).or_insert(value);
        }
    }
    expected
}

fn columns(scene: &mut Scene, offsets: &[i64], focus: &BTreeSet<i64>, rows: usize) {
    let height = rows as f64 * CELL.1;
    for (at, offset) in offsets.iter().enumerate() {
        let x = LEFT + at as f64 * CELL.0;
        let asked = focus.contains(offset);
        if asked {
            let frame = Frame {
                x,
                y: TOP,
                w: CELL.0,
                h: height,
            };
            scene.fixed(Shape::Rect(frame, Fill::plain(Ink::Alarm, 0.08)));
        }
        let words = Words::SMALL.anchored(Anchor::Middle);
        let words = if asked {
            words.inked(Ink::Alarm).bold()
        } else {
            words
        };
        scene.words((x + CELL.0 / 2.0, TOP - 8.0), offset.to_string(), words);
    }
    scene.words((MARGIN, TOP - 8.0), "operation", Words::SMALL);
}

fn head(scene: &mut Scene, history: &History, op: &Op, named: bool, y: f64) {
    let text = format!(
        "{} {} {} ({})",
        op.index,
        process(history.process(op.process)),
        function(op),
        outcome(op)
    );
    let words = Words::SMALL.inked(Ink::Text).sized(11.5);
    let words = if named { words.bold() } else { words };
    let text = font::fit(&text, words.size, words.bold, LEFT - MARGIN - 10.0);
    scene.words((MARGIN, y + 16.0), text, words);
    let ink = match op.outcome {
        Outcome::Ok => Ink::Ok,
        Outcome::Fail => Ink::Fail,
        Outcome::Info | Outcome::Open => Ink::Info,
    };
    let bar = Frame {
        x: LEFT - 8.0,
        y: y + 3.0,
        w: 4.0,
        h: CELL.1 - 6.0,
    };
    scene.fixed(Shape::Rect(bar, Fill::plain(ink, 1.0)));
}

fn cell(
    scene: &mut Scene,
    history: &History,
    (x, y): (f64, f64),
    values: &[Cell],
    expected: Option<&Value>,
) {
    let differs = |cell: &Cell| cell.value().is_some_and(|value| Some(&value) != expected);
    let frame = Frame {
        x: x + 2.0,
        y: y + 2.0,
        w: CELL.0 - 4.0,
        h: CELL.1 - 4.0,
    };
    let ink = match values[0] {
        _ if values.iter().any(differs) => Ink::Alarm,
        Cell::Sent(_) => Ink::Series(0),
        Cell::Read(..) => Ink::Read,
        Cell::Watermark => Ink::Info,
    };
    scene.fixed(Shape::Rect(frame, Fill::plain(ink, 0.16)));
    scene.fixed(outline(&frame, ink));
    let name = |value: Value| clip(&people(&history.values().json(value)), 8);
    let shown = values.iter().map(|cell| match *cell {
        Cell::Sent(value) => format!("w{}", name(value)),
        Cell::Read(value, None) => format!("r{}", name(value)),
        Cell::Read(value, Some(nth)) => format!("r{} #{nth}", name(value)),
        Cell::Watermark => "hw".to_owned(),
    });
    let text = shown.collect::<Vec<_>>().join(" ");
    let words = Words::SMALL.inked(Ink::Text).anchored(Anchor::Middle);
    let text = font::fit(&text, words.size, false, CELL.0 - 6.0);
    scene.words((x + CELL.0 / 2.0, y + 16.0), text, words);
}

fn legend(scene: &mut Scene, y: f64) {
    let samples = [
        (Ink::Series(0), "sent"),
        (Ink::Read, "read"),
        (Ink::Alarm, "another message at that offset"),
        (Ink::Ok, "| ok"),
        (Ink::Info, "| nobody knows"),
        (Ink::Fail, "| failed"),
    ];
    let mut x = MARGIN;
    for (ink, word) in samples {
        let frame = Frame {
            x,
            y: y - 9.0,
            w: 11.0,
            h: 11.0,
        };
        scene.fixed(Shape::Rect(frame, Fill::plain(ink, 0.9)));
        let word = word.trim_start_matches("| ");
        scene.words((x + 16.0, y), word, Words::SMALL);
        x += 34.0 + Words::SMALL.width(word);
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
    scene.words((MARGIN, 38.0), kind.name(), Words::TITLE.sized(16.0));
    let why = "This finding is about no offset: there is nothing to draw.";
    scene.words((MARGIN, 62.0), why, Words::SMALL.sized(12.0));
    scene
}
