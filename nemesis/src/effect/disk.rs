//! Faults of the disk, and of the power that it needs. Only simulations offer them.
//!
//! A power loss bites when the process is gone and its machine is silent; it is healed when the
//! broker answers again. A full disk bites when nothing fits; a failed sync when the broker has
//! stopped, as it has to; a slow disk cannot be measured from outside and is taken at its word.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{join_all, try_join_all};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::process::{runs_and_answers, state};
use super::{Effect, Failure, Field, Measured, SILENCE, within};
use crate::cluster::{DiskOrder, NodeState};
use crate::node::{Listener, NodeId};

/// A broker syncs something within this time.
const SYNC_LIMIT: Duration = Duration::from_secs(8);
const SYNC_PAUSE: Duration = Duration::from_millis(50);

pub(super) struct PowerLoss {
    pub nodes: Vec<NodeId>,
    pub torn: bool,
}

#[async_trait]
impl Effect for PowerLoss {
    fn nodes(&self) -> Vec<NodeId> {
        self.nodes.clone()
    }

    async fn apply(&self, field: &Field) -> Result<(), Failure> {
        let order = DiskOrder::LosePower { torn: self.torn };
        for node in &self.nodes {
            within(*node, "power loss", field.cluster.disk(*node, order)).await?;
        }
        Ok(())
    }

    async fn bites(&self, field: &Field) -> Measured {
        for node in &self.nodes {
            let state = state(field, *node).await?;
            if !matches!(state, NodeState::Stopped { .. }) {
                return Err(Failure::Measured(format!("{node} is {state:?}")));
            }
            let reach = field.cluster.reach(*node, Listener::Client, SILENCE);
            if within(*node, "reach", reach).await?.is_some() {
                return Err(Failure::Measured(format!("{node} accepts connections")));
            }
        }
        Ok(json!({"process": "gone", "torn": self.torn}))
    }

    async fn undo(&self, field: &Field) -> Result<(), Failure> {
        let started = self.nodes.iter().map(|node| start(field, *node));
        // One that does not start must not keep the others down.
        let started = join_all(started).await;
        started.into_iter().collect()
    }

    async fn gone(&self, field: &Field) -> Measured {
        let each = self.nodes.iter().map(|node| runs_and_answers(field, *node));
        Ok(json!(try_join_all(each).await?))
    }
}

async fn start(field: &Field, node: NodeId) -> Result<(), Failure> {
    within(node, "start", field.cluster.start(node)).await
}

pub(super) struct Full {
    pub node: NodeId,
}

#[async_trait]
impl Effect for Full {
    fn nodes(&self) -> Vec<NodeId> {
        vec![self.node]
    }

    async fn apply(&self, field: &Field) -> Result<(), Failure> {
        let full = field.cluster.disk(self.node, DiskOrder::Full(true));
        within(self.node, "fill the disk", full).await
    }

    async fn bites(&self, field: &Field) -> Measured {
        let room = within(self.node, "room", field.cluster.room(self.node)).await?;
        match room < 1 << 20 {
            true => Ok(json!({"room": room})),
            false => Err(Failure::Measured(format!("{room} bytes still fit"))),
        }
    }

    async fn undo(&self, field: &Field) -> Result<(), Failure> {
        let empty = field.cluster.disk(self.node, DiskOrder::Full(false));
        within(self.node, "empty the disk", empty).await
    }

    /// The broker must have lived through it.
    async fn gone(&self, field: &Field) -> Measured {
        runs_and_answers(field, self.node).await
    }
}

pub(super) struct SyncError {
    pub node: NodeId,
}

#[async_trait]
impl Effect for SyncError {
    fn nodes(&self) -> Vec<NodeId> {
        vec![self.node]
    }

    async fn apply(&self, field: &Field) -> Result<(), Failure> {
        let fail = field.cluster.disk(self.node, DiskOrder::FailSync(true));
        within(self.node, "fail a sync", fail).await
    }

    async fn bites(&self, field: &Field) -> Measured {
        let began = Instant::now();
        while began.elapsed() < SYNC_LIMIT {
            if matches!(state(field, self.node).await?, NodeState::Stopped { .. }) {
                let after = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                return Ok(json!({"process": "stopped itself", "after-ms": after}));
            }
            sleep(SYNC_PAUSE).await;
        }
        let waits = field.cluster.sync_will_fail(self.node);
        match within(self.node, "sync", waits).await? {
            // One that is cut off from the controller may have nothing to sync.
            true => Err(Failure::Moot(format!(
                "{} synced nothing within {} s",
                self.node,
                SYNC_LIMIT.as_secs()
            ))),
            false => Err(Failure::Measured(format!(
                "{} goes on after a sync that failed",
                self.node
            ))),
        }
    }

    async fn undo(&self, field: &Field) -> Result<(), Failure> {
        let spare = field.cluster.disk(self.node, DiskOrder::FailSync(false));
        within(self.node, "spare the syncs", spare).await?;
        start(field, self.node).await
    }

    async fn gone(&self, field: &Field) -> Measured {
        runs_and_answers(field, self.node).await
    }
}

pub(super) struct Slow {
    pub node: NodeId,
    pub sync: Duration,
}

impl Slow {
    async fn set(&self, field: &Field, sync: Duration) -> Result<(), Failure> {
        let order = field.cluster.disk(self.node, DiskOrder::Slow(sync));
        within(self.node, "slow the disk", order).await
    }
}

#[async_trait]
impl Effect for Slow {
    fn nodes(&self) -> Vec<NodeId> {
        vec![self.node]
    }

    async fn apply(&self, field: &Field) -> Result<(), Failure> {
        self.set(field, self.sync).await
    }

    async fn bites(&self, _: &Field) -> Measured {
        Ok(json!({"sync-ms": u64::try_from(self.sync.as_millis()).unwrap_or(u64::MAX)}))
    }

    async fn undo(&self, field: &Field) -> Result<(), Failure> {
        self.set(field, Duration::ZERO).await
    }

    async fn gone(&self, field: &Field) -> Measured {
        runs_and_answers(field, self.node).await
    }
}
