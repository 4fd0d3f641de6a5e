//! Histories of a correct cluster, out of a seed: what a good checker must never complain about.
//! (Of a store of lists too: see [`lists`].)
//!
//! A small model of a replicated log with producers, consumers, transactions and a sampler. It does
//! everything that a correct cluster may do to its clients: operations run at the same time, their
//! effects come at any moment between invocation and completion, or after it; producers are left
//! without an answer, and what they sent appears later, or never, or for certain never; leaders
//! change, the unreplicated end of a log is cut off and its offsets are given out again; deposed
//! leaders go on answering; transactions abort; control records leave gaps; consumers crash, are
//! reassigned and start over. It never loses what it has acknowledged or shown.
//!
//! Used by the checker's own tests and benches, and by `checker generate`. Deterministic: the same
//! plan gives the same bytes.

mod clients;
mod damage;
mod inject;
mod lists;
mod partition;
mod record;

use std::collections::BTreeMap;
use std::io::{self, Write};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub use inject::{Injection, Injector};

use clients::Clients;
use partition::Partition;
use record::Recorder;

use crate::Model;

/// What to generate.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where all chance comes from.
    pub seed: u64,
    /// Of logs, or of lists: then partitions are the keys in use at a time, and a batch is a
    /// transaction.
    pub model: Model,
    /// Client operations to run, about.
    pub operations: u64,
    /// Producers and consumers at work at any time.
    pub clients: u32,
    /// Partitions.
    pub partitions: u32,
    /// Messages in a batch, at most.
    pub batch: u32,
    /// Records that one poll returns, at most.
    pub poll: u32,
    /// Share of operations that are transactions.
    pub transactions: f64,
    /// Share of operations left without an answer, and as many again that fail.
    pub trouble: f64,
    /// Chance, at each operation, that some partition changes its leader.
    pub failover: f64,
    /// Chance, at each operation, that the sampler asks a broker.
    pub sampling: f64,
    /// Two complete passes and the audit of every replica at the end.
    pub drains: bool,
    /// Faults to put in, each with its chance at each operation.
    pub inject: Vec<(Injection, f64)>,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan {
            seed: 0,
            model: Model::Kafka,
            operations: 1000,
            clients: 20,
            partitions: 6,
            batch: 4,
            poll: 32,
            transactions: 0.0,
            trouble: 0.08,
            failover: 0.01,
            sampling: 0.1,
            drains: true,
            inject: Vec::new(),
        }
    }
}

/// The cluster, as far as clients can tell.
struct World {
    random: ChaCha8Rng,
    injector: Injector,
    partitions: Vec<Partition>,
    brokers: i64,
}

impl World {
    fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.random.random_bool(probability.min(1.0))
    }

    fn pick(&mut self, below: usize) -> usize {
        self.random.random_range(0..below)
    }
}

/// Writes a history, one event a line; gives back how many faults of each kind were put in.
///
/// # Errors
/// Those of the writer.
pub fn generate(plan: &Plan, out: &mut impl Write) -> io::Result<BTreeMap<&'static str, u64>> {
    let mut world = World {
        random: ChaCha8Rng::seed_from_u64(plan.seed),
        injector: Injector::new(&plan.inject),
        partitions: (0..plan.partitions.max(1)).map(Partition::new).collect(),
        brokers: 3,
    };
    match plan.model {
        Model::ListAppend => lists::generate(plan, &mut world, out)?,
        Model::Kafka => logs(plan, &mut world, out)?,
    }
    Ok(world.injector.done)
}

fn logs(plan: &Plan, world: &mut World, out: &mut impl Write) -> io::Result<()> {
    let mut recorder = Recorder::new(out);
    recorder.config(plan)?;
    recorder.phase("main")?;
    let mut clients = Clients::new(plan, world);
    let mut steps = 0u64;
    while clients.started < plan.operations || clients.busy() {
        clients.step(world, &mut recorder, clients.started < plan.operations)?;
        disturb(plan, world);
        if world.chance(plan.sampling / 3.0) {
            sample(world, &mut recorder)?;
        }
        steps += 1;
        assert!(
            steps < plan.operations.saturating_mul(1000) + 1_000_000,
            "the model is stuck"
        );
    }
    settle(world, &mut clients);
    if !plan.drains {
        clients.catch_up(world, &mut recorder)?;
    }
    for broker in 1..=world.brokers {
        recorder.sample(&world.partitions, broker, false)?;
    }
    if !plan.drains {
        return Ok(());
    }
    for phase in ["drain", "drain-again"] {
        recorder.phase(phase)?;
        clients.drain(world, &mut recorder)?;
        for broker in 1..=world.brokers {
            recorder.sample(&world.partitions, broker, false)?;
        }
    }
    for partition in &world.partitions {
        for broker in 1..=world.brokers {
            recorder.audit(partition, broker)?;
        }
    }
    Ok(())
}

/// An operation begins: a fault may fall due.
fn tick(world: &mut World) {
    let mut injector = std::mem::take(&mut world.injector);
    injector.tick(world);
    world.injector = injector;
}

/// Replication goes on, and leaders change.
fn disturb(plan: &Plan, world: &mut World) {
    // Two bits for each partition: three times of four.
    for some in world.partitions.chunks_mut(32) {
        let mut bits: u64 = world.random.random();
        for partition in some {
            if bits & 3 != 0 {
                partition.replicate();
            }
            bits >>= 2;
        }
    }
    if world.chance(plan.failover / 3.0) {
        let at = world.pick(world.partitions.len());
        let brokers = world.brokers;
        world.partitions[at].fail_over(&mut world.random, brokers);
    }
}

/// One question to one broker; now and then one that does not know that it was deposed.
fn sample(world: &mut World, recorder: &mut Recorder<impl Write>) -> io::Result<()> {
    let broker = world.random.random_range(1..=world.brokers);
    recorder.sample_invoked()?;
    for at in 0..world.partitions.len() {
        if world.chance(0.3) {
            world.partitions[at].replicate();
        }
    }
    let led = |partition: &Partition| partition.leader == broker && partition.watermark > 100;
    if !world.injector.idle()
        && let Some(at) = world.partitions.iter().position(led)
        && world.injector.take(Injection::WatermarkRegression)
    {
        let right = world.partitions[at].watermark;
        world.partitions[at].watermark = right - 100;
        recorder.sample(&world.partitions, broker, true)?;
        world.partitions[at].watermark = right;
        recorder.sample_invoked()?;
    }
    recorder.sample(&world.partitions, broker, true)
}

/// Nothing is in flight any more.
fn settle(world: &mut World, clients: &mut Clients) {
    clients.deliver_late(world, 1.0);
    for partition in &mut world.partitions {
        partition.replicate();
        partition.forget_deposed();
    }
}
