//! Looks at the cluster from outside while clients and nemesis are at work: every broker is
//! asked for the ends of the partitions that it believes to lead, and for its metrics.
//!
//! Each question is one `list-offsets` operation of the process `sampler`, one at a time. A broker
//! that did not answer is left alone for a moment, so that it does not hold up the others.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value as Json, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::history::{Event, Kind, Process, Recorder, Value};
use crate::kafka::{Brokers, PartitionOffsets};
use crate::metrics;
use crate::workload::drain::Ranges;

/// Between two rounds.
const EVERY: Duration = Duration::from_millis(200);
/// A broker answers within this time, or is left alone for [`LEFT_ALONE`].
const WITHIN: Duration = Duration::from_millis(500);
const LEFT_ALONE: Duration = Duration::from_millis(1000);
const METRICS_EVERY: Duration = Duration::from_millis(1000);

/// Asks brokers for the ends of one topic's partitions.
#[derive(Clone)]
pub struct Sampler {
    /// Whom.
    pub brokers: Arc<Brokers>,
    /// Where the answers are recorded.
    pub recorder: Recorder,
    /// About which topic.
    pub topic: Arc<str>,
    /// How many partitions it has.
    pub partitions: i32,
}

impl Sampler {
    /// Samples in the background until `stop` turns true.
    #[must_use]
    pub fn spawn(self, mut stop: watch::Receiver<bool>) -> JoinHandle<()> {
        tokio::spawn(async move {
            let mut left_alone: BTreeMap<i32, Instant> = BTreeMap::new();
            while !*stop.borrow() {
                let round = Instant::now();
                for id in self.brokers.ids() {
                    if left_alone
                        .get(&id)
                        .is_some_and(|until| *until > Instant::now())
                    {
                        continue;
                    }
                    if self.ask(id, WITHIN).await.is_none() {
                        left_alone.insert(id, Instant::now() + LEFT_ALONE);
                    }
                }
                // An error means that nobody can tell us to stop any more: that is a stop, too.
                let next = tokio::time::timeout_at(round + EVERY, stop.wait_for(|stop| *stop));
                if next.await.is_ok() {
                    return;
                }
            }
        })
    }

    /// One question to one broker, as one operation; nothing where it did not answer.
    pub async fn ask(&self, id: i32, within: Duration) -> Option<BTreeMap<i32, PartitionOffsets>> {
        let event = |kind, value| Event::new(Process::Sampler, kind, "list-offsets", value);
        let asked = json!({"asked": id});
        let _turn = self.brokers.turn.lock().await;
        self.recorder
            .record(event(Kind::Invoke, Value::Json(Json::Null)));
        let answer = self
            .brokers
            .offsets(id, &self.topic, self.partitions, within)
            .await;
        match answer {
            Ok(offsets) => {
                let value = self.answer_value(id, &offsets);
                let mut ok = event(Kind::Ok, Value::Json(value));
                ok.beside.insert("asked".to_owned(), asked["asked"].clone());
                let refused = refusals(&offsets);
                if !refused.is_empty() {
                    ok.beside.insert("refused".to_owned(), json!(refused));
                }
                self.recorder.record(ok);
                Some(offsets)
            }
            Err(error) => {
                let why = json!({"code": error.code(), "message": error.to_string(), "asked": id});
                let fail = event(Kind::Fail, Value::Json(Json::Null)).with_error(Some(why));
                self.recorder.record(fail);
                None
            }
        }
    }

    fn answer_value(&self, id: i32, offsets: &BTreeMap<i32, PartitionOffsets>) -> Json {
        let mut value = Map::new();
        for (partition, answer) in offsets {
            let Some(high_watermark) = answer.high_watermark else {
                continue;
            };
            let mut entry = Map::new();
            entry.insert("high-watermark".to_owned(), json!(high_watermark));
            if let Some(log_start) = answer.log_start {
                entry.insert("log-start".to_owned(), json!(log_start));
            }
            if let Some(lso) = answer.lso {
                entry.insert("lso".to_owned(), json!(lso));
            }
            if let Some(epoch) = answer.epoch {
                entry.insert("epoch".to_owned(), json!(epoch));
            }
            // Only a broker that believes to lead a partition answers for it.
            entry.insert("leader".to_owned(), json!(id));
            entry.insert("asked".to_owned(), json!(id));
            value.insert(format!("{}-{partition}", self.topic), Json::Object(entry));
        }
        Json::Object(value)
    }

    /// Asks every broker and returns what to read of each partition: up to the highest end that
    /// any broker with the highest epoch named. Asks again until each partition has an end that
    /// is not before `at_least`, or `within` is over: what was acknowledged and is not visible
    /// yet gets its time, and what never becomes visible is told apart from it.
    pub async fn ranges(&self, at_least: &[i64], within: Duration) -> Ranges {
        let deadline = Instant::now() + within;
        loop {
            let best = self.ends().await;
            let far_enough = at_least.iter().zip(0..).all(|(least, partition)| {
                best.get(&partition).is_some_and(|(_, _, end)| end >= least)
            });
            if far_enough || Instant::now() >= deadline {
                return best
                    .into_iter()
                    .map(|(partition, (_, from, to))| (partition, (from, to)))
                    .collect();
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    /// By partition: epoch, log start and end, of the newest answer.
    async fn ends(&self) -> BTreeMap<i32, (i32, i64, i64)> {
        let mut best: BTreeMap<i32, (i32, i64, i64)> = BTreeMap::new();
        for id in self.brokers.ids() {
            let offsets = self.ask(id, WITHIN * 4).await.unwrap_or_default();
            for (partition, answer) in offsets {
                let Some(end) = answer.high_watermark else {
                    continue;
                };
                let epoch = answer.epoch.unwrap_or(-1);
                let from = answer.log_start.unwrap_or(0);
                let entry = best.entry(partition).or_insert((epoch, from, end));
                if (epoch, end) > (entry.0, entry.2) {
                    *entry = (epoch, from, end);
                }
            }
        }
        best
    }
}

fn refusals(offsets: &BTreeMap<i32, PartitionOffsets>) -> BTreeMap<&str, u32> {
    let mut counts = BTreeMap::new();
    for code in offsets
        .values()
        .filter_map(|answer| answer.refused.as_deref())
    {
        *counts.entry(code).or_default() += 1;
    }
    counts
}

/// Writes a line of `metrics.jsonl` for each broker's `/metrics` every second, until `stop`.
#[must_use]
pub fn spawn_metrics(
    addresses: Vec<(i32, String)>,
    recorder: Recorder,
    path: &Path,
    mut stop: watch::Receiver<bool>,
) -> JoinHandle<()> {
    let file = std::fs::File::create(path);
    tokio::spawn(async move {
        let Ok(mut file) = file else { return };
        while !*stop.borrow() {
            let next = Instant::now() + METRICS_EVERY;
            let asked = addresses.iter().map(|(id, address)| async move {
                (*id, metrics::scrape(address, WITHIN).await.ok())
            });
            let at = u64::try_from(recorder.elapsed().as_nanos()).unwrap_or(u64::MAX);
            for (broker, metrics) in futures_util::future::join_all(asked).await {
                if let Some(metrics) = metrics {
                    let line = json!({"time": at, "broker": broker, "metrics": metrics});
                    // Metrics are a help for the reader of the report, never evidence.
                    let _ = writeln!(file, "{line}");
                }
            }
            let waited = tokio::time::timeout_at(next, stop.wait_for(|stop| *stop));
            if waited.await.is_ok() {
                return;
            }
        }
    })
}
