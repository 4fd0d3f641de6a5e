//! Who plays which role just now. The nemesis asks; whoever drives the cluster answers, over the
//! protocol of the broker under test. Nothing here is cached: an answer is good for one fault.

use async_trait::async_trait;

use crate::node::NodeId;

/// A partition's leader as one answer of the cluster told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leadership {
    /// Who.
    pub node: NodeId,
    /// Since which leader epoch (-1 where the broker does not tell).
    pub epoch: i32,
}

/// Answers questions about roles. `None`: nobody has it now, or nobody answered; the executor
/// asks again for some seconds before it gives a fault up.
#[async_trait]
pub trait Roles: Send + Sync {
    /// The name of a partition in the history (`"topic-0"`), from its number in the schedule.
    fn partition_name(&self, partition: u32) -> String;

    /// Who leads a partition.
    async fn leader(&self, partition: u32) -> Option<Leadership>;

    /// The in-sync replicas of a partition, leader included.
    async fn in_sync(&self, partition: u32) -> Option<Vec<NodeId>>;

    /// The leader of the metadata quorum.
    async fn controller(&self) -> Option<NodeId>;
}
