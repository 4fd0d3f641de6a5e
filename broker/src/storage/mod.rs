//! The one place where files are touched (the seam that simulation replaces).
//!
//! Small on purpose: what a write-ahead log needs and nothing more. `disk` is the real thing;
//! `memory` keeps files in memory and can lose what was not synced, tear writes, and fail.

pub mod disk;
pub mod memory;
pub mod redb_backend;
pub mod room;

use std::io;
use std::path::Path;
use std::sync::Arc;

/// One open file. Positions are in bytes from its beginning, so that readers share it without
/// locks; at most one writer uses it at a time.
pub trait File: Send + Sync {
    /// Writes all of `buffers`, one after another, at `position`.
    ///
    /// # Errors
    /// The operating system's. Part of it may have been written.
    fn write_at(&self, position: u64, buffers: &[io::IoSlice<'_>]) -> io::Result<()>;

    /// Reads up to `buffer.len()` bytes at `position`; fewer only at the end of the file.
    ///
    /// # Errors
    /// The operating system's.
    fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Makes what was written survive power loss (fdatasync).
    ///
    /// # Errors
    /// The operating system's: what was written since the last sync may be lost, for good.
    fn datasync(&self) -> io::Result<()>;

    /// Asks that what was written to these bytes be on its way to the disk, and does not wait. It
    /// promises nothing: a later [`Self::datasync`] has less to wait for, that is all.
    fn start_writeback(&self, _from: u64, _len: u64) {}

    /// Cuts the file, or extends it with zeros.
    ///
    /// # Errors
    /// The operating system's.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Bytes in the file.
    ///
    /// # Errors
    /// The operating system's.
    fn size(&self) -> io::Result<u64>;
}

/// A file system.
pub trait Storage: Send + Sync {
    /// Makes a directory and those above it, durably.
    ///
    /// # Errors
    /// The operating system's.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Names of the files in `dir`, sorted.
    ///
    /// # Errors
    /// The operating system's.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Makes a new, empty file; its name survives power loss when this returns.
    ///
    /// # Errors
    /// It exists, or the operating system's.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// Opens a file for reading, and for writing if `write`.
    ///
    /// # Errors
    /// The operating system's.
    fn open(&self, path: &Path, write: bool) -> io::Result<Arc<dyn File>>;

    /// Writes a whole small file so that after power loss it is there in full or not at all.
    ///
    /// # Errors
    /// The operating system's.
    fn replace(&self, path: &Path, contents: &[u8]) -> io::Result<()>;

    /// Removes a file; that survives power loss when this returns. A missing file is no error.
    ///
    /// # Errors
    /// The operating system's.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Bytes that can still be written under `dir`.
    ///
    /// # Errors
    /// The operating system's.
    fn free_space(&self, dir: &Path) -> io::Result<u64>;

    /// Takes `dir` for this process until the guard is dropped.
    ///
    /// # Errors
    /// `WouldBlock` when another has it, or the operating system's.
    fn lock(&self, dir: &Path) -> io::Result<Box<dyn Send + Sync>>;
}

/// Whether `error` means that the disk is full: nothing is wrong with what was written before,
/// and it may be tried again.
#[must_use]
pub fn is_no_space(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Whether `error` means that this process, or the machine, has as many files open as it may: it
/// may be tried again when some were closed.
#[must_use]
pub fn is_no_handle(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// Reads a whole small file; `None` when there is none.
///
/// # Errors
/// The operating system's.
pub fn read_small(storage: &dyn Storage, path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match storage.open(path, false) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let size = file.size()?.min(1 << 20);
    let mut bytes = vec![0; usize::try_from(size).expect("at most 1 MiB")];
    let read = file.read_at(0, &mut bytes)?;
    bytes.truncate(read);
    Ok(Some(bytes))
}

/// Bytes that [`rewrite`] moves at once.
const REWRITE_BYTES: usize = 1 << 20;

/// Makes what `file` shows from `from` on survive power loss, whatever happened before. After a
/// sync that failed, a kernel may show bytes that its disk does not have, and a further sync
/// writes nothing, because it takes them for written: so they are written again. A crash in the
/// middle changes nothing, because the bytes are the same.
///
/// # Errors
/// The operating system's.
pub fn rewrite(file: &dyn File, from: u64) -> io::Result<()> {
    let size = file.size()?;
    let mut buffer = vec![0; REWRITE_BYTES];
    let mut at = from;
    while at < size {
        let read = file.read_at(at, &mut buffer)?;
        if read == 0 {
            break;
        }
        file.write_at(at, &[io::IoSlice::new(&buffer[..read])])?;
        at += read as u64;
    }
    file.datasync()
}
