//! Consecutive reads and sends, and how far apart they stand in the log.
//!
//! One walk over the history serves the four analyses of polls and the three of sends: nearly
//! every step goes to the next index, so only those that do not are kept. Where either index is
//! not known the step counts as one (anomalies.md section 3).
//!
//! Rules of the walk across operations, by process: the last value of a key in the last ok
//! operation that read it, against the first in the next operation of any type that reads it; an
//! operation that did not end ok is judged but moves nothing (an aborted transaction rewinds). An
//! assign or subscribe that completed ok or info keeps only the keys that it names; in our own
//! dialect, `seek-to-beginning?` forgets them too.

use rustc_hash::FxHashMap;

use super::facts::{Dialect, Facts, NONE};
use crate::history::{Function, KeyId, Op, OpId, Outcome, ProcessId, Record, RunKind, Value};

/// Longer lists of messages passed over are cut.
const SKIPPED_MAX: usize = 256;

/// Two consecutive records of one key, and how far apart they stand.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Their key.
    pub key: KeyId,
    /// The earlier operation.
    pub from_op: OpId,
    /// The later one; the same for steps within an operation.
    pub to_op: OpId,
    /// The earlier record and its index.
    pub from: (Record, u32),
    /// The later record and its index.
    pub to: (Record, u32),
}

impl Step {
    /// Difference of their indices: 1 for neighbours.
    #[must_use]
    pub fn delta(&self) -> i64 {
        i64::from(self.to.1) - i64::from(self.from.1)
    }

    /// The messages passed over, in order; at most [`SKIPPED_MAX`] of them (`delta` counts all).
    pub fn skipped<'f>(&self, facts: &'f Facts) -> impl Iterator<Item = Value> + use<'f> {
        let facts = facts.key(self.key);
        (self.from.1 + 1..self.to.1)
            .take(SKIPPED_MAX)
            .map(|index| facts.at_index(index).value)
    }
}

/// Every step that does not go to the next index.
#[derive(Debug, Default)]
pub struct Steps {
    /// Between polled records of one operation.
    pub within_polls: Vec<Step>,
    /// Between polled records of one process's consecutive operations.
    pub across_polls: Vec<Step>,
    /// Between sends of one operation.
    pub within_sends: Vec<Step>,
    /// Between sends of one process's consecutive operations, where they do not go forward.
    pub across_sends: Vec<Step>,
}

/// A record that a later one is compared with.
#[derive(Clone, Copy)]
struct Place {
    op: OpId,
    record: Record,
    index: Option<u32>,
}

/// First and last record of one key within one operation.
#[derive(Clone, Copy)]
struct Ends {
    key: KeyId,
    first: Place,
    last: Place,
}

/// What one process did last to each key.
#[derive(Default)]
struct Last {
    polled: Vec<(KeyId, Place)>,
    sent: Vec<(KeyId, Place)>,
}

struct Walk<'f, 'h> {
    facts: &'f Facts<'h>,
    steps: Steps,
    by_process: FxHashMap<ProcessId, Last>,
    polled: Vec<Ends>,
    sent: Vec<Ends>,
    empty: Vec<KeyId>,
}

impl Steps {
    /// Walks the history.
    #[must_use]
    pub fn walk(facts: &Facts) -> Steps {
        let mut walk = Walk {
            facts,
            steps: Steps::default(),
            by_process: FxHashMap::default(),
            polled: Vec::new(),
            sent: Vec::new(),
            empty: Vec::new(),
        };
        let last = facts.history.last_ops();
        for (id, op) in facts.history.iter() {
            match op.function {
                Function::Assign | Function::Subscribe => walk.assigned(op),
                Function::Send | Function::Poll | Function::Txn => walk.data(id, op),
                _ => {}
            }
            if last[op.process.at()] == id {
                walk.by_process.remove(&op.process);
            }
        }
        walk.steps
    }
}

impl Walk<'_, '_> {
    fn assigned(&mut self, op: &Op) {
        if !matches!(op.outcome, Outcome::Ok | Outcome::Info) {
            return;
        }
        let Some(last) = self.by_process.get_mut(&op.process) else {
            return;
        };
        let history = self.facts.history;
        let named = history.runs(op);
        let seek = self.facts.dialect == Dialect::Own
            && history
                .detail(op)
                .is_some_and(|detail| detail.seek_to_beginning);
        let keeps = |key: KeyId| named.iter().any(|run| run.key == key);
        last.polled.retain(|&(key, _)| keeps(key) && !seek);
        last.sent.retain(|&(key, _)| keeps(key));
    }

