//! Operations that are not sends or polls: what the sampler, the drains, the audits and the
//! nemesis recorded.

use serde_json::{Map, Value as Json};

use super::key::KeyId;
use super::op::{Moment, OpId};
use super::value::Value;

/// One answer to `list-offsets`, for one key by one broker.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// The operation that asked.
    pub op: OpId,
    /// The key asked for.
    pub key: KeyId,
    /// First offset still there.
    pub log_start: Option<i64>,
    /// Last stable offset: end for `read_committed` consumers.
    pub last_stable: Option<i64>,
    /// High watermark: end for `read_uncommitted` consumers.
    pub high_watermark: Option<i64>,
    /// Who leads, by that answer.
    pub leader: Option<i64>,
    /// The leader epoch, by that answer.
    pub epoch: Option<i64>,
    /// Which broker was asked.
    pub asked: Option<i64>,
}

/// A complete pass: every record that existed in `[from, to)` was returned by polls of the
/// process between the operation's invocation and its completion.
#[derive(Clone, Copy, Debug)]
pub struct Drain {
    /// The operation.
    pub op: OpId,
    /// The key read.
    pub key: KeyId,
    /// First offset of the range.
    pub from: i64,
    /// One past the last offset of the range.
    pub to: i64,
}

/// What one replica holds.
#[derive(Clone, Debug)]
pub struct Audit {
    /// The operation.
    pub op: OpId,
    /// The partition.
    pub key: KeyId,
    /// The broker.
    pub broker: i64,
    /// Its high watermark, where it is known.
    pub high_watermark: Option<i64>,
    /// Its records, by offset.
    pub records: Vec<AuditRecord>,
}

/// One record of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// Offset.
    pub offset: i64,
    /// Leader epoch in which it was appended.
    pub epoch: i64,
    /// Value.
    pub value: Value,
}

/// How far a fault has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// It was asked for.
    Asked,
    /// Its effect was seen.
    Effective,
    /// Its undoing was carried out.
    Healed,
    /// Its undoing was seen to have worked.
    Verified,
    /// It was not applied: nobody held the role that it was aimed at.
    Skipped,
    /// Anything else.
    Other,
}

/// One step of one fault.
#[derive(Clone, Debug)]
pub struct NemesisStep {
    /// When (of the completion, where there is one).
    pub at: Moment,
    /// The fault's kind: `partition`, `kill`, ...
    pub fault: String,
    /// Which instance of it.
    pub id: String,
    /// How far.
    pub step: Step,
    /// Whether the step failed (`fail`, or an `error` beside it).
    pub failed: bool,
    /// To whom; as the nemesis wrote it.
    pub targets: Json,
    /// The whole value, for the report.
    pub value: Json,
    /// Why it failed, where it did.
    pub error: Option<Json>,
}

/// The run enters a phase.
#[derive(Clone, Debug)]
pub struct Phase {
    /// When.
    pub at: Moment,
    /// `setup`, `main`, `healed`, `drain`, `restart`, `drain-again`, ...
    pub name: String,
}

/// A group's offsets, committed or fetched.
#[derive(Clone, Debug)]
pub struct GroupOffsets {
    /// The operation.
    pub op: OpId,
    /// The group.
    pub group: String,
    /// Offset by key; `None` where there is none.
    pub offsets: Vec<(KeyId, Option<i64>)>,
}

/// What stands beside an operation's value; most operations have none of it.
#[derive(Clone, Debug, Default)]
pub struct Detail {
    /// Why it did not end ok.
    pub error: Option<Json>,
    /// Keys assigned or revoked while it ran.
    pub rebalanced: Vec<KeyId>,
    /// `seek-to-beginning?` of an assign.
    pub seek_to_beginning: bool,
    /// Consumer group.
    pub group: Option<String>,
    /// Member of the group.
    pub member: Option<String>,
    /// Generation of the group.
    pub generation: Option<i64>,
    /// Transactional id of the producer.
    pub transactional_id: Option<String>,
    /// Producer id and epoch.
    pub producer: Option<(i64, i64)>,
    /// Offsets sent to the transaction: `["offsets", group, {key: o}]`.
    pub sent_offsets: Vec<(String, Vec<(KeyId, i64)>)>,
    /// Records whose checksum was wrong: (position among the operation's records, why).
    pub corrupt: Vec<(u32, String)>,
    /// The function's name, where it is [`super::Function::Other`].
    pub function_name: Option<String>,
    /// Any other field beside the value, as it was written.
    pub other: Map<String, Json>,
}
