//! One thing at a time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use bytes::Bytes;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::support::{
    ModelLog, assert_like, batch, batch_of, config, healthy, open, produced, read_all, stored,
    take, tp,
};
use crate::exec;
use crate::log::{AppendError, LogConfig, LogStore, OpenError, PartitionError, ReadError};
use crate::storage::memory::{Crash, MemoryStorage};
use crate::types::{BrokerEpoch, Durability, LeaderEpoch, Offset};

const EPOCH: LeaderEpoch = LeaderEpoch(3);

#[test]
fn appended_batches_come_back_byte_for_byte_with_offset_and_epoch_set() {
    let store = healthy(&MemoryStorage::new());
    let mut log = take(&store, tp(1, 0));
    let (first, second) = (batch(1, 3, 10), batch(2, 2, 10));
    let appended = log.append(EPOCH, &produced(&first)).unwrap();
    assert_eq!((appended.base_offset, appended.end), (Offset(0), Offset(3)));
    let appended = log.append(EPOCH, &produced(&second)).unwrap();
    assert_eq!((appended.base_offset, appended.end), (Offset(3), Offset(5)));
    let expected = [stored(&first, 0, 3), stored(&second, 3, 3)].concat();
    assert_eq!(read_all(&log.snapshot(), 1 << 20), expected);
    assert_eq!(
        expected[17..stored(&first, 0, 3).len()],
        first[17..],
        "CRC and all after it"
    );
}

#[test]
fn an_append_is_held_when_it_was_committed_and_the_owner_hears_of_it_once_a_group() {
    let store = healthy(&MemoryStorage::new());
    let told = Arc::new(AtomicUsize::new(0));
    let count = told.clone();
    let on_held = move || {
        count.fetch_add(1, Ordering::Relaxed);
    };
    let mut log = store.partition(tp(1, 0), Arc::new(on_held)).unwrap();
    for serial in 0..5 {
        log.append(EPOCH, &produced(&batch(serial, 2, 10))).unwrap();
    }
    assert_eq!((log.held_end(), log.written_end()), (Offset(0), Offset(10)));
    assert!(!log.is_settled());
    store.commit_pending();
    assert_eq!(
        (log.held_end(), log.durable_end()),
        (Offset(10), Offset(10))
    );
    assert!(log.is_settled());
    assert_eq!(told.load(Ordering::Relaxed), 1);
    assert_eq!(store.metrics().group_frames.snapshot().sum, 5);
    assert_eq!(
        store.metrics().fsync_micros.snapshot().count,
        1,
        "one fdatasync for all"
    );
}

#[test]
fn a_replicated_log_holds_what_was_written_and_syncs_whole_files() {
    let disk = MemoryStorage::new();
    let settings = LogConfig {
        durability: Durability::Replicated,
        ..config(4096)
    };
    let (store, _) = open(&disk, settings).unwrap();
    let mut log = take(&store, tp(1, 0));
    log.append(EPOCH, &produced(&batch(1, 1, 1000))).unwrap();
    store.commit_pending();
    assert_eq!((log.held_end(), log.durable_end()), (Offset(1), Offset(0)));
    for serial in 0..4 {
        log.append(EPOCH, &produced(&batch(serial, 1, 1000)))
            .unwrap();
        store.commit_pending();
    }
    assert_eq!(log.held_end(), Offset(5));
    assert!(
        log.durable_end() >= Offset(3),
        "the first file is full and synced"
    );
    drop(log);
    store.close(BrokerEpoch(1)).unwrap();
    drop(store);
    disk.crash(Crash::LoseUnsynced, &mut ChaCha8Rng::seed_from_u64(1));
    assert_eq!(
        take(&healthy(&disk), tp(1, 0)).written_end(),
        Offset(5),
        "close syncs"
    );
}

#[test]
fn truncation_takes_back_what_older_frames_would_claim() {
    let store = healthy(&MemoryStorage::new());
    let mut log = take(&store, tp(1, 0));
    let mut model = ModelLog::default();
    for serial in 0..10 {
        let bytes = batch(serial, 2, 30);
        log.append(EPOCH, &produced(&bytes)).unwrap();
        model.append(3, &bytes);
    }
    assert_eq!(
        log.truncate(Offset(13)).unwrap(),
        Offset(12),
        "a batch goes as a whole"
    );
    model.truncate(13);
    assert_eq!(model.end, 12);
    store.commit_pending();
    assert_eq!(
        (log.held_end(), log.written_end()),
        (Offset(12), Offset(12))
    );
    let bytes = batch(99, 4, 30);
    log.append(LeaderEpoch(4), &produced(&bytes)).unwrap();
    model.append(4, &bytes);
    assert_eq!(log.held_end(), Offset(12));
    assert_like(&log, &model, 100);
    assert_eq!(
        log.truncate(Offset(50)).unwrap(),
        Offset(16),
        "above the end: nothing"
    );
}

