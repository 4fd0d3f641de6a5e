//! Puts events together into a [`History`]: takes batches in order, pairs completions with
//! invocations, fills the arenas.
//!
//! Pairing is by process and function, so that a `drain` may stay open around the polls that it
//! is made of. The micro-ops of an invocation are kept only while it is open: a completion repeats
//! them. Where an imported completion has no value, it inherits its invocation's.

use std::mem;

use rustc_hash::{FxHashMap, FxHashSet};
use serde_json::Value as Json;

use super::batch::{Batch, Event, EventType, Head, NO_ERROR, Payload};
use super::events::{Audit, Detail, Drain, GroupOffsets, NemesisStep, Phase, Sample, Step};
use super::read::AuditValue;
use super::{
    Function, History, KeyId, Moment, NO_DETAIL, Op, OpId, Outcome, Process, ProcessId, Record,
    Run, RunKind, Totals, Value,
};

/// An invocation that has not completed.
struct Pending {
    index: i64,
    invoked: Moment,
    runs: Vec<Run>,
    records: Vec<Record>,
    /// What its runs count their records from.
    base: u32,
    detail: Option<Box<Detail>>,
}

/// A history under construction.
#[derive(Default)]
pub(crate) struct Builder {
    pub history: History,
    process_ids: FxHashMap<Process, ProcessId>,
    pending: FxHashMap<(ProcessId, Function), Pending>,
    /// Invocations replaced by a second one of the same process and function.
    abandoned: Vec<(ProcessId, Function, Pending)>,
    spare: Vec<Pending>,
    /// Details that hold nothing but an error, by its text.
    errors: FxHashMap<String, u32>,
}

/// How a batch's numbers are written in the history.
struct Renumbering {
    keys: Vec<KeyId>,
    values: Vec<Value>,
    /// The detail that holds each error alone.
    errors: Vec<u32>,
}

impl Renumbering {
    fn key(&self, key: &mut KeyId) {
        *key = self.keys[key.at()];
    }

    fn value(&self, value: &mut Value) {
        if let Some(number) = value.interned() {
            *value = self.values[number];
        }
    }

    fn payload(&self, payload: &mut Payload) {
        match payload {
            Payload::Samples(samples) => samples.iter_mut().for_each(|s| self.key(&mut s.key)),
            Payload::Ranges(ranges) => ranges.iter_mut().for_each(|(key, ..)| self.key(key)),
            Payload::Audits(audits) => {
                for audit in audits {
                    self.key(&mut audit.key);
                    let records = audit.records.iter_mut();
                    records.for_each(|record| self.value(&mut record.value));
                }
            }
            Payload::Offsets { offsets, .. } => {
                offsets.iter_mut().for_each(|(key, _)| self.key(key));
            }
            _ => {}
        }
    }

    fn detail(&self, detail: &mut Detail) {
        detail.rebalanced.iter_mut().for_each(|key| self.key(key));
        for (_, offsets) in &mut detail.sent_offsets {
            offsets.iter_mut().for_each(|(key, _)| self.key(key));
        }
    }
}

/// One event's part of a batch's arenas.
struct Slice<'b> {
    runs: &'b [Run],
    records: &'b [Record],
    /// Where its records begin in the batch.
    base: u32,
}

impl Builder {
    /// Whether a batch might overflow the arenas' numbering.
    pub fn has_room_for(&self, batch: &Batch) -> bool {
        const LIMIT: usize = u32::MAX as usize - 1;
        let history = &self.history;
        history.events as usize + batch.events.len() < LIMIT
            && history.runs.len() + batch.runs.len() < LIMIT
            && history.records.stored() + batch.records.len() < LIMIT
    }

