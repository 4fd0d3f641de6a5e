//! A node's link made bad: latency, reordering, loss, a rate.
//!
//! What bites is measured from another node by many connections at once (each shows how long one
//! packet took there and back), by the line's own counts, and for a rate by sending so many bytes
//! that the rate has to show. It is gone when no rule is left and the same measurement is quick.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{Effect, Failure, Field, Measured, no_rule_left};
use crate::agent::{AgentCommand, Flood, Impair, Manner};
use crate::fault::Impairment;
use crate::node::{Listener, NodeId};

/// Connections of one measurement.
const CONNECTIONS: usize = 40;
/// A lost packet is sent again after one second; twice is rare.
const WITHIN: Duration = Duration::from_secs(4);
/// Nothing of ours is held up for longer on a link that is well, even on a busy machine.
const QUICK_US: u64 = 700_000;
/// A flood takes so long at the rate that is asked for, and twice as long is waited for it.
const FLOOD_MS: u64 = 600;

pub(super) struct Link {
    pub tag: String,
    pub node: NodeId,
    pub impairment: Impairment,
}

impl Link {
    fn manner(&self) -> Manner {
        let mut manner = Manner::default();
        match self.impairment {
            Impairment::Latency {
                delay_ms,
                jitter_ms,
            } => (manner.delay_ms, manner.jitter_ms) = (delay_ms, jitter_ms),
            Impairment::Reorder { percent, delay_ms } => {
                (manner.reorder_percent, manner.reorder_ms) = (percent, delay_ms);
            }
            Impairment::Loss { percent } => manner.loss_percent = percent,
            Impairment::Rate { kib_per_second } => {
                manner.bytes_per_second = kib_per_second.saturating_mul(1024);
            }
        }
        manner
    }

    fn peer(&self, field: &Field) -> Result<NodeId, Failure> {
        let nodes = field.cluster.nodes();
        let peer = nodes.into_iter().find(|node| *node != self.node);
        peer.ok_or_else(|| Failure::Measured("there is no other node".to_owned()))
    }

    /// How long each of many connections took, in microseconds; what did not come about counts
    /// as the whole time waited for it.
    async fn connects(&self, field: &Field) -> Result<Vec<u64>, Failure> {
        let to = [(self.node, Listener::Replication); CONNECTIONS];
        let peer = self.peer(field)?;
        let probes = field.probe(peer, &to, WITHIN, None).await?;
        let whole = WITHIN.as_micros() as u64;
        let mut took: Vec<u64> = probes
            .iter()
            .map(|probe| probe.connect_us.unwrap_or(whole))
            .collect();
        took.sort_unstable();
        Ok(took)
    }

    /// Bytes a second that get through to the node; no more than that when they did not all get
    /// through in the time that they had (the link is the brokers' as well, and they fill it).
    async fn rate(&self, field: &Field, kib: u32) -> Result<u64, Failure> {
        let bytes = u64::from(kib) * 1024 * FLOOD_MS / 1_000;
        let ip = field.cluster.address(self.node)?;
        let port = field.cluster.ports().of(Listener::Replication);
        let order = AgentCommand::Flood(Flood {
            to: std::net::SocketAddrV4::new(ip, port),
            bytes: bytes as u32,
            timeout_ms: 10 * FLOOD_MS as u32,
        });
        let reply = field.agent(self.peer(field)?, &order).await?;
        let probe = reply.probes.first();
        let whole = 10 * FLOOD_MS * 1_000;
        match probe {
            Some(probe) if probe.answer_us.is_some() || probe.is_too_late() => {
                Ok(bytes * 1_000_000 / probe.answer_us.unwrap_or(whole).max(1))
            }
            probe => {
                let why = probe.and_then(|probe| probe.error.clone());
                let why = why.unwrap_or_else(|| "no result".to_owned());
                let why = format!("sending {bytes} bytes to {}: {why}", self.node);
                Err(Failure::Measured(why))
            }
        }
    }

    /// (lost, overtaken) as the node's lines count.
    async fn counts(&self, field: &Field) -> Result<(u64, u64), Failure> {
        let reply = field.agent(self.node, &AgentCommand::Status).await?;
        let mine = reply.lines.iter().filter(|line| line.tag == self.tag);
        Ok(mine.fold((0, 0), |sum, line| {
            (sum.0 + line.lost, sum.1 + line.overtaken)
        }))
    }
}

fn summary(took: &[u64]) -> Value {
    let at = |share: usize| took.get(took.len() * share / 100).copied();
    json!({"least-us": took.first(), "median-us": at(50), "most-us": took.last()})
}

#[async_trait]
impl Effect for Link {
    fn nodes(&self) -> Vec<NodeId> {
        vec![self.node]
    }

    async fn apply(&self, field: &Field) -> Result<(), Failure> {
        let ports = field.cluster.ports();
        let order = AgentCommand::Impair(Impair {
            tag: self.tag.clone(),
            peers: field.everybody_but(self.node)?,
            // Health is asked over it, by the nemesis itself.
            spare: vec![ports.of(Listener::Admin)],
            manner: self.manner(),
        });
        field.agent(self.node, &order).await.map(|_| ())
    }

    async fn bites(&self, field: &Field) -> Measured {
        if let Impairment::Rate { kib_per_second } = self.impairment {
            let rate = self.rate(field, kib_per_second).await?;
            let most = u64::from(kib_per_second) * 1024;
            // What the socket's buffers take is not on the link yet.
            return match rate <= most * 3 / 2 {
                true => Ok(json!({"bytes-per-second": rate, "at-most": most})),
                false => Err(Failure::Measured(format!(
                    "{rate} bytes a second get through, {most} should"
                ))),
            };
        }
        let took = self.connects(field).await?;
        let (lost, overtaken) = self.counts(field).await?;
        let (least, most) = (took[0], took[took.len() - 1]);
        let (bites, expected) = match self.impairment {
            Impairment::Latency { delay_ms, .. } => {
                let both = 2_000 * u64::from(delay_ms);
                (least >= both, format!("none took less than {both} us"))
            }
            Impairment::Reorder { delay_ms, .. } => {
                let late = 1_000 * u64::from(delay_ms);
                let some = overtaken > 0 && most >= late;
                (some, format!("some took {late} us and were overtaken"))
            }
            _ => (lost > 0, "some packets were lost".to_owned()),
        };
        let mut told = summary(&took);
        told["lost"] = json!(lost);
        told["overtaken"] = json!(overtaken);
        match bites {
            true => Ok(told),
            false => Err(Failure::Measured(format!("not so that {expected}: {told}"))),
        }
    }

    async fn undo(&self, field: &Field) -> Result<(), Failure> {
        field.heal(self.node, &self.tag).await
    }

    async fn gone(&self, field: &Field) -> Measured {
        no_rule_left(field, self.node, &self.tag).await?;
        if let Impairment::Rate { kib_per_second } = self.impairment {
            let rate = self.rate(field, kib_per_second).await?;
            let most = u64::from(kib_per_second) * 1024;
            return match rate > most * 2 {
                true => Ok(json!({"rules": 0, "bytes-per-second": rate})),
                false => Err(Failure::Measured(format!("still {rate} bytes a second"))),
            };
        }
        let took = self.connects(field).await?;
        match took[took.len() - 1] < QUICK_US {
            true => Ok(json!({"rules": 0, "connects": summary(&took)})),
            false => Err(Failure::Measured(format!(
                "a connection still took {} us",
                took[took.len() - 1]
            ))),
        }
    }
}
