//! Which file holds which part of the WAL, for readers: found without locks, opened when needed.
//!
//! A file is named by the LSN of its first frame, and begins with a header of 32 bytes: magic
//! `bwal0001`, that LSN (u64), a CRC-32C of both (u32), zeros. Frame bytes follow. LSNs count
//! frame bytes only, so that `position = 32 + lsn - base`.
//!
//! Old files go (`keeper`). What lives of them was copied before; a reader that still knows the
//! old place is sent to the copy, and to nothing when the records were deleted.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};

use super::partition_state::Relocation;
use super::snapshot::ReadError;
use crate::locks::{Lock, Mutex};
use crate::storage::{File, Storage};
use crate::types::Lsn;

/// Bytes of a file before its first frame.
pub(super) const FILE_HEADER: usize = 32;

const MAGIC: [u8; 8] = *b"bwal0001";
const SUFFIX: &str = ".wal";

/// Files that readers keep open at once.
const OPEN_MAX: usize = 128;

/// The header of the file whose first frame is at `base`.
pub(super) fn encode_header(base: Lsn) -> [u8; FILE_HEADER] {
    let mut out = [0; FILE_HEADER];
    out[0..8].copy_from_slice(&MAGIC);
    out[8..16].copy_from_slice(&base.get().to_le_bytes());
    let crc = crc32c::crc32c(&out[..16]);
    out[16..20].copy_from_slice(&crc.to_le_bytes());
    out
}

pub(super) fn file_name(base: Lsn) -> String {
    format!("{:020}{SUFFIX}", base.get())
}

/// The LSN in a WAL file's name; `None` when it is another file.
pub(super) fn parse_name(name: &str) -> Option<Lsn> {
    let digits = name.strip_suffix(SUFFIX)?;
    if digits.len() != 20 {
        return None;
    }
    digits.parse().ok().map(Lsn)
}

/// `File` behind a type of known size, as `ArcSwapOption` wants it.
struct Handle(Arc<dyn File>);

/// One file of the WAL.
pub(super) struct WalFile {
    pub base: Lsn,
    path: PathBuf,
    handle: ArcSwapOption<Handle>,
}

impl WalFile {
    fn new(dir: &Path, base: Lsn) -> Self {
        Self {
            base,
            path: dir.join(file_name(base)),
            handle: ArcSwapOption::empty(),
        }
    }

    /// What errors call it.
    pub fn name(&self) -> String {
        self.path.display().to_string()
    }
}

/// All files of the WAL, oldest first.
pub(super) struct WalFiles {
    storage: Arc<dyn Storage>,
    dir: PathBuf,
    files: ArcSwap<Vec<Arc<WalFile>>>,
    /// Where batches lie now that lay in files that are gone, or soon will be.
    forwards: ArcSwap<BTreeMap<Lsn, (u32, Lsn)>>,
    /// Files in the order in which they were opened. Taken only to open one.
    opened: Mutex<VecDeque<Arc<WalFile>>>,
}

impl WalFiles {
    pub fn new(storage: Arc<dyn Storage>, dir: &Path, bases: &[Lsn]) -> Self {
        let files = bases.iter().map(|base| Arc::new(WalFile::new(dir, *base)));
        Self {
            files: ArcSwap::from_pointee(files.collect()),
            storage,
            dir: dir.to_owned(),
            forwards: ArcSwap::default(),
            opened: Mutex::new(Lock::WalOpened, VecDeque::new()),
        }
    }

    /// A new file begins at `base`. Only the committer adds files.
    pub fn add(&self, base: Lsn) {
        let mut files: Vec<_> = self.files.load().to_vec();
        assert!(
            files.last().is_none_or(|last| last.base < base),
            "WAL files follow one another"
        );
        files.push(Arc::new(WalFile::new(&self.dir, base)));
        self.files.store(Arc::new(files));
    }

    /// Number of files.
    pub fn count(&self) -> usize {
        self.files.load().len()
    }

    /// First LSN of the oldest file; of a WAL without files, 0.
    pub fn first(&self) -> Lsn {
        self.files.load().first().map_or(Lsn(0), |file| file.base)
    }

