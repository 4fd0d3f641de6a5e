//! Seeded bugs of the controller: what each one decides wrongly, and what the rule decides.

use super::*;
use crate::chaos::seeded_bug::{BugSet, SeededBug};
use crate::invariants::{Invariant, tripped};

/// Brokers 1 to 3 are live and hold one partition, at least two in sync, under these rules.
fn world(bugs: BugSet) -> World {
    let mut world = World {
        state: MetadataState::default().with_bugs(bugs),
        index: 0,
        incarnations: 0,
    };
    for id in 1..=3 {
        world.start(id, LogClaim::Recovered);
    }
    world.topic(3, 2);
    world
}

/// Without and with the bug.
fn both(bug: SeededBug) -> [World; 2] {
    [world(BugSet::NONE), world(BugSet::NONE.with(bug))]
}

#[test]
fn m16_lets_an_incarnation_join_that_has_been_replaced() {
    let joined = both(SeededBug::StaleBrokerEpoch).map(|mut world| {
        world.fence(3);
        world.unfence(3);
        // The leader has seen broker 3 caught up; then 3 loses its tail and registers anew.
        let proposal = world.proposal(&[1, 2, 3]);
        world.register(3, LogClaim::Unclean);
        world.unfence(3);
        world.apply(Command::AlterPartition(proposal)).is_ok()
    });
    assert_eq!(joined, [false, true]);
}

#[test]
fn m19_elects_somebody_who_left_the_isr() {
    let shapes = both(SeededBug::UncleanElection).map(|mut world| {
        world.alter(&[1, 2]).expect("3 lags");
        world.fence(1);
        world.fence(2);
        tripped();
        world.shape()
    });
    assert_eq!(shapes, ["-//12", "3/3/12"]);
}

#[test]
fn m19_trips_the_rule_of_clean_elections() {
    let [_, mut world] = both(SeededBug::UncleanElection);
    world.alter(&[1, 2]).expect("3 lags");
    world.fence(1);
    tripped();
    world.fence(2);
    assert!(tripped().contains(&Invariant::CleanElection));
}

#[test]
fn m20_elects_the_last_of_the_isr_again_though_it_lost_its_tail() {
    let shapes = both(SeededBug::LastReplicaStanding).map(|mut world| {
        world.fence(3);
        world.fence(2);
        assert!(world.shape().starts_with("1/1/"));
        // Broker 1 loses power; broker 2, who has everything, and 1, who has not, come back.
        world.start(1, LogClaim::Unclean);
        world.unfence(2);
        world.shape()
    });
    assert_eq!(shapes, ["2/2/", "1/1/"]);
}

#[test]
fn m48_places_replicas_on_brokers_that_there_are_not() {
    let leaders = [
        BugSet::NONE,
        BugSet::NONE.with(SeededBug::HardcodedAssignment),
    ]
    .map(|bugs| {
        let mut world = World {
            state: MetadataState::default().with_bugs(bugs),
            index: 0,
            incarnations: 0,
        };
        for id in [4, 17, 230] {
            world.start(id, LogClaim::Recovered);
        }
        world.topic(3, 2);
        world.partition().leader.expect("named")
    });
    assert_eq!(leaders, [BrokerId(4), BrokerId(1)]);
}

#[test]
fn m55_leaves_the_leadership_with_an_incarnation_that_is_gone() {
    let epochs = both(SeededBug::SameEpochResume).map(|mut world| {
        let before = world.partition().leader_epoch;
        world.start(1, LogClaim::Unclean);
        let after = world.partition();
        (after.leader, after.leader_epoch.0 - before.0)
    });
    assert_eq!(epochs, [(Some(BrokerId(2)), 1), (Some(BrokerId(1)), 0)]);
}
