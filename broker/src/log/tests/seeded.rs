//! Seeded bugs of the log: what each one loses or invents, and what the rule does.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::support::{ModelLog, batch, batch_of, config, open, produced, read_all, take, tp};
use crate::chaos::seeded_bug::{BugSet, SeededBug};
use crate::invariants::{Invariant, tripped};
use crate::log::{LogConfig, LogStore, ReadError};
use crate::storage::memory::{Crash, MemoryStorage};
use crate::types::{LeaderEpoch, Offset};

const EPOCH: LeaderEpoch = LeaderEpoch(1);

fn settings(bugs: BugSet) -> LogConfig {
    LogConfig {
        bugs,
        ..config(1 << 20)
    }
}

fn store(disk: &MemoryStorage, bugs: BugSet) -> LogStore {
    open(disk, settings(bugs)).unwrap().0
}

/// Without and with the bug.
fn both(bug: SeededBug) -> [BugSet; 2] {
    [BugSet::NONE, BugSet::NONE.with(bug)]
}

/// What was held when the power went, and what is there afterwards.
fn held_and_recovered(bugs: BugSet, commit: impl Fn(&MemoryStorage, &LogStore)) -> (i64, i64) {
    let disk = MemoryStorage::new();
    let store = store(&disk, bugs);
    let mut log = take(&store, tp(1, 0));
    log.append(EPOCH, &produced(&batch(1, 3, 10))).unwrap();
    commit(&disk, &store);
    let held = log.held_end();
    drop((log, store));
    disk.crash(Crash::LoseUnsynced, &mut ChaCha8Rng::seed_from_u64(1));
    let store = self::store(&disk, bugs);
    (held.get(), take(&store, tp(1, 0)).written_end().get())
}

#[test]
fn m22_holds_what_a_power_loss_takes() {
    let seen = both(SeededBug::AckBeforeFsync).map(|bugs| held_and_recovered(bugs, |_, _| {}));
    assert_eq!(seen, [(0, 0), (3, 0)]);
}

#[test]
fn m23_takes_a_failed_fdatasync_for_a_success() {
    let seen = both(SeededBug::FsyncErrorIgnored).map(|bugs| {
        held_and_recovered(bugs, |disk, store| {
            // The first datasync of a new file's group is the one that fails.
            disk.fail_next_datasync();
            store.commit_pending();
        })
    });
    assert_eq!(seen, [(0, 0), (3, 0)]);
    assert!(tripped().contains(&Invariant::SyncedBeforeDurable));
}

#[test]
fn m24_takes_a_torn_batch_for_a_record() {
    let seen = both(SeededBug::TornTailAccepted).map(|bugs| {
        let disk = MemoryStorage::new();
        let first = store(&disk, bugs);
        let mut log = take(&first, tp(1, 0));
        for serial in 0..2 {
            log.append(EPOCH, &produced(&batch(serial, 1, 2000)))
                .unwrap();
            while first.commit_pending() {}
        }
        drop((log, first));
        let (path, size) = disk.files().into_iter().find(is_wal).unwrap();
        // The last block did not reach the disk.
        disk.tamper(&path, |bytes| bytes[size - 512..].fill(0));
        let again = store(&disk, bugs);
        let log = take(&again, tp(1, 0)).snapshot();
        let last = log.read(Offset(1), log.end(), 1 << 20, true);
        (
            log.end().get(),
            matches!(last, Err(ReadError::Corrupt { .. })),
        )
    });
    assert_eq!(seen, [(1, false), (2, true)]);
}

fn is_wal((path, _): &(std::path::PathBuf, usize)) -> bool {
    path.extension().is_some_and(|ext| ext == "wal")
}

#[test]
fn m25_forgets_the_last_record() {
    let seen = both(SeededBug::RecoveryDropsLast)
        .map(|bugs| held_and_recovered(bugs, |_, store| while store.commit_pending() {}));
    assert_eq!(seen, [(3, 3), (3, 0)]);
}

#[test]
fn m50_skips_a_batch_at_the_edge_of_a_file() {
    let whole = both(SeededBug::SegmentBoundary).map(|bugs| {
        let disk = MemoryStorage::new();
        let settings = LogConfig {
            wal_roll_bytes: 4096,
            ..settings(bugs)
        };
        let store = open(&disk, settings).unwrap().0;
        let mut log = take(&store, tp(1, 0));
        let mut model = ModelLog::default();
        for serial in 0..8 {
            let bytes = batch(serial, 2, 700);
            log.append(EPOCH, &produced(&bytes)).unwrap();
            model.append(EPOCH.get(), &bytes);
            while store.commit_pending() {}
        }
        assert!(disk.files().iter().filter(|file| is_wal(file)).count() > 1);
        read_all(&log.snapshot(), 500) == model.bytes()
    });
    assert_eq!(whole, [true, false]);
}

#[test]
fn m51_seeks_past_the_record_of_that_very_time() {
    let found = both(SeededBug::TimeIndexStrict).map(|bugs| {
        let disk = MemoryStorage::new();
        let store = store(&disk, bugs);
        let mut log = take(&store, tp(1, 0));
        for timestamp in [1000, 2000, 3000] {
            let bytes = batch_of(&[b"x"], timestamp);
            log.append(EPOCH, &produced(&bytes)).unwrap();
        }
        let log = log.snapshot();
        let found = log.find_timestamp(2000, log.end()).unwrap();
        found.map(|found| found.offset.get())
    });
    assert_eq!(found, [Some(1), Some(2)]);
}
