use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{RequestHeader, TopicName};
use kafka_protocol::protocol::{Encodable, Message, StrBytes};
use proptest::prelude::*;

use super::*;

const CORRELATION: i32 = 77;

fn name(name: &'static str) -> TopicName {
    TopicName(StrBytes::from_static_str(name))
}

/// A request to store records in these partitions of a topic.
fn request(version: i16, acks: i16, partitions: &[i32]) -> (Head, Bytes) {
    let data = partitions.iter().map(|index| {
        PartitionProduceData::default()
            .with_index(*index)
            .with_records(Some(Bytes::from_static(b"records")))
    });
    let topic = TopicProduceData::default()
        .with_name(if version <= 12 {
            name("t")
        } else {
            TopicName::default()
        })
        .with_partition_data(data.collect());
    let body = ProduceRequest::default()
        .with_acks(acks)
        .with_transactional_id(None)
        .with_topic_data(vec![topic]);
    let mut frame = bytes::BytesMut::new();
    let header = RequestHeader::default()
        .with_request_api_key(ApiKey::Produce as i16)
        .with_request_api_version(version)
        .with_correlation_id(CORRELATION)
        .with_client_id(Some(StrBytes::from_static_str("a client")));
    header
        .encode(&mut frame, ApiKey::Produce.request_header_version(version))
        .unwrap();
    body.encode(&mut frame, version).unwrap();
    let frame = frame.freeze();
    (Head::of(&frame).unwrap(), frame)
}

fn produced(head: Head, answer: &Bytes) -> Vec<(i32, i16)> {
    let at = head.answer_head().unwrap();
    assert_eq!(answer[..4], CORRELATION.to_be_bytes());
    let response: ProduceResponse = decode(head.version, &answer.slice(at..)).unwrap();
    let partitions = response
        .responses
        .iter()
        .flat_map(|t| &t.partition_responses);
    partitions.map(|p| (p.index, p.error_code)).collect()
}

#[test]
fn a_lie_about_one_partition_leaves_the_others_to_the_broker() {
    for version in ProduceRequest::VERSIONS.min..=ProduceRequest::VERSIONS.max {
        let (head, frame) = request(version, -1, &[0, 1, 2]);
        assert!(split(head, &frame, Some(5), Lie::NotLeader).is_none());
        let split = split(head, &frame, Some(1), Lie::NotLeader).unwrap();
        let rest = split.rest.expect("two partitions are left");
        let rest_head = Head::of(&rest).unwrap();
        assert_eq!(rest_head, head);
        let body = rest.slice(rest_head.body_at(&rest).unwrap()..);
        let left: ProduceRequest = decode(version, &body).unwrap();
        let left = left.topic_data[0].partition_data.iter().map(|p| p.index);
        assert_eq!(left.collect::<Vec<_>>(), [0, 2]);
        // As if the broker had stored them.
        let all = super::split(head, &rest, None, Lie::NotLeader).unwrap();
        let mut answer = all.instead;
        for topic in &mut answer.responses {
            topic
                .partition_responses
                .iter_mut()
                .for_each(|p| p.error_code = 0);
        }
        let answer = whole(head, &answer).unwrap();
        let joined = joined(head, &answer, split.instead).unwrap();
        assert_eq!(
            produced(head, &joined),
            [(0, 0), (2, 0), (1, 6)],
            "v{version}"
        );
    }
}

#[test]
fn a_lie_about_all_partitions_is_a_whole_answer() {
    let (head, frame) = request(9, -1, &[3]);
    let split = split(head, &frame, None, Lie::NotLeader).unwrap();
    assert!(split.rest.is_none());
    let answer = whole(head, &split.instead).unwrap();
    assert_eq!(produced(head, &answer), [(3, 6)]);
}

#[test]
fn what_the_broker_said_is_replaced_and_its_own_errors_stay() {
    let (head, frame) = request(7, -1, &[0, 1, 2]);
    let mut said = split(head, &frame, None, Lie::NotLeader).unwrap().instead;
    for p in &mut said.responses[0].partition_responses {
        p.error_code = if p.index == 2 { 3 } else { 0 };
    }
    let answer = whole(head, &said).unwrap();
    let lie = falsified(head, &answer, None, Lie::TimedOut).unwrap();
    assert_eq!(produced(head, &lie), [(0, 7), (1, 7), (2, 3)]);
    let lie = falsified(head, &answer, Some(1), Lie::TooFewReplicas).unwrap();
    assert_eq!(produced(head, &lie), [(0, 0), (1, 20), (2, 3)]);
    assert!(falsified(head, &answer, Some(9), Lie::TimedOut).is_none());
}

#[test]
fn what_was_fetched_is_kept_from_the_client() {
    let head = Head {
        key: ApiKey::Fetch as i16,
        version: 12,
        correlation: CORRELATION,
    };
    let partition = PartitionData::default()
        .with_partition_index(4)
        .with_records(Some(Bytes::from_static(b"records")));
    let topic = FetchableTopicResponse::default()
        .with_topic(name("t"))
        .with_partitions(vec![partition]);
    let response = FetchResponse::default().with_responses(vec![topic]);
    let answer = encode(12, &head_of(head).unwrap(), &response).unwrap();
    let lie = falsified(head, &answer, Some(4), Lie::NotLeader).unwrap();
    let told: FetchResponse = decode(12, &lie.slice(5..)).unwrap();
    let told = &told.responses[0].partitions[0];
    assert_eq!(
        (told.error_code, told.records.clone()),
        (6, Some(Bytes::new()))
    );
}

#[test]
fn only_acks_0_has_no_answer() {
    for version in ProduceRequest::VERSIONS.min..=ProduceRequest::VERSIONS.max {
        for acks in [-1, 0, 1] {
            let (head, frame) = request(version, acks, &[0]);
            assert_eq!(
                wants_answer(head, &frame),
                acks != 0,
                "v{version}, acks {acks}"
            );
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_make_anything_here_panic(
        bytes in proptest::collection::vec(any::<u8>(), 8..200),
        key in prop_oneof![Just(0_i16), Just(1), Just(3), any::<i16>()],
        version in -1_i16..=20,
    ) {
        let mut bytes = bytes;
        bytes[..2].copy_from_slice(&key.to_be_bytes());
        bytes[2..4].copy_from_slice(&version.to_be_bytes());
        let frame = Bytes::from(bytes);
        let head = Head::of(&frame).unwrap();
        wants_answer(head, &frame);
        split(head, &frame, Some(0), Lie::NotLeader);
        falsified(head, &frame, None, Lie::TimedOut);
        joined(head, &frame, ProduceResponse::default());
        repeated(head, &frame);
    }

    /// Bytes of a true request, some of them changed.
    #[test]
    fn no_damage_makes_anything_here_panic(
        version in 3_i16..=13, at in any::<prop::sample::Index>(), byte: u8,
    ) {
        let (head, frame) = request(version, -1, &[0, 1]);
        let mut bytes = frame.to_vec();
        let at = 8 + at.index(bytes.len() - 8);
        bytes[at] = byte;
        let frame = Bytes::from(bytes);
        wants_answer(head, &frame);
        split(head, &frame, Some(0), Lie::NotLeader);
        falsified(head, &frame, None, Lie::TimedOut);
    }
}
