//! Faults at work: from a fault and the roles of the moment to orders for the runtime, and the
//! measurements that say whether they bite and whether they are gone.
//!
//! One file for each way in which a fault acts: on links, on a process, on a port's traffic, on a
//! disk.

mod delay;
mod disk;
mod impair;
mod links;
mod ports;
mod press;
mod process;
mod restart;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep, timeout};

use crate::agent::{AgentCommand, AgentReply, Probe, ProbeResult};
use crate::cluster::{Cluster, ClusterError};
use crate::fault::{Action, Fault, Shape, Target};
use crate::node::{Listener, NodeId};
use crate::roles::Roles;

/// No single order to a runtime takes longer on a machine that works.
const ORDER_LIMIT: Duration = Duration::from_secs(30);
/// After this long without an answer a packet is not on its way but gone: links are local.
pub(crate) const SILENCE: Duration = Duration::from_millis(300);
/// For how long a healed fault may still be felt.
pub(crate) const HEALING_LIMIT: Duration = Duration::from_secs(15);
/// What a fault requires that need not bring about anything.
pub(crate) const NOTHING: &str = "nothing";
const HEALING_PAUSE: Duration = Duration::from_millis(100);

/// What a measurement found.
pub(crate) type Measured = Result<Value, Failure>;

/// Why a step of a fault did not come off.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The runtime could not do its part.
    Cluster(ClusterError),
    /// It did, and the measurement disagrees.
    Measured(String),
    /// It did, and what the fault waits for never came: there was nothing to be hit.
    Moot(String),
}

impl From<ClusterError> for Failure {
    fn from(error: ClusterError) -> Self {
        Self::Cluster(error)
    }
}

/// A fault made concrete: who, and how.
#[async_trait]
pub(crate) trait Effect: Send + Sync {
    /// Nodes on which something is done.
    fn nodes(&self) -> Vec<NodeId>;

    /// Applies it. Can be repeated.
    async fn apply(&self, field: &Field) -> Result<(), Failure>;

    /// Measures that it bites.
    async fn bites(&self, field: &Field) -> Measured;

    /// Takes it back. Can be repeated, and also when it was never applied.
    async fn undo(&self, field: &Field) -> Result<(), Failure>;

    /// Measures once that it is gone.
    async fn gone(&self, field: &Field) -> Measured;
}

/// Where faults are applied.
#[derive(Clone)]
pub(crate) struct Field {
    pub cluster: Arc<dyn Cluster>,
    pub roles: Arc<dyn Roles>,
}

/// A fault whose roles are known.
pub(crate) struct Resolved {
    /// Who had the role, or (for a cut with no target) who is named.
    pub targets: Vec<NodeId>,
    /// For the history: role, partition, epoch, ...
    pub about: Map<String, Value>,
    /// What is to be done.
    pub effect: Box<dyn Effect>,
}

impl Field {
    /// Finds who has the role now. `None`: nobody.
    pub async fn resolve(&self, fault: &Fault, tag: &str) -> Option<Resolved> {
        let mut about = Map::new();
        let target = match fault.action.target() {
            Some(target) => Some(self.who(fault, target, &mut about).await?),
            None => None,
        };
        // Said also when it is nothing: a checker that is told nothing guesses.
        let requires = fault.action.requires().map_or(NOTHING, |r| r.name());
        about.insert("requires".to_owned(), json!(requires));
        let (targets, effect) = self.effect(&fault.action, tag, target, &mut about);
        Some(Resolved {
            targets,
            about,
            effect,
        })
    }

    /// Whom the action hits, and how; `target` has the role that it is aimed at.
    fn effect(
        &self,
        action: &Action,
        tag: &str,
        target: Option<NodeId>,
        about: &mut Map<String, Value>,
    ) -> (Vec<NodeId>, Box<dyn Effect>) {
        let only = |target: Option<NodeId>| target.expect("kills, pauses and delays have a target");
        match action {
            Action::Partition {
                shape,
                spares,
                only,
                clients,
            } => {
                let links = shape.deaf(&self.cluster.nodes(), target);
                let targets = match shape {
                    Shape::AllClients => self.cluster.nodes(),
                    _ => named(shape, target),
                };
                about.insert("shape".to_owned(), json!(shape.name()));
                about.insert("spares".to_owned(), json!(spares));
                if !only.is_empty() {
                    about.insert("only".to_owned(), json!(only));
                }
                about.insert("clients".to_owned(), json!(clients));
                about.insert("links".to_owned(), json!(links));
                let of_clients = matches!(shape, Shape::Clients { .. } | Shape::AllClients);
                let cut_off = if *clients || of_clients {
                    targets.clone()
                } else {
                    Vec::new()
                };
                let cut = links::Cut::new(tag, links, (spares, only), cut_off);
                (targets, Box::new(cut))
            }
            Action::Kill { .. } => {
                let node = only(target);
                (vec![node], Box::new(process::Kill { node }))
            }
            Action::Pause { .. } => {
                let node = only(target);
                (vec![node], Box::new(process::Pause { node }))
            }
            Action::DelayWatermark {
                inbound_ms,
                outbound_ms,
                ..
            } => {
                let node = only(target);
                about.insert("inbound-ms".to_owned(), json!(inbound_ms));
                about.insert("outbound-ms".to_owned(), json!(outbound_ms));
                let delay = delay::PortDelay::new(
                    tag,
                    node,
                    Listener::Replication,
                    (*inbound_ms, *outbound_ms),
                );
                (vec![node], Box::new(delay))
            }
            other => match self.further(other, tag, target, about) {
                Some((targets, effect)) => (targets, effect),
                None => disk_effect(other, target, about),
            },
        }
    }

