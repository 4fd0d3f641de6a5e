//! THE table of a broker's settings: name, meaning, how a value is read and shown. Flags,
//! environment, file, `--help` and DescribeConfigs all come from it.
//!
//! A name is a flag (`--wal-roll-bytes`), an environment variable (`BROKER_WAL_ROLL_BYTES`) and a
//! key of the file (`wal-roll-bytes`, or Kafka's name where there is one).

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::config::{BrokerConfig, Voter};
use crate::meta::image::Endpoint;
use crate::types::{BrokerId, Durability};

/// What a value is, as DescribeConfigs tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// true or false.
    Boolean,
    /// Text.
    Text,
    /// A number of 32 bits.
    Int,
    /// A number of 64 bits.
    Long,
    /// Several, separated by commas.
    List,
}

/// One setting.
pub struct Setting {
    /// Name, with dashes.
    pub name: &'static str,
    /// Kafka's name, where Kafka has the same setting.
    pub kafka_name: Option<&'static str>,
    /// What its values are.
    pub kind: Kind,
    /// What `--help` puts in place of a value.
    pub placeholder: &'static str,
    /// What it means, units and consequences.
    pub help: &'static str,
    /// Reads a value.
    pub set: fn(&mut BrokerConfig, &str) -> Result<(), String>,
    /// Shows the value in force.
    pub get: fn(&BrokerConfig) -> String,
}

impl Setting {
    /// The environment variable.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("BROKER_{}", self.name.replace('-', "_").to_uppercase())
    }
}

/// The setting of that name or Kafka's name; `_` and `-` are the same.
#[must_use]
pub fn find(name: &str) -> Option<&'static Setting> {
    let dashed = name.replace('_', "-");
    SETTINGS
        .iter()
        .find(|setting| setting.name == dashed || setting.kafka_name == Some(name))
}

/// The name that is most like `name`, for messages.
#[must_use]
pub fn nearest(name: &str) -> &'static str {
    let names = SETTINGS.iter().map(|setting| setting.name);
    names
        .min_by_key(|known| edit_distance(known, name))
        .expect("the table is not empty")
}

fn edit_distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

macro_rules! setting {
    ($name:literal, $kafka:expr, $kind:ident, $placeholder:literal, $help:literal,
     $field:ident: $set:expr, $get:expr) => {
        Setting {
            name: $name,
            kafka_name: $kafka,
            kind: Kind::$kind,
            placeholder: $placeholder,
            help: $help,
            set: |config, value| {
                config.$field = $set(value)?;
                Ok(())
            },
            get: |config| $get(&config.$field),
        }
    };
}

