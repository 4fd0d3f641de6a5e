//! The write-ahead log's writer: the only code that calls fdatasync.
//!
//! [`Wal::commit`] is pure but for the files it writes: given frames in LSN order it lays them
//! out as one write per file (one file, unless it rolls), one fdatasync each in fsync mode, and
//! moves `written` and `durable`. It is driven by `committer`: from a thread in production, by
//! hand in tests and simulation.
//!
//! Invariants:
//! * a file is synced as a whole before the next one is made, in both durability modes: so a bad
//!   frame in any file but the last is corruption for certain;
//! * `durable` moves only after fdatasync returned Ok (invariant I18);
//! * a failed fdatasync is never tried again: the kernel may have dropped the pages and would
//!   then report success ("fsyncgate"). The caller ends the process.
//!
//! A full disk is no failure, nor are too many open files: what was written before stands, and the
//! same frames are written to the same place when there is room.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;
use tokio::time::Instant;

use super::committer::Receipt;
use super::frame::{FRAME_ALIGN, FRAME_HEADER, FrameHeader, Payload};
use super::metrics::LogMetrics;
use super::wal_files::{FILE_HEADER, WalFiles, encode_header, file_name, position_in};
use crate::chaos::seeded_bug::{BugSet, SeededBug};
use crate::invariants::{Invariant, uphold};
use crate::storage::{File, Storage, is_no_handle, is_no_space};
use crate::types::{Durability, Lsn};

/// In replicated mode: bytes that are handed to the disk at once, long before they are synced.
const WRITEBACK_BYTES: u64 = 1 << 20;

const PADDING: [u8; FRAME_ALIGN] = [0; FRAME_ALIGN];

/// A record with its place in the WAL.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub lsn: Lsn,
    pub payload: Payload,
    /// Who hears of it; nothing to the writer.
    pub receipt: Receipt,
}

impl Frame {
    /// Where the next frame begins.
    pub fn end(&self) -> Lsn {
        Lsn(self.lsn.get() + self.payload.frame_len())
    }
}

/// Why a commit did not go through to its end.
#[derive(Debug, Error)]
pub(super) enum WalError {
    /// Frames above `written` can be committed again later.
    #[error("{file}: {source}")]
    Lacks {
        what: Lack,
        file: String,
        source: io::Error,
    },
    /// Nothing may be written any more.
    #[error("cannot {what} {file}: {source}")]
    Failed {
        what: &'static str,
        file: String,
        source: io::Error,
    },
}

/// What has to be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lack {
    /// Room on the disk.
    Space,
    /// Another open file.
    Handles,
}

struct Current {
    file: Arc<dyn File>,
    path: PathBuf,
    base: Lsn,
    /// Whether something was written since the last sync.
    dirty: bool,
    /// Position up to which the disk was asked to take what was written.
    asked: u64,
}

/// The writer. One per log directory.
pub(super) struct Wal {
    storage: Arc<dyn Storage>,
    dir: PathBuf,
    files: Arc<WalFiles>,
    durability: Durability,
    roll_bytes: u64,
    bugs: BugSet,
    metrics: Arc<LogMetrics>,
    current: Option<Current>,
    written: Lsn,
    durable: Lsn,
}

impl Wal {
    /// A writer that goes on at `end`, which is durable, in a new file. The file is made with the
    /// first commit.
    pub fn new(
        storage: Arc<dyn Storage>,
        dir: &Path,
        files: Arc<WalFiles>,
        (durability, roll_bytes, bugs): (Durability, u64, BugSet),
        metrics: Arc<LogMetrics>,
        end: Lsn,
    ) -> Self {
        Self {
            storage,
            dir: dir.to_owned(),
            files,
            durability,
            roll_bytes,
            bugs,
            metrics,
            current: None,
            written: end,
            durable: end,
        }
    }

    /// End of what was handed to the operating system.
    pub const fn written(&self) -> Lsn {
        self.written
    }

    /// End of what survives power loss.
    pub const fn durable(&self) -> Lsn {
        self.durable
    }

    /// First LSN of the file that is being written, or of the next one.
    pub fn current_base(&self) -> Lsn {
        self.current.as_ref().map_or(self.written, |file| file.base)
    }

    /// Writes `frames`, which begin at [`Self::written`] and follow one another, and in fsync
    /// mode makes them durable. After an error both ends tell how far it came.
    pub fn commit(&mut self, frames: &[Frame]) -> Result<(), WalError> {
        let mut rest = frames;
        while let Some(first) = rest.first() {
            assert_eq!(first.lsn, self.written, "frames leave no gap");
            let file = self.file_for(first)?;
            let base = file.base;
            let fits = |frame: &Frame| position_in(base, frame.end()) <= self.roll_bytes;
            let count = rest.iter().take_while(|frame| fits(frame)).count().max(1);
            let (run, later) = rest.split_at(count);
            self.write(run)?;
            if self.durability == Durability::Fsync {
                self.sync()?;
            }
            rest = later;
        }
        Ok(())
    }

