//! Replay: the log is a fold over the WAL's frames, in order.
//!
//! A frame is good when its header's CRC holds, its LSN is the one expected there, its payload is
//! all there and its payload's CRC holds. At the first bad frame, at LSN P, one question decides:
//! does anything that was written later say that P was durable?
//! * A later WAL file is there: a file is made only after the one before was synced as a whole.
//! * A later frame of the same file has a good header whose durable LSN is above P.
//! * The clean-shutdown marker says that the WAL ended above P, or the file that names the newest
//!   checkpoint says that it was durable there.
//!
//! Yes: corruption; the store is not opened and nothing is changed. No: a torn tail, and the WAL
//! ends at P. Un-synced pages may reach the disk in any order, so good frames after a bad one
//! prove nothing by being good.
//!
//! Deliberately absent: writes. Cutting the tail is the store's business, so that `dump` can
//! read a directory without changing it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::frame::{
    self, FRAME_ALIGN, FRAME_HEADER, FrameHeader, PAYLOAD_MAX, Record, decode_record, frame_len,
    is_checkpoint,
};
use super::store::OpenError;
use super::wal_files::{FILE_HEADER, encode_header, parse_name, position_in};
use crate::chaos::seeded_bug::{BugSet, SeededBug};
use crate::storage::{File, Storage};
use crate::types::Lsn;

/// Bytes read from a file at once.
const READ_CHUNK: usize = 1 << 20;

/// A tail that was being written when the power went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The last WAL file.
    pub file: PathBuf,
    /// Where its good frames end.
    pub position: u64,
    /// Bytes after that.
    pub bytes: u64,
    /// What is wrong with the first of them.
    pub reason: String,
}

impl fmt::Display for TornTail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ends in what looks like an unfinished write ({}): {} bytes from byte {} on are cut \
             off; no later record says that they were synced, but whether some of them were \
             acknowledged is not known: if neither this broker nor its machine crashed, suspect \
             the disk",
            self.file.display(),
            self.reason,
            self.bytes,
            self.position
        )
    }
}

/// What replay found.
#[derive(Clone, Debug)]
pub(super) struct Replayed {
    /// First LSN of each file, in order.
    pub bases: Vec<Lsn>,
    /// Where the WAL ends.
    pub end: Lsn,
    /// What comes before was durable when something after it was written; of the rest nobody knows.
    pub proven: Lsn,
    /// The last file must be cut before anything is appended.
    pub torn: Option<TornTail>,
    /// Bytes read.
    pub bytes: u64,
}

impl OpenError {
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io {
            dir: path.display().to_string(),
            source,
        }
    }

    pub(super) fn corrupt(path: &Path, position: u64, reason: String) -> Self {
        Self::Corrupt {
            file: path.display().to_string(),
            position,
            reason,
        }
    }
}

/// Where replay begins, and what is known of where it should end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    /// Records from this LSN on are folded.
    pub from: Lsn,
    /// This many bytes before it are read, too, and checked; in whole files.
    pub verify: u64,
    /// Where the WAL ended when it was closed cleanly; and an LSN up to which it was durable.
    pub claims: (Option<Lsn>, Option<Lsn>),
}

/// The WAL's files in order: first LSN, path.
pub(super) fn wal_files(
    storage: &dyn Storage,
    dir: &Path,
) -> Result<Vec<(Lsn, PathBuf)>, OpenError> {
    let names = storage
        .list(dir)
        .map_err(|error| OpenError::io(dir, error))?;
    let files = names
        .iter()
        .filter_map(|name| Some((parse_name(name)?, dir.join(name))));
    Ok(files.collect())
}

/// The payload of the checkpoint whose frame is at `lsn`, if it is one and undamaged.
pub(super) fn read_checkpoint(
    storage: &dyn Storage,
    files: &[(Lsn, PathBuf)],
    lsn: Lsn,
) -> Result<Option<Vec<u8>>, OpenError> {
    let after = files.partition_point(|(base, _)| *base <= lsn);
    let Some((base, path)) = after.checked_sub(1).map(|at| &files[at]) else {
        return Ok(None);
    };
    let mut scan = Scan::open(storage, *base, path, BugSet::NONE)?;
    let position = position_in(*base, lsn);
    let head = FrameHeader::decode(scan.bytes(position, FRAME_HEADER)?);
    let Some(head) = head.filter(|head| head.lsn == lsn && is_checkpoint(head.kind)) else {
        return Ok(None);
    };
    let size = head.payload_len as usize;
    if size > PAYLOAD_MAX || position + frame_len(size) > scan.len {
        return Ok(None);
    }
    let payload = scan.bytes(position + FRAME_HEADER as u64, size)?;
    Ok((crc32c::crc32c(payload) == head.payload_crc).then(|| payload.to_vec()))
}

