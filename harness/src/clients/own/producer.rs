//! An idempotent producer: the messages of a batch go out in record batches, one unanswered batch
//! a partition, with sequence numbers that a retry repeats.
//!
//! Invariant: once a try may have stored a message, no later refusal makes it certainly absent.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    InitProducerIdRequest, ProduceRequest, ProduceResponse, ProducerId, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{
    Compression, NO_PARTITION_LEADER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, Record,
    RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use rdkafka::types::RDKafkaErrorCode as Code;
use tokio::time::{Instant, sleep, timeout_at};

use super::classify::{self, Meaning, Next};
use super::metadata::{ASK_WITHIN, Known};
use crate::clients::{Acks, BatchOutcome, ClientSettings, Fate, Outgoing, conclude};
use crate::kafka::Conn;
use crate::value::{self, Identity};

/// Largest record batch, in messages and in payload bytes.
const CHUNK_MESSAGES: usize = 100;
const CHUNK_BYTES: usize = 128 << 10;
const REQUEST_TIMEOUT: Duration = Duration::from_millis(3000);
/// An answer later than this belongs to a connection that is given up.
const ANSWER_WITHIN: Duration = Duration::from_millis(4000);
const BACKOFF: Duration = Duration::from_millis(100);
const PRODUCE_VERSION_MAX: i16 = 9;
const INIT_VERSION_MAX: i16 = 4;

/// One producer, used by one process of the history.
pub struct OwnProducer {
    settings: ClientSettings,
    known: Option<Known>,
    /// Producer id and epoch, once granted.
    identity: Option<(i64, i16)>,
    /// By partition, the next sequence number.
    sequences: BTreeMap<i32, i32>,
}

/// Messages of one partition that are one record batch.
struct Chunk {
    /// Positions in the workload's batch.
    members: Vec<usize>,
    records: Bytes,
    /// A request with it has no answer yet.
    in_flight: bool,
    possibly_stored: bool,
    last_error: Option<Code>,
}

/// What is left to send, and what became of the rest.
struct Sending {
    /// By partition, in order.
    queues: BTreeMap<i32, VecDeque<Chunk>>,
    fates: Vec<Option<(Fate, Instant)>>,
    /// Brokers with an unanswered request.
    busy: Vec<i32>,
}

/// One request that was answered, or was not.
struct Answered {
    broker: i32,
    partitions: Vec<i32>,
    conn: Option<Conn>,
    answer: Result<ProduceResponse, Meaning>,
}

impl OwnProducer {
    /// A new producer; it connects when it has to send.
    #[must_use]
    pub fn new(settings: &ClientSettings) -> Self {
        Self {
            settings: settings.clone(),
            known: None,
            identity: None,
            sequences: BTreeMap::new(),
        }
    }

    /// Sends the messages in order, and returns when the fate of each is known; see
    /// [`crate::clients::BatchProducer::send_batch`].
    pub async fn send_batch(
        &mut self,
        topic: &str,
        run: u64,
        batch: &[Outgoing],
        give_up: &(dyn Fn() -> bool + Send + Sync),
    ) -> BatchOutcome {
        let deadline = Instant::now() + self.settings.delivery_timeout;
        let bootstrap = self.settings.bootstrap.clone();
        let known = self.known.take();
        let mut known = known.unwrap_or_else(|| Known::new(&bootstrap, topic));
        let granted = self.granted(&mut known, deadline, give_up).await;
        let mut sending = Sending {
            queues: BTreeMap::new(),
            fates: vec![None; batch.len()],
            busy: Vec::new(),
        };
        if granted {
            self.cut_up(run, batch, &mut sending);
            let acks = self.settings.acks;
            let flights = FuturesUnordered::new();
            let over = deliver(topic, acks, &mut known, &mut sending, flights, give_up);
            // The deadline: what is unanswered then may have been stored.
            let _ = timeout_at(deadline, over).await;
        }
        self.known = Some(known);
        sending.outcome()
    }

