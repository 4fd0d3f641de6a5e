//! When a producer's batches are due.
//!
//! Open loop: the time at which a batch is due never depends on the cluster, so that a slow
//! cluster is not spared (coordinated omission); a producer that fell behind sends without pause
//! until it has caught up. Producers come in pairs: two batches that meet in the same partitions
//! at the same time are stored in an order that a retry elsewhere will hardly repeat, so that a
//! record which was read too early and then replaced differs from its replacement. Closed loop
//! (rate 0): the next batch follows the last one's end.

use std::time::Duration;

/// The times of one producer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Between two batches of one producer; none in closed loop.
    period: Option<Duration>,
    /// How far this pair's later batches are shifted against the first pair's.
    shift: Duration,
}

impl Pace {
    /// The pace of producer `number` of `producers`, that together are to send `rate` messages a
    /// second in batches of `batch`. A rate of 0 means closed loop.
    #[must_use]
    pub fn new(rate: f64, batch: usize, producers: u32, number: u32) -> Self {
        if rate <= 0.0 {
            return Self {
                period: None,
                shift: Duration::ZERO,
            };
        }
        let seconds = batch as f64 * f64::from(producers) / rate;
        // A day between batches is as good as never, and fits every clock.
        let period = Duration::from_secs_f64(seconds.min(86_400.0));
        let (pair, pairs) = (number / 2, producers.div_ceil(2));
        Self {
            period: Some(period),
            shift: period.mul_f64(f64::from(pair) / f64::from(pairs)),
        }
    }

    /// A batch in every period.
    #[must_use]
    pub fn every(period: Duration) -> Self {
        Self {
            period: Some(period),
            shift: Duration::ZERO,
        }
    }

    /// When batch `n`, counted from 0, is due, from the beginning of the main phase. All first
    /// batches are due at once: they meet partitions that nobody has written to.
    #[must_use]
    pub fn due(&self, n: u32) -> Duration {
        match self.period {
            Some(period) if n > 0 => period * n + self.shift,
            _ => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_all_producers_together() {
        let horizon = Duration::from_secs(100);
        let due = (0..4)
            .flat_map(|number| {
                let pace = Pace::new(4000.0, 5000, 4, number);
                (0..1000).map(move |n| pace.due(n))
            })
            .filter(|due| *due < horizon)
            .count();
        let messages = due * 5000;
        assert!((400_000..=425_000).contains(&messages), "{messages}");
    }

    #[test]
    fn first_batches_are_due_together_and_later_ones_in_pairs() {
        let dues = |n| -> Vec<Duration> {
            (0..4)
                .map(|number| Pace::new(4000.0, 5000, 4, number).due(n))
                .collect()
        };
        assert!(dues(0).iter().all(Duration::is_zero));
        let later = dues(3);
        assert_eq!((later[0], later[2]), (later[1], later[3]));
        assert_eq!(later[2] - later[0], Duration::from_millis(2500));
    }

    #[test]
    fn closed_loop_is_always_due() {
        let pace = Pace::new(0.0, 5000, 4, 2);
        assert_eq!(pace.due(17), Duration::ZERO);
    }
}
