//! The WAL's frames: how a record lies in a file, and how it is told from anything else.
//!
//! A frame is a header of 40 bytes, a payload, and zeros up to a multiple of 8. All integers of
//! the header are little-endian:
//!
//! | at | bytes | field |
//! |---|---|---|
//! | 0 | 4 | magic `wALf` |
//! | 4 | 4 | CRC-32C of bytes 8 to 40 |
//! | 8 | 4 | payload length |
//! | 12 | 4 | CRC-32C of the payload |
//! | 16 | 8 | LSN of the frame: bytes of all frames before it |
//! | 24 | 8 | LSN known to be durable when it was written |
//! | 32 | 1 | kind |
//! | 33 | 7 | zero |
//!
//! The header has a CRC of its own so that, after a bad frame, later ones can be found by their
//! headers alone: recovery must know what they say about durability.

use bytes::{BufMut, Bytes, BytesMut};

use crate::types::{Lsn, Offset, TopicId, TopicPartition};

/// Bytes of a frame's header.
pub(super) const FRAME_HEADER: usize = 40;
/// Frames begin at multiples of this, in bytes.
pub(super) const FRAME_ALIGN: usize = 8;
/// Bytes of an append's payload before its batches.
pub(super) const APPEND_PREFIX: usize = 20;
/// Largest payload; a length above it is not believed.
pub(super) const PAYLOAD_MAX: usize = 1 << 30;
/// Largest run of batches that one append frame takes.
pub(super) const BATCHES_MAX: usize = PAYLOAD_MAX - APPEND_PREFIX;

const MAGIC: [u8; 4] = *b"wALf";

/// One decoded record of the WAL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record<'a> {
    /// Batches at the end of a partition, offsets and epochs already set.
    Append {
        tp: TopicPartition,
        batches: &'a [u8],
    },
    /// The partition now ends at `to`, a batch boundary.
    Truncate {
        tp: TopicPartition,
        to: Offset,
        /// What is left of the extent that `to` lies within, if it lies within one.
        kept: Kept,
    },
    /// The partition was emptied and begins again at `at`.
    Restart { tp: TopicPartition, at: Offset },
    /// The partition now begins at `to`.
    LogStart {
        tp: TopicPartition,
        to: Offset,
        /// What is remembered of its producers, although their batches are gone (opaque here).
        producers: &'a [u8],
    },
    /// All partitions of the topic are gone, for good.
    DeleteTopic { topic: TopicId },
    /// High watermarks as of now.
    HighWatermarks(Vec<(TopicPartition, Offset)>),
    /// All partitions as of an earlier LSN (see `checkpoint`).
    Checkpoint(&'a [u8]),
    /// Batches that are in the log already, byte for byte: this copy is the one to read.
    Moved {
        tp: TopicPartition,
        batches: &'a [u8],
    },
}

/// What is left of an extent that a truncation cut: replay need not read it to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Kept {
    /// Bytes.
    pub len: u32,
    /// Batches.
    pub batches: u32,
    /// Largest timestamp.
    pub max_timestamp: i64,
}

/// Kinds as they are stored. New kinds get new numbers.
const APPEND: u8 = 1;
const TRUNCATE: u8 = 2;
const RESTART: u8 = 3;
const LOG_START: u8 = 4;
const DELETE_TOPIC: u8 = 5;
const HIGH_WATERMARKS: u8 = 6;
const CHECKPOINT: u8 = 7;
const MOVED: u8 = 8;

/// Bytes of a log start's payload before what is said of producers.
const LOG_START_PREFIX: usize = 28;

fn put_tp(out: &mut impl BufMut, tp: TopicPartition) {
    out.put_slice(tp.topic.0.as_bytes());
    out.put_i32_le(tp.partition);
}

/// A record on its way into the WAL.
#[derive(Clone, Debug)]
pub(super) struct Payload {
    pub kind: u8,
    pub bytes: Bytes,
    /// Computed here, by the caller's thread: the committer only sums up headers.
    pub crc: u32,
}

impl Payload {
    fn new(kind: u8, bytes: BytesMut) -> Self {
        let bytes = bytes.freeze();
        Self {
            kind,
            crc: crc32c::crc32c(&bytes),
            bytes,
        }
    }

    /// An append; `fill` gets a buffer with room for `size` bytes of batches and must write them.
    pub fn append(tp: TopicPartition, size: usize, fill: impl FnOnce(&mut BytesMut)) -> Self {
        Self::batches_of(APPEND, tp, size, fill)
    }

    /// Another copy of `batches`.
    pub fn moved(tp: TopicPartition, batches: &[u8]) -> Self {
        Self::batches_of(MOVED, tp, batches.len(), |out| out.put_slice(batches))
    }

