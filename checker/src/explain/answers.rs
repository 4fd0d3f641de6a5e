//! Epochs by answer: who was said to lead, in which epoch, by whom and in which order. An epoch has
//! one leader, and one broker's epochs only grow: two leaders in one column, or an answer to the
//! left of an earlier one of the same broker, are what is wrong.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::cells::outcome_ink;
use super::steps::numbers;
use super::table::{Cell, Column, Row, Table};
use crate::analysis::Kind;
use crate::history::{History, Sample};
use crate::report::data::faults::people;
use crate::report::scene::{Ink, Scene};
use crate::report::text::clip;

/// Answers shown, the named ones and those around them.
const ROWS: usize = 20;
const COLUMNS: usize = 12;

/// Draws the answers around those that a finding names.
pub fn picture(history: &History, kind: Kind, detail: &Json) -> Option<Scene> {
    let key = history.keys().find(&detail.get("key").map(people)?)?;
    let named = numbers(detail.get("ops"));
    let is_named = |sample: &Sample| named.contains(&history.op(sample.op).index);
    let asked = detail.get("asked").and_then(Json::as_i64);
    let epoch = detail.get("epoch").and_then(Json::as_i64);
    let of_key = history.samples.iter();
    let of_key = of_key.filter(|sample| sample.key == key && sample.epoch.is_some());
    // Those that have to do with it: of that broker, or of that epoch.
    let concerned = of_key.filter(|sample| {
        is_named(sample)
            || asked.is_some() && sample.asked == asked
            || epoch.is_some() && sample.epoch == epoch
    });
    let all: Vec<&Sample> = concerned.collect();
    let first = all.iter().position(|sample| is_named(sample))?;
    let last = all.iter().rposition(|sample| is_named(sample))?;
    let from = first.saturating_sub(3);
    let near = |at: usize| at <= first + 3 || at + 3 >= last;
    let shown = all.iter().enumerate().skip(from);
    let shown = shown.filter(|&(at, sample)| is_named(sample) || near(at));
    let shown: Vec<&Sample> = shown.map(|(_, sample)| *sample).take(ROWS).collect();
    let epochs: BTreeSet<i64> = shown.iter().filter_map(|sample| sample.epoch).collect();
    let epochs: Vec<i64> = epochs.into_iter().take(COLUMNS).collect();
    let wrong = |sample: &Sample| {
        is_named(sample) && (kind == Kind::DualLeader || sample.epoch == to_of(detail))
    };
    let name = clip(history.keys().name(key), 60);
    let columns = epochs.iter().map(|&of| Column {
        label: format!("epoch {of}"),
        asked: Some(of) == epoch || Some(of) == to_of(detail),
    });
    let rows = shown.iter().map(|sample| Row {
        named: is_named(sample),
        ..row(history, sample, &epochs, wrong(sample))
    });
    let rule = match kind {
        Kind::DualLeader => "an epoch has one leader",
        _ => "one broker's epochs only grow",
    };
    let table = Table {
        title: format!("{}: who led {name}, by their answers", kind.name()),
        hint: format!("{rule}; time goes down, epochs go across"),
        summary: format!("{}: leaders of {name} by answer and epoch", kind.name()),
        columns: columns.collect(),
        rows: rows.collect(),
        legend: vec![
            (Ink::Series(0), "an answer"),
            (Ink::Alarm, "it contradicts another"),
        ],
    };
    Some(table.draw())
}

/// One answer.
fn row(history: &History, sample: &Sample, epochs: &[i64], wrong: bool) -> Row {
    let op = history.op(sample.op);
    let at = epochs.iter().position(|of| Some(*of) == sample.epoch);
    let cell = Cell {
        text: match sample.leader {
            Some(leader) => format!("broker {leader} leads"),
            None => "answered".to_owned(),
        },
        ink: match wrong {
            true => Ink::Alarm,
            false => Ink::Series(0),
        },
    };
    let broker = sample.asked.map(|broker| format!("broker {broker}"));
    Row {
        head: format!(
            "{} asked {}",
            op.index,
            broker.as_deref().unwrap_or("somebody")
        ),
        named: false,
        outcome: Some(outcome_ink(op.outcome)),
        span: None,
        cells: at.map(|at| (at, cell)).into_iter().collect(),
    }
}

/// The epoch that a broker went back to.
fn to_of(detail: &Json) -> Option<i64> {
    detail.get("to").and_then(Json::as_i64)
}
