//! A metadata quorum for tests: brokers that are started, stopped and killed one by one, each on a
//! loopback address and a directory of its own.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use broker::config::{BrokerConfig, Voter};
use broker::meta::handle::MetadataHandle;
use broker::meta::image::{Endpoint, MetadataImage};
use broker::meta::{MetaNode, MetaOptions, start_with};
use broker::types::BrokerId;

/// Long enough for a busy machine; nothing waits for it to pass.
pub const PATIENCE: Duration = Duration::from_secs(30);

static CLUSTERS: AtomicU8 = AtomicU8::new(1);

pub struct Cluster {
    pub configs: BTreeMap<i32, BrokerConfig>,
    pub snapshot_every: u64,
    nodes: BTreeMap<i32, MetaNode>,
    _dir: tempfile::TempDir,
}

/// How many brokers are registered and not fenced.
pub fn live(image: &MetadataImage) -> usize {
    image.brokers.values().filter(|b| !b.fenced).count()
}

/// Waits until `condition` holds.
pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let holds = async {
        while !condition() {
            // The pause of a poll.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, holds).await;
    waited.unwrap_or_else(|_| panic!("in vain: {what}"));
}

impl Cluster {
    /// Brokers 1 to `size`, none of them started.
    pub fn new(size: i32) -> Self {
        let dir = tempfile::tempdir().expect("temporary directory");
        // All of 127/8 is loopback: a network of its own for every cluster of every process.
        let process = std::process::id().to_be_bytes();
        let number = CLUSTERS.fetch_add(1, Ordering::Relaxed);
        let host = |id: i32| {
            let id = u8::try_from(id).expect("few brokers");
            Ipv4Addr::new(127, 1 + process[3] % 250, number, id)
        };
        let voters: Vec<Voter> = (1..=size)
            .map(|id| Voter {
                id: BrokerId(id),
                controller: Endpoint {
                    host: host(id).to_string(),
                    port: 9094,
                },
            })
            .collect();
        let config = |id: i32| BrokerConfig {
            id: BrokerId(id),
            voters: voters.clone(),
            data_dir: dir.path().join(id.to_string()),
            controller_listen: SocketAddr::from((host(id), 9094)),
            broker_session_timeout: Duration::from_millis(800),
            broker_heartbeat_interval: Duration::from_millis(100),
            raft_heartbeat_interval: Duration::from_millis(50),
            raft_election_timeout: (Duration::from_millis(300), Duration::from_millis(600)),
            ..BrokerConfig::default()
        };
        Self {
            configs: (1..=size).map(|id| (id, config(id))).collect(),
            snapshot_every: 1000,
            nodes: BTreeMap::new(),
            _dir: dir,
        }
    }

    pub async fn start(&mut self, id: i32) {
        let config = Arc::new(self.configs[&id].clone());
        let mut options = MetaOptions::new(config, true);
        options.snapshot_every = self.snapshot_every;
        let node = start_with(options).await.expect("started");
        self.nodes.insert(id, node);
    }

    pub async fn start_all(&mut self) {
        for id in self.configs.keys().copied().collect::<Vec<_>>() {
            self.start(id).await;
        }
    }

    /// As a crash would.
    pub async fn kill(&mut self, id: i32) {
        self.nodes.remove(&id).expect("running").kill().await;
    }

    pub async fn stop(&mut self, id: i32, logs_closed: bool) {
        let node = self.nodes.remove(&id).expect("running");
        node.stop(logs_closed).await;
    }

    /// A new disk in place of the one that broker `id` had.
    pub fn replace_disk(&self, id: i32) {
        assert!(!self.nodes.contains_key(&id), "it is stopped");
        std::fs::remove_dir_all(&self.configs[&id].data_dir).expect("there was one");
    }

    pub fn node(&self, id: i32) -> &MetaNode {
        &self.nodes[&id]
    }

    pub fn handle(&self, id: i32) -> MetadataHandle {
        self.nodes[&id].handle()
    }

    pub fn image(&self, id: i32) -> Arc<MetadataImage> {
        self.handle(id).image()
    }

    /// Waits until broker `id` has an image as wanted.
    pub async fn image_where(&self, id: i32, wanted: impl Fn(&MetadataImage) -> bool) {
        let mut images = self.handle(id).watch_image();
        let reached = images.wait_for(|image| wanted(image));
        let reached = tokio::time::timeout(PATIENCE, reached).await;
        let reached = reached.is_ok_and(|image| image.is_ok());
        assert!(reached, "broker {id} has {:#?}", self.image(id));
    }

    /// Waits until every running broker sees `count` live brokers, itself among them with its
    /// newest registration.
    pub async fn all_live(&self, count: usize) {
        for (id, node) in &self.nodes {
            let mut epoch = node.handle().watch_broker_epoch();
            let registered = epoch.wait_for(Option::is_some);
            let registered = tokio::time::timeout(PATIENCE, registered).await;
            let mine = *registered.expect("registered in time").expect("running");
            self.image_where(*id, |image| {
                let me = image.live_broker(BrokerId(*id));
                live(image) == count && me.is_some_and(|me| Some(me.epoch) >= mine)
            })
            .await;
        }
    }

    /// The Raft leader, once there is one that knows itself as such.
    pub async fn leader(&self) -> i32 {
        let find = || {
            let mut nodes = self.nodes.iter();
            let leads = |node: &MetaNode| node.metrics().borrow().is_controller;
            nodes.find(|(_, node)| leads(node)).map(|(id, _)| *id)
        };
        eventually("a leader", || find().is_some()).await;
        find().expect("just found")
    }

    /// Waits until broker `witness` knows a leader other than `old`.
    pub async fn another_leader(&self, witness: i32, old: i32) {
        eventually("another leader", || {
            let now = self.handle(witness).controller();
            now.is_some_and(|id| id != BrokerId(old))
        })
        .await;
    }

    /// Waits until all running brokers have applied the same entries, and compares.
    pub async fn converge(&self) {
        let newest = || self.nodes.keys().map(|id| self.image(*id).index).max();
        eventually("all have applied the same", || {
            let newest = newest();
            self.nodes
                .keys()
                .all(|id| Some(self.image(*id).index) == newest)
        })
        .await;
        let mut images = self.nodes.keys().map(|id| self.image(*id));
        let first = images.next().expect("somebody runs");
        for image in images {
            if image.index == first.index {
                assert_eq!(image, first, "one log, one state");
            }
        }
    }
}
