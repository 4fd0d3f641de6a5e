//! Record batches as a producer sends them, written down field by field.

/// Who produced a batch: id, epoch and first sequence number.
#[derive(Clone, Copy)]
pub struct Producer(pub i64, pub i16, pub i32);

pub const NOBODY: Producer = Producer(-1, -1, -1);

/// A batch of format 2 with one record for each value.
pub fn batch(producer: Producer, values: &[&[u8]]) -> Vec<u8> {
    let count = i32::try_from(values.len()).expect("few");
    let mut crc_part = Vec::new();
    crc_part.extend_from_slice(&0_i16.to_be_bytes()); // attributes
    crc_part.extend_from_slice(&(count - 1).to_be_bytes()); // last offset delta
    crc_part.extend_from_slice(&1_000_i64.to_be_bytes()); // base timestamp
    crc_part.extend_from_slice(&1_000_i64.to_be_bytes()); // max timestamp
    crc_part.extend_from_slice(&producer.0.to_be_bytes());
    crc_part.extend_from_slice(&producer.1.to_be_bytes());
    crc_part.extend_from_slice(&producer.2.to_be_bytes());
    crc_part.extend_from_slice(&count.to_be_bytes());
    for (delta, value) in values.iter().enumerate() {
        let mut record = vec![0]; // attributes
        record.push(0); // timestamp delta
        varint(&mut record, delta);
        record.push(1); // key: null
        varint(&mut record, value.len());
        record.extend_from_slice(value);
        record.push(0); // headers
        varint(&mut crc_part, record.len());
        crc_part.extend_from_slice(&record);
    }
    let mut batch = Vec::new();
    batch.extend_from_slice(&0_i64.to_be_bytes()); // base offset
    let length = i32::try_from(4 + 1 + 4 + crc_part.len()).expect("small");
    batch.extend_from_slice(&length.to_be_bytes());
    batch.extend_from_slice(&(-1_i32).to_be_bytes()); // leader epoch
    batch.push(2); // magic
    batch.extend_from_slice(&crc32c::crc32c(&crc_part).to_be_bytes());
    batch.extend_from_slice(&crc_part);
    batch
}

/// As it is stored: with its base offset and the leader's epoch. The rest, CRC included, stays.
pub fn stored(batch: &[u8], base_offset: i64, leader_epoch: i32) -> Vec<u8> {
    let mut batch = batch.to_vec();
    batch[..8].copy_from_slice(&base_offset.to_be_bytes());
    batch[12..16].copy_from_slice(&leader_epoch.to_be_bytes());
    batch
}

/// A varint of a value that is not negative, zigzagged.
fn varint(out: &mut Vec<u8>, value: usize) {
    let mut zigzag = value << 1;
    while zigzag >= 0x80 {
        out.push((zigzag & 0x7f) as u8 | 0x80);
        zigzag >>= 7;
    }
    out.push(zigzag as u8);
}
