//! The one place where tasks and threads are started.
//!
//! In production the WAL committer and Raft have threads of their own; in simulation everything
//! is a task on one thread. Nothing else in the broker calls `tokio::spawn` or `std::thread`.

use std::future::Future;

use tokio::task::JoinHandle;

/// Starts a task on the current runtime.
pub fn spawn<F>(name: &'static str, task: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let _ = name;
    #[cfg(feature = "simulation")]
    if let Some(process) = crate::sim::process::current() {
        return process.spawn(task);
    }
    tokio::spawn(task)
}

/// Starts a thread for work that blocks (fdatasync, Raft's store).
///
/// # Errors
/// When the operating system refuses a thread.
pub fn spawn_thread<F>(name: &str, work: F) -> std::io::Result<std::thread::JoinHandle<()>>
where
    F: FnOnce() + Send + 'static,
{
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
}

/// Starts a thread with an async runtime of its own, for an actor that must not be starved by
/// the rest of the process. The future that `work` makes is run to its end; then every task that
/// it left is dropped, and `after` gets its result.
///
/// # Errors
/// When the operating system refuses a thread or a runtime.
pub fn spawn_runtime<F>(
    name: &str,
    work: impl FnOnce() -> F + Send + 'static,
    after: impl FnOnce(F::Output) + Send + 'static,
) -> std::io::Result<std::thread::JoinHandle<()>>
where
    F: Future,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    spawn_thread(name, move || {
        let result = runtime.block_on(work());
        drop(runtime);
        after(result);
    })
}
