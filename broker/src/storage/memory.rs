//! Files in memory, on a disk that can fail in every way that matters to a log.
//!
//! * [`MemoryStorage::crash`] is a power loss: what was not synced is lost or torn, block by block
//!   and in any order, as the generator decides. Or the process dies alone: everything is still
//!   there to be read, and no more durable than before.
//! * [`MemoryStorage::blow_fuse_after`]: the disk dies in the middle of the n-th change from now;
//!   so a crash can land inside any operation.
//! * A capacity (disk full), and errors of the next datasync or read.
//!
//! A name made by `create`, or changed by `replace` or `remove`, is durable when the call
//! returns, as [`Storage`] promises.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use rand::Rng;

use super::{File, Storage};

/// A write reaches the disk in blocks of this many bytes, each or not.
const BLOCK: usize = 512;

/// What a power loss does to writes that were not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// None of them reached the disk.
    LoseUnsynced,
    /// The process died, the machine did not: all of them are there to be read, and a later power
    /// loss can still take them.
    KeepUnsynced,
    /// Each block of each of them did or did not.
    TearUnsynced,
}

#[derive(Debug)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    SetLen(usize),
}

#[derive(Debug, Default)]
struct Inode {
    durable: Vec<u8>,
    current: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Debug, Default)]
struct World {
    files: BTreeMap<PathBuf, Arc<Mutex<Inode>>>,
    locks: BTreeMap<PathBuf, Arc<()>>,
    /// Changes until the disk dies; `None`: never.
    fuse: Option<u64>,
    capacity: Option<usize>,
    fail_datasync: bool,
    fail_reads: bool,
    /// Errors of the operating system with which writes, and new or removed names, are refused.
    refuse_writes: Option<i32>,
    refuse_names: Option<i32>,
}

/// A file system in memory. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct MemoryStorage {
    world: Arc<Mutex<World>>,
    /// Set when the process that has this mount is dead: what its destructors write is refused.
    unmounted: Arc<AtomicBool>,
}

struct MemoryFile {
    storage: MemoryStorage,
    inode: Arc<Mutex<Inode>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder of this lock panics")
}

fn dead() -> io::Error {
    io::Error::other("the disk is dead")
}

fn apply(content: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if content.len() < at + bytes.len() {
        content.resize(at + bytes.len(), 0);
    }
    content[at..at + bytes.len()].copy_from_slice(bytes);
}

impl Inode {
    /// The file as whoever comes after the crash finds it.
    fn after(&mut self, crash: Crash, rng: &mut impl Rng) -> Self {
        let durable = std::mem::take(&mut self.durable);
        let unsynced = std::mem::take(&mut self.unsynced);
        let content = match crash {
            Crash::KeepUnsynced => {
                return Self {
                    durable,
                    current: self.current.clone(),
                    unsynced,
                };
            }
            Crash::LoseUnsynced => durable,
            Crash::TearUnsynced => torn(durable, &unsynced, rng),
        };
        Self {
            durable: content.clone(),
            current: content,
            unsynced: Vec::new(),
        }
    }
}

/// What the disk holds of `unsynced` changes, on top of `content`.
fn torn(mut content: Vec<u8>, unsynced: &[Change], rng: &mut impl Rng) -> Vec<u8> {
    for change in unsynced {
        match change {
            Change::SetLen(len) => {
                if rng.random() {
                    content.resize(*len, 0);
                }
            }
            Change::Write { at, bytes } => {
                // Biased per write, so that whole writes survive and vanish often enough.
                let odds = [0.0, 0.5, 0.9, 1.0][rng.random_range(0..4)];
                for (block, part) in bytes.chunks(BLOCK).enumerate() {
                    if rng.random_bool(odds) {
                        apply(&mut content, at + block * BLOCK, part);
                    }
                }
            }
        }
    }
    content
}