    fn batches_of(
        kind: u8,
        tp: TopicPartition,
        size: usize,
        fill: impl FnOnce(&mut BytesMut),
    ) -> Self {
        let mut prefix = BytesMut::with_capacity(APPEND_PREFIX + size);
        put_tp(&mut prefix, tp);
        let mut batches = prefix.split_off(APPEND_PREFIX);
        fill(&mut batches);
        debug_assert_eq!(batches.len(), size);
        prefix.unsplit(batches);
        Self::new(kind, prefix)
    }

    pub fn truncate(tp: TopicPartition, to: Offset, kept: Kept) -> Self {
        let mut bytes = BytesMut::new();
        put_tp(&mut bytes, tp);
        bytes.put_i64_le(to.get());
        bytes.put_u32_le(kept.len);
        bytes.put_u32_le(kept.batches);
        bytes.put_i64_le(kept.max_timestamp);
        Self::new(TRUNCATE, bytes)
    }

    pub fn restart(tp: TopicPartition, at: Offset) -> Self {
        let mut bytes = BytesMut::new();
        put_tp(&mut bytes, tp);
        bytes.put_i64_le(at.get());
        Self::new(RESTART, bytes)
    }

    pub fn log_start(tp: TopicPartition, to: Offset, producers: &[u8]) -> Self {
        let mut bytes = BytesMut::with_capacity(LOG_START_PREFIX + producers.len());
        put_tp(&mut bytes, tp);
        bytes.put_i64_le(to.get());
        bytes.put_slice(producers);
        Self::new(LOG_START, bytes)
    }

    pub fn checkpoint(encoded: BytesMut) -> Self {
        Self::new(CHECKPOINT, encoded)
    }

    pub fn delete_topic(topic: TopicId) -> Self {
        Self::new(DELETE_TOPIC, BytesMut::from(&topic.0.as_bytes()[..]))
    }

    pub fn high_watermarks(all: &[(TopicPartition, Offset)]) -> Self {
        let mut bytes = BytesMut::with_capacity(all.len() * (APPEND_PREFIX + 8));
        for (tp, offset) in all {
            put_tp(&mut bytes, *tp);
            bytes.put_i64_le(offset.get());
        }
        Self::new(HIGH_WATERMARKS, bytes)
    }

    /// The batches of an append.
    pub fn batches(&self) -> Bytes {
        debug_assert!(self.kind == APPEND || self.kind == MOVED);
        self.bytes.slice(APPEND_PREFIX..)
    }

    /// Whether batches, or a copy of them, may live no more because of it.
    pub const fn ends_something(&self) -> bool {
        !matches!(self.kind, APPEND | HIGH_WATERMARKS | CHECKPOINT)
    }

    /// Bytes of the frame that will hold it.
    pub fn frame_len(&self) -> u64 {
        frame_len(self.bytes.len())
    }
}

/// Bytes of a frame with such a payload, padding included.
pub(super) const fn frame_len(payload: usize) -> u64 {
    (FRAME_HEADER + payload).next_multiple_of(FRAME_ALIGN) as u64
}

/// Of which partition the payload of a frame of this kind holds records, if it does, as it says.
pub(super) fn whose(kind: u8, payload: &[u8]) -> Option<TopicPartition> {
    let records = (kind == APPEND || kind == MOVED) && payload.len() > APPEND_PREFIX;
    records.then(|| tp_at(payload, 0))
}

/// Whether a frame of this kind is a checkpoint.
pub(super) const fn is_checkpoint(kind: u8) -> bool {
    kind == CHECKPOINT
}

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub payload_len: u32,
    pub payload_crc: u32,
    pub lsn: Lsn,
    pub durable: Lsn,
    pub kind: u8,
}

