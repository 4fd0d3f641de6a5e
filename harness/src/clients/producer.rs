//! Sends a batch and waits until the fate of each of its messages is known.
//!
//! Invariant: every message of a batch has exactly one fate when the batch is over. A message
//! whose report never came (the client was told to give up) is [`Fate::Unknown`].

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::bindings::{rd_kafka_message_status, rd_kafka_msg_status_t};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::Message as _;
use rdkafka::producer::{
    BaseProducer, BaseRecord, DeliveryResult, NoCustomPartitioner, Producer as _, ProducerContext,
    PurgeConfig,
};
use rdkafka::types::RDKafkaErrorCode;
use tokio::time::Instant;

use super::{BatchOutcome, ClientSettings, Fate, conclude};
use crate::value::{self, Identity};

/// Reports are waited for a little longer than librdkafka needs to give a message up.
const REPORT_SLACK: Duration = Duration::from_secs(3);

/// A message to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Where to.
    pub partition: i32,
    /// Unique in its partition.
    pub value: i64,
    /// Size of its payload.
    pub bytes: usize,
}

/// A message's fate, and when it was heard of.
type Heard = Option<(Fate, Instant)>;

/// Hears of each message's fate, on the thread that polls.
struct Reports {
    heard: Mutex<Vec<(usize, Fate, Instant)>>,
}

impl ClientContext for Reports {
    fn log(&self, level: rdkafka::config::RDKafkaLogLevel, _: &str, message: &str) {
        tracing::debug!(?level, "librdkafka: {message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!("librdkafka: {error}: {reason}");
    }
}

impl ProducerContext<NoCustomPartitioner> for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: usize) {
        let fate = match result {
            // A negative offset on success is no offset.
            Ok(message) => Fate::Acknowledged(Some(message.offset()).filter(|o| *o >= 0)),
            Err((error, message)) => {
                let code = error
                    .rdkafka_error_code()
                    .unwrap_or(RDKafkaErrorCode::Unknown);
                // SAFETY: the message is borrowed for as long as this call, and is not changed.
                let status = unsafe { rd_kafka_message_status(message.ptr()) };
                fate_of(status, code)
            }
        };
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.push((ticket, fate, Instant::now()));
    }
}

fn fate_of(status: rd_kafka_msg_status_t, code: RDKafkaErrorCode) -> Fate {
    match status {
        rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_NOT_PERSISTED => Fate::NotPersisted(code),
        // Persisted, but reported with an error: the offset is unknown all the same.
        rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_PERSISTED
        | rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_POSSIBLY_PERSISTED => Fate::Unknown(code),
    }
}

/// One librdkafka producer, used by one process of the history.
pub struct BatchProducer {
    inner: BaseProducer<Reports, NoCustomPartitioner>,
    delivery_timeout: Duration,
    /// Tickets of the current batch begin here, so that a late report of an earlier one is told
    /// apart.
    first_ticket: usize,
}

impl BatchProducer {
    /// A new producer; it connects in the background.
    ///
    /// # Errors
    /// Where librdkafka refuses the configuration.
    pub fn new(settings: &ClientSettings) -> KafkaResult<Self> {
        let reports = Reports {
            heard: Mutex::new(Vec::new()),
        };
        Ok(Self {
            inner: settings.producer().create_with_context(reports)?,
            delivery_timeout: settings.delivery_timeout,
            first_ticket: 0,
        })
    }

    /// Sends the messages in order, and returns when the fate of each is known. `give_up` is
    /// asked now and then; once it says so, what is still open is taken back (and is unknown if
    /// it had left).
    pub fn send_batch(
        &mut self,
        topic: &str,
        run: u64,
        batch: &[Outgoing],
        give_up: &(dyn Fn() -> bool + Send + Sync),
    ) -> BatchOutcome {
        let mut fates: Vec<Heard> = vec![None; batch.len()];
        let mut open = batch.len();
        let mut payload = Vec::new();
        for (i, message) in batch.iter().enumerate() {
            let identity = Identity {
                run,
                partition: message.partition,
                value: message.value,
            };
            value::encode(&mut payload, identity, message.bytes);
            if let Err(fate) = self.enqueue(topic, message.partition, &payload, i, give_up) {
                fates[i] = Some((fate, Instant::now()));
                open -= 1;
            }
            if i % 256 == 255 {
                self.inner.poll(Duration::ZERO);
                open -= self.collect(&mut fates);
            }
        }
        self.await_reports(&mut fates, open, give_up);
        self.first_ticket += batch.len();
        let unheard = Fate::Unknown(RDKafkaErrorCode::MessageTimedOut);
        let acknowledged = |heard: &Heard| match heard {
            Some((Fate::Acknowledged(_), at)) => Some(*at),
            _ => None,
        };
        let heard = fates.iter().map(acknowledged).collect();
        let fates = fates
            .into_iter()
            .map(|f| f.map_or(unheard, |(fate, _)| fate));
        BatchOutcome {
            heard,
            ..conclude(fates.collect())
        }
    }

    /// Hands one message to librdkafka, and waits for room in its queue if need be.
    fn enqueue(
        &self,
        topic: &str,
        partition: i32,
        payload: &[u8],
        index: usize,
        give_up: &(dyn Fn() -> bool + Send + Sync),
    ) -> Result<(), Fate> {
        let deadline = Instant::now() + self.delivery_timeout;
        let ticket = self.first_ticket + index;
        let mut record = BaseRecord::<(), [u8], usize>::with_opaque_to(topic, ticket)
            .partition(partition)
            .payload(payload);
        loop {
            let (error, returned) = match self.inner.send(record) {
                Ok(()) => return Ok(()),
                Err(refused) => refused,
            };
            let code = error
                .rdkafka_error_code()
                .unwrap_or(RDKafkaErrorCode::Unknown);
            // What never entered the queue certainly never left it.
            if code != RDKafkaErrorCode::QueueFull || Instant::now() > deadline || give_up() {
                return Err(Fate::NotPersisted(code));
            }
            self.inner.poll(Duration::from_millis(10));
            record = returned;
        }
    }

    fn await_reports(
        &self,
        fates: &mut [Heard],
        mut open: usize,
        give_up: &(dyn Fn() -> bool + Send + Sync),
    ) {
        let mut deadline = Instant::now() + self.delivery_timeout + REPORT_SLACK;
        let mut purged = false;
        open -= self.collect(fates);
        while open > 0 && Instant::now() < deadline {
            self.inner.poll(Duration::from_millis(20));
            open -= self.collect(fates);
            if !purged && give_up() {
                purged = true;
                self.inner.purge(PurgeConfig::default().queue().inflight());
                deadline = Instant::now() + REPORT_SLACK;
            }
        }
    }

    /// Takes over what was reported, and returns how many messages of this batch it was about.
    fn collect(&self, fates: &mut [Heard]) -> usize {
        let reports = self.inner.client().context();
        let heard = {
            let mut heard = reports.heard.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *heard)
        };
        let mut mine = 0;
        for (ticket, fate, at) in heard {
            let Some(index) = ticket.checked_sub(self.first_ticket) else {
                continue;
            };
            if let Some(slot) = fates.get_mut(index) {
                assert!(slot.is_none(), "librdkafka reports each message once");
                *slot = Some((fate, at));
                mine += 1;
            }
        }
        mine
    }
}

#[cfg(test)]
#[path = "producer_test.rs"]
mod tests;
