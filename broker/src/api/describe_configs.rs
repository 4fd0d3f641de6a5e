//! DescribeConfigs (32): the settings in force of a topic or of this broker, and where each comes
//! from. Shown is what acts, from the same tables that read it.
//!
//! Each resource is answered once, however often it is asked for.
//!
//! Version notes: v1 sources and synonyms, v3 types and documentation, v4 flexible.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use kafka_protocol::protocol::StrBytes;

use crate::api::{Context, Pending, encode, in_turn};
use crate::config::BrokerConfig;
use crate::config::settings::{Kind, SETTINGS};
use crate::config::topic::{Allowed, TOPIC_SETTINGS};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// Resources in one answer: some ten kilobytes each, with documentation.
const RESOURCES_MAX: usize = 2_000;

/// Given to the topic when it was made.
const SOURCE_TOPIC: i8 = 1;
/// Given to the broker when it was started.
const SOURCE_STATIC_BROKER: i8 = 4;
/// Nobody gave it.
const SOURCE_DEFAULT: i8 = 5;

/// One setting in force.
pub struct Shown {
    /// Its name.
    pub name: &'static str,
    /// The value in force.
    pub value: String,
    /// Where it comes from, as the protocol counts it.
    pub source: i8,
    kind: Kind,
    help: &'static str,
    /// Values that would be in force without this one, nearest first, this one included.
    synonyms: Vec<(&'static str, String, i8)>,
    read_only: bool,
}

/// How much of it is wanted.
#[derive(Clone, Copy)]
struct Detail {
    version: i16,
    synonyms: bool,
    documentation: bool,
}

/// Answers from the tables.
#[must_use]
pub fn handle(ctx: &Arc<Context>, version: i16, request: DescribeConfigsRequest) -> Pending {
    let detail = Detail {
        version,
        synonyms: request.include_synonyms,
        documentation: request.include_documentation,
    };
    let ctx = Arc::clone(ctx);
    in_turn(move || {
        let resources = merged(request.resources).into_iter().enumerate();
        let results = resources.map(|(number, resource)| describe(&ctx, detail, number, resource));
        let response = DescribeConfigsResponse::default().with_results(results.collect());
        encode(&response, version)
    })
}

/// Each resource once, where it is named first, with all the keys that are asked of it.
fn merged(asked: Vec<DescribeConfigsResource>) -> Vec<DescribeConfigsResource> {
    let mut places = BTreeMap::new();
    let mut merged: Vec<DescribeConfigsResource> = Vec::new();
    for resource in asked {
        let id = (resource.resource_type, resource.resource_name.clone());
        match places.entry(id) {
            Entry::Vacant(free) => {
                free.insert(merged.len());
                merged.push(resource);
            }
            Entry::Occupied(place) => {
                let first = &mut merged[*place.get()].configuration_keys;
                match (first.as_mut(), resource.configuration_keys) {
                    (Some(keys), Some(more)) => keys.extend(more),
                    // One of them asks for all.
                    _ => *first = None,
                }
            }
        }
    }
    merged
}

/// A topic's settings in force, given what it was made with.
pub fn topic_settings(
    config: &BrokerConfig,
    given: &BTreeMap<String, String>,
) -> impl Iterator<Item = Shown> {
    TOPIC_SETTINGS.iter().map(|setting| {
        let default = setting.default(config);
        let mut synonyms = Vec::new();
        if let Some(value) = given.get(setting.name) {
            synonyms.push((setting.name, value.clone(), SOURCE_TOPIC));
        }
        let below = match setting.allowed {
            Allowed::Only(_) => SOURCE_DEFAULT,
            Allowed::FromOne { .. } | Allowed::From { .. } | Allowed::OnlyBrokers(_) => {
                if setting.default(&BrokerConfig::default()) == default {
                    SOURCE_DEFAULT
                } else {
                    SOURCE_STATIC_BROKER
                }
            }
        };
        synonyms.push((setting.name, default, below));
        let (_, value, source) = synonyms[0].clone();
        Shown {
            name: setting.name,
            value,
            source,
            kind: setting.kind,
            help: setting.help,
            synonyms,
            read_only: false,
        }
    })
}

fn broker_settings(config: &BrokerConfig) -> impl Iterator<Item = Shown> {
    let defaults = BrokerConfig::default();
    SETTINGS.iter().map(move |setting| {
        let name = setting.kafka_name.unwrap_or(setting.name);
        let value = (setting.get)(config);
        let default = (setting.get)(&defaults);
        let mut synonyms = Vec::new();
        if value != default {
            synonyms.push((name, value, SOURCE_STATIC_BROKER));
        }
        synonyms.push((name, default, SOURCE_DEFAULT));
        let (_, value, source) = synonyms[0].clone();
        Shown {
            name,
            value,
            source,
            kind: setting.kind,
            help: setting.help,
            synonyms,
            read_only: true,
        }
    })
}

fn describe(
    ctx: &Context,
    detail: Detail,
    number: usize,
    resource: DescribeConfigsResource,
) -> DescribeConfigsResult {
    let shown: Result<Vec<Shown>, (ResponseError, String)> = match resource.resource_type {
        _ if number >= RESOURCES_MAX => {
            let text = format!("at most {RESOURCES_MAX} resources are described at a time");
            Err((ResponseError::InvalidRequest, text))
        }
        TOPIC => match ctx.meta.image().topic_by_name(&resource.resource_name) {
            Some(topic) => Ok(topic_settings(&ctx.config, &topic.configs).collect()),
            None => {
                let text = "there is no such topic".to_owned();
                Err((ResponseError::UnknownTopicOrPartition, text))
            }
        },
        BROKER => {
            let id = ctx.config.id;
            match &*resource.resource_name {
                // The defaults of all brokers that can be changed at run time: there are none.
                "" => Ok(Vec::new()),
                // Written in one way only, so that it is described once.
                asked if asked == id.to_string() => Ok(broker_settings(&ctx.config).collect()),
                _ => {
                    let text = format!("this is broker {id}: ask the other one itself");
                    Err((ResponseError::InvalidRequest, text))
                }
            }
        }
        _ => {
            let text = "only topics and brokers have settings here".to_owned();
            Err((ResponseError::InvalidRequest, text))
        }
    };
    let result = DescribeConfigsResult::default()
        .with_resource_type(resource.resource_type)
        .with_resource_name(resource.resource_name);
    match shown {
        Ok(shown) => {
            let keys = resource.configuration_keys;
            let keys: Option<BTreeSet<_>> = keys.map(|keys| keys.into_iter().collect());
            let wanted = |shown: &Shown| {
                let name = StrBytes::from_static_str(shown.name);
                keys.as_ref().is_none_or(|keys| keys.contains(&name))
            };
            let shown = shown.into_iter().filter(wanted);
            let result = result.with_error_message(None);
            result.with_configs(shown.map(|shown| one(detail, shown)).collect())
        }
        Err((error, text)) => result
            .with_error_code(error.code())
            .with_error_message(Some(StrBytes::from_string(text))),
    }
}

fn one(detail: Detail, shown: Shown) -> DescribeConfigsResourceResult {
    let result = DescribeConfigsResourceResult::default()
        .with_name(StrBytes::from_static_str(shown.name))
        .with_value(Some(StrBytes::from_string(shown.value)))
        .with_read_only(shown.read_only)
        .with_config_source(shown.source);
    let synonyms = shown.synonyms.into_iter().map(|(name, value, source)| {
        DescribeConfigsSynonym::default()
            .with_name(StrBytes::from_static_str(name))
            .with_value(Some(StrBytes::from_string(value)))
            .with_source(source)
    });
    let result = match detail.synonyms {
        true => result.with_synonyms(synonyms.collect()),
        false => result,
    };
    if detail.version < 3 {
        return result;
    }
    let documented = detail.documentation;
    result
        .with_config_type(kind(shown.kind))
        .with_documentation(documented.then(|| StrBytes::from_static_str(shown.help)))
}

/// The protocol's number of a type.
const fn kind(kind: Kind) -> i8 {
    match kind {
        Kind::Boolean => 1,
        Kind::Text => 2,
        Kind::Int => 3,
        Kind::Long => 5,
        Kind::List => 7,
    }
}
