use std::fmt::Debug;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use proptest::prelude::*;

use super::*;
use crate::net::ListenerKind;
use crate::wire::versions::{self, ApiVersionRange};

fn text(text: &'static str) -> StrBytes {
    StrBytes::from_static_str(text)
}

fn encoded<R: Encodable>(request: &R, version: i16) -> Bytes {
    let mut body = BytesMut::new();
    request.encode(&mut body, version).unwrap();
    body.freeze()
}

/// A request with something in every field that the version has.
fn sample(key: ApiKey, version: i16) -> Bytes {
    match key {
        ApiKey::Produce => encoded(&produce(), version),
        ApiKey::Fetch => encoded(&fetch(version), version),
        ApiKey::ListOffsets => encoded(&list_offsets(version), version),
        ApiKey::Metadata => encoded(&metadata(version), version),
        ApiKey::FindCoordinator => encoded(&find_coordinator(version), version),
        ApiKey::ApiVersions => encoded(&api_versions(version), version),
        ApiKey::CreateTopics => encoded(&create_topics(), version),
        ApiKey::DeleteRecords => encoded(&delete_records(), version),
        ApiKey::InitProducerId => encoded(&init_producer_id(version), version),
        ApiKey::OffsetForLeaderEpoch => encoded(&offset_for_leader_epoch(version), version),
        ApiKey::DescribeConfigs => encoded(&describe_configs(), version),
        ApiKey::DescribeCluster => encoded(&DescribeClusterRequest::default(), version),
        other => panic!("{other:?} is served but has no sample"),
    }
}

fn produce() -> ProduceRequest {
    use produce_request::{PartitionProduceData, TopicProduceData};
    let partition = |index| {
        PartitionProduceData::default()
            .with_index(index)
            .with_records(Some(Bytes::from_static(b"some records")))
    };
    let topic = TopicProduceData::default()
        .with_name(text("topic").into())
        .with_partition_data(vec![partition(0), partition(1).with_records(None)]);
    ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(30_000)
        .with_topic_data(vec![topic.clone(), topic])
}

fn fetch(version: i16) -> FetchRequest {
    use fetch_request::{FetchPartition, FetchTopic, ForgottenTopic, ReplicaState};
    let mut partition = FetchPartition::default()
        .with_fetch_offset(5)
        .with_partition_max_bytes(1 << 20);
    let mut topic = FetchTopic::default();
    let mut forgotten = ForgottenTopic::default().with_partitions(vec![1, 2]);
    if version >= 13 {
        topic.topic_id = uuid::Uuid::from_u128(7);
        forgotten.topic_id = uuid::Uuid::from_u128(8);
    } else {
        topic.topic = text("topic").into();
        forgotten.topic = text("gone").into();
    }
    if version >= 17 {
        partition.replica_directory_id = uuid::Uuid::from_u128(9);
    }
    if version >= 18 {
        partition.high_watermark = 4;
    }
    topic.partitions = vec![partition.clone(), partition];
    let mut request = FetchRequest::default()
        .with_max_bytes(1 << 20)
        .with_topics(vec![topic]);
    if version >= 7 {
        request.forgotten_topics_data = vec![forgotten];
    }
    if version >= 12 {
        request.cluster_id = Some(text("cluster"));
        request
            .unknown_tagged_fields
            .insert(77, Bytes::from_static(b"later"));
    }
    if version >= 15 {
        let state = ReplicaState::default().with_replica_epoch(3);
        request.replica_state = state.with_replica_id(2.into());
    }
    request
}

fn list_offsets(version: i16) -> ListOffsetsRequest {
    use list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
    let mut partition = ListOffsetsPartition::default().with_timestamp(-1);
    if version >= 4 {
        partition.current_leader_epoch = 3;
    }
    let topic = ListOffsetsTopic::default()
        .with_name(text("topic").into())
        .with_partitions(vec![partition.clone(), partition]);
    let request = ListOffsetsRequest::default().with_replica_id((-1).into());
    request.with_topics(vec![topic])
}

fn metadata(version: i16) -> MetadataRequest {
    use metadata_request::MetadataRequestTopic;
    let topic = MetadataRequestTopic::default().with_name(Some(text("topic").into()));
    let mut request = MetadataRequest::default().with_topics(Some(vec![topic]));
    if version >= 8 {
        request.include_topic_authorized_operations = true;
    }
    request
}

fn find_coordinator(version: i16) -> FindCoordinatorRequest {
    let request = FindCoordinatorRequest::default();
    match version {
        0..=3 => request.with_key(text("group")),
        _ => request.with_coordinator_keys(vec![text("group"), text("other")]),
    }
}

