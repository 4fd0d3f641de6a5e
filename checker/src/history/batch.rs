//! Events as they stand in one piece of a history, before they are put together.
//!
//! Pieces are parsed independently of each other, on as many cores as there are, so everything in a
//! batch is numbered within the batch: keys, values that are no small integers, and errors. The
//! [`super::build::Builder`] takes batches in the order of the file and renumbers.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;
use serde_json::{Map, Value as Json};

use super::events::{Detail, Step};
use super::read::{AuditValue, SampleValue};
use super::{Function, KeyId, Keys, Process, Record, Run, RunKind, Values};

/// No error stands beside an event.
pub(crate) const NO_ERROR: u32 = u32::MAX;

/// The `type` of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventType {
    Invoke,
    Ok,
    Fail,
    Info,
}

/// The plain fields of an event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub index: Option<i64>,
    pub time: Option<i64>,
    pub process: Process,
    pub kind: EventType,
    pub function: Function,
}

/// An event's value, as far as it is not in the arenas already.
#[derive(Debug)]
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

/// What most events do not have.
#[derive(Debug)]
pub(crate) struct Extra {
    pub payload: Payload,
    pub detail: Option<Box<Detail>>,
}

/// One event.
#[derive(Debug)]
pub(crate) struct Event {
    pub head: Head,
    /// It has a value: micro-ops or keys in the arenas, or what [`Extra`] holds.
    pub has_value: bool,
    /// Its error, as a number within the batch; [`NO_ERROR`] if it has none, or has more beside it
    /// than an error.
    pub error: u32,
    /// Ends of its runs and records in the arenas.
    pub ends: (u32, u32),
    pub extra: Option<Box<Extra>>,
}

/// Consecutive events.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub keys: Keys,
    pub values: Values,
    pub runs: Vec<Run>,
    pub records: Vec<Record>,
    pub events: Vec<Event>,
    /// Distinct errors.
    pub errors: Vec<Json>,
    /// How often each unknown operation occurred.
    pub unknown: BTreeMap<String, u64>,
    key_texts: FxHashMap<Vec<u8>, KeyId>,
    error_texts: FxHashMap<Vec<u8>, u32>,
    runs_mark: usize,
    records_mark: usize,
    corrupt: Vec<(u32, String)>,
    sent_offsets: Vec<(String, Vec<(KeyId, i64)>)>,
}

impl Batch {
    /// Marks where the event's micro-ops begin.
    pub fn begin_event(&mut self) {
        self.runs_mark = self.runs.len();
        self.records_mark = self.records.len();
        self.corrupt.clear();
        self.sent_offsets.clear();
    }

    /// Forgets what the event has put into the arenas.
    pub fn abandon_event(&mut self) {
        self.runs.truncate(self.runs_mark);
        self.records.truncate(self.records_mark);
    }

    /// The key that stands in the file as these bytes, if it did so before.
    #[inline]
    pub fn known_key(&self, text: &[u8]) -> Option<KeyId> {
        self.key_texts.get(text).copied()
    }

    /// The key of that name, which stands in the file as these bytes.
    pub fn intern_key(&mut self, text: &[u8], name: &str) -> KeyId {
        let key = self.keys.intern(name);
        self.key_texts.insert(text.to_owned(), key);
        key
    }

    /// The number of the error that stands in the file as these bytes; parsed at first sight.
    pub fn error<F>(
        &mut self,
        text: &[u8],
        parse: impl FnOnce() -> Result<Json, F>,
    ) -> Result<u32, F> {
        if let Some(&error) = self.error_texts.get(text) {
            return Ok(error);
        }
        let json = parse()?;
        if json.is_null() {
            return Ok(NO_ERROR);
        }
        let error = self.errors.len() as u32;
        self.errors.push(json);
        self.error_texts.insert(text.to_owned(), error);
        Ok(error)
    }

    /// One message sent; joins the run before it where that is of the same key.
    #[inline]
    pub fn push_send(&mut self, key: KeyId, micro_op: u32, record: Record) {
        let start = self.records.len();
        self.records.push(record);
        let in_event = self.runs.len() > self.runs_mark;
        if let Some(last) = self.runs.last_mut().filter(|_| in_event) {
            let next = last.micro_op() + last.len;
            if last.kind == RunKind::Send && last.key == key && next == micro_op {
                last.len += 1;
                return;
            }
        }
        self.push_run(RunKind::Send, key, micro_op, start);
    }

    /// The records from `start` on are one run.
    #[inline]
    pub fn push_run(&mut self, kind: RunKind, key: KeyId, micro_op: u32, start: usize) {
        let len = (self.records.len() - start) as u32;
        self.runs
            .push(Run::new(kind, key, micro_op, start as u32, len));
    }

    /// The last record's payload did not match its checksum.
    pub fn note_corrupt(&mut self, why: String) {
        let position = self.records.len() - 1 - self.records_mark;
        self.corrupt.push((position as u32, why));
    }

    /// Offsets were sent to the transaction.
    pub fn note_sent_offsets(&mut self, group: String, offsets: Vec<(KeyId, i64)>) {
        self.sent_offsets.push((group, offsets));
    }

    /// An operation that we do not know.
    pub fn count_unknown(&mut self, name: &str) {
        match self.unknown.get_mut(name) {
            Some(count) => *count += 1,
            None => {
                self.unknown.insert(name.to_owned(), 1);
            }
        }
    }

    /// The event is complete.
    pub fn finish_event(
        &mut self,
        head: Head,
        payload: Payload,
        mut error: u32,
        mut detail: Option<Box<Detail>>,
    ) {
        if !self.corrupt.is_empty() || !self.sent_offsets.is_empty() {
            let detail = detail.get_or_insert_default();
            detail.corrupt = std::mem::take(&mut self.corrupt);
            detail.sent_offsets = std::mem::take(&mut self.sent_offsets);
        }
        if let Some(detail) = &mut detail
            && error != NO_ERROR
        {
            detail.error = Some(self.errors[error as usize].clone());
            error = NO_ERROR;
        }
        let has_value = !matches!(payload, Payload::None);
        let plain = matches!(payload, Payload::None | Payload::Data) && detail.is_none();
        let extra = (!plain).then(|| Box::new(Extra { payload, detail }));
        self.events.push(Event {
            head,
            has_value,
            error,
            ends: (self.runs.len() as u32, self.records.len() as u32),
            extra,
        });
    }

    /// Empties it, and keeps its memory and what it knows of texts.
    pub fn clear(&mut self) {
        *self = Batch {
            runs: std::mem::take(&mut self.runs),
            records: std::mem::take(&mut self.records),
            events: std::mem::take(&mut self.events),
            ..Batch::default()
        };
        self.runs.clear();
        self.records.clear();
        self.events.clear();
    }
}
