//! Fetches from one leader broker for all partitions that follow it: one connection to its
//! replication listener, one long poll at a time, by topic id and with this broker's epoch.
//!
//! A round takes the position of every partition from its published view, sends them in one
//! request, hands each answer to the partition's writer, and waits until what came is held:
//! then the next positions promise it. When a partition begins to follow this leader while a
//! long poll is under way, the poll is dropped and a new round begins, so that nobody waits for
//! its end. An answer that arrives for an older epoch or another position is ignored by the core.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_request::{
    FetchPartition, FetchRequest, FetchTopic, ReplicaState,
};
use kafka_protocol::messages::fetch_response::{FetchResponse, PartitionData};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::config::BrokerConfig;
use crate::log::{EpochEnd, LogStore, batch};
use crate::meta::handle::MetadataHandle;
use crate::net::client::{CallError, Connection};
use crate::replica::core::Settings;
use crate::replica::follower::{FetchAnswer, FetchPosition, LeaderSaid};
use crate::replica::manager::ReplicaManager;
use crate::replica::partition::{Message, Partition, Taken};
use crate::types::{BrokerId, LeaderEpoch, Offset, TopicPartition};

/// KIP-1166: with this version a follower tells the watermark that it knows.
pub const FETCH_VERSION: i16 = 18;
/// Bytes asked for at once, of all partitions and of each.
const MAX_BYTES: i32 = 10 << 20;
const PARTITION_MAX_BYTES: i32 = 2 << 20;
/// A response may be larger than asked for by one batch a partition.
const MAX_RESPONSE_BYTES: usize = 256 << 20;
/// How long a connection, and an answer beyond the long poll, may take: at first, and after many
/// timeouts. A slow link is not a cut one: it is waited for longer each time.
const PATIENCE: (Duration, Duration) = (Duration::from_millis(2500), Duration::from_secs(8));
/// Pauses after failures: of the connection, and of one partition.
const RECONNECT_PAUSE: (Duration, Duration) =
    (Duration::from_millis(20), Duration::from_millis(500));
const PARTITION_PAUSE: Duration = Duration::from_millis(50);
/// Changes of who follows whom come in bursts: this is how long one is waited for.
const BURST: Duration = Duration::from_millis(2);

/// What a fetcher is made of.
pub(super) struct FetcherParts {
    /// From whom.
    pub leader: BrokerId,
    /// Where the partitions are found.
    pub manager: Arc<ReplicaManager>,
    /// This broker.
    pub settings: Settings,
    /// Waiting times.
    pub config: Arc<BrokerConfig>,
    /// Where the leader's address is found.
    pub meta: MetadataHandle,
    /// Its queue bounds what is taken in.
    pub store: LogStore,
    /// Changes when a partition begins to follow somebody.
    pub following: watch::Receiver<u64>,
    /// Set when this broker stops or is registered anew.
    pub ended: watch::Receiver<bool>,
}

/// Runs until `ended`.
pub(super) async fn run(parts: FetcherParts) {
    let mut ended = parts.ended.clone();
    let mut fetcher = Fetcher {
        parts,
        connection: None,
        reconnect_pause: RECONNECT_PAUSE.0,
        patience: PATIENCE.0,
        paused: BTreeMap::new(),
        turn: 0,
    };
    tokio::select! {
        biased;
        _ = ended.wait_for(|ended| *ended) => {}
        () = fetcher.fetch_forever() => {}
    }
}

struct Fetcher {
    parts: FetcherParts,
    connection: Option<Connection>,
    reconnect_pause: Duration,
    patience: Duration,
    /// Partitions whose last answer was an error, and until when they are left out.
    paused: BTreeMap<TopicPartition, Instant>,
    /// Rotates who comes first, so that a full response starves nobody.
    turn: usize,
}

/// A partition in a round.
struct Asked {
    partition: Arc<Partition>,
    position: FetchPosition,
    hw: Offset,
    log_start: Offset,
}

