//! Group commit: the queue in front of the WAL's writer, and what drives it.
//!
//! Whoever appends puts a frame into the queue and gets its LSN at once. While one group is being
//! written and synced the next one gathers, so that the number of fdatasyncs does not depend on
//! the number of appends. When a group is held, the ends are published, then each partition that
//! had a frame in it is told once, in LSN order.
//!
//! Locks: `queue`, held for a push or a take, never during IO; `writer`, held by whoever drives
//! (the committer thread, or a test), never taken with `queue` held.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use super::extent::Cached;
use super::frame::Payload;
use super::keeper::Keeper;
use super::metrics::LogMetrics;
use super::store::OnHeld;
use super::wal::{Frame, Lack, Wal, WalError};
use crate::locks::{Condvar, Lock, Mutex, MutexGuard};
use crate::types::{Durability, Lsn, Offset};

/// Bytes of one group at most (a single larger frame is a group by itself).
const GROUP_BYTES_MAX: usize = 16 << 20;

/// How often a full disk is looked at again.
const FULL_POLL: Duration = Duration::from_millis(250);

/// The open log of a partition, as the committer knows it.
pub(super) struct Owner {
    pub on_held: OnHeld,
    /// Set before the deletion's frame is queued: nothing of the partition may follow it.
    pub deleted: AtomicBool,
    /// For the next checkpoint.
    pub high_watermark: AtomicI64,
    /// The last group in which it was told, so that it is told once a group.
    told_in: AtomicU64,
}

impl Owner {
    pub fn new(on_held: OnHeld, high_watermark: Offset) -> Arc<Self> {
        Arc::new(Self {
            on_held,
            high_watermark: AtomicI64::new(high_watermark.get()),
            deleted: AtomicBool::new(false),
            told_in: AtomicU64::new(0),
        })
    }
}

/// Who hears that a frame is held, and the memory that may be given back from then on.
#[derive(Clone, Default)]
pub(super) struct Receipt {
    pub owner: Option<Arc<Owner>>,
    pub cached: Option<Arc<Cached>>,
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Receipt")
    }
}

/// Why a frame was not taken into the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Lacks(Lack),
    Deleted,
    Closed(String),
}

/// Called once, with the reason, when nothing can be written any more.
pub(super) type OnFatal = Box<dyn Fn(&str) + Send + Sync>;

struct Queue {
    frames: Vec<Frame>,
    next: Lsn,
    /// Why nothing can be written for now.
    lack: Option<Lack>,
    /// Why nothing is taken any more.
    closed: Option<String>,
    /// The driver is done: nothing more will be written. `Err`: something was not.
    finished: Option<Result<(), String>>,
}

struct Writer {
    wal: Wal,
    keeper: Keeper,
    /// Taken from the queue, not written yet: more than one group, or left by a full disk.
    pending: VecDeque<Frame>,
    /// Written batches still in memory, oldest first.
    cached: VecDeque<(Arc<Cached>, usize)>,
    cached_bytes: usize,
    group: u64,
    /// Nothing may be written or synced any more.
    failed: bool,
}

/// How a committer is set up.
pub(super) struct CommitterConfig {
    pub durability: Durability,
    pub cache_bytes: usize,
    pub queue_bytes: usize,
    /// Says whether the disk has too little room for appends.
    pub disk_is_full: Box<dyn Fn() -> bool + Send + Sync>,
    pub on_fatal: OnFatal,
    pub metrics: Arc<LogMetrics>,
}

/// The queue and its driver's state. Shared by all partitions of a store.
pub(super) struct Committer {
    config: CommitterConfig,
    queue: Mutex<Queue>,
    /// There are frames, or the store was closed.
    wake: Condvar,
    finished: Condvar,
    writer: Mutex<Writer>,
    written: AtomicU64,
    durable: AtomicU64,
    room: Notify,
    /// `wake` for a driver that is a task.
    queued: Notify,
}

impl Committer {
    pub fn new(config: CommitterConfig, wal: Wal, keeper: Keeper) -> Arc<Self> {
        let end = wal.written();
        Arc::new(Self {
            config,
            queue: Mutex::new(
                Lock::WalQueue,
                Queue {
                    frames: Vec::new(),
                    next: end,
                    lack: None,
                    closed: None,
                    finished: None,
                },
            ),
            wake: Condvar::default(),
            finished: Condvar::default(),
            writer: Mutex::new(
                Lock::WalWriter,
                Writer {
                    wal,
                    keeper,
                    pending: VecDeque::new(),
                    cached: VecDeque::new(),
                    cached_bytes: 0,
                    group: 0,
                    failed: false,
                },
            ),
            written: AtomicU64::new(end.get()),
            durable: AtomicU64::new(end.get()),
            room: Notify::new(),
            queued: Notify::new(),
        })
    }

    /// End of what survives power loss.
    pub fn durable(&self) -> Lsn {
        Lsn(self.durable.load(Ordering::Acquire))
    }

