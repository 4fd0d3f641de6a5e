//! What a stopped broker's log holds, as JSON lines: `broker dump-log DIR`.
//!
//! Reads only: a torn tail is passed over as recovery would cut it, and stays. This is the only
//! place where records are decoded. Lines, in this order:
//!
//! * one `{"kind":"wal", "dir", "files", "end", "torn", "clean_shutdown"}`: bytes in the WAL, the
//!   torn tail if there is one (`file`, `position`, `bytes`, `reason`), and the broker epoch of
//!   the last clean stop, or null;
//! * for each partition `{"kind":"partition", "topic_id", "partition", "log_start", "log_end",
//!   "high_watermark", "last_epoch"}`: the log's bounds as recovered (end: the next offset) and
//!   the last checkpointed high watermark; then, unless only partitions were asked for,
//!   * for each batch `{"kind":"batch", "topic_id", "partition", "base_offset", "last_offset",
//!     "leader_epoch", "size", "records", "compression", "control", "transactional",
//!     "producer_id", "producer_epoch", "base_sequence", "max_timestamp"}`, with `"undecoded"`
//!     and the reason when its records are not shown (compressed ones are not);
//!   * for each record of it `{"kind":"record", "topic_id", "partition", "offset",
//!     "leader_epoch", "timestamp", "key", "value"}`: key and value are strings where they are
//!     UTF-8, else in `"key_base64"`, `"value_base64"`; null where there is none;
//!   * `{"kind":"damage", "topic_id", "partition", "offset", "reason"}` where a batch is not what
//!     was written; the dump then goes on with the next partition.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};
use thiserror::Error;

use super::batch::{BatchHeader, HEADER_LEN, headers};
use super::replayed::Replica;
use super::snapshot::LogSnapshot;
use super::store::{LOG_DIR, OpenError, read_marker};
use super::wal_files::WalFiles;
use crate::chaos::seeded_bug::BugSet;
use crate::storage::Storage;
use crate::storage::disk::Disk;
use crate::types::{LeaderEpoch, Offset, TopicPartition};

/// Bytes read at once.
const PAGE: usize = 4 << 20;

/// What to show.
#[derive(Clone, Copy, Debug)]
pub struct DumpOptions {
    /// Batches and records, not only partitions.
    pub records: bool,
}

/// Why a dump ended early.
#[derive(Debug, Error)]
pub enum DumpError {
    /// The log cannot be read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Nobody takes the output.
    #[error("cannot write the dump: {0}")]
    Write(#[from] io::Error),
}

/// Writes what the log in `dir` holds to `out`; `dir` is a broker's data directory or the log's
/// own.
///
/// # Errors
/// The log is corrupt or cannot be read; or `out` fails.
pub fn dump_log(dir: &Path, options: DumpOptions, out: &mut dyn Write) -> Result<(), DumpError> {
    dump(
        &(Arc::new(Disk) as Arc<dyn Storage>),
        &log_dir(dir),
        options,
        out,
    )
}

/// [`dump_log`] on any storage; `dir` is the log's own directory.
pub(super) fn dump(
    storage: &Arc<dyn Storage>,
    dir: &Path,
    options: DumpOptions,
    out: &mut dyn Write,
) -> Result<(), DumpError> {
    let (replica, snapshots) = recover(storage, dir)?;
    line(out, &describe(&replica))?;
    for (snapshot, high_watermark) in snapshots {
        let tp = snapshot.topic_partition();
        let mut fields = of(tp, "partition");
        fields.insert("log_start".to_owned(), json!(snapshot.log_start()));
        fields.insert("log_end".to_owned(), json!(snapshot.end()));
        fields.insert("high_watermark".to_owned(), json!(high_watermark));
        fields.insert("last_epoch".to_owned(), json!(snapshot.last_epoch()));
        line(out, &fields)?;
        if options.records {
            walk(&snapshot, &mut |item| write_item(tp, item, out))?;
        }
    }
    out.flush()?;
    Ok(())
}

/// Replays `dir` without changing it: the WAL as found, and each partition with its checkpointed
/// high watermark.
fn recover(
    storage: &Arc<dyn Storage>,
    dir: &Path,
) -> Result<(Replica, Vec<(LogSnapshot, Offset)>), OpenError> {
    let marker = read_marker(&**storage, dir)?;
    // Everything is checked.
    let mut replica = Replica::recover(&**storage, dir, marker, (u64::MAX, BugSet::NONE))?;
    let files = Arc::new(WalFiles::new(storage.clone(), dir, &replica.wal.bases));
    let states = std::mem::take(&mut replica.ledger.partitions).into_iter();
    let snapshots = states.map(|(tp, state)| {
        let high_watermark = state.high_watermark;
        let files = files.clone();
        let bugs = BugSet::NONE;
        let snapshot = LogSnapshot {
            tp,
            state,
            files,
            bugs,
        };
        (snapshot, high_watermark)
    });
    let snapshots = snapshots.collect();
    Ok((replica, snapshots))
}

/// One thing that a stopped broker's log holds, for programs that compare replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// A partition; what is in it follows.
    Partition {
        /// Which.
        tp: TopicPartition,
        /// First offset.
        log_start: Offset,
        /// Next offset.
        log_end: Offset,
        /// The last checkpointed high watermark.
        high_watermark: Offset,
    },
    /// A record of the partition last found.
    Record {
        /// Its offset.
        offset: Offset,
        /// Leader epoch of its batch.
        epoch: LeaderEpoch,
        /// Its value as it was sent.
        value: Option<&'a [u8]>,
    },
    /// From this offset on the partition last found is not what was written, or not shown.
    Damage {
        /// First offset that cannot be shown.
        offset: Offset,
    },
}

