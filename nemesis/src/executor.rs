//! Carries a schedule out: finds who has the role, applies the fault, measures that it bit, holds
//! it, heals it, measures that it is gone, and tells an [`Observer`] of each step as it happens.
//!
//! An effect that cannot be measured is an error, never a success: the fault is healed and the
//! run ends as a failure of the infrastructure. A role that nobody holds is a fault `skipped`,
//! which is told as such.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::cluster::{Cluster, ClusterError};
use crate::effect::{Effect, Failure, Field, Measured, NOTHING, Resolved};
use crate::fault::Fault;
use crate::journal::{Journal, Lease, unix_ms};
use crate::node::NodeId;
use crate::roles::Roles;
use crate::schedule::Schedule;

/// For how long a role may be vacant before a fault aimed at it is given up.
const RESOLVE_LIMIT: Duration = Duration::from_secs(8);
const RESOLVE_PAUSE: Duration = Duration::from_millis(200);
/// How much longer than the fault its lease runs: applying, measuring, healing.
const LEASE_MARGIN: Duration = Duration::from_secs(60);

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
#[derive(Clone)]
pub struct Executor {
    /// The runtime.
    pub cluster: Arc<dyn Cluster>,
    /// Who has which role.
    pub roles: Arc<dyn Roles>,
    /// Who hears of the steps.
    pub observer: Arc<dyn Observer>,
    /// Where leases are written down.
    pub journal: Arc<Journal>,
}

impl Executor {
    /// Carries out a schedule whose main phase began at `start`. When `stop` turns true the
    /// current faults are healed at once and no more begin. Returns after the last healing was
    /// measured.
    ///
    /// A fault waits for those that should have ended before it: on a slow machine faults come
    /// later than scheduled, never on top of each other unless the schedule says so. A fault
    /// inside another begins when that one has taken effect, and is taken back before it; that it
    /// is gone is measured when both are.
    pub async fn run(
        &self,
        schedule: &Schedule,
        start: Instant,
        stop: watch::Receiver<bool>,
    ) -> Execution {
        let (halt, halted) = watch::channel(false);
        let (marks, _) = watch::channel(BTreeSet::new());
        let marks = Arc::new(marks);
        let mut tasks = JoinSet::new();
        for fault in &schedule.faults {
            let ends = |other: &&Fault| other.at_ms + other.for_ms <= fault.at_ms;
            let begins_when = schedule.faults.iter().filter_map(|other| {
                if other.holds_around(fault) {
                    Some((Mark::Bites, other.id))
                } else if ends(&other) && schedule.faults.iter().any(|f| both(f, fault, other)) {
                    Some((Mark::Undone, other.id))
                } else {
                    ends(&other).then_some((Mark::Done, other.id))
                }
            });
            let around = schedule.faults.iter().filter(|f| f.holds_around(fault));
            let inside = schedule.faults.iter().filter(|f| fault.holds_around(f));
            let undone = |fault: &Fault| (Mark::Undone, fault.id);
            let course = Course {
                executor: self.clone(),
                fault: fault.clone(),
                tag: format!("f{}", fault.id),
                start,
                halt: Halt {
                    asked: stop.clone(),
                    failed: halted.clone(),
                },
                begins_when: begins_when.collect(),
                around: around.map(undone).collect(),
                inside: inside.map(undone).collect(),
                marks: marks.clone(),
                told: BTreeMap::new(),
                measured: Map::new(),
            };
            tasks.spawn(course.run());
        }
        let mut execution = Execution {
            faults: Vec::new(),
            error: None,
        };
        while let Some(ended) = tasks.join_next().await {
            let (executed, error) = match ended {
                Ok(outcome) => outcome,
                Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
            };
            execution.faults.extend(executed);
            if let Some(error) = error {
                // The others heal and end.
                let _ = halt.send(true);
                execution.error.get_or_insert(error);
            }
        }
        execution.faults.sort_by_key(|executed| executed.fault.id);
        execution
    }
}

/// Either reason to end early.
#[derive(Clone)]
struct Halt {
    asked: watch::Receiver<bool>,
    failed: watch::Receiver<bool>,
}

impl Halt {
    fn now(&self) -> bool {
        *self.asked.borrow() || *self.failed.borrow()
    }

    /// Sleeps until then; false if it was cut short.
    async fn sleep_until(&mut self, until: Instant) -> bool {
        tokio::select! {
            biased;
            () = turns_true(&mut self.asked) => false,
            () = turns_true(&mut self.failed) => false,
            () = sleep_until(until) => true,
        }
    }
}

