//! ApiVersions, Metadata, FindCoordinator, DescribeCluster: what a client asks first.

use crate::broker::Single;
use crate::hex::{hex, show};

/// Sends `request` on a connection of its own and compares the whole answer.
#[track_caller]
fn expect(broker: &Single, request: &[&str], answer: &[&str]) {
    let got = broker.connect().ask(&hex(request));
    let want = hex(answer);
    assert_eq!(show(&got), show(&want));
}

/// Key, lowest and highest version of every API, as ApiVersions lists them.
const LIST: [&str; 12] = [
    "0000 0000 000b", // Produce: 0-2 advertised, not served (KAFKA-18659)
    "0001 0004 000c", // Fetch
    "0002 0001 0007", // ListOffsets
    "0003 0000 000c", // Metadata
    "000a 0000 0004", // FindCoordinator
    "0012 0000 0003", // ApiVersions
    "0013 0002 0007", // CreateTopics
    "0015 0000 0002", // DeleteRecords
    "0016 0000 0004", // InitProducerId
    "0017 0002 0004", // OffsetForLeaderEpoch
    "0020 0001 0004", // DescribeConfigs
    "003c 0000 0001", // DescribeCluster
];

#[test]
fn api_versions() {
    let broker = Single::start();
    let v0: Vec<&str> = [&["00000007", "0000", "0000000c"][..], &LIST].concat();
    expect(&broker, &["0012 0000 00000007 ffff"], &v0);
    let v1 = [&v0[..], &["00000000"]].concat(); // + throttle time
    expect(&broker, &["0012 0001 00000007 ffff"], &v1);
    expect(&broker, &["0012 0002 00000007 ffff"], &v1);
    // v3 is flexible, but the response header has no tagged fields: there is no byte between the
    // correlation id and the error.
    let tagged = LIST.map(|row| [row, "00"]).concat();
    let v3 = [
        &["00000007", "0000", "0d"][..],
        &tagged,
        &["00000000", "00"],
    ]
    .concat();
    let request = [
        "0012 0003 00000007 0004",
        "'test'",
        "00",
        "05",
        "'test'",
        "02",
        "'1'",
        "00",
    ];
    expect(&broker, &request, &v3);
}

#[test]
fn api_versions_of_an_unknown_version_is_answered_in_v0_with_error_35() {
    let broker = Single::start();
    let answer = [&["00000007", "0023", "0000000c"][..], &LIST].concat();
    let mut connection = broker.connect();
    // Nothing after the correlation id is looked at: it is of a version that we cannot know.
    let got = connection.ask(&hex(&["0012 0063 00000007", "deadbeef"]));
    assert_eq!(show(&got), show(&hex(&answer)));
    // And the connection can be used on, as KIP-511 has it.
    let got = connection.ask(&hex(&["0012 0000 00000008 ffff"]));
    assert_eq!(got[..6], [0, 0, 0, 8, 0, 0]);
}

#[test]
fn api_versions_with_a_bad_software_name_is_refused() {
    let broker = Single::start();
    let got = broker.connect().ask(&hex(&[
        "0012 0003 00000007 ffff 00",
        "02",
        "'-'",
        "02",
        "'1'",
        "00",
    ]));
    assert_eq!(got[..6], [0, 0, 0, 7, 0, 42]);
}

const BROKER_1: &str = "00000001 0005 6b61666b61 00002384"; // 1, "kafka", 9092
const BROKER_1_FLEXIBLE: &str = "00000001 06 6b61666b61 00002384 00 00"; // no rack, no tags

#[test]
fn metadata_v0_empty_means_all() {
    let broker = Single::start();
    broker.topic();
    let all = [
        "00000003",
        "00000001",
        BROKER_1,
        "00000001 0000 0001",
        "'t'",
        "00000001 0000 00000000 00000001", // partition 0 of leader 1
        "00000001 00000001 00000001 00000001", // replicas, ISR
    ];
    expect(&broker, &["0003 0000 00000003 ffff", "00000000"], &all);
}

