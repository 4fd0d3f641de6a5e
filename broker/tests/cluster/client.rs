//! A client that speaks frames: one request at a time, to whoever leads.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use broker::meta::image::Endpoint;
use broker::net::client::Connection;
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::create_topics_request::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use kafka_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use kafka_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use kafka_protocol::messages::metadata_response::MetadataResponsePartition;
use kafka_protocol::messages::produce_request::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};
use kafka_protocol::messages::{BrokerId, TopicName};
use kafka_protocol::protocol::{Request, StrBytes};
use kafka_protocol::records::{
    Compression, Record, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use tokio::runtime::Runtime;

use crate::PATIENCE;

const CALL: Duration = Duration::from_secs(5);

/// Knows the brokers' addresses; asks for everything else.
pub struct Client {
    brokers: BTreeMap<i32, Endpoint>,
    connections: BTreeMap<i32, Connection>,
    runtime: Runtime,
}

impl Client {
    pub fn new(brokers: BTreeMap<i32, Endpoint>) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        Self {
            brokers,
            connections: BTreeMap::new(),
            runtime,
        }
    }

    /// One call to one broker; `None` when there is no answer.
    fn call<R: Request>(&mut self, id: i32, version: i16, request: &R) -> Option<R::Response> {
        let endpoint = &self.brokers[&id];
        let kept = self.connections.remove(&id);
        let done = self.runtime.block_on(async {
            let mut connection = match kept {
                Some(connection) => connection,
                None => Connection::open(endpoint, "test", 64 << 20, CALL)
                    .await
                    .ok()?,
            };
            let response = connection.call(request, version, CALL).await.ok()?;
            Some((connection, response))
        });
        let (connection, response) = done?;
        self.connections.insert(id, connection);
        Some(response)
    }

    /// Asks every broker in turn until one gives what is wanted.
    fn until<T>(&mut self, what: &str, mut attempt: impl FnMut(&mut Self, i32) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let ids: Vec<_> = self.brokers.keys().copied().collect();
        loop {
            for id in &ids {
                if let Some(found) = attempt(self, *id) {
                    return found;
                }
            }
            assert!(Instant::now() < deadline, "waited too long for {what}");
            // poll again soon
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn create_topic(&mut self, name: &str, partitions: i32, replicas: i16) {
        self.create_topic_with(name, partitions, replicas, &[]);
    }

    /// A topic with settings of its own.
    pub fn create_topic_with(
        &mut self,
        name: &str,
        partitions: i32,
        replicas: i16,
        settings: &[(&str, &str)],
    ) {
        let settings = settings.iter().map(|(name, value)| {
            CreatableTopicConfig::default()
                .with_name(StrBytes::from_string((*name).to_owned()))
                .with_value(Some(StrBytes::from_string((*value).to_owned())))
        });
        let topic = CreatableTopic::default()
            .with_name(topic_name(name))
            .with_configs(settings.collect())
            .with_num_partitions(partitions)
            .with_replication_factor(replicas);
        let request = CreateTopicsRequest::default()
            .with_topics(vec![topic])
            .with_timeout_ms(10_000);
        self.until("the topic to be created", |client, id| {
            let response = client.call(id, 7, &request)?;
            // TOPIC_ALREADY_EXISTS: an earlier try was carried out.
            [0, 36]
                .contains(&response.topics[0].error_code)
                .then_some(())
        });
        for partition in 0..partitions {
            self.until("a leader", |client, _| client.leader(name, partition));
        }
    }

    /// The newest of what the brokers say of a partition.
    fn partition(&mut self, topic: &str, index: i32) -> Option<MetadataResponsePartition> {
        let topics = vec![MetadataRequestTopic::default().with_name(Some(topic_name(topic)))];
        let request = MetadataRequest::default().with_topics(Some(topics));
        let ids: Vec<_> = self.brokers.keys().copied().collect();
        let told = ids.into_iter().filter_map(|id| {
            let mut response = self.call(id, 12, &request)?;
            let topic = response.topics.pop()?;
            topic
                .partitions
                .into_iter()
                .find(|p| p.partition_index == index)
        });
        told.max_by_key(|partition| partition.leader_epoch)
    }

    pub fn leader(&mut self, topic: &str, index: i32) -> Option<i32> {
        let partition = self.partition(topic, index)?;
        Some(partition.leader_id.0).filter(|id| *id >= 0)
    }

    pub fn isr(&mut self, topic: &str, index: i32) -> Vec<i32> {
        let partition = self.partition(topic, index);
        let mut isr: Vec<_> = partition
            .map(|partition| partition.isr_nodes.iter().map(|id| id.0).collect())
            .unwrap_or_default();
        isr.sort_unstable();
        isr
    }

    /// Asks the leader to delete what is before `offset`: the error, and the low watermark.
    pub fn delete_records(&mut self, topic: &str, index: i32, offset: i64) -> (i16, i64) {
        let partition = DeleteRecordsPartition::default()
            .with_partition_index(index)
            .with_offset(offset);
        let asked = DeleteRecordsTopic::default()
            .with_name(topic_name(topic))
            .with_partitions(vec![partition]);
        let request = DeleteRecordsRequest::default()
            .with_topics(vec![asked])
            .with_timeout_ms(2_000);
        self.until("an answer to DeleteRecords", |client, id| {
            if client.leader(topic, index) != Some(id) {
                return None;
            }
            let mut response = client.call(id, 2, &request)?;
            let result = response.topics.pop()?.partitions.pop()?;
            (result.error_code != 6).then_some((result.error_code, result.low_watermark))
        })
    }

    /// The error of a request about a topic that is not there.
    pub fn delete_records_of_nothing(&mut self) -> i16 {
        let partition = DeleteRecordsPartition::default().with_offset(0);
        let asked = DeleteRecordsTopic::default()
            .with_name(topic_name("no-such-topic"))
            .with_partitions(vec![partition]);
        let request = DeleteRecordsRequest::default().with_topics(vec![asked]);
        self.until("an answer", |client, id| {
            let mut response = client.call(id, 2, &request)?;
            Some(response.topics.pop()?.partitions.pop()?.error_code)
        })
    }

    /// The first (-2) or next (-1) offset, as the leader tells it.
    pub fn offset(&mut self, topic: &str, index: i32, at: i64) -> i64 {
        let partition = ListOffsetsPartition::default()
            .with_partition_index(index)
            .with_current_leader_epoch(-1)
            .with_timestamp(at);
        let asked = ListOffsetsTopic::default()
            .with_name(topic_name(topic))
            .with_partitions(vec![partition]);
        let request = ListOffsetsRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_topics(vec![asked]);
        self.until("an offset", |client, id| {
            if client.leader(topic, index) != Some(id) {
                return None;
            }
            let mut response = client.call(id, 7, &request)?;
            let result = response.topics.pop()?.partitions.pop()?;
            (result.error_code == 0).then_some(result.offset)
        })
    }

    /// The error of a fetch at `offset`, from the leader.
    pub fn fetch_error(&mut self, topic: &str, index: i32, offset: i64) -> i16 {
        self.until("an answer to Fetch", |client, id| {
            if client.leader(topic, index) != Some(id) {
                return None;
            }
            let data = client.fetch(id, topic, index, offset)?;
            (data.error_code != 6).then_some(data.error_code)
        })
    }

    /// Produces one batch, again if need be, until it is acknowledged. Returns its base offset.
    pub fn produce(&mut self, topic: &str, index: i32, acks: i16, records: Bytes) -> i64 {
        let data = PartitionProduceData::default()
            .with_index(index)
            .with_records(Some(records));
        let topic_data = TopicProduceData::default()
            .with_name(topic_name(topic))
            .with_partition_data(vec![data]);
        let request = ProduceRequest::default()
            .with_acks(acks)
            .with_timeout_ms(3_000)
            .with_topic_data(vec![topic_data]);
        self.until("an acknowledgement", |client, id| {
            if client.leader(topic, index) != Some(id) {
                return None;
            }
            let mut response = client.call(id, 9, &request)?;
            let partition = response.responses.pop()?.partition_responses.pop()?;
            (partition.error_code == 0).then_some(partition.base_offset)
        })
    }

    /// Everything below the leader's watermark.
    pub fn read_all(&mut self, topic: &str, index: i32) -> Vec<(i64, String)> {
        self.read_from(topic, index, 0)
    }

    /// Everything from `first` on, below the leader's watermark.
    pub fn read_from(&mut self, topic: &str, index: i32, first: i64) -> Vec<(i64, String)> {
        let mut all: Vec<(i64, String)> = Vec::new();
        loop {
            let offset = all.last().map_or(first, |(offset, _)| offset + 1);
            let page = self.until("a page", |client, id| {
                if client.leader(topic, index) != Some(id) {
                    return None;
                }
                client.read(id, topic, index, offset)
            });
            if page.is_empty() {
                return all;
            }
            all.extend(page.into_iter().filter(|(at, _)| *at >= offset));
        }
    }

    fn read(&mut self, id: i32, topic: &str, index: i32, from: i64) -> Option<Vec<(i64, String)>> {
        let data = self.fetch(id, topic, index, from)?;
        if data.error_code != 0 {
            return None;
        }
        Some(values(data.records.unwrap_or_default()))
    }

    fn fetch(&mut self, id: i32, topic: &str, index: i32, from: i64) -> Option<PartitionData> {
        let partition = FetchPartition::default()
            .with_partition(index)
            .with_current_leader_epoch(-1)
            .with_last_fetched_epoch(-1)
            .with_fetch_offset(from)
            .with_partition_max_bytes(10_000);
        let topic = FetchTopic::default()
            .with_topic(topic_name(topic))
            .with_partitions(vec![partition]);
        let request = FetchRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_max_wait_ms(0)
            .with_min_bytes(1)
            .with_max_bytes(100_000)
            .with_topics(vec![topic]);
        let mut response = self.call(id, 12, &request)?;
        response.responses.pop()?.partitions.pop()
    }
}

fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

/// The values in whole batches, with their offsets.
fn values(mut records: Bytes) -> Vec<(i64, String)> {
    if records.is_empty() {
        return Vec::new();
    }
    let sets = RecordBatchDecoder::decode_all(&mut records).expect("sound batches");
    let records = sets.into_iter().flat_map(|set| set.records);
    records
        .map(|record| {
            let value = record.value.expect("a value").to_vec();
            (record.offset, String::from_utf8(value).expect("text"))
        })
        .collect()
}

/// `count` distinct values.
pub fn numbered(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|at| format!("{prefix}-{at}")).collect()
}

/// One record batch with these values.
pub fn batch(values: &[String]) -> Bytes {
    batch_at(values, 1_000)
}

/// The same with a timestamp, in milliseconds since 1970.
pub fn batch_at(values: &[String], timestamp: i64) -> Bytes {
    let records: Vec<_> = values
        .iter()
        .zip(0..)
        .map(|(value, at)| Record {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: -1,
            producer_id: -1,
            producer_epoch: -1,
            timestamp_type: TimestampType::Creation,
            offset: i64::from(at),
            // The encoder puts records into one batch whose sequence numbers follow each other.
            sequence: at - 1,
            timestamp,
            key: None,
            value: Some(Bytes::from(value.clone())),
            headers: Default::default(),
        })
        .collect();
    let mut bytes = BytesMut::new();
    let options = RecordEncodeOptions {
        version: 2,
        compression: Compression::None,
    };
    RecordBatchEncoder::encode(&mut bytes, &records, &options).expect("records encode");
    bytes.freeze()
}
