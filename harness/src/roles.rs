//! Who plays which role, asked over Kafka's protocol for each fault anew.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use nemesis::{Leadership, NodeId, Roles};

use crate::kafka::{Brokers, PartitionView, newest};
use crate::runtime::driver::Driven;

const WITHIN: Duration = Duration::from_millis(1000);

/// Answers the nemesis from the brokers' metadata; the highest leader epoch is believed.
pub struct MetadataRoles {
    brokers: Arc<Brokers>,
    topic: Arc<str>,
    /// Who may know better, in somebody else's cluster.
    driven: Option<Arc<Driven>>,
}

impl MetadataRoles {
    /// Roles in the partitions of `topic`.
    #[must_use]
    pub fn new(brokers: Arc<Brokers>, topic: Arc<str>) -> Self {
        Self {
            brokers,
            topic,
            driven: None,
        }
    }

    /// The same, in a cluster whose driver is asked first.
    #[must_use]
    pub fn driven(self, driven: Option<Arc<Driven>>) -> Self {
        Self { driven, ..self }
    }

    /// What the driver says; `None`: it leaves the question to the brokers.
    async fn told(&self, role: &str, partition: Option<u32>) -> Option<NodeId> {
        let partition = partition.map(|partition| (&*self.topic, partition));
        self.driven.as_ref()?.role_of(role, partition).await
    }

    async fn partition(&self, partition: u32) -> Option<PartitionView> {
        let views = self.brokers.views(Some(&self.topic), WITHIN).await;
        newest(&views).remove(&i32::try_from(partition).ok()?)
    }
}

fn node(id: i32) -> Option<NodeId> {
    u32::try_from(id).ok().map(NodeId)
}

#[async_trait]
impl Roles for MetadataRoles {
    fn partition_name(&self, partition: u32) -> String {
        format!("{}-{partition}", self.topic)
    }

    async fn leader(&self, partition: u32) -> Option<Leadership> {
        let told = self.told("leader", Some(partition)).await;
        let view = self.partition(partition).await?;
        Some(Leadership {
            node: told.or_else(|| node(view.leader?))?,
            epoch: view.epoch,
        })
    }

    async fn in_sync(&self, partition: u32) -> Option<Vec<NodeId>> {
        let view = self.partition(partition).await?;
        view.isr.into_iter().map(node).collect()
    }

    async fn controller(&self) -> Option<NodeId> {
        if let Some(told) = self.told("controller", None).await {
            return Some(told);
        }
        if let Ok(leader) = self.brokers.quorum_leader(WITHIN).await {
            return node(leader?.id);
        }
        let views = self.brokers.views(None, WITHIN).await;
        // An isolated broker may still name the last controller that it knew: the majority knows.
        let mut votes: Vec<i32> = views.values().filter_map(|view| view.controller).collect();
        votes.sort_unstable();
        let most = votes
            .chunk_by(|a, b| a == b)
            .max_by_key(|same| same.len())?;
        node(most[0])
    }
}
