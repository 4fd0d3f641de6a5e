//! Decisions of the controller, one rule a test; the invariants under random commands are in
//! `state_proptest`.

use super::*;
use crate::meta::image::Endpoint;
use crate::types::{LeaderEpoch, PartitionEpoch, TopicPartition};

/// A state with its log's end.
struct World {
    state: MetadataState,
    index: u64,
    incarnations: u128,
}

const TOPIC: TopicId = TopicId(uuid::Uuid::from_u128(77));

impl World {
    /// Brokers 1, 2, .. are live.
    fn new(brokers: i32) -> Self {
        let mut world = World {
            state: MetadataState::default(),
            index: 0,
            incarnations: 0,
        };
        for id in 1..=brokers {
            world.start(id, LogClaim::Recovered);
        }
        world
    }

    fn apply(&mut self, command: Command) -> Result<Applied, Rejected> {
        self.index += 1;
        self.state.apply(self.index, command)
    }

    fn ok(&mut self, command: Command) -> Applied {
        self.apply(command).expect("accepted")
    }

    fn register(&mut self, id: i32, log: LogClaim) -> BrokerEpoch {
        self.incarnations += 1;
        let incarnation = uuid::Uuid::from_u128(self.incarnations);
        match self.ok(registration(id, incarnation, log)) {
            Applied::Registered { epoch } => epoch,
            other => panic!("{other:?}"),
        }
    }

    fn start(&mut self, id: i32, log: LogClaim) {
        self.register(id, log);
        self.unfence(id);
    }

    fn epoch(&self, id: i32) -> BrokerEpoch {
        self.state.image().brokers[&BrokerId(id)].epoch
    }

    fn unfence(&mut self, id: i32) {
        let epoch = self.epoch(id);
        let id = BrokerId(id);
        self.ok(Command::UnfenceBroker { id, epoch });
    }

    fn fence(&mut self, id: i32) {
        let epoch = self.epoch(id);
        let id = BrokerId(id);
        self.ok(Command::FenceBroker { id, epoch });
    }

    fn stop(&mut self, id: i32) {
        let epoch = self.epoch(id);
        let id = BrokerId(id);
        self.ok(Command::BeginControlledShutdown { id, epoch });
    }

    /// One partition over all live brokers.
    fn topic(&mut self, replicas: i16, min_isr: i32) {
        self.ok(creation("t", TOPIC, 1, replicas, min_isr));
    }

    fn partition(&self) -> Arc<PartitionImage> {
        self.state.image().topics[&TOPIC].partitions[0].clone()
    }

    /// The leader's proposal of `isr`, right in every respect.
    fn proposal(&self, isr: &[i32]) -> AlterPartition {
        let partition = self.partition();
        let leader = partition.leader.expect("there is a leader");
        AlterPartition {
            leader,
            leader_broker_epoch: self.epoch(leader.0),
            partition: TopicPartition {
                topic: TOPIC,
                partition: 0,
            },
            leader_epoch: partition.leader_epoch,
            partition_epoch: partition.partition_epoch,
            new_isr: isr
                .iter()
                .map(|id| (BrokerId(*id), self.epoch(*id)))
                .collect(),
        }
    }

    fn alter(&mut self, isr: &[i32]) -> Result<Applied, Rejected> {
        let proposal = self.proposal(isr);
        self.apply(Command::AlterPartition(proposal))
    }

    /// `leader/isr/elr` in a readable form.
    fn shape(&self) -> String {
        let p = self.partition();
        let ids = |ids: &[BrokerId]| ids.iter().map(|id| id.to_string()).collect::<String>();
        let leader = p.leader.map_or("-".to_owned(), |id| id.to_string());
        format!("{leader}/{}/{}", ids(&p.isr), ids(&p.elr))
    }
}

fn registration(id: i32, incarnation: uuid::Uuid, log: LogClaim) -> Command {
    let endpoint = Endpoint {
        host: "localhost".to_owned(),
        port: 1,
    };
    Command::RegisterBroker {
        id: BrokerId(id),
        incarnation,
        cluster_id: "cluster".to_owned(),
        client: endpoint.clone(),
        replication: endpoint,
        log,
    }
}

