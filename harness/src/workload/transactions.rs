//! Producers whose batches are transactions (`--transactions`), recorded as `txn`: all of a batch
//! is visible, or nothing of it. Every tenth one, drawn from the seed, is aborted on purpose.
//!
//! A transaction failed for certain if nobody asked for its commit, or if the client said that it
//! has to be aborted and it was. One whose commit was asked for and never answered is uncertain.

use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use tokio::time::Instant;

use super::Clients;
use super::pace::Pace;
use super::plan::Plan;
use crate::clients::{BatchProducer, Fate, Outgoing, finished};
use crate::history::{Event, Kind, Process, Sent, Value};
use crate::seed::{self, Use};

/// After a transaction that did not go well.
const BACKOFF: Duration = Duration::from_millis(250);
/// Of so many transactions one is aborted on purpose.
const ABORTED: u32 = 10;

/// One producer.
pub struct Writer {
    /// Its number.
    pub number: u32,
    /// What it sends.
    pub plan: Plan,
    /// When.
    pub pace: Pace,
    aborts: ChaCha8Rng,
}

impl Writer {
    /// Producer `number` of a run; which transactions it aborts is drawn from the seed, too.
    #[must_use]
    pub fn new(seed: u64, number: u32, plan: Plan, pace: Pace) -> Self {
        Self {
            number,
            plan,
            pace,
            aborts: seed::stream(seed, Use::Aborts, number),
        }
    }

    /// The next batch, and whether its transaction is to be aborted.
    pub fn next_transaction(&mut self) -> (Vec<Outgoing>, bool) {
        let batch = self.plan.next_batch();
        (batch, self.aborts.random_ratio(1, ABORTED))
    }
}

/// Starts a producer; it works until the clients are stopped.
///
/// # Errors
/// Where the operating system gives no thread.
pub fn spawn(clients: &Clients, writer: Writer, start: Instant) -> std::io::Result<JoinHandle<()>> {
    let clients = clients.clone();
    std::thread::Builder::new()
        .name(format!("txn-{}", writer.number))
        .spawn(move || finished(run(&clients, writer, start)))
}

async fn run(clients: &Clients, mut writer: Writer, start: Instant) {
    let id = format!("{}-txn-{}", clients.topic, writer.number);
    let mut process = clients.new_process();
    let mut producer = None;
    for n in 0.. {
        let until_due = writer.pace.due(n).saturating_sub(start.elapsed());
        if clients.wait(until_due).await {
            break;
        }
        let (batch, abort) = writer.next_transaction();
        let (kind, clean) = transact(clients, process, &id, &mut producer, &batch, abort);
        if kind == Kind::Info {
            process = clients.new_process();
        }
        if !clean {
            producer = None;
            if clients.wait(BACKOFF).await {
                break;
            }
        }
    }
    if producer.is_none() {
        // A transaction that is left open holds up every reader: the next one of that name ends it.
        let _ = BatchProducer::transactional(&clients.settings, &id);
    }
}

/// One transaction as one operation: what it came to, and whether its producer can go on.
fn transact(
    clients: &Clients,
    process: Process,
    id: &str,
    producer: &mut Option<BatchProducer>,
    batch: &[Outgoing],
    abort: bool,
) -> (Kind, bool) {
    let sending = batch.iter().map(|message| sent(message, None)).collect();
    let value = Value::Sending(clients.topic.clone(), sending);
    clients
        .recorder
        .record(event(process, Kind::Invoke, id, value));
    let stats = &clients.stats;
    stats
        .invoked
        .fetch_add(batch.len() as u64, Ordering::Relaxed);
    let refused = |why: String| {
        let value = Value::Sent(clients.topic.clone(), offsets(batch, &[]));
        let error = json!({"code": "_TRANSACTION", "message": why});
        let event = event(process, Kind::Fail, id, value).with_error(Some(error));
        clients.recorder.record(event);
        stats
            .failed
            .fetch_add(batch.len() as u64, Ordering::Relaxed);
        (Kind::Fail, false)
    };
    if producer.is_none() {
        match BatchProducer::transactional(&clients.settings, id) {
            Ok(fresh) => *producer = Some(fresh),
            Err(error) => return refused(error.to_string()),
        }
    }
    let producer = producer.as_mut().expect("it was just made");
    if let Err(error) = producer.begin() {
        return refused(error.to_string());
    }
    let give_up = || clients.abandoned();
    let outcome = producer.send_batch(&clients.topic, clients.run, batch, &give_up);
    let whole = outcome.kind == Kind::Ok;
    let (kind, clean, why) = if whole && !abort {
        producer.commit()
    } else {
        // Nobody has asked for a commit, and nobody will.
        let aborted = producer.abort();
        let why = aborted.as_ref().err().map(ToString::to_string);
        (Kind::Fail, aborted.is_ok(), why)
    };
    let value = Value::Sent(clients.topic.clone(), offsets(batch, &outcome.fates));
    let error = match (kind, why) {
        (Kind::Ok, _) => None,
        (_, Some(why)) => Some(json!({"code": "_TRANSACTION", "message": why})),
        (_, None) if abort => Some(json!({"code": "_ABORTED", "message": "on purpose"})),
        (_, None) => outcome.errors.to_json(),
    };
    let event = event(process, kind, id, value).with_error(error);
    clients.recorder.record(event);
    count(clients, kind, batch, &outcome.fates);
    (kind, clean)
}

/// For the board, and for what has to be visible from now on.
fn count(clients: &Clients, kind: Kind, batch: &[Outgoing], fates: &[Fate]) {
    let stats = &clients.stats;
    let counter = match kind {
        Kind::Ok => &stats.acknowledged,
        Kind::Info => &stats.unknown,
        _ => &stats.failed,
    };
    counter.fetch_add(batch.len() as u64, Ordering::Relaxed);
    if kind != Kind::Ok {
        return;
    }
    for (message, fate) in batch.iter().zip(fates) {
        if let Fate::Acknowledged(Some(offset)) = fate {
            clients.note_acknowledged(message.partition, *offset);
        }
    }
}

fn event(process: Process, kind: Kind, id: &str, value: Value) -> Event {
    let mut event = Event::new(process, kind, "txn", value);
    event
        .beside
        .insert("transactional-id".to_owned(), json!(id));
    event
}

fn sent(message: &Outgoing, offset: Option<i64>) -> Sent {
    Sent {
        partition: message.partition,
        value: message.value,
        offset,
    }
}

/// Each message with its offset, as far as it was told.
fn offsets(batch: &[Outgoing], fates: &[Fate]) -> Vec<Sent> {
    let fates = fates.iter().map(Some).chain(std::iter::repeat(None));
    let pairs = batch.iter().zip(fates);
    pairs
        .map(|(message, fate)| match fate {
            Some(Fate::Acknowledged(offset)) => sent(message, *offset),
            _ => sent(message, None),
        })
        .collect()
}
