use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopicConfig,
};
use tokio::sync::mpsc;

use super::*;
use crate::config::BrokerConfig;
use crate::log::{LogConfig, LogStore};
use crate::meta::handle::MetadataHandle;
use crate::meta::told;
use crate::replica::manager::ReplicaManager;
use crate::storage::memory::MemoryStorage;

/// A broker that knows `image` and whose controller is gone.
fn context(image: MetadataImage) -> Arc<Context> {
    let (proposals, _) = mpsc::channel(1);
    let (_, image) = told::channel(Arc::new(image));
    let (_, epoch) = told::channel(None);
    let (_, controller) = told::channel(None);
    let meta = MetadataHandle::new(proposals, image, epoch, controller);
    let mut config = BrokerConfig::default();
    let voter = config.voters[0].clone();
    config.voters = vec![voter; 3];
    let config = Arc::new(config);
    let storage = Arc::new(MemoryStorage::default());
    let store = LogStore::open_manual(
        LogConfig::new("log".into()),
        storage,
        Box::new(|why| panic!("{why}")),
    );
    let store = store.unwrap();
    let replicas = ReplicaManager::new(config.clone(), meta.clone(), store);
    Arc::new(Context::new(config, meta, replicas))
}

fn with_topic(name: &str) -> MetadataImage {
    MetadataImage {
        topic_ids: [(name.to_owned(), TopicId::default())].into(),
        ..MetadataImage::default()
    }
}

fn topic(name: &str) -> CreatableTopic {
    CreatableTopic::default()
        .with_name(StrBytes::from_string(name.to_owned()).into())
        .with_num_partitions(2)
        .with_replication_factor(3)
}

fn refused(image: MetadataImage, topic: CreatableTopic) -> ResponseError {
    plan(&context(image), 7, topic).unwrap_err().0
}

#[tokio::test]
async fn defaults_are_filled_in_and_min_isr_is_written_down() {
    let asked = topic("t")
        .with_num_partitions(-1)
        .with_replication_factor(-1);
    let plan = plan(&context(MetadataImage::default()), 4, asked).unwrap();
    assert_eq!((plan.partitions, plan.replication_factor), (1, 3));
    assert_eq!(plan.configs[MIN_INSYNC_REPLICAS], "2");
}

#[tokio::test]
async fn what_cannot_be_made_is_refused_with_kafkas_codes() {
    use ResponseError::*;
    let none = MetadataImage::default;
    for name in ["", ".", "..", "a b", "ä", &"x".repeat(250)] {
        assert_eq!(
            refused(none(), topic(name)),
            InvalidTopicException,
            "{name:?}"
        );
    }
    assert_eq!(refused(with_topic("t"), topic("t")), TopicAlreadyExists);
    assert_eq!(
        refused(with_topic("a.b"), topic("a_b")),
        InvalidTopicException
    );
    for partitions in [0, -2, PARTITIONS_MAX + 1] {
        let asked = topic("t").with_num_partitions(partitions);
        assert_eq!(refused(none(), asked), InvalidPartitions);
    }
    for factor in [0, -2, 4] {
        let asked = topic("t").with_replication_factor(factor);
        assert_eq!(refused(none(), asked), InvalidReplicationFactor);
    }
    let by_hand = vec![CreatableReplicaAssignment::default()];
    assert_eq!(
        refused(none(), topic("t").with_assignments(by_hand)),
        InvalidReplicaAssignment
    );
    let config = CreatableTopicConfig::default()
        .with_name(StrBytes::from_static_str("retention.ms"))
        .with_value(Some(StrBytes::from_static_str("-2")));
    assert_eq!(
        refused(none(), topic("t").with_configs(vec![config])),
        InvalidConfig
    );
}

fn created(request: CreateTopicsRequest, version: i16) -> CreateTopicsResponse {
    use kafka_protocol::protocol::Decodable;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    let reply = runtime
        .unwrap()
        .block_on(async { handle(&context(MetadataImage::default()), version, request).await });
    let crate::api::Reply::Body(body) = reply else {
        panic!("{reply:?}");
    };
    CreateTopicsResponse::decode(&mut body.into_bytes(), version).unwrap()
}

#[test]
fn a_controller_that_is_gone_is_a_timeout_and_a_duplicate_is_answered_once() {
    for version in 2..=7 {
        let topics = vec![topic("a"), topic("b"), topic("b"), topic("!")];
        let request = CreateTopicsRequest::default()
            .with_topics(topics)
            .with_timeout_ms(1000);
        let answer = created(request, version);
        let codes: Vec<_> = answer
            .topics
            .iter()
            .map(|t| (&**t.name, t.error_code))
            .collect();
        assert_eq!(codes, [("a", 7), ("b", 42), ("!", 17)], "version {version}");
    }
}

#[test]
fn validating_makes_nothing_and_tells_what_would_be() {
    for version in 2..=7 {
        let request = CreateTopicsRequest::default()
            .with_topics(vec![topic("a")])
            .with_validate_only(true);
        let answer = created(request, version);
        assert_eq!(answer.topics[0].error_code, 0);
        if version >= 5 {
            assert_eq!(answer.topics[0].num_partitions, 2);
            let settings = answer.topics[0].configs.as_ref().unwrap();
            assert!(settings.iter().any(|s| &*s.name == MIN_INSYNC_REPLICAS));
        }
    }
}

#[test]
fn more_partitions_than_one_request_may_make_are_refused_together() {
    let limit = PARTITIONS_MAX;
    for (each, excess) in [(limit / 2, false), (limit / 2 + 1, true)] {
        let of = |name| topic(name).with_num_partitions(each);
        let request = CreateTopicsRequest::default()
            .with_topics(vec![of("a"), of("b"), of("!")])
            .with_validate_only(true);
        let answer = created(request, 7);
        let codes: Vec<_> = answer.topics.iter().map(|t| t.error_code).collect();
        let code = if excess { 44 } else { 0 };
        assert_eq!(codes, [code, code, 17]);
    }
}
