//! Reading takes no lock, and watermarks move with the data.

use std::future::Future;
use std::sync::atomic::Ordering;
use std::time::Duration;

use broker::api::{metadata, offset_for_leader_epoch};
use broker::locks;
use kafka_protocol::messages::{MetadataRequest, OffsetForLeaderEpochRequest};
use tokio::time::Instant;

use crate::client::{Read, batch, list_offsets, numbered, produce, read, values};
use crate::cluster::{Cluster, wait_for};

/// Runs `work` on this thread, and counts the locks that it takes.
async fn locks_of<T>(work: impl Future<Output = T>) -> (T, u64) {
    let before = locks::taken_here();
    let done = work.await;
    (done, locks::taken_here() - before)
}

/// `block_on` polls a test's own future on the test's thread, where nothing else runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fetching_and_asking_for_offsets_and_metadata_take_no_lock() {
    let cluster = Cluster::start(1).await;
    let leader = cluster.wait_leader(0).await;
    let ctx = cluster.ctx(leader);
    let (_, taken) =
        locks_of(async { drop(locks::Mutex::new(locks::Lock::TopicIds, ()).lock()) }).await;
    assert_eq!(taken, 1, "the counter counts");
    let appended = produce(ctx, 0, -1, batch(&numbered("a", 50), None)).await;
    assert_eq!(appended.error_code, 0);

    let at = |offset, max_wait_ms| Read {
        partition: 0,
        offset,
        max_wait_ms,
        max_bytes: 1 << 20,
    };
    let (data, taken) = locks_of(read(ctx, at(0, 0))).await;
    assert_eq!((values(&data).len(), taken), (50, 0), "a fetch");
    // This one registers, sleeps, and is woken by nothing but its deadline.
    let (data, taken) = locks_of(read(ctx, at(50, 50))).await;
    assert_eq!((values(&data).len(), taken), (0, 0), "a long poll");
    let (latest, taken) = locks_of(list_offsets(ctx, 7, 0, -1)).await;
    assert_eq!((latest, taken), ((0, 50), 0), "the end");
    let (found, taken) = locks_of(list_offsets(ctx, 7, 0, 1_000)).await;
    assert_eq!((found.0, taken), (0, 0), "by time");
    let all = MetadataRequest::default().with_topics(None);
    let (_, taken) = locks_of(metadata::handle(ctx, 12, all)).await;
    assert_eq!(taken, 0, "metadata");
    let epochs = OffsetForLeaderEpochRequest::default();
    let (_, taken) = locks_of(offset_for_leader_epoch::handle(ctx, 4, epochs)).await;
    assert_eq!(taken, 0, "epochs");
}

/// A follower's idle poll lasts a minute here, and leaders tick five times a second: whatever
/// waited for a period would show.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watermarks_move_with_batches_of_5000_on_many_partitions_and_wait_for_no_period() {
    const PARTITIONS: i32 = 60;
    const BATCH: usize = 5_000;
    let cluster =
        Cluster::start_with(PARTITIONS, Default::default(), Duration::from_secs(60)).await;
    let records = batch(&numbered("x", BATCH), None);
    for partition in 0..PARTITIONS {
        cluster.wait_leader(partition).await;
    }
    let begun = Instant::now();
    for partition in 0..PARTITIONS {
        let leader = cluster.wait_leader(partition).await;
        let ctx = cluster.ctx(leader);
        let answer = produce(ctx, partition, -1, records.clone()).await;
        assert_eq!(answer.error_code, 0, "{:?}", answer.error_message);
        // What is acknowledged is readable at once, without waiting.
        let end = i64::try_from(BATCH).expect("small");
        assert_eq!(list_offsets(ctx, 7, partition, -1).await, (0, end));
        let last = Read {
            partition,
            offset: end - 1,
            max_wait_ms: 0,
            max_bytes: 1,
        };
        assert_eq!(values(&read(ctx, last).await).len(), BATCH, "one batch");
    }
    let each = begun.elapsed() / u32::try_from(PARTITIONS).expect("small");
    assert!(
        each < Duration::from_millis(100),
        "half a tick; it took {each:?}"
    );
}

/// Nobody can fetch from the leader, and it cannot reach the controller to say so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watermark_that_stands_still_and_a_follower_far_behind_ring_until_they_are_well() {
    let cluster = Cluster::start(1).await;
    let leader = cluster.wait_leader(0).await;
    let ctx = cluster.ctx(leader);
    cluster.gate(leader, true);
    cluster.controller.cut(leader);
    // The polls that are under way end with the first.
    for name in ["a", "b"] {
        let appended = produce(ctx, 0, 1, batch(&numbered(name, 6), None)).await;
        assert_eq!(appended.error_code, 0);
    }
    let led = || {
        let view = cluster.view(leader, 0).expect("a replica");
        view.leadership.clone().expect("it leads")
    };
    wait_for("both alarms", || led().is_stalled && led().behind == 2).await;
    let alarms = ctx.replicas.alarms();
    assert_eq!(
        alarms.stalled.load(Ordering::Relaxed),
        1,
        "once, not with every look"
    );
    assert_eq!(alarms.behind.load(Ordering::Relaxed), 2, "once for each");
    cluster.controller.heal(leader);
    cluster.gate(leader, false);
    wait_for("the alarms to end", || {
        !led().is_stalled && led().behind == 0
    })
    .await;
}
