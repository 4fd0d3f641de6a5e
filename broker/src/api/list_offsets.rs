//! ListOffsets (key 2): versions 1 to 7.
//!
//! Version notes: 2 adds the isolation level, 4 leader epochs in request and answer, 5 the error
//! OFFSET_NOT_AVAILABLE, 7 the offset of the largest timestamp (KIP-734). Timestamps: -1 latest,
//! -2 earliest, -3 largest timestamp, else the first batch with a record of that time (ms since
//! 1970) or later.
//!
//! A new leader whose high watermark has not reached the start of its epoch does not know the
//! latest offset: an earlier leader may have told a higher one. It says so (78; 5 before
//! version 5), rather than let the latest offset go backwards.

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::error::ParseResponseErrorCode;
use kafka_protocol::messages::TopicName;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest};
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};

use crate::api::{Context, Pending, encode};
use crate::log::TimestampOffset;
use crate::replica::manager::{Found, Routing};
use crate::replica::view::{Isolation, PartitionView};
use crate::types::{LeaderEpoch, Offset};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;

/// Answers a ListOffsets request.
#[must_use]
pub fn handle(ctx: &Arc<Context>, version: i16, request: ListOffsetsRequest) -> Pending {
    let isolation = match request.isolation_level {
        0 => Isolation::ReadUncommitted,
        _ => Isolation::ReadCommitted,
    };
    let ctx = Arc::clone(ctx);
    Box::pin(async move {
        let routing = ctx.replicas.routing();
        let twice = asked_twice(&request);
        let mut response = ListOffsetsResponse::default();
        for topic in request.topics {
            let mut parts = Vec::with_capacity(topic.partitions.len());
            for asked in &topic.partitions {
                let found = match twice.contains(&(topic.name.clone(), asked.partition_index)) {
                    true => Err(ResponseError::InvalidRequest),
                    false => look_up(&routing, version, isolation, &topic.name, asked),
                };
                parts.push(respond(version, asked.partition_index, found));
                if asked.timestamp != LATEST && asked.timestamp != EARLIEST {
                    // It was a search: others have their turn before the next one.
                    tokio::task::yield_now().await;
                }
            }
            let answer = ListOffsetsTopicResponse::default().with_name(topic.name);
            response.topics.push(answer.with_partitions(parts));
        }
        encode(&response, version)
    })
}

/// Partitions that occur more than once, which Kafka refuses: what a request costs is bound by
/// the partitions that there are.
fn asked_twice(request: &ListOffsetsRequest) -> BTreeSet<(TopicName, i32)> {
    let mut seen = BTreeSet::new();
    let mut twice = BTreeSet::new();
    for topic in &request.topics {
        for asked in &topic.partitions {
            if !seen.insert((&topic.name, asked.partition_index)) {
                twice.insert((topic.name.clone(), asked.partition_index));
            }
        }
    }
    twice
}

/// What was found: timestamp (-1: does not apply), offset and leader epoch (-1: unknown).
struct FoundOffset {
    timestamp: i64,
    offset: Offset,
    epoch: LeaderEpoch,
}

fn look_up(
    routing: &Routing,
    version: i16,
    isolation: Isolation,
    topic: &str,
    asked: &ListOffsetsPartition,
) -> Result<Option<FoundOffset>, ResponseError> {
    let partition = match routing.by_name(topic, asked.partition_index) {
        Found::Here(partition) => partition,
        Found::Elsewhere => return Err(ResponseError::NotLeaderOrFollower),
        Found::Unknown => return Err(ResponseError::UnknownTopicOrPartition),
    };
    let view = partition.view();
    let known_epoch = if version >= 4 {
        asked.current_leader_epoch
    } else {
        -1
    };
    view.check_leader(known_epoch)?;
    find(&view, version, isolation, asked.timestamp)
}

fn find(
    view: &PartitionView,
    version: i16,
    isolation: Isolation,
    timestamp: i64,
) -> Result<Option<FoundOffset>, ResponseError> {
    let bound = view.bound(isolation);
    let stale = || match view.is_hw_stale() {
        false => Ok(()),
        true if version >= 5 => Err(ResponseError::OffsetNotAvailable),
        true => Err(ResponseError::LeaderNotAvailable),
    };
    let at = |found: TimestampOffset| FoundOffset {
        timestamp: found.timestamp,
        offset: found.offset,
        epoch: found.leader_epoch,
    };
    let unreadable = |error: crate::log::ReadError| {
        tracing::error!(partition = %view.tp, %error, "records cannot be read");
        error
            .code()
            .err()
            .unwrap_or(ResponseError::UnknownServerError)
    };
    match timestamp {
        LATEST => {
            stale()?;
            Ok(Some(FoundOffset {
                timestamp: -1,
                offset: bound.up_to(),
                epoch: view.epoch,
            }))
        }
        EARLIEST => Ok(Some(FoundOffset {
            timestamp: -1,
            offset: view.log_start(),
            epoch: LeaderEpoch(-1),
        })),
        MAX_TIMESTAMP if version >= 7 => {
            stale()?;
            let found = bound.max_timestamp().map_err(unreadable)?;
            Ok(found.map(at))
        }
        MAX_TIMESTAMP => Err(ResponseError::UnsupportedVersion),
        timestamp if timestamp < 0 => Err(ResponseError::InvalidRequest),
        timestamp => {
            let found = bound.find_timestamp(timestamp).map_err(unreadable)?;
            if found.is_none() {
                stale()?;
            }
            Ok(found.map(at))
        }
    }
}

fn respond(
    version: i16,
    index: i32,
    found: Result<Option<FoundOffset>, ResponseError>,
) -> ListOffsetsPartitionResponse {
    let response = ListOffsetsPartitionResponse::default()
        .with_partition_index(index)
        .with_timestamp(-1)
        .with_offset(-1);
    match found {
        Err(error) => response.with_error_code(error.code()),
        Ok(None) => response,
        Ok(Some(found)) => {
            let response = response
                .with_timestamp(found.timestamp)
                .with_offset(found.offset.get());
            if version >= 4 {
                response.with_leader_epoch(found.epoch.get())
            } else {
                response
            }
        }
    }
}
