//! What single requests are answered: errors, edges, and who may ask what where.

use std::sync::Arc;

use broker::api::{
    Context, Pending, Reply, fetch, offset_for_leader_epoch, produce, replica_fetch,
};
use bytes::Bytes;
use kafka_protocol::messages::fetch_request::{
    FetchPartition, FetchRequest, FetchTopic, ReplicaState,
};
use kafka_protocol::messages::fetch_response::{FetchResponse, PartitionData};
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::offset_for_leader_epoch_response::OffsetForLeaderEpochResponse;
use kafka_protocol::messages::{BrokerId, TopicName};
use kafka_protocol::protocol::{Decodable, StrBytes};

use crate::client::{TOPIC, batch, numbered, produce as produced, produce_request, read_all};
use crate::cluster::{Cluster, wait_for};

async fn body(pending: Pending) -> Bytes {
    match pending.await {
        Reply::Body(body) => body.into_bytes(),
        other => panic!("no answer: {other:?}"),
    }
}

fn name() -> TopicName {
    TopicName(StrBytes::from_static_str(TOPIC))
}

/// A consumer's Fetch of partition 0 that knows a leader epoch and the epoch of its last record.
async fn consume(ctx: &Arc<Context>, offset: i64, epoch: i32, last_epoch: i32) -> PartitionData {
    let partition = FetchPartition::default()
        .with_current_leader_epoch(epoch)
        .with_last_fetched_epoch(last_epoch)
        .with_fetch_offset(offset)
        .with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default()
        .with_topic(name())
        .with_partitions(vec![partition]);
    let request = FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_bytes(1 << 20)
        .with_topics(vec![topic]);
    let mut body = body(fetch::handle(ctx, 12, request)).await;
    let mut response = FetchResponse::decode(&mut body, 12).expect("a Fetch response");
    response.responses.remove(0).partitions.remove(0)
}

/// A follower's Fetch of partition 0.
async fn follow(ctx: &Arc<Context>, replica: i32, broker_epoch: i64, epoch: i32) -> FetchResponse {
    let topic_id = ctx.meta.image().topic_by_name(TOPIC).expect("created").id.0;
    let partition = FetchPartition::default()
        .with_current_leader_epoch(epoch)
        .with_last_fetched_epoch(-1)
        .with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default()
        .with_topic_id(topic_id)
        .with_partitions(vec![partition]);
    let state = ReplicaState::default()
        .with_replica_id(BrokerId(replica))
        .with_replica_epoch(broker_epoch);
    let request = FetchRequest::default()
        .with_replica_state(state)
        .with_max_bytes(1 << 20)
        .with_topics(vec![topic]);
    let mut body = body(replica_fetch::handle(ctx, 18, request)).await;
    FetchResponse::decode(&mut body, 18).expect("a Fetch response")
}

