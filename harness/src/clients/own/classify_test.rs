//! The same questions to librdkafka and to our client: what became of a message whose produce
//! request was answered with this error, once, or for as long as it was sent.

use std::time::Duration;

use rdkafka::mocking::MockCluster;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use super::super::OwnProducer;
use crate::clients::{Acks, BatchProducer, ClientSettings, Fate, Library, Outgoing};

const TOPIC: &str = "t";
const RUN: u64 = 7;
/// Longer than any retry.
const PATIENCE: Duration = Duration::from_millis(4000);
/// For a message that is refused for ever.
const IMPATIENCE: Duration = Duration::from_millis(1500);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Became {
    Acknowledged,
    NotPersisted,
    Unknown,
}

fn became(fate: Fate) -> Became {
    match fate {
        Fate::Acknowledged(_) => Became::Acknowledged,
        Fate::NotPersisted(_) => Became::NotPersisted,
        Fate::Unknown(_) => Became::Unknown,
    }
}

/// What both make of `times` answers with `error`: librdkafka, then ours.
fn ask_both(error: RDKafkaRespErr, times: usize, patience: Duration) -> (Became, Became) {
    let settings =
        |cluster: &MockCluster<'_, rdkafka::producer::DefaultProducerContext>| ClientSettings {
            bootstrap: cluster.bootstrap_servers(),
            acks: Acks::All,
            idempotence: true,
            delivery_timeout: patience,
            library: Library::Librdkafka,
        };
    let cluster = || {
        let cluster = MockCluster::new(1).expect("mock cluster");
        cluster.create_topic(TOPIC, 1, 1).expect("topic");
        cluster.request_errors(RDKafkaApiKey::Produce, &vec![error; times]);
        cluster
    };
    let batch = [Outgoing {
        partition: 0,
        value: 1,
        bytes: 100,
    }];
    let theirs = {
        let cluster = cluster();
        let mut producer = BatchProducer::new(&settings(&cluster)).expect("a producer");
        producer.send_batch(TOPIC, RUN, &batch, &|| false).fates[0]
    };
    let ours = {
        let cluster = cluster();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let mut producer = OwnProducer::new(&settings(&cluster));
        let sending = producer.send_batch(TOPIC, RUN, &batch, &|| false);
        runtime.block_on(sending).fates[0]
    };
    (became(theirs), became(ours))
}

#[test]
fn errors_mean_what_they_mean_to_librdkafka() {
    use RDKafkaRespErr as E;
    let errors = [
        E::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        E::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE,
        E::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
        E::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        E::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
        E::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
        E::RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH,
        E::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
        E::RD_KAFKA_RESP_ERR_INVALID_REQUIRED_ACKS,
        E::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
        E::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
        E::RD_KAFKA_RESP_ERR_INVALID_MSG,
        E::RD_KAFKA_RESP_ERR_DUPLICATE_SEQUENCE_NUMBER,
    ];
    let cases = errors
        .iter()
        .flat_map(|error| [(*error, 1, PATIENCE), (*error, 1000, IMPATIENCE)]);
    let answers: Vec<_> = std::thread::scope(|scope| {
        let asked: Vec<_> = cases
            .map(|(error, times, patience)| {
                let asking = scope.spawn(move || ask_both(error, times, patience));
                (error, times, asking)
            })
            .collect();
        let answer = |(error, times, asking): (_, _, std::thread::ScopedJoinHandle<'_, _>)| {
            (error, times, asking.join().expect("an answer"))
        };
        asked.into_iter().map(answer).collect()
    });
    let mut apart = Vec::new();
    for (error, times, (theirs, ours)) in answers {
        if theirs != ours {
            apart.push(format!(
                "{error:?} x{times}: librdkafka {theirs:?}, ours {ours:?}"
            ));
        }
    }
    assert!(apart.is_empty(), "{apart:#?}");
}