fn api_versions(version: i16) -> ApiVersionsRequest {
    let request = ApiVersionsRequest::default();
    match version {
        0..=2 => request,
        _ => request
            .with_client_software_name(text("test"))
            .with_client_software_version(text("1")),
    }
}

fn create_topics() -> CreateTopicsRequest {
    use create_topics_request::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig};
    let assignment = CreatableReplicaAssignment::default().with_broker_ids(vec![1.into()]);
    let config = CreatableTopicConfig::default()
        .with_name(text("retention.ms"))
        .with_value(Some(text("-1")));
    let topic = CreatableTopic::default()
        .with_name(text("topic").into())
        .with_assignments(vec![assignment])
        .with_configs(vec![config]);
    CreateTopicsRequest::default().with_topics(vec![topic])
}

fn delete_records() -> DeleteRecordsRequest {
    use delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
    let partition = DeleteRecordsPartition::default().with_offset(-1);
    let topic = DeleteRecordsTopic::default()
        .with_name(text("topic").into())
        .with_partitions(vec![partition.clone(), partition]);
    DeleteRecordsRequest::default().with_topics(vec![topic])
}

fn init_producer_id(version: i16) -> InitProducerIdRequest {
    let request = InitProducerIdRequest::default().with_transactional_id(Some(text("t").into()));
    match version {
        0..=2 => request,
        _ => request.with_producer_id(5.into()).with_producer_epoch(1),
    }
}

fn offset_for_leader_epoch(version: i16) -> OffsetForLeaderEpochRequest {
    use offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
    let topic = OffsetForLeaderTopic::default()
        .with_topic(text("topic").into())
        .with_partitions(vec![OffsetForLeaderPartition::default()]);
    let mut request = OffsetForLeaderEpochRequest::default().with_topics(vec![topic]);
    if version >= 3 {
        request.replica_id = (-1).into();
    }
    request
}

fn describe_configs() -> DescribeConfigsRequest {
    use describe_configs_request::DescribeConfigsResource;
    let resource = DescribeConfigsResource::default()
        .with_resource_name(text("topic"))
        .with_configuration_keys(Some(vec![text("a"), text("b")]));
    DescribeConfigsRequest::default().with_resources(vec![resource])
}

/// How many bytes the decoder takes, if it accepts the body. Only for bodies that were walked.
fn decoded_length(key: ApiKey, version: i16, body: &Bytes) -> Option<usize> {
    fn of<R: Decodable + Debug>(version: i16, body: &Bytes) -> Option<usize> {
        let mut rest = body.clone();
        R::decode(&mut rest, version).ok()?;
        Some(body.len() - rest.len())
    }
    match key {
        ApiKey::Produce => of::<ProduceRequest>(version, body),
        ApiKey::Fetch => of::<FetchRequest>(version, body),
        ApiKey::ListOffsets => of::<ListOffsetsRequest>(version, body),
        ApiKey::Metadata => of::<MetadataRequest>(version, body),
        ApiKey::FindCoordinator => of::<FindCoordinatorRequest>(version, body),
        ApiKey::ApiVersions => of::<ApiVersionsRequest>(version, body),
        ApiKey::CreateTopics => of::<CreateTopicsRequest>(version, body),
        ApiKey::DeleteRecords => of::<DeleteRecordsRequest>(version, body),
        ApiKey::InitProducerId => of::<InitProducerIdRequest>(version, body),
        ApiKey::OffsetForLeaderEpoch => of::<OffsetForLeaderEpochRequest>(version, body),
        ApiKey::DescribeConfigs => of::<DescribeConfigsRequest>(version, body),
        ApiKey::DescribeCluster => of::<DescribeClusterRequest>(version, body),
        other => panic!("{other:?}"),
    }
}

fn every_version() -> Vec<(ApiKey, i16)> {
    let tables = [ListenerKind::Client, ListenerKind::Replication].map(versions::table);
    let rows = tables.into_iter().flatten();
    let all = rows.flat_map(|row: &ApiVersionRange| {
        (row.served_min..=row.max).map(|version| (row.key, version))
    });
    all.collect()
}

#[test]
fn the_walk_and_the_decoder_agree_on_every_version_that_is_served() {
    for (key, version) in every_version() {
        assert!(is_known(key), "{key:?}");
        let body = sample(key, version);
        assert_eq!(
            check(key, version, &body),
            Ok(body.len()),
            "{key:?} {version}"
        );
        let decoded = decoded_length(key, version, &body);
        assert_eq!(decoded, Some(body.len()), "{key:?} {version}");
    }
}

