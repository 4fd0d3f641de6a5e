use super::*;
use crate::replica::core::ReplicaCore;
use crate::replica::test_support::{LAG_MAX, TestLog, fetch, ids, meta, settings};
use crate::types::Durability;

const T0: Duration = Duration::from_secs(100);

/// Broker 1 leads epoch 5 with this ISR over a log of one record for each epoch.
fn leader_with(bugs: BugSet, isr: &[i32], epochs: &[i32]) -> (ReplicaCore, TestLog) {
    let log = TestLog::of(epochs);
    let settings = Settings {
        bugs,
        ..settings(1)
    };
    let mut core = ReplicaCore::new(settings, Offset(0), &log);
    core.adopt(&meta(1, 5, 10, isr), &log, T0);
    (core, log)
}

fn leader(isr: &[i32], epochs: &[i32]) -> (ReplicaCore, TestLog) {
    leader_with(BugSet::NONE, isr, epochs)
}

fn recorded(core: &mut ReplicaCore, log: &TestLog, replica: i32, offset: i64) -> Vec<Effect> {
    let (outcome, effects) = core.fetch(&fetch(replica, 5, offset, None), log, T0);
    assert_eq!(outcome, FetchOutcome::Recorded);
    effects
}

fn proposed(effects: &[Effect]) -> Option<Vec<i32>> {
    effects.iter().find_map(|effect| match effect {
        Effect::Propose(proposal) => {
            Some(proposal.new_isr.iter().map(|(id, _)| id.get()).collect())
        }
        _ => None,
    })
}

#[test]
fn the_watermark_is_the_least_of_the_maximal_isr_and_unknown_progress_blocks() {
    let (mut core, log) = leader(&[1, 2, 3], &[4, 4, 4]);
    assert_eq!(recorded(&mut core, &log, 2, 3), vec![]);
    assert_eq!(
        core.hw(),
        Offset(0),
        "nothing is known of broker 3 in this epoch"
    );
    assert_eq!(
        recorded(&mut core, &log, 3, 2),
        vec![Effect::HighWatermark(Offset(2))]
    );
    assert_eq!(
        recorded(&mut core, &log, 3, 1),
        vec![],
        "it never goes back"
    );
    assert_eq!(core.hw(), Offset(2));
}

#[test]
fn the_watermark_waits_for_what_the_leader_itself_holds() {
    let (mut core, mut log) = leader(&[1, 2], &[4, 4, 4]);
    log.held = Some(1);
    assert_eq!(
        recorded(&mut core, &log, 2, 3),
        vec![Effect::HighWatermark(Offset(1))]
    );
    log.held = Some(3);
    assert_eq!(
        core.log_grew(&log, T0),
        vec![Effect::HighWatermark(Offset(3))]
    );
}

#[test]
fn below_min_isr_the_watermark_stands_still_for_everyone() {
    let (mut core, log) = leader(&[1], &[4, 4]);
    assert_eq!(core.admit(Acks::All), Err(AppendRefusal::NotEnoughReplicas));
    assert_eq!(core.admit(Acks::One), Ok(LeaderEpoch(5)));
    let effects = recorded(&mut core, &log, 2, 2);
    assert_eq!(proposed(&effects), Some(vec![1, 2]));
    assert_eq!(
        core.hw(),
        Offset(0),
        "a proposal does not make the ISR larger"
    );
    let effects = core.adopt(&meta(1, 5, 11, &[1, 2]), &log, T0);
    assert_eq!(effects, vec![Effect::HighWatermark(Offset(2))]);
}

#[test]
fn fetches_of_other_epochs_incarnations_and_strangers_change_nothing() {
    let (mut core, log) = leader(&[1, 2], &[4]);
    let before = core.clone();
    let refusal = |fetch: &FollowerFetch| match core.clone().fetch(fetch, &log, T0).0 {
        FetchOutcome::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    };
    assert_eq!(refusal(&fetch(2, 4, 1, None)), FetchRefusal::FencedEpoch);
    assert_eq!(refusal(&fetch(2, 6, 1, None)), FetchRefusal::UnknownEpoch);
    assert_eq!(refusal(&fetch(9, 5, 1, None)), FetchRefusal::UnknownEpoch);
    let stale = FollowerFetch {
        broker_epoch: BrokerEpoch(199),
        ..fetch(2, 5, 1, None)
    };
    assert_eq!(refusal(&stale), FetchRefusal::StaleBroker);
    let _ = core.fetch(&stale, &log, T0);
    assert_eq!(core, before);
}

#[test]
fn m11_takes_a_fetch_of_an_older_epoch_for_progress() {
    let bugs = BugSet::NONE.with(SeededBug::NoEpochFence);
    let (mut core, log) = leader_with(bugs, &[1, 2], &[4]);
    let (outcome, effects) = core.fetch(&fetch(2, 4, 1, Some(4)), &log, T0);
    assert_eq!(outcome, FetchOutcome::Recorded);
    assert_eq!(effects, vec![Effect::HighWatermark(Offset(1))]);
}

