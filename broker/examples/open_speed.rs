//! How long opening a log takes, and what decides it:
//! `cargo run --release -p broker --example open_speed -- DIR [GB]`.
//!
//! A child process writes a log of that many gigabytes (10 if not said; batches of 16 kB in 100
//! partitions) and is killed by itself, with SIGKILL, in the middle of its writes. Then the log is
//! opened, each time in a new process with the page cache of its files dropped:
//! * as it is: the newest checkpoint, and what came after it;
//! * the same without the check of what needs no replay (`log-verify-bytes` 0);
//! * without the file that names the checkpoint: everything is replayed.
//!
//! DIR must be empty or absent; it is left behind.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use broker::log::{LogConfig, LogStore, ProducedBatch};
use broker::types::{Durability, LeaderEpoch, TopicId, TopicPartition};
use bytes::Bytes;
use tokio::time::Instant;

const BATCH: usize = 16_000;
const PARTITIONS: i32 = 100;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["write", dir, bytes] => write(Path::new(dir), bytes.parse()?),
        ["open", dir, verify] => open(Path::new(dir), verify.parse()?),
        [dir] => measure(Path::new(dir), 10.0),
        [dir, gigabytes] => measure(Path::new(dir), gigabytes.parse()?),
        _ => anyhow::bail!("usage: open_speed DIR [GB]"),
    }
}

fn config(dir: &Path, verify: u64) -> LogConfig {
    LogConfig {
        verify_bytes: verify,
        // The writing is not what is measured.
        durability: Durability::Replicated,
        ..LogConfig::new(dir.to_owned())
    }
}

fn this_program(arguments: &[&str]) -> Result<std::process::ExitStatus> {
    let program = std::env::current_exe()?;
    Ok(Command::new(program).args(arguments).status()?)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a number of bytes that somebody wants written"
)]
fn measure(dir: &Path, gigabytes: f64) -> Result<()> {
    let name = dir.to_str().context("a path of plain text")?;
    let bytes = (gigabytes * 1e9) as u64;
    let began = Instant::now();
    this_program(&["write", name, &bytes.to_string()])?;
    println!(
        "written in {:.1} s, then killed",
        began.elapsed().as_secs_f64()
    );
    for verify in ["268435456", "0"] {
        drop_caches(dir)?;
        println!("with the checkpoint, {verify} bytes checked besides:");
        ensure!(
            this_program(&["open", name, verify])?.success(),
            "it does not open"
        );
    }
    std::fs::remove_file(dir.join("checkpoint")).context("there was no checkpoint")?;
    drop_caches(dir)?;
    println!("without it:");
    ensure!(
        this_program(&["open", name, "0"])?.success(),
        "it does not open"
    );
    Ok(())
}

/// A batch of one record whose content is of no interest to the log.
fn batch() -> Result<ProducedBatch> {
    let mut bytes = vec![0xa5; BATCH];
    bytes[0..21].fill(0);
    bytes[8..12].copy_from_slice(&u32::try_from(BATCH - 12)?.to_be_bytes());
    bytes[16] = 2;
    bytes[21..61].fill(0);
    bytes[43..57].fill(0xff);
    bytes[57..61].copy_from_slice(&1i32.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    Ok(ProducedBatch::validate(Bytes::from(bytes), BATCH)?)
}

fn write(dir: &Path, bytes: u64) -> Result<()> {
    let store = LogStore::open(config(dir, 0))?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let mut logs = Vec::new();
    for partition in 0..PARTITIONS {
        let topic = TopicId::default();
        logs.push(store.partition(TopicPartition { topic, partition }, Arc::new(|| {}))?);
    }
    let batch = batch()?;
    for log in (0..logs.len())
        .cycle()
        .take(usize::try_from(bytes)? / BATCH)
    {
        runtime.block_on(store.wait_for_room());
        logs[log].append(LeaderEpoch(0), &batch)?;
    }
    // No stop, no last sync: what waits is lost, as in any crash.
    Command::new("kill")
        .args(["-9", &std::process::id().to_string()])
        .status()?;
    Ok(())
}

fn open(dir: &Path, verify: u64) -> Result<()> {
    let began = Instant::now();
    let store = LogStore::open(config(dir, verify))?;
    let took = began.elapsed().as_secs_f64();
    let mut records = 0;
    for tp in store.partitions() {
        let log = store.partition(tp, Arc::new(|| {}))?;
        records += log.written_end().get();
    }
    println!(
        "  {took:.2} s; {records} records in {} partitions",
        store.partitions().len()
    );
    Ok(())
}

/// As after a restart of the machine, without one.
fn drop_caches(dir: &Path) -> Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path: PathBuf = entry?.path();
        let file = std::fs::File::open(path)?;
        file.sync_all()?;
        // Nothing but slower measurements come of a failure.
        let _ = nix::fcntl::posix_fadvise(
            &file,
            0,
            0,
            nix::fcntl::PosixFadviseAdvice::POSIX_FADV_DONTNEED,
        );
    }
    Ok(())
}
