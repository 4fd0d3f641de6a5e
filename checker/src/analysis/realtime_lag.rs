//! The worst realtime lag: how stale the worst poll provably was. No anomaly, a measure.
//!
//! For each ok poll or transaction and each key that its process tracks: the time of invocation
//! minus the time at which the offset after the process's position was first known to exist; 0 if
//! it was not. A lower bound: the read may have happened at any time after its invocation. An
//! assign keeps the positions of the keys it keeps and sets the others to before the start; a
//! subscribe forgets all.

use rustc_hash::FxHashMap;

use super::facts::{Dialect, Facts};
use crate::history::{Function, KeyId, Op, Outcome, ProcessId, RunKind};

/// The worst staleness of any poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorstLag {
    /// The key.
    pub key: KeyId,
    /// Who polled.
    pub process: ProcessId,
    /// When the poll was invoked, in ns.
    pub time: i64,
    /// How stale it was at least, in ns.
    pub lag: i64,
}

/// Steps in a chunk of [`Known`].
const CHUNK: usize = 1 << 12;

/// When offsets of one key were first known to exist, as ascending steps (offset, time), in chunks:
/// there are as many as operations, and a list that grows is copied.
#[derive(Default)]
struct Known(Vec<Vec<(i64, i64)>>);

impl Known {
    fn note(&mut self, offset: i64, time: i64) {
        let last = self.0.last().and_then(|chunk| chunk.last());
        if last.is_some_and(|&(highest, _)| offset <= highest) {
            return;
        }
        match self.0.last_mut().filter(|chunk| chunk.len() < CHUNK) {
            Some(chunk) => chunk.push((offset, time)),
            None => self.0.push(vec![(offset, time)]),
        }
    }

    fn since(&self, offset: i64) -> Option<i64> {
        let behind = |chunk: &Vec<(i64, i64)>| chunk.last().is_none_or(|&(last, _)| last < offset);
        let chunk = self.0.get(self.0.partition_point(behind))?;
        let at = chunk.partition_point(|&(known, _)| known < offset);
        chunk.get(at).map(|&(_, time)| time)
    }
}

/// Finds the worst; `None` where no ok poll tracked any key.
#[must_use]
pub fn worst(facts: &Facts) -> Option<WorstLag> {
    let mut known: Vec<Known> = Vec::new();
    known.resize_with(facts.keys.len(), Known::default);
    let mut offsets = Vec::new();
    for (_, op) in facts.data_ops() {
        if matches!(op.outcome, Outcome::Ok | Outcome::Info) {
            highest_offsets(facts, op, &mut offsets);
            for &(key, offset) in offsets.iter().filter(|&&(_, offset)| offset >= 0) {
                known[key.at()].note(offset, op.completed.time);
            }
        }
    }
    let mut positions: FxHashMap<ProcessId, Vec<(KeyId, i64)>> = FxHashMap::default();
    let mut worst: Option<WorstLag> = None;
    let last = facts.history.last_ops();
    for (id, op) in facts.history.iter() {
        match op.function {
            _ if op.outcome != Outcome::Ok => {}
            Function::Assign => assign(facts, op, positions.entry(op.process).or_default()),
            Function::Subscribe => positions.entry(op.process).or_default().clear(),
            Function::Poll | Function::Txn => {
                highest_offsets(facts, op, &mut offsets);
                let positions = positions.entry(op.process).or_default();
                offsets
                    .drain(..)
                    .for_each(|(key, offset)| raise(positions, key, offset));
                for &(key, offset) in positions.iter() {
                    let time = op.invoked.time;
                    let since = known[key.at()].since(offset.saturating_add(1));
                    let lag = since.map_or(0, |since| time.saturating_sub(since).max(0));
                    if worst.is_none_or(|worst| lag > worst.lag) {
                        worst = Some(WorstLag {
                            key,
                            process: op.process,
                            time,
                            lag,
                        });
                    }
                }
            }
            _ => {}
        }
        if last[op.process.at()] == id {
            positions.remove(&op.process);
        }
    }
    worst
}

fn assign(facts: &Facts, op: &Op, positions: &mut Vec<(KeyId, i64)>) {
    let kept: Vec<(KeyId, i64)> = facts
        .history
        .runs(op)
        .iter()
        .map(|run| {
            let known = positions.iter().find(|(key, _)| *key == run.key);
            (run.key, known.map_or(-1, |&(_, offset)| offset))
        })
        .collect();
    *positions = kept;
}

fn raise(positions: &mut Vec<(KeyId, i64)>, key: KeyId, offset: i64) {
    match positions.iter_mut().find(|(known, _)| *known == key) {
        Some((_, position)) => *position = offset.max(*position),
        None => positions.push((key, offset)),
    }
}

/// The highest offset of each key that an operation sent (at least 0) or polled (at least -1).
fn highest_offsets(facts: &Facts, op: &Op, offsets: &mut Vec<(KeyId, i64)>) {
    offsets.clear();
    for run in facts.history.runs(op) {
        let known = facts
            .history
            .records(run)
            .iter()
            .filter_map(|record| record.offset())
            .max();
        let highest = match (run.kind, known) {
            (RunKind::Poll, known) => known.unwrap_or(-1).max(-1),
            (RunKind::Send, Some(offset)) if facts.dialect == Dialect::Own => offset.max(0),
            _ => continue,
        };
        raise(offsets, run.key, highest);
    }
    if facts.dialect == Dialect::Jepsen {
        for (key, offset) in sent_since_unknown(facts, op) {
            raise(offsets, key, offset);
        }
    }
}

/// jepsen.tests.kafka forgets what an operation sent before a message whose offset is not known.
fn sent_since_unknown(facts: &Facts, op: &Op) -> Vec<(KeyId, i64)> {
    let mut sent = Vec::new();
    let runs = facts.history.runs(op).iter();
    for run in runs.filter(|run| run.kind == RunKind::Send) {
        for record in facts.history.records(run) {
            match record.offset() {
                Some(offset) => raise(&mut sent, run.key, offset.max(0)),
                None => sent.clear(),
            }
        }
    }
    sent
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::facts::Dialect;
    use crate::analysis::testing::script;

    #[test]
    fn a_poll_that_misses_what_was_there_is_late() {
        let history = script(
            r#"
            {"time":10,"process":0,"type":"ok","f":"send","value":[["send","x",[0,1]]]}
            {"time":20,"process":0,"type":"ok","f":"send","value":[["send","x",[1,2]]]}
            {"time":50,"process":1,"type":"invoke","f":"poll","value":[["poll"]]}
            {"time":60,"process":1,"type":"ok","f":"poll","value":[["poll",{"x":[[0,1]]}]]}
        "#,
        );
        let worst = worst(&Facts::derive(&history, Dialect::Own)).expect("a poll");
        assert_eq!((worst.time, worst.lag), (50, 30));
    }

    #[test]
    fn an_offset_known_only_later_is_no_lag() {
        let history = script(
            r#"
            {"time":50,"process":1,"type":"invoke","f":"poll","value":[["poll"]]}
            {"time":60,"process":1,"type":"ok","f":"poll","value":[["poll",{"x":[[0,1]]}]]}
            {"time":70,"process":0,"type":"ok","f":"send","value":[["send","x",[1,2]]]}
        "#,
        );
        let worst = worst(&Facts::derive(&history, Dialect::Own)).expect("a poll");
        assert_eq!(worst.lag, 0);
    }
}
