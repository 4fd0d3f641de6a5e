//! The phases of a run, in order: setup, main, healed, drain, restart, drain-again, audit.
//!
//! Invariant: whatever happens after the cluster came up, it is taken down again (unless the user
//! asked to keep it), the history is finished, and what it holds is checked.

use std::path::Path;
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
use super::{Place, audit, environment, journal_dir, repeat, verdict};
use crate::cli::{RunArgs, Target, Workload};
use crate::exit::Exit;
use crate::history::{self, Event, Kind, Process, Recorder, Value, Violation};
use crate::power;
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
    place: Place,
) -> anyhow::Result<Exit> {
    let interrupts = Interrupts::listen().context("signals cannot be handled")?;
    let folder = Folder::create(&args.out, seed)
        .with_context(|| format!("no folder can be made in {}", args.out.display()))?;
    folder.make_latest()?;
    let replay = repeat::replay_command(args, seed, &folder.shown(""));
    repeat::store(&folder, args, &schedule).context("schedule.toml cannot be written")?;
    say!("seed {seed}; results in {}", folder.shown(""));
    tell_place(&place);
    let started = jiff::Timestamp::now().to_string();
    let sentry = verdict::sentry(args);
    let (recorder, recorder_thread, violation) =
        history::start_watched(&folder.file("history.jsonl"), sentry)?;
    let config = config(args, seed, Some(&place), schedule.faults.len());
    record_config(&recorder, config.clone());
    let interruption = tokio::spawn(tell_interruption(interrupts.clone(), recorder.clone()));
    let alarm = tokio::spawn(end_at(violation, interrupts.clone(), args.fail_fast));
    let began = Instant::now();
    let before = environment::pressure();
    let board = Board::new(title(args, seed, &place), args.messages(), &schedule);
    let (stop_board, board_stops) = watch::channel(false);
    let shown = board.show(board_stops, args.tui);
    let surroundings = Surroundings {
        args,
        seed,
        schedule,
        folder: &folder,
        recorder: recorder.clone(),
        board: board.clone(),
        interrupts: interrupts.clone(),
    };
    let outcome = with_site(surroundings, &place).await;

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
        "flags": repeat::flags(args, seed),
        "arguments": std::env::args().collect::<Vec<_>>(),
        "seed": seed,
        "config": config,
        "sort": power::sort::sort(args, &config, broker_of(args, &place)),
        "interrupted": interrupts.patience() > Patience::Whole,
        "environment": environment::describe(),
        "pressure": {"before": before, "after": environment::pressure()},
        "seconds": began.elapsed().as_secs_f64(),
        "broken": broken,
        "notes": notes,
    });
    folder.write_json("run.json", &summary)?;
    end(args, &folder, &broken, &replay).await
}

/// Where it runs, in words.
fn tell_place(place: &Place) {
    match place {
        Place::Own(own) => say!("runtime {}: {}", own.kind.name(), own.why),
        Place::Driven(driver) => say!("runtime external: by {}", driver.name()),
        Place::Theirs(_) => {}
    }
}

/// What run it is, for a screen.
fn title(args: &RunArgs, seed: u64, place: &Place) -> String {
    format!("seed {seed}, {}, nemesis {}", place.name(), args.nemesis())
}

/// The binary of our own broker, where it is the one under test.
fn broker_of<'a>(args: &RunArgs, place: &'a Place) -> Option<&'a Path> {
    match place {
        Place::Own(own) if args.target.target == Target::Broker => {
            Some(own.artifacts.broker.as_path())
        }
        _ => None,
    }
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

/// What our own cluster is to be.
fn cluster_spec(around: &Surroundings<'_>, journal: &Journal) -> ClusterSpec {
    let target = &around.args.target;
    ClusterSpec {
        run_id: run_id(around.folder),
        nodes: around.args.brokers,
        dir: around.folder.path().to_owned(),
        journal: journal.path().to_owned(),
        program: target.target.program(),
        image: target.image.clone(),
        disks: around.schedule.needs_disks(),
        wire: around.schedule.needs_wire(),
        broker_args: Vec::new(),
    }
}

