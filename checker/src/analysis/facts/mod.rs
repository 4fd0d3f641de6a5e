//! Facts derived from a history once, which the analyses share: messages, writers, readers,
//! acknowledgements, and the log of every key (anomalies.md section 2).
//!
//! Two dialects differ in what counts as written. [`Dialect::Jepsen`] judges whole operations, as
//! jepsen.tests.kafka does. [`Dialect::Own`] judges micro-ops: in a non-transactional send, a
//! message with an offset was acknowledged whatever became of its neighbours, so that one message
//! that timed out cannot hide a lost batch (section 8).

pub(crate) mod clojure;
mod log;
mod numbering;

pub use log::Log;
pub use numbering::{NONE, Numbering, Span as ValueSpan};

use log::LogBuilder;
use numbering::Span;
use rustc_hash::FxHashMap;

use crate::verdict::profile::Bench;

use crate::history::arena::Column;
use crate::history::{Function, History, KeyId, Op, OpId, Outcome, Record, Run, RunKind, Value};

/// Whose definitions hold where they differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// jepsen.tests.kafka, to the letter.
    Jepsen,
    /// Ours: section 8.
    Own,
}

impl Dialect {
    /// The dialect that a profile speaks.
    #[must_use]
    pub fn of(bench: &Bench) -> Dialect {
        if bench.profile.name == "jepsen" {
            Dialect::Jepsen
        } else {
            Dialect::Own
        }
    }
}

/// What is known of one message: one value of one key.
#[derive(Clone, Copy, Debug)]
pub struct Message {
    /// Its value.
    pub value: Value,
    /// The last operation that sent it, completed if any is; [`NONE`] if nobody did.
    pub writer: u32,
    /// The first completion of any type that polled it; [`NONE`] if none did.
    pub first_reader: u32,
    /// Its last index in the order; [`NONE`] if it has none.
    pub index: u32,
    /// How many micro-ops sent it, counted up to 255.
    pub sends: u8,
    flags: u8,
}

// Histories have tens of millions of messages.
const _: () = assert!(size_of::<Message>() == 24);

const ACKNOWLEDGED: u8 = 1;
const FAILED: u8 = 2;
const READ_OK: u8 = 4;
const READ: u8 = 8;
const SENT_OK: u8 = 16;
/// It was seen at several indices, or beside another one: [`KeyFacts::first`] knows.
const SPREAD: u8 = 32;

impl Message {
    fn new(value: Value) -> Message {
        Message {
            value,
            writer: NONE,
            first_reader: NONE,
            index: NONE,
            sends: 0,
            flags: 0,
        }
    }

    /// Its producer was told that it is safe.
    #[must_use]
    pub fn acknowledged(&self) -> bool {
        self.flags & ACKNOWLEDGED != 0
    }

    /// A send of it certainly failed.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.flags & FAILED != 0
    }

    /// An ok poll returned it.
    #[must_use]
    pub fn read_ok(&self) -> bool {
        self.flags & READ_OK != 0
    }

    /// A poll of any outcome returned it.
    #[must_use]
    pub fn read(&self) -> bool {
        self.flags & READ != 0
    }

    /// An ok operation sent it.
    #[must_use]
    pub fn sent_ok(&self) -> bool {
        self.flags & SENT_OK != 0
    }

    /// The operation that sent it.
    #[must_use]
    pub fn writer(&self) -> Option<OpId> {
        (self.writer != NONE).then_some(OpId(self.writer))
    }

    /// The first operation that polled it.
    #[must_use]
    pub fn first_reader(&self) -> Option<OpId> {
        (self.first_reader != NONE).then_some(OpId(self.first_reader))
    }
}

/// One key.
#[derive(Debug)]
pub struct KeyFacts {
    /// The key.
    pub key: KeyId,
    /// Its messages, in order of first appearance.
    pub messages: Vec<Message>,
    /// Its log.
    pub log: Log,
    numbering: Numbering,
    /// First and last index of messages that have more than one, or none in the order.
    spread: FxHashMap<Value, (u32, u32)>,
}

impl KeyFacts {
    /// The first index at which a message was seen, conflicts included; [`NONE`] if none.
    #[must_use]
    pub fn first(&self, message: &Message) -> u32 {
        self.span(message).0
    }

    /// The last index at which a message was seen, conflicts included; [`NONE`] if none.
    #[must_use]
    pub fn last(&self, message: &Message) -> u32 {
        self.span(message).1
    }

    fn span(&self, message: &Message) -> (u32, u32) {
        match message.flags & SPREAD {
            0 => (message.index, message.index),
            _ => self.spread[&message.value],
        }
    }

    /// The number of a value's message.
    #[must_use]
    pub fn find(&self, value: Value) -> Option<u32> {
        self.numbering.find(value)
    }

