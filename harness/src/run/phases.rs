//! The phases of a run, in order: setup, main, healed, drain, restart, drain-again, audit.
//!
//! Invariant: whatever happens after the cluster came up, it is taken down again (unless the user
//! asked to keep it), the history is finished, and what it holds is checked.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use nemesis::journal::Owner;
use nemesis::{Journal, Schedule};
use serde_json::{Value as Json, json};
use tokio::sync::watch;
use tokio::time::Instant;

use super::config::{config, record_config};
use super::folder::Folder;
use super::interrupt::{Interrupts, Patience};
use super::progress::Board;
use super::site::Site;
use super::threads::on_thread;
use super::{Own, audit, environment, journal_dir, replay_command, verdict};
use crate::cli::{RunArgs, Target, Workload};
use crate::exit::Exit;
use crate::history::{self, Event, Kind, Process, Recorder, Value, Violation};
use crate::runtime::{self, ClusterSpec};
use crate::sampler;
use crate::seed::{self, Use};
use crate::workload::Clients;
use crate::workload::plan::Plan;

/// A reader that gets nothing new for this long gives up.
pub(super) const DRAIN_PATIENCE: Duration = Duration::from_secs(15);
const ASK_WITHIN: Duration = Duration::from_secs(2);

/// Everything that the phases share.
pub(super) struct Run<'a> {
    pub(super) args: &'a RunArgs,
    pub(super) seed: u64,
    pub(super) schedule: Schedule,
    pub(super) folder: &'a Folder,
    pub(super) recorder: Recorder,
    pub(super) board: Board,
    pub(super) interrupts: Interrupts,
    pub(super) site: &'a Site,
    pub(super) journal: Option<Arc<Journal>>,
    /// Tells this run's messages from another's.
    pub(super) identity: u64,
    /// One for each topic of this run.
    pub(super) topics: Vec<Clients>,
    /// Writes of the probes.
    pub(super) probes: Vec<Plan>,
    /// What failed of the test bed.
    pub(super) broken: Vec<String>,
    /// For `run.json`.
    pub(super) notes: serde_json::Map<String, Json>,
}

/// One run, from the runtime chosen to the exit code.
///
/// # Errors
/// Where the test bed fails before there is anything to check.
pub async fn run(
    args: &RunArgs,
    seed: u64,
    schedule: Schedule,
    own: Option<Own>,
) -> anyhow::Result<Exit> {
    let interrupts = Interrupts::listen().context("signals cannot be handled")?;
    let folder = Folder::create(&args.out, seed)
        .with_context(|| format!("no folder can be made in {}", args.out.display()))?;
    folder.make_latest()?;
    let replay = replay_command(args, seed);
    say!("seed {seed}; results in {}", folder.shown(""));
    if let Some(own) = &own {
        say!("runtime {}: {}", own.kind.name(), own.why);
    }
    let started = jiff::Timestamp::now().to_string();
    let sentry = verdict::sentry(args);
    let (recorder, recorder_thread, violation) =
        history::start_watched(&folder.file("history.jsonl"), sentry)?;
    let config = config(args, seed, own.as_ref(), schedule.faults.len());
    record_config(&recorder, config.clone());
    let interruption = tokio::spawn(tell_interruption(interrupts.clone(), recorder.clone()));
    let alarm = tokio::spawn(end_at(violation, interrupts.clone(), args.fail_fast));
    let began = Instant::now();
    let before = environment::pressure();
    let board = Board::new(args.messages());
    let (stop_board, board_stops) = watch::channel(false);
    let shown = board.show(board_stops);

    let surroundings = Surroundings {
        args,
        seed,
        schedule,
        folder: &folder,
        recorder: recorder.clone(),
        board: board.clone(),
        interrupts,
    };
    let outcome = with_site(surroundings, own.as_ref()).await;

    stop_board.send_replace(true);
    // The board's task only prints; its end is waited for so that the last lines come last.
    let _ = shown.await;
    let (mut broken, notes) =
        outcome.unwrap_or_else(|error| (vec![format!("{error:#}")], serde_json::Map::new()));
    alarm.abort();
    interruption.abort();
    // Aborted or done: either way it lets go of the recorder.
    let _ = interruption.await;
    if let Err(error) = recorder_thread.finish() {
        broken.push(error.to_string());
    }
    let summary = json!({
        "started": started,
        "command": replay,
        "arguments": std::env::args().collect::<Vec<_>>(),
        "seed": seed,
        "config": config,
        "environment": environment::describe(),
        "pressure": {"before": before, "after": environment::pressure()},
        "seconds": began.elapsed().as_secs_f64(),
        "broken": broken,
        "notes": notes,
    });
    folder.write_json("run.json", &summary)?;
    end(args, &folder, &broken, &replay).await
}

