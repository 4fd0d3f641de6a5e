//! One simulated machine: its disk, and the broker that runs on it, if one does.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use broker::config::{BrokerConfig, Voter};
use broker::meta::image::Endpoint;
use broker::node::{Ground, Node};
use broker::sim::{Fate, Process, World, process};
use broker::storage::memory::{self, MemoryStorage};
use broker::types::BrokerId;
use nemesis::{DiskOrder, NodeId, NodeState, Ports};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tokio::sync::{oneshot, watch};

use super::address_of;

/// How long the disk takes for one fdatasync.
const SYNC: (Duration, Duration) = (Duration::from_micros(300), Duration::from_millis(4));
/// The metadata log is compacted after this many entries, so that it happens in every run.
const SNAPSHOT_EVERY: u64 = 100;

/// How a broker is ended from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// SIGKILL: the kernel lives on, and has every write.
    Kill,
    /// The machine loses power: what was not synced is gone.
    PowerLoss,
    /// The machine loses power, and of what was not synced some blocks are there.
    TornWrites,
}

/// A broker that ended by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Which.
    pub node: NodeId,
    /// Why, in its own words.
    pub why: String,
    /// Whether an assertion failed: a defect whatever the history says.
    pub panicked: bool,
}

struct Running {
    process: Arc<Process>,
    stop: Option<oneshot::Sender<()>>,
}

/// See the module.
pub struct Machine {
    world: World,
    node: NodeId,
    config: BrokerConfig,
    disk: MemoryStorage,
    rng: ChaCha8Rng,
    /// The last broker that was started.
    broker: Option<Running>,
    ended: Vec<Ended>,
    /// What a sync takes at least, in milliseconds.
    sync_ms: Arc<AtomicU64>,
    /// The next end by itself is one that a fault asked for.
    may_end: bool,
}

impl Machine {
    /// A machine with an empty disk.
    pub fn new(
        world: &World,
        seed: u64,
        node: NodeId,
        all: &[NodeId],
        common: &BrokerConfig,
        clock_rate: f64,
    ) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(u64::from(node.0));
        Self {
            world: world.clone(),
            node,
            config: at_rate(clock_rate, config_of(node, all, common)),
            disk: MemoryStorage::new(),
            rng,
            broker: None,
            ended: Vec::new(),
            sync_ms: Arc::default(),
            may_end: false,
        }
    }

    fn address(&self) -> Ipv4Addr {
        address_of(self.node)
    }

    /// The disk, to be read by others.
    pub fn disk(&self) -> MemoryStorage {
        self.disk.remount()
    }

    /// Starts the broker, unless it runs.
    pub fn start(&mut self) {
        if !matches!(self.state(), NodeState::Stopped { .. }) {
            return;
        }
        self.note_end();
        self.may_end = false;
        self.world.power(self.address(), true);
        let mount = self.disk.remount();
        let config = BrokerConfig {
            // Each life draws its own series.
            seed: self.rng.random(),
            ..self.config.clone()
        };
        let mut sync_rng = ChaCha8Rng::seed_from_u64(self.rng.random());
        let storage = mount.clone();
        let sync_ms = self.sync_ms.clone();
        let ground = Ground {
            storage: Arc::new(storage),
            incarnation: uuid::Uuid::from_u128(self.rng.random()),
            on_fatal: Box::new(|why| {
                let me = process::current().expect("the log belongs to a broker");
                me.die(Fate::Ended(format!("the log cannot be written: {why}")));
            }),
            sync_time: Box::new(move || {
                let least = Duration::from_millis(sync_ms.load(Ordering::Relaxed));
                least + sync_rng.random_range(SYNC.0..=SYNC.1)
            }),
            snapshot_every: SNAPSHOT_EVERY,
        };
        let (stop, stopped) = oneshot::channel();
        let main = serve(config, ground, stopped);
        let process = Process::start(self.address(), move || mount.unmount(), main);
        self.broker = Some(Running {
            process,
            stop: Some(stop),
        });
    }

    /// Ends the broker in this way, unless it is gone.
    pub fn crash(&mut self, how: Crash) {
        if how != Crash::Kill {
            self.world.power(self.address(), false);
        }
        self.note_end();
        if let Some(running) = &self.broker {
            running.process.kill();
        }
        match how {
            Crash::Kill => {}
            Crash::PowerLoss => self.disk.crash(memory::Crash::LoseUnsynced, &mut self.rng),
            Crash::TornWrites => self.disk.crash(memory::Crash::TearUnsynced, &mut self.rng),
        }
    }

    /// Does something to the disk.
    pub fn disk_order(&mut self, order: DiskOrder) {
        match order {
            DiskOrder::LosePower { torn: false } => self.crash(Crash::PowerLoss),
            DiskOrder::LosePower { torn: true } => self.crash(Crash::TornWrites),
            DiskOrder::Full(true) => {
                let used = self.disk.files().iter().map(|(_, size)| size).sum();
                self.disk.set_capacity(Some(used));
            }
            DiskOrder::Full(false) => self.disk.set_capacity(None),
            DiskOrder::FailSync(true) => {
                self.may_end = true;
                self.disk.fail_next_datasync();
            }
            DiskOrder::FailSync(false) => {
                if self.disk.spare_next_datasync() {
                    self.may_end = false;
                }
            }
            DiskOrder::Slow(sync) => {
                let millis = u64::try_from(sync.as_millis()).unwrap_or(u64::MAX);
                self.sync_ms.store(millis, Ordering::Relaxed);
            }
        }
    }

    /// SIGTERM; the future ends when the broker has.
    pub fn stop(&mut self) -> impl Future<Output = ()> + Send + use<> {
        let ended: Option<watch::Receiver<Fate>> = self.broker.as_mut().map(|running| {
            if let Some(stop) = running.stop.take() {
                // A broker that is gone needs no telling.
                let _ = stop.send(());
            }
            running.process.watch_fate()
        });
        async move {
            if let Some(mut ended) = ended {
                // An error says that the process is gone.
                let _ = ended.wait_for(|fate| *fate != Fate::Lives).await;
            }
        }
    }

    /// SIGSTOP.
    pub fn pause(&mut self) {
        if let Some(running) = &self.broker {
            running.process.pause();
        }
    }

    /// SIGCONT.
    pub fn resume(&mut self) {
        if let Some(running) = &self.broker {
            running.process.resume();
        }
    }

    /// What became of the broker.
    pub fn state(&self) -> NodeState {
        let Some(running) = &self.broker else {
            return NodeState::Stopped { code: None };
        };
        match running.process.fate() {
            Fate::Lives if running.process.is_paused() => NodeState::Paused,
            Fate::Lives => NodeState::Running,
            Fate::Killed => NodeState::Stopped { code: Some(137) },
            Fate::Ended(_) => NodeState::Stopped { code: Some(1) },
            Fate::Panicked(_) => NodeState::Stopped { code: Some(101) },
        }
    }

    fn note_end(&mut self) {
        self.ended = self.ended();
    }

    /// Every end that nobody ordered, so far.
    pub fn ended(&self) -> Vec<Ended> {
        let mut ended = self.ended.clone();
        let fate = self.broker.as_ref().map(|running| running.process.fate());
        let (why, panicked) = match fate {
            Some(Fate::Ended(why)) if why != STOPPED && !self.may_end => (why, false),
            Some(Fate::Panicked(why)) => (why, true),
            _ => return ended,
        };
        let new = Ended {
            node: self.node,
            why,
            panicked,
        };
        if ended.last() != Some(&new) {
            ended.push(new);
        }
        ended
    }
}

