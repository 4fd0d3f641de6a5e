//! The reader against librdkafka's own mock cluster.

use std::time::Instant;

use rdkafka::mocking::MockCluster;

use super::*;
use crate::clients::{Acks, BatchProducer, Library, Outgoing};
use crate::history::Kind;

const TOPIC: &str = "t";
const RUN: u64 = 7;

fn settings(bootstrap: String) -> ClientSettings {
    ClientSettings {
        bootstrap,
        acks: Acks::All,
        idempotence: true,
        delivery_timeout: Duration::from_secs(20),
        library: Library::Librdkafka,
    }
}

fn produce(settings: &ClientSettings, run: u64, messages: i64) {
    let batch: Vec<Outgoing> = (0..messages)
        .map(|value| Outgoing {
            partition: value as i32 % 2,
            value,
            bytes: 200,
        })
        .collect();
    let mut producer = BatchProducer::new(settings).expect("producer");
    let outcome = producer.send_batch(TOPIC, run, &batch, &|| false);
    assert_eq!(outcome.kind, Kind::Ok, "{:?}", outcome.errors);
}

/// Polls until `enough` is content with everything received so far.
fn poll_until(reader: &mut LogReader, enough: impl Fn(&Received) -> bool) -> Received {
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut all = Received::default();
    while !enough(&all) {
        assert!(Instant::now() < deadline, "only {all:?}");
        let some = reader.poll(Duration::from_millis(100));
        all.records.extend(some.records);
        all.ends.extend(some.ends);
        all.problems.extend(some.problems);
        all.bytes += some.bytes;
    }
    all
}

#[test]
fn every_record_is_delivered_in_order_and_the_ends_are_told() {
    let cluster = MockCluster::new(3).expect("mock cluster");
    cluster.create_topic(TOPIC, 2, 3).expect("topic");
    let settings = settings(cluster.bootstrap_servers());
    produce(&settings, RUN, 1000);
    let mut reader = LogReader::start(&settings, TOPIC, RUN, &[(0, 0), (1, 100)]).expect("reader");
    let all = poll_until(&mut reader, |all| all.ends.len() >= 2);
    assert!(
        all.ends.contains(&(0, 500)) && all.ends.contains(&(1, 500)),
        "{:?}",
        all.ends
    );
    let of = |partition| -> Vec<(i64, i64)> {
        all.records
            .iter()
            .filter(|record| record.partition == partition)
            .map(|record| (record.offset, record.value.clone().expect("whole")))
            .collect()
    };
    let expected = |from: i64, partition: i64| -> Vec<(i64, i64)> {
        (from..500)
            .map(|offset| (offset, offset * 2 + partition))
            .collect()
    };
    assert_eq!(of(0), expected(0, 0));
    assert_eq!(of(1), expected(100, 1));
    assert_eq!(all.bytes, 900 * 200);
}

#[test]
fn a_record_of_another_run_is_corrupt_here() {
    let cluster = MockCluster::new(1).expect("mock cluster");
    cluster.create_topic(TOPIC, 2, 1).expect("topic");
    let settings = settings(cluster.bootstrap_servers());
    produce(&settings, RUN + 1, 2);
    let mut reader = LogReader::start(&settings, TOPIC, RUN, &[(0, 0)]).expect("reader");
    let all = poll_until(&mut reader, |all| !all.records.is_empty());
    let why = all.records[0].value.clone().expect_err("another run's");
    assert!(why.contains("another run"), "{why}");
}

#[test]
fn an_offset_beyond_the_end_is_an_error_and_never_a_silent_reset() {
    let cluster = MockCluster::new(1).expect("mock cluster");
    cluster.create_topic(TOPIC, 2, 1).expect("topic");
    let settings = settings(cluster.bootstrap_servers());
    produce(&settings, RUN, 10);
    let mut reader = LogReader::start(&settings, TOPIC, RUN, &[(0, 4000)]).expect("reader");
    let all = poll_until(&mut reader, |all| !all.problems.is_empty());
    assert!(all.records.is_empty(), "{:?}", all.records);
    let problem = &all.problems[0];
    assert_eq!(
        (problem.partition, problem.ends),
        (Some(0), true),
        "{problem:?}"
    );
}

#[test]
fn a_partition_is_started_once() {
    let settings = settings("127.0.0.1:1".to_owned());
    let twice = LogReader::start(&settings, TOPIC, RUN, &[(0, 0), (0, 0)]);
    assert!(matches!(twice, Err(ReadError::Start { partition: 0, .. })));
}
