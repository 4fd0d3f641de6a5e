//! Raft's log store: votes and entries in memory, and on disk before anything is answered.
//!
//! The whole log since the last snapshot is kept in memory as well: compaction keeps it short,
//! and readers (one replication task per peer) never touch the disk. Memory changes at once, in
//! the order of the calls; openraft is told of an append when the disk has it.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::RangeBounds;
use std::path::Path;
use std::sync::Arc;

use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{AnyError, LogState, OptionalSend, RaftLogId, RaftLogReader, StorageIOError};
use uuid::Uuid;

use crate::locks::{Lock, Mutex, MutexGuard};
use crate::meta::codec::{CodecError, Format};
use crate::meta::raft_types::{Entry, LogId, MetaRaft, SnapshotMeta, StorageError, Vote};
use crate::meta::store_writer::{
    self, AGE, CLEAN_EPOCH, COMMITTED, Change, Contents, Drive, PURGED, REGISTERED, SNAPSHOT,
    SNAPSHOT_META, StoreError, StoreWriter, VOTE, WriterThread,
};
use crate::meta::youth::Age;
use crate::storage::Storage;
use crate::types::BrokerEpoch;

const fn format(what: &'static str) -> Format {
    Format { what, version: 1 }
}

const ENTRY: Format = format("metadata log entry");
const VOTE_FORMAT: Format = format("vote");
const LOG_ID: Format = format("log id");
const META: Format = format("snapshot description");
const AGE_FORMAT: Format = format("age");
const EPOCH: Format = format("clean-shutdown marker");

/// A snapshot as it is on disk.
#[derive(Clone, Debug)]
pub struct StoredSnapshot {
    /// What it covers.
    pub meta: SnapshotMeta,
    /// The encoded state.
    pub data: Arc<[u8]>,
}

#[derive(Debug, Default)]
struct Memory {
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
    log: BTreeMap<u64, Entry>,
    snapshot: Option<StoredSnapshot>,
    /// `None` in a store from before there were ages, and in one that was just made.
    age: Option<Age>,
}

impl Memory {
    fn last_log_id(&self) -> Option<LogId> {
        let last = self.log.values().next_back();
        last.map(|entry| entry.log_id).or(self.purged)
    }
}

/// What earlier lives of this broker left, as it was when the store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// The clean-shutdown marker, if the last stop left one.
    pub clean_epoch: Option<BrokerEpoch>,
    /// Whether the broker was ever registered with this store. If not, the disk is new, or was
    /// replaced, and says nothing of what the broker once held.
    pub registered: bool,
    /// The log with which it was registered last, if that is known.
    pub log_id: Option<Uuid>,
    /// The store was empty: its age has to be noted before anything else.
    pub is_new: bool,
}

/// Cheap to clone; all clones are one store.
#[derive(Clone, Debug)]
pub struct MetaStore {
    memory: Arc<Mutex<Memory>>,
    writer: StoreWriter,
    past: Past,
}

impl MetaStore {
    /// Opens the store in `dir`, or makes it.
    ///
    /// # Errors
    /// [`StoreError`], also for contents that this broker cannot read.
    pub fn open(
        storage: &dyn Storage,
        dir: &Path,
        drive: Drive,
    ) -> Result<(Self, WriterThread), StoreError> {
        let (writer, contents, thread) = store_writer::open(storage, dir, drive)?;
        let (memory, past) = load(&contents).map_err(|error| StoreError {
            path: dir.display().to_string(),
            reason: error.to_string(),
        })?;
        let store = Self {
            memory: Arc::new(Mutex::new(Lock::RaftMemory, memory)),
            writer,
            past,
        };
        Ok((store, thread))
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock()
    }

    /// The last entry, or what was dropped last if there is none.
    #[must_use]
    pub fn last_log_id(&self) -> Option<LogId> {
        self.memory().last_log_id()
    }

    /// The newest snapshot.
    #[must_use]
    pub fn snapshot(&self) -> Option<StoredSnapshot> {
        self.memory().snapshot.clone()
    }

    /// Makes `snapshot` the newest one, unless a newer one is there already (a snapshot of the
    /// leader's may have been installed while ours was being built, and the log before it is
    /// gone); on disk when this returns.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn save_snapshot(&self, snapshot: StoredSnapshot) -> Result<(), StoreError> {
        let changes = vec![
            Change::Set(SNAPSHOT_META, Some(META.encode(&snapshot.meta))),
            Change::Set(SNAPSHOT, Some(snapshot.data.to_vec())),
        ];
        let written = {
            let mut memory = self.memory();
            let newest = memory.snapshot.as_ref().map(|s| s.meta.last_log_id);
            if newest > Some(snapshot.meta.last_log_id) {
                return Ok(());
            }
            memory.snapshot = Some(snapshot);
            // Queued under the lock: the disk sees snapshots in the order in which memory does.
            self.writer.write_and_wait(changes)
        };
        written.await
    }

    /// The term of its last vote.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.vote().leader_id().term
    }

    /// Its last vote.
    #[must_use]
    pub fn vote(&self) -> Vote {
        self.memory().vote.unwrap_or_default()
    }

    /// How old it is.
    #[must_use]
    pub fn age(&self) -> Age {
        self.memory().age.clone().unwrap_or_else(Age::of_old)
    }

    /// Notes how old it is; on disk when this returns.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn set_age(&self, age: Age) -> Result<(), StoreError> {
        let changes = vec![Change::Set(AGE, Some(AGE_FORMAT.encode(&age)))];
        self.writer.write_and_wait(changes).await?;
        self.memory().age = Some(age);
        Ok(())
    }

    /// What earlier lives left.
    #[must_use]
    pub fn past(&self) -> Past {
        self.past
    }

    /// Notes that the broker is registered with this log; on disk when this returns.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn set_registered(&self, log_id: Uuid) -> Result<(), StoreError> {
        let changes = vec![Change::Set(REGISTERED, Some(log_id.as_bytes().to_vec()))];
        self.writer.write_and_wait(changes).await
    }

    /// Writes or removes the clean-shutdown marker; on disk when this returns.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn set_clean_epoch(&self, epoch: Option<BrokerEpoch>) -> Result<(), StoreError> {
        let value = epoch.map(|epoch| EPOCH.encode(&epoch));
        let changes = vec![Change::Set(CLEAN_EPOCH, value)];
        self.writer.write_and_wait(changes).await
    }
}

