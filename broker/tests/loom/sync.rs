//! `ArcSwap` as far as loom has to know it: a pointer that is loaded with acquire and stored with
//! release, which is less than arc-swap promises. What it points to is kept until the end, in a
//! table that loom does not see.

use std::sync::{Mutex, PoisonError};

pub use std::sync::{Arc, Weak};

use loom::sync::atomic::{AtomicUsize, Ordering};

/// An optional value that is swapped as a whole.
pub struct ArcSwapOption<T> {
    current: AtomicUsize,
    all: Mutex<Vec<Option<Arc<T>>>>,
}

impl<T> ArcSwapOption<T> {
    pub fn new(first: Option<Arc<T>>) -> Self {
        Self {
            current: AtomicUsize::new(0),
            all: Mutex::new(vec![first]),
        }
    }

    fn keep(&self, value: Option<Arc<T>>) -> usize {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(value);
        all.len() - 1
    }

    fn get(&self, at: usize) -> Option<Arc<T>> {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all[at].clone()
    }

    pub fn load_full(&self) -> Option<Arc<T>> {
        self.get(self.current.load(Ordering::Acquire))
    }

    pub fn store(&self, value: Option<Arc<T>>) {
        let at = self.keep(value);
        self.current.store(at, Ordering::Release);
    }

    pub fn swap(&self, value: Option<Arc<T>>) -> Option<Arc<T>> {
        let at = self.keep(value);
        let before = self.current.swap(at, Ordering::AcqRel);
        self.get(before)
    }

    pub fn rcu(&self, mut change: impl FnMut(&Option<Arc<T>>) -> Option<Arc<T>>) {
        let mut before = self.current.load(Ordering::Acquire);
        loop {
            let at = self.keep(change(&self.get(before)));
            let set =
                self.current
                    .compare_exchange(before, at, Ordering::AcqRel, Ordering::Acquire);
            match set {
                Ok(_) => return,
                Err(now) => before = now,
            }
        }
    }
}

/// A value that is swapped as a whole.
pub struct ArcSwap<T>(ArcSwapOption<T>);

impl<T> ArcSwap<T> {
    pub fn new(first: Arc<T>) -> Self {
        Self(ArcSwapOption::new(Some(first)))
    }

    pub fn load_full(&self) -> Arc<T> {
        self.0.load_full().expect("there is always one")
    }

    pub fn store(&self, value: Arc<T>) {
        self.0.store(Some(value));
    }
}
