//! Crashes at every point: what recovery finds is what the log was after some operation, and not
//! before the last one that was reported as held.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::support::{
    Fatal, Model, ModelLog, assert_like, batch, cases, config, open, produced, read_all, stored,
    take, tp,
};
use crate::log::{AppendError, LogConfig, LogStore, OpenError, PartitionLog};
use crate::storage::Storage;
use crate::storage::memory::{Crash, MemoryStorage};
use crate::types::{BrokerEpoch, Durability, LeaderEpoch, Offset, TopicId, TopicPartition};

/// Everything that a broker's disk must hold.
#[derive(Clone, Debug, Default, PartialEq)]
struct World {
    logs: Model,
    deleted: BTreeSet<u128>,
}

/// The partitions that a test uses: three topics, two partitions each.
fn partitions() -> impl Iterator<Item = TopicPartition> {
    (1..=3).flat_map(|topic| (0..2).map(move |partition| tp(topic, partition)))
}

/// What is done to one partition.
#[derive(Clone, Debug)]
enum Change {
    /// One batch of `count` records, as a leader.
    Append(usize, Shape),
    /// That many batches of two records, as a follower.
    Follow(usize, Shape),
    Truncate(prop::sample::Index),
    LogStart(prop::sample::Index),
    Restart(i64),
    DeleteTopic,
    GiveBack,
}

/// Bytes of a record's value, and whether the (next) batch begins a new epoch.
type Shape = (usize, bool);

#[derive(Clone, Debug)]
enum Step {
    To(usize, Change),
    Checkpoint,
    Commit,
}

fn shape() -> impl Strategy<Value = Shape> {
    let size = prop_oneof![6 => 0..200usize, 2 => 500..3000usize, 1 => Just(70_000usize)];
    (size, any::<bool>())
}

fn step() -> impl Strategy<Value = Step> {
    let place = || any::<prop::sample::Index>();
    let change = prop_oneof![
        16 => (1..4usize, shape()).prop_map(|(count, shape)| Change::Append(count, shape)),
        8 => (1..6usize, shape()).prop_map(|(count, shape)| Change::Follow(count, shape)),
        4 => place().prop_map(Change::Truncate),
        2 => place().prop_map(Change::LogStart),
        2 => (0..20i64).prop_map(Change::Restart),
        1 => Just(Change::DeleteTopic),
        2 => Just(Change::GiveBack),
    ];
    prop_oneof![
        17 => (0..6usize, change).prop_map(|(at, change)| Step::To(at, change)),
        1 => Just(Step::Checkpoint),
        4 => Just(Step::Commit),
    ]
}

/// A store under test, and what it must hold.
struct Run {
    disk: MemoryStorage,
    store: LogStore,
    fatal: Fatal,
    logs: BTreeMap<TopicPartition, PartitionLog>,
    /// What the log was after each operation; the last is now.
    history: Vec<World>,
    /// The last operation that is held, as an index into `history`.
    held: usize,
    serial: u64,
}

impl Run {
    fn start(disk: &MemoryStorage, settings: &LogConfig, world: World) -> Result<Self, OpenError> {
        let (store, fatal) = open(disk, settings.clone())?;
        Ok(Self {
            disk: disk.clone(),
            store,
            fatal,
            logs: BTreeMap::new(),
            history: vec![world],
            held: 0,
            serial: 0,
        })
    }

    fn now(&self) -> &World {
        self.history.last().unwrap()
    }

    fn failed(&self) -> bool {
        !self.fatal.lock().unwrap().is_empty()
    }

    /// Notes that an operation was taken and what the world is from now on.
    fn did(&mut self, tp: TopicPartition, change: impl FnOnce(&mut ModelLog)) {
        let mut world = self.now().clone();
        change(world.logs.entry(tp).or_default());
        self.history.push(world);
    }

    fn step(&mut self, step: &Step) -> Result<(), AppendError> {
        self.serial += 1;
        match step {
            Step::To(at, change) => self.change(*at, change)?,
            Step::Checkpoint => self.store.checkpoint()?,
            Step::Commit => self.commit(),
        }
        Ok(())
    }