const STOPPED: &str = "it was told to stop";

/// The broker's `main`.
async fn serve(config: BrokerConfig, ground: Ground, stop: oneshot::Receiver<()>) -> String {
    let node = match Node::start_here(config, ground).await {
        Ok(node) => node,
        Err(error) => return format!("it does not start: {error}"),
    };
    tokio::select! {
        biased;
        Ok(()) = stop => {}
        error = node.failed() => return format!("it cannot go on: {error}"),
    }
    node.stop().await;
    STOPPED.to_owned()
}

fn config_of(node: NodeId, all: &[NodeId], common: &BrokerConfig) -> BrokerConfig {
    let ports = Ports::REFERENCE;
    let listen = |port| SocketAddr::from((address_of(node), port));
    let endpoint = |node, port| Endpoint {
        host: address_of(node).to_string(),
        port,
    };
    let id = |node: NodeId| BrokerId(i32::try_from(node.0).expect("few nodes"));
    let voter = |node: &NodeId| Voter {
        id: id(*node),
        controller: endpoint(*node, ports.controller),
    };
    BrokerConfig {
        id: id(node),
        voters: all.iter().map(voter).collect(),
        data_dir: PathBuf::from("/data"),
        client_listen: listen(ports.client),
        replication_listen: listen(ports.replication),
        controller_listen: listen(ports.controller),
        admin_listen: listen(ports.admin),
        client_advertised: endpoint(node, ports.client),
        replication_advertised: endpoint(node, ports.replication),
        ..common.clone()
    }
}

/// The settings of a broker whose clock runs at `rate`, as another clock measures them: a fast
/// clock's timeouts are over sooner. (The broker reads no time of day.)
fn at_rate(rate: f64, config: BrokerConfig) -> BrokerConfig {
    let scaled = |time: Duration| time.div_f64(rate);
    let (least, most) = config.raft_election_timeout;
    BrokerConfig {
        replica_lag_time_max: scaled(config.replica_lag_time_max),
        replica_fetch_wait_max: scaled(config.replica_fetch_wait_max),
        broker_session_timeout: scaled(config.broker_session_timeout),
        broker_heartbeat_interval: scaled(config.broker_heartbeat_interval),
        raft_heartbeat_interval: scaled(config.raft_heartbeat_interval),
        raft_election_timeout: (scaled(least), scaled(most)),
        ..config
    }
}
