//! Who is hit, by role, and which links a partition cuts.
//!
//! A target is a role ("the leader of partition 3"), never a node that somebody looked up: who has
//! the role is found when the fault is due, so that a schedule does not depend on the cluster that
//! it will meet.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::node::NodeId;

/// Who is hit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "kebab-case")]
pub enum Target {
    /// Whoever leads this partition when the fault is due (partitions are counted from 0).
    Leader {
        /// Which partition.
        partition: u32,
    },
    /// An in-sync follower of this partition when the fault is due.
    Follower {
        /// Which partition.
        partition: u32,
    },
    /// A member of this partition's in-sync replicas when the fault is due, the leader or another.
    InSync {
        /// Which partition.
        partition: u32,
    },
    /// The leader of the metadata quorum when the fault is due.
    Controller,
    /// This node, whatever it is doing.
    Node {
        /// Which node.
        node: NodeId,
    },
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leader { partition } => write!(f, "leader of partition {partition}"),
            Self::Follower { partition } => write!(f, "a follower of partition {partition}"),
            Self::InSync { partition } => write!(f, "an in-sync member of partition {partition}"),
            Self::Controller => f.write_str("controller"),
            Self::Node { node } => write!(f, "node {}", node.0),
        }
    }
}

/// Which links between brokers a partition cuts. All shapes but the ring cut both directions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "shape", rename_all = "kebab-case")]
pub enum Shape {
    /// One node from every other broker.
    Isolate {
        /// Which.
        target: Target,
    },
    /// The nodes of `side` from all the others.
    Halves {
        /// The smaller side.
        side: Vec<NodeId>,
    },
    /// The ends of a line see only the bridge between them, which sees both: in the order given,
    /// the first half cannot reach the last half, and the node in the middle reaches everybody.
    Bridge {
        /// All nodes, the bridge in the middle.
        order: Vec<NodeId>,
    },
    /// One direction of all links between one node and every other broker.
    OneWay {
        /// Which node.
        target: Target,
        /// It does not hear the others (else: they do not hear it).
        deaf: bool,
    },
    /// Jepsen's majorities ring: each node hears itself and the next ones round the circle, a
    /// majority in all, and no two nodes hear the same majority. One-way cuts; with TCP that
    /// leaves a link only where both ends hear each other (with three nodes: none).
    Ring {
        /// All nodes, round the circle.
        order: Vec<NodeId>,
    },
    /// No link between brokers; the clients do not reach this one.
    Clients {
        /// Which node.
        target: Target,
    },
    /// No link between brokers; the clients reach nobody.
    AllClients,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |nodes: &[NodeId], between: &str| {
            let names: Vec<String> = nodes.iter().map(NodeId::to_string).collect();
            names.join(between)
        };
        match self {
            Self::Isolate { target } => write!(f, "isolate {target}"),
            Self::OneWay { target, deaf: true } => write!(f, "{target} hears nobody"),
            Self::OneWay { target, .. } => write!(f, "nobody hears {target}"),
            Self::Halves { side } => write!(f, "{} | the others", names(side, " ")),
            Self::Bridge { order } => write!(f, "bridge {}", names(order, " - ")),
            Self::Ring { order } => write!(f, "majorities ring {}", names(order, " > ")),
            Self::Clients { target } => write!(f, "clients do not reach {target}"),
            Self::AllClients => f.write_str("clients reach nobody"),
        }
    }
}

impl Shape {
    /// Its name in the history and in schedules.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Isolate { .. } => "isolate",
            Self::OneWay { .. } => "one-way",
            Self::Halves { .. } => "halves",
            Self::Bridge { .. } => "bridge",
            Self::Ring { .. } => "ring",
            Self::Clients { .. } => "clients",
            Self::AllClients => "all-clients",
        }
    }

    /// The role it is aimed at, if it is aimed at one.
    #[must_use]
    pub fn target(&self) -> Option<&Target> {
        match self {
            Self::Isolate { target } | Self::OneWay { target, .. } | Self::Clients { target } => {
                Some(target)
            }
            _ => None,
        }
    }

    /// The same, to aim it at somebody else.
    pub fn target_mut(&mut self) -> Option<&mut Target> {
        match self {
            Self::Isolate { target } | Self::OneWay { target, .. } | Self::Clients { target } => {
                Some(target)
            }
            _ => None,
        }
    }

    /// The links that it cuts, as (from, to): `to` no longer hears `from`. `isolated` is who has
    /// the role that an isolation is aimed at.
    pub fn deaf(&self, nodes: &[NodeId], isolated: Option<NodeId>) -> Vec<(NodeId, NodeId)> {
        let cut = |from: NodeId, to: NodeId| match self {
            Self::Isolate { .. } => (Some(from) == isolated) != (Some(to) == isolated),
            Self::OneWay { deaf, .. } => {
                let (it, other) = if *deaf { (to, from) } else { (from, to) };
                Some(it) == isolated && Some(other) != isolated
            }
            Self::Halves { side } => side.contains(&from) != side.contains(&to),
            Self::Bridge { order } => {
                let middle = order.len() / 2;
                let place = |node| order.iter().position(|n| *n == node);
                match (place(from), place(to)) {
                    (Some(a), Some(b)) => (a < middle && b > middle) || (b < middle && a > middle),
                    _ => false,
                }
            }
            Self::Ring { order } => {
                let count = order.len();
                let place = |node| order.iter().position(|n| *n == node);
                match (place(from), place(to)) {
                    // `to` hears the next `count / 2` after itself.
                    (Some(a), Some(b)) => (a + count - b) % count > count / 2,
                    _ => false,
                }
            }
            Self::Clients { .. } | Self::AllClients => false,
        };
        let mut links = Vec::new();
        for from in nodes {
            let others = nodes.iter().filter(|to| *to != from && cut(*from, **to));
            links.extend(others.map(|to| (*from, *to)));
        }
        links
    }
}
