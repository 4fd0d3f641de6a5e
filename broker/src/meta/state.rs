//! PURE: the metadata state machine. `apply` decides every command in log order; nothing is
//! decided before. Equal on every broker, because it depends on nothing but the log.
//!
//! Every command may be applied twice (a proposer that heard no answer tries again), and a copy
//! may come late. What makes that harmless, command by command:
//! * `RegisterBroker`: the same incarnation gets the epoch that it has;
//! * `Unfence`, `Fence`, `BeginControlledShutdown`: bound to one registration, and idempotent;
//! * `CreateTopic`: the same topic id is the same topic;
//! * `AlterPartition`: compare-and-swap on the partition epoch, which also grows when a proposal
//!   is refused in a way that lets the leader take it back;
//! * `ElectUnclean`: only where nobody leads;
//! * `AllocateProducerIds`: a copy burns a block.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::chaos::seeded_bug::{BugSet, SeededBug};
use crate::invariants::{Invariant, uphold_that};
use crate::meta::codec::{CodecError, Format};
use crate::meta::command::{AlterPartition, Applied, Command, LogClaim, Rejected};
use crate::meta::controller::{self, Rules};
use crate::meta::image::{
    BrokerImage, MIN_INSYNC_REPLICAS, MetadataImage, PartitionImage, TopicImage,
};
use crate::meta::placement;
use crate::types::{BrokerEpoch, BrokerId, ProducerId, TopicId, TopicPartition};

/// Most partitions of one topic.
pub const MAX_PARTITIONS: i32 = 10_000;
/// Most partitions of all topics together: each costs its brokers a task, a log and a mailbox.
pub const MAX_CLUSTER_PARTITIONS: usize = 20_000;
/// Most producer ids in one block.
pub const MAX_PRODUCER_IDS: i32 = 100_000;
/// Longest topic name, in bytes (Kafka's limit).
const MAX_TOPIC_NAME: usize = 249;

/// How a snapshot of the state is written down.
pub const SNAPSHOT_FORMAT: Format = Format {
    what: "metadata snapshot",
    version: 1,
};

/// Everything that the commands up to `image().index` made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct MetadataState {
    /// Published as it is; copied, and only along the changed paths, when it changes next.
    image: Arc<MetadataImage>,
    /// Rules that are switched off.
    bugs: BugSet,
}

impl MetadataState {
    /// The state that `image` describes.
    #[must_use]
    pub fn from_image(image: Arc<MetadataImage>) -> Self {
        let bugs = BugSet::NONE;
        Self { image, bugs }
    }

    /// The same state, from here on without the rules that `bugs` switches off.
    #[must_use]
    pub fn with_bugs(self, bugs: BugSet) -> Self {
        Self { bugs, ..self }
    }

    /// What brokers act on. Costs one reference count.
    #[must_use]
    pub fn image(&self) -> Arc<MetadataImage> {
        self.image.clone()
    }

