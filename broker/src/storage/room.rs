//! Waiting for room on a full disk, in place of failing.
//!
//! For writers that cannot take a failed write back (redb takes no more writes after the first
//! error) and that have a thread of their own to wait in. A write that found no room has promised
//! nothing yet, so that it can be tried again; a sync that fails cannot, and is not.

use std::io;
use std::time::Duration;

use super::is_no_space;
use crate::locks::{Condvar, Lock, Mutex, MutexGuard};

/// How often a full disk is looked at again.
const FULL_POLL: Duration = Duration::from_millis(250);

#[derive(Debug, Default)]
struct State {
    waits: bool,
    full: bool,
}

/// One writer's patience with its disk. Without [`Room::wait_when_full`] it has none.
#[derive(Debug)]
pub struct Room {
    state: Mutex<State>,
    changed: Condvar,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            state: Mutex::new(Lock::DiskRoom, State::default()),
            changed: Condvar::default(),
        }
    }
}

impl Room {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// From now on a full disk is waited for, or (`false`) no more: who waits gets the error.
    pub fn wait_when_full(&self, waits: bool) {
        self.state().waits = waits;
        self.changed.notify_all();
    }

    /// Whether the last try found the disk full.
    pub fn is_full(&self) -> bool {
        self.state().full
    }

    /// Tries until there is room.
    ///
    /// # Errors
    /// Everything but a full disk; that too once nobody may wait any more.
    pub fn find(&self, what: &str, mut attempt: impl FnMut() -> io::Result<()>) -> io::Result<()> {
        loop {
            let outcome = attempt();
            let full = outcome.as_ref().is_err_and(is_no_space);
            let mut state = self.state();
            let was_full = std::mem::replace(&mut state.full, full);
            if full && !was_full {
                tracing::error!("the disk of {what} is full: it cannot change until there is room");
            } else if was_full && outcome.is_ok() {
                tracing::info!("the disk of {what} has room again");
            }
            if !full || !state.waits {
                return outcome;
            }
            // Told of the end or not: the next round tries again either way.
            drop(self.changed.wait_timeout(state, FULL_POLL));
        }
    }
}
