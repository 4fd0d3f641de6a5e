//! The order in which Elle's graph library walks a set of operations.
//!
//! Elle takes the first cycle that its search comes across, so which one that is depends on the
//! order in which vertices are listed. Sets of operations are hash tries (Steindorfer and Vinju,
//! OOPSLA 2015): five bits of the hash a level, the lowest first; a node lists the entries that are
//! alone in their slot, then its children. The hash of an operation is that of its index. Of
//! operations whose hashes are equal the one with the lower number comes first here.

use super::super::super::facts::clojure;

/// An operation's place in every trie: the hash of its index, scattered once more.
pub fn place(index: i64) -> u32 {
    let hash = clojure::hash(index);
    // A negative hash is widened to 64 bits, whose halves are folded together.
    let folded = if hash >> 31 == 1 { !hash } else { hash };
    let once = folded ^ (folded >> 20) ^ (folded >> 12);
    once ^ (once >> 7) ^ (once >> 4)
}

/// Puts a set's members in the order in which it lists them.
pub fn arrange<T: Copy + Ord>(members: &mut [T], place: &impl Fn(T) -> u32) {
    members.sort_unstable();
    level(members, place, 0);
}

const BITS: u32 = 5;

fn level<T: Copy + Ord>(members: &mut [T], place: &impl Fn(T) -> u32, shift: u32) {
    if members.len() < 2 || shift >= u32::BITS {
        return;
    }
    let slot = |member: T| (place(member) >> shift & 31) as usize;
    let mut counts = [0u32; 32];
    members.iter().for_each(|&member| counts[slot(member)] += 1);
    members.sort_by_key(|&member| (counts[slot(member)] > 1, slot(member)));
    let alone = counts.iter().filter(|&&count| count == 1).count();
    let mut rest = &mut members[alone..];
    while let Some(&first) = rest.first() {
        let (child, others) = rest.split_at_mut(counts[slot(first)] as usize);
        level(child, place, shift + BITS);
        rest = others;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Elle itself lists, for the odd indices below 142.
    const LISTED: [i64; 71] = [
        71, 141, 35, 47, 109, 99, 43, 41, 91, 89, 77, 39, 95, 53, 51, 111, 87, 97, 93, 131, 73, 21,
        123, 63, 101, 9, 19, 107, 5, 55, 23, 117, 11, 61, 1, 83, 103, 139, 29, 7, 85, 3, 67, 75,
        13, 69, 17, 31, 57, 81, 127, 65, 79, 115, 33, 121, 37, 125, 45, 129, 25, 133, 105, 15, 137,
        49, 59, 113, 119, 27, 135,
    ];

    #[test]
    fn a_set_is_listed_as_elle_lists_it() {
        let mut members: Vec<i64> = (1..142).step_by(2).collect();
        arrange(&mut members, &place);
        assert_eq!(members, LISTED);
    }

    #[test]
    fn equal_hashes_end() {
        let mut members = [3, 1, 2];
        arrange(&mut members, &|_| 7);
        assert_eq!(members, [1, 2, 3]);
    }
}
