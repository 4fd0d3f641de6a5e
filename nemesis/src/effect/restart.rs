//! Processes that end and begin: in good order, one after the other, each new leader in turn.
//!
//! Each is healed when every broker that was taken down answers again.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{join_all, try_join_all};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::process::{runs_and_answers, state};
use super::{Effect, Failure, Field, Measured, within};
use crate::cluster::NodeState;
use crate::fault::Target;
use crate::node::NodeId;

/// A broker ends within this when it is asked to.
const GRACE: Duration = Duration::from_secs(10);
/// A new leader is in office within this, or never.
const ELECTION_LIMIT: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(20);
/// The exit code of who is ended by SIGTERM and has nothing to say about it.
const TERMINATED: i32 = 128 + 15;

/// Ends it in good order; its exit code.
async fn stop(field: &Field, node: NodeId) -> Result<Option<i32>, Failure> {
    within(node, "stop", field.cluster.stop(node, GRACE)).await?;
    match state(field, node).await? {
        NodeState::Stopped { code: Some(0) } => Ok(Some(0)),
        NodeState::Stopped { code } if code.is_none_or(|code| code == TERMINATED) => Ok(code),
        other => Err(Failure::Measured(format!(
            "{node} did not end in good order: it is {other:?}"
        ))),
    }
}

async fn start(field: &Field, node: NodeId) -> Result<(), Failure> {
    within(node, "start", field.cluster.start(node)).await
}

async fn until_it_answers(field: &Field, node: NodeId) -> Result<(), Failure> {
    let deadline = Instant::now() + ELECTION_LIMIT;
    while let Err(failure) = runs_and_answers(field, node).await {
        if Instant::now() > deadline {
            return Err(failure);
        }
        sleep(PAUSE).await;
    }
    Ok(())
}

async fn start_all(field: &Field, nodes: &[NodeId]) -> Result<(), Failure> {
    // One that does not start must not keep the others down.
    let started = join_all(nodes.iter().map(|node| start(field, *node))).await;
    started.into_iter().collect()
}

async fn all_answer(field: &Field, nodes: &[NodeId]) -> Measured {
    let each = nodes.iter().map(|node| runs_and_answers(field, *node));
    Ok(json!(try_join_all(each).await?))
}

/// See [`crate::fault::FaultKind::Stop`].
pub(super) struct Stop {
    pub node: NodeId,
    /// Its exit code, once it ended.
    code: Mutex<Option<Option<i32>>>,
}

impl Stop {
    pub fn new(node: NodeId) -> Self {
        let code = Mutex::new(None);
        Self { node, code }
    }
}

#[async_trait]
impl Effect for Stop {
    fn nodes(&self) -> Vec<NodeId> {
        vec![self.node]
    }

    async fn apply(&self, field: &Field) -> Result<(), Failure> {
        let code = stop(field, self.node).await?;
        *self.code.lock().unwrap_or_else(PoisonError::into_inner) = Some(code);
        Ok(())
    }

    async fn bites(&self, field: &Field) -> Measured {
        let code = *self.code.lock().unwrap_or_else(PoisonError::into_inner);
        match state(field, self.node).await? {
            NodeState::Stopped { .. } => Ok(json!({"process": "ended", "exit-code": code})),
            other => Err(Failure::Measured(format!("{} is {other:?}", self.node))),
        }
    }

    async fn undo(&self, field: &Field) -> Result<(), Failure> {
        start(field, self.node).await
    }

    async fn gone(&self, field: &Field) -> Measured {
        runs_and_answers(field, self.node).await
    }
}

/// See [`crate::fault::FaultKind::RollingRestart`].
pub(super) struct Rolling {
    pub order: Vec<NodeId>,
    pub down: Duration,
    rounds: Mutex<Vec<Value>>,
}

impl Rolling {
    pub fn new(order: Vec<NodeId>, down: Duration) -> Self {
        let rounds = Mutex::default();
        Self {
            order,
            down,
            rounds,
        }
    }
}

