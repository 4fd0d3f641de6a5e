//! The kinds of faults by name, and which runtime offers which of them, how faithfully.
//!
//! The table is what `harness list nemeses` prints and what a command line is checked against; the
//! fault suite holds it to its word.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A kind of fault, as `--nemesis` names it. New kinds go to the end: the order is that in which
/// schedules are drawn.
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
    /// One port of a node is cut off, the others work: replication without the controller, or
    /// the controller without replication.
    PortPartition,
    /// Clients are cut off from a broker, or from all; brokers hear each other.
    ClientPartition,
    /// Every packet of a node takes longer, and not always the same.
    Latency,
    /// Some packets of a node are overtaken by later ones.
    Reorder,
    /// Some packets of a node are lost.
    Loss,
    /// A node's link carries so many bytes a second.
    Bandwidth,
    /// A node's link carries next to nothing: a large request takes very long.
    Trickle,
    /// Connections to a node's ports are reset.
    Reset,
    /// Connections that stand go silent; new ones work.
    HalfOpen,
    /// SIGTERM, and a start some seconds later.
    Stop,
    /// One broker after the other is stopped and started.
    RollingRestart,
    /// The leader is killed, and the next one as soon as it is elected.
    Chase,
    /// Busy threads take the processor from a broker.
    Cpu,
    /// Memory is taken, and held.
    Memory,
}

/// Where faults are done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Platform {
    /// Containers.
    Docker,
    /// Network namespaces.
    Namespaces,
    /// Plain processes behind links of ours.
    Local,
    /// Somebody else's cluster.
    External,
    /// Simulated time.
    Sim,
}

impl Platform {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Docker,
        Self::Namespaces,
        Self::Local,
        Self::External,
        Self::Sim,
    ];

    /// As `--runtime` names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Namespaces => "namespaces",
            Self::Local => "local",
            Self::External => "external",
            Self::Sim => "sim",
        }
    }
}

/// What is known of a kind: name, one line, and how it is done where it is done.
struct Entry {
    kind: FaultKind,
    name: &'static str,
    about: &'static str,
    /// In containers and in network namespaces alike.
    packets: Option<&'static str>,
    /// In simulated time.
    sim: Option<&'static str>,
}

const fn entry(
    kind: FaultKind,
    name: &'static str,
    about: &'static str,
    packets: Option<&'static str>,
    sim: Option<&'static str>,
) -> Entry {
    Entry {
        kind,
        name,
        about,
        packets,
        sim,
    }
}

const QUEUE: Option<&str> =
    Some("exact: each packet is held by NFQUEUE, TCP notices what it would");
const SIGNALS: Option<&str> = Some("exact: the signal itself");
const DROPPED: Option<&str> = Some("exact: packets are dropped by nftables where they arrive");
const SEGMENTS: Option<&str> = Some("segments of simulated TCP: sent again when healed");
const LATE: Option<&str> = Some("segments of simulated TCP arrive late");
const TASKS: Option<&str> = Some("tasks of the simulated process end or stand still");
const DISKS: Option<&str> = Some("disks in memory that lose, tear and refuse");

/// In the order of [`FaultKind`].
const TABLE: &[Entry] = &[
    entry(
        FaultKind::Partition,
        "partition",
        "cuts links between brokers: a leader, one node, halves, a ring, a bridge",
        DROPPED,
        SEGMENTS,
    ),
    entry(
        FaultKind::Kill,
        "kill",
        "kill -9 of a broker, started again some seconds later",
        SIGNALS,
        TASKS,
    ),
    entry(
        FaultKind::Pause,
        "pause",
        "freezes a broker's process, its connections stay open",
        Some("exact: SIGSTOP, or the container's freezer"),
        TASKS,
    ),
    entry(
        FaultKind::DelayWatermark,
        "delay-watermark",
        "delays the traffic of the replication port, each way",
        QUEUE,
        LATE,
    ),
    entry(
        FaultKind::OneWay,
        "one-way",
        "cuts one direction of a node's links: it is not heard, or it does not hear",
        DROPPED,
        SEGMENTS,
    ),
    entry(
        FaultKind::LoseUnsynced,
        "lose-unsynced",
        "power loss of a machine: un-synced writes are gone",
        None,
        DISKS,
    ),
    entry(
        FaultKind::TornWrites,
        "torn-writes",
        "power loss of a machine: un-synced writes are there in parts",
        None,
        DISKS,
    ),
    entry(
        FaultKind::Blackout,
        "blackout",
        "power loss of several machines at once",
        None,
        DISKS,
    ),
    entry(
        FaultKind::DiskFull,
        "disk-full",
        "a disk without room, for a while",
        None,
        DISKS,
    ),
    entry(
        FaultKind::SyncError,
        "sync-error",
        "a sync that fails: the broker has to stop",
        None,
        DISKS,
    ),
    entry(
        FaultKind::SlowDisk,
        "slow-disk",
        "a disk whose syncs take very long",
        None,
        DISKS,
    ),
    entry(
        FaultKind::PortPartition,
        "port-partition",
        "cuts one port of a node: replication alone, or the controller alone",
        DROPPED,
        SEGMENTS,
    ),
    entry(
        FaultKind::ClientPartition,
        "client-partition",
        "cuts clients off from a broker, or from all; brokers hear each other",
        Some("exact, for all clients of a broker at once: they have one address"),
        SEGMENTS,
    ),
    entry(
        FaultKind::Latency,
        "latency",
        "every packet of a node takes longer, by a varying time (jitter)",
        QUEUE,
        None,
    ),
    entry(
        FaultKind::Reorder,
        "reorder",
        "some packets of a node are overtaken by later ones",
        QUEUE,
        None,
    ),
    entry(
        FaultKind::Loss,
        "loss",
        "some packets of a node are lost",
        QUEUE,
        None,
    ),
    entry(
        FaultKind::Bandwidth,
        "bandwidth",
        "a node's link carries few bytes a second",
        QUEUE,
        None,
    ),
    entry(
        FaultKind::Trickle,
        "trickle",
        "a node's link carries next to nothing: a large request takes very long",
        None,
        None,
    ),
    entry(
        FaultKind::Reset,
        "reset",
        "connections to a node are reset (RST), and new ones refused",
        Some("exact: nftables answers each packet with a TCP reset"),
        None,
    ),
    entry(
        FaultKind::HalfOpen,
        "half-open",
        "connections that stand go silent, and nobody is told; new ones work",
        None,
        None,
    ),
    entry(
        FaultKind::Stop,
        "stop",
        "SIGTERM to a broker, which ends in good order; started again later",
        None,
        None,
    ),
    entry(
        FaultKind::RollingRestart,
        "rolling-restart",
        "stops and starts one broker after the other",
        None,
        None,
    ),
    entry(
        FaultKind::Chase,
        "chase",
        "kills a leader, and the next one as soon as it is elected",
        None,
        None,
    ),
    entry(
        FaultKind::Cpu,
        "cpu",
        "busy threads beside a broker take the processor",
        Some("rough: the machine's processors, which all nodes share"),
        None,
    ),
    entry(
        FaultKind::Memory,
        "memory",
        "memory is taken beside a broker, and held",
        None,
        None,
    ),
];