fn creation(name: &str, id: TopicId, partitions: i32, rf: i16, min_isr: i32) -> Command {
    Command::CreateTopic {
        name: name.to_owned(),
        id,
        partitions,
        replication_factor: rf,
        configs: BTreeMap::from([(MIN_INSYNC_REPLICAS.to_owned(), min_isr.to_string())]),
    }
}

#[test]
fn a_retried_registration_gets_the_epoch_it_has_and_a_new_incarnation_a_larger_one() {
    let mut world = World::new(1);
    let first = world.epoch(1);
    let image = world.state.image();
    let incarnation = image.brokers[&BrokerId(1)].incarnation;
    let retried = world.ok(registration(1, incarnation, LogClaim::Unclean));
    assert_eq!(retried, Applied::Registered { epoch: first });
    assert!(!world.state.image().brokers[&BrokerId(1)].fenced);
    let second = world.register(1, LogClaim::Recovered);
    assert!(second > first);
    assert!(world.state.image().brokers[&BrokerId(1)].fenced);
}

#[test]
fn the_first_registration_names_the_cluster() {
    let mut world = World::new(1);
    assert_eq!(world.state.image().cluster_id, "cluster");
    let mut other = registration(2, uuid::Uuid::from_u128(99), LogClaim::Recovered);
    if let Command::RegisterBroker { cluster_id, .. } = &mut other {
        *cluster_id = "another".to_owned();
    }
    world.ok(other);
    assert_eq!(world.state.image().cluster_id, "cluster");
}

#[test]
fn commands_of_an_old_or_unknown_registration_are_refused() {
    let mut world = World::new(2);
    let old = world.epoch(1);
    let current = world.register(1, LogClaim::Recovered);
    let id = BrokerId(1);
    for command in [
        Command::UnfenceBroker { id, epoch: old },
        Command::FenceBroker { id, epoch: old },
        Command::BeginControlledShutdown { id, epoch: old },
        Command::AllocateProducerIds {
            id,
            epoch: old,
            count: 1,
        },
    ] {
        let before = world.state.image();
        assert_eq!(
            world.apply(command),
            Err(Rejected::StaleBrokerEpoch { current })
        );
        assert_eq!(before.brokers, world.state.image().brokers);
    }
    let id = BrokerId(9);
    assert_eq!(
        world.apply(Command::UnfenceBroker { id, epoch: old }),
        Err(Rejected::UnknownBroker(id))
    );
}

#[test]
fn a_new_topic_has_balanced_leaders_and_everybody_in_sync() {
    let mut world = World::new(3);
    world.ok(creation("t", TOPIC, 6, 3, 2));
    let topic = world.state.image().topics[&TOPIC].clone();
    let mut leaders: BTreeMap<BrokerId, usize> = BTreeMap::new();
    for partition in &topic.partitions {
        *leaders.entry(partition.leader.expect("led")).or_default() += 1;
        assert_eq!(partition.isr, partition.replicas);
        assert_eq!(partition.leader_epoch, LeaderEpoch(0));
    }
    assert_eq!(leaders.values().copied().collect::<Vec<_>>(), [2, 2, 2]);
}

#[test]
fn a_topic_is_created_once_however_often_it_is_proposed() {
    let mut world = World::new(3);
    let command = creation("t", TOPIC, 2, 3, 2);
    assert_eq!(
        world.ok(command.clone()),
        Applied::TopicCreated { id: TOPIC }
    );
    let topics = world.state.image().topics.clone();
    assert_eq!(world.ok(command), Applied::TopicCreated { id: TOPIC });
    assert_eq!(world.state.image().topics, topics);
    let other = TopicId(uuid::Uuid::from_u128(78));
    assert_eq!(
        world.apply(creation("t", other, 2, 3, 2)),
        Err(Rejected::TopicExists("t".to_owned()))
    );
    assert!(matches!(
        world.apply(creation("u", TOPIC, 2, 3, 2)),
        Err(Rejected::InvalidRequest(_))
    ));
}