#[test]
fn every_cut_is_noticed() {
    for (key, version) in every_version() {
        let body = sample(key, version);
        for length in 0..body.len() {
            let cut = check(key, version, &body[..length]);
            assert!(cut.is_err(), "{key:?} {version} at {length}");
        }
    }
}

#[test]
fn a_claim_of_many_elements_is_refused_before_anything_is_reserved() {
    // Metadata v1: an array of 2^31-1 topics in a frame of four bytes.
    let claim = i32::MAX.to_be_bytes();
    let refused = check(ApiKey::Metadata, 1, &claim);
    assert!(
        matches!(refused, Err(ShapeError::BeyondEnd { .. })),
        "{refused:?}"
    );
    // v9: the same as a varint.
    let refused = check(ApiKey::Metadata, 9, &[0xff, 0xff, 0xff, 0xff, 0x0f]);
    assert!(
        matches!(refused, Err(ShapeError::BeyondEnd { .. })),
        "{refused:?}"
    );
    // So many empty names that they do fit into the frame.
    let mut many = u32::to_be_bytes(200_000).to_vec();
    many.resize(4 + 2 * 200_000, 0);
    assert_eq!(
        check(ApiKey::Metadata, 1, &many),
        Err(ShapeError::TooManyElements)
    );
}

#[test]
fn a_tagged_field_must_be_as_long_as_it_claims() {
    // Fetch v12 with a cluster id that claims one byte less than it takes: the decoder would go
    // on behind it, and read what comes there as something else.
    let body = sample(ApiKey::Fetch, 12);
    let at = body.windows(3).position(|w| w == [0, 8, 8]).unwrap();
    let mut lying = body.to_vec();
    assert_eq!(
        &lying[at..at + 3],
        [0, 8, 8],
        "tag 0, 8 bytes, compact length 8"
    );
    lying[at + 1] = 7;
    let refused = check(ApiKey::Fetch, 12, &lying);
    assert!(
        matches!(refused, Err(ShapeError::TagSize { tag: 0, .. })),
        "{refused:?}"
    );
}

#[test]
fn varints_of_more_than_32_bits_are_refused() {
    for bytes in [[0xff, 0xff, 0xff, 0xff, 0x1f], [0x80; 5]] {
        let refused = check(ApiKey::Metadata, 9, &bytes);
        assert_eq!(refused, Err(ShapeError::Varint(0)));
    }
}

/// A change to a valid request.
#[derive(Clone, Debug)]
enum Damage {
    Flip(prop::sample::Index, u8),
    Set(prop::sample::Index, u8),
    Remove(prop::sample::Index),
    Insert(prop::sample::Index, u8),
    Cut(prop::sample::Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<prop::sample::Index>;
    let telling = prop_oneof![
        Just(0_u8),
        Just(1),
        Just(0x7f),
        Just(0x80),
        Just(0xff),
        any::<u8>()
    ];
    prop_oneof![
        (at(), 1_u8..).prop_map(|(at, bits)| Damage::Flip(at, bits)),
        (at(), telling.clone()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        at().prop_map(Damage::Remove),
        (at(), telling).prop_map(|(at, byte)| Damage::Insert(at, byte)),
        at().prop_map(Damage::Cut),
    ]
}

fn apply(body: &mut Vec<u8>, damage: &Damage) {
    if body.is_empty() {
        return;
    }
    let length = body.len();
    match damage {
        Damage::Flip(at, bits) => body[at.index(length)] ^= bits,
        Damage::Set(at, byte) => body[at.index(length)] = *byte,
        Damage::Remove(at) => {
            body.remove(at.index(length));
        }
        Damage::Insert(at, byte) => body.insert(at.index(length), *byte),
        Damage::Cut(at) => body.truncate(at.index(length)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// What the walk lets through, the decoder reads to the same end, or refuses for another
    /// reason (UTF-8); it is never led astray to an unchecked length.
    #[test]
    fn damaged_requests_are_refused_or_read_to_the_same_end(
        which in any::<prop::sample::Index>(),
        damages in prop::collection::vec(damage(), 1..4),
    ) {
        let all = every_version();
        let (key, version) = all[which.index(all.len())];
        let mut body = sample(key, version).to_vec();
        for damage in &damages {
            apply(&mut body, damage);
        }
        let body = Bytes::from(body);
        if let Ok(length) = check(key, version, &body)
            && let Some(decoded) = decoded_length(key, version, &body)
        {
            prop_assert_eq!(decoded, length, "{:?} {}", key, version);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        which in any::<prop::sample::Index>(),
        body in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let all = every_version();
        let (key, version) = all[which.index(all.len())];
        let body = Bytes::from(body);
        if check(key, version, &body).is_ok() {
            decoded_length(key, version, &body);
        }
    }
}
