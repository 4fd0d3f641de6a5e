//! CreateTopics, DescribeConfigs, InitProducerId.

use crate::broker::Single;
use crate::hex::{hex, show};

#[test]
fn create_topics_v4_has_not_one_byte_too_many() {
    let broker = Single::start();
    let mut connection = broker.connect();
    let request = [
        "0013 0004 00000013 ffff",
        "00000001 0003",
        "'new'",
        "00000002 0001 00000000 00000000", // 2 partitions, 1 replica, no assignments, no settings
        "00002710 00",                     // 10 s, for real
    ];
    let made = connection.ask(&hex(&request));
    let answer = [
        "00000013",
        "00000000",
        "00000001 0003",
        "'new'",
        "0000 ffff",
    ];
    assert_eq!(show(&made), show(&hex(&answer)));
    let again = connection.ask(&hex(&request));
    let answer = [
        "00000013",
        "00000000",
        "00000001 0003",
        "'new'",
        "0024 0018",
        "'topic new exists already'",
    ];
    assert_eq!(show(&again), show(&hex(&answer)));
}

#[test]
fn create_topics_v7_tells_id_numbers_and_settings() {
    let broker = Single::start();
    let request = [
        "0013 0007 00000013 ffff 00",
        "02 04",
        "'new'",
        "ffffffff ffff 01 02", // defaults; one setting:
        "14",
        "'min.insync.replicas'",
        "02",
        "'1'",
        "00 00",
        "00002710 00 00",
    ];
    let made = broker.connect().ask(&hex(&request));
    let front = hex(&["00000013 00", "00000000", "02 04", "'new'"]);
    assert_eq!(show(&made[..front.len()]), show(&front));
    let (id, rest) = made[front.len()..].split_at(16);
    assert_ne!(id, [0; 16]);
    // A version 4 uuid.
    assert_eq!(id[6] >> 4, 4);
    let rest_front = hex(&["0000 00 00000001 0001"]); // no error, 1 partition, 1 replica
    assert_eq!(show(&rest[..rest_front.len()]), show(&rest_front));
    // Name, value, not read only, set on the topic (1), not sensitive.
    let setting = hex(&["14", "'min.insync.replicas'", "02", "'1'", "00 01 00 00"]);
    assert!(rest.windows(setting.len()).any(|window| window == setting));
    assert_eq!(rest[rest.len() - 2..], [0, 0]);
}

#[test]
fn create_topics_refusals_come_with_a_sentence() {
    let broker = Single::start();
    let request = [
        "0013 0002 00000013 ffff",
        "00000001 0002",
        "'..'",
        "00000001 0001 00000000 00000000",
        "00002710 00",
    ];
    let answer = [
        "00000013",
        "00000000",
        "00000001 0002",
        "'..'",
        "0011 001b",
        "'\"..\" cannot be a topic name'",
    ];
    let got = broker.connect().ask(&hex(&request));
    assert_eq!(show(&got), show(&hex(&answer)));
}

#[test]
fn init_producer_id_counts_up_and_refuses_transactions() {
    let broker = Single::start();
    let mut connection = broker.connect();
    let request = hex(&["0016 0000 00000016 ffff", "ffff 0000ea60"]);
    let first = ["00000016", "00000000 0000 0000000000000000 0000"];
    assert_eq!(show(&connection.ask(&request)), show(&hex(&first)));
    let second = ["00000016", "00000000 0000 0000000000000001 0000"];
    assert_eq!(show(&connection.ask(&request)), show(&hex(&second)));
    // v4: flexible; with a producer id and an epoch of its own, which do not matter.
    let request = [
        "0016 0004 00000016 ffff 00",
        "00 0000ea60 0000000000000005 0003 00",
    ];
    let third = ["00000016 00", "00000000 0000 0000000000000002 0000 00"];
    assert_eq!(show(&connection.ask(&hex(&request))), show(&hex(&third)));
    let request = ["0016 0001 00000016 ffff", "0001", "'x'", "0000ea60"];
    let refused = ["00000016", "00000000 002a ffffffffffffffff ffff"];
    assert_eq!(show(&connection.ask(&hex(&request))), show(&hex(&refused)));
}

