//! Pipelined requests: begun in order, answered in order (invariant I25).

use crate::batch::{NOBODY, batch};
use crate::broker::Single;
use crate::hex::hex;

/// Produce v3, acks=1 or all, one record.
fn produce(correlation_id: i32, acks: i16) -> Vec<u8> {
    let records = batch(NOBODY, &[b"x"]);
    let mut request = hex(&["0000 0003"]);
    request.extend_from_slice(&correlation_id.to_be_bytes());
    request.extend_from_slice(&hex(&["ffff ffff"]));
    request.extend_from_slice(&acks.to_be_bytes());
    request.extend_from_slice(&hex(&[
        "00002710",
        "00000001 0001",
        "'t'",
        "00000001 00000000",
    ]));
    request.extend_from_slice(&u32::try_from(records.len()).unwrap().to_be_bytes());
    request.extend_from_slice(&records);
    request
}

#[test]
fn two_hundred_pipelined_produces_get_rising_offsets_in_order() {
    let broker = Single::start();
    let mut connection = broker.topic().connect();
    const COUNT: i32 = 200;
    for id in 0..COUNT {
        connection.send(&produce(id, if id % 3 == 0 { -1 } else { 1 }));
        if id % 10 == 0 {
            // In between, something that is ready at once: it must not overtake.
            let mut versions = hex(&["0012 0000"]);
            versions.extend_from_slice(&(10_000 + id).to_be_bytes());
            versions.extend_from_slice(&hex(&["ffff"]));
            connection.send(&versions);
        }
    }
    for id in 0..COUNT {
        let answer = connection.receive();
        assert_eq!(answer[..4], id.to_be_bytes());
        let offset = &answer[4 + 4 + 3 + 4 + 4 + 2..][..8];
        assert_eq!(offset, i64::from(id).to_be_bytes());
        if id % 10 == 0 {
            assert_eq!(connection.receive()[..4], (10_000 + id).to_be_bytes());
        }
    }
}

#[test]
fn what_is_not_served_closes_the_connection_after_earlier_answers() {
    let broker = Single::start();
    broker.topic();
    let refused: [&[&str]; 6] = [
        &["0000 0002 00000001 ffff"],    // Produce v2: advertised, not served
        &["0001 000d 00000001 ffff 00"], // Fetch v13: of followers only
        &["03e7 0000 00000001 ffff"],    // no such API
        &["000b 0000 00000001 ffff"],    // JoinGroup: not here
        &["0003 0001 00000001 ffff", "7fffffff"], // an array of 2^31-1 topics
        &["0003"],                       // not even a header
    ];
    for request in refused {
        let mut connection = broker.connect();
        connection.send(&hex(&["0012 0000 00000001 ffff"]));
        connection.send(&hex(request));
        assert_eq!(connection.receive()[..6], [0, 0, 0, 1, 0, 0]);
        assert!(connection.is_closed(), "{request:?}");
    }
}
