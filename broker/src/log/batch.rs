//! Record batches of message format v2 as they lie in memory, on the wire and in the log.
//!
//! A batch is a header of 61 bytes and records that the broker never decodes (the layout is in
//! Kafka's documentation, "Message format"; all integers are big-endian). The CRC-32C covers
//! everything from `attributes` to the end, so that the broker can set the base offset and the
//! partition leader epoch without touching it (invariant I26: nothing else is ever changed).
//!
//! Deliberately absent: the records. Whoever wants them is `log::dump`.

use bytes::{Bytes, BytesMut};
use thiserror::Error;

use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

/// Bytes of a batch before its records.
pub const HEADER_LEN: usize = 61;
/// Bytes of a batch before the part that its `batch_length` field counts.
const LENGTH_PREFIX: usize = 12;
/// Where the base offset ends and the length begins.
const BASE_OFFSET_END: usize = 8;
/// Where the leader epoch, which follows the length, ends.
const EPOCH_END: usize = 16;
/// Where the CRC's coverage begins.
const CRC_START: usize = 21;
/// The only message format that is stored.
const MAGIC: i8 = 2;

const ATTRIBUTE_COMPRESSION: i16 = 0b111;
const ATTRIBUTE_LOG_APPEND_TIME: i16 = 1 << 3;
const ATTRIBUTE_TRANSACTIONAL: i16 = 1 << 4;
const ATTRIBUTE_CONTROL: i16 = 1 << 5;

