//! Lists by transaction, for list-append: what each transaction read of a key and appended to it,
//! element under element. A list only grows at its end, so each column holds one element for
//! everybody; what breaks that, or what the finding is about, stands out.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::cells::outcome_ink;
use super::operations::{outcome, process};
use super::steps::numbers;
use super::table::{Cell, Column, Row, Table};
use crate::analysis::Kind;
use crate::history::{History, KeyId, Op, Outcome, Run, RunKind};
use crate::report::data::faults::people;
use crate::report::scene::{Ink, Scene};
use crate::report::text::clip;

/// Positions and rows shown.
const COLUMNS: usize = 16;
const ROWS: usize = 24;

/// What is drawn of one key.
struct Lists<'h> {
    history: &'h History,
    kind: Kind,
    key: KeyId,
    detail: &'h Json,
    named: &'h [i64],
    /// Elements that the finding is about.
    about: Vec<Json>,
    /// Elements that failed transactions appended.
    aborted: Vec<Json>,
    /// By position, the element that was read there first.
    expected: Vec<Json>,
    /// Where elements were read, by others than those.
    elsewhere: Vec<(Json, usize)>,
    /// The first position shown.
    from: usize,
}

/// Draws what transactions did to the key of a finding.
pub fn picture(history: &History, kind: Kind, detail: &Json, named: &[i64]) -> Option<Scene> {
    let of_mop = detail.get("mop").and_then(|mop| mop.get(1));
    let name = people(detail.get("key").or(of_mop)?);
    let key = history.keys().find(&name)?;
    let about = ["element", "duplicates", "value"]
        .iter()
        .filter_map(|field| detail.get(*field))
        .flat_map(|json| match json {
            Json::Array(all) if kind != Kind::LostUpdate => all.clone(),
            Json::Array(_) => Vec::new(),
            one => vec![one.clone()],
        });
    let mut lists = Lists {
        history,
        kind,
        key,
        detail,
        named,
        about: about.collect(),
        aborted: Vec::new(),
        expected: Vec::new(),
        elsewhere: Vec::new(),
        from: 0,
    };
    let ops = lists.operations();
    lists.learn(&ops);
    Some(lists.table(&ops, &clip(&name, 60)).draw())
}