    fn data(&mut self, id: OpId, op: &Op) {
        self.within(id, op);
        if !self.polled.is_empty() {
            self.across_polls(op);
        }
        if !self.empty.is_empty() {
            self.polled_nothing(id, op);
        }
        if !self.sent.is_empty() && matches!(op.outcome, Outcome::Ok | Outcome::Info) {
            self.across_sends(op);
        }
    }

    /// Steps within the operation; leaves its first and last records by key.
    fn within(&mut self, id: OpId, op: &Op) {
        self.polled.clear();
        self.sent.clear();
        self.empty.clear();
        let history = self.facts.history;
        let detail = history.detail(op);
        for run in history.runs(op) {
            let (ends, steps, judged) = match run.kind {
                RunKind::Poll => {
                    if run.len == 0 {
                        self.empty.push(run.key);
                        continue;
                    }
                    let rebalanced = detail.is_some_and(|d| d.rebalanced.contains(&run.key));
                    (&mut self.polled, &mut self.steps.within_polls, !rebalanced)
                }
                RunKind::Send => (
                    &mut self.sent,
                    &mut self.steps.within_sends,
                    op.outcome != Outcome::Open,
                ),
                _ => continue,
            };
            // Few keys occur in one operation, so a list is searched faster than a map.
            let mut at = ends.iter().position(|ends| ends.key == run.key);
            for (record, number) in self.facts.messages_of(run) {
                if number == NONE {
                    continue;
                }
                let index = self.facts.index_of(run.key, record, number);
                let place = Place {
                    op: id,
                    record,
                    index,
                };
                match at.map(|at| &mut ends[at]) {
                    Some(ends) => {
                        if let Some(step) = step(run.key, ends.last, place).filter(|_| judged) {
                            steps.push(step);
                        }
                        ends.last = place;
                    }
                    None => {
                        at = Some(ends.len());
                        ends.push(Ends {
                            key: run.key,
                            first: place,
                            last: place,
                        });
                    }
                }
            }
        }
    }

    fn across_polls(&mut self, op: &Op) {
        let last = &mut self.by_process.entry(op.process).or_default().polled;
        for ends in &self.polled {
            match last.iter_mut().find(|(key, _)| *key == ends.key) {
                Some((_, place)) => {
                    self.steps
                        .across_polls
                        .extend(step(ends.key, *place, ends.first));
                    if op.outcome == Outcome::Ok {
                        *place = ends.last;
                    }
                }
                None if op.outcome == Outcome::Ok => last.push((ends.key, ends.last)),
                None => {}
            }
        }
    }

    /// jepsen.tests.kafka takes an ok poll that names a key without records for a position of
    /// which it knows nothing; for us it moves nothing.
    fn polled_nothing(&mut self, id: OpId, op: &Op) {
        if self.facts.dialect != Dialect::Jepsen || op.outcome != Outcome::Ok {
            return;
        }
        let last = &mut self.by_process.entry(op.process).or_default().polled;
        for &key in &self.empty {
            if !self.polled.iter().any(|ends| ends.key == key)
                && let Some((_, place)) = last.iter_mut().find(|(known, _)| *known == key)
            {
                *place = Place {
                    op: id,
                    index: None,
                    ..*place
                };
            }
        }
    }

    fn across_sends(&mut self, op: &Op) {
        let last = &mut self.by_process.entry(op.process).or_default().sent;
        for ends in &self.sent {
            match last.iter_mut().find(|(key, _)| *key == ends.key) {
                Some((_, place)) => {
                    // Others send in between: only a step back is worth keeping.
                    let step = step(ends.key, *place, ends.first);
                    let back = step.filter(|step| step.delta() < 1);
                    self.steps.across_sends.extend(back);
                    *place = ends.last;
                }
                None => last.push((ends.key, ends.last)),
            }
        }
    }
}

/// The step between two places, where it is known and does not go to the next index.
fn step(key: KeyId, from: Place, to: Place) -> Option<Step> {
    let (from_index, to_index) = (from.index?, to.index?);
    (to_index != from_index.wrapping_add(1)).then_some(Step {
        key,
        from_op: from.op,
        to_op: to.op,
        from: (from.record, from_index),
        to: (to.record, to_index),
    })
}
