//! What can go wrong, and to whom: faults as data.
//!
//! Everything here is data: kinds are in [`crate::kind`], targets and the shapes of partitions in
//! [`crate::shape`].

use serde::{Deserialize, Serialize};

use crate::node::{Listener, NodeId};

pub use crate::kind::{FaultKind, Platform, UnknownFault};
pub use crate::shape::{Shape, Target};

/// What is wrong with a node's link. Percentages and rates hold for each direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "link", rename_all = "kebab-case")]
pub enum Impairment {
    /// Packets take longer; their order stays.
    Latency {
        /// Every packet, in milliseconds.
        #[serde(rename = "delay-ms")]
        delay_ms: u32,
        /// Up to so much more, drawn for each packet, in milliseconds.
        #[serde(rename = "jitter-ms")]
        jitter_ms: u32,
    },
    /// Some packets wait, and later ones overtake them.
    Reorder {
        /// How many of a hundred.
        percent: u32,
        /// How long they wait, in milliseconds.
        #[serde(rename = "delay-ms")]
        delay_ms: u32,
    },
    /// Some packets are lost.
    Loss {
        /// How many of a hundred.
        percent: u32,
    },
    /// So many bytes a second pass.
    Rate {
        /// KiB a second.
        #[serde(rename = "kib-per-second")]
        kib_per_second: u32,
    },
}

/// A rate up to this, in KiB a second, is a trickle.
pub const TRICKLE_KIB: u32 = 8;

impl Impairment {
    /// Its kind of fault.
    #[must_use]
    pub fn kind(self) -> FaultKind {
        match self {
            Self::Latency { .. } => FaultKind::Latency,
            Self::Reorder { .. } => FaultKind::Reorder,
            Self::Loss { .. } => FaultKind::Loss,
            Self::Rate { kib_per_second } if kib_per_second <= TRICKLE_KIB => FaultKind::Trickle,
            Self::Rate { .. } => FaultKind::Bandwidth,
        }
    }

    fn describe(self) -> String {
        match self {
            Self::Latency {
                delay_ms,
                jitter_ms,
            } => format!("{delay_ms} to {} ms each way", delay_ms + jitter_ms),
            Self::Reorder { percent, delay_ms } => {
                format!("{percent} % wait {delay_ms} ms and are overtaken")
            }
            Self::Loss { percent } => format!("{percent} % lost each way"),
            Self::Rate { kib_per_second } => format!("{kib_per_second} KiB a second each way"),
        }
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
        /// If not empty: the only listeners whose connections are cut.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        only: Vec<Listener>,
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
    /// See [`FaultKind::Latency`], [`FaultKind::Reorder`], [`FaultKind::Loss`],
    /// [`FaultKind::Bandwidth`], [`FaultKind::Trickle`].
    Impair {
        /// Whose link, to everybody.
        target: Target,
        /// What is wrong with it.
        #[serde(flatten)]
        impairment: Impairment,
    },
    /// See [`FaultKind::Reset`].
    Reset {
        /// Whose connections.
        target: Target,
        /// Whose listeners; those that the target opened to others stay.
        listeners: Vec<Listener>,
    },
    /// See [`FaultKind::HalfOpen`].
    HalfOpen {
        /// Whose connections.
        target: Target,
        /// At which of its listeners.
        listeners: Vec<Listener>,
    },
    /// See [`FaultKind::Stop`].
    Stop {
        /// Who.
        target: Target,
    },
    /// See [`FaultKind::RollingRestart`].
    RollingRestart {
        /// Who, in order.
        order: Vec<NodeId>,
        /// How long each is down, in milliseconds.
        #[serde(rename = "down-ms")]
        down_ms: u32,
    },
    /// See [`FaultKind::Chase`].
    Chase {
        /// The first who is killed: a leader.
        target: Target,
        /// How many are killed.
        times: u32,
    },
    /// See [`FaultKind::Cpu`], [`FaultKind::Memory`].
    Pressure {
        /// Beside whom.
        target: Target,
        /// Busy threads for each processor of the machine.
        #[serde(rename = "threads-per-cpu")]
        threads_per_cpu: u32,
        /// MiB that are taken.
        mib: u32,
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
            Self::Partition {
                shape: Shape::Clients { .. } | Shape::AllClients,
                ..
            } => FaultKind::ClientPartition,
            Self::Partition { only, .. } if !only.is_empty() => FaultKind::PortPartition,
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
            Self::Impair { impairment, .. } => impairment.kind(),
            Self::Reset { .. } => FaultKind::Reset,
            Self::HalfOpen { .. } => FaultKind::HalfOpen,
            Self::Stop { .. } => FaultKind::Stop,
            Self::RollingRestart { .. } => FaultKind::RollingRestart,
            Self::Chase { .. } => FaultKind::Chase,
            Self::Pressure { mib: 0, .. } => FaultKind::Cpu,
            Self::Pressure { .. } => FaultKind::Memory,
        }
    }

