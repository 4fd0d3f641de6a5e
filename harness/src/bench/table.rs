//! Results in words: a line while it runs, a page of Markdown in the end.

use std::fmt::Write as _;

use super::Results;
use super::load::Measured;

/// One case in one line.
pub fn line(measured: &Measured) -> String {
    format!(
        "{:28} {:>9.0} msg/s {:>7.1} MB/s   p50 {:>7.1} ms  p99 {:>7.1} ms{}{}",
        measured.case.name,
        measured.messages_per_second,
        measured.megabytes_per_second,
        measured.p50_ms,
        measured.p99_ms,
        measured
            .read_per_second
            .map_or_else(String::new, |read| format!("  read {read:.0}/s")),
        match measured.failed {
            0 => String::new(),
            failed => format!("  {failed} FAILED"),
        },
    )
}

/// Everything, as a page.
pub fn markdown(results: &Results) -> String {
    let mut page = String::new();
    let mut add = |line: &str| {
        page.push_str(line);
        page.push('\n');
    };
    add(&format!(
        "# Bench of {}, {}\n",
        results.cluster, results.started
    ));
    add(
        "Base case: acks=all, 1,000 bytes, 6 partitions, replication factor 3, 4 producers, as \
         fast as the client's queue allows. Every other case changes one thing.\n",
    );
    add(
        "| case | msg/s | MB/s | p50 ms | p99 ms | p99.9 ms | read/s | brokers CPU s/MB | client \
         CPU s/MB | broker memory MB | failed |",
    );
    add("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    for one in &results.cases {
        add(&row(one));
    }
    if !results.failovers.is_empty() {
        add("\n| death of | node | writes waited ms | came back |\n|---|---:|---:|---|");
        for one in &results.failovers {
            let who = match one.controller_too {
                true => "leader and controller",
                false => "leader",
            };
            let back = if one.recovered { "yes" } else { "NO" };
            let (node, waited) = (one.node, one.unavailable_ms);
            add(&format!("| {who} | {node} | {waited:.0} | {back} |"));
        }
    }
    let machine = serde_json::to_string_pretty(&results.machine).unwrap_or_default();
    add(&format!("\nMachine:\n\n```json\n{machine}\n```"));
    page
}

fn row(one: &Measured) -> String {
    let optional = |value: Option<f64>, digits: usize| {
        value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
    };
    let mut row = String::new();
    let Measured { case, .. } = one;
    let _ = write!(
        row,
        "| {} | {:.0} | {:.1} | {:.1} | {:.1} | {:.1} | {} | {} | {:.4} | {} | {} |",
        case.name,
        one.messages_per_second,
        one.megabytes_per_second,
        one.p50_ms,
        one.p99_ms,
        one.p999_ms,
        optional(one.read_per_second, 0),
        optional(one.brokers_cpu_per_mb, 4),
        one.client_cpu_per_mb,
        optional(one.broker_memory_mb, 0),
        one.failed,
    );
    row
}