/// Why bytes are not a record batch that may be stored.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BatchError {
    /// There are no bytes at all.
    #[error("no record batch: the records field is empty")]
    Empty,
    /// Fewer bytes than the batch says it has.
    #[error("record batch is cut short: {have} bytes of {need}")]
    Incomplete {
        /// Bytes that are there.
        have: usize,
        /// Bytes that the batch needs.
        need: usize,
    },
    /// The length field cannot be true of any batch.
    #[error("record batch says it is {length} bytes long, less than its own header")]
    BadLength {
        /// The length field as it came.
        length: i32,
    },
    /// Not message format v2.
    #[error("record batch has message format {magic}; only format 2 is stored")]
    UnsupportedMagic {
        /// The format as it came.
        magic: i8,
    },
    /// The bytes are not those that the sender summed up.
    #[error("record batch fails its CRC: {computed:#010x} computed, {stored:#010x} in its header")]
    CrcMismatch {
        /// Of the bytes that came.
        computed: u32,
        /// As the header says.
        stored: u32,
    },
    /// Larger than `message.max.bytes`.
    #[error("record batch of {size} bytes is larger than message.max.bytes = {limit}")]
    TooLarge {
        /// Bytes of the batch.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// A header field contradicts another one, or may not come from a producer.
    #[error("record batch is invalid: {reason}")]
    Invalid {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Timestamps are the producer's (`CreateTime`); only a broker may say that they are its own.
    #[error("record batch says that its timestamps are a broker's; a producer sends CreateTime")]
    TimestampType,
    /// A produce request holds exactly one batch per partition (message format v2).
    #[error("{extra} bytes follow the one record batch that a produce request may hold")]
    MoreThanOne {
        /// Bytes after the first batch.
        extra: usize,
    },
}

impl BatchError {
    /// The Kafka error code that says this to a client.
    #[must_use]
    pub const fn code(&self) -> i16 {
        match self {
            Self::Incomplete { .. } | Self::BadLength { .. } | Self::CrcMismatch { .. } => 2,
            Self::TooLarge { .. } => 10,
            Self::TimestampType => 32,
            Self::UnsupportedMagic { .. } => 43,
            Self::Empty | Self::Invalid { .. } | Self::MoreThanOne { .. } => 87,
        }
    }
}

/// The header of one batch, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// Bytes of the whole batch, header and length field included.
    pub size: usize,
    /// Epoch of the leader that appended it.
    pub leader_epoch: LeaderEpoch,
    /// CRC-32C from `attributes` to the end.
    pub crc: u32,
    /// Compression, timestamp type, transactional and control bits.
    pub attributes: i16,
    /// Offset of the last record less that of the first.
    pub last_offset_delta: i32,
    /// Timestamp of the first record, in milliseconds since 1970.
    pub base_timestamp: i64,
    /// Largest timestamp of a record, in milliseconds since 1970.
    pub max_timestamp: i64,
    /// -1: not idempotent.
    pub producer_id: ProducerId,
    /// -1: not idempotent.
    pub producer_epoch: ProducerEpoch,
    /// Sequence number of the first record; -1: not idempotent.
    pub base_sequence: i32,
    /// Number of records.
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads the header at the front of `bytes`. Neither the CRC nor the rest of the batch is
    /// looked at.
    ///
    /// # Errors
    /// Too few bytes for a header, another message format, or an impossible length.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        if bytes.len() < HEADER_LEN {
            return Err(BatchError::Incomplete {
                have: bytes.len(),
                need: HEADER_LEN,
            });
        }
        let magic = i8::from_be_bytes(field(bytes, 16));
        if magic != MAGIC {
            return Err(BatchError::UnsupportedMagic { magic });
        }
        let length = i32::from_be_bytes(field(bytes, 8));
        let size = usize::try_from(length)
            .ok()
            .and_then(|length| length.checked_add(LENGTH_PREFIX))
            .filter(|size| *size >= HEADER_LEN)
            .ok_or(BatchError::BadLength { length })?;
        Ok(Self {
            base_offset: Offset(i64::from_be_bytes(field(bytes, 0))),
            size,
            leader_epoch: LeaderEpoch(i32::from_be_bytes(field(bytes, 12))),
            crc: u32::from_be_bytes(field(bytes, 17)),
            attributes: i16::from_be_bytes(field(bytes, 21)),
            last_offset_delta: i32::from_be_bytes(field(bytes, 23)),
            base_timestamp: i64::from_be_bytes(field(bytes, 27)),
            max_timestamp: i64::from_be_bytes(field(bytes, 35)),
            producer_id: ProducerId(i64::from_be_bytes(field(bytes, 43))),
            producer_epoch: ProducerEpoch(i16::from_be_bytes(field(bytes, 51))),
            base_sequence: i32::from_be_bytes(field(bytes, 53)),
            record_count: i32::from_be_bytes(field(bytes, 57)),
        })
    }

    /// Offset of the last record.
    #[must_use]
    pub const fn last_offset(&self) -> Offset {
        self.base_offset.plus(self.last_offset_delta as i64)
    }

    /// Offset of the record that comes after this batch.
    #[must_use]
    pub const fn next_offset(&self) -> Offset {
        self.base_offset.plus(self.last_offset_delta as i64 + 1)
    }

    /// Sequence number of the last record; numbers wrap from `i32::MAX` to 0 (KIP-98).
    #[must_use]
    pub const fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return -1;
        }
        let sum = self.base_sequence as i64 + self.last_offset_delta as i64;
        (sum % (i32::MAX as i64 + 1)) as i32
    }

    /// Whether an idempotent producer sent it.
    #[must_use]
    pub const fn is_idempotent(&self) -> bool {
        self.producer_id.get() >= 0
    }

    /// Whether it belongs to a transaction.
    #[must_use]
    pub const fn is_transactional(&self) -> bool {
        self.attributes & ATTRIBUTE_TRANSACTIONAL != 0
    }

    /// Whether it holds control records (transaction markers), which only brokers write.
    #[must_use]
    pub const fn is_control(&self) -> bool {
        self.attributes & ATTRIBUTE_CONTROL != 0
    }

    /// Whether its timestamps are those of the broker's append.
    #[must_use]
    pub const fn is_log_append_time(&self) -> bool {
        self.attributes & ATTRIBUTE_LOG_APPEND_TIME != 0
    }

    /// Compression codec: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.
    #[must_use]
    pub const fn compression(&self) -> i16 {
        self.attributes & ATTRIBUTE_COMPRESSION
    }
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

/// Checks the batch at the front of `bytes`: it is all there and its CRC holds.
///
/// # Errors
/// See [`BatchError`].
pub fn check(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
    let header = BatchHeader::parse(bytes)?;
    if bytes.len() < header.size {
        return Err(BatchError::Incomplete {
            have: bytes.len(),
            need: header.size,
        });
    }
    let computed = crc32c::crc32c(&bytes[CRC_START..header.size]);
    if computed != header.crc {
        return Err(BatchError::CrcMismatch {
            computed,
            stored: header.crc,
        });
    }
    if header.last_offset_delta < 0 {
        return Err(BatchError::Invalid {
            reason: "its last offset delta is negative",
        });
    }
    Ok(header)
}