/// Tells `found` everything that the log in `dir` holds, without any text in between.
///
/// # Errors
/// As [`dump_log`].
pub fn scan_log(dir: &Path, found: &mut dyn FnMut(Found<'_>)) -> Result<(), DumpError> {
    scan_log_on(&(Arc::new(Disk) as Arc<dyn Storage>), &log_dir(dir), found)
}

/// [`scan_log`] on any storage; `dir` is the log's own directory.
///
/// # Errors
/// As [`dump_log`].
pub fn scan_log_on(
    storage: &Arc<dyn Storage>,
    dir: &Path,
    found: &mut dyn FnMut(Found<'_>),
) -> Result<(), DumpError> {
    for (snapshot, high_watermark) in recover(storage, dir)?.1 {
        found(Found::Partition {
            tp: snapshot.topic_partition(),
            log_start: snapshot.log_start(),
            log_end: snapshot.end(),
            high_watermark,
        });
        walk(&snapshot, &mut |item| {
            tell(item, found);
            Ok(())
        })?;
    }
    Ok(())
}

fn tell(item: Item<'_>, found: &mut dyn FnMut(Found<'_>)) {
    match item {
        Item::Damage { offset, .. } => found(Found::Damage { offset }),
        Item::Batch(header, Err(_)) => found(Found::Damage {
            offset: header.base_offset,
        }),
        Item::Batch(header, Ok(records)) => {
            for record in records {
                found(Found::Record {
                    offset: record.offset,
                    epoch: header.leader_epoch,
                    value: record.value,
                });
            }
        }
    }
}

/// The log's own directory, given that or the broker's data directory.
fn log_dir(dir: &Path) -> PathBuf {
    let inside = dir.join(LOG_DIR);
    if inside.is_dir() {
        inside
    } else {
        dir.to_owned()
    }
}

/// One step of a walk through a partition.
enum Item<'a> {
    /// A batch, and its records or why they are not shown.
    Batch(BatchHeader, Result<Vec<Record<'a>>, &'static str>),
    /// The walk ends here.
    Damage { offset: Offset, reason: String },
}

