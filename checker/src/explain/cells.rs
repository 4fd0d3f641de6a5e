//! What an operation says about the offsets of one key: the marks in the cells of a picture.

use std::collections::BTreeMap;

use super::operations::{outcome, process};
use crate::history::{Function, History, KeyId, Op, OpId, Outcome, RunKind, Value};
use crate::report::data::faults::people;
use crate::report::scene::Ink;
use crate::report::text::clip;

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// An offset.
    Offset(i64),
    /// For messages of which nobody told the offset.
    Unknown,
}

impl Place {
    pub fn label(self) -> String {
        match self {
            Place::Offset(offset) => offset.to_string(),
            Place::Unknown => "offset unknown".to_owned(),
        }
    }
}

/// One thing that an operation says about an offset.
#[derive(Clone, Copy, Debug)]
pub enum Mark {
    /// It sent this.
    Sent(Value),
    /// It was given this; as its n-th message, where it was not given them in order.
    Read(Value, Option<usize>),
    /// It was told that the log is readable up to here.
    Watermark,
    /// A replica holds this, of that epoch.
    Held(Value, i64),
    /// The group reads on from here: it committed that.
    Committed,
    /// The group reads on from here: it was told that.
    Fetched,
}

impl Mark {
    pub fn value(&self) -> Option<Value> {
        match *self {
            Mark::Sent(value) | Mark::Read(value, _) | Mark::Held(value, _) => Some(value),
            Mark::Watermark | Mark::Committed | Mark::Fetched => None,
        }
    }

    /// As it stands in a cell.
    pub fn words(&self, history: &History) -> String {
        let name = |value: Value| match value.is_null() {
            true => "?".to_owned(),
            false => clip(&people(&history.values().json(value)), 12),
        };
        match *self {
            Mark::Sent(value) => format!("w{}", name(value)),
            Mark::Read(value, None) => format!("r{}", name(value)),
            Mark::Read(value, Some(nth)) => format!("r{} #{nth}", name(value)),
            Mark::Watermark => "hw".to_owned(),
            Mark::Held(value, epoch) => format!("{} (e{epoch})", name(value)),
            Mark::Committed => "committed".to_owned(),
            Mark::Fetched => "told".to_owned(),
        }
    }
}

/// Everything that an operation says about a key, by place.
pub fn marks(history: &History, key: KeyId, id: OpId) -> BTreeMap<Place, Vec<Mark>> {
    let op = history.op(id);
    let mut all: BTreeMap<Place, Vec<Mark>> = BTreeMap::new();
    let mut add = |offset: Option<i64>, mark: Mark| {
        let place = offset.map_or(Place::Unknown, Place::Offset);
        all.entry(place).or_default().push(mark);
    };
    match op.function {
        Function::ListOffsets => {
            let samples = history.samples.iter();
            let of_key = samples.filter(|sample| sample.op == id && sample.key == key);
            for watermark in of_key.filter_map(|sample| sample.high_watermark) {
                add(Some(watermark), Mark::Watermark);
            }
        }
        Function::Audit => {
            let audits = history.audits.iter();
            let of_key = audits.filter(|audit| audit.op == id && audit.key == key);
            for record in of_key.flat_map(|audit| &audit.records) {
                add(Some(record.offset), Mark::Held(record.value, record.epoch));
            }
        }
        Function::CommitOffsets | Function::FetchOffsets => {
            let mark = match op.function {
                Function::CommitOffsets => Mark::Committed,
                _ => Mark::Fetched,
            };
            let told = history.group_offsets.iter().filter(|told| told.op == id);
            let of_key = told.flat_map(|told| &told.offsets);
            for &(_, offset) in of_key.filter(|(of, _)| *of == key) {
                if let Some(offset) = offset {
                    add(Some(offset), mark);
                }
            }
        }
        _ => messages(history, key, op, &mut add),
    }
    all
}

fn messages(history: &History, key: KeyId, op: &Op, add: &mut impl FnMut(Option<i64>, Mark)) {
    let runs = history.runs(op).iter().filter(|run| run.key == key);
    let read = runs.clone().filter(|run| run.kind == RunKind::Poll);
    let read = read.flat_map(|run| history.records(run).iter().map(|record| record.offset));
    let read: Vec<i64> = read.collect();
    let in_order = read.is_sorted();
    let mut nth = 0;
    for run in runs {
        for record in history.records(run) {
            let mark = match run.kind {
                RunKind::Send => Mark::Sent(record.value),
                RunKind::Poll => {
                    nth += 1;
                    Mark::Read(record.value, Some(nth).filter(|_| !in_order))
                }
                _ => continue,
            };
            add(record.offset(), mark);
        }
    }
    let sent = history.detail(op).map(|detail| &detail.sent_offsets);
    for (_, offsets) in sent.into_iter().flatten() {
        for &(_, offset) in offsets.iter().filter(|(of, _)| *of == key) {
            add(Some(offset), Mark::Committed);
        }
    }
}

/// The offsets that a complete pass went over.
pub fn span(history: &History, id: OpId, key: KeyId) -> Option<(i64, i64)> {
    let mut drains = history.drains.iter();
    let drain = drains.find(|drain| drain.op == id && drain.key == key)?;
    Some((drain.from, drain.to))
}

/// Who did what, with what tells its like apart.
pub fn head(history: &History, id: OpId, key: KeyId) -> String {
    let op = history.op(id);
    let index = op.index;
    if op.function == Function::ListOffsets {
        let sample = history.samples.iter();
        let sample = sample.clone().find(|s| s.op == id && s.key == key);
        let broker = sample.and_then(|sample| sample.asked);
        let epoch = sample.and_then(|sample| sample.epoch);
        let whom = broker.map_or_else(|| "the end".to_owned(), |id| format!("broker {id}"));
        let epoch = epoch.map_or_else(String::new, |epoch| format!(" (epoch {epoch})"));
        return format!("{index} asked {whom}{epoch}");
    }
    let audit = history.audits.iter();
    if let Some(audit) = audit.clone().find(|a| a.op == id && a.key == key) {
        let watermark = audit.high_watermark;
        let watermark = watermark.map_or_else(String::new, |hw| format!(" (watermark {hw})"));
        return format!("{index} replica of broker {}{watermark}", audit.broker);
    }
    let function = match op.function {
        Function::Drain => "complete pass",
        other => other.name(),
    };
    let who = process(history.process(op.process));
    let told = history.group_offsets.iter().find(|told| told.op == id);
    let group = told.map_or_else(String::new, |told| {
        format!(", group {}", clip(&told.group, 16))
    });
    format!(
        "{index} {who} {function} ({}){group}{}",
        outcome(op),
        beside(history, op)
    )
}

fn beside(history: &History, op: &Op) -> String {
    let Some(detail) = history.detail(op) else {
        return String::new();
    };
    let text = |name: &str, text: &Option<String>| {
        let text = text.as_ref().map(|text| clip(text, 16));
        text.map(|text| format!(", {name} {text}"))
    };
    let parts = [
        text("group", &detail.group),
        text("member", &detail.member),
        detail.generation.map(|n| format!(", generation {n}")),
        detail
            .producer
            .map(|(id, n)| format!(", producer {id} epoch {n}")),
    ];
    parts.into_iter().flatten().collect()
}

/// The colour of how an operation ended.
pub fn outcome_ink(outcome: Outcome) -> Ink {
    match outcome {
        Outcome::Ok => Ink::Ok,
        Outcome::Fail => Ink::Fail,
        Outcome::Info | Outcome::Open => Ink::Info,
    }
}