#[test]
fn a_follower_takes_only_what_continues_its_log() {
    let store = healthy(&MemoryStorage::new());
    let mut log = take(&store, tp(1, 0));
    let (first, second) = (
        stored(&batch(1, 3, 10), 0, 3),
        stored(&batch(2, 2, 10), 3, 5),
    );
    let both = Bytes::from([&first[..], &second[..]].concat());
    assert_eq!(log.append_as_follower(&both).unwrap().end, Offset(5));
    assert_eq!(log.last_epoch(), Some(LeaderEpoch(5)));
    assert_eq!(log.end_offset_for(LeaderEpoch(4)).end, Offset(3));

    let gap = stored(&batch(3, 1, 10), 6, 5);
    let again = log.append_as_follower(&gap);
    assert!(
        matches!(again, Err(AppendError::NotContiguous { .. })),
        "{again:?}"
    );
    let older = stored(&batch(3, 1, 10), 5, 4);
    let older = log.append_as_follower(&older);
    assert!(
        matches!(older, Err(AppendError::EpochGoesBack { .. })),
        "{older:?}"
    );
    let mut flipped = stored(&batch(3, 1, 10), 5, 5).to_vec();
    *flipped.last_mut().unwrap() ^= 1;
    let flipped = log.append_as_follower(&flipped.into()).unwrap_err();
    assert_eq!(flipped.code(), 2, "{flipped}");
    let cut = stored(&batch(3, 1, 10), 5, 5).slice(..80);
    assert_eq!(log.append_as_follower(&cut).unwrap_err().code(), 2);
    assert_eq!(log.written_end(), Offset(5), "all or nothing");
}

#[test]
fn a_log_can_begin_inside_a_batch() {
    let disk = MemoryStorage::new();
    let store = healthy(&disk);
    let mut log = take(&store, tp(1, 0));
    let bytes = stored(&batch(1, 10, 5), 0, 3);
    log.restart_at(Offset(4)).unwrap();
    let below = stored(&batch(1, 4, 5), 0, 3);
    let below = log.append_as_follower(&below);
    assert!(
        matches!(below, Err(AppendError::NotContiguous { .. })),
        "it must reach above"
    );
    log.append_as_follower(&bytes).unwrap();
    let mut model = ModelLog {
        log_start: 4,
        end: 10,
        batches: vec![(0, 10, 3, bytes.clone())],
    };
    assert_like(&log, &model, 100);
    assert_eq!(log.truncate(Offset(7)).unwrap(), Offset(4));
    model.truncate(7);
    assert_like(&log, &model, 100);
    let later = stored(&bytes, 0, 4);
    log.append_as_follower(&later).unwrap();
    model.batches = vec![(0, 10, 4, later)];
    model.end = 10;
    assert_like(&log, &model, 100);
    store.commit_pending();
    drop((log, store));
    assert_like(&take(&healthy(&disk), tp(1, 0)), &model, 100);
}

#[test]
fn reading_outside_the_log_is_an_error_and_at_the_bound_is_empty() {
    let store = healthy(&MemoryStorage::new());
    let mut log = take(&store, tp(1, 0));
    for serial in 0..4 {
        log.append(EPOCH, &produced(&batch(serial, 2, 10))).unwrap();
    }
    log.advance_log_start(Offset(3), bytes::Bytes::new())
        .unwrap();
    let snapshot = log.snapshot();
    let read = |from, up_to| snapshot.read(Offset(from), Offset(up_to), 1000, true);
    for outside in [2, 9] {
        let error = read(outside, 8).unwrap_err();
        assert!(matches!(error, ReadError::OutOfRange { .. }));
        assert_eq!(error.code(), 1);
    }
    for (from, up_to) in [(8, 8), (8, 100), (6, 6), (6, 4), (6, 7)] {
        let records = read(from, up_to).unwrap();
        assert_eq!(
            (records.size, records.next_offset),
            (0, Offset(from)),
            "{from} {up_to}"
        );
    }
    assert_eq!(
        read(3, 8).unwrap().next_offset,
        Offset(8),
        "from inside a batch"
    );
    assert_eq!(snapshot.available(Offset(8), Offset(8), 1), 0);
    assert_eq!(snapshot.available(Offset(7), Offset(8), 1), 1);
}