#[test]
fn bad_topics_are_refused() {
    let mut world = World::new(3);
    world.fence(3);
    let refused = |world: &mut World, name: &str, partitions, rf, min_isr| {
        world
            .apply(creation(name, TOPIC, partitions, rf, min_isr))
            .expect_err("refused")
    };
    for name in ["", ".", "..", "a b", "ü", &"x".repeat(250)] {
        assert!(matches!(
            refused(&mut world, name, 1, 1, 1),
            Rejected::InvalidTopicName(_)
        ));
    }
    for partitions in [0, -1, MAX_PARTITIONS + 1] {
        assert_eq!(
            refused(&mut world, "t", partitions, 1, 1),
            Rejected::InvalidPartitions(partitions)
        );
    }
    for wanted in [0, -1, 3] {
        let available = 2;
        assert_eq!(
            refused(&mut world, "t", 1, wanted, 1),
            Rejected::InvalidReplicationFactor { wanted, available }
        );
    }
    assert!(matches!(
        refused(&mut world, "t", 1, 1, 0),
        Rejected::InvalidConfig(_)
    ));
    assert!(world.state.image().topics.is_empty());
}

#[test]
fn a_cluster_has_no_more_partitions_than_it_may() {
    let mut world = World::new(1);
    let mut create = |number: u128, partitions: i32| {
        let id = TopicId(uuid::Uuid::from_u128(number));
        world.apply(creation(&format!("t{number}"), id, partitions, 1, 1))
    };
    assert!(create(1, MAX_PARTITIONS).is_ok());
    assert!(create(2, MAX_PARTITIONS - 1).is_ok());
    let refused = Rejected::TooManyPartitions {
        wanted: 2,
        existing: MAX_CLUSTER_PARTITIONS - 1,
        limit: MAX_CLUSTER_PARTITIONS,
    };
    assert_eq!(create(3, 2), Err(refused));
    assert!(create(4, 1).is_ok());
    // A copy of a command that was accepted is still accepted.
    assert!(create(1, MAX_PARTITIONS).is_ok());
}

#[test]
fn a_fenced_leader_is_replaced_from_the_isr() {
    let mut world = World::new(3);
    world.topic(3, 2);
    assert_eq!(world.shape(), "1/123/");
    world.fence(1);
    assert_eq!(world.shape(), "2/23/");
    assert_eq!(world.partition().leader_epoch, LeaderEpoch(1));
    assert_eq!(world.partition().partition_epoch, PartitionEpoch(1));
    world.unfence(1);
    assert_eq!(world.shape(), "2/23/", "coming back is not leading again");
    assert_eq!(world.partition().partition_epoch, PartitionEpoch(1));
}

#[test]
fn a_fenced_follower_leaves_the_isr_in_the_same_leader_epoch() {
    let mut world = World::new(3);
    world.topic(3, 2);
    world.fence(3);
    assert_eq!(world.shape(), "1/12/");
    assert_eq!(world.partition().leader_epoch, LeaderEpoch(0));
    assert_eq!(world.partition().partition_epoch, PartitionEpoch(1));
}

#[test]
fn who_leaves_an_isr_at_its_minimum_stays_eligible_until_the_isr_is_whole_again() {
    let mut world = World::new(3);
    world.topic(3, 2);
    world.fence(3);
    assert_eq!(world.shape(), "1/12/", "3 left above the minimum");
    world.fence(2);
    assert_eq!(world.shape(), "1/1/2");
    world.fence(1);
    assert_eq!(world.shape(), "-//12");
    world.unfence(3);
    assert_eq!(world.shape(), "-//12", "3 may lack committed records");
    world.unfence(2);
    assert_eq!(world.shape(), "2/2/1");
    world.alter(&[2, 3]).expect("3 caught up");
    assert_eq!(world.shape(), "2/23/", "at the minimum the ELR is void");
}

#[test]
fn with_a_minimum_of_one_nobody_but_the_last_member_is_eligible() {
    let mut world = World::new(3);
    world.topic(3, 1);
    world.fence(3);
    world.fence(2);
    assert_eq!(world.shape(), "1/1/");
    world.fence(1);
    assert_eq!(world.shape(), "-//1");
    world.unfence(2);
    world.unfence(3);
    assert_eq!(world.shape(), "-//1", "no unclean election");
    world.unfence(1);
    assert_eq!(world.shape(), "1/1/");
    assert_eq!(world.partition().leader_epoch, LeaderEpoch(2));
}

