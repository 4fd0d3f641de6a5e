//! Request and response headers, whose versions depend on API and version of the body.
//!
//! Two quirks: the client id is an old-style string even in the flexible header (v2), and the
//! response header of ApiVersions is v0 for ever, so that a client can read it before it knows
//! what the broker speaks. For the same reason a request for an unknown version of ApiVersions
//! is understood as far as its correlation id and answered in v0 with error 35.

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::ApiKey;

use crate::net::ListenerKind;
use crate::wire::shape::{self, ShapeError};
use crate::wire::versions;

/// API key, version and correlation id.
const FIXED_PART: usize = 8;

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// The API.
    pub key: ApiKey,
    /// Version of the body.
    pub version: i16,
    /// Comes back with the answer.
    pub correlation_id: i32,
    /// Who asks, as it calls itself.
    pub client_id: Option<Bytes>,
}

/// What stands at the front of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Head {
    /// A request that this listener serves.
    Request(RequestHead),
    /// ApiVersions in a version that we do not know: answered in v0 with error 35.
    UnknownApiVersions {
        /// Comes back with the answer.
        correlation_id: i32,
    },
}

/// Why a request is not served; its connection is closed, as Kafka does.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Shorter than any header.
    #[error("request of {0} bytes is shorter than a header")]
    TooShort(usize),
    /// Not an API of Kafka, or not one of this listener.
    #[error("API key {key} is not served on the {} listener", listener.name())]
    UnknownApi {
        /// The key.
        key: i16,
        /// Where it came in.
        listener: ListenerKind,
    },
    /// Outside the range that is served.
    #[error("version {version} of {key:?} is not served: {min} to {max} are")]
    UnknownVersion {
        /// The API.
        key: ApiKey,
        /// Asked for.
        version: i16,
        /// Lowest that is served.
        min: i16,
        /// Highest that is served.
        max: i16,
    },
    /// The header is malformed.
    #[error("malformed header of {key:?} version {version}: {what}")]
    Header {
        /// The API.
        key: ApiKey,
        /// Its version.
        version: i16,
        /// What is wrong.
        what: String,
    },
    /// The body's lengths make no sense.
    #[error("malformed {key:?} version {version}: {error}")]
    Shape {
        /// The API.
        key: ApiKey,
        /// Its version.
        version: i16,
        /// What is wrong.
        error: ShapeError,
    },
    /// The body's contents make no sense.
    #[error("malformed {key:?} version {version}: {what}")]
    Body {
        /// The API.
        key: ApiKey,
        /// Its version.
        version: i16,
        /// What is wrong.
        what: String,
    },
}

/// Takes the header off the front of `frame`; what is left is the body.
///
/// # Errors
/// See [`RequestError`].
pub fn take_head(listener: ListenerKind, frame: &mut Bytes) -> Result<Head, RequestError> {
    if frame.len() < FIXED_PART {
        return Err(RequestError::TooShort(frame.len()));
    }
    let raw_key = frame.get_i16();
    let version = frame.get_i16();
    let correlation_id = frame.get_i32();
    let unknown = RequestError::UnknownApi {
        key: raw_key,
        listener,
    };
    let key = ApiKey::try_from(raw_key).map_err(|()| unknown.clone())?;
    let row = versions::find(listener, key).ok_or(unknown)?;
    if !(row.served_min..=row.max).contains(&version) {
        if key == ApiKey::ApiVersions {
            return Ok(Head::UnknownApiVersions { correlation_id });
        }
        return Err(RequestError::UnknownVersion {
            key,
            version,
            min: row.served_min,
            max: row.max,
        });
    }
    let malformed = |what: String| RequestError::Header { key, version, what };
    let client_id = take_client_id(frame).map_err(malformed)?;
    if key.request_header_version(version) >= 2 {
        let tags = shape::check_header_tags(frame).map_err(|error| malformed(error.to_string()))?;
        frame.advance(tags);
    }
    Ok(Head::Request(RequestHead {
        key,
        version,
        correlation_id,
        client_id,
    }))
}

fn take_client_id(frame: &mut Bytes) -> Result<Option<Bytes>, String> {
    if frame.len() < 2 {
        return Err("the client id is missing".to_owned());
    }
    let length = frame.get_i16();
    if length == -1 {
        return Ok(None);
    }
    match usize::try_from(length) {
        Ok(length) if length <= frame.len() => Ok(Some(frame.split_to(length))),
        _ => {
            let left = frame.len();
            Err(format!(
                "client id of {length} bytes, where {left} are left"
            ))
        }
    }
}

/// The header of an answer of `body_length` bytes, with the frame's length field before it.
#[must_use]
pub fn response_head(
    key: ApiKey,
    version: i16,
    correlation_id: i32,
    body_length: usize,
) -> BytesMut {
    let flexible = key.response_header_version(version) >= 1;
    let length = 4 + usize::from(flexible) + body_length;
    let mut head = BytesMut::with_capacity(9);
    head.extend_from_slice(&super::frame::length_field(length));
    head.extend_from_slice(&correlation_id.to_be_bytes());
    if flexible {
        head.extend_from_slice(&[0]);
    }
    head
}