#[test]
fn metadata_v1_empty_means_none_and_null_all() {
    let broker = Single::start();
    broker.topic();
    let head = ["00000003", "00000001", BROKER_1, "ffff", "00000001"]; // rack, controller
    let none = [&head[..], &["00000000"]].concat();
    expect(&broker, &["0003 0001 00000003 ffff", "00000000"], &none);
    let topic = [
        "00000001 0000 0001",
        "'t'",
        "00", // not internal
        "00000001 0000 00000000 00000001",
        "00000001 00000001 00000001 00000001",
    ];
    let all = [&head[..], &topic].concat();
    expect(&broker, &["0003 0001 00000003 ffff", "ffffffff"], &all);
}

#[test]
fn metadata_v4_of_an_unknown_topic() {
    let broker = Single::start();
    let answer = [
        "00000003",
        "00000000", // throttle time
        "00000001",
        BROKER_1,
        "ffff",
        "0006",
        "'golden'", // cluster id
        "00000001", // controller
        "00000001 0003 0001",
        "'u'", // UNKNOWN_TOPIC_OR_PARTITION
        "00 00000000",
    ];
    let request = ["0003 0004 00000003 ffff", "00000001 0001", "'u'", "01"];
    expect(&broker, &request, &answer);
}

#[test]
fn metadata_v12_by_id_and_all() {
    let broker = Single::start();
    broker.topic();
    let answer = [
        "00000003 00", // header v1
        "00000000",
        "02",
        BROKER_1_FLEXIBLE,
        "07",
        "'golden'",
        "00000001",
        "02 0000 02",
        "'t'",
        "0102030405060708090a0b0c0d0e0f10",
        "00",
        "02 0000 00000000 00000001 00000000", // leader 1, epoch 0
        "02 00000001 02 00000001 01 00",      // replicas, ISR, nobody offline
        "80000000 00",                        // operations: not asked for
        "00",
    ];
    // Null: all.
    expect(
        &broker,
        &["0003 000c 00000003 ffff 00", "00 01 00 00"],
        &answer,
    );
    // By id, the name being null.
    let by_id = [
        "0003 000c 00000003 ffff 00",
        "02",
        "0102030405060708090a0b0c0d0e0f10",
    ];
    let by_id = [&by_id[..], &["00 00", "01 00 00"]].concat();
    expect(&broker, &by_id, &answer);
    // An unknown id: UNKNOWN_TOPIC_ID, and a null name.
    let other = [
        "0003 000c 00000003 ffff 00",
        "02",
        "ff02030405060708090a0b0c0d0e0f10",
    ];
    let other = [&other[..], &["00 00", "01 00 00"]].concat();
    let unknown = [
        &answer[..7],
        &[
            "02 0064 00",
            "ff02030405060708090a0b0c0d0e0f10",
            "00 01 80000000 00",
            "00",
        ],
    ];
    expect(&broker, &other, &unknown.concat());
}

#[test]
fn find_coordinator_names_nobody() {
    let broker = Single::start();
    let v0 = ["0000000a", "000f", "ffffffff 0000 ffffffff"];
    expect(&broker, &["000a 0000 0000000a ffff", "0001", "'g'"], &v0);
    let message = "'consumer groups are not supported: assign partitions instead'";
    let v1 = [
        "0000000a",
        "00000000 000f 003c",
        message,
        "ffffffff 0000 ffffffff",
    ];
    expect(
        &broker,
        &["000a 0001 0000000a ffff", "0001", "'g'", "00"],
        &v1,
    );
    let v4 = [
        "0000000a 00",
        "00000000",
        "02 02",
        "'g'",
        "ffffffff 01 ffffffff 000f 3d",
        message,
        "00",
        "00",
    ];
    expect(
        &broker,
        &["000a 0004 0000000a ffff 00", "00", "02 02", "'g'", "00"],
        &v4,
    );
}

#[test]
fn describe_cluster_v0_and_v1() {
    let broker = Single::start();
    let v0 = [
        "0000003c 00",
        "00000000 0000 00", // throttle, no error, no message
        "07",
        "'golden'",
        "00000001", // controller
        "02",
        BROKER_1_FLEXIBLE,
        "80000000 00",
    ];
    expect(&broker, &["003c 0000 0000003c ffff 00", "00 00"], &v0);
    let v1 = [&v0[..2], &["01"], &v0[2..]].concat(); // endpoint type: brokers
    expect(&broker, &["003c 0001 0000003c ffff 00", "00 01 00"], &v1);
}
