//! A partition's index: which bytes of the WAL hold which offsets.
//!
//! An extent is a run of whole batches that lie one after another in one WAL frame, all of one
//! leader epoch, at most [`EXTENT_TARGET`] bytes unless a single batch is larger. The index is
//! sparse in this sense: inside an extent one walks from batch to batch.
//!
//! [`Index`] is persistent: cloning it costs two counters and an `Arc`, and a clone never changes.
//! It is a list of chunks with a fixed number of slots; the writer fills a slot once and only
//! then counts it, so a clone that counted fewer never looks there. Truncation copies the chunk
//! that it cuts. One writer (the partition's owner), any number of readers, no locks.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;
use bytes::Bytes;

use crate::types::{LeaderEpoch, Lsn, Offset};

/// Batches are gathered into extents of about this many bytes.
pub(super) const EXTENT_TARGET: usize = 64 << 10;

/// Extents in one chunk.
const CHUNK_SLOTS: usize = 64;

/// The batches of one WAL frame, in memory until the cache gives them up.
///
/// The committer empties it, after the frame was written, when newer frames need the room.
#[derive(Debug, Default)]
pub(super) struct Cached(ArcSwapOption<Bytes>);

impl Cached {
    pub fn new(bytes: Bytes) -> Arc<Self> {
        Arc::new(Self(ArcSwapOption::from_pointee(bytes)))
    }

    /// The bytes, unless they were evicted.
    pub fn get(&self) -> Option<Bytes> {
        self.0.load().as_deref().cloned()
    }

    /// Gives the memory back; readers go to the file from now on.
    pub fn evict(&self) {
        self.0.store(None);
    }
}

/// A run of batches in the WAL.
#[derive(Clone, Debug)]
pub(super) struct Extent {
    /// Offset of the first record.
    pub base: Offset,
    /// Offset after the last record.
    pub next: Offset,
    /// Where the first batch begins in the WAL.
    pub lsn: Lsn,
    /// Bytes of all batches.
    pub len: u32,
    /// Number of batches.
    pub batches: u32,
    /// Epoch of every batch.
    pub epoch: LeaderEpoch,
    /// Largest timestamp of a record, in milliseconds since 1970.
    pub max_timestamp: i64,
    /// The batches of the frame, if they were appended since the store was opened.
    pub cached: Option<Arc<Cached>>,
    /// Where this extent begins in them.
    pub cached_at: u32,
}

#[derive(Debug)]
struct Chunk {
    slots: Box<[OnceLock<Extent>]>,
    /// No slot holds a later timestamp. A clone that counted fewer slots than there are now may
    /// see a larger value than its own slots have, which costs it a look and nothing else.
    max_timestamp: AtomicI64,
}

impl Chunk {
    fn new() -> Self {
        Self {
            slots: (0..CHUNK_SLOTS).map(|_| OnceLock::new()).collect(),
            max_timestamp: AtomicI64::new(i64::MIN),
        }
    }

    /// A chunk with the first `keep` extents of this one.
    fn prefix(&self, keep: usize) -> Self {
        let copy = Self::new();
        for (slot, extent) in copy.slots.iter().zip(&self.slots[..keep]) {
            let extent = extent.get().expect("slots are filled in order");
            copy.note(extent);
            slot.get_or_init(|| extent.clone());
        }
        copy
    }

    /// Before the extent can be counted by anybody.
    fn note(&self, extent: &Extent) {
        self.max_timestamp
            .fetch_max(extent.max_timestamp, Ordering::AcqRel);
    }
}

/// The extents of one partition in offset order. See the module's documentation.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    chunks: Arc<Vec<Arc<Chunk>>>,
    /// Extents at the front of the first chunk that the log's start has passed.
    skip: usize,
    /// Slots in use, counted from the first chunk's first.
    used: usize,
    /// Bytes of all extents.
    bytes: u64,
}

impl Index {
    pub fn len(&self) -> usize {
        self.used - self.skip
    }

    /// Bytes of all extents.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The same extents for another writer: a slot has one. Without what is in memory.
    pub fn fork(&self) -> Self {
        let mut fork = Self::default();
        for extent in self.iter_from(0) {
            fork.push(Extent {
                cached: None,
                cached_at: 0,
                ..extent.clone()
            });
        }
        fork
    }

