//! A log directory as it is found: the fold that `LogStore::open` and `dump` share. Nothing in
//! the directory is changed.
//!
//! It begins with the newest checkpoint, if the file that names it is there; else with the newest
//! that is found by reading the whole WAL, if the WAL's beginning is gone; else with nothing.

use std::path::{Path, PathBuf};

use super::checkpoint::{self, Pointer};
use super::frame::Record;
use super::ledger::Ledger;
use super::recovery::{Origin, Replayed, read_checkpoint, replay, wal_files};
use super::store::OpenError;
use crate::chaos::seeded_bug::BugSet;
use crate::storage::Storage;
use crate::types::{BrokerEpoch, Lsn};

/// One broker's copy of every partition that it holds.
pub(super) struct Replica {
    pub dir: PathBuf,
    pub ledger: Ledger,
    /// Where the newest known checkpoint ends.
    pub checkpoint: Lsn,
    pub clean_shutdown: Option<BrokerEpoch>,
    pub wal: Replayed,
}

/// What replay begins with.
struct Start {
    ledger: Ledger,
    /// The ledger holds the frames below.
    as_of: Lsn,
    /// The checkpoint's frame ends here.
    end: Lsn,
}

impl Replica {
    /// Replays `dir`. `marker` is what the clean-shutdown marker says, if there is one; of what
    /// the checkpoint makes superfluous, the newest `verify` bytes are checked all the same.
    pub fn recover(
        storage: &dyn Storage,
        dir: &Path,
        marker: Option<(BrokerEpoch, Lsn)>,
        (verify, bugs): (u64, BugSet),
    ) -> Result<Self, OpenError> {
        let files = wal_files(storage, dir)?;
        let pointer = Pointer::read(storage, dir).map_err(|error| OpenError::io(dir, error))?;
        let closed_at = marker.map(|(_, end)| end);
        let claims = (closed_at, pointer.map(|pointer| pointer.end));
        let named = match pointer {
            Some(pointer) => read_checkpoint(storage, &files, pointer.lsn)?,
            None => None,
        };
        let named = named.and_then(|bytes| checkpoint::decode(&bytes).ok());
        let start = match (named, pointer, files.first()) {
            (Some((ledger, as_of)), Some(Pointer { end, .. }), _) => Start { ledger, as_of, end },
            (_, _, Some((first, _))) if first.get() > 0 => search(storage, &files, (claims, bugs))?,
            _ => Start {
                ledger: Ledger::default(),
                as_of: Lsn(0),
                end: Lsn(0),
            },
        };
        if let (Some(lowest), Some((first, path))) = (start.ledger.lowest(), files.first())
            && lowest < *first
        {
            return Err(missing(path, *first));
        }
        let mut ledger = start.ledger;
        let origin = Origin {
            from: start.as_of,
            verify,
            claims,
        };
        let wal = replay(storage, &files, (origin, bugs), |lsn, record| {
            ledger.fold(lsn, record).map(|_| ())
        })?;
        let claimed = claims.0.max(claims.1).max(Some(start.end));
        if let Some(end) = claimed.filter(|end| *end > wal.end) {
            // No file at all: replay had nothing to judge.
            let known = match claims.0 == Some(end) {
                true => "it was closed cleanly at",
                false => "it was durable up to",
            };
            return Err(OpenError::Corrupt {
                file: dir.display().to_string(),
                position: wal.end.get(),
                reason: format!("the WAL ends there, but {known} {end}"),
            });
        }
        Ok(Self {
            dir: dir.to_owned(),
            ledger,
            checkpoint: start.end,
            clean_shutdown: marker.map(|(epoch, _)| epoch),
            wal,
        })
    }
}

/// The newest checkpoint of a WAL whose beginning is gone.
fn search(
    storage: &dyn Storage,
    files: &[(Lsn, PathBuf)],
    (claims, bugs): ((Option<Lsn>, Option<Lsn>), BugSet),
) -> Result<Start, OpenError> {
    let (first, path) = files.first().expect("the caller saw it");
    tracing::info!("no file names a checkpoint: the WAL is searched for one");
    let origin = Origin {
        from: *first,
        verify: 0,
        claims,
    };
    let mut newest = None;
    replay(storage, files, (origin, bugs), |lsn, record| {
        if let Record::Checkpoint(bytes) = record {
            let (ledger, as_of) = checkpoint::decode(bytes)?;
            let end = Lsn(lsn.get() + super::frame::frame_len(bytes.len()));
            newest = Some(Start { ledger, as_of, end });
        }
        Ok(())
    })?;
    newest.ok_or_else(|| missing(path, *first))
}

fn missing(path: &Path, first: Lsn) -> OpenError {
    let reason = format!("it begins at WAL position {first}: the files before it are missing");
    OpenError::corrupt(path, 0, reason)
}
