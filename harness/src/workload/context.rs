//! What all clients of a run share.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::clients::{ClientSettings, Library};
use crate::history::{Event, Kind, Process, Recorder, Value};

/// Counters for progress and for the end of the main phase; the verdict never rests on them.
#[derive(Debug, Default)]
pub struct Stats {
    /// Messages whose send was invoked.
    pub invoked: AtomicU64,
    /// Messages acknowledged.
    pub acknowledged: AtomicU64,
    /// Messages that certainly were not persisted.
    pub failed: AtomicU64,
    /// Messages whose fate is unknown.
    pub unknown: AtomicU64,
    /// Records polled at an offset not seen before, by the consumers of the main phase.
    pub polled: AtomicU64,
    /// Records read by the current drain.
    pub drained: AtomicU64,
    /// Records whose checksum or identity was wrong.
    pub corrupt: AtomicU64,
}

impl Stats {
    /// Acknowledged messages that no consumer of the main phase has read yet.
    #[must_use]
    pub fn unseen(&self) -> u64 {
        let acknowledged = self.acknowledged.load(Ordering::Relaxed);
        acknowledged.saturating_sub(self.polled.load(Ordering::Relaxed))
    }
}

/// Shared by the clients of one topic; cheap to clone.
#[derive(Clone)]
pub struct Clients {
    /// Where operations are recorded.
    pub recorder: Recorder,
    /// How librdkafka is set up.
    pub settings: ClientSettings,
    /// The topic, fresh in this run.
    pub topic: Arc<str>,
    /// Its number of partitions.
    pub partitions: i32,
    /// Tells this run's messages from another's.
    pub run: u64,
    /// Progress.
    pub stats: Arc<Stats>,
    /// Process numbers are unique in a run, over all its topics.
    next_process: Arc<AtomicU64>,
    /// By partition, the first offset that no consumer of the main phase has read.
    seen_to: Arc<Vec<AtomicI64>>,
    /// By partition, the first offset behind everything acknowledged.
    acknowledged_to: Arc<Vec<AtomicI64>>,
    control: Arc<Control>,
}

/// How a group of clients is told to stop.
#[derive(Debug, Default)]
struct Control {
    /// No further operations begin.
    stop: AtomicBool,
    /// Operations under way are given up.
    abandon: AtomicBool,
    waiting: Mutex<()>,
    stopped: Condvar,
    /// The same for those who wait without a thread.
    told: Notify,
}

fn from_zero(partitions: i32) -> Arc<Vec<AtomicI64>> {
    Arc::new((0..partitions).map(|_| AtomicI64::new(0)).collect())
}

impl Clients {
    /// Clients of `topic`, with process numbers from 0.
    #[must_use]
    pub fn new(
        recorder: Recorder,
        settings: ClientSettings,
        topic: Arc<str>,
        partitions: i32,
        run: u64,
    ) -> Self {
        Self {
            recorder,
            settings,
            topic,
            partitions,
            run,
            stats: Arc::new(Stats::default()),
            next_process: Arc::new(AtomicU64::new(0)),
            seen_to: from_zero(partitions),
            acknowledged_to: from_zero(partitions),
            control: Arc::new(Control::default()),
        }
    }

    /// The same clients on another topic of the same run; process numbers go on.
    #[must_use]
    pub fn on_topic(&self, topic: Arc<str>) -> Self {
        Self {
            topic,
            stats: Arc::new(Stats::default()),
            seen_to: from_zero(self.partitions),
            acknowledged_to: from_zero(self.partitions),
            control: Arc::new(Control::default()),
            ..self.clone()
        }
    }

    /// The same clients as a group that is stopped on its own.
    #[must_use]
    pub fn group(&self) -> Self {
        Self {
            control: Arc::new(Control::default()),
            ..self.clone()
        }
    }

    /// A process number that was never used.
    #[must_use]
    pub fn new_process(&self) -> Process {
        Process::Client(self.next_process.fetch_add(1, Ordering::Relaxed))
    }

    /// The key of a partition in the history.
    #[must_use]
    pub fn key(&self, partition: i32) -> String {
        format!("{}-{partition}", self.topic)
    }

    /// Records one event.
    pub fn record(&self, process: Process, kind: Kind, f: &'static str, value: Value) {
        self.recorder.record(Event::new(process, kind, f, value));
    }

    /// Lets operations under way end, and no further ones begin.
    pub fn stop(&self) {
        let _guard = self
            .control
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.control.stop.store(true, Ordering::Release);
        self.control.stopped.notify_all();
        self.control.told.notify_waiters();
    }

    /// Gives up what is under way, as well.
    pub fn abandon(&self) {
        self.control.abandon.store(true, Ordering::Release);
        self.stop();
    }

    /// Whether no further operations may begin.
    #[must_use]
    pub fn stopping(&self) -> bool {
        self.control.stop.load(Ordering::Acquire) || self.recorder.failure().is_some()
    }

    /// Whether operations under way are to be given up.
    #[must_use]
    pub fn abandoned(&self) -> bool {
        self.control.abandon.load(Ordering::Acquire)
    }

    /// Waits for `pause`, or less if the clients are stopped; returns whether they are.
    pub async fn wait(&self, pause: Duration) -> bool {
        if self.settings.library == Library::Librdkafka {
            return self.block(pause);
        }
        let told = self.control.told.notified();
        if !self.stopping() && !pause.is_zero() {
            // An error says that the pause is over.
            let _ = tokio::time::timeout(pause, told).await;
        }
        self.stopping()
    }

    fn block(&self, pause: Duration) -> bool {
        let guard = self
            .control
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if !self.stopping() && !pause.is_zero() {
            let waited = self
                .control
                .stopped
                .wait_timeout_while(guard, pause, |()| !self.stopping());
            drop(waited.unwrap_or_else(PoisonError::into_inner));
        }
        self.stopping()
    }

    /// Notes that `offset` of `partition` was acknowledged.
    pub fn note_acknowledged(&self, partition: i32, offset: i64) {
        let slot = usize::try_from(partition)
            .ok()
            .and_then(|p| self.acknowledged_to.get(p));
        if let Some(to) = slot {
            to.fetch_max(offset.saturating_add(1), Ordering::Relaxed);
        }
    }

    /// By partition, the first offset behind everything acknowledged: no end may lie before it.
    #[must_use]
    pub fn acknowledged_to(&self) -> Vec<i64> {
        let each = self.acknowledged_to.iter();
        each.map(|to| to.load(Ordering::Relaxed)).collect()
    }

    /// Notes that `offset` of `partition` was read; counts it if it is new.
    pub fn note_polled(&self, partition: i32, offset: i64) {
        let slot = usize::try_from(partition)
            .ok()
            .and_then(|p| self.seen_to.get(p));
        let is_new = slot.is_some_and(|seen_to| {
            seen_to.fetch_max(offset.saturating_add(1), Ordering::Relaxed) <= offset
        });
        if is_new {
            self.stats.polled.fetch_add(1, Ordering::Relaxed);
        }
    }
}
