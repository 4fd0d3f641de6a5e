//! Scenarios over three cores: the seven divergences of Vanlightly's description of Kafka's
//! replication (section 3.3, cases A to G), the holes that KIP-101, KIP-279 and KIP-320 closed,
//! and random schedules.

use proptest::prelude::*;

use super::*;
use crate::chaos::seeded_bug::SeededBug;
use crate::replica::follower::LeaderSaid;
use crate::replica::log_facts::EpochEnd;
use crate::replica::test_support::{Cluster, TestLog, meta, settings};

/// A follower with one log meets the leader of epoch 3 with another; returns where the follower
/// cut its log first, and its epochs once there was nothing left to fetch.
fn reconcile(leader: &[i32], follower: &[i32]) -> (Option<i64>, Vec<i32>) {
    let mut cluster = meeting(BugSet::NONE, leader, follower);
    let mut cut = None;
    for _ in 0..10 {
        match cluster.fetch(2).expect("it has a leader") {
            FollowStep::Truncate(to) => cut = cut.or(Some(to.get())),
            FollowStep::Append => {}
            FollowStep::Keep => {
                let epochs = cluster.node(2).log.records.iter().map(|(epoch, _)| *epoch);
                return (cut, epochs.collect());
            }
            other => panic!("{other:?}"),
        }
    }
    panic!("the logs never agreed: {:?}", cluster.nodes[&2].log);
}

/// A follower with one log is to follow the leader of epoch 3 with another.
fn meeting(bugs: BugSet, leader: &[i32], follower: &[i32]) -> Cluster {
    let mut cluster = Cluster::new(bugs);
    cluster.node(1).log = TestLog::of(leader);
    cluster.node(2).log = TestLog::of(follower);
    cluster.image(&[1, 2], &meta(1, 3, 1, &[1, 2, 3]));
    cluster
}

#[test]
fn divergence_a_follower_behind_in_the_same_epoch() {
    assert_eq!(reconcile(&[1, 1, 1, 1], &[1, 1]), (None, vec![1, 1, 1, 1]));
}

#[test]
fn divergence_b_follower_behind_by_an_epoch() {
    assert_eq!(reconcile(&[1, 1, 2, 2], &[1, 1]), (None, vec![1, 1, 2, 2]));
}

#[test]
fn divergence_c_follower_ahead_in_the_same_epoch() {
    assert_eq!(reconcile(&[1, 1], &[1, 1, 1, 1]), (Some(2), vec![1, 1]));
}

#[test]
fn divergence_d_follower_ahead_with_a_higher_epoch() {
    assert_eq!(reconcile(&[1, 1], &[1, 1, 2, 2]), (Some(2), vec![1, 1]));
}

#[test]
fn divergence_e_both_forked_with_different_epochs() {
    assert_eq!(
        reconcile(&[1, 1, 3], &[1, 1, 2, 2]),
        (Some(2), vec![1, 1, 3])
    );
}

#[test]
fn divergence_f_leader_went_on_in_an_epoch_that_the_follower_left() {
    assert_eq!(reconcile(&[1, 1], &[1, 2, 2]), (Some(1), vec![1, 1]));
}

#[test]
fn divergence_g_no_epoch_in_common() {
    assert_eq!(reconcile(&[1, 3], &[2, 2]), (Some(0), vec![1, 3]));
}

/// KIP-101, scenario 1: a follower that restarts truncates to its stale watermark, becomes
/// leader before it has fetched again, and a committed record is gone.
fn kip_101_loss(bugs: BugSet) -> Vec<(i32, u32)> {
    let mut cluster = Cluster::new(bugs);
    cluster.image(&[1, 2], &meta(1, 1, 1, &[1, 2]));
    cluster.append(1, 7);
    cluster.fetch(2); // copies the record
    cluster.fetch(2); // says so: committed on the leader
    assert_eq!((cluster.hw(1), cluster.node(2).log.records.len()), (1, 1));
    // The follower restarts with the watermark that it knew last, and hears of the same leader.
    let log = cluster.node(2).log.clone();
    let mut settings = cluster.node(2).core.settings().clone();
    settings.broker_epoch = BrokerEpoch(201);
    cluster.node(2).core = ReplicaCore::new(settings, Offset(0), &log);
    let mut image = meta(1, 1, 2, &[1, 2]);
    image
        .peers
        .get_mut(&BrokerId(2))
        .expect("peer")
        .broker_epoch = BrokerEpoch(201);
    cluster.image(&[2], &image);
    // The leader dies before the follower has fetched.
    image.leader = Some(BrokerId(2));
    image.leader_epoch = LeaderEpoch(2);
    image.partition_epoch = PartitionEpoch(3);
    cluster.image(&[2], &image);
    cluster.node(2).log.records.clone()
}

