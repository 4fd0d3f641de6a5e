//! Puts events together into a [`History`]: pairs completions with invocations, fills the arenas.
//!
//! Pairing is by process and function, so that a `drain` may stay open around the polls that it
//! is made of. The micro-ops of an invocation are kept only while it is open: a completion repeats
//! them. Where an imported completion has no value, it inherits its invocation's.

use std::mem;

use rustc_hash::FxHashMap;
use serde_json::{Map, Value as Json};

use super::events::{Audit, Detail, Drain, GroupOffsets, NemesisStep, Phase, Sample, Step};
use super::read::{AuditValue, SampleValue};
use super::{
    Function, History, KeyId, Moment, NO_DETAIL, Op, OpId, Outcome, Process, ProcessId, Record,
    Run, RunKind, Totals,
};

/// The `type` of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventType {
    Invoke,
    Ok,
    Fail,
    Info,
}

/// The plain fields of an event.
pub(crate) struct Head {
    pub index: Option<i64>,
    pub time: Option<i64>,
    pub process: Process,
    pub kind: EventType,
    pub function: Function,
}

/// An event's value, as far as it is not in the arenas already.
pub(crate) enum Payload {
    /// No value.
    None,
    /// Micro-ops or keys: at the end of the arenas.
    Data,
    /// Not yet looked at.
    Json(Json),
    Samples(Vec<SampleValue>),
    Ranges(Vec<(KeyId, i64, i64)>),
    Audits(Vec<AuditValue>),
    Step {
        fault: String,
        id: String,
        step: Step,
        value: Json,
    },
    Phase(String),
    Config(Map<String, Json>),
    Offsets {
        group: String,
        offsets: Vec<(KeyId, Option<i64>)>,
    },
}

/// An invocation that has not completed.
struct Pending {
    index: i64,
    invoked: Moment,
    runs: Vec<Run>,
    records: Vec<Record>,
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
    runs_mark: usize,
    records_mark: usize,
    corrupt: Vec<(u32, String)>,
    sent_offsets: Vec<(String, Vec<(KeyId, i64)>)>,
}

impl Builder {
    /// Whether another event might overflow the arenas' numbering.
    pub fn is_full(&self) -> bool {
        // An event's own micro-ops are bounded by the longest line, hence the margin.
        const LIMIT: usize = u32::MAX as usize - (1 << 28);
        let history = &self.history;
        history.events as usize >= LIMIT
            || history.runs.len() >= LIMIT
            || history.records.len() >= LIMIT
    }

    /// Marks where the event's micro-ops begin.
    pub fn begin_event(&mut self) {
        self.runs_mark = self.history.runs.len();
        self.records_mark = self.history.records.len();
        self.corrupt.clear();
        self.sent_offsets.clear();
    }

    /// Forgets what the event has put into the arenas.
    pub fn abandon_event(&mut self) {
        self.history.runs.truncate(self.runs_mark);
        self.history.records.truncate(self.records_mark);
    }

    /// One message sent; joins the run before it where that is of the same key.
    pub fn push_send(&mut self, key: KeyId, micro_op: u32, record: Record) {
        let start = self.history.records.len();
        self.history.records.push(record);
        let in_event = self.history.runs.len() > self.runs_mark;
        if let Some(last) = self.history.runs.last_mut().filter(|_| in_event) {
            let next = last.micro_op + last.len;
            if last.kind == RunKind::Send && last.key == key && next == micro_op {
                last.len += 1;
                return;
            }
        }
        self.push_run(RunKind::Send, key, micro_op, start);
    }

    /// The records from `start` on are one run.
    pub fn push_run(&mut self, kind: RunKind, key: KeyId, micro_op: u32, start: usize) {
        let len = (self.history.records.len() - start) as u32;
        self.history.runs.push(Run {
            kind,
            key,
            micro_op,
            start: start as u32,
            len,
        });
    }

    /// The last record's payload did not match its checksum.
    pub fn note_corrupt(&mut self, why: String) {
        let position = self.history.records.len() - 1 - self.records_mark;
        self.corrupt.push((position as u32, why));
    }

    /// Offsets were sent to the transaction.
    pub fn note_sent_offsets(&mut self, group: String, offsets: Vec<(KeyId, i64)>) {
        self.sent_offsets.push((group, offsets));
    }

    /// An operation that we do not know.
    pub fn count_unknown(&mut self, name: &str) {
        match self.history.unknown_functions.get_mut(name) {
            Some(count) => *count += 1,
            None => {
                self.history.unknown_functions.insert(name.to_owned(), 1);
            }
        }
    }

    fn process_id(&mut self, process: Process) -> ProcessId {
        let processes = &mut self.history.processes;
        *self.process_ids.entry(process).or_insert_with(|| {
            processes.push(process);
            ProcessId(processes.len() as u32 - 1)
        })
    }

