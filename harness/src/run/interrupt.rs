//! Ctrl-C and SIGTERM: the first ends the run in good order, the second at once. Both clean up.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

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

/// Hears signals for as long as the run lives.
#[derive(Clone)]
pub struct Interrupts {
    patience: watch::Receiver<Patience>,
}

impl Interrupts {
    /// Starts to listen.
    ///
    /// # Errors
    /// Where the operating system refuses the handlers.
    pub fn listen() -> std::io::Result<Self> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let (tell, patience) = watch::channel(Patience::Whole);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    biased;
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                let next = match *tell.borrow() {
                    Patience::Whole => Patience::Little,
                    _ => Patience::None,
                };
                match next {
                    Patience::Little => eprintln!(
                        "interrupted: healing, draining what can be drained, checking, cleaning \
                         up (once more: clean up at once)"
                    ),
                    _ => eprintln!("interrupted again: cleaning up at once"),
                }
                if tell.send(next).is_err() {
                    return;
                }
            }
        });
        Ok(Self { patience })
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
