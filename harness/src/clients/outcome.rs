//! What became of the messages of a batch, and what that makes of the operation.
//!
//! librdkafka retries, so a "definite" last error can follow an ambiguous try. Only its message
//! status tells: NOT_PERSISTED means that no broker can ever have stored the message; everything
//! else that is no acknowledgement is ambiguous, and an ambiguous outcome is `info`, never `fail`.

use std::collections::BTreeMap;
use std::ffi::CStr;

use rdkafka::bindings::{rd_kafka_err2name, rd_kafka_err2str};
use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};
use serde_json::{Value as Json, json};
use tokio::time::Instant;

use crate::history::Kind;

/// What became of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Acknowledged, at this offset if the broker gave one.
    Acknowledged(Option<i64>),
    /// Certainly not persisted.
    NotPersisted(RDKafkaErrorCode),
    /// It may have been persisted, or may still be.
    Unknown(RDKafkaErrorCode),
}

/// The errors of a batch, by librdkafka's name of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorSummary {
    counts: BTreeMap<&'static str, (u64, String)>,
}

impl ErrorSummary {
    /// Counts one more message that met `code`.
    pub fn add(&mut self, code: RDKafkaErrorCode) {
        let entry = self
            .counts
            .entry(code_name(code))
            .or_insert_with(|| (0, code_text(code)));
        entry.0 += 1;
    }

    /// The most frequent error as the history's `error` field, with the number of messages that
    /// each error hit; nothing where there was none.
    #[must_use]
    pub fn to_json(&self) -> Option<Json> {
        let (code, (_, message)) = self.counts.iter().max_by_key(|(_, (n, _))| *n)?;
        let counts: BTreeMap<&str, u64> = self
            .counts
            .iter()
            .map(|(code, (n, _))| (*code, *n))
            .collect();
        Some(json!({"code": code, "message": message, "messages": counts}))
    }
}

/// A batch that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchOutcome {
    /// `ok`, `fail` or `info`.
    pub kind: Kind,
    /// One for each message, in the order in which they were sent.
    pub fates: Vec<Fate>,
    /// When each message was acknowledged, in the same order; empty where nobody looked.
    pub heard: Vec<Option<Instant>>,
    /// Why, where not everything was acknowledged.
    pub errors: ErrorSummary,
}

/// What an operation came to: `ok` only if every message was acknowledged, `fail` only if every
/// message certainly was not persisted, else `info`.
#[must_use]
pub fn conclude(fates: Vec<Fate>) -> BatchOutcome {
    let mut errors = ErrorSummary::default();
    let (mut acknowledged, mut refused) = (0, 0);
    for fate in &fates {
        match fate {
            Fate::Acknowledged(_) => acknowledged += 1,
            Fate::NotPersisted(code) => {
                refused += 1;
                errors.add(*code);
            }
            Fate::Unknown(code) => errors.add(*code),
        }
    }
    let kind = if acknowledged == fates.len() {
        Kind::Ok
    } else if refused == fates.len() {
        Kind::Fail
    } else {
        Kind::Info
    };
    BatchOutcome {
        kind,
        fates,
        heard: Vec::new(),
        errors,
    }
}

/// The name of an error: Kafka's where the broker said it, librdkafka's (with a leading
/// underscore) where the client did.
#[must_use]
pub fn code_name(code: RDKafkaErrorCode) -> &'static str {
    // SAFETY: the function returns a pointer to a static string for every code.
    let name = unsafe { CStr::from_ptr(rd_kafka_err2name(native(code))) };
    match name.to_str().unwrap_or("_UNKNOWN") {
        // librdkafka has kept the name that Kafka gave up.
        "NOT_LEADER_FOR_PARTITION" => "NOT_LEADER_OR_FOLLOWER",
        "REQUEST_TIMED_OUT" => "REQUEST_TIMED_OUT",
        other => other,
    }
}

/// librdkafka's sentence for an error.
#[must_use]
pub fn code_text(code: RDKafkaErrorCode) -> String {
    // SAFETY: as above.
    let text = unsafe { CStr::from_ptr(rd_kafka_err2str(native(code))) };
    text.to_string_lossy().into_owned()
}

fn native(code: RDKafkaErrorCode) -> RDKafkaRespErr {
    RDKafkaRespErr::try_from(code as i32).unwrap_or(RDKafkaRespErr::RD_KAFKA_RESP_ERR__FAIL)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACKNOWLEDGED: Fate = Fate::Acknowledged(Some(4));
    const REFUSED: Fate = Fate::NotPersisted(RDKafkaErrorCode::MessageTimedOut);
    const UNKNOWN: Fate = Fate::Unknown(RDKafkaErrorCode::MessageTimedOut);

    #[test]
    fn only_certainty_makes_ok_or_fail() {
        let kind = |fates: &[Fate]| conclude(fates.to_vec()).kind;
        assert_eq!(kind(&[ACKNOWLEDGED, ACKNOWLEDGED]), Kind::Ok);
        assert_eq!(kind(&[Fate::Acknowledged(None)]), Kind::Ok);
        assert_eq!(kind(&[REFUSED, REFUSED]), Kind::Fail);
        assert_eq!(kind(&[REFUSED, UNKNOWN]), Kind::Info);
        assert_eq!(kind(&[UNKNOWN]), Kind::Info);
        assert_eq!(kind(&[ACKNOWLEDGED, UNKNOWN]), Kind::Info);
        assert_eq!(kind(&[ACKNOWLEDGED, REFUSED]), Kind::Info);
    }

    #[test]
    fn errors_have_the_names_of_the_protocol() {
        assert_eq!(
            code_name(RDKafkaErrorCode::NotLeaderForPartition),
            "NOT_LEADER_OR_FOLLOWER"
        );
        assert_eq!(
            code_name(RDKafkaErrorCode::MessageTimedOut),
            "_MSG_TIMED_OUT"
        );
        assert_eq!(
            code_name(RDKafkaErrorCode::NotEnoughReplicasAfterAppend),
            "NOT_ENOUGH_REPLICAS_AFTER_APPEND"
        );
    }

    #[test]
    fn the_summary_names_the_most_frequent_error() {
        let outcome = conclude(vec![
            REFUSED,
            UNKNOWN,
            Fate::Unknown(RDKafkaErrorCode::NotLeaderForPartition),
            ACKNOWLEDGED,
        ]);
        let error = outcome.errors.to_json().expect("there were errors");
        assert_eq!(error["code"], "_MSG_TIMED_OUT");
        assert_eq!(error["messages"]["_MSG_TIMED_OUT"], 2);
        assert_eq!(error["messages"]["NOT_LEADER_OR_FOLLOWER"], 1);
        assert_eq!(conclude(vec![ACKNOWLEDGED]).errors.to_json(), None);
    }
}
