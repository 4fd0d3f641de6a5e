//! The phases in which clients and nemesis are at work: topics, then the workload.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::faults::AtWork;
use super::interrupt::Patience;
use super::phases::{DRAIN_PATIENCE, Run};
use super::threads::on_thread;
use crate::cli::{RunArgs, Workload};
use crate::clients::{ClientSettings, Library, finished};
use crate::workload::large_batch;
use crate::workload::pace::Pace;
use crate::workload::plan::{Plan, PlanSpec};
use crate::workload::{Clients, consumers, producers};

/// The main phase ends this long after its time, however few messages were acknowledged.
const MAIN_OVERTIME: Duration = Duration::from_secs(60);
const TICK: Duration = Duration::from_millis(50);
/// Messages of a trickle's batch, and the time between two of them.
const TRICKLE_BATCH: usize = 20;
const TRICKLE_PERIOD: Duration = Duration::from_millis(100);

/// What the writers of one topic have in common; the last writer is the one of the probes.
pub(super) fn plan_spec(args: &RunArgs, seed: u64, partitions: i32) -> PlanSpec {
    PlanSpec {
        seed,
        writers: args.producers + args.trickles + 1,
        partitions,
        batch: args.batch as usize,
        bytes: args.size.clone(),
    }
}

/// The plan and the pace of each producer of the main phase.
pub(super) fn writers(args: &RunArgs, large: &PlanSpec) -> Vec<(Plan, Pace)> {
    let small = PlanSpec {
        batch: TRICKLE_BATCH,
        ..large.clone()
    };
    let (producers, trickles) = (args.producers, args.trickles);
    let writers = (0..producers + trickles).map(|number| {
        let Some(trickle) = number.checked_sub(producers) else {
            let pace = Pace::new(args.rate(), large.batch, producers, number);
            return (Plan::new(large, number), pace);
        };
        // Of its own: one that cannot be written to holds up nobody else's.
        let partitions = u32::try_from(large.partitions).unwrap_or(1);
        let plan = Plan::new(&small, number).bound_to((trickle % partitions).cast_signed());
        (plan, Pace::every(TRICKLE_PERIOD))
    });
    writers.collect()
}

