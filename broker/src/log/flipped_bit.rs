//! PURE: one flipped bit, found by its CRC.
//!
//! CRC-32C tells all single flipped bits of up to 2^31 - 1 bits apart: what the CRC of the damaged
//! bytes has too much is another number for each place. So when undoing one flip makes the CRC
//! right, then either that was the damage, or more than one bit is wrong and happens to look like
//! it: one chance in 2^32 for each bit of the frame. Whoever uses it has to check the contents by
//! something else, too.

/// The polynomial of CRC-32C, as crc32c crates have it (reflected).
const POLYNOMIAL: u32 = 0x82f6_3b78;

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ POLYNOMIAL
            } else {
                crc >> 1
            };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

/// Undoes the one flip in `bytes` after which their CRC-32C is `crc`; returns in which byte it was,
/// or `None`, with the bytes as they were, where there is no such flip.
pub(super) fn undo(bytes: &mut [u8], crc: u32) -> Option<usize> {
    let surplus = crc32c::crc32c(bytes) ^ crc;
    // What a flip of each bit of the last byte, then of the one before it, and so on, adds.
    let mut adds: [u32; 8] = std::array::from_fn(|bit| TABLE[1 << bit]);
    for at in (0..bytes.len()).rev() {
        if let Some(bit) = adds.iter().position(|adds| *adds == surplus) {
            bytes[at] ^= 1 << bit;
            return Some(at);
        }
        for adds in &mut adds {
            *adds = (*adds >> 8) ^ TABLE[(*adds & 0xff) as usize];
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_single_flip_is_undone(
            bytes in proptest::collection::vec(any::<u8>(), 1..4096),
            place in any::<usize>(),
        ) {
            let crc = crc32c::crc32c(&bytes);
            let (at, bit) = (place % bytes.len(), place / bytes.len() % 8);
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            prop_assert_eq!(undo(&mut damaged, crc), Some(at));
            prop_assert_eq!(damaged, bytes);
        }

        #[test]
        fn two_flips_are_left_as_they_are(
            bytes in proptest::collection::vec(any::<u8>(), 2..512),
            (one, other) in (any::<usize>(), any::<usize>()),
        ) {
            let crc = crc32c::crc32c(&bytes);
            let bits = bytes.len() * 8;
            prop_assume!(one % bits != other % bits);
            let mut damaged = bytes;
            for place in [one % bits, other % bits] {
                damaged[place / 8] ^= 1 << (place % 8);
            }
            let before = damaged.clone();
            // At this length no two flips look like one.
            prop_assert_eq!(undo(&mut damaged, crc), None);
            prop_assert_eq!(damaged, before);
        }
    }
}
