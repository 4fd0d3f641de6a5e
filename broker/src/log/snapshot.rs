//! An immutable picture of one partition's log, for readers: no locks, no second look.
//!
//! Whatever it points to stays readable: the WAL is append-only, and truncation only makes newer
//! snapshots point elsewhere. Bytes come from memory while the cache has them, else from the
//! file by pread; what comes from a file is checked before it is served (CRC, offset and epoch of
//! every batch), so that a flipped bit is an error and never data.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use thiserror::Error;

use super::batch::{self, BatchHeader, HEADER_LEN};
use super::epoch_cache::EpochEnd;
use super::extent::Extent;
use super::partition_state::PartitionState;
use super::wal_files::WalFiles;
use crate::chaos::seeded_bug::{BugSet, SeededBug};
use crate::types::{LeaderEpoch, Lsn, Offset, TopicPartition};

/// Why nothing was read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReadError {
    /// Below the log's start or above its end.
    #[error("offset {from} is outside the log, which holds {start} to {end}")]
    OutOfRange {
        /// Asked for.
        from: Offset,
        /// The log's start.
        start: Offset,
        /// The log's written end.
        end: Offset,
    },
    /// What is on disk is not what was written.
    #[error("{file} is corrupt at byte {position}: {reason}; other replicas have the data")]
    Corrupt {
        /// The WAL file.
        file: String,
        /// Where in it.
        position: u64,
        /// What is wrong.
        reason: String,
    },
    /// The log's start has passed them since the snapshot was made, and their file is gone.
    #[error("the records at WAL position {position} were deleted")]
    Gone {
        /// Where they were.
        position: u64,
    },
    /// The operating system could not read.
    #[error("cannot read {file} at byte {position}: {reason}")]
    Io {
        /// The WAL file.
        file: String,
        /// Where in it.
        position: u64,
        /// What it said.
        reason: String,
    },
}

impl ReadError {
    /// The Kafka error code that says this to a client.
    #[must_use]
    pub const fn code(&self) -> i16 {
        match self {
            Self::OutOfRange { .. } | Self::Gone { .. } => 1,
            Self::Corrupt { .. } | Self::Io { .. } => 56,
        }
    }
}

/// Whole batches in offset order, byte for byte as they are stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// Runs of whole batches.
    pub chunks: Vec<Bytes>,
    /// Bytes of all chunks.
    pub size: usize,
    /// Offset after the last record; where the next read goes on. Equal to the offset asked for
    /// when there is nothing.
    pub next_offset: Offset,
}

impl Records {
    /// All bytes in one piece, as a Fetch response wants them: copies only if there are several.
    #[must_use]
    pub fn into_bytes(mut self) -> Bytes {
        if self.chunks.len() <= 1 {
            return self.chunks.pop().unwrap_or_default();
        }
        let mut all = BytesMut::with_capacity(self.size);
        self.chunks
            .iter()
            .for_each(|chunk| all.extend_from_slice(chunk));
        all.freeze()
    }
}

/// A timestamp and the offset it leads to (`ListOffsets`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampOffset {
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// The offset.
    pub offset: Offset,
    /// Epoch of the batch that has it.
    pub leader_epoch: LeaderEpoch,
}

/// An immutable picture of one partition's log.
#[derive(Clone)]
pub struct LogSnapshot {
    pub(super) tp: TopicPartition,
    pub(super) state: PartitionState,
    pub(super) files: Arc<WalFiles>,
    pub(super) bugs: BugSet,
}

impl std::fmt::Debug for LogSnapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (start, end) = (self.log_start(), self.end());
        write!(f, "LogSnapshot({} from {start} to {end})", self.tp)
    }
}

/// How much a read may still take.
struct Budget {
    from: Offset,
    limit: Offset,
    bytes: usize,
    /// The next batch is taken whatever its size.
    free: bool,
}

impl LogSnapshot {
    /// Which partition this is.
    #[must_use]
    pub const fn topic_partition(&self) -> TopicPartition {
        self.tp
    }

    /// First offset that may be read.
    #[must_use]
    pub const fn log_start(&self) -> Offset {
        self.state.log_start
    }

