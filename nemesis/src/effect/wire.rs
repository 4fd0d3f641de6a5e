//! Requests and answers between clients and brokers: lost, late, twice, or answered by others.
//!
//! It bites when at least one of them has been hit, which whoever stands between counts when it is
//! done. Where none came by that could be, there was nothing to be hit. It is gone when nothing of
//! it holds any more and the clients' port accepts.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{Effect, Failure, Field, Measured, SILENCE, within};
use crate::node::{Listener, NodeId};
use crate::wire::{WireFault, WireOrder, WireStatus};

/// Clients that have anything to do with a broker ask it within this time.
const TRAFFIC_LIMIT: Duration = Duration::from_secs(4);
const PAUSE: Duration = Duration::from_millis(20);

pub(super) struct Wire {
    tag: String,
    nodes: Vec<NodeId>,
    fault: WireFault,
    /// What had been done when it was taken back.
    told: Mutex<Value>,
}

impl Wire {
    pub fn new(tag: &str, nodes: Vec<NodeId>, fault: WireFault) -> Self {
        Self {
            tag: tag.to_owned(),
            nodes,
            fault,
            told: Mutex::default(),
        }
    }

    async fn order(
        &self,
        field: &Field,
        node: NodeId,
        order: &WireOrder,
    ) -> Result<Vec<WireStatus>, Failure> {
        let mut status = within(node, "wire", field.cluster.wire(node, order)).await?;
        status.retain(|status| status.tag == self.tag);
        Ok(status)
    }

    /// (seen, hit), at all nodes together.
    async fn counts(&self, field: &Field) -> Result<(u64, u64), Failure> {
        let mut sum = (0, 0);
        for node in &self.nodes {
            for status in self.order(field, *node, &WireOrder::Status).await? {
                sum = (sum.0 + status.seen, sum.1 + status.hit);
            }
        }
        Ok(sum)
    }
}

#[async_trait]
impl Effect for Wire {
    fn nodes(&self) -> Vec<NodeId> {
        self.nodes.clone()
    }

    async fn apply(&self, field: &Field) -> Result<(), Failure> {
        for node in &self.nodes {
            let (tag, fault) = (self.tag.clone(), self.fault);
            self.order(field, *node, &WireOrder::Begin { tag, fault })
                .await?;
        }
        Ok(())
    }

    async fn bites(&self, field: &Field) -> Measured {
        let began = Instant::now();
        loop {
            let (seen, hit) = self.counts(field).await?;
            if hit > 0 {
                return Ok(json!({"seen": seen, "hit": hit}));
            }
            if began.elapsed() > TRAFFIC_LIMIT {
                let seconds = TRAFFIC_LIMIT.as_secs();
                let why = format!("of {seen} that came by in {seconds} s none was hit");
                return Err(Failure::Moot(why));
            }
            sleep(PAUSE).await;
        }
    }

    async fn undo(&self, field: &Field) -> Result<(), Failure> {
        if let Ok((seen, hit)) = self.counts(field).await
            && seen > 0
        {
            let told = json!({"seen": seen, "hit": hit});
            *self.told.lock().unwrap_or_else(PoisonError::into_inner) = told;
        }
        let tag = self.tag.clone();
        let order = WireOrder::End { tag };
        let each = self
            .nodes
            .iter()
            .map(|node| self.order(field, *node, &order));
        // One that does not obey must not keep the others ill.
        join_all(each)
            .await
            .into_iter()
            .try_for_each(|done| done.map(|_| ()))
    }

    async fn gone(&self, field: &Field) -> Measured {
        for node in &self.nodes {
            if !self
                .order(field, *node, &WireOrder::Status)
                .await?
                .is_empty()
            {
                return Err(Failure::Measured(format!("{node} still has it")));
            }
            let reach = field.cluster.reach(*node, Listener::Client, SILENCE);
            if within(*node, "reach", reach).await?.is_none() {
                let why = format!("a client cannot connect to {node}");
                return Err(Failure::Measured(why));
            }
        }
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(json!({"holds": false, "all-in-all": *told}))
    }
}
