//! The log directory: opened once, replayed, and each partition handed to one owner.
//!
//! Lock: `partitions`, held for a look-up or a change of who owns what, never during IO. That a
//! partition is looked up and taken under one hold of it is what keeps two callers from making
//! the same partition twice.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use super::checkpoint;
use super::committer::{Committer, CommitterConfig, OnFatal, Owner, Receipt, Refusal};
use super::frame::Payload;
use super::identity::{LogFound, LogIdentity};
use super::keeper::{Keeper, KeeperConfig};
use super::ledger::Ledger;
use super::metrics::LogMetrics;
use super::partition_log::{AppendError, Parked, PartitionLog};
use super::recovery::TornTail;
use super::replayed::Replica;
use super::wal::{Lack, Wal, cut_tail};
use super::wal_files::WalFiles;
use crate::chaos::seeded_bug::BugSet;
use crate::config::BrokerConfig;
use crate::exec;
use crate::locks::{Lock, Mutex, MutexGuard};
use crate::storage::disk::Disk;
use crate::storage::{Storage, read_small, rewrite};
use crate::types::{BrokerEpoch, BrokerId, Durability, Lsn, Offset, TopicId, TopicPartition};

/// Called by the committer after it made something of this partition durable (or held): it must
/// not wait, nor own the store. The owner of the partition then asks [`PartitionLog::held_end`].
pub type OnHeld = Arc<dyn Fn() + Send + Sync>;

/// The log's directory in a broker's data directory.
pub const LOG_DIR: &str = "log";

/// File that says that the last incarnation stopped cleanly.
const CLEAN_SHUTDOWN: &str = "clean-shutdown";

/// How a log store is opened.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// Directory of the WAL; it is made if it is not there.
    pub dir: PathBuf,
    /// When a write counts as held.
    pub durability: Durability,
    /// A WAL file is closed and a new one begun at this size, in bytes.
    pub wal_roll_bytes: u64,
    /// A checkpoint is made after this many bytes: so many are replayed at most, or eight times
    /// the checkpoint's own size.
    pub checkpoint_bytes: u64,
    /// Of what needs no replay, the newest bytes that are checked all the same before the log is
    /// opened.
    pub verify_bytes: u64,
    /// Bytes of recent batches kept in memory for tailing readers, over all partitions.
    pub cache_bytes: usize,
    /// Bytes that may wait for the committer before [`LogStore::wait_for_room`] waits.
    pub queue_bytes: usize,
    /// Appends are refused while the disk has less than this free, in bytes.
    pub min_free_bytes: u64,
    /// Rules that are switched off.
    pub bugs: BugSet,
    /// Whose log it has to be, and the id that it gets if it is begun now; `None`: anybody's.
    pub identity: Option<LogIdentity>,
}

impl LogConfig {
    /// Defaults for a log in `dir`.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            durability: Durability::Fsync,
            wal_roll_bytes: 64 << 20,
            checkpoint_bytes: 256 << 20,
            verify_bytes: 256 << 20,
            cache_bytes: 64 << 20,
            queue_bytes: 32 << 20,
            min_free_bytes: 16 << 20,
            bugs: BugSet::NONE,
            identity: None,
        }
    }

    /// The log of a broker with these settings; if it is begun now, `id` becomes its identity,
    /// which no other log may have.
    #[must_use]
    pub fn of(broker: &BrokerConfig, id: Uuid) -> Self {
        Self {
            identity: Some(LogIdentity {
                broker: broker.id,
                log: id,
            }),
            durability: broker.durability,
            wal_roll_bytes: broker.wal_roll_bytes,
            checkpoint_bytes: broker.log_checkpoint_bytes,
            verify_bytes: broker.log_verify_bytes,
            bugs: broker.bugs,
            ..Self::new(broker.data_dir.join(LOG_DIR))
        }
    }
}