    /// The written end (LEO).
    #[must_use]
    pub const fn end(&self) -> Offset {
        self.state.end
    }

    /// What was given to [`super::PartitionLog::advance_log_start`] when the log's start moved.
    #[must_use]
    pub fn producers(&self) -> &Bytes {
        &self.state.producers
    }

    /// Epoch of the last batch, if there is or was one.
    #[must_use]
    pub fn last_epoch(&self) -> Option<LeaderEpoch> {
        self.state.epochs.last()
    }

    /// Where `epoch` ends in this log.
    #[must_use]
    pub fn end_offset_for(&self, epoch: LeaderEpoch) -> EpochEnd {
        self.state.epochs.end_offset_for(epoch, self.state.end)
    }

    /// Reads whole batches from the one that holds `from` (it may begin below) up to `up_to`,
    /// which no batch crosses, and to `max_bytes` in all; the first batch comes even if it is
    /// larger when `at_least_one`. `from` at or above `up_to`, up to the end: empty, no error.
    ///
    /// # Errors
    /// See [`ReadError`]. A corrupt batch that is not the first ends the read before it.
    pub fn read(
        &self,
        from: Offset,
        up_to: Offset,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Result<Records, ReadError> {
        let (start, end) = (self.state.log_start, self.state.end);
        if from < start || from > end {
            return Err(ReadError::OutOfRange { from, start, end });
        }
        let mut records = Records {
            next_offset: from,
            ..Records::default()
        };
        let mut budget = Budget {
            from,
            limit: up_to.min(end),
            bytes: max_bytes,
            free: at_least_one,
        };
        let mut at = self.reading_from(self.state.index.position(from));
        while let Some(run) = self.run_at(at, &budget) {
            let taken = match self.take(&run, &mut budget) {
                Ok(taken) => taken,
                Err(_) if records.size > 0 => break,
                Err(error) => return Err(error),
            };
            let Some((bytes, next_offset)) = taken else {
                break;
            };
            records.size += bytes.len();
            records.chunks.push(bytes);
            records.next_offset = next_offset;
            if next_offset < run.next {
                break;
            }
            at = self.reading_from(at + run.extents);
        }
        Ok(records)
    }

    /// The extent to read when it is the turn of `at`: M50 passes over the first after a roll.
    fn reading_from(&self, at: usize) -> usize {
        let skips = self.bugs.has(SeededBug::SegmentBoundary)
            && self.state.index.get(at).is_some_and(|extent| {
                let rolled = self.files.is_begun_by_a_roll(extent.lsn);
                rolled && self.state.index.get(at + 1).is_some()
            });
        at + usize::from(skips)
    }

    /// The extents from `at` on that lie side by side in one frame, as far as the budget reaches.
    fn run_at(&self, at: usize, budget: &Budget) -> Option<Run<'_>> {
        let first = self.state.index.get(at)?;
        if first.base >= budget.limit || (budget.bytes == 0 && !budget.free) {
            return None;
        }
        let wont_fit = first.batches == 1 && first.len as usize > budget.bytes;
        if wont_fit && !budget.free {
            return None;
        }
        let mut run = Run {
            first,
            next: first.next,
            len: first.len as usize,
            extents: 1,
        };
        for extent in self.state.index.iter_from(at + 1) {
            let beside = extent.lsn.get() == first.lsn.get() + run.len as u64;
            if !beside || extent.base >= budget.limit || run.len >= budget.bytes {
                break;
            }
            run.len += extent.len as usize;
            run.next = extent.next;
            run.extents += 1;
        }
        Some(run)
    }

