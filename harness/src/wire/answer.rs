//! Answers that are not the broker's: errors by partition, in its stead or after it.

use bytes::Bytes;
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{ApiKey, FetchResponse, ProduceRequest, ProduceResponse};
use nemesis::wire::Lie;

use super::frame::Head;
use super::shapes::{decode, encode};

const NOT_LEADER_OR_FOLLOWER: i16 = 6;
const REQUEST_TIMED_OUT: i16 = 7;
const NOT_ENOUGH_REPLICAS_AFTER_APPEND: i16 = 20;

/// Kafka's number of an error.
fn code(lie: Lie) -> i16 {
    match lie {
        Lie::NotLeader => NOT_LEADER_OR_FOLLOWER,
        Lie::TimedOut => REQUEST_TIMED_OUT,
        Lie::TooFewReplicas => NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    }
}

/// The head of the answer to a request.
fn head_of(head: Head) -> Option<Vec<u8>> {
    let mut bytes = head.correlation.to_be_bytes().to_vec();
    // What is behind the correlation id is an empty list of tagged fields.
    bytes.resize(head.answer_head()?, 0);
    Some(bytes)
}

/// Whether a request to store records asks for an answer, and is understood.
pub fn wants_answer(head: Head, frame: &Bytes) -> bool {
    // Transactional id, then acks: read by hand, as records are not to be decoded for it.
    let acks = || {
        let body = frame.get(head.body_at(frame)?..)?;
        let skip = if head.version >= 9 {
            // A length of up to 32 KiB, plus one, in at most three bytes of seven bits.
            let mut length = 0_usize;
            let mut at = 0;
            loop {
                let byte = *body.get(at)?;
                length |= usize::from(byte & 0x7f) << (7 * at);
                at += 1;
                if byte & 0x80 == 0 || at == 3 {
                    break at + length.saturating_sub(1);
                }
            }
        } else {
            let length = i16::from_be_bytes(*body.first_chunk::<2>()?);
            2 + usize::try_from(length).unwrap_or(0)
        };
        let acks = body.get(skip..)?.first_chunk::<2>()?;
        Some(i16::from_be_bytes(*acks))
    };
    acks() != Some(0)
}

/// A request to store records without those partitions that are lied about.
pub struct Split {
    /// The request that is left for the broker, if anything is.
    pub rest: Option<Bytes>,
    /// What is answered in its stead: the whole answer, or what is added to the broker's.
    pub instead: ProduceResponse,
}

/// Takes from a request what concerns `partition` (none: all of it), and answers that with a lie.
/// `None`: nothing in it does, or it cannot be understood.
pub fn split(head: Head, frame: &Bytes, partition: Option<u32>, lie: Lie) -> Option<Split> {
    let at = head.body_at(frame)?;
    let mut request: ProduceRequest = decode(head.version, &frame.slice(at..))?;
    let meant = |index: i32| partition.is_none_or(|wanted| u32::try_from(index) == Ok(wanted));
    let mut instead = ProduceResponse::default();
    for topic in &mut request.topic_data {
        let (hit, rest) = std::mem::take(&mut topic.partition_data)
            .into_iter()
            .partition(
                |data: &kafka_protocol::messages::produce_request::PartitionProduceData| {
                    meant(data.index)
                },
            );
        let hit: Vec<_> = hit;
        topic.partition_data = rest;
        if hit.is_empty() {
            continue;
        }
        let said = hit.iter().map(|data| {
            PartitionProduceResponse::default()
                .with_index(data.index)
                .with_error_code(code(lie))
                .with_base_offset(-1)
        });
        let answer = TopicProduceResponse::default()
            .with_name(topic.name.clone())
            .with_topic_id(topic.topic_id)
            .with_partition_responses(said.collect());
        instead.responses.push(answer);
    }
    if instead.responses.is_empty() {
        return None;
    }
    request
        .topic_data
        .retain(|topic| !topic.partition_data.is_empty());
    let rest = match request.topic_data.is_empty() {
        true => None,
        false => Some(encode(head.version, &frame[..at], &request)?),
    };
    Some(Split { rest, instead })
}

/// The answer to a request of which nothing reached the broker.
pub fn whole(head: Head, instead: &ProduceResponse) -> Option<Bytes> {
    encode(head.version, &head_of(head)?, instead)
}

/// The broker's answer with what was answered in its stead.
pub fn joined(head: Head, answer: &Bytes, instead: ProduceResponse) -> Option<Bytes> {
    let at = head.answer_head()?;
    let mut response: ProduceResponse =
        decode(head.version, &answer.slice(at.min(answer.len())..))?;
    for added in instead.responses {
        let same = |topic: &&mut TopicProduceResponse| {
            topic.name == added.name && topic.topic_id == added.topic_id
        };
        match response.responses.iter_mut().find(same) {
            Some(topic) => topic.partition_responses.extend(added.partition_responses),
            None => response.responses.push(added),
        }
    }
    encode(head.version, &answer[..at], &response)
}

/// The broker's answer with a lie about `partition` (none: about each). `None`: nothing in it
/// is about that, or it cannot be understood.
pub fn falsified(head: Head, answer: &Bytes, partition: Option<u32>, lie: Lie) -> Option<Bytes> {
    let at = head.answer_head()?;
    let body = answer.slice(at.min(answer.len())..);
    let meant = |index: i32| partition.is_none_or(|wanted| u32::try_from(index) == Ok(wanted));
    let mut hit = false;
    match head.api()? {
        ApiKey::Produce => {
            let mut response: ProduceResponse = decode(head.version, &body)?;
            let topics = response.responses.iter_mut();
            for said in topics.flat_map(|topic| &mut topic.partition_responses) {
                if meant(said.index) && said.error_code == 0 {
                    (said.error_code, said.base_offset) = (code(lie), -1);
                    hit = true;
                }
            }
            hit.then(|| encode(head.version, &answer[..at], &response))?
        }
        ApiKey::Fetch => {
            let mut response: FetchResponse = decode(head.version, &body)?;
            let topics = response.responses.iter_mut();
            for said in topics.flat_map(|topic| &mut topic.partitions) {
                if meant(said.partition_index) && said.error_code == 0 {
                    said.error_code = code(lie);
                    said.records = Some(Bytes::new());
                    hit = true;
                }
            }
            hit.then(|| encode(head.version, &answer[..at], &response))?
        }
        _ => None,
    }
}

/// An old answer as the answer to this request.
pub fn repeated(head: Head, body: &Bytes) -> Option<Bytes> {
    let mut bytes = head_of(head)?;
    bytes.extend_from_slice(body);
    Some(bytes.into())
}

#[cfg(test)]
#[path = "answer_test.rs"]
mod tests;