impl<'h> Lists<'h> {
    /// The named operations that touch the key, and others as far as there is room.
    fn operations(&self) -> Vec<&'h Op> {
        let touches = |op: &&Op| {
            let mut runs = self.history.runs(op).iter();
            runs.any(|run| run.key == self.key && is_list(run))
        };
        let (mut named, others): (Vec<&'h Op>, Vec<&'h Op>) = self
            .history
            .ops()
            .iter()
            .filter(touches)
            .partition(|op| self.named.contains(&op.index));
        named.truncate(ROWS / 2);
        // What shares an element with the finding tells more than what does not.
        let tells = |op: &&Op| self.runs(op).any(|run| self.shares(&run));
        let (near, far): (Vec<&'h Op>, Vec<&'h Op>) = others.into_iter().partition(tells);
        let room = (ROWS / 2).saturating_sub(named.len());
        named.extend(near.into_iter().chain(far).take(room));
        named.sort_by_key(|op| op.completed.seq);
        named
    }

    fn runs<'r>(&'r self, op: &Op) -> impl Iterator<Item = Run> + use<'r> {
        let runs = self.history.runs(op).iter().copied();
        runs.filter(|run| run.key == self.key && is_list(run))
    }

    fn elements(&self, run: &Run) -> Vec<Json> {
        let records = self.history.records(run).iter();
        let values = self.history.values();
        records.map(|record| values.json(record.value)).collect()
    }

    fn shares(&self, run: &Run) -> bool {
        let listed = self.detail.get("values").and_then(Json::as_array);
        let listed = listed.map_or(&[][..], Vec::as_slice);
        let is = |element: &Json| self.about.contains(element) || listed.contains(element);
        self.elements(run).iter().any(is)
    }

    fn learn(&mut self, ops: &[&Op]) {
        for op in ops {
            let runs: Vec<Run> = self.runs(op).collect();
            for run in runs {
                let elements = self.elements(&run);
                match run.kind {
                    RunKind::Append if op.outcome == Outcome::Fail => self.aborted.extend(elements),
                    RunKind::Read => {
                        let known = self.expected.len().min(elements.len());
                        self.expected.extend_from_slice(&elements[known..]);
                        self.elsewhere.extend(elements.into_iter().zip(0..));
                    }
                    _ => {}
                }
            }
        }
        // Long lists are shown around what is in question.
        let wrong = |element: &Json| self.is_about(element) || self.aborted.contains(element);
        let at = self.expected.iter().position(wrong);
        let at = at.unwrap_or_else(|| self.expected.len().saturating_sub(COLUMNS / 2));
        self.from = match self.expected.len() > COLUMNS {
            true => at.saturating_sub(COLUMNS / 2),
            false => 0,
        };
    }

    fn is_about(&self, element: &Json) -> bool {
        self.about.contains(element)
    }

    fn table(&self, ops: &[&Op], name: &str) -> Table {
        let mut rows: Vec<Row> = Vec::new();
        for op in ops {
            let runs: Vec<Run> = self.runs(op).collect();
            let wrong = runs.iter().rposition(|run| self.is_contradiction(op, run));
            for (at, run) in runs.iter().enumerate() {
                let mut row = self.row(op, run);
                if wrong == Some(at) {
                    row.cells
                        .values_mut()
                        .for_each(|cell| cell.ink = Ink::Alarm);
                    rows.push(row);
                    rows.extend(self.expectation());
                } else {
                    rows.push(row);
                }
            }
        }
        let columns = rows.iter().flat_map(|row| row.cells.keys());
        let columns = columns.max().map_or(1, |last| last + 1).min(COLUMNS + 1);
        rows.truncate(ROWS * 2);
        for row in &mut rows {
            row.cells.retain(|&at, _| at < columns);
        }
        let labels = (0..columns).map(|at| Column {
            label: format!("#{}", self.from + at + 1),
            asked: false,
        });
        Table {
            title: format!("{}: who read and appended what of {name}", self.kind.name()),
            hint:
                "lists from left to right, element by element; time goes down; + appended, at its \
                   place in what was read"
                    .to_owned(),
            summary: format!("{}: the list {name} by transaction", self.kind.name()),
            columns: labels.collect(),
            rows,
            legend: vec![
                (Ink::Series(0), "appended"),
                (Ink::Read, "read"),
                (Ink::Alarm, "what is wrong"),
                (Ink::Ok, "ok"),
                (Ink::Info, "nobody knows"),
                (Ink::Fail, "failed"),
            ],
        }
    }

    fn row(&self, op: &Op, run: &Run) -> Row {
        let did = match run.kind {
            RunKind::Append => "appended",
            RunKind::Read if run.len == 0 => "read nothing",
            RunKind::Read => "read",
            _ => "read nothing (null)",
        };
        let who = process(self.history.process(op.process));
        let elements = self.elements(run);
        let read = run.kind != RunKind::Append;
        let cells = elements.iter().enumerate().filter_map(|(at, element)| {
            let at = match read {
                true => at,
                false => self.place_of(element),
            };
            let cell = Cell {
                text: match read {
                    true => clip(&people(element), 16),
                    false => format!("+{}", clip(&people(element), 16)),
                },
                ink: self.ink(op, element, at, run),
            };
            Some((at.checked_sub(self.from)?, cell))
        });
        Row {
            head: format!("{} {who} ({}) {did}", op.index, outcome(op)),
            named: self.named.contains(&op.index),
            outcome: Some(outcome_ink(op.outcome)),
            span: None,
            cells: cells.collect(),
        }
    }

    fn ink(&self, op: &Op, element: &Json, at: usize, run: &Run) -> Ink {
        let read = run.kind == RunKind::Read;
        let misplaced = read && self.expected.get(at).is_some_and(|known| known != element);
        let named = numbers(self.detail.get("txns")).contains(&op.index);
        let collided = self.kind == Kind::LostUpdate && !read && named;
        let aborted = self.kind == Kind::DirtyUpdate && self.aborted.contains(element);
        match read {
            _ if self.is_about(element) || misplaced || collided || aborted => Ink::Alarm,
            true => Ink::Read,
            false => Ink::Series(0),
        }
    }

    /// Where an element was read; behind everything, where nobody read it.
    fn place_of(&self, element: &Json) -> usize {
        let at = self.expected.iter().position(|known| known == element);
        let mut elsewhere = self.elsewhere.iter();
        at.or_else(|| {
            elsewhere
                .find(|(known, _)| known == element)
                .map(|&(_, at)| at)
        })
        .unwrap_or(self.expected.len())
    }

    /// Whether it is the read that contradicts what its transaction did before.
    fn is_contradiction(&self, op: &Op, run: &Run) -> bool {
        let of = self.detail.get("op").and_then(Json::as_i64);
        let read = self.detail.get("mop").and_then(|mop| mop.get(2));
        let read = read.and_then(Json::as_array);
        self.detail.get("expected").is_some()
            && of == Some(op.index)
            && run.kind != RunKind::Append
            && read.is_none_or(|read| *read == self.elements(run))
    }

    /// What a transaction should have read.
    fn expectation(&self) -> Option<Row> {
        let expected = self.detail.get("expected")?;
        let elements = expected.as_array().map_or(&[][..], Vec::as_slice);
        let open = elements.first().and_then(Json::as_str) == Some("...");
        let cells = elements.iter().enumerate().filter_map(|(at, element)| {
            let cell = Cell {
                text: clip(&people(element), 16),
                ink: Ink::Muted,
            };
            Some((at.checked_sub(self.from)?, cell))
        });
        let cells: BTreeMap<usize, Cell> = cells.collect();
        Some(Row {
            head: match (expected.is_null(), open) {
                (true, _) => "... but should have read nothing (null)".to_owned(),
                (_, true) => "... but should have read a list that ends in".to_owned(),
                _ => "... but should have read".to_owned(),
            },
            named: true,
            outcome: None,
            span: None,
            cells,
        })
    }
}

fn is_list(run: &Run) -> bool {
    matches!(
        run.kind,
        RunKind::Append | RunKind::Read | RunKind::ReadUnknown
    )
}
