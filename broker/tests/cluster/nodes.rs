//! Brokers that can be killed: each has a runtime of its own, and dies with it.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use broker::config::{BrokerConfig, Voter};
use broker::meta::image::Endpoint;
use broker::node::Node;
use broker::types::BrokerId;
use tokio::runtime::Runtime;

use crate::PATIENCE;

struct Running {
    node: Node,
    runtime: Runtime,
}

/// The brokers 1 to n.
pub struct Nodes {
    dirs: BTreeMap<i32, tempfile::TempDir>,
    ports: BTreeMap<i32, [u16; 4]>,
    running: BTreeMap<i32, Running>,
}

impl Nodes {
    pub fn start(count: i32) -> Self {
        let dir = |id| (id, tempfile::tempdir().expect("a directory"));
        let mut nodes = Self {
            dirs: (1..=count).map(dir).collect(),
            ports: (1..=count).map(|id| (id, free_ports())).collect(),
            running: BTreeMap::new(),
        };
        for id in 1..=count {
            nodes.restart(id);
        }
        nodes
    }

    /// The client listeners, by broker.
    pub fn addresses(&self) -> BTreeMap<i32, Endpoint> {
        let client = |(id, ports): (&i32, &[u16; 4])| (*id, endpoint(ports[0]));
        self.ports.iter().map(client).collect()
    }

    /// Starts broker `id` on what is on its disk.
    pub fn restart(&mut self, id: i32) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let config = self.config(id);
        let deadline = Instant::now() + PATIENCE;
        let node = loop {
            // Who was killed may not have let go of its directory and ports yet.
            match runtime.block_on(Node::start(config.clone())) {
                Ok(node) => break node,
                Err(error) => assert!(Instant::now() < deadline, "broker {id}: {error}"),
            }
            // poll again soon
            std::thread::sleep(Duration::from_millis(20));
        };
        self.running.insert(id, Running { node, runtime });
    }

    /// The files of broker `id`'s write-ahead log, in order.
    pub fn wal_files(&self, id: i32) -> Vec<std::path::PathBuf> {
        let dir = self.dirs[&id].path().join("log");
        let entries = std::fs::read_dir(dir).expect("a log");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        let mut files: Vec<_> = paths
            .filter(|path| path.extension().is_some_and(|ext| ext == "wal"))
            .collect();
        files.sort();
        files
    }

    /// How often broker `id` has replaced damaged records.
    pub fn mended(&self, id: i32) -> u64 {
        self.running[&id].node.log_metrics().mended.get()
    }

    /// Broker `id` is gone, without a word to anybody.
    pub fn kill(&mut self, id: i32) {
        let Running { node, runtime } = self.running.remove(&id).expect("it runs");
        runtime.shutdown_background();
        drop(node);
    }

    /// All stop in order.
    pub fn stop(self) {
        for (_, Running { node, runtime }) in self.running {
            runtime.block_on(node.stop());
        }
    }

    fn config(&self, id: i32) -> BrokerConfig {
        let [client, replication, controller, admin] = self.ports[&id];
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let voters = self.ports.iter().map(|(id, ports)| Voter {
            id: BrokerId(*id),
            controller: endpoint(ports[2]),
        });
        BrokerConfig {
            id: BrokerId(id),
            voters: voters.collect(),
            data_dir: self.dirs[&id].path().to_owned(),
            client_listen: at(client),
            replication_listen: at(replication),
            controller_listen: at(controller),
            admin_listen: at(admin),
            client_advertised: endpoint(client),
            replication_advertised: endpoint(replication),
            replica_lag_time_max: Duration::from_secs(2),
            log_retention_check_interval: Duration::from_millis(100),
            // What is on disk is what the scrub looks at.
            log_cache_bytes: 0,
            log_scrub_bytes_per_second: 100 << 20,
            // Small, so that files roll and go.
            wal_roll_bytes: 64 << 10,
            log_checkpoint_bytes: 256 << 10,
            seed: u64::from(id.unsigned_abs()),
            ..BrokerConfig::default()
        }
    }
}

fn endpoint(port: u16) -> Endpoint {
    Endpoint {
        host: "127.0.0.1".to_owned(),
        port,
    }
}

/// Ports that were free a moment ago, and that no outgoing connection is given meanwhile: those
/// come from 32768 on. Each is handed out once in this process.
fn free_ports() -> [u16; 4] {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    let free = || loop {
        let number = std::process::id() * 61 + TAKEN.fetch_add(1, Ordering::Relaxed);
        let port = 10_000 + u16::try_from(number % 20_000).expect("small");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    };
    std::array::from_fn(|_| free())
}

/// Polls until `condition` holds.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited too long for {what}");
        // poll again soon
        std::thread::sleep(Duration::from_millis(20));
    }
}
