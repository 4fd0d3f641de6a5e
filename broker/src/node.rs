//! One broker: wires its parts together, starts them in order, stops them in order.
//!
//! Start: log (replay), listeners bound (a taken port is found out before anything is promised),
//! metadata, replicas, admin; the listeners answer once the broker knows the cluster: until then
//! its answers would be about an empty one. Stop: leaderships move away while requests are still
//! answered, listeners drain, logs are closed, the metadata actor leaves the clean-shutdown
//! marker.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use uuid::Uuid;

use crate::admin;
use crate::admin::exposition::{ListenerSources, Sources};
use crate::api::Context;
use crate::config::BrokerConfig;
use crate::config::cli::{EXIT_CONFIG, EXIT_INTERNAL, EXIT_IO};
use crate::exec;
use crate::log::{LogConfig, LogMetrics, LogStore, OpenError};
use crate::meta::handle::MetadataHandle;
use crate::meta::node::{self as meta_node, MetaError, MetaNode, MetaOptions};
use crate::metrics::RequestMetrics;
use crate::net::connection::{Budget, Limits};
use crate::net::listener::{Listener, ListenerCounts};
use crate::net::{self, ListenerKind, TcpListener};
use crate::replica::manager::ReplicaManager;
use crate::storage::Storage;
use crate::wire::dispatch::Dispatcher;

/// Until the first request of a connection.
const FIRST_REQUEST: Duration = Duration::from_secs(60);
/// For a peer that does not read its answers.
const WRITE_STALL: Duration = Duration::from_secs(60);
/// For answers to a peer that has ended its side of the connection.
const AFTER_END: Duration = Duration::from_secs(5);
/// For leaderships to move away.
const HAND_OVER: Duration = Duration::from_secs(3);
/// For replicas to give their logs back.
const REPLICAS_STOP: Duration = Duration::from_secs(3);
/// Connections that other brokers may have; they need one or two each.
const REPLICATION_CONNECTIONS: usize = 256;
/// Memory for their requests, apart from that of clients: followers ask for much, but in few
/// bytes.
const REPLICATION_REQUEST_BYTES: usize = 64 << 20;

/// Open files that are not connections of clients or followers: the log's, the metadata store's,
/// the controllers' connections, the admin listener's, what the runtime needs.
const OTHER_FILES: usize = 256;
/// Connections that clients have even where files are few.
const CONNECTIONS_MIN: usize = 16;

/// Lowers the number of connections to what `open_files` allows, so that it is never the log that
/// finds no file left. Returns a warning when it had to.
pub fn fit_connections(config: &mut BrokerConfig, open_files: usize) -> Option<String> {
    let others = REPLICATION_CONNECTIONS + OTHER_FILES;
    let room = open_files.saturating_sub(others).max(CONNECTIONS_MIN);
    if config.max_connections <= room {
        return None;
    }
    let wanted = std::mem::replace(&mut config.max_connections, room);
    Some(format!(
        "max-connections: {room} instead of {wanted}, because this process may have {open_files} \
         open files; allow it {} (ulimit -n)",
        wanted.saturating_add(others)
    ))
}

