//! Brokers die between the steps of a commit of the metadata: appended, synced, committed,
//! applied. What was acknowledged is there afterwards, at every broker, and after a power loss of
//! all of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use broker::sim::{Links, World};
use rand::Rng as _;
use tokio::time::{Instant, sleep};

use super::Field;
use crate::cli::RunArgs;
use crate::history;
use crate::kafka::{Brokers, CreateTopic};
use crate::run::simulated::one::common;
use crate::runtime::sim::{Crash, SimCluster, address_of};
use crate::seed::{self, Use};
use nemesis::{NodeId, Ports};

const BROKERS: u32 = 3;
const PARTITIONS: i32 = 2;
const ROUNDS: u32 = 6;
const WITHIN: Duration = Duration::from_secs(1);

/// By topic and partition, the leader epoch that some broker told last.
type Epochs = BTreeMap<(String, i32), i32>;

fn field(seed: u64, world: &World) -> Field {
    let mut rng = seed::stream(seed, Use::World, 7);
    let args = RunArgs::parsed(["--runtime".to_owned(), "sim".to_owned()]).expect("flags");
    let cluster = SimCluster::new(
        world,
        rng.random(),
        &[1.0; BROKERS as usize],
        &common(&args),
    );
    let addresses = (1..=BROKERS).map(|id| {
        let address = address_of(NodeId(id));
        let address = format!("{address}:{}", Ports::REFERENCE.client);
        (id.cast_signed(), address)
    });
    let (recorder, _memory) = history::in_memory(None);
    Field {
        cluster,
        brokers: Brokers::new(addresses),
        topic: Arc::from("none"),
        partitions: PARTITIONS,
        recorder,
        rng,
        until: Instant::now(),
    }
}

/// Creates a topic, whatever that takes.
async fn created(brokers: &Brokers, name: &str) {
    let topic = CreateTopic {
        name,
        partitions: PARTITIONS,
        replication_factor: 3,
        min_insync_replicas: None,
        settings: &[],
    };
    while brokers.create_topic(&topic, WITHIN).await.is_err() {
        sleep(Duration::from_millis(100)).await;
    }
}

/// Every broker knows all these topics, and tells no leader epoch that is below one that it, or
/// another, told before.
async fn all_there(brokers: &Brokers, names: &[String], told: &mut Epochs) {
    for name in names {
        let began = Instant::now();
        loop {
            let views = brokers.views(Some(name), WITHIN).await;
            let whole = |partitions: usize| partitions == PARTITIONS as usize;
            if views.len() == BROKERS as usize
                && views.values().all(|view| whole(view.partitions.len()))
            {
                for view in views.values() {
                    for (partition, seen) in &view.partitions {
                        let known = told.entry((name.clone(), *partition)).or_insert(-1);
                        *known = (*known).max(seen.epoch);
                    }
                }
                break;
            }
            let waited = began.elapsed();
            assert!(
                waited.as_secs() < 30,
                "{name} is not known to everybody: {views:?}"
            );
            sleep(Duration::from_millis(200)).await;
        }
    }
}

/// One broker dies at each of `ROUNDS` commits; returns how many did.
fn play(seed: u64, moment: &'static str, how: Crash) -> u32 {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .rng_seed(tokio::runtime::RngSeed::from_bytes(&seed.to_be_bytes()))
        .build()
        .expect("a runtime");
    let world = World::new(seed, Links::default());
    let _entered = world.enter();
    let mut deaths = 0;
    runtime.block_on(async {
        let mut field = field(seed, &world);
        field.cluster.start_all();
        let mut names = vec!["first".to_owned()];
        created(&field.brokers, &names[0]).await;
        let mut told = Epochs::new();
        for round in 0..ROUNDS {
            let name = format!("t{round}");
            let skip = field.rng.random_range(0..3);
            let seen = AtomicU32::new(0);
            let dies = field.when(
                Duration::from_secs(5),
                move |_, reached| {
                    let meant = reached.of_commit() == Some(moment);
                    meant && seen.fetch_add(1, Ordering::Relaxed) >= skip
                },
                move |cluster, node| cluster.crash(node, how),
            );
            let (died, ()) = tokio::join!(dies, created(&field.brokers, &name));
            deaths += u32::from(died);
            names.push(name);
            field.cluster.start_all();
            all_there(&field.brokers, &names, &mut told).await;
        }
        let before = told.clone();
        field.cluster.end_all(Crash::PowerLoss);
        field.cluster.start_all();
        all_there(&field.brokers, &names, &mut told).await;
        for (key, epoch) in before {
            assert!(told[&key] >= epoch, "{key:?} went back to {}", told[&key]);
        }
        let unasked: Vec<_> = field.cluster.ended();
        assert_eq!(unasked, [], "seed {seed}, {moment}, {how:?}");
        field.cluster.end_all(Crash::PowerLoss);
    });
    drop(runtime);
    deaths
}

#[test]
fn nothing_acknowledged_is_lost_when_a_broker_dies_between_the_steps_of_a_commit() {
    let moments = [
        "meta-appended",
        "meta-synced",
        "meta-committed",
        "meta-applied",
    ];
    let ways = [Crash::Kill, Crash::PowerLoss, Crash::TornWrites];
    for (seed, moment) in (100..).step_by(10).zip(moments) {
        let deaths: u32 = (seed..)
            .zip(ways)
            .map(|(seed, how)| play(seed, moment, how))
            .sum();
        println!("{moment}: {deaths} brokers died");
        assert!(deaths >= 3 * ROUNDS - 3, "{moment}: only {deaths} died");
    }
}
