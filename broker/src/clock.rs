//! The time of day: what records' timestamps are compared with, and nothing else. Everything that
//! waits or times out goes by tokio's clock.

/// Milliseconds since 1970; in a simulation since a fixed day, by its own clock.
#[must_use]
pub fn unix_millis() -> i64 {
    #[cfg(feature = "simulation")]
    if let Some(world) = crate::sim::world::current() {
        return world.unix_millis();
    }
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    // A clock that stands before 1970 deletes nothing.
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}