#[test]
fn timestamps_lead_to_batches_and_never_past_the_bound() {
    let store = healthy(&MemoryStorage::new());
    let mut log = take(&store, tp(1, 0));
    for timestamp in [100, 300, 200, 500] {
        let bytes = batch_of(&[b"a", b"b", b"c"], timestamp);
        log.append(EPOCH, &produced(&bytes)).unwrap();
    }
    let snapshot = log.snapshot();
    let find = |timestamp, up_to| {
        let found = snapshot.find_timestamp(timestamp, Offset(up_to)).unwrap();
        found.map(|found| (found.timestamp, found.offset.get()))
    };
    assert_eq!(find(0, 12), Some((100, 0)));
    assert_eq!(
        find(102, 12),
        Some((102, 0)),
        "the batch of the last record"
    );
    assert_eq!(find(103, 12), Some((300, 3)));
    assert_eq!(find(303, 12), Some((500, 9)), "timestamps need not rise");
    assert_eq!(find(303, 9), None);
    assert_eq!(find(600, 12), None);
    let latest = |up_to| snapshot.max_timestamp(Offset(up_to)).unwrap();
    assert_eq!(
        latest(12).map(|found| (found.timestamp, found.offset.get())),
        Some((502, 11))
    );
    assert_eq!(
        latest(9).map(|found| (found.timestamp, found.offset.get())),
        Some((302, 5))
    );
    assert_eq!(latest(0), None);
}

#[test]
fn a_partition_has_one_owner_even_when_many_ask_at_once() {
    let store = healthy(&MemoryStorage::new());
    for partition in 0..50 {
        let barrier = Arc::new(Barrier::new(4));
        let (sender, results) = std::sync::mpsc::channel();
        for _ in 0..4 {
            let (store, barrier, sender) = (store.clone(), barrier.clone(), sender.clone());
            let ask = move || {
                barrier.wait();
                sender
                    .send(store.partition(tp(1, partition), Arc::new(|| {})))
                    .unwrap();
            };
            exec::spawn_thread("asks", ask).unwrap();
        }
        drop(sender);
        let all: Vec<_> = results.iter().collect();
        assert_eq!(all.iter().filter(|taken| taken.is_ok()).count(), 1);
    }
    let log = take(&store, tp(1, 99));
    let second = store.partition(tp(1, 99), Arc::new(|| {})).err();
    assert_eq!(second, Some(PartitionError::AlreadyOpen(tp(1, 99))));
    drop(log);
    take(&store, tp(1, 99));
}

#[test]
fn a_log_given_back_and_taken_again_is_the_same() {
    let store = healthy(&MemoryStorage::new());
    let mut log = take(&store, tp(1, 0));
    log.append(EPOCH, &produced(&batch(1, 3, 10))).unwrap();
    log.note_high_watermark(Offset(2));
    drop(log);
    let log = take(&store, tp(1, 0));
    assert_eq!((log.written_end(), log.held_end()), (Offset(3), Offset(0)));
    assert_eq!(log.checkpointed_high_watermark(), Offset(2));
    store.commit_pending();
    assert_eq!(log.held_end(), Offset(3));
}

#[test]
fn a_deleted_topic_is_gone_for_good() {
    let disk = MemoryStorage::new();
    let store = healthy(&disk);
    let (mut doomed, mut other) = (take(&store, tp(1, 0)), take(&store, tp(2, 0)));
    doomed.append(EPOCH, &produced(&batch(1, 1, 10))).unwrap();
    other.append(EPOCH, &produced(&batch(2, 1, 10))).unwrap();
    store.delete_topic(tp(1, 0).topic).unwrap();
    let refused = doomed.append(EPOCH, &produced(&batch(3, 1, 10)));
    assert_eq!(refused, Err(AppendError::Deleted));
    drop(doomed);
    let again = store.partition(tp(1, 0), Arc::new(|| {})).err();
    assert_eq!(again, Some(PartitionError::Deleted(tp(1, 0))));
    assert_eq!(store.partitions(), [tp(2, 0)]);
    store.commit_pending();
    drop((other, store));
    let store = healthy(&disk);
    assert_eq!(store.partitions(), [tp(2, 0)]);
    assert!(store.partition(tp(1, 3), Arc::new(|| {})).is_err());
}

#[test]
fn high_watermarks_survive_as_of_the_last_checkpoint() {
    let disk = MemoryStorage::new();
    let store = healthy(&disk);
    let mut log = take(&store, tp(1, 0));
    for serial in 0..5 {
        log.append(EPOCH, &produced(&batch(serial, 2, 10))).unwrap();
    }
    log.note_high_watermark(Offset(6));
    store.checkpoint().unwrap();
    log.note_high_watermark(Offset(8));
    store.commit_pending();
    drop((log, store));
    let store = healthy(&disk);
    let mut log = take(&store, tp(1, 0));
    assert_eq!(log.checkpointed_high_watermark(), Offset(6));
    log.truncate(Offset(4)).unwrap();
    assert_eq!(log.checkpointed_high_watermark(), Offset(4));
    let frames = store.metrics().frames.get();
    store.checkpoint().unwrap();
    store.commit_pending();
    store.checkpoint().unwrap();
    store.commit_pending();
    assert_eq!(
        store.metrics().frames.get() - frames,
        2,
        "truncation, and what changed once"
    );
    drop((log, store));
    assert_eq!(
        take(&healthy(&disk), tp(1, 0)).checkpointed_high_watermark(),
        Offset(4)
    );
}

