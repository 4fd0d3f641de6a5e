//! The dependency graph of a list-append history, and its explanation edge by edge.
//!
//! Between transactions that may have happened:
//! * ww: who appended an element to who appended the next one in the version order;
//! * wr: who appended the last element of a read to the reader;
//! * rw: who read a list to who appended the next element to it.
//!
//! An element that nobody read came after everything that was read, so it depends on the last known
//! element and on the readers of that state. Process or real-time order is added where the
//! consistency models demand it; real time implies the order of each process.

use std::cell::Cell;

use serde_json::{Value as Json, json};

use super::super::cycles::graph::{Graph, GraphBuilder, Rels};
use super::super::cycles::points;
use super::super::cycles::search::Cycle;
use super::super::facts::NONE;
use super::index::Lists;
use super::internal::element;
use crate::analysis::{Details, Finding};
use crate::history::{KeyId, OpId, Outcome, Run, RunKind};

/// Which order of time counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// None.
    None,
    /// That of each process.
    Process,
    /// Real time.
    Realtime,
}

/// Builds the graph, where there is a cycle to be found in it; `None` where there is none.
/// An empty graph is built too.
#[must_use]
pub fn build_if_cyclic(lists: &Lists, clock: Clock) -> Option<Graph> {
    let readers = Readers::of(lists);
    let ops = lists.history.ops();
    let any = Cell::new(clock == Clock::Realtime && points::any_precedes(ops));
    let cyclic = clock == Clock::Process || {
        let nodes = lists.possible().map(|(id, _)| id.0);
        points::contradict(ops, clock == Clock::Realtime, nodes, |node, cursor| {
            let earlier = dependency(lists, &readers, node, cursor);
            any.set(any.get() || earlier.is_some());
            earlier.map(|(earlier, _)| earlier)
        })
    };
    (cyclic || !any.get()).then(|| build(lists, &readers, clock))
}

fn build(lists: &Lists, readers: &Readers, clock: Clock) -> Graph {
    let mut builder = GraphBuilder::new(lists.history.ops().len() as u32);
    for (id, _) in lists.possible() {
        let mut cursor = (0, 0);
        while let Some((earlier, rels)) = dependency(lists, readers, id.0, &mut cursor) {
            builder.link(earlier, id.0, rels);
        }
    }
    let ops = || lists.txns().map(|(id, op)| (id.0, op));
    match clock {
        Clock::None => {}
        Clock::Process => builder.link_processes(ops()),
        Clock::Realtime => builder.link_realtime(ops()),
    }
    builder.finish()
}

/// The next of a transaction's dependencies on others.
fn dependency(
    lists: &Lists,
    readers: &Readers,
    node: u32,
    cursor: &mut points::Cursor,
) -> Option<(u32, Rels)> {
    let op = lists.history.op(OpId(node));
    if !matches!(op.outcome, Outcome::Ok | Outcome::Info) {
        return None;
    }
    let runs = lists.history.runs(op);
    while let Some(run) = runs.get(cursor.0 as usize) {
        let state = match run.kind {
            RunKind::Append => lists.key(run.key).before(lists.appended(run)),
            RunKind::Read => lists.numbers(run).last().copied(),
            _ => None,
        };
        if cursor.1 == 0 {
            cursor.1 = 1;
            let rel = match run.kind {
                RunKind::Append => Rels::WW,
                _ => Rels::WR,
            };
            let writer = state.and_then(|number| writer(lists, run.key, number));
            if let Some(writer) = writer.filter(|writer| writer.0 != node) {
                return Some((writer.0, rel));
            }
        }
        if run.kind == RunKind::Append {
            let of_state = readers.of_state(run.key, state);
            while let Some(&reader) = of_state.get(cursor.1 as usize - 1) {
                cursor.1 += 1;
                if reader != node {
                    return Some((reader, Rels::RW));
                }
            }
        }
        *cursor = (cursor.0 + 1, 0);
    }
    None
}

/// Who appended an element, if that may have happened.
fn writer(lists: &Lists, key: KeyId, number: u32) -> Option<OpId> {
    let writer = lists.key(key).elements[number as usize].writer()?;
    let outcome = lists.history.op(writer).outcome;
    matches!(outcome, Outcome::Ok | Outcome::Info).then_some(writer)
}

/// Who read each state of a key, told by its last element (none: nothing was there), in rows. What
/// an undecided transaction did not read is not known, so its null says nothing.
struct Readers {
    /// By key, the row of its empty state; those of its elements follow.
    first: Vec<u32>,
    starts: Vec<u32>,
    ends: Vec<u32>,
    readers: Vec<u32>,
}

impl Readers {
    fn of(lists: &Lists) -> Readers {
        let mut rows = 0;
        let mut first = Vec::with_capacity(lists.keys.len());
        for key in &lists.keys {
            first.push(rows);
            rows += key.elements.len() as u32 + 1;
        }
        let mut readers = Readers {
            first,
            starts: vec![0; rows as usize + 1],
            ends: Vec::new(),
            readers: Vec::new(),
        };
        readers.each(lists, |readers, row, _| readers.starts[row + 1] += 1);
        for row in 0..rows as usize {
            readers.starts[row + 1] += readers.starts[row];
        }
        readers.ends = readers.starts[..rows as usize].to_vec();
        readers.readers = vec![NONE; readers.starts[rows as usize] as usize];
        readers.each(lists, |readers, row, reader| {
            let (start, end) = (readers.starts[row] as usize, readers.ends[row] as usize);
            if readers.readers[start..end].last() != Some(&reader) {
                readers.readers[end] = reader;
                readers.ends[row] += 1;
            }
        });
        readers
    }

