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
    let mut body = BytesMut::new();
    while body.len() < length {
        if body.len() == body.capacity() {
            body.reserve(next_capacity(&body, length) - body.len());
        }
        read_more(reader, &mut body, length).await?;
    }
    Ok(body.freeze())
}

/// What a full `body` may grow to: no more than twice what has arrived.
#[must_use]
pub fn next_capacity(body: &BytesMut, length: usize) -> usize {
    length.min((body.capacity() * 2).max(FIRST_ALLOCATION))
}

/// Reads once into what is free of `body`, which has room, up to `length` bytes in all.
/// Cancel-safe.
///
/// # Errors
/// See [`FrameError`].
pub async fn read_more<R>(
    reader: &mut R,
    body: &mut BytesMut,
    length: usize,
) -> Result<(), FrameError>
where
    R: AsyncRead + Unpin,
{
    let missing = (length - body.len()) as u64;
    if reader.take(missing).read_buf(body).await? == 0 {
        let received = body.len();
        return Err(FrameError::Truncated { received, length });
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap()
    }

    fn read_all(bytes: &[u8], limit: usize) -> (Vec<Bytes>, Option<FrameError>) {
        runtime().block_on(async {
            let mut reader = bytes;
            let mut frames = Vec::new();
            loop {
                match read_frame(&mut reader, limit).await {
                    Ok(Some(frame)) => frames.push(frame),
                    Ok(None) => return (frames, None),
                    Err(error) => return (frames, Some(error)),
                }
            }
        })
    }

    #[test]
    fn lengths_beyond_the_limit_and_negative_ones_are_refused() {
        for (length, limit) in [(-1, 100), (i32::MIN, 100), (101, 100), (i32::MAX, 1 << 20)] {
            let mut bytes = length.to_be_bytes().to_vec();
            bytes.extend_from_slice(&[0; 50]);
            let (frames, error) = read_all(&bytes, limit);
            assert!(frames.is_empty());
            assert!(matches!(error, Some(FrameError::Length { .. })), "{length}");
        }
        assert_eq!(read_all(&[0, 0, 0, 0], 0).0, [Bytes::new()]);
    }

    #[test]
    fn a_length_alone_allocates_next_to_nothing() {
        let limit = 1 << 30;
        let announced = runtime().block_on(async {
            let length = i32::to_be_bytes(1 << 30);
            read_frame(&mut &length[..], limit).await
        });
        let Err(FrameError::Truncated { received, length }) = announced else {
            panic!("nothing came");
        };
        assert_eq!((received, length), (0, 1 << 30));
    }

    #[test]
    fn what_is_cut_off_says_how_far_it_came() {
        let (_, error) = read_all(&[0, 0], 10);
        let text = error.unwrap().to_string();
        assert!(text.contains("2 of 4"), "{text}");
        let (_, error) = read_all(&[0, 0, 0, 5, 1, 2], 10);
        let text = error.unwrap().to_string();
        assert!(text.contains("2 of 5"), "{text}");
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300_000), 0..4),
        ) {
            let mut bytes = Vec::new();
            for frame in &frames {
                bytes.extend_from_slice(&length_field(frame.len()));
                bytes.extend_from_slice(frame);
            }
            let (read, error) = read_all(&bytes, 1 << 20);
            prop_assert!(error.is_none());
            prop_assert_eq!(read, frames);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            let (frames, _) = read_all(&bytes, 1000);
            prop_assert!(frames.iter().all(|frame| frame.len() <= 1000));
        }
    }
}
