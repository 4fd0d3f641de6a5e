//! One seed from an empty world to its history: the phases of a run, in simulated time.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use broker::chaos::seeded_bug::BugSet;
use broker::config::BrokerConfig;
use broker::log::dump::scan_log_on;
use broker::sim::{Links, World};
use broker::storage::Storage;
use broker::types::Durability;
use futures_util::future::join_all;
use nemesis::{
    Cluster as _, Execution, Executor, Journal, NodeId, Observer, Ports, Schedule, Step,
};
use rand::Rng as _;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::cli::{DurabilityName, RunArgs};
use crate::clients::{ClientSettings, Library};
use crate::history::{self, Event, Kind, Memory, Process, Recorder, Value};
use crate::kafka::{Brokers, newest};
use crate::roles::MetadataRoles;
use crate::run::audit;
use crate::run::config::config;
use crate::run::main_phase::{plan_spec, writers};
use crate::run::phases::DRAIN_PATIENCE;
use crate::run::recovery;
use crate::run::site::{LAG_MAX_MS, Site};
use crate::run::verdict;
use crate::runtime::sim::{Crash, Ended, SimCluster, address_of};
use crate::sampler::Sampler;
use crate::seed::{self, Use};
use crate::workload::drain::drain;
use crate::workload::plan::{Plan, PlanSpec};
use crate::workload::{Clients, consumers, producers};

use super::churn;

/// The main phase ends this long after its time, however few messages were acknowledged.
const MAIN_OVERTIME: Duration = Duration::from_secs(30);
const TICK: Duration = Duration::from_millis(100);
const RANGES_WITHIN: Duration = Duration::from_secs(10);
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// Where a simulated broker keeps its log.
const LOG_DIR: &str = "/data/log";
/// Small WAL files, so that they roll in every run.
const WAL_ROLL_BYTES: u64 = 256 << 10;
/// Checkpoints are often, too, and old records are looked for often.
const CHECKPOINT_BYTES: u64 = 512 << 10;
const RETENTION_CHECK: Duration = Duration::from_millis(500);

/// What one seed came to.
#[derive(Clone, Debug, Default)]
pub struct Simulated {
    /// The history, as a file would hold it.
    pub history: Vec<u8>,
    /// What failed of the test bed, or of a broker in a way that no history shows.
    pub broken: Vec<String>,
    /// Assertions that failed in a broker.
    pub panics: Vec<String>,
    /// Messages acknowledged.
    pub acknowledged: u64,
    /// Leader epochs begun after the first ones.
    pub elections: u64,
    /// Simulated time.
    pub simulated: Duration,
}

impl Simulated {
    /// Whether the seed did enough to count.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.acknowledged >= 1000 && self.elections >= 1 && self.simulated.as_secs() >= 30
    }
}

/// Simulates one seed on this thread.
///
/// # Errors
/// Where the operating system gives no runtime.
pub fn simulate(args: &RunArgs, seed: u64, schedule: Schedule) -> std::io::Result<Simulated> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .rng_seed(tokio::runtime::RngSeed::from_bytes(&seed.to_be_bytes()))
        .build()?;
    let mut rng = seed::stream(seed, Use::World, 0);
    let links = links(&mut rng);
    let clocks = clock_rates(&mut rng, args.brokers);
    let world = World::new(rng.random(), links);
    let _entered = world.enter();
    let mut outcome = Simulated::default();
    runtime.block_on(async {
        let cluster = SimCluster::new(&world, rng.random(), &clocks, &common(args));
        let sentry = args.fail_fast.then(|| verdict::sentry(args));
        let (recorder, memory) = history::in_memory(sentry);
        let mut config = config(args, seed, None, schedule.faults.len());
        config["runtime"] = json!("sim");
        config["clock-rates"] = json!(clocks);
        config["links"] = json!({"latency-us": links.latency.1.as_micros() as u64,
            "loss": links.loss});
        recorder.record(sampled("config", config));
        let mut stage = Stage::new(args, seed, cluster.clone(), recorder, memory.clone());
        let began = Instant::now();
        if let Err(error) = stage.phases(schedule).await {
            stage.outcome.broken.push(format!("{error:#}"));
        }
        outcome = std::mem::take(&mut stage.outcome);
        outcome.simulated = began.elapsed();
        for Ended {
            node,
            why,
            panicked,
        } in cluster.ended()
        {
            let line = format!("broker {}: {why}", node.0);
            if panicked {
                outcome.panics.push(line);
            } else {
                outcome.broken.push(line);
            }
        }
        cluster.end_all(Crash::PowerLoss);
        outcome.history = memory.take();
    });
    // Before the world is left: what the tasks hold ends in it.
    drop(runtime);
    Ok(outcome)
}

