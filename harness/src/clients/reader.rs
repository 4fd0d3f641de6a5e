//! Reads partitions from given offsets, through librdkafka's consumer without a group.
//!
//! `BaseConsumer::assign` needs a `group.id`, and with it comes a coordinator; the older
//! interface below (`rd_kafka_consume_start_queue`) needs neither, hands over whole batches, and
//! tells the partition of every error. All unsafe calls of it are in this file.
//!
//! Invariants: a partition is started at most once and stopped when the reader is dropped; each
//! native message is destroyed exactly once, by [`NativeMessages`].

use std::collections::BTreeSet;
use std::ffi::CString;
use std::time::Duration;

use rdkafka::bindings::{
    rd_kafka_consume_batch_queue, rd_kafka_consume_start_queue, rd_kafka_consume_stop,
    rd_kafka_message_destroy, rd_kafka_message_t, rd_kafka_queue_destroy, rd_kafka_queue_new,
    rd_kafka_queue_t, rd_kafka_topic_destroy, rd_kafka_topic_new, rd_kafka_topic_t,
};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{IsError as _, KafkaError};
use rdkafka::types::RDKafkaErrorCode;
use serde_json::{Value as Json, json};

use super::ClientSettings;
use super::outcome::{code_name, code_text};
use crate::history::Polled;
use crate::value;

/// Records taken from librdkafka at once.
const BATCH: usize = 1000;

/// Why a reader could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// librdkafka refuses the configuration.
    #[error("librdkafka cannot be configured as a reader: {0}")]
    Config(#[from] KafkaError),
    /// librdkafka refuses the partition.
    #[error("librdkafka cannot read {topic}-{partition} from offset {offset}")]
    Start {
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// Offset to start at.
        offset: i64,
    },
}

/// An error that a poll met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadProblem {
    /// About which partition, if about one.
    pub partition: Option<i32>,
    /// librdkafka's or Kafka's name of it.
    pub code: &'static str,
    /// In words.
    pub message: String,
    /// Whether this reader will get no further in that partition.
    pub ends: bool,
}

impl ReadProblem {
    /// As the history's `error` field.
    #[must_use]
    pub fn to_json(&self) -> Json {
        json!({"code": self.code, "message": self.message, "partition": self.partition})
    }
}

/// What a poll returned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Records in the order in which they were delivered.
    pub records: Vec<Polled>,
    /// Partitions whose end was reached, with the offset of the end.
    pub ends: Vec<(i32, i64)>,
    /// Errors met.
    pub problems: Vec<ReadProblem>,
    /// Payload bytes.
    pub bytes: u64,
}

/// Reads one topic. It is used by one thread at a time.
pub struct LogReader {
    consumer: BaseConsumer,
    topic: *mut rd_kafka_topic_t,
    queue: *mut rd_kafka_queue_t,
    started: BTreeSet<i32>,
    run: u64,
}

// SAFETY: librdkafka's handles may be used from any thread; nothing here is tied to one.
unsafe impl Send for LogReader {}

impl LogReader {
    /// Starts to read each partition at its offset. Nothing is waited for.
    ///
    /// # Errors
    /// Where librdkafka refuses the configuration or a partition.
    pub fn start(
        settings: &ClientSettings,
        topic: &str,
        run: u64,
        from: &[(i32, i64)],
    ) -> Result<Self, ReadError> {
        let consumer: BaseConsumer = settings.reader().create()?;
        let native = consumer.client().native_ptr();
        let name = CString::new(topic).expect("our topic names hold no NUL");
        // SAFETY: the client outlives topic and queue (they are released before it in `drop`),
        // and a null configuration means the client's defaults.
        let (topic_handle, queue) = unsafe {
            (
                rd_kafka_topic_new(native, name.as_ptr(), std::ptr::null_mut()),
                rd_kafka_queue_new(native),
            )
        };
        assert!(!queue.is_null(), "librdkafka always makes a queue");
        let mut reader = Self {
            consumer,
            topic: topic_handle,
            queue,
            started: BTreeSet::new(),
            run,
        };
        for &(partition, offset) in from {
            reader.start_one(topic, partition, offset)?;
        }
        Ok(reader)
    }