    /// First LSN of the file after the one that holds `lsn`; without one, beyond every LSN.
    pub fn after(&self, lsn: Lsn) -> Lsn {
        let files = self.files.load();
        let after = files.partition_point(|file| file.base <= lsn);
        files.get(after).map_or(Lsn(u64::MAX), |file| file.base)
    }

    /// First LSN of the file that holds `lsn`.
    pub fn base_of(&self, lsn: Lsn) -> Lsn {
        let files = self.files.load();
        let after = files.partition_point(|file| file.base <= lsn);
        after.checked_sub(1).map_or(lsn, |at| files[at].base)
    }

    /// First LSNs of the files before the one that begins at `floor`, oldest first.
    pub fn below(&self, floor: Lsn) -> Vec<Lsn> {
        let bases = self.files.load();
        let bases = bases.iter().map(|file| file.base);
        bases.take_while(|base| *base < floor).collect()
    }

    /// The oldest file, which begins at `base`, is about to be removed. Only the committer does.
    pub fn drop_first(&self, base: Lsn) {
        let mut files: Vec<_> = self.files.load().to_vec();
        assert_eq!(files.remove(0).base, base, "from the oldest on");
        let first = files.first().map_or(Lsn(u64::MAX), |file| file.base);
        self.files.store(Arc::new(files));
        if self.forwards.load().is_empty() {
            return;
        }
        let mut forwards = BTreeMap::clone(&self.forwards.load());
        forwards.retain(|_, (_, to)| *to >= first);
        self.forwards.store(Arc::new(forwards));
    }

    /// The file that was to be removed is still there.
    pub fn keep_first(&self, base: Lsn) {
        let mut files: Vec<_> = self.files.load().to_vec();
        files.insert(0, Arc::new(WalFile::new(&self.dir, base)));
        self.files.store(Arc::new(files));
    }

    /// Batches lie elsewhere from now on: for readers that still know the old places.
    pub fn forward(&self, moved: &[Relocation]) {
        if moved.is_empty() {
            return;
        }
        let mut forwards = BTreeMap::clone(&self.forwards.load());
        let again: BTreeMap<Lsn, Lsn> = moved.iter().map(|one| (one.from, one.to)).collect();
        for (_, to) in forwards.values_mut() {
            if let Some(newest) = again.get(to) {
                *to = *newest;
            }
        }
        forwards.extend(moved.iter().map(|one| (one.from, (one.len, one.to))));
        self.forwards.store(Arc::new(forwards));
    }

    /// Fills `buffer` with the frame bytes at `lsn`, which must lie in one file and be written.
    pub fn read(&self, lsn: Lsn, buffer: &mut [u8]) -> Result<(), ReadError> {
        let first = self.first();
        if lsn >= first {
            let read = self.read_in_place(lsn, buffer);
            if read.is_ok() || self.first() <= lsn {
                return read;
            }
        }
        // The file is gone: what lives of it lies elsewhere, in pieces.
        let forwards = self.forwards.load();
        let mut done = 0;
        while done < buffer.len() {
            let at = Lsn(lsn.get() + done as u64);
            let gone = || ReadError::Gone { position: at.get() };
            let (from, (len, to)) = forwards.range(..=at).next_back().ok_or_else(gone)?;
            let within = at.get() - from.get();
            let left = u64::from(*len).saturating_sub(within);
            let piece = left.min((buffer.len() - done) as u64);
            if piece == 0 {
                return Err(gone());
            }
            let piece = usize::try_from(piece).expect("at most the buffer");
            let place = Lsn(to.get() + within);
            let read = self.read_in_place(place, &mut buffer[done..done + piece]);
            read.map_err(|error| match self.first() > place {
                true => gone(),
                false => error,
            })?;
            done += piece;
        }
        Ok(())
    }

