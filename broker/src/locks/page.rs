//! `docs/locks.md`: every lock with its order, what it guards, and what was measured of it.

use std::fmt::Write;
use std::time::Duration;

use super::registry::{Entry, REGISTRY};
use super::{Figures, figures};

/// The part of a row that does not depend on a measurement.
fn known(entry: &Entry) -> String {
    let Entry {
        name,
        rank,
        file,
        guards,
        ..
    } = entry;
    format!("| {rank} | {name} | `{file}` | {guards} |")
}

/// How the rows of the page begin, in order: what the code says of each lock.
#[must_use]
pub fn rows() -> Vec<String> {
    let mut entries: Vec<_> = REGISTRY.iter().collect();
    entries.sort_by_key(|entry| entry.rank);
    entries.into_iter().map(known).collect()
}

fn time(span: Duration) -> String {
    match span.as_nanos() {
        0 => "-".to_owned(),
        nanos if nanos < 10_000 => format!("{nanos} ns"),
        nanos if nanos < 10_000_000 => format!("{} µs", nanos / 1000),
        nanos => format!("{} ms", nanos / 1_000_000),
    }
}

/// The page, with the figures of this process. `load` says what the process had to do.
#[must_use]
pub fn page(load: &str) -> String {
    let mut out = format!(
        "# Locks\n\n\
         Written by `cargo run -p broker --example locks` from the code \
         (`broker/src/locks/`) and from what it measured; do not edit.\n\n\
         A thread takes locks in ascending order only; debug builds panic when one does not, and \
         report whoever waits for ten seconds, with the holder. Appends take `wal-queue` once a \
         batch. A fetch, a listing of offsets and a request for metadata take none: what they \
         read is published (`broker/src/replica/publication.rs`, checked with loom), and a test \
         counts (`broker/tests/replication/reading.rs`). The same figures are in `/metrics`, as \
         `broker_lock_*`.\n\n\
         Measured: {load}\n\n\
         | order | lock | where | what it guards | taken | had to wait | longest wait | \
         longest hold |\n\
         |---|---|---|---|---|---|---|---|\n"
    );
    let mut entries: Vec<_> = REGISTRY.iter().collect();
    entries.sort_by_key(|entry| entry.rank);
    for entry in entries {
        let Figures {
            taken,
            waited,
            longest_wait,
            longest_hold,
            ..
        } = figures(entry.lock);
        let (wait, hold) = (time(longest_wait), time(longest_hold));
        // Writing into a string cannot fail.
        let _ = writeln!(
            out,
            "{} {taken} | {waited} | {wait} | {hold} |",
            known(entry)
        );
    }
    out
}
