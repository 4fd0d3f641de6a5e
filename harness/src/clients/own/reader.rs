//! Reads partitions from given offsets: one fetch under way to each leader, all its partitions in
//! it. Offsets are never reset: what ends reading is told, as librdkafka tells it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::{BrokerId, FetchRequest, FetchResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::RecordBatchDecoder;
use rdkafka::types::RDKafkaErrorCode as Code;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::classify;
use super::metadata::Known;
use crate::clients::outcome::{code_name, code_text};
use crate::clients::{ClientSettings, ReadProblem, Received};
use crate::history::Polled;
use crate::kafka::Conn;
use crate::value;

const FETCH_VERSION_MAX: i16 = 12;
const WAIT: Duration = Duration::from_millis(200);
const ANSWER_WITHIN: Duration = Duration::from_millis(2000);
const BACKOFF: Duration = Duration::from_millis(50);
const PARTITION_BYTES: i32 = 1 << 20;
const READ_COMMITTED: i8 = 1;

/// Where reading of a partition stands.
struct Position {
    /// The next offset.
    next: i64,
    /// Leader epoch of the last record, or -1.
    epoch: i32,
    /// The end that was told last.
    told_end: Option<i64>,
    /// A fetch with it has no answer yet.
    in_flight: bool,
    ended: bool,
}

struct Answered {
    broker: i32,
    partitions: Vec<i32>,
    conn: Option<Conn>,
    answer: Option<FetchResponse>,
}

/// Reads one topic.
pub struct OwnReader {
    known: Known,
    topic: String,
    run: u64,
    positions: BTreeMap<i32, Position>,
    flights: FuturesUnordered<BoxFuture<'static, Answered>>,
    /// Brokers with an unanswered fetch.
    busy: BTreeSet<i32>,
    /// After something went wrong.
    not_before: Instant,
}

impl OwnReader {
    /// Starts to read each partition at its offset. Nothing is waited for.
    #[must_use]
    pub fn start(settings: &ClientSettings, topic: &str, run: u64, from: &[(i32, i64)]) -> Self {
        let position = |next| Position {
            next,
            epoch: -1,
            told_end: None,
            in_flight: false,
            ended: false,
        };
        Self {
            known: Known::new(&settings.bootstrap, topic),
            topic: topic.to_owned(),
            run,
            positions: from.iter().map(|(p, at)| (*p, position(*at))).collect(),
            flights: FuturesUnordered::new(),
            busy: BTreeSet::new(),
            not_before: Instant::now(),
        }
    }

    /// Returns as soon as something was delivered, at the latest after `within`.
    pub async fn poll(&mut self, within: Duration) -> Received {
        let deadline = Instant::now() + within;
        let mut received = Received::default();
        // Whatever a poll interrupts goes on in the next one.
        let _ = timeout_at(deadline, self.receive(&mut received)).await;
        received
    }

    async fn receive(&mut self, received: &mut Received) {
        loop {
            sleep_until(self.not_before).await;
            if !self.known.refresh().await {
                self.not_before = Instant::now() + BACKOFF;
                continue;
            }
            self.ask();
            match self.flights.next().await {
                Some(answered) => self.take(answered, received),
                None => {
                    self.known.doubt();
                    self.not_before = Instant::now() + BACKOFF;
                }
            }
            let something = !received.records.is_empty()
                || !received.ends.is_empty()
                || !received.problems.is_empty();
            if something {
                return;
            }
        }
    }

    /// Sends fetches to the leaders that have none.
    fn ask(&mut self) {
        let mut by_leader: BTreeMap<i32, Vec<FetchPartition>> = BTreeMap::new();
        for (partition, position) in &mut self.positions {
            let Some(leader) = self.known.leader(*partition) else {
                continue;
            };
            if position.ended || position.in_flight || self.busy.contains(&leader.id) {
                continue;
            }
            position.in_flight = true;
            by_leader.entry(leader.id).or_default().push(
                FetchPartition::default()
                    .with_partition(*partition)
                    .with_current_leader_epoch(leader.epoch)
                    .with_fetch_offset(position.next)
                    .with_last_fetched_epoch(position.epoch)
                    .with_partition_max_bytes(PARTITION_BYTES),
            );
        }
        for (broker, asked) in by_leader {
            let partitions: Vec<i32> = asked.iter().map(|asked| asked.partition).collect();
            let Some(line) = self.known.take(broker) else {
                self.known.doubt();
                self.land(&partitions);
                continue;
            };
            self.busy.insert(broker);
            let request = request(&self.topic, asked);
            self.flights.push(Box::pin(async move {
                let mut conn = line.conn().await;
                let answer = match &mut conn {
                    Some(conn) => fetch(conn, &request).await,
                    None => None,
                };
                Answered {
                    broker,
                    partitions,
                    conn,
                    answer,
                }
            }));
        }
    }

