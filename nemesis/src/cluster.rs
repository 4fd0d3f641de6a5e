//! What the nemesis needs of a runtime: nodes that can be killed, frozen and started, an agent
//! inside each node's network namespace, and a client's view from outside.
//!
//! A runtime does as told and reports what it measured; deciding whether a fault took effect is
//! the executor's.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::agent::{AgentCommand, AgentReply};
use crate::node::{Listener, NodeId, Ports};
use crate::wire::{WireOrder, WireStatus};

/// What became of a node's broker process, as the runtime measures it now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// It runs.
    Running,
    /// It exists and does not run (frozen or stopped by a signal).
    Paused,
    /// It does not exist.
    Stopped {
        /// Its exit code, if it exited and the runtime knows; 128 + n for a signal n.
        code: Option<i32>,
    },
}

/// What can be done to the disk of a node, where a runtime has such disks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskOrder {
    /// The machine loses power, and what was not synced.
    LosePower {
        /// Some blocks of what was not synced are there all the same.
        torn: bool,
    },
    /// Nothing more fits, or everything fits again.
    Full(bool),
    /// The next sync fails; or does not, if it was to and has not come yet.
    FailSync(bool),
    /// Every read fails with an I/O error; or no more.
    FailReads(bool),
    /// Each sync takes this long; zero: as long as it takes.
    Slow(Duration),
    /// One bit of what is stored turns over.
    FlipBit,
    /// The newest file of records loses some of its end.
    CutTail,
}

/// What a disk has seen of what can be done to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct DiskReport {
    /// Bytes that still fit.
    pub room: u64,
    /// Bytes that were written and not synced.
    pub unsynced_bytes: u64,
    /// Writes that were not synced when power was last lost.
    pub lost_writes: u64,
    /// Bytes of them that are gone.
    pub lost_bytes: u64,
    /// Bytes of them that are there all the same.
    pub kept_bytes: u64,
    /// Names made, changed or removed that were not durable when power was last lost.
    pub lost_names: u64,
    /// Writes that were refused because nothing fits.
    pub refused: u64,
    /// Syncs that succeeded.
    pub syncs: u64,
    /// What the last of them took, in microseconds.
    pub last_sync_us: u64,
    /// Syncs that failed by order.
    pub failed_syncs: u64,
    /// Whether a sync that is to fail has not come yet.
    pub sync_will_fail: bool,
    /// Reads that failed by order, since the last order.
    pub failed_reads: u64,
    /// The last bit that was turned over: in which file, at which byte.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flipped: Option<String>,
    /// What was cut off last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut: Option<String>,
}

/// What a runtime could not do.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The engine or the kernel refused.
    #[error("{what} on {node} failed: {why}")]
    Refused {
        /// What was tried.
        what: String,
        /// On which node.
        node: NodeId,
        /// The answer.
        why: String,
    },
    /// It did not answer in time.
    #[error("{what} on {node} did not end within {} s", limit.as_secs())]
    TimedOut {
        /// What was tried.
        what: String,
        /// On which node.
        node: NodeId,
        /// How long was waited.
        limit: Duration,
    },
    /// No such node in this cluster.
    #[error("there is no node {0} in this cluster")]
    NoSuchNode(NodeId),
}

/// A runtime, seen from the nemesis. Every method can be called again without harm: killing what
/// is dead and resuming what runs succeed.
#[async_trait]
pub trait Cluster: Send + Sync {
    /// All nodes, in order.
    fn nodes(&self) -> Vec<NodeId>;

    /// Where the other nodes reach this one.
    fn address(&self, node: NodeId) -> Result<Ipv4Addr, ClusterError>;

    /// The ports of the listeners on each node.
    fn ports(&self) -> Ports;

    /// Where one listener of a node is reached: the same port on every node, unless all nodes share
    /// an address.
    fn endpoint(&self, node: NodeId, listener: Listener) -> Result<SocketAddrV4, ClusterError> {
        let ip = self.address(node)?;
        Ok(SocketAddrV4::new(ip, self.ports().of(listener)))
    }

    /// How long a broker that is well may take from its start to its first answer, and any other
    /// fault to be felt no more.
    fn healing_limit(&self) -> Duration {
        Duration::from_secs(15)
    }

    /// Something that a live broker answers, and on which listener (`GET /healthz`). Tells a
    /// process that runs from one whose kernel accepts on its behalf.
    fn question(&self) -> (Listener, String);

    /// The addresses from which clients outside appear to a node.
    fn client_addresses(&self) -> Vec<Ipv4Addr>;

    /// Runs one command of the agent inside a node's network namespace.
    async fn agent(&self, node: NodeId, command: &AgentCommand)
    -> Result<AgentReply, ClusterError>;

    /// Connects from where the clients are, without sending anything: how long the connection
    /// took, or `None` if there was none within `limit`.
    async fn reach(
        &self,
        node: NodeId,
        listener: Listener,
        limit: Duration,
    ) -> Result<Option<Duration>, ClusterError>;

    /// SIGKILL to the broker. Returns when the process is gone. Its address, its network
    /// namespace with the rules in it, and its data stay.
    async fn kill(&self, node: NodeId) -> Result<(), ClusterError>;

    /// SIGTERM to the broker, and waits until it ended, up to `grace`; then as [`Cluster::kill`].
    async fn stop(&self, node: NodeId, grace: Duration) -> Result<(), ClusterError>;

    /// Starts the broker on the data that it had. Returns when the process exists.
    async fn start(&self, node: NodeId) -> Result<(), ClusterError>;

    /// Freezes the broker's process.
    async fn pause(&self, node: NodeId) -> Result<(), ClusterError>;

    /// Lets it go on.
    async fn resume(&self, node: NodeId) -> Result<(), ClusterError>;

    /// Does something to a node's disk, where it is one that obeys.
    async fn disk(&self, node: NodeId, order: DiskOrder) -> Result<(), ClusterError> {
        Err(ClusterError::Refused {
            what: format!("{order:?}"),
            node,
            why: "the disks of this cluster do not obey".to_owned(),
        })
    }

    /// What a node's disk has seen; `None` where disks tell nothing.
    async fn disk_report(&self, node: NodeId) -> Result<Option<DiskReport>, ClusterError> {
        let _ = node;
        Ok(None)
    }

    /// Does something to the requests and answers between the clients and a node, and reports what
    /// is done. Only where something stands between them that understands them.
    async fn wire(&self, node: NodeId, order: &WireOrder) -> Result<Vec<WireStatus>, ClusterError> {
        let _ = order;
        Err(ClusterError::Refused {
            what: "a fault of the wire".to_owned(),
            node,
            why: "nothing stands between it and its clients".to_owned(),
        })
    }

    /// Measures the state of the broker's process.
    async fn state(&self, node: NodeId) -> Result<NodeState, ClusterError>;
}
