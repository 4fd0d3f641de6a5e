//! Complete passes (`drain`): which messages each of them returned, and since when each message is
//! known to have existed.
//!
//! A pass speaks for a range of offsets: every record that existed in it was returned by polls of
//! the pass's own process between its invocation and its completion. A pass that was cut short has
//! no completion that ended ok, and proves nothing.

use rustc_hash::FxHashMap;

use super::facts::{Facts, NONE, acknowledged};
use crate::history::{Drain, Function, KeyId, Op, Outcome, ProcessId, RunKind};

/// One pass over one key.
#[derive(Debug)]
pub struct Pass {
    /// What the history says of it.
    pub drain: Drain,
    /// When it was invoked.
    pub invoked: u32,
    /// When it was complete.
    pub completed: u32,
    returned: Vec<bool>,
}

impl Pass {
    /// Whether it returned that message.
    #[must_use]
    pub fn returned(&self, number: u32) -> bool {
        self.returned[number as usize]
    }
}

/// All passes, and the evidence that they are held against.
#[derive(Debug, Default)]
pub struct Passes {
    /// By key, in the order of their completions.
    by_key: FxHashMap<KeyId, Vec<Pass>>,
    /// By key: the moment from which on each message is known to have existed.
    proven: FxHashMap<KeyId, Vec<u32>>,
}

/// A message of whose existence there is no proof.
pub const UNPROVEN: u32 = u32::MAX;

impl Passes {
    /// Collects them. Costs nothing where the history has none.
    #[must_use]
    pub fn collect(facts: &Facts) -> Passes {
        let mut passes = Passes::default();
        let mut by_process: FxHashMap<ProcessId, Vec<(u32, u32, KeyId, usize)>> =
            FxHashMap::default();
        for &drain in &facts.history.drains {
            let op = facts.history.op(drain.op);
            if op.outcome != Outcome::Ok {
                continue;
            }
            let messages = facts.key(drain.key).messages.len();
            let pass = Pass {
                drain,
                invoked: op.invoked.seq,
                completed: op.completed.seq,
                returned: vec![false; messages],
            };
            let of_key = passes.by_key.entry(drain.key).or_default();
            let slot = (pass.invoked, pass.completed, drain.key, of_key.len());
            by_process.entry(op.process).or_default().push(slot);
            of_key.push(pass);
            passes
                .proven
                .entry(drain.key)
                .or_insert_with(|| vec![UNPROVEN; messages]);
        }
        if passes.by_key.is_empty() {
            return passes;
        }
        for (_, op) in facts
            .data_ops()
            .filter(|(_, op)| op.outcome != Outcome::Open)
        {
            passes.prove(facts, op);
            if let Some(slots) = by_process.get(&op.process) {
                passes.fill(facts, op, slots);
            }
        }
        passes
    }

    /// What this operation proves to exist: what it acknowledged, and what an ok poll returned.
    fn prove(&mut self, facts: &Facts, op: &Op) {
        for run in facts.history.runs(op) {
            let Some(proven) = self.proven.get_mut(&run.key) else {
                continue;
            };
            for (record, number) in facts.messages_of(run).filter(|&(_, n)| n != NONE) {
                let proves = match run.kind {
                    RunKind::Send => acknowledged(op, record),
                    RunKind::Poll => {
                        op.outcome == Outcome::Ok && read_is_proof(facts, run.key, number)
                    }
                    _ => false,
                };
                let slot = &mut proven[number as usize];
                if proves && *slot == UNPROVEN {
                    *slot = op.completed.seq;
                }
            }
        }
    }

    fn fill(&mut self, facts: &Facts, op: &Op, slots: &[(u32, u32, KeyId, usize)]) {
        for &(invoked, completed, key, at) in slots {
            if op.invoked.seq < invoked || op.completed.seq > completed {
                continue;
            }
            let pass = &mut self.by_key.get_mut(&key).expect("slots are made of passes")[at];
            let runs = facts.history.runs(op).iter();
            for run in runs.filter(|run| run.kind == RunKind::Poll && run.key == key) {
                for (_, number) in facts.messages_of(run).filter(|&(_, n)| n != NONE) {
                    pass.returned[number as usize] = true;
                }
            }
        }
    }

    /// The passes over a key, in the order of their completions.
    #[must_use]
    pub fn of(&self, key: KeyId) -> &[Pass] {
        self.by_key.get(&key).map_or(&[], Vec::as_slice)
    }

    /// The moment from which on a message is known to have existed; [`UNPROVEN`] if there is none.
    #[must_use]
    pub fn proven_at(&self, key: KeyId, number: u32) -> u32 {
        self.proven
            .get(&key)
            .map_or(UNPROVEN, |proven| proven[number as usize])
    }
}

/// A read proves that the message was committed, except where consumers were allowed to see
/// uncommitted records of transactions, or saw an aborted one (`G1a`).
#[must_use]
pub fn read_is_proof(facts: &Facts, key: KeyId, number: u32) -> bool {
    let message = &facts.key(key).messages[number as usize];
    let Some(writer) = message.writer() else {
        return true;
    };
    let writer = facts.history.op(writer);
    writer.function != Function::Txn
        || writer.outcome == Outcome::Ok
        || (!message.failed() && !facts.history.reads_uncommitted())
}
