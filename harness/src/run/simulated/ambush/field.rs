//! What an ambush sees, and what it can do.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use broker::moments::Moment;
use broker::sim::{Cut, Delay, World};
use nemesis::{Cluster as _, DiskOrder, Listener, NodeId, Ports};
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use crate::history::{Event, Kind, Process, Recorder, Value};
use crate::kafka::{Brokers, newest};
use crate::runtime::sim::{Crash, SimCluster, address_of};

const TAG: &str = "ambush";
const ASK_WITHIN: Duration = Duration::from_millis(200);
/// The last ambush begins at the latest this long before the main phase is over.
const LEAST: Duration = Duration::from_secs(9);

/// A partition, and who plays what for it.
#[derive(Clone, Debug)]
pub struct Scene {
    /// Which partition of the topic.
    pub partition: i32,
    /// Its leader.
    pub leader: NodeId,
    /// The other replicas, all in sync; who would be elected first comes first.
    pub others: Vec<NodeId>,
    /// Who leads the metadata, if that is known.
    pub controller: Option<NodeId>,
}

/// The cluster in the eyes, and the hands, of an ambush.
pub struct Field {
    /// The machines.
    pub cluster: Arc<SimCluster>,
    /// Who is asked who leads.
    pub brokers: Brokers,
    /// The topic that is checked.
    pub topic: Arc<str>,
    /// How many partitions it has.
    pub partitions: i32,
    /// Where it is told what is done.
    pub recorder: Recorder,
    /// What is left to chance.
    pub rng: ChaCha8Rng,
    /// When the main phase is over.
    pub until: Instant,
}

/// Whose traffic, on which port.
pub const REPLICATION: Listener = Listener::Replication;
/// See [`REPLICATION`].
pub const CONTROLLER: Listener = Listener::Controller;

impl Field {
    /// Whether there is time for one more.
    pub fn has_time(&self) -> bool {
        Instant::now() + LEAST < self.until
    }

    /// Writes into the history what is done.
    pub fn tell(&self, what: &str) {
        let value = Value::Json(json!({"ambush": what}));
        let event = Event::new(Process::Nemesis, Kind::Info, "ambush", value);
        self.recorder.record(event);
    }

    /// So many milliseconds, at random.
    pub async fn pause(&mut self, least: u64, most: u64) {
        let millis = self.rng.random_range(least..=most);
        sleep(Duration::from_millis(millis)).await;
    }

    /// A partition all of whose replicas are in sync.
    pub async fn scene(&mut self) -> Option<Scene> {
        let partition = self.rng.random_range(0..self.partitions);
        let views = self.brokers.views(Some(&self.topic), ASK_WITHIN).await;
        let node = |id: &i32| u32::try_from(*id).map(NodeId).ok();
        let controller = views.values().find_map(|view| view.controller);
        let newest = newest(&views);
        let view = newest.get(&partition)?;
        let leader = view.leader.as_ref().and_then(node)?;
        let whole = view.isr.len() == view.replicas.len() && view.replicas.len() > 2;
        let others = view.replicas.iter().filter_map(node);
        let others = others.filter(|other| *other != leader).collect();
        whole.then_some(Scene {
            partition,
            leader,
            others,
            controller: controller.as_ref().and_then(node),
        })
    }

    /// Who leads `partition` now.
    pub async fn leader(&self, partition: i32) -> Option<NodeId> {
        let views = self.brokers.views(Some(&self.topic), ASK_WITHIN).await;
        let leader = newest(&views).get(&partition)?.leader?;
        u32::try_from(leader).map(NodeId).ok()
    }

    fn world(&self) -> &World {
        self.cluster.world()
    }

    /// From now on `at` hears nothing of `from` on this port, nor `from` of `at`'s answers to
    /// what came from there; what `at` sends itself still arrives.
    pub fn deafen(&self, at: NodeId, from: &[NodeId], port: Listener) {
        deafen(self.world(), at, from, port);
    }

    /// Cuts this port between a node and some others, both ways.
    pub fn cut(&self, node: NodeId, others: &[NodeId], port: Listener) {
        cut(self.world(), node, others, port);
    }