    /// Takes the next events; leaves the batch empty.
    pub fn absorb(&mut self, batch: &mut Batch) {
        let renumbering = self.renumber(batch);
        for run in &mut batch.runs {
            renumbering.key(&mut run.key);
        }
        if !renumbering.values.is_empty() {
            let records = batch.records.iter_mut();
            records.for_each(|record| renumbering.value(&mut record.value));
        }
        for (name, count) in mem::take(&mut batch.unknown) {
            *self.history.unknown_functions.entry(name).or_insert(0) += count;
        }
        let (mut runs, mut records) = (0, 0);
        for event in mem::take(&mut batch.events) {
            let (runs_end, records_end) = (event.ends.0 as usize, event.ends.1 as usize);
            let slice = Slice {
                runs: &batch.runs[runs..runs_end],
                records: &batch.records[records..records_end],
                base: records as u32,
            };
            (runs, records) = (runs_end, records_end);
            self.event(event, &slice, &renumbering);
        }
        batch.clear();
    }

    fn renumber(&mut self, batch: &mut Batch) -> Renumbering {
        let history = &mut self.history;
        let names = batch.keys.iter().map(|key| batch.keys.name(key));
        let keys = names.map(|name| history.keys.intern(name)).collect();
        let scalars = mem::take(&mut batch.values).into_scalars().into_iter();
        let values = scalars.map(|json| history.values.scalar(json)).collect();
        let errors = mem::take(&mut batch.errors).into_iter();
        let errors = errors.map(|error| {
            *self.errors.entry(error.to_string()).or_insert_with(|| {
                history.details.push(Detail {
                    error: Some(error),
                    ..Detail::default()
                });
                history.details.len() as u32 - 1
            })
        });
        Renumbering {
            keys,
            values,
            errors: errors.collect(),
        }
    }

    fn process_id(&mut self, process: Process) -> ProcessId {
        let processes = &mut self.history.processes;
        *self.process_ids.entry(process).or_insert_with(|| {
            processes.push(process);
            ProcessId(processes.len() as u32 - 1)
        })
    }

    /// An invocation is set aside, a completion becomes an operation.
    fn event(&mut self, event: Event, slice: &Slice, renumbering: &Renumbering) {
        let Event {
            head, has_value, ..
        } = event;
        let seq = self.history.events;
        self.history.events += 1;
        let index = head.index.unwrap_or(i64::from(seq));
        let at = Moment {
            seq,
            time: head.time.unwrap_or(-1),
        };
        let process = self.process_id(head.process);
        self.count(&head);
        let error = match event.error {
            NO_ERROR => NO_DETAIL,
            error => renumbering.errors[error as usize],
        };
        let (mut payload, mut detail) = match event.extra {
            Some(extra) => (extra.payload, extra.detail),
            None if has_value => (Payload::Data, None),
            None => (Payload::None, None),
        };
        renumbering.payload(&mut payload);
        if let Some(detail) = &mut detail {
            renumbering.detail(detail);
        }
        if head.kind == EventType::Invoke {
            if head.function == Function::Nemesis {
                self.asked(at, payload);
            } else if head.function != Function::Other {
                let detail = detail.or_else(|| self.detail_of(error));
                self.set_aside((process, head.function), index, at, detail, slice);
            }
            return;
        }
        if head.function == Function::Other {
            return;
        }
        let mut pending = self.pending.remove(&(process, head.function));
        if error == NO_DETAIL && detail.is_none() {
            detail = pending.as_mut().and_then(|pending| pending.detail.take());
        }
        let runs = self.history.runs.len() as u32;
        match pending.as_ref().filter(|_| !has_value) {
            Some(pending) => keep(&mut self.history, &pending.slice()),
            None => keep(&mut self.history, slice),
        }
        // Without an invocation nothing says when it began: no operation can precede it.
        let unknown = Moment { seq: 0, ..at };
        let invoked = pending.as_ref().map_or(unknown, |p| p.invoked);
        let op = Op {
            index,
            invoked,
            completed: at,
            process,
            outcome: match head.kind {
                EventType::Ok => Outcome::Ok,
                EventType::Fail => Outcome::Fail,
                EventType::Info | EventType::Invoke => Outcome::Info,
            },
            function: head.function,
            runs: (runs, self.history.runs.len() as u32 - runs),
            detail: error,
        };
        self.recycle(pending);
        self.push_op(op, payload, detail);
    }

