//! What is done for the WAL's files besides writing them: checkpoints, and room for new records.
//!
//! A WAL file is removed when nothing in it lives: no batch of it is in a log, and what its other
//! records say is said by a checkpoint that is durable. The files are removed from the oldest on,
//! so that what is left is always the end of the WAL. When more than half of the WAL is dead but
//! something in the oldest file lives on (a partition that keeps everything, among others that do
//! not), it is written again at the WAL's end, as a record that says that it is a copy; readers of
//! older snapshots find the copy (`wal_files`). So the WAL is never much more than twice what
//! lives, and each byte is on average written twice at most.
//!
//! It lives in the committer, which sees all frames in order, and works a little after each group.
//!
//! Order of what is made durable: checkpoint, then the file that names it, then removals.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::batch;
use super::checkpoint::{self, Pointer};
use super::frame::{Payload, decode_record};
use super::ledger::Ledger;
use super::metrics::LogMetrics;
use super::wal::{Frame, Wal, WalError};
use super::wal_files::{WalFiles, file_name};
use crate::storage::Storage;
use crate::types::{Lsn, TopicPartition};

/// Bytes of batches that are copied at once.
const MOVE_BYTES: usize = 4 << 20;
/// A checkpoint is worth this many times its own size, in records not replayed or in room.
const WORTH: u64 = 8;

/// How a keeper works.
pub(super) struct KeeperConfig {
    pub storage: Arc<dyn Storage>,
    pub dir: PathBuf,
    pub files: Arc<WalFiles>,
    pub metrics: Arc<LogMetrics>,
    /// Size of a WAL file.
    pub roll_bytes: u64,
    /// A checkpoint is made after this many bytes.
    pub checkpoint_bytes: u64,
}

/// A checkpoint on its way into the WAL.
#[derive(Clone, Copy)]
struct InFlight {
    pointer: Pointer,
    /// WAL files that end at or below it are not needed any more.
    floor: Lsn,
}

/// See the module.
pub(super) struct Keeper {
    config: KeeperConfig,
    ledger: Ledger,
    /// The ledger holds the frames below.
    folded: Lsn,
    /// The newest checkpoint's frame ends here, and has this many bytes.
    last: (Lsn, u64),
    in_flight: Option<InFlight>,
    /// The last copy that was queued ends here.
    copying_to: Lsn,
    /// Something may have died since it was last looked at.
    shrunk: bool,
    /// A batch could not be copied: it is not what was written, or cannot be read.
    stuck: bool,
}

/// Puts a record into the WAL's queue, if it takes any: begin and end of its frame.
pub(super) type Enqueue<'a> = &'a mut dyn FnMut(Payload) -> Option<(Lsn, Lsn)>;

impl Keeper {
    /// A keeper of a WAL that ends at `end`, of which `ledger` is the fold; the newest checkpoint
    /// ends at `last`.
    pub fn new(config: KeeperConfig, ledger: Ledger, end: Lsn, last: Lsn) -> Self {
        Self {
            config,
            ledger,
            folded: end,
            last: (last, 0),
            in_flight: None,
            copying_to: Lsn(0),
            shrunk: true,
            stuck: false,
        }
    }

    /// Takes note of a frame that is held, in LSN order.
    pub fn fold(&mut self, frame: &Frame) {
        let payload = &frame.payload;
        let record = decode_record(payload.kind, &payload.bytes).expect("written by ourselves");
        self.shrunk |= payload.ends_something();
        let moved = self.ledger.fold(frame.lsn, record);
        let moved = moved.expect("every partition's writer folds the same records");
        // What could not be copied may be the copy of a leader's by now.
        self.stuck &= moved.is_empty();
        self.config.files.forward(&moved);
        self.folded = frame.end();
    }

    /// Does what is due. Returns whether something was queued.
    pub fn work(
        &mut self,
        wal: &mut Wal,
        enqueue: Enqueue<'_>,
        full: bool,
    ) -> Result<bool, WalError> {
        self.finish_checkpoint(wal)?;
        if self.in_flight.is_some() {
            return Ok(false);
        }
        let since = self.folded.get() - self.last.0.get().min(self.folded.get());
        if since >= self.config.checkpoint_bytes.max(WORTH * self.last.1) {
            return Ok(self.queue_checkpoint(wal, enqueue));
        }
        if !std::mem::take(&mut self.shrunk) {
            return Ok(false);
        }
        let room = self.floor(wal).get() - self.config.files.first().get();
        if room >= self.config.roll_bytes.max(WORTH * self.last.1) {
            return Ok(self.queue_checkpoint(wal, enqueue));
        }
        let copied = !full && self.is_mostly_dead(wal) && self.copy_oldest(wal, enqueue);
        // There may be more to copy.
        self.shrunk |= copied;
        Ok(copied)
    }