#[test]
fn a_new_incarnation_never_goes_on_in_the_epoch_it_led_even_as_the_only_member() {
    let mut world = World::new(1);
    world.topic(1, 1);
    let before = world.partition().leader_epoch;
    world.start(1, LogClaim::Recovered);
    assert_eq!(world.shape(), "1/1/");
    assert!(world.partition().leader_epoch > before, "KAFKA-18106");
}

#[test]
fn a_new_incarnation_of_a_live_leader_hands_over_at_once() {
    let mut world = World::new(3);
    world.topic(3, 2);
    world.register(1, LogClaim::Recovered);
    assert_eq!(world.shape(), "2/23/");
    assert_eq!(world.partition().leader_epoch, LeaderEpoch(1));
}

#[test]
fn an_unclean_start_loses_every_claim() {
    let mut world = World::new(3);
    world.topic(3, 2);
    world.fence(3);
    world.fence(2);
    world.fence(1);
    assert_eq!(world.shape(), "-//12");
    world.start(1, LogClaim::Unclean);
    assert_eq!(world.shape(), "-//2", "1 is alive, and must not lead");
    world.unfence(2);
    assert_eq!(world.shape(), "2/2/");
}

#[test]
fn a_clean_shutdown_marker_counts_for_the_last_registration_only() {
    for (off, kept) in [(0, true), (1, false)] {
        let mut world = World::new(3);
        world.topic(3, 2);
        world.fence(3);
        world.fence(2);
        world.stop(1);
        assert_eq!(world.shape(), "-//12");
        let marker = BrokerEpoch(world.epoch(1).0 - off);
        world.start(1, LogClaim::CleanShutdown(marker));
        assert_eq!(world.shape(), if kept { "1/1/2" } else { "-//2" });
    }
}

#[test]
fn when_everybody_lost_everything_the_last_leader_goes_on() {
    let mut world = World::new(3);
    world.topic(3, 2);
    for id in [3, 2, 1] {
        world.register(id, LogClaim::Unclean);
    }
    assert_eq!(world.shape(), "-//");
    assert_eq!(world.partition().last_known_leader, Some(BrokerId(1)));
    world.unfence(2);
    world.unfence(3);
    assert_eq!(world.shape(), "-//", "I16: only who led last");
    world.unfence(1);
    assert_eq!(world.shape(), "1/1/");
}

#[test]
fn a_last_leader_without_its_log_is_no_heir_while_there_are_others() {
    let mut world = World::new(3);
    world.topic(3, 2);
    // 3 lags and leaves; it holds most of what was committed, and is no member.
    world.alter(&[1, 2]).expect("3 lags");
    world.fence(2);
    assert_eq!(world.shape(), "1/1/2");
    world.start(2, LogClaim::Lost);
    assert_eq!(world.shape(), "1/1/", "2 may not lead with a new disk");
    world.start(1, LogClaim::Lost);
    assert_eq!(world.shape(), "-//", "3 has committed records that 1 lacks");
    for id in [1, 2, 3] {
        world.start(id, LogClaim::Recovered);
        assert_eq!(world.shape(), "-//");
    }

    // Known to be unclean first, and gone later: the same.
    let mut world = World::new(2);
    world.topic(2, 2);
    world.register(2, LogClaim::Unclean);
    world.register(1, LogClaim::Unclean);
    let before = world.partition().partition_epoch;
    world.start(1, LogClaim::Lost);
    assert_eq!(world.shape(), "-//");
    assert!(world.partition().partition_epoch > before, "I14");
}

#[test]
fn the_only_replica_goes_on_without_its_log() {
    let mut world = World::new(1);
    world.topic(1, 1);
    world.start(1, LogClaim::Lost);
    assert_eq!(world.shape(), "1/1/");
}

#[test]
fn when_everybody_restarts_with_a_recovered_log_membership_is_kept() {
    let mut world = World::new(3);
    world.topic(3, 2);
    for id in [1, 2, 3] {
        world.register(id, LogClaim::Recovered);
    }
    assert_eq!(world.shape(), "-//23");
    world.unfence(1);
    assert_eq!(world.shape(), "-//23");
    world.unfence(3);
    assert_eq!(world.shape(), "3/3/2");
}

