//! What a killed harness left of a driven cluster, taken back by whoever comes next: the run's
//! folder says by which commands, the journal says to whom.

use std::path::Path;
use std::sync::Arc;

use nemesis::NodeId;
use nemesis::journal::Lease;
use serde_json::Value as Json;

use super::{Driven, Driver, FileDriver, STARTED_KIND};
use crate::runtime::docker::ComposeDriver;
use crate::runtime::{Healed, RuntimeError};

const STORED: &str = "driver.json";

/// Writes down how the processes of this run are worked.
pub(super) fn store(dir: &Path, driver: &dyn Driver) -> Result<(), RuntimeError> {
    let path = dir.join(STORED);
    let writing = format!("writing {}", path.display());
    std::fs::write(&path, format!("{:#}\n", driver.stored())).map_err(RuntimeError::at(writing))
}

/// Brings the nodes of open leases back to where they answer, and ends those that had been
/// started for the run.
///
/// # Errors
/// Where one cannot be brought back; the journal has to stay then.
pub async fn heal(dir: &Path, open: &[Lease], healed: &mut Healed) -> Result<(), RuntimeError> {
    let path = dir.join(STORED);
    if open.is_empty() || !path.exists() {
        return Ok(());
    }
    let driver =
        restored(&path).map_err(RuntimeError::at(format!("reading {}", path.display())))?;
    let cluster = Driven::of(driver, String::new(), dir).await?;
    let (started, faults): (Vec<&Lease>, Vec<&Lease>) =
        open.iter().partition(|lease| lease.kind == STARTED_KIND);
    let started: Vec<NodeId> = started
        .iter()
        .flat_map(|lease| lease.nodes.clone())
        .collect();
    let mut hit: Vec<NodeId> = faults
        .iter()
        .flat_map(|lease| lease.nodes.clone())
        .collect();
    hit.sort_unstable();
    hit.dedup();
    hit.retain(|node| !started.contains(node));
    for node in hit {
        cluster.restore(node).await?;
        healed.removed.push(format!("a fault of broker {}", node.0));
    }
    cluster.end(&started).await?;
    for node in started {
        healed
            .removed
            .push(format!("broker {}, which was started for it", node.0));
    }
    Ok(())
}

fn restored(path: &Path) -> Result<Arc<dyn Driver>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let stored: Json = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    match stored["driver"].as_str() {
        Some("compose") => Ok(Arc::new(ComposeDriver::restored(&stored)?)),
        Some("file") => Ok(Arc::new(FileDriver::restored(&stored)?)),
        other => Err(format!("there is no driver {other:?}")),
    }
}
