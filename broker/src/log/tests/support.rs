//! Batches to append, and a model of what a log must then hold.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use proptest::test_runner::{Config as ProptestConfig, RngSeed};

use crate::log::batch::patch;
use crate::log::{LogConfig, LogSnapshot, LogStore, OpenError, PartitionLog, ProducedBatch};
use crate::storage::memory::MemoryStorage;
use crate::types::{LeaderEpoch, Offset, TopicId, TopicPartition};

/// Every run draws the same cases; `PROPTEST_RNG_SEED` and `PROPTEST_CASES` draw others, or more.
pub fn cases(cases: u32) -> ProptestConfig {
    let set = |name| std::env::var_os(name).is_some();
    let mut config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    if !set("PROPTEST_RNG_SEED") {
        config.rng_seed = RngSeed::Fixed(1);
    }
    if !set("PROPTEST_CASES") {
        config.cases = cases;
    }
    config
}

pub const MAX_MESSAGE: usize = 1 << 20;

pub fn tp(topic: u128, partition: i32) -> TopicPartition {
    TopicPartition {
        topic: TopicId(uuid::Uuid::from_u128(topic)),
        partition,
    }
}

fn varint(out: &mut Vec<u8>, value: i64) {
    let mut zigzag = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while zigzag >= 0x80 {
        out.push(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    out.push(zigzag as u8);
}

/// A batch as a producer sends it, one record for each value, a millisecond apart.
pub fn batch_of(values: &[&[u8]], timestamp: i64) -> Bytes {
    let mut records = Vec::new();
    for (delta, value) in values.iter().enumerate() {
        let mut record = vec![0];
        varint(&mut record, delta as i64);
        varint(&mut record, delta as i64);
        varint(&mut record, -1);
        varint(&mut record, value.len() as i64);
        record.extend_from_slice(value);
        varint(&mut record, 0);
        varint(&mut records, record.len() as i64);
        records.extend_from_slice(&record);
    }
    let last = values.len() as i32 - 1;
    let mut summed = Vec::new();
    summed.extend_from_slice(&0i16.to_be_bytes());
    summed.extend_from_slice(&last.to_be_bytes());
    summed.extend_from_slice(&timestamp.to_be_bytes());
    summed.extend_from_slice(&(timestamp + i64::from(last)).to_be_bytes());
    summed.extend_from_slice(&(-1i64).to_be_bytes());
    summed.extend_from_slice(&(-1i16).to_be_bytes());
    summed.extend_from_slice(&(-1i32).to_be_bytes());
    summed.extend_from_slice(&(last + 1).to_be_bytes());
    summed.extend_from_slice(&records);
    let mut out = Vec::new();
    out.extend_from_slice(&0i64.to_be_bytes());
    out.extend_from_slice(&(summed.len() as i32 + 9).to_be_bytes());
    out.extend_from_slice(&(-1i32).to_be_bytes());
    out.push(2);
    out.extend_from_slice(&crc32c::crc32c(&summed).to_be_bytes());
    out.extend_from_slice(&summed);
    Bytes::from(out)
}

/// A batch of `count` records of `size` bytes that no other batch equals.
pub fn batch(serial: u64, count: usize, size: usize) -> Bytes {
    let value = [&serial.to_be_bytes()[..], &vec![b'v'; size]].concat();
    batch_of(&vec![&value[..]; count.max(1)], 1000 + serial.cast_signed())
}

pub fn produced(bytes: &Bytes) -> ProducedBatch {
    ProducedBatch::validate(bytes.clone(), MAX_MESSAGE).unwrap()
}

/// The batch as it must lie in the log.
pub fn stored(bytes: &Bytes, base: i64, epoch: i32) -> Bytes {
    let mut bytes = BytesMut::from(&bytes[..]);
    patch(&mut bytes, Offset(base), LeaderEpoch(epoch));
    bytes.freeze()
}

/// What one partition must hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelLog {
    pub log_start: i64,
    pub end: i64,
    /// (base, next, epoch, bytes), in order; the first may begin below the log's start.
    pub batches: Vec<(i64, i64, i32, Bytes)>,
}

impl ModelLog {
    pub fn append(&mut self, epoch: i32, bytes: &Bytes) {
        let count = i64::from(produced(bytes).header().record_count);
        let (base, next) = (self.end, self.end + count);
        let bytes = stored(bytes, base, epoch);
        self.batches.push((base, next, epoch, bytes));
        self.end = next;
    }

    pub fn truncate(&mut self, to: i64) {
        if to < self.end {
            self.batches.retain(|(_, next, ..)| *next <= to);
            let end = self
                .batches
                .last()
                .map_or(self.log_start, |(_, next, ..)| *next);
            self.end = end.max(self.log_start);
        }
    }

    pub fn advance_log_start(&mut self, to: i64) {
        self.log_start = to.min(self.end).max(self.log_start);
        self.batches.retain(|(_, next, ..)| *next > self.log_start);
    }

    pub fn restart_at(&mut self, at: i64) {
        *self = Self {
            log_start: at,
            end: at,
            batches: Vec::new(),
        };
    }

    /// What a read must give: bytes, and where the next one goes on.
    pub fn read(&self, from: i64, up_to: i64, max_bytes: usize, one: bool) -> (Vec<u8>, i64) {
        let (mut bytes, mut next_offset) = (Vec::new(), from);
        for (_, next, _, batch) in &self.batches {
            if *next <= from {
                continue;
            }
            let fits = bytes.len() + batch.len() <= max_bytes || (one && bytes.is_empty());
            if *next > up_to || !fits || from >= up_to {
                break;
            }
            bytes.extend_from_slice(batch);
            next_offset = *next;
        }
        (bytes, next_offset)
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.batches
            .iter()
            .flat_map(|(.., bytes)| bytes.to_vec())
            .collect()
    }
}

pub type Model = BTreeMap<TopicPartition, ModelLog>;

/// A store on a disk in memory, committed by hand.
pub fn config(roll_bytes: u64) -> LogConfig {
    LogConfig {
        wal_roll_bytes: roll_bytes,
        min_free_bytes: 0,
        ..LogConfig::new(PathBuf::from("log"))
    }
}

/// Why a store failed for good, if it did.
pub type Fatal = Arc<Mutex<Vec<String>>>;

pub fn open(disk: &MemoryStorage, config: LogConfig) -> Result<(LogStore, Fatal), OpenError> {
    let fatal = Fatal::default();
    let note = fatal.clone();
    let on_fatal = Box::new(move |reason: &str| note.lock().unwrap().push(reason.to_owned()));
    let store = LogStore::open_manual(config, Arc::new(disk.clone()), on_fatal)?;
    Ok((store, fatal))
}

pub fn healthy(disk: &MemoryStorage) -> LogStore {
    open(disk, config(4096)).unwrap().0
}

pub fn take(store: &LogStore, tp: TopicPartition) -> PartitionLog {
    store.partition(tp, Arc::new(|| {})).unwrap()
}

/// The whole log, read in pages of about `page` bytes.
pub fn read_all(snapshot: &LogSnapshot, page: usize) -> Vec<u8> {
    let (mut from, mut bytes) = (snapshot.log_start(), Vec::new());
    while from < snapshot.end() {
        let records = snapshot.read(from, snapshot.end(), page, true).unwrap();
        assert!(
            records.next_offset > from,
            "a read below the end gives a batch"
        );
        assert_eq!(
            records.chunks.iter().map(Bytes::len).sum::<usize>(),
            records.size
        );
        from = records.next_offset;
        bytes.extend_from_slice(&records.into_bytes());
    }
    bytes
}

/// The log agrees with the model.
pub fn assert_like(log: &PartitionLog, model: &ModelLog, page: usize) {
    let snapshot = log.snapshot();
    let ends = (snapshot.log_start().get(), snapshot.end().get());
    assert_eq!(ends, (model.log_start, model.end), "{log:?}");
    assert_eq!(read_all(&snapshot, page), model.bytes(), "{log:?}");
    if let Some((.., epoch, _)) = model.batches.last() {
        assert_eq!(log.last_epoch(), Some(LeaderEpoch(*epoch)), "{log:?}");
    }
    for asked in model.batches.iter().map(|(.., epoch, _)| *epoch) {
        let above = model.batches.iter().find(|(.., epoch, _)| *epoch > asked);
        let end = above.map_or(model.end, |(base, ..)| *base);
        let found = log.end_offset_for(LeaderEpoch(asked));
        assert_eq!(
            (found.epoch.get(), found.end.get()),
            (asked, end),
            "{log:?}"
        );
    }
}
