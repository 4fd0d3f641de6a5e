//! The interval that a share out of few trials supports (E. B. Wilson, "Probable Inference, the
//! Law of Succession, and Statistical Inference", JASA 22, 1927): unlike the usual one it says
//! something at 0 of n, too.

/// Standard deviations that hold 95 % of a normal distribution.
const Z95: f64 = 1.959_964;

/// Bounds of the true share, 95 % confidence, where `hits` of `trials` were seen.
#[must_use]
pub fn interval(hits: u64, trials: u64) -> (f64, f64) {
    if trials == 0 {
        return (0.0, 1.0);
    }
    let n = trials as f64;
    let p = hits as f64 / n;
    let z2 = Z95 * Z95;
    let centre = p + z2 / (2.0 * n);
    let half = Z95 * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z2 / n;
    let low = ((centre - half) / scale).max(0.0);
    let high = ((centre + half) / scale).min(1.0);
    (low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(left: f64, right: f64) -> bool {
        (left - right).abs() < 5e-4
    }

    #[test]
    fn agrees_with_published_values() {
        // Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
        let published = [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
        ];
        for (hits, trials, low, high) in published {
            let (l, h) = interval(hits, trials);
            assert!(near(l, low) && near(h, high), "{hits}/{trials}: {l} {h}");
        }
    }

    #[test]
    fn holds_the_share_and_stays_a_share() {
        for trials in 1..60 {
            for hits in 0..=trials {
                let (low, high) = interval(hits, trials);
                let share = hits as f64 / trials as f64;
                assert!((0.0..=share + 1e-9).contains(&low), "{hits}/{trials}");
                assert!((share - 1e-9..=1.0).contains(&high), "{hits}/{trials}");
            }
        }
    }

    #[test]
    fn no_trial_says_nothing() {
        assert_eq!(interval(0, 0), (0.0, 1.0));
    }
}
