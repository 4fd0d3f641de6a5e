//! Keys dealt out to threads: each of them walks the whole history and looks at its own keys only.
//!
//! What is derived of one key does not depend on others, so the result is the same however many
//! hands there are.

use crate::history::{History, KeyId};
use crate::parallel;

/// Below so many operations threads are not worth their start.
const OPERATIONS_MIN: usize = 1 << 14;

/// How many hands there are: a power of two, so that finding a key's costs next to nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hands {
    log2: u32,
}

impl Hands {
    /// As many as there are cores and keys for.
    pub fn of(history: &History) -> Hands {
        let most = parallel::cores().min(history.keys().len()).max(1);
        match history.ops().len() < OPERATIONS_MIN {
            true => Hands { log2: 0 },
            false => Hands { log2: most.ilog2() },
        }
    }

    /// How many.
    pub fn count(self) -> usize {
        1 << self.log2
    }

    /// Which of them a key belongs to.
    #[inline]
    pub fn hand(self, key: KeyId) -> usize {
        key.at() & (self.count() - 1)
    }

    /// The key's place among those of its hand.
    #[inline]
    pub fn place(self, key: KeyId) -> usize {
        key.at() >> self.log2
    }

    /// Deals out one thing for each key, in the order of the keys.
    pub fn deal<T>(self, of_keys: impl IntoIterator<Item = T>) -> Vec<Vec<T>> {
        parallel::dealt(of_keys, self.count())
    }

    /// Puts what was dealt out in the order of the keys again.
    pub fn gather<T>(self, dealt: Vec<Vec<T>>) -> impl Iterator<Item = T> {
        let mut dealt: Vec<_> = dealt.into_iter().map(Vec::into_iter).collect();
        let mut turn = 0;
        std::iter::from_fn(move || {
            let next = dealt[turn].next();
            turn = (turn + 1) % dealt.len();
            next
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dealt_is_gathered_in_order() {
        for log2 in 0..4 {
            let hands = Hands { log2 };
            for count in 0..20 {
                let dealt = hands.deal((0..count).map(KeyId));
                for (hand, keys) in dealt.iter().enumerate() {
                    for (place, &key) in keys.iter().enumerate() {
                        assert_eq!((hands.hand(key), hands.place(key)), (hand, place));
                    }
                }
                let gathered: Vec<_> = hands.gather(dealt).collect();
                assert_eq!(gathered, (0..count).map(KeyId).collect::<Vec<_>>());
            }
        }
    }
}
