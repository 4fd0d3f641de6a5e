//! Three brokers and the scripted controller.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use broker::api::{Context, Reply, replica_fetch};
use broker::chaos::seeded_bug::BugSet;
use broker::config::BrokerConfig;
use broker::log::{LogConfig, LogStore, OpenError};
use broker::meta::command::{Applied, Command, LogClaim, Rejected};
use broker::meta::handle::{MetadataHandle, Proposal, ProposeError};
use broker::meta::image::{Endpoint, MetadataImage};
use broker::meta::state::MetadataState;
use broker::meta::told;
use broker::replica::manager::{Found, ReplicaManager};
use broker::replica::view::PartitionView;
use broker::types::{BrokerEpoch, BrokerId, TopicId};
use bytes::{BufMut, BytesMut};
use kafka_protocol::messages::{FetchRequest, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use crate::client::TOPIC;

/// How long a condition may take to come true.
const PATIENCE: Duration = Duration::from_secs(20);

pub const LAG_MAX: Duration = Duration::from_millis(600);

/// The controller: decides in order, tells everybody who is not cut off.
pub struct Controller {
    state: Mutex<(MetadataState, u64)>,
    images: Mutex<BTreeMap<i32, told::Teller<Arc<MetadataImage>>>>,
    cut: Mutex<BTreeSet<i32>>,
    granted: Mutex<BTreeMap<i32, told::Teller<Option<BrokerEpoch>>>>,
}

impl Controller {
    fn new() -> Arc<Self> {
        let empty = Arc::new(MetadataImage::default());
        Arc::new(Self {
            state: Mutex::new((MetadataState::from_image(empty), 0)),
            images: Mutex::default(),
            cut: Mutex::default(),
            granted: Mutex::default(),
        })
    }

    pub fn apply(&self, command: Command) -> Result<Applied, Rejected> {
        let mut state = self.state.lock().expect("no panic");
        state.1 += 1;
        let index = state.1;
        let applied = state.0.apply(index, command);
        let image = state.0.image();
        drop(state);
        let cut = self.cut.lock().expect("no panic").clone();
        for (id, sender) in self.images.lock().expect("no panic").iter() {
            if !cut.contains(id) {
                sender.send_replace(Arc::clone(&image));
            }
        }
        applied
    }

    pub fn image(&self) -> Arc<MetadataImage> {
        self.state.lock().expect("no panic").0.image()
    }

    /// No images to broker `id`, and no answers to its proposals.
    pub fn cut(&self, id: i32) {
        self.cut.lock().expect("no panic").insert(id);
    }

    pub fn heal(&self, id: i32) {
        self.cut.lock().expect("no panic").remove(&id);
        let image = self.image();
        if let Some(sender) = self.images.lock().expect("no panic").get(&id) {
            sender.send_replace(image);
        }
    }

    fn epoch(&self, id: i32) -> BrokerEpoch {
        self.image().brokers[&BrokerId(id)].epoch
    }

    /// The broker's session ended: leaders move away from it.
    pub fn fence(&self, id: i32) {
        let epoch = self.epoch(id);
        self.apply(Command::FenceBroker {
            id: BrokerId(id),
            epoch,
        })
        .expect("registered");
    }

    pub fn unfence(&self, id: i32) {
        let epoch = self.epoch(id);
        self.apply(Command::UnfenceBroker {
            id: BrokerId(id),
            epoch,
        })
        .expect("registered");
    }

    pub fn leader(&self, partition: usize) -> Option<i32> {
        let image = self.image();
        let topic = image.topic_by_name(TOPIC)?;
        topic.partitions[partition].leader.map(BrokerId::get)
    }

    pub fn isr(&self, partition: usize) -> Vec<i32> {
        let image = self.image();
        let topic = image.topic_by_name(TOPIC).expect("created");
        let mut isr: Vec<_> = topic.partitions[partition]
            .isr
            .iter()
            .map(|id| id.get())
            .collect();
        isr.sort_unstable();
        isr
    }
}

/// One running broker.
pub struct Broker {
    pub ctx: Arc<Context>,
    manager: JoinHandle<()>,
    tasks: Vec<JoinHandle<()>>,
}

/// Three brokers, their disks, and their links.
pub struct Cluster {
    pub controller: Arc<Controller>,
    brokers: BTreeMap<i32, Broker>,
    dirs: BTreeMap<i32, tempfile::TempDir>,
    ports: BTreeMap<i32, u16>,
    /// `true`: nobody can fetch from this broker.
    gates: BTreeMap<i32, Arc<AtomicBool>>,
    bugs: BugSet,
    fetch_wait: Duration,
}

impl Cluster {
    pub async fn start(partitions: i32) -> Self {
        Self::start_with(partitions, BugSet::NONE, Duration::from_millis(300)).await
    }

    pub async fn start_with(partitions: i32, bugs: BugSet, fetch_wait: Duration) -> Self {
        let dirs = (1..=3).map(|id| (id, tempfile::tempdir().expect("a directory")));
        let mut cluster = Self {
            controller: Controller::new(),
            brokers: BTreeMap::new(),
            dirs: dirs.collect(),
            ports: BTreeMap::new(),
            gates: (1..=3).map(|id| (id, Arc::default())).collect(),
            bugs,
            fetch_wait,
        };
        for id in 1..=3 {
            cluster.restart(id).await;
        }
        let create = Command::CreateTopic {
            name: TOPIC.to_owned(),
            id: TopicId(uuid::Uuid::from_u128(7)),
            partitions,
            replication_factor: 3,
            configs: BTreeMap::from([("min.insync.replicas".to_owned(), "2".to_owned())]),
        };
        cluster.controller.apply(create).expect("created");
        for partition in 0..partitions {
            cluster.wait_leader(partition).await;
        }
        cluster
    }

    /// Starts broker `id` on its disk, registers and unfences it.
    pub async fn restart(&mut self, id: i32) {
        let listener = TcpListener::bind(("127.0.0.1", self.ports.get(&id).copied().unwrap_or(0)))
            .await
            .expect("a port");
        let port = listener.local_addr().expect("bound").port();
        self.ports.insert(id, port);
        let endpoint = Endpoint {
            host: "127.0.0.1".to_owned(),
            port,
        };
        let registered = self.controller.apply(Command::RegisterBroker {
            id: BrokerId(id),
            incarnation: uuid::Uuid::from_u128(rand_like(id, self.controller.image().index)),
            cluster_id: "story".to_owned(),
            client: endpoint.clone(),
            replication: endpoint,
            log: LogClaim::Recovered,
        });
        let Ok(Applied::Registered { epoch }) = registered else {
            panic!("{registered:?}");
        };
        let ctx = self.context(id, epoch).await;
        let manager = tokio::spawn(Arc::clone(&ctx.replicas).run());
        let gate = Arc::clone(&self.gates[&id]);
        let tasks = vec![tokio::spawn(serve(listener, Arc::clone(&ctx), gate))];
        self.brokers.insert(
            id,
            Broker {
                ctx,
                manager,
                tasks,
            },
        );
        self.controller.unfence(id);
    }

    async fn context(&self, id: i32, epoch: BrokerEpoch) -> Arc<Context> {
        let config = Arc::new(BrokerConfig {
            id: BrokerId(id),
            data_dir: self.dirs[&id].path().to_owned(),
            replica_lag_time_max: LAG_MAX,
            replica_fetch_wait_max: self.fetch_wait,
            watermark_alarm: Duration::from_millis(100),
            follower_lag_alarm: 5,
            bugs: self.bugs,
            ..BrokerConfig::default()
        });
        let (proposals, inbox) = mpsc::channel(64);
        let (image, images) = told::channel(self.controller.image());
        let (granted, epochs) = told::channel(Some(epoch));
        let (_, controllers) = told::channel(None);
        self.controller
            .granted
            .lock()
            .expect("no panic")
            .insert(id, granted);
        self.controller
            .images
            .lock()
            .expect("no panic")
            .insert(id, image);
        tokio::spawn(propose(Arc::clone(&self.controller), id, inbox));
        let meta = MetadataHandle::new(proposals, images, epochs, controllers);
        let store = open_store(&config).await;
        let replicas = ReplicaManager::new(Arc::clone(&config), meta.clone(), store);
        Arc::new(Context::new(config, meta, replicas))
    }

    /// Stops broker `id`; the controller does not hear of it.
    pub async fn stop(&mut self, id: i32) {
        let broker = self.brokers.remove(&id).expect("it runs");
        broker.ctx.replicas.stop();
        broker.manager.await.expect("no panic");
        for task in &broker.tasks {
            task.abort();
        }
    }

    pub fn ctx(&self, id: i32) -> &Arc<Context> {
        &self.brokers[&id].ctx
    }

    pub fn view(&self, id: i32, partition: i32) -> Option<Arc<PartitionView>> {
        let routing = self.brokers.get(&id)?.ctx.replicas.routing();
        match routing.by_name(TOPIC, partition) {
            Found::Here(partition) => Some(partition.view()),
            _ => None,
        }
    }

    /// Nobody can fetch from broker `id` (`true`), or everybody can.
    pub fn gate(&self, id: i32, closed: bool) {
        self.gates[&id].store(closed, Ordering::Release);
    }

    /// Until the controller's leader of `partition` knows that it leads.
    pub async fn wait_leader(&self, partition: i32) -> i32 {
        let index = usize::try_from(partition).expect("positive");
        let mut leader = 0;
        wait_for("a leader that knows it", || {
            let epoch = |id: &i32| {
                let image = self.controller.image();
                let topic = image.topic_by_name(TOPIC).expect("created");
                let view = self.view(*id, partition)?;
                let current = view.epoch == topic.partitions[index].leader_epoch;
                (view.is_leader() && current).then_some(())
            };
            let found = self
                .controller
                .leader(index)
                .filter(|id| epoch(id).is_some());
            leader = found.unwrap_or(0);
            found.is_some()
        })
        .await;
        leader
    }
}

fn rand_like(id: i32, index: u64) -> u128 {
    (u128::from(index) << 32) + u128::from(id.unsigned_abs())
}

/// Polls until `condition` holds.
pub async fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited too long for {what}");
        // poll again soon
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn propose(controller: Arc<Controller>, id: i32, mut inbox: mpsc::Receiver<Proposal>) {
    while let Some(Proposal { command, reply }) = inbox.recv().await {
        let is_cut = controller.cut.lock().expect("no panic").contains(&id);
        let outcome = if is_cut {
            Err(ProposeError::Unknown("cut off".to_owned()))
        } else {
            controller.apply(command).map_err(ProposeError::from)
        };
        // The proposer may be gone.
        let _ = reply.send(outcome);
    }
}

/// The log, once the broker's last incarnation has let go of it.
async fn open_store(config: &BrokerConfig) -> LogStore {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match LogStore::open(LogConfig::new(config.data_dir.clone())) {
            Ok(store) => return store,
            Err(OpenError::InUse { .. }) if Instant::now() < deadline => {}
            Err(error) => panic!("{error}"),
        }
        // poll again soon
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A replication listener: one request at a time per connection. Its connections end with it.
async fn serve(listener: TcpListener, ctx: Arc<Context>, gate: Arc<AtomicBool>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(serve_one(stream, Arc::clone(&ctx), Arc::clone(&gate)));
    }
}

async fn serve_one(mut stream: TcpStream, ctx: Arc<Context>, gate: Arc<AtomicBool>) {
    loop {
        let Ok(length) = stream.read_u32().await else {
            return;
        };
        let mut frame = vec![0; length as usize];
        if stream.read_exact(&mut frame).await.is_err() || gate.load(Ordering::Acquire) {
            return;
        }
        let mut frame = bytes::Bytes::from(frame);
        let header = RequestHeader::decode(&mut frame, 2).expect("a header");
        let version = header.request_api_version;
        let request = FetchRequest::decode(&mut frame, version).expect("a Fetch");
        let Reply::Body(body) = replica_fetch::handle(&ctx, version, request).await else {
            return;
        };
        let mut answer = BytesMut::zeroed(4);
        ResponseHeader::default()
            .with_correlation_id(header.correlation_id)
            .encode(&mut answer, 1)
            .expect("a header");
        answer.put(body.into_bytes());
        let length = u32::try_from(answer.len() - 4).expect("small");
        answer[..4].copy_from_slice(&length.to_be_bytes());
        if gate.load(Ordering::Acquire) || stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}
