//! Operations: one invocation with its completion, as compact records.
//!
//! Invariants: operations stand in the order of their completions (those that never completed
//! come last, in the order of their invocations); `invoked.seq <= completed.seq`; `seq` is the
//! event's position in the file, which *is* real-time order. `time` is for people and plots,
//! order is decided by `seq` alone.

use super::key::KeyId;
use super::value::Value;

/// An operation's number within its history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub u32);

impl OpId {
    /// For indexing tables by operation.
    #[must_use]
    pub fn at(self) -> usize {
        self.0 as usize
    }
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It happened.
    Ok,
    /// It certainly did not happen.
    Fail,
    /// It may have happened, then or later.
    Info,
    /// No completion was recorded: the history was cut off, or holds only the invocation. Like
    /// [`Outcome::Info`], but there is no completion to point at.
    Open,
}

/// What an operation does. Histories may hold others: see [`Function::Other`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Function {
    /// One batch of one producer.
    Send,
    /// One poll of one consumer.
    Poll,
    /// Sends and polls as one transaction (of list-append too).
    Txn,
    /// The consumer takes these keys, by hand.
    Assign,
    /// The consumer subscribes to these keys, as a member of its group.
    Subscribe,
    /// A group's offsets were committed.
    CommitOffsets,
    /// A group's committed offsets were read.
    FetchOffsets,
    /// The run's settings.
    Config,
    /// The run enters a phase.
    Phase,
    /// One complete pass over ranges of offsets.
    Drain,
    /// What one replica holds.
    Audit,
    /// Log start, LSO and high watermark as one broker answered them.
    ListOffsets,
    /// The client was thrown away.
    Crash,
    /// A step of a fault.
    Nemesis,
    /// Anything else: counted and passed over.
    Other,
}

impl Function {
    /// Send, poll or txn: the operations that carry messages.
    #[must_use]
    pub fn is_data(self) -> bool {
        matches!(self, Function::Send | Function::Poll | Function::Txn)
    }
}

/// A moment in the history. Packed, because every operation has two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, packed(4))]
pub struct Moment {
    /// Position of the event in the history; compare these for real-time order.
    pub seq: u32,
    /// Nanoseconds since the run began; -1 where the history does not say.
    pub time: i64,
}

impl Moment {
    /// The completion of an operation that has none: after everything.
    pub const NEVER: Moment = Moment {
        seq: u32::MAX,
        time: -1,
    };
}

/// Who acted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Process {
    /// A logical single-threaded client.
    Client(i64),
    /// Faults.
    Nemesis,
    /// The sampler of offsets, and what it notes about the run.
    Sampler,
    /// `process` was null, absent, or something else.
    Unknown,
}

/// A process's number within its history (dense).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessId(pub u32);

impl ProcessId {
    /// For indexing tables by process.
    #[must_use]
    pub fn at(self) -> usize {
        self.0 as usize
    }
}

/// One operation.
#[derive(Clone, Copy, Debug)]
pub struct Op {
    /// `index` of the completion as the history writes it (of the invocation, while open); the
    /// position where the history has none. Reports name operations by it.
    pub index: i64,
    /// When it was invoked. Equal to `completed` where the history has no invocation.
    pub invoked: Moment,
    /// When it completed; [`Moment::NEVER`] while open.
    pub completed: Moment,
    /// Who.
    pub process: ProcessId,
    /// How it ended.
    pub outcome: Outcome,
    /// What it did.
    pub function: Function,
    pub(crate) runs: (u32, u32),
    pub(crate) detail: u32,
}

impl Op {
    /// Completed before the other was even asked for: the only order that real time proves.
    #[must_use]
    pub fn precedes(&self, other: &Op) -> bool {
        self.completed.seq < other.invoked.seq
    }
}

/// What a [`Run`] of records is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RunKind {
    /// Messages sent; each record is a micro-op of its own.
    Send,
    /// Messages that one poll micro-op returned for one key; may be empty.
    Poll,
    /// A key that an assign or subscribe names; holds no records.
    Assign,
    /// list-append: one appended element.
    Append,
    /// list-append: the elements of one read.
    Read,
    /// list-append: a read whose result is not known; holds no records.
    ReadUnknown,
}

/// Consecutive records of one key and kind within one operation.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// What they are.
    pub kind: RunKind,
    micro_op: [u8; 3],
    /// Their key.
    pub key: KeyId,
    pub(crate) start: u32,
    pub(crate) len: u32,
}

// Histories have tens of millions of runs.
const _: () = assert!(size_of::<Run>() == 16 && size_of::<Op>() == 56);

impl Run {
    /// Positions of micro-ops are counted up to here.
    const MICRO_OP_MAX: u32 = (1 << 24) - 1;

    /// `len` records from `start` on.
    pub(crate) fn new(kind: RunKind, key: KeyId, micro_op: u32, start: u32, len: u32) -> Run {
        let [a, b, c, _] = micro_op.min(Run::MICRO_OP_MAX).to_le_bytes();
        Run {
            kind,
            micro_op: [a, b, c],
            key,
            start,
            len,
        }
    }

    /// Position among the operation's micro-ops (of the first record, for sends), which is told
    /// exactly below 16,777,215.
    #[must_use]
    pub fn micro_op(&self) -> u32 {
        let [a, b, c] = self.micro_op;
        u32::from_le_bytes([a, b, c, 0])
    }
}

/// One message at one offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its offset; [`Record::NO_OFFSET`] where it is not known.
    pub offset: i64,
    /// Its value; [`Value::NULL`] where the payload could not be read.
    pub value: Value,
}

impl Record {
    /// The offset of a message whose offset is not known.
    pub const NO_OFFSET: i64 = i64::MIN;

    /// The offset, where it is known.
    #[must_use]
    pub fn offset(self) -> Option<i64> {
        (self.offset != Record::NO_OFFSET).then_some(self.offset)
    }
}