/// Most seeds have a quiet network, some a slow or a lossy one.
fn links(rng: &mut impl rand::Rng) -> Links {
    let most = [1, 1, 2, 10][rng.random_range(0..4)];
    Links {
        latency: (Duration::from_micros(50), Duration::from_millis(most)),
        loss: [0.0, 0.0, 0.001, 0.01][rng.random_range(0..4)],
        ..Links::default()
    }
}

/// In half of the seeds clocks do not run alike: by up to a fifth too fast or too slow.
fn clock_rates(rng: &mut impl rand::Rng, brokers: u32) -> Vec<f64> {
    let apart = [0.0, 0.0, 0.02, 0.2][rng.random_range(0..4)];
    let rate = |_| 1.0 + apart * rng.random_range(-1.0..=1.0);
    (0..brokers).map(rate).collect()
}

/// What all brokers have in common: the defaults, as in the containers.
fn common(args: &RunArgs) -> BrokerConfig {
    BrokerConfig {
        wal_roll_bytes: WAL_ROLL_BYTES,
        log_checkpoint_bytes: CHECKPOINT_BYTES,
        log_verify_bytes: 0,
        log_scrub_bytes_per_second: 0,
        log_retention_check_interval: RETENTION_CHECK,
        replica_lag_time_max: Duration::from_millis(LAG_MAX_MS),
        durability: match args.durability() {
            DurabilityName::Fsync => Durability::Fsync,
            DurabilityName::Replicated => Durability::Replicated,
        },
        min_insync_replicas: args.min_insync_replicas(),
        bugs: args
            .seeded_bug
            .map_or(BugSet::NONE, |bug| BugSet::NONE.with(bug)),
        ..BrokerConfig::default()
    }
}

fn sampled(f: &'static str, value: serde_json::Value) -> Event {
    Event::new(Process::Sampler, Kind::Ok, f, Value::Json(value))
}

/// Writes each step of a fault into the history.
struct Scribe(Recorder);

impl Observer for Scribe {
    fn step(&self, step: &Step) {
        let name = step.fault.action.kind().name();
        let value = Value::Json(step.value.clone());
        self.0
            .record(Event::new(Process::Nemesis, Kind::Info, name, value));
    }
}

struct Stage<'a> {
    args: &'a RunArgs,
    seed: u64,
    cluster: Arc<SimCluster>,
    site: Site,
    /// Of the brokers.
    addresses: Vec<(i32, String)>,
    recorder: Recorder,
    memory: Memory,
    outcome: Simulated,
}

impl<'a> Stage<'a> {
    fn new(
        args: &'a RunArgs,
        seed: u64,
        cluster: Arc<SimCluster>,
        recorder: Recorder,
        memory: Memory,
    ) -> Self {
        let addresses: Vec<(i32, String)> = (1..=args.brokers)
            .map(|id| {
                let address = address_of(NodeId(id));
                let id = i32::try_from(id).expect("few brokers");
                (id, format!("{address}:{}", Ports::REFERENCE.client))
            })
            .collect();
        let names: Vec<&str> = addresses.iter().map(|(_, name)| name.as_str()).collect();
        let site = Site {
            runtime: None,
            bootstrap: names.join(","),
            brokers: Arc::new(Brokers::new(addresses.clone())),
            admin: Vec::new(),
        };
        Self {
            addresses,
            args,
            seed,
            cluster,
            site,
            recorder,
            memory,
            outcome: Simulated::default(),
        }
    }

