//! What is known of one partition's log: a fold over the WAL's records.
//!
//! The same methods serve the running broker and replay, so that what recovery builds is what
//! was there (invariant I19). No IO: a truncation is told what is left of the extent it cuts.

use std::sync::Arc;

use bytes::Bytes;

use super::batch::{self, BatchHeader};
use super::epoch_cache::EpochCache;
use super::extent::{Cached, EXTENT_TARGET, Extent, Index};
use super::frame::Kept;
use crate::types::{LeaderEpoch, Lsn, Offset};

/// The log of one partition, without its bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct PartitionState {
    pub log_start: Offset,
    pub end: Offset,
    pub index: Index,
    pub epochs: EpochCache,
    /// As last checkpointed.
    pub high_watermark: Offset,
    /// What was said of producers when the log's start last moved, and by whom alone it is read.
    pub producers: Bytes,
}

/// Why batches do not continue a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Break {
    Batch(batch::BatchError),
    Gap(Offset),
    EpochGoesBack(LeaderEpoch),
}

impl PartitionState {
    /// Whether `batches` continue this log: contiguous, epochs not going back. Gives the end
    /// that the log would have. CRCs are the caller's business.
    ///
    /// The log's start may lie inside a batch. So the first batch of an empty log may begin
    /// below the end, if it reaches above it.
    pub fn check(&self, batches: &[u8]) -> Result<Offset, Break> {
        let (mut end, mut epoch) = (self.end, self.epochs.last());
        let mut empty = self.index.is_empty();
        for header in batch::headers(batches) {
            let header = header.map_err(Break::Batch)?;
            let spans = header.base_offset < end && end < header.next_offset();
            let begins = empty && spans && header.base_offset >= Offset::ZERO;
            if header.last_offset_delta < 0 || (header.base_offset != end && !begins) {
                return Err(Break::Gap(header.base_offset));
            }
            empty = false;
            let known = header.leader_epoch.get() >= 0;
            if !known || epoch.is_some_and(|last| header.leader_epoch < last) {
                return Err(Break::EpochGoesBack(header.leader_epoch));
            }
            (end, epoch) = (header.next_offset(), Some(header.leader_epoch));
        }
        Ok(end)
    }

    /// Takes in batches that passed [`Self::check`] and lie at `lsn`.
    ///
    /// # Panics
    /// If they do not continue the log.
    pub fn append(&mut self, lsn: Lsn, batches: &[u8], cached: Option<&Arc<Cached>>) {
        let mut at = 0;
        let mut extent: Option<Extent> = None;
        for header in batch::headers(batches) {
            let header = header.expect("checked before");
            let within = self.index.is_empty() && extent.is_none() && header.base_offset < self.end;
            assert!(
                within || header.base_offset == self.end,
                "batches leave no gap"
            );
            let begins = header.base_offset.max(self.log_start);
            self.epochs.push(header.leader_epoch, begins);
            self.end = header.next_offset();
            match &mut extent {
                Some(extent) if joins(extent, &header) => extend(extent, &header),
                _ => {
                    let place = (Lsn(lsn.get() + at as u64), at);
                    let next = new_extent(&header, place, cached);
                    if let Some(done) = extent.replace(next) {
                        self.index.push(done);
                    }
                }
            }
            at += header.size;
        }
        if let Some(done) = extent {
            self.index.push(done);
        }
    }

    /// The extent that a truncation to `to` would cut in two, if it is not at its edge.
    pub fn cut_by(&self, to: Offset) -> Option<&Extent> {
        let extent = self.index.get(self.index.position(to))?;
        (extent.base < to && to < extent.next).then_some(extent)
    }

