//! What a run ran on: versions, machine, load. Stored with the run; never read again by us.

use serde_json::{Value as Json, json};

/// The machine and the software.
#[must_use]
pub fn describe() -> Json {
    let (_, librdkafka) = rdkafka::util::get_rdkafka_version();
    json!({
        "harness": env!("CARGO_PKG_VERSION"),
        "librdkafka": librdkafka,
        "profile": if cfg!(debug_assertions) { "debug" } else { "release" },
        "kernel": first_line("/proc/sys/kernel/osrelease"),
        "cpus": std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        "cpu": field("/proc/cpuinfo", "model name"),
        "memory": field("/proc/meminfo", "MemTotal"),
    })
}

/// How starved of CPU the machine is: `/proc/pressure/cpu`, and the load.
#[must_use]
pub fn pressure() -> Json {
    json!({
        "cpu": first_line("/proc/pressure/cpu"),
        "io": first_line("/proc/pressure/io"),
        "loadavg": first_line("/proc/loadavg"),
    })
}

fn first_line(path: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    text.lines().next().map(str::to_owned)
}

fn field(path: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_once(':')
        .map(|(_, value)| value.trim().to_owned())
}
