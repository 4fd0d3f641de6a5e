//! What can be said of each operation as it completes, at a cost that does not grow with the
//! history.
//!
//! Of each key the watch knows which messages were sent, which of them failed, and which stands at
//! which offset. The oldest are forgotten when there are more than the window holds; whatever would
//! have to be compared with a forgotten one is counted as unchecked.

use std::collections::{BTreeMap, VecDeque};

use rustc_hash::{FxHashMap, FxHashSet};

use crate::analysis::facts::acknowledged;
use crate::analysis::{About, Judge, Kind};
use crate::history::build::Builder;
use crate::history::{Function, History, KeyId, Op, Outcome, ProcessId, Record, RunKind, Value};

/// Something is wrong that no later event can excuse.
#[derive(Clone, Debug)]
pub struct Alarm {
    /// What.
    pub kind: Kind,
    /// The key's name.
    pub key: String,
    /// The message, as JSON.
    pub value: serde_json::Value,
    /// `index` of the operation that showed it.
    pub op: i64,
    /// Whether the profile allows it.
    pub allowed: bool,
    about: KeyId,
}

impl Alarm {
    pub(super) fn judge(&mut self, judge: &impl Judge) {
        self.allowed = judge.allows(self.kind, Some(About::from(self.about)));
    }
}

/// What is known of one message.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    sends: u32,
    failed: bool,
    read: bool,
    offset: Option<i64>,
}

/// What is known of one key.
#[derive(Debug, Default)]
struct KeyWatch {
    messages: FxHashMap<Value, Known>,
    /// In the order of their first appearance.
    order: VecDeque<Value>,
    by_offset: BTreeMap<i64, Value>,
    forgotten: bool,
    forgotten_up_to: i64,
}

/// All keys, and where each process stands.
#[derive(Debug)]
pub(super) struct Watch {
    window: usize,
    keys: Vec<KeyWatch>,
    positions: FxHashMap<ProcessId, Vec<(KeyId, i64)>>,
    unchecked: u64,
}

/// The operation that is being looked at, and what is wrong with it.
struct Look<'a> {
    builder: &'a Builder,
    op: &'a Op,
    alarms: &'a mut Vec<Alarm>,
    /// What is being sent at this moment, once somebody wants to know.
    in_flight: Option<FxHashSet<(KeyId, Value)>>,
}

impl Look<'_> {
    fn is_being_sent(&mut self, key: KeyId, value: Value) -> bool {
        let builder = self.builder;
        let in_flight = self.in_flight.get_or_insert_with(|| builder.in_flight());
        in_flight.contains(&(key, value))
    }

    fn alarm(&mut self, kind: Kind, key: KeyId, value: Value) {
        let history = &self.builder.history;
        let known = self.alarms.iter();
        let json = history.values().json(value);
        let mut same = known.filter(|a| a.kind == kind && a.about == key && a.value == json);
        if same.next().is_none() {
            self.alarms.push(Alarm {
                kind,
                key: history.keys().name(key).to_owned(),
                value: json,
                op: self.op.index,
                allowed: false,
                about: key,
            });
        }
    }
}

impl Watch {
    pub fn new(window: usize) -> Watch {
        Watch {
            window,
            keys: Vec::new(),
            positions: FxHashMap::default(),
            unchecked: 0,
        }
    }

    pub fn unchecked(&self) -> Option<String> {
        (self.unchecked > 0).then(|| {
            format!(
                "{} records could not be compared with messages that had fallen out of the window \
                 of {} messages of each key",
                self.unchecked, self.window
            )
        })
    }

    /// Looks at an operation that has just completed.
    pub fn completed(&mut self, builder: &Builder, op: &Op, alarms: &mut Vec<Alarm>) {
        let history = &builder.history;
        self.keys
            .resize_with(history.keys().len(), KeyWatch::default);
        match op.function {
            Function::Assign | Function::Subscribe => self.assigned(history, op),
            Function::Send | Function::Poll | Function::Txn => {
                let mut look = Look {
                    builder,
                    op,
                    alarms,
                    in_flight: None,
                };
                self.sent(&mut look);
                self.polled(&mut look);
            }
            _ => {}
        }
    }

