//! What is on the disk, what is wrong with it just now, and what has come of that.

use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fuser::Errno;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::content::{Content, Lost};
use super::tree::{Node, Tree};
use crate::cluster::{DiskOrder, DiskReport};

/// Files that hold records are called so; what holds metadata is left alone when a disk rots:
/// nothing replicates that.
const RECORDS: [&str; 2] = [".wal", ".log"];
/// So much is cut off a file at most.
const CUT_BYTES_MAX: u64 = 64 << 10;

/// What is wrong.
#[derive(Debug, Default)]
struct Wrong {
    full: bool,
    fail_sync: bool,
    fail_reads: bool,
    slow: Duration,
}

/// A disk.
#[derive(Debug)]
pub struct Volume {
    pub tree: Mutex<Tree>,
    wrong: Mutex<Wrong>,
    report: Mutex<DiskReport>,
    rng: Mutex<ChaCha8Rng>,
    backing: PathBuf,
}

fn no_records() -> io::Error {
    io::Error::other("no file holds records yet")
}

/// A panic while it is held leaves nothing half done that matters more than going on.
pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Volume {
    /// An empty disk whose bytes are files in the directory `backing`.
    pub fn new(backing: &Path, ordered: bool, seed: u64) -> Self {
        let owner = (
            nix::unistd::getuid().as_raw(),
            nix::unistd::getgid().as_raw(),
        );
        Self {
            tree: Mutex::new(Tree::new(ordered, owner)),
            wrong: Mutex::default(),
            report: Mutex::default(),
            rng: Mutex::new(ChaCha8Rng::seed_from_u64(seed)),
            backing: backing.to_owned(),
        }
    }

    fn place(&self, number: u64) -> PathBuf {
        self.backing.join(number.to_string())
    }

    /// A new file of that name.
    pub fn create(
        &self,
        dir: u64,
        name: &std::ffi::OsStr,
        mode: u16,
        owner: (u32, u32),
    ) -> Result<u64, Errno> {
        self.has_room()?;
        let mut tree = locked(&self.tree);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        let file = options.open(self.place(tree.next()))?;
        let number = tree.add(dir, name, Node::file(Content::new(file), mode, owner))?;
        tree.opened(number);
        Ok(number)
    }

    /// Forgets what nobody can reach any more.
    pub fn sweep(&self, tree: &mut Tree) {
        for number in tree.sweep() {
            // What cannot be removed now goes with the directory.
            let _ = std::fs::remove_file(self.place(number));
        }
    }

    pub fn read(&self, content: &Mutex<Content>, at: u64, size: u64) -> Result<Vec<u8>, Errno> {
        if locked(&self.wrong).fail_reads {
            locked(&self.report).failed_reads += 1;
            return Err(Errno::EIO);
        }
        Ok(locked(content).read(at, size)?)
    }

    pub fn write(&self, content: &Mutex<Content>, at: u64, bytes: &[u8]) -> Result<(), Errno> {
        let mut content = locked(content);
        if at + bytes.len() as u64 > content.len() {
            self.has_room()?;
        }
        Ok(content.write(at, bytes)?)
    }

    pub fn set_len(&self, content: &Mutex<Content>, len: u64) -> Result<(), Errno> {
        let mut content = locked(content);
        if len > content.len() {
            self.has_room()?;
        }
        Ok(content.set_len(len)?)
    }

    fn has_room(&self) -> Result<(), Errno> {
        if locked(&self.wrong).full {
            locked(&self.report).refused += 1;
            return Err(Errno::ENOSPC);
        }
        Ok(())
    }

    /// Makes what a file holds durable; takes the time that it takes.
    pub fn sync(&self, content: &Mutex<Content>) -> Result<(), Errno> {
        let began = Instant::now();
        let (mark, file) = {
            let content = locked(content);
            (content.mark(), content.file())
        };
        let slow = {
            let mut wrong = locked(&self.wrong);
            if std::mem::take(&mut wrong.fail_sync) {
                locked(&self.report).failed_syncs += 1;
                return Err(Errno::EIO);
            }
            wrong.slow
        };
        std::thread::sleep(slow);
        file.sync_data()?;
        locked(content).synced(mark);
        locked(&self.tree).file_synced();
        let mut report = locked(&self.report);
        report.syncs += 1;
        report.last_sync_us = began.elapsed().as_micros() as u64;
        Ok(())
    }

    /// (all, free) bytes.
    pub fn room(&self) -> io::Result<(u64, u64)> {
        let stat = nix::sys::statvfs::statvfs(&self.backing)?;
        let unit = stat.fragment_size();
        let free = match locked(&self.wrong).full {
            true => 0,
            false => stat.blocks_available() * unit,
        };
        Ok((stat.blocks() * unit, free))
    }

    /// Does what a fault asks for.
    pub fn obey(&self, order: &DiskOrder) -> io::Result<()> {
        let mut wrong = locked(&self.wrong);
        match order {
            DiskOrder::LosePower { torn } => {
                drop(wrong);
                return self.lose(*torn);
            }
            DiskOrder::Full(full) => wrong.full = *full,
            DiskOrder::FailSync(fail) => wrong.fail_sync = *fail,
            DiskOrder::FailReads(fail) => {
                if *fail && !wrong.fail_reads {
                    locked(&self.report).failed_reads = 0;
                }
                wrong.fail_reads = *fail;
            }
            DiskOrder::Slow(slow) => wrong.slow = *slow,
            DiskOrder::FlipBit => {
                drop(wrong);
                return self.flip();
            }
            DiskOrder::CutTail => {
                drop(wrong);
                return self.cut();
            }
        }
        Ok(())
    }

    fn lose(&self, torn: bool) -> io::Result<()> {
        let mut tree = locked(&self.tree);
        let mut rng = locked(&self.rng);
        let mut lost = Lost::default();
        // A file that has only a durable name left is read again, too: so all of them.
        for number in tree.numbers() {
            let Ok(content) = tree.content(number) else {
                continue;
            };
            let tear = torn.then_some(&mut *rng);
            lost.add(locked(&content).lose(tear)?);
        }
        let names = tree.lose();
        self.sweep(&mut tree);
        let mut report = locked(&self.report);
        report.lost_writes = lost.writes;
        report.lost_bytes = lost.bytes - lost.kept.min(lost.bytes);
        report.kept_bytes = lost.kept;
        report.lost_names = names;
        Ok(())
    }

    /// One bit of one of the files that hold records.
    fn flip(&self) -> io::Result<()> {
        let files = self.records();
        let mut rng = locked(&self.rng);
        let (name, content) = files.choose(&mut *rng).ok_or_else(no_records)?;
        let mut content = locked(content);
        let at = rng.random_range(0..content.len());
        content.flip(at, rng.random_range(0..8))?;
        locked(&self.report).flipped = Some(format!("{name} at {at}"));
        Ok(())
    }

    /// The end of the file of records that was written last, as if it had never been synced.
    fn cut(&self) -> io::Result<()> {
        let files = self.records();
        let last = files
            .iter()
            .max_by_key(|(_, content)| locked(content).changed);
        let (name, content) = last.ok_or_else(no_records)?;
        let mut content = locked(content);
        let most = content.len().min(CUT_BYTES_MAX);
        let cut = locked(&self.rng).random_range(1..=most);
        let len = content.len() - cut;
        content.set_len(len)?;
        let mark = content.mark();
        content.synced(mark);
        locked(&self.report).cut = Some(format!("{cut} bytes off {name}"));
        Ok(())
    }

    /// Files with records in them, and their names.
    fn records(&self) -> Vec<(String, Arc<Mutex<Content>>)> {
        let files = locked(&self.tree).files();
        let named = files.into_iter().map(|(name, content)| {
            let name = name.to_string_lossy().into_owned();
            (name, content)
        });
        let holds = |(name, content): &(String, Arc<Mutex<Content>>)| {
            RECORDS.iter().any(|end| name.ends_with(end)) && locked(content).len() > 0
        };
        named.filter(holds).collect()
    }

    /// What has come of it all.
    pub fn report(&self) -> io::Result<DiskReport> {
        let mut report = locked(&self.report).clone();
        report.room = self.room()?.1;
        report.sync_will_fail = locked(&self.wrong).fail_sync;
        let tree = locked(&self.tree);
        let files = tree.files();
        report.unsynced_bytes = files.iter().map(|(_, file)| locked(file).unsynced()).sum();
        Ok(report)
    }
}