#[test]
fn describe_configs_shows_what_acts_and_where_it_comes_from() {
    let broker = Single::start();
    broker.topic();
    let mut connection = broker.connect();
    let request = [
        "0020 0001 00000020 ffff",
        "00000001 02 0001",
        "'t'",
        "00000001 0013",
        "'min.insync.replicas'",
        "01", // with synonyms
    ];
    let answer = [
        "00000020",
        "00000000",
        "00000001 0000 ffff 02 0001",
        "'t'",
        "00000001 0013",
        "'min.insync.replicas'",
        "0001",
        "'1'",
        "00 01 00", // writable, set on the topic, not sensitive
        "00000002 0013",
        "'min.insync.replicas'",
        "0001",
        "'1'",
        "01 0013",
        "'min.insync.replicas'",
        "0001",
        "'2'",
        "05", // else the default
    ];
    assert_eq!(show(&connection.ask(&hex(&request))), show(&hex(&answer)));
    // v4, broker 1, one setting, types and documentation.
    let request = [
        "0020 0004 00000020 ffff 00",
        "02 04 02",
        "'1'",
        "02 0a",
        "'broker.id'",
        "00",
        "00 01 00",
    ];
    let got = connection.ask(&hex(&request));
    let front = [
        "00000020 00",
        "00000000",
        "02 0000 00 04 02",
        "'1'",
        "02 0a",
        "'broker.id'",
        "02",
        "'1'",
        "01 05 00 01 03", // read only, a default, not sensitive, no synonyms, a number
    ];
    let front = hex(&front);
    assert_eq!(show(&got[..front.len()]), show(&front));
    // Another broker's settings are its own to tell.
    let request = [
        "0020 0001 00000020 ffff",
        "00000001 04 0001",
        "'2'",
        "ffffffff 00",
    ];
    let got = connection.ask(&hex(&request));
    assert_eq!(show(&got[8..14]), show(&hex(&["00000001 002a"])));
}

#[test]
fn describe_configs_describes_each_resource_once() {
    let broker = Single::start();
    let mut connection = broker.topic().connect();
    let describe = |count: &str, resources: &str| {
        let mut request = hex(&["0020 0001 00000020 ffff", count]);
        request.extend_from_slice(&hex(&[resources]));
        request.push(0);
        request
    };
    // Broker 1 with one setting, with another, and once more: one answer, with both.
    let id = "04 0001 31 00000001 0009 62726f6b65722e6964"; // broker.id
    let partitions = "04 0001 31 00000001 000e 6e756d2e706172746974696f6e73"; // num.partitions
    let got = connection.ask(&describe("00000003", &[id, partitions, id].concat()));
    let front = [
        "00000020",
        "00000000",
        "00000001 0000 ffff 04 0001 31",
        "00000002",
    ];
    let front = hex(&front);
    assert_eq!(show(&got[..front.len()]), show(&front));
    // All settings, ten thousand times: no more than once.
    let all = "04 0001 31 ffffffff";
    let once = connection.ask(&describe("00000001", all));
    let often = connection.ask(&describe("00002710", &all.repeat(10_000)));
    assert_eq!(show(&often), show(&once));
    // The same broker, written in another way.
    let got = connection.ask(&describe("00000001", "04 0002 3031 ffffffff"));
    assert_eq!(show(&got[8..14]), show(&hex(&["00000001 002a"])));
}

#[test]
fn delete_records_tells_the_low_watermark() {
    let broker = Single::start();
    let mut connection = broker.topic().connect();
    let request = [
        "0015 0000 00000015 ffff",
        "00000001 0001",
        "'t'",
        "00000002",
        "00000000 ffffffffffffffff", // all that is committed: nothing
        "00000009 0000000000000000", // no such partition
        "000003e8",
    ];
    let answer = [
        "00000015",
        "00000000",
        "00000001 0001",
        "'t'",
        "00000002",
        "00000000 0000000000000000 0000",
        "00000009 ffffffffffffffff 0003",
    ];
    assert_eq!(show(&connection.ask(&hex(&request))), show(&hex(&answer)));
    // v2 is flexible. Above the watermark: OFFSET_OUT_OF_RANGE.
    let request = [
        "0015 0002 00000015 ffff 00",
        "02 02",
        "'t'",
        "02 00000000 0000000000000001 00",
        "00 000003e8 00",
    ];
    let answer = [
        "00000015 00",
        "00000000",
        "02 02",
        "'t'",
        "02 00000000 ffffffffffffffff 0001 00",
        "00 00",
    ];
    assert_eq!(show(&connection.ask(&hex(&request))), show(&hex(&answer)));
}
