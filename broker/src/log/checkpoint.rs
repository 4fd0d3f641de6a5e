//! All partitions of a log directory at one LSN, as one record of the WAL.
//!
//! A checkpoint says nothing that the records before it do not say. It is written so that
//! * opening the log need not begin at the WAL's beginning: a small file names the newest one;
//! * WAL files of which nothing lives on can be removed, and with them what they said.
//!
//! The file is derived: without it the WAL is searched for the newest checkpoint, or replayed
//! whole when its beginning is there. It is written after the checkpoint's frame was synced, so
//! that what it says is also a proof of how far the WAL went.
//!
//! Layout, integers little-endian: version (u32, 1), as-of LSN (u64); number of deleted topics
//! (u32), their ids (16 bytes each); number of partitions (u32), each: topic id, number (i32), log
//! start, end, high watermark (i64 each), bytes about producers (u32 and they), number of epochs
//! (u32) and each epoch (i32) with its start (i64), number of extents (u32) and each extent: base,
//! next (i64), LSN (u64), length, batches (u32), epoch (i32), largest timestamp (i64).

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::epoch_cache::EpochCache;
use super::extent::{Extent, Index};
use super::ledger::Ledger;
use super::partition_state::PartitionState;
use crate::storage::{Storage, read_small};
use crate::types::{LeaderEpoch, Lsn, Offset, TopicId, TopicPartition};

const VERSION: u32 = 1;
/// Bytes of an extent.
const EXTENT_BYTES: usize = 44;
/// The file that names the newest checkpoint.
const FILE: &str = "checkpoint";

/// Where the newest checkpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pointer {
    /// Its frame.
    pub lsn: Lsn,
    /// Where the frame ends: the WAL was durable up to here.
    pub end: Lsn,
    /// It holds what the frames below this LSN say.
    pub as_of: Lsn,
}

impl Pointer {
    /// What `dir` says; what cannot be read counts as not there.
    pub fn read(storage: &dyn Storage, dir: &Path) -> io::Result<Option<Self>> {
        let text = read_small(storage, &dir.join(FILE))?;
        Ok(text.and_then(|text| serde_json::from_slice(&text).ok()))
    }

    /// Writes it durably. The frame must have been synced.
    pub fn write(self, storage: &dyn Storage, dir: &Path) -> io::Result<()> {
        let text = serde_json::to_vec(&self).expect("three integers");
        storage.replace(&dir.join(FILE), &text)
    }
}

/// The record for `ledger`, which holds what the frames below `as_of` say.
pub(super) fn encode(ledger: &Ledger, as_of: Lsn) -> BytesMut {
    let extents: usize = ledger.partitions.values().map(|s| s.index.len()).sum();
    let mut out = BytesMut::with_capacity(64 + extents * EXTENT_BYTES);
    out.put_u32_le(VERSION);
    out.put_u64_le(as_of.get());
    out.put_u32_le(count(ledger.deleted.len()));
    for topic in &ledger.deleted {
        out.put_slice(topic.0.as_bytes());
    }
    out.put_u32_le(count(ledger.partitions.len()));
    for (tp, state) in &ledger.partitions {
        put_partition(&mut out, *tp, state);
    }
    out
}

fn count(number: usize) -> u32 {
    u32::try_from(number).expect("what fits in memory as records is counted in 32 bits")
}

fn put_partition(out: &mut BytesMut, tp: TopicPartition, state: &PartitionState) {
    out.put_slice(tp.topic.0.as_bytes());
    out.put_i32_le(tp.partition);
    for offset in [state.log_start, state.end, state.high_watermark] {
        out.put_i64_le(offset.get());
    }
    out.put_u32_le(count(state.producers.len()));
    out.put_slice(&state.producers);
    out.put_u32_le(count(state.epochs.list().len()));
    for (epoch, start) in state.epochs.list() {
        out.put_i32_le(epoch.get());
        out.put_i64_le(start.get());
    }
    out.put_u32_le(count(state.index.len()));
    for extent in state.index.iter_from(0) {
        out.put_i64_le(extent.base.get());
        out.put_i64_le(extent.next.get());
        out.put_u64_le(extent.lsn.get());
        out.put_u32_le(extent.len);
        out.put_u32_le(extent.batches);
        out.put_i32_le(extent.epoch.get());
        out.put_i64_le(extent.max_timestamp);
    }
}

