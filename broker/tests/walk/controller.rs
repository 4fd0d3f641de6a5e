//! The controller: the broker's own metadata state machine, and the images that it committed.

use std::collections::BTreeMap;
use std::sync::Arc;

use broker::chaos::seeded_bug::BugSet;
use broker::meta::command::{AlterPartition, Applied, Command, LogClaim, Rejected};
use broker::meta::image::{Endpoint, MIN_INSYNC_REPLICAS, PartitionImage};
use broker::meta::state::MetadataState;
use broker::replica::cluster::PartitionMeta;
use broker::replica::isr::{AlterReply, Proposal};
use broker::types::{BrokerEpoch, BrokerId, TopicId, TopicPartition};

pub const TP: TopicPartition = TopicPartition {
    topic: TopicId(uuid::Uuid::from_u128(7)),
    partition: 0,
};

pub struct Controller {
    state: MetadataState,
    index: u64,
    incarnations: u128,
    /// The partition after each command.
    pub images: Vec<Arc<PartitionMeta>>,
}

impl Controller {
    /// Brokers 1 to 3 are live and hold one partition, at least two in sync.
    pub fn new(bugs: BugSet) -> Self {
        let mut controller = Self {
            state: MetadataState::default().with_bugs(bugs),
            index: 0,
            incarnations: 0,
            images: Vec::new(),
        };
        for id in (1..=3).map(BrokerId) {
            controller.register(id, LogClaim::Recovered);
            controller.unfence(id);
        }
        let created = controller.apply(Command::CreateTopic {
            name: "t".to_owned(),
            id: TP.topic,
            partitions: 1,
            replication_factor: 3,
            configs: BTreeMap::from([(MIN_INSYNC_REPLICAS.to_owned(), "2".to_owned())]),
        });
        created.expect("three brokers are live");
        controller
    }

    fn apply(&mut self, command: Command) -> Result<Applied, Rejected> {
        self.index += 1;
        let decision = self.state.apply(self.index, command);
        let image = PartitionMeta::of(&self.state.image(), TP);
        self.images.extend(image.map(Arc::new));
        decision
    }

    pub fn partition(&self) -> Arc<PartitionImage> {
        let image = self.state.image();
        image.partition(TP).expect("it was created").clone()
    }

    pub fn epoch(&self, id: BrokerId) -> BrokerEpoch {
        self.state.image().brokers[&id].epoch
    }

    pub fn is_fenced(&self, id: BrokerId) -> bool {
        self.state.image().brokers[&id].fenced
    }

    pub fn register(&mut self, id: BrokerId, log: LogClaim) -> BrokerEpoch {
        self.incarnations += 1;
        let endpoint = Endpoint {
            host: "localhost".to_owned(),
            port: 1,
        };
        let registered = self.apply(Command::RegisterBroker {
            id,
            incarnation: uuid::Uuid::from_u128(self.incarnations),
            cluster_id: "cluster".to_owned(),
            client: endpoint.clone(),
            replication: endpoint,
            log,
        });
        match registered {
            Ok(Applied::Registered { epoch }) => epoch,
            other => panic!("{other:?}"),
        }
    }

    pub fn fence(&mut self, id: BrokerId) {
        let epoch = self.epoch(id);
        let fenced = self.apply(Command::FenceBroker { id, epoch });
        fenced.expect("of the current registration");
    }

    pub fn unfence(&mut self, id: BrokerId) {
        let epoch = self.epoch(id);
        let unfenced = self.apply(Command::UnfenceBroker { id, epoch });
        unfenced.expect("of the current registration");
    }

    /// Decides a proposal, as the leader will hear of it.
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
