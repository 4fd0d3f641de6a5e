//! The test that this project started from: one large batch into a fresh topic, and one consumer
//! that is to get all of it, now.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::Clients;
use super::consumers::{POLL, assign, poll};
use super::plan::Plan;
use super::producers::send;

/// What one pass of the test measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct LargeBatch {
    /// The topic.
    pub topic: String,
    /// Messages handed to the producer.
    pub produced: u64,
    /// Messages acknowledged.
    pub acknowledged: u64,
    /// Distinct acknowledged messages that the consumer got.
    pub consumed: u64,
    /// Acknowledged messages that it did not get within its patience.
    pub missing: u64,
    /// From the first message handed over to the last acknowledgement.
    pub produce_seconds: f64,
    /// From then to the last message consumed.
    pub consume_seconds: f64,
}

impl LargeBatch {
    /// Both together.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.produce_seconds + self.consume_seconds
    }

    /// Messages produced and read a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.consumed as f64 / self.seconds().max(1e-9)
    }
}

impl fmt::Display for LargeBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: produced {}, acknowledged {}, consumed {}, missing {}, {:.3} s \
             (produce {:.3}, read {:.3}), {:.0} msg/s",
            self.topic,
            self.produced,
            self.acknowledged,
            self.consumed,
            self.missing,
            self.seconds(),
            self.produce_seconds,
            self.consume_seconds,
            self.rate()
        )
    }
}

/// Sends one batch and reads it. A consumer that gets nothing for `patience` gives up.
pub async fn run_once(clients: &Clients, plan: &mut Plan, patience: Duration) -> LargeBatch {
    let batch = plan.next_batch();
    let began = Instant::now();
    let process = clients.new_process();
    send(clients, process, &mut None, &batch).await;
    let produced_at = Instant::now();
    let acknowledged = clients
        .stats
        .acknowledged
        .load(std::sync::atomic::Ordering::Relaxed);
    let consumed = read(clients, acknowledged, patience).await;
    LargeBatch {
        topic: clients.topic.to_string(),
        produced: batch.len() as u64,
        acknowledged,
        consumed,
        missing: acknowledged.saturating_sub(consumed),
        produce_seconds: (produced_at - began).as_secs_f64(),
        consume_seconds: produced_at.elapsed().as_secs_f64(),
    }
}

async fn read(clients: &Clients, wanted: u64, patience: Duration) -> u64 {
    let process = clients.new_process();
    let from: Vec<(i32, i64)> = (0..clients.partitions).map(|p| (p, 0)).collect();
    let Some(mut reader) = assign(clients, process, &from) else {
        return 0;
    };
    let mut seen = BTreeSet::new();
    let mut last_progress = Instant::now();
    while (seen.len() as u64) < wanted && last_progress.elapsed() < patience {
        let received = poll(clients, process, &mut reader, POLL / 4).await;
        for record in &received.records {
            clients.note_polled(record.partition, record.offset);
            if let Ok(value) = record.value
                && seen.insert((record.partition, value))
            {
                last_progress = Instant::now();
            }
        }
        let stuck = received.problems.iter().any(|problem| problem.ends);
        if stuck || clients.stopping() {
            break;
        }
    }
    seen.len() as u64
}
