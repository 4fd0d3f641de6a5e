//! Blocking work (librdkafka, the checker) beside asynchronous work: on a thread of its own.

use tokio::sync::oneshot;

/// Runs `work` on a new thread and waits for its result without blocking the runtime.
///
/// # Panics
/// Where `work` panics, or the operating system gives no thread: both are ours to mend.
pub async fn on_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let (done, result) = oneshot::channel();
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            // Nobody waits any more only where the whole run is being torn down.
            let _ = done.send(work());
        })
        .expect("the system gives a thread");
    result.await.expect("the work does not panic")
}