impl MemoryStorage {
    /// An empty, healthy disk without limits.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn world(&self) -> MutexGuard<'_, World> {
        locked(&self.world)
    }

    /// The process that used the disk died, its kernel lives: a blown fuse and other faults are
    /// gone, and what was written is there, synced or not.
    pub fn mend(&self) {
        let mut world = self.world();
        world.fuse = None;
        world.fail_datasync = false;
        world.fail_reads = false;
    }

    /// The same disk for the next process.
    #[must_use]
    pub fn remount(&self) -> Self {
        Self {
            world: self.world.clone(),
            unmounted: Arc::default(),
        }
    }

    /// Another disk with the same durable contents.
    #[must_use]
    pub fn copy(&self) -> Self {
        let other = Self::new();
        for (path, inode) in &self.world().files {
            let durable = locked(inode).durable.clone();
            let inode = Inode {
                current: durable.clone(),
                durable,
                unsynced: Vec::new(),
            };
            let inode = Arc::new(Mutex::new(inode));
            other.world().files.insert(path.clone(), inode);
        }
        other
    }

    /// From now on nothing is changed any more through this mount and the files opened by it.
    /// What was written stays, as in the page cache of a kernel whose process was killed.
    pub fn unmount(&self) {
        self.unmounted.store(true, Ordering::Release);
        self.world().locks.clear();
    }

    /// The world, to be changed.
    fn changing(&self) -> io::Result<MutexGuard<'_, World>> {
        match self.unmounted.load(Ordering::Acquire) {
            true => Err(dead()),
            false => Ok(self.world()),
        }
    }

    /// The disk dies within the change after the next `changes`: it fails, done in part, and so
    /// does everything after it until [`Self::crash`].
    pub fn blow_fuse_after(&self, changes: u64) {
        self.world().fuse = Some(changes);
    }

    /// Whether the fuse has blown.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.world().fuse == Some(0)
    }

    /// Bytes that all files together may have; `None`: no limit.
    pub fn set_capacity(&self, capacity: Option<usize>) {
        self.world().capacity = capacity;
    }

    /// The next datasync fails, and what it should have synced will be lost in a crash.
    pub fn fail_next_datasync(&self) {
        self.world().fail_datasync = true;
    }

    /// Takes [`MemoryStorage::fail_next_datasync`] back: whether it was still to come.
    pub fn spare_next_datasync(&self) -> bool {
        std::mem::take(&mut self.world().fail_datasync)
    }

    /// Whether a datasync that is to fail has not come yet.
    #[must_use]
    pub fn will_fail_datasync(&self) -> bool {
        self.world().fail_datasync
    }

    /// Reads fail from now on, or work again.
    pub fn fail_reads(&self, fail: bool) {
        self.world().fail_reads = fail;
    }

    /// Writes are refused with this error (`errno`) and change nothing, or work again.
    pub fn refuse_writes(&self, errno: Option<i32>) {
        self.world().refuse_writes = errno;
    }

    /// Making and removing files is refused with this error (`errno`), or works again.
    pub fn refuse_names(&self, errno: Option<i32>) {
        self.world().refuse_names = errno;
    }

    /// Power loss or death of the process: what is left is what a later `open` sees. Files opened
    /// before must not be used any more. Faults are cleared; the capacity stays.
    pub fn crash(&self, crash: Crash, rng: &mut impl Rng) {
        let mut world = self.world();
        for inode in world.files.values_mut() {
            let found = locked(inode).after(crash, rng);
            *inode = Arc::new(Mutex::new(found));
        }
        world.fuse = None;
        world.fail_datasync = false;
        world.fail_reads = false;
        world.locks.clear();
    }

    /// Changes the bytes of a file behind everybody's back.
    ///
    /// # Panics
    /// If there is no such file.
    pub fn tamper(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let world = self.world();
        let mut inode = locked(&world.files[path]);
        change(&mut inode.current);
        inode.durable = inode.current.clone();
        inode.unsynced.clear();
    }

    /// Every file with its size, sorted.
    #[must_use]
    pub fn files(&self) -> Vec<(PathBuf, usize)> {
        let world = self.world();
        let sized = |(path, inode): (&PathBuf, &Arc<Mutex<Inode>>)| {
            (path.clone(), locked(inode).current.len())
        };
        world.files.iter().map(sized).collect()
    }
}

fn refused(errno: Option<i32>) -> io::Result<()> {
    match errno {
        Some(errno) => Err(io::Error::from_raw_os_error(errno)),
        None => Ok(()),
    }
}

