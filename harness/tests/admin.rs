//! What librdkafka's admin client asks of one broker: topics with settings of their own, and the
//! deletion of records.

use std::net::SocketAddr;
use std::time::Duration;

use broker::config::BrokerConfig;
use broker::node::Node;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

const PATIENCE: Duration = Duration::from_secs(20);

async fn start(dir: &std::path::Path) -> Node {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut config = BrokerConfig {
        data_dir: dir.to_owned(),
        client_listen: any,
        replication_listen: any,
        controller_listen: any,
        admin_listen: any,
        log_retention_check_interval: Duration::from_millis(100),
        ..BrokerConfig::default()
    };
    let controller = std::net::TcpListener::bind(any).expect("a port");
    config.controller_listen = controller.local_addr().expect("bound");
    drop(controller);
    config.voters[0].controller.port = config.controller_listen.port();
    config.client_advertised.port = 0;
    config.replication_advertised.port = 0;
    Node::start(config).await.expect("a broker")
}

fn client(node: &Node) -> ClientConfig {
    let mut config = ClientConfig::new();
    let address = node.config().client_listen.to_string();
    config.set("bootstrap.servers", address);
    config
}

async fn earliest(node: &Node, topic: &'static str) -> (i64, i64) {
    let consumer: BaseConsumer = client(node).create().expect("a consumer");
    let asked = move || consumer.fetch_watermarks(topic, 0, PATIENCE);
    let thread = std::thread::spawn(asked);
    while !thread.is_finished() {
        tokio::task::yield_now().await;
    }
    thread.join().expect("it ends").expect("watermarks")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_deleted_by_librdkafka() {
    let dir = tempfile::tempdir().expect("a directory");
    let node = start(dir.path()).await;
    let admin: AdminClient<DefaultClientContext> = client(&node).create().expect("an admin");
    let options = AdminOptions::new().request_timeout(Some(PATIENCE));
    let topic = NewTopic::new("kept", 1, TopicReplication::Fixed(1))
        .set("segment.bytes", "10000")
        .set("retention.bytes", "1000000")
        .set("retention.ms", "3600000");
    let made = admin.create_topics([&topic], &options).await;
    made.expect("an answer")[0].as_ref().expect("it is made");

    let asked = [ResourceSpecifier::Topic("kept")];
    let described = admin.describe_configs(&asked, &options).await;
    let described = described.expect("an answer").remove(0).expect("settings");
    for (name, value) in [
        ("segment.bytes", "10000"),
        ("retention.bytes", "1000000"),
        ("retention.ms", "3600000"),
        ("segment.ms", "604800000"),
    ] {
        let entry = described.get(name).expect(name);
        assert_eq!(entry.value.as_deref(), Some(value), "{name}");
    }

    let producer: FutureProducer = client(&node).create().expect("a producer");
    for number in 0..100 {
        let value = format!("record {number}");
        let record = FutureRecord::<(), _>::to("kept")
            .partition(0)
            .payload(&value);
        producer.send(record, PATIENCE).await.expect("it is taken");
    }
    assert_eq!(earliest(&node, "kept").await, (0, 100));
    for (before, low) in [(Offset::Offset(40), 40), (Offset::End, 100)] {
        let mut asked = TopicPartitionList::new();
        asked
            .add_partition_offset("kept", 0, before)
            .expect("a partition");
        let deleted = admin.delete_records(&asked, &options).await;
        let deleted = deleted.expect("an answer");
        let found = deleted.find_partition("kept", 0).expect("the partition");
        assert_eq!(found.error(), Ok(()));
        assert_eq!(found.offset(), Offset::Offset(low), "the low watermark");
        assert_eq!(earliest(&node, "kept").await, (low, 100));
    }
    let mut beyond = TopicPartitionList::new();
    let added = beyond.add_partition_offset("kept", 0, Offset::Offset(101));
    added.expect("a partition");
    let refused = admin.delete_records(&beyond, &options).await;
    let refused = refused.expect("an answer");
    let found = refused.find_partition("kept", 0).expect("the partition");
    let error = found.error().expect_err("above the high watermark");
    assert!(error.to_string().contains("OffsetOutOfRange"), "{error}");
    node.stop().await;
}