    /// The batches of a run that the budget allows, with the offset after the last of them.
    fn take(
        &self,
        run: &Run<'_>,
        budget: &mut Budget,
    ) -> Result<Option<(Bytes, Offset)>, ReadError> {
        let (bytes, from_disk) = self.bytes_of(run)?;
        let (mut begin, mut at) = (0, 0);
        let mut expected = run.first.base;
        let mut next_offset = None;
        while at < bytes.len() {
            let checked = match from_disk {
                true => self.check_stored(&bytes[at..], expected),
                false => Ok(BatchHeader::parse(&bytes[at..]).expect("memory holds whole batches")),
            };
            let header = match checked {
                Ok(header) => header,
                Err(_) if next_offset.is_some() => break,
                Err(reason) => {
                    let lsn = Lsn(run.first.lsn.get() + at as u64);
                    return Err(self.files.corrupt(lsn, reason));
                }
            };
            expected = header.next_offset();
            if expected <= budget.from {
                at += header.size;
                begin = at;
                continue;
            }
            let fits = header.size <= budget.bytes || budget.free;
            if expected > budget.limit || !fits {
                break;
            }
            budget.free = false;
            budget.bytes = budget.bytes.saturating_sub(header.size);
            at += header.size;
            next_offset = Some(expected);
        }
        Ok(next_offset.map(|next_offset| (bytes.slice(begin..at), next_offset)))
    }

    /// The bytes of a run, and whether they come from a file.
    fn bytes_of(&self, run: &Run<'_>) -> Result<(Bytes, bool), ReadError> {
        if let Some(batches) = run.first.cached.as_ref().and_then(|cached| cached.get()) {
            let at = run.first.cached_at as usize;
            return Ok((batches.slice(at..at + run.len), false));
        }
        let mut bytes = BytesMut::zeroed(run.len);
        self.files.read(run.first.lsn, &mut bytes)?;
        Ok((bytes.freeze(), true))
    }

    /// Whether an extent's bytes on disk are what was written.
    pub(super) fn check_extent(&self, extent: &Extent) -> Result<(), String> {
        let mut bytes = vec![0; extent.len as usize];
        let read = self.files.read(extent.lsn, &mut bytes);
        read.map_err(|error| error.to_string())?;
        let (mut at, mut expected) = (0, extent.base);
        while at < bytes.len() {
            let header = self.check_stored(&bytes[at..], expected)?;
            expected = header.next_offset();
            at += header.size;
        }
        match expected == extent.next {
            true => Ok(()),
            false => Err(format!("it ends at offset {expected}")),
        }
    }

    /// Checks a batch that came from a file: it is the one that the index says.
    fn check_stored(&self, bytes: &[u8], expected: Offset) -> Result<BatchHeader, String> {
        let header = batch::check(bytes).map_err(|error| error.to_string())?;
        if header.base_offset != expected {
            let found = header.base_offset;
            return Err(format!(
                "a batch of offset {found} where {expected} was written"
            ));
        }
        if self.state.epochs.at(expected) != Some(header.leader_epoch) {
            let epoch = header.leader_epoch;
            return Err(format!(
                "the batch at offset {expected} was not of epoch {epoch}"
            ));
        }
        Ok(header)
    }

    /// Bytes that a read of `from..up_to` would find, at most `enough` (for `min_bytes`): no IO.
    /// Counts in whole extents, so it may say somewhat more.
    #[must_use]
    pub fn available(&self, from: Offset, up_to: Offset, enough: usize) -> usize {
        let mut found = 0;
        if from >= up_to {
            return found;
        }
        for extent in self.state.index.iter_from(self.state.index.position(from)) {
            if extent.base >= up_to || found >= enough {
                break;
            }
            found += extent.len as usize;
        }
        found.min(enough)
    }

