//! The nemesis at work beside the clients, its steps in the history and on the board.

use std::sync::{Arc, Mutex, PoisonError};

use nemesis::{Execution, Executor, Journal, Observer, Schedule, Step, StepKind};
use serde_json::{Value as Json, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::progress::Board;
use super::site::Site;
use crate::history::{Event, Kind, Process, Recorder, Value};
use crate::roles::MetadataRoles;

/// Writes each step of a fault into the history as it happens.
struct Scribe {
    recorder: Recorder,
    board: Board,
    /// Faults in effect, by id, in words.
    current: Mutex<Vec<(u32, String)>>,
}

impl Observer for Scribe {
    fn step(&self, step: &Step) {
        let name = step.fault.action.kind().name();
        let value = Value::Json(step.value.clone());
        self.recorder
            .record(Event::new(Process::Nemesis, Kind::Info, name, value));
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        match step.kind {
            StepKind::Asked | StepKind::Effective => {
                let targets: Vec<String> = step.targets.iter().map(ToString::to_string).collect();
                let words = format!("{name} of {}", targets.join(" "));
                current.retain(|(id, _)| *id != step.fault.id);
                current.push((step.fault.id, words));
            }
            _ => current.retain(|(id, _)| *id != step.fault.id),
        }
        let words: Vec<&str> = current.iter().map(|(_, words)| words.as_str()).collect();
        self.board
            .fault((!words.is_empty()).then(|| words.join(", ")));
    }
}

/// A nemesis at work.
pub struct AtWork {
    task: JoinHandle<Execution>,
    stop: watch::Sender<bool>,
    recorder: Recorder,
}

impl AtWork {
    /// Lets the nemesis begin at `start`; nothing where the cluster is not ours.
    #[must_use]
    pub fn begin(
        site: &Site,
        schedule: Schedule,
        journal: Option<Arc<Journal>>,
        recorder: &Recorder,
        board: &Board,
        topic: Arc<str>,
        start: Instant,
    ) -> Option<Self> {
        let (Some(runtime), Some(journal)) = (&site.runtime, journal) else {
            return None;
        };
        let scribe = Scribe {
            recorder: recorder.clone(),
            board: board.clone(),
            current: Mutex::new(Vec::new()),
        };
        let executor = Executor {
            cluster: runtime.clone(),
            roles: Arc::new(MetadataRoles::new(site.brokers.clone(), topic)),
            observer: Arc::new(scribe),
            journal,
        };
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(async move { executor.run(&schedule, start, stopped).await });
        Some(Self {
            task,
            stop,
            recorder: recorder.clone(),
        })
    }

    /// Whether everything is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.task.is_finished()
    }

    /// Heals what is in effect, and lets nothing more begin.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Waits for the end. Returns what was executed, and what went wrong in words.
    pub async fn end(self) -> (Json, Option<String>) {
        let execution = match self.task.await {
            Ok(execution) => execution,
            Err(error) => return (Json::Null, Some(format!("the nemesis panicked: {error}"))),
        };
        let failure = execution.error.map(|error| error.to_string());
        if let Some(failure) = &failure {
            let value = json!({"fault": "nemesis", "id": 0, "step": "failed", "targets": []});
            let event = Event::new(Process::Nemesis, Kind::Fail, "nemesis", Value::Json(value));
            let error = json!({"code": "NEMESIS", "message": failure});
            self.recorder.record(event.with_error(Some(error)));
        }
        (json!(execution.faults), failure)
    }
}