/// Why a broker did not start, or stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The log cannot be opened.
    #[error(transparent)]
    Log(#[from] OpenError),
    /// An address cannot be listened on.
    #[error("{setting}: cannot listen on {error}; choose another address, or stop who has it")]
    Listen {
        /// The setting that names it.
        setting: &'static str,
        /// The address, and what the system said.
        error: std::io::Error,
    },
    /// The metadata actor cannot go on.
    #[error(transparent)]
    Meta(#[from] MetaError),
}

impl NodeError {
    /// The process's exit code.
    #[must_use]
    pub const fn exit_code(&self) -> i32 {
        match self {
            NodeError::Log(OpenError::Foreign { .. }) => EXIT_CONFIG,
            NodeError::Log(_) | NodeError::Listen { .. } => EXIT_IO,
            NodeError::Meta(MetaError::Listen { .. } | MetaError::Store { .. }) => EXIT_IO,
            NodeError::Meta(MetaError::Config(_) | MetaError::Superseded(_)) => EXIT_CONFIG,
            NodeError::Meta(_) => EXIT_INTERNAL,
        }
    }
}

/// What [`Node::start_here`] runs on.
pub struct Ground {
    /// The disk.
    pub storage: Arc<dyn Storage>,
    /// Of this process: never used before.
    pub incarnation: Uuid,
    /// Called when nothing can be written to the log any more: the process has to end.
    pub on_fatal: Box<dyn Fn(&str) + Send + Sync>,
    /// How long the disk takes to sync the next group of records.
    pub sync_time: Box<dyn FnMut() -> Duration + Send>,
    /// The metadata log is compacted after this many entries.
    pub snapshot_every: u64,
}

/// A running broker.
pub struct Node {
    config: Arc<BrokerConfig>,
    store: LogStore,
    meta: MetaNode,
    replicas: Arc<ReplicaManager>,
    replicas_ended: JoinHandle<()>,
    listeners: Vec<JoinHandle<()>>,
    admin: JoinHandle<()>,
    stop_listeners: watch::Sender<bool>,
    stop_admin: watch::Sender<bool>,
}

/// The bound sockets.
struct Sockets {
    client: TcpListener,
    replication: TcpListener,
    admin: TcpListener,
}

impl Node {
    /// Starts a broker. A port of 0 becomes one that is free, in the listeners' addresses and in
    /// what is advertised.
    ///
    /// # Errors
    /// [`NodeError`]; nothing is left running then.
    pub async fn start(mut config: BrokerConfig) -> Result<Self, NodeError> {
        // From the operating system's entropy: a log that is begun now is told from all others.
        let store = LogStore::open(log_config(&config, Uuid::new_v4()))?;
        let sockets = listen(&mut config, &store).await?;
        let config = Arc::new(config);
        let options = MetaOptions {
            log: store.found(),
            ..MetaOptions::new(config.clone(), true)
        };
        let meta = meta_node::start_with(options).await?;
        Ok(Self::assemble(config, store, meta, sockets))
    }

    /// Starts a broker without a thread of its own, on a disk that is handed to it: everything
    /// is a task of the current runtime.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn start_here(mut config: BrokerConfig, ground: Ground) -> Result<Self, NodeError> {
        let Ground {
            storage,
            incarnation,
            on_fatal,
            sync_time,
            snapshot_every,
        } = ground;
        let store =
            LogStore::open_manual(log_config(&config, incarnation), storage.clone(), on_fatal)?;
        exec::spawn("wal-committer", store.driver(sync_time));
        let sockets = listen(&mut config, &store).await?;
        let config = Arc::new(config);
        let options = MetaOptions {
            config: config.clone(),
            storage,
            recovered: true,
            log: store.found(),
            incarnation,
            snapshot_every,
        };
        let meta = meta_node::start_here(options).await?;
        Ok(Self::assemble(config, store, meta, sockets))
    }

    fn assemble(
        config: Arc<BrokerConfig>,
        store: LogStore,
        meta: MetaNode,
        sockets: Sockets,
    ) -> Self {
        let handle = meta.handle();
        let replicas = ReplicaManager::new(config.clone(), handle.clone(), store.clone());
        let replicas_ended = exec::spawn("replicas", replicas.clone().run());
        let context = Arc::new(Context::new(config.clone(), handle, replicas.clone()));
        let budget = Budget::new(config.max_queued_request_bytes);
        let stop_listeners = watch::Sender::new(false);
        let stop_admin = watch::Sender::new(false);
        let mut sources = BTreeMap::new();
        let mut listeners = Vec::new();
        let replication_budget = Budget::new(REPLICATION_REQUEST_BYTES);
        let doors = [
            (ListenerKind::Client, sockets.client, budget.clone()),
            (
                ListenerKind::Replication,
                sockets.replication,
                replication_budget,
            ),
        ];
        for (kind, socket, budget) in doors {
            let counts = Arc::new(ListenerCounts::default());
            let requests = Arc::new(RequestMetrics::new(kind));
            let listener = Listener {
                kind,
                max_connections: max_connections(&config, kind),
                limits: limits(&config, budget),
                service: Arc::new(Dispatcher::new(context.clone(), kind, requests.clone())),
                counts: counts.clone(),
            };
            sources.insert(kind, ListenerSources { counts, requests });
            let stop = stop_listeners.subscribe();
            let known = is_in_cluster(config.clone(), context.meta.clone());
            listeners.push(exec::spawn("listener", async move {
                let mut stop_early = stop.clone();
                tokio::select! {
                    biased;
                    () = net::stopped(&mut stop_early) => return,
                    () = known => {}
                }
                listener.run(socket, stop).await;
            }));
        }
        let sources = Arc::new(Sources {
            context,
            store: store.clone(),
            meta: meta.metrics(),
            listeners: sources,
            budget,
        });
        let admin = admin::serve(sockets.admin, sources, stop_admin.subscribe());
        Self {
            config,
            store,
            meta,
            replicas,
            replicas_ended,
            listeners,
            admin: exec::spawn("admin", admin),
            stop_listeners,
            stop_admin,
        }
    }

    /// Settings, with the ports that were found.
    #[must_use]
    pub fn config(&self) -> &Arc<BrokerConfig> {
        &self.config
    }

    /// What the log counts.
    #[must_use]
    pub fn log_metrics(&self) -> &LogMetrics {
        self.store.metrics()
    }

    /// Cluster metadata as this broker sees it.
    #[must_use]
    pub fn metadata(&self) -> MetadataHandle {
        self.meta.handle()
    }

    /// Waits until the broker cannot go on; for ever when all is well.
    pub async fn failed(&self) -> NodeError {
        let mut ended = self.meta.ended();
        let error = match ended.wait_for(Option::is_some).await {
            Ok(error) => error.clone(),
            Err(_) => None,
        };
        NodeError::Meta(error.unwrap_or_else(|| {
            MetaError::Raft("the metadata actor ended without a word".to_owned())
        }))
    }

    /// Stops in order, within seconds. Returns whether everything was closed cleanly.
    pub async fn stop(self) -> bool {
        tracing::info!("stopping: handing over leaderships");
        self.meta.controlled_shutdown(HAND_OVER).await;
        self.stop_listeners.send_replace(true);
        for listener in self.listeners {
            let _ = listener.await;
        }
        self.replicas.stop();
        let given_back = timeout(REPLICAS_STOP, self.replicas_ended).await.is_ok();
        if !given_back {
            tracing::warn!("replicas did not stop in time");
        }
        let closed = given_back && close(&self.store, &self.meta.handle());
        self.meta.stop(closed).await;
        self.stop_admin.send_replace(true);
        let _ = timeout(Duration::from_secs(1), self.admin).await;
        closed
    }
}

