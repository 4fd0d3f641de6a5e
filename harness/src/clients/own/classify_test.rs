//! The same refusals for librdkafka's producer and for ours, from librdkafka's mock cluster: both
//! have to come to the same outcome, but where a difference is named, with its reason.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rdkafka::mocking::MockCluster;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use super::*;
use crate::clients::own::OwnProducer;
use crate::clients::{Acks, BatchProducer, ClientSettings, Library, Manners, Outgoing};
use crate::history::Kind;

const TOPIC: &str = "t";
/// Error codes of the protocol that librdkafka knows, from 1 on.
const CODES: std::ops::RangeInclusive<i32> = 1..=119;
/// The mock broker closes the connection, with the request in it.
const DISCONNECT: i32 = -195;
/// More than fit into the time that a message has.
const FOR_EVER: usize = 400;
const DELIVERY_TIMEOUT: Duration = Duration::from_millis(1500);
const AT_A_TIME: usize = 24;

/// Where our client does something else, and why that is no harm.
const DIFFERENCES: &[(i32, &str)] = &[(
    59,
    "UNKNOWN_PRODUCER_ID: librdkafka goes on with the next epoch of its id (KIP-360) and sends the \
     message again; ours gives it up, and the workload goes on with another producer",
)];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// The error once; then the broker takes it.
    Once,
    /// The error whenever it is asked.
    ForEver,
}

fn settings(
    cluster: &MockCluster<'_, rdkafka::producer::DefaultProducerContext>,
) -> ClientSettings {
    ClientSettings {
        bootstrap: cluster.bootstrap_servers(),
        acks: Acks::All,
        idempotence: true,
        delivery_timeout: DELIVERY_TIMEOUT,
        library: Library::Own,
        manners: Manners::default(),
    }
}

/// What comes of one message that is answered with `code`.
fn outcome(library: Library, code: i32, told: Told) -> Kind {
    let cluster = MockCluster::new(1).expect("mock cluster");
    cluster.create_topic(TOPIC, 1, 1).expect("topic");
    let error = RDKafkaRespErr::try_from(code).expect("librdkafka knows it");
    let errors = match told {
        Told::Once => vec![error; 1],
        Told::ForEver => vec![error; FOR_EVER],
    };
    cluster.request_errors(RDKafkaApiKey::Produce, &errors);
    let settings = settings(&cluster);
    let batch = [Outgoing {
        partition: 0,
        value: 1,
        bytes: 100,
    }];
    match library {
        Library::Librdkafka => {
            let mut producer = BatchProducer::new(&settings).expect("producer");
            producer.send_batch(TOPIC, 7, &batch, &|| false).kind
        }
        Library::Own => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            let mut producer = OwnProducer::new(&settings);
            let sending = producer.send_batch(TOPIC, 7, &batch, &|| false);
            runtime.block_on(sending).kind
        }
    }
}

#[test]
fn every_error_means_to_us_what_it_means_to_librdkafka() {
    let known = CODES.filter(|code| RDKafkaRespErr::try_from(*code).is_ok());
    let codes: Vec<i32> = known.chain([DISCONNECT]).collect();
    assert!(codes.len() > 100, "{} codes", codes.len());
    let asked: Vec<(i32, Told)> = codes
        .iter()
        .flat_map(|code| [(*code, Told::Once), (*code, Told::ForEver)])
        .collect();
    let next = AtomicUsize::new(0);
    let found = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                while let Some((code, told)) = asked.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let both = [Library::Librdkafka, Library::Own]
                        .map(|library| outcome(library, *code, *told));
                    let mut found = found.lock().expect("no other test panics");
                    found.insert((*code, *told == Told::ForEver), both);
                }
            });
        }
    });
    let found = found.into_inner().expect("all threads are done");
    let mut unexplained = Vec::new();
    let mut explained = Vec::new();
    for ((code, for_ever), [theirs, ours]) in &found {
        let name = code_of(i16::try_from(*code).unwrap_or(-1));
        println!("{code:4} {name:?} for ever: {for_ever}: theirs {theirs:?}, ours {ours:?}");
        if theirs == ours {
            continue;
        }
        match DIFFERENCES.iter().any(|(known, _)| known == code) {
            true => explained.push(*code),
            false => unexplained.push((*code, *for_ever, *theirs, *ours)),
        }
    }
    assert!(unexplained.is_empty(), "{unexplained:#?}");
    for (code, why) in DIFFERENCES {
        assert!(
            explained.contains(code) && why.len() > 20,
            "{code} differs no more"
        );
    }
    // Never the dangerous way round: what librdkafka calls open is not a failure for us.
    let dangerous = |both: &&[Kind; 2]| both[0] == Kind::Info && both[1] == Kind::Fail;
    assert_eq!(found.values().filter(dangerous).count(), 0);
}