/// With `--fail-fast` the first violation ends the run.
async fn end_at(mut violation: Violation, interrupts: Interrupts, fail_fast: bool) {
    if !fail_fast {
        return;
    }
    let seen = match violation.wait_for(Option::is_some).await {
        Ok(seen) => seen.clone().unwrap_or_default(),
        Err(_) => return,
    };
    say!("--fail-fast: stopped by {seen}; healing, draining, checking, cleaning up");
    interrupts.end_in_good_order();
}

/// An interrupted run says so in its history: what it left undone is nobody's fault.
async fn tell_interruption(interrupts: Interrupts, recorder: Recorder) {
    interrupts.down_to(Patience::Little).await;
    let value = Value::Json(json!("interrupted"));
    recorder.record(Event::new(Process::Sampler, Kind::Ok, "phase", value));
}

async fn end(
    args: &RunArgs,
    folder: &Folder,
    broken: &[String],
    replay: &str,
) -> anyhow::Result<Exit> {
    let (args, folder) = (args.clone(), folder.clone());
    let (broken, replay) = (broken.to_vec(), replay.to_owned());
    on_thread("check", move || {
        for what in &broken {
            say!("test bed: {what}");
        }
        let verdict = verdict::check(&folder.file("history.jsonl"), &args, &broken)?;
        verdict::conclude(&folder, &args, &verdict, &replay)
    })
    .await
}

type Outcome = (Vec<String>, serde_json::Map<String, Json>);

/// What a run has before it has a cluster.
struct Surroundings<'a> {
    args: &'a RunArgs,
    seed: u64,
    schedule: Schedule,
    folder: &'a Folder,
    recorder: Recorder,
    board: Board,
    interrupts: Interrupts,
}

/// Brings the cluster up, runs the phases, takes it down.
async fn with_site(around: Surroundings<'_>, own: Option<&Own>) -> anyhow::Result<Outcome> {
    let Surroundings { args, folder, .. } = around;
    let began = Instant::now();
    enter_phase(&around.recorder, &around.board, "setup")?;
    // First the journal: whoever finds something of this run tells by it whether the run lives.
    let journal = own.map(|own| open_journal(own, args, folder)).transpose()?;
    let site = match (own, &journal, &args.bootstrap) {
        (Some(own), Some(journal), _) => {
            let spec = cluster(args, folder, journal);
            Site::own(own.kind, &own.artifacts, args, around.seed, spec).await?
        }
        (_, _, Some(bootstrap)) => Site::external(bootstrap).await?,
        _ => bail!("neither a runtime nor --bootstrap"),
    };
    let mut run = Run {
        args,
        seed: around.seed,
        schedule: around.schedule,
        folder,
        recorder: around.recorder,
        board: around.board,
        interrupts: around.interrupts,
        site: &site,
        journal,
        identity: identity(around.seed),
        topics: Vec::new(),
        probes: Vec::new(),
        broken: Vec::new(),
        notes: serde_json::Map::new(),
    };
    if let Err(error) = run.phases(began).await {
        run.broken.push(format!("{error:#}"));
    }
    let Run {
        mut broken,
        notes,
        journal,
        ..
    } = run;
    if args.keep {
        if let Some(Err(error)) = journal.and_then(Arc::into_inner).map(Journal::close) {
            broken.push(format!("the journal of faults cannot be removed: {error}"));
        }
        match site.keep().await {
            Ok(()) => {
                let at = &site.bootstrap;
                say!("the cluster is left running at {at}; `harness heal` removes it");
            }
            Err(error) => broken.push(format!("the cluster could not be kept: {error:#}")),
        }
        return Ok((broken, notes));
    }
    match site.down().await {
        Err(error) => broken.push(format!("the cluster could not be taken down: {error:#}")),
        // Nothing is left: the journal has nothing more to tell.
        Ok(()) => {
            if let Some(Err(error)) = journal.and_then(Arc::into_inner).map(Journal::close) {
                broken.push(format!("the journal of faults cannot be removed: {error}"));
            }
        }
    }
    Ok((broken, notes))
}

/// The cluster of a run, without the settings of its brokers.
fn cluster(args: &RunArgs, folder: &Folder, journal: &Journal) -> ClusterSpec {
    ClusterSpec {
        run_id: run_id(folder),
        nodes: args.brokers,
        dir: folder.path().to_owned(),
        journal: journal.path().to_owned(),
        program: args.target.target.program(),
        image: args.target.image.clone(),
        broker_args: Vec::new(),
    }
}

