//! What a broker says about the cluster, and creation of topics.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{CreateTopicsRequest, MetadataRequest, MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::{Conn, RequestError, name_of};

const METADATA_VERSION_MAX: i16 = 12;
const CREATE_TOPICS_VERSION_MAX: i16 = 7;

/// A broker as another broker advertises it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerView {
    /// Its id.
    pub id: i32,
    /// Where clients are told to connect to, `host:port`.
    pub address: String,
}

/// A partition as one broker sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionView {
    /// Who leads, if anybody.
    pub leader: Option<i32>,
    /// In which leader epoch (-1: the broker did not say).
    pub epoch: i32,
    /// All replicas.
    pub replicas: Vec<i32>,
    /// Those in sync.
    pub isr: Vec<i32>,
}

/// The cluster as one broker sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterView {
    /// Brokers that are not fenced.
    pub brokers: Vec<BrokerView>,
    /// Who the controller is, if known.
    pub controller: Option<i32>,
    /// Identity of the topic that was asked about, where the broker tells it.
    pub topic_id: Option<uuid::Uuid>,
    /// The partitions of the topic that was asked about; empty where it is unknown.
    pub partitions: BTreeMap<i32, PartitionView>,
}

/// Asks one broker how it sees the cluster, and `topic` if one is named.
///
/// # Errors
/// Where the broker does not answer; an unknown topic is no error, but has no partitions.
pub async fn describe_cluster(
    conn: &mut Conn,
    topic: Option<&str>,
    within: Duration,
) -> Result<ClusterView, RequestError> {
    metadata(conn, topic, false, within).await
}

/// As [`describe_cluster`], and has the broker make the topic if it makes topics by itself.
///
/// # Errors
/// Where the broker does not answer.
pub async fn touch_topic(
    conn: &mut Conn,
    topic: &str,
    within: Duration,
) -> Result<ClusterView, RequestError> {
    metadata(conn, Some(topic), true, within).await
}

async fn metadata(
    conn: &mut Conn,
    topic: Option<&str>,
    create: bool,
    within: Duration,
) -> Result<ClusterView, RequestError> {
    let version = conn.version_of::<MetadataRequest>(METADATA_VERSION_MAX)?;
    let topics = topic.map(|name| {
        let name = TopicName(StrBytes::from_string(name.to_owned()));
        MetadataRequestTopic::default().with_name(Some(name))
    });
    let request = MetadataRequest::default()
        .with_topics(Some(topics.into_iter().collect()))
        .with_allow_auto_topic_creation(create);
    let answer = conn.ask("Metadata", &request, version, within).await?;
    Ok(view_of(answer))
}

fn view_of(answer: MetadataResponse) -> ClusterView {
    let ids =
        |nodes: Vec<kafka_protocol::messages::BrokerId>| nodes.iter().map(|id| id.0).collect();
    let known = |id: i32| (id >= 0).then_some(id);
    let brokers = answer
        .brokers
        .into_iter()
        .map(|broker| BrokerView {
            id: broker.node_id.0,
            address: format!("{}:{}", broker.host, broker.port),
        })
        .collect();
    let topic_id = answer.topics.first().map(|topic| topic.topic_id);
    let partitions = answer
        .topics
        .into_iter()
        .filter(|topic| topic.error_code == 0)
        .flat_map(|topic| topic.partitions)
        .map(|partition| {
            let view = PartitionView {
                leader: known(partition.leader_id.0),
                epoch: partition.leader_epoch,
                replicas: ids(partition.replica_nodes),
                isr: ids(partition.isr_nodes),
            };
            (partition.partition_index, view)
        })
        .collect();
    ClusterView {
        brokers,
        controller: known(answer.controller_id.0),
        topic_id: topic_id.filter(|id| !id.is_nil()),
        partitions,
    }
}

/// A topic to create.
#[derive(Clone, Debug)]
pub struct CreateTopic<'a> {
    /// Its name.
    pub name: &'a str,
    /// How many partitions.
    pub partitions: i32,
    /// How many replicas of each.
    pub replication_factor: i16,
    /// `min.insync.replicas`, or the brokers' default.
    pub min_insync_replicas: Option<i32>,
    /// Further settings.
    pub settings: &'a [(String, String)],
}

/// Creates a topic, through a broker that forwards to the controller if need be.
///
/// # Errors
/// Where the broker does not answer or refuses (`TOPIC_ALREADY_EXISTS` among the reasons).
pub async fn create_topic(
    conn: &mut Conn,
    topic: &CreateTopic<'_>,
    within: Duration,
) -> Result<(), RequestError> {
    let version = conn.version_of::<CreateTopicsRequest>(CREATE_TOPICS_VERSION_MAX)?;
    let configs = topic
        .min_insync_replicas
        .map(|n| {
            CreatableTopicConfig::default()
                .with_name(StrBytes::from_static_str("min.insync.replicas"))
                .with_value(Some(StrBytes::from_string(n.to_string())))
        })
        .into_iter()
        .chain(topic.settings.iter().map(|(name, value)| {
            CreatableTopicConfig::default()
                .with_name(StrBytes::from_string(name.clone()))
                .with_value(Some(StrBytes::from_string(value.clone())))
        }))
        .collect();
    let creatable = CreatableTopic::default()
        .with_name(TopicName(StrBytes::from_string(topic.name.to_owned())))
        .with_num_partitions(topic.partitions)
        .with_replication_factor(topic.replication_factor)
        .with_configs(configs);
    let timeout_ms = i32::try_from(within.as_millis()).unwrap_or(i32::MAX);
    let request = CreateTopicsRequest::default()
        .with_topics(vec![creatable])
        .with_timeout_ms(timeout_ms);
    let answer = conn.ask("CreateTopics", &request, version, within).await?;
    match answer.topics.iter().find(|result| result.error_code != 0) {
        None => Ok(()),
        Some(result) => Err(RequestError::Refused {
            address: conn.address().to_owned(),
            what: "CreateTopics",
            code: name_of(result.error_code),
            message: result
                .error_message
                .as_ref()
                .map(|message| message.to_string())
                .unwrap_or_default(),
        }),
    }
}