#[async_trait]
impl Effect for Rolling {
    fn nodes(&self) -> Vec<NodeId> {
        self.order.clone()
    }

    async fn apply(&self, field: &Field) -> Result<(), Failure> {
        for node in &self.order {
            let began = Instant::now();
            let code = stop(field, *node).await?;
            sleep(self.down).await;
            start(field, *node).await?;
            until_it_answers(field, *node).await?;
            let took = began.elapsed().as_millis() as u64;
            let round = json!({"node": node, "exit-code": code, "ms": took});
            let mut rounds = self.rounds.lock().unwrap_or_else(PoisonError::into_inner);
            rounds.push(round);
        }
        Ok(())
    }

    async fn bites(&self, _: &Field) -> Measured {
        let rounds = self.rounds.lock().unwrap_or_else(PoisonError::into_inner);
        match rounds.len() >= self.order.len() {
            true => Ok(json!({"restarted": *rounds})),
            false => Err(Failure::Measured(format!("only {rounds:?} restarted"))),
        }
    }

    async fn undo(&self, field: &Field) -> Result<(), Failure> {
        start_all(field, &self.order).await
    }

    async fn gone(&self, field: &Field) -> Measured {
        all_answer(field, &self.order).await
    }
}

/// See [`crate::fault::FaultKind::Chase`].
pub(super) struct Chase {
    pub first: NodeId,
    /// Of which partition.
    pub target: Target,
    pub times: u32,
    /// Who may be hit.
    pub all: Vec<NodeId>,
    hit: Mutex<Vec<NodeId>>,
}

impl Chase {
    pub fn new(first: NodeId, target: Target, times: u32, all: Vec<NodeId>) -> Self {
        let hit = Mutex::default();
        Self {
            first,
            target,
            times,
            all,
            hit,
        }
    }

    fn hit(&self) -> Vec<NodeId> {
        let hit = self.hit.lock().unwrap_or_else(PoisonError::into_inner);
        hit.clone()
    }

    /// Who leads after `old`.
    async fn next_leader(&self, field: &Field, old: NodeId) -> Result<NodeId, Failure> {
        let partition = match self.target {
            Target::Leader { partition } => partition,
            _ => 0,
        };
        let deadline = Instant::now() + ELECTION_LIMIT;
        loop {
            let leader = field.roles.leader(partition).await;
            if let Some(leader) = leader.filter(|leader| leader.node != old) {
                return Ok(leader.node);
            }
            if Instant::now() > deadline {
                let why = format!("nobody was elected after {old} was killed");
                return Err(Failure::Measured(why));
            }
            sleep(PAUSE).await;
        }
    }
}

#[async_trait]
impl Effect for Chase {
    fn nodes(&self) -> Vec<NodeId> {
        self.all.clone()
    }

    async fn apply(&self, field: &Field) -> Result<(), Failure> {
        let mut node = self.first;
        for round in 1..=self.times {
            within(node, "kill", field.cluster.kill(node)).await?;
            self.hit
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(node);
            if round < self.times {
                let next = self.next_leader(field, node).await?;
                // The one before comes back as its successor falls: never two down for long.
                start(field, node).await?;
                node = next;
            }
        }
        Ok(())
    }

    async fn bites(&self, field: &Field) -> Measured {
        let hit = self.hit();
        let last = hit.last().copied().unwrap_or(self.first);
        let state = state(field, last).await?;
        match matches!(state, NodeState::Stopped { .. }) && hit.len() as u32 >= self.times {
            true => Ok(json!({"killed": hit})),
            false => Err(Failure::Measured(format!(
                "{hit:?} were killed, and {last} is {state:?}"
            ))),
        }
    }

    async fn undo(&self, field: &Field) -> Result<(), Failure> {
        start_all(field, &self.all).await
    }

    async fn gone(&self, field: &Field) -> Measured {
        all_answer(field, &self.all).await
    }
}