impl Run<'_> {
    pub(super) async fn make_topics(&mut self) -> anyhow::Result<()> {
        let identity = self.identity;
        let count = match self.args.workload {
            Workload::Batch => 1,
            Workload::LargeBatch => self.args.repeat,
        };
        let word = match self.args.workload {
            Workload::Batch => "batch",
            Workload::LargeBatch => "large",
        };
        for number in 0..count {
            let name: Arc<str> = Arc::from(format!("{word}-{:06x}.{number}", identity & 0xFF_FFFF));
            let partitions = self.site.create_topic(&name, self.args).await?;
            let clients = match self.topics.first() {
                Some(first) => first.on_topic(name),
                None => {
                    let settings = ClientSettings {
                        bootstrap: self.site.bootstrap.clone(),
                        acks: self.args.acks,
                        idempotence: self.args.idempotence(),
                        delivery_timeout: self.args.delivery_timeout,
                        library: Library::Librdkafka,
                    };
                    Clients::new(self.recorder.clone(), settings, name, partitions, identity)
                }
            };
            self.topics.push(clients);
            let spec = self.plan_spec(partitions, number);
            self.probes.push(Plan::new(&spec, spec.writers - 1));
        }
        Ok(())
    }

    pub(super) fn plan_spec(&self, partitions: i32, topic: u32) -> PlanSpec {
        let seed = self.seed.wrapping_add(u64::from(topic) << 48);
        plan_spec(self.args, seed, partitions)
    }

    fn start_producers(
        &self,
        sending: &Clients,
        start: Instant,
    ) -> std::io::Result<Vec<JoinHandle<()>>> {
        let large = self.plan_spec(sending.partitions, 0);
        let writers = (0_u32..).zip(writers(self.args, &large));
        let started = writers
            .map(|(number, (plan, pace))| producers::spawn(sending, number, plan, pace, start));
        started.collect()
    }

    pub(super) async fn batch_main(&mut self) -> anyhow::Result<()> {
        let clients = self.topics[0].clone();
        self.board.counters(clients.stats.clone());
        self.enter("main")?;
        let start = Instant::now();
        let (sending, reading) = (clients.group(), clients.group());
        let producing = self.start_producers(&sending, start)?;
        let mut consuming = Vec::new();
        for number in 0..self.args.consumers {
            let share = consumers::share(clients.partitions, self.args.consumers, number);
            if !share.is_empty() {
                consuming.push(consumers::spawn(&reading, number, share)?);
            }
        }
        let nemesis = self.begin_faults(clients.topic.clone(), start);
        self.wait_for_main(&clients, nemesis.as_ref(), start).await;
        sending.stop();
        self.end_faults(nemesis).await;
        self.enter("healed")?;
        self.join(producing, &sending).await;
        self.recover(0).await;
        reading.stop();
        self.join(consuming, &reading).await;
        let stats = &clients.stats;
        let get = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let main = json!({
            "seconds": start.elapsed().as_secs_f64(),
            "invoked": get(&stats.invoked),
            "acknowledged": get(&stats.acknowledged),
            "polled": get(&stats.polled),
            "unknown": get(&stats.unknown),
            "failed": get(&stats.failed),
            "corrupt": get(&stats.corrupt),
        });
        self.note("main", main);
        Ok(())
    }

    pub(super) fn begin_faults(&self, topic: Arc<str>, start: Instant) -> Option<AtWork> {
        AtWork::begin(
            self.site,
            self.schedule.clone(),
            self.journal.clone(),
            &self.recorder,
            &self.board,
            topic,
            start,
        )
    }

    pub(super) async fn end_faults(&mut self, nemesis: Option<AtWork>) {
        let mut executed = json!([]);
        if let Some(nemesis) = nemesis {
            nemesis.stop();
            let (faults, failure) = nemesis.end().await;
            executed = faults;
            self.broken.extend(failure);
        }
        let stored = json!({"generated": self.schedule, "executed": executed});
        if let Err(error) = self.folder.write_json("schedule.json", &stored) {
            self.broken
                .push(format!("schedule.json cannot be written: {error}"));
        }
    }

    /// Until the faults are over, the time is, and enough was acknowledged; or it is enough.
    pub(super) async fn wait_for_main(
        &self,
        clients: &Clients,
        nemesis: Option<&AtWork>,
        start: Instant,
    ) {
        let latest = self.args.time + MAIN_OVERTIME;
        loop {
            let acknowledged = clients.stats.acknowledged.load(Ordering::Relaxed);
            let done = start.elapsed() >= self.args.time
                && nemesis.is_none_or(AtWork::is_over)
                && acknowledged >= self.args.messages();
            let enough = done || self.hurried() || start.elapsed() >= latest;
            if enough || self.recorder.failure().is_some() {
                return;
            }
            tokio::time::sleep(TICK).await;
        }
    }

    /// Waits for client threads; an impatient user makes their operations be given up.
    pub(super) async fn join(
        &mut self,
        threads: Vec<std::thread::JoinHandle<()>>,
        clients: &Clients,
    ) {
        let joining = on_thread("join", move || {
            let ends = threads.into_iter().map(std::thread::JoinHandle::join);
            ends.filter(Result::is_err).count()
        });
        let interrupts = self.interrupts.clone();
        let hurry = async {
            interrupts.down_to(Patience::Little).await;
            clients.abandon();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            panics = joining => if panics > 0 {
                self.broken.push(format!("{panics} client threads panicked"));
            },
            () = hurry => {}
        }
    }

    pub(super) async fn large_batch_main(&mut self) -> anyhow::Result<()> {
        self.enter("main")?;
        let start = Instant::now();
        let first_topic = self.topics[0].topic.clone();
        let nemesis = self.begin_faults(first_topic, start);
        let mut passes = Vec::new();
        for number in 0..self.topics.len() {
            if self.hurried() {
                break;
            }
            let clients = self.topics[number].clone();
            self.board.counters(clients.stats.clone());
            let messages = usize::try_from(self.args.messages()).unwrap_or(usize::MAX);
            let spec = PlanSpec {
                batch: messages,
                ..self.plan_spec(clients.partitions, u32::try_from(number).unwrap_or(0))
            };
            let pass = on_thread("large-batch", move || {
                let plan = &mut Plan::new(&spec, 0);
                finished(large_batch::run_once(&clients, plan, DRAIN_PATIENCE))
            })
            .await;
            say!("{pass}");
            passes.push(pass);
        }
        if !self.args.json {
            for pass in &passes {
                tell!("{pass}");
            }
        }
        self.note("large-batch", json!(passes));
        self.end_faults(nemesis).await;
        self.enter("healed")?;
        self.recover(0).await;
        Ok(())
    }
}