    /// Holds back what leaves the replication port of `node`.
    pub fn hold_back(&self, node: NodeId, millis: u64) {
        let delay = Delay {
            tag: TAG.to_owned(),
            ports: vec![Ports::REFERENCE.of(REPLICATION)],
            peers: Vec::new(),
            inbound: Duration::ZERO,
            outbound: Duration::from_millis(millis),
        };
        self.world().delay(address_of(node), delay);
    }

    /// Takes back every cut and every delay of a node.
    pub fn mend(&self, node: NodeId) {
        mend(self.world(), node);
    }

    /// Takes back everything, and starts who is down.
    pub fn heal(&self) {
        self.world().unwatch();
        for node in self.cluster.nodes() {
            self.mend(node);
            self.slow(node, Duration::ZERO);
            self.cluster.go_on(node);
        }
        self.cluster.start_all();
    }

    /// What each sync of a node takes at least, from now on.
    pub fn slow(&self, node: NodeId, sync: Duration) {
        self.cluster.order(node, DiskOrder::Slow(sync));
    }

    /// Ends a broker.
    pub fn crash(&self, node: NodeId, how: Crash) {
        self.cluster.crash(node, how);
    }

    /// Stops a broker's process, or lets it go on.
    pub async fn freeze(&self, node: NodeId, stop: bool) {
        let done = match stop {
            true => self.cluster.pause(node).await,
            false => self.cluster.resume(node).await,
        };
        done.expect("the node is one of the cluster's");
    }

    /// Takes back the cuts of one port at one node.
    pub fn mend_port(&self, node: NodeId, port: Listener) {
        self.world().heal(address_of(node), Some(&tag_of(port)));
    }

    /// Starts a broker that is down.
    pub fn start(&self, node: NodeId) {
        self.cluster.start_one(node);
    }

    /// All nodes but these.
    pub fn all_but(&self, these: &[NodeId]) -> Vec<NodeId> {
        let nodes = self.cluster.nodes().into_iter();
        nodes.filter(|node| !these.contains(node)).collect()
    }

    /// Has `strike` done in the very moment in which `when` holds for the first time, and waits
    /// until it was done, at most `within`. Returns whether it was.
    pub async fn when(
        &self,
        within: Duration,
        mut when: impl FnMut(NodeId, Moment) -> bool + Send + 'static,
        strike: impl FnOnce(&Arc<SimCluster>, NodeId) + Send + 'static,
    ) -> bool {
        let struck = Arc::new(Notify::new());
        let (told, cluster) = (struck.clone(), self.cluster.clone());
        let mut strike = Some(strike);
        self.world().watch(Box::new(move |machine, moment| {
            let node = node_at(machine);
            if strike.is_some() && when(node, moment) {
                let strike = strike.take().expect("it is there");
                strike(&cluster, node);
                told.notify_one();
            }
        }));
        let done = timeout(within, struck.notified()).await.is_ok();
        self.world().unwatch();
        done
    }
}

fn tag_of(port: Listener) -> String {
    format!("{TAG}-{}", port.name())
}

fn node_at(machine: Ipv4Addr) -> NodeId {
    NodeId(u32::from(machine.octets()[3]))
}

fn addresses(nodes: &[NodeId]) -> Vec<Ipv4Addr> {
    nodes.iter().map(|node| address_of(*node)).collect()
}

/// See [`Field::deafen`].
pub fn deafen(world: &World, at: NodeId, from: &[NodeId], port: Listener) {
    let cut = Cut {
        tag: tag_of(port),
        from: addresses(from),
        spare: Vec::new(),
        only: vec![Ports::REFERENCE.of(port)],
    };
    world.cut(address_of(at), cut);
}

/// See [`Field::cut`].
pub fn cut(world: &World, node: NodeId, others: &[NodeId], port: Listener) {
    deafen(world, node, others, port);
    for other in others {
        deafen(world, *other, &[node], port);
    }
}

/// See [`Field::mend`].
pub fn mend(world: &World, node: NodeId) {
    for tag in [TAG.to_owned(), tag_of(REPLICATION), tag_of(CONTROLLER)] {
        world.heal(address_of(node), Some(&tag));
    }
}
