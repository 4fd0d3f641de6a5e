//! The few requests that a well-behaved client needs.

use crate::batch::{NOBODY, batch};
use crate::hex::hex;
use crate::raw::Raw;

/// A topic of one partition and one replica.
pub fn create_topic(name: &str) -> Vec<u8> {
    let quoted = format!("'{name}'");
    let length = format!("{:04x}", name.len());
    hex(&[
        "0013 0002 00000001 ffff",
        "00000001",
        &length,
        &quoted,
        "00000001 0001 00000000 00000000",
        "00007530 00",
    ])
}

/// The records field of a produce request with one record.
pub fn one_record(value: &[u8]) -> Vec<u8> {
    batch(NOBODY, &[value])
}

/// Produce v3 to partition 0, acks=all.
pub fn produce(topic: &str, records: &[u8]) -> Vec<u8> {
    let quoted = format!("'{topic}'");
    let length = format!("{:04x}", topic.len());
    let mut request = hex(&[
        "0000 0003 00000001 ffff",
        "ffff ffff 00007530",
        "00000001",
        &length,
        &quoted,
        "00000001 00000000",
    ]);
    request.extend_from_slice(&u32::try_from(records.len()).expect("small").to_be_bytes());
    request.extend_from_slice(records);
    request
}

/// Fetch v4 of partition 0 from its beginning, without waiting.
pub fn fetch(topic: &str) -> Vec<u8> {
    let quoted = format!("'{topic}'");
    let length = format!("{:04x}", topic.len());
    hex(&[
        "0001 0004 00000001 ffff",
        "ffffffff 00000000 00000001 04000000 00",
        "00000001",
        &length,
        &quoted,
        "00000001 00000000 0000000000000000 04000000",
    ])
}

/// The error code of a Produce v3 answer.
pub fn produce_error(topic: &str, answer: &[u8]) -> i16 {
    let at = 4 + 4 + 2 + topic.len() + 4 + 4;
    i16::from_be_bytes([answer[at], answer[at + 1]])
}

/// Produces one record and reads the partition back: the broker does its work.
pub fn is_served(connection: &mut Raw, topic: &str) {
    let answer = connection.ask(&produce(topic, &one_record(b"well-behaved")));
    assert_eq!(produce_error(topic, &answer), 0);
    let answer = connection.ask(&fetch(topic));
    assert!(answer.windows(12).any(|window| window == b"well-behaved"));
}