/// Why a log directory was not opened. Nothing in it was changed.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("{dir} is in use by another process: stop it, or choose another data directory")]
    InUse {
        /// The directory.
        dir: String,
    },
    /// It belongs to another broker.
    #[error(
        "{dir} is the log of broker {owner}, and this is broker {asked}: give it the data \
         directory of broker {asked}, or its own id"
    )]
    Foreign {
        /// The directory.
        dir: String,
        /// Whose it is.
        owner: BrokerId,
        /// Who wants it.
        asked: BrokerId,
    },
    /// What is on disk is not what was written, below a point known to have been durable.
    #[error(
        "{file} is corrupt at byte {position}: {reason}; nothing was changed: restore the file, \
         or move the log directory away to start over from the other replicas: what only this \
         one holds is lost then; leave the metadata directory beside it: it holds this broker's \
         votes, and without them committed metadata can be lost"
    )]
    Corrupt {
        /// The WAL file.
        file: String,
        /// Where in it.
        position: u64,
        /// What is wrong.
        reason: String,
    },
    /// A log was begun here, and nothing of it is left.
    #[error(
        "{dir} says whose log it is, but has no file of it: they were removed, or their disk is \
         not mounted; nothing was changed: bring them back, or move the log directory away to \
         start over from the other replicas: what only this one held is lost then; leave the \
         metadata directory beside it"
    )]
    Gone {
        /// The directory.
        dir: String,
    },
    /// The operating system said no.
    #[error("cannot open the log in {dir}: {source}")]
    Io {
        /// The directory, or the file in it.
        dir: String,
        /// What it said.
        source: io::Error,
    },
}

/// Why a partition's log was not handed out.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PartitionError {
    /// It has an owner already: a partition has one writer.
    #[error("the log of partition {0} is open already")]
    AlreadyOpen(TopicPartition),
    /// The topic was deleted; topic ids are not used twice.
    #[error("partition {0} was deleted")]
    Deleted(TopicPartition),
}

/// What the clean-shutdown marker holds.
#[derive(Debug, Serialize, Deserialize)]
struct CleanShutdown {
    broker_epoch: BrokerEpoch,
    end: Lsn,
}

/// Who has a partition's log.
enum Slot {
    /// The store.
    Parked(Box<Parked>),
    /// A [`PartitionLog`].
    Open(Arc<Owner>),
}

#[derive(Default)]
struct Partitions {
    slots: BTreeMap<TopicPartition, Slot>,
    deleted: BTreeSet<TopicId>,
    /// As last checkpointed.
    high_watermarks: BTreeMap<TopicPartition, Offset>,
}

pub(super) struct StoreInner {
    pub committer: Arc<Committer>,
    pub files: Arc<WalFiles>,
    pub dir: PathBuf,
    storage: Arc<dyn Storage>,
    metrics: Arc<LogMetrics>,
    partitions: Mutex<Partitions>,
    found: LogFound,
    clean_shutdown: Option<BrokerEpoch>,
    torn_tail: Option<TornTail>,
    pub bugs: BugSet,
    /// Whether a thread of its own commits.
    threaded: bool,
    /// Keeps other processes out until the last write is done.
    _lock: Box<dyn Send + Sync>,
}

/// All logs of one broker. Cheap to clone.
#[derive(Clone)]
pub struct LogStore {
    inner: Arc<StoreInner>,
}

