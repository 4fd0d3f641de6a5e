//! PURE: which brokers hold the replicas of a new topic.
//!
//! Replicas are dealt out like cards: preferred leaders go round over the live brokers, going on
//! where the topic before left off, and the followers' order shifts with each round, so that the
//! leaderships of a broker that dies spread over the others (Kafka's
//! `AdminUtils.assignReplicasToBrokers`). Racks are deliberately absent.

use crate::types::BrokerId;

/// The replicas of `partitions` partitions, preferred leader first. `dealt` is the number of
/// partitions that were placed before. `brokers` are sorted and at least `replication_factor`.
#[must_use]
pub fn assign(
    brokers: &[BrokerId],
    dealt: usize,
    partitions: usize,
    replication_factor: usize,
) -> Vec<Vec<BrokerId>> {
    let n = brokers.len();
    assert!(
        (1..=n).contains(&replication_factor),
        "{replication_factor} replicas cannot be placed on {n} brokers"
    );
    (dealt..dealt + partitions)
        .map(|card| {
            let first = card % n;
            let shift = card / n;
            (0..replication_factor)
                .map(|replica| match replica {
                    0 => brokers[first],
                    _ => brokers[(first + 1 + (shift + replica - 1) % (n - 1)) % n],
                })
                .collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn brokers(ids: &[i32]) -> Vec<BrokerId> {
        ids.iter().copied().map(BrokerId).collect()
    }

    #[test]
    fn leaders_are_balanced_whatever_the_ids() {
        let ids = brokers(&[4, 17, 230]);
        let mut dealt = 0;
        let mut leaders: BTreeMap<BrokerId, usize> = BTreeMap::new();
        for partitions in [1, 6, 2, 1, 5] {
            for replicas in assign(&ids, dealt, partitions, 3) {
                *leaders.entry(replicas[0]).or_default() += 1;
                let distinct: BTreeSet<_> = replicas.iter().collect();
                assert_eq!(distinct.len(), 3, "{replicas:?}");
            }
            dealt += partitions;
        }
        assert_eq!(leaders.values().copied().collect::<Vec<_>>(), [5, 5, 5]);
    }

    #[test]
    fn the_leaderships_of_a_dead_broker_spread() {
        let ids = brokers(&[1, 2, 3]);
        let heirs: BTreeSet<_> = assign(&ids, 0, 6, 3)
            .into_iter()
            .filter(|replicas| replicas[0] == BrokerId(1))
            .map(|replicas| replicas[1])
            .collect();
        assert_eq!(heirs, BTreeSet::from([BrokerId(2), BrokerId(3)]));
    }

    #[test]
    fn replicas_are_distinct_for_every_size() {
        for n in 1..=7 {
            let ids: Vec<_> = (1..=n).map(BrokerId).collect();
            for rf in 1..=ids.len() {
                for replicas in assign(&ids, 5, 40, rf) {
                    assert_eq!(replicas.iter().collect::<BTreeSet<_>>().len(), rf);
                }
            }
        }
    }
}
