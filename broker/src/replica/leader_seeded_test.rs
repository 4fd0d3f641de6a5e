//! Seeded bugs of the leader: what each one does wrong, and what the rule does.

use super::*;
use crate::invariants::tripped;

/// Without and with the bug.
fn both(bug: SeededBug) -> [BugSet; 2] {
    [BugSet::NONE, BugSet::NONE.with(bug)]
}

#[test]
fn m04_commits_what_nobody_else_has() {
    let hws = both(SeededBug::HwAtLocalFsync).map(|bugs| {
        let (mut core, log) = leader_with(bugs, &[1, 2], &[4]);
        core.log_grew(&log, T0);
        core.hw()
    });
    assert_eq!(hws, [Offset(0), Offset(1)]);
    assert!(tripped().contains(&Invariant::HwWithinMaximalIsr));
}

/// Two records, both on broker 2 only after the ISR has shrunk to the leader.
fn under_min_isr(bugs: BugSet) -> (Offset, Option<Completion>) {
    let (mut core, log) = leader_with(bugs, &[1, 2], &[4, 4]);
    assert!(core.admit(Acks::All).is_ok(), "two are in sync");
    core.adopt(&meta(1, 5, 11, &[1]), &log, T0);
    core.tick(&log, T0 + LAG_MAX * 2);
    let done = core.completion(LeaderEpoch(5), Acks::All, Offset(1), &log);
    (core.hw(), done)
}

#[test]
fn m17_acknowledges_what_one_replica_holds() {
    let seen = both(SeededBug::MinIsrOnlyAtAppend).map(under_min_isr);
    let clean = (Offset(0), Some(Completion::Wait));
    assert_eq!(seen, [clean, (Offset(2), Some(Completion::Done))]);
    assert!(tripped().contains(&Invariant::HwNeedsMinIsr));
}

#[test]
fn m18_shows_what_one_replica_holds_and_acknowledges_it_to_acks_1_only() {
    let seen = both(SeededBug::HwMovesUnderMinIsr).map(under_min_isr);
    let clean = (Offset(0), Some(Completion::Wait));
    let bad = (Offset(2), Some(Completion::NotEnoughReplicas));
    assert_eq!(seen, [clean, bad]);
    assert!(tripped().contains(&Invariant::HwNeedsMinIsr));
}

#[test]
fn m21_acknowledges_acks_1_before_the_record_is_held() {
    let done = both(SeededBug::AckBeforeAppend).map(|bugs| {
        let (core, mut log) = leader_with(bugs, &[1, 2], &[4]);
        log.held = Some(0);
        tripped();
        core.completion(LeaderEpoch(5), Acks::One, Offset(0), &log)
    });
    assert_eq!(done, [Some(Completion::Wait), Some(Completion::Done)]);
    assert!(tripped().contains(&Invariant::AckedIsHeld));
}

#[test]
fn m49_waits_for_a_follower_that_never_fetches() {
    let proposals = both(SeededBug::IsrNeverShrinks).map(|bugs| {
        let (mut core, log) = leader_with(bugs, &[1, 2, 3], &[4]);
        recorded(&mut core, &log, 2, 1);
        proposed(&core.tick(&log, T0 + LAG_MAX * 2))
    });
    assert_eq!(proposals, [Some(vec![1, 2]), None]);
}
