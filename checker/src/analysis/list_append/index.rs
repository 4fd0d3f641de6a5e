//! Facts about lists: which elements were appended to each key, by whom, and in which order they
//! stand.
//!
//! The version order of a key is its longest read, without repetitions: every other read must be a
//! prefix of it (`orders`). Where no read shows anything and a single element was appended, that
//! element is the order.

use super::super::facts::{NONE, Numbering, ValueSpan, clojure};
use crate::history::arena::Column;
use crate::history::{History, KeyId, Op, OpId, Outcome, Record, Run, RunKind, Value};

/// One element of one key.
#[derive(Clone, Copy, Debug)]
pub struct Element {
    /// Itself.
    pub value: Value,
    /// The last operation that appended it, completed if any is; [`NONE`] if nobody did.
    pub writer: u32,
    /// How many micro-ops of distinct operations appended it.
    pub appends: u32,
    /// Its writer appended something after it to the same key, in the same transaction.
    pub intermediate: bool,
    /// Its place in the version order; [`NONE`] if it was not read.
    pub index: u32,
}

impl Element {
    /// The operation that appended it.
    #[must_use]
    pub fn writer(&self) -> Option<OpId> {
        (self.writer != NONE).then_some(OpId(self.writer))
    }
}

/// One key.
#[derive(Debug)]
pub struct KeyLists {
    /// The key.
    pub key: KeyId,
    /// Its elements, by number.
    pub elements: Vec<Element>,
    /// The version order: numbers of elements.
    pub order: Vec<u32>,
    /// The longest read, as a run and its operation.
    pub longest: Option<(OpId, Run)>,
    numbering: Numbering,
}

/// Facts about all keys.
#[derive(Debug)]
pub struct Lists<'h> {
    /// What they are derived from.
    pub history: &'h History,
    /// By key.
    pub keys: Vec<KeyLists>,
    number_of: Column<u32>,
}

impl<'h> Lists<'h> {
    /// Derives them.
    #[must_use]
    pub fn derive(history: &'h History) -> Lists<'h> {
        let mut lists = Lists {
            history,
            keys: keys(history),
            number_of: history.records.column(&NONE),
        };
        for (id, op) in lists.txns() {
            lists.take_in(id, op);
        }
        for key in &mut lists.keys {
            if let Some((_, run)) = key.longest {
                key.settle(lists.number_of.of(&run));
            } else if let [single] = &key.possible_appends()[..] {
                key.settle(&[*single]);
            }
        }
        lists
    }

    /// The transactions, with their numbers.
    pub fn txns(&self) -> impl Iterator<Item = (OpId, &'h Op)> + use<'h> {
        self.history.iter().filter(|(_, op)| op.function.is_data())
    }

    /// Those that may have happened and have a completion: ok and info.
    pub fn possible(&self) -> impl Iterator<Item = (OpId, &'h Op)> + use<'h> {
        self.txns()
            .filter(|(_, op)| matches!(op.outcome, Outcome::Ok | Outcome::Info))
    }

    /// The key's facts.
    #[must_use]
    pub fn key(&self, key: KeyId) -> &KeyLists {
        &self.keys[key.at()]
    }

    /// The numbers of a run's elements.
    #[must_use]
    pub fn numbers(&self, run: &Run) -> &[u32] {
        self.number_of.of(run)
    }

    /// The number of an append's element.
    #[must_use]
    pub fn appended(&self, run: &Run) -> u32 {
        self.number_of.of(run)[0]
    }

    fn take_in(&mut self, id: OpId, op: &Op) {
        let history = self.history;
        let runs = history.runs(op);
        for (at, run) in runs.iter().enumerate() {
            let key = &mut self.keys[run.key.at()];
            let numbers = self.number_of.of_mut(run);
            for (record, number) in history.records(run).iter().zip(numbers) {
                // Others may have read the same elements.
                if *number != NONE {
                    continue;
                }
                let next = key.elements.len() as u32;
                *number = key.numbering.number(record.value, next);
                if *number == next {
                    key.elements.push(Element {
                        value: record.value,
                        writer: NONE,
                        appends: 0,
                        intermediate: false,
                        index: NONE,
                    });
                }
            }
            match run.kind {
                RunKind::Append => {
                    let element = &mut key.elements[self.number_of.of(run)[0] as usize];
                    element.appends += 1;
                    if op.outcome != Outcome::Open || element.writer == NONE {
                        element.writer = id.0;
                        let later = runs[at + 1..].iter();
                        element.intermediate = later
                            .into_iter()
                            .any(|r| r.kind == RunKind::Append && r.key == run.key);
                    }
                }
                RunKind::Read if matches!(op.outcome, Outcome::Ok | Outcome::Info) => {
                    let longer = match key.longest {
                        Some((_, longest)) if run.len == longest.len => {
                            listed_later(history, run, &longest)
                        }
                        longest => run.len > longest.map_or(0, |(_, longest)| longest.len),
                    };
                    if longer {
                        key.longest = Some((id, *run));
                    }
                }
                _ => {}
            }
        }
    }
}

/// Whether Clojure lists a read after another one of its length: of several longest reads, which
/// contradict each other, Elle believes the last.
fn listed_later(history: &History, read: &Run, other: &Run) -> bool {
    let (read, other) = (history.records(read), history.records(other));
    let place = |list: &[Record]| clojure::list_place(list.iter().map(|record| record.value));
    read != other && place(read) > place(other)
}

impl KeyLists {
    /// Elements that may be in the list although nobody has read it.
    fn possible_appends(&self) -> Vec<u32> {
        let numbers = 0..self.elements.len() as u32;
        numbers
            .filter(|&number| self.elements[number as usize].appends > 0)
            .collect()
    }

    fn settle(&mut self, list: &[u32]) {
        for &number in list {
            let element = &mut self.elements[number as usize];
            if element.index == NONE {
                element.index = self.order.len() as u32;
                self.order.push(number);
            }
        }
    }

    /// What stands before an element appended to this key: `Ok(None)` for the empty list. An
    /// element that nobody read came after everything that was read.
    #[must_use]
    pub fn before(&self, number: u32) -> Option<u32> {
        match self.elements[number as usize].index {
            NONE => self.order.last().copied(),
            0 => None,
            index => Some(self.order[index as usize - 1]),
        }
    }
}

fn keys(history: &History) -> Vec<KeyLists> {
    let keys = history.keys().iter().map(|key| {
        let mut span = ValueSpan::default();
        for record in history.records.of_key(key).into_iter().flatten() {
            span.add(record.value.as_integer());
        }
        KeyLists {
            key,
            elements: Vec::new(),
            order: Vec::new(),
            longest: None,
            numbering: Numbering::new(&span),
        }
    });
    keys.collect()
}