async fn epoch_end(ctx: &Arc<Context>, current: i32, asked: i32) -> (i16, i32, i64) {
    let partition = OffsetForLeaderPartition::default()
        .with_current_leader_epoch(current)
        .with_leader_epoch(asked);
    let topic = OffsetForLeaderTopic::default()
        .with_topic(name())
        .with_partitions(vec![partition]);
    let request = OffsetForLeaderEpochRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_topics(vec![topic]);
    let mut body = body(offset_for_leader_epoch::handle(ctx, 4, request)).await;
    let mut response =
        OffsetForLeaderEpochResponse::decode(&mut body, 4).expect("an answer of version 4");
    let end = response.topics.remove(0).partitions.remove(0);
    (end.error_code, end.leader_epoch, end.end_offset)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consumers_learn_of_elections_by_epochs() {
    let mut cluster = Cluster::start(1).await;
    let old = cluster.wait_leader(0).await;
    let first = cluster.view(old, 0).expect("leads").epoch.get();
    let answer = produced(cluster.ctx(old), 0, -1, batch(&numbered("a", 4), None)).await;
    assert_eq!(answer.error_code, 0);
    cluster.stop(old).await;
    cluster.controller.fence(old);
    let new = cluster.wait_leader(0).await;
    let ctx = cluster.ctx(new).clone();
    let second = cluster.view(new, 0).expect("leads").epoch.get();
    assert!(second > first);
    let answer = produced(&ctx, 0, -1, batch(&numbered("b", 3), None)).await;
    assert_eq!((answer.error_code, answer.base_offset), (0, 4));

    assert_eq!(epoch_end(&ctx, second, first).await, (0, first, 4));
    assert_eq!(epoch_end(&ctx, second, second).await, (0, second, 7));
    assert_eq!(
        epoch_end(&ctx, second, second + 1).await,
        (0, -1, -1),
        "not known"
    );
    assert_eq!(
        epoch_end(&ctx, first, first).await.0,
        74,
        "FENCED_LEADER_EPOCH"
    );
    assert_eq!(
        epoch_end(&ctx, second + 1, first).await.0,
        75,
        "UNKNOWN_LEADER_EPOCH"
    );

    assert_eq!(consume(&ctx, 0, first, -1).await.error_code, 74);
    assert_eq!(consume(&ctx, 0, second + 1, -1).await.error_code, 75);
    assert_eq!(
        consume(&ctx, 4, second, first).await.diverging_epoch.epoch,
        -1
    );
    let parted = consume(&ctx, 5, second, first).await;
    assert_eq!(
        (
            parted.diverging_epoch.epoch,
            parted.diverging_epoch.end_offset
        ),
        (first, 4)
    );
    assert_eq!(parted.records.unwrap_or_default().len(), 0);
    assert_eq!(
        consume(&ctx, 8, second, -1).await.error_code,
        1,
        "OFFSET_OUT_OF_RANGE"
    );
    assert_eq!(
        consume(&ctx, 7, second, -1).await.error_code,
        0,
        "at the end"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_are_judged_by_epoch_and_incarnation_at_their_own_door() {
    let cluster = Cluster::start(1).await;
    let leader = cluster.wait_leader(0).await;
    let ctx = cluster.ctx(leader);
    let epoch = cluster.view(leader, 0).expect("leads").epoch.get();
    let follower = leader % 3 + 1;
    let image = ctx.meta.image();
    let incarnation = image.brokers[&broker::types::BrokerId(follower)]
        .epoch
        .get();
    let code = |response: FetchResponse| response.responses[0].partitions[0].error_code;
    assert_eq!(code(follow(ctx, follower, incarnation, epoch).await), 0);
    assert_eq!(
        code(follow(ctx, follower, incarnation, epoch - 1).await),
        74
    );
    assert_eq!(
        code(follow(ctx, follower, incarnation, epoch + 1).await),
        75
    );
    assert_eq!(
        code(follow(ctx, follower, incarnation - 1, epoch).await),
        6,
        "an earlier life"
    );
    assert_eq!(code(follow(ctx, 9, 1, epoch).await), 75, "no replica");
    assert_eq!(
        follow(ctx, -1, -1, epoch).await.error_code,
        42,
        "a consumer at this door"
    );
    assert_eq!(
        follow(ctx, leader, incarnation, epoch).await.error_code,
        42,
        "itself"
    );
    // And a follower at the consumers' door.
    let request = FetchRequest::default().with_replica_id(BrokerId(follower));
    let mut body = body(fetch::handle(ctx, 12, request)).await;
    let response = FetchResponse::decode(&mut body, 12).expect("a Fetch response");
    assert_eq!(response.error_code, 42);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acks_0_is_not_answered_and_closes_the_connection_when_it_fails() {
    let cluster = Cluster::start(1).await;
    let leader = cluster.wait_leader(0).await;
    let ctx = cluster.ctx(leader);
    let request = || produce_request(0, 0, 1_000, batch(&numbered("c", 2), None));
    assert!(matches!(
        produce::handle(ctx, 9, request()).await,
        Reply::NoAnswer
    ));
    wait_for("it to be committed all the same", || {
        cluster.view(leader, 0).expect("leads").hw.get() == 2
    })
    .await;
    assert_eq!(read_all(ctx, 0, 1 << 20).await.len(), 2);
    let follower = cluster.ctx(leader % 3 + 1);
    let refused = produce::handle(follower, 9, request()).await;
    assert!(matches!(refused, Reply::Close(_)), "{refused:?}");
}

/// Every version that is served can be encoded, errors included.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_version_of_an_answer_can_be_encoded() {
    let cluster = Cluster::start(1).await;
    let leader = cluster.wait_leader(0).await;
    for ctx in [cluster.ctx(leader), cluster.ctx(leader % 3 + 1)] {
        for version in 3..=11 {
            let request = produce_request(0, 1, 1_000, batch(&numbered("d", 1), None));
            body(produce::handle(ctx, version, request)).await;
            let refused = produce_request(0, 7, 1_000, Bytes::new());
            body(produce::handle(ctx, version, refused)).await;
        }
        for version in 4..=12 {
            let partition = FetchPartition::default()
                .with_current_leader_epoch(-1)
                .with_last_fetched_epoch(-1)
                .with_partition_max_bytes(1 << 20);
            let topic = FetchTopic::default()
                .with_topic(name())
                .with_partitions(vec![partition]);
            let request = FetchRequest::default()
                .with_replica_id(BrokerId(-1))
                .with_max_bytes(1 << 20)
                .with_isolation_level(1)
                .with_topics(vec![topic]);
            body(fetch::handle(ctx, version, request)).await;
        }
        for version in 1..=7 {
            for timestamp in [-1, -2, -3, 0, i64::MAX, -9] {
                crate::client::list_offsets(ctx, version, 0, timestamp).await;
            }
        }
    }
}
