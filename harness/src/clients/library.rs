//! The client library that a run's clients are made of: librdkafka everywhere but in a
//! simulation, where it is our own. The workload is the same code over either.
//!
//! librdkafka's calls block their thread, so a future over them is ready when it is first polled
//! ([`finished`]); work that is to go on beside other work has a thread of its own ([`beside`]).

use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::oneshot;

use super::own::{OwnProducer, OwnReader};
use super::{BatchOutcome, BatchProducer, ClientSettings, LogReader, Outgoing, Received};

/// Which library.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Library {
    /// librdkafka, which everybody uses.
    #[default]
    Librdkafka,
    /// Ours, which lives on the runtime that it is polled by.
    Own,
}

/// A producer of either library; see [`BatchProducer`].
pub enum Producer {
    /// librdkafka's.
    Librdkafka(Box<BatchProducer>),
    /// Ours.
    Own(Box<OwnProducer>),
}

impl Producer {
    /// A new producer.
    ///
    /// # Errors
    /// Where librdkafka refuses the configuration; why.
    pub fn new(settings: &ClientSettings) -> Result<Self, String> {
        match settings.library {
            Library::Own => Ok(Self::Own(Box::new(OwnProducer::new(settings)))),
            Library::Librdkafka => match BatchProducer::new(settings) {
                Ok(producer) => Ok(Self::Librdkafka(Box::new(producer))),
                Err(error) => Err(error.to_string()),
            },
        }
    }

    /// Sends the messages in order, and returns when the fate of each is known.
    pub async fn send_batch(
        &mut self,
        topic: &str,
        run: u64,
        batch: &[Outgoing],
        give_up: &(dyn Fn() -> bool + Send + Sync),
    ) -> BatchOutcome {
        match self {
            Self::Librdkafka(producer) => producer.send_batch(topic, run, batch, give_up),
            Self::Own(producer) => producer.send_batch(topic, run, batch, give_up).await,
        }
    }
}

/// A reader of either library; see [`LogReader`].
pub enum Reader {
    /// librdkafka's.
    Librdkafka(Box<LogReader>),
    /// Ours.
    Own(Box<OwnReader>),
}

impl Reader {
    /// Starts to read each partition at its offset.
    ///
    /// # Errors
    /// Where librdkafka refuses the configuration or a partition; why.
    pub fn start(
        settings: &ClientSettings,
        topic: &str,
        run: u64,
        from: &[(i32, i64)],
    ) -> Result<Self, String> {
        match settings.library {
            Library::Own => {
                let reader = OwnReader::start(settings, topic, run, from);
                Ok(Self::Own(Box::new(reader)))
            }
            Library::Librdkafka => match LogReader::start(settings, topic, run, from) {
                Ok(reader) => Ok(Self::Librdkafka(Box::new(reader))),
                Err(error) => Err(error.to_string()),
            },
        }
    }

    /// Returns as soon as something was delivered, at the latest after `within`.
    pub async fn poll(&mut self, within: Duration) -> Received {
        match self {
            Self::Librdkafka(reader) => reader.poll(within),
            Self::Own(reader) => reader.poll(within).await,
        }
    }
}

/// The result of work with librdkafka's clients, which block instead of waiting.
///
/// # Panics
/// Where it waits: clients of our own need a runtime.
pub fn finished<T>(work: impl Future<Output = T>) -> T {
    let done = work.now_or_never();
    done.expect("librdkafka's clients block, they do not wait")
}

/// Does work with clients of `library` beside whatever else the runtime does.
///
/// # Panics
/// Where the work panics, or the operating system gives no thread: both are ours to mend.
pub async fn beside<T: Send + 'static>(
    library: Library,
    name: &str,
    work: impl Future<Output = T> + Send + 'static,
) -> T {
    if library == Library::Own {
        return work.await;
    }
    let (done, result) = oneshot::channel();
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            // Nobody waits any more only where the whole run is being torn down.
            let _ = done.send(finished(work));
        })
        .expect("the system gives a thread");
    result.await.expect("the work does not panic")
}