#[test]
fn controlled_shutdown_moves_leadership_and_keeps_the_broker_out() {
    let mut world = World::new(3);
    world.topic(3, 2);
    world.stop(1);
    assert_eq!(world.shape(), "2/23/");
    assert_eq!(
        world.alter(&[1, 2, 3]),
        Err(Rejected::IneligibleReplica(BrokerId(1)))
    );
    world.fence(1);
    let epoch = world.epoch(1);
    let id = BrokerId(1);
    assert!(world.apply(Command::UnfenceBroker { id, epoch }).is_err());
    world.start(1, LogClaim::Recovered);
    world.alter(&[1, 2, 3]).expect("a new life");
    assert_eq!(world.shape(), "2/123/");
}

#[test]
fn alter_partition_is_compare_and_swap() {
    let mut world = World::new(3);
    world.topic(3, 2);
    let proposal = world.proposal(&[1, 2]);
    assert_eq!(
        world.ok(Command::AlterPartition(proposal.clone())),
        Applied::PartitionAltered {
            partition_epoch: PartitionEpoch(1),
            isr: vec![BrokerId(1), BrokerId(2)],
        }
    );
    let current = PartitionEpoch(1);
    assert_eq!(
        world.apply(Command::AlterPartition(proposal)),
        Err(Rejected::InvalidUpdateVersion { current }),
        "a second copy"
    );
    assert_eq!(world.shape(), "1/12/");
}

#[test]
fn alter_partition_refuses_what_is_wrong_and_changes_nothing() {
    let mut world = World::new(4);
    world.topic(3, 2);
    let right = world.proposal(&[1, 2]);
    let before = world.partition();
    let refused = |world: &mut World, edit: &dyn Fn(&mut AlterPartition)| {
        let mut proposal = right.clone();
        edit(&mut proposal);
        let refusal = world.apply(Command::AlterPartition(proposal));
        refusal.expect_err("refused")
    };
    let w = &mut world;
    assert!(matches!(
        refused(w, &|p| p.leader_broker_epoch = BrokerEpoch(0)),
        Rejected::StaleBrokerEpoch { .. }
    ));
    assert!(matches!(
        refused(w, &|p| p.leader = BrokerId(8)),
        Rejected::UnknownBroker(BrokerId(8))
    ));
    assert_eq!(
        refused(w, &|p| p.partition.partition = 1),
        Rejected::UnknownPartition
    );
    assert_eq!(
        refused(w, &|p| p.partition.partition = -1),
        Rejected::UnknownPartition
    );
    assert_eq!(
        refused(w, &|p| p.partition.topic = TopicId::default()),
        Rejected::UnknownPartition
    );
    for epoch in [-1, 1] {
        let current = LeaderEpoch(0);
        assert_eq!(
            refused(w, &|p| p.leader_epoch = LeaderEpoch(epoch)),
            Rejected::FencedLeaderEpoch { current }
        );
        let current = PartitionEpoch(0);
        assert_eq!(
            refused(w, &|p| p.partition_epoch = PartitionEpoch(epoch)),
            Rejected::InvalidUpdateVersion { current }
        );
    }
    let two = (BrokerId(2), w.epoch(2));
    let stranger = (BrokerId(4), w.epoch(4));
    for isr in [vec![], vec![two], vec![right.new_isr[0], stranger]] {
        assert!(matches!(
            refused(w, &|p| p.new_isr = isr.clone()),
            Rejected::InvalidRequest(_)
        ));
    }
    assert!(matches!(
        refused(w, &|p| p.new_isr.push(two)),
        Rejected::InvalidRequest(_)
    ));
    let by_another = world.epoch(2);
    assert!(matches!(
        refused(&mut world, &|p| {
            p.leader = BrokerId(2);
            p.leader_broker_epoch = by_another;
        }),
        Rejected::InvalidRequest(_)
    ));
    assert_eq!(world.partition(), before);
}

#[test]
fn a_joiner_must_be_live_and_of_the_incarnation_that_fetched() {
    let mut world = World::new(3);
    world.topic(3, 2);
    world.fence(3);
    let refusal = Err(Rejected::IneligibleReplica(BrokerId(3)));
    assert_eq!(world.alter(&[1, 2, 3]), refusal, "fenced");
    world.unfence(3);
    let before = world.proposal(&[1, 2, 3]);
    world.start(3, LogClaim::Recovered);
    assert_eq!(
        world.apply(Command::AlterPartition(before)),
        refusal,
        "KIP-903: an earlier life"
    );
    world.alter(&[1, 2, 3]).expect("its present life");
}

