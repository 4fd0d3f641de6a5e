//! The controller: the broker's own metadata state machine, command by command in log order, and
//! what replication sees of it.
//!
//! One decision is not its own: [`move_leader`] gives the leadership to another member of the ISR
//! without anybody leaving, as a preferred-leader election would. It makes short histories of many
//! epochs, which are what the leader-epoch rules are about.

use std::collections::BTreeMap;
use std::sync::Arc;

use broker::chaos::seeded_bug::BugSet;
use broker::meta::command::{AlterPartition, Applied, Command, LogClaim, Rejected};
use broker::meta::image::{Endpoint, MIN_INSYNC_REPLICAS, PartitionImage};
use broker::meta::state::MetadataState;
use broker::replica::cluster::PartitionMeta;
use broker::replica::isr::{AlterReply, Proposal};
use broker::types::{BrokerEpoch, BrokerId, TopicId, TopicPartition};

const TP: TopicPartition = TopicPartition {
    topic: TopicId(uuid::Uuid::from_u128(7)),
    partition: 0,
};

/// The metadata log, folded. Equal states are equal whatever led to them: the log's index counts
/// only commands that changed something.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Controller(MetadataState);

impl Controller {
    /// Brokers 1 to 3 are live and hold one partition that 1 leads; `outside`, if any, has left
    /// the ISR.
    pub fn new(bugs: BugSet, outside: Option<BrokerId>) -> Self {
        let mut controller = Self(MetadataState::default().with_bugs(bugs));
        for id in (1..=3).map(BrokerId) {
            controller.register(id, 0, LogClaim::Recovered);
            controller.unfence(id).expect("it was registered");
        }
        let create = Command::CreateTopic {
            name: "t".to_owned(),
            id: TP.topic,
            partitions: 1,
            replication_factor: 3,
            configs: BTreeMap::from([(MIN_INSYNC_REPLICAS.to_owned(), "2".to_owned())]),
        };
        controller.apply(create).expect("three brokers are live");
        if let Some(outside) = outside {
            controller.change(bugs, |partition| {
                partition.isr.retain(|id| *id != outside);
            });
        }
        controller
    }

    fn apply(&mut self, command: Command) -> Result<Applied, Rejected> {
        let mut next = self.0.clone();
        let decision = next.apply(self.0.image().index + 1, command);
        let refused = !matches!(decision, Ok(_) | Err(Rejected::IneligibleReplica(_)));
        if !refused {
            self.0 = next;
        }
        decision
    }

    fn change(&mut self, bugs: BugSet, change: impl Fn(&mut PartitionImage)) {
        let mut image = (*self.0.image()).clone();
        for topic in image.topics.values_mut() {
            for partition in &mut Arc::make_mut(topic).partitions {
                change(Arc::make_mut(partition));
            }
        }
        self.0 = MetadataState::from_image(Arc::new(image)).with_bugs(bugs);
    }

    /// What the brokers are told.
    pub fn image(&self) -> PartitionMeta {
        PartitionMeta::of(&self.0.image(), TP).expect("it was created")
    }

    /// The ISR and the ELR: everybody who may be elected.
    pub fn candidates(&self) -> Vec<BrokerId> {
        let image = self.0.image();
        let partition = image.partition(TP).expect("it was created");
        let candidates = partition.isr.iter().chain(&partition.elr);
        candidates.copied().collect()
    }

    pub fn epoch(&self, id: BrokerId) -> BrokerEpoch {
        self.0.image().brokers[&id].epoch
    }

    pub fn is_fenced(&self, id: BrokerId) -> bool {
        self.0.image().brokers[&id].fenced
    }

    /// The process of `id` starts for the `life`-th time.
    pub fn register(&mut self, id: BrokerId, life: u8, log: LogClaim) -> BrokerEpoch {
        let endpoint = Endpoint {
            host: String::new(),
            port: 1,
        };
        let incarnation = u128::from(life) << 32 | u128::from(id.get().unsigned_abs());
        let registered = self.apply(Command::RegisterBroker {
            id,
            incarnation: uuid::Uuid::from_u128(incarnation),
            cluster_id: String::new(),
            client: endpoint.clone(),
            replication: endpoint,
            log,
        });
        match registered {
            Ok(Applied::Registered { epoch }) => epoch,
            other => panic!("{other:?}"),
        }
    }

    /// The session of `id` ended.
    pub fn fence(&mut self, id: BrokerId) -> Option<()> {
        if self.is_fenced(id) {
            return None;
        }
        let epoch = self.epoch(id);
        self.apply(Command::FenceBroker { id, epoch })
            .ok()
            .map(drop)
    }

    /// The heartbeats of `id` are back.
    pub fn unfence(&mut self, id: BrokerId) -> Option<()> {
        if !self.is_fenced(id) {
            return None;
        }
        let epoch = self.epoch(id);
        let unfenced = self.apply(Command::UnfenceBroker { id, epoch });
        unfenced.ok().map(drop)
    }

    /// Leadership moves to another member without anybody leaving.
    pub fn move_leader(&mut self, bugs: BugSet, to: BrokerId) -> Option<()> {
        let image = self.image();
        let may = image.leader.is_some_and(|leader| leader != to) && image.isr.contains(&to);
        may.then(|| {
            self.change(bugs, |partition| {
                partition.leader = Some(to);
                partition.last_known_leader = Some(to);
                partition.leader_epoch.0 += 1;
                partition.partition_epoch.0 += 1;
            });
        })
    }

    /// Decides a leader's proposal (KIP-497).
    pub fn alter(
        &mut self,
        leader: BrokerId,
        leader_broker_epoch: BrokerEpoch,
        proposal: &Proposal,
    ) -> AlterReply {
        let decision = self.apply(Command::AlterPartition(AlterPartition {
            leader,
            leader_broker_epoch,
            partition: TP,
            leader_epoch: proposal.leader_epoch,
            partition_epoch: proposal.partition_epoch,
            new_isr: proposal.new_isr.clone(),
        }));
        match decision {
            Ok(Applied::PartitionAltered {
                partition_epoch,
                isr,
            }) => AlterReply::Committed {
                partition_epoch,
                isr: isr.into_iter().collect(),
            },
            Err(Rejected::IneligibleReplica(_)) => AlterReply::Ineligible,
            Err(Rejected::FencedLeaderEpoch { .. } | Rejected::InvalidUpdateVersion { .. }) => {
                AlterReply::Outdated
            }
            Ok(_) | Err(_) => AlterReply::TryAgain,
        }
    }
}
