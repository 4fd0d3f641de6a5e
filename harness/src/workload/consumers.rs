//! The consumers of the main phase: each reads its own partitions from the beginning, without
//! pause, and records every poll.
//!
//! A consumer that librdkafka cannot carry on (its offset is out of range, the log was truncated
//! under it) crashes: its process ends, and a new one reads the same partitions from their
//! beginning, so that whatever changed under it is read again and can be compared.

use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::Clients;
use crate::clients::{Reader, Received, finished};
use crate::history::{Event, Kind, Process, Value};

/// Length of one poll; a poll that is full returns sooner.
pub const POLL: Duration = Duration::from_millis(100);
/// Before a crashed consumer is replaced.
const BACKOFF: Duration = Duration::from_millis(500);

/// The partitions of consumer `number` of `consumers`.
#[must_use]
pub fn share(partitions: i32, consumers: u32, number: u32) -> Vec<i32> {
    (0..partitions)
        .filter(|partition| *partition as u32 % consumers == number)
        .collect()
}

/// Starts a consumer of `partitions`; it polls until the clients are stopped.
///
/// # Errors
/// Where the operating system gives no thread.
pub fn spawn(
    clients: &Clients,
    number: u32,
    partitions: Vec<i32>,
) -> std::io::Result<JoinHandle<()>> {
    let clients = clients.clone();
    std::thread::Builder::new()
        .name(format!("consumer-{number}"))
        .spawn(move || finished(run(&clients, &partitions)))
}

/// One consumer after the other, until the clients are stopped.
pub async fn run(clients: &Clients, partitions: &[i32]) {
    while !clients.stopping() {
        run_one(clients, partitions).await;
        if clients.wait(BACKOFF).await {
            return;
        }
    }
}

/// One process, until it crashes or is stopped.
async fn run_one(clients: &Clients, partitions: &[i32]) {
    let process = clients.new_process();
    let from: Vec<(i32, i64)> = partitions.iter().map(|p| (*p, 0)).collect();
    let Some(mut reader) = assign(clients, process, &from) else {
        return;
    };
    while !clients.stopping() {
        let received = poll(clients, process, &mut reader, POLL).await;
        for record in &received.records {
            clients.note_polled(record.partition, record.offset);
        }
        if received.problems.iter().any(|problem| problem.ends) {
            clients.record(process, Kind::Invoke, "crash", Value::Json(Json::Null));
            clients.record(process, Kind::Info, "crash", Value::Json(Json::Null));
            return;
        }
    }
}

/// Attaches a reader by hand, as one recorded operation.
pub fn assign(clients: &Clients, process: Process, from: &[(i32, i64)]) -> Option<Reader> {
    let keys: Vec<String> = from.iter().map(|(p, _)| clients.key(*p)).collect();
    let event = |kind| {
        let mut event = Event::new(process, kind, "assign", Value::Json(json!(keys)));
        let seek = ("seek-to-beginning?".to_owned(), json!(true));
        event.beside.extend([seek]);
        event
    };
    clients.recorder.record(event(Kind::Invoke));
    match Reader::start(&clients.settings, &clients.topic, clients.run, from) {
        Ok(reader) => {
            clients.recorder.record(event(Kind::Ok));
            Some(reader)
        }
        Err(error) => {
            let why = json!({"code": "_INVALID_CLIENT", "message": error});
            clients
                .recorder
                .record(event(Kind::Fail).with_error(Some(why)));
            None
        }
    }
}

/// One poll as one recorded operation.
pub async fn poll(
    clients: &Clients,
    process: Process,
    reader: &mut Reader,
    within: Duration,
) -> Received {
    clients.record(process, Kind::Invoke, "poll", Value::Polling);
    let received = reader.poll(within).await;
    let corrupt = received.records.iter().filter(|r| r.value.is_err()).count();
    clients
        .stats
        .corrupt
        .fetch_add(corrupt as u64, Ordering::Relaxed);
    let kind = if received.records.is_empty() && !received.problems.is_empty() {
        Kind::Fail
    } else {
        Kind::Ok
    };
    let error = received.problems.first().map(|problem| problem.to_json());
    let value = Value::Polled(clients.topic.clone(), received.records.clone());
    let mut event = Event::new(process, kind, "poll", value).with_error(error);
    if !received.ends.is_empty() {
        let ends: serde_json::Map<String, Json> = received
            .ends
            .iter()
            .map(|(partition, offset)| (clients.key(*partition), json!(offset)))
            .collect();
        event.beside.insert("eof".to_owned(), Json::Object(ends));
    }
    clients.recorder.record(event);
    received
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_has_exactly_one_consumer() {
        for consumers in 1..5 {
            let mut all: Vec<i32> = (0..consumers)
                .flat_map(|number| share(6, consumers, number))
                .collect();
            all.sort_unstable();
            assert_eq!(all, [0, 1, 2, 3, 4, 5]);
        }
    }
}