fn load(contents: &Contents) -> Result<(Memory, Past), CodecError> {
    let value = |name: &str| contents.values.get(name).map(Vec::as_slice);
    let mut memory = Memory {
        vote: value(VOTE).map(|v| VOTE_FORMAT.decode(v)).transpose()?,
        committed: value(COMMITTED).map(|v| LOG_ID.decode(v)).transpose()?,
        purged: value(PURGED).map(|v| LOG_ID.decode(v)).transpose()?,
        log: BTreeMap::new(),
        snapshot: None,
        age: value(AGE).map(|v| AGE_FORMAT.decode(v)).transpose()?,
    };
    for (index, entry) in &contents.log {
        memory.log.insert(*index, ENTRY.decode(entry)?);
    }
    if let (Some(meta), Some(data)) = (value(SNAPSHOT_META), value(SNAPSHOT)) {
        memory.snapshot = Some(StoredSnapshot {
            meta: META.decode(meta)?,
            data: data.into(),
        });
    }
    let is_new = memory.age.is_none()
        && memory.vote.is_none()
        && memory.last_log_id().is_none()
        && memory.snapshot.is_none();
    let past = Past {
        is_new,
        clean_epoch: value(CLEAN_EPOCH).map(|v| EPOCH.decode(v)).transpose()?,
        registered: value(REGISTERED).is_some(),
        log_id: value(REGISTERED).and_then(|id| Uuid::from_slice(id).ok()),
    };
    Ok((memory, past))
}

impl RaftLogReader<MetaRaft> for MetaStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, StorageError> {
        let memory = self.memory();
        let entries = memory.log.range((range.start_bound(), range.end_bound()));
        Ok(entries.map(|(_, entry)| entry.clone()).collect())
    }
}

impl RaftLogStorage<MetaRaft> for MetaStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<MetaRaft>, StorageError> {
        let memory = self.memory();
        Ok(LogState {
            last_purged_log_id: memory.purged,
            last_log_id: memory.last_log_id(),
        })
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        let changes = vec![Change::Set(VOTE, Some(VOTE_FORMAT.encode(vote)))];
        let written = self.writer.write_and_wait(changes).await;
        written.map_err(|error| StorageIOError::write_vote(AnyError::new(&error)))?;
        self.memory().vote = Some(*vote);
        Ok(())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        Ok(self.memory().vote)
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), StorageError> {
        self.memory().committed = committed;
        // A hint for the next start, which may be behind: not worth an fdatasync.
        let value = committed.map(|id| LOG_ID.encode(&id));
        self.writer.ride_along(vec![Change::Set(COMMITTED, value)]);
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, StorageError> {
        Ok(self.memory().committed)
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: LogFlushed<MetaRaft>,
    ) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let encoded = |entry: &Entry| (entry.get_log_id().index, ENTRY.encode(entry));
        let change = Change::Append(entries.iter().map(encoded).collect());
        let numbered = entries.into_iter().map(|e| (e.get_log_id().index, e));
        self.memory().log.extend(numbered);
        self.writer.write(
            vec![change],
            Box::new(move |result| {
                callback.log_io_completed(result.map_err(std::io::Error::other));
            }),
        );
        Ok(())
    }

    async fn truncate(&mut self, log_id: LogId) -> Result<(), StorageError> {
        self.memory().log.split_off(&log_id.index);
        let changes = vec![Change::TruncateFrom(log_id.index)];
        let written = self.writer.write_and_wait(changes).await;
        written.map_err(|error| StorageIOError::write_logs(AnyError::new(&error)).into())
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), StorageError> {
        {
            let mut memory = self.memory();
            memory.purged = Some(log_id);
            memory.log = memory.log.split_off(&(log_id.index + 1));
        }
        let changes = vec![
            Change::Set(PURGED, Some(LOG_ID.encode(&log_id))),
            Change::PurgeTo(log_id.index),
        ];
        let written = self.writer.write_and_wait(changes).await;
        written.map_err(|error| StorageIOError::write_logs(AnyError::new(&error)).into())
    }
}

#[cfg(test)]
#[path = "raft_store_test.rs"]
mod tests;
