//! Tests of the batch header view and of what is refused from a producer.

use proptest::prelude::*;

use super::*;
use crate::log::tests::support::{batch, batch_of, cases};

const LIMIT: usize = 10_000;

/// The batch with some bytes changed and the CRC made right again.
fn changed(change: impl FnOnce(&mut [u8])) -> Bytes {
    let mut bytes = batch_of(&[b"a", b"b", b"c"], 1000).to_vec();
    change(&mut bytes);
    let crc = crc32c::crc32c(&bytes[CRC_START..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes.into()
}

fn refused(bytes: &Bytes) -> BatchError {
    ProducedBatch::validate(bytes.clone(), LIMIT).unwrap_err()
}

#[test]
fn a_header_is_read_field_by_field() {
    let bytes = changed(|bytes| {
        bytes[21..23].copy_from_slice(&0b01_0100i16.to_be_bytes());
        bytes[43..51].copy_from_slice(&77i64.to_be_bytes());
        bytes[51..53].copy_from_slice(&5i16.to_be_bytes());
        bytes[53..57].copy_from_slice(&(i32::MAX - 1).to_be_bytes());
    });
    let batch = ProducedBatch::validate(bytes.clone(), LIMIT).unwrap();
    let header = batch.header();
    assert_eq!((header.size, batch.bytes()), (bytes.len(), &bytes));
    assert_eq!((header.base_timestamp, header.max_timestamp), (1000, 1002));
    assert_eq!((header.record_count, header.last_offset_delta), (3, 2));
    assert_eq!((header.compression(), header.is_transactional()), (4, true));
    assert!(!header.is_control() && !header.is_log_append_time());
    let producer = (
        header.producer_id.get(),
        header.producer_epoch.get(),
        header.base_sequence,
    );
    assert_eq!(producer, (77, 5, i32::MAX - 1));
    assert_eq!(header.last_sequence(), 0, "sequence numbers wrap to 0");
    assert_eq!(
        (header.last_offset(), header.next_offset()),
        (Offset(2), Offset(3))
    );
}

#[test]
fn patching_leaves_everything_under_the_crc_alone() {
    let bytes = batch(1, 3, 50);
    let mut patched = BytesMut::from(&bytes[..]);
    patch(&mut patched, Offset(1 << 40), LeaderEpoch(9));
    let header = check(&patched).unwrap();
    assert_eq!(
        (header.base_offset, header.leader_epoch),
        (Offset(1 << 40), LeaderEpoch(9))
    );
    assert_eq!(patched[16..], bytes[16..]);
    assert_eq!(patched[8..12], bytes[8..12]);
}

#[test]
fn each_fault_has_its_kafka_error() {
    let good = changed(|_| {});
    assert!(ProducedBatch::validate(good.clone(), LIMIT).is_ok());
    let twice = Bytes::from([&good[..], &good[..]].concat());
    let mut flipped = good.to_vec();
    flipped[30] ^= 1;
    let set = |at: usize, value: &[u8]| {
        changed(|bytes| bytes[at..at + value.len()].copy_from_slice(value))
    };
    let cases: &[(&str, Bytes, i16)] = &[
        ("nothing", Bytes::new(), 87),
        ("a header cut short", good.slice(..60), 2),
        ("records cut short", good.slice(..good.len() - 1), 2),
        ("format 1", set(16, &[1]), 43),
        ("a length below the header", set(8, &10i32.to_be_bytes()), 2),
        ("a negative length", set(8, &(-1i32).to_be_bytes()), 2),
        (
            "a length near the end of i32",
            set(8, &i32::MAX.to_be_bytes()),
            10,
        ),
        ("a flipped bit", flipped.into(), 2),
        ("a batch above the limit", batch(1, 1, LIMIT), 10),
        ("two batches", twice, 87),
        ("no records", set(57, &0i32.to_be_bytes()), 87),
        (
            "a count that is not the offsets'",
            set(57, &2i32.to_be_bytes()),
            87,
        ),
        (
            "a negative offset delta",
            set(23, &(-1i32).to_be_bytes()),
            87,
        ),
        ("control records", set(21, &32i16.to_be_bytes()), 87),
        (
            "a producer id without a sequence",
            set(43, &7i64.to_be_bytes()),
            87,
        ),
        (
            "transactional without a producer id",
            set(21, &16i16.to_be_bytes()),
            87,
        ),
        ("an unknown codec", set(21, &5i16.to_be_bytes()), 87),
        ("a broker's timestamps", set(21, &8i16.to_be_bytes()), 32),
    ];
    for (what, bytes, code) in cases {
        assert_eq!(refused(bytes).code(), *code, "{what}: {}", refused(bytes));
    }
}

#[test]
fn headers_walk_several_batches_and_stop_at_the_first_fault() {
    let (first, second) = (batch(1, 2, 10), batch(2, 3, 20));
    let both = [&first[..], &second[..]].concat();
    let counts = |bytes: &[u8]| -> Vec<Option<i32>> {
        headers(bytes)
            .map(|header| header.ok().map(|header| header.record_count))
            .collect()
    };
    assert_eq!(counts(&both), [Some(2), Some(3)]);
    assert_eq!(counts(&both[..both.len() - 1]), [Some(2), None]);
    assert_eq!(counts(&[]), []);
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn any_bytes_are_a_batch_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = ProducedBatch::validate(bytes.clone().into(), LIMIT);
        prop_assert!(headers(&bytes).count() <= 1 + bytes.len() / HEADER_LEN);
    }

    #[test]
    fn any_flipped_bit_but_of_offset_and_epoch_is_noticed(bit in 0..8 * 91usize) {
        let bytes = batch_of(&[b"a", b"b", b"c"], 1000);
        let bit = bit % (bytes.len() * 8);
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let outside = bit / 8 < 8 || (12..16).contains(&(bit / 8));
        prop_assert_eq!(ProducedBatch::validate(flipped.into(), LIMIT).is_ok(), outside);
    }
}
