//! A full disk: appends are refused, reads go on, and everything goes on when there is room.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::support::{ModelLog, assert_like, batch, config, healthy, open, produced, take, tp};
use crate::log::{AppendError, LogConfig, LogStore, PartitionLog};
use crate::storage::memory::{Crash, MemoryStorage};
use crate::types::{BrokerEpoch, LeaderEpoch, Offset};

const EPOCH: LeaderEpoch = LeaderEpoch(1);

/// Appends and commits until the disk is full.
fn fill(store: &LogStore, log: &mut PartitionLog, model: &mut ModelLog) -> AppendError {
    for serial in 0..1000 {
        let bytes = batch(serial, 2, 200);
        if let Err(error) = log.append(EPOCH, &produced(&bytes)) {
            return error;
        }
        model.append(EPOCH.get(), &bytes);
        while store.commit_pending() {}
    }
    panic!("the disk is never full");
}

#[test]
fn appends_are_refused_reads_go_on_and_all_resumes_when_there_is_room() {
    for capacity in [500, 4096, 10_000, 20_000] {
        let disk = MemoryStorage::new();
        disk.set_capacity(Some(capacity));
        let store = healthy(&disk);
        let (mut log, mut model) = (take(&store, tp(1, 0)), ModelLog::default());
        let error = fill(&store, &mut log, &mut model);
        assert!(matches!(error, AppendError::DiskFull { .. }), "{error}");
        assert_eq!(error.code(), 56);
        assert_eq!(store.metrics().disk_full.get(), 1);
        assert_like(&log, &model, 500);
        let unheld = model.end - log.held_end().get();
        assert_eq!(
            unheld, 2,
            "the one append that met the full disk waits for room"
        );
        assert!(!store.commit_pending());
        let to = (model.end - 4).max(0);
        log.truncate(Offset(to))
            .expect("a truncation is not refused");
        model.truncate(to);

        disk.set_capacity(None);
        store.commit_pending();
        assert!(log.is_settled());
        let bytes = batch(5000, 1, 10);
        log.append(EPOCH, &produced(&bytes)).unwrap();
        model.append(EPOCH.get(), &bytes);
        store.commit_pending();
        assert_eq!(
            (log.held_end().get(), store.metrics().disk_full.get()),
            (model.end, 0)
        );
        drop((log, store));
        assert_like(&take(&healthy(&disk), tp(1, 0)), &model, 500);
    }
}

#[test]
fn some_room_is_left_for_others() {
    let disk = MemoryStorage::new();
    disk.set_capacity(Some(10_000));
    let settings = LogConfig {
        min_free_bytes: 4000,
        ..config(4096)
    };
    let (store, _) = open(&disk, settings).unwrap();
    let (mut log, mut model) = (take(&store, tp(1, 0)), ModelLog::default());
    fill(&store, &mut log, &mut model);
    assert!(log.is_settled(), "nothing that was taken waits");
    let used: usize = disk.files().iter().map(|(_, size)| size).sum();
    assert!((6000..7000).contains(&used), "{used}");
    store
        .close(BrokerEpoch(1))
        .expect("there is room for a clean stop");
}

#[test]
fn a_crash_on_a_full_disk_loses_nothing_held() {
    for (seed, crash) in [
        Crash::LoseUnsynced,
        Crash::KeepUnsynced,
        Crash::TearUnsynced,
    ]
    .into_iter()
    .cycle()
    .take(30)
    .enumerate()
    {
        let disk = MemoryStorage::new();
        disk.set_capacity(Some(9000 + 37 * seed));
        let store = healthy(&disk);
        let (mut log, mut model) = (take(&store, tp(1, 0)), ModelLog::default());
        fill(&store, &mut log, &mut model);
        let held = log.held_end();
        drop(log);
        assert!(
            store.close(BrokerEpoch(1)).is_err(),
            "what waits for room is not written"
        );
        drop(store);
        disk.crash(crash, &mut ChaCha8Rng::seed_from_u64(seed as u64));
        let store = healthy(&disk);
        assert_eq!(store.clean_shutdown(), None);
        let log = take(&store, tp(1, 0));
        assert!(log.written_end() >= held);
        model.truncate(log.written_end().get());
        assert_like(&log, &model, 500);
    }
}

#[test]
fn too_many_open_files_are_waited_for_when_a_file_is_begun() {
    for errno in [libc::EMFILE, libc::ENFILE] {
        let disk = MemoryStorage::new();
        let (store, fatal) = open(&disk, config(4096)).unwrap();
        let (mut log, mut model) = (take(&store, tp(1, 0)), ModelLog::default());
        let bytes = batch(0, 2, 200);
        log.append(EPOCH, &produced(&bytes)).unwrap();
        model.append(EPOCH.get(), &bytes);
        while store.commit_pending() {}
        disk.refuse_names(Some(errno));
        let error = fill(&store, &mut log, &mut model);
        assert!(matches!(error, AppendError::TooManyOpenFiles), "{error}");
        assert_like(&log, &model, 500);
        assert_eq!(store.metrics().disk_full.get(), 0, "it is not the disk");
        assert!(!store.disk_is_full());
        disk.refuse_names(None);
        while store.commit_pending() {}
        assert!(log.is_settled());
        assert_eq!(fatal.lock().unwrap().len(), 0);
        drop((log, store));
        assert_like(&take(&healthy(&disk), tp(1, 0)), &model, 500);
    }
}