/// What is wrong with a checkpoint.
type Wrong = String;

/// Reads [`encode`]'s record, and as of which LSN it is.
///
/// # Errors
/// In words; nothing is allocated for what is not there.
pub(super) fn decode(mut bytes: &[u8]) -> Result<(Ledger, Lsn), Wrong> {
    let from = &mut bytes;
    match u32_of(from)? {
        VERSION => {}
        other => return Err(format!("a checkpoint of version {other} is unknown")),
    }
    let as_of = Lsn(u64_of(from)?);
    let deleted: BTreeSet<TopicId> = (0..u32_of(from)?)
        .map(|_| topic(from))
        .collect::<Result<_, _>>()?;
    let partitions: BTreeMap<_, _> = (0..u32_of(from)?)
        .map(|_| partition(from))
        .collect::<Result<_, _>>()?;
    match from.is_empty() {
        true => Ok((Ledger::of(partitions, deleted), as_of)),
        false => Err(format!("{} bytes too many in a checkpoint", from.len())),
    }
}

fn has(from: &[u8], bytes: usize) -> Result<(), Wrong> {
    match from.len() >= bytes {
        true => Ok(()),
        false => Err("a checkpoint ends too early".to_owned()),
    }
}

fn u32_of(from: &mut &[u8]) -> Result<u32, Wrong> {
    has(from, 4).map(|()| from.get_u32_le())
}

fn u64_of(from: &mut &[u8]) -> Result<u64, Wrong> {
    has(from, 8).map(|()| from.get_u64_le())
}

fn offset(from: &mut &[u8]) -> Result<Offset, Wrong> {
    u64_of(from).map(|value| Offset(value.cast_signed()))
}

fn topic(from: &mut &[u8]) -> Result<TopicId, Wrong> {
    has(from, 16)?;
    let mut id = [0; 16];
    from.copy_to_slice(&mut id);
    Ok(TopicId(Uuid::from_bytes(id)))
}

fn partition(from: &mut &[u8]) -> Result<(TopicPartition, PartitionState), Wrong> {
    let tp = TopicPartition {
        topic: topic(from)?,
        partition: u32_of(from)?.cast_signed(),
    };
    let (log_start, end, high_watermark) = (offset(from)?, offset(from)?, offset(from)?);
    let about_producers = u32_of(from)? as usize;
    has(from, about_producers)?;
    let producers = Bytes::copy_from_slice(&from[..about_producers]);
    from.advance(about_producers);
    let epochs: Vec<_> = (0..u32_of(from)?)
        .map(|_| Ok((LeaderEpoch(u32_of(from)?.cast_signed()), offset(from)?)))
        .collect::<Result<_, Wrong>>()?;
    let epochs = EpochCache::from_list(epochs).ok_or_else(|| format!("{tp}: epochs go back"))?;
    let mut index = Index::default();
    let mut next: Option<Offset> = None;
    for _ in 0..u32_of(from)? {
        let extent = extent(from)?;
        let follows = next.is_none_or(|next| next == extent.base);
        if !follows || extent.next <= extent.base {
            return Err(format!("{tp}: extents leave a gap at {}", extent.base));
        }
        next = Some(extent.next);
        index.push(extent);
    }
    let ends = next.is_none_or(|next| next == end);
    let begins = index.get(0).map_or(log_start == end, |first| {
        first.base <= log_start && log_start < first.next
    });
    if !ends || !begins || high_watermark < log_start || high_watermark > end {
        return Err(format!(
            "{tp}: a log from {log_start} to {end} that is none"
        ));
    }
    let state = PartitionState {
        log_start,
        end,
        index,
        epochs,
        high_watermark,
        producers,
    };
    Ok((tp, state))
}

fn extent(from: &mut &[u8]) -> Result<Extent, Wrong> {
    has(from, EXTENT_BYTES)?;
    Ok(Extent {
        base: offset(from)?,
        next: offset(from)?,
        lsn: Lsn(u64_of(from)?),
        len: u32_of(from)?,
        batches: u32_of(from)?,
        epoch: LeaderEpoch(u32_of(from)?.cast_signed()),
        max_timestamp: u64_of(from)?.cast_signed(),
        cached: None,
        cached_at: 0,
    })
}