    /// Has a producer id granted, where one is needed.
    async fn granted(
        &mut self,
        known: &mut Known,
        deadline: Instant,
        give_up: &(dyn Fn() -> bool + Send + Sync),
    ) -> bool {
        while self.settings.idempotence && self.identity.is_none() {
            if Instant::now() >= deadline || give_up() {
                return false;
            }
            if known.refresh().await
                && let Some((id, line)) = known.take_any()
                && let Some(mut conn) = line.conn().await
            {
                self.identity = ask_identity(&mut conn).await;
                known.give_back(id, Some(conn));
            }
            if self.identity.is_none() {
                known.doubt();
                sleep(BACKOFF).await;
            }
        }
        true
    }

    fn cut_up(&mut self, run: u64, batch: &[Outgoing], sending: &mut Sending) {
        let mut by_partition: BTreeMap<i32, Vec<usize>> = BTreeMap::new();
        for (at, message) in batch.iter().enumerate() {
            by_partition.entry(message.partition).or_default().push(at);
        }
        for (partition, members) in by_partition {
            let mut rest = &members[..];
            while !rest.is_empty() {
                let mut bytes = 0;
                let fits = |at: &&usize| {
                    bytes += batch[**at].bytes;
                    bytes <= CHUNK_BYTES
                };
                let count = rest.iter().take(CHUNK_MESSAGES).take_while(fits).count();
                let (some, later) = rest.split_at(count.max(1));
                let records = self.encode(run, partition, batch, some);
                let chunk = Chunk {
                    members: some.to_vec(),
                    records,
                    in_flight: false,
                    possibly_stored: false,
                    last_error: None,
                };
                sending
                    .queues
                    .entry(partition)
                    .or_default()
                    .push_back(chunk);
                rest = later;
            }
        }
    }

    /// One record batch, with the next sequence numbers of its partition.
    fn encode(&mut self, run: u64, partition: i32, batch: &[Outgoing], some: &[usize]) -> Bytes {
        let next = self.sequences.entry(partition).or_default();
        let (id, epoch) = self.identity.unwrap_or((NO_PRODUCER_ID, NO_PRODUCER_EPOCH));
        let records: Vec<Record> = some
            .iter()
            .zip(0_i32..)
            .map(|(at, number)| {
                let mut payload = Vec::new();
                let message = batch[*at];
                let identity = Identity {
                    run,
                    partition,
                    value: message.value,
                };
                value::encode(&mut payload, identity, message.bytes);
                Record {
                    transactional: false,
                    control: false,
                    delete_horizon: false,
                    partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
                    producer_id: id,
                    producer_epoch: epoch,
                    timestamp_type: TimestampType::Creation,
                    offset: i64::from(number),
                    // Without an identity the encoder still wants numbers that follow each other.
                    sequence: if id < 0 { number - 1 } else { *next + number },
                    timestamp: 0,
                    key: None,
                    value: Some(payload.into()),
                    headers: IndexMap::new(),
                }
            })
            .collect();
        *next += i32::try_from(some.len()).expect("chunks are small");
        let mut bytes = BytesMut::new();
        let options = RecordEncodeOptions {
            version: 2,
            compression: Compression::None,
        };
        RecordBatchEncoder::encode(&mut bytes, &records, &options).expect("plain records encode");
        bytes.freeze()
    }
}

async fn ask_identity(conn: &mut Conn) -> Option<(i64, i16)> {
    let version = conn
        .version_of::<InitProducerIdRequest>(INIT_VERSION_MAX)
        .ok()?;
    let request = InitProducerIdRequest::default()
        .with_transactional_id(None)
        .with_transaction_timeout_ms(0)
        .with_producer_id(ProducerId(-1))
        .with_producer_epoch(-1);
    let asked = conn.ask("InitProducerId", &request, version, ANSWER_WITHIN);
    let answer = asked.await.ok()?;
    (answer.error_code == 0).then_some((answer.producer_id.0, answer.producer_epoch))
}

type Flights = FuturesUnordered<BoxFuture<'static, Answered>>;

