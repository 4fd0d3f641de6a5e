//! Processors and memory taken beside a broker.
//!
//! It bites when the agent holds what it was told to take, and (for processors) a busy thread
//! there takes at least half as long again as it needs. It is gone when nothing is held.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{Effect, Failure, Field, Measured};
use crate::agent::{self, AgentCommand};
use crate::node::NodeId;

/// Memory is written to once before it is there.
const TAKEN_LIMIT: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(50);
/// In thousandths: what a busy thread takes, of what it needs.
const STRETCH_LEAST: u64 = 1_500;

pub(super) struct Pressure {
    pub tag: String,
    pub node: NodeId,
    pub threads_per_cpu: u32,
    pub mib: u32,
}

impl Pressure {
    async fn strain(&self, field: &Field) -> Result<agent::Strain, Failure> {
        let reply = field.agent(self.node, &AgentCommand::Strain).await?;
        let none = || Failure::Measured(format!("the agent of {} measures nothing", self.node));
        reply.strain.ok_or_else(none)
    }
}

#[async_trait]
impl Effect for Pressure {
    fn nodes(&self) -> Vec<NodeId> {
        vec![self.node]
    }

    async fn apply(&self, field: &Field) -> Result<(), Failure> {
        let order = AgentCommand::Press(agent::Press {
            tag: self.tag.clone(),
            threads_per_cpu: self.threads_per_cpu,
            mib: self.mib,
        });
        field.agent(self.node, &order).await.map(|_| ())
    }

    async fn bites(&self, field: &Field) -> Measured {
        let began = Instant::now();
        loop {
            let strain = self.strain(field).await?;
            let busy = self.threads_per_cpu == 0
                || (strain.threads > 0 && strain.stretch >= STRETCH_LEAST);
            if busy && strain.mib >= u64::from(self.mib) {
                return Ok(json!(strain));
            }
            if began.elapsed() > TAKEN_LIMIT {
                return Err(Failure::Measured(format!("{strain:?}")));
            }
            sleep(PAUSE).await;
        }
    }

    async fn undo(&self, field: &Field) -> Result<(), Failure> {
        field.heal(self.node, &self.tag).await
    }

    async fn gone(&self, field: &Field) -> Measured {
        let strain = self.strain(field).await?;
        match (strain.threads, strain.mib) {
            (0, 0) => Ok(json!(strain)),
            _ => Err(Failure::Measured(format!("still taken: {strain:?}"))),
        }
    }
}