    fn change(&mut self, at: usize, change: &Change) -> Result<(), AppendError> {
        let tp = partitions().nth(at).unwrap();
        if self.now().deleted.contains(&tp.topic.0.as_u128()) {
            return Ok(());
        }
        let (serial, store) = (self.serial, &self.store);
        let log = self.logs.entry(tp).or_insert_with(|| take(store, tp));
        let (start, end) = (log.log_start().get(), log.written_end().get());
        match change {
            Change::Append(count, (size, next_epoch)) => {
                let last = log.last_epoch().map(LeaderEpoch::get);
                let epoch = last.map_or(0, |last| last + i32::from(*next_epoch));
                let bytes = batch(serial, *count, *size);
                log.append(LeaderEpoch(epoch), &produced(&bytes))?;
                self.did(tp, |model| model.append(epoch, &bytes));
            }
            Change::Follow(count, shape) => {
                let first = log.last_epoch().map_or(0, LeaderEpoch::get);
                let parts = fetched(*count, first, serial, *shape);
                let fetched = parts.iter().zip((end..).step_by(2));
                let all: Vec<Bytes> = fetched
                    .map(|((epoch, bytes), base)| stored(bytes, base, *epoch))
                    .collect();
                log.append_as_follower(&all.concat().into())?;
                self.did(tp, |model| {
                    parts
                        .iter()
                        .for_each(|(epoch, bytes)| model.append(*epoch, bytes));
                });
            }
            Change::Truncate(to) => {
                let to = start + to.index((end - start + 2) as usize) as i64;
                log.truncate(Offset(to))?;
                self.did(tp, |model| model.truncate(to));
            }
            Change::LogStart(to) => {
                let to = to.index((end + 3) as usize) as i64;
                log.advance_log_start(Offset(to), Bytes::new())?;
                self.did(tp, |model| model.advance_log_start(to));
            }
            Change::Restart(skip) => {
                log.restart_at(Offset(end + skip))?;
                self.did(tp, |model| model.restart_at(end + skip));
            }
            Change::DeleteTopic => self.delete(tp.topic)?,
            Change::GiveBack => drop(self.logs.remove(&tp)),
        }
        Ok(())
    }

    fn delete(&mut self, topic: TopicId) -> Result<(), AppendError> {
        self.store.delete_topic(topic)?;
        self.logs.retain(|tp, _| tp.topic != topic);
        let mut world = self.now().clone();
        world.logs.retain(|tp, _| tp.topic != topic);
        world.deleted.insert(topic.0.as_u128());
        self.history.push(world);
        Ok(())
    }

    fn commit(&mut self) {
        while self.store.commit_pending() {}
        if !self.failed() {
            self.held = self.history.len() - 1;
            let behind =
                |log: &&PartitionLog| !log.is_settled() || log.held_end() != log.written_end();
            let found = self
                .logs
                .values()
                .find(behind)
                .map(|log| format!("{log:?}"));
            assert_eq!(found, None);
        }
    }
}

/// Batches as a leader of epoch `first`, and from the third on of the next one, would send them.
fn fetched(count: usize, first: i32, serial: u64, (size, next): Shape) -> Vec<(i32, Bytes)> {
    let epoch = |at| first + i32::from(next && at > 1);
    (0..count)
        .map(|at| (epoch(at), batch(serial, 2, size)))
        .collect()
}

/// What one partition holds: start, end, bytes.
type Held = (i64, i64, Vec<u8>);

fn held_by(store: &LogStore, page: usize) -> BTreeMap<TopicPartition, Option<Held>> {
    let look = |tp| {
        let log = store.partition(tp, Arc::new(|| {})).ok()?;
        let (start, end) = (log.log_start().get(), log.written_end().get());
        assert_eq!(log.held_end().get(), end, "what was recovered is held");
        Some((start, end, read_all(&log.snapshot(), page)))
    };
    partitions().map(|tp| (tp, look(tp))).collect()
}

fn expected(world: &World) -> BTreeMap<TopicPartition, Option<Held>> {
    let look = |tp: TopicPartition| {
        if world.deleted.contains(&tp.topic.0.as_u128()) {
            return None;
        }
        let log = world.logs.get(&tp).cloned().unwrap_or_default();
        Some((log.log_start, log.end, log.bytes()))
    };
    partitions().map(|tp| (tp, look(tp))).collect()
}

/// How a store's life ends.
#[derive(Clone, Debug)]
struct End {
    fuse: Option<u64>,
    crash: Crash,
    /// The disk also dies in the middle of the recovery that follows.
    fuse_at_open: Option<u64>,
    clean: bool,
}

fn end() -> impl Strategy<Value = End> {
    let crash = prop_oneof![
        1 => Just(Crash::LoseUnsynced),
        1 => Just(Crash::KeepUnsynced),
        3 => Just(Crash::TearUnsynced),
    ];
    let fuse = prop::option::of(1..40u64);
    let fuse_at_open = prop::option::weighted(0.3, 1..4u64);
    (fuse, crash, fuse_at_open, prop::bool::weighted(0.2)).prop_map(
        |(fuse, crash, fuse_at_open, clean)| End {
            fuse,
            crash,
            fuse_at_open,
            clean,
        },
    )
}