#[test]
fn a_follower_outside_of_the_log_is_told_where_it_starts() {
    let (mut core, mut log) = leader(&[1, 2], &[4, 4]);
    log.start = 10;
    let out_of_range = FetchOutcome::OutOfRange {
        log_start: Offset(10),
    };
    assert_eq!(
        core.fetch(&fetch(2, 5, 9, Some(4)), &log, T0).0,
        out_of_range
    );
    assert_eq!(core.fetch(&fetch(2, 5, 13, None), &log, T0).0, out_of_range);
    assert_eq!(
        core.as_leader().expect("leads").progress()[&BrokerId(2)].offset(),
        None
    );
}

#[test]
fn a_joiner_must_reach_the_watermark_and_the_start_of_the_epoch() {
    let (mut core, mut log) = leader(&[1, 2], &[4, 4, 4]);
    assert_eq!(
        proposed(&recorded(&mut core, &log, 3, 2)),
        None,
        "below the epoch's start"
    );
    recorded(&mut core, &log, 2, 3);
    log.records.push((5, 0));
    log.records.push((5, 0));
    recorded(&mut core, &log, 2, 5);
    assert_eq!(core.hw(), Offset(5));
    assert_eq!(
        proposed(&recorded(&mut core, &log, 3, 4)),
        None,
        "below the watermark"
    );
    assert_eq!(
        proposed(&recorded(&mut core, &log, 3, 5)),
        Some(vec![1, 2, 3])
    );
    assert_eq!(
        proposed(&recorded(&mut core, &log, 3, 5)),
        None,
        "one at a time"
    );
}

#[test]
fn m15_admits_a_joiner_at_a_stale_watermark() {
    let bugs = BugSet::NONE.with(SeededBug::ExpandWithoutLeso);
    let (mut core, log) = leader_with(bugs, &[1, 2], &[4, 4, 4]);
    assert_eq!(
        proposed(&recorded(&mut core, &log, 3, 0)),
        Some(vec![1, 2, 3])
    );
}

#[test]
fn an_ineligible_follower_does_not_join_until_it_is_eligible() {
    let (mut core, log) = leader(&[1, 2], &[4]);
    let mut image = meta(1, 5, 10, &[1, 2]);
    image.peers.get_mut(&BrokerId(3)).expect("peer").eligible = false;
    core.adopt(&image, &log, T0);
    assert_eq!(proposed(&recorded(&mut core, &log, 3, 1)), None);
    let effects = core.adopt(&meta(1, 5, 10, &[1, 2]), &log, T0);
    assert_eq!(proposed(&effects), Some(vec![1, 2, 3]));
}

#[test]
fn a_follower_that_has_caught_up_holds_the_watermark_until_it_has_joined() {
    let (mut core, mut log) = leader(&[1, 2], &[4]);
    recorded(&mut core, &log, 2, 1);
    recorded(&mut core, &log, 3, 1);
    assert_eq!(core.hw(), Offset(1));
    log.records.push((5, 0));
    recorded(&mut core, &log, 2, 2);
    assert_eq!(core.hw(), Offset(1), "broker 3 is about to join");
    let late = T0 + LAG_MAX * 2;
    assert_eq!(
        core.adopt(&meta(1, 5, 11, &[1, 2]), &log, late).first(),
        Some(&Effect::HighWatermark(Offset(2))),
        "it has fallen behind: nobody waits for it"
    );
}

#[test]
fn laggards_leave_only_with_the_controllers_consent() {
    let (mut core, mut log) = leader(&[1, 2, 3], &[4]);
    recorded(&mut core, &log, 2, 1);
    recorded(&mut core, &log, 3, 1);
    log.records.push((5, 0));
    recorded(&mut core, &log, 2, 2);
    assert_eq!(proposed(&core.tick(&log, T0 + LAG_MAX)), None);
    let late = T0 + LAG_MAX + Duration::from_millis(1);
    let mut keeping_pace = core.clone();
    assert_eq!(
        keeping_pace.fetch(&fetch(3, 5, 2, None), &log, late).0,
        FetchOutcome::Recorded
    );
    assert_eq!(proposed(&keeping_pace.tick(&log, late)), None);
    assert_eq!(proposed(&core.tick(&log, late)), Some(vec![1, 2]));
    assert_eq!(core.hw(), Offset(1), "broker 3 still counts");
    assert_eq!(proposed(&core.tick(&log, late)), None, "in flight");
    core.adopt(&meta(1, 5, 11, &[1, 2]), &log, late);
    assert_eq!(core.hw(), Offset(2));
}

