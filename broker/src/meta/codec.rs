//! How metadata is written down: one version byte, then JSON.
//!
//! The version says how to read what follows, so that a later format can be told from this one;
//! an unknown version is an error, never a guess. JSON because the rate is tens of commands a
//! second and a log that a person can read is worth more than bytes. Decoding never allocates
//! more than a small multiple of its input.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why bytes are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Nothing there.
    #[error("{what}: empty")]
    Empty {
        /// What was to be read.
        what: &'static str,
    },
    /// Written by a newer (or no) broker.
    #[error("{what}: version {found} is not known, this broker reads version {known}")]
    Version {
        /// What was to be read.
        what: &'static str,
        /// In the first byte.
        found: u8,
        /// The one that this broker reads.
        known: u8,
    },
    /// The version is right, the rest is not.
    #[error("{what}: {reason}")]
    Malformed {
        /// What was to be read.
        what: &'static str,
        /// The parser's words.
        reason: String,
    },
}

/// A kind of record and the version in which it is written.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    /// For error messages.
    pub what: &'static str,
    /// The first byte.
    pub version: u8,
}

impl Format {
    /// `value` in this format.
    #[must_use]
    pub fn encode<T: Serialize>(self, value: &T) -> Vec<u8> {
        let mut bytes = vec![self.version];
        serde_json::to_writer(&mut bytes, value)
            .expect("metadata is plain data with string keys, and a Vec takes every byte");
        bytes
    }

    /// The value that `bytes` hold.
    ///
    /// # Errors
    /// [`CodecError`].
    pub fn decode<T: DeserializeOwned>(self, bytes: &[u8]) -> Result<T, CodecError> {
        let what = self.what;
        let (&found, json) = bytes.split_first().ok_or(CodecError::Empty { what })?;
        if found != self.version {
            let known = self.version;
            return Err(CodecError::Version { what, found, known });
        }
        serde_json::from_slice(json).map_err(|error| CodecError::Malformed {
            what,
            reason: error.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: Format = Format {
        what: "pair",
        version: 3,
    };

    #[test]
    fn what_was_written_is_read_and_nothing_else() {
        let bytes = FORMAT.encode(&(1, "x".to_owned()));
        assert_eq!(bytes[0], 3);
        assert_eq!(
            FORMAT.decode::<(i32, String)>(&bytes),
            Ok((1, "x".to_owned()))
        );
        assert!(matches!(
            FORMAT.decode::<(i32, String)>(&[]),
            Err(CodecError::Empty { .. })
        ));
        assert!(matches!(
            FORMAT.decode::<(i32, String)>(&[4, b'1']),
            Err(CodecError::Version { found: 4, .. })
        ));
        assert!(matches!(
            FORMAT.decode::<(i32, String)>(&bytes[..4]),
            Err(CodecError::Malformed { .. })
        ));
    }
}