impl Fetcher {
    async fn fetch_forever(&mut self) {
        loop {
            self.parts.following.mark_unchanged();
            let asked = self.asked();
            if asked.is_empty() {
                self.wait_for_work().await;
                continue;
            }
            self.parts.store.wait_for_room().await;
            match self.round(&asked).await {
                Ok(Some(response)) => {
                    self.reconnect_pause = RECONNECT_PAUSE.0;
                    self.patience = (self.patience * 9 / 10).max(PATIENCE.0);
                    self.take(asked, response).await;
                }
                Ok(None) => {
                    // Somebody else wants to follow: start over with all of them.
                    self.connection = None;
                    tokio::time::sleep(BURST).await;
                }
                Err(error) => {
                    let pause = self.reconnect_pause;
                    info!(leader = %self.parts.leader, %error, ?pause, "fetch failed");
                    self.connection = None;
                    self.reconnect_pause = (pause * 2).min(RECONNECT_PAUSE.1);
                    self.patience = (self.patience * 3 / 2).min(PATIENCE.1);
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    /// Every partition that follows this leader, holds all that it has, and is not paused.
    fn asked(&mut self) -> Vec<Asked> {
        let now = Instant::now();
        self.paused.retain(|_, until| *until > now);
        let mut asked: Vec<_> = self
            .parts
            .manager
            .routing()
            .partitions()
            .filter_map(|partition| {
                let view = partition.view();
                let position = view.position.filter(|at| at.leader == self.parts.leader)?;
                (!self.paused.contains_key(&partition.tp())).then(|| Asked {
                    partition: Arc::clone(partition),
                    position,
                    hw: view.hw,
                    log_start: view.log_start(),
                })
            })
            .collect();
        if !asked.is_empty() {
            self.turn = (self.turn + 1) % asked.len();
            asked.rotate_left(self.turn);
        }
        asked
    }

    /// Until somebody may follow this leader.
    async fn wait_for_work(&mut self) {
        let next = self.paused.values().min().copied();
        let pause = next.map_or(self.parts.config.replica_fetch_wait_max, |until| {
            until.saturating_duration_since(Instant::now())
        });
        tokio::select! {
            biased;
            changed = self.parts.following.changed() => {
                if changed.is_err() {
                    // The incarnation is ending; `ended` is about to say so.
                    tokio::time::sleep(pause).await;
                }
            }
            () = tokio::time::sleep(pause) => {}
        }
    }

    /// One request and its answer; `None` when it was dropped for the sake of a newcomer.
    async fn round(&mut self, asked: &[Asked]) -> Result<Option<FetchResponse>, CallError> {
        let wait = self.poll_wait();
        let request = self.request(asked, wait);
        let timeout = wait + self.patience;
        if self.connection.is_none() {
            self.connection = Some(self.connect().await?);
        }
        let connection = self.connection.as_mut().expect("just connected");
        tokio::select! {
            biased;
            answer = connection.call(&request, FETCH_VERSION, timeout) => answer.map(Some),
            _ = self.parts.following.changed() => Ok(None),
        }
    }

    /// A long poll ends when a paused partition wants to be asked for again.
    fn poll_wait(&self) -> Duration {
        let longest = self.parts.config.replica_fetch_wait_max;
        let next = self.paused.values().min();
        next.map_or(longest, |until| {
            until.saturating_duration_since(Instant::now()).min(longest)
        })
    }

    async fn connect(&self) -> Result<Connection, CallError> {
        let image = self.parts.meta.image();
        let Some(leader) = image.brokers.get(&self.parts.leader) else {
            return Err(CallError::Closed(format!("broker {}", self.parts.leader)));
        };
        let name = format!("replica-{}", self.parts.settings.me);
        let endpoint = &leader.replication;
        Connection::open(endpoint, &name, MAX_RESPONSE_BYTES, self.patience).await
    }

    fn request(&self, asked: &[Asked], wait: Duration) -> FetchRequest {
        let mut topics: Vec<FetchTopic> = Vec::new();
        for Asked {
            partition,
            position,
            hw,
            log_start,
        } in asked
        {
            let tp = partition.tp();
            let fetch = FetchPartition::default()
                .with_partition(tp.partition)
                .with_current_leader_epoch(position.leader_epoch.get())
                .with_fetch_offset(position.offset.get())
                .with_last_fetched_epoch(position.last_epoch.map_or(-1, LeaderEpoch::get))
                .with_log_start_offset(log_start.get())
                .with_partition_max_bytes(PARTITION_MAX_BYTES)
                .with_high_watermark(hw.get());
            match topics.last_mut() {
                Some(topic) if topic.topic_id == tp.topic.0 => topic.partitions.push(fetch),
                _ => topics.push(
                    FetchTopic::default()
                        .with_topic_id(tp.topic.0)
                        .with_partitions(vec![fetch]),
                ),
            }
        }
        let settings = &self.parts.settings;
        let replica = ReplicaState::default()
            .with_replica_id(settings.me.get().into())
            .with_replica_epoch(settings.broker_epoch.get());
        let wait_ms = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        FetchRequest::default()
            .with_replica_state(replica)
            .with_max_wait_ms(wait_ms)
            .with_min_bytes(1)
            .with_max_bytes(MAX_BYTES)
            .with_topics(topics)
    }

    /// Hands the answers over and waits until what came is held.
    async fn take(&mut self, asked: Vec<Asked>, response: FetchResponse) {
        if response.error_code != 0 {
            let error = response.error_code;
            warn!(leader = %self.parts.leader, error, "the leader refuses all fetches");
            for asked in &asked {
                self.pause(asked.partition.tp());
            }
            return;
        }
        let mut asked: BTreeMap<_, _> = asked
            .into_iter()
            .map(|asked| (asked.partition.tp(), asked))
            .collect();
        let mut settling = Vec::new();
        for topic in response.responses {
            for data in topic.partitions {
                let tp = TopicPartition {
                    topic: crate::types::TopicId(topic.topic_id),
                    partition: data.partition_index,
                };
                if let Some(asked) = asked.remove(&tp) {
                    settling.extend(self.hand_over(&asked, data).map(|taken| (tp, taken)));
                }
            }
        }
        for (tp, taken) in settling {
            // An error says that nothing more will come of it: the other end was dropped.
            if let Ok(Taken::Refused) = taken.await {
                self.pause(tp);
            }
        }
    }

    /// Gives one partition's answer to its writer, unless it is an error or says nothing new.
    fn hand_over(
        &mut self,
        asked: &Asked,
        data: PartitionData,
    ) -> Option<oneshot::Receiver<Taken>> {
        let tp = asked.partition.tp();
        let log_start = Offset(data.log_start_offset);
        let (said, records) = match leader_said(data) {
            Ok(answer) => answer,
            Err(error) => {
                debug!(partition = %tp, leader = %self.parts.leader, error, "fetch refused");
                self.pause(tp);
                return None;
            }
        };
        let news = match said {
            LeaderSaid::Records {
                first: None,
                leader_hw,
            } => leader_hw != asked.hw || log_start > asked.log_start,
            _ => true,
        };
        if !news {
            return None;
        }
        let (taken, waits) = oneshot::channel();
        let answer = FetchAnswer {
            asked: asked.position,
            said,
        };
        asked.partition.send(Message::Fetched {
            answer,
            records,
            log_start,
            taken,
        });
        Some(waits)
    }

    fn pause(&mut self, tp: TopicPartition) {
        self.paused.insert(tp, Instant::now() + PARTITION_PAUSE);
    }
}

/// One partition's answer in the core's terms and its bytes, or the error code.
fn leader_said(data: PartitionData) -> Result<(LeaderSaid, Bytes), i16> {
    if data.error_code == ResponseError::OffsetOutOfRange.code() {
        let log_start = Offset(data.log_start_offset);
        return Ok((LeaderSaid::OutOfRange { log_start }, Bytes::new()));
    }
    if data.error_code != 0 {
        return Err(data.error_code);
    }
    if data.diverging_epoch.epoch >= 0 {
        let end = EpochEnd {
            epoch: LeaderEpoch(data.diverging_epoch.epoch),
            end: Offset(data.diverging_epoch.end_offset),
        };
        return Ok((LeaderSaid::Diverging(end), Bytes::new()));
    }
    let records = data.records.unwrap_or_default();
    let first = match batch::headers(&records).next() {
        None => None,
        Some(Ok(header)) => Some((header.base_offset, header.leader_epoch)),
        Some(Err(error)) => return Err(error.code()),
    };
    let leader_hw = Offset(data.high_watermark);
    Ok((LeaderSaid::Records { first, leader_hw }, records))
}