#[test]
fn a_clean_shutdown_is_told_once() {
    let disk = MemoryStorage::new();
    let store = healthy(&disk);
    assert_eq!(store.clean_shutdown(), None);
    take(&store, tp(1, 0))
        .append(EPOCH, &produced(&batch(1, 1, 10)))
        .unwrap();
    store.close(BrokerEpoch(7)).unwrap();
    let closed = take(&store, tp(1, 0)).append(EPOCH, &produced(&batch(1, 1, 10)));
    assert!(
        matches!(closed, Err(AppendError::Closed { .. })),
        "{closed:?}"
    );
    drop(store);
    disk.crash(Crash::LoseUnsynced, &mut ChaCha8Rng::seed_from_u64(1));
    let store = healthy(&disk);
    assert_eq!(store.clean_shutdown(), Some(BrokerEpoch(7)));
    assert_eq!(take(&store, tp(1, 0)).written_end(), Offset(1));
    drop(store);
    assert_eq!(
        healthy(&disk).clean_shutdown(),
        None,
        "what followed was no clean stop"
    );
}

#[test]
fn a_directory_is_open_once() {
    let disk = MemoryStorage::new();
    let store = healthy(&disk);
    let second = open(&disk, config(4096)).err();
    assert!(
        matches!(second, Some(OpenError::InUse { .. })),
        "{second:?}"
    );
    drop(store);
    healthy(&disk);
}

#[test]
fn restarts_without_writes_leave_nothing_behind() {
    let disk = MemoryStorage::new();
    for _ in 0..5 {
        healthy(&disk);
    }
    assert_eq!(disk.files(), []);
    let store = healthy(&disk);
    take(&store, tp(1, 0))
        .append(EPOCH, &produced(&batch(1, 1, 10)))
        .unwrap();
    store.commit_pending();
    drop(store);
    for _ in 0..5 {
        healthy(&disk);
    }
    assert_eq!(disk.files().len(), 1);
}

#[tokio::test]
async fn the_real_thing_commits_by_itself_and_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let settings = LogConfig {
        wal_roll_bytes: 10_000,
        ..LogConfig::new(dir.path().join("wal"))
    };
    let mut model = ModelLog::default();
    for round in 0..3 {
        let store = LogStore::open(settings.clone()).unwrap();
        assert_eq!(store.torn_tail(), None);
        let held = Arc::new(tokio::sync::Notify::new());
        let notify = held.clone();
        let on_held = Arc::new(move || notify.notify_one());
        let mut log = store.partition(tp(1, 0), on_held).unwrap();
        assert_like(&log, &model, 777);
        for serial in 0..50 {
            let bytes = batch(serial, 3, 100);
            store.wait_for_room().await;
            log.append(LeaderEpoch(round), &produced(&bytes)).unwrap();
            model.append(round, &bytes);
        }
        while !log.is_settled() {
            held.notified().await;
        }
        assert_eq!(log.held_end(), Offset(model.end));
        assert_like(&log, &model, 777);
        if round == 1 {
            store.close(BrokerEpoch(1)).unwrap();
        }
    }
}

#[tokio::test]
async fn a_task_can_commit_and_ends_with_the_store() {
    let store = healthy(&MemoryStorage::new());
    let driver = exec::spawn("wal-driver", store.driver(|| Duration::ZERO));
    let held = Arc::new(tokio::sync::Notify::new());
    let notify = held.clone();
    let on_held = Arc::new(move || notify.notify_one());
    let mut log = store.partition(tp(1, 0), on_held).unwrap();
    for serial in 0..20 {
        log.append(EPOCH, &produced(&batch(serial, 1, 500)))
            .unwrap();
        while !log.is_settled() {
            held.notified().await;
        }
    }
    assert_eq!(log.held_end(), Offset(20));
    drop((log, store));
    driver.await.unwrap();
}

#[tokio::test]
async fn those_who_take_in_data_wait_while_the_queue_is_full() {
    let settings = LogConfig {
        queue_bytes: 1000,
        ..config(4096)
    };
    let (store, _) = open(&MemoryStorage::new(), settings).unwrap();
    let mut log = take(&store, tp(1, 0));
    store.wait_for_room().await;
    log.append(EPOCH, &produced(&batch(1, 1, 2000))).unwrap();
    let waiting = store.clone();
    let waits = exec::spawn("waits", async move { waiting.wait_for_room().await });
    tokio::task::yield_now().await;
    assert!(!waits.is_finished());
    store.commit_pending();
    waits.await.unwrap();
}
