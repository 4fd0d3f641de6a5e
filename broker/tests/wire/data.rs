//! Produce, Fetch, ListOffsets, OffsetForLeaderEpoch: records in, the same bytes out.

use crate::batch::{NOBODY, Producer, batch, stored};
use crate::broker::Single;
use crate::hex::{hex, show};
use crate::raw::Raw;

fn produce(version: i16, acks: i16, records: &[u8]) -> Vec<u8> {
    let mut request = hex(&["0000"]);
    request.extend_from_slice(&version.to_be_bytes());
    if version < 9 {
        request.extend_from_slice(&hex(&["00000001 ffff", "ffff"]));
        request.extend_from_slice(&acks.to_be_bytes());
        request.extend_from_slice(&hex(&[
            "00002710",
            "00000001 0001",
            "'t'",
            "00000001 00000000",
        ]));
        request.extend_from_slice(&u32::try_from(records.len()).unwrap().to_be_bytes());
        request.extend_from_slice(records);
    } else {
        request.extend_from_slice(&hex(&["00000001 ffff 00", "00"]));
        request.extend_from_slice(&acks.to_be_bytes());
        request.extend_from_slice(&hex(&["00002710", "02 02", "'t'", "02 00000000"]));
        let length = u8::try_from(records.len() + 1).unwrap();
        assert!(length < 128, "one byte of varint");
        request.push(length);
        request.extend_from_slice(records);
        request.extend_from_slice(&hex(&["00 00 00"]));
    }
    request
}

/// Fetch from `offset` on, at most `max_bytes`, without waiting.
fn fetch(version: i16, offset: i64, max_bytes: i32) -> Vec<u8> {
    let mut request = hex(&["0001"]);
    request.extend_from_slice(&version.to_be_bytes());
    request.extend_from_slice(&hex(&["00000001 ffff"]));
    let flexible = version >= 12;
    if flexible {
        request.push(0);
    }
    request.extend_from_slice(&hex(&["ffffffff 00000000 00000001"]));
    request.extend_from_slice(&max_bytes.to_be_bytes());
    request.push(0); // read uncommitted
    if version >= 7 {
        request.extend_from_slice(&hex(&["00000000 ffffffff"])); // no session
    }
    let topic = match flexible {
        true => hex(&["02 02", "'t'", "02 00000000"]),
        false => hex(&["00000001 0001", "'t'", "00000001 00000000"]),
    };
    request.extend_from_slice(&topic);
    if version >= 9 {
        request.extend_from_slice(&hex(&["ffffffff"])); // any leader epoch
    }
    request.extend_from_slice(&offset.to_be_bytes());
    if flexible {
        request.extend_from_slice(&hex(&["ffffffff"])); // last fetched epoch
    }
    if version >= 5 {
        request.extend_from_slice(&hex(&["ffffffffffffffff"])); // log start: a follower's
    }
    request.extend_from_slice(&max_bytes.to_be_bytes());
    let end: &[&str] = match version {
        12.. => &["00 00", "01", "01", "00"],
        11 => &["00000000", "0000"],
        7..=10 => &["00000000"],
        _ => &[],
    };
    request.extend_from_slice(&hex(end));
    request
}

#[track_caller]
fn expect(connection: &mut Raw, request: &[u8], answer: &[&str]) {
    assert_eq!(show(&connection.ask(request)), show(&hex(answer)));
}

#[test]
fn produce_answers_in_every_version() {
    let broker = Single::start();
    let mut connection = broker.topic().connect();
    let records = batch(NOBODY, &[b"a", b"b"]);
    let mut base = 0_i64;
    for version in 3..=11_i16 {
        for acks in [1, -1] {
            let offset = format!("{base:016x}");
            let partition = ["00000000 0000", &offset, "ffffffffffffffff"]; // no append time
            let v3 = [
                &["00000001", "00000001 0001", "'t'", "00000001"][..],
                &partition,
            ]
            .concat();
            let throttle: &[&str] = &["00000000"];
            let log_start: &[&str] = &["0000000000000000"];
            let answer: Vec<&str> = match version {
                3 | 4 => [&v3[..], throttle].concat(),
                5..=7 => [&v3[..], log_start, throttle].concat(),
                8 => [&v3[..], log_start, &["00000000 ffff"], throttle].concat(),
                _ => {
                    let head = ["00000001 00", "02 02", "'t'", "02"];
                    let tail = ["01 00 00", "00", "00000000", "00"];
                    [&head[..], &partition, log_start, &tail].concat()
                }
            };
            expect(&mut connection, &produce(version, acks, &records), &answer);
            base += 2;
        }
    }
}