    fn take(&mut self, answered: Answered, received: &mut Received) {
        let Answered {
            broker,
            partitions,
            conn,
            answer,
        } = answered;
        self.busy.remove(&broker);
        self.known.give_back(broker, conn);
        self.land(&partitions);
        let Some(answer) = answer else {
            self.again();
            return;
        };
        for told in answer
            .responses
            .into_iter()
            .flat_map(|topic| topic.partitions)
        {
            if partitions.contains(&told.partition_index) {
                self.take_one(told, received);
            }
        }
    }

    fn land(&mut self, partitions: &[i32]) {
        for partition in partitions {
            if let Some(position) = self.positions.get_mut(partition) {
                position.in_flight = false;
            }
        }
    }

    fn again(&mut self) {
        self.known.doubt();
        self.not_before = Instant::now() + BACKOFF;
    }

    fn take_one(&mut self, told: PartitionData, received: &mut Received) {
        let partition = told.partition_index;
        if told.error_code != 0 {
            match classify::code_of(told.error_code) {
                // What librdkafka makes of it where offsets are not reset.
                Code::OffsetOutOfRange => self.end(partition, Code::AutoOffsetReset, received),
                Code::TopicAuthorizationFailed => {
                    self.end(partition, Code::TopicAuthorizationFailed, received);
                }
                _ => self.again(),
            }
            return;
        }
        if told.diverging_epoch.epoch >= 0 {
            self.end(partition, Code::LogTruncation, received);
            return;
        }
        let end = told.last_stable_offset.min(told.high_watermark);
        let run = self.run;
        let Some(position) = self.positions.get_mut(&partition) else {
            return;
        };
        let before = position.next;
        if !deliver(position, told, run, received) {
            self.end(partition, Code::BadMessage, received);
            return;
        }
        if position.next == before && position.next >= end && position.told_end != Some(before) {
            position.told_end = Some(before);
            received.ends.push((partition, before));
        }
    }

    fn end(&mut self, partition: i32, code: Code, received: &mut Received) {
        if let Some(position) = self.positions.get_mut(&partition) {
            position.ended = true;
        }
        received.problems.push(ReadProblem {
            partition: Some(partition),
            code: code_name(code),
            message: code_text(code),
            ends: true,
        });
    }
}

/// The records from the position on; whether the batches were sound.
fn deliver(
    position: &mut Position,
    told: PartitionData,
    run: u64,
    received: &mut Received,
) -> bool {
    let partition = told.partition_index;
    let mut records: Bytes = told.records.unwrap_or_default();
    if records.is_empty() {
        return true;
    }
    let Ok(sets) = RecordBatchDecoder::decode_all(&mut records) else {
        return false;
    };
    for record in sets.into_iter().flat_map(|set| set.records) {
        if record.offset < position.next {
            continue;
        }
        position.next = record.offset + 1;
        position.epoch = record.partition_leader_epoch;
        let payload = record.value.unwrap_or_default();
        received.bytes += payload.len() as u64;
        received.records.push(Polled {
            partition,
            offset: record.offset,
            value: value::decode(&payload, run, partition).map_err(|c| c.to_string()),
        });
    }
    true
}

fn request(topic: &str, partitions: Vec<FetchPartition>) -> FetchRequest {
    let topic = FetchTopic::default()
        .with_topic(TopicName(StrBytes::from_string(topic.to_owned())))
        .with_partitions(partitions);
    FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(i32::try_from(WAIT.as_millis()).unwrap_or(i32::MAX))
        .with_min_bytes(1)
        .with_max_bytes(8 << 20)
        .with_isolation_level(READ_COMMITTED)
        .with_session_epoch(-1)
        .with_topics(vec![topic])
}

async fn fetch(conn: &mut Conn, request: &FetchRequest) -> Option<FetchResponse> {
    let version = conn.version_of::<FetchRequest>(FETCH_VERSION_MAX).ok()?;
    conn.ask("Fetch", request, version, ANSWER_WITHIN)
        .await
        .ok()
}