impl LogStore {
    /// Opens or makes the store on the real file system, and starts its committer thread. When
    /// nothing can be written any more (an fsync failed), the process aborts: what it has not
    /// acknowledged may be lost, what it has is not.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(config: LogConfig) -> Result<Self, OpenError> {
        let store = Self::open_on(config, Arc::new(Disk), Box::new(abort), true)?;
        let committer = store.inner.committer.clone();
        match exec::spawn_thread("wal-committer", move || committer.run()) {
            Ok(_) => Ok(store),
            Err(source) => {
                store.inner.committer.finish();
                let dir = store.inner.dir.display().to_string();
                Err(OpenError::Io { dir, source })
            }
        }
    }

    /// Opens or makes the store on `storage`, for tests and simulation: nothing is committed but
    /// by [`Self::commit_pending`] or [`Self::driver`], and `on_fatal` is called in place of an
    /// abort.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_manual(
        config: LogConfig,
        storage: Arc<dyn Storage>,
        on_fatal: Box<dyn Fn(&str) + Send + Sync>,
    ) -> Result<Self, OpenError> {
        Self::open_on(config, storage, on_fatal, false)
    }

    fn open_on(
        config: LogConfig,
        storage: Arc<dyn Storage>,
        on_fatal: OnFatal,
        threaded: bool,
    ) -> Result<Self, OpenError> {
        let dir = config.dir.clone();
        let lock = take_dir(&*storage, &dir)?;
        let identity = config.identity.map(|mine| mine.read(&*storage, &dir));
        let begun = identity.transpose()?.flatten();
        let marker = read_marker(&*storage, &dir)?;
        let rules = (config.verify_bytes, config.bugs);
        let replica = Replica::recover(&*storage, &dir, marker, rules)?;
        if begun.is_some() && replica.wal.bases.is_empty() {
            return Err(OpenError::Gone {
                dir: dir.display().to_string(),
            });
        }
        let fail = |source| OpenError::Io {
            dir: dir.display().to_string(),
            source,
        };
        // From here on the directory may be changed: it is known to be sound.
        let bases = make_appendable(&*storage, &replica).map_err(fail)?;
        storage.remove(&dir.join(CLEAN_SHUTDOWN)).map_err(fail)?;
        let found = LogFound {
            id: begun
                .or(config.identity)
                .map_or(Uuid::nil(), |known| known.log),
            empty: replica.ledger.partitions.is_empty(),
        };
        let metrics = Arc::new(LogMetrics::default());
        let files = Arc::new(WalFiles::new(storage.clone(), &dir, &bases));
        let parts = (storage.clone(), files.clone(), metrics.clone());
        let committer = committer(&config, parts, &replica, on_fatal);
        if let (None, Some(identity)) = (begun, config.identity) {
            // The record first: an identity without any says that the log's files are gone.
            let nothing = checkpoint::encode(&Ledger::default(), Lsn(0));
            let is_begun = !bases.is_empty() || committer.begin(Payload::checkpoint(nothing));
            if !is_begun {
                return Err(fail(io::ErrorKind::StorageFull.into()));
            }
            identity.write(&*storage, &dir).map_err(fail)?;
        }
        let inner = StoreInner {
            committer,
            files,
            dir,
            storage,
            metrics,
            found,
            clean_shutdown: replica.clean_shutdown,
            torn_tail: replica.wal.torn.clone(),
            bugs: config.bugs,
            partitions: Mutex::new(Lock::LogPartitions, Partitions::from(replica)),
            threaded,
            _lock: lock,
        };
        let inner = Arc::new(inner);
        Ok(Self { inner })
    }

    /// One group commit of everything that waits (stores of [`Self::open_manual`] only). Returns
    /// whether there is more to commit.
    ///
    /// # Panics
    /// On a store with a committer thread.
    pub fn commit_pending(&self) -> bool {
        assert!(!self.inner.threaded, "the committer's thread commits");
        self.inner.committer.commit_group()
    }

    /// What commits a store of [`Self::open_manual`] as a task until it is closed or dropped;
    /// `sync_time` is how long the disk takes for the next group.
    ///
    /// # Panics
    /// On a store with a committer thread.
    pub fn driver(
        &self,
        sync_time: impl FnMut() -> Duration + Send + 'static,
    ) -> impl Future<Output = ()> + Send + 'static {
        assert!(!self.inner.threaded, "the committer's thread commits");
        self.inner.committer.clone().drive(sync_time)
    }

    /// Takes the log of one partition, made empty if it is new. `on_held` is called from the
    /// committer's thread until the log is dropped.
    ///
    /// # Errors
    /// It has an owner, or was deleted.
    pub fn partition(
        &self,
        tp: TopicPartition,
        on_held: OnHeld,
    ) -> Result<PartitionLog, PartitionError> {
        let mut partitions = self.inner.partitions();
        if partitions.deleted.contains(&tp.topic) {
            return Err(PartitionError::Deleted(tp));
        }
        let slot = partitions.slots.entry(tp);
        let slot = slot.or_insert_with(|| Slot::Parked(Box::default()));
        let Slot::Parked(parked) = slot else {
            return Err(PartitionError::AlreadyOpen(tp));
        };
        let parked = std::mem::take(&mut **parked);
        let owner = Owner::new(on_held, parked.high_watermark());
        *slot = Slot::Open(owner.clone());
        drop(partitions);
        Ok(PartitionLog::new(self.inner.clone(), tp, owner, parked))
    }

    /// Every partition that has a log here, in order.
    #[must_use]
    pub fn partitions(&self) -> Vec<TopicPartition> {
        self.inner.partitions().slots.keys().copied().collect()
    }

    /// Forgets every partition of a deleted topic; their open logs refuse appends.
    ///
    /// # Errors
    /// The WAL is closed.
    pub fn delete_topic(&self, topic: TopicId) -> Result<(), AppendError> {
        let mut partitions = self.inner.partitions();
        for (_, slot) in partitions.slots.iter().filter(|(tp, _)| tp.topic == topic) {
            if let Slot::Open(owner) = slot {
                owner.deleted.store(true, Ordering::Release);
            }
        }
        partitions.forget(topic);
        drop(partitions);
        self.inner
            .enqueue(Payload::delete_topic(topic), Receipt::default())?;
        Ok(())
    }

    /// Whether the log's disk has too little room for new records, looked at now.
    #[must_use]
    pub fn disk_is_full(&self) -> bool {
        self.inner.committer.disk_is_full()
    }

    /// Waits until the committer's queue has room: called before taking in more data.
    pub async fn wait_for_room(&self) {
        self.inner.committer.wait_for_room().await;
    }

    /// Writes the high watermarks that changed since the last checkpoint into the WAL.
    ///
    /// # Errors
    /// The WAL is closed.
    pub fn checkpoint(&self) -> Result<(), AppendError> {
        let mut changed = Vec::new();
        let mut partitions = self.inner.partitions();
        let Partitions {
            slots,
            high_watermarks,
            ..
        } = &mut *partitions;
        for (tp, slot) in slots {
            let now = match slot {
                Slot::Parked(parked) => parked.high_watermark(),
                Slot::Open(owner) => Offset(owner.high_watermark.load(Ordering::Relaxed)),
            };
            if high_watermarks.insert(*tp, now).unwrap_or_default() != now {
                changed.push((*tp, now));
            }
        }
        drop(partitions);
        if !changed.is_empty() {
            let payload = Payload::high_watermarks(&changed);
            self.inner.enqueue(payload, Receipt::default())?;
        }
        Ok(())
    }

    /// The broker epoch of the last incarnation if it stopped cleanly. Reading it consumed the
    /// marker: it is gone from disk since `open`.
    #[must_use]
    pub fn clean_shutdown(&self) -> Option<BrokerEpoch> {
        self.inner.clean_shutdown
    }

    /// Which log this is, as it was found at `open`.
    #[must_use]
    pub fn found(&self) -> LogFound {
        self.inner.found
    }

    /// The tail that was cut off at `open`, if the last incarnation died while writing.
    #[must_use]
    pub fn torn_tail(&self) -> Option<&TornTail> {
        self.inner.torn_tail.as_ref()
    }

    /// What it counts.
    #[must_use]
    pub fn metrics(&self) -> &LogMetrics {
        &self.inner.metrics
    }

    /// Checkpoints high watermarks, commits what waits, closes the WAL to writes, and leaves the
    /// clean-shutdown marker. Blocks until all is durable.
    ///
    /// # Errors
    /// The WAL has failed or the disk is full; no marker is left then.
    pub fn close(&self, broker_epoch: BrokerEpoch) -> Result<(), AppendError> {
        self.checkpoint()?;
        let committer = &self.inner.committer;
        committer.stop();
        if !self.inner.threaded {
            while committer.commit_group() {}
            committer.finish();
        }
        let closed = |reason| AppendError::Closed { reason };
        committer.wait_finished().map_err(closed)?;
        let marker = CleanShutdown {
            broker_epoch,
            end: committer.durable(),
        };
        let text = serde_json::to_vec(&marker).expect("two integers");
        let path = self.inner.dir.join(CLEAN_SHUTDOWN);
        let left = self.inner.storage.replace(&path, &text);
        left.map_err(|error| closed(format!("{}: {error}", path.display())))
    }
}

