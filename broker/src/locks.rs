//! The broker's locks: no other file has one (a test looks).
//!
//! Each lock has a name, a place in one order, and a line on what it guards ([`REGISTRY`]); each
//! counts how often it was taken, how often that had to wait, how long, and how long it was held
//! at the longest. `docs/locks.md` is written from both (`cargo run -p broker --example locks`).
//!
//! In debug builds a lock that is taken out of order panics at once, whether or not anybody else
//! was there to make it a deadlock, and a watchdog reports who waits for long and on whom
//! ([`watchdog`]). The path of a fetch takes none at all: [`taken_here`] lets tests say so.
//!
//! Deliberately absent: read-write locks. What many read is published, see
//! [`crate::replica::publication`]. Channels, `Notify` and semaphores are tokio's, and have short
//! locks of their own inside, which nobody holds while doing anything else.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

mod page;
mod registry;
pub mod watchdog;

pub use page::{page, rows};
pub use registry::{Entry, Lock, REGISTRY};

/// What is counted of all locks of one name.
#[derive(Debug)]
struct Stats {
    taken: AtomicU64,
    waited: AtomicU64,
    wait_nanos: AtomicU64,
    longest_wait_nanos: AtomicU64,
    longest_hold_nanos: AtomicU64,
}

static STATS: [Stats; REGISTRY.len()] = [const {
    Stats {
        taken: AtomicU64::new(0),
        waited: AtomicU64::new(0),
        wait_nanos: AtomicU64::new(0),
        longest_wait_nanos: AtomicU64::new(0),
        longest_hold_nanos: AtomicU64::new(0),
    }
}; REGISTRY.len()];

/// The figures of all locks of one name in this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// How often it was taken.
    pub taken: u64,
    /// How often somebody had it when it was asked for.
    pub waited: u64,
    /// Time that was spent waiting.
    pub wait: Duration,
    /// The longest wait.
    pub longest_wait: Duration,
    /// The longest time between taking and giving back.
    pub longest_hold: Duration,
}

/// What was counted so far.
#[must_use]
pub fn figures(lock: Lock) -> Figures {
    let stats = &STATS[lock as usize];
    let nanos = |value: &AtomicU64| Duration::from_nanos(value.load(Ordering::Relaxed));
    Figures {
        taken: stats.taken.load(Ordering::Relaxed),
        waited: stats.waited.load(Ordering::Relaxed),
        wait: nanos(&stats.wait_nanos),
        longest_wait: nanos(&stats.longest_wait_nanos),
        longest_hold: nanos(&stats.longest_hold_nanos),
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

impl Stats {
    fn has_waited(&self, span: Duration) {
        self.waited.fetch_add(1, Ordering::Relaxed);
        self.wait_nanos.fetch_add(nanos(span), Ordering::Relaxed);
        self.longest_wait_nanos
            .fetch_max(nanos(span), Ordering::Relaxed);
    }

    fn was_held(&self, span: Duration) {
        let span = nanos(span);
        // Nearly always a load is enough.
        if span > self.longest_hold_nanos.load(Ordering::Relaxed) {
            self.longest_hold_nanos.fetch_max(span, Ordering::Relaxed);
        }
    }
}

#[cfg(debug_assertions)]
mod order {
    use std::cell::{Cell, RefCell};

    use super::Lock;

    thread_local! {
        static HELD: RefCell<Vec<Lock>> = const { RefCell::new(Vec::new()) };
        static TAKEN: Cell<u64> = const { Cell::new(0) };
    }

    /// # Panics
    /// When this thread holds a lock that comes after `lock`, or one of the same name.
    #[track_caller]
    pub fn check(lock: Lock) {
        HELD.with_borrow(|held| {
            let last = held.iter().max_by_key(|held| held.entry().rank);
            let early = last.is_none_or(|last| last.entry().rank < lock.entry().rank);
            assert!(
                early,
                "lock order: `{}` is taken by a thread that holds {:?}: two threads that do this \
                 in different orders wait for each other for ever",
                lock.entry().name,
                held.iter()
                    .map(|lock| lock.entry().name)
                    .collect::<Vec<_>>(),
            );
        });
    }

    pub fn taken(lock: Lock) {
        HELD.with_borrow_mut(|held| held.push(lock));
        TAKEN.set(TAKEN.get() + 1);
    }

    pub fn given_back(lock: Lock) {
        HELD.with_borrow_mut(|held| {
            if let Some(at) = held.iter().rposition(|held| *held == lock) {
                held.remove(at);
            }
        });
    }

    pub fn taken_here() -> u64 {
        TAKEN.get()
    }
}

#[cfg(not(debug_assertions))]
mod order {
    use super::Lock;

    pub fn check(_: Lock) {}
    pub fn taken(_: Lock) {}
    pub fn given_back(_: Lock) {}
    pub fn taken_here() -> u64 {
        0
    }
}

/// How many locks this thread has ever taken. Counted in debug builds only.
#[must_use]
pub fn taken_here() -> u64 {
    order::taken_here()
}

/// A mutex with a name.
#[derive(Debug)]
pub struct Mutex<T> {
    lock: Lock,
    holder: watchdog::Holder,
    inner: std::sync::Mutex<T>,
}

impl<T> Mutex<T> {
    /// A free one.
    pub fn new(lock: Lock, value: T) -> Self {
        Self {
            lock,
            holder: watchdog::Holder::default(),
            inner: std::sync::Mutex::new(value),
        }
    }

    /// Waits until nobody else has it.
    ///
    /// # Panics
    /// When another holder has panicked: what it guards may be half changed. In debug builds also
    /// when it is taken out of order.
    #[track_caller]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        order::check(self.lock);
        let inner = match self.inner.try_lock() {
            Ok(inner) => inner,
            Err(std::sync::TryLockError::WouldBlock) => {
                let began = Instant::now();
                let watched = watchdog::waits(self.lock, &self.holder);
                let inner = self.inner.lock();
                drop(watched);
                STATS[self.lock as usize].has_waited(began.elapsed());
                self.sound(inner)
            }
            Err(std::sync::TryLockError::Poisoned(error)) => self.sound(Err(error)),
        };
        self.held(inner)
    }

    #[track_caller]
    fn sound<G>(&self, locked: Result<G, std::sync::PoisonError<G>>) -> G {
        let Ok(inner) = locked else {
            panic!(
                "a holder of the lock `{}` panicked: what it guards may be half changed",
                self.lock.entry().name
            );
        };
        inner
    }

    fn held<'a>(&'a self, inner: std::sync::MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        STATS[self.lock as usize]
            .taken
            .fetch_add(1, Ordering::Relaxed);
        order::taken(self.lock);
        self.holder.is_this_thread();
        MutexGuard {
            mutex: self,
            inner: Some(inner),
            since: Instant::now(),
        }
    }
}

