//! Length-prefixed frames: four bytes of length, big-endian, then that many bytes.
//!
//! A length beyond the limit ends the connection before anything is allocated; and what is
//! allocated grows with what has arrived, so that a length alone costs nothing.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// What is allocated for a frame before its first bytes are here.
const FIRST_ALLOCATION: usize = 64 << 10;

/// Why there is no frame.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The length field is negative or larger than the limit.
    #[error("frame of {length} bytes: between 0 and {limit} are allowed")]
    Length {
        /// As it was sent, signed as Kafka defines it.
        length: i32,
        /// The limit in force.
        limit: usize,
    },
    /// The peer stopped in the middle.
    #[error("connection ended after {received} of {length} bytes of a frame")]
    Truncated {
        /// Bytes that came.
        received: usize,
        /// Bytes announced.
        length: usize,
    },
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Checks a length field against the limit.
///
/// # Errors
/// [`FrameError::Length`].
pub fn checked_length(length: i32, limit: usize) -> Result<usize, FrameError> {
    usize::try_from(length)
        .ok()
        .filter(|length| *length <= limit)
        .ok_or(FrameError::Length { length, limit })
}

/// Reads the next frame (without its length); `None` when the peer closed between frames.
/// Not cancel-safe: a dropped future loses what it has read.
///
/// # Errors
/// See [`FrameError`]; after any of them the stream is of no more use.
pub async fn read_frame<R>(reader: &mut R, limit: usize) -> Result<Option<Bytes>, FrameError>
where
    R: AsyncRead + Unpin,
{
    let Some(length) = read_length(reader, limit).await? else {
        return Ok(None);
    };
    read_body(reader, length).await.map(Some)
}

/// Reads a length field; `None` when the peer closed before its first byte.
///
/// # Errors
/// See [`FrameError`].
pub async fn read_length<R>(reader: &mut R, limit: usize) -> Result<Option<usize>, FrameError>
where
    R: AsyncRead + Unpin,
{
    let mut field = [0; 4];
    let mut received = 0;
    while received < field.len() {
        match reader.read(&mut field[received..]).await? {
            0 if received == 0 => return Ok(None),
            0 => {
                let length = field.len();
                return Err(FrameError::Truncated { received, length });
            }
            more => received += more,
        }
    }
    checked_length(i32::from_be_bytes(field), limit).map(Some)
}

/// Reads `length` bytes, which [`checked_length`] has allowed.
///
/// # Errors
/// See [`FrameError`].
pub async fn read_body<R>(reader: &mut R, length: usize) -> Result<Bytes, FrameError>
where
    R: AsyncRead + Unpin,
{
    let mut body = BytesMut::with_capacity(length.min(FIRST_ALLOCATION));
    while body.len() < length {
        if body.len() == body.capacity() {
            let next = length.min(body.capacity() * 2);
            body.reserve(next - body.len());
        }
        let missing = (length - body.len()) as u64;
        if reader.take(missing).read_buf(&mut body).await? == 0 {
            let received = body.len();
            return Err(FrameError::Truncated { received, length });
        }
    }
    Ok(body.freeze())
}

/// Prepends the length field to a frame that is about to be written: `length` bytes follow.
///
/// # Panics
/// When the frame is larger than the format can say (2 GiB), which no limit allows.
#[must_use]
pub fn length_field(length: usize) -> [u8; 4] {
    i32::try_from(length)
        .expect("frames are limited far below 2 GiB")
        .to_be_bytes()
}
