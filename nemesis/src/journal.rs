//! Leases on disk: every fault is written down before it is applied and crossed out after its
//! healing was measured, so that a harness that is killed in between can be cleaned up after.
//!
//! One file a run, `DIR/<run>.jsonl`: first who owns it, then leases and releases, a line each.
//! The owner holds a lock on the file for as long as it lives; the kernel lets go of it at death,
//! whatever kind of death, in whatever process namespace. So a file that can be locked is an
//! order to heal, and one that cannot is a run in progress. [`Journal::close`] removes the file.
//!
//! Lines are not fsynced: they outlive the process, which is what matters. When the machine goes
//! down the network namespaces and processes go with it, and containers are found by their labels.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::node::NodeId;

const EXTENSION: &str = "jsonl";

/// What a journal says of its run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Owner {
    /// The run's id.
    pub run: String,
    /// The runtime's name.
    pub runtime: String,
    /// The run's folder.
    pub dir: PathBuf,
    /// The harness, as it sees itself (for people; the lock tells whether it lives).
    pub pid: u32,
}

/// A fault that is, or is about to be, in effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Lease {
    /// The fault's id in its schedule.
    pub fault: u32,
    /// Its kind.
    pub kind: String,
    /// The nodes on which something was installed.
    pub nodes: Vec<NodeId>,
    /// The tag of its rules.
    pub tag: String,
    /// When it should be gone, in milliseconds since 1970.
    pub deadline_ms: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Line {
    Owner(Owner),
    Lease(Lease),
    Released { fault: u32 },
}

/// The open journal of this run.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    /// `None`: nothing that is done can outlive this process.
    file: Option<Mutex<File>>,
}

impl Journal {
    /// A journal that is not written: for a simulation, of which nothing outlives its process.
    pub fn unwritten() -> Self {
        Self {
            path: PathBuf::new(),
            file: None,
        }
    }

    /// Begins the journal of a run. Fails with `AlreadyExists` if there is one of that name.
    pub fn open(dir: &Path, owner: &Owner) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let path = dir.join(&owner.run).with_extension(EXTENSION);
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .open(&path)?;
        file.lock()?;
        let journal = Self {
            path,
            file: Some(Mutex::new(file)),
        };
        journal.write(&Line::Owner(owner.clone()))?;
        Ok(journal)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A fault is about to be applied.
    pub fn lease(&self, lease: &Lease) -> io::Result<()> {
        self.write(&Line::Lease(lease.clone()))
    }

    /// A fault was measured to be gone.
    pub fn release(&self, fault: u32) -> io::Result<()> {
        self.write(&Line::Released { fault })
    }

    /// The run is over and nothing of it is left: removes the file.
    pub fn close(self) -> io::Result<()> {
        match self.file {
            Some(_) => fs::remove_file(&self.path),
            None => Ok(()),
        }
    }

    fn write(&self, line: &Line) -> io::Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        // One write: a line is there or it is not, whenever the process dies.
        let mut file = file.lock().expect("no holder of this lock panics");
        file.write_all(&text)
    }
}

/// A journal found on disk.
#[derive(Debug)]
pub struct Found {
    /// The file.
    pub path: PathBuf,
    /// Whose it is; `None` if its owner died before the first line was out.
    pub owner: Option<Owner>,
    /// Faults that were not released.
    pub open: Vec<Lease>,
    /// Held while the run is dead and this process cleans up after it: a second cleaner finds the
    /// run alive. `None`: the run is alive.
    lock: Option<File>,
}

impl Found {
    /// Whether its owner lives.
    pub fn alive(&self) -> bool {
        self.lock.is_none()
    }

    /// Everything of this run is gone: removes the file.
    pub fn close(self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}

/// All journals in a directory, by name. Journals of dead runs come locked by this process.
pub fn find(dir: &Path) -> io::Result<Vec<Found>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == EXTENSION) {
            found.extend(read(path)?);
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// Whether the run that wrote this journal is alive. A file that is gone is a run that is over.
pub fn alive(path: &Path) -> bool {
    matches!(read(path.to_owned()), Ok(Some(found)) if found.alive())
}

fn read(path: PathBuf) -> io::Result<Option<Found>> {
    let file = match OpenOptions::new().read(true).append(true).open(&path) {
        // It was closed between the listing and now.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let lock = match file.try_lock() {
        Ok(()) => Some(file),
        Err(TryLockError::WouldBlock) => None,
        Err(TryLockError::Error(error)) => return Err(error),
    };
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mut owner = None;
    let mut open: Vec<Lease> = Vec::new();
    for line in text.lines() {
        // The last line of a killed owner may be cut short.
        match serde_json::from_str(line) {
            Ok(Line::Owner(it)) => owner = Some(it),
            Ok(Line::Lease(lease)) => open.push(lease),
            Ok(Line::Released { fault }) => open.retain(|lease| lease.fault != fault),
            Err(_) => {}
        }
    }
    Ok(Some(Found {
        path,
        owner,
        open,
        lock,
    }))
}

/// Milliseconds since 1970.
pub fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(run: &str) -> Owner {
        Owner {
            run: run.to_owned(),
            runtime: "namespaces".to_owned(),
            dir: PathBuf::from("results/r1"),
            pid: 7,
        }
    }

    fn lease(fault: u32) -> Lease {
        Lease {
            fault,
            kind: "partition".to_owned(),
            nodes: vec![NodeId(1), NodeId(3)],
            tag: format!("f{fault}"),
            deadline_ms: 12,
        }
    }

    #[test]
    fn what_is_not_released_is_found_once_the_owner_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path(), &owner("r1")).unwrap();
        let path = journal.path().to_owned();
        journal.lease(&lease(1)).unwrap();
        journal.lease(&lease(2)).unwrap();
        journal.release(1).unwrap();
        let found = find(dir.path()).unwrap();
        assert!(found.len() == 1 && found[0].alive() && alive(&path));
        // Dropping is what a death does: the lock goes, the file stays.
        drop(journal);
        fs::write(
            &path,
            fs::read_to_string(&path).unwrap() + "{\"lease\":{\"fau",
        )
        .unwrap();
        assert!(!alive(&path));
        let mut found = find(dir.path()).unwrap();
        let left = found.pop().unwrap();
        assert_eq!(left.owner, Some(owner("r1")));
        assert_eq!(left.open, vec![lease(2)]);
        assert!(!left.alive());
        // Whoever cleans up holds the lock: nobody else starts on it.
        assert!(find(dir.path()).unwrap()[0].alive());
        left.close().unwrap();
        assert!(find(dir.path()).unwrap().is_empty());
        assert!(!alive(&path));
    }

    #[test]
    fn a_run_has_one_journal_and_takes_it_away() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(&dir.path().join("new"), &owner("r1")).unwrap();
        let again = Journal::open(&dir.path().join("new"), &owner("r1"));
        assert_eq!(again.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        journal.close().unwrap();
        assert!(find(&dir.path().join("new")).unwrap().is_empty());
        assert!(find(&dir.path().join("never")).unwrap().is_empty());
    }
}
