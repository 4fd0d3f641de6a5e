//! What is kept of the WAL: files go when nothing in them lives, and only then; what lives on is
//! found where it was copied to, also by readers that know the old place.

use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::support::{ModelLog, assert_like, batch, config, open, produced, read_all, take, tp};
use crate::log::{LogConfig, LogStore, OpenError, PartitionLog};
use crate::storage::Storage;
use crate::storage::memory::MemoryStorage;
use crate::types::{LeaderEpoch, Offset};

const EPOCH: LeaderEpoch = LeaderEpoch(1);
const ROLL: u64 = 4096;

fn settings() -> LogConfig {
    LogConfig {
        cache_bytes: 0,
        ..config(ROLL)
    }
}

fn start(disk: &MemoryStorage) -> LogStore {
    open(disk, settings()).expect("a sound log opens").0
}

fn wal_files(disk: &MemoryStorage) -> Vec<PathBuf> {
    let files = disk.files().into_iter().map(|(path, _)| path);
    files
        .filter(|path| path.extension().is_some_and(|ext| ext == "wal"))
        .collect()
}

struct Kept {
    log: PartitionLog,
    model: ModelLog,
}

impl Kept {
    fn new(store: &LogStore, topic: u128) -> Self {
        Self {
            log: take(store, tp(topic, 0)),
            model: ModelLog::default(),
        }
    }

    fn append(&mut self, store: &LogStore, serial: u64) {
        let bytes = batch(serial, 2, 300);
        self.log.append(EPOCH, &produced(&bytes)).unwrap();
        self.model.append(EPOCH.get(), &bytes);
        while store.commit_pending() {}
    }

    /// Keeps the newest `records`.
    fn retain(&mut self, store: &LogStore, records: i64, producers: &'static [u8]) {
        let to = self.model.end - records;
        let about = Bytes::from_static(producers);
        self.log.advance_log_start(Offset(to), about).unwrap();
        self.model.advance_log_start(to);
        while store.commit_pending() {}
    }
}

#[test]
fn files_go_when_nothing_in_them_lives() {
    let disk = MemoryStorage::new();
    let store = start(&disk);
    let mut log = Kept::new(&store, 1);
    let mut most = 0;
    for serial in 0..400 {
        log.append(&store, serial);
        if serial % 10 == 0 {
            log.retain(&store, 8, b"remembered");
        }
        most = most.max(wal_files(&disk).len());
    }
    assert!((2..8).contains(&most), "{most} files at once");
    assert!(store.metrics().files_removed.get() > 50);
    assert_like(&log.log, &log.model, 1000);
    let model = log.model.clone();
    drop((log, store));
    let store = start(&disk);
    let log = take(&store, tp(1, 0));
    assert_like(&log, &model, 1000);
    assert_eq!(
        log.snapshot().producers(),
        &Bytes::from_static(b"remembered")
    );
}

#[test]
fn what_lives_among_what_does_not_is_copied_and_found_by_older_snapshots() {
    let disk = MemoryStorage::new();
    let store = start(&disk);
    let mut forever = Kept::new(&store, 1);
    let mut passing = Kept::new(&store, 2);
    let mut snapshots = Vec::new();
    for serial in 0..600 {
        if serial % 20 == 0 {
            forever.append(&store, 10_000 + serial);
            snapshots.push((forever.log.snapshot(), forever.model.bytes()));
        }
        passing.append(&store, serial);
        if serial % 10 == 0 {
            passing.retain(&store, 8, b"");
        }
    }
    let all: usize = disk.files().iter().map(|(_, size)| size).sum();
    let live = forever.model.bytes().len() + passing.model.bytes().len();
    assert!(all < 3 * live + 8 * ROLL as usize, "{all} bytes for {live}");
    assert!(store.metrics().copied_bytes.get() > 10_000);
    assert!(!wal_files(&disk)[0].ends_with("00000000000000000000.wal"));
    for (snapshot, bytes) in &snapshots {
        assert!(read_all(snapshot, 700) == *bytes, "{snapshot:?}");
        assert_eq!(
            snapshot.headers(Offset(0)).filter(Result::is_err).count(),
            0
        );
    }
    assert_like(&forever.log, &forever.model, 1000);
    let models = [forever.model.clone(), passing.model.clone()];
    drop((forever, passing, snapshots, store));
    for without in ["", "log/checkpoint"] {
        disk.remove(Path::new(without)).unwrap();
        let store = start(&disk);
        assert_like(&take(&store, tp(1, 0)), &models[0], 1000);
        assert_like(&take(&store, tp(2, 0)), &models[1], 1000);
    }
}