/// Not of the seed alone: a replay on a cluster that was kept must not meet old messages.
fn identity(seed: u64) -> u64 {
    let drawn: u64 = rand::Rng::random(&mut seed::stream(seed, Use::Identity, 0));
    drawn ^ jiff::Timestamp::now().as_nanosecond() as u64
}

fn open_journal(own: &Own, args: &RunArgs, folder: &Folder) -> anyhow::Result<Arc<Journal>> {
    let owner = Owner {
        run: run_id(folder),
        runtime: own.kind.name().to_owned(),
        dir: std::path::absolute(folder.path())?,
        pid: std::process::id(),
    };
    let journal = Journal::open(&journal_dir(&args.out), &owner);
    Ok(Arc::new(
        journal.context("the journal of faults cannot be written")?,
    ))
}

/// How runtimes and the journal name the run.
fn run_id(folder: &Folder) -> String {
    folder.name().to_lowercase()
}

fn enter_phase(recorder: &Recorder, board: &Board, name: &str) -> anyhow::Result<()> {
    let value = Value::Json(json!(name));
    recorder.record(Event::new(Process::Sampler, Kind::Ok, "phase", value));
    board.phase(name);
    recorder.flush()?;
    Ok(())
}

impl Run<'_> {
    pub(super) fn enter(&self, phase: &str) -> anyhow::Result<()> {
        enter_phase(&self.recorder, &self.board, phase)
    }

    pub(super) fn note(&mut self, name: &str, value: Json) {
        self.notes.insert(name.to_owned(), value);
    }

    pub(super) fn patience(&self) -> Patience {
        self.interrupts.patience()
    }

    /// Whether the phases that only a patient user waits for are to be left out.
    pub(super) fn hurried(&self) -> bool {
        self.patience() > Patience::Whole
    }

    pub(super) async fn phases(&mut self, began: Instant) -> anyhow::Result<()> {
        self.site.ready().await?;
        self.note("ready-seconds", json!(began.elapsed().as_secs_f64()));
        self.make_topics().await?;
        let (stop_sampling, sampling_stops) = watch::channel(false);
        let metrics = sampler::spawn_metrics(
            self.site.admin.clone(),
            self.recorder.clone(),
            &self.folder.file("metrics.jsonl"),
            sampling_stops.clone(),
        );
        let sampling = self.sampler(0).spawn(sampling_stops);
        let result = self.faulty_and_quiet_phases().await;
        stop_sampling.send_replace(true);
        // Both tasks end by themselves once told; they return nothing.
        let _ = tokio::join!(metrics, sampling);
        result?;
        if let Some(runtime) = self.site.runtime.clone()
            && self.patience() == Patience::Whole
        {
            if self.args.target.target == Target::Kafka {
                // Its logs have a format that the audit does not read; two complete passes of
                // readers have seen what they hold.
                self.note(
                    "audit",
                    json!({"skipped": "the logs are not the reference broker's"}),
                );
                return self.enter("end");
            }
            self.audit(runtime.as_ref()).await?;
        }
        self.enter("end")
    }

    /// Reads every broker's log from its disk; the brokers are stopped for it.
    pub(super) async fn audit(&mut self, runtime: &dyn runtime::Runtime) -> anyhow::Result<()> {
        self.enter("audit")?;
        let began = Instant::now();
        let mut topics = audit::Topics::new();
        for clients in &self.topics {
            let views = self
                .site
                .brokers
                .views(Some(&clients.topic), ASK_WITHIN)
                .await;
            let id = views.values().find_map(|view| view.topic_id);
            topics.extend(id.map(|id| (id, clients.topic.to_string())));
        }
        let scratch = self.folder.path();
        let failures = audit::audit(runtime, &topics, self.identity, scratch, &self.recorder).await;
        for failure in &failures {
            say!("{failure}");
        }
        let seconds = began.elapsed().as_secs_f64();
        self.note("audit", json!({"failures": failures, "seconds": seconds}));
        Ok(())
    }

    pub(super) async fn faulty_and_quiet_phases(&mut self) -> anyhow::Result<()> {
        match self.args.workload {
            Workload::Batch => self.batch_main().await?,
            Workload::LargeBatch => self.large_batch_main().await?,
        }
        if self.patience() == Patience::None {
            return Ok(());
        }
        self.drain_all("drain").await?;
        if self.hurried() || self.site.runtime.is_none() {
            return Ok(());
        }
        self.restart().await?;
        self.drain_all("drain-again").await
    }
}