/// Invariant I26: whether `stored` is `received` but for the base offset and the leader epoch.
#[must_use]
pub fn is_untouched(stored: &[u8], received: &[u8]) -> bool {
    let rest = |bytes: &[u8]| bytes.len() >= EPOCH_END;
    rest(stored)
        && rest(received)
        && stored[BASE_OFFSET_END..LENGTH_PREFIX] == received[BASE_OFFSET_END..LENGTH_PREFIX]
        && stored[EPOCH_END..] == received[EPOCH_END..]
}

/// The headers of the batches that lie one after another in `bytes`, without a CRC check.
/// Ends after the first error.
#[must_use]
pub fn headers(bytes: &[u8]) -> Headers<'_> {
    Headers { rest: bytes }
}

/// Iterator made by [`headers`].
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    rest: &'a [u8],
}

impl Iterator for Headers<'_> {
    type Item = Result<BatchHeader, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let item = BatchHeader::parse(self.rest).and_then(|header| {
            if header.size > self.rest.len() {
                return Err(BatchError::Incomplete {
                    have: self.rest.len(),
                    need: header.size,
                });
            }
            Ok(header)
        });
        self.rest = match &item {
            Ok(header) => &self.rest[header.size..],
            Err(_) => &[],
        };
        Some(item)
    }
}

/// One batch from a producer that passed every check: the only thing that a leader appends.
#[derive(Clone, Debug)]
pub struct ProducedBatch {
    header: BatchHeader,
    bytes: Bytes,
}

impl ProducedBatch {
    /// Checks the records field of one partition of a produce request: exactly one batch, format
    /// 2, whole, within the limit, its CRC right, its counts in agreement with each other.
    ///
    /// # Errors
    /// See [`BatchError`]; [`BatchError::code`] is what the client is told.
    pub fn validate(records: Bytes, max_message_bytes: usize) -> Result<Self, BatchError> {
        if records.is_empty() {
            return Err(BatchError::Empty);
        }
        let header = BatchHeader::parse(&records)?;
        if header.size > max_message_bytes {
            return Err(BatchError::TooLarge {
                size: header.size,
                limit: max_message_bytes,
            });
        }
        let header = check(&records)?;
        if records.len() > header.size {
            return Err(BatchError::MoreThanOne {
                extra: records.len() - header.size,
            });
        }
        match produced_fault(&header) {
            Some(reason) => Err(BatchError::Invalid { reason }),
            None if header.is_log_append_time() => Err(BatchError::TimestampType),
            None => Ok(Self {
                header,
                bytes: records,
            }),
        }
    }

    /// Its header as the producer sent it: base offset and leader epoch mean nothing yet.
    #[must_use]
    pub const fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// Bytes of the whole batch.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.header.size
    }

    /// The bytes as the producer sent them.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

/// What Kafka's `LogValidator` refuses in a header from a producer, in its order.
fn produced_fault(header: &BatchHeader) -> Option<&'static str> {
    if header.record_count <= 0 {
        return Some("it has no records");
    }
    if header.last_offset_delta != header.record_count - 1 {
        return Some("its last offset delta does not agree with its record count");
    }
    if header.is_control() {
        return Some("a producer may not write control records");
    }
    if header.is_idempotent() && (header.base_sequence < 0 || header.producer_epoch.get() < 0) {
        return Some("it has a producer id but no producer epoch or sequence number");
    }
    if header.is_transactional() && !header.is_idempotent() {
        return Some("it is transactional but has no producer id");
    }
    if header.compression() > 4 {
        return Some("its compression codec is unknown");
    }
    None
}

/// Sets the base offset and the partition leader epoch of the batch at the front of `bytes`.
pub(super) fn patch(bytes: &mut BytesMut, base_offset: Offset, epoch: LeaderEpoch) {
    bytes[0..8].copy_from_slice(&base_offset.get().to_be_bytes());
    bytes[12..16].copy_from_slice(&epoch.get().to_be_bytes());
}

#[cfg(test)]
#[path = "batch_test.rs"]
mod tests;
