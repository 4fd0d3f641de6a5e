//! Writes `docs/locks.md`: puts a cluster of three brokers in this process under load, kills one
//! and brings it back, and notes what every lock went through.
//!
//! `cargo run -p broker --example locks` (about half a minute).

#[path = "../tests/cluster/client.rs"]
#[allow(dead_code, reason = "the tests of clusters need more of it")]
mod client;
#[path = "../tests/cluster/nodes.rs"]
#[allow(dead_code, reason = "the tests of clusters need more of it")]
mod nodes;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use client::{Client, batch, numbered};
use nodes::{Nodes, wait_until};

/// Bounds every wait.
pub const PATIENCE: Duration = Duration::from_secs(120);

const PARTITIONS: i32 = 24;
const PRODUCERS: i32 = 6;
const SECONDS: u64 = 15;

fn main() -> anyhow::Result<()> {
    let mut nodes = Nodes::start(3);
    let mut client = Client::new(nodes.addresses());
    client.create_topic("load", PARTITIONS, 3);
    let stop = Arc::new(AtomicBool::new(false));
    let produced = Arc::new(AtomicU64::new(0));
    let mut threads = Vec::new();
    for producer in 0..PRODUCERS {
        let (stop, produced) = (stop.clone(), produced.clone());
        let mut client = Client::new(nodes.addresses());
        threads.push(std::thread::spawn(move || {
            let records = batch(&numbered("load", 1000));
            for partition in (0..PARTITIONS)
                .cycle()
                .skip(usize::try_from(producer).unwrap_or(0))
            {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                client.produce("load", partition, -1, records.clone());
                produced.fetch_add(1000, Ordering::Relaxed);
            }
        }));
    }
    let (stopped, mut reader) = (stop.clone(), Client::new(nodes.addresses()));
    threads.push(std::thread::spawn(move || {
        for partition in (0..PARTITIONS).cycle() {
            if stopped.load(Ordering::Relaxed) {
                return;
            }
            drop(reader.read_all("load", partition));
        }
    }));
    let begun = Instant::now();
    wait_until("half of the load", || {
        begun.elapsed().as_secs() > SECONDS / 2
    });
    let killed = client.leader("load", 0).unwrap_or(1);
    nodes.kill(killed);
    wait_until("another leader", || {
        client
            .leader("load", 0)
            .is_some_and(|leader| leader != killed)
    });
    nodes.restart(killed);
    wait_until("the rest of the load", || {
        begun.elapsed().as_secs() > SECONDS
    });
    stop.store(true, Ordering::Relaxed);
    for thread in threads {
        anyhow::ensure!(thread.join().is_ok(), "a client failed");
    }
    let records = produced.load(Ordering::Relaxed);
    let took = begun.elapsed().as_secs();
    let cores = std::thread::available_parallelism()?;
    nodes.stop();
    let load = format!(
        "three brokers in one process, fsync durability, {PRODUCERS} producers (acks=all, batches \
         of 1,000) and a reader on {PARTITIONS} partitions, one broker killed and restarted: \
         {records} records in {took} s on {cores} cores. The figures are sums over the three."
    );
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/locks.md");
    std::fs::write(path, broker::locks::page(&load))?;
    println!("{path}");
    Ok(())
}
