//! Faults of the disk, and of the power that it needs: simulated disks, and FUSE.
//!
//! A power loss bites when the process is gone and its machine is silent; it is healed when the
//! broker answers again. A full disk bites when nothing fits; a failed sync when the broker has
//! stopped, as it has to; a slow one when a sync took as long as it should; failing reads when
//! one failed. What the disk itself counted is told beside it.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{join_all, try_join_all};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::process::{runs_and_answers, state};
use super::{Effect, Failure, Field, Measured, SILENCE, within};
use crate::cluster::{DiskOrder, DiskReport, NodeState};
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
        let mut told = json!({"process": "gone", "torn": self.torn});
        for node in &self.nodes {
            if let Some(report) = report(field, *node).await? {
                told[node.to_string()] = json!({
                    "lost-writes": report.lost_writes,
                    "lost-bytes": report.lost_bytes,
                    "kept-bytes": report.kept_bytes,
                    "lost-names": report.lost_names,
                });
            }
        }
        Ok(told)
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

async fn report(field: &Field, node: NodeId) -> Result<Option<DiskReport>, Failure> {
    within(node, "the disk's report", field.cluster.disk_report(node)).await
}

async fn order(field: &Field, node: NodeId, order: DiskOrder) -> Result<(), Failure> {
    within(
        node,
        "an order to the disk",
        field.cluster.disk(node, order),
    )
    .await
}

/// Waits until the disk reports what is wanted; what it reported last, and whether that was it.
async fn until(
    field: &Field,
    node: NodeId,
    wanted: impl Fn(&DiskReport) -> bool,
) -> Result<(DiskReport, bool), Failure> {
    let began = Instant::now();
    loop {
        let disk = report(field, node).await?.unwrap_or_default();
        let so = wanted(&disk);
        if so || began.elapsed() > SYNC_LIMIT {
            return Ok((disk, so));
        }
        sleep(SYNC_PAUSE).await;
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
        let room = report(field, self.node)
            .await?
            .map_or(u64::MAX, |disk| disk.room);
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
        let waits = report(field, self.node).await?;
        match waits.is_some_and(|disk| disk.sync_will_fail) {
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

    async fn bites(&self, field: &Field) -> Measured {
        let sync_ms = u64::try_from(self.sync.as_millis()).unwrap_or(u64::MAX);
        let Some(before) = report(field, self.node)
            .await?
            .filter(|disk| disk.syncs > 0)
        else {
            // A simulated disk does not count; it is taken at its word.
            return Ok(json!({"sync-ms": sync_ms}));
        };
        let long =
            |disk: &DiskReport| disk.syncs > before.syncs && disk.last_sync_us >= sync_ms * 1_000;
        let (disk, so) = until(field, self.node, long).await?;
        match (so, disk.syncs > before.syncs) {
            (true, _) => Ok(json!({"sync-us": disk.last_sync_us, "at-least-ms": sync_ms})),
            (false, true) => Err(Failure::Measured(format!("{disk:?}"))),
            (false, false) => Err(nothing(self.node, "synced")),
        }
    }

    async fn undo(&self, field: &Field) -> Result<(), Failure> {
        self.set(field, Duration::ZERO).await
    }

    async fn gone(&self, field: &Field) -> Measured {
        runs_and_answers(field, self.node).await
    }
}

/// There was nothing to be hit.
fn nothing(node: NodeId, done: &str) -> Failure {
    Failure::Moot(format!(
        "{node} {done} nothing within {} s",
        SYNC_LIMIT.as_secs()
    ))
}

/// See [`crate::fault::FaultKind::ReadError`].
pub(super) struct ReadError {
    pub node: NodeId,
}

#[async_trait]
impl Effect for ReadError {
    fn nodes(&self) -> Vec<NodeId> {
        vec![self.node]
    }

    async fn apply(&self, field: &Field) -> Result<(), Failure> {
        order(field, self.node, DiskOrder::FailReads(true)).await
    }

    async fn bites(&self, field: &Field) -> Measured {
        let (disk, so) = until(field, self.node, |disk| disk.failed_reads > 0).await?;
        match so {
            true => Ok(json!({"failed-reads": disk.failed_reads})),
            false => Err(nothing(self.node, "read")),
        }
    }

    async fn undo(&self, field: &Field) -> Result<(), Failure> {
        order(field, self.node, DiskOrder::FailReads(false)).await?;
        // One that ended because it could not read begins again.
        start(field, self.node).await
    }

    async fn gone(&self, field: &Field) -> Measured {
        runs_and_answers(field, self.node).await
    }
}

/// See [`crate::fault::FaultKind::BitFlip`].
pub(super) struct BitFlip {
    pub node: NodeId,
}

#[async_trait]
impl Effect for BitFlip {
    fn nodes(&self) -> Vec<NodeId> {
        vec![self.node]
    }

    async fn apply(&self, field: &Field) -> Result<(), Failure> {
        order(field, self.node, DiskOrder::FlipBit).await
    }

    async fn bites(&self, field: &Field) -> Measured {
        let flipped = report(field, self.node)
            .await?
            .and_then(|disk| disk.flipped);
        Ok(json!({"flipped": flipped}))
    }

    /// What rotted stays so; the broker has to notice, and mend it if it can.
    async fn undo(&self, _: &Field) -> Result<(), Failure> {
        Ok(())
    }

    async fn gone(&self, field: &Field) -> Measured {
        runs_and_answers(field, self.node).await
    }
}

/// See [`crate::fault::FaultKind::Truncation`].
pub(super) struct Truncation {
    pub node: NodeId,
}

#[async_trait]
impl Effect for Truncation {
    fn nodes(&self) -> Vec<NodeId> {
        vec![self.node]
    }

    async fn apply(&self, field: &Field) -> Result<(), Failure> {
        within(self.node, "kill", field.cluster.kill(self.node)).await?;
        order(field, self.node, DiskOrder::CutTail).await
    }

    async fn bites(&self, field: &Field) -> Measured {
        let state = state(field, self.node).await?;
        if !matches!(state, NodeState::Stopped { .. }) {
            return Err(Failure::Measured(format!("{} is {state:?}", self.node)));
        }
        let cut = report(field, self.node).await?.and_then(|disk| disk.cut);
        Ok(json!({"process": "gone", "cut": cut}))
    }

    async fn undo(&self, field: &Field) -> Result<(), Failure> {
        start(field, self.node).await
    }

    async fn gone(&self, field: &Field) -> Measured {
        runs_and_answers(field, self.node).await
    }
}