/// The lock is given back when this is dropped.
pub struct MutexGuard<'a, T> {
    mutex: &'a Mutex<T>,
    /// Empty only while the guard is taken apart.
    inner: Option<std::sync::MutexGuard<'a, T>>,
    since: Instant,
}

impl<'a, T> MutexGuard<'a, T> {
    /// Books the end of the hold, and hands out what is left.
    fn end(&mut self) -> Option<std::sync::MutexGuard<'a, T>> {
        let inner = self.inner.take()?;
        self.mutex.holder.is_nobody();
        order::given_back(self.mutex.lock);
        STATS[self.mutex.lock as usize].was_held(self.since.elapsed());
        Some(inner)
    }

    fn apart(mut self) -> (&'a Mutex<T>, std::sync::MutexGuard<'a, T>) {
        let inner = self.end().expect("a guard holds its lock");
        (self.mutex, inner)
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.inner.as_deref().expect("a guard holds its lock")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.inner.as_deref_mut().expect("a guard holds its lock")
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        drop(self.end());
    }
}

/// A condition of what a [`Mutex`] guards. Waiting gives the lock back: it is no hold.
#[derive(Debug, Default)]
pub struct Condvar(std::sync::Condvar);

impl Condvar {
    /// Wakes one.
    pub fn notify_one(&self) {
        self.0.notify_one();
    }

    /// Wakes all.
    pub fn notify_all(&self) {
        self.0.notify_all();
    }

    /// Waits for a notification, or for nothing at all.
    ///
    /// # Panics
    /// As [`Mutex::lock`].
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        let (mutex, inner) = guard.apart();
        mutex.held(mutex.sound(self.0.wait(inner)))
    }

    /// Waits for a notification, for `patience` at the longest.
    ///
    /// # Panics
    /// As [`Mutex::lock`].
    pub fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        patience: Duration,
    ) -> MutexGuard<'a, T> {
        let (mutex, inner) = guard.apart();
        let waited = self.0.wait_timeout(inner, patience);
        let waited = waited.map_err(|error| std::sync::PoisonError::new(error.into_inner().0));
        let inner = mutex.sound(waited.map(|(inner, _)| inner));
        mutex.held(inner)
    }

    /// Waits as long as `condition` holds.
    ///
    /// # Panics
    /// As [`Mutex::lock`].
    pub fn wait_while<'a, T>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> MutexGuard<'a, T> {
        while condition(&mut guard) {
            guard = self.wait(guard);
        }
        guard
    }
}

/// A mutex that is held across waiting, by tasks: its order is that it comes first, because no
/// guard of a [`Mutex`] can live across an await.
#[derive(Debug)]
pub struct AsyncMutex<T> {
    lock: Lock,
    holder: watchdog::Holder,
    inner: tokio::sync::Mutex<T>,
}

impl<T> AsyncMutex<T> {
    /// A free one.
    pub fn new(lock: Lock, value: T) -> Self {
        Self {
            lock,
            holder: watchdog::Holder::default(),
            inner: tokio::sync::Mutex::new(value),
        }
    }

    /// Waits until nobody else has it.
    pub async fn lock(&self) -> AsyncGuard<'_, T> {
        order::check(self.lock);
        let inner = match self.inner.try_lock() {
            Ok(inner) => inner,
            Err(_) => {
                let began = Instant::now();
                let watched = watchdog::waits(self.lock, &self.holder);
                let inner = self.inner.lock().await;
                drop(watched);
                STATS[self.lock as usize].has_waited(began.elapsed());
                inner
            }
        };
        STATS[self.lock as usize]
            .taken
            .fetch_add(1, Ordering::Relaxed);
        self.holder.is_this_thread();
        AsyncGuard {
            mutex: self,
            inner,
            since: Instant::now(),
        }
    }
}

/// The lock is given back when this is dropped.
pub struct AsyncGuard<'a, T> {
    mutex: &'a AsyncMutex<T>,
    inner: tokio::sync::MutexGuard<'a, T>,
    since: Instant,
}

impl<T> Deref for AsyncGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T> DerefMut for AsyncGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

impl<T> Drop for AsyncGuard<'_, T> {
    fn drop(&mut self) {
        self.mutex.holder.is_nobody();
        STATS[self.mutex.lock as usize].was_held(self.since.elapsed());
    }
}

#[cfg(test)]
#[path = "locks/locks_test.rs"]
mod tests;
