//! One writer publishes, many read, and who waits for news is woken; nobody takes a lock.
//!
//! Waiters stand on a stack without locks. Who wants to wait registers first and looks then, and
//! [`Publication::park`] is both in that order, so that it cannot be done the other way round;
//! the writer publishes first and takes the stack then. Registering and taking are both
//! read-modify-writes of one pointer: either the writer takes the waiter, or the waiter comes
//! after the taking, and sees what was published before it. No wake-up is lost.
//!
//! `tests/loom` compiles this very file a second time, with loom's primitives in place of
//! `super::sync`, and tries every interleaving of it. One writer at a time: a second one could
//! take a waiter of the first while that is being put back.

use super::sync::{Arc, ArcSwap, ArcSwapOption, Weak};

/// What is published.
pub trait Shows {
    /// What a reader has seen of it: it waits for anything else.
    type Seen: Copy;

    /// Whether this shows something else.
    fn shows_else(&self, seen: &Self::Seen) -> bool;
}

/// Who is woken.
pub trait Wake {
    /// At most once for each registration, and maybe without need.
    fn wake(&self);
}

/// The newest value, and who waits for another.
pub struct Publication<V: Shows, W> {
    current: ArcSwap<V>,
    parked: ArcSwapOption<Parked<V::Seen, W>>,
    /// The stack is cleaned of the dead when it has grown to this height, and to its doubles.
    sweep_from: usize,
}

/// A waiter, and those who came before it.
struct Parked<S, W> {
    seen: S,
    /// Dead when it waits no more.
    wake: Weak<W>,
    height: usize,
    below: Option<Arc<Parked<S, W>>>,
}

impl<S, W> Drop for Parked<S, W> {
    /// One after the other: a high stack of nested drops would end the thread's.
    fn drop(&mut self) {
        let mut next = self.below.take();
        while let Some(mut parked) = next.and_then(Arc::into_inner) {
            next = parked.below.take();
        }
    }
}

impl<V: Shows, W: Wake> Publication<V, W> {
    /// Nobody waits yet.
    pub fn new(first: Arc<V>, sweep_from: usize) -> Self {
        Self {
            current: ArcSwap::new(first),
            parked: ArcSwapOption::new(None),
            sweep_from,
        }
    }

    /// The newest value.
    pub fn load(&self) -> Arc<V> {
        self.current.load_full()
    }

    /// Publishes `value`, then wakes everybody for whom it shows something else.
    pub fn publish(&self, value: Arc<V>) {
        self.current.store(value.clone());
        self.sort_out(&value);
    }

    /// Has `wake` woken once, after something else than `seen` is published. Returns what is
    /// published now: the caller looks whether that is something else already. It drops `wake`
    /// when it waits no more.
    pub fn park(&self, seen: V::Seen, wake: &Arc<W>) -> Arc<V> {
        let height = self.push(seen, &Arc::downgrade(wake));
        let now = self.load();
        if height >= self.sweep_from && height.is_multiple_of(self.sweep_from) {
            self.sweep(now.clone());
        }
        now
    }

    /// Whoever was put back may have missed what was published in the meantime, so this looks
    /// again afterwards, as one who registers does.
    fn sweep(&self, mut value: Arc<V>) {
        loop {
            self.sort_out(&value);
            let newest = self.load();
            if Arc::ptr_eq(&newest, &value) {
                return;
            }
            value = newest;
        }
    }

    /// How many stand on the stack; some may wait no more.
    pub fn parked(&self) -> usize {
        let top = self.parked.load_full();
        top.map_or(0, |top| top.height)
    }

    /// Takes everybody off the stack, wakes those for whom `value` shows something else, forgets
    /// the dead, and puts the others back.
    fn sort_out(&self, value: &V) {
        let mut next = self.parked.swap(None);
        while let Some(parked) = next {
            if let Some(wake) = parked.wake.upgrade() {
                if value.shows_else(&parked.seen) {
                    wake.wake();
                } else {
                    self.push(parked.seen, &parked.wake);
                }
            }
            next = parked.below.clone();
        }
    }

    fn push(&self, seen: V::Seen, wake: &Weak<W>) -> usize {
        let mut height = 0;
        self.parked.rcu(|below| {
            height = below.as_ref().map_or(0, |below| below.height) + 1;
            Some(Arc::new(Parked {
                seen,
                wake: wake.clone(),
                height,
                below: below.clone(),
            }))
        });
        height
    }
}