/// Closes the log; without a registration there is nothing that a marker could be about.
fn close(store: &LogStore, meta: &MetadataHandle) -> bool {
    let Some(epoch) = meta.broker_epoch() else {
        return false;
    };
    match store.close(epoch) {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(%error, "the log was not closed cleanly");
            false
        }
    }
}

fn log_config(config: &BrokerConfig, new_log: Uuid) -> LogConfig {
    LogConfig {
        cache_bytes: config.log_cache_bytes,
        queue_bytes: config.log_queue_bytes,
        min_free_bytes: config.log_min_free_bytes,
        ..LogConfig::of(config, new_log)
    }
}

fn max_connections(config: &BrokerConfig, kind: ListenerKind) -> usize {
    match kind {
        ListenerKind::Client => config.max_connections,
        ListenerKind::Replication => REPLICATION_CONNECTIONS,
    }
}

fn limits(config: &BrokerConfig, budget: Budget) -> Limits {
    Limits {
        max_frame_bytes: config.max_request_bytes,
        max_in_flight: config.max_in_flight_per_connection,
        first_request: FIRST_REQUEST.min(config.connections_max_idle),
        idle: config.connections_max_idle,
        write_stall: WRITE_STALL,
        after_end: AFTER_END,
        budget,
        bugs: config.bugs,
    }
}

/// Binds the listeners, and says what was found and where.
async fn listen(config: &mut BrokerConfig, store: &LogStore) -> Result<Sockets, NodeError> {
    if let Some(torn) = store.torn_tail() {
        tracing::info!(?torn, "cut off a torn tail: this broker died while writing");
    }
    let sockets = bind(config).await?;
    tracing::info!(
        broker = %config.id,
        client = %config.client_listen,
        replication = %config.replication_listen,
        admin = %config.admin_listen,
        "listening"
    );
    Ok(sockets)
}

/// Binds every listener but the controller's, and writes the ports that were found into
/// `config`.
async fn bind(config: &mut BrokerConfig) -> Result<Sockets, NodeError> {
    async fn one(
        setting: &'static str,
        address: &mut SocketAddr,
    ) -> Result<TcpListener, NodeError> {
        let listen = |error| NodeError::Listen { setting, error };
        let socket = net::bind(*address).await.map_err(listen)?;
        *address = socket.local_addr().map_err(listen)?;
        Ok(socket)
    }
    let client = one("client-listen", &mut config.client_listen).await?;
    let replication = one("replication-listen", &mut config.replication_listen).await?;
    let admin = one("admin-listen", &mut config.admin_listen).await?;
    if config.client_advertised.port == 0 {
        config.client_advertised.port = config.client_listen.port();
    }
    if config.replication_advertised.port == 0 {
        config.replication_advertised.port = config.replication_listen.port();
    }
    Ok(Sockets {
        client,
        replication,
        admin,
    })
}

/// Ends when this process is registered and was unfenced, which the controller does when it has
/// caught up; never when the metadata actor is gone.
async fn is_in_cluster(config: Arc<BrokerConfig>, meta: MetadataHandle) {
    let mut epochs = meta.watch_broker_epoch();
    let mut images = meta.watch_image();
    loop {
        let epoch = *epochs.borrow_and_update();
        let image = images.borrow_and_update().clone();
        let me = image.live_broker(config.id);
        if me.is_some_and(|me| Some(me.epoch) == epoch) {
            return;
        }
        let changed = tokio::select! {
            biased;
            changed = epochs.changed() => changed,
            changed = images.changed() => changed,
        };
        if changed.is_err() {
            return std::future::pending().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_the_log() {
        for (wanted, open_files, left) in [
            (1000, 100_000, 1000),
            (1000, 1512, 1000),
            (1000, 1511, 999),
            (1000, 1024, 512),
            (1000, 10, CONNECTIONS_MIN),
            (5, 10, 5),
            (usize::MAX, usize::MAX, usize::MAX - 512),
        ] {
            let mut config = BrokerConfig {
                max_connections: wanted,
                ..BrokerConfig::default()
            };
            let warning = fit_connections(&mut config, open_files);
            assert_eq!(config.max_connections, left, "{open_files}");
            assert_eq!(warning.is_some(), left != wanted, "{warning:?}");
        }
    }
}