    fn start_one(&mut self, topic: &str, partition: i32, offset: i64) -> Result<(), ReadError> {
        let refused = ReadError::Start {
            topic: topic.to_owned(),
            partition,
            offset,
        };
        if self.topic.is_null() || !self.started.insert(partition) {
            return Err(refused);
        }
        // SAFETY: topic and queue are alive, and the partition was not started before.
        let code =
            unsafe { rd_kafka_consume_start_queue(self.topic, partition, offset, self.queue) };
        if code == 0 { Ok(()) } else { Err(refused) }
    }

    /// Returns as soon as something was delivered, at the latest after `within`.
    pub fn poll(&mut self, within: Duration) -> Received {
        let messages = NativeMessages::take(self.queue, within);
        let mut received = Received::default();
        for message in messages.iter() {
            self.sort_in(message, &mut received);
        }
        // Serves librdkafka's own events; errors of single brokers end nothing.
        while let Some(event) = self.consumer.poll(Duration::ZERO) {
            if let Err(error) = event {
                tracing::debug!("librdkafka: {error}");
            }
        }
        received
    }

    fn sort_in(&self, message: &rd_kafka_message_t, received: &mut Received) {
        let (partition, offset) = (message.partition, message.offset);
        if !message.err.is_error() {
            let payload: &[u8] = if message.payload.is_null() {
                &[]
            } else {
                // SAFETY: librdkafka's payload is `len` bytes, alive as long as the message.
                unsafe { std::slice::from_raw_parts(message.payload.cast(), message.len) }
            };
            received.bytes += payload.len() as u64;
            received.records.push(Polled {
                partition,
                offset,
                value: value::decode(payload, self.run, partition).map_err(|c| c.to_string()),
            });
            return;
        }
        let code = RDKafkaErrorCode::from(message.err);
        if code == RDKafkaErrorCode::PartitionEOF {
            received.ends.push((partition, offset));
            return;
        }
        received.problems.push(ReadProblem {
            partition: (partition >= 0).then_some(partition),
            code: code_name(code),
            message: code_text(code),
            ends: ends_reading(code),
        });
    }
}

/// After these librdkafka does not go on by itself.
fn ends_reading(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::AutoOffsetReset
            | RDKafkaErrorCode::LogTruncation
            | RDKafkaErrorCode::OffsetOutOfRange
            | RDKafkaErrorCode::UnknownPartition
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::Fatal
    )
}

impl Drop for LogReader {
    fn drop(&mut self) {
        // SAFETY: each started partition is stopped once, then queue and topic are released once;
        // the client is dropped after this body.
        unsafe {
            for &partition in &self.started {
                rd_kafka_consume_stop(self.topic, partition);
            }
            rd_kafka_queue_destroy(self.queue);
            if !self.topic.is_null() {
                rd_kafka_topic_destroy(self.topic);
            }
        }
    }
}

/// Messages that librdkafka lent us.
struct NativeMessages {
    pointers: Vec<*mut rd_kafka_message_t>,
}

impl NativeMessages {
    fn take(queue: *mut rd_kafka_queue_t, within: Duration) -> Self {
        let mut pointers = vec![std::ptr::null_mut(); BATCH];
        let timeout_ms = i32::try_from(within.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the queue is alive and the buffer holds `BATCH` pointers.
        let count = unsafe {
            rd_kafka_consume_batch_queue(queue, timeout_ms, pointers.as_mut_ptr(), BATCH)
        };
        pointers.truncate(usize::try_from(count).unwrap_or(0));
        Self { pointers }
    }

    fn iter(&self) -> impl Iterator<Item = &rd_kafka_message_t> {
        // SAFETY: each pointer is a message that is ours until `drop`.
        self.pointers.iter().map(|message| unsafe { &**message })
    }
}

impl Drop for NativeMessages {
    fn drop(&mut self) {
        for message in &self.pointers {
            // SAFETY: each message is destroyed once.
            unsafe { rd_kafka_message_destroy(*message) };
        }
    }
}

#[cfg(test)]
#[path = "reader_test.rs"]
mod tests;