impl FrameHeader {
    pub fn encode(&self) -> [u8; FRAME_HEADER] {
        let mut out = [0; FRAME_HEADER];
        out[0..4].copy_from_slice(&MAGIC);
        out[8..12].copy_from_slice(&self.payload_len.to_le_bytes());
        out[12..16].copy_from_slice(&self.payload_crc.to_le_bytes());
        out[16..24].copy_from_slice(&self.lsn.get().to_le_bytes());
        out[24..32].copy_from_slice(&self.durable.get().to_le_bytes());
        out[32] = self.kind;
        let crc = crc32c::crc32c(&out[8..]);
        out[4..8].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// The header at the front of `bytes`, if it is one: magic and CRC hold.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..FRAME_HEADER)?;
        if bytes[0..4] != MAGIC || crc32c::crc32c(&bytes[8..]) != u32_at(bytes, 4) {
            return None;
        }
        Some(Self {
            payload_len: u32_at(bytes, 8),
            payload_crc: u32_at(bytes, 12),
            lsn: Lsn(u64_at(bytes, 16)),
            durable: Lsn(u64_at(bytes, 24)),
            kind: bytes[32],
        })
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn i64_at(bytes: &[u8], at: usize) -> i64 {
    u64_at(bytes, at).cast_signed()
}

fn tp_at(bytes: &[u8], at: usize) -> TopicPartition {
    TopicPartition {
        topic: topic_at(bytes, at),
        partition: u32_at(bytes, at + 16).cast_signed(),
    }
}

fn topic_at(bytes: &[u8], at: usize) -> TopicId {
    let id = bytes[at..at + 16].try_into().expect("sixteen bytes");
    TopicId(uuid::Uuid::from_bytes(id))
}

/// Decodes a payload whose CRC was right. What it cannot be is said in words.
pub(super) fn decode_record(kind: u8, payload: &[u8]) -> Result<Record<'_>, String> {
    let len = payload.len();
    let exactly = |expected: usize| match len == expected {
        true => Ok(()),
        false => Err(format!("a record of kind {kind} has {len} bytes")),
    };
    Ok(match kind {
        APPEND if len > APPEND_PREFIX => Record::Append {
            tp: tp_at(payload, 0),
            batches: &payload[APPEND_PREFIX..],
        },
        TRUNCATE => {
            exactly(44)?;
            Record::Truncate {
                tp: tp_at(payload, 0),
                to: Offset(i64_at(payload, 20)),
                kept: Kept {
                    len: u32_at(payload, 28),
                    batches: u32_at(payload, 32),
                    max_timestamp: i64_at(payload, 36),
                },
            }
        }
        RESTART => {
            exactly(28)?;
            let (tp, at) = (tp_at(payload, 0), Offset(i64_at(payload, 20)));
            Record::Restart { tp, at }
        }
        LOG_START if len >= LOG_START_PREFIX => Record::LogStart {
            tp: tp_at(payload, 0),
            to: Offset(i64_at(payload, 20)),
            producers: &payload[LOG_START_PREFIX..],
        },
        CHECKPOINT => Record::Checkpoint(payload),
        MOVED if len > APPEND_PREFIX => Record::Moved {
            tp: tp_at(payload, 0),
            batches: &payload[APPEND_PREFIX..],
        },
        DELETE_TOPIC => {
            exactly(16)?;
            Record::DeleteTopic {
                topic: topic_at(payload, 0),
            }
        }
        HIGH_WATERMARKS if len.is_multiple_of(28) => {
            let entries = payload.chunks_exact(28);
            let entries = entries.map(|entry| (tp_at(entry, 0), Offset(i64_at(entry, 20))));
            Record::HighWatermarks(entries.collect())
        }
        _ => {
            return Err(format!(
                "a record of kind {kind} and {len} bytes is unknown"
            ));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tp() -> TopicPartition {
        TopicPartition {
            topic: TopicId(uuid::Uuid::from_u128(77)),
            partition: 3,
        }
    }

    #[test]
    fn every_record_comes_back_as_it_went_in() {
        let kept = Kept {
            len: 7,
            batches: 2,
            max_timestamp: -1,
        };
        let append = Payload::append(tp(), 5, |out| out.put_slice(b"hello"));
        assert_eq!(append.batches(), "hello");
        let hws = vec![(tp(), Offset(4)), (tp(), Offset(5))];
        let cases = [
            (
                append,
                Record::Append {
                    tp: tp(),
                    batches: b"hello",
                },
            ),
            (
                Payload::truncate(tp(), Offset(9), kept),
                Record::Truncate {
                    tp: tp(),
                    to: Offset(9),
                    kept,
                },
            ),
            (
                Payload::restart(tp(), Offset(1)),
                Record::Restart {
                    tp: tp(),
                    at: Offset(1),
                },
            ),
            (
                Payload::log_start(tp(), Offset(2), b"who"),
                Record::LogStart {
                    tp: tp(),
                    to: Offset(2),
                    producers: b"who",
                },
            ),
            (
                Payload::moved(tp(), b"again"),
                Record::Moved {
                    tp: tp(),
                    batches: b"again",
                },
            ),
            (
                Payload::delete_topic(tp().topic),
                Record::DeleteTopic { topic: tp().topic },
            ),
            (Payload::high_watermarks(&hws), Record::HighWatermarks(hws)),
        ];
        for (payload, record) in cases {
            assert_eq!(decode_record(payload.kind, &payload.bytes), Ok(record));
            assert!(
                decode_record(payload.kind, &payload.bytes[..3]).is_err(),
                "{payload:?}"
            );
        }
        assert!(decode_record(99, b"").is_err());
    }

    #[test]
    fn any_flipped_bit_of_a_header_is_noticed() {
        let header = FrameHeader {
            payload_len: 5,
            payload_crc: 6,
            lsn: Lsn(7),
            durable: Lsn(8),
            kind: 1,
        };
        let bytes = header.encode();
        assert_eq!(FrameHeader::decode(&bytes), Some(header));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(FrameHeader::decode(&flipped), None, "bit {bit}");
        }
        assert_eq!(FrameHeader::decode(&bytes[..39]), None);
    }
}
