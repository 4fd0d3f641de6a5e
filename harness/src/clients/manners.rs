//! How our own clients behave, where real ones differ from each other; and what they were told
//! that no broker may tell a client that keeps the protocol.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clap::ValueEnum;

/// What a reader does when its position is out of the log's range (`auto.offset.reset`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OffsetReset {
    /// It ends.
    #[default]
    Error,
    /// It goes on at the log's start.
    Earliest,
    /// It goes on at the log's end.
    Latest,
}

/// The behaviour of our own clients; librdkafka's is its configuration's.
#[derive(Clone, Debug)]
pub struct Manners {
    /// A producer's request without an answer for so long is given up, with its connection, and
    /// sent again (`socket.timeout.ms`).
    pub answer_within: Duration,
    /// Record batches of one partition on their way at once
    /// (`max.in.flight.requests.per.connection`).
    pub pipeline: usize,
    /// See [`OffsetReset`].
    pub reset: OffsetReset,
    /// A reader now and then forgets its offset, and finds it again by the next record's time.
    pub seeks_by_time: bool,
    /// How long a fetch may wait for records (`fetch.wait.max.ms`).
    pub fetch_wait: Duration,
    /// Where they say what broke the protocol.
    pub breaches: Breaches,
}

impl Default for Manners {
    fn default() -> Self {
        Self {
            answer_within: Duration::from_millis(4000),
            pipeline: 1,
            reset: OffsetReset::Error,
            seeks_by_time: false,
            fetch_wait: Duration::from_millis(200),
            breaches: Breaches::default(),
        }
    }
}

/// Something that a client was told, and that no correct broker says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// Its name, beside those of anomalies.
    pub name: &'static str,
    /// What happened.
    pub what: String,
}

/// All breaches that the clients of a run met. Cheap to clone; all clones are one list.
#[derive(Clone, Debug, Default)]
pub struct Breaches(Arc<Mutex<Vec<Breach>>>);

impl Breaches {
    /// Notes one.
    pub fn note(&self, name: &'static str, what: String) {
        self.list().push(Breach { name, what });
    }

    /// Those that were noted so far, in order; the list is empty afterwards.
    #[must_use]
    pub fn take(&self) -> Vec<Breach> {
        std::mem::take(&mut *self.list())
    }

    fn list(&self) -> MutexGuard<'_, Vec<Breach>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
