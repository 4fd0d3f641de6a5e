//! A model of replication: the broker's own pure core (not a copy of it) under every order of
//! messages, elections and lost answers that the bounds allow.
//!
//! Three brokers, one partition, `min.insync.replicas` 2. The controller is the metadata state
//! machine itself (`controller.rs`); the network delays and reorders, and what is never delivered
//! is lost; processes die and come back, in replicated durability without a part of their logs.
//! Ghost variables (`ghost.rs`) hold what is true of the whole
//! cluster: the committed log and what was acknowledged.
//!
//! Each safety property carries the numbers of the invariants that it stands for; I2, I3, I10 to
//! I13 and I17 are also asserted inside the core and stop the model by a panic. `sometimes`
//! properties guard against a model in which nothing happens.

mod controller;
mod ghost;
mod kips;
mod replica;
mod system;

use broker::chaos::seeded_bug::{BugSet, SeededBug};
use stateright::{Checker, HasDiscoveries, Model};
use system::{Bounds, System};

/// Explores everything within `bounds` and fails unless every property holds.
fn exhaust(bounds: Bounds) -> usize {
    let checker = System::new(bounds, BugSet::NONE)
        .checker()
        .spawn_dfs()
        .join();
    checker.assert_properties();
    println!(
        "{bounds:?}: {} states, depth {}",
        checker.unique_state_count(),
        checker.max_depth()
    );
    checker.unique_state_count()
}

/// With `bug` some safety property must break; the shortest way to it is printed.
fn finds(bug: SeededBug, bounds: Bounds) {
    let system = System::new(bounds, BugSet::NONE.with(bug));
    let found = HasDiscoveries::AnyFailures;
    let checker = system
        .checker()
        .threads(2)
        .finish_when(found)
        .spawn_bfs()
        .join();
    let broken: Vec<_> = system::SAFETY
        .iter()
        .filter_map(|name| Some((name, checker.discovery(name)?)))
        .collect();
    let states = checker.unique_state_count();
    assert!(
        !broken.is_empty(),
        "{} escapes the model: {states} states",
        bug.name()
    );
    for (name, path) in broken {
        let actions = path.into_actions();
        println!(
            "{}: {name} breaks after {} steps, {states} states",
            bug.name(),
            actions.len()
        );
        for action in actions {
            println!("  {action:?}");
        }
    }
}

/// The old rule has its counterexample, the shipped rule has none within the same bounds. Of three
/// cases the second half takes minutes (millions of states) and is not repeated with every run of
/// the tests: `cargo run --release -p broker --example model -- --bound kip-279`, `kip-320` and
/// `kip-966-last-replica`.
fn decides(case: &kips::Case) {
    assert!(kips::ALL.iter().any(|known| known.name == case.name));
    finds(case.old_rule, case.bounds);
    exhaust(case.bounds);
}

#[test]
fn kip_101_truncation_by_leader_epoch() {
    decides(&kips::KIP_101);
}

#[test]
fn kip_279_the_followers_own_end_of_an_epoch_counts_too() {
    finds(kips::KIP_279.old_rule, kips::KIP_279.bounds);
}

#[test]
fn kip_320_fetches_of_other_epochs_are_fenced() {
    finds(kips::KIP_320.old_rule, kips::KIP_320.bounds);
}

#[test]
fn kip_966_the_last_replica_standing_is_not_elected_without_its_log() {
    finds(
        kips::KIP_966_LAST_REPLICA.old_rule,
        kips::KIP_966_LAST_REPLICA.bounds,
    );
}

#[test]
fn kip_966_the_watermark_needs_the_minimum_isr() {
    decides(&kips::KIP_966_STRICT_MIN_ISR);
}

#[test]
fn kip_903_a_fetch_of_an_earlier_process_lets_nobody_in() {
    decides(&kips::KIP_903);
}

#[test]
fn a_controllers_failover_breaks_no_invariant() {
    exhaust(Bounds {
        failovers: 1,
        third_outside: true,
        ..Bounds::SMALL
    });
}

#[test]
fn three_records_break_no_invariant() {
    exhaust(Bounds {
        records: 3,
        ..Bounds::SMALL
    });
}

#[test]
fn two_epochs_and_two_records_break_no_invariant() {
    let states = exhaust(Bounds {
        records: 2,
        ..Bounds::SMALL
    });
    assert!(
        states > 100_000,
        "{states} states: next to nothing was explored"
    );
}

#[test]
fn a_delayed_fetch_or_answer_breaks_no_invariant() {
    exhaust(Bounds {
        delayed: 1,
        ..Bounds::SMALL
    });
}

#[test]
fn a_lost_answer_of_the_controller_breaks_no_invariant() {
    exhaust(Bounds {
        lost_replies: 1,
        ..Bounds::SMALL
    });
}

#[test]
fn three_changes_of_the_isr_break_no_invariant() {
    exhaust(Bounds {
        changes: 3,
        ..Bounds::SMALL
    });
}

#[test]
fn m08_truncate_to_hw_is_found() {
    finds(SeededBug::TruncateToHw, Bounds::SMALL);
}

#[test]
fn m11_no_epoch_fence_is_found() {
    finds(
        SeededBug::NoEpochFence,
        Bounds {
            epochs: 3,
            delayed: 1,
            ..Bounds::SMALL
        },
    );
}

#[test]
fn m12_zombie_self_isr_is_found() {
    finds(SeededBug::ZombieSelfIsr, Bounds::SMALL);
}

#[test]
fn m13_shrink_before_commit_is_found() {
    finds(SeededBug::ShrinkBeforeCommit, Bounds::SMALL);
}

#[test]
fn m15_expand_without_leso_is_found() {
    finds(
        SeededBug::ExpandWithoutLeso,
        Bounds {
            third_outside: true,
            delayed: 1,
            ..Bounds::SMALL
        },
    );
}

#[test]
fn m03_hw_from_metadata_is_found() {
    finds(SeededBug::HwFromMetadata, Bounds::SMALL);
}

#[test]
fn m04_hw_at_local_fsync_is_found() {
    finds(SeededBug::HwAtLocalFsync, Bounds::SMALL);
}

#[test]
fn m07_quorum_fallback_1_is_found() {
    finds(
        SeededBug::QuorumFallback1,
        Bounds {
            lost_replies: 1,
            ..Bounds::SMALL
        },
    );
}

#[test]
fn m14_expand_after_commit_is_found() {
    finds(
        SeededBug::ExpandAfterCommit,
        Bounds {
            third_outside: true,
            ..Bounds::SMALL
        },
    );
}

#[test]
fn m53_waiters_outlive_epoch_is_found() {
    finds(
        SeededBug::WaitersOutliveEpoch,
        Bounds {
            records: 2,
            ..Bounds::SMALL
        },
    );
}

#[test]
fn m56_rollback_on_unknown_is_found() {
    finds(
        SeededBug::RollbackOnUnknown,
        Bounds {
            third_outside: true,
            lost_replies: 1,
            ..Bounds::SMALL
        },
    );
}
