//! Producers, consumers and drains against librdkafka's mock cluster, and the history they leave.

use std::path::Path;
use std::sync::Arc;

use rdkafka::mocking::MockCluster;
use serde_json::Value as Json;

use super::*;
use crate::clients::{Acks, ClientSettings, Library, finished};
use crate::history;
use crate::workload::pace::Pace;
use crate::workload::plan::{Plan, PlanSpec};
use crate::workload::{consumers, probe, producers};

const RUN: u64 = 99;

fn spec() -> PlanSpec {
    PlanSpec {
        seed: 5,
        writers: 3,
        partitions: 3,
        batch: 300,
        bytes: 100..=400,
    }
}

fn events(path: &Path) -> Vec<Json> {
    let text = std::fs::read_to_string(path).expect("history");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

fn clients_of(bootstrap: String, recorder: history::Recorder) -> Clients {
    let settings = ClientSettings {
        bootstrap,
        acks: Acks::All,
        idempotence: true,
        delivery_timeout: Duration::from_secs(20),
        library: Library::Librdkafka,
    };
    Clients::new(recorder, settings, Arc::from("t"), 3, RUN)
}

/// Drains have threads of their own, which are waited for.
fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime").block_on(work)
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::yield_now();
    }
}

#[test]
fn everything_acknowledged_is_polled_drained_and_recorded() {
    let cluster = MockCluster::new(3).expect("mock cluster");
    cluster.create_topic("t", 3, 3).expect("topic");
    let dir = tempfile::tempdir().expect("temp dir");
    let path = dir.path().join("history.jsonl");
    let (recorder, thread) = history::start(&path).expect("recorder");
    let clients = clients_of(cluster.bootstrap_servers(), recorder);
    let start = Instant::now();
    let mut threads = Vec::new();
    for number in 0..2 {
        let pace = Pace::new(0.0, 300, 2, number);
        let plan = Plan::new(&spec(), number);
        threads.push(producers::spawn(&clients, number, plan, pace, start).expect("thread"));
    }
    for number in 0..2 {
        let share = consumers::share(3, 2, number);
        threads.push(consumers::spawn(&clients, number, share).expect("thread"));
    }
    let stats = clients.stats.clone();
    until("3,000 acknowledged and half of them polled", || {
        stats.acknowledged.load(Ordering::Relaxed) >= 3000
            && stats.polled.load(Ordering::Relaxed) >= 1500
    });
    clients.stop();
    for thread in threads {
        thread.join().expect("no client panics");
    }
    assert!(finished(probe::write_everywhere(
        &clients,
        &mut Plan::new(&spec(), 2)
    )));

    let acknowledged = stats.acknowledged.load(Ordering::Relaxed);
    let ranges = ends_in(&cluster, &clients);
    let drained = block_on(drain(&clients, &ranges, 2, Duration::from_secs(20)));
    assert_eq!(drained.records, acknowledged);
    assert!(drained.short.is_empty(), "{drained:?}");
    thread.finish().expect("history");
    check_history(&events(&path), acknowledged);
}

/// Ends as our own Kafka client is told them by the mock's brokers.
fn ends_in(
    cluster: &MockCluster<'_, rdkafka::producer::DefaultProducerContext>,
    clients: &Clients,
) -> Ranges {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("runtime");
    let within = Duration::from_secs(5);
    runtime.block_on(async {
        let mut ranges = Ranges::new();
        for address in cluster.bootstrap_servers().split(',') {
            let mut conn = crate::kafka::Conn::open(address, within)
                .await
                .expect("opens");
            let offsets = crate::kafka::list_offsets(&mut conn, &clients.topic, 3, within)
                .await
                .expect("answers");
            for (partition, answer) in offsets {
                if let (Some(from), Some(to)) = (answer.log_start, answer.high_watermark) {
                    ranges.insert(partition, (from, to));
                }
            }
        }
        ranges
    })
}

fn check_history(events: &[Json], acknowledged: u64) {
    let mut open = BTreeMap::new();
    let (mut acks, mut drained) = (0, 0);
    let mut draining = std::collections::BTreeSet::new();
    for event in events {
        let (process, f) = (event["process"].to_string(), event["f"].to_string());
        let who = (process.clone(), f.clone());
        match event["type"].as_str() {
            Some("invoke") => {
                assert!(open.insert(who, ()).is_none(), "{event}");
                if f == "\"drain\"" {
                    draining.insert(process);
                }
            }
            _ => assert!(open.remove(&who).is_some(), "{event}"),
        }
        if event["type"] == "ok" && event["f"] == "send" {
            acks += event["value"].as_array().expect("micro-ops").len();
        }
        if event["type"] == "ok"
            && event["f"] == "poll"
            && draining.contains(&event["process"].to_string())
        {
            let polled = event["value"][0][1].as_object().expect("polled");
            drained += polled
                .values()
                .map(|r| r.as_array().map_or(0, Vec::len))
                .sum::<usize>();
        }
    }
    assert!(open.is_empty(), "operations without an end: {open:?}");
    assert_eq!(acks as u64, acknowledged);
    assert_eq!(drained as u64, acknowledged);
    let drains = events
        .iter()
        .filter(|e| e["f"] == "drain" && e["type"] == "ok");
    assert_eq!(drains.count(), 2);
}

#[test]
fn an_end_that_nobody_serves_leaves_the_drain_short() {
    let cluster = MockCluster::new(1).expect("mock cluster");
    cluster.create_topic("t", 3, 1).expect("topic");
    let dir = tempfile::tempdir().expect("temp dir");
    let path = dir.path().join("history.jsonl");
    let (recorder, thread) = history::start(&path).expect("recorder");
    let clients = clients_of(cluster.bootstrap_servers(), recorder);
    assert!(finished(probe::write_everywhere(
        &clients,
        &mut Plan::new(&spec(), 0)
    )));
    // One record is there, and two are claimed to be.
    let ranges = Ranges::from([(0, (0, 1)), (1, (0, 2))]);
    let drained = block_on(drain(&clients, &ranges, 1, Duration::from_millis(600)));
    assert_eq!(drained.short, BTreeMap::from([(1, 1)]));
    thread.finish().expect("history");
    let events = events(&path);
    let end = events.iter().rfind(|e| e["f"] == "drain").expect("a drain");
    assert_eq!(
        end["value"],
        serde_json::json!({"t-0": [0, 1], "t-1": [0, 1]})
    );
    assert_eq!(end["error"]["code"], "_SHORT");
}
