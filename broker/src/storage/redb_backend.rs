//! A redb database on a [`Storage`] file: the metadata store goes through the same seam as the
//! WAL, so a simulated disk can lose, tear and refuse its writes too.
//!
//! Exclusive use is kept by the directory's lock, which lives as long as the database.

use std::fmt;
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use redb::{BackendError, StorageBackend};

use super::room::Room;
use super::{File, Storage, rewrite};

/// One open file, and the lock of the directory that it is in.
pub struct RedbFile {
    file: Arc<dyn File>,
    /// Its name, for the log.
    name: String,
    room: Arc<Room>,
    _lock: Box<dyn Send + Sync>,
}

impl RedbFile {
    /// Opens `name` in `dir`, or makes it, and takes `dir` for this process.
    ///
    /// A database is usable once a file `<name>.ready` stands beside it. A file without it is
    /// what a crash left of the first start: nothing was ever promised in it, and it is begun anew.
    /// `ready` writes that file.
    ///
    /// # Errors
    /// `WouldBlock` when another process has the directory, or the operating system's.
    pub fn open(storage: &dyn Storage, dir: &Path, name: &str) -> io::Result<Self> {
        storage.create_dir_all(dir)?;
        let lock = storage.lock(dir)?;
        let path = dir.join(name);
        let ready = storage.list(dir)?.contains(&ready_name(name));
        let file = if ready {
            let file = storage.open(&path, true)?;
            // The last process may have died of a sync that failed.
            rewrite(&*file, 0)?;
            file
        } else {
            storage.remove(&path)?;
            storage.create(&path)?
        };
        Ok(Self {
            file,
            name: path.display().to_string(),
            room: Arc::default(),
            _lock: lock,
        })
    }

    /// What it does on a full disk.
    #[must_use]
    pub fn room(&self) -> Arc<Room> {
        self.room.clone()
    }

    /// Says that the database `name` in `dir` was set up, durably.
    ///
    /// # Errors
    /// The operating system's.
    pub fn ready(storage: &dyn Storage, dir: &Path, name: &str) -> io::Result<()> {
        storage.replace(&dir.join(ready_name(name)), b"set up\n")
    }
}

fn ready_name(name: &str) -> String {
    format!("{name}.ready")
}

impl fmt::Debug for RedbFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedbFile")
    }
}

impl StorageBackend for RedbFile {
    fn len(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let read = self.file.read_at(offset, out)?;
        if read < out.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.room.find(&self.name, || self.file.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.datasync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let write = || self.file.write_at(offset, &[io::IoSlice::new(data)]);
        self.room.find(&self.name, write)
    }

    // The directory's lock already keeps every other process out.
    fn try_lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(true)
    }

    fn unlock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }
}
