//! A part of a history that fits into memory: some of its keys, whole.
//!
//! Every key is kept until the history outgrows its bound; then about half of the keys are given
//! up, and so on. What is given up is for another reading of the same file. Operations that carry
//! messages of given-up keys alone go with them; everything that is not about keys stays: faults,
//! phases, counts of events.

use rustc_hash::FxHashSet;

use super::events::Detail;
use super::{Function, History, KeyId, OpId, Run};

/// Bytes that the derived facts need beside each record that is stored, about: its message, its
/// place in the log, numbers.
const BESIDE_RECORD: usize = 36;

/// The same beside each operation.
const BESIDE_OPERATION: usize = 24;

/// Bytes that a check of this history needs, about.
pub(crate) fn bytes(history: &History) -> usize {
    history.ops.len() * (size_of::<super::Op>() + BESIDE_OPERATION)
        + history.runs.len() * size_of::<Run>()
        + history.records.stored() * (size_of::<super::Record>() + BESIDE_RECORD)
        + history.details.len() * size_of::<Detail>()
}

/// Which keys are kept.
#[derive(Debug)]
pub(crate) struct Selection {
    /// Bytes that a check may need.
    bound: usize,
    /// Names of the keys to keep; none means all.
    wanted: Option<FxHashSet<String>>,
    /// By key. Empty as long as every key is kept.
    kept: Vec<bool>,
    /// Keys were given up: none that appears from now on is kept.
    narrowed: bool,
    /// Keys that do not fit, each alone.
    pub too_large: Vec<String>,
    /// By key, records that the history holds of it.
    pub weights: Vec<u64>,
}

impl Default for Selection {
    fn default() -> Selection {
        Selection::new(usize::MAX, None)
    }
}

impl Selection {
    /// Keeps these keys, or all, as far as they fit.
    pub fn new(bound: usize, wanted: Option<FxHashSet<String>>) -> Selection {
        Selection {
            bound,
            wanted,
            kept: Vec::new(),
            narrowed: false,
            too_large: Vec::new(),
            weights: Vec::new(),
        }
    }

    /// Whether every key is kept.
    pub fn whole(&self) -> bool {
        self.wanted.is_none() && !self.narrowed
    }

    /// Takes notice of the history's keys.
    pub fn learn(&mut self, history: &History) {
        let known = self.weights.len();
        self.weights.resize(history.keys.len(), 0);
        if self.whole() {
            return;
        }
        for at in known..history.keys.len() {
            let name = history.keys.name(KeyId(at as u32));
            let wanted = self.wanted.as_ref().is_none_or(|w| w.contains(name));
            self.kept.push(wanted && !self.narrowed);
        }
    }

    /// Whether a key is kept.
    #[inline]
    pub fn keeps(&self, key: KeyId) -> bool {
        self.kept.get(key.at()).copied().unwrap_or(true)
    }

    /// Keys that are for another reading, and how many records each has in the file.
    pub fn left(&self, history: &History) -> Vec<(String, u64)> {
        let wanted = |name: &str| self.wanted.as_ref().is_none_or(|w| w.contains(name));
        let given_up = history.keys.iter().filter(|&key| !self.keeps(key));
        let named = given_up.map(|key| {
            let name = history.keys.name(key).to_owned();
            (name, self.weights[key.at()])
        });
        named
            .filter(|(name, _)| wanted(name) && !self.too_large.contains(name))
            .collect()
    }

    /// Records that the file has of the keys that are kept.
    pub fn kept_weight(&self) -> u64 {
        let weights = self.weights.iter().zip(0..);
        let kept = weights.filter(|&(_, key)| self.keeps(KeyId(key)));
        kept.map(|(weight, _)| weight).sum()
    }

    /// Gives up keys where the history has outgrown its bound.
    pub fn fit(&mut self, history: &mut History) {
        while bytes(history) > self.bound && self.narrow(history) {}
    }

    /// Gives up about half of what is kept; `false` if nothing is left to give up.
    fn narrow(&mut self, history: &mut History) -> bool {
        if self.whole() {
            self.kept = vec![true; history.keys.len()];
        }
        self.narrowed = true;
        let stored = |key: KeyId| -> usize {
            let [written, read] = history.records.of_key(key);
            written.len() + read.len()
        };
        let kept: Vec<(KeyId, usize)> = history
            .keys
            .iter()
            .filter(|&key| self.keeps(key))
            .map(|key| (key, stored(key)))
            .filter(|&(_, stored)| stored > 0)
            .collect();
        let all: usize = kept.iter().map(|&(_, stored)| stored).sum();
        match kept[..] {
            [] => return false,
            [(alone, _)] => {
                self.kept[alone.at()] = false;
                self.too_large.push(history.keys.name(alone).to_owned());
            }
            [(first, size), ..] => {
                let mut before = size;
                for &(key, stored) in kept.iter().filter(|&&(key, _)| key != first) {
                    before += stored;
                    self.kept[key.at()] = before <= all / 2;
                }
            }
        }
        give_up(history, &self.kept);
        true
    }
}

/// Drops what belongs to keys that are not kept.
fn give_up(history: &mut History, kept: &[bool]) {
    let keeps = |key: KeyId| kept[key.at()];
    let mut numbers = vec![OpId(u32::MAX); history.ops.len()];
    let (mut ops, mut runs) = (0, 0);
    for (at, number) in numbers.iter_mut().enumerate() {
        let mut op = history.ops[at];
        let (start, len) = op.runs;
        let first = runs;
        for from in start as usize..(start + len) as usize {
            let run = history.runs[from];
            if keeps(run.key) {
                history.runs[runs] = run;
                runs += 1;
            }
        }
        if !keeps_operation(op.function, len as usize, runs - first) {
            continue;
        }
        op.runs = (first as u32, (runs - first) as u32);
        *number = OpId(ops as u32);
        history.ops[ops] = op;
        ops += 1;
    }
    history.ops.truncate(ops);
    history.runs.truncate(runs);
    history.ops.shrink_to_fit();
    history.runs.shrink_to_fit();
    history.records.retain(keeps);
    let renumber = |op: &mut OpId| *op = numbers[op.at()];
    history.samples.retain(|sample| keeps(sample.key));
    history.drains.retain(|drain| keeps(drain.key));
    history.audits.retain(|audit| keeps(audit.key));
    history.samples.iter_mut().for_each(|s| renumber(&mut s.op));
    history.drains.iter_mut().for_each(|d| renumber(&mut d.op));
    history.audits.iter_mut().for_each(|a| renumber(&mut a.op));
    for offsets in &mut history.group_offsets {
        renumber(&mut offsets.op);
        offsets.offsets.retain(|&(key, _)| keeps(key));
    }
    for detail in &mut history.details {
        strip(detail, keeps);
    }
}

/// Takes out of a detail what is about keys that are not kept.
pub(crate) fn strip(detail: &mut Detail, keeps: impl Fn(KeyId) -> bool) {
    detail.rebalanced.retain(|&key| keeps(key));
    for (_, offsets) in &mut detail.sent_offsets {
        offsets.retain(|&(key, _)| keeps(key));
    }
}

/// Whether an operation is kept of which so many runs were kept out of so many.
pub(crate) fn keeps_operation(function: Function, runs: usize, kept: usize) -> bool {
    runs == 0 || kept > 0 || !function.is_data()
}
