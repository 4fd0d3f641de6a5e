//! A client that calls the broker's handlers as a connection would, over encoded answers.

use std::sync::Arc;

use broker::api::{Context, Pending, Reply, fetch, list_offsets, produce};
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use kafka_protocol::messages::fetch_response::{FetchResponse, PartitionData};
use kafka_protocol::messages::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use kafka_protocol::messages::list_offsets_response::ListOffsetsResponse;
use kafka_protocol::messages::produce_request::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, ProduceResponse};
use kafka_protocol::messages::{BrokerId, TopicName};
use kafka_protocol::protocol::{Decodable, StrBytes};
use kafka_protocol::records::{
    Compression, Record, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};

pub const TOPIC: &str = "story";

/// Who wrote a batch, for idempotence.
#[derive(Clone, Copy)]
pub struct Producer {
    pub id: i64,
    pub epoch: i16,
    pub sequence: i32,
}

/// One record batch with these values.
pub fn batch(values: &[String], producer: Option<Producer>) -> Bytes {
    let records: Vec<_> = values
        .iter()
        .zip(0..)
        .map(|(value, at)| Record {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: -1,
            producer_id: producer.map_or(-1, |producer| producer.id),
            producer_epoch: producer.map_or(-1, |producer| producer.epoch),
            timestamp_type: TimestampType::Creation,
            offset: i64::from(at),
            sequence: producer.map_or(-1, |producer| producer.sequence) + at,
            timestamp: 1_000 + i64::from(at),
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

async fn body(pending: Pending) -> Bytes {
    match pending.await {
        Reply::Body(body) => body.into_bytes(),
        other => panic!("no answer: {other:?}"),
    }
}

fn name() -> TopicName {
    TopicName(StrBytes::from_static_str(TOPIC))
}

/// The request of one batch to one partition.
pub fn produce_request(
    partition: i32,
    acks: i16,
    timeout_ms: i32,
    records: Bytes,
) -> ProduceRequest {
    let data = PartitionProduceData::default()
        .with_index(partition)
        .with_records(Some(records));
    let topic = TopicProduceData::default()
        .with_name(name())
        .with_partition_data(vec![data]);
    ProduceRequest::default()
        .with_acks(acks)
        .with_timeout_ms(timeout_ms)
        .with_topic_data(vec![topic])
}

/// The answer to such a request.
pub async fn produced(pending: Pending) -> PartitionProduceResponse {
    let mut body = body(pending).await;
    let mut response = ProduceResponse::decode(&mut body, 9).expect("a Produce response");
    let mut topic = response.responses.remove(0);
    topic.partition_responses.remove(0)
}

/// Produces one batch and waits.
pub async fn produce(
    ctx: &Arc<Context>,
    partition: i32,
    acks: i16,
    records: Bytes,
) -> PartitionProduceResponse {
    let request = produce_request(partition, acks, 5_000, records);
    produced(produce::handle(ctx, 9, request)).await
}

/// What a consumer asks of one partition.
pub struct Read {
    pub partition: i32,
    pub offset: i64,
    pub max_wait_ms: i32,
    pub max_bytes: i32,
}

/// One Fetch of version 12.
pub async fn read(ctx: &Arc<Context>, read: Read) -> PartitionData {
    let partition = FetchPartition::default()
        .with_partition(read.partition)
        .with_current_leader_epoch(-1)
        .with_last_fetched_epoch(-1)
        .with_fetch_offset(read.offset)
        .with_partition_max_bytes(read.max_bytes);
    let topic = FetchTopic::default()
        .with_topic(name())
        .with_partitions(vec![partition]);
    let request = FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(read.max_wait_ms)
        .with_min_bytes(1)
        .with_max_bytes(read.max_bytes)
        .with_topics(vec![topic]);
    let mut body = body(fetch::handle(ctx, 12, request)).await;
    let mut response = FetchResponse::decode(&mut body, 12).expect("a Fetch response");
    response.responses.remove(0).partitions.remove(0)
}

/// The values in a Fetch response, with their offsets.
pub fn values(data: &PartitionData) -> Vec<(i64, String)> {
    let mut records = data.records.clone().unwrap_or_default();
    if records.is_empty() {
        return Vec::new();
    }
    let sets = RecordBatchDecoder::decode_all(&mut records).expect("sound batches");
    let records = sets.into_iter().flat_map(|set| set.records);
    records
        .map(|record| {
            let value = record.value.expect("a value");
            let text = String::from_utf8(value.to_vec()).expect("text");
            (record.offset, text)
        })
        .collect()
}

/// Everything from `offset` to the high watermark, `max_bytes` at a time.
pub async fn read_all(ctx: &Arc<Context>, partition: i32, max_bytes: i32) -> Vec<(i64, String)> {
    let mut all: Vec<(i64, String)> = Vec::new();
    loop {
        let offset = all.last().map_or(0, |(offset, _)| offset + 1);
        let data = read(
            ctx,
            Read {
                partition,
                offset,
                max_wait_ms: 0,
                max_bytes,
            },
        )
        .await;
        assert_eq!(data.error_code, 0, "reading at {offset}");
        let page = values(&data);
        if page.is_empty() {
            return all;
        }
        all.extend(page.into_iter().filter(|(at, _)| *at >= offset));
    }
}

/// ListOffsets: error code and offset.
pub async fn list_offsets(
    ctx: &Arc<Context>,
    version: i16,
    partition: i32,
    timestamp: i64,
) -> (i16, i64) {
    let asked = ListOffsetsPartition::default()
        .with_partition_index(partition)
        .with_current_leader_epoch(-1)
        .with_timestamp(timestamp);
    let topic = ListOffsetsTopic::default()
        .with_name(name())
        .with_partitions(vec![asked]);
    let request = ListOffsetsRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_topics(vec![topic]);
    let mut body = body(list_offsets::handle(ctx, version, request)).await;
    let mut response =
        ListOffsetsResponse::decode(&mut body, version).expect("a ListOffsets response");
    let found = response.topics.remove(0).partitions.remove(0);
    (found.error_code, found.offset)
}

/// `count` distinct values.
pub fn numbered(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|at| format!("{prefix}-{at}")).collect()
}
