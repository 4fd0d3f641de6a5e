//! The metadata actor of one broker, as the rest of the broker sees it: start, watch, stop.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use uuid::Uuid;

use crate::config::BrokerConfig;
use crate::exec;
use crate::log::LogFound;
use crate::meta::actor::{self, Ends, Stop};
use crate::meta::command::Command;
use crate::meta::handle::MetadataHandle;
use crate::meta::store_writer::{Drive, StoreError, WriterThread};
use crate::storage::Storage;
use crate::storage::disk::Disk;
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

impl From<StoreError> for MetaError {
    fn from(error: StoreError) -> Self {
        let StoreError { path, reason } = error;
        MetaError::Store { path, reason }
    }
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

/// How a metadata actor is started.
pub struct MetaOptions {
    /// Settings.
    pub config: Arc<BrokerConfig>,
    /// Where `data_dir` is.
    pub storage: Arc<dyn Storage>,
    /// Recovery found the partitions' logs as they must be (up to a torn tail).
    pub recovered: bool,
    /// Which log that is.
    pub log: LogFound,
    /// Of this process: never used before, by any process of this broker, on any disk.
    pub incarnation: Uuid,
    /// The log is compacted after this many entries.
    pub snapshot_every: u64,
}

impl MetaOptions {
    /// For a real process: the real disk, and an incarnation from the operating system's
    /// entropy. (Not from the seed: a restarted process with the same seed must be told apart.)
    #[must_use]
    pub fn new(config: Arc<BrokerConfig>, recovered: bool) -> Self {
        Self {
            config,
            storage: Arc::new(Disk),
            recovered,
            log: LogFound {
                id: Uuid::nil(),
                empty: false,
            },
            incarnation: Uuid::new_v4(),
            snapshot_every: 1000,
        }
    }
}

/// A running metadata actor. Dropping it without [`MetaNode::stop`] ends it at once, as a crash
/// would.
pub struct MetaNode {
    handle: MetadataHandle,
    metrics: watch::Receiver<MetaMetrics>,
    ended: watch::Receiver<Option<MetaError>>,
    stop: oneshot::Sender<Stop>,
    /// Ends when the actor is gone and its store is closed.
    closed: oneshot::Receiver<()>,
    id: BrokerId,
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

    /// Tells the controller that this broker is about to stop, which moves its leaderships and
    /// keeps it out of ISRs (KIP-841). Returns when that shows in this broker's image, but after
    /// `patience` at the latest: then the others find out by its silence.
    pub async fn controlled_shutdown(&self, patience: Duration) {
        let Some(epoch) = self.handle.broker_epoch() else {
            return;
        };
        let id = self.id;
        let command = Command::BeginControlledShutdown { id, epoch };
        match tokio::time::timeout(patience, self.handle.propose(command)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(broker = %id, %error, "no controlled shutdown"),
            Err(_) => tracing::warn!(broker = %id, ?patience, "no controlled shutdown in time"),
        }
    }

    /// Stops the actor and closes its store. `logs_closed` says that the partitions' logs were
    /// closed and synced before: then a clean-shutdown marker with the current broker epoch is
    /// left behind, which the next start takes up.
    pub async fn stop(self, logs_closed: bool) {
        // An actor that has ended already needs no telling.
        let _ = self.stop.send(Stop { logs_closed });
        let _ = self.closed.await;
    }

    /// Ends the actor at once, as a crash would, and waits until its store is closed.
    pub async fn kill(self) {
        drop(self.stop);
        let _ = self.closed.await;
    }
}

/// Starts the metadata actor of this broker on a thread of its own: opens its store under
/// `data_dir`, listens on `controller_listen`, forms or joins the quorum, registers the broker
/// and sends heartbeats. Returns as soon as it listens; registration goes on in the background
/// and shows in [`MetadataHandle::watch_broker_epoch`].
///
/// `recovered`: recovery found the partitions' logs as they must be (up to a torn tail).
///
/// # Errors
/// [`MetaError`].
pub async fn start(config: Arc<BrokerConfig>, recovered: bool) -> Result<MetaNode, MetaError> {
    start_with(MetaOptions::new(config, recovered)).await
}

/// Like [`start`], with everything chosen by the caller.
///
/// # Errors
/// [`MetaError`].
pub async fn start_with(options: MetaOptions) -> Result<MetaNode, MetaError> {
    let id = options.config.id;
    let (ready, started) = oneshot::channel();
    let (stop, stopped) = oneshot::channel();
    let (close, closed) = oneshot::channel();
    let run = move || actor::run(options, Drive::Thread, ready, stopped);
    let thread = exec::spawn_runtime("meta", run, move |writer: Option<WriterThread>| {
        if let Some(writer) = writer {
            writer.join();
        }
        // Nobody waits when the node was dropped.
        let _ = close.send(());
    });
    thread.map_err(|error| MetaError::Raft(format!("no thread for it: {error}")))?;
    node(id, started, stop, closed).await
}

/// Like [`start_with`], but as tasks of the current runtime, the store included: for simulations,
/// where everything is on one thread.
///
/// # Errors
/// [`MetaError`].
pub async fn start_here(options: MetaOptions) -> Result<MetaNode, MetaError> {
    let id = options.config.id;
    let (ready, started) = oneshot::channel();
    let (stop, stopped) = oneshot::channel();
    let (close, closed) = oneshot::channel();
    exec::spawn("meta", async move {
        actor::run(options, Drive::Inline, ready, stopped).await;
        // Nobody waits when the node was dropped.
        let _ = close.send(());
    });
    node(id, started, stop, closed).await
}

async fn node(
    id: BrokerId,
    started: oneshot::Receiver<Result<Ends, MetaError>>,
    stop: oneshot::Sender<Stop>,
    closed: oneshot::Receiver<()>,
) -> Result<MetaNode, MetaError> {
    let died = |_| Err(MetaError::Raft("it panicked at the start".to_owned()));
    let ends = started.await.unwrap_or_else(died)?;
    Ok(MetaNode {
        handle: ends.handle,
        metrics: ends.metrics,
        ended: ends.ended,
        stop,
        closed,
        id,
    })
}