/// Never, if the sender is gone: nobody is left to change it.
async fn turns_true(value: &mut watch::Receiver<bool>) {
    if value.wait_for(|value| *value).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// How far a fault has come, for those that wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Mark {
    /// It has taken effect, or never will.
    Bites,
    /// It has been taken back.
    Undone,
    /// Nothing of it is left.
    Done,
}

/// Whether both happen while `around` holds.
fn both(around: &Fault, one: &Fault, other: &Fault) -> bool {
    around.holds_around(one) && around.holds_around(other)
}

/// One fault on its way through its steps.
struct Course {
    executor: Executor,
    fault: Fault,
    tag: String,
    start: Instant,
    halt: Halt,
    /// What must have happened before it begins: those that end earlier are over, those around
    /// it have taken effect.
    begins_when: BTreeSet<(Mark, u32)>,
    /// The faults around it: only without them can be measured whether it is gone.
    around: BTreeSet<(Mark, u32)>,
    /// The faults inside it: it is taken back after them.
    inside: BTreeSet<(Mark, u32)>,
    marks: Arc<watch::Sender<BTreeSet<(Mark, u32)>>>,
    told: BTreeMap<StepKind, u64>,
    measured: Map<String, Value>,
}

/// What came of one fault: nothing if it was never asked for.
type Outcome = (Option<ExecutedFault>, Option<NemesisError>);

impl Course {
    async fn run(mut self) -> Outcome {
        let outcome = self.steps().await;
        for mark in [Mark::Bites, Mark::Undone, Mark::Done] {
            self.mark(mark);
        }
        outcome
    }

    async fn steps(&mut self) -> Outcome {
        if !self.due().await {
            return (None, None);
        }
        let field = Field {
            cluster: self.executor.cluster.clone(),
            roles: self.executor.roles.clone(),
        };
        let Some(resolved) = self.resolve(&field).await else {
            if self.halt.now() {
                return (None, None);
            }
            let why = format!(
                "no {} within {} s",
                self.fault.action.describe(),
                RESOLVE_LIMIT.as_secs()
            );
            let about = Map::from_iter([("why".to_owned(), json!(why))]);
            self.tell(StepKind::Skipped, &[], &about, None);
            return (Some(self.executed(Vec::new(), Some(why))), None);
        };
        let (moot, error) = match self.carry_out(&field, &resolved).await {
            Ok(moot) => (moot, None),
            Err(error) => (None, Some(error)),
        };
        (Some(self.executed(resolved.targets, moot)), error)
    }

    fn mark(&self, mark: Mark) {
        self.marks.send_modify(|marks| {
            marks.insert((mark, self.fault.id));
        });
    }

    async fn until(&self, wanted: &BTreeSet<(Mark, u32)>) {
        let mut marks = self.marks.subscribe();
        // The sender is ours, so waiting cannot fail.
        let _ = marks.wait_for(|marks| marks.is_superset(wanted)).await;
    }

    fn is_alone(&self) -> bool {
        self.around.is_empty() && self.inside.is_empty()
    }

    /// Waits for its time and for earlier faults; false if the run ends first.
    async fn due(&mut self) -> bool {
        let at = self.start + Duration::from_millis(self.fault.at_ms);
        if !self.halt.sleep_until(at).await {
            return false;
        }
        self.until(&self.begins_when).await;
        !self.halt.now()
    }

    async fn resolve(&mut self, field: &Field) -> Option<Resolved> {
        let deadline = Instant::now() + RESOLVE_LIMIT;
        loop {
            if let Some(mut resolved) = field.resolve(&self.fault, &self.tag).await {
                if !self.is_alone() {
                    // What another fault prevents cannot be demanded of this one.
                    resolved.about.insert("requires".to_owned(), json!(NOTHING));
                }
                return Some(resolved);
            }
            let again = Instant::now() + RESOLVE_PAUSE;
            if again > deadline || !self.halt.sleep_until(again).await {
                return None;
            }
        }
    }