    /// What the sampler and the nemesis note is no operation of a client.
    fn count(&mut self, head: &Head) {
        if matches!(head.process, Process::Nemesis | Process::Sampler) {
            return;
        }
        let totals: &mut Totals = &mut self.history.totals;
        match head.kind {
            EventType::Invoke => totals.invoke += 1,
            EventType::Ok => totals.ok += 1,
            EventType::Fail => totals.fail += 1,
            EventType::Info => totals.info += 1,
        }
    }

    fn detail_of(&self, id: u32) -> Option<Box<Detail>> {
        (id != NO_DETAIL).then(|| Box::new(self.history.details[id as usize].clone()))
    }

    fn recycle(&mut self, pending: Option<Pending>) {
        if let Some(pending) = pending.filter(|_| self.spare.len() < 1024) {
            self.spare.push(pending);
        }
    }

    fn set_aside(
        &mut self,
        who: (ProcessId, Function),
        index: i64,
        invoked: Moment,
        detail: Option<Box<Detail>>,
        slice: &Slice,
    ) {
        let mut pending = self.spare.pop().unwrap_or_else(|| Pending {
            index,
            invoked,
            runs: Vec::new(),
            records: Vec::new(),
            base: 0,
            detail: None,
        });
        pending.index = index;
        pending.invoked = invoked;
        pending.detail = detail;
        pending.base = slice.base;
        pending.runs.clear();
        pending.runs.extend_from_slice(slice.runs);
        pending.records.clear();
        pending.records.extend_from_slice(slice.records);
        if let Some(replaced) = self.pending.insert(who, pending) {
            self.abandoned.push((who.0, who.1, replaced));
        }
    }

    /// A nemesis writes one event for each step; where it writes an invocation first, that counts
    /// as the asking and nothing else.
    fn asked(&mut self, at: Moment, payload: Payload) {
        if let Payload::Step {
            step: Step::Asked, ..
        } = payload
        {
            self.push_step(at, payload, false, None);
        }
    }

    fn push_step(&mut self, at: Moment, payload: Payload, failed: bool, error: Option<Json>) {
        let Payload::Step {
            fault,
            id,
            step,
            value,
        } = payload
        else {
            return;
        };
        let targets = value.get("targets").cloned().unwrap_or(Json::Null);
        let step = NemesisStep {
            at,
            fault,
            id,
            step,
            failed,
            targets,
            value,
            error,
        };
        self.history.nemesis.push(step);
    }

    fn push_op(&mut self, mut op: Op, payload: Payload, detail: Option<Box<Detail>>) {
        let id = OpId(self.history.ops.len() as u32);
        if let Some(detail) = detail {
            self.history.details.push(*detail);
            op.detail = self.history.details.len() as u32 - 1;
        }
        let history = &mut self.history;
        let error = || history.detail(&op).and_then(|detail| detail.error.clone());
        match payload {
            Payload::Samples(samples) => {
                history
                    .samples
                    .extend(samples.into_iter().map(|sample| Sample {
                        op: id,
                        key: sample.key,
                        log_start: sample.log_start,
                        last_stable: sample.last_stable,
                        high_watermark: sample.high_watermark,
                        leader: sample.leader,
                        epoch: sample.epoch,
                        asked: sample.asked,
                    }));
            }
            Payload::Ranges(ranges) => {
                history
                    .drains
                    .extend(ranges.into_iter().map(|(key, from, to)| Drain {
                        op: id,
                        key,
                        from,
                        to,
                    }))
            }
            Payload::Audits(audits) => history.audits.extend(audits.into_iter().map(|audit| {
                let AuditValue {
                    key,
                    broker,
                    high_watermark,
                    records,
                } = audit;
                Audit {
                    op: id,
                    key,
                    broker,
                    high_watermark,
                    records,
                }
            })),
            Payload::Phase(name) => history.phases.push(Phase {
                at: op.completed,
                name,
            }),
            Payload::Config(config) if history.config.is_empty() => history.config = config,
            Payload::Offsets { group, offsets } => {
                history.group_offsets.push(GroupOffsets {
                    op: id,
                    group,
                    offsets,
                });
            }
            Payload::Step { .. } => {
                let error = error();
                let failed = op.outcome == Outcome::Fail || error.is_some();
                self.push_step(op.completed, payload, failed, error);
            }
            Payload::Config(_) | Payload::Json(_) | Payload::Data | Payload::None => {}
        }
        self.history.ops.push(op);
    }