    /// The frame that the next checkpoint makes the first that is needed: the base of a file.
    fn floor(&self, wal: &Wal) -> Lsn {
        let lowest = self.ledger.lowest().unwrap_or(self.folded);
        let needed = lowest.min(self.folded).min(wal.current_base());
        self.config.files.base_of(needed)
    }

    fn queue_checkpoint(&mut self, wal: &Wal, enqueue: Enqueue<'_>) -> bool {
        let payload = Payload::checkpoint(checkpoint::encode(&self.ledger, self.folded));
        let bytes = payload.frame_len();
        let Some((lsn, end)) = enqueue(payload) else {
            return false;
        };
        self.last = (end, bytes);
        self.in_flight = Some(InFlight {
            pointer: Pointer {
                lsn,
                end,
                as_of: self.folded,
            },
            floor: self.floor(wal),
        });
        true
    }

    /// Once the checkpoint is written: makes it durable, names it, and removes what it frees.
    fn finish_checkpoint(&mut self, wal: &mut Wal) -> Result<(), WalError> {
        let Some(done) = self
            .in_flight
            .filter(|checkpoint| checkpoint.pointer.end <= wal.written())
        else {
            return Ok(());
        };
        wal.sync()?;
        if let Err(error) = done.pointer.write(&*self.config.storage, &self.config.dir) {
            // It is tried again after the next group; nothing is removed until then.
            tracing::warn!(%error, "the checkpoint cannot be named");
            return Ok(());
        }
        self.in_flight = None;
        self.shrunk = true;
        self.config.metrics.checkpoints.add(1);
        if let Err(error) = self.remove_below(done.floor) {
            tracing::warn!(%error, "a file of the WAL that is not needed cannot be removed");
        }
        Ok(())
    }

    fn remove_below(&self, floor: Lsn) -> io::Result<()> {
        for base in self.config.files.below(floor) {
            let path = self.config.dir.join(file_name(base));
            // Readers first: none may find a file that is not there.
            self.config.files.drop_first(base);
            if let Err(error) = self.config.storage.remove(&path) {
                // It is still the oldest, and goes before any other.
                self.config.files.keep_first(base);
                return Err(error);
            }
            self.config.metrics.files_removed.add(1);
        }
        let left = self.config.files.count() as u64;
        self.config.metrics.files.set(left);
        Ok(())
    }

    fn is_mostly_dead(&self, wal: &Wal) -> bool {
        let all = wal.written().get() - self.config.files.first().get();
        let dead = all.saturating_sub(self.ledger.live_bytes());
        let least = (2 * self.config.roll_bytes).max(2 * WORTH * self.last.1);
        !self.stuck
            && self.copying_to <= self.folded
            && self.config.files.first() < wal.current_base()
            && dead > (all / 2).max(least)
    }

    /// Copies batches of the oldest file in which something lives to the WAL's end; whether any.
    fn copy_oldest(&mut self, wal: &Wal, enqueue: Enqueue<'_>) -> bool {
        let Some(lowest) = self.ledger.lowest() else {
            return false;
        };
        let end = self.config.files.after(lowest).min(wal.current_base());
        let mut left = MOVE_BYTES;
        let mut runs: Vec<(TopicPartition, Vec<u8>)> = Vec::new();
        for (tp, state) in &self.ledger.partitions {
            let mut run = Vec::new();
            let mut next = None;
            for extent in state.index.iter_from(0).filter(|extent| extent.lsn < end) {
                if left < extent.len as usize && left < MOVE_BYTES {
                    break;
                }
                if next != Some(extent.base) && !run.is_empty() {
                    runs.push((*tp, std::mem::take(&mut run)));
                }
                match self.read(extent.lsn, extent.len) {
                    Ok(bytes) => run.extend_from_slice(&bytes),
                    Err(error) => {
                        tracing::error!(partition = %tp, error, "a WAL file cannot be given up");
                        self.stuck = true;
                        return false;
                    }
                }
                next = Some(extent.next);
                left = left.saturating_sub(extent.len as usize);
            }
            if !run.is_empty() {
                runs.push((*tp, run));
            }
        }
        let mut copied = false;
        for (tp, run) in runs {
            let Some((_, end)) = enqueue(Payload::moved(tp, &run)) else {
                break;
            };
            self.copying_to = end;
            self.config.metrics.copied_bytes.add(run.len() as u64);
            copied = true;
        }
        copied
    }

    /// An extent's bytes, if they are what was written: damage is not spread.
    fn read(&self, lsn: Lsn, len: u32) -> Result<Vec<u8>, String> {
        let mut bytes = vec![0; len as usize];
        let read = self.config.files.read(lsn, &mut bytes);
        read.map_err(|error| error.to_string())?;
        let mut at = 0;
        while at < bytes.len() {
            let checked = batch::check(&bytes[at..]).map_err(|error| {
                let lsn = Lsn(lsn.get() + at as u64);
                self.config
                    .files
                    .corrupt(lsn, error.to_string())
                    .to_string()
            })?;
            at += checked.size;
        }
        Ok(bytes)
    }
}