    /// The role it is aimed at, if it is aimed at one.
    pub fn target(&self) -> Option<&Target> {
        match self {
            Self::Partition { shape, .. } => shape.target(),
            Self::Kill { target }
            | Self::Pause { target }
            | Self::DelayWatermark { target, .. }
            | Self::PowerLoss { target, .. }
            | Self::DiskFull { target }
            | Self::SyncError { target }
            | Self::SlowDisk { target, .. }
            | Self::Impair { target, .. }
            | Self::Reset { target, .. }
            | Self::HalfOpen { target, .. }
            | Self::Stop { target }
            | Self::Chase { target, .. }
            | Self::Pressure { target, .. } => Some(target),
            Self::Blackout { .. } | Self::RollingRestart { .. } => None,
        }
    }

    /// The same, to aim it at somebody else.
    pub fn target_mut(&mut self) -> Option<&mut Target> {
        match self {
            Self::Partition { shape, .. } => shape.target_mut(),
            Self::Kill { target }
            | Self::Pause { target }
            | Self::DelayWatermark { target, .. }
            | Self::PowerLoss { target, .. }
            | Self::DiskFull { target }
            | Self::SyncError { target }
            | Self::SlowDisk { target, .. }
            | Self::Impair { target, .. }
            | Self::Reset { target, .. }
            | Self::HalfOpen { target, .. }
            | Self::Stop { target }
            | Self::Chase { target, .. }
            | Self::Pressure { target, .. } => Some(target),
            Self::Blackout { .. } | Self::RollingRestart { .. } => None,
        }
    }

    /// In words, without its kind: `isolate the leader of partition 3; spares controller`.
    pub fn describe(&self) -> String {
        match self {
            Self::Partition {
                shape,
                spares,
                only,
                clients,
            } => {
                let mut text = shape.to_string();
                if !spares.is_empty() {
                    text.push_str("; spares the port of ");
                    text.push_str(&names(spares));
                }
                if !only.is_empty() {
                    text.push_str("; only the port of ");
                    text.push_str(&names(only));
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
            | Self::Stop { target }
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
            other => other.describe_further(),
        }
    }

    fn describe_further(&self) -> String {
        match self {
            Self::Impair { target, impairment } => {
                format!("link of {target}: {}", impairment.describe())
            }
            Self::Reset { target, listeners } | Self::HalfOpen { target, listeners } => {
                format!("the port of {} of {target}", names(listeners))
            }
            Self::RollingRestart { order, down_ms } => {
                let order: Vec<String> = order.iter().map(NodeId::to_string).collect();
                format!("{}, each down for {down_ms} ms", order.join(" then "))
            }
            Self::Chase { target, times } => format!("{target}, {times} times"),
            Self::Pressure {
                target,
                threads_per_cpu,
                mib: 0,
            } => format!("beside {target}: {threads_per_cpu} busy threads a processor"),
            Self::Pressure { target, mib, .. } => format!("beside {target}: {mib} MiB"),
            other => other.kind().name().to_owned(),
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
                shape: Shape::OneWay { .. } | Shape::Clients { .. } | Shape::AllClients,
                ..
            } => false,
            // Whom the others do not hear has no session, whatever else it hears.
            Self::Partition { only, .. } if !only.is_empty() => {
                only.contains(&Listener::Controller)
            }
            Self::Partition { spares, .. } => !spares.contains(&Listener::Controller),
            Self::Kill { .. } | Self::Pause { .. } | Self::PowerLoss { .. } => true,
            Self::Stop { .. } | Self::Chase { .. } => true,
            Self::SyncError { .. } => true,
            Self::DelayWatermark { .. }
            | Self::Blackout { .. }
            | Self::DiskFull { .. }
            | Self::SlowDisk { .. }
            | Self::Impair { .. }
            | Self::Reset { .. }
            | Self::HalfOpen { .. }
            | Self::RollingRestart { .. }
            | Self::Pressure { .. } => false,
        };
        forces_election.then_some(Requirement::LeaderEpochChange {
            partition: *partition,
        })
    }
}

fn names(listeners: &[Listener]) -> String {
    let names: Vec<&str> = listeners.iter().map(|l| l.name()).collect();
    names.join(", ")
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