/// Until everything has its fate.
async fn deliver(
    topic: &str,
    acks: Acks,
    known: &mut Known,
    sending: &mut Sending,
    mut flights: Flights,
    give_up: &(dyn Fn() -> bool + Send + Sync),
) {
    while !sending.is_done() && !give_up() {
        let fresh = known.refresh().await;
        let requests = sending.requests(known);
        for (broker, chunks) in requests {
            let Some(line) = known.take(broker) else {
                known.doubt();
                sending.not_sent(&chunks);
                continue;
            };
            sending.busy.push(broker);
            let request = produce_request(topic, acks, &chunks);
            let partitions = chunks.into_iter().map(|(partition, _)| partition).collect();
            flights.push(Box::pin(async move {
                let (conn, answer) = match line.conn().await {
                    // Nothing has left: this try has stored nothing.
                    None => (
                        None,
                        Err(Meaning {
                            possibly_stored: false,
                            ..classify::NO_ANSWER
                        }),
                    ),
                    Some(conn) => ask(conn, request, acks).await,
                };
                Answered {
                    broker,
                    partitions,
                    conn,
                    answer,
                }
            }));
        }
        let next = timeout_at(Instant::now() + BACKOFF, flights.next());
        match next.await {
            Ok(Some(answered)) => {
                if sending.take(answered, known) {
                    known.doubt();
                    sleep(BACKOFF).await;
                }
            }
            Ok(None) => {
                // Nobody to send to.
                known.doubt();
                sleep(BACKOFF).await;
            }
            Err(_) if !fresh => known.doubt(),
            Err(_) => {}
        }
    }
}

async fn ask(
    mut conn: Conn,
    request: ProduceRequest,
    acks: Acks,
) -> (Option<Conn>, Result<ProduceResponse, Meaning>) {
    let Ok(version) = conn.version_of::<ProduceRequest>(PRODUCE_VERSION_MAX) else {
        return (None, Err(classify::NO_ANSWER));
    };
    if acks == Acks::Zero {
        let sent = conn.tell("Produce", &request, version, ASK_WITHIN).await;
        let answer = sent.map(|()| ProduceResponse::default());
        return (Some(conn), answer.map_err(|_| classify::NO_ANSWER));
    }
    let answer = conn.ask("Produce", &request, version, ANSWER_WITHIN).await;
    (Some(conn), answer.map_err(|_| classify::NO_ANSWER))
}

fn produce_request(topic: &str, acks: Acks, chunks: &[(i32, Bytes)]) -> ProduceRequest {
    let partitions = chunks.iter().map(|(partition, records)| {
        PartitionProduceData::default()
            .with_index(*partition)
            .with_records(Some(records.clone()))
    });
    let topic = TopicProduceData::default()
        .with_name(TopicName(StrBytes::from_string(topic.to_owned())))
        .with_partition_data(partitions.collect());
    let acks = match acks {
        Acks::Zero => 0,
        Acks::One => 1,
        Acks::All => -1,
    };
    ProduceRequest::default()
        .with_acks(acks)
        .with_timeout_ms(i32::try_from(REQUEST_TIMEOUT.as_millis()).unwrap_or(i32::MAX))
        .with_topic_data(vec![topic])
}

impl Sending {
    fn is_done(&self) -> bool {
        self.queues.is_empty()
    }

    /// By idle broker, the first chunk of each partition that it leads; they are under way now.
    fn requests(&mut self, known: &Known) -> BTreeMap<i32, Vec<(i32, Bytes)>> {
        let mut requests: BTreeMap<i32, Vec<(i32, Bytes)>> = BTreeMap::new();
        for (partition, queue) in &mut self.queues {
            let (Some(chunk), Some(leader)) = (queue.front_mut(), known.leader(*partition)) else {
                continue;
            };
            if !self.busy.contains(&leader.id) && !chunk.in_flight {
                chunk.in_flight = true;
                let request = requests.entry(leader.id).or_default();
                request.push((*partition, chunk.records.clone()));
            }
        }
        requests
    }

