//! Random walks through a cluster of three: the broker's own pure cores, replicas and controller,
//! under lost, late and reordered messages, fencing, and power losses that take what was not
//! synced, in both durability modes.
//!
//! Where the model (`tests/model`) goes everywhere within narrow bounds, a walk goes far, with the
//! real controller. A seed is a walk; the seeded bugs show how many seeds an alarm takes.

mod cluster;
mod controller;
mod log;
mod oracle;

use std::collections::BTreeSet;
use std::time::Duration;

use broker::chaos::seeded_bug::{BugSet, SeededBug};
use broker::invariants::{Invariant, tripped};
use broker::types::{Acks, Durability};
use cluster::{Cluster, LAG_MAX};
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const STEPS: usize = 400;

/// What became of a walk.
struct Walked {
    broken: Option<String>,
    tripped: BTreeSet<Invariant>,
    acknowledged: usize,
    epochs: i32,
    crashes: usize,
}

/// One step; whether it was a crash.
fn step(cluster: &mut Cluster, rng: &mut ChaCha8Rng) -> bool {
    cluster.pass(Duration::from_millis(rng.random_range(0..60)));
    let up = cluster.ids(true);
    let Some(id) = up.choose(rng).copied() else {
        cluster.restart(cluster.ids(false)[0]);
        return false;
    };
    match rng.random_range(0..100) {
        0..14 if cluster.leads(id) => {
            let acks = if rng.random_bool(0.8) {
                Acks::All
            } else {
                Acks::One
            };
            cluster.produce(id, acks);
        }
        0..34 => {
            if !cluster.leads(id) && cluster.ask(id) && rng.random_bool(0.8) {
                // At once, and the answer too, most of the time.
                for _ in 0..2 {
                    let sent = cluster.network.pop();
                    sent.into_iter().for_each(|sent| cluster.deliver(sent));
                }
            }
        }
        34..58 => {
            if !cluster.network.is_empty() {
                let at = rng.random_range(0..cluster.network.len());
                let sent = cluster.network.remove(at);
                if rng.random_bool(0.12) {
                    cluster.lose(sent, rng.random());
                } else {
                    cluster.deliver(sent);
                }
            }
        }
        58..72 => cluster.adopt(id, rng.random()),
        72..84 => cluster.sync(id),
        84..90 => {
            if rng.random_bool(0.3) {
                cluster.pass(LAG_MAX);
            }
            cluster.tick(id);
        }
        90..92 if !cluster.controller.is_fenced(id) => cluster.controller.fence(id),
        90..95 if cluster.controller.is_fenced(id) => cluster.controller.unfence(id),
        95..97 if cluster.may_crash(id) => {
            cluster.crash(id, rng);
            return true;
        }
        _ => {
            if let Some(down) = cluster.ids(false).choose(rng) {
                cluster.restart(*down);
            }
        }
    }
    false
}

/// Walks, heals everything, and looks whether the cluster recovers.
fn walk(seed: u64, durability: Durability, bugs: BugSet) -> Walked {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut cluster = Cluster::new(durability, bugs);
    let mut crashes = 0;
    tripped();
    let mut sound = true;
    for _ in 0..STEPS {
        crashes += usize::from(step(&mut cluster, &mut rng));
        sound = cluster.check();
        if !sound {
            break;
        }
    }
    if sound {
        heal(&mut cluster, bugs);
    }
    Walked {
        broken: cluster.oracle.take().and_then(|oracle| oracle.broken),
        tripped: tripped(),
        acknowledged: cluster.acknowledged_count,
        epochs: cluster.controller.partition().leader_epoch.get(),
        crashes,
    }
}

fn heal(cluster: &mut Cluster, bugs: BugSet) {
    for id in cluster.ids(false) {
        cluster.restart(id);
    }
    for id in cluster.ids(true) {
        cluster.controller.unfence(id);
    }
    cluster.settle_down(30);
    if cluster.check() {
        let mut oracle = cluster.oracle.take().expect("put back");
        cluster.oracle = Some(oracle.successor());
        oracle.look_at_the_end(cluster, bugs);
        cluster.oracle = Some(oracle);
    }
}