#[test]
fn a_file_that_cannot_be_removed_is_removed_first_when_it_can() {
    let disk = MemoryStorage::new();
    let store = start(&disk);
    let mut log = Kept::new(&store, 1);
    (0..60).for_each(|serial| log.append(&store, serial));
    let before = wal_files(&disk).len();
    // An error that no new file of the log dies of.
    disk.refuse_names(Some(libc::EMFILE));
    log.retain(&store, 4, b"");
    assert_eq!(wal_files(&disk).len(), before, "nothing can be removed");
    disk.refuse_names(None);
    while store.commit_pending() {}
    (60..90).for_each(|serial| log.append(&store, serial));
    log.retain(&store, 4, b"");
    assert!(wal_files(&disk).len() < before, "{:?}", wal_files(&disk));
    let model = log.model.clone();
    drop((log, store));
    assert_like(&take(&start(&disk), tp(1, 0)), &model, 1000);
}

#[test]
fn a_reader_of_deleted_records_is_told_that_they_are_out_of_range() {
    let disk = MemoryStorage::new();
    let store = start(&disk);
    let mut log = Kept::new(&store, 1);
    (0..50).for_each(|serial| log.append(&store, serial));
    let before = log.log.snapshot();
    log.retain(&store, 2, b"");
    let read = before.read(Offset(0), Offset(10), 1000, true);
    assert_eq!(read.expect_err("they are gone").code(), 1);
}

#[test]
fn missing_files_are_noticed() {
    let disk = MemoryStorage::new();
    let store = start(&disk);
    let mut log = Kept::new(&store, 1);
    (0..100).for_each(|serial| log.append(&store, serial));
    log.retain(&store, 60, b"");
    drop((log, store));
    let files = wal_files(&disk);
    assert!(files.len() > 4, "{files:?}");
    for gone in [0, files.len() / 2] {
        for named in [true, false] {
            let other = disk.copy();
            other.remove(&files[gone]).unwrap();
            if !named {
                other.remove(Path::new("log/checkpoint")).unwrap();
            }
            let error = open(&other, settings()).map(|_| ()).expect_err("refused");
            assert!(matches!(error, OpenError::Corrupt { .. }), "{error}");
        }
    }
}

#[test]
fn what_a_checkpoint_holds_is_not_replayed() {
    let disk = MemoryStorage::new();
    let small = LogConfig {
        checkpoint_bytes: 8192,
        verify_bytes: 0,
        ..settings()
    };
    let (store, _) = open(&disk, small.clone()).unwrap();
    let mut log = Kept::new(&store, 1);
    (0..400).for_each(|serial| log.append(&store, serial));
    assert!(store.metrics().checkpoints.get() > 5);
    let model = log.model.clone();
    drop((log, store));
    // What is not replayed is not looked at: it is checked when it is read.
    let first = &wal_files(&disk)[0];
    disk.tamper(first, |bytes| bytes[200] ^= 1);
    let (store, _) = open(&disk, small).expect("the first file is not read");
    let log = take(&store, tp(1, 0));
    let damaged = log.snapshot().read(Offset(0), Offset(2), 1, true);
    assert_eq!(damaged.expect_err("a flipped bit").code(), 56);
    let from = model.end - 100;
    let read = log
        .snapshot()
        .read(Offset(from), Offset(model.end), 10_000_000, true);
    assert_eq!(read.unwrap().next_offset.get(), model.end);
    drop((log, store));
    let error = open(&disk, settings())
        .map(|_| ())
        .expect_err("it is checked");
    assert!(
        error.to_string().contains(&first.display().to_string()),
        "{error}"
    );
}
