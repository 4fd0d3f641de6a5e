//! Faults of the wire on a cluster of real brokers, with clients of librdkafka at work: each hits
//! requests or answers, by the proxy's count of what it did, and nothing of it is left.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use harness::artifacts::{self, BuildOptions};
use harness::clients::{Acks, ClientSettings, Library};
use harness::kafka::{Brokers, CreateTopic};
use harness::runtime::{Program, RuntimeKind};
use nemesis::wire::{Lie, Request};
use nemesis::{Action, Target, WireFault};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::bites::{Steps, executor, schedule};
use crate::stage::Stage;

const TOPIC: &str = "wire";
const PARTITIONS: i32 = 6;
const WITHIN: Duration = Duration::from_secs(2);
const UP_WITHIN: Duration = Duration::from_secs(60);
const HELD_MS: u64 = 300;

fn every_fault() -> Vec<WireFault> {
    let (request, percent) = (Request::Produce, 30);
    let lie = |request, partition, lie| WireFault::ErrorCode {
        request,
        percent,
        partition,
        lie,
    };
    vec![
        WireFault::DropResponse {
            request,
            percent,
            linger_ms: 50,
        },
        WireFault::DropResponse {
            request: Request::Fetch,
            percent,
            linger_ms: 0,
        },
        WireFault::DelayResponse {
            request,
            percent,
            delay_ms: 200,
        },
        WireFault::DuplicateRequest { percent, behind: 0 },
        WireFault::DuplicateRequest { percent, behind: 3 },
        WireFault::DelayRequest {
            percent,
            delay_ms: 100,
        },
        lie(request, None, Lie::NotLeader),
        lie(request, None, Lie::TimedOut),
        lie(request, None, Lie::TooFewReplicas),
        lie(Request::Fetch, None, Lie::NotLeader),
        WireFault::StaleMetadata,
    ]
}

pub async fn every_fault_of_the_wire(kind: RuntimeKind) {
    let options = BuildOptions { seeded_bugs: false };
    let built = artifacts::build(&artifacts::workspace(), options, &mut |line| {
        eprintln!("{line}");
    });
    let stage = Stage::of(kind, Program::Broker, &built.expect("a broker is built")).await;
    let traffic = Traffic::begin(&stage).await;
    let mut table = format!("\n{}\n{:<18} measured\n", kind.name(), "fault");
    for wire in every_fault() {
        let target = (wire != WireFault::StaleMetadata).then_some(Target::Leader { partition: 0 });
        let action = Action::Wire { target, wire };
        let (_stop, stopped) = watch::channel(false);
        let executor = executor(&stage, Arc::new(Steps::default()));
        let begun = Instant::now();
        let execution = executor
            .run(&schedule(&action, HELD_MS), begun, stopped)
            .await;
        assert!(execution.error.is_none(), "{wire:?}: {:?}", execution.error);
        let executed = &execution.faults[0];
        assert!(executed.skipped.is_none(), "{wire:?}: {executed:?}");
        let measured = &executed.measured;
        assert!(
            measured["effective"]["hit"].as_u64().unwrap() > 0,
            "{wire:?}"
        );
        assert_eq!(measured["verified"]["holds"], false, "{wire:?}");
        let (name, all) = (wire.kind().name(), &measured["verified"]["all-in-all"]);
        table.push_str(&format!("{name:<18} {}: {all}\n", wire.describe()));
        traffic.goes_on().await;
    }
    eprintln!("{table}");
    traffic.end();
    stage.down().await;
}

/// Messages sent and read all the time, by clients as in a run.
struct Traffic {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    read: Arc<AtomicU64>,
}

impl Traffic {
    async fn begin(stage: &Stage) -> Self {
        let cluster = &stage.cluster;
        let address = |node| cluster.direct_address(node).unwrap().to_string();
        let nodes = cluster.nodes().into_iter();
        let brokers = Brokers::new(nodes.map(|node| (node.0 as i32, address(node))));
        let topic = CreateTopic {
            name: TOPIC,
            partitions: PARTITIONS,
            replication_factor: 3,
            min_insync_replicas: Some(2),
            settings: &[],
        };
        let deadline = Instant::now() + UP_WITHIN;
        while let Err(why) = brokers.create_topic(&topic, WITHIN).await {
            assert!(Instant::now() < deadline, "{why}");
            tokio::time::sleep(Duration::from_millis(100)).await; // a poll's pause
        }
        let settings = ClientSettings {
            bootstrap: cluster.bootstrap(),
            acks: Acks::All,
            idempotence: true,
            delivery_timeout: Duration::from_secs(30),
            library: Library::Librdkafka,
            manners: harness::clients::Manners::default(),
        };
        let traffic = Self {
            stop: Arc::default(),
            acknowledged: Arc::default(),
            read: Arc::default(),
        };
        let producer: FutureProducer = settings.producer().create().unwrap();
        for partition in 0..PARTITIONS {
            let (producer, stop) = (producer.clone(), traffic.stop.clone());
            let acknowledged = traffic.acknowledged.clone();
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let record = FutureRecord::<(), str>::to(TOPIC)
                        .partition(partition)
                        .payload("a message");
                    if producer.send(record, Duration::from_secs(30)).await.is_ok() {
                        acknowledged.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        // librdkafka wants a name for a group that nobody joins.
        let mut reading = settings.reader();
        let consumer: BaseConsumer = reading.set("group.id", "nobody").create().unwrap();
        let mut all = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            let begin = Offset::Beginning;
            all.add_partition_offset(TOPIC, partition, begin).unwrap();
        }
        consumer.assign(&all).unwrap();
        let (read, stop) = (traffic.read.clone(), traffic.stop.clone());
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                if let Some(Ok(_)) = consumer.poll(Duration::from_millis(100)) {
                    read.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        traffic.goes_on().await;
        traffic
    }

    /// Waits until more was acknowledged, and more was read.
    async fn goes_on(&self) {
        let now = || {
            let (sent, read) = (&self.acknowledged, &self.read);
            (sent.load(Ordering::Relaxed), read.load(Ordering::Relaxed))
        };
        let before = now();
        let deadline = Instant::now() + UP_WITHIN;
        while now().0 < before.0 + 20 || now().1 < before.1 + 20 {
            assert!(Instant::now() < deadline, "{before:?}, {:?}", now());
            tokio::time::sleep(Duration::from_millis(20)).await; // a poll's pause
        }
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
