//! One broker, registered as number 1 and alone, and raw connections to it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use broker::api::Context;
use broker::config::BrokerConfig;
use broker::log::{LogConfig, LogStore};
use broker::meta::command::{Applied, Command, LogClaim};
use broker::meta::handle::{MetadataHandle, Proposal, ProposeError};
use broker::meta::image::{Endpoint, MetadataImage};
use broker::meta::state::MetadataState;
use broker::meta::told::Teller;
use broker::metrics::RequestMetrics;
use broker::net::connection::{Budget, Limits};
use broker::net::listener::{Listener, ListenerCounts};
use broker::net::{self, ListenerKind};
use broker::replica::manager::ReplicaManager;
use broker::types::{BrokerEpoch, BrokerId, TopicId};
use broker::wire::dispatch::Dispatcher;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};

use crate::raw::Raw;

const PATIENCE: Duration = Duration::from_secs(10);

/// Identity of the topic that [`Single::topic`] makes.
pub const TOPIC_ID: uuid::Uuid = uuid::Uuid::from_u128(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10);

/// The metadata log of a cluster of one.
struct Controller {
    state: Mutex<(MetadataState, u64)>,
    images: Teller<Arc<MetadataImage>>,
    epoch: Teller<Option<BrokerEpoch>>,
    active: Teller<Option<BrokerId>>,
}

impl Controller {
    fn apply(&self, command: Command) -> Result<Applied, ProposeError> {
        let mut state = self.state.lock().expect("no panic");
        state.1 += 1;
        let index = state.1;
        let applied = state.0.apply(index, command);
        self.images.send_replace(state.0.image());
        applied.map_err(ProposeError::Rejected)
    }
}

pub struct Single {
    pub address: SocketAddr,
    controller: Arc<Controller>,
    _stop: watch::Sender<bool>,
    // Before the directory, whose log its tasks have open.
    _runtime: Runtime,
    _dir: tempfile::TempDir,
}

impl Single {
    pub fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let dir = tempfile::tempdir().expect("a directory");
        let listening = net::bind(SocketAddr::from(([127, 0, 0, 1], 0)));
        let socket = runtime.block_on(listening).expect("a port");
        let address = socket.local_addr().expect("bound");
        let controller = Arc::new(Controller {
            state: Mutex::default(),
            images: Teller::default(),
            epoch: Teller::default(),
            active: Teller::default(),
        });
        let (meta, mut inbox) = register(&controller);
        let decide = controller.clone();
        runtime.spawn(async move {
            while let Some(Proposal { command, reply }) = inbox.recv().await {
                let _ = reply.send(decide.apply(command));
            }
        });
        let config = Arc::new(BrokerConfig::default());
        let log = LogConfig::new(dir.path().join("log"));
        let store = LogStore::open(log).expect("an empty log");
        let replicas = ReplicaManager::new(config.clone(), meta.clone(), store);
        runtime.spawn(replicas.clone().run());
        let context = Arc::new(Context::new(config, meta, replicas));
        let kind = ListenerKind::Client;
        let metrics = Arc::new(RequestMetrics::new(kind));
        let listener = Listener {
            kind,
            max_connections: 300,
            limits: Limits {
                max_frame_bytes: 2 << 20,
                max_in_flight: 64,
                first_request: PATIENCE,
                idle: PATIENCE,
                write_stall: PATIENCE,
                after_end: PATIENCE,
                budget: Budget::new(64 << 20),
                bugs: broker::chaos::seeded_bug::BugSet::NONE,
            },
            service: Arc::new(Dispatcher::new(context, kind, metrics)),
            counts: Arc::new(ListenerCounts::default()),
        };
        let (stop, stopped) = watch::channel(false);
        runtime.spawn(listener.run(socket, stopped));
        Self {
            address,
            controller,
            _stop: stop,
            _runtime: runtime,
            _dir: dir,
        }
    }

    /// A topic of one partition named `t`, which broker 1 leads in epoch 0, ready to be used.
    pub fn topic(&self) -> &Self {
        let create = Command::CreateTopic {
            name: "t".to_owned(),
            id: TopicId(TOPIC_ID),
            partitions: 1,
            replication_factor: 1,
            configs: BTreeMap::from([("min.insync.replicas".to_owned(), "1".to_owned())]),
        };
        self.controller.apply(create).expect("created");
        self.wait_for_leader();
        self
    }

    fn wait_for_leader(&self) {
        use super::hex::hex;
        let ask = hex(&[
            "0002 0001 00000000 ffff", // ListOffsets v1
            "ffffffff",                // replica: none
            "00000001 0001",
            "'t'",
            "00000001 00000000 ffffffffffffffff", // partition 0, latest
        ]);
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            let answer = self.connect().ask(&ask);
            // correlation id, one topic "t", one partition 0, then the error.
            if answer[4 + 4 + 3 + 4 + 4..][..2] == [0, 0] {
                return;
            }
            assert!(std::time::Instant::now() < deadline, "nobody leads t-0");
        }
    }

    pub fn connect(&self) -> Raw {
        Raw::connect(self.address)
    }
}

/// Registers and unfences broker 1.
fn register(controller: &Controller) -> (MetadataHandle, mpsc::Receiver<Proposal>) {
    let id = BrokerId(1);
    let endpoint = |port| Endpoint {
        host: "kafka".to_owned(),
        port,
    };
    let registered = controller.apply(Command::RegisterBroker {
        id,
        incarnation: uuid::Uuid::from_u128(1),
        cluster_id: "golden".to_owned(),
        client: endpoint(9092),
        replication: endpoint(9093),
        log: LogClaim::Recovered,
    });
    let Ok(Applied::Registered { epoch }) = registered else {
        panic!("{registered:?}");
    };
    controller
        .apply(Command::UnfenceBroker { id, epoch })
        .expect("registered");
    let (proposals, inbox) = mpsc::channel(16);
    controller.epoch.send_replace(Some(epoch));
    controller.active.send_replace(Some(id));
    let (epoch, active) = (controller.epoch.subscribe(), controller.active.subscribe());
    let images = controller.images.subscribe();
    (MetadataHandle::new(proposals, images, epoch, active), inbox)
}