    /// They did not leave after all.
    fn not_sent(&mut self, chunks: &[(i32, Bytes)]) {
        for (partition, _) in chunks {
            let queue = self.queues.get_mut(partition);
            if let Some(chunk) = queue.and_then(VecDeque::front_mut) {
                chunk.in_flight = false;
            }
        }
    }

    /// Takes an answer in; returns whether something has to be tried again.
    fn take(&mut self, answered: Answered, known: &mut Known) -> bool {
        let Answered {
            broker,
            partitions,
            conn,
            answer,
        } = answered;
        self.busy.retain(|busy| *busy != broker);
        known.give_back(broker, conn);
        let answer = match answer {
            Ok(answer) => answer,
            Err(meaning) => {
                for partition in partitions {
                    self.failed(partition, meaning, Code::BrokerTransportFailure);
                }
                return true;
            }
        };
        let told: BTreeMap<i32, (i16, i64)> = answer
            .responses
            .into_iter()
            .flat_map(|topic| topic.partition_responses)
            .map(|told| (told.index, (told.error_code, told.base_offset)))
            .collect();
        let mut again = false;
        for partition in partitions {
            // Nothing is told of acks=0.
            let (code, base) = told.get(&partition).copied().unwrap_or((0, -1));
            if code == 0 {
                self.stored(partition, base);
                continue;
            }
            let code = classify::code_of(code);
            let meaning = classify::produce_error(code);
            again |= meaning.next == Next::Retry;
            self.failed(partition, meaning, code);
        }
        again
    }

    fn stored(&mut self, partition: i32, base: i64) {
        let now = Instant::now();
        if let Some(chunk) = self.pop(partition) {
            for (member, number) in chunk.members.iter().zip(0_i64..) {
                let offset = (base >= 0).then_some(base + number);
                self.fates[*member] = Some((Fate::Acknowledged(offset), now));
            }
        }
    }

    fn failed(&mut self, partition: i32, meaning: Meaning, code: Code) {
        let Some(chunk) = self
            .queues
            .get_mut(&partition)
            .and_then(VecDeque::front_mut)
        else {
            return;
        };
        chunk.in_flight = false;
        chunk.possibly_stored |= meaning.possibly_stored;
        chunk.last_error = Some(code);
        match meaning.next {
            Next::Retry => {}
            Next::Stored => self.stored(partition, -1),
            // What comes after it has sequence numbers that do not follow: it cannot be sent.
            Next::GiveUp => {
                while let Some(chunk) = self.pop(partition) {
                    self.given_up(&chunk, code);
                }
            }
        }
    }

    fn pop(&mut self, partition: i32) -> Option<Chunk> {
        let queue = self.queues.get_mut(&partition)?;
        let chunk = queue.pop_front();
        if queue.is_empty() {
            self.queues.remove(&partition);
        }
        chunk
    }

    fn given_up(&mut self, chunk: &Chunk, code: Code) {
        let fate = match chunk.possibly_stored || chunk.in_flight {
            true => Fate::Unknown(code),
            false => Fate::NotPersisted(code),
        };
        for member in &chunk.members {
            self.fates[*member] = Some((fate, Instant::now()));
        }
    }

    /// What it came to; what is still open has run out of time.
    fn outcome(mut self) -> BatchOutcome {
        for chunk in std::mem::take(&mut self.queues).into_values().flatten() {
            self.given_up(&chunk, Code::MessageTimedOut);
        }
        let never_sent = Fate::NotPersisted(Code::MessageTimedOut);
        let acknowledged = |fate: &Option<(Fate, Instant)>| match fate {
            Some((Fate::Acknowledged(_), at)) => Some(*at),
            _ => None,
        };
        let heard = self.fates.iter().map(acknowledged).collect();
        let fates = self.fates.iter();
        let fates = fates.map(|fate| fate.map_or(never_sent, |(fate, _)| fate));
        BatchOutcome {
            heard,
            ..conclude(fates.collect())
        }
    }
}
