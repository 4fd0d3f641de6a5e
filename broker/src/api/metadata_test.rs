use kafka_protocol::messages::metadata_request::MetadataRequestTopic;

use super::*;
use crate::meta::image::{BrokerImage, Endpoint};
use crate::types::{BrokerEpoch, LeaderEpoch, PartitionEpoch};

fn broker(id: i32, fenced: bool) -> Arc<BrokerImage> {
    let endpoint = |port| Endpoint {
        host: format!("b{id}"),
        port,
    };
    Arc::new(BrokerImage {
        id: BrokerId(id),
        epoch: BrokerEpoch(i64::from(id)),
        incarnation: Uuid::from_u128(1),
        fenced,
        in_controlled_shutdown: false,
        client: endpoint(9092),
        replication: endpoint(9093),
    })
}

fn partition(leader: Option<i32>) -> Arc<PartitionImage> {
    let ids = |ids: &[i32]| ids.iter().map(|id| BrokerId(*id)).collect();
    Arc::new(PartitionImage {
        replicas: ids(&[1, 2, 3]),
        isr: ids(&[1, 2]),
        elr: Vec::new(),
        last_known_leader: None,
        leader: leader.map(BrokerId),
        leader_epoch: LeaderEpoch(4),
        partition_epoch: PartitionEpoch(9),
    })
}

const ID: TopicId = TopicId(Uuid::from_u128(42));

/// Brokers 1 and 2 live, 3 fenced; topic "t": partition 0 led by 1, 1 by nobody, 2 by the fenced.
fn image() -> MetadataImage {
    let topic = TopicImage {
        id: ID,
        name: "t".to_owned(),
        partitions: vec![partition(Some(1)), partition(None), partition(Some(3))],
        configs: Default::default(),
    };
    MetadataImage {
        cluster_id: "c".to_owned(),
        brokers: [(1, false), (2, false), (3, true)]
            .map(|(id, fenced)| (BrokerId(id), broker(id, fenced)))
            .into(),
        topics: [(ID, Arc::new(topic))].into(),
        topic_ids: [("t".to_owned(), ID)].into(),
        ..MetadataImage::default()
    }
}

fn asked(version: i16, topics: Option<Vec<MetadataRequestTopic>>) -> MetadataResponse {
    let request = MetadataRequest::default().with_topics(topics);
    response(&image(), 1, version, wanted(version, request))
}

fn name(name: &'static str) -> MetadataRequestTopic {
    let name: TopicName = StrBytes::from_static_str(name).into();
    MetadataRequestTopic::default().with_name(Some(name))
}

fn id(id: TopicId) -> MetadataRequestTopic {
    MetadataRequestTopic::default()
        .with_name(None)
        .with_topic_id(id.0)
}

#[test]
fn empty_means_all_in_v0_and_none_later_and_null_means_all_later() {
    assert_eq!(asked(0, Some(Vec::new())).topics.len(), 1);
    for version in 1..=12 {
        assert_eq!(
            asked(version, Some(Vec::new())).topics.len(),
            0,
            "{version}"
        );
        assert_eq!(asked(version, None).topics.len(), 1, "{version}");
    }
}

#[test]
fn fenced_brokers_are_neither_named_nor_leaders() {
    let answer = asked(12, None);
    let ids: Vec<_> = answer
        .brokers
        .iter()
        .map(|broker| broker.node_id.0)
        .collect();
    assert_eq!(ids, [1, 2]);
    let [led, leaderless, fenced] = &answer.topics[0].partitions[..] else {
        panic!("three partitions");
    };
    assert_eq!(
        (led.error_code, led.leader_id.0, led.leader_epoch),
        (0, 1, 4)
    );
    for partition in [leaderless, fenced] {
        assert_eq!((partition.error_code, partition.leader_id.0), (5, -1));
    }
    assert_eq!(led.offline_replicas, [3]);
    assert_eq!(led.isr_nodes, [1, 2]);
}

#[test]
fn topics_are_found_by_name_and_by_id_and_answered_once() {
    let answer = asked(
        12,
        Some(vec![name("t"), id(ID), name("t"), name("u"), name("u")]),
    );
    let codes: Vec<_> = answer.topics.iter().map(|topic| topic.error_code).collect();
    assert_eq!(codes, [0, 0, 3]);
    assert_eq!(answer.topics[1].name.as_deref().map(|n| &**n), Some("t"));
    let unknown = asked(12, Some(vec![id(TopicId(Uuid::from_u128(7)))]));
    assert_eq!(unknown.topics[0].error_code, 100);
    assert_eq!(unknown.topics[0].topic_id, Uuid::from_u128(7));
    let bad = asked(12, Some(vec![name("no such name!")]));
    assert_eq!(bad.topics[0].error_code, 17);
}

#[test]
fn every_answer_can_be_encoded_in_every_version() {
    for version in 0..=12 {
        let mut topics = vec![name("t"), name("unknown"), name("no good!")];
        if version >= 10 {
            topics.push(id(ID));
            topics.push(id(TopicId(Uuid::from_u128(7))));
        }
        let answer = encode(&asked(version, Some(topics)), version);
        assert!(
            matches!(answer, crate::api::Reply::Body(_)),
            "{version}: {answer:?}"
        );
    }
}