/// Gives every record of the WAL from the origin on to `fold`, which may refuse one that
/// contradicts what came before.
pub(super) fn replay(
    storage: &dyn Storage,
    files: &[(Lsn, PathBuf)],
    (origin, bugs): (Origin, BugSet),
    mut fold: impl FnMut(Lsn, Record<'_>) -> Result<(), String>,
) -> Result<Replayed, OpenError> {
    let (closed_at, durable_to) = origin.claims;
    let least = Lsn(origin.from.get().saturating_sub(origin.verify));
    let begins = files.partition_point(|(base, _)| *base <= least);
    let mut found = Replayed {
        bases: files.iter().map(|(base, _)| *base).collect(),
        end: Lsn(0),
        proven: durable_to.unwrap_or_default(),
        torn: None,
        bytes: 0,
    };
    for (at, (base, path)) in files.iter().enumerate() {
        let next_base = files.get(at + 1).map(|(base, _)| *base);
        let mut scan = Scan::open(storage, *base, path, bugs)?;
        if let Some(next_base) = next_base.filter(|_| at + 1 < begins) {
            scan.skip_to(next_base)?;
            continue;
        }
        scan.is_last = next_base.is_none();
        let bad = scan.run(&mut |lsn, record| match lsn < origin.from {
            true => Ok(()),
            false => fold(lsn, record),
        })?;
        found.end = scan.lsn;
        found.proven = found.proven.max(*base).max(scan.proven);
        found.bytes += scan.len;
        let claimed = closed_at.max(durable_to).filter(|lsn| *lsn > found.end);
        found.torn = match (bad, next_base.or(claimed)) {
            (None, None) => None,
            (None, Some(claimed)) if claimed == found.end => None,
            (bad, durable) => Some(scan.judge(bad, durable)?),
        };
    }
    if closed_at == Some(found.end) {
        found.proven = found.end;
    }
    Ok(found)
}

/// Reading one file from front to back.
struct Scan<'a> {
    path: &'a Path,
    file: std::sync::Arc<dyn File>,
    base: Lsn,
    /// Bytes of the file.
    len: u64,
    header_is_right: bool,
    /// LSN of the next frame.
    lsn: Lsn,
    /// The highest LSN that a frame says was durable when it was written.
    proven: Lsn,
    /// What was read, and where in the file it begins.
    buffer: Vec<u8>,
    buffer_at: u64,
    /// No file follows.
    is_last: bool,
    bugs: BugSet,
}

impl<'a> Scan<'a> {
    fn open(
        storage: &dyn Storage,
        base: Lsn,
        path: &'a Path,
        bugs: BugSet,
    ) -> Result<Self, OpenError> {
        let opened = storage.open(path, false);
        let file = opened.map_err(|error| OpenError::io(path, error))?;
        let len = file.size().map_err(|error| OpenError::io(path, error))?;
        Ok(Self {
            path,
            file,
            base,
            len,
            header_is_right: false,
            lsn: base,
            proven: base,
            buffer: Vec::new(),
            buffer_at: 0,
            is_last: false,
            bugs,
        })
    }

    /// Where the next frame is, or the file's header while that is not known to be right.
    fn position(&self) -> u64 {
        match self.header_is_right {
            true => position_in(self.base, self.lsn),
            false => 0,
        }
    }

    /// Up to `want` bytes at `position`; fewer at the end of the file.
    fn bytes(&mut self, position: u64, want: usize) -> Result<&[u8], OpenError> {
        let within = position >= self.buffer_at
            && position + want as u64 <= self.buffer_at + self.buffer.len() as u64;
        if !within {
            let left = self.len.saturating_sub(position);
            let size = left.min(want.max(READ_CHUNK) as u64);
            self.buffer
                .resize(usize::try_from(size).expect("bounded by a frame"), 0);
            let read = self.file.read_at(position, &mut self.buffer);
            let read = read.map_err(|error| OpenError::io(self.path, error))?;
            self.buffer.truncate(read);
            self.buffer_at = position;
        }
        let from = usize::try_from(position - self.buffer_at).expect("inside the buffer");
        let to = (from + want).min(self.buffer.len());
        Ok(&self.buffer[from..to])
    }

    /// Takes it on trust that the file holds good frames, but not that they reach `next`.
    fn skip_to(&mut self, next: Lsn) -> Result<(), OpenError> {
        let end = position_in(self.base, next);
        if self.len == end {
            return Ok(());
        }
        let (position, base) = (self.len.min(end), self.base);
        let reason = format!(
            "it holds {} bytes of records from WAL position {base} on, but the next file begins \
             at {next}",
            self.len.saturating_sub(FILE_HEADER as u64)
        );
        Err(OpenError::corrupt(self.path, position, reason))
    }

