//! A history in memory, by tokio's clock: what a simulation records.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Event;

struct Lines {
    text: Vec<u8>,
    next: u64,
}

/// The lines so far; clones are one history.
#[derive(Clone)]
pub struct Memory {
    started: Instant,
    lines: Arc<Mutex<Lines>>,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            lines: Arc::new(Mutex::new(Lines {
                text: Vec::new(),
                next: 0,
            })),
        }
    }
}

impl Memory {
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a line; its index.
    pub(super) fn record(&self, event: &Event) -> u64 {
        let time = u64::try_from(self.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let lines = &mut *self.lines();
        let index = lines.next;
        lines.next += 1;
        event.write_line(index, time, &mut lines.text);
        index
    }

    /// Since the run began.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Takes the lines out.
    #[must_use]
    pub fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.lines().text)
    }
}