#[test]
fn kip_101_a_restarted_follower_keeps_what_is_committed() {
    assert_eq!(kip_101_loss(BugSet::NONE), vec![(1, 7)]);
    assert_eq!(
        kip_101_loss(BugSet::NONE.with(SeededBug::TruncateToHw)),
        vec![]
    );
}

#[test]
fn a_leader_that_lost_its_disk_makes_nobody_give_up_what_is_committed() {
    let mut cluster = Cluster::new(BugSet::NONE);
    cluster.image(&[1, 2], &meta(1, 1, 1, &[1, 2]));
    cluster.append(1, 7);
    cluster.append(1, 8);
    for _ in 0..3 {
        cluster.fetch(2);
    }
    assert_eq!((cluster.hw(1), cluster.hw(2)), (2, 2));
    cluster.image(&[2, 3], &meta(3, 2, 2, &[3]));
    assert_eq!(cluster.fetch(2), Some(FollowStep::Refuse));
    assert_eq!(cluster.node(2).log.records.len(), 2);
    assert_eq!(cluster.hw(2), 2);
}

/// KIP-279: two quick failovers leave a follower whose last epoch the leader never saw; looking
/// at the leader's end of the epoch alone would leave the logs different.
#[test]
fn kip_279_quick_failovers_do_not_leave_logs_that_differ() {
    let (cut, epochs) = reconcile(&[0, 0, 1, 3], &[0, 0, 0, 2]);
    assert_eq!(
        cut,
        Some(3),
        "the leader's epoch 1 ends at 3; the follower has none"
    );
    assert_eq!(epochs, vec![0, 0, 1, 3]);
}

/// The same with the follower's own end of the epoch left out: it cuts where the leader's epoch
/// ends, is told the same again, and never comes back.
#[test]
fn m10_a_follower_that_does_not_look_at_its_own_epochs_never_rejoins() {
    let bugs = BugSet::NONE.with(SeededBug::EpochEndOffByOne);
    let rejoins = [BugSet::NONE, bugs].map(|bugs| {
        // The leader's epoch 1 ends at 4; the follower's epoch 0 ends at 2.
        let mut cluster = meeting(bugs, &[0, 0, 1, 1, 3], &[0, 0, 2, 2]);
        let steps: Vec<_> = (0..8).filter_map(|_| cluster.fetch(2)).collect();
        steps.last() == Some(&FollowStep::Keep)
    });
    assert_eq!(rejoins, [true, false]);
}

/// M03: the leader of a new epoch cuts its log to what it was told last, which is stale.
#[test]
fn m03_a_new_leader_loses_what_is_committed() {
    let kept = [BugSet::NONE, BugSet::NONE.with(SeededBug::HwFromMetadata)].map(|bugs| {
        let mut cluster = Cluster::new(bugs);
        cluster.image(&[1, 2], &meta(1, 1, 1, &[1, 2]));
        cluster.append(1, 7);
        cluster.fetch(2);
        let (says_so, _) = cluster.ask(2).expect("a fetch at 1");
        cluster.serve(1, &says_so); // committed; the answer is lost
        assert_eq!((cluster.hw(1), cluster.hw(2)), (1, 0));
        cluster.image(&[2], &meta(2, 2, 2, &[1, 2]));
        cluster.node(2).log.records.len()
    });
    assert_eq!(kept, [1, 0]);
}

/// KIP-320: a fetch that was sent in an older epoch reaches the same broker as the leader of a
/// newer one.
#[test]
fn kip_320_a_late_fetch_of_an_older_epoch_is_not_progress() {
    for (bugs, committed) in [
        (BugSet::NONE, 0),
        (BugSet::NONE.with(SeededBug::NoEpochFence), 2),
    ] {
        let mut cluster = Cluster::new(bugs);
        cluster.image(&[1, 2], &meta(1, 1, 1, &[1, 2]));
        cluster.append(1, 7);
        cluster.append(1, 8);
        cluster.fetch(2);
        let (late, _) = cluster.ask(2).expect("a fetch at 2");
        assert_eq!(late.offset, Offset(2));
        // Epoch 2 elsewhere cuts the follower back; broker 1 leads again in epoch 3.
        cluster.node(2).log.truncate(Offset(0));
        cluster.image(&[1, 2], &meta(1, 3, 3, &[1, 2]));
        cluster.serve(1, &late);
        assert_eq!(cluster.hw(1), committed, "{bugs:?}");
    }
}