    fn assigned(&mut self, history: &History, op: &Op) {
        if !matches!(op.outcome, Outcome::Ok | Outcome::Info) {
            return;
        }
        let seek = history
            .detail(op)
            .is_some_and(|detail| detail.seek_to_beginning);
        let named = history.runs(op);
        if let Some(positions) = self.positions.get_mut(&op.process) {
            positions.retain(|&(key, _)| !seek && named.iter().any(|run| run.key == key));
        }
    }

    fn sent(&mut self, look: &mut Look) {
        let (history, op) = (&look.builder.history, look.op);
        for run in history
            .runs(op)
            .iter()
            .filter(|run| run.kind == RunKind::Send)
        {
            for &record in history.records(run).iter().filter(|r| !r.value.is_null()) {
                let known = self.know(run.key, record.value);
                known.sends += 1;
                let acknowledged = acknowledged(op, record);
                known.failed |= op.outcome == Outcome::Fail && !acknowledged;
                if known.failed && known.read && known.sends == 1 {
                    look.alarm(Kind::G1a, run.key, record.value);
                }
                if acknowledged && record.offset().is_some_and(|offset| offset >= 0) {
                    self.place(look, run.key, record);
                }
            }
        }
    }

    fn polled(&mut self, look: &mut Look) {
        let (history, op) = (&look.builder.history, look.op);
        let ok = op.outcome == Outcome::Ok;
        let rebalanced = |key| {
            let detail = history.detail(op);
            detail.is_some_and(|detail| detail.rebalanced.contains(&key))
        };
        let mut positions = self.positions.remove(&op.process).unwrap_or_default();
        for run in history
            .runs(op)
            .iter()
            .filter(|run| run.kind == RunKind::Poll)
        {
            let known = positions.iter().position(|&(key, _)| key == run.key);
            let mut last = known
                .map(|at| positions[at].1)
                .filter(|_| !rebalanced(run.key));
            for &record in history.records(run).iter().filter(|r| !r.value.is_null()) {
                if record.offset >= 0 {
                    if last.is_some_and(|last| record.offset <= last) {
                        look.alarm(Kind::NonmonotonicPoll, run.key, record.value);
                    }
                    last = Some(record.offset);
                    self.place(look, run.key, record);
                }
                self.read(look, run.key, record.value, ok);
            }
            if let Some(last) = last.filter(|_| ok) {
                match known {
                    Some(at) => positions[at].1 = last,
                    None => positions.push((run.key, last)),
                }
            }
        }
        self.positions.insert(op.process, positions);
    }

    /// A message was polled: somebody must have sent it, and not in vain.
    fn read(&mut self, look: &mut Look, key: KeyId, value: Value, ok: bool) {
        let forgotten = self.keys[key.at()].forgotten;
        let known = self.know(key, value);
        known.read |= ok;
        let (failed, sends) = (known.failed, known.sends);
        if ok && failed && sends == 1 {
            look.alarm(Kind::G1a, key, value);
        }
        if sends == 0 && !look.is_being_sent(key, value) {
            if forgotten {
                self.unchecked += 1;
            } else {
                look.alarm(Kind::UnwrittenRead, key, value);
            }
        }
    }

    fn know(&mut self, key: KeyId, value: Value) -> &mut Known {
        let watch = &mut self.keys[key.at()];
        if !watch.messages.contains_key(&value) {
            watch.order.push_back(value);
            while watch.order.len() > self.window {
                let oldest = watch
                    .order
                    .pop_front()
                    .expect("it is longer than the window");
                watch.forgotten = true;
                if let Some(offset) = watch.messages.remove(&oldest).and_then(|k| k.offset) {
                    watch.by_offset.remove(&offset);
                    watch.forgotten_up_to = watch.forgotten_up_to.max(offset);
                }
            }
        }
        watch.messages.entry(value).or_default()
    }

    /// The message stands at the offset.
    fn place(&mut self, look: &mut Look, key: KeyId, record: Record) {
        let before = self.know(key, record.value).offset.replace(record.offset);
        let watch = &mut self.keys[key.at()];
        if before.is_some_and(|before| before != record.offset) {
            look.alarm(Kind::Duplicate, key, record.value);
        }
        match watch.by_offset.get(&record.offset) {
            Some(&other) if other != record.value => {
                look.alarm(Kind::InconsistentOffsets, key, record.value);
            }
            Some(_) => {}
            None if watch.forgotten && record.offset <= watch.forgotten_up_to => {
                self.unchecked += 1;
            }
            None => {
                watch.by_offset.insert(record.offset, record.value);
            }
        }
    }
}
