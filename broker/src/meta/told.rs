//! A value that one tells and many know: read without a lock, or waited for.
//!
//! The newest value stands in an `ArcSwap` before it is in the `watch` channel (which has a lock
//! inside): who was woken by the channel reads nothing older.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

/// The end that tells.
#[derive(Clone, Debug)]
pub struct Teller<T> {
    newest: Arc<ArcSwap<T>>,
    changes: watch::Sender<T>,
}

/// The end that knows. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Told<T> {
    newest: Arc<ArcSwap<T>>,
    changes: watch::Receiver<T>,
}

/// Both ends of a value that is `first` for now.
#[must_use]
pub fn channel<T: Clone>(first: T) -> (Teller<T>, Told<T>) {
    let teller = Teller::new(first);
    let told = teller.subscribe();
    (teller, told)
}

impl<T: Clone + Default> Default for Teller<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: Clone> Teller<T> {
    fn new(first: T) -> Self {
        Self {
            newest: Arc::new(ArcSwap::from_pointee(first.clone())),
            changes: watch::Sender::new(first),
        }
    }

    /// From now on it is `value`.
    pub fn send_replace(&self, value: T) {
        self.newest.store(Arc::new(value.clone()));
        self.changes.send_replace(value);
    }

    /// Another end that knows.
    #[must_use]
    pub fn subscribe(&self) -> Told<T> {
        Told {
            newest: self.newest.clone(),
            changes: self.changes.subscribe(),
        }
    }
}

impl<T: Clone> Told<T> {
    /// The newest value: no lock.
    #[must_use]
    pub fn get(&self) -> T {
        T::clone(&self.newest.load())
    }

    /// To wait for others.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<T> {
        self.changes.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_is_woken_reads_what_it_was_woken_for() {
        let (teller, told) = channel(0);
        let (teller, told) = (Arc::new(teller), told);
        let reader = tokio::spawn({
            let told = told.clone();
            async move {
                let mut changes = told.watch();
                while *changes.borrow_and_update() < 1000 {
                    changes.changed().await.expect("it is told to the end");
                    let seen = *changes.borrow();
                    assert!(told.get() >= seen);
                }
            }
        });
        for value in 1..=1000 {
            teller.send_replace(value);
            tokio::task::yield_now().await;
        }
        reader.await.expect("no panic");
        assert_eq!(told.get(), 1000);
    }
}
