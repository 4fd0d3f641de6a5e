//! What can go wrong, and to whom: fault kinds, targets by role, the shapes of a partition.
//!
//! Everything here is data. A target is a role ("the leader of partition 3"), never a node that
//! somebody looked up: who has the role is found when the fault is due, so that a schedule does
//! not depend on the cluster that it will meet.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::node::{Listener, NodeId};

/// A kind of fault, as `--nemesis` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// Links between brokers (and, if asked for, to the clients) are cut.
    Partition,
    /// SIGKILL, and a start some seconds later.
    Kill,
    /// The process stands still, its sockets stay open.
    Pause,
    /// The traffic of the replication port is held back.
    DelayWatermark,
    /// One direction of a node's links is cut: it is not heard, or it does not hear.
    OneWay,
    /// A machine loses power, and with it every write that was not synced.
    LoseUnsynced,
    /// A machine loses power, and of each write that was not synced some blocks are there.
    TornWrites,
    /// Several machines lose power at once, sometimes all.
    Blackout,
    /// There is no room on a disk any more.
    DiskFull,
    /// A disk says that a sync failed, which is the end of the process.
    SyncError,
    /// A disk is slow: each sync takes a large part of a second.
    SlowDisk,
}

impl FaultKind {
    /// All kinds, in the order of the documentation.
    pub const ALL: [Self; 4] = [
        Self::Partition,
        Self::Kill,
        Self::Pause,
        Self::DelayWatermark,
    ];

    /// The kinds that only a simulation offers: they need its disks, or are proven only there.
    pub const SIMULATED: [Self; 7] = [
        Self::OneWay,
        Self::LoseUnsynced,
        Self::TornWrites,
        Self::Blackout,
        Self::DiskFull,
        Self::SyncError,
        Self::SlowDisk,
    ];

    /// Every kind, those that every runtime offers first.
    pub fn every() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().chain(Self::SIMULATED)
    }

    /// The name on the command line and in the history.
    pub fn name(self) -> &'static str {
        match self {
            Self::Partition => "partition",
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::DelayWatermark => "delay-watermark",
            Self::OneWay => "one-way",
            Self::LoseUnsynced => "lose-unsynced",
            Self::TornWrites => "torn-writes",
            Self::Blackout => "blackout",
            Self::DiskFull => "disk-full",
            Self::SyncError => "sync-error",
            Self::SlowDisk => "slow-disk",
        }
    }

    /// One line for `harness list` and `--help`.
    pub fn about(self) -> &'static str {
        match self {
            Self::Partition => "cuts links between brokers: a leader, one node, halves, a ring",
            Self::Kill => "kill -9 of a broker, started again some seconds later",
            Self::Pause => "freezes a broker's process, its connections stay open",
            Self::DelayWatermark => "delays the traffic of the replication port, each way",
            Self::OneWay => "cuts one direction of a node's links (simulation only)",
            Self::LoseUnsynced => {
                "power loss of a machine: un-synced writes are gone (simulation only)"
            }
            Self::TornWrites => {
                "power loss of a machine: un-synced writes are there in parts (simulation only)"
            }
            Self::Blackout => "power loss of several machines at once (simulation only)",
            Self::DiskFull => "a disk without room, for a while (simulation only)",
            Self::SyncError => "a sync that fails: the broker has to stop (simulation only)",
            Self::SlowDisk => "a disk whose syncs take very long (simulation only)",
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A word after `--nemesis` that is no fault kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown nemesis `{0}`: `harness list nemeses` has them; \
     lists of them (partition,kill) and none are understood, too"
)]
pub struct UnknownFault(pub String);

impl FromStr for FaultKind {
    type Err = UnknownFault;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::every().find(|kind| kind.name() == text);
        found.ok_or_else(|| UnknownFault(text.to_owned()))
    }
}

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
        }
    }
}

impl Shape {
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
        };
        let mut links = Vec::new();
        for from in nodes {
            let others = nodes.iter().filter(|to| *to != from && cut(*from, **to));
            links.extend(others.map(|to| (*from, *to)));
        }
        links
    }
}

