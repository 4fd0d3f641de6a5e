//! The consumers of the main phase as members of one group (`--sub-via subscribe`): which
//! partitions each has is the group's to say. After each poll that returned something a member
//! commits how far it has come.
//!
//! The group's offsets are set to the beginning before anybody joins, so that a member never has to
//! make one up: an offset that is out of range ends it, as it ends a consumer without a group.

use std::collections::BTreeMap;
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::Clients;
use super::consumers::POLL;
use crate::clients::{GroupReader, Moved, code_name, code_text, finished, refused};
use crate::history::{Event, Kind, Process, Value};

/// Before a member that ended is replaced.
const BACKOFF: Duration = Duration::from_millis(500);
/// The coordinator of a new group comes into office within so many tries.
const TRIES: u32 = 20;

/// The group's name: the topic is new in each run, and so is the group.
fn group(clients: &Clients) -> String {
    format!("{}-group", clients.topic)
}

/// Sets the group's offsets to the beginning. Call it before any member joins.
///
/// # Errors
/// Where the group cannot be reached; says why.
pub async fn begin(clients: &Clients) -> Result<(), String> {
    let reader = reader(clients)?;
    let beginning: Vec<(i32, i64)> = (0..clients.partitions).map(|p| (p, 0)).collect();
    for _ in 0..TRIES {
        if commit(clients, clients.new_process(), &reader, &beginning) == Kind::Ok {
            return Ok(());
        }
        if clients.wait(BACKOFF).await {
            break;
        }
    }
    let group = group(clients);
    Err(format!(
        "the group {group} takes no offsets: has the cluster a coordinator?"
    ))
}

fn reader(clients: &Clients) -> Result<GroupReader, String> {
    let name = group(clients);
    let made = GroupReader::new(&clients.settings, &name, &clients.topic, clients.run);
    made.map_err(|error| error.to_string())
}

/// Starts a member; it polls until the clients are stopped.
///
/// # Errors
/// Where the operating system gives no thread.
pub fn spawn(clients: &Clients, number: u32, pause: Duration) -> std::io::Result<JoinHandle<()>> {
    let clients = clients.clone();
    std::thread::Builder::new()
        .name(format!("member-{number}"))
        .spawn(move || finished(run(&clients, pause)))
}

/// One member after the other, until the clients are stopped.
async fn run(clients: &Clients, pause: Duration) {
    while !clients.stopping() {
        run_one(clients, pause).await;
        if clients.wait(BACKOFF).await {
            return;
        }
    }
}

/// One process, until it cannot go on or is stopped.
async fn run_one(clients: &Clients, pause: Duration) {
    let process = clients.new_process();
    let Some(reader) = subscribe(clients, process) else {
        return;
    };
    while !clients.stopping() {
        let (next, ends) = poll(clients, process, &reader);
        // What may have been committed ends a process of the history.
        let committed = next.is_empty() || commit(clients, process, &reader, &next) != Kind::Info;
        if ends && committed {
            clients.record(process, Kind::Invoke, "crash", Value::Json(Json::Null));
            clients.record(process, Kind::Info, "crash", Value::Json(Json::Null));
        }
        if ends || !committed || !pause.is_zero() && clients.wait(pause).await {
            return;
        }
    }
}

/// Joins the group, as one recorded operation.
fn subscribe(clients: &Clients, process: Process) -> Option<GroupReader> {
    let keys: Vec<String> = (0..clients.partitions).map(|p| clients.key(p)).collect();
    let event = |kind| in_group(clients, process, kind, "subscribe", json!(keys));
    clients.recorder.record(event(Kind::Invoke));
    let joined = reader(clients).and_then(|reader| {
        let joined = reader.subscribe().map(|()| reader);
        joined.map_err(|error| error.to_string())
    });
    match joined {
        Ok(reader) => {
            clients.recorder.record(event(Kind::Ok));
            Some(reader)
        }
        Err(error) => {
            let why = json!({"code": "_INVALID_CLIENT", "message": error});
            let event = event(Kind::Fail).with_error(Some(why));
            clients.recorder.record(event);
            None
        }
    }
}

fn in_group(
    clients: &Clients,
    process: Process,
    kind: Kind,
    f: &'static str,
    value: Json,
) -> Event {
    let mut event = Event::new(process, kind, f, Value::Json(value));
    event
        .beside
        .insert("group".to_owned(), json!(group(clients)));
    event
}

/// One poll as one recorded operation. Returns the next offset of each partition that it returned
/// records of, and whether the reader cannot go on.
fn poll(clients: &Clients, process: Process, reader: &GroupReader) -> (Vec<(i32, i64)>, bool) {
    clients.record(process, Kind::Invoke, "poll", Value::Polling);
    let (received, moved) = reader.poll(POLL);
    let mut next = BTreeMap::new();
    for record in &received.records {
        clients.note_polled(record.partition, record.offset);
        next.insert(record.partition, record.offset + 1);
    }
    super::consumers::note_corrupt(clients, &received);
    let kind = if received.records.is_empty() && !received.problems.is_empty() {
        Kind::Fail
    } else {
        Kind::Ok
    };
    let error = received.problems.first().map(|problem| problem.to_json());
    let ends = received.problems.iter().any(|problem| problem.ends);
    let value = Value::Polled(clients.topic.clone(), received.records);
    let mut event = Event::new(process, kind, "poll", value).with_error(error);
    event
        .beside
        .insert("group".to_owned(), json!(group(clients)));
    if !moved.is_empty() {
        let log = moved.iter().map(|moved| told(clients, moved));
        let log: Vec<Json> = log.collect();
        event.beside.insert("rebalance-log".to_owned(), json!(log));
    }
    clients.recorder.record(event);
    (next.into_iter().collect(), ends)
}

fn told(clients: &Clients, moved: &Moved) -> Json {
    let keys: Vec<String> = moved.partitions.iter().map(|p| clients.key(*p)).collect();
    json!({"keys": keys, "assigned": moved.assigned})
}

/// One commit as one recorded operation; what it came to.
fn commit(clients: &Clients, process: Process, reader: &GroupReader, next: &[(i32, i64)]) -> Kind {
    let offsets: BTreeMap<String, i64> = next.iter().map(|(p, o)| (clients.key(*p), *o)).collect();
    let value = json!({"group": group(clients), "offsets": offsets});
    let event = |kind| in_group(clients, process, kind, "commit-offsets", value.clone());
    clients.recorder.record(event(Kind::Invoke));
    let (kind, error) = match reader.commit(next) {
        Ok(()) => (Kind::Ok, None),
        Err(code) => {
            let kind = if refused(code) {
                Kind::Fail
            } else {
                Kind::Info
            };
            (
                kind,
                Some(json!({"code": code_name(code), "message": code_text(code)})),
            )
        }
    };
    clients.recorder.record(event(kind).with_error(error));
    kind
}