    /// The event is complete: an invocation is set aside, a completion becomes an operation.
    pub fn finish_event(&mut self, head: Head, payload: Payload, detail: Option<Box<Detail>>) {
        let seq = self.history.events;
        self.history.events += 1;
        let index = head.index.unwrap_or(i64::from(seq));
        let at = Moment {
            seq,
            time: head.time.unwrap_or(-1),
        };
        let process = self.process_id(head.process);
        // What the sampler and the nemesis note is no operation of a client.
        let mut others = Totals::default();
        let totals = match head.process {
            Process::Nemesis | Process::Sampler => &mut others,
            Process::Client(_) | Process::Unknown => &mut self.history.totals,
        };
        match head.kind {
            EventType::Invoke => {
                totals.invoke += 1;
                if head.function == Function::Nemesis {
                    self.asked(at, payload);
                } else if head.function != Function::Other {
                    self.set_aside((process, head.function), index, at, detail);
                }
                return;
            }
            EventType::Ok => totals.ok += 1,
            EventType::Fail => totals.fail += 1,
            EventType::Info => totals.info += 1,
        }
        if head.function == Function::Other {
            self.abandon_event();
            return;
        }
        let mut pending = self.pending.remove(&(process, head.function));
        let detail = detail.or_else(|| pending.as_mut()?.detail.take());
        let inherits = matches!(payload, Payload::None);
        if let Some(pending) = pending.as_ref().filter(|_| inherits) {
            self.inherit(pending);
        }
        // Without an invocation nothing says when it began: no operation can precede it.
        let invoked = pending.as_ref().map_or(
            Moment {
                seq: 0,
                time: at.time,
            },
            |p| p.invoked,
        );
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
            runs: self.event_runs(),
            detail: NO_DETAIL,
        };
        self.recycle(pending);
        self.push_op(op, payload, detail);
    }

    fn event_runs(&self) -> (u32, u32) {
        (
            self.runs_mark as u32,
            (self.history.runs.len() - self.runs_mark) as u32,
        )
    }

    fn recycle(&mut self, pending: Option<Pending>) {
        if let Some(pending) = pending.filter(|_| self.spare.len() < 1024) {
            self.spare.push(pending);
        }
    }

    fn inherit(&mut self, pending: &Pending) {
        let shift = self.history.records.len() as u32;
        let first = pending.runs.first().map_or(0, |run| run.start);
        for run in &pending.runs {
            self.history.runs.push(Run {
                start: run.start - first + shift,
                ..*run
            });
        }
        self.history.records.extend_from_slice(&pending.records);
    }

    fn set_aside(
        &mut self,
        who: (ProcessId, Function),
        index: i64,
        invoked: Moment,
        detail: Option<Box<Detail>>,
    ) {
        let mut pending = self.spare.pop().unwrap_or_else(|| Pending {
            index,
            invoked,
            runs: Vec::new(),
            records: Vec::new(),
            detail: None,
        });
        pending.index = index;
        pending.invoked = invoked;
        pending.detail = detail;
        pending.runs.clear();
        pending
            .runs
            .extend(self.history.runs.drain(self.runs_mark..));
        pending.records.clear();
        pending
            .records
            .extend(self.history.records.drain(self.records_mark..));
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
        let error = detail.as_ref().and_then(|detail| detail.error.clone());
        op.detail = self.push_detail(detail);
        let history = &mut self.history;
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
                let failed = op.outcome == Outcome::Fail || error.is_some();
                self.push_step(op.completed, payload, failed, error);
            }
            Payload::Config(_) | Payload::Json(_) | Payload::Data | Payload::None => {}
        }
        self.history.ops.push(op);
    }

    fn push_detail(&mut self, detail: Option<Box<Detail>>) -> u32 {
        let noted = !self.corrupt.is_empty() || !self.sent_offsets.is_empty();
        if detail.is_none() && !noted {
            return NO_DETAIL;
        }
        let mut detail = detail.map_or_else(Detail::default, |detail| *detail);
        detail.corrupt = mem::take(&mut self.corrupt);
        detail.sent_offsets = mem::take(&mut self.sent_offsets);
        self.history.details.push(detail);
        self.history.details.len() as u32 - 1
    }

    /// The history ends here. Invocations still open become operations without a completion.
    pub fn finish(mut self) -> History {
        let mut open = mem::take(&mut self.abandoned);
        open.extend(
            self.pending
                .drain()
                .map(|((process, f), pending)| (process, f, pending)),
        );
        open.sort_by_key(|(_, _, pending)| pending.invoked.seq);
        for (process, function, pending) in open {
            self.begin_event();
            self.inherit(&pending);
            let op = Op {
                index: pending.index,
                invoked: pending.invoked,
                completed: Moment::NEVER,
                process,
                outcome: Outcome::Open,
                function,
                runs: self.event_runs(),
                detail: NO_DETAIL,
            };
            self.push_op(op, Payload::None, pending.detail);
        }
        self.history
    }
}
