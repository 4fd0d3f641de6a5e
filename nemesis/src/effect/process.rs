//! Faults of the process: killed and started again, frozen and let go.
//!
//! A kill bites when the process is gone and nobody accepts on its port; it is healed when the
//! process runs and accepts. A pause bites when the process is measured to stand still and
//! answers nothing (its kernel still accepts); it is healed when it answers.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;

use super::{Effect, Failure, Field, Measured, SILENCE, within};
use crate::cluster::NodeState;
use crate::node::{Listener, NodeId};

/// A broker that is well answers within this, even on a busy machine.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

pub(super) struct Kill {
    pub node: NodeId,
}

#[async_trait]
impl Effect for Kill {
    fn nodes(&self) -> Vec<NodeId> {
        vec![self.node]
    }

    async fn apply(&self, field: &Field) -> Result<(), Failure> {
        within(self.node, "kill", field.cluster.kill(self.node)).await
    }

    async fn bites(&self, field: &Field) -> Measured {
        let state = state(field, self.node).await?;
        if !matches!(state, NodeState::Stopped { .. }) {
            return Err(Failure::Measured(format!("{} is {state:?}", self.node)));
        }
        // From the node itself: whatever the network does, its own kernel answers.
        let to = [(self.node, Listener::Client)];
        let probe = &field.probe(self.node, &to, SILENCE, None).await?[0];
        match &probe.error {
            Some(error) if probe.connect_us.is_none() => {
                Ok(json!({"process": "gone", "client-port": error}))
            }
            _ => Err(Failure::Measured(format!(
                "somebody still accepts on the client port of {}",
                self.node
            ))),
        }
    }

    async fn undo(&self, field: &Field) -> Result<(), Failure> {
        within(self.node, "start", field.cluster.start(self.node)).await
    }

    async fn gone(&self, field: &Field) -> Measured {
        runs_and_answers(field, self.node).await
    }
}

pub(super) struct Pause {
    pub node: NodeId,
}

#[async_trait]
impl Effect for Pause {
    fn nodes(&self) -> Vec<NodeId> {
        vec![self.node]
    }

    async fn apply(&self, field: &Field) -> Result<(), Failure> {
        within(self.node, "pause", field.cluster.pause(self.node)).await
    }

    async fn bites(&self, field: &Field) -> Measured {
        let state = state(field, self.node).await?;
        if state != NodeState::Paused {
            return Err(Failure::Measured(format!("{} is {state:?}", self.node)));
        }
        let (listener, question) = field.cluster.question();
        let to = [(self.node, listener)];
        let probe = &field.probe(self.node, &to, SILENCE, Some(question)).await?[0];
        if let Some(us) = probe.answer_us {
            let why = format!("{} answered in {us} us while paused", self.node);
            return Err(Failure::Measured(why));
        }
        Ok(json!({
            "process": "paused",
            "accepts": probe.connect_us.is_some(),
            "answers": false,
        }))
    }

    async fn undo(&self, field: &Field) -> Result<(), Failure> {
        within(self.node, "resume", field.cluster.resume(self.node)).await
    }

    async fn gone(&self, field: &Field) -> Measured {
        runs_and_answers(field, self.node).await
    }
}

pub(super) async fn state(field: &Field, node: NodeId) -> Result<NodeState, Failure> {
    within(node, "state", field.cluster.state(node)).await
}

pub(super) async fn runs_and_answers(field: &Field, node: NodeId) -> Measured {
    let state = state(field, node).await?;
    if state != NodeState::Running {
        let why = match state {
            NodeState::Stopped { code: Some(code) } => {
                format!("the broker of {node} ended again, with exit code {code}; see its log")
            }
            other => format!("{node} is {other:?}"),
        };
        return Err(Failure::Measured(why));
    }
    let (listener, question) = field.cluster.question();
    let to = [(node, listener)];
    let probe = &field.probe(node, &to, ANSWER_LIMIT, Some(question)).await?[0];
    match probe.answer_us {
        Some(us) => Ok(json!({"process": "running", "answer-us": us})),
        None => Err(Failure::Measured(format!(
            "{node} runs, but its {listener} port does not answer: {}",
            probe.error.as_deref().unwrap_or("no answer")
        ))),
    }
}
