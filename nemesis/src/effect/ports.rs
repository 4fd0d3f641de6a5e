//! Connections to a node's ports: reset, or stranded half-open.
//!
//! A reset bites when the process runs and connecting from another node is refused. A half-open
//! connection is one that stood when the fault began: its packets no longer arrive, which the
//! rules count, while new connections come about.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::process::state;
use super::{Effect, Failure, Field, Measured, SILENCE, no_rule_left};
use crate::agent::{AgentCommand, PortsOf};
use crate::cluster::NodeState;
use crate::node::{Listener, NodeId};

/// A connection in use has a packet within this time.
const TRAFFIC_LIMIT: Duration = Duration::from_secs(4);
const TRAFFIC_PAUSE: Duration = Duration::from_millis(50);

/// Which ports of whom.
pub(super) struct Ports {
    pub tag: String,
    pub node: NodeId,
    pub listeners: Vec<Listener>,
}

impl Ports {
    fn order(&self, field: &Field) -> Result<PortsOf, Failure> {
        let ports = field.cluster.ports();
        Ok(PortsOf {
            tag: self.tag.clone(),
            ports: self.listeners.iter().map(|l| ports.of(*l)).collect(),
            peers: field.everybody_but(self.node)?,
        })
    }

    /// How connecting to each listener from another node goes: in how long, or why not.
    async fn connects(&self, field: &Field) -> Result<Vec<Result<u64, String>>, Failure> {
        let nodes = field.cluster.nodes();
        let peer = nodes.into_iter().find(|node| *node != self.node);
        let peer = peer.ok_or_else(|| Failure::Measured("there is no other node".to_owned()))?;
        let to: Vec<_> = self.listeners.iter().map(|l| (self.node, *l)).collect();
        let probes = field.probe(peer, &to, SILENCE, None).await?;
        let went = |probe: crate::agent::ProbeResult| {
            let why = probe.error.unwrap_or_else(|| "no answer".to_owned());
            probe.connect_us.ok_or(why)
        };
        Ok(probes.into_iter().map(went).collect())
    }

    async fn open(&self, field: &Field) -> Measured {
        let times: Result<Vec<u64>, String> = self.connects(field).await?.into_iter().collect();
        let times = times.map_err(|why| {
            let node = self.node;
            Failure::Measured(format!("a new connection to {node}: {why}"))
        })?;
        Ok(json!(times))
    }
}

/// See [`crate::fault::FaultKind::Reset`].
pub(super) struct Reset(pub Ports);

#[async_trait]
impl Effect for Reset {
    fn nodes(&self) -> Vec<NodeId> {
        vec![self.0.node]
    }

    async fn apply(&self, field: &Field) -> Result<(), Failure> {
        let order = AgentCommand::Reset(self.0.order(field)?);
        field.agent(self.0.node, &order).await.map(|_| ())
    }

    async fn bites(&self, field: &Field) -> Measured {
        let state = state(field, self.0.node).await?;
        let went = self.0.connects(field).await?;
        let refused = |went: &Result<u64, String>| went.as_ref().is_err_and(|why| why == "refused");
        if state != NodeState::Running || !went.iter().all(refused) {
            return Err(Failure::Measured(format!(
                "{} is {state:?}, and connecting went {went:?}",
                self.0.node
            )));
        }
        let packets = field.packets(self.0.node, &self.0.tag).await?;
        Ok(json!({"process": "running", "connect": "refused", "reset-packets": packets}))
    }

    async fn undo(&self, field: &Field) -> Result<(), Failure> {
        field.heal(self.0.node, &self.0.tag).await
    }

    async fn gone(&self, field: &Field) -> Measured {
        no_rule_left(field, self.0.node, &self.0.tag).await?;
        Ok(json!({"rules": 0, "connect-us": self.0.open(field).await?}))
    }
}

/// See [`crate::fault::FaultKind::HalfOpen`].
pub(super) struct HalfOpen(pub Ports);

#[async_trait]
impl Effect for HalfOpen {
    fn nodes(&self) -> Vec<NodeId> {
        vec![self.0.node]
    }

    async fn apply(&self, field: &Field) -> Result<(), Failure> {
        let order = AgentCommand::Strand(self.0.order(field)?);
        let reply = field.agent(self.0.node, &order).await?;
        if reply.rules.is_empty() {
            let node = self.0.node;
            return Err(Failure::Measured(format!("{node} has no connection there")));
        }
        Ok(())
    }

    async fn bites(&self, field: &Field) -> Measured {
        let began = Instant::now();
        let mut packets = 0;
        while packets == 0 {
            if began.elapsed() > TRAFFIC_LIMIT {
                let why = "nothing came over the connections that stood";
                return Err(Failure::Measured(why.to_owned()));
            }
            packets = field.packets(self.0.node, &self.0.tag).await?;
            sleep(TRAFFIC_PAUSE).await;
        }
        let reply = field.agent(self.0.node, &AgentCommand::Status).await?;
        let mine = reply.rules.iter().filter(|rule| rule.tag == self.0.tag);
        let new = self.0.open(field).await?;
        Ok(json!({
            "connections": mine.count(), "dropped-packets": packets, "new-connect-us": new,
        }))
    }

    async fn undo(&self, field: &Field) -> Result<(), Failure> {
        field.heal(self.0.node, &self.0.tag).await
    }

    async fn gone(&self, field: &Field) -> Measured {
        no_rule_left(field, self.0.node, &self.0.tag).await?;
        Ok(json!({"rules": 0, "connect-us": self.0.open(field).await?}))
    }
}
