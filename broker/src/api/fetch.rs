//! Fetch (key 1) for consumers: versions 4 to 12, by topic name.
//!
//! Version notes: 5 adds log start offsets, 7 sessions (KIP-227; the answer's session id 0 says
//! that we keep none), 9 the leader epoch that the consumer knows, 12 its last fetched epoch and
//! diverging epochs (KIP-320). By topic id (13 and higher) only followers fetch, at the
//! replication listener: see `replica_fetch`. `isolation_level` 1 reads below the last stable
//! offset.
//!
//! An offset between the high watermark and the log's end is answered with no records and no
//! error: a watermark may be stale after a failover, the consumer's position is not wrong.

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::TopicName;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchRequest};
use kafka_protocol::messages::fetch_response::{
    EpochEndOffset, FetchResponse, FetchableTopicResponse, LeaderIdAndEpoch, PartitionData,
};
use tokio::time::Instant;

use crate::api::fetch_wait::{self, Answer, Ask, Asker, Limits};
use crate::api::{Context, Pending, Reply, encode, encode_sharing, ready};
use crate::replica::manager::{Found, Routing};
use crate::replica::view::Isolation;
use crate::types::{LeaderEpoch, Offset};

/// Bytes in one answer at most (`fetch.max.bytes` of a broker).
const MAX_BYTES: usize = 55 << 20;

/// No poll is longer than this, whatever is asked for.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(60);

/// One partition of the request: what to ask, or why it cannot be asked.
struct Part {
    topic: usize,
    index: i32,
    refused: Option<ResponseError>,
}

/// Answers a consumer's Fetch.
#[must_use]
pub fn handle(ctx: &Arc<Context>, version: i16, request: FetchRequest) -> Pending {
    if request.replica_id.0 >= 0 {
        return refuse(version, ResponseError::InvalidRequest);
    }
    if request.session_id != 0 {
        // It was not from us, or from before a restart: the client goes on without.
        return refuse(version, ResponseError::FetchSessionIdNotFound);
    }
    let isolation = match request.isolation_level {
        0 => Isolation::ReadUncommitted,
        _ => Isolation::ReadCommitted,
    };
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    let mut deadline = Instant::now() + wait.min(WAIT_MAX);
    let routing = ctx.replicas.routing();
    let mut asks = Vec::new();
    let mut parts = Vec::new();
    let mut names = Vec::new();
    for topic in request.topics {
        for fetch in &topic.partitions {
            let ask = ask(&routing, &topic.topic, fetch, isolation);
            parts.push(Part {
                topic: names.len(),
                index: fetch.partition,
                refused: ask.as_ref().err().copied(),
            });
            asks.extend(ask);
        }
        names.push(topic.topic);
    }
    if parts.iter().any(|part| part.refused.is_some()) {
        deadline = Instant::now();
    }
    let limits = Limits {
        min_bytes: usize::try_from(request.min_bytes).unwrap_or(0),
        deadline,
        max_bytes: usize::try_from(request.max_bytes)
            .unwrap_or(0)
            .min(MAX_BYTES),
        budget: ctx.answers.clone(),
    };
    let ctx = Arc::clone(ctx);
    Box::pin(async move {
        let answers = fetch_wait::answers(&asks, &limits).await;
        respond(&ctx, version, isolation, &names, &parts, answers)
    })
}

fn ask(
    routing: &Routing,
    topic: &str,
    fetch: &FetchPartition,
    isolation: Isolation,
) -> Result<Ask, ResponseError> {
    let partition = match routing.by_name(topic, fetch.partition) {
        Found::Here(partition) => Arc::clone(partition),
        Found::Elsewhere => return Err(ResponseError::NotLeaderOrFollower),
        Found::Unknown => return Err(ResponseError::UnknownTopicOrPartition),
    };
    let last = fetch.last_fetched_epoch;
    Ok(Ask {
        partition,
        offset: Offset(fetch.fetch_offset),
        max_bytes: usize::try_from(fetch.partition_max_bytes).unwrap_or(0),
        asker: Asker::Consumer {
            epoch: fetch.current_leader_epoch,
            last_epoch: (last >= 0).then_some(LeaderEpoch(last)),
            isolation,
        },
    })
}

fn respond(
    ctx: &Context,
    version: i16,
    isolation: Isolation,
    names: &[TopicName],
    parts: &[Part],
    answers: Vec<Answer>,
) -> Reply {
    let mut answers = answers.into_iter();
    let mut shared = Vec::new();
    let mut topics: Vec<_> = names
        .iter()
        .map(|name| FetchableTopicResponse::default().with_topic(name.clone()))
        .collect();
    for part in parts {
        let answer = match part.refused {
            Some(error) => Answer {
                error: Some(error),
                hw: Offset(-1),
                lso: Offset(-1),
                log_start: Offset(-1),
                ..Answer::default()
            },
            None => answers.next().expect("one answer for each ask"),
        };
        shared.push(answer.records.clone());
        let mut data = partition_data(part.index, version, answer);
        if isolation == Isolation::ReadCommitted {
            data.aborted_transactions = Some(Vec::new());
        }
        if version >= 12 && is_leader_error(data.error_code) {
            data.current_leader = current_leader(ctx, &names[part.topic], part.index);
        }
        topics[part.topic].partitions.push(data);
    }
    let response = FetchResponse::default().with_responses(topics);
    encode_sharing(&response, version, &shared)
}

/// One partition's part of a response.
pub(super) fn partition_data(index: i32, version: i16, answer: Answer) -> PartitionData {
    let mut data = PartitionData::default()
        .with_partition_index(index)
        .with_high_watermark(answer.hw.get())
        .with_last_stable_offset(answer.lso.get())
        .with_aborted_transactions(None)
        .with_records(Some(answer.records));
    if version >= 5 {
        data.log_start_offset = answer.log_start.get();
    }
    if let Some(error) = answer.error {
        data.error_code = error.code();
    }
    if let Some(end) = answer.diverging {
        data.diverging_epoch = EpochEndOffset::default()
            .with_epoch(end.epoch.get())
            .with_end_offset(end.end.get());
    }
    data
}

fn is_leader_error(code: i16) -> bool {
    [
        ResponseError::NotLeaderOrFollower,
        ResponseError::FencedLeaderEpoch,
        ResponseError::UnknownLeaderEpoch,
    ]
    .iter()
    .any(|error| error.code() == code)
}

/// KIP-951: who leads now, so that the client need not ask.
fn current_leader(ctx: &Context, topic: &str, index: i32) -> LeaderIdAndEpoch {
    let image = ctx.meta.image();
    let partition = usize::try_from(index)
        .ok()
        .and_then(|index| image.topic_by_name(topic)?.partitions.get(index));
    match partition.and_then(|partition| Some((partition.leader?, partition.leader_epoch))) {
        Some((leader, epoch)) => LeaderIdAndEpoch::default()
            .with_leader_id(leader.get().into())
            .with_leader_epoch(epoch.get()),
        None => LeaderIdAndEpoch::default(),
    }
}

/// The whole request is refused.
pub(super) fn refuse(version: i16, error: ResponseError) -> Pending {
    if version < 7 {
        // There is no field for it.
        return ready(Reply::Close(format!("Fetch refused: {error}")));
    }
    let response = FetchResponse::default().with_error_code(error.code());
    ready(encode(&response, version))
}
