//! Metadata (3): which brokers are alive, which topics there are, who leads what.
//!
//! Version notes: v0 an empty list of topics means all, v1+ null means all and an empty list
//! none; v1 controller id and racks, v2 cluster id, v4 auto-creation can be declined, v5 offline
//! replicas, v7 leader epochs, v9 flexible, v10 topic ids, v12 topics can be asked for by id.
//!
//! Fenced brokers are not named, and a partition whose leader is fenced or unknown has none
//! (LEADER_NOT_AVAILABLE). Each topic is answered once, however often it is asked for, so that
//! the size of an answer is bound by the cluster, not by the request.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{MetadataRequest, MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use crate::api::create_topics;
use crate::api::{Context, Pending, encode, in_turn, live_controller};
use crate::meta::image::{MetadataImage, PartitionImage, TopicImage};
use crate::types::{BrokerId, TopicId};

/// For topics to come into being because somebody asked for them.
const AUTO_CREATE_PATIENCE: Duration = Duration::from_secs(5);

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wanted {
    All,
    /// In order of first mention.
    These(Vec<Topic>),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Topic {
    Name(TopicName),
    Id(TopicId),
}

/// Answers from the newest image; first makes topics that are unknown, where that is allowed.
#[must_use]
pub fn handle(ctx: &Arc<Context>, version: i16, request: MetadataRequest) -> Pending {
    let may_create =
        ctx.config.auto_create_topics && (version < 4 || request.allow_auto_topic_creation);
    let wanted = wanted(version, request);
    let missing = match &wanted {
        Wanted::These(topics) if may_create => missing(&ctx.meta.image(), topics),
        _ => Vec::new(),
    };
    if missing.is_empty() {
        let ctx = ctx.clone();
        return in_turn(move || encode(&current(&ctx, version, wanted), version));
    }
    let ctx = ctx.clone();
    Box::pin(async move {
        create_topics::create_with_defaults(&ctx, missing, AUTO_CREATE_PATIENCE).await;
        encode(&current(&ctx, version, wanted), version)
    })
}

fn wanted(version: i16, request: MetadataRequest) -> Wanted {
    let Some(topics) = request.topics else {
        return Wanted::All;
    };
    if version == 0 && topics.is_empty() {
        return Wanted::All;
    }
    let mut seen = BTreeSet::new();
    let asked = topics.into_iter().map(|topic| match topic.name {
        Some(name) => Topic::Name(name),
        None => Topic::Id(TopicId(topic.topic_id)),
    });
    Wanted::These(asked.filter(|topic| seen.insert(topic.clone())).collect())
}

fn missing(image: &MetadataImage, topics: &[Topic]) -> Vec<String> {
    let unknown = |topic: &Topic| match topic {
        Topic::Name(name) if image.topic_by_name(name).is_none() => Some(name.to_string()),
        _ => None,
    };
    topics.iter().filter_map(unknown).collect()
}

fn current(ctx: &Context, version: i16, wanted: Wanted) -> MetadataResponse {
    let image = ctx.meta.image();
    response(&image, live_controller(ctx, &image), version, wanted)
}

fn response(
    image: &MetadataImage,
    controller: i32,
    version: i16,
    wanted: Wanted,
) -> MetadataResponse {
    let live = image.brokers.values().filter(|broker| !broker.fenced);
    let brokers = live.map(|broker| {
        MetadataResponseBroker::default()
            .with_node_id(broker.id.get().into())
            .with_host(StrBytes::from_string(broker.client.host.clone()))
            .with_port(i32::from(broker.client.port))
    });
    let topics = match wanted {
        Wanted::All => {
            let all = image.topic_ids.values();
            let known = all.filter_map(|id| image.topics.get(id));
            known
                .map(|topic| known_topic(image, version, topic))
                .collect()
        }
        Wanted::These(topics) => {
            let topics = topics.into_iter();
            topics
                .map(|topic| one_topic(image, version, topic))
                .collect()
        }
    };
    MetadataResponse::default()
        .with_brokers(brokers.collect())
        .with_cluster_id(Some(StrBytes::from_string(image.cluster_id.clone())))
        .with_controller_id(controller.into())
        .with_topics(topics)
}

fn one_topic(image: &MetadataImage, version: i16, wanted: Topic) -> MetadataResponseTopic {
    let answer = MetadataResponseTopic::default();
    match wanted {
        Topic::Name(name) => match image.topic_by_name(&name) {
            Some(topic) => known_topic(image, version, topic),
            None => {
                let error = match create_topics::check_name(&name) {
                    Ok(()) => ResponseError::UnknownTopicOrPartition,
                    Err(_) => ResponseError::InvalidTopicException,
                };
                answer.with_error_code(error.code()).with_name(Some(name))
            }
        },
        Topic::Id(id) => match image.topics.get(&id) {
            Some(topic) if version >= 12 => known_topic(image, version, topic),
            _ => {
                // Null names exist from v12 on; the ids of v10 and v11 are not for asking.
                let name = (version < 12).then(TopicName::default);
                let (error, id) = match version {
                    12.. => (ResponseError::UnknownTopicId, id.0),
                    _ => (ResponseError::InvalidRequest, Uuid::nil()),
                };
                answer
                    .with_error_code(error.code())
                    .with_name(name)
                    .with_topic_id(id)
            }
        },
    }
}

fn known_topic(image: &MetadataImage, version: i16, topic: &TopicImage) -> MetadataResponseTopic {
    let numbered = topic.partitions.iter().enumerate();
    let partitions = numbered.map(|(index, partition)| one_partition(image, index, partition));
    let id = if version >= 10 {
        topic.id.0
    } else {
        Uuid::nil()
    };
    MetadataResponseTopic::default()
        .with_name(Some(StrBytes::from_string(topic.name.clone()).into()))
        .with_topic_id(id)
        .with_partitions(partitions.collect())
}

fn one_partition(
    image: &MetadataImage,
    index: usize,
    partition: &PartitionImage,
) -> MetadataResponsePartition {
    let ids = |brokers: &[BrokerId]| brokers.iter().map(|id| id.get().into()).collect();
    let leader = partition.leader;
    let leader = leader.filter(|id| image.live_broker(*id).is_some());
    let error = match leader {
        Some(_) => 0,
        None => ResponseError::LeaderNotAvailable.code(),
    };
    let offline: Vec<_> = partition
        .replicas
        .iter()
        .copied()
        .filter(|id| image.live_broker(*id).is_none())
        .collect();
    MetadataResponsePartition::default()
        .with_error_code(error)
        .with_partition_index(i32::try_from(index).expect("partitions are numbered by i32"))
        .with_leader_id(leader.map_or(-1, BrokerId::get).into())
        .with_leader_epoch(partition.leader_epoch.get())
        .with_replica_nodes(ids(&partition.replicas))
        .with_isr_nodes(ids(&partition.isr))
        .with_offline_replicas(ids(&offline))
}

#[cfg(test)]
#[path = "metadata_test.rs"]
mod tests;
