//! Progress on standard error: a bar on a terminal, a line every few seconds elsewhere.

use std::io::IsTerminal as _;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::workload::Stats;

const LINE_EVERY: Duration = Duration::from_secs(5);
const BAR_EVERY: Duration = Duration::from_millis(200);

/// What is shown.
#[derive(Clone)]
pub struct Board {
    inner: Arc<Mutex<Shown>>,
    changed: Arc<watch::Sender<u64>>,
}

struct Shown {
    began: Instant,
    phase: String,
    fault: Option<String>,
    stats: Option<Arc<Stats>>,
    wanted: u64,
}

impl Board {
    /// An empty board; `wanted` acknowledged messages fill the bar.
    #[must_use]
    pub fn new(wanted: u64) -> Self {
        let shown = Shown {
            began: Instant::now(),
            phase: "setup".to_owned(),
            fault: None,
            stats: None,
            wanted,
        };
        Self {
            inner: Arc::new(Mutex::new(shown)),
            changed: Arc::new(watch::channel(0).0),
        }
    }

    /// A phase begins.
    pub fn phase(&self, name: &str) {
        let before = std::mem::replace(&mut self.lock().phase, name.to_owned());
        if before != name {
            self.changed.send_modify(|n| *n += 1);
        }
    }

    /// The counters to show.
    pub fn counters(&self, stats: Arc<Stats>) {
        self.lock().stats = Some(stats);
    }

    /// A fault begins or ends.
    pub fn fault(&self, fault: Option<String>) {
        self.lock().fault = fault;
        self.changed.send_modify(|n| *n += 1);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shown> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn line(&self) -> (u64, u64, String) {
        let shown = self.lock();
        let seconds = shown.began.elapsed().as_secs_f64();
        let fault = shown.fault.as_deref().unwrap_or("none");
        let Some(stats) = &shown.stats else {
            return (0, shown.wanted, format!("{seconds:5.1} s  {}", shown.phase));
        };
        let get = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let acknowledged = get(&stats.acknowledged);
        let mut line = format!(
            "{seconds:5.1} s  {:<11} acknowledged {acknowledged}, polled {}, unseen {}",
            shown.phase,
            get(&stats.polled),
            stats.unseen()
        );
        let (unknown, failed, drained, corrupt) = (
            get(&stats.unknown),
            get(&stats.failed),
            get(&stats.drained),
            get(&stats.corrupt),
        );
        for (name, n) in [
            ("unknown", unknown),
            ("failed", failed),
            ("corrupt", corrupt),
        ] {
            if n > 0 {
                line.push_str(&format!(", {name} {n}"));
            }
        }
        if drained > 0 {
            line.push_str(&format!(", drained {drained}"));
        }
        line.push_str(&format!("; fault: {fault}"));
        (acknowledged, shown.wanted, line)
    }

    /// Shows the board until `stop` turns true.
    #[must_use]
    pub fn show(&self, stop: watch::Receiver<bool>) -> JoinHandle<()> {
        let board = self.clone();
        if std::io::stderr().is_terminal() {
            tokio::spawn(board.show_bar(stop))
        } else {
            tokio::spawn(board.show_lines(stop))
        }
    }

    async fn show_bar(self, mut stop: watch::Receiver<bool>) {
        let bar = ProgressBar::new(1);
        let style = ProgressStyle::with_template("[{bar:24}] {wide_msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        while !*stop.borrow() {
            let (done, wanted, line) = self.line();
            bar.set_length(wanted.max(done).max(1));
            bar.set_position(done);
            bar.set_message(line);
            let waited = tokio::time::timeout(BAR_EVERY, stop.wait_for(|stop| *stop));
            if waited.await.is_ok() {
                break;
            }
        }
        bar.finish_and_clear();
    }

    async fn show_lines(self, mut stop: watch::Receiver<bool>) {
        let mut changed = self.changed.subscribe();
        while !*stop.borrow() {
            say!("{}", self.line().2);
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                _ = changed.changed() => {}
                () = tokio::time::sleep(LINE_EVERY) => {}
            }
        }
    }
}
