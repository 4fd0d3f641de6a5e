//! The traffic of one port, held back: what goes to it, what comes from it, or both.
//!
//! It bites when connecting to the port from another node takes at least the sum of both delays
//! (a handshake crosses once each way). It is gone when no rule is left, nothing is held, and
//! connecting takes less than half of that sum again.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;

use super::{Effect, Failure, Field, Measured};
use crate::agent::{self, AgentCommand};
use crate::node::{Listener, NodeId};

/// How long a probe waits beyond the delay: a busy machine must not look like a cut.
const MARGIN: Duration = Duration::from_secs(3);

pub(super) struct PortDelay {
    tag: String,
    node: NodeId,
    listener: Listener,
    inbound_ms: u32,
    outbound_ms: u32,
}

impl PortDelay {
    /// `delays` are inbound and outbound, in milliseconds.
    pub fn new(tag: &str, node: NodeId, listener: Listener, delays: (u32, u32)) -> Self {
        Self {
            tag: tag.to_owned(),
            node,
            listener,
            inbound_ms: delays.0,
            outbound_ms: delays.1,
        }
    }

    fn both(&self) -> Duration {
        Duration::from_millis(u64::from(self.inbound_ms) + u64::from(self.outbound_ms))
    }

    /// Time to connect to the port from another node.
    async fn round_trip(&self, field: &Field) -> Result<Duration, Failure> {
        let others = field.cluster.nodes();
        let peer = others.into_iter().find(|node| *node != self.node);
        let peer = peer.ok_or_else(|| Failure::Measured("there is no other node".to_owned()))?;
        let to = [(self.node, self.listener)];
        let probe = &field.probe(peer, &to, self.both() + MARGIN, None).await?[0];
        let failed = || {
            let error = probe.error.as_deref().unwrap_or("no answer");
            let (node, listener) = (self.node, self.listener);
            let why = format!("connecting from {peer} to the {listener} port of {node}: {error}");
            Failure::Measured(why)
        };
        probe
            .connect_us
            .map(Duration::from_micros)
            .ok_or_else(failed)
    }
}

#[async_trait]
impl Effect for PortDelay {
    fn nodes(&self) -> Vec<NodeId> {
        vec![self.node]
    }

    async fn apply(&self, field: &Field) -> Result<(), Failure> {
        let order = AgentCommand::Delay(agent::Delay {
            tag: self.tag.clone(),
            ports: vec![field.cluster.ports().of(self.listener)],
            peers: Vec::new(),
            inbound_ms: self.inbound_ms,
            outbound_ms: self.outbound_ms,
        });
        field.agent(self.node, &order).await.map(|_| ())
    }

    async fn bites(&self, field: &Field) -> Measured {
        let took = self.round_trip(field).await?;
        if took < self.both() {
            return Err(Failure::Measured(format!(
                "connecting took {} us, the delays add up to {} ms",
                took.as_micros(),
                self.both().as_millis()
            )));
        }
        let reply = field.agent(self.node, &AgentCommand::Status).await?;
        let mine = reply.rules.iter().filter(|rule| rule.tag == self.tag);
        let packets: u64 = mine.map(|rule| rule.packets).sum();
        Ok(json!({
            "connect-us": took.as_micros() as u64,
            "expected-us": self.both().as_micros() as u64,
            "delayed-packets": packets,
        }))
    }

    async fn undo(&self, field: &Field) -> Result<(), Failure> {
        let tag = Some(self.tag.clone());
        let order = AgentCommand::Heal { tag };
        field.agent(self.node, &order).await.map(|_| ())
    }

    async fn gone(&self, field: &Field) -> Measured {
        let reply = field.agent(self.node, &AgentCommand::Status).await?;
        if let Some(rule) = reply.rules.iter().find(|rule| rule.tag == self.tag) {
            let why = format!("{} still has the rule `{}`", self.node, rule.what);
            return Err(Failure::Measured(why));
        }
        let took = self.round_trip(field).await?;
        if took * 2 > self.both() {
            return Err(Failure::Measured(format!(
                "connecting still takes {} us",
                took.as_micros()
            )));
        }
        Ok(json!({
            "rules": 0,
            "held": reply.held,
            "connect-us": took.as_micros() as u64,
        }))
    }
}