impl World {
    /// Counts one change; says whether it is the one in which the disk dies.
    fn burn(&mut self) -> io::Result<bool> {
        match &mut self.fuse {
            Some(0) => Err(dead()),
            Some(left) => {
                *left -= 1;
                Ok(*left == 0)
            }
            None => Ok(false),
        }
    }

    fn used(&self) -> usize {
        self.files
            .values()
            .map(|inode| locked(inode).current.len())
            .sum()
    }

    fn room(&self) -> usize {
        self.capacity
            .map_or(usize::MAX, |capacity| capacity.saturating_sub(self.used()))
    }
}

impl File for MemoryFile {
    fn write_at(&self, position: u64, buffers: &[IoSlice<'_>]) -> io::Result<()> {
        let at = usize::try_from(position).map_err(io::Error::other)?;
        let mut bytes: Vec<u8> = Vec::new();
        buffers
            .iter()
            .for_each(|buffer| bytes.extend_from_slice(buffer));
        let mut world = self.storage.changing()?;
        refused(world.refuse_writes)?;
        let dies = world.burn()?;
        let room = world.room();
        let mut inode = locked(&self.inode);
        let grows = (at + bytes.len()).saturating_sub(inode.current.len());
        let full = grows > room;
        if full {
            bytes.truncate(bytes.len() - (grows - room));
        }
        if dies {
            bytes.truncate(bytes.len() / 2);
        }
        apply(&mut inode.current, at, &bytes);
        inode.unsynced.push(Change::Write { at, bytes });
        match (dies, full) {
            (true, _) => Err(dead()),
            (_, true) => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }

    fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if self.storage.world().fail_reads {
            return Err(io::Error::other("the disk cannot be read"));
        }
        let inode = locked(&self.inode);
        let from = usize::try_from(position).map_err(io::Error::other)?;
        let rest = inode.current.get(from..).unwrap_or_default();
        let read = rest.len().min(buffer.len());
        buffer[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn datasync(&self) -> io::Result<()> {
        let mut world = self.storage.changing()?;
        if world.burn()? {
            return Err(dead());
        }
        let mut inode = locked(&self.inode);
        if std::mem::take(&mut world.fail_datasync) {
            inode.unsynced.clear();
            return Err(io::Error::other("the disk could not sync"));
        }
        let Inode {
            durable, unsynced, ..
        } = &mut *inode;
        for change in unsynced.drain(..) {
            match change {
                Change::Write { at, bytes } => apply(durable, at, &bytes),
                Change::SetLen(len) => durable.resize(len, 0),
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if self.storage.changing()?.burn()? {
            return Err(dead());
        }
        let len = usize::try_from(len).map_err(io::Error::other)?;
        let mut inode = locked(&self.inode);
        inode.current.resize(len, 0);
        inode.unsynced.push(Change::SetLen(len));
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(locked(&self.inode).current.len() as u64)
    }
}

impl MemoryStorage {
    fn file(&self, inode: &Arc<Mutex<Inode>>) -> Arc<dyn File> {
        Arc::new(MemoryFile {
            storage: self.clone(),
            inode: inode.clone(),
        })
    }
}

impl Storage for MemoryStorage {
    fn create_dir_all(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let world = self.world();
        let inside = world.files.keys().filter(|path| path.parent() == Some(dir));
        let names = inside.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()));
        Ok(names.collect())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut world = self.changing()?;
        refused(world.refuse_names)?;
        if world.files.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if world.room() == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let dies = world.burn()?;
        let inode = Arc::new(Mutex::new(Inode::default()));
        world.files.insert(path.to_owned(), inode.clone());
        match dies {
            true => Err(dead()),
            false => Ok(self.file(&inode)),
        }
    }

    fn open(&self, path: &Path, _write: bool) -> io::Result<Arc<dyn File>> {
        let world = self.world();
        let inode = world.files.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.file(inode))
    }

    fn replace(&self, path: &Path, contents: &[u8]) -> io::Result<()> {
        let mut world = self.changing()?;
        if world.burn()? {
            return Err(dead());
        }
        if world.room() < contents.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let inode = Inode {
            durable: contents.to_vec(),
            current: contents.to_vec(),
            unsynced: Vec::new(),
        };
        world
            .files
            .insert(path.to_owned(), Arc::new(Mutex::new(inode)));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut world = self.changing()?;
        refused(world.refuse_names)?;
        if world.burn()? {
            return Err(dead());
        }
        world.files.remove(path);
        Ok(())
    }

    fn free_space(&self, _dir: &Path) -> io::Result<u64> {
        Ok(self.world().room() as u64)
    }

    fn lock(&self, dir: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let mut world = self.world();
        let holder = world.locks.entry(dir.to_owned()).or_default();
        if Arc::strong_count(holder) > 1 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(holder.clone()))
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn content(storage: &MemoryStorage, path: &Path) -> Vec<u8> {
        super::super::read_small(storage, path).unwrap().unwrap()
    }

    #[test]
    fn a_crash_loses_what_was_not_synced() {
        let rng = &mut ChaCha8Rng::seed_from_u64(1);
        let (storage, path) = (MemoryStorage::new(), Path::new("d/f"));
        let file = storage.create(path).unwrap();
        file.write_at(0, &[IoSlice::new(b"safe")]).unwrap();
        file.datasync().unwrap();
        file.write_at(4, &[IoSlice::new(b"lost")]).unwrap();
        assert_eq!(content(&storage, path), b"safelost");
        storage.crash(Crash::LoseUnsynced, rng);
        assert_eq!(content(&storage, path), b"safe");
    }

    #[test]
    fn a_process_death_makes_nothing_durable() {
        let rng = &mut ChaCha8Rng::seed_from_u64(1);
        let (storage, path) = (MemoryStorage::new(), Path::new("d/f"));
        let file = storage.create(path).unwrap();
        file.write_at(0, &[IoSlice::new(b"safe")]).unwrap();
        file.datasync().unwrap();
        file.write_at(4, &[IoSlice::new(b"lost")]).unwrap();
        storage.crash(Crash::KeepUnsynced, rng);
        assert_eq!(content(&storage, path), b"safelost");
        storage.crash(Crash::LoseUnsynced, rng);
        assert_eq!(content(&storage, path), b"safe");

        let file = storage.open(path, true).unwrap();
        file.write_at(4, &[IoSlice::new(b"kept")]).unwrap();
        storage.crash(Crash::KeepUnsynced, rng);
        storage.open(path, true).unwrap().datasync().unwrap();
        storage.crash(Crash::LoseUnsynced, rng);
        assert_eq!(content(&storage, path), b"safekept");
    }

    #[test]
    fn a_torn_write_leaves_holes() {
        let path = Path::new("d/f");
        let torn = (0..50u64).any(|seed| {
            let storage = MemoryStorage::new();
            let file = storage.create(path).unwrap();
            file.write_at(0, &[IoSlice::new(&[7; 4 * BLOCK])]).unwrap();
            storage.crash(Crash::TearUnsynced, &mut ChaCha8Rng::seed_from_u64(seed));
            let content = content(&storage, path);
            content.first() == Some(&0) && content.last() == Some(&7)
        });
        assert!(torn, "some seed loses the first block and keeps the last");
    }

    #[test]
    fn the_fuse_kills_the_disk_in_the_middle_of_a_write() {
        let (storage, path) = (MemoryStorage::new(), Path::new("d/f"));
        let file = storage.create(path).unwrap();
        storage.blow_fuse_after(2);
        file.write_at(0, &[IoSlice::new(b"1234")]).unwrap();
        assert!(file.write_at(4, &[IoSlice::new(b"5678")]).is_err());
        assert!(file.datasync().is_err());
        assert!(storage.is_dead());
        storage.crash(Crash::KeepUnsynced, &mut ChaCha8Rng::seed_from_u64(1));
        assert_eq!(content(&storage, path), b"123456");
    }

    #[test]
    fn a_full_disk_takes_part_of_a_write() {
        let (storage, path) = (MemoryStorage::new(), Path::new("d/f"));
        let file = storage.create(path).unwrap();
        storage.set_capacity(Some(6));
        let error = file.write_at(0, &[IoSlice::new(b"12345678")]).unwrap_err();
        assert!(super::super::is_no_space(&error));
        assert_eq!(content(&storage, path), b"123456");
        assert_eq!(storage.free_space(Path::new("d")).unwrap(), 0);
    }
}
