//! Panics in a handler end the connection that asked, not the broker; panics anywhere else end
//! the broker at once, because a part of it that is gone while the rest goes on would lie.
//!
//! [`Contained`] marks the thread while it polls what may panic; the hook that
//! [`abort_on_other_panics`] installs (in the binary only) looks at the mark.

use std::any::Any;
use std::cell::Cell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

thread_local! {
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// A future whose panic becomes its output.
pub struct Contained<F> {
    inner: Pin<Box<F>>,
}

impl<F: Future> Contained<F> {
    /// Wraps `inner`.
    pub fn new(inner: F) -> Self {
        Self {
            inner: Box::pin(inner),
        }
    }
}

impl<F: Future> Future for Contained<F> {
    type Output = Result<F::Output, Box<dyn Any + Send>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let before = CONTAINED.replace(true);
        let polled = catch_unwind(AssertUnwindSafe(|| self.inner.as_mut().poll(context)));
        CONTAINED.set(before);
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    }
}

/// What a panic said.
#[must_use]
pub fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("(no message)").to_owned()
}

/// From now on a panic outside a [`Contained`] future is logged and ends the process with
/// `exit_code`. For the binary; a library or a test must not do this to its process.
pub fn abort_on_other_panics(exit_code: i32) {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        default(info);
        if !CONTAINED.get() {
            tracing::error!(panic = %info, "an assertion failed: stopping rather than going on");
            std::process::exit(exit_code);
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_becomes_an_error_and_the_mark_is_taken_back() {
        let fails = Contained::new(async {
            tokio::task::yield_now().await;
            assert!(CONTAINED.get());
            panic!("of the handler");
        });
        let panic: Result<(), _> = fails.await;
        assert_eq!(message(&*panic.unwrap_err()), "of the handler");
        assert!(!CONTAINED.get());
        assert_eq!(Contained::new(async { 7 }).await.ok(), Some(7));
    }
}
