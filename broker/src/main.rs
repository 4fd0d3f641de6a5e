//! The broker's binary: reads settings, starts a [`Node`], waits for a signal or a failure, and
//! ends with an exit code that says which it was.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use broker::admin::elect::{self, Order};
use broker::config::cli::{self, EXIT_INTERNAL, EXIT_IO, Invocation, Serve};
use broker::log::dump::{self, DumpError, DumpOptions};
use broker::meta::image::Endpoint;
use broker::net::contain;
use broker::node::{self, Node, NodeError};
use futures_util::FutureExt;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// What the shell would report of a process that this signal ended.
const EXIT_SECOND_SIGNAL: u8 = 128 + 15;
/// Signals within this time are one.
const ONE_WISH: Duration = Duration::from_millis(300);

fn main() -> ExitCode {
    // A variable that is no text is no setting either.
    let text = |(name, value): (OsString, OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    match cli::parse(std::env::args_os(), std::env::vars_os().filter_map(text)) {
        Ok(Invocation::Serve(settings)) => serve(*settings),
        Ok(Invocation::DumpLog { dir, records }) => dump_log(&dir, DumpOptions { records }),
        Ok(Invocation::ElectUnclean { admin, order }) => elect_unclean(&admin, &order),
        Ok(Invocation::Print(text)) => {
            // Whoever closed the pipe has read enough.
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error.to_string(), error.exit_code()),
    }
}

fn fail(message: &str, code: i32) -> ExitCode {
    eprintln!("{}", message.trim_end());
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

fn dump_log(dir: &Path, options: DumpOptions) -> ExitCode {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    match dump::dump_log(dir, options, &mut out) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads the dump has had enough of it.
        Err(DumpError::Write(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => fail(&format!("broker dump-log: {error}"), EXIT_IO),
    }
}

fn elect_unclean(admin: &Endpoint, order: &Order) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let sent = match runtime {
        Ok(runtime) => runtime.block_on(elect::send(admin, order)),
        Err(error) => Err(error.to_string()),
    };
    match sent {
        Ok(answer) => {
            // Whoever closed the pipe has read enough.
            let _ = std::io::stdout().write_all(answer.as_bytes());
            ExitCode::SUCCESS
        }
        Err(why) => fail(&format!("broker elect-unclean: {why}"), EXIT_IO),
    }
}

fn serve(mut settings: Serve) -> ExitCode {
    if let Err(error) = start_logging(&settings.log_filter) {
        return fail(&error, cli::EXIT_CONFIG);
    }
    contain::abort_on_other_panics(EXIT_INTERNAL);
    let open_files = raise_open_files_limit();
    let fitted = open_files.and_then(|limit| node::fit_connections(&mut settings.config, limit));
    for warning in settings.warnings.iter().chain(&fitted) {
        tracing::warn!("{warning}");
    }
    // Two workers: the data path is not made faster by more on the machines that this is for,
    // and the log and the metadata quorum have threads of their own.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("data")
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start: {error}"), EXIT_IO),
    };
    let code = runtime.block_on(run(settings));
    runtime.shutdown_background();
    code
}

/// As many open files as the system lets us have: a limit of 1024, usual in a shell, is less than
/// the connections that are served. Returns the limit in force, if it can be told.
fn raise_open_files_limit() -> Option<usize> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the call gets a valid pointer to a structure that lives longer than it runs.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        tracing::debug!("the limit of open files is not known");
        return None;
    }
    let raised = libc::rlimit {
        rlim_cur: limit.rlim_max,
        ..limit
    };
    // SAFETY: as above.
    let in_force = match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) } {
        0 => raised.rlim_cur,
        _ => limit.rlim_cur,
    };
    Some(usize::try_from(in_force).unwrap_or(usize::MAX))
}

fn start_logging(filter: &str) -> Result<(), String> {
    let filter = EnvFilter::try_new(filter).map_err(|error| {
        format!("--log: {filter:?} is not a filter such as info or broker::replica=debug: {error}")
    })?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .init();
    Ok(())
}

async fn run(settings: Serve) -> ExitCode {
    let signals = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    );
    let (mut terminate, mut interrupt) = match signals {
        (Ok(terminate), Ok(interrupt)) => (terminate, interrupt),
        (Err(error), _) | (_, Err(error)) => {
            return fail(&format!("cannot watch for signals: {error}"), EXIT_IO);
        }
    };
    let node = match Node::start(settings.config).await {
        Ok(node) => node,
        Err(error) => return end_with(&error, "the broker does not start"),
    };
    tokio::select! {
        biased;
        () = either(&mut terminate, &mut interrupt) => {}
        error = node.failed() => return end_with(&error, "the broker cannot go on"),
    }
    let second = async {
        // Some senders signal a process and then its group: that is one wish, not two.
        tokio::time::sleep(ONE_WISH).await;
        let _ = either(&mut terminate, &mut interrupt).now_or_never();
        either(&mut terminate, &mut interrupt).await;
    };
    tokio::select! {
        biased;
        () = second => {
            tracing::warn!("a second signal: stopping at once");
            ExitCode::from(EXIT_SECOND_SIGNAL)
        }
        clean = node.stop() => {
            tracing::info!(clean, "stopped");
            ExitCode::SUCCESS
        }
    }
}

fn end_with(error: &NodeError, what: &str) -> ExitCode {
    tracing::error!(%error, "{what}");
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(1))
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        biased;
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
