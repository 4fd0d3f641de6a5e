//! Leases on disk: every fault is written down before it is applied and crossed out after its
//! healing was measured, so that a harness that is killed in between can be cleaned up after.
//!
//! One file a run, `DIR/<run>.jsonl`, appended to and fsynced line by line; a torn last line is
//! ignored. The file is removed by [`Journal::close`]. A file whose owner is dead is an order to
//! heal, whatever its leases say.

use std::path::{Path, PathBuf};

/// The open journal of this run.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
}

impl Journal {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}
