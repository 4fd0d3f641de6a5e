//! One partition's writer by itself: broker 1 leads, the test plays broker 2, the controller and
//! the committer. Seeded bugs of what is decided here: what each one answers wrongly.

use std::sync::atomic::AtomicBool;

use bytes::BytesMut;
use kafka_protocol::records::{
    Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};

use super::*;
use crate::invariants::tripped;
use crate::log::{LogConfig, LogStore};
use crate::replica::cluster::PartitionMeta;
use crate::replica::leader::FollowerFetch;
use crate::replica::test_support::{fetch, meta, settings};
use crate::storage::memory::MemoryStorage;
use crate::types::{Durability, TopicId};

struct Bench {
    actor: Actor,
    store: LogStore,
}

type Answered = oneshot::Receiver<ProduceOutcome>;

/// Broker 1 after a start, on what `store` holds.
fn bench_on(store: LogStore, bugs: BugSet) -> Bench {
    let tp = TopicPartition {
        topic: TopicId(uuid::Uuid::from_u128(1)),
        partition: 0,
    };
    let settings = Settings {
        bugs,
        durability: Durability::Fsync,
        ..settings(1)
    };
    let (proposals, _) = mpsc::channel(1);
    let (_, image) = crate::meta::told::channel(Arc::default());
    let (_, epoch) = crate::meta::told::channel(None);
    let (_, controller) = crate::meta::told::channel(None);
    let shared = Shared {
        settings,
        meta: MetadataHandle::new(proposals, image, epoch, controller),
        started: Instant::now(),
        following: watch::Sender::new(0),
        alarm_limits: crate::replica::alarm::Limits {
            stalled_for: Duration::from_secs(5),
            behind: 100,
        },
        alarms: Arc::default(),
        inbox: Arc::new(Inbox::new(1 << 20)),
    };
    let (own, mailbox) = mpsc::unbounded_channel();
    let parts = Parts {
        shared: Arc::new(shared),
        log: store.partition(tp, Arc::new(|| {})).expect("free"),
        mailbox,
        own_mailbox: own.downgrade(),
        held_pending: Arc::new(AtomicBool::new(false)),
    };
    let actor = Actor::new(parts);
    Bench { actor, store }
}

/// Broker 1 leads epoch 1, broker 2 is in sync.
fn leading(bugs: BugSet) -> Bench {
    let config = LogConfig {
        bugs,
        min_free_bytes: 0,
        ..LogConfig::new("log".into())
    };
    let storage = Arc::new(MemoryStorage::new());
    let store = LogStore::open_manual(config, storage, Box::new(|why| panic!("{why}")));
    let mut bench = bench_on(store.expect("an empty log"), bugs);
    bench.image(meta(1, 1, 1, &[1, 2]));
    bench
}

/// Two records of producer 7 from `sequence` on.
fn batch(sequence: i32) -> ProducedBatch {
    let record = |offset: i32| Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: -1,
        producer_id: 7,
        producer_epoch: 0,
        timestamp_type: TimestampType::Creation,
        offset: i64::from(offset),
        sequence: sequence + offset,
        timestamp: 1,
        key: None,
        value: Some(vec![b'x'; 10].into()),
        headers: Default::default(),
    };
    let mut bytes = BytesMut::new();
    let options = RecordEncodeOptions {
        version: 2,
        compression: Compression::None,
    };
    RecordBatchEncoder::encode(&mut bytes, &[record(0), record(1)], &options).expect("encodes");
    ProducedBatch::validate(bytes.freeze(), 1 << 20).expect("sound")
}

impl Bench {
    /// All of this is done in one turn.
    fn turn(&mut self, messages: Vec<Message>) {
        for message in messages {
            self.actor.take(message);
        }
        self.actor.end_turn();
    }

    fn image(&mut self, meta: PartitionMeta) {
        self.turn(vec![Message::Image(Arc::new(meta))]);
    }

    fn produce(&mut self, acks: Acks, sequences: &[i32]) -> Vec<Answered> {
        let (messages, answers) = sequences
            .iter()
            .map(|sequence| {
                let (reply, answer) = oneshot::channel();
                let batch = batch(*sequence);
                let share = self.actor.shared.inbox.share(batch.size());
                let message = Message::Append {
                    batch,
                    acks,
                    reply,
                    share,
                };
                (message, answer)
            })
            .unzip();
        self.turn(messages);
        answers
    }

    /// What was appended becomes durable.
    fn commit(&mut self) {
        while self.store.commit_pending() {}
        self.turn(vec![Message::Held]);
    }

    /// Broker 2 says that it holds everything below `offset`.
    fn fetched(&mut self, epoch: i32, offset: i64) {
        let fetch: FollowerFetch = fetch(2, epoch, offset, None);
        let (reply, _) = oneshot::channel();
        self.turn(vec![Message::Fetch {
            fetch,
            log_start: Offset(0),
            reply,
        }]);
    }

