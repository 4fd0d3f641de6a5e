//! A history in memory, by tokio's clock: what a simulation records.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{Event, Sentry};

struct Lines {
    text: Vec<u8>,
    next: u64,
    sentry: Option<Sentry>,
}

/// The lines so far; clones are one history.
#[derive(Clone)]
pub struct Memory {
    started: Instant,
    lines: Arc<Mutex<Lines>>,
}

impl Memory {
    pub(super) fn new(sentry: Option<Sentry>) -> Self {
        Self {
            started: Instant::now(),
            lines: Arc::new(Mutex::new(Lines {
                text: Vec::new(),
                next: 0,
                sentry,
            })),
        }
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a line; its index.
    pub(super) fn record(&self, event: &Event) -> u64 {
        let time = u64::try_from(self.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let lines = &mut *self.lines();
        let index = lines.next;
        lines.next += 1;
        let before = lines.text.len();
        event.write_line(index, time, &mut lines.text);
        if let Some(sentry) = &mut lines.sentry {
            sentry.look_at(&lines.text[before..]);
        }
        index
    }

    /// Since the run began.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// The first violation that the sentry saw.
    #[must_use]
    pub fn violation(&self) -> Option<String> {
        let lines = self.lines();
        lines.sentry.as_ref()?.violation().map(str::to_owned)
    }

    /// Takes the lines out.
    #[must_use]
    pub fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.lines().text)
    }
}