#[test]
fn a_refusal_that_lets_the_leader_take_back_also_voids_every_other_copy() {
    let mut world = World::new(3);
    world.topic(3, 2);
    world.fence(3);
    let proposal = world.proposal(&[1, 2, 3]);
    assert!(
        world
            .apply(Command::AlterPartition(proposal.clone()))
            .is_err()
    );
    // The leader has taken it back, and 3 becomes eligible again: a delayed copy arrives.
    world.unfence(3);
    assert!(matches!(
        world.apply(Command::AlterPartition(proposal)),
        Err(Rejected::InvalidUpdateVersion { .. })
    ));
    assert_eq!(world.shape(), "1/12/");
}

#[test]
fn producer_ids_are_never_granted_twice() {
    let mut world = World::new(2);
    let mut next = 0;
    for (id, count) in [(1, 1000), (2, 10), (1, 1)] {
        let epoch = world.epoch(id);
        let granted = world.ok(Command::AllocateProducerIds {
            id: BrokerId(id),
            epoch,
            count,
        });
        let first = ProducerId(next);
        assert_eq!(granted, Applied::ProducerIds { first, count });
        next += i64::from(count);
    }
    let epoch = world.epoch(1);
    for count in [0, -1, MAX_PRODUCER_IDS + 1] {
        let id = BrokerId(1);
        assert!(matches!(
            world.apply(Command::AllocateProducerIds { id, epoch, count }),
            Err(Rejected::InvalidRequest(_))
        ));
    }
}

#[test]
fn a_published_image_does_not_change_under_its_reader() {
    let mut world = World::new(3);
    world.topic(3, 2);
    let published = world.state.image();
    let copy = (*published).clone();
    world.fence(1);
    assert_eq!(*published, copy);
    assert_ne!(*world.state.image(), copy);
    assert!(
        Arc::ptr_eq(
            &published.brokers[&BrokerId(2)],
            &world.state.image().brokers[&BrokerId(2)]
        ),
        "what did not change is shared"
    );
}

#[test]
fn a_snapshot_holds_everything() {
    let mut world = World::new(3);
    world.topic(3, 2);
    world.fence(2);
    let copy = MetadataState::decode(&world.state.encode()).expect("decoded");
    assert_eq!(copy, world.state);
    assert!(MetadataState::decode(b"\x01[").is_err());
    assert!(MetadataState::decode(b"\x09{}").is_err());
}

#[test]
#[should_panic(expected = "was applied after")]
fn the_log_is_applied_in_order() {
    let mut world = World::new(1);
    world.index -= 2;
    world.register(2, LogClaim::Recovered);
}

/// The logs of all in-sync replicas are gone: nobody leads until an operator says who, and then
/// nobody else is elected.
#[test]
fn an_unclean_election_is_an_operators_and_only_where_nobody_leads() {
    let mut world = World::new(3);
    world.topic(3, 2);
    let partition = world.proposal(&[]).partition;
    let order = |leader| Command::ElectUnclean {
        partition,
        leader: BrokerId(leader),
    };
    let refused = |decision| matches!(decision, Err(Rejected::InvalidRequest(_)));
    assert!(refused(world.apply(order(2))), "somebody leads");
    world.fence(3);
    world.alter(&[1]).expect("2 lags");
    world.register(2, LogClaim::Lost);
    world.start(1, LogClaim::Lost);
    world.unfence(3);
    assert_eq!(world.partition().leader, None);
    assert!(refused(world.apply(order(2))), "it is fenced");
    assert!(refused(world.apply(order(9))), "it is a stranger");
    let before = world.partition();
    world.ok(order(3));
    let after = world.partition();
    assert_eq!(
        (after.leader, &after.isr),
        (Some(BrokerId(3)), &vec![BrokerId(3)])
    );
    assert_eq!(after.leader_epoch.0, before.leader_epoch.0 + 1);
    assert_eq!(after.partition_epoch.0, before.partition_epoch.0 + 1);
    assert!(
        refused(world.apply(order(1))),
        "a late copy changes nothing"
    );
    assert_eq!(world.partition(), after);
    world.alter(&[3, 1]).expect("1 has caught up");
}

#[path = "state_seeded_test.rs"]
mod seeded;
