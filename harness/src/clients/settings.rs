//! How librdkafka is set up: to notice a fault within seconds, and to be certain.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use rdkafka::ClientConfig;

use super::Library;

/// What a producer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    /// Nothing.
    Zero,
    /// The leader.
    One,
    /// Every in-sync replica.
    All,
}

impl fmt::Display for Acks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Acks::Zero => "0",
            Acks::One => "1",
            Acks::All => "all",
        })
    }
}

impl FromStr for Acks {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "0" => Ok(Acks::Zero),
            "1" => Ok(Acks::One),
            "all" | "-1" => Ok(Acks::All),
            other => Err(format!("`{other}` is none of 0, 1, all")),
        }
    }
}

/// What producers and readers of one run have in common.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// `bootstrap.servers`.
    pub bootstrap: String,
    /// What producers wait for.
    pub acks: Acks,
    /// `enable.idempotence`; needs [`Acks::All`].
    pub idempotence: bool,
    /// A message that is not acknowledged for this long is given up (`message.timeout.ms`).
    pub delivery_timeout: Duration,
    /// What the clients are made of.
    pub library: Library,
}

/// A leader that cannot commit holds a request back for this long, and no longer: then the
/// client asks again who leads.
const REQUEST_TIMEOUT_MS: &str = "3000";

impl ClientSettings {
    fn common(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.bootstrap)
            .set("client.id", "harness")
            .set("socket.timeout.ms", "4000")
            .set("socket.connection.setup.timeout.ms", "2000")
            .set("socket.keepalive.enable", "true")
            .set("socket.nagle.disable", "true")
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "500")
            .set("topic.metadata.refresh.interval.ms", "1000")
            .set("topic.metadata.refresh.fast.interval.ms", "100")
            .set("topic.metadata.propagation.max.ms", "10000")
            .set("metadata.max.age.ms", "3000")
            .set("retry.backoff.ms", "100")
            .set("retry.backoff.max.ms", "500")
            .set("api.version.request.timeout.ms", "3000")
            .set("allow.auto.create.topics", "false")
            // Disconnections are what we cause: outcomes tell them, the log need not.
            .set("log.connection.close", "false")
            .set_log_level(rdkafka::config::RDKafkaLogLevel::Critical);
        config
    }

    /// The configuration of a producer.
    #[must_use]
    pub fn producer(&self) -> ClientConfig {
        let mut config = self.common();
        let timeout = self.delivery_timeout.as_millis().to_string();
        config
            .set("acks", self.acks.to_string())
            .set("enable.idempotence", self.idempotence.to_string())
            .set("message.timeout.ms", timeout)
            .set("request.timeout.ms", REQUEST_TIMEOUT_MS)
            .set("max.in.flight.requests.per.connection", "5")
            .set("message.send.max.retries", "2147483647")
            .set("linger.ms", "5")
            .set("batch.num.messages", "10000")
            .set("batch.size", "1000000")
            .set("queue.buffering.max.messages", "200000")
            .set("queue.buffering.max.kbytes", "524288")
            .set("compression.type", "none");
        if !self.idempotence {
            // What idempotence gives for free: a retry must not overtake a later batch.
            config.set("max.in.flight.requests.per.connection", "1");
        }
        config
    }

    /// The configuration of a reader. There is no `group.id`, so no coordinator is ever asked.
    #[must_use]
    pub fn reader(&self) -> ClientConfig {
        let mut config = self.common();
        config
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            // A reset is never silent: it ends the reader, and the history tells it.
            .set("auto.offset.reset", "error")
            .set("check.crcs", "true")
            .set("isolation.level", "read_committed")
            .set("fetch.error.backoff.ms", "50")
            .set("fetch.wait.max.ms", "200")
            .set("fetch.min.bytes", "1")
            .set("fetch.message.max.bytes", "4194304")
            .set("fetch.max.bytes", "16777216")
            .set("queued.min.messages", "20000")
            .set("queued.max.messages.kbytes", "65536");
        config
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::producer::{BaseProducer, DefaultProducerContext};

    use super::*;

    #[test]
    fn librdkafka_takes_every_setting() {
        for (acks, idempotence) in [(Acks::All, true), (Acks::One, false), (Acks::Zero, false)] {
            let settings = ClientSettings {
                bootstrap: "127.0.0.1:1".to_owned(),
                acks,
                idempotence,
                delivery_timeout: Duration::from_secs(30),
                library: Library::Librdkafka,
            };
            let created = settings
                .producer()
                .create_with_context::<_, BaseProducer<_>>(DefaultProducerContext);
            assert!(created.is_ok(), "{acks}: {:?}", created.err());
            let reader: Result<rdkafka::consumer::BaseConsumer, _> = settings.reader().create();
            assert!(reader.is_ok(), "{:?}", reader.err());
        }
    }

    #[test]
    fn acks_are_read_as_kafka_writes_them() {
        assert_eq!("all".parse(), Ok(Acks::All));
        assert_eq!("-1".parse(), Ok(Acks::All));
        assert_eq!("1".parse(), Ok(Acks::One));
        assert!("2".parse::<Acks>().is_err());
    }
}