    /// From the lease to its release. However it ends, the fault has been taken back, or the
    /// error says that it could not be.
    /// What comes back says why there was nothing to be hit, if so.
    async fn carry_out(
        &mut self,
        field: &Field,
        resolved: &Resolved,
    ) -> Result<Option<String>, NemesisError> {
        let Resolved {
            targets,
            about,
            effect,
        } = resolved;
        let journal = self.executor.journal.clone();
        let unwritten = |source| NemesisError::Journal {
            path: journal.path().to_owned(),
            source,
        };
        journal
            .lease(&self.lease(effect.as_ref()))
            .map_err(unwritten)?;
        self.tell(StepKind::Asked, targets, about, None);
        let applied = self.apply(field, effect.as_ref()).await;
        if let Ok(measured) = &applied {
            self.tell(StepKind::Effective, targets, about, Some(measured));
            let until = Instant::now() + Duration::from_millis(self.fault.for_ms);
            self.mark(Mark::Bites);
            self.halt.sleep_until(until).await;
            self.until(&self.inside).await;
        }
        if let Err(Failure::Moot(why)) = &applied {
            let about = Map::from_iter([("why".to_owned(), json!(why))]);
            self.tell(StepKind::Skipped, targets, &about, None);
        }
        effect.undo(field).await.map_err(|f| self.not_healed(f))?;
        self.tell(StepKind::Healed, targets, about, None);
        self.mark(Mark::Undone);
        // A broker that is started again but cut off does not answer yet, and need not.
        self.until(&self.around).await;
        let gone = field.until_gone(effect.as_ref()).await;
        let gone = gone.map_err(|failure| self.not_healed(failure))?;
        self.tell(StepKind::Verified, targets, about, Some(&gone));
        journal.release(self.fault.id).map_err(unwritten)?;
        match applied {
            Ok(_) => Ok(None),
            Err(Failure::Moot(why)) => Ok(Some(why)),
            Err(failure) => Err(self.no_effect(failure)),
        }
    }

    async fn apply(&self, field: &Field, effect: &dyn Effect) -> Measured {
        effect.apply(field).await?;
        let measured = effect.bites(field).await;
        match measured {
            // Once more: what is installed now may have met a packet that was under way.
            Err(Failure::Measured(_)) => effect.bites(field).await,
            measured => measured,
        }
    }

    fn lease(&self, effect: &dyn Effect) -> Lease {
        let lasting = self.fault.for_ms + LEASE_MARGIN.as_millis() as u64;
        Lease {
            fault: self.fault.id,
            kind: self.kind().to_owned(),
            nodes: effect.nodes(),
            tag: self.tag.clone(),
            deadline_ms: unix_ms() + lasting,
        }
    }

    fn kind(&self) -> &'static str {
        self.fault.action.kind().name()
    }

    fn tell(
        &mut self,
        kind: StepKind,
        targets: &[NodeId],
        about: &Map<String, Value>,
        measured: Option<&Value>,
    ) {
        let since = self.start.elapsed().as_millis() as u64;
        self.told.insert(kind, since);
        let mut value = Map::from_iter([
            ("fault".to_owned(), json!(self.kind())),
            ("id".to_owned(), json!(self.fault.id)),
            ("step".to_owned(), json!(kind)),
            ("targets".to_owned(), json!(targets)),
        ]);
        value.extend(about.clone());
        if let Some(measured) = measured {
            value.insert("measured".to_owned(), measured.clone());
            let name = if kind == StepKind::Effective {
                "effective"
            } else {
                "verified"
            };
            self.measured.insert(name.to_owned(), measured.clone());
        }
        if kind == StepKind::Asked {
            self.measured.insert("about".to_owned(), json!(about));
        }
        self.executor.observer.step(&Step {
            fault: self.fault.clone(),
            kind,
            targets: targets.to_vec(),
            value: Value::Object(value),
        });
    }

    fn executed(&self, targets: Vec<NodeId>, skipped: Option<String>) -> ExecutedFault {
        let at = |kind| self.told.get(&kind).copied();
        ExecutedFault {
            fault: self.fault.clone(),
            targets,
            asked_ms: at(StepKind::Asked),
            effective_ms: at(StepKind::Effective),
            healed_ms: at(StepKind::Healed),
            verified_ms: at(StepKind::Verified),
            skipped,
            measured: Value::Object(self.measured.clone()),
        }
    }

    fn no_effect(&self, failure: Failure) -> NemesisError {
        match failure {
            Failure::Cluster(source) => self.by_runtime(source),
            Failure::Measured(why) | Failure::Moot(why) => NemesisError::NoEffect {
                id: self.fault.id,
                fault: self.kind().to_owned(),
                why,
            },
        }
    }

    fn not_healed(&self, failure: Failure) -> NemesisError {
        match failure {
            Failure::Cluster(source) => self.by_runtime(source),
            Failure::Measured(why) | Failure::Moot(why) => NemesisError::NotHealed {
                id: self.fault.id,
                fault: self.kind().to_owned(),
                why,
            },
        }
    }

    fn by_runtime(&self, source: ClusterError) -> NemesisError {
        NemesisError::Cluster {
            id: self.fault.id,
            fault: self.kind().to_owned(),
            source,
        }
    }
}

#[cfg(test)]
#[path = "executor_test.rs"]
mod tests;
