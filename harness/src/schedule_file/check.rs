//! Whether a run can carry a schedule out: nodes and partitions that there are, faults that the
//! runtime has, times that the executor keeps.

use nemesis::{Action, NodeId, Platform, Shape, Target};

use super::{Entry, Limits};
use crate::located::{Mistake, Text};

pub(super) fn check(text: Text<'_>, entries: &[Entry], limits: &Limits) -> Result<(), Mistake> {
    for entry in entries {
        offered(text, entry, limits.platform)?;
        aimed(text, entry, limits)?;
        let ends_ms = entry.fault.at_ms + entry.fault.for_ms;
        if ends_ms > limits.main_ms {
            let (ends, main) = (seconds(ends_ms), seconds(limits.main_ms));
            let what = format!(
                "this fault ends at {ends} s, after the main phase of {main} s; make `for-ms` \
                 smaller or --time larger"
            );
            return Err(text.mistake(entry.length.clone(), what));
        }
    }
    nested(text, entries)
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

fn offered(text: Text<'_>, entry: &Entry, platform: Platform) -> Result<(), Mistake> {
    let kind = entry.fault.action.kind();
    if kind.fidelity(platform).is_some() {
        return Ok(());
    }
    let platforms: Vec<&str> = kind.platforms().map(Platform::name).collect();
    let mend = if platforms.is_empty() {
        "no runtime has it".to_owned()
    } else {
        format!("it needs --runtime {}", platforms.join(" or "))
    };
    let here = platform.name();
    let what = format!("the runtime {here} does not offer {kind}; {mend}");
    Err(text.mistake(entry.aim.clone(), what))
}

fn aimed(text: Text<'_>, entry: &Entry, limits: &Limits) -> Result<(), Mistake> {
    let action = &entry.fault.action;
    let wrong = |what: String| Err(text.mistake(entry.aim.clone(), what));
    match action.target() {
        Some(
            Target::Leader { partition }
            | Target::Follower { partition }
            | Target::InSync { partition },
        ) if *partition >= limits.partitions => {
            let last = limits.partitions.saturating_sub(1);
            return wrong(format!(
                "there is no partition {partition}: they are 0 to {last} (--partitions)"
            ));
        }
        _ => {}
    }
    let named = nodes(action);
    let missing = named
        .iter()
        .find(|node| !(1..=limits.nodes).contains(&node.0));
    if let Some(node) = missing {
        let last = limits.nodes;
        return wrong(format!(
            "there is no node {}: they are 1 to {last} (--brokers)",
            node.0
        ));
    }
    let mut once = named.clone();
    once.sort_unstable();
    once.dedup();
    if once.len() != named.len() {
        return wrong("a node is named twice".to_owned());
    }
    let all = once.len() == limits.nodes as usize;
    match action {
        Action::Partition {
            shape: Shape::Halves { .. },
            ..
        } if named.is_empty() || all => {
            wrong("a side has some of the nodes, and neither none nor all".to_owned())
        }
        Action::Partition {
            shape: Shape::Ring { .. } | Shape::Bridge { .. },
            ..
        } if !all => wrong("the order has all nodes".to_owned()),
        Action::Partition { .. } if limits.nodes < 2 => {
            wrong("a partition needs two brokers; there is one (--brokers)".to_owned())
        }
        _ => Ok(()),
    }
}

/// Every node that the action names.
fn nodes(action: &Action) -> Vec<NodeId> {
    if let Some(Target::Node { node }) = action.target() {
        return vec![*node];
    }
    match action {
        Action::Partition { shape, .. } => match shape {
            Shape::Halves { side } => side.clone(),
            Shape::Ring { order } | Shape::Bridge { order } => order.clone(),
            _ => Vec::new(),
        },
        Action::Blackout { nodes, .. } => nodes.clone(),
        Action::RollingRestart { order, .. } => order.clone(),
        _ => Vec::new(),
    }
}

/// That one fault is gone cannot be measured while another one holds that began later.
fn nested(text: Text<'_>, entries: &[Entry]) -> Result<(), Mistake> {
    for (at, later) in entries.iter().enumerate() {
        let begins = later.fault.at_ms;
        let across = entries[..at].iter().find(|earlier| {
            let ends = earlier.fault.at_ms + earlier.fault.for_ms;
            begins < ends && !earlier.fault.holds_around(&later.fault)
        });
        if let Some(earlier) = across {
            let (line, id) = (text.line(&earlier.whole), earlier.fault.id);
            let what = format!(
                "this fault begins while fault {id} (line {line}) holds, and is not inside it: a \
                 fault comes after another, or begins later and ends no later"
            );
            return Err(text.mistake(later.length.clone(), what));
        }
    }
    Ok(())
}
