//! What brokers say to each other on the controller port, and how it is framed.
//!
//! A frame is a length (four bytes, big-endian), a version byte, the call's number (eight bytes),
//! the length of a JSON message (four bytes), that message, and raw bytes after it (only chunks of
//! a snapshot have any). The first frame on a connection is a [`Hello`]. A frame is limited in
//! size, and whatever bytes come, decoding ends in a value or an error.

use bytes::{BufMut, Bytes, BytesMut};
use openraft::error::{InstallSnapshotError, RaftError};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::meta::command::{Applied, Command, Rejected};
use crate::meta::raft_types::{LogId, MetaRaft};
use crate::meta::youth::Standing;
use crate::types::{BrokerEpoch, BrokerId};
use crate::wire::frame;

/// Largest frame, in bytes: a batch of the largest commands fits, a chunk of a snapshot too.
pub const MAX_FRAME_BYTES: usize = 8 << 20;
/// Entries in one append, at most: times the largest command, they fit a frame.
pub const MAX_APPEND_ENTRIES: u64 = 64;
/// Bytes of a snapshot in one frame, at most.
pub const SNAPSHOT_CHUNK_BYTES: u64 = 1 << 20;

const VERSION: u8 = 1;
/// Version, call number and length of the message.
const HEAD: usize = 1 + 8 + 4;

/// Who is calling whom. A peer that is not who the caller takes it for must not be given votes
/// and entries meant for another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The caller.
    pub from: BrokerId,
    /// Whom it believes to be calling.
    pub to: BrokerId,
    /// Every voter in the caller's settings: brokers that disagree on them are no quorum.
    pub voters: Vec<BrokerId>,
}

/// A call.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Request {
    /// Raft: entries, or a heartbeat.
    Append(AppendEntriesRequest<MetaRaft>),
    /// Raft: a vote is asked for.
    Vote(VoteRequest<u64>),
    /// Raft: a chunk of a snapshot; its bytes follow the message.
    Snapshot(InstallSnapshotRequest<MetaRaft>),
    /// Would you vote for a broker whose log ends there? Changes nothing (Raft thesis, 9.6).
    PreVote {
        /// Where the asking broker's log ends.
        last_log_id: Option<LogId>,
    },
    /// How old is your store, and what does it hold? With what the asker can say of its own.
    Standing(Standing),
    /// Put this into the log; for the Raft leader.
    Propose(Command),
    /// I am alive; for the active controller.
    Heartbeat(Heartbeat),
}

/// A broker's sign of life (KIP-631).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Who.
    pub id: BrokerId,
    /// Its registration.
    pub epoch: BrokerEpoch,
    /// The last metadata entry that it has applied.
    pub applied: u64,
}

/// The answer to a call of the same kind.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// Raft's.
    Append(Result<AppendEntriesResponse<u64>, RaftError<u64>>),
    /// Raft's.
    Vote(Result<VoteResponse<u64>, RaftError<u64>>),
    /// Raft's.
    Snapshot(Result<InstallSnapshotResponse<u64>, RaftError<u64, InstallSnapshotError>>),
    /// Whether it would vote so.
    PreVote {
        /// It would.
        granted: bool,
    },
    /// What it can say of its own store.
    Standing(Standing),
    /// Its store is new: it takes no part in Raft yet, or not in so old a term.
    Young,
    /// What came of a proposal.
    Propose(ProposeAnswer),
    /// What the controller thinks of the broker.
    Heartbeat(HeartbeatAnswer),
    /// The caller is not welcome; the connection ends.
    Refused(String),
}

/// What came of a proposal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProposeAnswer {
    /// Committed and decided.
    Decided {
        /// Where in the log: the proposer waits until it has applied that itself.
        index: u64,
        /// The decision.
        decision: Result<Applied, Rejected>,
    },
    /// Not here; perhaps there.
    NotLeader(Option<BrokerId>),
    /// Too much is in progress; nothing was proposed.
    Busy,
    /// It may be committed yet.
    Unknown(String),
}

/// What the controller thinks of the broker that sent a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HeartbeatAnswer {
    /// Ask somebody else.
    NotController,
    /// The controller knows another registration of that broker, or none.
    UnknownRegistration,
    /// The session was extended.
    Alive {
        /// It may not lead yet, or no longer.
        fenced: bool,
    },
}

/// Why bytes are no message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RpcError {
    /// Shorter than it says.
    #[error("a frame of {0} bytes is too short")]
    Short(usize),
    /// Another version of this protocol.
    #[error("version {0} of the controller protocol, this broker speaks version {VERSION}")]
    Version(u8),
    /// Not a message.
    #[error("{0}")]
    Malformed(String),
}