#[test]
fn a_dead_follower_at_a_frozen_watermark_is_not_taken_back() {
    let (mut core, mut log) = leader(&[1, 2, 3], &[4]);
    recorded(&mut core, &log, 2, 1);
    recorded(&mut core, &log, 3, 1);
    log.records.push((5, 0));
    let late = T0 + LAG_MAX * 2;
    assert_eq!(proposed(&core.tick(&log, late)), Some(vec![1]));
    core.adopt(&meta(1, 5, 11, &[1]), &log, late);
    assert_eq!(core.hw(), Offset(1), "too few members");
    assert_eq!(proposed(&core.tick(&log, late)), None, "nobody fetches");
    let (_, effects) = core.fetch(&fetch(3, 5, 1, Some(4)), &log, late);
    assert_eq!(proposed(&effects), Some(vec![1, 3]), "it lives");
}

#[test]
fn m12_goes_on_alone_while_its_proposal_has_no_answer() {
    let bugs = BugSet::NONE.with(SeededBug::ZombieSelfIsr);
    let (mut core, log) = leader_with(bugs, &[1, 2, 3], &[4, 4]);
    let late = T0 + LAG_MAX * 2;
    let effects = core.tick(&log, late);
    assert!(
        effects.contains(&Effect::HighWatermark(Offset(2))),
        "{effects:?}"
    );
    assert!(core.admit(Acks::All).is_ok());
}

#[test]
fn a_proposal_names_the_incarnation_of_each_member() {
    let (mut core, log) = leader(&[1, 2], &[]);
    let newer = FollowerFetch {
        broker_epoch: BrokerEpoch(301),
        ..fetch(3, 5, 0, None)
    };
    let (_, effects) = core.fetch(&newer, &log, T0);
    assert_eq!(
        effects,
        vec![],
        "the image does not know this incarnation yet"
    );
    let mut image = meta(1, 5, 10, &[1, 2]);
    image
        .peers
        .get_mut(&BrokerId(3))
        .expect("peer")
        .broker_epoch = BrokerEpoch(301);
    let effects = core.adopt(&image, &log, T0);
    let Some(Effect::Propose(proposal)) = effects.last() else {
        panic!("{effects:?}");
    };
    let expected = [(1, 100), (2, 200), (3, 301)];
    let expected: Vec<_> = expected
        .map(|(id, e)| (BrokerId(id), BrokerEpoch(e)))
        .into();
    assert_eq!(proposal.new_isr, expected);
    assert_eq!(proposal.partition_epoch, PartitionEpoch(10));
}

#[test]
fn acks_have_their_three_meanings() {
    let (mut core, mut log) = leader(&[1, 2], &[4, 4]);
    log.held = Some(1);
    let done = |core: &ReplicaCore, log: &TestLog, acks, last| {
        core.completion(LeaderEpoch(5), acks, Offset(last), log)
    };
    assert_eq!(
        done(&core, &log, Acks::One, 1),
        Some(Completion::Wait),
        "not held yet"
    );
    assert_eq!(done(&core, &log, Acks::One, 0), Some(Completion::Done));
    assert_eq!(done(&core, &log, Acks::All, 0), Some(Completion::Wait));
    log.held = None;
    recorded(&mut core, &log, 2, 2);
    assert_eq!(done(&core, &log, Acks::All, 1), Some(Completion::Done));
    assert_eq!(done(&core, &log, Acks::All, 2), Some(Completion::Wait));
    core.adopt(&meta(1, 5, 11, &[1]), &log, T0);
    assert_eq!(
        done(&core, &log, Acks::All, 1),
        Some(Completion::NotEnoughReplicas)
    );
    core.adopt(&meta(2, 6, 12, &[1, 2]), &log, T0);
    assert_eq!(
        done(&core, &log, Acks::All, 1),
        None,
        "the leadership has ended"
    );
}

#[test]
fn m05_acknowledges_what_only_the_leader_holds() {
    let bugs = BugSet::NONE.with(SeededBug::AcksAllAs1);
    let (core, log) = leader_with(bugs, &[1, 2], &[4]);
    let done = core.completion(LeaderEpoch(5), Acks::All, Offset(0), &log);
    assert_eq!(done, Some(Completion::Done));
}

#[test]
fn a_single_replica_commits_what_it_holds() {
    let mut log = TestLog::of(&[1, 1]);
    let mut core = ReplicaCore::new(
        Settings {
            durability: Durability::Replicated,
            ..settings(1)
        },
        Offset(0),
        &log,
    );
    let mut image = meta(1, 2, 3, &[1]);
    image.replicas = ids(&[1]);
    image.min_isr = 1;
    let effects = core.adopt(&image, &log, T0);
    assert!(effects.contains(&Effect::HighWatermark(Offset(2))));
    log.records.push((2, 0));
    assert_eq!(
        core.log_grew(&log, T0),
        vec![Effect::HighWatermark(Offset(3))]
    );
}

#[path = "leader_seeded_test.rs"]
mod seeded;
