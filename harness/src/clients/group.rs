//! Reads a topic as a member of a group, through librdkafka's consumer: which partitions it has is
//! the group's to say, and each coming and going is told.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use super::ClientSettings;
use super::outcome::{code_name, code_text};
use super::reader::{ReadProblem, Received, ends_reading};
use crate::history::Polled;
use crate::value;

/// Records of one poll, at most.
const BATCH: usize = 1000;

/// Partitions that came or went at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// They came; else they went.
    pub assigned: bool,
    /// Which.
    pub partitions: Vec<i32>,
}

/// Hears of rebalances, on the thread that polls.
struct Rebalances {
    moved: Mutex<Vec<Moved>>,
}

impl ClientContext for Rebalances {
    fn log(&self, level: rdkafka::config::RDKafkaLogLevel, _: &str, message: &str) {
        tracing::debug!(?level, "librdkafka: {message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!("librdkafka: {error}: {reason}");
    }
}

impl ConsumerContext for Rebalances {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let (assigned, list) = match rebalance {
            Rebalance::Assign(list) => (true, list),
            Rebalance::Revoke(list) => (false, list),
            // It comes as an error of a poll, too.
            Rebalance::Error(_) => return,
        };
        let partitions = list.elements().iter().map(|one| one.partition()).collect();
        let mut moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        moved.push(Moved {
            assigned,
            partitions,
        });
    }
}

/// A member of a group. It is used by one thread at a time.
pub struct GroupReader {
    consumer: BaseConsumer<Rebalances>,
    topic: String,
    run: u64,
}

impl GroupReader {
    /// Makes a consumer of that group; it does not subscribe yet.
    ///
    /// # Errors
    /// Where librdkafka refuses the configuration.
    pub fn new(settings: &ClientSettings, group: &str, topic: &str, run: u64) -> KafkaResult<Self> {
        let rebalances = Rebalances {
            moved: Mutex::new(Vec::new()),
        };
        let consumer = settings.member(group).create_with_context(rebalances)?;
        Ok(Self {
            consumer,
            topic: topic.to_owned(),
            run,
        })
    }

    /// Joins the group.
    ///
    /// # Errors
    /// Where librdkafka refuses.
    pub fn subscribe(&self) -> KafkaResult<()> {
        self.consumer.subscribe(&[&self.topic])
    }

    /// Commits the next offsets to read, and waits for the answer.
    ///
    /// # Errors
    /// Where there was none, or not a good one.
    pub fn commit(&self, next: &[(i32, i64)]) -> Result<(), RDKafkaErrorCode> {
        let unknown = |error: &KafkaError| {
            error
                .rdkafka_error_code()
                .unwrap_or(RDKafkaErrorCode::Unknown)
        };
        let mut list = TopicPartitionList::new();
        for (partition, offset) in next {
            let added = list.add_partition_offset(&self.topic, *partition, Offset::Offset(*offset));
            added.map_err(|error| unknown(&error))?;
        }
        let committed = self.consumer.commit(&list, CommitMode::Sync);
        committed.map_err(|error| unknown(&error))
    }

    /// Returns as soon as something was delivered, at the latest after `within`; and which
    /// partitions came or went meanwhile.
    pub fn poll(&self, within: Duration) -> (Received, Vec<Moved>) {
        let mut received = Received::default();
        let deadline = Instant::now() + within;
        let mut patience = within;
        while received.records.len() < BATCH {
            match self.consumer.poll(patience) {
                None => break,
                Some(Ok(message)) => self.take(&message, &mut received),
                Some(Err(error)) => note(&error, &mut received),
            }
            patience = if received.records.is_empty() {
                deadline.saturating_duration_since(Instant::now())
            } else {
                Duration::ZERO
            };
        }
        let rebalances = self.consumer.context();
        let mut moved = rebalances
            .moved
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        (received, std::mem::take(&mut *moved))
    }

    fn take(&self, message: &BorrowedMessage<'_>, received: &mut Received) {
        let (partition, payload) = (message.partition(), message.payload().unwrap_or_default());
        received.bytes += payload.len() as u64;
        received.records.push(Polled {
            partition,
            offset: message.offset(),
            value: value::decode(payload, self.run, partition).map_err(|c| c.to_string()),
        });
    }
}

fn note(error: &KafkaError, received: &mut Received) {
    // Where an end is this interface does not say.
    if matches!(error, KafkaError::PartitionEOF(_)) {
        return;
    }
    let code = error
        .rdkafka_error_code()
        .unwrap_or(RDKafkaErrorCode::Unknown);
    received.problems.push(ReadProblem {
        partition: None,
        code: code_name(code),
        message: code_text(code),
        ends: ends_reading(code),
    });
}

/// Whether a commit that was answered so certainly did not happen.
#[must_use]
pub fn refused(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::IllegalGeneration
            | RDKafkaErrorCode::UnknownMemberId
            | RDKafkaErrorCode::RebalanceInProgress
            | RDKafkaErrorCode::NoOffset
            | RDKafkaErrorCode::NotCoordinator
            | RDKafkaErrorCode::CoordinatorNotAvailable
            | RDKafkaErrorCode::CoordinatorLoadInProgress
    )
}
