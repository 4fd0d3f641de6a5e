//! What the suite measured, left for the table in the documentation:
//! `cargo run -p harness --example fault_table`.

use std::fs;
use std::path::PathBuf;

use nemesis::executor::ExecutedFault;
use serde_json::{Value, json};

/// One fault on one runtime.
pub fn row(name: &str, executed: &ExecutedFault) -> Value {
    let held = executed.effective_ms.map(|at| at + executed.fault.for_ms);
    let took = |from: Option<u64>, to: Option<u64>| Some(to?.saturating_sub(from?));
    json!({
        "name": name,
        "kind": executed.fault.action.kind(),
        "bites-ms": took(executed.asked_ms, executed.effective_ms),
        "heals-ms": took(held, executed.verified_ms),
        "effective": executed.measured["effective"],
        "verified": executed.measured["verified"],
    })
}

/// Leaves the rows of one place where the table looks for them; a second test of the same runtime
/// adds its own.
pub fn write(runtime: &str, rows: &[Value]) {
    let dir = harness::artifacts::workspace().join("target/fault-suite");
    // A user without rights cannot leave anything; the table is made of the others' rows.
    if fs::create_dir_all(&dir).is_err() {
        return;
    }
    for row in rows {
        let name = row["name"]
            .as_str()
            .expect("a name")
            .replace([' ', ','], "-");
        let path: PathBuf = dir.join(format!("{runtime}.{name}.json"));
        let _ = fs::write(path, row.to_string());
    }
}