#[test]
fn m09_never_reports_a_divergence_and_answers_beyond_its_end_with_nothing() {
    let bugs = BugSet::NONE.with(SeededBug::NoTruncate);
    let mut cluster = Cluster::new(bugs);
    cluster.node(1).log = TestLog::of(&[1]);
    cluster.node(2).log = TestLog::of(&[1, 1, 1]);
    cluster.image(&[1, 2], &meta(1, 3, 1, &[1, 2]));
    assert_eq!(cluster.fetch(2), Some(FollowStep::Keep));
    assert_eq!(cluster.node(2).log.records.len(), 3);
}

#[test]
fn answers_of_older_epochs_and_to_other_positions_are_dropped() {
    let mut cluster = Cluster::new(BugSet::NONE);
    cluster.image(&[1, 2, 3], &meta(1, 1, 1, &[1, 2, 3]));
    cluster.append(1, 7);
    let (_, mut answer) = cluster.ask(2).expect("follows");
    let first = Some((Offset(0), LeaderEpoch(1)));
    answer.said = LeaderSaid::Records {
        first,
        leader_hw: Offset(0),
    };
    assert_eq!(cluster.deliver(2, &answer, &[(1, 7)]), FollowStep::Append);
    assert_eq!(
        cluster.deliver(2, &answer, &[(1, 7)]),
        FollowStep::Ignore,
        "twice"
    );
    let (_, mut cut) = cluster.ask(2).expect("follows");
    cut.said = LeaderSaid::Diverging(EpochEnd {
        epoch: LeaderEpoch(0),
        end: Offset(0),
    });
    cluster.image(&[2], &meta(3, 2, 2, &[1, 2, 3]));
    assert_eq!(
        cluster.deliver(2, &cut, &[]),
        FollowStep::Ignore,
        "of an older epoch"
    );
    assert_eq!(cluster.node(2).log.records.len(), 1);
}

#[test]
fn an_answer_that_contradicts_the_log_is_refused() {
    let mut cluster = Cluster::new(BugSet::NONE);
    cluster.node(2).log = TestLog::of(&[1, 2]);
    cluster.image(&[2], &meta(1, 3, 1, &[1, 2]));
    let (_, answer) = cluster.ask(2).expect("follows");
    let mut says = |first| {
        let said = LeaderSaid::Records {
            first,
            leader_hw: Offset(0),
        };
        cluster.deliver(2, &FetchAnswer { said, ..answer }, &[])
    };
    assert_eq!(
        says(Some((Offset(1), LeaderEpoch(2)))),
        FollowStep::Refuse,
        "a gap or overlap"
    );
    assert_eq!(
        says(Some((Offset(2), LeaderEpoch(1)))),
        FollowStep::Refuse,
        "epochs go back"
    );
    assert_eq!(
        says(Some((Offset(2), LeaderEpoch(4)))),
        FollowStep::Refuse,
        "from the future"
    );
    let nothing_to_cut = LeaderSaid::Diverging(EpochEnd {
        epoch: LeaderEpoch(2),
        end: Offset(5),
    });
    let answer = FetchAnswer {
        said: nothing_to_cut,
        ..answer
    };
    assert_eq!(cluster.deliver(2, &answer, &[]), FollowStep::Refuse);
}

#[test]
fn a_follower_below_the_leaders_start_begins_anew_there() {
    let mut cluster = Cluster::new(BugSet::NONE);
    cluster.node(1).log = TestLog {
        start: 10,
        ..TestLog::of(&[1, 1])
    };
    cluster.node(2).log = TestLog::of(&[1, 1, 1]);
    cluster.image(&[1, 2], &meta(1, 2, 1, &[1, 2]));
    assert_eq!(cluster.fetch(2), Some(FollowStep::RestartAt(Offset(10))));
    assert_eq!(cluster.hw(2), 10);
    assert_eq!(cluster.fetch(2), Some(FollowStep::Append));
    assert_eq!(cluster.node(2).log.log_end(), Offset(12));
}

#[test]
fn nothing_is_fetched_before_the_own_tail_is_held() {
    let mut cluster = Cluster::new(BugSet::NONE);
    cluster.node(2).log = TestLog {
        held: Some(1),
        ..TestLog::of(&[1, 1])
    };
    cluster.image(&[2], &meta(1, 2, 1, &[1, 2]));
    assert!(cluster.ask(2).is_none());
    cluster.node(2).log.held = None;
    assert!(cluster.ask(2).is_some());
}

