//! Reads against the model: any page size, any bound, from memory and from files; and readers
//! beside a writer.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use proptest::prelude::*;

use super::support::{ModelLog, batch, cases, config, open, produced, read_all, stored, take, tp};
use crate::exec;
use crate::log::{LogConfig, LogSnapshot, LogStore};
use crate::storage::memory::MemoryStorage;
use crate::types::{LeaderEpoch, Offset};

/// A log of batches of the given (records, record size), appended `at_once` at a time.
fn filled(
    settings: LogConfig,
    batches: &[(usize, usize)],
    at_once: usize,
    log_start: i64,
) -> (LogStore, LogSnapshot, ModelLog) {
    let (store, _) = open(&MemoryStorage::new(), settings).unwrap();
    let (mut log, mut model) = (take(&store, tp(1, 0)), ModelLog::default());
    for (round, group) in batches.chunks(at_once).enumerate() {
        let epoch = round as i32 / 4;
        let mut all = Vec::new();
        for (at, (count, size)) in group.iter().enumerate() {
            let bytes = batch((round * 100 + at) as u64, *count, *size);
            all.extend_from_slice(&stored(&bytes, model.end, epoch));
            model.append(epoch, &bytes);
        }
        log.append_as_follower(&all.into()).unwrap();
        if round % 3 > 0 {
            store.commit_pending();
        }
    }
    store.commit_pending();
    log.advance_log_start(Offset(log_start), bytes::Bytes::new())
        .unwrap();
    model.advance_log_start(log_start);
    (store, log.snapshot(), model)
}

proptest! {
    #![proptest_config(cases(128))]

    #[test]
    fn reads_agree_with_the_model(
        batches in prop::collection::vec(
            (1..5usize, prop_oneof![5 => 0..300usize, 1 => 5000..40_000usize]), 1..60),
        at_once in 1..12usize,
        roll in prop_oneof![Just(500u64), Just(50_000), Just(8 << 20)],
        cache_bytes in prop_oneof![Just(0usize), Just(20_000), Just(64 << 20)],
        log_start in 0..20i64,
        reads in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(),
            prop_oneof![0..100usize, 100..2000usize, 2000..200_000usize], any::<bool>()), 1..40),
    ) {
        let settings = LogConfig { cache_bytes, ..config(roll) };
        let (_store, snapshot, model) = filled(settings, &batches, at_once, log_start);
        for (from, up_to, max_bytes, one) in reads {
            let length = model.end - model.log_start;
            let from = model.log_start + from.index(length as usize + 1) as i64;
            let up_to = up_to.index(model.end as usize + 3) as i64;
            let records = snapshot.read(Offset(from), Offset(up_to), max_bytes, one).unwrap();
            let next_offset = records.next_offset.get();
            let size = records.size;
            let bytes = records.into_bytes();
            prop_assert_eq!(size, bytes.len());
            prop_assert_eq!((bytes.to_vec(), next_offset), model.read(from, up_to, max_bytes, one));
            let available = snapshot.available(Offset(from), Offset(up_to), usize::MAX);
            prop_assert!(available >= size);
            let headers: Vec<_> = snapshot.headers(Offset(from)).map(Result::unwrap).collect();
            let expected = model.batches.iter().filter(|(_, next, ..)| *next > from);
            let expected: Vec<_> =
                expected.map(|(base, next, epoch, _)| (*base, *next, *epoch)).collect();
            let found = headers.iter().map(|header| {
                (header.base_offset.get(), header.next_offset().get(), header.leader_epoch.get())
            });
            prop_assert_eq!(found.collect::<Vec<_>>(), expected);
        }
        for page in [1, 700, 100_000, 8 << 20] {
            prop_assert_eq!(read_all(&snapshot, page), model.bytes());
        }
        let newest = model.batches.iter().filter(|(_, next, ..)| *next <= model.end)
            .map(|(.., bytes)| i64::from_be_bytes(bytes[35..43].try_into().unwrap())).max();
        let found = snapshot.max_timestamp(Offset(model.end)).unwrap().map(|found| found.timestamp);
        prop_assert_eq!(found, newest);
    }
}

/// Readers check each snapshot in full, several times, while the writer goes on appending,
/// truncating and rolling files, and the cache evicts: what a snapshot shows never changes.
#[test]
fn snapshots_never_change_under_a_writer() {
    let dir = tempfile::tempdir().unwrap();
    let settings = LogConfig {
        wal_roll_bytes: 60_000,
        cache_bytes: 20_000,
        ..LogConfig::new(dir.path().join("wal"))
    };
    let store = LogStore::open(settings).unwrap();
    let (tell, held) = mpsc::channel();
    let on_held = move || tell.send(()).unwrap_or_default();
    let mut log = store.partition(tp(1, 0), Arc::new(on_held)).unwrap();
    let mut model = ModelLog::default();
    let (done, finished) = mpsc::channel();
    let mut readers = Vec::new();
    for _ in 0..2 {
        let (sender, published) = mpsc::channel::<(LogSnapshot, Arc<Vec<u8>>)>();
        readers.push(sender);
        let done = done.clone();
        let read = move || {
            let mut checked = 0;
            for (snapshot, expected) in published {
                for page in [1000, 50_000] {
                    assert_eq!(read_all(&snapshot, page), *expected, "{snapshot:?}");
                }
                checked += 1;
            }
            done.send(checked).unwrap();
        };
        exec::spawn_thread("reader", read).unwrap();
    }
    drop(done);
    for serial in 0..1500u64 {
        let epoch = serial as i32 / 100;
        let bytes = batch(serial, 2, 100);
        log.append(LeaderEpoch(epoch), &produced(&bytes)).unwrap();
        model.append(epoch, &bytes);
        if serial % 40 == 39 {
            let to = model.end - serial.cast_signed() % 30;
            log.truncate(Offset(to)).unwrap();
            model.truncate(to);
        }
        if serial % 25 == 24 {
            log.advance_log_start(Offset(model.end - 200), bytes::Bytes::new())
                .unwrap();
            model.advance_log_start(model.end - 200);
            let expected = Arc::new(model.bytes());
            for reader in &readers {
                reader.send((log.snapshot(), expected.clone())).unwrap();
            }
        }
    }
    drop(readers);
    let checked: Vec<i32> = finished.iter().collect();
    assert_eq!(
        checked,
        [60, 60],
        "every reader saw every snapshot, and none panicked"
    );
    while !log.is_settled() {
        held.recv_timeout(Duration::from_secs(30))
            .expect("the committer goes on");
    }
    // Not the files that there are: those in front of the log's start go as soon as they can.
    let written = store.metrics().bytes.get();
    assert!(written > 4 * 60_000, "files were rolled: {written} bytes");
}
