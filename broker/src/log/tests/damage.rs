//! Damage that is no crash: flipped bits and missing files. A torn tail is cut, anything else is
//! refused with file and position, and nothing is changed then.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::support::{
    ModelLog, assert_like, batch, cases, config, healthy, open, produced, read_all, take, tp,
};
use crate::log::{LogConfig, LogFound, LogIdentity, OpenError, ReadError};
use crate::storage::memory::MemoryStorage;
use crate::storage::{Storage, read_small};
use crate::types::{BrokerEpoch, BrokerId, LeaderEpoch, Offset};

const EPOCH: LeaderEpoch = LeaderEpoch(1);

/// A log of `groups` commits of one batch each; the model after each.
fn written(disk: &MemoryStorage, groups: u64, clean: bool) -> Vec<ModelLog> {
    let store = healthy(disk);
    let mut log = take(&store, tp(1, 0));
    let mut models = vec![ModelLog::default()];
    for serial in 0..groups {
        let bytes = batch(serial, 2, 300);
        log.append(EPOCH, &produced(&bytes)).unwrap();
        while store.commit_pending() {}
        let mut model = models.last().unwrap().clone();
        model.append(EPOCH.get(), &bytes);
        models.push(model);
    }
    drop(log);
    if clean {
        store.close(BrokerEpoch(1)).unwrap();
    }
    models
}

fn wal_files(disk: &MemoryStorage) -> Vec<(PathBuf, usize)> {
    let mut files = disk.files();
    files.retain(|(path, _)| path.extension().is_some_and(|ext| ext == "wal"));
    files
}

fn contents(disk: &MemoryStorage) -> Vec<(PathBuf, Vec<u8>)> {
    let read = |path: &Path| read_small(disk, path).unwrap().unwrap();
    disk.files()
        .into_iter()
        .map(|(path, _)| (path.clone(), read(&path)))
        .collect()
}

