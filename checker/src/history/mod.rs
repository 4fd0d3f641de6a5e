//! A history in memory: what happened, in columns.
//!
//! Everything that occurs often is a small fixed-size record in one of three arenas (operations,
//! runs, records); names are interned; whatever is rare stands in side tables. A history is
//! immutable once built, and nothing here judges it: that is the analyses' part.
//!
//! Reading order: [`Op`], [`Run`] and [`Record`], then [`events`].

pub(crate) mod arena;
pub(crate) mod batch;
pub(crate) mod build;
pub mod edn;
pub mod events;
mod key;
mod op;
pub mod read;
mod value;

pub use events::{
    Audit, AuditRecord, Detail, Drain, GroupOffsets, NemesisStep, Phase, Sample, Step,
};
pub use key::{KeyId, Keys};
pub use op::{Function, Moment, Op, OpId, Outcome, Process, ProcessId, Record, Run, RunKind};
pub use value::{Value, Values};

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

/// No [`Detail`] stands beside an operation.
pub(crate) const NO_DETAIL: u32 = u32::MAX;

/// How many events of each `type` clients caused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Invocations.
    pub invoke: u64,
    /// Completions that happened.
    pub ok: u64,
    /// Completions that certainly did not happen.
    pub fail: u64,
    /// Completions that may have happened.
    pub info: u64,
}

/// Everything that a history file says.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub(crate) keys: Keys,
    pub(crate) values: Values,
    pub(crate) processes: Vec<Process>,
    pub(crate) ops: Vec<Op>,
    pub(crate) runs: Vec<Run>,
    pub(crate) records: arena::Arena,
    pub(crate) details: Vec<Detail>,
    /// Answers to `list-offsets`, in the order of their completions.
    pub samples: Vec<Sample>,
    /// Complete passes, in the order of their completions.
    pub drains: Vec<Drain>,
    /// Contents of replicas, in the order of their completions.
    pub audits: Vec<Audit>,
    /// Steps of faults, in order.
    pub nemesis: Vec<NemesisStep>,
    /// Phases of the run, in order.
    pub phases: Vec<Phase>,
    /// Commits and fetches of group offsets.
    pub group_offsets: Vec<GroupOffsets>,
    /// The first `config` operation's value; empty where there is none.
    pub config: Map<String, Json>,
    /// How often each unknown operation occurred.
    pub unknown_functions: BTreeMap<String, u64>,
    /// Number of events (lines) read.
    pub events: u32,
    /// Those of clients by type: neither the sampler's nor the nemesis's.
    pub totals: Totals,
    /// The last line was half-written: everything before it counts.
    pub truncated: bool,
}

impl History {
    /// Names of keys.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Table of values.
    #[must_use]
    pub fn values(&self) -> &Values {
        &self.values
    }

    /// All operations, in the order of their completions; those without one come last.
    #[must_use]
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// One operation.
    #[must_use]
    pub fn op(&self, id: OpId) -> &Op {
        &self.ops[id.at()]
    }

    /// All operations with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (OpId, &Op)> {
        self.ops
            .iter()
            .enumerate()
            .map(|(at, op)| (OpId(at as u32), op))
    }

    /// The runs of records of one operation, in the order of its micro-ops.
    #[must_use]
    pub fn runs(&self, op: &Op) -> &[Run] {
        let (start, len) = op.runs;
        &self.runs[start as usize..start as usize + len as usize]
    }

    /// The records of one run.
    #[must_use]
    pub fn records(&self, run: &Run) -> &[Record] {
        self.records.of(run)
    }

    /// By process, the last operation of each: what is known of a process's state may be forgotten
    /// after it. Clients that time out are replaced, so there may be a process for every few
    /// operations.
    pub(crate) fn last_ops(&self) -> Vec<OpId> {
        let mut last = vec![OpId(0); self.processes.len()];
        for (id, op) in self.iter() {
            last[op.process.at()] = id;
        }
        last
    }

    /// Who a process is.
    #[must_use]
    pub fn process(&self, id: ProcessId) -> Process {
        self.processes[id.at()]
    }

    /// How many processes there are.
    #[must_use]
    pub fn process_count(&self) -> usize {
        self.processes.len()
    }

    /// What stands beside an operation's value, if anything does.
    #[must_use]
    pub fn detail(&self, op: &Op) -> Option<&Detail> {
        (op.detail != NO_DETAIL).then(|| &self.details[op.detail as usize])
    }

    /// Whether producers asked for the acknowledgement of all in-sync replicas. Histories that do
    /// not say are taken to.
    #[must_use]
    pub fn acks_all(&self) -> bool {
        match self.config.get("acks") {
            None | Some(Json::Null) => true,
            Some(Json::Number(acks)) => acks.as_i64() == Some(-1),
            Some(Json::String(acks)) => matches!(acks.as_str(), "all" | "-1"),
            Some(_) => false,
        }
    }

    /// Whether consumers were allowed to see records of transactions that are not committed.
    #[must_use]
    pub fn reads_uncommitted(&self) -> bool {
        let isolation = self.config.get("isolation").and_then(Json::as_str);
        isolation.is_some_and(|level| level.replace('-', "_") == "read_uncommitted")
    }
}
