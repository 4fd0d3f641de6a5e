//! Offsets of consumer groups: what was attempted, and what is known to have been in force.
//!
//! Shared by `committed-offset-regression` and `committed-offset-overrun`. A commit that ended ok,
//! a transaction that ended ok and had sent offsets, and an answer to `fetch-offsets` each prove
//! an offset; a commit that did not end ok may take effect at any later time, or never.
//! offset; a commit that did not end ok may take effect at any later time, or never.

use std::collections::BTreeMap;

use super::facts::Facts;
use crate::history::{Function, History, KeyId, Op, OpId, Outcome};

/// One attempt to commit an offset, or one answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// By which operation.
    pub op: OpId,
    /// The offset; -1 for an answer that there is none.
    pub offset: i64,
    /// When the operation was invoked.
    pub invoked: u32,
    /// When it was over; never, for an attempt that may take effect later.
    pub over: u32,
    /// It is an answer to `fetch-offsets`.
    pub answer: bool,
    /// The offset is known to have been in force between `invoked` and `over`.
    pub proven: bool,
}

/// The entries of each group and key, in the order of completion.
pub(super) struct GroupOffsets<'h> {
    by_group: BTreeMap<(&'h str, KeyId), Vec<Entry>>,
    /// Attempts of which the history does not say what they committed: (invoked, over).
    unknown: Vec<(u32, u32)>,
}

impl<'h> GroupOffsets<'h> {
    /// Collects them.
    pub fn collect(history: &'h History) -> GroupOffsets<'h> {
        let mut all = GroupOffsets {
            by_group: BTreeMap::new(),
            unknown: Vec::new(),
        };
        let mut told = history.group_offsets.iter().peekable();
        for (id, op) in history.iter() {
            match op.function {
                Function::CommitOffsets | Function::FetchOffsets => {
                    let answer = op.function == Function::FetchOffsets;
                    match told.next_if(|told| told.op == id) {
                        Some(told) => {
                            for &(key, offset) in &told.offsets {
                                let offset = offset.unwrap_or(-1);
                                all.add((&told.group, key), entry(id, op, offset, answer));
                            }
                        }
                        None if !answer && op.outcome != Outcome::Fail => {
                            all.unknown.push((op.invoked.seq, over(op)));
                        }
                        None => {}
                    }
                }
                Function::Txn => {
                    let sent = history.detail(op).map(|detail| &detail.sent_offsets);
                    for (group, offsets) in sent.into_iter().flatten() {
                        for &(key, offset) in offsets {
                            all.add((group, key), entry(id, op, offset, false));
                        }
                    }
                }
                _ => {}
            }
        }
        all
    }

    fn add(&mut self, of: (&'h str, KeyId), entry: Entry) {
        // What certainly did not happen, and what was not answered, says nothing.
        if entry.proven || !entry.answer {
            self.by_group.entry(of).or_default().push(entry);
        }
    }

    /// Every group and key with its entries.
    pub fn iter(&self) -> impl Iterator<Item = (&'h str, KeyId, &[Entry])> {
        let all = self.by_group.iter();
        all.map(|(&(group, key), entries)| (group, key, entries.as_slice()))
    }

    /// Whether something unknown may have been committed after one moment and before another.
    pub fn unknown_between(&self, from: u32, to: u32) -> bool {
        self.unknown
            .iter()
            .any(|&(invoked, over)| over > from && invoked < to)
    }
}

fn over(op: &Op) -> u32 {
    match op.outcome {
        Outcome::Ok => op.completed.seq,
        _ => u32::MAX,
    }
}

fn entry(id: OpId, op: &Op, offset: i64, answer: bool) -> Entry {
    Entry {
        op: id,
        offset,
        invoked: op.invoked.seq,
        over: over(op),
        answer,
        proven: op.outcome == Outcome::Ok,
    }
}

/// The group that an operation acts for: its own, or the one its process acted for otherwise.
pub(super) fn groups_of_processes<'h>(facts: &Facts<'h>) -> Vec<Option<&'h str>> {
    let history = facts.history;
    let mut groups = vec![None; history.process_count()];
    for (_, op) in history.iter() {
        if let Some(group) = history
            .detail(op)
            .and_then(|detail| detail.group.as_deref())
        {
            groups[op.process.at()].get_or_insert(group);
        }
    }
    for told in &history.group_offsets {
        let process = history.op(told.op).process;
        groups[process.at()].get_or_insert(told.group.as_str());
    }
    groups
}
