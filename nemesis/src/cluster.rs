//! What the nemesis needs of a runtime: nodes that can be killed, frozen and started, an agent
//! inside each node's network namespace, and a client's view from outside.
//!
//! A runtime does as told and reports what it measured; deciding whether a fault took effect is
//! the executor's.

use std::net::Ipv4Addr;
use std::time::Duration;

use async_trait::async_trait;

use crate::agent::{AgentCommand, AgentReply};
use crate::node::{Listener, NodeId, Ports};

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Each sync takes this long; zero: as long as it takes.
    Slow(Duration),
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

    /// Does something to a node's disk. Only simulations have disks that obey.
    async fn disk(&self, node: NodeId, order: DiskOrder) -> Result<(), ClusterError> {
        Err(ClusterError::Refused {
            what: format!("{order:?}"),
            node,
            why: "the disks of this runtime do not obey; use --runtime sim".to_owned(),
        })
    }

    /// Bytes that still fit on a node's disk, where that can be set.
    async fn room(&self, node: NodeId) -> Result<u64, ClusterError> {
        let _ = node;
        Ok(u64::MAX)
    }

    /// Whether a sync that was ordered to fail ([`DiskOrder::FailSync`]) has not come yet.
    async fn sync_will_fail(&self, node: NodeId) -> Result<bool, ClusterError> {
        let _ = node;
        Ok(false)
    }

    /// Measures the state of the broker's process.
    async fn state(&self, node: NodeId) -> Result<NodeState, ClusterError>;
}
