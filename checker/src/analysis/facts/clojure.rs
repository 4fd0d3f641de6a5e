//! The order in which Clojure lists a set of integers, or of lists of integers.
//!
//! Where an offset holds several messages, jepsen.tests.kafka goes on with "the first" of a hash
//! set; of several longest reads Elle goes on with the last. To agree with them to the letter, we
//! pick the same one: Clojure hashes a long by Murmur3, a vector by folding its elements, and walks
//! its trie five bits at a time, the lowest first.

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

/// The place of a vector of integers in a Clojure set; 0 where an element is none.
pub(crate) fn list_place(list: impl ExactSizeIterator<Item = Value>) -> u64 {
    let count = list.len() as u32;
    let folded = list
        .map(Value::as_integer)
        .try_fold(1u32, |folded, integer| {
            Some(folded.wrapping_mul(31).wrapping_add(hash(integer?)))
        });
    folded.map_or(0, |folded| trie_place(finish(mix(0, folded), count)))
}

fn place(integer: i64) -> u64 {
    trie_place(hash(integer))
}

fn trie_place(hash: u32) -> u64 {
    (0..7).fold(0, |place, level| {
        place << 5 | u64::from(hash >> (5 * level) & 31)
    })
}

/// `clojure.lang.Murmur3.hashLong`.
pub(crate) fn hash(integer: i64) -> u32 {
    if integer == 0 {
        return 0;
    }
    let bits = integer as u64;
    finish(mix(mix(0, bits as u32), (bits >> 32) as u32), 8)
}

/// One round of Murmur3.
fn mix(hash: u32, word: u32) -> u32 {
    let mixed = word
        .wrapping_mul(0xcc9e_2d51)
        .rotate_left(15)
        .wrapping_mul(0x1b87_3593);
    (hash ^ mixed)
        .rotate_left(13)
        .wrapping_mul(5)
        .wrapping_add(0xe654_6b64)
}

/// The end of Murmur3 over so many bytes (Clojure takes a collection's count for them).
fn finish(hash: u32, length: u32) -> u32 {
    let hash = hash ^ length;
    let hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    let hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
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
        // user=> (seq (set [[1] [2] [1 2] [2 1] [3 4 5]]))
        let mut lists = vec![vec![1], vec![2], vec![1, 2], vec![2, 1], vec![3, 4, 5]];
        let value = |&integer: &i64| Value::inline(integer).expect("small");
        lists.sort_by_key(|list: &Vec<i64>| list_place(list.iter().map(value)));
        assert_eq!(
            lists,
            [vec![3, 4, 5], vec![2, 1], vec![2], vec![1, 2], vec![1]]
        );
    }
}