    fn enter(&self, phase: &str) {
        self.recorder.record(sampled("phase", json!(phase)));
    }

    async fn phases(&mut self, schedule: Schedule) -> anyhow::Result<()> {
        self.enter("setup");
        self.cluster.start_all();
        self.site.ready().await?;
        let identity: u64 = seed::stream(self.seed, Use::Identity, 0).random();
        let topic: Arc<str> = Arc::from(format!("sim-{:06x}", identity & 0xFF_FFFF));
        let partitions = self.site.create_topic(&topic, self.args).await?;
        let settings = ClientSettings {
            bootstrap: self.site.bootstrap.clone(),
            acks: self.args.acks,
            idempotence: self.args.idempotence(),
            delivery_timeout: self.args.delivery_timeout,
            library: Library::Own,
        };
        let clients = Clients::new(
            self.recorder.clone(),
            settings,
            topic.clone(),
            partitions,
            identity,
        );
        let spec = plan_spec(self.args, self.seed, partitions);
        let mut probes = Plan::new(&spec, spec.writers - 1);
        let sampler = Sampler {
            brokers: self.site.brokers.clone(),
            recorder: self.recorder.clone(),
            topic,
            partitions,
        };
        let (stop, stopped) = watch::channel(false);
        let churning = tokio::spawn({
            let (addresses, stopped) = (self.addresses.clone(), stopped.clone());
            // Its own connections: who asks for the history must not wait for it.
            let brokers = Brokers::new(addresses.clone());
            async move { churn::run(&brokers, &addresses, stopped).await }
        });
        let sampling = sampler.clone().spawn(stopped);
        let first = self.epochs(&clients).await;
        self.main_phase(&clients, &spec, schedule, &mut probes)
            .await?;
        self.drain(&clients, &sampler, "drain").await;
        if self.stops() {
            self.enter("interrupted");
        } else {
            self.restart(&clients, &mut probes).await?;
            self.drain(&clients, &sampler, "drain-again").await;
        }
        let views = self
            .site
            .brokers
            .views(Some(&clients.topic), TICK * 10)
            .await;
        let id = views.values().find_map(|view| view.topic_id);
        self.outcome.elections = self.epochs(&clients).await.saturating_sub(first);
        self.outcome.acknowledged = clients.stats.acknowledged.load(Ordering::Relaxed);
        stop.send_replace(true);
        sampling.await?;
        churning.await?;
        self.audit(
            id.map(|id| (id, clients.topic.to_string()))
                .into_iter()
                .collect(),
            identity,
        )
        .await?;
        self.enter("end");
        Ok(())
    }

    /// Whether `--fail-fast` ends the run here.
    fn stops(&self) -> bool {
        self.memory.violation().is_some()
    }

    /// Stops every broker and tells what its disk holds.
    async fn audit(&self, topics: audit::Topics, identity: u64) -> anyhow::Result<()> {
        self.enter("audit");
        let stops = self.cluster.nodes();
        let stops = stops
            .iter()
            .map(|node| self.cluster.stop(*node, STOP_WITHIN));
        for stopped in join_all(stops).await {
            stopped?;
        }
        for node in self.cluster.nodes() {
            let event = |kind, value| Event::new(Process::Sampler, kind, "audit", value);
            self.recorder
                .record(event(Kind::Invoke, Value::Json(json!(null))));
            let disk: Arc<dyn Storage> = Arc::new(self.cluster.disk_of(node)?);
            let text = audit::told(node.0, &topics, identity, |found| {
                Ok(scan_log_on(&disk, LOG_DIR.as_ref(), found)?)
            })?;
            self.recorder.record(event(Kind::Ok, Value::Text(text)));
        }
        Ok(())
    }

    /// All leader epochs of the topic together.
    async fn epochs(&self, clients: &Clients) -> u64 {
        let views = self
            .site
            .brokers
            .views(Some(&clients.topic), TICK * 10)
            .await;
        let newest = newest(&views);
        let epochs = newest.values().map(|view| u64::try_from(view.epoch));
        epochs.map(|epoch| epoch.unwrap_or(0)).sum()
    }