    /// As written down in a snapshot.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        SNAPSHOT_FORMAT.encode(&*self.image)
    }

    /// The state that a snapshot holds.
    ///
    /// # Errors
    /// [`CodecError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let image = SNAPSHOT_FORMAT.decode(bytes)?;
        Ok(Self::from_image(Arc::new(image)))
    }

    /// Notes that the log went on to `index` without a command (a new Raft leader's blank entry).
    pub fn skip(&mut self, index: u64) {
        self.advance(index);
    }

    /// Decides `command`, which stands at `index` in the log.
    ///
    /// # Errors
    /// [`Rejected`]; see there for what a refusal leaves behind.
    pub fn apply(&mut self, index: u64, command: Command) -> Result<Applied, Rejected> {
        self.advance(index);
        match command {
            Command::RegisterBroker {
                id,
                incarnation,
                cluster_id,
                client,
                replication,
                log,
            } => {
                let broker = BrokerImage {
                    id,
                    epoch: BrokerEpoch(i64::try_from(index).expect("a log of 2^63 entries")),
                    incarnation,
                    fenced: true,
                    in_controlled_shutdown: false,
                    client,
                    replication,
                };
                Ok(self.register(broker, cluster_id, log))
            }
            Command::UnfenceBroker { id, epoch } => self.unfence(id, epoch),
            Command::FenceBroker { id, epoch } => {
                self.registered(id, epoch)?;
                self.retire(id, |broker| broker.fenced = true);
                Ok(Applied::Done)
            }
            Command::BeginControlledShutdown { id, epoch } => {
                self.registered(id, epoch)?;
                self.retire(id, |broker| broker.in_controlled_shutdown = true);
                Ok(Applied::Done)
            }
            Command::CreateTopic {
                name,
                id,
                partitions,
                replication_factor,
                configs,
            } => self.create_topic(name, id, partitions, replication_factor, configs),
            Command::AlterPartition(proposal) => self.alter_partition(&proposal),
            Command::ElectUnclean { partition, leader } => self.elect_unclean(partition, leader),
            Command::AllocateProducerIds { id, epoch, count } => {
                self.registered(id, epoch)?;
                self.allocate_producer_ids(count)
            }
        }
    }

    fn advance(&mut self, index: u64) {
        assert!(
            index > self.image.index || *self.image == MetadataImage::default(),
            "entry {index} was applied after entry {}",
            self.image.index
        );
        Arc::make_mut(&mut self.image).index = index;
    }

    /// The broker under that epoch; a newer registration or none is a refusal.
    fn registered(&self, id: BrokerId, epoch: BrokerEpoch) -> Result<&BrokerImage, Rejected> {
        let broker = self.image.brokers.get(&id);
        let broker = broker.ok_or(Rejected::UnknownBroker(id))?;
        if broker.epoch != epoch {
            let current = broker.epoch;
            return Err(Rejected::StaleBrokerEpoch { current });
        }
        Ok(broker)
    }

    /// A new incarnation is fenced at first, so it leaves every ISR and each partition that it
    /// led gets another leader, or none until it is unfenced, in a higher leader epoch: it may
    /// have lost an un-fsynced tail and must not go on in the epoch that it had (KAFKA-18106).
    fn register(&mut self, new: BrokerImage, cluster_id: String, log: LogClaim) -> Applied {
        let id = new.id;
        let current = self.image.brokers.get(&id);
        if let Some(current) = current
            && current.incarnation == new.incarnation
        {
            let epoch = current.epoch;
            return Applied::Registered { epoch };
        }
        let lost = match log {
            LogClaim::Recovered => false,
            LogClaim::CleanShutdown(marker) => current.is_some_and(|last| last.epoch != marker),
            LogClaim::Unclean | LogClaim::Lost => true,
        };
        let grows = current.is_none_or(|last| last.epoch < new.epoch);
        uphold_that(Invariant::EpochsGrow, self.bugs, grows, || {
            format!("{current:?} -> {new:?}")
        });
        let epoch = new.epoch;
        let image = Arc::make_mut(&mut self.image);
        if image.cluster_id.is_empty() {
            image.cluster_id = cluster_id;
        }
        image.brokers.insert(id, Arc::new(new));
        let before = self.image();
        if !self.bugs.has(SeededBug::SameEpochResume) {
            self.update_partitions(|partition, rules| match log {
                LogClaim::Lost => controller::lose(partition, id, rules),
                _ => controller::leave(partition, id, lost, rules),
            });
        }
        self.uphold_new_incarnation(&before, id, lost);
        Applied::Registered { epoch }
    }

    /// I14 and I16: what a new incarnation led has another leader epoch, and where its log may
    /// lack something it has no claim left.
    fn uphold_new_incarnation(&self, before: &MetadataImage, id: BrokerId, lost: bool) {
        for (old, new) in before.topics.values().zip(self.image.topics.values()) {
            for (old, new) in old.partitions.iter().zip(&new.partitions) {
                let change = || format!("broker {id} is new: {old:?} -> {new:?}");
                let grew = old.leader != Some(id) || new.leader_epoch > old.leader_epoch;
                uphold_that(Invariant::EpochsGrow, self.bugs, grew, change);
                let claims = lost && (new.isr.contains(&id) || new.elr.contains(&id));
                uphold_that(Invariant::LostLogsLeave, self.bugs, !claims, change);
            }
        }
    }

    fn unfence(&mut self, id: BrokerId, epoch: BrokerEpoch) -> Result<Applied, Rejected> {
        let broker = self.registered(id, epoch)?;
        if broker.in_controlled_shutdown {
            return Err(Rejected::InvalidRequest(format!("broker {id} is stopping")));
        }
        if broker.fenced {
            self.update_broker(id, |broker| broker.fenced = false);
            self.update_partitions(|partition, rules| controller::arrive(partition, id, rules));
        }
        Ok(Applied::Done)
    }

    /// The broker may no longer lead or be in sync: it leaves every ISR (into the ELR where that
    /// falls below its minimum), and leadership moves.
    fn retire(&mut self, id: BrokerId, mark: impl Fn(&mut BrokerImage)) {
        self.update_broker(id, mark);
        self.update_partitions(|partition, rules| controller::leave(partition, id, false, rules));
    }

    fn create_topic(
        &mut self,
        name: String,
        id: TopicId,
        partitions: i32,
        replication_factor: i16,
        configs: BTreeMap<String, String>,
    ) -> Result<Applied, Rejected> {
        if let Some(existing) = self.image.topics.get(&id) {
            return if existing.name == name {
                Ok(Applied::TopicCreated { id })
            } else {
                let reason = format!("topic id {id} belongs to {:?}", existing.name);
                Err(Rejected::InvalidRequest(reason))
            };
        }
        check_topic_name(&name)?;
        check_min_isr(&configs)?;
        if self.image.topic_ids.contains_key(&name) {
            return Err(Rejected::TopicExists(name));
        }
        if !(1..=MAX_PARTITIONS).contains(&partitions) {
            return Err(Rejected::InvalidPartitions(partitions));
        }
        let live = self.live_brokers();
        let wanted = usize::try_from(replication_factor).unwrap_or(0);
        if !(1..=live.len()).contains(&wanted) {
            return Err(Rejected::InvalidReplicationFactor {
                wanted: replication_factor,
                available: live.len(),
            });
        }
        let topics = self.image.topics.values();
        let dealt: usize = topics.map(|topic| topic.partitions.len()).sum();
        let count = usize::try_from(partitions).expect("checked above");
        if dealt + count > MAX_CLUSTER_PARTITIONS {
            return Err(Rejected::TooManyPartitions {
                wanted: count,
                existing: dealt,
                limit: MAX_CLUSTER_PARTITIONS,
            });
        }
        let image = Arc::make_mut(&mut self.image);
        let assignment = match self.bugs.has(SeededBug::HardcodedAssignment) {
            false => placement::assign(&live, dealt, count, wanted),
            true => vec![vec![BrokerId(1), BrokerId(2), BrokerId(3)]; count],
        };
        let topic = TopicImage {
            id,
            name: name.clone(),
            partitions: assignment
                .into_iter()
                .map(|replicas| Arc::new(controller::create(replicas)))
                .collect(),
            configs,
        };
        image.topics.insert(id, Arc::new(topic));
        image.topic_ids.insert(name, id);
        Ok(Applied::TopicCreated { id })
    }

    fn alter_partition(&mut self, proposal: &AlterPartition) -> Result<Applied, Rejected> {
        self.registered(proposal.leader, proposal.leader_broker_epoch)?;
        let at = proposal.partition;
        let topic = self.image.topics.get(&at.topic);
        let topic = topic.ok_or(Rejected::UnknownPartition)?;
        let old = self.image.partition(at).ok_or(Rejected::UnknownPartition)?;
        let rules = Rules {
            brokers: &self.image.brokers,
            min_isr: topic.min_isr(old),
            bugs: self.bugs,
        };
        let decision = controller::alter(old, proposal, rules);
        let new = match &decision {
            Ok(new) => new.clone(),
            Err(Rejected::IneligibleReplica(_)) => controller::supersede(old),
            Err(refusal) => return Err(refusal.clone()),
        };
        self.put(at, new);
        decision.map(|new| Applied::PartitionAltered {
            partition_epoch: new.partition_epoch,
            isr: new.isr,
        })
    }

    fn elect_unclean(&mut self, at: TopicPartition, leader: BrokerId) -> Result<Applied, Rejected> {
        let old = self.image.partition(at).ok_or(Rejected::UnknownPartition)?;
        let active = self.image.is_active(leader);
        let new = controller::elect_unclean(old, leader, active)?;
        let applied = Applied::PartitionAltered {
            partition_epoch: new.partition_epoch,
            isr: new.isr.clone(),
        };
        self.put(at, new);
        Ok(applied)
    }

    fn put(&mut self, at: TopicPartition, new: PartitionImage) {
        let image = Arc::make_mut(&mut self.image);
        let topic = image.topics.get_mut(&at.topic).expect("it was found");
        let number = usize::try_from(at.partition).expect("it was found");
        Arc::make_mut(topic).partitions[number] = Arc::new(new);
    }

    fn allocate_producer_ids(&mut self, count: i32) -> Result<Applied, Rejected> {
        if !(1..=MAX_PRODUCER_IDS).contains(&count) {
            let reason = format!("{count} producer ids: 1 to {MAX_PRODUCER_IDS} are allowed");
            return Err(Rejected::InvalidRequest(reason));
        }
        let first = self.image.next_producer_id;
        let Some(next) = first.checked_add(i64::from(count)) else {
            let reason = "there are no producer ids left".to_owned();
            return Err(Rejected::InvalidRequest(reason));
        };
        Arc::make_mut(&mut self.image).next_producer_id = next;
        Ok(Applied::ProducerIds {
            first: ProducerId(first),
            count,
        })
    }

    fn live_brokers(&self) -> Vec<BrokerId> {
        let brokers = self.image.brokers.values();
        brokers.filter(|b| b.active()).map(|b| b.id).collect()
    }

    fn update_broker(&mut self, id: BrokerId, update: impl Fn(&mut BrokerImage)) {
        let image = Arc::make_mut(&mut self.image);
        if let Some(broker) = image.brokers.get_mut(&id) {
            update(Arc::make_mut(broker));
        }
    }

    /// Lets `decide` change every partition of the cluster, in order.
    fn update_partitions(
        &mut self,
        decide: impl Fn(&PartitionImage, Rules<'_>) -> Option<PartitionImage>,
    ) {
        let MetadataImage {
            brokers, topics, ..
        } = Arc::make_mut(&mut self.image);
        for topic in topics.values_mut() {
            for number in 0..topic.partitions.len() {
                let old = &topic.partitions[number];
                let rules = Rules {
                    brokers,
                    min_isr: topic.min_isr(old),
                    bugs: self.bugs,
                };
                if let Some(new) = decide(old, rules) {
                    Arc::make_mut(topic).partitions[number] = Arc::new(new);
                }
            }
        }
    }
}

fn check_topic_name(name: &str) -> Result<(), Rejected> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let length = (1..=MAX_TOPIC_NAME).contains(&name.len());
    if !length || !name.chars().all(legal) || name == "." || name == ".." {
        return Err(Rejected::InvalidTopicName(
            name.chars().take(MAX_TOPIC_NAME).collect(),
        ));
    }
    Ok(())
}

/// The one setting that the state machine itself acts on.
fn check_min_isr(configs: &BTreeMap<String, String>) -> Result<(), Rejected> {
    let Some(value) = configs.get(MIN_INSYNC_REPLICAS) else {
        return Ok(());
    };
    match value.parse::<i32>() {
        Ok(1..) => Ok(()),
        _ => Err(Rejected::InvalidConfig(format!(
            "{MIN_INSYNC_REPLICAS}={value}: a number of at least 1 is needed"
        ))),
    }
}

#[cfg(test)]
#[path = "state_test.rs"]
mod tests;

#[cfg(test)]
#[path = "state_proptest.rs"]
mod invariants;