    /// The same for what acts on a whole node; `None`: it acts on a disk.
    fn further(
        &self,
        action: &Action,
        tag: &str,
        target: Option<NodeId>,
        about: &mut Map<String, Value>,
    ) -> Option<(Vec<NodeId>, Box<dyn Effect>)> {
        let tag = tag.to_owned();
        let node = target.unwrap_or(NodeId(0));
        let effect: Box<dyn Effect> = match action {
            Action::Impair { impairment, .. } => {
                about.insert("impairment".to_owned(), json!(impairment));
                let impairment = *impairment;
                Box::new(impair::Link {
                    tag,
                    node,
                    impairment,
                })
            }
            Action::Reset { listeners, .. } | Action::HalfOpen { listeners, .. } => {
                about.insert("only".to_owned(), json!(listeners));
                let listeners = listeners.clone();
                let ports = ports::Ports {
                    tag,
                    node,
                    listeners,
                };
                match action {
                    Action::Reset { .. } => Box::new(ports::Reset(ports)),
                    _ => Box::new(ports::HalfOpen(ports)),
                }
            }
            Action::Stop { .. } => Box::new(restart::Stop::new(node)),
            Action::RollingRestart { order, down_ms } => {
                let down = Duration::from_millis((*down_ms).into());
                let effect = restart::Rolling::new(order.clone(), down);
                return Some((order.clone(), Box::new(effect)));
            }
            Action::Chase { target, times } => {
                about.insert("times".to_owned(), json!(times));
                let all = self.cluster.nodes();
                Box::new(restart::Chase::new(node, target.clone(), *times, all))
            }
            Action::Pressure {
                threads_per_cpu,
                mib,
                ..
            } => Box::new(press::Pressure {
                tag,
                node,
                threads_per_cpu: *threads_per_cpu,
                mib: *mib,
            }),
            _ => return None,
        };
        Some((vec![node], effect))
    }

    /// The addresses of all other nodes, and of the clients.
    pub fn everybody_but(&self, node: NodeId) -> Result<Vec<Ipv4Addr>, Failure> {
        let mut addresses = self.cluster.client_addresses();
        for other in self.cluster.nodes().into_iter().filter(|n| *n != node) {
            addresses.push(self.cluster.address(other)?);
        }
        Ok(addresses)
    }

    /// Takes back what the agent of a node did for one fault.
    pub async fn heal(&self, node: NodeId, tag: &str) -> Result<(), Failure> {
        let tag = Some(tag.to_owned());
        let order = AgentCommand::Heal { tag };
        self.agent(node, &order).await.map(|_| ())
    }

    /// Packets that the rules of one fault have met on a node.
    pub async fn packets(&self, node: NodeId, tag: &str) -> Result<u64, Failure> {
        let reply = self.agent(node, &AgentCommand::Status).await?;
        let mine = reply.rules.iter().filter(|rule| rule.tag == tag);
        Ok(mine.map(|rule| rule.packets).sum())
    }

    async fn who(
        &self,
        fault: &Fault,
        target: &Target,
        about: &mut Map<String, Value>,
    ) -> Option<NodeId> {
        let mut tell = |role: &str| about.insert("role".to_owned(), json!(role));
        let known = self.cluster.nodes();
        let node = match target {
            Target::Leader { partition } => {
                tell("leader");
                let leader = self.roles.leader(*partition).await?;
                let name = self.roles.partition_name(*partition);
                about.insert("partition".to_owned(), json!(name));
                about.insert("epoch".to_owned(), json!(leader.epoch));
                leader.node
            }
            Target::Follower { partition } => {
                tell("follower");
                let leader = self.roles.leader(*partition).await?;
                let mut followers = self.roles.in_sync(*partition).await?;
                followers.retain(|node| *node != leader.node);
                followers.sort_unstable();
                let name = self.roles.partition_name(*partition);
                about.insert("partition".to_owned(), json!(name));
                // By the fault's number, so that a replay picks alike.
                let pick = fault.id as usize % followers.len().max(1);
                *followers.get(pick)?
            }
            Target::InSync { partition } => {
                tell("in-sync");
                let mut members = self.roles.in_sync(*partition).await?;
                members.sort_unstable();
                let name = self.roles.partition_name(*partition);
                about.insert("partition".to_owned(), json!(name));
                let pick = fault.id as usize % members.len().max(1);
                *members.get(pick)?
            }
            Target::Controller => {
                tell("controller");
                self.roles.controller().await?
            }
            Target::Node { node } => {
                tell("node");
                *node
            }
        };
        known.contains(&node).then_some(node)
    }