#[test]
fn records_come_back_byte_for_byte_but_for_offset_and_epoch() {
    let broker = Single::start();
    let mut connection = broker.topic().connect();
    let first = batch(NOBODY, &[b"a", b"b", b"c"]);
    let second = batch(NOBODY, &[b"d"]);
    for records in [&first, &second] {
        connection.ask(&produce(7, -1, records));
    }
    let stored = [stored(&first, 0, 0), stored(&second, 3, 0)];
    for version in 4..=12 {
        // Offset 1 is inside the first batch, which comes whole; so does the second.
        let answer = connection.ask(&fetch(version, 1, 1 << 20));
        assert!(
            answer.ends_with_records(&stored.concat(), version),
            "{version}"
        );
        // A first batch that is larger than the limit comes nevertheless, alone.
        let answer = connection.ask(&fetch(version, 0, 1));
        assert!(answer.ends_with_records(&stored[0], version), "{version}");
        let answer = connection.ask(&fetch(version, 3, 1));
        assert!(answer.ends_with_records(&stored[1], version), "{version}");
    }
}

trait EndsWithRecords {
    fn ends_with_records(&self, records: &[u8], version: i16) -> bool;
}

impl EndsWithRecords for Vec<u8> {
    /// The records with their length before them are the last field of the last partition.
    fn ends_with_records(&self, records: &[u8], version: i16) -> bool {
        let mut end = match version {
            12.. => {
                let length = records.len() + 1;
                vec![(length & 0x7f) as u8 | 0x80, (length >> 7) as u8]
            }
            _ => u32::try_from(records.len()).unwrap().to_be_bytes().to_vec(),
        };
        if version >= 12 && records.len() + 1 < 128 {
            end = vec![(records.len() + 1) as u8];
        }
        end.extend_from_slice(records);
        if version >= 12 {
            end.extend_from_slice(&[0, 0, 0]);
        }
        self.ends_with(&end)
    }
}

#[test]
fn a_fetch_at_the_watermark_is_empty_and_one_beyond_the_log_is_an_error() {
    let broker = Single::start();
    let mut connection = broker.topic().connect();
    connection.ask(&produce(7, -1, &batch(NOBODY, &[b"a"])));
    let v4 = [
        "00000001",
        "00000000", // throttle time
        "00000001 0001",
        "'t'",
        "00000001 00000000 0000 0000000000000001 0000000000000001", // HW and LSO are 1
        "ffffffff 00000000",                                        // no aborted, no records
    ];
    expect(&mut connection, &fetch(4, 1, 1 << 20), &v4);
    let v12 = [
        "00000001 00",
        "00000000 0000 00000000", // no error, no session
        "02 02",
        "'t'",
        "02 00000000 0000 0000000000000001 0000000000000001 0000000000000000",
        "00 ffffffff 01 00", // none aborted, no preferred replica, no records, no tags
        "00",
        "00",
    ];
    expect(&mut connection, &fetch(12, 1, 1 << 20), &v12);
    for offset in [2, -1, i64::MAX] {
        let answer = connection.ask(&fetch(4, offset, 1 << 20));
        let error = &answer[4 + 4 + 4 + 3 + 4 + 4..][..2];
        assert_eq!(error, [0, 1], "OFFSET_OUT_OF_RANGE at {offset}");
    }
}

#[test]
fn acks_0_has_no_answer_and_keeps_its_place() {
    let broker = Single::start();
    let mut connection = broker.topic().connect();
    connection.send(&produce(7, 0, &batch(NOBODY, &[b"a"])));
    connection.send(&produce(7, 1, &batch(NOBODY, &[b"b"])));
    let answer = connection.receive();
    // The offset behind that of the record that nobody was told about.
    let offset = &answer[4 + 4 + 3 + 4 + 4 + 2..][..8];
    assert_eq!(offset, 1_i64.to_be_bytes());
}

#[test]
fn a_timeout_is_for_acks_all_only() {
    let broker = Single::start();
    let mut connection = broker.topic().connect();
    let with_timeout = |acks, timeout: i32| {
        let mut request = produce(7, acks, &batch(NOBODY, &[b"a"]));
        request[14..18].copy_from_slice(&timeout.to_be_bytes());
        request
    };
    for offset in 0..10_u8 {
        connection.send(&with_timeout(0, 0));
        let timeout = if offset % 2 == 0 { 0 } else { -1 };
        let answer = connection.ask(&with_timeout(1, timeout));
        // Correlation id, one topic "t", one partition 0; then the error and the base offset.
        let outcome = &answer[4 + 4 + 3 + 4 + 4..][..10];
        assert_eq!(outcome, [0, 0, 0, 0, 0, 0, 0, 0, 0, 2 * offset + 1]);
    }
}