    /// End of what counts as held in this durability mode.
    pub fn held(&self) -> Lsn {
        match self.config.durability {
            Durability::Fsync => self.durable(),
            Durability::Replicated => Lsn(self.written.load(Ordering::Acquire)),
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock()
    }

    /// Puts a record into the WAL; its frame begins at the LSN that is returned. Appends are
    /// refused on a full disk; the rest is small and waits for room.
    pub fn enqueue(&self, payload: Payload, receipt: Receipt) -> Result<Lsn, Refusal> {
        let bytes = payload.frame_len();
        let mut queue = self.queue();
        if let Some(reason) = &queue.closed {
            return Err(Refusal::Closed(reason.clone()));
        }
        if let Some(lack) = queue.lack.filter(|_| receipt.cached.is_some()) {
            return Err(Refusal::Lacks(lack));
        }
        if let Some(owner) = &receipt.owner
            && owner.deleted.load(Ordering::Acquire)
        {
            return Err(Refusal::Deleted);
        }
        let frame = Frame {
            lsn: queue.next,
            payload,
            receipt,
        };
        let lsn = frame.lsn;
        queue.next = frame.end();
        queue.frames.push(frame);
        self.config.metrics.queued_bytes.add(bytes);
        drop(queue);
        self.wake.notify_one();
        self.queued.notify_one();
        Ok(lsn)
    }

    /// Waits until the queue has room, or until waiting would not help.
    pub async fn wait_for_room(&self) {
        let limit = self.config.queue_bytes as u64;
        loop {
            let freed = self.room.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            let queued = self.config.metrics.queued_bytes.get();
            if queued < limit || self.queue().lack.is_some() || self.queue().closed.is_some() {
                return;
            }
            freed.await;
        }
    }

    /// Takes no more frames. What is queued is still written.
    pub fn stop(&self) {
        let reason = || "it was closed".to_owned();
        self.queue().closed.get_or_insert_with(reason);
        self.wake.notify_all();
        self.queued.notify_one();
        self.room.notify_waiters();
    }

    /// Waits until the driver has written what was queued before [`Self::stop`].
    pub fn wait_finished(&self) -> Result<(), String> {
        let unfinished = |queue: &mut Queue| queue.finished.is_none();
        let queue = self.finished.wait_while(self.queue(), unfinished);
        queue.finished.clone().unwrap_or(Ok(()))
    }

    /// Drives the store until it is closed: the body of the committer's thread.
    pub fn run(&self) {
        let mut more = false;
        loop {
            let mut queue = self.queue();
            while !more && queue.frames.is_empty() && queue.closed.is_none() {
                if queue.lack.is_none() {
                    queue = self.wake.wait(queue);
                    continue;
                }
                queue = self.wake.wait_timeout(queue, FULL_POLL);
                break;
            }
            let stop = queue.closed.is_some() && queue.frames.is_empty();
            drop(queue);
            more = self.commit_group();
            if stop && !more {
                return self.finish();
            }
        }
    }

    /// [`Self::run`] as a task, for simulation: `sync_time` is waited before each group, as if
    /// it were what the disk takes.
    pub async fn drive(self: Arc<Self>, mut sync_time: impl FnMut() -> Duration) {
        let mut more = false;
        loop {
            let (empty, full, closed) = {
                let queue = self.queue();
                let full = queue.lack.is_some();
                (queue.frames.is_empty(), full, queue.closed.is_some())
            };
            if closed && empty && !more {
                return;
            }
            if full {
                let _ = tokio::time::timeout(FULL_POLL, self.queued.notified()).await;
            } else if empty && !more {
                self.queued.notified().await;
                continue;
            }
            tokio::time::sleep(sync_time()).await;
            more = self.commit_group();
        }
    }

    /// Makes everything durable and says that it is done.
    pub fn finish(&self) {
        let mut writer = self.writer.lock();
        let result = match writer.pending.len() {
            _ if writer.failed => Err("it has failed".to_owned()),
            0 => writer.wal.sync().map_err(|error| error.to_string()),
            left => Err(format!("{left} records could not be written")),
        };
        writer.failed |= result.is_err();
        self.publish(&writer.wal);
        drop(writer);
        self.queue().finished = Some(result);
        self.finished.notify_all();
    }

    /// Writes one group. Whether there is more that could be written at once.
    pub fn commit_group(&self) -> bool {
        let mut writer = self.writer.lock();
        if writer.failed {
            return false;
        }
        let frames = std::mem::take(&mut self.queue().frames);
        writer.pending.extend(frames);
        let count = writer.next_group();
        let began = tokio::time::Instant::now();
        let Writer { wal, pending, .. } = &mut *writer;
        let outcome = wal.commit(&pending.make_contiguous()[..count]);
        writer.failed = matches!(outcome, Err(WalError::Failed { .. }));
        let Writer { wal, pending, .. } = &mut *writer;
        self.publish(wal);
        let held = self.held();
        let done = pending.partition_point(|frame| frame.end() <= held);
        if done > 0 {
            let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.config.metrics.commit_micros.record(micros);
        }
        self.complete(&mut writer, done);
        let kept = match outcome.is_ok() {
            true => self.keep(&mut writer),
            false => Ok(false),
        };
        writer.failed |= matches!(kept, Err(WalError::Failed { .. }));
        self.publish(&writer.wal);
        let more = !writer.pending.is_empty() || matches!(kept, Ok(true));
        drop(writer);
        self.settle(outcome.and(kept.map(|_| ()))) && more
    }

    /// Lets the keeper work; whether it queued something.
    fn keep(&self, writer: &mut Writer) -> Result<bool, WalError> {
        let full = self.queue().lack.is_some();
        let mut enqueue = |payload: Payload| {
            let len = payload.frame_len();
            let lsn = self.enqueue(payload, Receipt::default()).ok()?;
            Some((lsn, Lsn(lsn.get() + len)))
        };
        let Writer { wal, keeper, .. } = writer;
        keeper.work(wal, &mut enqueue, full)
    }

    /// Makes the log begin with a record, durably, so that one without any is known to be damaged.
    /// `first` is that record. Before the driver is started. Returns whether it is durable.
    pub fn begin(&self, first: Payload) -> bool {
        let queued = self.enqueue(first, Receipt::default()).is_ok();
        let _ = self.commit_group();
        let mut writer = self.writer.lock();
        let synced = queued && !writer.failed && writer.wal.sync().is_ok();
        self.publish(&writer.wal);
        synced && writer.wal.durable() > Lsn(0)
    }

    /// Publishes how far the writer is. Before anything that tells somebody to look.
    fn publish(&self, wal: &Wal) {
        self.written.store(wal.written().get(), Ordering::Release);
        self.durable.store(wal.durable().get(), Ordering::Release);
    }

    /// Tells the owners of the first `done` frames, and gives memory back.
    fn complete(&self, writer: &mut Writer, done: usize) {
        if done == 0 {
            return;
        }
        writer.group += 1;
        let group = writer.group;
        let metrics = &self.config.metrics;
        let mut bytes = 0;
        let Writer {
            pending,
            keeper,
            cached: in_memory,
            cached_bytes,
            ..
        } = writer;
        for frame in pending.drain(..done) {
            bytes += frame.payload.frame_len();
            keeper.fold(&frame);
            if let Some(cached) = frame.receipt.cached {
                *cached_bytes += frame.payload.bytes.len();
                in_memory.push_back((cached, frame.payload.bytes.len()));
            }
            if let Some(owner) = frame.receipt.owner
                && owner.told_in.swap(group, Ordering::Relaxed) != group
            {
                (owner.on_held)();
            }
        }
        while writer.cached_bytes > self.config.cache_bytes
            && let Some((oldest, len)) = writer.cached.pop_front()
        {
            oldest.evict();
            writer.cached_bytes -= len;
        }
        metrics.commits.add(1);
        metrics.group_frames.record(done as u64);
        metrics.group_bytes.record(bytes);
        metrics.cached_bytes.set(writer.cached_bytes as u64);
        metrics.queued_bytes.subtract(bytes);
        self.room.notify_waiters();
    }

    /// Draws the consequences of a commit; whether to go on at once.
    fn settle(&self, outcome: Result<(), WalError>) -> bool {
        let (lack, failed) = match &outcome {
            Ok(()) => ((self.config.disk_is_full)().then_some(Lack::Space), None),
            Err(WalError::Lacks { what, .. }) => (Some(*what), None),
            Err(error @ WalError::Failed { .. }) => (None, Some(error.to_string())),
        };
        let mut queue = self.queue();
        let had = std::mem::replace(&mut queue.lack, lack);
        if let Some(reason) = &failed {
            queue.closed = Some(reason.clone());
            queue.frames.clear();
        }
        drop(queue);
        let disk_full = lack == Some(Lack::Space);
        self.config.metrics.disk_full.set(disk_full.into());
        if lack.is_some() && had.is_none() {
            let why = outcome
                .err()
                .map_or("little room is left".to_owned(), |e| e.to_string());
            tracing::error!("the log cannot grow ({why}): appends are refused until it can");
            self.room.notify_waiters();
        } else if had.is_some() && lack.is_none() {
            tracing::info!("the log can grow again: appends are taken");
        }
        if let Some(reason) = &failed {
            (self.config.on_fatal)(reason);
            self.room.notify_waiters();
        }
        failed.is_none() && lack.is_none()
    }

    /// Whether the disk has too little room for appends, looked at now.
    pub fn disk_is_full(&self) -> bool {
        self.queue().lack == Some(Lack::Space) || (self.config.disk_is_full)()
    }
}

impl Writer {
    /// Frames of the next group.
    fn next_group(&self) -> usize {
        let mut bytes = 0;
        let fits = |frame: &&Frame| {
            bytes += frame.payload.bytes.len();
            bytes <= GROUP_BYTES_MAX
        };
        let count = self.pending.iter().take_while(fits).count();
        count.max(1).min(self.pending.len())
    }
}
