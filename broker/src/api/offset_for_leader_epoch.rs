//! OffsetForLeaderEpoch (key 23): versions 2 to 4, for consumers that check their position after
//! a change of leader (KIP-320). Followers learn of divergence by their fetches.
//!
//! Version notes: 3 adds the replica id (followers are refused here), 4 is flexible.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition,
};
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};

use crate::api::{Context, Pending, Reply, encode, in_turn, ready};
use crate::log::EpochEnd;
use crate::replica::manager::{Found, Routing};
use crate::replica::view::PartitionView;
use crate::types::LeaderEpoch;

/// A consumer's replica id: "consumer" is -1, "debugging consumer" -2.
const CONSUMERS: std::ops::RangeInclusive<i32> = -2..=-1;

/// Answers an OffsetForLeaderEpoch request.
#[must_use]
pub fn handle(ctx: &Arc<Context>, version: i16, request: OffsetForLeaderEpochRequest) -> Pending {
    if version >= 3 && !CONSUMERS.contains(&request.replica_id.0) {
        let why = "OffsetForLeaderEpoch of a follower: it has to fetch instead";
        return ready(Reply::Close(why.to_owned()));
    }
    let ctx = Arc::clone(ctx);
    in_turn(move || answer(&ctx, version, request))
}

fn answer(ctx: &Context, version: i16, request: OffsetForLeaderEpochRequest) -> Reply {
    let routing = ctx.replicas.routing();
    let topics = request.topics.into_iter().map(|topic| {
        let parts = topic.partitions.iter().map(|asked| {
            let response = EpochEndOffset::default().with_partition(asked.partition);
            match look_up(&routing, &topic.topic, asked) {
                Err(error) => response
                    .with_error_code(error.code())
                    .with_leader_epoch(-1)
                    .with_end_offset(-1),
                Ok(None) => response.with_leader_epoch(-1).with_end_offset(-1),
                Ok(Some(end)) => response
                    .with_leader_epoch(end.epoch.get())
                    .with_end_offset(end.end.get()),
            }
        });
        let parts = parts.collect();
        OffsetForLeaderTopicResult::default()
            .with_topic(topic.topic)
            .with_partitions(parts)
    });
    let response = OffsetForLeaderEpochResponse::default().with_topics(topics.collect());
    encode(&response, version)
}

fn look_up(
    routing: &Routing,
    topic: &str,
    asked: &OffsetForLeaderPartition,
) -> Result<Option<EpochEnd>, ResponseError> {
    let partition = match routing.by_name(topic, asked.partition) {
        Found::Here(partition) => partition,
        Found::Elsewhere => return Err(ResponseError::NotLeaderOrFollower),
        Found::Unknown => return Err(ResponseError::UnknownTopicOrPartition),
    };
    let view = partition.view();
    view.check_leader(asked.current_leader_epoch)?;
    Ok(epoch_end(&view, LeaderEpoch(asked.leader_epoch)))
}

/// Kafka's `LeaderEpochFileCache.endOffsetFor`: undefined (`None`) for an epoch above every one
/// that is known, the current one included although it may have no records yet.
fn epoch_end(view: &PartitionView, epoch: LeaderEpoch) -> Option<EpochEnd> {
    if epoch.get() < 0 || epoch > view.epoch {
        return None;
    }
    if epoch == view.epoch {
        let end = view.end();
        return Some(EpochEnd { epoch, end });
    }
    Some(view.end_offset_for(epoch))
}
