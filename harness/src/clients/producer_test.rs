//! The producer against librdkafka's own mock cluster.

use rdkafka::mocking::MockCluster;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use super::*;
use crate::clients::{Acks, Library};
use crate::history::Kind;

const TOPIC: &str = "t";
const RUN: u64 = 7;

fn settings(bootstrap: String, delivery_timeout: Duration) -> ClientSettings {
    ClientSettings {
        bootstrap,
        acks: Acks::All,
        idempotence: true,
        delivery_timeout,
        library: Library::Librdkafka,
    }
}

fn batch(messages: i64, partitions: i32) -> Vec<Outgoing> {
    (0..messages)
        .map(|value| Outgoing {
            partition: value as i32 % partitions,
            value,
            bytes: 100,
        })
        .collect()
}

#[test]
fn a_batch_is_acknowledged_at_distinct_offsets() {
    let cluster = MockCluster::new(3).expect("mock cluster");
    cluster.create_topic(TOPIC, 3, 3).expect("topic");
    let settings = settings(cluster.bootstrap_servers(), Duration::from_secs(20));
    let mut producer = BatchProducer::new(&settings).expect("producer");
    let messages = batch(900, 3);
    for round in 0..2 {
        let before = Instant::now();
        let outcome = producer.send_batch(TOPIC, RUN, &messages, &|| false);
        assert_eq!(outcome.kind, Kind::Ok, "{:?}", outcome.errors);
        let during = |at: &Option<Instant>| at.is_some_and(|at| at >= before);
        assert_eq!(outcome.heard.len(), messages.len());
        assert!(outcome.heard.iter().all(during), "each has its own time");
        for partition in 0..3 {
            let offsets: Vec<i64> = messages
                .iter()
                .zip(&outcome.fates)
                .filter(|(message, _)| message.partition == partition)
                .map(|(_, fate)| match fate {
                    Fate::Acknowledged(Some(offset)) => *offset,
                    other => panic!("not acknowledged: {other:?}"),
                })
                .collect();
            let expected: Vec<i64> = (round * 300..round * 300 + 300).collect();
            assert_eq!(offsets, expected, "round {round}, partition {partition}");
        }
    }
}

#[test]
fn what_never_left_the_client_certainly_failed() {
    // Nobody listens on port 1 of the loopback: nothing can leave.
    let settings = settings("127.0.0.1:1".to_owned(), Duration::from_millis(300));
    let mut producer = BatchProducer::new(&settings).expect("producer");
    let outcome = producer.send_batch(TOPIC, RUN, &batch(10, 1), &|| false);
    assert_eq!(outcome.kind, Kind::Fail, "{:?}", outcome.fates);
    assert!(outcome.heard.iter().all(Option::is_none));
}

#[test]
fn an_answer_that_never_comes_leaves_the_fate_open() {
    let cluster = MockCluster::new(1).expect("mock cluster");
    cluster.create_topic(TOPIC, 1, 1).expect("topic");
    let settings = settings(cluster.bootstrap_servers(), Duration::from_millis(1500));
    let mut producer = BatchProducer::new(&settings).expect("producer");
    let warm = producer.send_batch(TOPIC, RUN, &batch(1, 1), &|| false);
    assert_eq!(warm.kind, Kind::Ok);
    // The request leaves, and its answer is slower than the client's patience.
    cluster
        .broker_round_trip_time(1, Duration::from_secs(30))
        .expect("slow broker");
    let outcome = producer.send_batch(TOPIC, RUN, &batch(10, 1), &|| false);
    assert_eq!(outcome.kind, Kind::Info, "{:?}", outcome.fates);
    assert!(
        outcome
            .fates
            .iter()
            .all(|fate| matches!(fate, Fate::Unknown(_)))
    );
}

#[test]
fn a_refusal_by_the_broker_is_a_failure_and_named() {
    let cluster = MockCluster::new(1).expect("mock cluster");
    cluster.create_topic(TOPIC, 1, 1).expect("topic");
    let settings = settings(cluster.bootstrap_servers(), Duration::from_secs(10));
    let mut producer = BatchProducer::new(&settings).expect("producer");
    let refusals = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE; 20];
    cluster.request_errors(RDKafkaApiKey::Produce, &refusals);
    let outcome = producer.send_batch(TOPIC, RUN, &batch(5, 1), &|| false);
    assert_eq!(outcome.kind, Kind::Fail, "{:?}", outcome.fates);
    let error = outcome.errors.to_json().expect("an error");
    assert_eq!(error["code"], "MSG_SIZE_TOO_LARGE");
}

#[test]
fn giving_up_ends_a_batch_at_once() {
    let cluster = MockCluster::new(1).expect("mock cluster");
    cluster.create_topic(TOPIC, 1, 1).expect("topic");
    cluster
        .broker_round_trip_time(1, Duration::from_secs(30))
        .expect("slow broker");
    let settings = settings(cluster.bootstrap_servers(), Duration::from_secs(60));
    let mut producer = BatchProducer::new(&settings).expect("producer");
    let began = Instant::now();
    let outcome = producer.send_batch(TOPIC, RUN, &batch(10, 1), &|| true);
    assert_ne!(outcome.kind, Kind::Ok);
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_persisted_message_with_an_error_is_still_open() {
    use rd_kafka_msg_status_t::{
        RD_KAFKA_MSG_STATUS_NOT_PERSISTED, RD_KAFKA_MSG_STATUS_PERSISTED,
        RD_KAFKA_MSG_STATUS_POSSIBLY_PERSISTED,
    };
    let code = RDKafkaErrorCode::MessageTimedOut;
    assert_eq!(
        fate_of(RD_KAFKA_MSG_STATUS_NOT_PERSISTED, code),
        Fate::NotPersisted(code)
    );
    for status in [
        RD_KAFKA_MSG_STATUS_POSSIBLY_PERSISTED,
        RD_KAFKA_MSG_STATUS_PERSISTED,
    ] {
        assert_eq!(fate_of(status, code), Fate::Unknown(code));
    }
}
