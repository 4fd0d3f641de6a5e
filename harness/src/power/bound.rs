//! How likely a run may be to fail, for all that the runs so far say: the exact upper bound of
//! C. J. Clopper and E. S. Pearson ("The use of confidence or fiducial limits illustrated in the
//! case of the binomial", Biometrika 26, 1934), one-sided. Without a failure in n runs it is
//! 1 - 0.05^(1/n), about 3/n.

/// The confidence of all bounds here.
pub const CONFIDENCE: f64 = 0.95;

/// The largest probability of a failure under which `failed` or fewer of `runs` would still be
/// seen with a probability of 1 - [`CONFIDENCE`]. 1 where there was no run.
#[must_use]
pub fn upper(failed: u64, runs: u64) -> f64 {
    if failed >= runs {
        return 1.0;
    }
    if failed == 0 {
        return 1.0 - (1.0 - CONFIDENCE).powf(1.0 / runs as f64);
    }
    let (mut low, mut high) = (0.0, 1.0);
    // The probability falls as p grows; 60 halvings are all that a double can tell apart.
    for _ in 0..60 {
        let p = f64::midpoint(low, high);
        if at_most(failed, runs, p) > 1.0 - CONFIDENCE {
            low = p;
        } else {
            high = p;
        }
    }
    high
}

/// The probability of `failed` or fewer failures in `runs`, each with probability `p`.
fn at_most(failed: u64, runs: u64, p: f64) -> f64 {
    let n = runs as f64;
    let mut log_term = n * (1.0 - p).ln();
    let mut sum = log_term.exp();
    for k in 1..=failed {
        let k = k as f64;
        log_term += ((n - k + 1.0) / k).ln() + p.ln() - (1.0 - p).ln();
        sum += log_term.exp();
    }
    sum
}

/// A bound in percent, with two digits that say something, rounded up: it must not look smaller
/// than it is.
#[must_use]
pub fn percent(bound: f64) -> String {
    let percent = bound * 100.0;
    let decimals = if percent >= 10.0 {
        0
    } else if percent >= 1.0 {
        1
    } else {
        2
    };
    let scale = 10f64.powi(decimals);
    let rounded = (percent * scale).ceil() / scale;
    format!("{rounded:.*}", usize::try_from(decimals).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_failures_it_is_the_rule_of_three() {
        assert!((upper(0, 1) - 0.95).abs() < 1e-12);
        assert!((upper(0, 10) - 0.258_866).abs() < 1e-6);
        assert!((upper(0, 1000) - 3.0 / 1000.0).abs() < 1e-5);
        assert_eq!(upper(0, 0), 1.0);
        assert_eq!(upper(5, 5), 1.0);
    }

    #[test]
    fn with_failures_it_agrees_with_sums_of_exact_terms() {
        // Solved apart from this, with binomial coefficients as integers.
        for (failed, runs, bound) in [(1, 10, 0.394_163), (2, 20, 0.282_619), (5, 50, 0.198_833)] {
            let found = upper(failed, runs);
            assert!((found - bound).abs() < 1e-6, "{failed}/{runs}: {found}");
        }
    }

    #[test]
    fn it_is_where_so_few_failures_have_five_percent() {
        for runs in 1..80 {
            for failed in 0..runs {
                let p = upper(failed, runs);
                let seen = at_most(failed, runs, p);
                assert!((seen - 0.05).abs() < 1e-6, "{failed}/{runs}: {seen}");
            }
        }
    }

    #[test]
    fn it_is_rounded_up() {
        assert_eq!(percent(0.258_86), "26");
        assert_eq!(percent(0.029_51), "3.0");
        assert_eq!(percent(0.002_991), "0.30");
    }
}