/// Every setting, in the order of `--help`.
pub static SETTINGS: &[Setting] = &[
    setting!("id", Some("broker.id"), Int, "N",
        "Number of this broker, unique in the cluster; it must be one of --voters",
        id: |v| whole::<i32>(v, 0, i32::MAX).map(BrokerId), show),
    setting!("voters", Some("controller.quorum.voters"), List, "ID@HOST:PORT,..",
        "All brokers of the cluster, each with its controller address; they keep the metadata by \
         majority. Not given: this broker alone is a cluster",
        voters: voters, show_voters),
    setting!("data-dir", Some("log.dir"), Text, "DIR",
        "Where everything on disk is: the log and the metadata store. It is made if it is not \
         there",
        data_dir: directory, |dir: &PathBuf| dir.display().to_string()),
    setting!("client-listen", None, Text, "IP:PORT",
        "Where clients connect. 0.0.0.0 for every network of this machine; then say \
         --client-advertised too",
        client_listen: address, show),
    setting!("client-advertised", Some("advertised.listeners"), Text, "HOST:PORT",
        "What clients are told to connect to; by default --client-listen",
        client_advertised: endpoint, show_endpoint),
    setting!("replication-listen", None, Text, "IP:PORT",
        "Where the other brokers fetch from this one",
        replication_listen: address, show),
    setting!("replication-advertised", None, Text, "HOST:PORT",
        "What the other brokers are told to fetch from; by default --replication-listen",
        replication_advertised: endpoint, show_endpoint),
    setting!("controller-listen", None, Text, "IP:PORT",
        "Where the brokers agree on metadata (Raft); the others reach it as --voters says",
        controller_listen: address, show),
    setting!("admin-listen", None, Text, "IP:PORT",
        "Where /healthz and /metrics are",
        admin_listen: address, show),
    setting!("durability", None, Text, "MODE",
        "fsync: acknowledged data survives power loss of every broker at once. replicated \
         (Kafka's default): it is durable by being on several brokers, and faster",
        durability: durability, show_durability),
    setting!("min-insync-replicas", Some("min.insync.replicas"), Int, "N",
        "Brokers that must hold a record before acks=all is answered, capped at the topic's \
         replication factor; a topic may say otherwise",
        min_insync_replicas: |v| whole(v, 1, 1000), show),
    setting!("default-replication-factor", Some("default.replication.factor"), Int, "N",
        "Copies of a topic that does not say how many, capped at the number of --voters",
        default_replication_factor: |v| whole(v, 1, 1000), show),
    setting!("num-partitions", Some("num.partitions"), Int, "N",
        "Partitions of a topic that does not say how many",
        num_partitions: |v| whole(v, 1, 10_000), show),
    setting!("auto-create-topics", Some("auto.create.topics.enable"), Boolean, "BOOL",
        "Whether asking for an unknown topic makes it",
        auto_create_topics: boolean, show),
    setting!("wal-roll-bytes", None, Long, "BYTES",
        "A file of the write-ahead log is closed and a new one begun at this size",
        wal_roll_bytes: |v| whole(v, 64 << 10, 1 << 40), show),
    setting!("log-checkpoint-bytes", None, Long, "BYTES",
        "The log's index is written down after this many bytes of the write-ahead log; what came \
         later is replayed at start",
        log_checkpoint_bytes: |v| whole(v, 64 << 10, 1 << 50), show),
    setting!("log-verify-bytes", None, Long, "BYTES",
        "Of what needs no replay at start, the newest bytes that are checked for damage all the \
         same; the rest is checked when it is read",
        log_verify_bytes: |v| whole(v, 0, 1 << 50), show),
    setting!("log-cache-bytes", None, Long, "BYTES",
        "Memory for recent records, from which followers and consumers at the end are served",
        log_cache_bytes: |v| whole(v, 0, 1 << 40), show),
    setting!("log-queue-bytes", None, Long, "BYTES",
        "Records that may wait to be written before produce requests have to wait",
        log_queue_bytes: |v| whole(v, 1 << 20, 1 << 40), show),
    setting!("log-min-free-bytes", None, Long, "BYTES",
        "Appends are refused while the disk has less than this free; reads go on",
        log_min_free_bytes: |v| whole(v, 0, 1 << 50), show),
    setting!("log-scrub-bytes-per-second", None, Long, "BYTES",
        "How fast the log on disk is looked through for damage, round and round; 0: not at all",
        log_scrub_bytes_per_second: |v| whole(v, 0, 1 << 40), show),
    setting!("log-segment-bytes", Some("log.segment.bytes"), Long, "BYTES",
        "Records are deleted in segments of at most this size; a topic may say otherwise",
        log_segment_bytes: |v| whole(v, 1 << 10, i64::MAX), show),
    setting!("log-segment-ms", Some("log.roll.ms"), Long, "MS",
        "Records of one segment are at most this far apart; a topic may say otherwise",
        log_segment_ms: |v| whole(v, 1, i64::MAX), show),
    setting!("log-retention-bytes", Some("log.retention.bytes"), Long, "BYTES",
        "Of each partition the oldest segments are deleted while this much is left; -1: none is; \
         a topic may say otherwise",
        log_retention_bytes: |v| whole(v, -1, i64::MAX), show),
    setting!("log-retention-ms", Some("log.retention.ms"), Long, "MS",
        "Segments are deleted when their youngest record is older than this; -1: none is; a \
         topic may say otherwise",
        log_retention_ms: |v| whole(v, -1, i64::MAX), show),
    setting!("log-retention-check-interval-ms", Some("log.retention.check.interval.ms"), Long,
        "MS", "How often it is looked for segments to delete",
        log_retention_check_interval: |v| millis(v, 10), show_millis),
    setting!("max-message-bytes", Some("message.max.bytes"), Int, "BYTES",
        "Largest record batch",
        max_message_bytes: |v| whole(v, 1 << 10, 1 << 30), show),
    setting!("max-request-bytes", Some("socket.request.max.bytes"), Int, "BYTES",
        "Largest request; a larger one closes its connection",
        max_request_bytes: |v| whole(v, 16 << 10, 1 << 30), show),
    setting!("max-queued-request-bytes", Some("queued.max.request.bytes"), Long, "BYTES",
        "Memory for large requests in progress, over all connections; who finds it used up waits",
        max_queued_request_bytes: |v| whole(v, 1 << 20, 1 << 40), show),
    setting!("max-connections", Some("max.connections"), Int, "N",
        "Client connections served at once; one more is closed as soon as it is made",
        max_connections: |v| whole(v, 1, 1 << 20), show),
    setting!("max-in-flight-per-connection", None, Int, "N",
        "Requests of one connection in progress at once; more are left unread",
        max_in_flight_per_connection: |v| whole(v, 1, 1 << 16), show),
    setting!("connections-max-idle-ms", Some("connections.max.idle.ms"), Long, "MS",
        "A client that asks nothing for this long is disconnected",
        connections_max_idle: |v| millis(v, 1000), show_millis),
    setting!("replica-lag-time-max-ms", Some("replica.lag.time.max.ms"), Long, "MS",
        "A follower that has been behind for longer leaves the in-sync replicas",
        replica_lag_time_max: |v| millis(v, 10), show_millis),
    setting!("watermark-alarm-ms", None, Long, "MS",
        "A leader says so, in its log and in /metrics, when the high watermark of a partition has \
         not moved for longer though there are records above it",
        watermark_alarm: |v| millis(v, 10), show_millis),
    setting!("follower-lag-alarm-records", None, Long, "N",
        "A leader says so when a follower is behind by more records",
        follower_lag_alarm: |v| whole(v, 1, i64::MAX), show),
    setting!("replica-fetch-wait-max-ms", Some("replica.fetch.wait.max.ms"), Long, "MS",
        "How long a fetch of a follower waits when there is nothing new",
        replica_fetch_wait_max: |v| millis(v, 1), show_millis),
    setting!("broker-session-timeout-ms", Some("broker.session.timeout.ms"), Long, "MS",
        "A broker whose heartbeats stop for this long is fenced, and its leaderships move",
        broker_session_timeout: |v| millis(v, 100), show_millis),
    setting!("broker-heartbeat-interval-ms", Some("broker.heartbeat.interval.ms"), Long, "MS",
        "Time between two heartbeats to the controller",
        broker_heartbeat_interval: |v| millis(v, 10), show_millis),
    setting!("raft-heartbeat-interval-ms", None, Long, "MS",
        "Time between two heartbeats of the active controller to the other voters",
        raft_heartbeat_interval: |v| millis(v, 10), show_millis),
    setting!("raft-election-timeout-ms", None, Text, "MIN-MAX",
        "A voter that hears nothing from the active controller for a time drawn from this range \
         stands for election, e.g. 1000-2000",
        raft_election_timeout: range, show_range),
    setting!("seed", None, Long, "N",
        "Seed of every random draw of this broker; 0 draws one",
        seed: |v| whole(v, 0, u64::MAX), show),
];

