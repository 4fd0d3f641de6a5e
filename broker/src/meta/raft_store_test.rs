//! openraft's own test suite on our store, and what the store keeps over crashes.

use std::io::Cursor;
use std::path::Path;

use openraft::storage::{RaftLogStorageExt, RaftStateMachine};
use openraft::testing::{StoreBuilder, Suite};
use openraft::{CommittedLeaderId, EntryPayload, RaftSnapshotBuilder};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::chaos::seeded_bug::BugSet;
use crate::meta::command::{Command, LogClaim};
use crate::meta::image::{Endpoint, MetadataImage};
use crate::meta::raft_machine::Machine;
use crate::storage::disk::Disk;
use crate::storage::memory::{Crash, MemoryStorage};
use crate::types::BrokerId;

struct OnDisk;
struct InMemory;

fn machine(store: &MetaStore) -> Machine {
    let (images, _) = crate::meta::told::channel(Arc::new(MetadataImage::default()));
    Machine::new(store.clone(), images, BugSet::NONE).expect("readable")
}

impl StoreBuilder<MetaRaft, MetaStore, Machine, tempfile::TempDir> for OnDisk {
    async fn build(&self) -> Result<(tempfile::TempDir, MetaStore, Machine), StorageError> {
        let dir = tempfile::tempdir().expect("temporary directory");
        let (store, _) = MetaStore::open(&Disk, dir.path(), Drive::Thread).expect("opened");
        let machine = machine(&store);
        Ok((dir, store, machine))
    }
}

impl StoreBuilder<MetaRaft, MetaStore, Machine, ()> for InMemory {
    async fn build(&self) -> Result<((), MetaStore, Machine), StorageError> {
        let store = open(&MemoryStorage::new());
        let machine = machine(&store);
        Ok(((), store, machine))
    }
}

const DIR: &str = "meta";

fn open(storage: &MemoryStorage) -> MetaStore {
    let opened = MetaStore::open(storage, Path::new(DIR), Drive::Inline);
    opened.expect("opened").0
}

#[test]
fn openraft_suite_on_disk_with_a_writer_thread() {
    Suite::test_all(OnDisk).expect("every case");
}

#[test]
fn openraft_suite_in_memory_and_inline() {
    Suite::test_all(InMemory).expect("every case");
}

fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(CommittedLeaderId::new(term, 1), index)
}

fn entry(term: u64, index: u64) -> Entry {
    let endpoint = Endpoint {
        host: "h".to_owned(),
        port: 1,
    };
    let command = Command::RegisterBroker {
        id: BrokerId(1),
        incarnation: uuid::Uuid::from_u128(u128::from(index)),
        cluster_id: "c".to_owned(),
        client: endpoint.clone(),
        replication: endpoint,
        log: LogClaim::Unclean,
    };
    Entry {
        log_id: log_id(term, index),
        payload: EntryPayload::Normal(command),
    }
}

/// What the store acknowledged, kept beside it.
#[derive(Clone, Debug, Default, PartialEq)]
struct Shadow {
    vote: Option<Vote>,
    purged: Option<LogId>,
    log: BTreeMap<u64, LogId>,
}

impl Shadow {
    async fn of(store: &mut MetaStore) -> Self {
        let log = store.try_get_log_entries(..).await.expect("readable");
        Shadow {
            vote: store.read_vote().await.expect("readable"),
            purged: store
                .get_log_state()
                .await
                .expect("readable")
                .last_purged_log_id,
            log: log.iter().map(|e| (e.log_id.index, e.log_id)).collect(),
        }
    }
}

