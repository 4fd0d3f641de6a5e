//! Progress on standard error: a bar on a terminal, a line every few seconds elsewhere, or the
//! whole terminal ([`super::tui`]).

use std::collections::BTreeSet;
use std::io::IsTerminal as _;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use nemesis::{Fault, Schedule, Step, StepKind};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::threads::on_thread;
use super::tui::{self, FaultLine, PartitionLine, View};
use crate::sampler::Ends;
use crate::workload::{Clients, Stats};

const LINE_EVERY: Duration = Duration::from_secs(5);
const BAR_EVERY: Duration = Duration::from_millis(200);

/// What is shown.
#[derive(Clone)]
pub struct Board {
    inner: Arc<Mutex<Shown>>,
    /// What leaders told.
    pub ends: Ends,
    changed: Arc<watch::Sender<u64>>,
}

struct Shown {
    title: String,
    began: Instant,
    phase: String,
    /// In effect, by id, in words.
    faults: Vec<(u32, String)>,
    /// All that are scheduled: id, when in milliseconds since the main phase began, in words.
    scheduled: Vec<(u32, u64, String)>,
    /// Ids of those that are over.
    over: BTreeSet<u32>,
    clients: Option<Clients>,
    wanted: u64,
}

/// Scheduled faults that are shown before they come.
const UPCOMING: usize = 2;

impl Board {
    /// An empty board; `wanted` acknowledged messages fill the bar.
    #[must_use]
    pub fn new(title: String, wanted: u64, schedule: &Schedule) -> Self {
        let words = |fault: &Fault| {
            let (kind, what) = (fault.action.kind(), fault.action.describe());
            (fault.id, fault.at_ms, format!("{kind}: {what}"))
        };
        let shown = Shown {
            title,
            began: Instant::now(),
            phase: "setup".to_owned(),
            faults: Vec::new(),
            scheduled: schedule.faults.iter().map(words).collect(),
            over: BTreeSet::new(),
            clients: None,
            wanted,
        };
        Self {
            inner: Arc::new(Mutex::new(shown)),
            ends: Ends::default(),
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

    /// The clients whose counters are shown.
    pub fn counters(&self, clients: &Clients) {
        self.lock().clients = Some(clients.clone());
    }

    /// A fault begins or ends.
    pub fn fault(&self, step: &Step) {
        let id = step.fault.id;
        let mut shown = self.lock();
        shown.faults.retain(|(other, _)| *other != id);
        match step.kind {
            StepKind::Asked | StepKind::Effective => {
                let targets: Vec<String> = step.targets.iter().map(ToString::to_string).collect();
                let kind = step.fault.action.kind();
                let words = format!("{kind} of {}", targets.join(" "));
                shown.faults.push((id, words));
            }
            StepKind::Healed | StepKind::Verified | StepKind::Skipped => {
                shown.over.insert(id);
            }
        }
        drop(shown);
        self.changed.send_modify(|n| *n += 1);
    }

    /// Everything, for the whole terminal.
    #[must_use]
    pub fn view(&self) -> View {
        let ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        let ends = ends.clone();
        let shown = self.lock();
        let mut view = View {
            title: shown.title.clone(),
            seconds: shown.began.elapsed().as_secs_f64(),
            phase: shown.phase.clone(),
            acknowledged: (0, shown.wanted),
            over: (shown.over.len(), shown.scheduled.len()),
            ..View::default()
        };
        let now = shown.faults.iter().map(|(_, words)| FaultLine {
            now: true,
            words: words.clone(),
        });
        let begun = |id: &u32| shown.over.contains(id) || shown.faults.iter().any(|f| f.0 == *id);
        let next = shown.scheduled.iter().filter(|(id, _, _)| !begun(id));
        let next = next.take(UPCOMING).map(|(_, at_ms, words)| FaultLine {
            now: false,
            words: format!(
                "{words} (at {:.1} s of the main phase)",
                *at_ms as f64 / 1000.0
            ),
        });
        view.faults = now.chain(next).collect();
        let Some(clients) = &shown.clients else {
            return view;
        };
        let stats = &clients.stats;
        view.acknowledged.0 = stats.acknowledged.load(Ordering::Relaxed);
        view.counts = counts(stats);
        let (acknowledged, read) = (clients.acknowledged_to(), clients.seen_to());
        let partitions = (0_i32..).zip(acknowledged.iter().zip(&read));
        view.partitions = partitions
            .map(|(partition, (acknowledged, read))| {
                let end = ends.get(&partition);
                PartitionLine {
                    partition,
                    leader: end.map(|end| end.leader),
                    epoch: end.map(|end| end.epoch),
                    acknowledged: *acknowledged,
                    watermark: end.map(|end| end.high_watermark),
                    read: *read,
                }
            })
            .collect();
        view
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shown> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn line(&self) -> (u64, u64, String) {
        let shown = self.lock();
        let seconds = shown.began.elapsed().as_secs_f64();
        let Some(clients) = &shown.clients else {
            return (0, shown.wanted, format!("{seconds:5.1} s  {}", shown.phase));
        };
        let faults: Vec<&str> = shown
            .faults
            .iter()
            .map(|(_, words)| words.as_str())
            .collect();
        let faults = if faults.is_empty() {
            "none".to_owned()
        } else {
            faults.join(", ")
        };
        let stats = &clients.stats;
        let acknowledged = stats.acknowledged.load(Ordering::Relaxed);
        let mut line = format!(
            "{seconds:5.1} s  {:<11} acknowledged {acknowledged}",
            shown.phase
        );
        for (name, n) in counts(stats) {
            line.push_str(&format!(", {name} {n}"));
        }
        line.push_str(&format!("; fault: {faults}"));
        (acknowledged, shown.wanted, line)
    }

    /// Shows the board until `stop` turns true; on the whole terminal if `whole` asks for it and
    /// there is one.
    #[must_use]
    pub fn show(&self, stop: watch::Receiver<bool>, whole: bool) -> JoinHandle<()> {
        let board = self.clone();
        let terminal = std::io::stderr().is_terminal();
        if whole && !terminal {
            say!("--tui needs a terminal on standard error; progress is told in lines");
        }
        if whole && terminal {
            tokio::spawn(async move {
                let shown = on_thread("tui", {
                    let (board, stop) = (board.clone(), stop.clone());
                    move || tui::show(&board, &stop)
                });
                if let Err(error) = shown.await {
                    say!("--tui is not possible here ({error}); progress is told in lines");
                    board.show_lines(stop).await;
                }
            })
        } else if terminal {
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

/// Counts with their names; what should not be is told only if it is.
fn counts(stats: &Stats) -> Vec<(&'static str, u64)> {
    let get = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let always = [("polled", get(&stats.polled)), ("unseen", stats.unseen())];
    let some = [
        ("unknown", get(&stats.unknown)),
        ("failed", get(&stats.failed)),
        ("corrupt", get(&stats.corrupt)),
        ("drained", get(&stats.drained)),
    ];
    let some = some.into_iter().filter(|(_, count)| *count > 0);
    always.into_iter().chain(some).collect()
}
