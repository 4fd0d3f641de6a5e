//! The metadata actor of one broker, as the rest of the broker sees it: start, watch, stop.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::config::BrokerConfig;
use crate::meta::handle::MetadataHandle;
use crate::types::BrokerId;

/// Why the metadata actor did not start, or stopped by itself. All are final: the process stops.
#[derive(Clone, Debug, thiserror::Error)]
pub enum MetaError {
    /// The settings contradict themselves.
    #[error("metadata: {0}")]
    Config(String),
    /// The controller listener cannot be had.
    #[error("controller listener {address}: {reason}; choose a free address")]
    Listen {
        /// Asked for.
        address: String,
        /// The operating system's answer.
        reason: String,
    },
    /// The store of votes, log and snapshot cannot be read or written.
    #[error("metadata store {path}: {reason}")]
    Store {
        /// The file.
        path: String,
        /// What went wrong.
        reason: String,
    },
    /// Another process registered under the same broker id after this one.
    #[error("another process registered as broker {0} after this one: give each broker its own id")]
    Superseded(BrokerId),
    /// Raft stopped.
    #[error("metadata quorum: {0}")]
    Raft(String),
}

/// What the metadata actor tells of itself; a new value with every change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetaMetrics {
    /// Raft's current term.
    pub term: u64,
    /// The Raft leader as far as this broker knows.
    pub leader: Option<BrokerId>,
    /// Whether this broker is the active controller.
    pub is_controller: bool,
    /// Last index in the Raft log here.
    pub last_log_index: u64,
    /// Last index applied here.
    pub applied_index: u64,
    /// Last index that the newest snapshot holds.
    pub snapshot_index: u64,
    /// Elections that this broker stood for.
    pub elections_started: u64,
    /// Time since a majority last answered this broker as leader.
    pub since_quorum: Option<Duration>,
}

/// A running metadata actor. Dropping it without [`MetaNode::stop`] ends it at once, as a crash
/// would.
pub struct MetaNode {
    handle: MetadataHandle,
    metrics: watch::Receiver<MetaMetrics>,
    ended: watch::Receiver<Option<MetaError>>,
}

impl MetaNode {
    /// The door that the rest of the broker uses.
    #[must_use]
    pub fn handle(&self) -> MetadataHandle {
        self.handle.clone()
    }

    /// Figures for `/metrics`.
    #[must_use]
    pub fn metrics(&self) -> watch::Receiver<MetaMetrics> {
        self.metrics.clone()
    }

    /// Becomes `Some` when the actor cannot go on (its store failed, another process took this
    /// broker's id): the process has to stop, and to say why.
    #[must_use]
    pub fn ended(&self) -> watch::Receiver<Option<MetaError>> {
        self.ended.clone()
    }

    /// Tells the controller that this broker is about to stop, and waits until it leads nothing
    /// any more, but not longer than `patience` (KIP-841: it joins no ISR from here on).
    pub async fn controlled_shutdown(&self, patience: Duration) {
        let _ = patience;
    }

    /// Stops the actor. `logs_closed` says that the partitions' logs were closed and synced
    /// before: then a clean-shutdown marker with the current broker epoch is left behind, which
    /// the next start takes up.
    pub async fn stop(self, logs_closed: bool) {
        let _ = logs_closed;
    }
}

/// Starts the metadata actor of this broker: opens its store under `data_dir`, listens on
/// `controller_listen`, forms or joins the quorum, registers the broker and sends heartbeats.
/// Returns as soon as it listens; registration goes on in the background and shows in
/// [`MetadataHandle::watch_broker_epoch`].
///
/// `recovered`: recovery found the partitions' logs as they must be (up to a torn tail).
///
/// # Errors
/// [`MetaError`].
pub async fn start(config: Arc<BrokerConfig>, recovered: bool) -> Result<MetaNode, MetaError> {
    let _ = recovered;
    Err(MetaError::Config(format!(
        "broker {} has no metadata quorum yet",
        config.id
    )))
}
