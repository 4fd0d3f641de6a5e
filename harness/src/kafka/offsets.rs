//! What one broker says about the ends of the partitions that it believes to lead.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{BrokerId, ListOffsetsRequest, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::{Conn, RequestError, name_of};

const VERSION_MAX: i16 = 7;
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const READ_UNCOMMITTED: i8 = 0;
const READ_COMMITTED: i8 = 1;

/// One partition's ends in the eyes of one broker; what it refused to say is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionOffsets {
    /// The oldest offset.
    pub log_start: Option<i64>,
    /// The last stable offset (the end for a read_committed consumer).
    pub lso: Option<i64>,
    /// The high watermark (the end for a read_uncommitted consumer).
    pub high_watermark: Option<i64>,
    /// Leader epoch that came with the high watermark.
    pub epoch: Option<i32>,
    /// Kafka's name of the last refusal.
    pub refused: Option<String>,
}

/// Asks one broker for log start, last stable offset and high watermark, in this order, so that
/// on a correct broker each is at most the next.
///
/// # Errors
/// Where the broker does not answer at all. A refusal for single partitions is part of the result.
pub async fn list_offsets(
    conn: &mut Conn,
    topic: &str,
    partitions: i32,
    within: Duration,
) -> Result<BTreeMap<i32, PartitionOffsets>, RequestError> {
    let mut all: BTreeMap<i32, PartitionOffsets> = BTreeMap::new();
    let questions = [
        (EARLIEST, READ_UNCOMMITTED),
        (LATEST, READ_COMMITTED),
        (LATEST, READ_UNCOMMITTED),
    ];
    for (timestamp, isolation) in questions {
        let version = conn.version_of::<ListOffsetsRequest>(VERSION_MAX)?;
        let request = request(topic, partitions, timestamp, isolation);
        let answer = conn.ask("ListOffsets", &request, version, within).await?;
        for partition in answer.topics.into_iter().flat_map(|t| t.partitions) {
            let entry = all.entry(partition.partition_index).or_default();
            if partition.error_code != 0 {
                entry.refused = Some(name_of(partition.error_code));
                continue;
            }
            match (timestamp, isolation) {
                (EARLIEST, _) => entry.log_start = Some(partition.offset),
                (_, READ_COMMITTED) => entry.lso = Some(partition.offset),
                _ => {
                    entry.high_watermark = Some(partition.offset);
                    entry.epoch = (partition.leader_epoch >= 0).then_some(partition.leader_epoch);
                }
            }
        }
    }
    Ok(all)
}

fn request(topic: &str, partitions: i32, timestamp: i64, isolation: i8) -> ListOffsetsRequest {
    let partitions = (0..partitions)
        .map(|index| {
            ListOffsetsPartition::default()
                .with_partition_index(index)
                .with_current_leader_epoch(-1)
                .with_timestamp(timestamp)
        })
        .collect();
    let topic = ListOffsetsTopic::default()
        .with_name(TopicName(StrBytes::from_string(topic.to_owned())))
        .with_partitions(partitions);
    ListOffsetsRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_isolation_level(isolation)
        .with_topics(vec![topic])
}
