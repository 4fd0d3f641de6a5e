//! All randomness of a run comes from one seed: each use has a stream of its own, so that one
//! use more or less never changes what another draws.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;

/// What a stream of random numbers is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Use {
    /// Batches of one producer; numbered by the producer.
    Batches = 1 << 32,
    /// The number that tells this run's messages from another's.
    Identity = 2 << 32,
    /// The simulated world: network, disks, brokers.
    World = 3 << 32,
}

/// The generator for one use, and one number among those of that use.
#[must_use]
pub fn stream(seed: u64, purpose: Use, number: u32) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(purpose as u64 | u64::from(number));
    rng
}

/// A seed for a run whose user gave none: from the clock, short enough to be typed.
#[must_use]
pub fn fresh() -> u64 {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    let mixed = (now.as_nanos() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed >> 44
}

#[cfg(test)]
mod tests {
    use rand::Rng as _;

    use super::*;

    #[test]
    fn streams_repeat_and_differ() {
        let draw = |seed, purpose, number| -> u64 { stream(seed, purpose, number).random() };
        assert_eq!(draw(1, Use::Batches, 0), draw(1, Use::Batches, 0));
        assert_ne!(draw(1, Use::Batches, 0), draw(1, Use::Batches, 1));
        assert_ne!(draw(1, Use::Batches, 0), draw(2, Use::Batches, 0));
        assert_ne!(draw(1, Use::Batches, 0), draw(1, Use::Identity, 0));
    }
}