    /// The log now ends at `to`, a batch boundary or the log's start; `kept` is what is left of
    /// the extent that it cuts. What cannot be true is said in words, and nothing changes then.
    pub fn truncate(&mut self, to: Offset, kept: Kept) -> Result<(), String> {
        if to < self.log_start || to > self.end {
            return Err(format!(
                "truncation to {to} of a log from {} to {}",
                self.log_start, self.end
            ));
        }
        let shortened = match self.cut_by(to) {
            None => None,
            Some(_) if kept.len == 0 && to == self.log_start => None,
            Some(whole) if kept.len == 0 || kept.len >= whole.len => {
                return Err(format!("truncation to {to} keeps {} bytes", kept.len));
            }
            Some(whole) => Some(Extent {
                next: to,
                len: kept.len,
                batches: kept.batches,
                max_timestamp: kept.max_timestamp,
                ..whole.clone()
            }),
        };
        let keep = self.index.position(to);
        self.index.truncate(keep);
        if let Some(extent) = shortened {
            self.index.push(extent);
        }
        self.end = to;
        self.epochs.truncate(to);
        self.high_watermark = self.high_watermark.min(to);
        Ok(())
    }

    /// The log is empty and begins at `at`.
    pub fn restart(&mut self, at: Offset) {
        self.index.clear();
        self.epochs.clear();
        self.producers = Bytes::new();
        (self.log_start, self.end, self.high_watermark) = (at, at, at);
    }

    /// The log begins at `to`, which is not above its end; it never goes back.
    pub fn advance_log_start(&mut self, to: Offset, producers: Bytes) {
        let to = to.min(self.end).max(self.log_start);
        self.producers = producers;
        self.log_start = to;
        self.index.advance_start(to);
        self.epochs.advance_start(to);
        self.high_watermark = self.high_watermark.max(to);
    }

    /// The same state for another writer (see [`Index::fork`]).
    pub fn fork(&self) -> Self {
        Self {
            index: self.index.fork(),
            ..self.clone()
        }
    }

    /// `batches`, which are in this log, lie at `lsn` as well: they are read there from now on.
    /// Extents of which this copy is not the whole stay as they are. Returns what was where.
    pub fn moved(&mut self, lsn: Lsn, batches: &[u8]) -> Vec<Relocation> {
        let (mut done, mut at) = (Vec::new(), 0);
        while let Some(Ok(header)) = batch::headers(&batches[at..]).next() {
            let place = self.index.position(header.base_offset);
            let whole = self.index.get(place).filter(|extent| {
                let left = batches.len() - at;
                extent.base == header.base_offset
                    && extent.epoch == header.leader_epoch
                    && extent.len as usize <= left
            });
            let Some(extent) = whole else {
                at += header.size;
                continue;
            };
            let moved = Extent {
                lsn: Lsn(lsn.get() + at as u64),
                cached: None,
                cached_at: 0,
                ..extent.clone()
            };
            done.push(Relocation {
                from: extent.lsn,
                to: moved.lsn,
                len: extent.len,
            });
            at += extent.len as usize;
            self.index.replace(place, vec![moved]);
        }
        done
    }
}

/// An extent that lies elsewhere now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Relocation {
    pub from: Lsn,
    pub to: Lsn,
    pub len: u32,
}

fn joins(extent: &Extent, header: &BatchHeader) -> bool {
    extent.epoch == header.leader_epoch && extent.len as usize + header.size <= EXTENT_TARGET
}

fn extend(extent: &mut Extent, header: &BatchHeader) {
    extent.next = header.next_offset();
    extent.len += u32::try_from(header.size).expect("at most the target");
    extent.batches += 1;
    extent.max_timestamp = extent.max_timestamp.max(header.max_timestamp);
}

fn new_extent(
    header: &BatchHeader,
    (lsn, at): (Lsn, usize),
    cached: Option<&Arc<Cached>>,
) -> Extent {
    Extent {
        base: header.base_offset,
        next: header.next_offset(),
        lsn,
        len: u32::try_from(header.size).expect("a batch's length is an i32"),
        batches: 1,
        epoch: header.leader_epoch,
        max_timestamp: header.max_timestamp,
        cached: cached.cloned(),
        cached_at: u32::try_from(at).expect("payloads are below 1 GiB"),
    }
}
