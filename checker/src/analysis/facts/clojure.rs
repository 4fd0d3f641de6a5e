//! The order in which Clojure lists a set of integers.
//!
//! Where an offset holds several messages, jepsen.tests.kafka goes on with "the first" of a hash
//! set. To agree with it to the letter, its dialect picks the same one: Clojure hashes a long by
//! Murmur3 and walks its trie five bits at a time, the lowest first.

use std::cmp::Ordering;

use crate::history::{Value, Values};

/// Compares two values by their place in a Clojure set. Values that are not integers stand behind
/// integers, in an order of our own.
pub(crate) fn compare(values: &Values, a: Value, b: Value) -> Ordering {
    let place = |value: Value| value.as_integer().map(place);
    match (place(a), place(b)) {
        (Some(x), Some(y)) => x.cmp(&y).then_with(|| values.compare(a, b)),
        _ => values.compare(a, b),
    }
}

fn place(integer: i64) -> u64 {
    let hash = hash(integer);
    (0..7).fold(0, |place, level| {
        place << 5 | u64::from(hash >> (5 * level) & 31)
    })
}

/// `clojure.lang.Murmur3.hashLong`.
fn hash(integer: i64) -> u32 {
    if integer == 0 {
        return 0;
    }
    let bits = integer as u64;
    let mut hash = 0u32;
    for half in [bits as u32, (bits >> 32) as u32] {
        let mixed = half
            .wrapping_mul(0xcc9e_2d51)
            .rotate_left(15)
            .wrapping_mul(0x1b87_3593);
        hash = (hash ^ mixed)
            .rotate_left(13)
            .wrapping_mul(5)
            .wrapping_add(0xe654_6b64);
    }
    hash ^= 8;
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_clojure_prints_it() {
        // user=> (seq (set (range 10)))
        let mut integers: Vec<i64> = (0..10).collect();
        integers.sort_by_key(|&integer| place(integer));
        assert_eq!(integers, [0, 7, 1, 4, 6, 3, 2, 9, 5, 8]);
    }
}