#[test]
fn a_broker_leads_only_in_an_epoch_granted_to_its_present_incarnation() {
    let log = TestLog::of(&[1]);
    let restarted = Settings {
        broker_epoch: BrokerEpoch(101),
        ..settings(1)
    };
    let mut core = ReplicaCore::new(restarted, Offset(0), &log);
    assert_eq!(
        core.adopt(&meta(1, 1, 1, &[1, 2]), &log, Duration::ZERO),
        vec![]
    );
    assert!(
        core.as_leader().is_none(),
        "that epoch was granted to the incarnation before"
    );
    let mut image = meta(1, 2, 2, &[1, 2]);
    image
        .peers
        .get_mut(&BrokerId(1))
        .expect("peer")
        .broker_epoch = BrokerEpoch(101);
    core.adopt(&image, &log, Duration::ZERO);
    assert!(core.as_leader().is_some());
}

#[test]
fn a_deposed_leader_fails_its_waiters_and_keeps_its_watermark() {
    let mut cluster = Cluster::new(BugSet::NONE);
    cluster.image(&[1, 2], &meta(1, 1, 1, &[1, 2]));
    cluster.append(1, 7);
    cluster.fetch(2);
    let (request, _) = cluster.ask(2).expect("follows");
    cluster.serve(1, &request); // the answer with the new watermark is lost
    cluster.effects.clear();
    cluster.image(&[1, 2], &meta(2, 2, 2, &[1, 2]));
    assert_eq!(
        cluster.effects[0],
        (1, Effect::LeadershipEnded(LeaderEpoch(1)))
    );
    assert_eq!(
        (cluster.hw(1), cluster.hw(2)),
        (1, 0),
        "the new leader's is stale"
    );
    cluster.fetch(1);
    assert_eq!(cluster.hw(2), 1);
    cluster.image(&[2], &meta(1, 1, 1, &[1, 2]));
    assert!(
        cluster.node(2).core.as_leader().is_some(),
        "older images are ignored"
    );
}

#[derive(Clone, Debug)]
enum Step {
    Append,
    Fetch(i32),
    Hold(i32),
    Elect(i32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Append),
        6 => (1..=3).prop_map(Step::Fetch),
        2 => (1..=3).prop_map(Step::Hold),
        1 => (1..=3).prop_map(Step::Elect),
    ]
}

proptest! {
    /// With all three in sync, whatever was below any watermark stays in every later leader's
    /// log, and a leader's watermark never falls within its epoch.
    #[test]
    fn committed_records_survive_every_clean_election(
        steps in prop::collection::vec(step(), 1..120)
    ) {
        let mut cluster = Cluster::new(BugSet::NONE);
        let mut epoch = 1;
        let mut leader = 1;
        let mut committed: Vec<(i32, u32)> = Vec::new();
        cluster.image(&[1, 2, 3], &meta(1, 1, 1, &[1, 2, 3]));
        for (at, step) in steps.into_iter().enumerate() {
            let before = cluster.hw(leader);
            match step {
                Step::Append => {
                    let held = cluster.nodes[&leader].log.held_end().get();
                    cluster.node(leader).log.held = Some(held);
                    cluster.append(leader, u32::try_from(at).expect("small"));
                }
                Step::Fetch(id) => {
                    cluster.fetch(id);
                }
                Step::Hold(id) => {
                    let node = cluster.node(id);
                    node.log.held = None;
                    node.core.log_grew(&node.log, Duration::ZERO);
                }
                Step::Elect(id) => {
                    epoch += 1;
                    leader = id;
                    cluster.image(&[1, 2, 3], &meta(id, epoch, epoch, &[1, 2, 3]));
                    let log = &cluster.nodes[&leader].log.records;
                    prop_assert!(log.starts_with(&committed), "{log:?} lost of {committed:?}");
                    continue;
                }
            }
            prop_assert!(cluster.hw(leader) >= before);
            let hw = usize::try_from(cluster.hw(leader)).expect("positive");
            let node = &cluster.nodes[&leader];
            prop_assert!(cluster.hw(leader) <= node.log.held_end().get());
            if hw > committed.len() {
                committed = node.log.records[..hw].to_vec();
            }
            prop_assert_eq!(&node.log.records[..hw.min(committed.len())],
                &committed[..hw.min(committed.len())]);
        }
    }
}