/// One random step on the store and on its shadow; the error of a dead disk ends the life.
async fn step(
    store: &mut MetaStore,
    shadow: &mut Shadow,
    term: u64,
    rng: &mut ChaCha8Rng,
) -> Result<(), StorageError> {
    let next = shadow.log.keys().next_back().map_or_else(
        || shadow.purged.map_or(0, |id| id.index + 1),
        |last| last + 1,
    );
    let first = shadow.log.keys().next().copied();
    match rng.random_range(0..10) {
        0 => {
            let vote = Vote::new(term, rng.random_range(1..4));
            store.save_vote(&vote).await?;
            shadow.vote = Some(vote);
        }
        1 if first.is_some() => {
            let from = rng.random_range(first.expect("checked")..next);
            store.truncate(log_id(term, from)).await?;
            shadow.log.split_off(&from);
        }
        2 if first.is_some() => {
            let upto = shadow.log[&rng.random_range(first.expect("checked")..next)];
            store.purge(upto).await?;
            shadow.purged = Some(upto);
            shadow.log = shadow.log.split_off(&(upto.index + 1));
        }
        3 => {
            store
                .save_committed(shadow.log.values().next_back().copied())
                .await?
        }
        _ => {
            let count = rng.random_range(1..4);
            let entries: Vec<_> = (next..next + count).map(|i| entry(term, i)).collect();
            store.blocking_append(entries).await?;
            shadow
                .log
                .extend((next..next + count).map(|i| (i, log_id(term, i))));
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_was_acknowledged_survives_every_kind_of_crash() {
    for seed in 0..60 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let disk = MemoryStorage::new();
        let mut shadow = Shadow::default();
        for life in 1..6 {
            let mut store = open(&disk);
            let found = Shadow::of(&mut store).await;
            assert_recovered(&found, &shadow, seed, life);
            shadow = found;
            disk.blow_fuse_after(rng.random_range(1..200));
            for _ in 0..40 {
                if step(&mut store, &mut shadow, life, &mut rng).await.is_err() {
                    break;
                }
            }
            let crash = [
                Crash::LoseUnsynced,
                Crash::KeepUnsynced,
                Crash::TearUnsynced,
            ];
            disk.crash(crash[rng.random_range(0..3)], &mut rng);
            drop(store);
        }
    }
}

/// The last, unacknowledged step may have happened or not; everything before it did.
fn assert_recovered(found: &Shadow, shadow: &Shadow, seed: u64, life: u64) {
    let context = format!("seed {seed}, life {life}: {shadow:?} became {found:?}");
    let differences = usize::from(found.vote != shadow.vote)
        + usize::from(found.log != shadow.log || found.purged != shadow.purged);
    assert!(differences <= 1, "{context}");
    if found.log == shadow.log {
        return;
    }
    // An append grew the log by at most three entries, a truncation cut its end, a purge its
    // beginning; what is left is as it was.
    let grown = found.log.len() <= shadow.log.len() + 3;
    let kept = shadow
        .log
        .iter()
        .all(|(index, id)| found.log.get(index).is_none_or(|now| now == id));
    let contiguous = found
        .log
        .keys()
        .zip(found.log.keys().skip(1))
        .all(|(a, b)| a + 1 == *b);
    let purged = found.purged != shadow.purged;
    let cut_at_end = !purged && found.log.keys().next() == shadow.log.keys().next()
        || shadow.log.is_empty()
        || found.log.is_empty();
    assert!(
        grown && kept && contiguous && (purged || cut_at_end),
        "{context}"
    );
}

#[tokio::test]
async fn a_failed_sync_is_final() {
    let disk = MemoryStorage::new();
    let mut store = open(&disk);
    store.save_vote(&Vote::new(1, 1)).await.expect("saved");
    disk.fail_next_datasync();
    store.save_vote(&Vote::new(2, 1)).await.expect_err("failed");
    store.save_vote(&Vote::new(3, 1)).await.expect_err("still");
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    disk.crash(Crash::LoseUnsynced, &mut rng);
    let mut store = open(&disk);
    assert_eq!(
        store.read_vote().await.expect("read"),
        Some(Vote::new(1, 1))
    );
}

#[tokio::test]
async fn snapshot_and_marker_survive_and_an_older_snapshot_does_not_replace_a_newer_one() {
    let disk = MemoryStorage::new();
    let mut store = open(&disk);
    let mut first = machine(&store);
    first.apply([entry(1, 1)]).await.expect("applied");
    let mut slow = first.get_snapshot_builder().await;
    first
        .apply([entry(1, 2), entry(1, 3)])
        .await
        .expect("applied");
    let newer = first.get_snapshot_builder().await.build_snapshot().await;
    let newer = newer.expect("built");
    slow.build_snapshot().await.expect("built");
    store.purge(log_id(1, 3)).await.expect("purged");
    store
        .set_clean_epoch(Some(BrokerEpoch(3)))
        .await
        .expect("saved");
    store
        .set_registered(Uuid::from_u128(7))
        .await
        .expect("saved");
    let fresh = Past {
        is_new: true,
        ..Past::default()
    };
    assert_eq!(store.past(), fresh, "it is about earlier lives");
    drop((first, store, slow));

    let store = open(&disk);
    let clean_epoch = Some(BrokerEpoch(3));
    let registered = true;
    assert_eq!(
        store.past(),
        Past {
            is_new: false,
            clean_epoch,
            registered,
            log_id: Some(Uuid::from_u128(7)),
        }
    );
    let mut again = machine(&store);
    let (applied, _) = again.applied_state().await.expect("read");
    assert_eq!(applied, newer.meta.last_log_id);
    store.set_clean_epoch(None).await.expect("removed");
    drop((again, store));
    assert_eq!(open(&disk).past().clean_epoch, None);
}

#[tokio::test]
async fn a_snapshot_that_cannot_be_read_is_refused() {
    let disk = MemoryStorage::new();
    let store = open(&disk);
    let mut machine = machine(&store);
    machine.apply([entry(1, 1)]).await.expect("applied");
    for garbage in [&b""[..], b"\x01", b"\x07{}", b"\x01{\"index\":-1}"] {
        let garbage = Box::new(Cursor::new(garbage.to_vec()));
        let meta = SnapshotMeta::default();
        assert!(machine.install_snapshot(&meta, garbage).await.is_err());
    }
    let (applied, _) = machine.applied_state().await.expect("read");
    assert_eq!(applied, Some(log_id(1, 1)), "it stands where it stood");
}

#[test]
fn a_second_process_and_a_damaged_file_are_refused_with_the_place() {
    let disk = MemoryStorage::new();
    let store = open(&disk);
    let second = MetaStore::open(&disk, Path::new(DIR), Drive::Inline);
    let error = second.expect_err("in use").to_string();
    assert!(error.contains("meta"), "{error}");
    drop(store);
    disk.tamper(&Path::new(DIR).join("raft.redb"), |bytes| {
        let middle = bytes.len().min(4096) / 2;
        bytes[..middle].fill(0xAA);
    });
    let damaged = MetaStore::open(&disk, Path::new(DIR), Drive::Inline);
    let error = damaged.expect_err("damaged").to_string();
    assert!(error.contains("raft.redb"), "{error}");
}

#[test]
fn a_full_disk_is_waited_for_and_ends_no_store() {
    let disk = MemoryStorage::new();
    let open = || MetaStore::open(&disk, Path::new(DIR), Drive::Thread).expect("opened");
    let (store, thread) = open();
    let (done, outcome) = std::sync::mpsc::channel();
    let write = |index: u64| {
        let change = Change::Append(vec![(index, vec![0; 1000])]);
        let done = done.clone();
        let tell = move |result: Result<(), StoreError>| done.send(result.is_ok()).unwrap();
        store.writer.write(vec![change], Box::new(tell));
    };
    let patience = std::time::Duration::from_secs(30);
    let until_full = || {
        let deadline = std::time::Instant::now() + patience;
        while !thread.is_full() {
            assert!(std::time::Instant::now() < deadline, "never full");
            std::thread::yield_now();
        }
    };
    disk.refuse_writes(Some(libc::ENOSPC));
    write(1);
    until_full();
    assert!(outcome.try_recv().is_err(), "it waits");
    write(2);
    disk.refuse_writes(None);
    for _ in 0..2 {
        assert_eq!(outcome.recv_timeout(patience), Ok(true), "there is room");
    }

    // A stop does not wait for room; what was not written was never acknowledged.
    disk.refuse_writes(Some(libc::ENOSPC));
    write(3);
    until_full();
    drop(store);
    thread.join();
    assert_eq!(outcome.recv_timeout(patience), Ok(false));
    disk.refuse_writes(None);
    let (writer, contents, thread) =
        store_writer::open(&disk, Path::new(DIR), Drive::Thread).expect("opened");
    let found: Vec<u64> = contents.log.iter().map(|(index, _)| *index).collect();
    assert!(found.starts_with(&[1, 2]), "{found:?}");
    drop(writer);
    thread.join();
}
