//! The producers of the main phase: one thread, one process of the history, one batch at a time.

use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value as Json;
use tokio::time::Instant;

use super::Clients;
use super::pace::Pace;
use super::plan::Plan;
use crate::clients::{BatchOutcome, Fate, Outgoing, Producer, finished};
use crate::history::{Event, Kind, Process, Recorder, Sent, Value};

/// After a batch that did not go well, so that a refusing cluster is not hammered.
const BACKOFF: Duration = Duration::from_millis(250);

/// Starts producer `number`; it sends until the clients are stopped.
///
/// # Errors
/// Where the operating system gives no thread.
pub fn spawn(
    clients: &Clients,
    number: u32,
    plan: Plan,
    pace: Pace,
    start: Instant,
) -> std::io::Result<JoinHandle<()>> {
    let clients = clients.clone();
    std::thread::Builder::new()
        .name(format!("producer-{number}"))
        .spawn(move || finished(run(&clients, plan, pace, start)))
}

/// One producer, until the clients are stopped.
pub async fn run(clients: &Clients, mut plan: Plan, pace: Pace, start: Instant) {
    let mut process = clients.new_process();
    let mut producer = None;
    for n in 0.. {
        let until_due = pace.due(n).saturating_sub(start.elapsed());
        if clients.wait(until_due).await {
            return;
        }
        let batch = plan.next_batch();
        let kind = send(clients, process, &mut producer, &batch).await;
        if kind != Kind::Ok {
            // An idempotent producer that gave a message up has lost its place: a new one has none.
            producer = None;
            if kind == Kind::Info {
                process = clients.new_process();
            }
            if clients.wait(BACKOFF).await {
                return;
            }
        }
    }
}

/// Sends one batch as one operation, and returns what it came to. A producer is made where there
/// is none.
pub async fn send(
    clients: &Clients,
    process: Process,
    producer: &mut Option<Producer>,
    batch: &[Outgoing],
) -> Kind {
    let topic = &clients.topic;
    let sending = batch.iter().map(|message| sent(message, None)).collect();
    clients.record(
        process,
        Kind::Invoke,
        "send",
        Value::Sending(topic.clone(), sending),
    );
    let messages = batch.len() as u64;
    clients.stats.invoked.fetch_add(messages, Ordering::Relaxed);
    if producer.is_none() {
        match Producer::new(&clients.settings) {
            Ok(fresh) => *producer = Some(fresh),
            Err(error) => return never_sent(clients, process, batch, &error),
        }
    }
    let producer = producer.as_mut().expect("it was just made");
    let give_up = || clients.abandoned();
    let sending = producer.send_batch(topic, clients.run, batch, &give_up);
    let outcome = sending.await;
    conclude(clients, process, batch, &outcome);
    outcome.kind
}

fn sent(message: &Outgoing, offset: Option<i64>) -> Sent {
    Sent {
        partition: message.partition,
        value: message.value,
        offset,
    }
}

fn conclude(clients: &Clients, process: Process, batch: &[Outgoing], outcome: &BatchOutcome) {
    let (mut acknowledged, mut failed, mut unknown) = (0, 0, 0);
    let mut completed = Vec::with_capacity(batch.len());
    for (message, fate) in batch.iter().zip(&outcome.fates) {
        let offset = match fate {
            Fate::Acknowledged(offset) => {
                acknowledged += 1;
                if let Some(offset) = offset {
                    clients.note_acknowledged(message.partition, *offset);
                }
                *offset
            }
            Fate::NotPersisted(_) => {
                failed += 1;
                None
            }
            Fate::Unknown(_) => {
                unknown += 1;
                None
            }
        };
        completed.push(sent(message, offset));
    }
    let value = Value::Sent(clients.topic.clone(), completed);
    let mut event = Event::new(process, outcome.kind, "send", value);
    if acknowledged > 0 {
        let times = ack_times(&clients.recorder, &outcome.heard);
        event.beside.insert("ack-times".to_owned(), times);
    }
    clients
        .recorder
        .record(event.with_error(outcome.errors.to_json()));
    let stats = &clients.stats;
    stats
        .acknowledged
        .fetch_add(acknowledged, Ordering::Relaxed);
    stats.failed.fetch_add(failed, Ordering::Relaxed);
    stats.unknown.fetch_add(unknown, Ordering::Relaxed);
}

/// When each message was acknowledged, in ns since the run began; null where it was not. A batch
/// completes with its last message: latency and availability are those of the messages.
fn ack_times(recorder: &Recorder, heard: &[Option<Instant>]) -> Json {
    let (now, elapsed) = (Instant::now(), recorder.elapsed());
    let time = |at: &Option<Instant>| {
        let at = (*at)?;
        let since = elapsed.saturating_sub(now.saturating_duration_since(at));
        u64::try_from(since.as_nanos()).ok()
    };
    heard.iter().map(time).collect::<Vec<_>>().into()
}

fn never_sent(clients: &Clients, process: Process, batch: &[Outgoing], why: &str) -> Kind {
    let completed = batch.iter().map(|message| sent(message, None)).collect();
    let value = Value::Sent(clients.topic.clone(), completed);
    let error = serde_json::json!({"code": "_INVALID_CLIENT", "message": why});
    let event = Event::new(process, Kind::Fail, "send", value);
    clients.recorder.record(event.with_error(Some(error)));
    let failed = batch.len() as u64;
    clients.stats.failed.fetch_add(failed, Ordering::Relaxed);
    Kind::Fail
}