    /// The history ends here. Invocations still open become operations without a completion.
    pub fn finish(self) -> History {
        let mut history = self.history;
        for (process, function, pending) in sorted(&self.pending, &self.abandoned) {
            push_open(&mut history, process, function, pending);
        }
        history
    }

    /// The history as it would be if it ended here.
    pub fn so_far(&self) -> History {
        let mut history = self.history.clone();
        for (process, function, pending) in sorted(&self.pending, &self.abandoned) {
            push_open(&mut history, process, function, pending);
        }
        history
    }

    /// The messages that operations send which have not completed.
    pub fn in_flight(&self) -> FxHashSet<(KeyId, Value)> {
        let mut messages = FxHashSet::default();
        for (_, _, pending) in sorted(&self.pending, &self.abandoned) {
            for run in pending.runs.iter().filter(|run| run.kind == RunKind::Send) {
                let start = (run.start - pending.base) as usize;
                let records = &pending.records[start..start + run.len as usize];
                messages.extend(records.iter().map(|record| (run.key, record.value)));
            }
        }
        messages
    }

    /// Keeps names and what is in flight, and none of the operations that have completed.
    pub fn forget_operations(&mut self) {
        self.errors.clear();
        let history = &mut self.history;
        history.ops.clear();
        history.runs.clear();
        history.records.clear();
        history.details.clear();
        history.samples.clear();
        history.drains.clear();
        history.audits.clear();
        history.nemesis.clear();
        history.group_offsets.clear();
    }
}

type Open<'p> = (ProcessId, Function, &'p Pending);

/// Invocations that have not completed, in order.
fn sorted<'p>(
    pending: &'p FxHashMap<(ProcessId, Function), Pending>,
    abandoned: &'p [(ProcessId, Function, Pending)],
) -> Vec<Open<'p>> {
    let pending = pending
        .iter()
        .map(|(&(process, function), pending)| (process, function, pending));
    let abandoned = abandoned
        .iter()
        .map(|(process, function, pending)| (*process, *function, pending));
    let mut open: Vec<_> = pending.chain(abandoned).collect();
    open.sort_by_key(|(_, _, pending)| pending.invoked.seq);
    open
}

fn push_open(history: &mut History, process: ProcessId, function: Function, pending: &Pending) {
    let mut detail = NO_DETAIL;
    if let Some(of_invocation) = &pending.detail {
        detail = history.details.len() as u32;
        history.details.push((**of_invocation).clone());
    }
    let runs = history.runs.len() as u32;
    keep(history, &pending.slice());
    history.ops.push(Op {
        index: pending.index,
        invoked: pending.invoked,
        completed: Moment::NEVER,
        process,
        outcome: Outcome::Open,
        function,
        runs: (runs, history.runs.len() as u32 - runs),
        detail,
    });
}

/// Puts micro-ops into the arenas for good.
fn keep(history: &mut History, slice: &Slice) {
    let History { runs, records, .. } = history;
    runs.extend(slice.runs.iter().map(|run| {
        let from = (run.start - slice.base) as usize;
        let start = records.store(run, &slice.records[from..from + run.len as usize]);
        let mut kept = *run;
        kept.start = start;
        kept
    }));
}

impl Pending {
    fn slice(&self) -> Slice<'_> {
        Slice {
            runs: &self.runs,
            records: &self.records,
            base: self.base,
        }
    }
}
