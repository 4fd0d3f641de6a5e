//! Work on as many cores as there are, split so that the result never depends on how many.

use std::num::NonZero;
use std::thread;

/// Cores that this process may use.
pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// Does each part on a thread of its own, the last on this one; results in the order of the parts.
pub(crate) fn each<T: Send, R: Send>(parts: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let work = &work;
    let mut parts = parts.into_iter();
    let last = parts.next_back();
    thread::scope(|scope| {
        let others: Vec<_> = parts.map(|part| scope.spawn(move || work(part))).collect();
        let last = last.map(work);
        let mut results: Vec<R> = others
            .into_iter()
            .map(|other| match other.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            })
            .collect();
        results.extend(last);
        results
    })
}

/// Does each of two things, at the same time where there are two cores.
pub(crate) fn both<A: Send, B: Send>(
    one: impl FnOnce() -> A + Send,
    other: impl FnOnce() -> B,
) -> (A, B) {
    if cores() == 1 {
        return (one(), other());
    }
    thread::scope(|scope| {
        let one = scope.spawn(one);
        let other = other();
        match one.join() {
            Ok(one) => (one, other),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Deals items out in turn to so many hands.
pub(crate) fn dealt<T>(items: impl IntoIterator<Item = T>, hands: usize) -> Vec<Vec<T>> {
    let mut dealt: Vec<Vec<T>> = Vec::new();
    dealt.resize_with(hands.max(1), Vec::new);
    for (at, item) in items.into_iter().enumerate() {
        dealt[at % hands.max(1)].push(item);
    }
    dealt
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_stand_in_the_order_of_the_parts() {
        let hands = dealt(0..10, 3);
        assert_eq!(hands, [vec![0, 3, 6, 9], vec![1, 4, 7], vec![2, 5, 8]]);
        let sums = each(hands, |hand| hand.into_iter().sum::<i32>());
        assert_eq!(sums, [18, 12, 15]);
        assert_eq!(each(Vec::<i32>::new(), |n| n), Vec::<i32>::new());
        assert_eq!(both(|| 1, || 2), (1, 2));
    }
}
