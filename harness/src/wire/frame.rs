//! Frames as they come off a connection, and the heads of requests.
//!
//! What is read is not to be trusted: a frame has a bound, and room is made for what has come, not
//! for what is announced.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::ApiKey;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// No broker takes a longer request (`socket.request.max.bytes`), and no client a longer answer.
pub const FRAME_BYTES_MAX: usize = 100 << 20;
/// Room that is made at once.
const ROOM: usize = 64 << 10;

/// Frames off one end of a connection.
pub struct Frames<R> {
    from: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    /// Of that end.
    pub fn of(from: R) -> Self {
        let buffer = BytesMut::new();
        Self { from, buffer }
    }

    /// The next frame without its length; `None`: the other end has said its last. Nothing is lost
    /// when this is dropped before it returns.
    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if let Some(frame) = split(&mut self.buffer)? {
                return Ok(Some(frame));
            }
            self.buffer.reserve(ROOM);
            if self.from.read_buf(&mut self.buffer).await? == 0 {
                return match self.buffer.is_empty() {
                    true => Ok(None),
                    false => Err(io::ErrorKind::UnexpectedEof.into()),
                };
            }
        }
    }
}

/// Takes a whole frame off the front of a buffer, if there is one.
fn split(buffer: &mut BytesMut) -> io::Result<Option<Bytes>> {
    let Some(length) = buffer.first_chunk::<4>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*length) as usize;
    if length > FRAME_BYTES_MAX {
        let why = format!("a frame of {length} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    if buffer.len() < 4 + length {
        return Ok(None);
    }
    buffer.advance(4);
    Ok(Some(buffer.split_to(length).freeze()))
}

/// Appends a frame with its length before it.
pub fn push(bytes: &mut Vec<u8>, frame: &[u8]) {
    let length = u32::try_from(frame.len()).expect("frames are bounded");
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(frame);
}

/// A frame with its length before it.
#[cfg(test)]
pub fn framed(frame: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    push(&mut bytes, frame);
    bytes
}

/// What every request begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The number of the API.
    pub key: i16,
    /// Its version.
    pub version: i16,
    /// What the answer will begin with.
    pub correlation: i32,
}

impl Head {
    /// Of a request.
    pub fn of(frame: &[u8]) -> Option<Self> {
        let bytes = frame.first_chunk::<8>()?;
        Some(Self {
            key: i16::from_be_bytes([bytes[0], bytes[1]]),
            version: i16::from_be_bytes([bytes[2], bytes[3]]),
            correlation: i32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        })
    }

    /// The API, if it is one that we know.
    pub fn api(self) -> Option<ApiKey> {
        ApiKey::try_from(self.key).ok()
    }

    /// Where the body of the request begins; `None` where that cannot be told.
    pub fn body_at(self, frame: &[u8]) -> Option<usize> {
        let client_id = frame.get(8..10)?;
        let length = i16::from_be_bytes([client_id[0], client_id[1]]);
        let at = 10 + usize::try_from(length).unwrap_or(0);
        let rest = frame.get(at..)?;
        match self.api()?.request_header_version(self.version) {
            2 => {
                let tags = broker::wire::shape::check_header_tags(rest).ok()?;
                Some(at + tags)
            }
            _ => Some(at),
        }
    }

    /// How many bytes the head of the answer has; those of heads with tagged fields have none.
    pub fn answer_head(self) -> Option<usize> {
        let api = self.api()?;
        // ApiVersions answers always have the oldest head, so that any client can read them.
        let version = match api {
            ApiKey::ApiVersions => 0,
            api => api.response_header_version(self.version),
        };
        Some(if version >= 1 { 5 } else { 4 })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[tokio::test]
    async fn frames_are_split_whatever_the_pieces() {
        let bytes = [framed(b"one"), framed(b""), framed(&[7; 100_000])].concat();
        for size in [1, 3, 4096, bytes.len()] {
            let (mut there, here) = tokio::io::duplex(size);
            let all = bytes.clone();
            let writing = tokio::spawn(async move {
                for piece in all.chunks(size) {
                    tokio::io::AsyncWriteExt::write_all(&mut there, piece)
                        .await
                        .unwrap();
                }
            });
            let mut frames = Frames::of(here);
            assert_eq!(frames.next().await.unwrap().unwrap(), &b"one"[..]);
            assert_eq!(frames.next().await.unwrap().unwrap(), &b""[..]);
            assert_eq!(frames.next().await.unwrap().unwrap().len(), 100_000);
            assert_eq!(frames.next().await.unwrap(), None);
            writing.await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_frame_that_is_cut_short_or_too_long_is_an_error() {
        let mut frames = Frames::of(&b"\0\0\0\x05abc"[..]);
        let error = frames.next().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        let mut frames = Frames::of(&b"\x7f\xff\xff\xff"[..]);
        let error = frames.next().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    proptest! {
        #[test]
        fn any_bytes_have_a_head_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Some(head) = Head::of(&bytes) {
                let at = head.body_at(&bytes);
                prop_assert!(at.is_none_or(|at| at <= bytes.len()));
                head.answer_head();
            }
        }

        #[test]
        fn room_is_made_for_what_has_come_alone(announced in 0_u32..=u32::MAX) {
            let mut buffer = BytesMut::from(&announced.to_be_bytes()[..]);
            let split = split(&mut buffer);
            prop_assert!(buffer.capacity() <= ROOM);
            prop_assert_eq!(split.is_err(), announced as usize > FRAME_BYTES_MAX);
        }
    }
}
