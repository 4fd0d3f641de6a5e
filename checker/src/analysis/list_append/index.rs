//! Facts about lists: which elements were appended to each key, by whom, and in which order they
//! stand.
//!
//! The version order of a key is its longest read, without repetitions: every other read must be a
//! prefix of it (`orders`). Where no read shows anything and a single element was appended, that
//! element is the order.

use super::super::facts::{Hands, NONE, Numbering, ValueSpan, clojure};
use crate::history::arena::{self, Column};
use crate::history::{History, KeyId, Op, OpId, Outcome, Record, Run, RunKind, Value};
use crate::parallel;

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
    /// Derives them, by key on all cores.
    #[must_use]
    pub fn derive(history: &'h History) -> Lists<'h> {
        let hands = Hands::of(history);
        let keys = parallel::each(hands.deal(history.keys().iter()), |keys| {
            let keys = keys.into_iter();
            let mut keys: Vec<_> = keys.map(|key| KeyRecords::new(history, key)).collect();
            let hand = keys.first().map(|key| hands.hand(key.lists.key));
            for (id, op) in history.iter().filter(|(_, op)| op.function.is_data()) {
                let runs = history.runs(op);
                for (at, run) in runs.iter().enumerate() {
                    // Messages sent and polled are elements of no list.
                    let of_lists = matches!(run.kind, RunKind::Append | RunKind::Read);
                    if of_lists && Some(hands.hand(run.key)) == hand {
                        keys[hands.place(run.key)].take_in(history, id, op, at);
                    }
                }
            }
            keys.iter_mut().for_each(KeyRecords::settle);
            keys
        });
        let mut lists = Vec::with_capacity(history.keys().len());
        let in_order = hands.gather(keys).map(|key| {
            lists.push(key.lists);
            key.numbers
        });
        let number_of = Column::of_keys(in_order);
        Lists {
            history,
            keys: lists,
            number_of,
        }
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
}

/// A key whose elements are being numbered.
struct KeyRecords {
    lists: KeyLists,
    /// The numbers of its records' elements, as [`arena::Arena::of_key`] gives the records.
    numbers: [Vec<u32>; 2],
}

impl KeyRecords {
    fn new(history: &History, key: KeyId) -> KeyRecords {
        let mut span = ValueSpan::default();
        for record in history.records.of_key(key).into_iter().flatten() {
            span.add(record.value.as_integer());
        }
        KeyRecords {
            lists: KeyLists {
                key,
                elements: Vec::new(),
                order: Vec::new(),
                longest: None,
                numbering: Numbering::new(&span),
            },
            numbers: history.records.beside(key, &NONE),
        }
    }

    /// Takes in one of the operation's runs, by its place.
    fn take_in(&mut self, history: &History, id: OpId, op: &Op, at: usize) {
        let (runs, key) = (history.runs(op), &mut self.lists);
        let run = &runs[at];
        let numbers = arena::beside_run(&mut self.numbers, run);
        for (record, number) in history.records(run).iter().zip(&mut *numbers) {
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
                let element = &mut key.elements[numbers[0] as usize];
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

    fn settle(&mut self) {
        if let Some((_, run)) = self.lists.longest {
            self.lists
                .settle(arena::beside_run(&mut self.numbers, &run));
        } else if let [single] = &self.lists.possible_appends()[..] {
            self.lists.settle(&[*single]);
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