/// Visits every batch of a partition in order.
fn walk(
    snapshot: &LogSnapshot,
    visit: &mut dyn FnMut(Item<'_>) -> io::Result<()>,
) -> io::Result<()> {
    let (mut from, end) = (snapshot.log_start(), snapshot.end());
    while from < end {
        let records = match snapshot.read(from, end, PAGE, true) {
            Ok(records) => records,
            Err(damage) => {
                let reason = damage.to_string();
                return visit(Item::Damage {
                    offset: from,
                    reason,
                });
            }
        };
        from = records.next_offset;
        for chunk in &records.chunks {
            let mut at = 0;
            for header in headers(chunk).map_while(Result::ok) {
                let batch = &chunk[at..at + header.size];
                at += header.size;
                let decoded = match header.compression() {
                    0 => decode(&header, &batch[HEADER_LEN..]),
                    _ => Err("its records are compressed"),
                };
                visit(Item::Batch(header, decoded))?;
            }
        }
    }
    Ok(())
}

type Fields = Map<String, Value>;

fn fields(value: Value) -> Fields {
    match value {
        Value::Object(fields) => fields,
        _ => Fields::new(),
    }
}

fn describe(replica: &Replica) -> Fields {
    let torn = replica.wal.torn.as_ref().map(|torn| {
        json!({
            "file": torn.file.display().to_string(),
            "position": torn.position,
            "bytes": torn.bytes,
            "reason": torn.reason,
        })
    });
    fields(json!({
        "kind": "wal",
        "dir": replica.dir.display().to_string(),
        "files": replica.wal.bases.len(),
        "end": replica.wal.end,
        "torn": torn,
        "clean_shutdown": replica.clean_shutdown,
    }))
}

fn of(tp: TopicPartition, kind: &str) -> Fields {
    fields(json!({ "kind": kind, "topic_id": tp.topic, "partition": tp.partition }))
}

fn line(out: &mut dyn Write, fields: &Fields) -> io::Result<()> {
    serde_json::to_writer(&mut *out, fields)?;
    out.write_all(b"\n")
}

fn write_item(tp: TopicPartition, item: Item<'_>, out: &mut dyn Write) -> io::Result<()> {
    match item {
        Item::Batch(header, decoded) => write_batch(tp, &header, decoded, out),
        Item::Damage { offset, reason } => {
            let mut fields = of(tp, "damage");
            fields.insert("offset".to_owned(), json!(offset));
            fields.insert("reason".to_owned(), json!(reason));
            line(out, &fields)
        }
    }
}

fn write_batch(
    tp: TopicPartition,
    header: &BatchHeader,
    decoded: Result<Vec<Record<'_>>, &'static str>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let codecs = ["none", "gzip", "snappy", "lz4", "zstd"];
    let codec = usize::try_from(header.compression())
        .ok()
        .and_then(|at| codecs.get(at));
    let mut fields = of(tp, "batch");
    fields.extend(self::fields(json!({
        "base_offset": header.base_offset,
        "last_offset": header.last_offset(),
        "leader_epoch": header.leader_epoch,
        "size": header.size,
        "records": header.record_count,
        "compression": codec.unwrap_or(&"unknown"),
        "control": header.is_control(),
        "transactional": header.is_transactional(),
        "producer_id": header.producer_id,
        "producer_epoch": header.producer_epoch,
        "base_sequence": header.base_sequence,
        "max_timestamp": header.max_timestamp,
    })));
    if let Err(reason) = &decoded {
        fields.insert("undecoded".to_owned(), json!(reason));
    }
    line(out, &fields)?;
    for record in decoded.unwrap_or_default() {
        let mut fields = of(tp, "record");
        fields.insert("offset".to_owned(), json!(record.offset));
        fields.insert("leader_epoch".to_owned(), json!(header.leader_epoch));
        fields.insert("timestamp".to_owned(), json!(record.timestamp));
        insert_bytes(&mut fields, "key", record.key);
        insert_bytes(&mut fields, "value", record.value);
        line(out, &fields)?;
    }
    Ok(())
}

fn insert_bytes(fields: &mut Fields, name: &str, bytes: Option<&[u8]>) {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => fields.insert(name.to_owned(), Value::Null),
        Some((_, Ok(text))) => fields.insert(name.to_owned(), json!(text)),
        Some((bytes, Err(_))) => {
            fields.insert(format!("{name}_base64"), json!(BASE64.encode(bytes)))
        }
    };
}

/// One decoded record.
#[derive(Debug, PartialEq, Eq)]
struct Record<'a> {
    offset: Offset,
    timestamp: i64,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
}

/// The records of an uncompressed batch, all or none.
fn decode<'a>(header: &BatchHeader, records: &'a [u8]) -> Result<Vec<Record<'a>>, &'static str> {
    let mut cursor = Cursor(records);
    let mut decoded = Vec::new();
    for _ in 0..header.record_count {
        let length = cursor.varint()?;
        let length = usize::try_from(length).map_err(|_| "a record's length is negative")?;
        let mut record = Cursor(cursor.take(length)?);
        record.take(1)?;
        let timestamp = header.base_timestamp.wrapping_add(record.varint()?);
        let delta = record.varint()?;
        if delta < 0 || delta > i64::from(header.last_offset_delta) {
            return Err("a record's offset is outside its batch");
        }
        decoded.push(Record {
            offset: header.base_offset.plus(delta),
            timestamp,
            key: record.nullable()?,
            value: record.nullable()?,
        });
    }
    Ok(decoded)
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], &'static str> {
        let (taken, rest) = self
            .0
            .split_at_checked(count)
            .ok_or("its records are cut short")?;
        self.0 = rest;
        Ok(taken)
    }

    /// A zigzag-encoded integer of at most ten bytes.
    fn varint(&mut self) -> Result<i64, &'static str> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte & 0x80 == 0 {
                return Ok((value >> 1).cast_signed() ^ -((value & 1).cast_signed()));
            }
        }
        Err("an integer of its records is too long")
    }

    fn nullable(&mut self) -> Result<Option<&'a [u8]>, &'static str> {
        let length = self.varint()?;
        match usize::try_from(length) {
            Ok(length) => self.take(length).map(Some),
            Err(_) => Ok(None),
        }
    }
}

#[cfg(test)]
#[path = "dump_test.rs"]
mod tests;