/// Walks over many seeds without a bug; something must happen on them.
fn clean(seeds: std::ops::Range<u64>, durability: Durability) {
    let (mut acknowledged, mut epochs, mut crashes) = (0, 0, 0);
    let count = seeds.end - seeds.start;
    for seed in seeds {
        let walked = walk(seed, durability, BugSet::NONE);
        assert_eq!(walked.broken, None, "seed {seed}, {durability:?}");
        acknowledged += walked.acknowledged;
        epochs += walked.epochs;
        crashes += walked.crashes;
    }
    println!(
        "{durability:?}: {count} walks, {acknowledged} acknowledged, {epochs} elections, \
         {crashes} power losses"
    );
    let count = usize::try_from(count).expect("small");
    assert!(acknowledged > count * 2 && crashes > count);
}

#[test]
fn a_clean_cluster_breaks_no_invariant() {
    clean(0..400, Durability::Replicated);
}

#[test]
fn a_clean_cluster_recovers_once_it_is_healed() {
    clean(10_000..10_400, Durability::Fsync);
}

/// How many walks it takes until one ends badly with `bug`. Prints how, and what tripped.
fn walks_until_found(bug: SeededBug, durability: Durability, within: u64) -> Option<u64> {
    let mut all = BTreeSet::new();
    for seed in 0..within {
        let walked = walk(seed, durability, BugSet::NONE.with(bug));
        all.extend(walked.tripped);
        if let Some(broken) = walked.broken {
            let (id, name) = (bug.id(), bug.name());
            println!(
                "{id} {name}: {broken}; {} seeds, {durability:?}; tripped {all:?}",
                seed + 1
            );
            return Some(seed + 1);
        }
    }
    println!(
        "{} {}: escapes {within} walks; tripped {all:?}",
        bug.id(),
        bug.name()
    );
    None
}

/// Bug, mode in which it shows soonest, and walks that are enough. Not here: M11, which needs a
/// fetch that is late by two epochs (the model finds it; 4,000 walks do not), and M49, which
/// hurts only while a follower is gone.
const FOUND: &[(SeededBug, Durability, u64)] = &[
    (SeededBug::HwFromMetadata, Durability::Fsync, 400),
    (SeededBug::HwAtLocalFsync, Durability::Fsync, 400),
    (SeededBug::AcksAllAs1, Durability::Fsync, 400),
    (SeededBug::QuorumFallback1, Durability::Fsync, 400),
    (SeededBug::TruncateToHw, Durability::Fsync, 400),
    (SeededBug::NoTruncate, Durability::Fsync, 400),
    (SeededBug::EpochEndOffByOne, Durability::Fsync, 400),
    (SeededBug::ZombieSelfIsr, Durability::Fsync, 400),
    (SeededBug::ShrinkBeforeCommit, Durability::Fsync, 400),
    (SeededBug::ExpandAfterCommit, Durability::Fsync, 400),
    (SeededBug::ExpandWithoutLeso, Durability::Replicated, 400),
    (SeededBug::StaleBrokerEpoch, Durability::Replicated, 400),
    (SeededBug::MinIsrOnlyAtAppend, Durability::Replicated, 400),
    (SeededBug::HwMovesUnderMinIsr, Durability::Replicated, 400),
    (SeededBug::UncleanElection, Durability::Fsync, 400),
    (SeededBug::LastReplicaStanding, Durability::Replicated, 400),
    (SeededBug::WaitersOutliveEpoch, Durability::Fsync, 400),
    (SeededBug::SameEpochResume, Durability::Replicated, 400),
    (SeededBug::RollbackOnUnknown, Durability::Replicated, 1000),
];

#[test]
fn seeded_bugs_are_found() {
    let mut escaped = Vec::new();
    for (bug, durability, within) in FOUND {
        if walks_until_found(*bug, *durability, *within).is_none() {
            escaped.push(bug.name());
        }
    }
    assert!(escaped.is_empty(), "{escaped:?} escaped");
}
