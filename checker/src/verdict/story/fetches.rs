//! Which polls returned a message, and which passed it by. One pass over the history serves all
//! stories.

use rustc_hash::FxHashMap;

use super::{Piece, Subject};
use crate::History;
use crate::analysis::facts::Facts;
use crate::history::{KeyId, Op, OpId, Outcome, Process, ProcessId, RunKind};

/// What polls did about each subject.
#[derive(Debug, Default)]
pub(super) struct Fetches {
    returned: Vec<Vec<OpId>>,
    passed_by: Vec<Vec<OpId>>,
}

/// The subjects of one key, by offset.
type ByOffset = Vec<(i64, usize)>;

impl Fetches {
    /// Looks at every poll of the subjects' keys.
    pub fn of(facts: &Facts, subjects: &[Subject], limit: usize) -> Fetches {
        let mut fetches = Fetches {
            returned: vec![Vec::new(); subjects.len()],
            passed_by: vec![Vec::new(); subjects.len()],
        };
        let mut by_key: FxHashMap<KeyId, ByOffset> = FxHashMap::default();
        let mut numbers: FxHashMap<(KeyId, u32), usize> = FxHashMap::default();
        for (at, subject) in subjects.iter().enumerate() {
            numbers.insert((subject.key, subject.number), at);
            if let Some(offset) = subject.offset {
                by_key.entry(subject.key).or_default().push((offset, at));
            }
        }
        by_key
            .values_mut()
            .for_each(|offsets| offsets.sort_unstable());
        let mut positions: FxHashMap<(ProcessId, KeyId), i64> = FxHashMap::default();
        for (id, op) in facts
            .data_ops()
            .filter(|(_, op)| op.outcome != Outcome::Open)
        {
            for run in facts
                .history
                .runs(op)
                .iter()
                .filter(|run| run.kind == RunKind::Poll)
            {
                if subjects.iter().all(|subject| subject.key != run.key) {
                    continue;
                }
                let mut here = Vec::new();
                for (_, number) in facts.messages_of(run) {
                    if let Some(&at) = numbers.get(&(run.key, number)) {
                        here.push(at);
                        note(&mut fetches.returned[at], id, limit);
                    }
                }
                let offsets = facts.history.records(run).iter().filter_map(|r| r.offset());
                let Some(highest) = offsets.clone().max() else {
                    continue;
                };
                let lowest = offsets.min().expect("there is a highest");
                // What lies between the last poll's end and this one's was passed by, if it is
                // not here.
                let position = positions.entry((op.process, run.key)).or_insert(lowest - 1);
                let from = (*position).min(lowest);
                *position = highest;
                let Some(offsets) = by_key.get(&run.key) else {
                    continue;
                };
                let start = offsets.partition_point(|&(offset, _)| offset <= from);
                for &(_, at) in offsets[start..].iter().take_while(|&&(o, _)| o < highest) {
                    if !here.contains(&at) {
                        note(&mut fetches.passed_by[at], id, limit);
                    }
                }
            }
        }
        fetches
    }

    /// The evidence for one subject.
    pub fn pieces(&self, history: &History, at: usize) -> Vec<(u32, Piece)> {
        let piece = |&id: &OpId, present: bool| {
            let op = history.op(id);
            let says = if present {
                "was given it"
            } else {
                "read on past its offset"
            };
            let piece = Piece {
                time: op.completed.time,
                op: Some(op.index),
                actor: reader(history, op),
                kind: "fetch".to_owned(),
                present: Some(present),
                says: says.to_owned(),
            };
            (op.completed.seq, piece)
        };
        let returned = self.returned[at].iter().map(|id| piece(id, true));
        returned
            .chain(self.passed_by[at].iter().map(|id| piece(id, false)))
            .collect()
    }
}

fn note(ops: &mut Vec<OpId>, id: OpId, limit: usize) {
    if ops.len() < limit && ops.last() != Some(&id) {
        ops.push(id);
    }
}

fn reader(history: &History, op: &Op) -> String {
    match history.process(op.process) {
        Process::Client(number) => format!("process {number}"),
        _ => "a client".to_owned(),
    }
}