/// A fault's work, told in terms of roles.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Action {
    /// See [`FaultKind::Partition`].
    Partition {
        /// Which links.
        #[serde(flatten)]
        shape: Shape,
        /// Listeners whose connections are left alone.
        #[serde(default)]
        spares: Vec<Listener>,
        /// Whether the nodes named by the shape lose the clients too.
        #[serde(default)]
        clients: bool,
    },
    /// See [`FaultKind::Kill`].
    Kill {
        /// Who.
        target: Target,
    },
    /// See [`FaultKind::Pause`].
    Pause {
        /// Who.
        target: Target,
    },
    /// See [`FaultKind::DelayWatermark`]. At least one of the two delays is above zero.
    DelayWatermark {
        /// Whose replication listener.
        target: Target,
        /// Followers' fetches on their way to the target, in milliseconds: the leader learns
        /// late how far its followers are.
        #[serde(rename = "inbound-ms")]
        inbound_ms: u32,
        /// The target's answers, in milliseconds: followers learn late of records and of the
        /// high watermark.
        #[serde(rename = "outbound-ms")]
        outbound_ms: u32,
    },
    /// See [`FaultKind::LoseUnsynced`], [`FaultKind::TornWrites`].
    PowerLoss {
        /// Who.
        target: Target,
        /// Whether some blocks of what was not synced are there.
        torn: bool,
    },
    /// See [`FaultKind::Blackout`].
    Blackout {
        /// Who.
        nodes: Vec<NodeId>,
        /// As in a power loss.
        torn: bool,
    },
    /// See [`FaultKind::DiskFull`].
    DiskFull {
        /// Whose disk.
        target: Target,
    },
    /// See [`FaultKind::SyncError`].
    SyncError {
        /// Whose disk.
        target: Target,
    },
    /// See [`FaultKind::SlowDisk`].
    SlowDisk {
        /// Whose disk.
        target: Target,
        /// What a sync takes, in milliseconds.
        #[serde(rename = "sync-ms")]
        sync_ms: u32,
    },
}

impl Action {
    /// The kind that it is of.
    pub fn kind(&self) -> FaultKind {
        match self {
            Self::Partition {
                shape: Shape::OneWay { .. },
                ..
            } => FaultKind::OneWay,
            Self::Partition { .. } => FaultKind::Partition,
            Self::Kill { .. } => FaultKind::Kill,
            Self::Pause { .. } => FaultKind::Pause,
            Self::DelayWatermark { .. } => FaultKind::DelayWatermark,
            Self::PowerLoss { torn: false, .. } => FaultKind::LoseUnsynced,
            Self::PowerLoss { torn: true, .. } => FaultKind::TornWrites,
            Self::Blackout { .. } => FaultKind::Blackout,
            Self::DiskFull { .. } => FaultKind::DiskFull,
            Self::SyncError { .. } => FaultKind::SyncError,
            Self::SlowDisk { .. } => FaultKind::SlowDisk,
        }
    }

    /// The role it is aimed at, if it is aimed at one.
    pub fn target(&self) -> Option<&Target> {
        match self {
            Self::Partition {
                shape: Shape::Isolate { target } | Shape::OneWay { target, .. },
                ..
            }
            | Self::Kill { target }
            | Self::Pause { target }
            | Self::DelayWatermark { target, .. }
            | Self::PowerLoss { target, .. }
            | Self::DiskFull { target }
            | Self::SyncError { target }
            | Self::SlowDisk { target, .. } => Some(target),
            Self::Partition { .. } | Self::Blackout { .. } => None,
        }
    }

    /// The same, to aim it at somebody else.
    pub fn target_mut(&mut self) -> Option<&mut Target> {
        match self {
            Self::Partition {
                shape: Shape::Isolate { target } | Shape::OneWay { target, .. },
                ..
            }
            | Self::Kill { target }
            | Self::Pause { target }
            | Self::DelayWatermark { target, .. }
            | Self::PowerLoss { target, .. }
            | Self::DiskFull { target }
            | Self::SyncError { target }
            | Self::SlowDisk { target, .. } => Some(target),
            Self::Partition { .. } | Self::Blackout { .. } => None,
        }
    }