    /// The message at an index of the order.
    #[must_use]
    pub fn at_index(&self, index: u32) -> &Message {
        &self.messages[self.log.order[index as usize] as usize]
    }
}

/// Everything derived.
#[derive(Debug)]
pub struct Facts<'h> {
    /// What it is derived from.
    pub history: &'h History,
    /// By whose definitions.
    pub dialect: Dialect,
    /// By key.
    pub keys: Vec<KeyFacts>,
    message_of: Column<u32>,
    committed: Vec<bool>,
}

impl<'h> Facts<'h> {
    /// Derives them: four passes over the records.
    #[must_use]
    pub fn derive(history: &'h History, dialect: Dialect) -> Facts<'h> {
        let (keys, offsets) = spans(history);
        let mut facts = Facts {
            history,
            dialect,
            keys,
            message_of: history.records.column(&NONE),
            committed: Vec::new(),
        };
        facts.number_messages();
        facts.committed = history
            .ops()
            .iter()
            .map(|op| facts.judge_committed(op))
            .collect();
        facts.build_logs(&offsets);
        facts
    }

    /// The operations that carry messages, with their numbers.
    pub fn data_ops(&self) -> impl Iterator<Item = (OpId, &'h Op)> + use<'h> {
        self.history.iter().filter(|(_, op)| op.function.is_data())
    }

    /// Facts of a key.
    #[must_use]
    pub fn key(&self, key: KeyId) -> &KeyFacts {
        &self.keys[key.at()]
    }

    /// The records of a run, each with the number of its message ([`NONE`] for null).
    pub fn messages_of(&self, run: &Run) -> impl Iterator<Item = (Record, u32)> + '_ {
        let numbers = self.message_of.of(run).iter().copied();
        self.history.records(run).iter().copied().zip(numbers)
    }

    /// The number of the message at a place of a run; `None` behind its end.
    #[must_use]
    #[inline]
    pub fn message_at(&self, run: &Run, place: u32) -> Option<u32> {
        self.message_of.of(run).get(place as usize).copied()
    }

    /// It ended ok; or nobody knows, but something that it sent was read by an ok poll.
    #[must_use]
    pub fn must_have_committed(&self, op: OpId) -> bool {
        self.committed[op.at()]
    }

    /// Whether this operation's send of that record counts as written: it may take its place in
    /// the log, and may be missed.
    #[must_use]
    pub fn counts_as_written(&self, id: OpId, op: &Op, record: Record) -> bool {
        match self.dialect {
            Dialect::Jepsen => self.must_have_committed(id),
            Dialect::Own => {
                acknowledged(op, record)
                    || (op.function == Function::Txn && self.must_have_committed(id))
            }
        }
    }

    /// Where a polled or sent record stands in the order of its key, if that is known.
    #[must_use]
    pub fn index_of(&self, key: KeyId, record: Record, number: u32) -> Option<u32> {
        if number == NONE {
            return None;
        }
        let facts = self.key(key);
        let index = facts.messages[number as usize].index;
        let by_value = (index != NONE).then_some(index);
        if self.dialect == Dialect::Jepsen || record.offset < 0 {
            return by_value;
        }
        // By offset: a duplicate elsewhere does not move this one.
        match by_value {
            Some(index) if facts.log.offsets[index as usize] == record.offset => Some(index),
            _ => facts.log.index_of(record.offset),
        }
    }

    fn number_messages(&mut self) {
        let dialect = self.dialect;
        for (id, op) in self.data_ops() {
            for run in self.history.runs(op) {
                match run.kind {
                    RunKind::Send => self.number_run(run, |message, record| {
                        message.sends = message.sends.saturating_add(1);
                        if op.outcome != Outcome::Open || message.writer == NONE {
                            message.writer = id.0;
                        }
                        message.flags |= sent_flags(dialect, op, record);
                    }),
                    RunKind::Poll => self.number_run(run, |message, _| {
                        if message.first_reader == NONE {
                            message.first_reader = id.0;
                        }
                        let ok = if op.outcome == Outcome::Ok {
                            READ_OK
                        } else {
                            0
                        };
                        message.flags |= READ | ok;
                    }),
                    _ => {}
                }
            }
        }
    }

    fn number_run(&mut self, run: &Run, mut note: impl FnMut(&mut Message, Record)) {
        let facts = &mut self.keys[run.key.at()];
        let numbers = self.message_of.of_mut(run);
        for (&record, number) in self.history.records(run).iter().zip(numbers) {
            if record.value.is_null() {
                continue;
            }
            // Others may have read the same records.
            if *number == NONE {
                let next = facts.messages.len() as u32;
                *number = facts.numbering.number(record.value, next);
                if *number == next {
                    facts.messages.push(Message::new(record.value));
                }
            }
            note(&mut facts.messages[*number as usize], record);
        }
    }

    fn judge_committed(&self, op: &Op) -> bool {
        match op.outcome {
            Outcome::Ok => true,
            Outcome::Info if op.function.is_data() => self
                .history
                .runs(op)
                .iter()
                .filter(|run| run.kind == RunKind::Send)
                .any(|run| {
                    let messages = &self.key(run.key).messages;
                    self.messages_of(run)
                        .any(|(_, n)| n != NONE && messages[n as usize].read_ok())
                }),
            _ => false,
        }
    }

    fn build_logs(&mut self, offsets: &[Span]) {
        let mut builders: Vec<_> = offsets.iter().map(LogBuilder::new).collect();
        for (facts, builder) in self.keys.iter().zip(&mut builders) {
            // Whatever a poll of any outcome returned is in the log.
            let [_, read] = self.history.records.of_key(facts.key);
            let [_, numbers] = self.message_of.of_key(facts.key);
            for (record, &number) in read.iter().zip(numbers) {
                if record.offset >= 0 && number != NONE {
                    builder.add(record.offset, number);
                }
            }
        }
        for (id, op) in self.data_ops() {
            let runs = self.history.runs(op).iter();
            for run in runs.filter(|run| run.kind == RunKind::Send) {
                let builder = &mut builders[run.key.at()];
                for (record, number) in self.messages_of(run) {
                    let known = record.offset >= 0 && number != NONE;
                    if known && self.counts_as_written(id, op, record) {
                        builder.add(record.offset, number);
                    }
                }
            }
        }
        for (facts, builder) in self.keys.iter_mut().zip(builders) {
            facts.log = builder.finish();
            if self.dialect == Dialect::Jepsen {
                pick_as_clojure(facts, self.history);
            }
            place_messages(facts);
        }
    }
}

/// Where an offset holds several messages, the first by [`clojure`]'s order stands for it.
fn pick_as_clojure(facts: &mut KeyFacts, history: &History) {
    let KeyFacts { messages, log, .. } = facts;
    for (index, beside) in &mut log.conflicts {
        let picked = &mut log.order[*index as usize];
        let value = |number: u32| messages[number as usize].value;
        if clojure::compare(history.values(), value(*beside), value(*picked)).is_lt() {
            std::mem::swap(beside, picked);
        }
    }
}

/// The log's positions, message by message.
fn place_messages(facts: &mut KeyFacts) {
    let KeyFacts {
        messages,
        log,
        spread,
        ..
    } = facts;
    let mut seen_again = |message: &mut Message, index: u32| {
        let before = message.index;
        let known = spread.entry(message.value).or_insert((before, before));
        message.flags |= SPREAD;
        let last = if known.1 == NONE { index } else { known.1 };
        *known = (known.0.min(index), last.max(index));
    };
    for (index, &number) in (0..).zip(&log.order) {
        let message = &mut messages[number as usize];
        if message.index != NONE {
            seen_again(message, index);
        }
        message.index = index;
    }
    for &(index, number) in &log.conflicts {
        seen_again(&mut messages[number as usize], index);
    }
}

/// Whether the producer was told that this message is safe.
#[must_use]
pub fn acknowledged(op: &Op, record: Record) -> bool {
    match op.function {
        Function::Send => op.outcome == Outcome::Ok || record.offset().is_some(),
        Function::Txn => op.outcome == Outcome::Ok,
        _ => false,
    }
}

fn sent_flags(dialect: Dialect, op: &Op, record: Record) -> u8 {
    let acknowledged = match dialect {
        Dialect::Jepsen => op.outcome == Outcome::Ok,
        Dialect::Own => acknowledged(op, record),
    };
    let failed = op.outcome == Outcome::Fail && !acknowledged;
    let flag = |holds: bool, flag: u8| if holds { flag } else { 0 };
    flag(acknowledged, ACKNOWLEDGED)
        | flag(failed, FAILED)
        | flag(op.outcome == Outcome::Ok, SENT_OK)
}

/// What the values and the offsets of each key look like.
fn spans(history: &History) -> (Vec<KeyFacts>, Vec<Span>) {
    let spans = history.keys().iter().map(|key| {
        let (mut values, mut offsets) = (Span::default(), Span::default());
        for record in history.records.of_key(key).into_iter().flatten() {
            if !record.value.is_null() {
                values.add(record.value.as_integer());
                if record.offset >= 0 {
                    offsets.add(Some(record.offset));
                }
            }
        }
        let numbering = Numbering::new(&values);
        let facts = KeyFacts {
            key,
            messages: Vec::with_capacity(numbering.bound().min(values.count())),
            log: Log::default(),
            numbering,
            spread: FxHashMap::default(),
        };
        (facts, offsets)
    });
    spans.unzip()
}
