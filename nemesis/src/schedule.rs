//! When which fault is due: a pure function of a seed and a [`ScheduleSpec`].
//!
//! Nothing of the broker under test goes in, so a broker with a seeded bug meets the very faults
//! that a correct one met. The same seed and spec give the same bytes on every machine and in
//! every build (the generator is ChaCha8, and all times are whole milliseconds).

use serde::{Deserialize, Serialize};

use crate::fault::{Fault, FaultKind};

/// What a schedule is made for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ScheduleSpec {
    /// Kinds to draw from; each comes up in turn. Empty: no faults (`none`).
    pub kinds: Vec<FaultKind>,
    /// Number of nodes.
    pub nodes: u32,
    /// Number of partitions that targets are drawn from.
    pub partitions: u32,
    /// Length of the main phase in milliseconds; all faults begin and end within it.
    pub main_ms: u64,
    /// Partitions cut the clients off as well.
    pub clients: bool,
}

/// A list of faults in order of time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// What it was drawn from.
    pub seed: u64,
    /// What it was drawn for.
    pub spec: ScheduleSpec,
    /// The faults, ids counted from 1.
    pub faults: Vec<Fault>,
}