fn show<T: Display>(value: &T) -> String {
    value.to_string()
}

fn show_millis(value: &Duration) -> String {
    value.as_millis().to_string()
}

fn show_range((low, high): &(Duration, Duration)) -> String {
    format!("{}-{}", low.as_millis(), high.as_millis())
}

fn show_endpoint(endpoint: &Endpoint) -> String {
    if endpoint.host.contains(':') {
        format!("[{}]:{}", endpoint.host, endpoint.port)
    } else {
        format!("{}:{}", endpoint.host, endpoint.port)
    }
}

fn show_durability(durability: &Durability) -> String {
    match durability {
        Durability::Fsync => "fsync".to_owned(),
        Durability::Replicated => "replicated".to_owned(),
    }
}

#[expect(
    clippy::ptr_arg,
    reason = "a row of the table hands on the field as it is"
)]
fn show_voters(voters: &Vec<Voter>) -> String {
    let one = |voter: &Voter| format!("{}@{}", voter.id, show_endpoint(&voter.controller));
    voters.iter().map(one).collect::<Vec<_>>().join(",")
}

fn whole<T>(value: &str, low: T, high: T) -> Result<T, String>
where
    T: FromStr + PartialOrd + Display,
{
    match value.replace('_', "").parse::<T>() {
        Ok(number) if low <= number && number <= high => Ok(number),
        _ => Err(format!(
            "{value:?} is not a whole number from {low} to {high}"
        )),
    }
}

fn millis(value: &str, low: u64) -> Result<Duration, String> {
    let day = 24 * 60 * 60 * 1000;
    match value.replace('_', "").parse::<u64>() {
        Ok(ms) if (low..=day).contains(&ms) => Ok(Duration::from_millis(ms)),
        _ => Err(format!(
            "{value:?} is not a number of milliseconds from {low} to {day}"
        )),
    }
}

