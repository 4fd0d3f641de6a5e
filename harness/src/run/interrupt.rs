//! Ctrl-C, SIGTERM, and the end of the terminal: the first ends the run in good order, the second
//! at once. Both clean up.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::Instant;

/// How far the user's patience goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Patience {
    /// No signal yet.
    Whole,
    /// One signal: stop, heal, drain what can be drained, check, clean up.
    Little,
    /// Another: clean up, nothing else.
    None,
}

/// Signals that come closer together are one: who signals a whole process group reaches us directly
/// and through our parent.
const ONE_SIGNAL: Duration = Duration::from_millis(500);

/// Hears signals for as long as the run lives.
#[derive(Clone)]
pub struct Interrupts {
    patience: watch::Receiver<Patience>,
    tell: Arc<watch::Sender<Patience>>,
}

impl Interrupts {
    /// Starts to listen.
    ///
    /// # Errors
    /// Where the operating system refuses the handlers.
    pub fn listen() -> std::io::Result<Self> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let (tell, patience) = watch::channel(Patience::Whole);
        let tell = Arc::new(tell);
        let interrupts = Self {
            patience,
            tell: tell.clone(),
        };
        tokio::spawn(async move {
            let mut last: Option<Instant> = None;
            loop {
                tokio::select! {
                    biased;
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    _ = hangup.recv() => {}
                }
                if last.is_some_and(|last| last.elapsed() < ONE_SIGNAL) {
                    continue;
                }
                last = Some(Instant::now());
                let next = match *tell.borrow() {
                    Patience::Whole => Patience::Little,
                    _ => Patience::None,
                };
                match next {
                    Patience::Little => say!(
                        "interrupted: healing, draining what can be drained, checking, cleaning \
                         up (once more: clean up at once)"
                    ),
                    _ => say!("interrupted again: cleaning up at once"),
                }
                if tell.send(next).is_err() {
                    return;
                }
            }
        });
        Ok(interrupts)
    }

    /// Ends the run in good order, as the first signal does.
    pub fn end_in_good_order(&self) {
        self.tell.send_if_modified(|patience| {
            let whole = *patience == Patience::Whole;
            *patience = (*patience).max(Patience::Little);
            whole
        });
    }

    /// What is left.
    #[must_use]
    pub fn patience(&self) -> Patience {
        *self.patience.borrow()
    }

    /// Returns when no more than `at_most` is left; never, if that never happens.
    pub async fn down_to(&self, at_most: Patience) {
        let mut patience = self.patience.clone();
        if patience.wait_for(|left| *left >= at_most).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
