//! THE table of a topic's settings: what CreateTopics takes and DescribeConfigs shows.
//!
//! What is not in the table is refused. Some settings of Kafka are here with the one value that
//! describes how this broker behaves: a client that asks for exactly that gets it, a client that
//! asks for anything else is told so instead of being lied to.

use std::collections::BTreeMap;

use crate::config::BrokerConfig;
use crate::config::settings::Kind;
use crate::log::Retention;
use crate::meta::image::MIN_INSYNC_REPLICAS;

const RETENTION_BYTES: &str = "retention.bytes";
const RETENTION_MS: &str = "retention.ms";
const SEGMENT_BYTES: &str = "segment.bytes";
const SEGMENT_MS: &str = "segment.ms";

/// One setting of a topic.
pub struct TopicSetting {
    /// Kafka's name.
    pub name: &'static str,
    /// What its values are.
    pub kind: Kind,
    /// What it means.
    pub help: &'static str,
    /// What is allowed.
    pub allowed: Allowed,
}

/// The values that a topic's setting may have.
pub enum Allowed {
    /// A whole number from 1 on; the default is the broker's.
    FromOne {
        /// The broker's default.
        default: fn(&BrokerConfig) -> String,
    },
    /// A whole number from `least` on; the default is the broker's.
    From {
        /// The smallest.
        least: i64,
        /// The broker's default.
        default: fn(&BrokerConfig) -> i64,
    },
    /// This one, which is how the broker behaves.
    Only(&'static str),
    /// The broker's own value, which cannot be chosen by topic.
    OnlyBrokers(fn(&BrokerConfig) -> String),
}

impl TopicSetting {
    /// The value where a topic sets none.
    #[must_use]
    pub fn default(&self, config: &BrokerConfig) -> String {
        match self.allowed {
            Allowed::FromOne { default } => default(config),
            Allowed::From { default, .. } => default(config).to_string(),
            Allowed::Only(value) => value.to_owned(),
            Allowed::OnlyBrokers(value) => value(config),
        }
    }
}

const fn only(
    name: &'static str,
    kind: Kind,
    value: &'static str,
    help: &'static str,
) -> TopicSetting {
    TopicSetting {
        name,
        kind,
        help,
        allowed: Allowed::Only(value),
    }
}

/// Every setting that a topic can have.
pub static TOPIC_SETTINGS: &[TopicSetting] = &[
    only(
        "cleanup.policy",
        Kind::List,
        "delete",
        "Nothing is compacted",
    ),
    only(
        "compression.type",
        Kind::Text,
        "producer",
        "Batches are stored as they came",
    ),
    TopicSetting {
        name: "max.message.bytes",
        kind: Kind::Int,
        help: "Largest record batch",
        allowed: Allowed::OnlyBrokers(|config| config.max_message_bytes.to_string()),
    },
    only(
        "message.timestamp.type",
        Kind::Text,
        "CreateTime",
        "Records keep the time that their producer gave them",
    ),
    TopicSetting {
        name: MIN_INSYNC_REPLICAS,
        kind: Kind::Int,
        help: "Replicas that must hold a record before acks=all is answered",
        allowed: Allowed::FromOne {
            default: |config| config.min_insync_replicas.to_string(),
        },
    },
    TopicSetting {
        name: RETENTION_BYTES,
        kind: Kind::Long,
        help: "The oldest segments are deleted while this much of a partition is left; -1: none is",
        allowed: Allowed::From {
            least: -1,
            default: |config| config.log_retention_bytes,
        },
    },
    TopicSetting {
        name: RETENTION_MS,
        kind: Kind::Long,
        help: "Segments are deleted when their youngest record is older; -1: none is",
        allowed: Allowed::From {
            least: -1,
            default: |config| config.log_retention_ms,
        },
    },
    TopicSetting {
        name: SEGMENT_BYTES,
        kind: Kind::Long,
        help: "Records are deleted in segments of at most this size",
        allowed: Allowed::From {
            least: 14,
            default: |config| config.log_segment_bytes,
        },
    },
    TopicSetting {
        name: SEGMENT_MS,
        kind: Kind::Long,
        help: "Records of one segment are at most this far apart",
        allowed: Allowed::From {
            least: 1,
            default: |config| config.log_segment_ms,
        },
    },
    only(
        "unclean.leader.election.enable",
        Kind::Boolean,
        "false",
        "Only a replica that holds everything acknowledged may lead",
    ),
];

/// What a topic that was made with these settings deletes, and when.
#[must_use]
pub fn retention(config: &BrokerConfig, given: &BTreeMap<String, String>) -> Retention {
    let of = |name, default| {
        let given = given.get(name).and_then(|value| value.parse().ok());
        given.unwrap_or(default)
    };
    Retention {
        segment_bytes: of(SEGMENT_BYTES, config.log_segment_bytes),
        segment_ms: of(SEGMENT_MS, config.log_segment_ms),
        retention_bytes: of(RETENTION_BYTES, config.log_retention_bytes),
        retention_ms: of(RETENTION_MS, config.log_retention_ms),
    }
}

/// Checks what a client wants to set. Null means the default.
///
/// # Errors
/// For INVALID_CONFIG: which setting, and what would be allowed.
pub fn check<'a>(
    config: &BrokerConfig,
    wanted: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
) -> Result<BTreeMap<String, String>, String> {
    let mut checked = BTreeMap::new();
    for (name, value) in wanted {
        let setting = TOPIC_SETTINGS.iter().find(|setting| setting.name == name);
        let setting = setting.ok_or_else(|| {
            let shown: String = name.chars().take(100).collect();
            format!("{shown:?} is no topic setting of this broker")
        })?;
        let Some(value) = value else {
            return Err(format!("{name}: a value is needed"));
        };
        let refused = |allowed: &str| {
            let shown: String = value.chars().take(100).collect();
            Err(format!("{name}={shown}: {allowed}"))
        };
        match setting.allowed {
            Allowed::FromOne { .. } if !matches!(value.parse::<i32>(), Ok(1..)) => {
                return refused("a whole number from 1 on is needed");
            }
            Allowed::From { least, .. } if value.parse::<i64>().is_ok_and(|v| v >= least) => {}
            Allowed::From { least, .. } => {
                return refused(&format!("a whole number from {least} on is needed"));
            }
            Allowed::Only(known) if value != known => {
                return refused(&format!("only {known} is supported"));
            }
            Allowed::OnlyBrokers(known) if value != known(config) => {
                let known = known(config);
                return refused(&format!("only the brokers' value, {known}, is supported"));
            }
            _ => {}
        }
        if checked.insert(name.to_owned(), value.to_owned()).is_some() {
            return Err(format!("{name} is given twice"));
        }
    }
    Ok(checked)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(name: &str, value: Option<&str>) -> Result<BTreeMap<String, String>, String> {
        check(&BrokerConfig::default(), [(name, value)])
    }

    #[test]
    fn supported_values_pass_and_everything_else_is_refused_by_name() {
        assert_eq!(
            checked("min.insync.replicas", Some("3")).unwrap()["min.insync.replicas"],
            "3"
        );
        for (name, value) in [
            ("retention.ms", "-1"),
            ("retention.ms", "1000"),
            ("retention.bytes", "0"),
            ("segment.bytes", "1048576"),
            ("segment.ms", "1"),
        ] {
            assert_eq!(checked(name, Some(value)).unwrap()[name], value);
        }
        assert!(checked("max.message.bytes", Some("1048588")).is_ok());
        for (name, value) in [
            ("min.insync.replicas", Some("0")),
            ("min.insync.replicas", Some("two")),
            ("min.insync.replicas", None),
            ("retention.ms", Some("-2")),
            ("retention.bytes", Some("much")),
            ("segment.bytes", Some("0")),
            ("segment.ms", Some("0")),
            ("max.message.bytes", Some("1")),
            ("cleanup.policy", Some("compact")),
            ("no.such.setting", Some("1")),
        ] {
            let message = checked(name, value).unwrap_err();
            assert!(message.contains(name), "{message}");
        }
        let twice = [("retention.ms", Some("-1")), ("retention.ms", Some("-1"))];
        assert!(check(&BrokerConfig::default(), twice).is_err());
    }
}