impl StoreInner {
    pub fn metrics(&self) -> &LogMetrics {
        &self.metrics
    }

    fn partitions(&self) -> MutexGuard<'_, Partitions> {
        self.partitions.lock()
    }

    /// Puts a record that is no append into the WAL.
    pub fn enqueue(&self, payload: Payload, receipt: Receipt) -> Result<Lsn, AppendError> {
        let enqueued = self.committer.enqueue(payload, receipt);
        enqueued.map_err(|refusal| match refusal {
            Refusal::Lacks(Lack::Space) => AppendError::DiskFull {
                dir: self.dir.display().to_string(),
            },
            Refusal::Lacks(Lack::Handles) => AppendError::TooManyOpenFiles,
            Refusal::Closed(reason) => AppendError::Closed { reason },
            Refusal::Deleted => AppendError::Deleted,
        })
    }

    /// An owner gives its log back.
    pub fn park(&self, tp: TopicPartition, owner: &Arc<Owner>, parked: Parked) {
        let mut partitions = self.partitions();
        if let Some(slot) = partitions.slots.get_mut(&tp)
            && matches!(slot, Slot::Open(open) if Arc::ptr_eq(open, owner))
        {
            *slot = Slot::Parked(Box::new(parked));
        }
    }
}

impl Drop for StoreInner {
    fn drop(&mut self) {
        self.committer.stop();
        if self.threaded {
            // What fails here has been reported, or was never acknowledged.
            let _ = self.committer.wait_finished();
        }
    }
}

impl Partitions {
    fn forget(&mut self, topic: TopicId) {
        self.slots.retain(|tp, _| tp.topic != topic);
        self.high_watermarks.retain(|tp, _| tp.topic != topic);
        self.deleted.insert(topic);
    }
}

