//! The bytes of a response as a chain of pieces, so that record batches go from the log to the
//! socket without being copied on the way.

use bytes::buf::UninitSlice;
use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::protocol::Encodable;
use kafka_protocol::protocol::buf::ByteBufMut;

/// Pieces shorter than this are copied: a piece of its own costs more than it saves.
const SHARE_FROM: usize = 1024;

/// An encoded response body, in pieces that follow one another.
#[derive(Clone, Debug, Default)]
pub struct Body {
    parts: Vec<Bytes>,
    len: usize,
}

impl Body {
    /// Length of all pieces, in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The pieces, in order.
    #[must_use]
    pub fn into_parts(self) -> Vec<Bytes> {
        self.parts
    }

    /// One piece; copies when there are several. For tests and small answers.
    #[must_use]
    pub fn into_bytes(mut self) -> Bytes {
        if self.parts.len() == 1 {
            return self.parts.swap_remove(0);
        }
        self.parts.concat().into()
    }

    fn push(&mut self, part: Bytes) {
        if !part.is_empty() {
            self.len += part.len();
            self.parts.push(part);
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        let mut body = Body::default();
        body.push(bytes);
        body
    }
}

/// Encodes `message` such that the bytes of `shared` (fields of it) become pieces of the body
/// instead of being copied into it.
///
/// # Errors
/// When `message` cannot be expressed in `version`.
pub fn encode_sharing<M: Encodable>(
    message: &M,
    version: i16,
    shared: &[Bytes],
) -> Result<Body, String> {
    let mut buffer = SharingBuffer {
        shared,
        body: Body::default(),
        tail: BytesMut::new(),
    };
    message
        .encode(&mut buffer, version)
        .map_err(|error| error.to_string())?;
    let mut body = buffer.body;
    body.push(buffer.tail.freeze());
    Ok(body)
}

/// What a message is encoded into: bytes that lie within one of `shared` are taken over as they
/// are (another handle on the same memory), everything else is copied.
struct SharingBuffer<'a> {
    shared: &'a [Bytes],
    body: Body,
    tail: BytesMut,
}

impl SharingBuffer<'_> {
    fn find_shared(&self, bytes: &[u8]) -> Option<Bytes> {
        let wanted = bytes.as_ptr_range();
        let holds = |candidate: &&Bytes| {
            let range = candidate.as_ptr_range();
            range.start <= wanted.start && wanted.end <= range.end
        };
        let owner = self.shared.iter().find(holds)?;
        Some(owner.slice_ref(bytes))
    }
}

// SAFETY of the contract of `BufMut`: everything is delegated to `BytesMut`, which upholds it;
// what is moved to `body` was initialised there.
unsafe impl BufMut for SharingBuffer<'_> {
    fn remaining_mut(&self) -> usize {
        self.tail.remaining_mut()
    }

    unsafe fn advance_mut(&mut self, count: usize) {
        // SAFETY: the caller initialised `count` bytes of `chunk_mut`, which is the tail's.
        unsafe { self.tail.advance_mut(count) }
    }

    fn chunk_mut(&mut self) -> &mut UninitSlice {
        self.tail.chunk_mut()
    }

    fn put_slice(&mut self, bytes: &[u8]) {
        let found = match bytes.len() {
            0..SHARE_FROM => None,
            _ => self.find_shared(bytes),
        };
        match found {
            Some(part) => {
                let copied = self.tail.split().freeze();
                self.body.push(copied);
                self.body.push(part);
            }
            None => self.tail.extend_from_slice(bytes),
        }
    }
}

impl ByteBufMut for SharingBuffer<'_> {
    fn offset(&self) -> usize {
        self.body.len() + self.tail.len()
    }

    fn seek(&mut self, offset: usize) {
        let start = self.body.len();
        assert!(offset >= start, "what was passed on is not written again");
        self.tail.resize(offset - start, 0);
    }

    fn range(&mut self, range: std::ops::Range<usize>) -> &mut [u8] {
        let start = self.body.len();
        assert!(
            range.start >= start,
            "what was passed on is not written again"
        );
        &mut self.tail[range.start - start..range.end - start]
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::FetchResponse;
    use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
    use kafka_protocol::protocol::StrBytes;

    use super::*;

    fn response(records: &[Bytes]) -> FetchResponse {
        let partition = |records: &Bytes| {
            PartitionData::default()
                .with_records(Some(records.clone()))
                .with_high_watermark(7)
        };
        let topic = FetchableTopicResponse::default()
            .with_topic(StrBytes::from_static_str("topic").into())
            .with_partitions(records.iter().map(partition).collect());
        FetchResponse::default().with_responses(vec![topic])
    }

    #[test]
    fn shared_bytes_are_not_copied_and_the_whole_is_the_same() {
        let records = [
            Bytes::from(vec![1; SHARE_FROM]),
            Bytes::from(vec![2; SHARE_FROM - 1]),
            Bytes::new(),
            Bytes::from(vec![3; 1 << 20]),
        ];
        let response = response(&records);
        for version in 4..=12 {
            let mut plain = BytesMut::new();
            response.encode(&mut plain, version).unwrap();
            let body = encode_sharing(&response, version, &records).unwrap();
            assert_eq!(body.len(), plain.len());
            let parts = body.clone().into_parts();
            for large in [&records[0], &records[3]] {
                assert!(parts.iter().any(|part| part.as_ptr() == large.as_ptr()));
            }
            assert_eq!(body.into_bytes(), plain.freeze(), "version {version}");
        }
    }
}
