//! The data of brokers in a run's folder: made, marked as ours, and removed.
//!
//! There is some for brokers that are plain processes, and for all whose disks are ours.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Healed, RuntimeError, disks};

/// The folder in a run's folder, and the file in it that says that it is ours to remove.
const DATA: &str = "data";
const MARK: &str = ".data-of-a-harness-run";

/// Makes the folder.
pub fn make(run_dir: &Path) -> Result<PathBuf, RuntimeError> {
    let data = run_dir.join(DATA);
    let making = format!("making {}", data.display());
    fs::create_dir_all(&data).map_err(RuntimeError::at(making))?;
    fs::write(data.join(MARK), "").map_err(RuntimeError::at("marking the data"))?;
    Ok(data)
}

/// Removes the data of a run that is over, if it is marked as such.
pub fn remove(run_dir: &Path, healed: &mut Healed) -> Result<(), RuntimeError> {
    let data = run_dir.join(DATA);
    if !data.join(MARK).exists() {
        return Ok(());
    }
    let unmounting = format!("unmounting what is below {}", data.display());
    let stale = disks::unmount_below(&data).map_err(RuntimeError::at(unmounting))?;
    let told = stale.iter().map(|at| format!("mount {}", at.display()));
    healed.removed.extend(told);
    let removing = format!("removing {}", data.display());
    fs::remove_dir_all(&data).map_err(RuntimeError::at(removing))?;
    healed.removed.push(format!("data {}", data.display()));
    Ok(())
}
