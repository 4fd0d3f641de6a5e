//! Who plays which role, asked over Kafka's protocol for each fault anew.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use nemesis::{Leadership, NodeId, Roles};

use crate::kafka::{Brokers, PartitionView, newest};

const WITHIN: Duration = Duration::from_millis(1000);

/// Answers the nemesis from the brokers' metadata; the highest leader epoch is believed.
pub struct MetadataRoles {
    brokers: Arc<Brokers>,
    topic: Arc<str>,
}

impl MetadataRoles {
    /// Roles in the partitions of `topic`.
    #[must_use]
    pub fn new(brokers: Arc<Brokers>, topic: Arc<str>) -> Self {
        Self { brokers, topic }
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
        let view = self.partition(partition).await?;
        Some(Leadership {
            node: node(view.leader?)?,
            epoch: view.epoch,
        })
    }

    async fn in_sync(&self, partition: u32) -> Option<Vec<NodeId>> {
        let view = self.partition(partition).await?;
        view.isr.into_iter().map(node).collect()
    }

    async fn controller(&self) -> Option<NodeId> {
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
