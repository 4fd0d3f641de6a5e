//! Axes: which values a plot spans, where its ticks stand, and what is written at them.

use crate::report::text::{axis_number, duration};

/// Values of a y axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scale {
    /// From the first to the second value, in equal steps of the third.
    Linear {
        /// Lowest value.
        from: f64,
        /// Highest value.
        to: f64,
        /// Distance of ticks.
        step: f64,
    },
    /// Durations in ns by powers of ten.
    Log {
        /// Lowest value: a power of ten.
        from: f64,
        /// Highest value.
        to: f64,
    },
}

impl Scale {
    /// A linear scale with round ticks that spans 0 and all of `low..=high`.
    #[must_use]
    pub fn linear(low: f64, high: f64) -> Scale {
        let (low, high) = (low.min(0.0), high.max(0.0));
        let span = (high - low).max(1.0);
        let raw = span / 4.0;
        let decade = 10f64.powf(raw.log10().floor());
        let step = [1.0, 2.0, 2.5, 5.0, 10.0]
            .into_iter()
            .map(|factor| factor * decade)
            .find(|step| *step >= raw * 0.999)
            .unwrap_or(10.0 * decade)
            .max(1.0);
        Scale::Linear {
            from: (low / step).floor() * step,
            to: (high / step).ceil().max(1.0) * step,
            step,
        }
    }

    /// The same scale, reaching down to `low` at least; ticks stay where they are.
    #[must_use]
    pub fn reaching(self, low: f64) -> Scale {
        match self {
            Scale::Linear { from, to, step } => Scale::Linear {
                from: from.min(low),
                to,
                step,
            },
            log @ Scale::Log { .. } => log,
        }
    }

    /// A scale by powers of ten for durations of `low..=high` ns.
    #[must_use]
    pub fn log(low: i64, high: i64) -> Scale {
        let from = 10f64.powf((low.max(1) as f64).log10().floor());
        let to = (high.max(2) as f64 * 1.15).max(from * 10.0);
        Scale::Log { from, to }
    }

    /// Where a value lies between the lowest (0) and the highest (1).
    #[must_use]
    pub fn share(&self, value: f64) -> f64 {
        let share = match *self {
            Scale::Linear { from, to, .. } => (value - from) / (to - from),
            Scale::Log { from, to } => (value.max(from) / from).log10() / (to / from).log10(),
        };
        share.clamp(0.0, 1.0)
    }

    /// Values at which a line is drawn.
    #[must_use]
    pub fn ticks(&self) -> Vec<f64> {
        match *self {
            Scale::Linear { from, to, step } => {
                let first = (from / step).ceil() as i64;
                let last = (to / step).round() as i64;
                (first..=last).map(|n| n as f64 * step).collect()
            }
            Scale::Log { from, to } => {
                let decades = (to / from).log10().floor() as i32;
                // With many decades only every other is named.
                let every = if decades > 6 { 2 } else { 1 };
                (0..=decades)
                    .step_by(every)
                    .map(|n| from * 10f64.powi(n))
                    .collect()
            }
        }
    }

    /// What is written at a tick.
    #[must_use]
    pub fn label(&self, tick: f64) -> String {
        match self {
            Scale::Linear { .. } => axis_number(tick.abs()),
            Scale::Log { .. } => duration(tick.round() as i64),
        }
    }
}

/// Moments at which the time axis has ticks: at most a dozen.
#[must_use]
pub fn time_ticks(end: i64) -> Vec<i64> {
    const MS: i64 = 1_000_000;
    const S: i64 = 1_000 * MS;
    let steps = [
        MS,
        2 * MS,
        5 * MS,
        10 * MS,
        20 * MS,
        50 * MS,
        100 * MS,
        200 * MS,
        500 * MS,
        S,
        2 * S,
        5 * S,
        10 * S,
        20 * S,
        30 * S,
        60 * S,
        120 * S,
        300 * S,
        600 * S,
        1_200 * S,
        1_800 * S,
        3_600 * S,
        7_200 * S,
        21_600 * S,
        86_400 * S,
    ];
    let step = steps
        .into_iter()
        .find(|step| end / step <= 12)
        .unwrap_or(end / 10);
    (0..=end / step).map(|n| n * step).collect()
}

/// What is written at a tick of the time axis.
#[must_use]
pub fn time_label(ns: i64) -> String {
    if ns == 0 {
        return "0 s".to_owned();
    }
    duration(ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_scales_have_few_round_ticks_and_span_their_values() {
        for high in [0.0, 1.0, 3.0, 17.0, 104_212.0, 9.9e9] {
            let scale = Scale::linear(-high / 3.0, high);
            let ticks = scale.ticks();
            assert!((2..=9).contains(&ticks.len()), "{high}: {ticks:?}");
            assert!(ticks.iter().any(|tick| tick.abs() < 1e-9), "{high}");
            assert!(ticks[ticks.len() - 1] >= high, "{high}");
        }
    }

    #[test]
    fn log_scales_put_powers_of_ten_at_equal_distances() {
        let scale = Scale::log(2_000_000, 80_000_000);
        let labels: Vec<String> = scale.ticks().iter().map(|t| scale.label(*t)).collect();
        assert_eq!(labels, ["1 ms", "10 ms"]);
        assert_eq!(scale.share(0.0), 0.0);
        assert!(scale.share(80e6) < 1.0);
    }

    #[test]
    fn time_has_at_most_a_dozen_ticks() {
        for end in [1, 60_000_000_000, 5_400_000_000_000, i64::MAX] {
            assert!(time_ticks(end).len() <= 13, "{end}");
        }
        assert_eq!(time_label(90_000_000_000), "90 s");
        assert_eq!(time_label(240_000_000_000), "4 min 0 s");
    }
}