    fn each(&mut self, lists: &Lists, mut note: impl FnMut(&mut Readers, usize, u32)) {
        for (id, op) in lists.possible() {
            for run in lists.history.runs(op) {
                let state = match run.kind {
                    RunKind::Read => lists.numbers(run).last().copied(),
                    RunKind::ReadUnknown if op.outcome == Outcome::Ok => None,
                    _ => continue,
                };
                let row = self.row(run.key, state);
                note(self, row, id.0);
            }
        }
    }

    fn row(&self, key: KeyId, state: Option<u32>) -> usize {
        (self.first[key.at()] + state.map_or(0, |number| number + 1)) as usize
    }

    fn of_state(&self, key: KeyId, state: Option<u32>) -> &[u32] {
        let row = self.row(key, state);
        &self.readers[self.starts[row] as usize..self.ends[row] as usize]
    }
}

/// A cycle as details show it.
#[must_use]
pub fn detail(lists: &Lists, cycle: &Cycle) -> Finding {
    let mut ops: Vec<OpId> = cycle.steps.iter().map(|&(node, _)| OpId(node)).collect();
    ops.extend(ops.first().copied());
    let steps = cycle
        .steps
        .iter()
        .zip(ops.windows(2))
        .map(|(&(_, rel), pair)| {
            let (a, b) = (pair[0], pair[1]);
            let step = match rel {
                Rels::WW => ww_step(lists, a, b),
                Rels::WR => wr_step(lists, a, b),
                Rels::RW => rw_step(lists, a, b),
                Rels::PROCESS => Some(json!({"type": "process"})),
                _ => None,
            };
            let index = |op: OpId| lists.history.op(op).index;
            step.unwrap_or_else(|| json!({"type": "realtime", "a'": index(a), "b'": index(b)}))
        });
    let steps: Vec<Json> = steps.collect();
    Details::new(lists.history)
        .ops("cycle", &ops)
        .json("steps", steps)
        .finish()
}

fn runs<'l>(lists: &'l Lists, op: OpId, kind: RunKind) -> impl Iterator<Item = &'l Run> + 'l {
    let runs = lists.history.runs(lists.history.op(op)).iter();
    runs.filter(move |run| run.kind == kind)
}

fn name<'l>(lists: &'l Lists, run: &Run) -> &'l str {
    lists.history.keys().name(run.key)
}

fn ww_step(lists: &Lists, a: OpId, b: OpId) -> Option<Json> {
    runs(lists, b, RunKind::Append).find_map(|run| {
        let number = lists.appended(run);
        let before = lists.key(run.key).before(number)?;
        (writer(lists, run.key, before) == Some(a)).then(|| {
            json!({
                "type": "ww",
                "key": name(lists, run),
                "value": element(lists, run.key, before),
                "value'": element(lists, run.key, number),
                "b-mop-index": run.micro_op(),
            })
        })
    })
}

fn wr_step(lists: &Lists, a: OpId, b: OpId) -> Option<Json> {
    runs(lists, b, RunKind::Read).find_map(|run| {
        let last = *lists.numbers(run).last()?;
        (writer(lists, run.key, last) == Some(a)).then(|| {
            json!({
                "type": "wr",
                "key": name(lists, run),
                "value": element(lists, run.key, last),
                "b-mop-index": run.micro_op(),
            })
        })
    })
}

fn rw_step(lists: &Lists, a: OpId, b: OpId) -> Option<Json> {
    runs(lists, b, RunKind::Append).find_map(|run| {
        let number = lists.appended(run);
        let before = lists.key(run.key).before(number);
        let all = lists.history.runs(lists.history.op(a)).iter();
        let mut reads = all.filter(|read| {
            read.key == run.key && matches!(read.kind, RunKind::Read | RunKind::ReadUnknown)
        });
        let read = reads.find(|read| lists.numbers(read).last().copied() == before)?;
        Some(json!({
            "type": "rw",
            "key": name(lists, run),
            "value": before.map_or(Json::Null, |before| element(lists, run.key, before)),
            "value'": element(lists, run.key, number),
            "a-mop-index": read.micro_op(),
            "b-mop-index": run.micro_op(),
        }))
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{found, found_as, names};

    #[test]
    fn write_skew_is_a_cycle_of_two_rw_edges() {
        let text = r#"
            ok [["r","x",null],["append","y",1]]
            ok [["r","y",null],["append","x",1]]
            ok [["r","x",[1]],["r","y",[1]]]
        "#;
        let found = found(text);
        assert_eq!(found["G2-item"], 1, "{found:?}");
    }

    #[test]
    fn a_missed_update_is_g_single() {
        let text = r#"
            ok [["append","x",1],["append","y",1]]
            ok [["r","x",[1]],["r","y",null]]
            ok [["r","y",[1]]]
        "#;
        assert_eq!(found(text)["G-single-item"], 1);
    }

    #[test]
    fn a_stale_read_is_a_matter_of_real_time() {
        let text = r#"
            ok [["append","x",1]]
            ok [["r","x",null]]
            ok [["r","x",[1]]]
        "#;
        assert_eq!(found(text)["G-single-item-realtime"], 1);
        assert!(found_as(text, "serializable").is_empty());
        assert_eq!(
            found_as(text, "strong-session-serializable")["G-single-item-process"],
            1
        );
    }

    #[test]
    fn a_serial_history_has_no_cycle() {
        let text = r#"
            ok [["append","x",1],["r","y",null]]
            ok [["r","x",[1]],["append","y",1]]
            info [["append","x",2]]
            ok [["r","x",[1,2]],["r","y",[1]]]
        "#;
        assert!(names(text).is_empty(), "{:?}", names(text));
    }
}
