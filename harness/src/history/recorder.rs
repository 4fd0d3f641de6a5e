//! Writes the history as it happens: one thread, one order, one file.
//!
//! Time and place in the order are taken together under one short lock, so that the file is in
//! real-time order; turning events into JSON and writing them is the thread's work, never a
//! client's. What was recorded is in the file within [`FLUSH_EVERY`], and at once after
//! [`Recorder::flush`]: the history of a harness that was killed is whole up to its last moment.
//! The queue is bounded: a client waits for room, but never longer than [`ROOM_WITHIN`], after
//! which the recording has failed and says so; nothing is dropped in silence.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::alarm::{Post, Sentry, Violation};
use super::{Event, Memory};

/// No event stays out of the file for longer.
pub const FLUSH_EVERY: Duration = Duration::from_millis(50);
/// A client waits for room in the queue this long at most.
pub const ROOM_WITHIN: Duration = Duration::from_secs(10);
/// Memory that queued events may hold, in bytes (a batch of 5,000 is some 120 kB).
const QUEUE_BYTES_MAX: usize = 256 << 20;
/// The writer hands over to the file when this much is buffered.
const WRITE_BYTES: usize = 1 << 20;

/// The history could not be written: what it holds so far can still be checked.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the history {path} cannot be written: {why}; free some room there and run again")]
pub struct HistoryError {
    path: PathBuf,
    why: String,
}

struct Queue {
    events: VecDeque<(u64, Event)>,
    weight: usize,
    /// Index of the next event.
    next: u64,
    /// Events that are in the file.
    written: u64,
    closed: bool,
    flush: bool,
    failure: Option<HistoryError>,
}

struct Shared {
    path: PathBuf,
    started: Instant,
    queue: Mutex<Queue>,
    /// There is something to write.
    work: Condvar,
    /// Something was written.
    progress: Condvar,
    failed: AtomicBool,
}

/// Where clients record what they do; cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    sink: Sink,
}

#[derive(Clone)]
enum Sink {
    /// A file, written by a thread.
    File(Arc<Shared>),
    /// Memory, written at once: one thread and a clock that is not the system's.
    Memory(Memory),
}

/// The writing thread; [`RecorderThread::finish`] waits for its last line.
pub struct RecorderThread {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// Creates the file and starts to write to it.
///
/// # Errors
/// Where the file cannot be created.
pub fn start(path: &Path) -> Result<(Recorder, RecorderThread), HistoryError> {
    begin(path, None)
}

/// The same; a sentry looks at each event on a thread of its own.
///
/// # Errors
/// Where the file cannot be created.
pub fn start_watched(
    path: &Path,
    sentry: Sentry,
) -> Result<(Recorder, RecorderThread, Violation), HistoryError> {
    let (post, violation) = Post::begin(sentry).map_err(|e| HistoryError {
        path: path.to_owned(),
        why: e.to_string(),
    })?;
    let (recorder, thread) = begin(path, Some(post))?;
    Ok((recorder, thread, violation))
}

fn begin(path: &Path, post: Option<Post>) -> Result<(Recorder, RecorderThread), HistoryError> {
    let fails = |e: io::Error| HistoryError {
        path: path.to_owned(),
        why: e.to_string(),
    };
    let file = File::create(path).map_err(fails)?;
    let shared = Arc::new(Shared {
        path: path.to_owned(),
        started: Instant::now(),
        queue: Mutex::new(Queue {
            events: VecDeque::new(),
            weight: 0,
            next: 0,
            written: 0,
            closed: false,
            flush: false,
            failure: None,
        }),
        work: Condvar::new(),
        progress: Condvar::new(),
        failed: AtomicBool::new(false),
    });
    let for_thread = shared.clone();
    let thread = std::thread::Builder::new()
        .name("recorder".to_owned())
        .spawn(move || write_until_closed(&for_thread, file, post))
        .map_err(fails)?;
    let recorder = Recorder {
        sink: Sink::File(shared.clone()),
    };
    Ok((
        recorder,
        RecorderThread {
            shared,
            thread: Some(thread),
        },
    ))
}

/// A history in memory, for a simulation: it is over in seconds, and its clock is tokio's. A
/// sentry looks at each event before the recording goes on.
#[must_use]
pub fn in_memory(sentry: Option<Sentry>) -> (Recorder, Memory) {
    let memory = Memory::new(sentry);
    let sink = Sink::Memory(memory.clone());
    (Recorder { sink }, memory)
}

impl Recorder {
    /// Records an event at this moment, and returns its index.
    ///
    /// After a failure nothing is recorded any more; [`Recorder::failure`] tells it.
    pub fn record(&self, event: Event) -> u64 {
        match &self.sink {
            Sink::File(shared) => shared.record(event),
            Sink::Memory(memory) => memory.record(&event),
        }
    }

