//! With faults: elections, divergence, the ISR, and what must not be acknowledged.

use std::time::Duration;

use broker::api::produce as produce_api;

use crate::client::{batch, list_offsets, numbered, produce, produce_request, produced, read_all};
use crate::cluster::{Cluster, wait_for};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_leader_is_replaced_without_loss_and_comes_back_as_a_follower() {
    let mut cluster = Cluster::start(1).await;
    let old = cluster.wait_leader(0).await;
    let answer = produce(cluster.ctx(old), 0, -1, batch(&numbered("h", 10), None)).await;
    assert_eq!(answer.error_code, 0);
    cluster.stop(old).await;
    cluster.controller.fence(old);
    let new = cluster.wait_leader(0).await;
    let answer = produce(cluster.ctx(new), 0, -1, batch(&numbered("i", 5), None)).await;
    assert_eq!((answer.error_code, answer.base_offset), (0, 10));
    cluster.restart(old).await;
    wait_for("the restarted broker to be in the ISR again", || {
        cluster.controller.isr(0) == [1, 2, 3]
    })
    .await;
    wait_for("the restarted broker to have everything", || {
        let view = cluster.view(old, 0).expect("a replica");
        (view.end().get(), view.hw.get()) == (15, 15)
    })
    .await;
    let all = read_all(cluster.ctx(new), 0, 1 << 20).await;
    assert_eq!(all.len(), 15);
}

/// Part leader, elect, heal: what the old leader alone had is truncated, its waiters fail and
/// never complete, and all three logs end up equal.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_isolated_leader_loses_its_tail_and_acknowledges_nothing_of_it() {
    let cluster = Cluster::start(1).await;
    let old = cluster.wait_leader(0).await;
    let answer = produce(cluster.ctx(old), 0, -1, batch(&numbered("j", 4), None)).await;
    assert_eq!(answer.error_code, 0);
    cluster.gate(old, true);
    cluster.controller.cut(old);
    // Each of these is in the old leader's log only.
    let tail = batch(&numbered("lost", 3), None);
    let waiting = produce_api::handle(
        cluster.ctx(old),
        9,
        produce_request(0, -1, 60_000, tail.clone()),
    );
    let waiting = tokio::spawn(produced(waiting));
    assert_eq!(
        produce(cluster.ctx(old), 0, 1, tail).await.error_code,
        0,
        "acks=1 needs no other"
    );
    cluster.controller.fence(old);
    let new = cluster.wait_leader(0).await;
    assert_ne!(new, old);
    let answer = produce(cluster.ctx(new), 0, -1, batch(&numbered("kept", 2), None)).await;
    assert_eq!((answer.error_code, answer.base_offset), (0, 4));
    assert_eq!(
        cluster.view(old, 0).expect("a replica").hw.get(),
        4,
        "not visible there"
    );
    // Healed: it hears of its successor.
    cluster.gate(old, false);
    cluster.controller.heal(old);
    cluster.controller.unfence(old);
    let failed = waiting.await.expect("no panic");
    assert_eq!(
        failed.error_code, 6,
        "the leadership ended: {:?}",
        failed.error_message
    );
    wait_for("equal logs and a full ISR", || {
        let ends = (1..=3).map(|id| cluster.view(id, 0).expect("a replica").end().get());
        ends.eq([6, 6, 6]) && cluster.controller.isr(0) == [1, 2, 3]
    })
    .await;
    cluster.controller.fence(new);
    let third = cluster.wait_leader(0).await;
    wait_for("its watermark", || {
        cluster.view(third, 0).expect("leads").hw.get() == 6
    })
    .await;
    let kept = read_all(cluster.ctx(third), 0, 1 << 20).await;
    let kept: Vec<_> = kept.into_iter().map(|(_, value)| value).collect();
    assert_eq!(kept, [numbered("j", 4), numbered("kept", 2)].concat());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_follower_leaves_the_isr_and_a_lone_leader_refuses_acks_all() {
    let mut cluster = Cluster::start(1).await;
    let leader = cluster.wait_leader(0).await;
    let followers: Vec<_> = (1..=3).filter(|id| *id != leader).collect();
    let ctx = cluster.ctx(leader).clone();
    assert_eq!(
        produce(&ctx, 0, -1, batch(&numbered("k", 1), None))
            .await
            .error_code,
        0
    );
    // Not fenced, only silent: it leaves for its lag, and what waited for it is committed then.
    cluster.stop(followers[0]).await;
    assert_eq!(
        produce(&ctx, 0, -1, batch(&numbered("l", 1), None))
            .await
            .error_code,
        0
    );
    let mut left = vec![leader, followers[1]];
    left.sort_unstable();
    assert_eq!(cluster.controller.isr(0), left);
    // The second one: the ISR may not be smaller than this for acks=all.
    cluster.stop(followers[1]).await;
    let records = batch(&numbered("m", 1), None);
    let request = produce_request(0, -1, 300, records);
    let answer = produced(produce_api::handle(&ctx, 9, request)).await;
    assert_eq!(answer.error_code, 7, "it may be committed later");
    wait_for("the leader to be alone", || {
        cluster.controller.isr(0) == [leader]
    })
    .await;
    wait_for("the leader to know it", || {
        let view = cluster.view(leader, 0).expect("leads");
        view.leadership.as_ref().is_some_and(|l| l.isr.len() == 1)
    })
    .await;
    let answer = produce(&ctx, 0, -1, batch(&numbered("n", 1), None)).await;
    assert_eq!(
        answer.error_code, 19,
        "NOT_ENOUGH_REPLICAS: {:?}",
        answer.error_message
    );
    assert_eq!(
        produce(&ctx, 0, 1, batch(&numbered("o", 1), None))
            .await
            .error_code,
        0
    );
    let view = cluster.view(leader, 0).expect("leads");
    assert_eq!(
        (view.hw.get(), view.end().get()),
        (2, 4),
        "frozen for everybody"
    );
    // They come back: everything is committed.
    cluster.restart(followers[0]).await;
    cluster.restart(followers[1]).await;
    wait_for("a full ISR", || cluster.controller.isr(0) == [1, 2, 3]).await;
    wait_for("the watermark at the end", || {
        let view = cluster.view(leader, 0).expect("leads");
        view.hw.get() == 4
    })
    .await;
}