    /// Folds frames until the end of the file (`None`) or a bad one (what is wrong with it).
    fn run(
        &mut self,
        fold: &mut impl FnMut(Lsn, Record<'_>) -> Result<(), String>,
    ) -> Result<Option<String>, OpenError> {
        let header = encode_header(self.base);
        if *self.bytes(0, FILE_HEADER)? != header {
            return Ok(Some("the file's header is not right".to_owned()));
        }
        self.header_is_right = true;
        loop {
            let (lsn, position) = (self.lsn, self.position());
            if position >= self.len {
                return Ok(None);
            }
            let head = FrameHeader::decode(self.bytes(position, FRAME_HEADER)?);
            let Some(head) = head.filter(|head| head.lsn == lsn) else {
                return Ok(Some(self.describe_bad_header()?));
            };
            let size = head.payload_len as usize;
            if size > PAYLOAD_MAX || position + frame_len(size) > self.len {
                return Ok(Some("the file ends within the frame".to_owned()));
            }
            let (bugs, last) = (
                self.bugs,
                position + frame_len(size) == self.len && self.is_last,
            );
            let payload = self.bytes(position + FRAME_HEADER as u64, size)?;
            let unchecked = bugs.has(SeededBug::TornTailAccepted);
            if crc32c::crc32c(payload) != head.payload_crc && !unchecked {
                let whose = frame::whose(head.kind, payload);
                return Ok(Some(match whose {
                    None => "the frame's payload fails its CRC".to_owned(),
                    Some(tp) => format!(
                        "the frame's payload fails its CRC; as far as it can be read, it holds \
                         records of partition {tp}"
                    ),
                }));
            }
            // The CRC holds, so whatever is wrong from here on is no torn write.
            let dropped = last && bugs.has(SeededBug::RecoveryDropsLast);
            let folded = decode_record(head.kind, payload).and_then(|record| match dropped {
                false => fold(lsn, record),
                true => Ok(()),
            });
            folded.map_err(|reason| OpenError::corrupt(self.path, position, reason))?;
            self.lsn = Lsn(lsn.get() + frame_len(size));
            self.proven = self.proven.max(head.durable);
        }
    }

    fn describe_bad_header(&mut self) -> Result<String, OpenError> {
        let bytes = self.bytes(self.position(), FRAME_HEADER)?;
        Ok(match bytes.iter().all(|byte| *byte == 0) {
            true => "there are zeros where a frame should be".to_owned(),
            false => "there is no frame".to_owned(),
        })
    }

    /// Torn tail or corruption: see the module's documentation. `durable` is a later LSN that is
    /// known to have been reached durably.
    fn judge(&mut self, bad: Option<String>, durable: Option<Lsn>) -> Result<TornTail, OpenError> {
        let position = self.position();
        let reason = bad.unwrap_or_else(|| "the file ends".to_owned());
        let claim = match durable {
            Some(durable) => Some(durable),
            None => self.later_claim()?,
        };
        if let Some(durable) = claim {
            let lsn = self.lsn;
            let reason = format!("{reason}, at WAL position {lsn}, but {durable} was durable");
            return Err(OpenError::corrupt(self.path, position, reason));
        }
        Ok(TornTail {
            file: self.path.to_owned(),
            position,
            bytes: self.len.saturating_sub(position),
            reason,
        })
    }

    /// Whether a later frame of this file says that the frame at `self.lsn` was durable.
    fn later_claim(&mut self) -> Result<Option<Lsn>, OpenError> {
        let (base, bad) = (self.base.get(), self.lsn);
        let mut position = self.position().max(FILE_HEADER as u64);
        while position + FRAME_HEADER as u64 <= self.len {
            let bytes = self.bytes(position, READ_CHUNK)?;
            let mut at = 0;
            while at + FRAME_HEADER <= bytes.len() {
                let here = base + (position + at as u64 - FILE_HEADER as u64);
                let head = FrameHeader::decode(&bytes[at..]);
                if let Some(head) = head.filter(|head| head.lsn.get() == here)
                    && head.durable > bad
                {
                    return Ok(Some(head.durable));
                }
                at += FRAME_ALIGN;
            }
            position += at as u64;
        }
        Ok(None)
    }
}

/// Where an append's first batch lies, for the frame at `lsn`.
pub(super) const fn batches_at(lsn: Lsn) -> Lsn {
    Lsn(lsn.get() + (FRAME_HEADER + frame::APPEND_PREFIX) as u64)
}