/// One life of a store; what it was after each operation, the last one that is held, and whether
/// it ended cleanly.
fn live(mut run: Run, steps: &[Step], end: &End) -> (Vec<World>, usize, bool) {
    if let Some(fuse) = end.fuse {
        run.disk.blow_fuse_after(fuse);
    }
    for step in steps {
        match run.step(step) {
            Ok(()) => {}
            Err(AppendError::Closed { .. }) if run.failed() => break,
            Err(error) => panic!("{step:?}: {error}"),
        }
    }
    for (tp, log) in &run.logs {
        assert_like(
            log,
            run.now().logs.get(tp).unwrap_or(&Default::default()),
            1000,
        );
    }
    run.logs.clear();
    let closed = end.clean && !run.failed() && run.store.close(BrokerEpoch(1)).is_ok();
    if closed {
        run.held = run.history.len() - 1;
    }
    (run.history, run.held, closed)
}

fn reopen(disk: &MemoryStorage, settings: &LogConfig, end: &End, rng: &mut ChaCha8Rng) -> LogStore {
    disk.crash(end.crash, rng);
    if let Some(fuse) = end.fuse_at_open {
        disk.blow_fuse_after(fuse);
        match open(disk, settings.clone()) {
            Ok(_) => {}
            Err(OpenError::Io { .. }) if disk.is_dead() => {}
            Err(error) => panic!("{error}"),
        }
        disk.crash(end.crash, rng);
    }
    let sound = || match open(disk, settings.clone()) {
        Ok((store, _)) => store,
        Err(error) => panic!("{error}"),
    };
    let store = sound();
    if end.crash != Crash::KeepUnsynced {
        return store;
    }
    // What recovery found counts as held, in both modes: the power may go right after it.
    let found = held_by(&store, 1000);
    drop(store);
    disk.crash(Crash::LoseUnsynced, rng);
    let store = sound();
    assert!(held_by(&store, 1000) == found, "recovery made it durable");
    store
}

/// Without the files that only repeat what the WAL says, the same log is found.
fn derived_files_are_derived(disk: &MemoryStorage, settings: &LogConfig) {
    let sound = || match open(disk, settings.clone()) {
        Ok((store, _)) => store,
        Err(error) => panic!("{error}"),
    };
    let found = held_by(&sound(), 1000);
    disk.remove(Path::new("log/checkpoint")).unwrap();
    let again = held_by(&sound(), 1000);
    assert!(again == found, "without the checkpoint's name");
}

fn lives(
    durability: Durability,
    (roll, checkpoint): (u64, u64),
    seed: u64,
    lives: &[(Vec<Step>, End)],
) {
    let rng = &mut ChaCha8Rng::seed_from_u64(seed);
    let disk = MemoryStorage::new();
    let settings = LogConfig {
        durability,
        // Small, so that recent batches come from files too.
        cache_bytes: 3000,
        checkpoint_bytes: checkpoint,
        ..config(roll)
    };
    let mut world = World::default();
    for (steps, end) in lives {
        let run = Run::start(&disk, &settings, world).expect("a crashed log opens");
        let (history, held, closed) = live(run, steps, end);
        let found = held_by(&reopen(&disk, &settings, end, rng), 1000);
        let kept = durability == Durability::Fsync || end.crash == Crash::KeepUnsynced;
        let held = if kept || closed { held } else { 0 };
        let at = (held..history.len())
            .rev()
            .find(|at| expected(&history[*at]) == found);
        let at = at.unwrap_or_else(|| {
            let older = (0..held).find(|at| expected(&history[*at]) == found);
            panic!(
                "of {} states {held} was held; recovered: {older:?}",
                history.len()
            )
        });
        world = history[at].clone();
        derived_files_are_derived(&disk, &settings);
    }
}

fn checkpoints() -> impl Strategy<Value = u64> {
    prop_oneof![Just(200u64), Just(3000), Just(1 << 30)]
}

proptest! {
    #![proptest_config(cases(192))]

    #[test]
    fn nothing_held_is_lost_in_fsync_mode(
        seed in any::<u64>(),
        roll in prop_oneof![Just(300u64), Just(4096), Just(100_000), Just(8 << 20)],
        checkpoint in checkpoints(),
        all in prop::collection::vec((prop::collection::vec(step(), 1..40), end()), 1..4),
    ) {
        lives(Durability::Fsync, (roll, checkpoint), seed, &all);
    }

    #[test]
    fn the_log_is_a_prefix_in_replicated_mode(
        seed in any::<u64>(),
        roll in prop_oneof![Just(300u64), Just(4096), Just(100_000)],
        checkpoint in checkpoints(),
        all in prop::collection::vec((prop::collection::vec(step(), 1..40), end()), 1..4),
    ) {
        lives(Durability::Replicated, (roll, checkpoint), seed, &all);
    }
}