    fn read_in_place(&self, lsn: Lsn, buffer: &mut [u8]) -> Result<(), ReadError> {
        let file = self.holding(lsn)?;
        let position = position_in(file.base, lsn);
        let io_error = |error: io::Error| ReadError::Io {
            file: file.name(),
            position,
            reason: error.to_string(),
        };
        let handle = self.handle(&file).map_err(io_error)?;
        let read = handle.0.read_at(position, buffer).map_err(io_error)?;
        if read < buffer.len() {
            return Err(ReadError::Corrupt {
                file: file.name(),
                position,
                reason: format!("it ends after {read} of {} bytes", buffer.len()),
            });
        }
        Ok(())
    }

    /// A corruption found at `lsn`, with the place's name.
    pub fn corrupt(&self, lsn: Lsn, reason: String) -> ReadError {
        match self.holding(lsn) {
            Ok(file) => ReadError::Corrupt {
                file: file.name(),
                position: position_in(file.base, lsn),
                reason,
            },
            Err(missing) => missing,
        }
    }

    /// Whether the batches at `lsn` are the first of a file that is not the first.
    pub fn is_begun_by_a_roll(&self, lsn: Lsn) -> bool {
        let files = self.files.load();
        files
            .iter()
            .skip(1)
            .any(|file| super::recovery::batches_at(file.base) == lsn)
    }

    fn holding(&self, lsn: Lsn) -> Result<Arc<WalFile>, ReadError> {
        let files = self.files.load();
        let after = files.partition_point(|file| file.base <= lsn);
        match after.checked_sub(1) {
            Some(at) => Ok(files[at].clone()),
            None => Err(ReadError::Gone {
                position: lsn.get(),
            }),
        }
    }

    fn handle(&self, file: &Arc<WalFile>) -> io::Result<Arc<Handle>> {
        if let Some(handle) = file.handle.load_full() {
            return Ok(handle);
        }
        let handle = Arc::new(Handle(self.storage.open(&file.path, false)?));
        let mut opened = self.opened.lock();
        file.handle.store(Some(handle.clone()));
        opened.push_back(file.clone());
        if opened.len() > OPEN_MAX
            && let Some(oldest) = opened.pop_front()
        {
            oldest.handle.store(None);
        }
        Ok(handle)
    }
}

/// Where in the file that begins at `base` the frame bytes at `lsn` are.
pub(super) const fn position_in(base: Lsn, lsn: Lsn) -> u64 {
    FILE_HEADER as u64 + (lsn.get() - base.get())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::memory::MemoryStorage;

    #[test]
    fn names_hold_the_base_and_sort_by_it() {
        assert_eq!(file_name(Lsn(42)), "00000000000000000042.wal");
        assert_eq!(parse_name("00000000000000000042.wal"), Some(Lsn(42)));
        for other in [
            "LOCK",
            "42.wal",
            "0000000000000000004x.wal",
            "clean-shutdown",
        ] {
            assert_eq!(parse_name(other), None, "{other}");
        }
        assert!(file_name(Lsn(9)) < file_name(Lsn(10)));
    }

    #[test]
    fn readers_keep_only_some_files_open() {
        let storage = MemoryStorage::new();
        let bases: Vec<Lsn> = (0..300).map(|base| Lsn(base * 8)).collect();
        let files = WalFiles::new(Arc::new(storage.clone()), Path::new("d"), &bases);
        for base in &bases {
            let file = storage.create(&Path::new("d").join(file_name(*base)));
            let bytes = [encode_header(*base).as_slice(), &base.get().to_le_bytes()].concat();
            file.unwrap()
                .write_at(0, &[io::IoSlice::new(&bytes)])
                .unwrap();
        }
        for _ in 0..2 {
            for base in &bases {
                let mut bytes = [0; 8];
                files.read(*base, &mut bytes).unwrap();
                assert_eq!(bytes, base.get().to_le_bytes());
            }
        }
        let open = files
            .files
            .load()
            .iter()
            .filter(|f| f.handle.load().is_some())
            .count();
        assert_eq!(open, OPEN_MAX);
        assert!(matches!(
            files.read(Lsn(299 * 8), &mut [0; 9]),
            Err(ReadError::Corrupt { .. })
        ));
    }
}