    /// Time since the run began, by the clock of the history.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        match &self.sink {
            Sink::File(shared) => shared.started.elapsed(),
            Sink::Memory(memory) => memory.elapsed(),
        }
    }

    /// Waits until everything recorded so far is in the file.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn flush(&self) -> Result<(), HistoryError> {
        match &self.sink {
            Sink::File(shared) => shared.flush(),
            Sink::Memory(_) => Ok(()),
        }
    }

    /// Why the history cannot be written, if that is so.
    #[must_use]
    pub fn failure(&self) -> Option<HistoryError> {
        match &self.sink {
            Sink::File(shared) if shared.failed.load(Ordering::Acquire) => {
                shared.lock().failure.clone()
            }
            Sink::File(_) | Sink::Memory(_) => None,
        }
    }
}

impl RecorderThread {
    /// Writes what is left, and returns the number of events in the file.
    ///
    /// # Errors
    /// Where the file could not be written.
    pub fn finish(mut self) -> Result<u64, HistoryError> {
        self.close();
        let queue = self.shared.lock();
        queue.failure.clone().map_or(Ok(queue.written), Err)
    }

    fn close(&mut self) {
        self.shared.lock().closed = true;
        self.shared.work.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic of the writer has already been told as a failure of the history.
            let _ = thread.join();
        }
    }
}

impl Drop for RecorderThread {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn record(&self, event: Event) -> u64 {
        let weight = event.weight();
        let mut queue = self.lock();
        let deadline = Instant::now() + ROOM_WITHIN;
        while queue.weight + weight > QUEUE_BYTES_MAX && queue.weight > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || queue.failure.is_some() {
                self.fail(&mut queue, "the disk does not keep up".to_owned());
                return queue.next;
            }
            queue = self
                .progress
                .wait_timeout(queue, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        if queue.failure.is_some() || queue.closed {
            return queue.next;
        }
        let index = queue.next;
        queue.next += 1;
        queue.weight += weight;
        let time = u64::try_from(self.started.elapsed().as_nanos())
            .expect("a run is shorter than 584 years");
        queue.events.push_back((time, event));
        self.work.notify_one();
        index
    }

    fn flush(&self) -> Result<(), HistoryError> {
        let mut queue = self.lock();
        let upto = queue.next;
        queue.flush = true;
        self.work.notify_one();
        while queue.written < upto && queue.failure.is_none() {
            queue = self
                .progress
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
        queue.failure.clone().map_or(Ok(()), Err)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, queue: &mut Queue, why: String) {
        if queue.failure.is_none() {
            queue.failure = Some(HistoryError {
                path: self.path.clone(),
                why,
            });
        }
        self.failed.store(true, Ordering::Release);
        self.progress.notify_all();
    }
}

fn write_until_closed(shared: &Shared, mut file: File, mut post: Option<Post>) {
    let mut index = 0_u64;
    let mut buffer = Vec::with_capacity(2 * WRITE_BYTES);
    let mut unflushed_since: Option<Instant> = None;
    loop {
        let (batch, must_flush, closed) = take_work(shared, unflushed_since);
        let before = buffer.len();
        for (time, event) in &batch {
            event.write_line(index, *time, &mut buffer);
            index += 1;
        }
        if let Some(post) = post.as_mut().filter(|_| !batch.is_empty()) {
            post.hand_over(&buffer[before..]);
        }
        if !batch.is_empty() && unflushed_since.is_none() {
            unflushed_since = Some(Instant::now());
        }
        let due = unflushed_since.is_some_and(|since| since.elapsed() >= FLUSH_EVERY);
        if due || must_flush || closed || buffer.len() >= WRITE_BYTES {
            let result = file.write_all(&buffer);
            buffer.clear();
            unflushed_since = None;
            let mut queue = shared.lock();
            match result {
                Ok(()) => queue.written = index,
                Err(e) => shared.fail(&mut queue, e.to_string()),
            }
            shared.progress.notify_all();
        }
        if closed && batch.is_empty() {
            return;
        }
    }
}

/// The next events to write, whether they must be in the file at once, and whether these are all.
fn take_work(shared: &Shared, unflushed_since: Option<Instant>) -> (Vec<(u64, Event)>, bool, bool) {
    let mut queue = shared.lock();
    while queue.events.is_empty() && !queue.flush && !queue.closed {
        let wait = match unflushed_since {
            None => Duration::from_secs(1),
            Some(since) => FLUSH_EVERY.saturating_sub(since.elapsed()),
        };
        if wait.is_zero() {
            break;
        }
        queue = shared
            .work
            .wait_timeout(queue, wait)
            .unwrap_or_else(PoisonError::into_inner)
            .0;
    }
    // Bounded pieces, so that room in the queue appears while a long backlog is written.
    let take = queue.events.len().min(256);
    let batch: Vec<_> = queue.events.drain(..take).collect();
    let weight: usize = batch.iter().map(|(_, event)| event.weight()).sum();
    queue.weight -= weight;
    let must_flush = queue.flush && queue.events.is_empty();
    if must_flush {
        queue.flush = false;
    }
    (batch, must_flush, queue.closed)
}

#[cfg(test)]
#[path = "recorder_test.rs"]
mod tests;