    /// In words, without its kind: `isolate the leader of partition 3; spares controller`.
    pub fn describe(&self) -> String {
        match self {
            Self::Partition {
                shape,
                spares,
                clients,
            } => {
                let mut text = shape.to_string();
                if !spares.is_empty() {
                    let spares: Vec<&str> = spares.iter().map(|l| l.name()).collect();
                    text.push_str("; spares the port of ");
                    text.push_str(&spares.join(", "));
                }
                if *clients {
                    text.push_str("; clients too");
                }
                text
            }
            Self::Kill { target }
            | Self::Pause { target }
            | Self::PowerLoss { target, .. }
            | Self::DiskFull { target }
            | Self::SyncError { target } => target.to_string(),
            Self::SlowDisk { target, sync_ms } => format!("{target}: {sync_ms} ms a sync"),
            Self::Blackout { nodes, torn } => {
                let names: Vec<String> = nodes.iter().map(NodeId::to_string).collect();
                let torn = if *torn { ", writes torn" } else { "" };
                format!("{}{torn}", names.join(" "))
            }
            Self::DelayWatermark {
                target,
                inbound_ms,
                outbound_ms,
            } => format!(
                "replication port of {target}: {inbound_ms} ms inbound, {outbound_ms} ms outbound"
            ),
        }
    }

    /// What the fault must bring about for the run to have tested it; see [`Requirement`].
    pub fn requires(&self) -> Option<Requirement> {
        let Some(Target::Leader { partition }) = self.target() else {
            return None;
        };
        let forces_election = match self {
            // With the controller in reach the leader's session goes on: followers leave the
            // ISR and the leader stays.
            Self::Partition {
                shape: Shape::OneWay { .. },
                ..
            } => false,
            Self::Partition { spares, .. } => !spares.contains(&Listener::Controller),
            Self::Kill { .. } | Self::Pause { .. } | Self::PowerLoss { .. } => true,
            Self::SyncError { .. } => true,
            Self::DelayWatermark { .. }
            | Self::Blackout { .. }
            | Self::DiskFull { .. }
            | Self::SlowDisk { .. } => false,
        };
        forces_election.then_some(Requirement::LeaderEpochChange {
            partition: *partition,
        })
    }
}

/// What must be seen in the history for a fault to count as exercised. A run in which it is not
/// seen is vacuous, not valid.
///
/// In the history the steps of such a fault carry `"requires": "leader-epoch-change"` beside
/// `"role": "leader"`, `"partition"` and `"epoch"` (the epoch before the fault).
///
/// A fault is *aimed at a leader* when it is: an isolation of a partition's leader from all
/// brokers with the controller's port included; a kill of it; a pause of it. A cut that spares the
/// controller's port is not (the ISR shrinks instead, the leader stays), nor is a delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Requirement {
    /// The leader epoch of this partition rises between the fault's effect and the end of the run.
    LeaderEpochChange {
        /// Which partition.
        partition: u32,
    },
}

impl Requirement {
    /// Its name in the history.
    pub fn name(self) -> &'static str {
        match self {
            Self::LeaderEpochChange { .. } => "leader-epoch-change",
        }
    }
}

impl Fault {
    /// Whether the whole of `other` is to happen while this one holds.
    #[must_use]
    pub fn holds_around(&self, other: &Self) -> bool {
        let ends = |fault: &Self| fault.at_ms + fault.for_ms;
        self.id != other.id && self.at_ms < other.at_ms && ends(other) <= ends(self)
    }
}

/// One fault of a schedule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Counted from 1 in order of time.
    pub id: u32,
    /// When it is asked for, in milliseconds since the main phase began.
    #[serde(rename = "at-ms")]
    pub at_ms: u64,
    /// How long it is held after it took effect, in milliseconds.
    #[serde(rename = "for-ms")]
    pub for_ms: u64,
    /// What it does.
    #[serde(flatten)]
    pub action: Action,
}