    /// One order to the agent of a node.
    pub async fn agent(&self, node: NodeId, order: &AgentCommand) -> Result<AgentReply, Failure> {
        let reply = within(node, order.name(), self.cluster.agent(node, order)).await?;
        if reply.ok {
            return Ok(reply);
        }
        Err(Failure::Cluster(ClusterError::Refused {
            what: format!("`{}` of the agent", order.name()),
            node,
            why: reply.error.unwrap_or_else(|| "it does not say".to_owned()),
        }))
    }

    /// Probes from one node to a listener of others.
    pub async fn probe(
        &self,
        from: NodeId,
        to: &[(NodeId, Listener)],
        limit: Duration,
        say: Option<String>,
    ) -> Result<Vec<ProbeResult>, Failure> {
        let ports = self.cluster.ports();
        let mut addresses = Vec::with_capacity(to.len());
        for (node, listener) in to {
            let ip = self.cluster.address(*node)?;
            addresses.push(std::net::SocketAddrV4::new(ip, ports.of(*listener)));
        }
        let order = AgentCommand::Probe(Probe {
            to: addresses,
            timeout_ms: limit.as_millis() as u32,
            say,
        });
        let reply = self.agent(from, &order).await?;
        if reply.probes.len() == to.len() {
            return Ok(reply.probes);
        }
        Err(Failure::Measured(format!(
            "the agent of {from} probed {} of {} addresses",
            reply.probes.len(),
            to.len()
        )))
    }

    /// Repeats a measurement until it finds the fault gone.
    pub async fn until_gone(&self, effect: &dyn Effect) -> Measured {
        let deadline = Instant::now() + HEALING_LIMIT;
        loop {
            let measured = effect.gone(self).await;
            if measured.is_ok() || Instant::now() >= deadline {
                return measured;
            }
            sleep(HEALING_PAUSE).await;
        }
    }
}

/// The same for what only a simulation does, to disks.
fn disk_effect(
    action: &Action,
    target: Option<NodeId>,
    about: &mut Map<String, Value>,
) -> (Vec<NodeId>, Box<dyn Effect>) {
    let node = target.unwrap_or(NodeId(0));
    match action {
        Action::Blackout { nodes, torn } => {
            let (nodes, torn) = (nodes.clone(), *torn);
            (nodes.clone(), Box::new(disk::PowerLoss { nodes, torn }))
        }
        Action::DiskFull { .. } => (vec![node], Box::new(disk::Full { node })),
        Action::SyncError { .. } => (vec![node], Box::new(disk::SyncError { node })),
        Action::SlowDisk { sync_ms, .. } => {
            about.insert("sync-ms".to_owned(), json!(sync_ms));
            let sync = Duration::from_millis(u64::from(*sync_ms));
            (vec![node], Box::new(disk::Slow { node, sync }))
        }
        _ => {
            let torn = matches!(action, Action::PowerLoss { torn: true, .. });
            let nodes = vec![node];
            (vec![node], Box::new(disk::PowerLoss { nodes, torn }))
        }
    }
}

/// The nodes that a partition names: whom it isolates, the smaller side, the ends of a bridge.
fn named(shape: &Shape, isolated: Option<NodeId>) -> Vec<NodeId> {
    match shape {
        Shape::Isolate { .. } | Shape::OneWay { .. } | Shape::Clients { .. } => {
            isolated.into_iter().collect()
        }
        Shape::AllClients => Vec::new(),
        Shape::Halves { side } => side.clone(),
        Shape::Bridge { order } => order[..order.len() / 2].to_vec(),
        Shape::Ring { order } => order.clone(),
    }
}

/// That no rule of one fault is left on a node.
pub(crate) async fn no_rule_left(field: &Field, node: NodeId, tag: &str) -> Result<(), Failure> {
    let reply = field.agent(node, &AgentCommand::Status).await?;
    match reply.rules.iter().find(|rule| rule.tag == tag) {
        None => Ok(()),
        Some(rule) => Err(Failure::Measured(format!(
            "{node} still has the rule `{}`",
            rule.what
        ))),
    }
}

/// An order to the runtime, with the limit that every order has.
pub(crate) async fn within<T>(
    node: NodeId,
    what: &str,
    order: impl Future<Output = Result<T, ClusterError>>,
) -> Result<T, Failure> {
    match timeout(ORDER_LIMIT, order).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(Failure::Cluster(ClusterError::TimedOut {
            what: what.to_owned(),
            node,
            limit: ORDER_LIMIT,
        })),
    }
}

/// Whether packets went both ways: somebody accepted, or the kernel over there refused.
pub(crate) fn path_is_open(probe: &ProbeResult) -> bool {
    probe.connect_us.is_some() || probe.error.as_deref() == Some("refused")
}

/// Whether nothing came back at all.
pub(crate) fn path_is_cut(probe: &ProbeResult) -> bool {
    probe.connect_us.is_none() && probe.error.as_deref() == Some("timeout")
}