fn range(value: &str) -> Result<(Duration, Duration), String> {
    let expected = || format!("{value:?} is not a range of milliseconds such as 1000-2000");
    let (low, high) = value.split_once('-').ok_or_else(expected)?;
    let low = millis(low, 10).map_err(|_| expected())?;
    let high = millis(high, 10).map_err(|_| expected())?;
    if low < high {
        Ok((low, high))
    } else {
        Err(expected())
    }
}

fn boolean(value: &str) -> Result<bool, String> {
    value
        .parse()
        .map_err(|_| format!("{value:?} is neither true nor false"))
}

fn directory(value: &str) -> Result<PathBuf, String> {
    if value.is_empty() {
        return Err("an empty path is no directory".to_owned());
    }
    Ok(PathBuf::from(value))
}

fn address(value: &str) -> Result<SocketAddr, String> {
    value
        .parse()
        .map_err(|_| format!("{value:?} is not an IP address and a port, such as 127.0.0.1:9092"))
}

fn durability(value: &str) -> Result<Durability, String> {
    match value {
        "fsync" => Ok(Durability::Fsync),
        "replicated" => Ok(Durability::Replicated),
        _ => Err(format!("{value:?} is neither fsync nor replicated")),
    }
}

fn endpoint(value: &str) -> Result<Endpoint, String> {
    let expected = || format!("{value:?} is not a host and a port, such as broker-1:9092");
    let (host, port) = value.rsplit_once(':').ok_or_else(expected)?;
    let port = port.parse().map_err(|_| expected())?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    // What goes into a hosts file, an address, or a URL; and fits the protocol's strings.
    let sane = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    if host.is_empty() || host.len() > 255 || !host.chars().all(sane) {
        return Err(expected());
    }
    Ok(Endpoint {
        host: host.to_owned(),
        port,
    })
}

fn voters(value: &str) -> Result<Vec<Voter>, String> {
    value.split(',').map(voter).collect()
}

fn voter(value: &str) -> Result<Voter, String> {
    let expected = || format!("{value:?} is not a voter, such as 1@broker-1:9094");
    let (id, controller) = value.trim().split_once('@').ok_or_else(expected)?;
    let id = whole::<i32>(id, 0, i32::MAX).map_err(|_| expected())?;
    let controller = endpoint(controller).map_err(|_| expected())?;
    Ok(Voter {
        id: BrokerId(id),
        controller,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_default_is_shown_as_a_value_that_reads_as_the_same() {
        for setting in SETTINGS {
            let mut config = BrokerConfig::default();
            let shown = (setting.get)(&config);
            (setting.set)(&mut config, &shown).unwrap();
            assert_eq!((setting.get)(&config), shown, "{}", setting.name);
        }
    }

    #[test]
    fn names_are_unique_and_found_in_every_spelling() {
        let mut names = BTreeSet::new();
        for setting in SETTINGS {
            assert!(names.insert(setting.name));
            assert!(!setting.help.ends_with('.'), "{}", setting.name);
            let underscored = setting.name.replace('-', "_");
            assert_eq!(find(&underscored).unwrap().name, setting.name);
            if let Some(kafka) = setting.kafka_name {
                assert!(names.insert(kafka));
                assert_eq!(find(kafka).unwrap().name, setting.name);
            }
        }
        assert_eq!(nearest("wal-rol-byte"), "wal-roll-bytes");
        assert_eq!(find("id").unwrap().variable(), "BROKER_ID");
        assert!(find("no-such").is_none());
    }

    #[test]
    fn bad_values_are_told_with_what_would_do() {
        let cases = [
            ("id", "-1"),
            ("voters", "1@"),
            ("voters", "a@b:1"),
            ("voters", ""),
            ("client-listen", "localhost"),
            ("client-advertised", "host name:1"),
            ("client-advertised", "host:99999"),
            ("durability", "sometimes"),
            ("auto-create-topics", "yes"),
            ("raft-election-timeout-ms", "2000-1000"),
            ("broker-session-timeout-ms", "1.5"),
            ("max-request-bytes", "9999999999999999999999"),
            ("data-dir", ""),
        ];
        for (name, value) in cases {
            let set = find(name).unwrap().set;
            let message = set(&mut BrokerConfig::default(), value).unwrap_err();
            assert!(message.len() > 20, "{name}: {message}");
        }
        let mut config = BrokerConfig::default();
        (find("client-advertised").unwrap().set)(&mut config, "[::1]:9092").unwrap();
        assert_eq!(config.client_advertised.host, "::1");
    }
}
