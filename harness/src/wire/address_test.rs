use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::metadata_response::MetadataResponseBroker;
use proptest::prelude::*;

use super::*;

fn head(key: ApiKey, version: i16) -> Head {
    Head {
        key: key as i16,
        version,
        correlation: 5,
    }
}

fn metadata(brokers: &[(i32, &'static str, i32)]) -> MetadataResponse {
    let broker = |(id, host, port): &(i32, &'static str, i32)| {
        MetadataResponseBroker::default()
            .with_node_id(BrokerId(*id))
            .with_host(StrBytes::from_static_str(host))
            .with_port(*port)
    };
    MetadataResponse::default().with_brokers(brokers.iter().map(broker).collect())
}

#[tokio::test]
async fn each_broker_that_is_named_gets_one_front_and_keeps_it() {
    let addresses = Addresses::new();
    for version in [1, 9, 12] {
        let head = head(ApiKey::Metadata, version);
        let at = head.answer_head().unwrap();
        let theirs = metadata(&[(1, "kafka-1", 9092), (7, "kafka-7", 9092)]);
        let answer = encode(version, &vec![0; at], &theirs).unwrap();
        let told = addresses.ours(head, answer).await;
        let told: MetadataResponse = decode(version, &told.slice(at..)).unwrap();
        let ports: Vec<i32> = told.brokers.iter().map(|b| b.port).collect();
        assert!(
            told.brokers.iter().all(|b| *b.host == *"127.0.0.1"),
            "{told:?}"
        );
        let fronts = addresses.fronts.lock().await;
        let ours: Vec<i32> = fronts.values().map(|f| f.address.port().into()).collect();
        assert_eq!(ports, ours);
    }
    let begun = WireOrder::Begin {
        tag: "f1".to_owned(),
        fault: nemesis::wire::WireFault::StaleMetadata,
    };
    assert_eq!(addresses.obey(NodeId(7), &begun).await.unwrap().len(), 1);
    assert!(
        addresses.obey(NodeId(2), &begun).await.is_err(),
        "nobody named it"
    );
    let status = addresses.obey(NodeId(1), &WireOrder::Status).await.unwrap();
    assert!(status.is_empty(), "it is another broker's");
}

#[tokio::test]
async fn a_broker_that_is_not_there_has_no_front() {
    let addresses = Addresses::new();
    let head = head(ApiKey::FindCoordinator, 2);
    let nobody = FindCoordinatorResponse::default()
        .with_error_code(15)
        .with_node_id(BrokerId(-1))
        .with_port(-1);
    let answer = encode(2, &[0; 4], &nobody).unwrap();
    assert_eq!(addresses.ours(head, answer.clone()).await, answer);
    assert!(addresses.fronts.lock().await.is_empty());
}

#[test]
fn versions_that_are_not_understood_are_not_offered() {
    let api = |key: i16, max: i16| {
        ApiVersion::default()
            .with_api_key(key)
            .with_max_version(max)
    };
    let theirs = ApiVersionsResponse::default().with_api_keys(vec![
        api(3, 99),
        api(11, 99),
        api(78, 2),
        api(1, 5),
    ]);
    for version in [0, 3] {
        let head = head(ApiKey::ApiVersions, version);
        let answer = encode(version, &[0; 4], &theirs).unwrap();
        let told = offered(head, &answer).unwrap();
        let told: ApiVersionsResponse = decode(version, &told.slice(4..)).unwrap();
        let told: Vec<_> = told
            .api_keys
            .iter()
            .map(|a| (a.api_key, a.max_version))
            .collect();
        let most = MetadataResponse::VERSIONS.max;
        assert_eq!(told, [(3, most), (11, 99), (1, 5)]);
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_rewriting_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        key in prop_oneof![Just(0_i16), Just(1), Just(3), Just(10), Just(18), Just(60)],
        version in -1_i16..=20,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let head = Head { key, version, correlation: 0 };
            Addresses::new().ours(head, Bytes::from(bytes)).await;
        });
    }
}
