//! A cycle: closed, and each step read off its two operations.

use serde_json::Value as Json;

use super::{Claim, Finding, Raw, claim, integers};
use crate::history::{Op, Outcome, RunKind};

/// What the steps of a model's cycles are made of: who wrote, who read.
pub struct Steps {
    pub write: RunKind,
    pub read: RunKind,
}

/// Checks a cycle.
pub fn check(raw: &Raw, finding: &Finding, by: &Steps) -> Claim {
    let cycle = finding.details.get("cycle").ok_or("it has no cycle")?;
    let cycle: Vec<i64> = integers(cycle).collect();
    let steps = finding.details.get("steps").and_then(Json::as_array);
    let steps = steps.ok_or("it has no steps")?;
    claim(
        cycle.len() == steps.len() + 1 && cycle.len() > 2 && cycle.first() == cycle.last(),
        "its operations make a cycle",
    )?;
    for (pair, step) in cycle.windows(2).zip(steps) {
        let a = raw
            .by_index(pair[0])
            .ok_or("its operations are in the history")?;
        let b = raw
            .by_index(pair[1])
            .ok_or("its operations are in the history")?;
        edge(raw, step, a, b, by)?;
    }
    Ok(())
}

fn edge(raw: &Raw, step: &Json, a: &Op, b: &Op, by: &Steps) -> Claim {
    let key = step.get("key").and_then(Json::as_str).unwrap_or("");
    let has = |op: &Op, kind: RunKind, field: &str| {
        step.get(field)
            .is_some_and(|value| raw.has(op, kind, key, value))
    };
    match step.get("type").and_then(Json::as_str) {
        Some("ww") => {
            claim(
                has(a, by.write, "value"),
                "the first wrote the earlier value",
            )?;
            claim(
                has(b, by.write, "value'"),
                "the second wrote the later value",
            )
        }
        Some("wr") => {
            claim(has(a, by.write, "value"), "the first wrote what was read")?;
            claim(has(b, by.read, "value"), "the second read it")
        }
        Some("rw") => {
            let empty = step.get("value").is_none_or(Json::is_null);
            claim(
                empty || has(a, by.read, "value"),
                "the first read the earlier value",
            )?;
            claim(
                has(b, by.write, "value'"),
                "the second wrote the later value",
            )
        }
        Some("process") => claim(
            a.process == b.process && a.completed.seq < b.invoked.seq,
            "one process did one after the other",
        ),
        Some("realtime") => claim(
            a.outcome == Outcome::Ok && a.precedes(b),
            "the first was over when the second began",
        ),
        _ => Err("each step has a type"),
    }
}
