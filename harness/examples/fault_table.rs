//! Writes `docs/faults.md`: what the fault suite measured on this machine, each fault on each
//! runtime, and how faithful it is.
//!
//! `cargo test -p harness --test faults && cargo run -p harness --example fault_table`

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context as _, bail};
use nemesis::{FaultKind, Platform};
use serde_json::Value;

const HEAD: &str = "\
# Faults, as measured

Every fault, on every runtime that offers it, is applied, measured to bite, held, healed and
measured to be gone, and then looked for by other means (rules, processes, mounts, connections):
that is the fault suite. It is also run with the harness killed (SIGKILL) in the middle of each
fault, after which the next start must find and remove everything.

This page is written from what the suite measured:

```
cargo test -p harness --test faults
cargo run -p harness --example fault_table
```

*Bites in* is the time from the order to the measurement that shows the effect, *heals in* from the
order to heal to the measurement that shows that nothing is left; both contain the measurements.
The nodes run a stand-in for a broker (`nemesis-agent echo`): it answers, keeps connections in use,
and writes two files, of which it syncs one.
";

const TAIL: &str = "
A power loss is what a machine does that goes dark: its packets stop first, both ways (nobody is
told by a FIN or a reset), then the process is killed, then what was not synced is taken: writes
since the last fsync of their file, and names since the last fsync of their directory. For Apache
Kafka names become durable with any fsync, as on ext4 and XFS: it does not sync the directory above
a new partition's. A kill without a power loss loses nothing: the disk plays the page cache, too.

`bit-flip` and `truncation` take away what was promised to be kept. `--nemesis all` and `random` do
not contain them; a run with them by name may end in a verdict that is no fault of the broker.
";

fn main() -> anyhow::Result<()> {
    let workspace = harness::artifacts::workspace();
    let dir = workspace.join("target/fault-suite");
    let mut rows: BTreeMap<(FaultKind, String), BTreeMap<String, Value>> = BTreeMap::new();
    let entries = std::fs::read_dir(&dir);
    for entry in entries.with_context(|| format!("no measurements in {}", dir.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let runtime = name.split('.').next().unwrap_or_default().to_owned();
        let row: Value = serde_json::from_str(&std::fs::read_to_string(&path)?)?;
        let kind: FaultKind = serde_json::from_value(row["kind"].clone())?;
        let fault = row["name"].as_str().unwrap_or_default().to_owned();
        rows.entry((kind, fault)).or_default().insert(runtime, row);
    }
    if rows.is_empty() {
        bail!(
            "no measurements in {}: run the fault suite first",
            dir.display()
        );
    }
    let mut page = HEAD.to_owned();
    page.push_str("\n| kind | fault | runtime | bites in | heals in | measured effect |\n");
    page.push_str("|---|---|---|---:|---:|---|\n");
    for ((kind, fault), by_runtime) in &rows {
        for (runtime, row) in by_runtime {
            let ms = |what: &str| {
                row[what]
                    .as_u64()
                    .map_or("-".to_owned(), |ms| format!("{ms} ms"))
            };
            let effect = effect(*kind, &row["effective"]);
            let (bites, heals) = (ms("bites-ms"), ms("heals-ms"));
            writeln!(
                page,
                "| `{kind}` | {fault} | {runtime} | {bites} | {heals} | {effect} |"
            )?;
        }
    }
    page.push_str(
        "\n## How faithful they are\n\n| kind | what it does | where, and how |\n|---|---|---|\n",
    );
    for kind in FaultKind::every() {
        let how = |platform: Platform| {
            let how = kind.fidelity(platform)?;
            Some(format!("{}: {how}", platform.name()))
        };
        let how: Vec<String> = Platform::ALL.into_iter().filter_map(how).collect();
        writeln!(
            page,
            "| `{kind}` | {} | {} |",
            kind.about(),
            how.join("<br>")
        )?;
    }
    page.push_str(TAIL);
    let to = workspace.join("docs/faults.md");
    std::fs::write(&to, page)?;
    println!("{}", to.display());
    Ok(())
}

/// What was measured, in words.
fn effect(kind: FaultKind, measured: &Value) -> String {
    let count = |what: &str| measured[what].as_array().map_or(0, Vec::len);
    if kind == FaultKind::DelayWatermark {
        return format!(
            "a connection takes {} us ({} added)",
            measured["connect-us"], measured["expected-us"]
        );
    }
    if count("cut") + count("spared") > 0 || kind == FaultKind::ClientPartition {
        return format!(
            "{} probes silent, {} spared connect, {} packets dropped",
            count("cut"),
            count("spared"),
            measured["dropped-packets"]
        );
    }
    plain(measured)
}

/// Names and values as they are, without brackets and quotes.
fn plain(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let each = fields
                .iter()
                .map(|(name, value)| format!("{name} {}", plain(value)));
            each.collect::<Vec<_>>().join(", ")
        }
        Value::Array(values) => {
            let each: Vec<String> = values.iter().map(plain).collect();
            format!("[{}]", each.join("; "))
        }
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