    async fn main_phase(
        &mut self,
        clients: &Clients,
        spec: &PlanSpec,
        schedule: Schedule,
        probes: &mut Plan,
    ) -> anyhow::Result<()> {
        self.enter("main");
        let start = Instant::now();
        let (sending, reading) = (clients.group(), clients.group());
        let producing: Vec<JoinHandle<()>> = writers(self.args, spec)
            .into_iter()
            .map(|(plan, pace)| {
                let mine = sending.clone();
                tokio::spawn(async move { producers::run(&mine, plan, pace, start).await })
            })
            .collect();
        let consuming: Vec<JoinHandle<()>> = (0..self.args.consumers)
            .map(|number| {
                let mine = reading.clone();
                let share = consumers::share(mine.partitions, self.args.consumers, number);
                tokio::spawn(async move { consumers::run(&mine, &share).await })
            })
            .collect();
        let (stop, stopped) = watch::channel(false);
        let nemesis = self.nemesis(clients, schedule, start, stopped);
        self.wait_for_main(clients, &nemesis, start).await;
        if self.stops() {
            stop.send_replace(true);
        }
        sending.stop();
        self.judge(nemesis.await?);
        self.enter("healed");
        for producer in producing {
            producer.await?;
        }
        self.recover(clients, probes).await;
        reading.stop();
        for consumer in consuming {
            consumer.await?;
        }
        Ok(())
    }

    fn nemesis(
        &self,
        clients: &Clients,
        schedule: Schedule,
        start: Instant,
        stopped: watch::Receiver<bool>,
    ) -> JoinHandle<Execution> {
        let roles = MetadataRoles::new(self.site.brokers.clone(), clients.topic.clone());
        let executor = Executor {
            cluster: self.cluster.clone(),
            roles: Arc::new(roles),
            observer: Arc::new(Scribe(self.recorder.clone())),
            journal: Arc::new(Journal::unwritten()),
        };
        tokio::spawn(async move { executor.run(&schedule, start, stopped).await })
    }

    fn judge(&mut self, execution: Execution) {
        let failure = execution.error.map(|error| error.to_string());
        self.outcome.broken.extend(failure);
    }

    async fn wait_for_main(
        &self,
        clients: &Clients,
        nemesis: &JoinHandle<Execution>,
        start: Instant,
    ) {
        let latest = self.args.time + MAIN_OVERTIME;
        loop {
            let acknowledged = clients.stats.acknowledged.load(Ordering::Relaxed);
            let done = start.elapsed() >= self.args.time
                && nemesis.is_finished()
                && acknowledged >= self.args.messages();
            if done || start.elapsed() >= latest || self.stops() {
                return;
            }
            tokio::time::sleep(TICK).await;
        }
    }

    async fn recover(&mut self, clients: &Clients, probes: &mut Plan) {
        let limit = self.args.recovery_limit;
        recovery::wait(clients, &self.site.brokers, probes, limit, &|| false).await;
    }

    async fn drain(&self, clients: &Clients, sampler: &Sampler, phase: &str) {
        self.enter(phase);
        let clients = clients.group();
        let acknowledged_to = clients.acknowledged_to();
        let ranges = sampler.ranges(&acknowledged_to, RANGES_WITHIN).await;
        drain(&clients, &ranges, self.args.consumers, DRAIN_PATIENCE).await;
        sampler.ranges(&acknowledged_to, RANGES_WITHIN).await;
    }

    /// Every broker dies at once. In fsync mode the power goes, which must not matter.
    async fn restart(&mut self, clients: &Clients, probes: &mut Plan) -> anyhow::Result<()> {
        self.enter("restart");
        self.cluster.end_all(match self.args.durability() {
            DurabilityName::Fsync => Crash::TornWrites,
            DurabilityName::Replicated => Crash::Kill,
        });
        self.cluster.start_all();
        self.site.ready().await?;
        self.recover(clients, probes).await;
        Ok(())
    }
}
