//! Which messages a producer sends: a pure function of the seed and the producer's number.
//!
//! Values are unique in their partition without any talk between producers: producer `i` of `n`
//! uses the values that leave `i` when divided by `n`. A batch goes to all partitions or to a
//! random few, so that some batches do not touch the leader that the nemesis is after.

use std::ops::RangeInclusive;

use rand::Rng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;

use crate::clients::Outgoing;
use crate::seed::{self, Use};

/// What all plans of a run have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanSpec {
    /// The run's seed.
    pub seed: u64,
    /// Producers, probes included: how far apart the values of one are.
    pub writers: u32,
    /// Partitions of the topic.
    pub partitions: i32,
    /// Messages of a batch.
    pub batch: usize,
    /// Payload sizes in bytes, drawn log-uniformly: many small ones, some large.
    pub bytes: RangeInclusive<usize>,
}

/// The batches of one writer.
#[derive(Clone, Debug)]
pub struct Plan {
    spec: PlanSpec,
    writer: u32,
    rng: ChaCha8Rng,
    /// By partition, how many values this writer has used.
    used: Vec<i64>,
    first: bool,
    /// The one partition that it writes to, if it is bound to one.
    home: Option<i32>,
}

impl Plan {
    /// The plan of writer number `writer`, counted from 0.
    #[must_use]
    pub fn new(spec: &PlanSpec, writer: u32) -> Self {
        assert!(writer < spec.writers, "values of writers must not meet");
        assert!(spec.partitions > 0 && spec.batch > 0, "something to send");
        Self {
            spec: spec.clone(),
            writer,
            rng: seed::stream(spec.seed, Use::Batches, writer),
            used: vec![0; spec.partitions as usize],
            first: true,
            home: None,
        }
    }

    /// The same plan, but all of its batches go to one partition.
    #[must_use]
    pub fn bound_to(mut self, partition: i32) -> Self {
        assert!((0..self.spec.partitions).contains(&partition), "it exists");
        self.home = Some(partition);
        self
    }

    /// The next batch. The first one goes to every partition at once: first produces to a new
    /// partition that race with each other have a history of their own.
    pub fn next_batch(&mut self) -> Vec<Outgoing> {
        let mut partitions: Vec<i32> = match self.home {
            Some(home) => vec![home],
            None => (0..self.spec.partitions).collect(),
        };
        if !std::mem::take(&mut self.first) && self.rng.random_bool(0.5) {
            partitions.shuffle(&mut self.rng);
            let few = self.rng.random_range(1..=partitions.len());
            partitions.truncate(few);
        }
        (0..self.spec.batch)
            .map(|_| {
                let partition = partitions[self.rng.random_range(0..partitions.len())];
                self.message(partition)
            })
            .collect()
    }

    /// One message to each partition.
    pub fn one_each(&mut self) -> Vec<Outgoing> {
        (0..self.spec.partitions)
            .map(|partition| self.message(partition))
            .collect()
    }

    fn message(&mut self, partition: i32) -> Outgoing {
        let used = &mut self.used[partition as usize];
        let value = *used * i64::from(self.spec.writers) + i64::from(self.writer);
        *used += 1;
        Outgoing {
            partition,
            value,
            bytes: self.size(),
        }
    }

    fn size(&mut self) -> usize {
        let (min, max) = (*self.spec.bytes.start(), *self.spec.bytes.end());
        let (low, high) = ((min as f64).ln(), (max as f64).ln());
        let drawn = (low + (high - low) * self.rng.random::<f64>()).exp();
        (drawn.round() as usize).clamp(min, max)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn spec(seed: u64) -> PlanSpec {
        PlanSpec {
            seed,
            writers: 5,
            partitions: 6,
            batch: 5000,
            bytes: 100..=10_240,
        }
    }

    #[test]
    fn values_are_unique_in_their_partition_over_all_writers() {
        let mut seen = BTreeSet::new();
        for writer in 0..5 {
            let mut plan = Plan::new(&spec(9), writer);
            let mut messages = plan.next_batch();
            messages.extend(plan.one_each());
            messages.extend(plan.next_batch());
            assert_eq!(messages.len(), 10_006);
            for message in messages {
                assert!(seen.insert((message.partition, message.value)));
            }
        }
    }

    #[test]
    fn a_plan_is_a_function_of_the_seed() {
        let batches = |seed| {
            let mut plan = Plan::new(&spec(seed), 2);
            (plan.next_batch(), plan.next_batch())
        };
        assert_eq!(batches(1), batches(1));
        assert_ne!(batches(1), batches(2));
    }

    #[test]
    fn sizes_are_mixed_and_within_their_bounds() {
        let batch = Plan::new(&spec(3), 0).next_batch();
        let sizes: Vec<usize> = batch.iter().map(|message| message.bytes).collect();
        assert!(sizes.iter().all(|bytes| (100..=10_240).contains(bytes)));
        let mean = sizes.iter().sum::<usize>() / sizes.len();
        assert!((1800..2600).contains(&mean), "mean {mean}");
        assert!(sizes.iter().any(|bytes| *bytes < 150));
        assert!(sizes.iter().any(|bytes| *bytes > 9_000));
    }

    #[test]
    fn a_bound_plan_keeps_to_its_partition() {
        let mut plan = Plan::new(&spec(4), 1).bound_to(3);
        for _ in 0..10 {
            let batch = plan.next_batch();
            assert_eq!(batch.len(), 5000);
            assert!(batch.iter().all(|message| message.partition == 3));
        }
    }

    #[test]
    fn the_first_batch_goes_everywhere_and_some_later_ones_do_not() {
        let reach = |batch: &[Outgoing]| -> usize {
            batch
                .iter()
                .map(|m| m.partition)
                .collect::<BTreeSet<_>>()
                .len()
        };
        let mut plan = Plan::new(&spec(4), 1);
        assert_eq!(reach(&plan.next_batch()), 6);
        let reaches: BTreeSet<usize> = (0..30).map(|_| reach(&plan.next_batch())).collect();
        assert!(reaches.len() > 2, "{reaches:?}");
    }
}
