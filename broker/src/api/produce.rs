//! Produce (key 0): versions 3 to 11.
//!
//! Version notes: 0 to 2 carry message formats that are not stored; they are advertised (see
//! `wire::versions`) and refused. 5 adds the log start offset to the answer, 8 an error message,
//! 10 the current leader beside NOT_LEADER_OR_FOLLOWER (KIP-951). 12 (KIP-890) and 13 (topic ids)
//! are not served yet.
//!
//! The first half hands every batch to its partition, in the order of the request; what it is
//! worth is checked there (CRC) or by the partition's writer (epoch, ISR, sequence numbers). The
//! second half waits as `acks` says. acks=0 is never answered; what fails closes the connection,
//! which is the only way to tell.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::error::ParseResponseErrorCode;
use kafka_protocol::messages::produce_request::{ProduceRequest, TopicProduceData};
use kafka_protocol::messages::produce_response::{
    LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, ProduceResponse, TopicProduceResponse,
};
use kafka_protocol::protocol::StrBytes;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::api::{Context, Pending, Reply, encode, ready};
use crate::log::ProducedBatch;
use crate::replica::manager::{Found, Routing};
use crate::replica::partition::{ProduceFailure, ProduceOutcome};
use crate::types::Acks;

/// For this broker's own log to hold what acks=0 and acks=1 ask for.
const OWN_LOG_PATIENCE: Duration = Duration::from_secs(60);
/// No client waits longer than this, whatever it asks for.
const PATIENCE_MAX: Duration = Duration::from_secs(300);

/// One partition of the request, under way.
struct Part {
    index: i32,
    state: State,
}

enum State {
    Waiting(oneshot::Receiver<ProduceOutcome>),
    Ended(ProduceOutcome),
}

struct Topic {
    name: kafka_protocol::messages::TopicName,
    parts: Vec<Part>,
}

/// Answers a Produce request.
#[must_use]
pub fn handle(ctx: &Arc<Context>, version: i16, request: ProduceRequest) -> Pending {
    let acks = match request.acks {
        0 => Acks::Zero,
        1 => Acks::One,
        -1 => Acks::All,
        other => return refuse_all(version, &request, other),
    };
    let deadline = Instant::now() + patience(acks, request.timeout_ms);
    let routing = ctx.replicas.routing();
    let max_bytes = ctx.config.max_message_bytes;
    let hand_over = |topic: TopicProduceData| {
        let parts = topic.partition_data.into_iter().map(|data| {
            let records = data.records.unwrap_or_default();
            let state = match start(&routing, &topic.name, data.index, records, acks, max_bytes) {
                Ok(waiting) => State::Waiting(waiting),
                Err(failure) => State::Ended(Err(failure)),
            };
            let index = data.index;
            Part { index, state }
        });
        let parts = parts.collect();
        // A copy: the name in the request would keep all of the request's memory.
        let name = StrBytes::from_string(topic.name.to_string()).into();
        Topic { name, parts }
    };
    let topics: Vec<_> = request.topic_data.into_iter().map(hand_over).collect();
    let ctx = Arc::clone(ctx);
    Box::pin(async move {
        let topics = wait(topics, deadline).await;
        if acks == Acks::Zero {
            return without_answer(&topics);
        }
        answer(&ctx, version, &topics)
    })
}

/// A request's timeout is for what its followers take: acks=all only. Nobody waits longer than
/// a while, whatever it asks for.
fn patience(acks: Acks, timeout_ms: i32) -> Duration {
    match acks {
        Acks::Zero | Acks::One => OWN_LOG_PATIENCE,
        Acks::All => {
            let asked = Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0));
            asked.min(PATIENCE_MAX)
        }
    }
}

/// Hands one batch to its partition.
fn start(
    routing: &Routing,
    topic: &str,
    index: i32,
    records: Bytes,
    acks: Acks,
    max_message_bytes: usize,
) -> Result<oneshot::Receiver<ProduceOutcome>, ProduceFailure> {
    let failure = |error: ResponseError, what: &str| ProduceFailure {
        error,
        message: format!("{topic}-{index}: {what}"),
    };
    let partition = match routing.by_name(topic, index) {
        Found::Here(partition) => partition,
        Found::Elsewhere => {
            let what = "this broker holds no replica of the partition";
            return Err(failure(ResponseError::NotLeaderOrFollower, what));
        }
        Found::Unknown => {
            let what = "there is no such topic or partition";
            return Err(failure(ResponseError::UnknownTopicOrPartition, what));
        }
    };
    let batch = ProducedBatch::validate(records, max_message_bytes).map_err(|error| {
        let code = error.code().err().unwrap_or(ResponseError::InvalidRecord);
        failure(code, &error.to_string())
    })?;
    if batch.header().is_transactional() {
        let what = "there are no transactions in this broker yet";
        return Err(failure(ResponseError::InvalidTxnState, what));
    }
    Ok(partition.append(batch, acks))
}

