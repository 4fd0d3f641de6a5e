//! CreateTopics (19): topics come into being by a command in the metadata log.
//!
//! Version notes: v4 allows -1 for the brokers' default of partitions and replicas, v5 answers
//! with the numbers and settings in force and is flexible, v7 with the topic's id. Where replicas
//! are is not for the client to say: manual assignments are refused.
//!
//! A topic is answered when it exists and, as far as time allows, when all of its partitions have
//! a leader. If the time is up before the controller has decided, the answer is
//! REQUEST_TIMED_OUT, and the topic may yet come into being. On a full disk nothing is proposed:
//! KAFKA_STORAGE_ERROR.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult,
};
use kafka_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use tokio::time::Instant;
use uuid::Uuid;

use crate::api::describe_configs;
use crate::api::{Context, Pending, encode};
use crate::config::topic;
use crate::meta::command::{Applied, Command, Rejected};
use crate::meta::handle::ProposeError;
use crate::meta::image::{MIN_INSYNC_REPLICAS, MetadataImage};
use crate::types::TopicId;

/// No client waits longer than this, whatever it asks for.
const PATIENCE_MAX: Duration = Duration::from_secs(60);
/// Largest number of partitions of one topic, and of all topics of one request (as Kafka).
const PARTITIONS_MAX: i32 = 10_000;
/// Longest topic name, in characters, as in Kafka.
const NAME_MAX: usize = 249;

/// Why a topic is not made: the code and the sentence of the answer.
type Refusal = (ResponseError, String);

/// A topic's name and what is to become of it.
type Planned = (TopicName, Result<Plan, Refusal>);

/// A topic that passed every check that can be made before the controller decides.
#[derive(Debug)]
struct Plan {
    name: String,
    partitions: i32,
    replication_factor: i16,
    configs: BTreeMap<String, String>,
}

/// Makes what is asked for.
#[must_use]
pub fn handle(ctx: &Arc<Context>, version: i16, request: CreateTopicsRequest) -> Pending {
    let ctx = ctx.clone();
    Box::pin(async move {
        let patience = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
        let deadline = Instant::now() + patience.min(PATIENCE_MAX);
        let twice = named_twice(&request.topics);
        let plans = request.topics.into_iter();
        let plans: Vec<_> = dedup(plans)
            .map(|topic| {
                let name = topic.name.clone();
                let planned = match twice.contains(&name) {
                    true => Err(refuse(
                        ResponseError::InvalidRequest,
                        "the request names this topic more than once",
                    )),
                    false => plan(&ctx, version, topic),
                };
                (name, planned)
            })
            .collect();
        let plans = refuse_excess(plans);
        let validate_only = request.validate_only;
        let made = plans.into_iter().map(|(name, planned)| {
            let ctx = ctx.clone();
            async move {
                let outcome = match planned {
                    Ok(plan) if validate_only => Ok((plan, Uuid::nil())),
                    Ok(plan) => make(&ctx, plan, deadline).await,
                    Err(refusal) => Err(refusal),
                };
                answer(&ctx, version, name, outcome)
            }
        });
        let topics = join_all(made).await;
        encode(
            &CreateTopicsResponse::default().with_topics(topics),
            version,
        )
    })
}

/// Makes topics with the brokers' defaults because somebody asked for them; what cannot be made
/// is left out, and the answer to who asked shows it.
pub async fn create_with_defaults(ctx: &Arc<Context>, mut names: Vec<String>, patience: Duration) {
    let deadline = Instant::now() + patience;
    names.truncate(usize::try_from(PARTITIONS_MAX / ctx.config.num_partitions.max(1)).unwrap_or(0));
    let one = |name: String| async move {
        let defaults = CreatableTopic::default()
            .with_name(StrBytes::from_string(name.clone()).into())
            .with_num_partitions(-1)
            .with_replication_factor(-1);
        let made = match plan(ctx, 7, defaults) {
            Ok(plan) => make(ctx, plan, deadline).await.map(|_| ()),
            Err(refusal) => Err(refusal),
        };
        if let Err((error, message)) = made {
            tracing::debug!(name, ?error, message, "a topic was not made on request");
        }
    };
    join_all(names.into_iter().map(one)).await;
}

