//! Who leads the metadata quorum, by the protocol's own question (DescribeQuorum, KIP-595).
//!
//! The controller that Metadata names is no evidence in KRaft: a broker of Apache Kafka names a
//! live broker drawn at random there, since any of them forwards what is for the controller.

use std::time::Duration;

use kafka_protocol::messages::describe_quorum_request::{PartitionData, TopicData};
use kafka_protocol::messages::{DescribeQuorumRequest, DescribeQuorumResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::{Conn, RequestError, name_of};

const DESCRIBE_QUORUM_VERSION_MAX: i16 = 2;
/// The log of the metadata, as a topic.
const METADATA: &str = "__cluster_metadata";

/// The leader of the metadata quorum, as one broker heard of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct QuorumLeader {
    /// Since which epoch of the quorum; the highest is the newest.
    pub epoch: i32,
    /// Who.
    pub id: i32,
}

/// Asks a broker who leads the metadata quorum; `None` while nobody does.
///
/// # Errors
/// Where the broker does not answer, refuses, or does not know the question
/// ([`RequestError::Unsupported`]).
pub async fn quorum_leader(
    conn: &mut Conn,
    within: Duration,
) -> Result<Option<QuorumLeader>, RequestError> {
    let version = conn.version_of::<DescribeQuorumRequest>(DESCRIBE_QUORUM_VERSION_MAX)?;
    let topic = TopicData::default()
        .with_topic_name(TopicName(StrBytes::from_static_str(METADATA)))
        .with_partitions(vec![PartitionData::default().with_partition_index(0)]);
    let request = DescribeQuorumRequest::default().with_topics(vec![topic]);
    let answer = conn
        .ask("DescribeQuorum", &request, version, within)
        .await?;
    leader_of(&answer).map_err(|code| RequestError::Refused {
        address: conn.address().to_owned(),
        what: "DescribeQuorum",
        code: name_of(code),
        message: String::new(),
    })
}

fn leader_of(answer: &DescribeQuorumResponse) -> Result<Option<QuorumLeader>, i16> {
    let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
    let codes = partitions.clone().map(|partition| partition.error_code);
    if let Some(code) = std::iter::once(answer.error_code)
        .chain(codes)
        .find(|code| *code != 0)
    {
        return Err(code);
    }
    let known = partitions.filter(|partition| partition.leader_id.0 >= 0);
    Ok(known
        .map(|partition| QuorumLeader {
            epoch: partition.leader_epoch,
            id: partition.leader_id.0,
        })
        .max())
}

/// The newest of what brokers answered. `Err`: none of those that answer knows the question.
///
/// # Errors
/// Where Metadata has to be asked instead.
pub(super) fn newest_leader(
    answers: impl IntoIterator<Item = Result<Option<QuorumLeader>, RequestError>>,
) -> Result<Option<QuorumLeader>, QuestionUnknown> {
    let (mut newest, mut unknown, mut known) = (None, false, false);
    for answer in answers {
        match answer {
            Ok(leader) => {
                known = true;
                newest = newest.max(leader);
            }
            Err(RequestError::Unsupported { .. }) => unknown = true,
            // Those that are cut off do not count, whatever they are.
            Err(_) => {}
        }
    }
    if unknown && !known {
        return Err(QuestionUnknown);
    }
    Ok(newest)
}

/// The brokers do not offer DescribeQuorum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuestionUnknown;

#[cfg(test)]
mod tests {
    use super::*;

    fn unsupported() -> RequestError {
        RequestError::Unsupported {
            address: "n1:9092".to_owned(),
            key: 55,
            wanted: 2,
        }
    }

    fn unreachable() -> RequestError {
        RequestError::Unreachable {
            address: "n1:9092".to_owned(),
            why: "refused".to_owned(),
        }
    }

    fn leader(epoch: i32, id: i32) -> Option<QuorumLeader> {
        Some(QuorumLeader { epoch, id })
    }

    #[test]
    fn the_newest_epoch_is_believed() {
        let answers = [
            Ok(leader(3, 1)),
            Ok(leader(4, 2)),
            Ok(None),
            Err(unreachable()),
        ];
        assert_eq!(newest_leader(answers), Ok(leader(4, 2)));
    }

    #[test]
    fn one_that_is_down_does_not_hide_that_the_others_do_not_know_the_question() {
        let answers = [Err(unsupported()), Err(unsupported()), Err(unreachable())];
        assert_eq!(newest_leader(answers), Err(QuestionUnknown));
        let answers = [Err(unreachable()), Err(unsupported())];
        assert_eq!(newest_leader(answers), Err(QuestionUnknown));
        assert_eq!(newest_leader([Err(unreachable())]), Ok(None));
    }
}
