//! Without faults: records and watermarks flow.

use std::time::Duration;

use broker::api::produce as produce_api;
use tokio::time::Instant;

use crate::client::{
    Producer, Read, batch, list_offsets, numbered, produce, produce_request, produced, read,
    read_all, values,
};
use crate::cluster::{Cluster, wait_for};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acks_all_means_that_every_replica_has_it_and_watermarks_do_not_wait_for_a_poll() {
    // A follower's idle poll lasts longer than this test has patience.
    let wait = Duration::from_secs(60);
    let cluster = Cluster::start_with(3, Default::default(), wait).await;
    for partition in 0..3 {
        let leader = cluster.wait_leader(partition).await;
        let begun = Instant::now();
        let answer = produce(
            cluster.ctx(leader),
            partition,
            -1,
            batch(&numbered("a", 5), None),
        );
        let answer = answer.await;
        assert_eq!(
            (answer.error_code, answer.base_offset),
            (0, 0),
            "{:?}",
            answer.error_message
        );
        for id in 1..=3 {
            let view = cluster.view(id, partition).expect("a replica");
            assert_eq!(
                view.end().get(),
                5,
                "broker {id} holds what was acknowledged"
            );
        }
        wait_for("the followers' watermarks", || {
            (1..=3).all(|id| cluster.view(id, partition).expect("a replica").hw.get() == 5)
        })
        .await;
        assert!(begun.elapsed() < Duration::from_secs(10));
        assert_eq!(
            list_offsets(cluster.ctx(leader), 7, partition, -1).await,
            (0, 5)
        );
        assert_eq!(
            list_offsets(cluster.ctx(leader), 7, partition, -2).await,
            (0, 0)
        );
        assert_eq!(
            list_offsets(cluster.ctx(leader), 7, partition, 1_003).await,
            (0, 0)
        );
        let follower = leader % 3 + 1;
        assert_eq!(
            list_offsets(cluster.ctx(follower), 7, partition, -1)
                .await
                .0,
            6
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_batches_keep_their_order_and_pages_of_any_size_skip_nothing() {
    let cluster = Cluster::start(1).await;
    let leader = cluster.wait_leader(0).await;
    let ctx = cluster.ctx(leader);
    let mut pending = Vec::new();
    for at in 0..200 {
        let acks = [-1, 1][at % 2];
        let records = batch(&numbered(&format!("b{at}"), 1 + at % 7), None);
        pending.push(produce_api::handle(
            ctx,
            9,
            produce_request(0, acks, 10_000, records),
        ));
    }
    let mut expected = Vec::new();
    for (at, pending) in pending.into_iter().enumerate() {
        let answer = produced(pending).await;
        assert_eq!(answer.error_code, 0);
        assert_eq!(
            answer.base_offset,
            i64::try_from(expected.len()).expect("small")
        );
        expected.extend(numbered(&format!("b{at}"), 1 + at % 7));
    }
    wait_for("everything to be committed", || {
        let view = cluster.view(leader, 0).expect("leads");
        view.hw == view.end()
    })
    .await;
    for max_bytes in [1, 100, 1_000, 1 << 20] {
        let read = read_all(ctx, 0, max_bytes).await;
        let offsets: Vec<_> = read.iter().map(|(offset, _)| *offset).collect();
        let all: Vec<_> = (0..).take(expected.len()).collect();
        assert_eq!(offsets, all, "with pages of {max_bytes} bytes");
        let values: Vec<_> = read.into_iter().map(|(_, value)| value).collect();
        assert_eq!(values, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fetch_at_the_end_waits_and_is_woken_by_the_commit() {
    let cluster = Cluster::start(1).await;
    let leader = cluster.wait_leader(0).await;
    let ctx = cluster.ctx(leader).clone();
    let at_end = |offset, max_wait_ms| Read {
        partition: 0,
        offset,
        max_wait_ms,
        max_bytes: 1000,
    };
    let idle = read(&ctx, at_end(0, 50)).await;
    assert_eq!((idle.error_code, values(&idle).len()), (0, 0));
    assert_eq!(
        read(&ctx, at_end(1, 0)).await.error_code,
        1,
        "beyond the end"
    );
    let begun = Instant::now();
    let waiting = tokio::spawn({
        let ctx = ctx.clone();
        async move { read(&ctx, at_end(0, 30_000)).await }
    });
    wait_for("the fetch to be parked", || {
        let routing = ctx.replicas.routing();
        routing.partitions().any(|partition| partition.parked() > 2)
    })
    .await;
    assert_eq!(
        produce(&ctx, 0, -1, batch(&numbered("c", 1), None))
            .await
            .error_code,
        0
    );
    let woken = waiting.await.expect("no panic");
    assert_eq!(values(&woken), vec![(0, "c-0".to_owned())]);
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_batch_gets_its_first_offset_also_from_the_next_leader() {
    let mut cluster = Cluster::start(1).await;
    let old = cluster.wait_leader(0).await;
    let producer = |sequence| {
        Some(Producer {
            id: 77,
            epoch: 0,
            sequence,
        })
    };
    let first = batch(&numbered("d", 3), producer(0));
    let second = batch(&numbered("e", 2), producer(3));
    for records in [&first, &second, &first] {
        let answer = produce(cluster.ctx(old), 0, -1, records.clone()).await;
        assert_eq!(answer.error_code, 0);
    }
    let gap = produce(
        cluster.ctx(old),
        0,
        -1,
        batch(&numbered("f", 1), producer(9)),
    )
    .await;
    assert_eq!(gap.error_code, 45, "OUT_OF_ORDER_SEQUENCE_NUMBER");
    cluster.stop(old).await;
    cluster.controller.fence(old);
    let new = cluster.wait_leader(0).await;
    assert_ne!(new, old);
    let again = produce(cluster.ctx(new), 0, -1, second).await;
    assert_eq!(
        (again.error_code, again.base_offset),
        (0, 3),
        "the original's offset"
    );
    let next = produce(
        cluster.ctx(new),
        0,
        -1,
        batch(&numbered("f", 1), producer(5)),
    )
    .await;
    assert_eq!((next.error_code, next.base_offset), (0, 5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_request_is_said_and_costs_nobody_else_anything() {
    let cluster = Cluster::start(2).await;
    let leader = cluster.wait_leader(0).await;
    let ctx = cluster.ctx(leader);
    let sound = batch(&numbered("g", 1), None);
    let mut flipped = sound.to_vec();
    *flipped.last_mut().expect("bytes") ^= 1;
    assert_eq!(
        produce(ctx, 0, -1, flipped.into()).await.error_code,
        2,
        "CORRUPT_MESSAGE"
    );
    assert_eq!(
        produce(ctx, 9, -1, sound.clone()).await.error_code,
        3,
        "no such partition"
    );
    assert_eq!(
        produce(ctx, 0, 5, sound.clone()).await.error_code,
        21,
        "acks 5"
    );
    let follower = leader % 3 + 1;
    let misled = produce(cluster.ctx(follower), 0, -1, sound.clone()).await;
    assert_eq!(misled.error_code, 6, "NOT_LEADER_OR_FOLLOWER");
    let answer = produce(ctx, 0, -1, sound).await;
    assert_eq!((answer.error_code, answer.base_offset), (0, 0));
}
