//! The real file system.
//!
//! What is promised to survive power loss here is synced here: the file's name needs its
//! directory synced, not only the file.

use std::fs::{self, OpenOptions};
use std::io::{self, IoSlice, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{File, Storage};

/// Buffers handed to one `writev` (Linux takes 1024).
const BUFFERS_MAX: usize = 1024;

/// Name of the file whose lock means that a directory is in use.
const LOCK_FILE: &str = "LOCK";

/// The operating system's files.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

struct DiskFile(fs::File);

impl File for DiskFile {
    fn write_at(&self, position: u64, buffers: &[IoSlice<'_>]) -> io::Result<()> {
        let mut file = &self.0;
        // Readers use pread, so the cursor is the writer's own.
        file.seek(SeekFrom::Start(position))?;
        for some in buffers.chunks(BUFFERS_MAX) {
            write_all_vectored(file, some)?;
        }
        Ok(())
    }

    fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match self.0.read_at(&mut buffer[done..], position + done as u64) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn datasync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    #[cfg(target_os = "linux")]
    fn start_writeback(&self, from: u64, len: u64) {
        use std::os::fd::AsRawFd;
        let (Ok(from), Ok(len)) = (i64::try_from(from), i64::try_from(len)) else {
            return;
        };
        let file = self.0.as_raw_fd();
        // SAFETY: plain numbers, and the file is open as long as `self` is. Without the two flags
        // that wait it takes no error away that a later fdatasync is to report.
        unsafe { libc::sync_file_range(file, from, len, libc::SYNC_FILE_RANGE_WRITE) };
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

fn write_all_vectored(mut file: &fs::File, buffers: &[IoSlice<'_>]) -> io::Result<()> {
    let mut owned: Vec<IoSlice<'_>> = buffers.to_vec();
    let mut rest = &mut owned[..];
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        match file.write_vectored(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut rest, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    fs::File::open(dir)?.sync_all()
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

impl Storage for Disk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut made: Vec<PathBuf> = Vec::new();
        let mut above = dir;
        while !above.as_os_str().is_empty() && !above.exists() {
            made.push(above.to_owned());
            above = parent(above);
        }
        fs::create_dir_all(dir)?;
        for dir in made.iter().rev() {
            sync_dir(parent(dir))?;
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if let (true, Ok(name)) = (
                entry.file_type()?.is_file(),
                entry.file_name().into_string(),
            ) {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)?;
        sync_dir(parent(path))?;
        Ok(Arc::new(DiskFile(file)))
    }

    fn open(&self, path: &Path, write: bool) -> io::Result<Arc<dyn File>> {
        let file = OpenOptions::new().read(true).write(write).open(path)?;
        Ok(Arc::new(DiskFile(file)))
    }

    fn replace(&self, path: &Path, contents: &[u8]) -> io::Result<()> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".tmp");
        let mut file = fs::File::create(&temporary)?;
        file.write_all(contents)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        sync_dir(parent(path))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => sync_dir(parent(path)),
        }
    }

    fn free_space(&self, dir: &Path) -> io::Result<u64> {
        let stat = nix::sys::statvfs::statvfs(dir)?;
        Ok(stat.blocks_available() * stat.fragment_size())
    }

    fn lock(&self, dir: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(dir.join(LOCK_FILE))?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(file)),
            Err(fs::TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_written_read_cut_listed_and_removed() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("a").join("b");
        Disk.create_dir_all(&dir).unwrap();
        let file = Disk.create(&dir.join("two")).unwrap();
        assert!(Disk.create(&dir.join("two")).is_err(), "it exists");
        let many: Vec<[u8; 1]> = (0..3000u32).map(|at| [at.to_le_bytes()[0]]).collect();
        let slices: Vec<IoSlice<'_>> = many.iter().map(|byte| IoSlice::new(byte)).collect();
        file.write_at(10, &slices).unwrap();
        file.datasync().unwrap();
        assert_eq!(file.size().unwrap(), 3010);
        let mut back = vec![0; 4000];
        assert_eq!(file.read_at(10, &mut back).unwrap(), 3000);
        assert_eq!(back[..3000], many.concat());
        file.set_len(5).unwrap();
        assert_eq!(file.read_at(0, &mut back).unwrap(), 5);

        Disk.replace(&dir.join("one"), b"x").unwrap();
        Disk.replace(&dir.join("one"), b"yz").unwrap();
        assert_eq!(Disk.list(&dir).unwrap(), ["one", "two"]);
        let small = super::super::read_small(&Disk, &dir.join("one")).unwrap();
        assert_eq!(small.as_deref(), Some(&b"yz"[..]));
        Disk.remove(&dir.join("one")).unwrap();
        Disk.remove(&dir.join("one")).unwrap();
        assert_eq!(Disk.list(&dir).unwrap(), ["two"]);
        assert!(Disk.free_space(&dir).unwrap() > 0);
    }

    #[test]
    fn a_directory_is_taken_once() {
        let dir = tempfile::tempdir().unwrap();
        let first = Disk.lock(dir.path()).unwrap();
        let second = Disk.lock(dir.path()).err().map(|error| error.kind());
        assert_eq!(second, Some(io::ErrorKind::WouldBlock));
        drop(first);
        assert!(Disk.lock(dir.path()).is_ok());
    }
}
