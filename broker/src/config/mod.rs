//! Every setting of a broker, with its default. The table of their names and meanings is in
//! [`settings`]; how they are read (flags, environment, file) is in [`cli`]; what fits together is
//! in [`check`]; topics' own settings are in [`topic`].

pub mod check;
pub mod cli;
pub mod settings;
pub mod topic;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::chaos::seeded_bug::BugSet;
use crate::meta::image::Endpoint;
use crate::types::{BrokerId, Durability};

/// One of the brokers that vote on metadata: who, and where its controller listener is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voter {
    /// The broker.
    pub id: BrokerId,
    /// Its controller listener.
    pub controller: Endpoint,
}

/// The settings of one broker.
#[derive(Clone, Debug)]
pub struct BrokerConfig {
    /// `broker.id`.
    pub id: BrokerId,
    /// All voters of the metadata quorum, this broker among them (one: a cluster of one).
    pub voters: Vec<Voter>,
    /// Where everything on disk is.
    pub data_dir: PathBuf,
    /// Listener for clients.
    pub client_listen: SocketAddr,
    /// Listener for followers' fetches.
    pub replication_listen: SocketAddr,
    /// Listener for Raft and the controller.
    pub controller_listen: SocketAddr,
    /// `/healthz` and `/metrics`.
    pub admin_listen: SocketAddr,
    /// What clients are told to connect to.
    pub client_advertised: Endpoint,
    /// What followers are told to connect to.
    pub replication_advertised: Endpoint,
    /// When a write counts as held.
    pub durability: Durability,
    /// A WAL file is closed and a new one begun at this size, in bytes.
    pub wal_roll_bytes: u64,
    /// A checkpoint of the log's index is made after this many bytes of the WAL.
    pub log_checkpoint_bytes: u64,
    /// Of what a checkpoint makes superfluous to replay, the newest bytes that are checked at
    /// start all the same.
    pub log_verify_bytes: u64,
    /// Bytes a second of the log on disk that are looked through for damage; 0: none.
    pub log_scrub_bytes_per_second: usize,
    /// `log.segment.bytes`: `segment.bytes` of topics that do not set it.
    pub log_segment_bytes: i64,
    /// `log.roll.ms`: `segment.ms` of topics that do not set it.
    pub log_segment_ms: i64,
    /// `log.retention.bytes`: `retention.bytes` of topics that do not set it; -1: no limit.
    pub log_retention_bytes: i64,
    /// `log.retention.ms`: `retention.ms` of topics that do not set it; -1: no limit.
    pub log_retention_ms: i64,
    /// `log.retention.check.interval.ms`.
    pub log_retention_check_interval: Duration,
    /// Largest request frame, in bytes.
    pub max_request_bytes: usize,
    /// Largest record batch, in bytes (`message.max.bytes`).
    pub max_message_bytes: usize,
    /// Client connections served at once.
    pub max_connections: usize,
    /// Requests of one connection in progress at once.
    pub max_in_flight_per_connection: usize,
    /// `queued.max.request.bytes`: memory for requests in progress, over all connections.
    pub max_queued_request_bytes: usize,
    /// `connections.max.idle.ms`: a client that asks nothing for this long is disconnected.
    pub connections_max_idle: Duration,
    /// Bytes of recent batches kept in memory for tailing readers, over all partitions.
    pub log_cache_bytes: usize,
    /// Bytes that may wait to be written to the WAL before produce requests wait.
    pub log_queue_bytes: usize,
    /// Appends are refused while the disk has less than this free, in bytes.
    pub log_min_free_bytes: u64,
    /// `min.insync.replicas` of topics that do not set it.
    pub min_insync_replicas: i32,
    /// `default.replication.factor`, capped at the number of voters.
    pub default_replication_factor: i16,
    /// `num.partitions`.
    pub num_partitions: i32,
    /// `auto.create.topics.enable`.
    pub auto_create_topics: bool,
    /// `replica.lag.time.max.ms`: a follower that is behind for longer leaves the ISR.
    pub replica_lag_time_max: Duration,
    /// A leader's watermark that stands still below the log's end for longer raises an alarm.
    pub watermark_alarm: Duration,
    /// A follower that is behind by more records raises an alarm.
    pub follower_lag_alarm: i64,
    /// `replica.fetch.wait.max.ms`: the long poll of an idle follower.
    pub replica_fetch_wait_max: Duration,
    /// `broker.session.timeout.ms`: without a heartbeat for this long a broker is fenced.
    pub broker_session_timeout: Duration,
    /// `broker.heartbeat.interval.ms`.
    pub broker_heartbeat_interval: Duration,
    /// Raft's heartbeat.
    pub raft_heartbeat_interval: Duration,
    /// Raft's election timeout is drawn from this range.
    pub raft_election_timeout: (Duration, Duration),
    /// Seed of every random draw of this process.
    pub seed: u64,
    /// Rules that are switched off; always empty in release builds.
    pub bugs: BugSet,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let endpoint = |port| Endpoint {
            host: "127.0.0.1".to_owned(),
            port,
        };
        Self {
            id: BrokerId(1),
            voters: vec![Voter {
                id: BrokerId(1),
                controller: endpoint(9094),
            }],
            data_dir: PathBuf::from("data"),
            client_listen: loopback(9092),
            replication_listen: loopback(9093),
            controller_listen: loopback(9094),
            admin_listen: loopback(9095),
            client_advertised: endpoint(9092),
            replication_advertised: endpoint(9093),
            durability: Durability::Fsync,
            wal_roll_bytes: 64 << 20,
            log_checkpoint_bytes: 256 << 20,
            log_verify_bytes: 256 << 20,
            log_scrub_bytes_per_second: 4 << 20,
            log_segment_bytes: 1 << 30,
            log_segment_ms: 7 * 24 * 3_600_000,
            log_retention_bytes: -1,
            log_retention_ms: -1,
            log_retention_check_interval: Duration::from_secs(5),
            max_request_bytes: 100 << 20,
            max_message_bytes: 1_048_588,
            max_connections: 1000,
            max_in_flight_per_connection: 64,
            max_queued_request_bytes: 256 << 20,
            connections_max_idle: Duration::from_secs(600),
            log_cache_bytes: 64 << 20,
            log_queue_bytes: 32 << 20,
            log_min_free_bytes: 16 << 20,
            min_insync_replicas: 2,
            default_replication_factor: 3,
            num_partitions: 1,
            auto_create_topics: false,
            replica_lag_time_max: Duration::from_secs(5),
            watermark_alarm: Duration::from_secs(5),
            follower_lag_alarm: 100_000,
            replica_fetch_wait_max: Duration::from_millis(500),
            broker_session_timeout: Duration::from_millis(1500),
            broker_heartbeat_interval: Duration::from_millis(250),
            raft_heartbeat_interval: Duration::from_millis(200),
            raft_election_timeout: (Duration::from_millis(1000), Duration::from_millis(2000)),
            seed: 0,
            bugs: BugSet::NONE,
        }
    }
}
