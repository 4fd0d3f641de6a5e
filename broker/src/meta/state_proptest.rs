//! Invariants of the metadata state under random commands: right ones, stale ones, late copies.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use crate::meta::command::{AlterPartition, Applied, Command, LogClaim, Rejected};
use crate::meta::image::{Endpoint, MIN_INSYNC_REPLICAS, MetadataImage};
use crate::meta::state::MetadataState;
use crate::types::{BrokerEpoch, BrokerId, LeaderEpoch, PartitionEpoch, TopicId, TopicPartition};

/// A step whose epochs are taken from the state when it is carried out, `stale` below the truth.
#[derive(Clone, Debug)]
enum Step {
    Register(i32, u8),
    Unfence(i32, i64),
    Fence(i32, i64),
    Stop(i32, i64),
    Create(u8, i32, i16, i32),
    Alter {
        topic: u8,
        isr: Vec<i32>,
        stale_broker: i64,
        stale_leader: i32,
        stale_partition: i32,
    },
    Ids(i32, i32),
    /// An earlier command of the run arrives again.
    Again(usize),
    Blank,
}

fn stale() -> impl Strategy<Value = i64> {
    prop_oneof![9 => Just(0), 1 => 1..3i64]
}

fn step() -> impl Strategy<Value = Step> {
    let broker = 1..=4i32;
    prop_oneof![
        3 => (broker.clone(), 0..5u8).prop_map(|(id, claim)| Step::Register(id, claim)),
        6 => (broker.clone(), stale()).prop_map(|(id, stale)| Step::Unfence(id, stale)),
        3 => (broker.clone(), stale()).prop_map(|(id, stale)| Step::Fence(id, stale)),
        1 => (broker.clone(), stale()).prop_map(|(id, stale)| Step::Stop(id, stale)),
        2 => (0..3u8, 1..4i32, 1..4i16, 1..4i32)
            .prop_map(|(t, partitions, rf, min)| Step::Create(t, partitions, rf, min)),
        8 => (0..3u8, prop::collection::vec(broker.clone(), 0..4), stale(), stale(), stale())
            .prop_map(|(topic, isr, broker, leader, partition)| Step::Alter {
                topic,
                isr,
                stale_broker: broker,
                stale_leader: leader as i32,
                stale_partition: partition as i32,
            }),
        1 => (broker, 0..3i32).prop_map(|(id, count)| Step::Ids(id, count)),
        3 => (0..100usize).prop_map(Step::Again),
        1 => Just(Step::Blank),
    ]
}

/// The command that `step` means in this state; `None` is a blank entry.
fn command(step: &Step, nth: usize, image: &MetadataImage, past: &[Command]) -> Option<Command> {
    let epoch = |id: i32, stale: i64| {
        let broker = image.brokers.get(&BrokerId(id));
        BrokerEpoch(broker.map_or(0, |broker| broker.epoch.0) - stale)
    };
    Some(match step {
        Step::Register(id, claim) => Command::RegisterBroker {
            id: BrokerId(*id),
            incarnation: uuid::Uuid::from_u128(nth as u128 + 1),
            cluster_id: "c".to_owned(),
            client: endpoint(),
            replication: endpoint(),
            log: match claim {
                0 => LogClaim::Unclean,
                1 => LogClaim::CleanShutdown(epoch(*id, 0)),
                2 => LogClaim::CleanShutdown(epoch(*id, 1)),
                3 => LogClaim::Lost,
                _ => LogClaim::Recovered,
            },
        },
        Step::Unfence(id, stale) => Command::UnfenceBroker {
            id: BrokerId(*id),
            epoch: epoch(*id, *stale),
        },
        Step::Fence(id, stale) => Command::FenceBroker {
            id: BrokerId(*id),
            epoch: epoch(*id, *stale),
        },
        Step::Stop(id, stale) => Command::BeginControlledShutdown {
            id: BrokerId(*id),
            epoch: epoch(*id, *stale),
        },
        Step::Create(topic, partitions, rf, min_isr) => Command::CreateTopic {
            name: format!("t{topic}"),
            id: topic_id(*topic),
            partitions: *partitions,
            replication_factor: *rf,
            configs: BTreeMap::from([(MIN_INSYNC_REPLICAS.to_owned(), min_isr.to_string())]),
        },
        Step::Alter { .. } => return alter(step, image, epoch),
        Step::Ids(id, count) => Command::AllocateProducerIds {
            id: BrokerId(*id),
            epoch: epoch(*id, 0),
            count: *count,
        },
        Step::Again(which) if !past.is_empty() => past[which % past.len()].clone(),
        Step::Again(_) | Step::Blank => return None,
    })
}

/// The leader's proposal for the first partition of a topic, if there is one.
fn alter(
    step: &Step,
    image: &MetadataImage,
    epoch: impl Fn(i32, i64) -> BrokerEpoch,
) -> Option<Command> {
    let Step::Alter {
        topic,
        isr,
        stale_broker,
        stale_leader,
        stale_partition,
    } = step
    else {
        return None;
    };
    let at = TopicPartition {
        topic: topic_id(*topic),
        partition: 0,
    };
    let partition = image.partition(at)?;
    let leader = partition.leader.unwrap_or(BrokerId(1));
    let others = isr.iter().copied().filter(|id| *id != leader.0);
    Some(Command::AlterPartition(AlterPartition {
        leader,
        leader_broker_epoch: epoch(leader.0, 0),
        partition: at,
        leader_epoch: LeaderEpoch(partition.leader_epoch.0 - stale_leader),
        partition_epoch: PartitionEpoch(partition.partition_epoch.0 - stale_partition),
        new_isr: std::iter::once(leader.0)
            .chain(others)
            .map(|id| (BrokerId(id), epoch(id, *stale_broker)))
            .collect(),
    }))
}