/// Kafka's rules for topic names.
///
/// # Errors
/// What is wrong with it.
pub fn check_name(name: &str) -> Result<(), String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '_' || c == '-';
    match name {
        "" => Err("a topic name cannot be empty".to_owned()),
        "." | ".." => Err(format!("{name:?} cannot be a topic name")),
        _ if name.len() > NAME_MAX => {
            let length = name.len();
            Err(format!(
                "{length} characters: a topic name has at most {NAME_MAX}"
            ))
        }
        _ if !name.chars().all(legal) => {
            Err("a topic name has only ASCII letters, digits, '.', '_' and '-'".to_owned())
        }
        _ => Ok(()),
    }
}

fn refuse(error: ResponseError, message: impl Into<String>) -> Refusal {
    (error, message.into())
}

/// A request that would make more partitions than one may makes none.
fn refuse_excess(mut plans: Vec<Planned>) -> Vec<Planned> {
    let planned = plans.iter().filter_map(|(_, plan)| plan.as_ref().ok());
    let all: i64 = planned.map(|plan| i64::from(plan.partitions)).sum();
    if all > i64::from(PARTITIONS_MAX) {
        for (_, plan) in plans.iter_mut().filter(|(_, plan)| plan.is_ok()) {
            let text = format!("{all} partitions in one request: {PARTITIONS_MAX} are allowed");
            *plan = Err(refuse(ResponseError::PolicyViolation, text));
        }
    }
    plans
}

fn named_twice(topics: &[CreatableTopic]) -> BTreeSet<TopicName> {
    let mut seen = BTreeSet::new();
    let again = topics.iter().filter(|topic| !seen.insert(&topic.name));
    again.map(|topic| topic.name.clone()).collect()
}

/// The first of each name.
fn dedup(topics: impl Iterator<Item = CreatableTopic>) -> impl Iterator<Item = CreatableTopic> {
    let mut seen = BTreeSet::new();
    topics.filter(move |topic| seen.insert(topic.name.clone()))
}

fn plan(ctx: &Context, version: i16, topic: CreatableTopic) -> Result<Plan, Refusal> {
    let name = topic.name.to_string();
    check_name(&name).map_err(|text| refuse(ResponseError::InvalidTopicException, text))?;
    check_collision(&ctx.meta.image(), &name)?;
    if !topic.assignments.is_empty() {
        let text = "replicas cannot be placed by hand: give a replication factor instead";
        return Err(refuse(ResponseError::InvalidReplicaAssignment, text));
    }
    let config = &ctx.config;
    // Before v4 a number had to be given; -1 is accepted there too, as nothing else makes sense.
    let partitions = match topic.num_partitions {
        -1 => config.num_partitions,
        given if (1..=PARTITIONS_MAX).contains(&given) => given,
        given => {
            let text = format!("{given} partitions: 1 to {PARTITIONS_MAX} are allowed");
            return Err(refuse(ResponseError::InvalidPartitions, text));
        }
    };
    let voters = i16::try_from(config.voters.len()).unwrap_or(i16::MAX);
    let replication_factor = match topic.replication_factor {
        -1 => config.default_replication_factor.min(voters),
        given if (1..=voters).contains(&given) => given,
        given => {
            let text = format!("replication factor {given}: this cluster has {voters} brokers");
            return Err(refuse(ResponseError::InvalidReplicationFactor, text));
        }
    };
    let wanted = topic.configs.iter();
    let wanted = wanted.map(|setting| (&*setting.name, setting.value.as_deref()));
    let mut configs =
        topic::check(config, wanted).map_err(|text| refuse(ResponseError::InvalidConfig, text))?;
    tracing::trace!(
        version,
        name,
        partitions,
        replication_factor,
        "topic planned"
    );
    // A rule that decides safety has to be the same on every broker: written down, not looked up.
    configs
        .entry(MIN_INSYNC_REPLICAS.to_owned())
        .or_insert_with(|| config.min_insync_replicas.to_string());
    Ok(Plan {
        name,
        partitions,
        replication_factor,
        configs,
    })
}

/// '.' and '_' are one character in names of metrics, so Kafka allows no two topics that differ
/// in nothing else.
fn check_collision(image: &MetadataImage, name: &str) -> Result<(), Refusal> {
    if image.topic_ids.contains_key(name) {
        let text = format!("topic {name} exists already");
        return Err(refuse(ResponseError::TopicAlreadyExists, text));
    }
    if !name.contains(['.', '_']) {
        return Ok(());
    }
    let folded = name.replace('.', "_");
    let mut others = image.topic_ids.keys();
    match others.find(|other| other.replace('.', "_") == folded) {
        Some(other) => {
            let text = format!("{name} differs from the topic {other} only in '.' and '_'");
            Err(refuse(ResponseError::InvalidTopicException, text))
        }
        None => Ok(()),
    }
}

