//! Fetch (key 1) for followers: versions 15 to 18, by topic id, at the replication listener only.
//!
//! Version notes: 15 moves the replica's id into a tagged field and adds its broker epoch
//! (KIP-903), 18 adds the high watermark that the follower knows of (KIP-1166): the poll ends
//! also when the leader's is higher, so that a follower's watermark is not late by a poll.
//!
//! The first half gives every position to its partition's writer, which judges and records it
//! (rules R2 to R5); the second half reads from the views.

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchRequest};
use kafka_protocol::messages::fetch_response::{FetchResponse, FetchableTopicResponse};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::api::fetch::{WAIT_MAX, partition_data, refuse};
use crate::api::fetch_wait::{self, Answer, Ask, Asker, Limits};
use crate::api::{Context, Pending, encode_sharing};
use crate::replica::leader::{FetchOutcome, FetchRefusal, FollowerFetch};
use crate::replica::manager::{Found, Routing};
use crate::replica::partition::Partition;
use crate::types::{BrokerEpoch, BrokerId, LeaderEpoch, Offset, TopicId};

/// One partition of the request.
struct Part {
    topic: TopicId,
    fetch: FetchPartition,
    state: State,
}

enum State {
    /// The writer is asked.
    Judged(Arc<Partition>, oneshot::Receiver<FetchOutcome>),
    /// The answer is known.
    Ended(Box<Answer>),
    /// Accepted: read.
    Accepted,
}

/// Answers a follower's Fetch.
#[must_use]
pub fn handle(ctx: &Arc<Context>, version: i16, request: FetchRequest) -> Pending {
    let replica = BrokerId(request.replica_state.replica_id.0);
    let broker_epoch = BrokerEpoch(request.replica_state.replica_epoch);
    if replica.get() < 0 || replica == ctx.config.id {
        return refuse(version, ResponseError::InvalidRequest);
    }
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    let limits = Limits {
        min_bytes: usize::try_from(request.min_bytes).unwrap_or(0),
        deadline: Instant::now() + wait.min(WAIT_MAX),
        max_bytes: usize::try_from(request.max_bytes).unwrap_or(0),
        budget: ctx.replica_answers.clone(),
    };
    let routing = ctx.replicas.routing();
    let mut parts = Vec::new();
    for topic in request.topics {
        let id = TopicId(topic.topic_id);
        for fetch in topic.partitions {
            let state = start(&routing, id, &fetch, replica, broker_epoch);
            let topic = id;
            parts.push(Part {
                topic,
                fetch,
                state,
            });
        }
    }
    Box::pin(respond(version, parts, limits))
}

/// Asks the partition's writer.
fn start(
    routing: &Routing,
    topic: TopicId,
    fetch: &FetchPartition,
    replica: BrokerId,
    broker_epoch: BrokerEpoch,
) -> State {
    let partition = match routing.by_id(topic, fetch.partition) {
        Found::Here(partition) => partition,
        Found::Elsewhere => return refused(ResponseError::NotLeaderOrFollower),
        Found::Unknown => return refused(ResponseError::UnknownTopicId),
    };
    let last = fetch.last_fetched_epoch;
    let asked = FollowerFetch {
        replica,
        broker_epoch,
        leader_epoch: LeaderEpoch(fetch.current_leader_epoch),
        offset: Offset(fetch.fetch_offset),
        last_epoch: (last >= 0).then_some(LeaderEpoch(last)),
    };
    let outcome = partition.fetch(asked, Offset(fetch.log_start_offset));
    State::Judged(Arc::clone(partition), outcome)
}

fn refused(error: ResponseError) -> State {
    State::Ended(Box::new(Answer {
        error: Some(error),
        hw: Offset(-1),
        lso: Offset(-1),
        log_start: Offset(-1),
        ..Answer::default()
    }))
}

async fn respond(version: i16, mut parts: Vec<Part>, mut limits: Limits) -> crate::api::Reply {
    let mut asks = Vec::new();
    for part in &mut parts {
        let State::Judged(partition, outcome) = &mut part.state else {
            limits.deadline = Instant::now();
            continue;
        };
        let outcome = outcome.await;
        let view = partition.view();
        part.state = match outcome {
            Err(_) => refused(ResponseError::NotLeaderOrFollower),
            Ok(FetchOutcome::Refused(refusal)) => refused(refusal_code(refusal)),
            Ok(FetchOutcome::OutOfRange { log_start }) => State::Ended(Box::new(Answer {
                error: Some(ResponseError::OffsetOutOfRange),
                log_start,
                hw: view.hw,
                ..Answer::default()
            })),
            Ok(FetchOutcome::Diverging(end)) => State::Ended(Box::new(Answer {
                diverging: Some(end),
                hw: view.hw,
                lso: view.lso(),
                log_start: view.log_start(),
                ..Answer::default()
            })),
            Ok(FetchOutcome::Recorded) => {
                asks.push(Ask {
                    partition: Arc::clone(partition),
                    offset: Offset(part.fetch.fetch_offset),
                    max_bytes: usize::try_from(part.fetch.partition_max_bytes).unwrap_or(0),
                    asker: Asker::Follower {
                        epoch: view.epoch,
                        hw: Offset(part.fetch.high_watermark),
                        log_start: Offset(part.fetch.log_start_offset),
                    },
                });
                State::Accepted
            }
        };
        if matches!(part.state, State::Ended(_)) {
            limits.deadline = Instant::now();
        }
    }
    let answers = fetch_wait::answers(&asks, &limits).await;
    encode_answers(version, parts, answers)
}

fn encode_answers(version: i16, parts: Vec<Part>, answers: Vec<Answer>) -> crate::api::Reply {
    let mut answers = answers.into_iter();
    let mut shared = Vec::new();
    let mut topics: Vec<FetchableTopicResponse> = Vec::new();
    for part in parts {
        let answer = match part.state {
            State::Ended(answer) => *answer,
            State::Accepted | State::Judged(..) => answers
                .next()
                .expect("one answer for each accepted position"),
        };
        shared.push(answer.records.clone());
        let data = partition_data(part.fetch.partition, version, answer);
        match topics.last_mut() {
            Some(topic) if topic.topic_id == part.topic.0 => topic.partitions.push(data),
            _ => topics.push(
                FetchableTopicResponse::default()
                    .with_topic_id(part.topic.0)
                    .with_partitions(vec![data]),
            ),
        }
    }
    let response = FetchResponse::default().with_responses(topics);
    encode_sharing(&response, version, &shared)
}

fn refusal_code(refusal: FetchRefusal) -> ResponseError {
    match refusal {
        FetchRefusal::FencedEpoch => ResponseError::FencedLeaderEpoch,
        FetchRefusal::UnknownEpoch => ResponseError::UnknownLeaderEpoch,
        FetchRefusal::NotLeader | FetchRefusal::StaleBroker => ResponseError::NotLeaderOrFollower,
    }
}