fn endpoint() -> Endpoint {
    Endpoint {
        host: "h".to_owned(),
        port: 1,
    }
}

fn topic_id(topic: u8) -> TopicId {
    TopicId(uuid::Uuid::from_u128(u128::from(topic) + 1))
}

/// What must hold in every state.
fn check_state(image: &MetadataImage) {
    for topic in image.topics.values() {
        for p in &topic.partitions {
            let within = |ids: &[BrokerId]| ids.iter().all(|id| p.replicas.contains(id));
            assert!(within(&p.isr) && within(&p.elr), "{p:?}");
            assert!(p.isr.iter().all(|id| !p.elr.contains(id)), "{p:?}");
            assert!(p.isr.iter().all(|id| image.is_active(*id)), "{p:?}");
            match p.leader {
                Some(leader) => assert!(p.isr.contains(&leader), "{p:?}"),
                None => assert!(p.isr.is_empty(), "{p:?}"),
            }
            if p.isr.len() >= topic.min_isr(p) {
                assert!(p.elr.is_empty(), "{p:?}");
            }
            if p.leader.is_none() {
                let electable = |id: &&BrokerId| image.is_active(**id);
                assert_eq!(p.elr.iter().find(electable), None, "nobody leads: {p:?}");
            }
        }
    }
}

/// What must hold between a state and the next.
fn check_change(old: &MetadataImage, new: &MetadataImage) {
    assert!(new.index > old.index);
    assert!(new.next_producer_id >= old.next_producer_id);
    for (id, broker) in &old.brokers {
        let now = &new.brokers[id];
        assert!(now.epoch >= broker.epoch);
        assert_eq!(
            now.epoch == broker.epoch,
            now.incarnation == broker.incarnation
        );
    }
    for (id, topic) in &old.topics {
        for (p, q) in topic.partitions.iter().zip(&new.topics[id].partitions) {
            if p == q {
                continue;
            }
            assert_eq!(q.partition_epoch.0, p.partition_epoch.0 + 1, "I14");
            let elected = i32::from(p.leader != q.leader);
            assert_eq!(q.leader_epoch.0, p.leader_epoch.0 + elected, "I14");
            if let Some(leader) = q.leader
                && p.leader != q.leader
            {
                let clean = p.isr.contains(&leader) || p.elr.contains(&leader);
                let heir = p.last_known_leader == Some(leader) && q.isr == [leader];
                assert!(clean || heir, "I15: {p:?} -> {q:?}");
            }
        }
    }
    for broker in new.brokers.values().filter(|broker| !broker.active()) {
        let leads = |image: &MetadataImage| {
            let partitions = image.topics.values().flat_map(|t| &t.partitions);
            partitions.filter(|p| p.leader == Some(broker.id)).count()
        };
        assert_eq!(leads(new), 0, "{} is not active and leads", broker.id);
    }
}

/// Whether this refusal may leave a trace.
fn voids_copies(decision: &Result<Applied, Rejected>) -> bool {
    matches!(decision, Err(Rejected::IneligibleReplica(_)))
}

fn without_index(image: &MetadataImage) -> MetadataImage {
    MetadataImage {
        index: 0,
        ..image.clone()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn invariants_hold_and_replay_is_exact(
        steps in prop::collection::vec(step(), 1..80),
        cut in 0..80usize,
    ) {
        let mut state = MetadataState::default();
        let mut log: Vec<Option<Command>> = Vec::new();
        let mut past = Vec::new();
        let mut snapshot = state.encode();
        for (nth, step) in steps.iter().enumerate() {
            let old = state.image();
            let entry = command(step, nth, &old, &past);
            let index = nth as u64 + 1;
            match entry.clone() {
                None => state.skip(index),
                Some(command) => {
                    past.push(command.clone());
                    let decision = state.apply(index, command);
                    if decision.is_err() && !voids_copies(&decision) {
                        prop_assert_eq!(without_index(&old), without_index(&state.image()));
                    }
                }
            }
            check_state(&state.image());
            check_change(&old, &state.image());
            log.push(entry);
            if nth == cut {
                snapshot = state.encode();
            }
        }

        let replay = |mut state: MetadataState| {
            let from = usize::try_from(state.image().index).expect("small");
            for (nth, entry) in log.iter().enumerate().skip(from) {
                let index = nth as u64 + 1;
                match entry.clone() {
                    None => state.skip(index),
                    Some(command) => drop(state.apply(index, command)),
                }
            }
            state
        };
        prop_assert_eq!(&replay(MetadataState::default()), &state);
        let restored = MetadataState::decode(&snapshot).expect("own snapshot");
        prop_assert_eq!(&replay(restored), &state, "snapshot + tail == full replay");
    }

    #[test]
    fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Command::decode(&bytes);
        let _ = MetadataState::decode(&bytes);
        let mut versioned = vec![1];
        versioned.extend(bytes);
        let _ = Command::decode(&versioned);
        let _ = MetadataState::decode(&versioned).map(|state| Arc::strong_count(&state.image()));
    }
}
