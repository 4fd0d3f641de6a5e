//! A small Kafka client of our own, for questions that librdkafka does not ask: what one certain
//! broker says about a partition, whoever it believes leads it.
//!
//! It never produces nor fetches: the workload's clients are librdkafka's. One request at a time
//! on a connection, every request under a timeout, and a connection that timed out is given up,
//! because its next answer would belong to an older question.

mod admin;
mod conn;
mod errors;
mod offsets;
mod pool;
mod quorum;

pub use admin::{
    BrokerView, ClusterView, CreateTopic, PartitionView, create_topic, describe_cluster,
    touch_topic,
};
pub use conn::{Conn, RequestError};
pub use errors::name_of;
pub use offsets::{PartitionOffsets, list_offsets};
pub use pool::{Brokers, newest};
pub use quorum::{QuestionUnknown, QuorumLeader, quorum_leader};