    /// Makes everything that was written durable.
    pub fn sync(&mut self) -> Result<(), WalError> {
        let Some(current) = self.current.as_mut().filter(|current| current.dirty) else {
            return Ok(());
        };
        let began = tokio::time::Instant::now();
        let outcome = current.file.datasync();
        let synced = outcome.is_ok();
        if !self.bugs.has(SeededBug::FsyncErrorIgnored) {
            outcome.map_err(|source| WalError::Failed {
                what: "fdatasync",
                file: current.path.display().to_string(),
                source,
            })?;
        }
        self.metrics.fsync_micros.record(elapsed_micros(began));
        current.dirty = false;
        uphold(Invariant::SyncedBeforeDurable, self.bugs, synced);
        self.durable = self.written;
        Ok(())
    }

    /// The file that takes `frame`: the current one while it has room, else a new one.
    fn file_for(&mut self, frame: &Frame) -> Result<&Current, WalError> {
        let full = |current: &Current| {
            frame.lsn > current.base && position_in(current.base, frame.end()) > self.roll_bytes
        };
        if self.current.as_ref().is_none_or(full) {
            self.sync()?;
            self.current = None;
            self.current = Some(self.new_file()?);
            self.metrics.files.set(self.files.count() as u64);
        }
        Ok(self.current.as_ref().expect("made just now"))
    }

    fn new_file(&self) -> Result<Current, WalError> {
        let base = self.written;
        let path = self.dir.join(file_name(base));
        let fail = |source| failure("create", &path, source);
        // What an earlier try on a full disk left has no frames and is no file of the WAL yet.
        self.storage.remove(&path).map_err(fail)?;
        let file = self.storage.create(&path).map_err(fail)?;
        let header = encode_header(base);
        file.write_at(0, &[IoSlice::new(&header)])
            .map_err(|source| failure("write", &path, source))?;
        self.files.add(base);
        Ok(Current {
            file,
            path,
            base,
            dirty: true,
            asked: 0,
        })
    }

    /// One write of frames that belong into the current file.
    fn write(&mut self, run: &[Frame]) -> Result<(), WalError> {
        let durable = self.durable;
        let headers: Vec<[u8; FRAME_HEADER]> = run
            .iter()
            .map(|frame| header_of(frame, durable).encode())
            .collect();
        let mut slices = Vec::with_capacity(run.len() * 3);
        for (frame, header) in run.iter().zip(&headers) {
            let payload = &frame.payload.bytes;
            let padding = (frame.payload.frame_len() as usize) - FRAME_HEADER - payload.len();
            slices.push(IoSlice::new(header));
            slices.push(IoSlice::new(payload));
            slices.push(IoSlice::new(&PADDING[..padding]));
        }
        let current = self.current.as_mut().expect("file_for was called");
        let position = position_in(current.base, self.written);
        current.dirty = true;
        current
            .file
            .write_at(position, &slices)
            .map_err(|source| failure("write", &current.path, source))?;
        self.written = run.last().map_or(self.written, Frame::end);
        // Else the whole file waits in memory until the sync of its end, which then holds up
        // everybody's appends for as long as the disk takes for all of it.
        let end = position_in(current.base, self.written);
        if self.durability == Durability::Replicated && end - current.asked >= WRITEBACK_BYTES {
            current
                .file
                .start_writeback(current.asked, end - current.asked);
            current.asked = end;
        }
        let bytes = self.written.get() - run[0].lsn.get();
        self.metrics.bytes.add(bytes);
        self.metrics.frames.add(run.len() as u64);
        Ok(())
    }
}

fn header_of(frame: &Frame, durable: Lsn) -> FrameHeader {
    FrameHeader {
        payload_len: u32::try_from(frame.payload.bytes.len()).expect("payloads are below 1 GiB"),
        payload_crc: frame.payload.crc,
        lsn: frame.lsn,
        durable,
        kind: frame.payload.kind,
    }
}

fn failure(what: &'static str, path: &Path, source: io::Error) -> WalError {
    let file = path.display().to_string();
    let lack = match () {
        () if is_no_space(&source) => Some(Lack::Space),
        () if is_no_handle(&source) => Some(Lack::Handles),
        () => None,
    };
    match lack {
        Some(what) => WalError::Lacks { what, file, source },
        None => WalError::Failed { what, file, source },
    }
}

fn elapsed_micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// Cuts a torn tail off the last file, durably, before anything is appended after it. A file with
/// no frame left is removed.
pub(super) fn cut_tail(storage: &dyn Storage, path: &Path, position: u64) -> io::Result<()> {
    if position <= FILE_HEADER as u64 {
        return storage.remove(path);
    }
    let file = storage.open(path, true)?;
    file.set_len(position)?;
    file.datasync()
}