impl FaultKind {
    /// The four that the project began with, and that every runtime offers.
    pub const BASIC: [Self; 4] = [
        Self::Partition,
        Self::Kill,
        Self::Pause,
        Self::DelayWatermark,
    ];

    /// Every kind that some runtime offers, in the order of the documentation. What no measurement
    /// has shown to bite and to heal yet is not offered.
    pub fn every() -> impl Iterator<Item = Self> {
        let offered = |entry: &&Entry| entry.packets.is_some() || entry.sim.is_some();
        TABLE.iter().filter(offered).map(|entry| entry.kind)
    }

    /// The kinds that a runtime offers.
    pub fn offered(platform: Platform) -> impl Iterator<Item = Self> {
        Self::every().filter(move |kind| kind.fidelity(platform).is_some())
    }

    fn entry(self) -> &'static Entry {
        let entry = &TABLE[self as usize];
        assert!(entry.kind == self, "the table is in the order of the enum");
        entry
    }

    /// The name on the command line and in the history.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.entry().name
    }

    /// One line for `harness list` and `--help`.
    #[must_use]
    pub fn about(self) -> &'static str {
        self.entry().about
    }

    /// How the fault is done on a runtime, and how much like the real thing; `None` where it is
    /// not offered.
    #[must_use]
    pub fn fidelity(self, platform: Platform) -> Option<&'static str> {
        match platform {
            Platform::Docker | Platform::Namespaces => self.entry().packets,
            Platform::Sim => self.entry().sim,
            Platform::Local | Platform::External => None,
        }
    }

    /// The runtimes that offer it.
    pub fn platforms(self) -> impl Iterator<Item = Platform> {
        let offers = move |platform: &Platform| self.fidelity(*platform).is_some();
        Platform::ALL.into_iter().filter(offers)
    }

    /// Whether it holds while processes fail inside it: links, and disks that are slow.
    #[must_use]
    pub fn holds(self) -> bool {
        self.is_of_links() || self == Self::SlowDisk
    }

    /// Whether it acts on the network between nodes, or between nodes and clients.
    #[must_use]
    pub fn is_of_links(self) -> bool {
        matches!(
            self,
            Self::Partition
                | Self::OneWay
                | Self::DelayWatermark
                | Self::PortPartition
                | Self::ClientPartition
                | Self::Latency
                | Self::Reorder
                | Self::Loss
                | Self::Bandwidth
                | Self::Trickle
                | Self::Reset
                | Self::HalfOpen
        )
    }

    /// Whether it takes one broker down for a while, by itself.
    #[must_use]
    pub fn is_of_one_process(self) -> bool {
        matches!(self, Self::Kill | Self::Pause | Self::Stop)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_whole_and_what_is_offered_has_a_name() {
        for (at, entry) in TABLE.iter().enumerate() {
            assert_eq!(entry.kind as usize, at, "{}", entry.name);
            let offered = entry.kind.platforms().next().is_some();
            assert_eq!(
                entry.name.parse() == Ok(entry.kind),
                offered,
                "{}",
                entry.name
            );
            // As serde names it, too: in schedules and journals there is one name.
            let json = serde_json::to_string(&entry.kind).expect("a name");
            assert_eq!(json, format!("\"{}\"", entry.name));
        }
        assert_eq!(TABLE.len(), FaultKind::Memory as usize + 1);
    }
}