proptest! {
    #![proptest_config(cases(256))]

    /// A flipped bit never changes what is read. It is refused unless it may be a torn tail,
    /// that is unless it lies in the last group of the last file and no clean stop vouches for it.
    #[test]
    fn a_flipped_bit_is_refused_or_cut_off(seed in any::<u64>(), clean in any::<bool>()) {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let disk = MemoryStorage::new();
        let models = written(&disk, rng.random_range(1..12), clean);
        let files = wal_files(&disk);
        let at = rng.random_range(0..files.len());
        let (path, size) = &files[at];
        let bit = rng.random_range(0..size * 8);
        disk.tamper(path, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
        let before = contents(&disk);
        match open(&disk, config(4096)) {
            Ok((store, _)) => {
                let log = take(&store, tp(1, 0));
                let whole = models.last().unwrap();
                if log.written_end().get() == whole.end {
                    // A bit of padding, or of the header's unused bytes.
                    assert_like(&log, whole, 1000);
                } else {
                    prop_assert!(!clean, "a clean stop vouches for everything");
                    prop_assert_eq!(at, files.len() - 1);
                    assert_like(&log, &models[models.len() - 2], 1000);
                    let torn = store.torn_tail().unwrap();
                    prop_assert_eq!(&torn.file, path);
                    prop_assert!(torn.position <= bit as u64 / 8);
                }
            }
            Err(OpenError::Corrupt { file, position, reason }) => {
                prop_assert_eq!(file, path.display().to_string());
                prop_assert!(position <= bit as u64 / 8);
                let of_records = reason.contains("payload");
                prop_assert!(!of_records || reason.contains("records of partition"), "{reason}");
                prop_assert_eq!(contents(&disk), before, "nothing was changed");
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Files may be cut short only where nothing says that more was durable.
    #[test]
    fn a_file_cut_short_is_refused_or_cut_off(seed in any::<u64>(), clean in any::<bool>()) {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let disk = MemoryStorage::new();
        let models = written(&disk, rng.random_range(1..12), clean);
        let files = wal_files(&disk);
        let at = rng.random_range(0..files.len());
        let (path, size) = &files[at];
        let keep = rng.random_range(0..*size);
        disk.tamper(path, |bytes| bytes.truncate(keep));
        match open(&disk, config(4096)) {
            Ok((store, _)) => {
                prop_assert!(!clean && at == files.len() - 1);
                let end = take(&store, tp(1, 0)).written_end().get();
                let model = models.iter().find(|model| model.end == end).unwrap();
                assert_like(&take(&store, tp(1, 0)), model, 1000);
            }
            Err(OpenError::Corrupt { file, .. }) => {
                prop_assert_eq!(file, path.display().to_string());
                prop_assert!(clean || at < files.len() - 1);
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_missing_file_in_the_middle_is_refused() {
    let disk = MemoryStorage::new();
    written(&disk, 30, false);
    let files = wal_files(&disk);
    assert!(files.len() > 3);
    disk.remove(&files[1].0).unwrap();
    let error = open(&disk, config(4096)).err().unwrap().to_string();
    assert!(error.contains("was durable"), "{error}");
    assert!(error.contains(files[0].0.to_str().unwrap()), "{error}");
}

#[test]
fn a_missing_first_file_is_refused() {
    let disk = MemoryStorage::new();
    written(&disk, 30, false);
    disk.remove(&wal_files(&disk)[0].0).unwrap();
    let next = wal_files(&disk)[0].0.display().to_string();
    let error = open(&disk, config(4096)).err().unwrap().to_string();
    assert!(error.contains("the files before it are missing"), "{error}");
    assert!(error.contains(&next), "{error}");
}

#[test]
fn a_log_knows_whose_it_is_and_whether_it_is_the_one_that_was() {
    let disk = MemoryStorage::new();
    let of = |broker, id| LogConfig {
        identity: Some(LogIdentity {
            broker: BrokerId(broker),
            log: uuid::Uuid::from_u128(id),
        }),
        ..config(4096)
    };
    let found = |broker, id| open(&disk, of(broker, id)).map(|(store, _)| store.found());
    let log = |id, empty| LogFound {
        id: uuid::Uuid::from_u128(id),
        empty,
    };
    assert_eq!(found(1, 7).unwrap(), log(7, true), "begun");
    assert_eq!(found(1, 8).unwrap(), log(7, true), "its id stays");
    written(&disk, 3, false);
    assert_eq!(found(1, 9).unwrap(), log(7, false));
    let before = contents(&disk);
    let error = found(2, 9).unwrap_err();
    assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
    let said = error.to_string();
    assert!(said.contains("the log of broker 1"), "{said}");
    assert_eq!(contents(&disk), before, "nothing was changed");
    disk.tamper(Path::new("log/identity"), |bytes| bytes.truncate(5));
    let error = found(1, 9).unwrap_err();
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error}");
    for (path, _) in disk.files() {
        disk.remove(&path).unwrap();
    }
    assert_eq!(found(1, 9).unwrap(), log(9, true), "another log");
}

#[test]
fn a_log_of_which_only_the_identity_is_left_is_refused() {
    let disk = MemoryStorage::new();
    let settings = LogConfig {
        identity: Some(LogIdentity {
            broker: BrokerId(1),
            log: uuid::Uuid::from_u128(1),
        }),
        ..config(4096)
    };
    for clean in [true, false] {
        let (store, _) = open(&disk, settings.clone()).expect("begun or there");
        if clean {
            store.close(BrokerEpoch(1)).unwrap();
        }
    }
    // It has not one record of a partition, and yet it is known that it had files.
    for (path, _) in disk.files() {
        if !path.ends_with("identity") {
            disk.remove(&path).unwrap();
        }
    }
    let error = open(&disk, settings).err().expect("nothing is left of it");
    assert!(matches!(error, OpenError::Gone { .. }), "{error}");
}

#[test]
fn missing_files_after_a_clean_stop_are_refused() {
    let disk = MemoryStorage::new();
    written(&disk, 30, true);
    for (path, _) in wal_files(&disk) {
        disk.remove(&path).unwrap();
    }
    let error = open(&disk, config(4096)).err().unwrap().to_string();
    assert!(error.contains("closed cleanly"), "{error}");
}

#[test]
fn frames_of_an_unfinished_write_prove_nothing() {
    let disk = MemoryStorage::new();
    let store = healthy(&disk);
    let mut log = take(&store, tp(1, 0));
    let mut model = ModelLog::default();
    let first = batch(0, 1, 10);
    log.append(EPOCH, &produced(&first)).unwrap();
    store.commit_pending();
    model.append(EPOCH.get(), &first);
    // One group of three frames, of which the first did not reach the disk.
    for serial in 1..4 {
        log.append(EPOCH, &produced(&batch(serial, 1, 600)))
            .unwrap();
    }
    store.commit_pending();
    drop((log, store));
    let (path, _) = wal_files(&disk).remove(0);
    disk.tamper(&path, |bytes| bytes[400..500].fill(0));
    let store = healthy(&disk);
    let torn = store.torn_tail().unwrap();
    let reason = &torn.reason;
    assert!(
        reason.starts_with("the frame's payload fails its CRC"),
        "{reason}"
    );
    assert!(torn.bytes > 1800);
    let said = torn.to_string();
    assert!(said.contains("is not known"), "{said}");
    assert_like(&take(&store, tp(1, 0)), &model, 100);
    let reopened = |_| {
        drop(store);
        healthy(&disk)
    };
    assert_eq!(reopened(()).torn_tail(), None, "it is cut off once");
}

#[test]
fn damage_is_found_when_it_is_read() {
    let disk = MemoryStorage::new();
    let settings = LogConfig {
        cache_bytes: 0,
        ..config(4096)
    };
    let (store, _) = open(&disk, settings).unwrap();
    let mut log = take(&store, tp(1, 0));
    for serial in 0..8 {
        log.append(EPOCH, &produced(&batch(serial, 2, 300)))
            .unwrap();
        store.commit_pending();
    }
    let snapshot = log.snapshot();
    let whole = read_all(&snapshot, 1000);
    let (path, size) = wal_files(&disk).remove(0);
    for position in 32..size {
        disk.tamper(&path, |bytes| bytes[position] ^= 0x10);
        let mut from = Offset(0);
        let mut read = Vec::new();
        let outcome = loop {
            match snapshot.read(from, snapshot.end(), 1000, true) {
                Ok(records) if records.size == 0 => break Ok(()),
                Ok(records) => {
                    from = records.next_offset;
                    read.extend_from_slice(&records.into_bytes());
                }
                Err(error) => break Err(error),
            }
        };
        match outcome {
            Ok(()) => assert_eq!(read, whole, "a byte outside the batches: {position}"),
            Err(ReadError::Corrupt {
                file,
                position: found,
                ..
            }) => {
                assert_eq!(file, path.display().to_string());
                assert!(found <= position as u64);
                assert_eq!(read, whole[..read.len()]);
            }
            Err(error) => panic!("{error}"),
        }
        disk.tamper(&path, |bytes| bytes[position] ^= 0x10);
    }
    disk.fail_reads(true);
    let error = snapshot.read(Offset(0), Offset(2), 1000, true).unwrap_err();
    assert!(matches!(error, ReadError::Io { .. }), "{error}");
    assert_eq!(error.code(), 56);
}

#[test]
fn foreign_files_are_left_alone() {
    let disk = MemoryStorage::new();
    disk.replace(Path::new("log/notes.txt"), b"mine").unwrap();
    written(&disk, 3, false);
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let (store, _) = open(&disk, config(4096)).unwrap();
    drop(store);
    assert_eq!(
        read_small(&*storage, Path::new("log/notes.txt"))
            .unwrap()
            .unwrap(),
        b"mine"
    );
}
