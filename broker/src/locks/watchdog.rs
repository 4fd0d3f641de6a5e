//! Debug builds: who waits for a lock for long is reported, with who holds it.
//!
//! A wait is entered only when it has come to waiting, so that a lock that is free costs nothing
//! but the note of its holder. The first wait of a process starts the watchdog's thread.

#[cfg(debug_assertions)]
pub use on::{Holder, reports, ring_after, waits};

#[cfg(not(debug_assertions))]
pub use off::{Holder, waits};

/// A wait that has taken too long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The lock's name.
    pub lock: &'static str,
    /// The thread that waits.
    pub waiter: String,
    /// The thread that took it last and has not given it back.
    pub holder: Option<String>,
}

#[cfg(debug_assertions)]
mod on {
    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
    use std::time::{Duration, Instant};

    use super::Report;
    use crate::exec;
    use crate::locks::Lock;

    /// Between two looks.
    const PERIOD: Duration = Duration::from_millis(250);

    /// Reports that are kept.
    const KEPT: usize = 1000;

    static RING_AFTER_MILLIS: AtomicU64 = AtomicU64::new(10_000);

    /// From now on a wait is reported when it has lasted for `span`; at first ten seconds.
    pub fn ring_after(span: Duration) {
        let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        RING_AFTER_MILLIS.store(millis, Ordering::Relaxed);
    }

    /// Who has a lock.
    #[derive(Clone, Debug, Default)]
    pub struct Holder(Arc<Mutex<Option<std::thread::ThreadId>>>);

    impl Holder {
        /// This thread took it.
        pub fn is_this_thread(&self) {
            *locked(&self.0) = Some(std::thread::current().id());
        }

        /// It is free.
        pub fn is_nobody(&self) {
            *locked(&self.0) = None;
        }

        fn name(&self) -> Option<String> {
            let id = (*locked(&self.0))?;
            Some(format!("{id:?}"))
        }
    }

    struct Wait {
        lock: Lock,
        waiter: String,
        holder: Holder,
        since: Instant,
        told: bool,
    }

    #[derive(Default)]
    struct State {
        next: u64,
        waits: BTreeMap<u64, Wait>,
        reports: Vec<Report>,
    }

    static STATE: Mutex<State> = Mutex::new(State {
        next: 0,
        waits: BTreeMap::new(),
        reports: Vec::new(),
    });

    /// Nothing is called while one of these is held: they cannot be part of a deadlock.
    fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A wait that is watched until this is dropped.
    pub struct Watched(u64);

    impl Drop for Watched {
        fn drop(&mut self) {
            locked(&STATE).waits.remove(&self.0);
        }
    }

    /// This thread (or this task) begins to wait.
    pub fn waits(lock: Lock, holder: &Holder) -> Watched {
        static STARTED: Once = Once::new();
        STARTED.call_once(|| {
            if let Err(error) = exec::spawn_thread("lock-watchdog", watch) {
                tracing::warn!(%error, "nobody watches over locks");
            }
        });
        let thread = std::thread::current();
        let waiter = format!("{} {:?}", thread.name().unwrap_or("-"), thread.id());
        let mut state = locked(&STATE);
        let number = state.next;
        state.next += 1;
        let wait = Wait {
            lock,
            waiter,
            holder: holder.clone(),
            since: Instant::now(),
            told: false,
        };
        state.waits.insert(number, wait);
        Watched(number)
    }

    fn watch() {
        loop {
            std::thread::park_timeout(PERIOD);
            for report in look() {
                tracing::error!(
                    lock = report.lock,
                    waiter = report.waiter,
                    holder = report.holder,
                    "somebody waits for a lock for very long: a deadlock?"
                );
            }
        }
    }

    fn look() -> Vec<Report> {
        let limit = Duration::from_millis(RING_AFTER_MILLIS.load(Ordering::Relaxed));
        let mut state = locked(&STATE);
        let late = |wait: &&mut Wait| !wait.told && wait.since.elapsed() >= limit;
        let report = |wait: &mut Wait| {
            wait.told = true;
            Report {
                lock: wait.lock.entry().name,
                waiter: wait.waiter.clone(),
                holder: wait.holder.name(),
            }
        };
        let new: Vec<_> = state.waits.values_mut().filter(late).map(report).collect();
        let room = KEPT.saturating_sub(state.reports.len());
        state.reports.extend(new.iter().take(room).cloned());
        new
    }

    /// Everything that was reported in this process, the first thousand.
    #[must_use]
    pub fn reports() -> Vec<Report> {
        locked(&STATE).reports.clone()
    }
}

#[cfg(not(debug_assertions))]
mod off {
    use crate::locks::Lock;

    /// Who has a lock: not known in release builds.
    #[derive(Clone, Copy, Debug, Default)]
    pub struct Holder;

    impl Holder {
        /// This thread took it.
        pub fn is_this_thread(self) {}

        /// It is free.
        pub fn is_nobody(self) {}
    }

    /// A wait that is not watched.
    pub struct Watched;

    /// This thread begins to wait.
    pub fn waits(_: Lock, _: &Holder) -> Watched {
        Watched
    }
}
