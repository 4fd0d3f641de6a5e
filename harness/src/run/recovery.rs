//! Whether the cluster has recovered: every partition has a leader and all replicas in sync in
//! the eyes of every broker, and a write to each partition is acknowledged.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::clients::beside;
use crate::history::{Event, Kind, Process, Value};
use crate::kafka::{Brokers, newest};
use crate::workload::plan::Plan;
use crate::workload::{Clients, probe};

const WITHIN: Duration = Duration::from_secs(1);
const AGAIN: Duration = Duration::from_millis(200);
/// Waiting for a probe, in steps between which an interruption is noticed.
const PROBES: u32 = 3;

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Recovered {
    /// Everything is as it should be.
    pub whole: bool,
    /// How long that took.
    pub after: Duration,
    /// What is missing, where something is.
    pub missing: String,
}

/// Waits until the topic of `clients` is whole again, at most `limit`; `enough` ends the waiting
/// early. The outcome is recorded as a `recovered` operation of the sampler.
pub async fn wait(
    clients: &Clients,
    brokers: &Brokers,
    plan: &mut Plan,
    limit: Duration,
    enough: &(dyn Fn() -> bool + Send + Sync),
) -> Recovered {
    let began = Instant::now();
    let mut missing = String::new();
    let mut whole = false;
    while !whole && began.elapsed() < limit && !enough() {
        missing = match what_is_missing(clients, brokers).await {
            Some(missing) => missing,
            None => match probe(clients, plan).await {
                true => {
                    whole = true;
                    break;
                }
                false => "a write to each partition was not acknowledged".to_owned(),
            },
        };
        tokio::time::sleep(AGAIN).await;
    }
    let recovered = Recovered {
        whole,
        after: began.elapsed(),
        missing: if whole { String::new() } else { missing },
    };
    record(clients, &recovered);
    recovered
}

async fn what_is_missing(clients: &Clients, brokers: &Brokers) -> Option<String> {
    let views = brokers.views(Some(&clients.topic), WITHIN).await;
    let silent: Vec<i32> = brokers
        .ids()
        .into_iter()
        .filter(|id| !views.contains_key(id))
        .collect();
    if !silent.is_empty() {
        return Some(format!("brokers {silent:?} do not answer"));
    }
    let newest = newest(&views);
    if newest.len() != usize::try_from(clients.partitions).unwrap_or(0) {
        return Some(format!("only partitions {:?} are known", newest.keys()));
    }
    for (partition, view) in &newest {
        if view.leader.is_none() {
            return Some(format!("partition {partition} has no leader"));
        }
        if view.isr.len() != view.replicas.len() {
            let (isr, replicas) = (&view.isr, &view.replicas);
            return Some(format!(
                "partition {partition}: of {replicas:?} only {isr:?} in sync"
            ));
        }
    }
    None
}

/// Some probes in a row with a short patience each: a long one could not be interrupted.
async fn probe(clients: &Clients, plan: &mut Plan) -> bool {
    let mut quick = clients.clone();
    quick.settings.delivery_timeout = quick.settings.delivery_timeout.min(WITHIN * 8);
    for _ in 0..PROBES {
        let (probing, mut mine) = (quick.clone(), plan.clone());
        let library = probing.settings.library;
        let (done, used) = beside(library, "probe", async move {
            let done = probe::write_everywhere(&probing, &mut mine).await;
            (done, mine)
        })
        .await;
        *plan = used;
        if done || clients.abandoned() {
            return done;
        }
    }
    false
}

fn record(clients: &Clients, recovered: &Recovered) {
    let kind = if recovered.whole {
        Kind::Ok
    } else {
        Kind::Fail
    };
    let value = json!({
        "topic": &*clients.topic,
        "seconds": recovered.after.as_secs_f64(),
        "missing": recovered.missing,
    });
    let event = Event::new(Process::Sampler, kind, "recovered", Value::Json(value));
    clients.recorder.record(event);
}