/// One frame, ready to be written, length included.
#[must_use]
pub fn encode<T: Serialize>(call: u64, message: &T, tail: &[u8]) -> Bytes {
    let json = serde_json::to_vec(message).expect("messages are plain data with string keys");
    let length = HEAD + json.len() + tail.len();
    let mut bytes = BytesMut::with_capacity(4 + length);
    bytes.put_slice(&frame::length_field(length));
    bytes.put_u8(VERSION);
    bytes.put_u64(call);
    bytes.put_u32(u32::try_from(json.len()).expect("messages are far below 4 GiB"));
    bytes.put_slice(&json);
    bytes.put_slice(tail);
    bytes.freeze()
}

/// A call as one frame. The bytes of a snapshot chunk travel raw, not as JSON numbers.
#[must_use]
pub fn encode_request(call: u64, mut request: Request) -> Bytes {
    let tail = match &mut request {
        Request::Snapshot(chunk) => std::mem::take(&mut chunk.data),
        _ => Vec::new(),
    };
    encode(call, &request, &tail)
}

/// The call's number, the message and what follows it, from a frame without its length.
///
/// # Errors
/// [`RpcError`].
pub fn decode<T: DeserializeOwned>(mut frame: Bytes) -> Result<(u64, T, Bytes), RpcError> {
    let size = frame.len();
    let Some((&head, _)) = frame.split_first_chunk::<HEAD>() else {
        return Err(RpcError::Short(size));
    };
    let [version, rest @ ..] = head;
    if version != VERSION {
        return Err(RpcError::Version(version));
    }
    let (call, length) = rest.split_at(8);
    let call = u64::from_be_bytes(call.try_into().expect("split at eight"));
    let length = u32::from_be_bytes(length.try_into().expect("four are left"));
    let length = usize::try_from(length).map_err(|_| RpcError::Short(size))?;
    if length > size - HEAD {
        return Err(RpcError::Short(size));
    }
    let tail = frame.split_off(HEAD + length);
    let message = serde_json::from_slice(&frame[HEAD..])
        .map_err(|error| RpcError::Malformed(error.to_string()))?;
    Ok((call, message, tail))
}

/// A call from a frame without its length.
///
/// # Errors
/// [`RpcError`].
pub fn decode_request(frame: Bytes) -> Result<(u64, Request), RpcError> {
    let (call, mut request, tail) = decode(frame)?;
    if let Request::Snapshot(chunk) = &mut request {
        chunk.data = tail.to_vec();
    }
    Ok((call, request))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::meta::raft_types::{SnapshotMeta, Vote};

    fn without_length(frame: Bytes) -> Bytes {
        assert_eq!(frame[..4], frame::length_field(frame.len() - 4));
        frame.slice(4..)
    }

    #[test]
    fn a_snapshot_chunk_travels_whole() {
        let chunk = InstallSnapshotRequest {
            vote: Vote::new(3, 1),
            meta: SnapshotMeta::default(),
            offset: 10,
            data: vec![0, 255, 7],
            done: true,
        };
        let frame = without_length(encode_request(9, Request::Snapshot(chunk.clone())));
        match decode_request(frame).expect("decoded") {
            (9, Request::Snapshot(decoded)) => assert_eq!(decoded, chunk),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_short_or_foreign_frame_is_refused() {
        let hello = Hello {
            from: BrokerId(1),
            to: BrokerId(2),
            voters: vec![],
        };
        let frame = without_length(encode(0, &hello, b""));
        for cut in 0..frame.len() {
            assert!(decode::<Hello>(frame.slice(..cut)).is_err(), "{cut}");
        }
        let mut other = frame.to_vec();
        other[0] = 2;
        assert_eq!(decode::<Hello>(other.into()), Err(RpcError::Version(2)));
    }

    proptest! {
        #[test]
        fn hostile_frames_never_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..100),
            call in any::<u64>(),
            length in any::<u32>(),
        ) {
            let _ = decode_request(bytes.clone().into());
            let mut framed = vec![VERSION];
            framed.extend(call.to_be_bytes());
            framed.extend(length.to_be_bytes());
            framed.extend(&bytes);
            let _ = decode_request(framed.clone().into());
            framed[9..13].copy_from_slice(&u32::try_from(bytes.len()).expect("small").to_be_bytes());
            let _ = decode_request(framed.into());
        }
    }
}