/// A new leader whose watermark is stale does not let the latest offset go backwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_leader_does_not_tell_a_stale_end() {
    let mut cluster = Cluster::start(1).await;
    let old = cluster.wait_leader(0).await;
    let answer = produce(cluster.ctx(old), 0, -1, batch(&numbered("p", 3), None)).await;
    assert_eq!(answer.error_code, 0);
    // In the followers' logs, but no follower can tell the leader: not committed.
    let successor = (1..=3).find(|id| *id != old).expect("another");
    let request = produce_request(0, -1, 60_000, batch(&numbered("q", 2), None));
    let waiting = tokio::spawn(produced(produce_api::handle(cluster.ctx(old), 9, request)));
    wait_for("the successor to have it", || {
        cluster.view(successor, 0).expect("a replica").end().get() == 5
    })
    .await;
    cluster.stop(old).await;
    assert!([0, 6].contains(&waiting.await.expect("no panic").error_code));
    // The successor will be alone with a stale watermark: nobody can fetch from it.
    for id in 1..=3 {
        cluster.gate(id, true);
    }
    cluster.controller.fence(old);
    let new = cluster.wait_leader(0).await;
    let view = cluster.view(new, 0).expect("leads");
    if view.is_hw_stale() {
        assert_eq!(list_offsets(cluster.ctx(new), 5, 0, -1).await.0, 78);
        assert_eq!(list_offsets(cluster.ctx(new), 4, 0, -1).await.0, 5);
    }
    for id in 1..=3 {
        cluster.gate(id, false);
    }
    wait_for("the watermark to reach the epoch's start", || {
        !cluster.view(new, 0).expect("leads").is_hw_stale()
    })
    .await;
    let latest = list_offsets(cluster.ctx(new), 5, 0, -1).await;
    assert!(latest == (0, 5), "{latest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_records_survive_a_chain_of_failovers_under_load() {
    let mut cluster = Cluster::start(2).await;
    let mut acknowledged: Vec<(i64, String)> = Vec::new();
    let mut at = 0;
    for round in 0..6 {
        let leader = cluster.wait_leader(0).await;
        let ctx = cluster.ctx(leader).clone();
        let mut pending = Vec::new();
        for _ in 0..20 {
            let values = numbered(&format!("r{round}-{at}"), 3);
            at += 1;
            let request = produce_request(0, -1, 3_000, batch(&values, None));
            let answer = produced(produce_api::handle(&ctx, 9, request));
            pending.push((values, tokio::spawn(answer)));
        }
        if round % 2 == 0 {
            cluster.stop(leader).await;
        } else {
            cluster.gate(leader, true);
        }
        cluster.controller.fence(leader);
        for (values, answer) in pending {
            let answer = answer.await.expect("no panic");
            if answer.error_code == 0 {
                acknowledged.extend((answer.base_offset..).zip(values));
            }
        }
        drop(ctx);
        cluster.wait_leader(0).await;
        if round % 2 == 0 {
            cluster.restart(leader).await;
        } else {
            cluster.gate(leader, false);
            cluster.controller.unfence(leader);
        }
        wait_for("a full ISR", || cluster.controller.isr(0) == [1, 2, 3]).await;
    }
    let leader = cluster.wait_leader(0).await;
    wait_for("everything to be committed", || {
        let view = cluster.view(leader, 0).expect("leads");
        view.hw == view.end()
    })
    .await;
    let all = read_all(cluster.ctx(leader), 0, 4_000).await;
    for (offset, value) in &acknowledged {
        let index = usize::try_from(*offset).expect("positive");
        assert_eq!(
            all.get(index).map(|(_, v)| v),
            Some(value),
            "at offset {offset}"
        );
    }
    tokio::time::timeout(Duration::from_secs(20), cluster.stop(leader))
        .await
        .expect("it stops");
}