/// Waits for every partition, at most until `deadline`.
async fn wait(mut topics: Vec<Topic>, deadline: Instant) -> Vec<Topic> {
    for topic in &mut topics {
        for part in &mut topic.parts {
            let State::Waiting(waiting) = &mut part.state else {
                continue;
            };
            let outcome = match tokio::time::timeout_at(deadline, waiting).await {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(_)) => Err(ended(&topic.name, part.index)),
                Err(_) => Err(timed_out(&topic.name, part.index)),
            };
            part.state = State::Ended(outcome);
        }
    }
    topics
}

fn ended(topic: &str, index: i32) -> ProduceFailure {
    ProduceFailure {
        error: ResponseError::NotLeaderOrFollower,
        message: format!("{topic}-{index}: this broker gave the partition up"),
    }
}

fn timed_out(topic: &str, index: i32) -> ProduceFailure {
    ProduceFailure {
        error: ResponseError::RequestTimedOut,
        message: format!("{topic}-{index}: not committed within the timeout; it may be later"),
    }
}

fn failures(topics: &[Topic]) -> impl Iterator<Item = &ProduceFailure> {
    let parts = topics.iter().flat_map(|topic| &topic.parts);
    parts.filter_map(|part| match &part.state {
        State::Ended(Err(failure)) => Some(failure),
        _ => None,
    })
}

fn without_answer(topics: &[Topic]) -> Reply {
    match failures(topics).next() {
        None => Reply::NoAnswer,
        Some(failure) => Reply::Close(format!("acks=0 and {failure}")),
    }
}

fn answer(ctx: &Context, version: i16, topics: &[Topic]) -> Reply {
    let misled = failures(topics).any(|f| f.error == ResponseError::NotLeaderOrFollower);
    let image = (misled && version >= 10).then(|| ctx.meta.image());
    let mut endpoints = Vec::new();
    let responses = topics.iter().map(|topic| {
        let parts = topic.parts.iter().map(|part| {
            let mut response = partition_response(version, part);
            let leader = image.as_ref().and_then(|image| {
                let known = image.topic_by_name(&topic.name)?;
                let partition = known.partitions.get(usize::try_from(part.index).ok()?)?;
                Some((partition.leader?, partition.leader_epoch))
            });
            if response.error_code == ResponseError::NotLeaderOrFollower.code()
                && let Some((leader, epoch)) = leader
            {
                response.current_leader = LeaderIdAndEpoch::default()
                    .with_leader_id(leader.get().into())
                    .with_leader_epoch(epoch.get());
                endpoints.push(leader);
            }
            response
        });
        TopicProduceResponse::default()
            .with_name(topic.name.clone())
            .with_partition_responses(parts.collect())
    });
    let mut response = ProduceResponse::default().with_responses(responses.collect());
    endpoints.sort_unstable();
    endpoints.dedup();
    if let Some(image) = image {
        let brokers = endpoints.iter().filter_map(|id| image.brokers.get(id));
        let nodes = brokers.map(|broker| {
            NodeEndpoint::default()
                .with_node_id(broker.id.get().into())
                .with_host(StrBytes::from_string(broker.client.host.clone()))
                .with_port(i32::from(broker.client.port))
        });
        response.node_endpoints = nodes.collect();
    }
    encode(&response, version)
}

fn partition_response(version: i16, part: &Part) -> PartitionProduceResponse {
    let response = PartitionProduceResponse::default()
        .with_index(part.index)
        .with_log_append_time_ms(-1)
        .with_base_offset(-1);
    match &part.state {
        State::Ended(Ok(produced)) => {
            let response = response.with_base_offset(produced.base_offset.get());
            if version >= 5 {
                response.with_log_start_offset(produced.log_start.get())
            } else {
                response
            }
        }
        State::Ended(Err(failure)) => {
            let response = response.with_error_code(failure.error.code());
            if version >= 8 {
                let message = StrBytes::from_string(failure.message.clone());
                response.with_error_message(Some(message))
            } else {
                response
            }
        }
        State::Waiting(_) => response.with_error_code(ResponseError::UnknownServerError.code()),
    }
}

/// INVALID_REQUIRED_ACKS for every partition.
fn refuse_all(version: i16, request: &ProduceRequest, acks: i16) -> Pending {
    let refused = request.topic_data.iter().map(|topic| {
        let parts = topic.partition_data.iter().map(|data| Part {
            index: data.index,
            state: State::Ended(Err(ProduceFailure {
                error: ResponseError::InvalidRequiredAcks,
                message: format!("acks must be 0, 1 or -1 (all), not {acks}"),
            })),
        });
        TopicProduceResponse::default()
            .with_name(topic.name.clone())
            .with_partition_responses(
                parts
                    .map(|part| partition_response(version, &part))
                    .collect(),
            )
    });
    let response = ProduceResponse::default().with_responses(refused.collect());
    ready(encode(&response, version))
}