/// Proposes and waits, first for the decision, then for leaders.
async fn make(ctx: &Context, plan: Plan, deadline: Instant) -> Result<(Plan, Uuid), Refusal> {
    if ctx.replicas.disk_is_full() {
        // Nothing could be decided, or held, before there is room again: better now than in time.
        let text = format!(
            "the disk of broker {} is full: free some space, then ask again",
            ctx.config.id
        );
        return Err(refuse(ResponseError::KafkaStorageError, text));
    }
    let command = Command::CreateTopic {
        name: plan.name.clone(),
        id: TopicId(ctx.draw_uuid()),
        partitions: plan.partitions,
        replication_factor: plan.replication_factor,
        configs: plan.configs.clone(),
    };
    match tokio::time::timeout_at(deadline, ctx.meta.propose(command)).await {
        Ok(Ok(Applied::TopicCreated { id })) => {
            wait_for_leaders(ctx, id, deadline).await;
            Ok((plan, id.0))
        }
        Ok(Ok(other)) => unreachable!("CreateTopic was answered with {other:?}"),
        Ok(Err(ProposeError::Rejected(rejected))) => Err(translate(&rejected)),
        Ok(Err(error @ (ProposeError::Unknown(_) | ProposeError::Stopping))) => {
            Err(refuse(ResponseError::RequestTimedOut, error.to_string()))
        }
        Err(_) => {
            let text = "the controller has not decided in time: the topic may yet be made";
            Err(refuse(ResponseError::RequestTimedOut, text))
        }
    }
}

async fn wait_for_leaders(ctx: &Context, id: TopicId, deadline: Instant) {
    let mut images = ctx.meta.watch_image();
    let led = images.wait_for(|image| {
        let topic = image.topics.get(&id);
        topic.is_none_or(|topic| topic.partitions.iter().all(|p| p.leader.is_some()))
    });
    // Without leaders in time the topic exists all the same.
    let _ = tokio::time::timeout_at(deadline, led).await;
}

fn translate(rejected: &Rejected) -> Refusal {
    let error = match rejected {
        Rejected::TopicExists(_) => ResponseError::TopicAlreadyExists,
        Rejected::InvalidTopicName(_) => ResponseError::InvalidTopicException,
        Rejected::InvalidPartitions(_) => ResponseError::InvalidPartitions,
        Rejected::InvalidReplicationFactor { .. } => ResponseError::InvalidReplicationFactor,
        Rejected::InvalidConfig(_) => ResponseError::InvalidConfig,
        Rejected::TooManyPartitions { .. } => ResponseError::PolicyViolation,
        _ => ResponseError::InvalidRequest,
    };
    (error, rejected.to_string())
}

fn answer(
    ctx: &Context,
    version: i16,
    name: TopicName,
    outcome: Result<(Plan, Uuid), Refusal>,
) -> CreatableTopicResult {
    let answer = CreatableTopicResult::default().with_name(name);
    match outcome {
        Ok((plan, id)) => {
            let settings = describe_configs::topic_settings(&ctx.config, &plan.configs);
            let settings = settings.map(|setting| {
                CreatableTopicConfigs::default()
                    .with_name(StrBytes::from_static_str(setting.name))
                    .with_value(Some(StrBytes::from_string(setting.value)))
                    .with_config_source(setting.source)
            });
            let settings = (version >= 5).then(|| settings.collect());
            let answer = answer
                .with_error_message(None)
                .with_num_partitions(if version >= 5 { plan.partitions } else { -1 })
                .with_replication_factor(if version >= 5 {
                    plan.replication_factor
                } else {
                    -1
                })
                .with_configs(settings);
            let id = if version >= 7 { id } else { Uuid::nil() };
            answer.with_topic_id(id)
        }
        Err((error, message)) => answer
            .with_error_code(error.code())
            .with_error_message(Some(StrBytes::from_string(message)))
            .with_configs((version >= 5).then(Vec::new)),
    }
}

#[cfg(test)]
#[path = "create_topics_test.rs"]
mod tests;
