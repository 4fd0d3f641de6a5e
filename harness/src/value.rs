//! What is inside a message: a value that is unique in its partition, who it belongs to, and a
//! checksum over all of it.
//!
//! Layout, big-endian: magic (4), CRC-32C of everything behind it (4), run (8), value (8),
//! partition (4), length (4), filler. The filler is a function of the value, so it costs no
//! memory to check, and it does not compress. A record that was cut, flipped, mixed with another,
//! or delivered for another partition or run never decodes.

use std::fmt;

const MAGIC: [u8; 4] = *b"KVH1";
/// Bytes in front of the filler: the smallest possible message.
pub const MIN_BYTES: usize = 32;
const CHECKED_FROM: usize = 8;

/// What one message says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The run that sent it: a topic name that was used before cannot confuse two runs.
    pub run: u64,
    /// The partition that it was sent to.
    pub partition: i32,
    /// Unique among the messages of its partition.
    pub value: i64,
}

/// Why a payload is not a message of this run and partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Corrupt {
    /// Shorter than a header, or not the length that it states.
    Length {
        /// Bytes stated by the payload, if it has a header.
        stated: Option<usize>,
        /// Bytes received.
        got: usize,
    },
    /// It does not begin like our messages.
    Magic,
    /// The checksum does not match.
    Checksum,
    /// It is whole, but it was sent in another run.
    Run(u64),
    /// It is whole, but it was sent to another partition.
    Partition {
        /// The partition that it was sent to.
        sent_to: i32,
        /// Its value there.
        value: i64,
    },
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Corrupt::Length { stated: None, got } => {
                write!(f, "{got} bytes, too short for a message of this run")
            }
            Corrupt::Length {
                stated: Some(stated),
                got,
            } => write!(f, "{got} bytes where {stated} were sent"),
            Corrupt::Magic => write!(f, "not a message of this harness"),
            Corrupt::Checksum => write!(f, "checksum does not match"),
            Corrupt::Run(run) => write!(f, "message of another run ({run:016x})"),
            Corrupt::Partition { sent_to, value } => {
                write!(f, "value {value} was sent to partition {sent_to}")
            }
        }
    }
}

/// Writes the message into `into` (cleared first), `bytes` long but never under [`MIN_BYTES`].
pub fn encode(into: &mut Vec<u8>, identity: Identity, bytes: usize) {
    let bytes = bytes.max(MIN_BYTES);
    into.clear();
    into.reserve(bytes);
    into.extend_from_slice(&MAGIC);
    into.extend_from_slice(&[0; 4]);
    into.extend_from_slice(&identity.run.to_be_bytes());
    into.extend_from_slice(&identity.value.to_be_bytes());
    into.extend_from_slice(&identity.partition.to_be_bytes());
    into.extend_from_slice(&(bytes as u32).to_be_bytes());
    let mut state = (identity.value as u64) ^ identity.run ^ 0x9E37_79B9_7F4A_7C15;
    while into.len() < bytes {
        // xorshift64*: only to be incompressible, never a source of decisions.
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        let word = state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_be_bytes();
        let take = word.len().min(bytes - into.len());
        into.extend_from_slice(&word[..take]);
    }
    let crc = crc32c::crc32c(&into[CHECKED_FROM..]);
    into[4..8].copy_from_slice(&crc.to_be_bytes());
}

/// The value of a payload that was delivered for `partition` in `run`.
///
/// # Errors
/// [`Corrupt`] where the payload is not exactly what was sent to that partition in that run.
pub fn decode(payload: &[u8], run: u64, partition: i32) -> Result<i64, Corrupt> {
    if payload.len() < MIN_BYTES {
        return Err(Corrupt::Length {
            stated: None,
            got: payload.len(),
        });
    }
    if payload[..4] != MAGIC {
        return Err(Corrupt::Magic);
    }
    let word = |at: usize| -> u32 {
        u32::from_be_bytes(payload[at..at + 4].try_into().expect("four bytes"))
    };
    let long = |at: usize| -> u64 {
        u64::from_be_bytes(payload[at..at + 8].try_into().expect("eight bytes"))
    };
    let stated = word(28) as usize;
    if stated != payload.len() {
        return Err(Corrupt::Length {
            stated: Some(stated),
            got: payload.len(),
        });
    }
    if crc32c::crc32c(&payload[CHECKED_FROM..]) != word(4) {
        return Err(Corrupt::Checksum);
    }
    if long(8) != run {
        return Err(Corrupt::Run(long(8)));
    }
    let (value, sent_to) = (long(16) as i64, word(24) as i32);
    if sent_to != partition {
        return Err(Corrupt::Partition { sent_to, value });
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(identity: Identity, bytes: usize) -> Vec<u8> {
        let mut payload = Vec::new();
        encode(&mut payload, identity, bytes);
        payload
    }

    proptest! {
        #[test]
        fn what_was_sent_is_read(
            run: u64,
            partition in 0..1000_i32,
            value: i64,
            bytes in 0..9000_usize
        ) {
            let payload = message(Identity { run, partition, value }, bytes);
            prop_assert_eq!(payload.len(), bytes.max(MIN_BYTES));
            prop_assert_eq!(decode(&payload, run, partition), Ok(value));
        }

        #[test]
        fn one_flipped_bit_is_noticed(
            value: i64,
            bytes in 32..400_usize,
            at: usize,
            bit in 0..8_u8
        ) {
            let mut payload = message(Identity { run: 7, partition: 3, value }, bytes);
            let at = at % payload.len();
            payload[at] ^= 1 << bit;
            prop_assert!(decode(&payload, 7, 3).is_err());
        }

        #[test]
        fn a_cut_or_extended_message_is_noticed(value: i64, keep in 0..200_usize) {
            let payload = message(Identity { run: 7, partition: 3, value }, 200);
            prop_assert!(decode(&payload[..keep], 7, 3).is_err());
            let mut longer = payload;
            longer.push(0);
            prop_assert!(decode(&longer, 7, 3).is_err());
        }

        #[test]
        fn arbitrary_bytes_never_panic(payload in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(decode(&payload, 7, 3).is_err());
        }
    }

    #[test]
    fn another_partition_and_another_run_are_told_apart() {
        let payload = message(
            Identity {
                run: 7,
                partition: 3,
                value: 11,
            },
            100,
        );
        let elsewhere = Corrupt::Partition {
            sent_to: 3,
            value: 11,
        };
        assert_eq!(decode(&payload, 7, 2), Err(elsewhere));
        assert_eq!(decode(&payload, 8, 3), Err(Corrupt::Run(7)));
    }
}