    /// Puts `extents`, which hold the same offsets, in place of those from `at` on.
    pub fn replace(&mut self, at: usize, extents: Vec<Extent>) {
        let Some(last) = (at + extents.len()).checked_sub(1) else {
            return;
        };
        let slots = self.skip + at..=self.skip + last;
        let mut extents = extents.into_iter();
        let chunks = Arc::make_mut(&mut self.chunks);
        let concerned = slots.start() / CHUNK_SLOTS..=slots.end() / CHUNK_SLOTS;
        let taken = concerned.end() + 1 - concerned.start();
        let numbered = chunks.iter_mut().enumerate();
        for (number, chunk) in numbered.skip(*concerned.start()).take(taken) {
            let copy = Chunk::new();
            for (place, slot) in chunk.slots.iter().enumerate() {
                let here = number * CHUNK_SLOTS + place;
                let Some(old) = slot.get().filter(|_| here < self.used) else {
                    break;
                };
                let new = match slots.contains(&here) {
                    true => extents.next().expect("one for each slot"),
                    false => old.clone(),
                };
                debug_assert_eq!((old.base, old.next), (new.base, new.next));
                copy.note(&new);
                copy.slots[place].get_or_init(|| new);
            }
            *chunk = Arc::new(copy);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The extent at `at`, counted from the first that is left.
    pub fn get(&self, at: usize) -> Option<&Extent> {
        let slot = self.skip + at;
        if slot >= self.used {
            return None;
        }
        self.chunks[slot / CHUNK_SLOTS].slots[slot % CHUNK_SLOTS].get()
    }

    pub fn last(&self) -> Option<&Extent> {
        self.get(self.len().checked_sub(1)?)
    }

    /// The extents from `at` on.
    pub fn iter_from(&self, at: usize) -> impl Iterator<Item = &Extent> {
        (at..self.len()).map_while(|at| self.get(at))
    }

    /// Which extent holds `offset`, or else is the first above it (`len()`: none).
    pub fn position(&self, offset: Offset) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let extent = self.get(middle).expect("below len");
            if extent.next <= offset {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// The first extent from `at` on that has a record of `timestamp` or later. Looks at one
    /// number for each chunk that has none.
    pub fn next_reaching(&self, at: usize, timestamp: i64) -> Option<(usize, &Extent)> {
        let mut at = at;
        while at < self.len() {
            let slot = self.skip + at;
            let chunk = &self.chunks[slot / CHUNK_SLOTS];
            if chunk.max_timestamp.load(Ordering::Acquire) < timestamp {
                at += CHUNK_SLOTS - slot % CHUNK_SLOTS;
                continue;
            }
            let extent = self.get(at).expect("below len");
            if extent.max_timestamp >= timestamp {
                return Some((at, extent));
            }
            at += 1;
        }
        None
    }

    pub fn push(&mut self, extent: Extent) {
        debug_assert!(self.last().is_none_or(|last| last.next == extent.base));
        if self.used == self.chunks.len() * CHUNK_SLOTS {
            Arc::make_mut(&mut self.chunks).push(Arc::new(Chunk::new()));
        }
        let chunk = &self.chunks[self.used / CHUNK_SLOTS];
        self.bytes += u64::from(extent.len);
        chunk.note(&extent);
        let slot = &chunk.slots[self.used % CHUNK_SLOTS];
        assert!(slot.set(extent).is_ok(), "a slot is filled once");
        self.used += 1;
    }

    /// Keeps the first `keep` extents.
    pub fn truncate(&mut self, keep: usize) {
        if keep >= self.len() {
            return;
        }
        let gone: u64 = self.iter_from(keep).map(|e| u64::from(e.len)).sum();
        self.bytes -= gone;
        self.used = self.skip + keep;
        let chunks = Arc::make_mut(&mut self.chunks);
        chunks.truncate(self.used.div_ceil(CHUNK_SLOTS));
        let in_last = self.used % CHUNK_SLOTS;
        if in_last > 0 {
            let last = chunks.last_mut().expect("a partly used chunk is there");
            *last = Arc::new(last.prefix(in_last));
        }
    }

    /// Drops the extents that end at or below `start`.
    pub fn advance_start(&mut self, start: Offset) {
        let gone = self.position(start);
        let bytes: u64 = self.iter_from(0).take(gone).map(|e| u64::from(e.len)).sum();
        self.bytes -= bytes;
        self.skip += gone;
        let whole = self.skip / CHUNK_SLOTS;
        if whole > 0 {
            Arc::make_mut(&mut self.chunks).drain(..whole);
            self.skip -= whole * CHUNK_SLOTS;
            self.used -= whole * CHUNK_SLOTS;
        }
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Up and down, so that chunks differ.
    const fn timestamp(base: i64) -> i64 {
        base.wrapping_mul(7919) % 10_007
    }

    fn extent(base: i64) -> Extent {
        Extent {
            base: Offset(base),
            next: Offset(base + 2),
            lsn: Lsn(0),
            len: 1,
            batches: 1,
            epoch: LeaderEpoch(0),
            max_timestamp: timestamp(base),
            cached: None,
            cached_at: 0,
        }
    }

    fn bases(index: &Index) -> Vec<i64> {
        index.iter_from(0).map(|extent| extent.base.get()).collect()
    }

    #[derive(Clone, Debug)]
    enum Step {
        Replace(prop::sample::Index, usize),
        Push(usize),
        Truncate(prop::sample::Index),
        AdvanceStart(prop::sample::Index),
        Snapshot,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            2 => (any::<prop::sample::Index>(), 0..200usize)
                .prop_map(|(at, count)| Step::Replace(at, count)),
            4 => (1..150usize).prop_map(Step::Push),
            2 => any::<prop::sample::Index>().prop_map(Step::Truncate),
            1 => any::<prop::sample::Index>().prop_map(Step::AdvanceStart),
            2 => Just(Step::Snapshot),
        ]
    }

    proptest! {
        /// The index agrees with a plain list, and a snapshot never changes.
        #[test]
        fn behaves_like_a_list(steps in prop::collection::vec(step(), 1..40)) {
            let mut index = Index::default();
            let mut model: Vec<i64> = Vec::new();
            let mut next = 0;
            let mut snapshots = Vec::new();
            for step in steps {
                match step {
                    Step::Push(count) => for _ in 0..count {
                        index.push(extent(next));
                        model.push(next);
                        next += 2;
                    },
                    Step::Truncate(keep) => {
                        let keep = keep.index(model.len() + 1);
                        next = model.get(keep).copied().unwrap_or(next);
                        index.truncate(keep);
                        model.truncate(keep);
                    }
                    Step::AdvanceStart(drop) => {
                        let drop = drop.index(model.len() + 1);
                        let start = model.get(drop).copied().unwrap_or(next);
                        index.advance_start(Offset(start + 1));
                        index.advance_start(Offset(start));
                        model.drain(..drop);
                    }
                    Step::Replace(at, count) => {
                        let at = at.index(model.len() + 1);
                        let moved = index.iter_from(at).take(count);
                        let moved: Vec<_> = moved
                            .map(|old| Extent { lsn: Lsn(old.lsn.get() + 1), ..old.clone() })
                            .collect();
                        let count = moved.len();
                        let before: Vec<_> = index.iter_from(0).map(|e| e.lsn.get()).collect();
                        index.replace(at, moved);
                        let pairs = before.iter().zip(index.iter_from(0));
                        for (place, (was, is)) in pairs.enumerate() {
                            let shift = u64::from((at..at + count).contains(&place));
                            prop_assert_eq!(was + shift, is.lsn.get());
                        }
                    }
                    Step::Snapshot => snapshots.push((index.clone(), model.clone())),
                }
                prop_assert_eq!(bases(&index), model.clone());
                prop_assert_eq!(index.bytes(), model.len() as u64);
                for (at, base) in model.iter().enumerate() {
                    prop_assert_eq!(index.position(Offset(*base)), at);
                    prop_assert_eq!(index.position(Offset(*base + 1)), at);
                }
                prop_assert_eq!(index.position(Offset(next)), model.len());
            }
            for (snapshot, model) in snapshots {
                for (from, least) in [(0, 0), (0, 9_900), (70, 9_990), (model.len() / 2, 5_000)] {
                    let found = snapshot.next_reaching(from, least).map(|(at, _)| at);
                    let reaching = |at: &usize| timestamp(model[*at]) >= least;
                    prop_assert_eq!(found, (from..model.len()).find(reaching));
                }
                prop_assert_eq!(bases(&snapshot), model);
            }
        }
    }
}