/// Brings the cluster up, runs the phases, takes it down.
async fn with_site(around: Surroundings<'_>, place: &Place) -> anyhow::Result<Outcome> {
    let Surroundings { args, folder, .. } = around;
    let began = Instant::now();
    enter_phase(&around.recorder, &around.board, "setup")?;
    // First the journal: whoever finds something of this run tells by it whether the run lives.
    let journal = open_journal(place, args, folder)?;
    let site = match (place, &journal) {
        (Place::Own(own), Some(journal)) => {
            let spec = cluster_spec(&around, journal);
            Site::own(own.kind, &own.artifacts, args, around.seed, spec).await?
        }
        (Place::Driven(driver), Some(journal)) => {
            Site::driven(driver.clone(), run_id(folder), folder, journal).await?
        }
        (Place::Theirs(bootstrap), _) => Site::external(bootstrap).await?,
        (_, None) => bail!("there is no journal of faults"),
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
    run.tidy_up().await;
    let Run {
        broken,
        notes,
        journal,
        ..
    } = run;
    let broken = leave(&site, args.keep, journal, broken).await;
    Ok((broken, notes))
}

/// Leaves the cluster to the user, or takes it down, and the journal with it. Returns what went
/// wrong.
async fn leave(
    site: &Site,
    keep: bool,
    journal: Option<Arc<Journal>>,
    mut broken: Vec<String>,
) -> Vec<String> {
    if keep {
        broken.extend(closed(journal));
        match site.keep().await {
            Ok(()) => {
                let at = &site.bootstrap;
                match site.is_ours() {
                    true => say!("the cluster is left running at {at}; `harness heal` removes it"),
                    false => say!("the run's topics are left on the cluster at {at}"),
                }
            }
            Err(error) => broken.push(format!("the cluster could not be kept: {error:#}")),
        }
        return broken;
    }
    match site.down().await {
        Err(error) => broken.push(format!("the cluster could not be taken down: {error:#}")),
        // Nothing is left: the journal has nothing more to tell.
        Ok(()) => broken.extend(closed(journal)),
    }
    broken
}

/// Removes the journal of faults; what is wrong where it stays.
fn closed(journal: Option<Arc<Journal>>) -> Option<String> {
    let closed = journal.and_then(Arc::into_inner).map(Journal::close)?;
    let error = closed.err()?;
    Some(format!("the journal of faults cannot be removed: {error}"))
}

/// Not of the seed alone: a replay on a cluster that was kept must not meet old messages.
fn identity(seed: u64) -> u64 {
    let drawn: u64 = rand::Rng::random(&mut seed::stream(seed, Use::Identity, 0));
    drawn ^ jiff::Timestamp::now().as_nanosecond() as u64
}

/// Of whatever can be done to this cluster; nothing can to one of which only addresses are known.
fn open_journal(
    place: &Place,
    args: &RunArgs,
    folder: &Folder,
) -> anyhow::Result<Option<Arc<Journal>>> {
    if matches!(place, Place::Theirs(_)) {
        return Ok(None);
    }
    let owner = Owner {
        run: run_id(folder),
        runtime: place.name().to_owned(),
        dir: std::path::absolute(folder.path())?,
        pid: std::process::id(),
    };
    let journal = Journal::open(&journal_dir(&args.out), &owner);
    let journal = journal.context("the journal of faults cannot be written")?;
    Ok(Some(Arc::new(journal)))
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
            if self.args.target.target == Target::Kafka || !runtime.copies_data() {
                // Logs in a format that the audit does not read, or out of reach: the complete
                // passes of readers have seen what they hold.
                self.note(
                    "audit",
                    json!({"skipped": "the logs are not the reference broker's, or out of reach"}),
                );
                return self.enter("end");
            }
            self.audit(runtime.as_ref()).await?;
        }
        self.enter("end")
    }

    /// Removes what is left on somebody else's cluster, and stores what its brokers logged.
    async fn tidy_up(&mut self) {
        if self.site.is_ours() {
            return;
        }
        for failure in self.site.gather_logs().await {
            say!("{failure}");
        }
        if self.args.keep || self.topics.is_empty() {
            return;
        }
        let topics: Vec<String> = self.topics.iter().map(|c| c.topic.to_string()).collect();
        match self
            .site
            .brokers
            .delete_topics(&topics, ASK_WITHIN * 5)
            .await
        {
            Ok(()) => self.note("topics", json!({"removed": topics})),
            Err(error) => {
                let names = topics.join(", ");
                say!("left on the cluster, remove by hand: topics {names} ({error})");
                self.note("topics", json!({"left": topics, "why": error.to_string()}));
            }
        }
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
            Workload::LargeBatch => self.large_batch_main().await?,
            _ => self.batch_main().await?,
        }
        if self.patience() == Patience::None {
            return Ok(());
        }
        self.drain_all("drain").await?;
        let restarts = self.site.runtime.as_ref().is_some_and(|r| r.restarts());
        if self.hurried() || !restarts {
            return Ok(());
        }
        self.restart().await?;
        self.drain_all("drain-again").await
    }
}
