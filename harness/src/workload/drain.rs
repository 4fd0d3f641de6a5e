//! A complete pass: fresh consumers read every partition from its log start up to its end.
//!
//! The ends are asked from every broker beforehand, so a consumer that is misled about who leads
//! cannot end early in silence. A drain's operation claims `[from, to)` only as far as the
//! reader's position went: what lies behind it was not proven absent.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Map, Value as Json, json};
use tokio::time::Instant;

use super::Clients;
use super::consumers::{POLL, assign, poll};
use crate::clients::{Received, beside};
use crate::history::{Event, Kind, Process, Value};

/// What to read of each partition: from its log start to its end.
pub type Ranges = BTreeMap<i32, (i64, i64)>;

/// What came of a drain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Records read.
    pub records: u64,
    /// Payload bytes read.
    pub bytes: u64,
    /// Partitions whose end was not reached, with the position that was.
    pub short: BTreeMap<i32, i64>,
}

impl Drained {
    fn add(&mut self, other: Drained) {
        self.records += other.records;
        self.bytes += other.bytes;
        self.short.extend(other.short);
    }
}

/// Reads all ranges with `consumers` fresh consumers at once. A consumer that gets nothing new
/// for `patience` gives up.
pub async fn drain(
    clients: &Clients,
    ranges: &Ranges,
    consumers: u32,
    patience: Duration,
) -> Drained {
    clients.stats.drained.store(0, Ordering::Relaxed);
    let shares = (0..consumers).map(|number| {
        let mine = |partition: &i32| *partition as u32 % consumers == number;
        let share: Ranges = ranges
            .iter()
            .filter(|(partition, _)| mine(partition))
            .map(|(partition, range)| (*partition, *range))
            .collect();
        share
    });
    let workers = shares.filter(|share| !share.is_empty()).map(|share| {
        let (library, clients) = (clients.settings.library, clients.clone());
        let work = async move { drain_share(&clients, &share, patience).await };
        beside(library, "drain", work)
    });
    let mut total = Drained::default();
    for drained in join_all(workers).await {
        total.add(drained);
    }
    total
}

/// How far a reader has come.
struct Position {
    wanted: (i64, i64),
    at: i64,
}

async fn drain_share(clients: &Clients, ranges: &Ranges, patience: Duration) -> Drained {
    let process = clients.new_process();
    clients.record(process, Kind::Invoke, "drain", Value::Json(Json::Null));
    let mut positions: BTreeMap<i32, Position> = ranges
        .iter()
        .map(|(partition, &wanted)| {
            let at = wanted.0;
            (*partition, Position { wanted, at })
        })
        .collect();
    let mut drained = Drained::default();
    read_up_to(clients, process, &mut positions, patience, &mut drained).await;
    for (partition, position) in &positions {
        if position.at < position.wanted.1 {
            drained.short.insert(*partition, position.at);
        }
    }
    record_end(clients, process, &positions, &drained);
    drained
}

async fn read_up_to(
    clients: &Clients,
    process: Process,
    positions: &mut BTreeMap<i32, Position>,
    patience: Duration,
    drained: &mut Drained,
) {
    let from: Vec<(i32, i64)> = positions.iter().map(|(p, pos)| (*p, pos.at)).collect();
    let Some(mut reader) = assign(clients, process, &from) else {
        return;
    };
    let mut last_progress = Instant::now();
    while positions.values().any(|pos| pos.at < pos.wanted.1) && !clients.abandoned() {
        let received = poll(clients, process, &mut reader, POLL).await;
        drained.records += received.records.len() as u64;
        drained.bytes += received.bytes;
        let count = received.records.len() as u64;
        clients.stats.drained.fetch_add(count, Ordering::Relaxed);
        if advance(positions, &received) {
            last_progress = Instant::now();
        }
        let stuck = received.problems.iter().any(|problem| problem.ends);
        if stuck || last_progress.elapsed() > patience {
            return;
        }
    }
}

/// Moves positions behind what was received; returns whether any moved.
fn advance(positions: &mut BTreeMap<i32, Position>, received: &Received) -> bool {
    let mut moved = false;
    let behind_records = received.records.iter().map(|r| (r.partition, r.offset + 1));
    // An end tells that nothing readable lies before it, holes included.
    let at_ends = received.ends.iter().copied();
    for (partition, next) in behind_records.chain(at_ends) {
        if let Some(position) = positions.get_mut(&partition)
            && next > position.at
        {
            position.at = next;
            moved = true;
        }
    }
    moved
}

fn record_end(
    clients: &Clients,
    process: Process,
    positions: &BTreeMap<i32, Position>,
    drained: &Drained,
) {
    let ranges: Map<String, Json> = positions
        .iter()
        .map(|(partition, position)| {
            let to = position.at.min(position.wanted.1);
            (clients.key(*partition), json!([position.wanted.0, to]))
        })
        .collect();
    let error = (!drained.short.is_empty()).then(|| {
        let message = format!(
            "the end of partitions {:?} was not reached",
            drained.short.keys()
        );
        json!({"code": "_SHORT", "message": message})
    });
    let event = Event::new(
        process,
        Kind::Ok,
        "drain",
        Value::Json(Json::Object(ranges)),
    );
    clients.recorder.record(event.with_error(error));
}

#[cfg(test)]
#[path = "drain_test.rs"]
mod tests;