    /// The headers of all batches from the one that holds `from`, in order: what producer state
    /// is folded from. Reads 61 bytes a batch; CRCs are not checked.
    pub fn headers(
        &self,
        from: Offset,
    ) -> impl Iterator<Item = Result<BatchHeader, ReadError>> + use<'_> {
        let extents = self.state.index.iter_from(self.state.index.position(from));
        extents
            .flat_map(|extent| HeadersOf {
                snapshot: self,
                extent,
                at: 0,
            })
            .filter(move |item| {
                item.as_ref()
                    .map_or(true, |header| header.next_offset() > from)
            })
    }

    /// The first batch that ends below or at `up_to` and has a record of `timestamp` or later:
    /// its first offset that is still in the log. Records are not decoded, so the record itself
    /// may come some records later in that batch; it is never skipped.
    ///
    /// # Errors
    /// A batch cannot be read from disk.
    pub fn find_timestamp(
        &self,
        timestamp: i64,
        up_to: Offset,
    ) -> Result<Option<TimestampOffset>, ReadError> {
        let mut from = 0;
        while let Some((at, extent)) = self.state.index.next_reaching(from, timestamp) {
            if extent.base >= up_to {
                break;
            }
            from = at + 1;
            for header in self.headers_of(extent) {
                let header = header?;
                let whole = header.next_offset() <= up_to;
                let left = header.next_offset() > self.state.log_start;
                let strict = self.bugs.has(SeededBug::TimeIndexStrict);
                let reached = header.max_timestamp >= timestamp + i64::from(strict);
                if whole && left && reached {
                    let first = header.base_timestamp >= timestamp;
                    return Ok(Some(TimestampOffset {
                        timestamp: if first {
                            header.base_timestamp
                        } else {
                            header.max_timestamp
                        },
                        offset: header.base_offset.max(self.state.log_start),
                        leader_epoch: header.leader_epoch,
                    }));
                }
            }
        }
        Ok(None)
    }

    /// The largest timestamp of the batches that end below or at `up_to`, with the last offset of
    /// the first batch that has it.
    ///
    /// # Errors
    /// A batch cannot be read from disk.
    pub fn max_timestamp(&self, up_to: Offset) -> Result<Option<TimestampOffset>, ReadError> {
        let mut best: Option<TimestampOffset> = None;
        let (mut from, mut least) = (0, i64::MIN);
        while let Some((at, extent)) = self.state.index.next_reaching(from, least) {
            if extent.base >= up_to {
                break;
            }
            from = at + 1;
            for header in self.headers_of(extent) {
                let header = header?;
                let left = header.next_offset() > self.state.log_start;
                let higher = best.is_none_or(|best| header.max_timestamp > best.timestamp);
                if left && header.next_offset() <= up_to && higher {
                    best = Some(TimestampOffset {
                        timestamp: header.max_timestamp,
                        offset: header.last_offset(),
                        leader_epoch: header.leader_epoch,
                    });
                    least = header.max_timestamp.saturating_add(1);
                }
            }
        }
        Ok(best)
    }

    pub(super) const fn headers_of<'a>(&'a self, extent: &'a Extent) -> HeadersOf<'a> {
        HeadersOf {
            snapshot: self,
            extent,
            at: 0,
        }
    }
}

/// Extents that lie side by side.
struct Run<'a> {
    first: &'a Extent,
    next: Offset,
    len: usize,
    extents: usize,
}

/// The batch headers of one extent, from memory or 61 bytes at a time from its file.
pub(super) struct HeadersOf<'a> {
    snapshot: &'a LogSnapshot,
    extent: &'a Extent,
    at: u64,
}

impl HeadersOf<'_> {
    fn read_one(&self) -> Result<BatchHeader, ReadError> {
        let lsn = Lsn(self.extent.lsn.get() + self.at);
        let mut bytes = [0; HEADER_LEN];
        match self.extent.cached.as_ref().and_then(|cached| cached.get()) {
            Some(batches) => {
                let at = self.extent.cached_at as usize + self.at as usize;
                bytes.copy_from_slice(&batches[at..at + HEADER_LEN]);
            }
            None => self.snapshot.files.read(lsn, &mut bytes)?,
        }
        let parsed = BatchHeader::parse(&bytes).map_err(|error| error.to_string());
        let left = u64::from(self.extent.len) - self.at;
        let fits = |header: &BatchHeader| header.size as u64 <= left;
        let within = |header: &BatchHeader| {
            header.base_offset >= self.extent.base && header.next_offset() <= self.extent.next
        };
        match parsed {
            Ok(header) if fits(&header) && within(&header) => Ok(header),
            Ok(_) => Err("it is not the batch that was written there".to_owned()),
            Err(reason) => Err(reason),
        }
        .map_err(|reason| self.snapshot.files.corrupt(lsn, reason))
    }
}

impl Iterator for HeadersOf<'_> {
    type Item = Result<BatchHeader, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= u64::from(self.extent.len) {
            return None;
        }
        let item = self.read_one();
        self.at = match &item {
            Ok(header) => self.at + header.size as u64,
            Err(_) => u64::from(self.extent.len),
        };
        Some(item)
    }
}
