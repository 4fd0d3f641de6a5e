//! How fast the log is on this machine: `cargo run -p broker --example log_speed -- DIR`.
//!
//! Prints appends a second and group sizes for some numbers of concurrent producers that each
//! wait until their batch is held, the throughput of a pipelined producer, and the speed of
//! recovery and of reads from memory and from files. DIR must be empty or absent; it is left
//! behind.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use broker::exec;
use broker::log::{LogConfig, LogSnapshot, LogStore, PartitionLog, ProducedBatch};
use broker::types::{BrokerEpoch, LeaderEpoch, TopicId, TopicPartition};
use bytes::Bytes;
use tokio::time::Instant;

/// How long each measurement of appends takes.
const ROUND: Duration = Duration::from_secs(3);

fn main() -> Result<()> {
    let dir = std::env::args_os().nth(1).map(PathBuf::from);
    let dir = dir.context("usage: log_speed DIR")?;
    for producers in [1, 8, 64] {
        for size in [1 << 10, 16 << 10] {
            waiting_producers(
                &dir.join(format!("wait-{producers}-{size}")),
                producers,
                size,
            )?;
        }
    }
    let big = dir.join("pipelined");
    pipelined(&big, 512 << 20)?;
    recovery_and_reads(&big)
}

/// A batch of one record (its content is of no interest to the log) with `size` bytes in all.
fn batch(size: usize) -> Result<ProducedBatch> {
    let mut bytes = vec![0xa5; size];
    bytes[0..21].fill(0);
    bytes[8..12].copy_from_slice(&u32::try_from(size - 12)?.to_be_bytes());
    bytes[16] = 2;
    bytes[21..61].fill(0);
    bytes[43..57].fill(0xff);
    bytes[57..61].copy_from_slice(&1i32.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    Ok(ProducedBatch::validate(Bytes::from(bytes), size)?)
}

fn tp(partition: i32) -> TopicPartition {
    let topic = TopicId::default();
    TopicPartition { topic, partition }
}

fn open(dir: &Path, roll: u64) -> Result<LogStore> {
    Ok(LogStore::open(LogConfig {
        wal_roll_bytes: roll,
        ..LogConfig::new(dir.to_owned())
    })?)
}

fn take(store: &LogStore, partition: i32) -> Result<(PartitionLog, Receiver<()>)> {
    let (tell, held) = mpsc::channel();
    let on_held = Arc::new(move || tell.send(()).unwrap_or_default());
    Ok((store.partition(tp(partition), on_held)?, held))
}

/// Each producer has a partition, and one batch in flight.
fn waiting_producers(dir: &Path, producers: i32, size: usize) -> Result<()> {
    let store = open(dir, 64 << 20)?;
    let batch = batch(size)?;
    let (done, counts) = channel();
    let began = Instant::now();
    for partition in 0..producers {
        let (mut log, held) = take(&store, partition)?;
        let (batch, done) = (batch.clone(), done.clone());
        exec::spawn_thread("producer", move || {
            let mut count = 0u64;
            while began.elapsed() < ROUND && log.append(LeaderEpoch(0), &batch).is_ok() {
                while !log.is_settled() && held.recv().is_ok() {}
                count += 1;
            }
            done.send(count).unwrap_or_default();
        })?;
    }
    drop(done);
    let count: u64 = counts.iter().sum();
    let seconds = began.elapsed().as_secs_f64();
    let metrics = store.metrics();
    let fsync = metrics.fsync_micros.snapshot();
    println!(
        "{producers:3} producers, {size:6} B: {:8.0} appends/s  {:6.1} MB/s  {:5.1} a group  \
         {:5.0} fsyncs/s  fsync mean {:.2} ms",
        count as f64 / seconds,
        count as f64 * size as f64 / seconds / 1e6,
        metrics.group_frames.snapshot().sum as f64 / metrics.commits.get().max(1) as f64,
        fsync.count as f64 / seconds,
        fsync.sum as f64 / fsync.count.max(1) as f64 / 1e3,
    );
    Ok(())
}

/// One thread appends to six partitions as fast as the queue has room.
fn pipelined(dir: &Path, total: usize) -> Result<()> {
    let store = open(dir, 8 << 20)?;
    let size = 64 << 10;
    let batch = batch(size)?;
    let mut logs = Vec::new();
    for partition in 0..6 {
        logs.push(take(&store, partition)?);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let began = Instant::now();
    for at in 0..total / size {
        runtime.block_on(store.wait_for_room());
        logs[at % 6].0.append(LeaderEpoch(0), &batch)?;
    }
    let queued = began.elapsed().as_secs_f64();
    for (log, held) in &logs {
        while !log.is_settled() {
            held.recv()?;
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "pipelined, 8 MiB files: {:.0} MB/s held ({:.0} MB/s taken), {} files, mean group {} KiB",
        total as f64 / seconds / 1e6,
        total as f64 / queued / 1e6,
        store.metrics().files.get(),
        (total as u64 / store.metrics().commits.get().max(1)) >> 10,
    );
    drop(logs);
    store.close(BrokerEpoch(1))?;
    Ok(())
}

fn recovery_and_reads(dir: &Path) -> Result<()> {
    let began = Instant::now();
    let store = open(dir, 8 << 20)?;
    let seconds = began.elapsed().as_secs_f64();
    let mut logs = Vec::new();
    for partition in 0..6 {
        logs.push(take(&store, partition)?.0);
    }
    let snapshots: Vec<LogSnapshot> = logs.iter().map(PartitionLog::snapshot).collect();
    let bytes = read(&snapshots)?;
    println!(
        "recovery: {:.0} MB/s ({seconds:.3} s)",
        bytes as f64 / seconds / 1e6
    );
    let began = Instant::now();
    read(&snapshots)?;
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "reads from files (page cache), checked: {:.0} MB/s",
        bytes as f64 / seconds / 1e6
    );
    let batch = batch(64 << 10)?;
    for log in &mut logs {
        for _ in 0..100 {
            log.append(LeaderEpoch(0), &batch)?;
        }
    }
    let recent: Vec<LogSnapshot> = logs.iter().map(PartitionLog::snapshot).collect();
    let (began, mut read) = (Instant::now(), 0);
    for snapshot in recent.iter().cycle().take(6000) {
        let from = snapshot.end().plus(-16);
        read += snapshot
            .read(from, snapshot.end(), 1 << 20, true)?
            .into_bytes()
            .len();
    }
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "reads from memory, 1 MiB each: {:.0} MB/s",
        read as f64 / seconds / 1e6
    );
    let began = Instant::now();
    let taken: usize = (0..1_000_000)
        .map(|at| logs[at % 6].snapshot().end().get() as usize)
        .sum();
    ensure!(taken > 0, "snapshots are of full logs");
    println!("a snapshot: {:.0} ns", began.elapsed().as_secs_f64() * 1e3);
    Ok(())
}

fn read(snapshots: &[LogSnapshot]) -> Result<usize> {
    let mut bytes = 0;
    for snapshot in snapshots {
        let mut from = snapshot.log_start();
        while from < snapshot.end() {
            let records = snapshot.read(from, snapshot.end(), 1 << 20, true)?;
            from = records.next_offset;
            bytes += records.into_bytes().len();
        }
    }
    Ok(bytes)
}
