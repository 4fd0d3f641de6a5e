//! Reads partitions from given offsets: one fetch under way to each leader, all its partitions in
//! it. Offsets are reset only where its manners say so: what ends reading is told, as librdkafka
//! tells it.
//!
//! A reader that seeks by time gives up its place now and then: it keeps the last record batch of
//! an answer back, and asks the broker for the offset of that batch's time, as consumers do that
//! remember times instead of offsets. What it has had already it passes over; where it is sent
//! too far, it skips.

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
use crate::clients::{ClientSettings, Manners, OffsetReset, ReadProblem, Received};
use crate::history::Polled;
use crate::kafka::{Conn, RequestError, Sought, offset_at};
use crate::value;

const FETCH_VERSION_MAX: i16 = 12;
/// How much longer than it may wait for records the answer of a fetch takes at most.
const ANSWER_WITHIN: Duration = Duration::from_millis(1800);
/// A reader that seeks by time does so with each such delivery that could be cut in two.
const SEEK_EVERY: u32 = 4;
const BACKOFF: Duration = Duration::from_millis(50);
const PARTITION_BYTES: i32 = 1 << 20;
const READ_COMMITTED: i8 = 1;

/// Where reading of a partition stands.
struct Position {
    /// The next offset to be delivered.
    next: i64,
    /// Where the next fetch begins: before `next` only after a search by time.
    at: i64,
    /// What is to be asked before the next fetch.
    sought: Option<Sought>,
    /// Deliveries since the last search by time.
    deliveries: u32,
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
    answer: Result<FetchResponse, RequestError>,
}

/// Reads one topic.
pub struct OwnReader {
    known: Known,
    topic: String,
    run: u64,
    manners: Manners,
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
            at: next,
            sought: None,
            deliveries: 0,
            epoch: -1,
            told_end: None,
            in_flight: false,
            ended: false,
        };
        Self {
            known: Known::new(&settings.bootstrap, topic),
            topic: topic.to_owned(),
            run,
            manners: settings.manners.clone(),
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
            self.seek().await;
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

    /// Finds the offsets that are sought; what is not found is looked for again later.
    async fn seek(&mut self) {
        let sought: Vec<(i32, Sought)> = self
            .positions
            .iter()
            .filter(|(_, position)| !position.in_flight && !position.ended)
            .filter_map(|(partition, position)| Some((*partition, position.sought?)))
            .collect();
        for (partition, sought) in sought {
            let Some(leader) = self.known.leader(partition) else {
                continue;
            };
            let Some(line) = self.known.take(leader.id) else {
                self.known.doubt();
                continue;
            };
            let Some(mut conn) = line.conn().await else {
                self.again();
                continue;
            };
            let found = offset_at(&mut conn, &self.topic, partition, sought, ANSWER_WITHIN).await;
            self.known.give_back(leader.id, Some(conn));
            let Ok(Some(offset)) = found else {
                self.again();
                continue;
            };
            if let Some(position) = self.positions.get_mut(&partition) {
                position.sought = None;
                position.at = offset;
                position.next = match sought {
                    // Wherever it is sent, it goes on there.
                    Sought::Earliest | Sought::Latest => offset,
                    Sought::Time(_) => position.next.max(offset),
                };
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
            let waits = position.ended || position.in_flight || position.sought.is_some();
            if waits || self.busy.contains(&leader.id) {
                continue;
            }
            position.in_flight = true;
            by_leader.entry(leader.id).or_default().push(
                FetchPartition::default()
                    .with_partition(*partition)
                    .with_current_leader_epoch(leader.epoch)
                    .with_fetch_offset(position.at)
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
            let wait = self.manners.fetch_wait;
            let request = request(&self.topic, asked, wait);
            self.flights.push(Box::pin(async move {
                let mut conn = line.conn().await;
                let answer = match &mut conn {
                    Some(conn) => fetch(conn, &request, wait + ANSWER_WITHIN).await,
                    None => Err(RequestError::Unreachable {
                        address: broker.to_string(),
                        why: "no connection".to_owned(),
                    }),
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
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                if let RequestError::Protocol { .. } = &error {
                    let breaches = &self.manners.breaches;
                    breaches.note("answers-mixed-up", error.to_string());
                }
                self.again();
                return;
            }
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
                Code::OffsetOutOfRange => self.reset(partition, received),
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
        let seeks = self.manners.seeks_by_time;
        if !deliver(position, told, (run, seeks), received) {
            self.end(partition, Code::BadMessage, received);
            return;
        }
        if position.next == before && position.next >= end && position.told_end != Some(before) {
            position.told_end = Some(before);
            received.ends.push((partition, before));
        }
    }

    /// Its position is out of the log's range.
    fn reset(&mut self, partition: i32, received: &mut Received) {
        let sought = match self.manners.reset {
            // What librdkafka makes of it where offsets are not reset.
            OffsetReset::Error => return self.end(partition, Code::AutoOffsetReset, received),
            OffsetReset::Earliest => Sought::Earliest,
            OffsetReset::Latest => Sought::Latest,
        };
        if let Some(position) = self.positions.get_mut(&partition) {
            position.sought = Some(sought);
            position.epoch = -1;
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

/// The records from the position on; whether the batches were sound. Who seeks by time may keep
/// the last batch back.
fn deliver(
    position: &mut Position,
    told: PartitionData,
    (run, seeks): (u64, bool),
    received: &mut Received,
) -> bool {
    let partition = told.partition_index;
    let mut records: Bytes = told.records.unwrap_or_default();
    if records.is_empty() {
        return true;
    }
    let Ok(mut sets) = RecordBatchDecoder::decode_all(&mut records) else {
        return false;
    };
    if seeks && sets.len() > 1 {
        position.deliveries += 1;
        let last = sets.last().and_then(|set| set.records.first());
        let new = last.filter(|record| record.offset >= position.next);
        if let Some(time) = new.map(|record| record.timestamp)
            && position.deliveries.is_multiple_of(SEEK_EVERY)
        {
            position.sought = Some(Sought::Time(time));
            sets.pop();
        }
    }
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
    position.at = position.next;
    true
}

fn request(topic: &str, partitions: Vec<FetchPartition>, wait: Duration) -> FetchRequest {
    let topic = FetchTopic::default()
        .with_topic(TopicName(StrBytes::from_string(topic.to_owned())))
        .with_partitions(partitions);
    FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(i32::try_from(wait.as_millis()).unwrap_or(i32::MAX))
        .with_min_bytes(1)
        .with_max_bytes(8 << 20)
        .with_isolation_level(READ_COMMITTED)
        .with_session_epoch(-1)
        .with_topics(vec![topic])
}

async fn fetch(
    conn: &mut Conn,
    request: &FetchRequest,
    within: Duration,
) -> Result<FetchResponse, RequestError> {
    let version = conn.version_of::<FetchRequest>(FETCH_VERSION_MAX)?;
    conn.ask("Fetch", request, version, within).await
}