    fn end(&self) -> i64 {
        self.actor.log.written_end().get()
    }
}

/// The base offset of an acknowledgement, the code of an error, or none yet.
fn told(answer: &mut Answered) -> Option<Result<i64, ResponseError>> {
    let outcome = answer.try_recv().ok()?;
    Some(match outcome {
        Ok(produced) => Ok(produced.base_offset.get()),
        Err(failure) => Err(failure.error),
    })
}

/// Without and with the bug.
fn both(bug: SeededBug) -> [BugSet; 2] {
    [BugSet::NONE, BugSet::NONE.with(bug)]
}

#[test]
fn acks_all_is_answered_with_the_first_offset_when_everybody_has_the_last() {
    let mut bench = leading(BugSet::NONE);
    let mut answers = bench.produce(Acks::All, &[0, 2]);
    bench.commit();
    bench.fetched(1, 2);
    assert_eq!(told(&mut answers[0]), Some(Ok(0)));
    assert_eq!(told(&mut answers[1]), None);
    bench.fetched(1, 4);
    assert_eq!(told(&mut answers[1]), Some(Ok(2)));
}

/// A batch is appended, fetched and cut as a whole, so no watermark lies within one: to wait for
/// its first record or for its last is the same. That is why M06 is not built.
#[test]
fn m06_is_no_bug_here_because_a_watermark_never_lies_within_a_batch() {
    let mut bench = leading(BugSet::NONE);
    let mut answers = bench.produce(Acks::All, &[0]);
    bench.commit();
    assert_eq!(told(&mut answers[0]), None);
    assert_eq!(bench.actor.published.load().hw, Offset(0));
    bench.fetched(1, 2);
    assert_eq!(bench.actor.published.load().hw, Offset(2));
    assert_eq!(told(&mut answers[0]), Some(Ok(0)));
    let cut = bench.actor.log.truncate(Offset(1)).expect("open");
    assert_eq!(cut, Offset(0), "the whole batch goes");
}

#[test]
fn m21_answers_acks_1_before_the_wal_is_written() {
    let answered = both(SeededBug::AckBeforeAppend).map(|bugs| {
        let mut bench = leading(bugs);
        told(&mut bench.produce(Acks::One, &[0])[0])
    });
    assert_eq!(answered, [None, Some(Ok(0))]);
}

#[test]
fn m26_a_new_leader_appends_what_it_has_already() {
    let ends = both(SeededBug::ProducerStateNotRebuilt).map(|bugs| {
        let mut bench = leading(bugs);
        bench.produce(Acks::All, &[0]);
        bench.commit();
        // Broker 2 leads for a while; the producer heard no answer and asks again.
        bench.image(meta(2, 2, 2, &[1, 2]));
        bench.image(meta(1, 3, 3, &[1, 2]));
        bench.produce(Acks::All, &[0]);
        bench.end()
    });
    assert_eq!(ends, [2, 4]);
    assert!(tripped().contains(&Invariant::ProducersAreFolded));
}

#[test]
fn m27_appends_two_copies_that_come_together() {
    let ends = both(SeededBug::CheckThenActSequences).map(|bugs| {
        let mut bench = leading(bugs);
        bench.produce(Acks::All, &[0, 0]);
        bench.end()
    });
    assert_eq!(ends, [2, 4]);
    assert!(tripped().contains(&Invariant::SequencesContiguous));
}

#[test]
fn m29_answers_a_duplicate_with_an_offset_where_it_is_not() {
    let told = both(SeededBug::DuplicateNewOffset).map(|bugs| {
        let mut bench = leading(bugs);
        bench.produce(Acks::All, &[0, 2]);
        bench.commit();
        bench.fetched(1, 4);
        told(&mut bench.produce(Acks::All, &[0])[0])
    });
    assert_eq!(told, [Some(Ok(0)), Some(Ok(4))]);
}

#[test]
fn m53_completes_a_request_of_a_leadership_that_has_ended() {
    let told = both(SeededBug::WaitersOutliveEpoch).map(|bugs| {
        let mut bench = leading(bugs);
        let mut answers = bench.produce(Acks::All, &[0]);
        bench.commit();
        bench.image(meta(2, 2, 2, &[1, 2]));
        // Broker 1 leads again, and what it commits may be anything.
        bench.image(meta(1, 3, 3, &[1, 2]));
        bench.fetched(3, 2);
        told(&mut answers[0])
    });
    let failed = Err(ResponseError::NotLeaderOrFollower);
    assert_eq!(told, [Some(failed), Some(Ok(0))]);
}

#[test]
fn m54_acknowledges_a_duplicate_of_what_is_not_committed() {
    let told = both(SeededBug::DuplicateAckedEarly).map(|bugs| {
        let mut bench = leading(bugs);
        bench.produce(Acks::All, &[0]);
        told(&mut bench.produce(Acks::All, &[0])[0])
    });
    assert_eq!(told, [None, Some(Ok(0))]);
}