#[test]
fn what_a_dead_process_left_unsynced_is_durable_once_it_counts_as_held() {
    let rng = &mut ChaCha8Rng::seed_from_u64(1);
    for durability in [Durability::Fsync, Durability::Replicated] {
        // The second time an fsync fails first: the page cache then holds what the disk lacks.
        for failing in [false, true] {
            let (disk, settings) = (MemoryStorage::new(), config(4096));
            let settings = LogConfig {
                durability,
                ..settings
            };
            let (store, fatal) = open(&disk, settings.clone()).unwrap();
            let mut log = take(&store, tp(1, 0));
            for serial in 0..20 {
                let bytes = batch(serial, 1, 300);
                log.append(LeaderEpoch(0), &produced(&bytes)).unwrap();
                if serial == 18 {
                    store.commit_pending();
                    match failing {
                        true => disk.fail_next_datasync(),
                        // The write goes through, its sync does not.
                        false => disk.blow_fuse_after(2),
                    }
                }
            }
            store.commit_pending();
            let ended = !fatal.lock().unwrap().is_empty();
            assert_eq!(ended, durability == Durability::Fsync);
            drop((log, store));
            disk.crash(Crash::KeepUnsynced, rng);
            let (store, _) = open(&disk, settings.clone()).unwrap();
            let found = held_by(&store, 1000);
            assert_eq!(found[&tp(1, 0)].as_ref().unwrap().1, 20);
            drop(store);
            disk.crash(Crash::LoseUnsynced, rng);
            let (store, _) = open(&disk, settings).unwrap();
            assert!(held_by(&store, 1000) == found, "{durability:?}");
        }
    }
}

#[test]
fn a_failed_fsync_ends_the_log_and_acknowledges_nothing() {
    let disk = MemoryStorage::new();
    let mut run = Run::start(&disk, &config(4096), World::default()).unwrap();
    let append = Step::To(0, Change::Append(1, (10, false)));
    run.step(&append).unwrap();
    run.commit();
    run.step(&append).unwrap();
    disk.fail_next_datasync();
    run.commit();
    assert!(run.failed());
    run.commit();
    let log = run.logs.get_mut(&tp(1, 0)).unwrap();
    assert_eq!((log.held_end(), log.written_end()), (Offset(1), Offset(2)));
    assert!(!log.is_settled());
    assert_eq!(
        read_all(&log.snapshot(), 100).len(),
        2 * batch(1, 1, 10).len(),
        "reads go on"
    );
    let refused = log
        .append(LeaderEpoch(0), &produced(&batch(1, 1, 10)))
        .unwrap_err();
    assert_eq!(refused.code(), 56);
    run.logs.clear();
    assert!(run.store.close(BrokerEpoch(1)).is_err());
    assert_eq!(
        run.fatal.lock().unwrap().len(),
        1,
        "told once, never tried again"
    );
    drop(run);
    disk.crash(Crash::LoseUnsynced, &mut ChaCha8Rng::seed_from_u64(1));
    let (store, _) = open(&disk, config(4096)).unwrap();
    assert_eq!(store.clean_shutdown(), None);
    assert_eq!(take(&store, tp(1, 0)).written_end(), Offset(1));
}

/// A process dies in `trouble`, its machine does not; the next process loses the machine's power.
fn survives_a_restart_and_a_power_loss(trouble: impl FnOnce(&MemoryStorage)) {
    let rng = &mut ChaCha8Rng::seed_from_u64(1);
    let disk = MemoryStorage::new();
    let mut run = Run::start(&disk, &config(1 << 20), World::default()).unwrap();
    let append = Step::To(0, Change::Append(1, (10, false)));
    run.step(&append).unwrap();
    run.commit();
    run.step(&append).unwrap();
    trouble(&disk);
    run.commit();
    assert!(run.failed());
    run.logs.clear();
    drop(run);
    disk.mend();
    let (store, _) = open(&disk, config(1 << 20)).unwrap();
    let mut log = take(&store, tp(1, 0));
    let held = log.held_end();
    assert_eq!(held, Offset(2), "the kernel still shows it");
    log.append(LeaderEpoch(0), &produced(&batch(1, 1, 10)))
        .unwrap();
    while store.commit_pending() {}
    assert_eq!(log.held_end(), Offset(3));
    drop((log, store));
    disk.crash(Crash::LoseUnsynced, rng);
    let (store, _) = open(&disk, config(1 << 20)).unwrap();
    assert_eq!(take(&store, tp(1, 0)).held_end(), Offset(3));
}

#[test]
fn what_a_failed_fsync_left_in_the_page_cache_is_written_again() {
    survives_a_restart_and_a_power_loss(MemoryStorage::fail_next_datasync);
}

#[test]
fn what_was_written_before_a_kill_and_not_synced_is_synced_by_the_next_process() {
    // The write goes through, and its sync does not.
    survives_a_restart_and_a_power_loss(|disk| disk.blow_fuse_after(2));
}
