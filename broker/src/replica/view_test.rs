use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use bytes::BytesMut;
use kafka_protocol::records::{
    Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use tokio::sync::Notify;

use super::*;
use crate::log::{LogConfig, LogStore, PartitionLog, ProducedBatch};
use crate::replica::waiters::Seen;
use crate::storage::memory::MemoryStorage;
use crate::types::TopicId;

/// A log of single-record batches in memory.
struct Fixture {
    store: LogStore,
    log: PartitionLog,
}

impl Fixture {
    fn new(records: usize) -> Self {
        let storage = Arc::new(MemoryStorage::new());
        let config = LogConfig::new(PathBuf::from("/log"));
        let fatal = Box::new(|why: &str| panic!("{why}"));
        let store = LogStore::open_manual(config, storage, fatal).expect("an empty log");
        let tp = TopicPartition {
            topic: TopicId(uuid::Uuid::from_u128(1)),
            partition: 0,
        };
        let log = store.partition(tp, Arc::new(|| {})).expect("new");
        let mut fixture = Self { store, log };
        for _ in 0..records {
            fixture.append();
        }
        fixture
    }

    fn append(&mut self) {
        let record = Record {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: -1,
            producer_id: -1,
            producer_epoch: -1,
            timestamp_type: TimestampType::Creation,
            offset: 0,
            sequence: -1,
            timestamp: 1,
            key: None,
            value: Some(vec![b'x'; 100].into()),
            headers: Default::default(),
        };
        let mut bytes = BytesMut::new();
        let options = RecordEncodeOptions {
            version: 2,
            compression: Compression::None,
        };
        RecordBatchEncoder::encode(&mut bytes, [&record], &options).expect("encodes");
        let batch = ProducedBatch::validate(bytes.freeze(), 1 << 20).expect("sound");
        self.log.append(LeaderEpoch(1), &batch).expect("appended");
        while self.store.commit_pending() {}
    }

    /// The view of a leader with this watermark.
    fn view(&self, hw: i64, epoch_start: i64, visible: i64, bugs: BugSet) -> PartitionView {
        let parts = ViewParts {
            leader: Some(BrokerId(1)),
            epoch: LeaderEpoch(1),
            partition_epoch: PartitionEpoch(1),
            leadership: Some(LeadershipView {
                epoch_start: Offset(epoch_start),
                isr: vec![BrokerId(1)],
                min_isr: 1,
                followers: Vec::new(),
                is_stalled: false,
                behind: 0,
            }),
            position: None,
            hw: Offset(hw),
            visible_hw: Offset(visible),
            held_end: self.log.held_end(),
            log: self.log.snapshot(),
        };
        PartitionView::new(parts, bugs)
    }
}

#[test]
fn consumers_read_below_the_watermark_and_followers_to_the_end() {
    let view = Fixture::new(5).view(3, 0, 3, BugSet::NONE);
    let end = |isolation| {
        let bound = view.bound(isolation);
        let records = bound.read(Offset(0), 1 << 20, true).expect("readable");
        assert_eq!(records.next_offset, bound.up_to());
        records.next_offset.get()
    };
    assert_eq!(end(Isolation::ReadUncommitted), 3);
    assert_eq!(end(Isolation::ReadCommitted), 3);
    assert_eq!(end(Isolation::Replica), 5);
    let bound = view.bound(Isolation::ReadUncommitted);
    assert_eq!(bound.available(Offset(3), 1), 0);
    assert!(bound.available(Offset(2), 1) > 0);
    let above = bound
        .read(Offset(4), 1 << 20, true)
        .expect("no error above the watermark");
    assert_eq!(above.size, 0);
}

#[test]
fn m01_shows_consumers_the_end_of_the_log() {
    let bugs = BugSet::NONE.with(SeededBug::HwIsLeo);
    let view = Fixture::new(5).view(3, 0, 3, bugs);
    assert_eq!(view.bound(Isolation::ReadUncommitted).up_to(), Offset(5));
}

#[test]
fn m02_refreshes_what_consumers_see_every_five_seconds() {
    let fixture = Fixture::new(5);
    let log = fixture.log.snapshot();
    let at = Duration::from_millis;
    let stale = BugSet::NONE.with(SeededBug::HwSync5s);
    let mut hw = VisibleHw::new(Offset(0), at(0));
    assert_eq!(hw.see(Offset(3), &log, at(4_999), stale), Offset(0));
    assert_eq!(hw.see(Offset(4), &log, at(5_000), stale), Offset(4));
    assert_eq!(hw.see(Offset(5), &log, at(9_000), stale), Offset(4));
    let mut hw = VisibleHw::new(Offset(0), at(0));
    assert_eq!(
        hw.see(Offset(3), &log, at(1), BugSet::NONE),
        Offset(3),
        "at once"
    );
}

#[test]
fn a_watermark_below_the_start_of_the_epoch_is_stale() {
    let fixture = Fixture::new(5);
    assert!(fixture.view(3, 4, 3, BugSet::NONE).is_hw_stale());
    assert!(!fixture.view(4, 4, 4, BugSet::NONE).is_hw_stale());
}

#[test]
fn m42_tells_a_stale_watermark_for_the_end() {
    let fixture = Fixture::new(5);
    let bugs = BugSet::NONE.with(SeededBug::LatestBeforeLeso);
    assert!(!fixture.view(3, 4, 3, bugs).is_hw_stale());
}

#[test]
fn m43_refuses_a_position_that_is_not_wrong() {
    let fixture = Fixture::new(5);
    let bugs = BugSet::NONE.with(SeededBug::RangeErrorAboveHw);
    let refused = [BugSet::NONE, bugs].map(|bugs| {
        let view = fixture.view(3, 0, 3, bugs);
        [2, 3, 4, 5, 6].map(|offset| view.is_out_of_range(Offset(offset)))
    });
    assert_eq!(refused[0], [false, false, false, false, true]);
    assert_eq!(refused[1], [false, false, true, true, true]);
}

/// A view is published between a reader's look and its registration.
#[test]
fn m45_sleeps_through_what_was_published_before_it_registered() {
    let fixture = Fixture::new(5);
    let noticed = [BugSet::NONE, BugSet::NONE.with(SeededBug::LostWakeup)].map(|bugs| {
        let isolation = Isolation::ReadUncommitted;
        let seen = Seen::of(&fixture.view(3, 0, 3, bugs), isolation);
        let published = fixture.view(4, 0, 4, bugs);
        let published: Published = Arc::new(Publication::new(Arc::new(published), SWEEP_FROM));
        published
            .park(seen, &Arc::new(Notify::new()))
            .is_news_to(seen)
    });
    assert_eq!(noticed, [true, false]);
}

#[test]
fn leaders_are_checked_by_epoch_first() {
    let view = Fixture::new(0).view(0, 0, 0, BugSet::NONE);
    assert_eq!(view.check_leader(-1), Ok(()));
    assert_eq!(view.check_leader(1), Ok(()));
    assert_eq!(view.check_leader(0), Err(ResponseError::FencedLeaderEpoch));
    assert_eq!(view.check_leader(2), Err(ResponseError::UnknownLeaderEpoch));
}

#[test]
#[should_panic(expected = "ViewOrdered")]
fn a_view_whose_watermark_is_beyond_what_is_held_is_never_published() {
    let _ = Fixture::new(2).view(3, 0, 3, BugSet::NONE);
}

/// A parked fetch looks at the view after it registered, a publisher wakes after it stored: with
/// both in a tight race nobody sleeps through a change.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_wake_up_is_lost_between_registering_and_publishing() {
    const ROUNDS: i64 = 2_000;
    let fixture = Fixture::new(1);
    let log = fixture.log.snapshot();
    let first = Arc::new(fixture.view(0, 0, 0, BugSet::NONE));
    let published: Published = Arc::new(Publication::new(first, SWEEP_FROM));
    let seen_round = Arc::new(AtomicI64::new(0));
    let done = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn({
        let published = Arc::clone(&published);
        let (seen_round, done) = (Arc::clone(&seen_round), Arc::clone(&done));
        async move {
            while !done.load(Ordering::Acquire) {
                let view = published.load();
                seen_round.store(i64::from(view.epoch.get()), Ordering::Release);
                let wake = Arc::new(Notify::new());
                let seen = Seen::of(&view, Isolation::ReadUncommitted);
                if !published.park(seen, &wake).is_news_to(seen) {
                    let woken = tokio::time::timeout(Duration::from_secs(20), wake.notified());
                    woken.await.expect("a wake-up was lost");
                }
            }
        }
    });
    for round in 1..=ROUNDS {
        let view = PartitionView {
            epoch: LeaderEpoch(i32::try_from(round).expect("small")),
            log: log.clone(),
            ..fixture.view(0, 0, 0, BugSet::NONE)
        };
        if round == ROUNDS {
            done.store(true, Ordering::Release);
        }
        published.publish(Arc::new(view));
        while round % 8 != 0 && round < ROUNDS && seen_round.load(Ordering::Acquire) < round {
            tokio::task::yield_now().await;
        }
    }
    reader.await.expect("every change was seen");
    assert!(published.parked() <= 1, "who was woken is forgotten");
}