impl From<Replica> for Partitions {
    fn from(replica: Replica) -> Self {
        let mut partitions = Self {
            deleted: replica.ledger.deleted,
            ..Self::default()
        };
        for (tp, state) in replica.ledger.partitions {
            partitions.high_watermarks.insert(tp, state.high_watermark);
            partitions
                .slots
                .insert(tp, Slot::Parked(Box::new(Parked::recovered(state))));
        }
        partitions
    }
}

/// What writes the log from where replay ended.
fn committer(
    config: &LogConfig,
    (storage, files, metrics): (Arc<dyn Storage>, Arc<WalFiles>, Arc<LogMetrics>),
    replica: &Replica,
    on_fatal: OnFatal,
) -> Arc<Committer> {
    let rules = (config.durability, config.wal_roll_bytes, config.bugs);
    let end = replica.wal.end;
    let wal = Wal::new(
        storage.clone(),
        &config.dir,
        files.clone(),
        rules,
        metrics.clone(),
        end,
    );
    let keeper = Keeper::new(
        KeeperConfig {
            storage: storage.clone(),
            dir: config.dir.clone(),
            files: files.clone(),
            metrics: metrics.clone(),
            roll_bytes: config.wal_roll_bytes,
            checkpoint_bytes: config.checkpoint_bytes,
        },
        replica.ledger.fork(),
        end,
        replica.checkpoint,
    );
    Committer::new(
        CommitterConfig {
            durability: config.durability,
            cache_bytes: config.cache_bytes,
            queue_bytes: config.queue_bytes,
            disk_is_full: disk_probe(storage.clone(), config),
            on_fatal,
            metrics: metrics.clone(),
        },
        wal,
        keeper,
    )
}

fn take_dir(storage: &dyn Storage, dir: &Path) -> Result<Box<dyn Send + Sync>, OpenError> {
    let name = dir.display().to_string();
    let locked = storage.create_dir_all(dir).and_then(|()| storage.lock(dir));
    locked.map_err(|source| match source.kind() {
        io::ErrorKind::WouldBlock => OpenError::InUse { dir: name },
        _ => OpenError::Io { dir: name, source },
    })
}

/// What the clean-shutdown marker says: the broker epoch, and where the WAL ended.
pub(super) fn read_marker(
    storage: &dyn Storage,
    dir: &Path,
) -> Result<Option<(BrokerEpoch, Lsn)>, OpenError> {
    let path = dir.join(CLEAN_SHUTDOWN);
    let text = read_small(storage, &path).map_err(|source| OpenError::Io {
        dir: path.display().to_string(),
        source,
    })?;
    // A marker that cannot be read proves nothing: the stop then counts as unclean.
    let marker = text.and_then(|text| serde_json::from_slice::<CleanShutdown>(&text).ok());
    Ok(marker.map(|marker| (marker.broker_epoch, marker.end)))
}

/// Cuts a torn tail, removes a last file without frames, and makes the rest durable: a process that
/// died between a write and its sync, or of a sync that failed, left bytes that only the kernel
/// has. What is left are the WAL's files.
fn make_appendable(storage: &dyn Storage, replica: &Replica) -> io::Result<Vec<Lsn>> {
    let mut bases = replica.wal.bases.clone();
    if let Some(torn) = &replica.wal.torn {
        tracing::warn!("{torn}");
        cut_tail(storage, &torn.file, torn.position)?;
    }
    if bases.last() == Some(&replica.wal.end) {
        let last = bases.pop().map(super::wal_files::file_name);
        storage.remove(&replica.dir.join(last.unwrap_or_default()))?;
    }
    let (proven, end) = (replica.wal.proven, replica.wal.end);
    if let Some(base) = bases.last().filter(|_| proven < end) {
        let path = replica.dir.join(super::wal_files::file_name(*base));
        let from = match proven > *base {
            true => super::wal_files::position_in(*base, proven),
            false => 0,
        };
        rewrite(&*storage.open(&path, true)?, from)?;
    }
    Ok(bases)
}

fn disk_probe(
    storage: Arc<dyn Storage>,
    config: &LogConfig,
) -> Box<dyn Fn() -> bool + Send + Sync> {
    let (dir, least) = (config.dir.clone(), config.min_free_bytes);
    Box::new(move || storage.free_space(&dir).is_ok_and(|free| free < least))
}

/// What production does when the WAL has failed.
fn abort(reason: &str) {
    tracing::error!("the log has failed and cannot be trusted to hold what comes next: {reason}");
    eprintln!("broker: the log has failed: {reason}; aborting");
    std::process::abort();
}
