//! Records that come and go beside those that are checked: a topic of which little is kept. All
//! partitions of a broker share its log's files, so that these roll, are given up, and what the
//! checked topic has in them is copied, in every run and in the midst of faults.
//!
//! Nothing of it is recorded: it is deleted by intention.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{ProduceRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{
    Compression, NO_PARTITION_LEADER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, Record,
    RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::kafka::{Brokers, Conn, CreateTopic, newest};

const TOPIC: &str = "churn";
const PARTITIONS: i32 = 2;
const SETTINGS: [(&str, &str); 2] = [("segment.bytes", "32768"), ("retention.bytes", "65536")];
const BATCH_BYTES: usize = 12 << 10;
const PAUSE: Duration = Duration::from_millis(100);
const WITHIN: Duration = Duration::from_secs(2);
const PRODUCE_VERSION_MAX: i16 = 9;

/// Produces until it is stopped; what goes wrong is tried again with the next batch.
pub async fn run(brokers: &Brokers, addresses: &[(i32, String)], mut stop: watch::Receiver<bool>) {
    tokio::select! {
        biased;
        // An error says that nobody can stop it any more.
        _ = stop.wait_for(|stop| *stop) => {}
        () = churn(brokers, addresses) => {}
    }
}

async fn churn(brokers: &Brokers, addresses: &[(i32, String)]) {
    let topic = CreateTopic {
        name: TOPIC,
        partitions: PARTITIONS,
        replication_factor: i16::try_from(addresses.len()).unwrap_or(3).min(3),
        min_insync_replicas: Some(1),
        settings: &SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned())),
    };
    while brokers.create_topic(&topic, WITHIN).await.is_err() {
        sleep(PAUSE).await;
    }
    let records = batch();
    let mut lines: BTreeMap<i32, Conn> = BTreeMap::new();
    let mut leaders = BTreeMap::new();
    loop {
        if leaders.len() < PARTITIONS as usize {
            let views = brokers.views(Some(TOPIC), WITHIN).await;
            let known = newest(&views).into_iter();
            leaders = known
                .filter_map(|(partition, view)| Some((partition, view.leader?)))
                .collect();
        }
        for (partition, leader) in leaders.clone() {
            let address = addresses.iter().find(|(id, _)| *id == leader);
            let Some((_, address)) = address else {
                leaders.remove(&partition);
                continue;
            };
            let line = match lines.remove(&leader).filter(Conn::usable) {
                Some(line) => Ok(line),
                None => Conn::open(address, WITHIN).await,
            };
            let sent = match line {
                Ok(mut line) => {
                    let sent = produce(&mut line, partition, records.clone()).await;
                    lines.insert(leader, line);
                    sent
                }
                Err(_) => false,
            };
            if !sent {
                leaders.remove(&partition);
            }
        }
        sleep(PAUSE).await;
    }
}

/// Whether the leader took it.
async fn produce(line: &mut Conn, partition: i32, records: Bytes) -> bool {
    let Ok(version) = line.version_of::<ProduceRequest>(PRODUCE_VERSION_MAX) else {
        return false;
    };
    let data = PartitionProduceData::default()
        .with_index(partition)
        .with_records(Some(records));
    let topic = TopicProduceData::default()
        .with_name(TopicName(StrBytes::from_static_str(TOPIC)))
        .with_partition_data(vec![data]);
    let request = ProduceRequest::default()
        .with_acks(1)
        .with_timeout_ms(1000)
        .with_topic_data(vec![topic]);
    let answer = line.ask("Produce", &request, version, WITHIN).await;
    let first = answer.ok().and_then(|answer| {
        let topic = answer.responses.into_iter().next()?;
        topic.partition_responses.into_iter().next()
    });
    first.is_some_and(|partition| partition.error_code == 0)
}

fn batch() -> Bytes {
    let record = Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
        producer_id: NO_PRODUCER_ID,
        producer_epoch: NO_PRODUCER_EPOCH,
        timestamp_type: TimestampType::Creation,
        offset: 0,
        sequence: -1,
        timestamp: 0,
        key: None,
        value: Some(vec![b'c'; BATCH_BYTES].into()),
        headers: IndexMap::new(),
    };
    let mut bytes = BytesMut::new();
    let options = RecordEncodeOptions {
        version: 2,
        compression: Compression::None,
    };
    RecordBatchEncoder::encode(&mut bytes, &[record], &options).expect("plain records encode");
    bytes.freeze()
}
