//! What an error in an answer to Produce means: for the message, and for what to do next.
//!
//! The table is librdkafka's (`rd_kafka_handle_Produce_error`); a test asks both the same
//! questions.

use rdkafka::types::{RDKafkaErrorCode as Code, RDKafkaRespErr};

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It is in the log: the offset is not known.
    Stored,
    /// Ask who leads, and send it again.
    Retry,
    /// Give it up.
    GiveUp,
}

/// A verdict on one try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meaning {
    /// What to do next.
    pub next: Next,
    /// Whether this try may have stored the message.
    pub possibly_stored: bool,
}

const fn meaning(next: Next, possibly_stored: bool) -> Meaning {
    Meaning {
        next,
        possibly_stored,
    }
}

/// The meaning of a Kafka error code (not 0) in an answer to Produce.
#[must_use]
pub fn produce_error(code: Code) -> Meaning {
    match code {
        // The broker remembers having stored it before.
        Code::DuplicateSequenceNumber => meaning(Next::Stored, true),
        Code::NotLeaderForPartition
        | Code::LeaderNotAvailable
        | Code::UnknownTopicOrPartition
        | Code::ReplicaNotAvailable
        | Code::FencedLeaderEpoch
        | Code::KafkaStorageError
        | Code::NotEnoughReplicas
        | Code::CoordinatorLoadInProgress => meaning(Next::Retry, false),
        Code::RequestTimedOut | Code::NotEnoughReplicasAfterAppend => meaning(Next::Retry, true),
        _ => meaning(Next::GiveUp, false),
    }
}

/// No answer came: the connection broke or was silent.
pub const NO_ANSWER: Meaning = meaning(Next::Retry, true);

/// librdkafka's name for a code of the protocol.
#[must_use]
pub fn code_of(code: i16) -> Code {
    RDKafkaRespErr::try_from(i32::from(code)).map_or(Code::Unknown, Code::from)
}