#[test]
fn a_corrupt_batch_is_refused_alone_and_with_acks_0_it_closes() {
    let broker = Single::start();
    let mut connection = broker.topic().connect();
    let mut corrupt = batch(NOBODY, &[b"a"]);
    *corrupt.last_mut().unwrap() ^= 1;
    let answer = connection.ask(&produce(3, 1, &corrupt));
    let error = &answer[4 + 4 + 3 + 4 + 4..][..2];
    assert_eq!(error, [0, 2], "CORRUPT_MESSAGE");
    connection.ask(&produce(3, 1, &batch(NOBODY, &[b"a"])));
    connection.send(&produce(3, 0, &corrupt));
    assert!(connection.is_closed());
}

#[test]
fn a_repeated_batch_gets_its_first_offset_and_a_gap_error_45() {
    let broker = Single::start();
    let mut connection = broker.topic().connect();
    let outcome = |answer: Vec<u8>| -> (u16, i64) {
        let at = 4 + 4 + 3 + 4 + 4;
        let error = u16::from_be_bytes(answer[at..at + 2].try_into().unwrap());
        (
            error,
            i64::from_be_bytes(answer[at + 2..at + 10].try_into().unwrap()),
        )
    };
    let idempotent = |sequence| produce(7, -1, &batch(Producer(0, 0, sequence), &[b"a", b"b"]));
    assert_eq!(outcome(connection.ask(&idempotent(0))), (0, 0));
    assert_eq!(outcome(connection.ask(&idempotent(2))), (0, 2));
    assert_eq!(outcome(connection.ask(&idempotent(0))), (0, 0));
    assert_eq!(outcome(connection.ask(&idempotent(5))).0, 45);
    assert_eq!(outcome(connection.ask(&idempotent(4))), (0, 4));
}

#[test]
fn list_offsets_of_a_partition_named_twice_is_refused() {
    let broker = Single::start();
    let mut connection = broker.topic().connect();
    connection.ask(&produce(7, -1, &batch(NOBODY, &[b"a", b"b"])));
    // v1, by a time that no record has: three times the same, and one that there is not.
    let same = ["00000000 7ffffffffffffffe"; 3].concat();
    let request = [
        "0002 0001 00000002 ffff",
        "ffffffff",
        "00000001 0001",
        "'t'",
        "00000004",
        &same,
        "00000001 7ffffffffffffffe",
    ];
    let nothing = "ffffffffffffffff ffffffffffffffff";
    let refused = ["00000000 002a", nothing].concat().repeat(3);
    let answer = [
        "00000002",
        "00000001 0001",
        "'t'",
        "00000004",
        &refused,
        "00000001 0003",
        nothing,
    ];
    expect(&mut connection, &hex(&request), &answer);
}

#[test]
fn list_offsets_and_epochs() {
    let broker = Single::start();
    let mut connection = broker.topic().connect();
    connection.ask(&produce(7, -1, &batch(NOBODY, &[b"a", b"b"])));
    // v1, latest.
    let ask = |timestamp: &str| {
        let front = [
            "0002 0001 00000002 ffff",
            "ffffffff",
            "00000001 0001",
            "'t'",
        ];
        hex(&[&front[..], &["00000001 00000000", timestamp]].concat())
    };
    let answer = |time: &'static str, offset: &'static str| {
        [
            "00000002",
            "00000001 0001",
            "'t'",
            "00000001 00000000 0000",
            time,
            offset,
        ]
    };
    let none = "ffffffffffffffff";
    expect(
        &mut connection,
        &ask(none),
        &answer(none, "0000000000000002"),
    );
    expect(
        &mut connection,
        &ask("fffffffffffffffe"),
        &answer(none, "0000000000000000"),
    );
    // v7, latest, flexible: with the leader's epoch.
    let request = [
        "0002 0007 00000002 ffff 00",
        "ffffffff 00 02 02",
        "'t'",
        "02 00000000 ffffffff ffffffffffffffff 00 00 00",
    ];
    let v7 = [
        "00000002 00",
        "00000000 02 02",
        "'t'",
        "02 00000000 0000",
        none,
        "0000000000000002 00000000 00 00 00",
    ];
    expect(&mut connection, &hex(&request), &v7);
    // OffsetForLeaderEpoch v3: epoch 0 ends at 2.
    let request = [
        "0017 0003 00000017 ffff",
        "ffffffff 00000001 0001",
        "'t'",
        "00000001 00000000 00000000 00000000",
    ];
    let v3 = [
        "00000017",
        "00000000 00000001 0001",
        "'t'",
        "00000001 0000 00000000 00000000 0000000000000002",
    ];
    expect(&mut connection, &hex(&request), &v3);
}
