//! DeleteRecords (21): a partition's log begins later. Versions 0 to 2; 2 is flexible.
//!
//! The offset before which records go may be at most the high watermark; -1 means that. The leader
//! moves its log's start at once; the answer comes when every live replica has moved its own, and
//! tells the lowest of them (the low watermark), from which on nothing of what went can come back
//! with another leader. A replica that is fenced is not waited for: it follows when it is back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse, TopicName};
use tokio::time::Instant;

use crate::api::{Context, Pending, encode};
use crate::replica::manager::Found;
use crate::replica::partition::Partition;
use crate::replica::view::PartitionView;
use crate::types::Offset;

/// No client waits longer than this, whatever it asks for.
const PATIENCE_MAX: Duration = Duration::from_secs(60);
/// How often it is looked whether the replicas have moved.
const POLL: Duration = Duration::from_millis(5);
/// All that is committed.
const HIGH_WATERMARK: i64 = -1;

/// The low watermark, or why the records were not deleted everywhere.
type Outcome = Result<Offset, ResponseError>;

/// Deletes, and waits for the replicas.
#[must_use]
pub fn handle(ctx: &Arc<Context>, version: i16, request: DeleteRecordsRequest) -> Pending {
    let patience = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let deadline = Instant::now() + patience.min(PATIENCE_MAX);
    // What a request costs is bound by the partitions that there are: the last word counts.
    let mut asked: BTreeMap<(TopicName, i32), i64> = BTreeMap::new();
    for topic in request.topics {
        for partition in topic.partitions {
            let key = (topic.name.clone(), partition.partition_index);
            asked.insert(key, partition.offset);
        }
    }
    let ctx = Arc::clone(ctx);
    Box::pin(async move {
        let each = asked.iter().map(|((topic, index), offset)| {
            let ctx = &ctx;
            async move { delete(ctx, topic, *index, *offset, deadline).await }
        });
        let outcomes = join_all(each).await;
        let mut topics: Vec<DeleteRecordsTopicResult> = Vec::new();
        for ((name, index), outcome) in asked.into_keys().zip(outcomes) {
            let result = answer(index, outcome);
            match topics.last_mut() {
                Some(topic) if topic.name == name => topic.partitions.push(result),
                _ => topics.push(
                    DeleteRecordsTopicResult::default()
                        .with_name(name)
                        .with_partitions(vec![result]),
                ),
            }
        }
        encode(
            &DeleteRecordsResponse::default().with_topics(topics),
            version,
        )
    })
}

fn answer(index: i32, outcome: Outcome) -> DeleteRecordsPartitionResult {
    let result = DeleteRecordsPartitionResult::default().with_partition_index(index);
    match outcome {
        Ok(low) => result.with_low_watermark(low.get()),
        Err(error) => result.with_low_watermark(-1).with_error_code(error.code()),
    }
}

async fn delete(ctx: &Context, topic: &str, index: i32, offset: i64, deadline: Instant) -> Outcome {
    let routing = ctx.replicas.routing();
    let partition = match routing.by_name(topic, index) {
        Found::Here(partition) => Arc::clone(partition),
        Found::Elsewhere => return Err(ResponseError::NotLeaderOrFollower),
        Found::Unknown => return Err(ResponseError::UnknownTopicOrPartition),
    };
    drop(routing);
    let before = (offset != HIGH_WATERMARK).then_some(Offset(offset));
    let epoch = partition.view().epoch;
    let deleted = partition.delete_records(before).await;
    let target = deleted.unwrap_or(Err(ResponseError::NotLeaderOrFollower))?;
    loop {
        let view = partition.view();
        if !view.is_leader() || view.epoch != epoch {
            return Err(ResponseError::NotLeaderOrFollower);
        }
        match low_watermark(ctx, &partition, &view) {
            Some(low) if low >= target => return Ok(low),
            _ if Instant::now() >= deadline => return Err(ResponseError::RequestTimedOut),
            _ => tokio::time::sleep(POLL).await,
        }
    }
}

/// Where the log starts at the live replica that keeps most; `None` while one has not said.
fn low_watermark(ctx: &Context, partition: &Partition, view: &PartitionView) -> Option<Offset> {
    let image = ctx.meta.image();
    let replicas = &image.partition(partition.tp())?.replicas;
    let followers = view.leadership.as_ref()?.followers.iter();
    let live = followers
        .filter(|follower| replicas.contains(&follower.id))
        .filter(|follower| image.live_broker(follower.id).is_some());
    live.map(|follower| follower.log_start)
        .try_fold(view.log_start(), |low, start| Some(low.min(start?)))
}
