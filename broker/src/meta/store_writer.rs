//! The writing half of the metadata store: one redb database, one writer, everything in order.
//!
//! What is queued while a commit is under way goes into the next one together, so that a burst of
//! entries costs one fdatasync. The writer runs on a thread of its own ([`Drive::Thread`]): Raft's
//! thread never waits for the disk, so a slow disk does not delay its heartbeats. In a simulation
//! it runs where it is called ([`Drive::Inline`]).
//!
//! On a full disk the thread waits for room: metadata stands still, and reads go on.
//!
//! Every other failed write is final: everything after it fails too. Raft stops then, and with it
//! the process; what reached the disk is found out at the next start.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, mpsc};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use crate::exec;
use crate::locks::{Lock, Mutex};
use crate::storage::Storage;
use crate::storage::redb_backend::RedbFile;
use crate::storage::room::Room;

/// Name of the database in the store's directory.
const FILE: &str = "raft.redb";
/// The metadata log: encoded entries by index.
const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
/// Everything else, one value a name.
const VALUES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("values");
/// Page cache of the database, in bytes: it holds a few thousand small entries.
const CACHE_BYTES: usize = 4 << 20;

/// The values that are stored by name.
pub const VOTE: &str = "vote";
/// Last entry known to be committed; may be behind.
pub const COMMITTED: &str = "committed";
/// Last entry that was dropped from the log's beginning.
pub const PURGED: &str = "purged";
/// What the snapshot covers.
pub const SNAPSHOT_META: &str = "snapshot-meta";
/// The snapshot.
pub const SNAPSHOT: &str = "snapshot";
/// The clean-shutdown marker: the broker epoch at the stop.
pub const CLEAN_EPOCH: &str = "clean-epoch";
/// There once the broker was registered: the id of the log with which it was, last.
pub const REGISTERED: &str = "registered";

/// How old the store is, see `youth`.
pub const AGE: &str = "age";

/// The store cannot be read or written.
#[derive(Clone, Debug, thiserror::Error)]
#[error("metadata store {path}: {reason}")]
pub struct StoreError {
    /// The database.
    pub path: String,
    /// What went wrong.
    pub reason: String,
}

/// One change.
#[derive(Debug)]
pub enum Change {
    /// Entries at the log's end.
    Append(Vec<(u64, Vec<u8>)>),
    /// The log ends before this index.
    TruncateFrom(u64),
    /// The log begins after this index.
    PurgeTo(u64),
    /// A named value, or none.
    Set(&'static str, Option<Vec<u8>>),
}

/// Called once the change is on disk, or cannot be.
pub type Done = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// Changes that are made together or not at all. Without `done` they ride along with the next
/// job that has one.
struct Job {
    changes: Vec<Change>,
    done: Option<Done>,
}

/// What runs the writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drive {
    /// A thread of its own.
    Thread,
    /// The caller's: it waits for the disk.
    Inline,
}

/// What the database held when it was opened.
#[derive(Debug, Default)]
pub struct Contents {
    /// Encoded log entries, in order.
    pub log: Vec<(u64, Vec<u8>)>,
    /// Named values.
    pub values: std::collections::BTreeMap<String, Vec<u8>>,
}

struct Writer {
    database: Database,
    path: String,
    failed: Option<StoreError>,
    /// Jobs without `done`, for the next commit.
    riding: Vec<Change>,
}

enum Door {
    Thread(mpsc::Sender<Job>),
    Inline(Mutex<Writer>),
}

/// Hands changes to the writer, in order. The database closes when the last clone is gone and
/// the writer has finished.
#[derive(Clone)]
pub struct StoreWriter {
    door: Arc<Door>,
    path: String,
}

impl fmt::Debug for StoreWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreWriter({})", self.path)
    }
}

/// Joins the writer's thread: afterwards the database is closed.
#[derive(Debug)]
pub struct WriterThread {
    thread: Option<std::thread::JoinHandle<()>>,
    room: Arc<Room>,
}

impl WriterThread {
    /// Waits until the last [`StoreWriter`] is gone and the database is closed.
    /// A full disk is not waited for any more.
    pub fn join(self) {
        self.room.wait_when_full(false);
        if let Some(thread) = self.thread
            && thread.join().is_err()
        {
            tracing::error!("the metadata store's thread panicked");
        }
    }

    /// Whether the writer waits for room on its disk.
    #[cfg(test)]
    pub fn is_full(&self) -> bool {
        self.room.is_full()
    }
}

/// Opens the database in `dir`, or makes it.
///
/// # Errors
/// [`StoreError`]: it is damaged, another process has it, or the disk does not work.
pub fn open(
    storage: &dyn Storage,
    dir: &Path,
    drive: Drive,
) -> Result<(StoreWriter, Contents, WriterThread), StoreError> {
    let path = dir.join(FILE).display().to_string();
    let fail = |reason: String| StoreError {
        path: path.clone(),
        reason,
    };
    let file = RedbFile::open(storage, dir, FILE).map_err(|error| fail(error.to_string()))?;
    let room = file.room();
    let database = Database::builder()
        .set_cache_size(CACHE_BYTES)
        .set_check_integrity_on_open(true)
        .create_with_backend(file)
        .map_err(|error| fail(error.to_string()))?;
    set_up(&database).map_err(|error| fail(error.to_string()))?;
    RedbFile::ready(storage, dir, FILE).map_err(|error| fail(error.to_string()))?;
    let contents = read(&database).map_err(|error| fail(error.to_string()))?;
    let writer = Writer {
        database,
        path: path.clone(),
        failed: None,
        riding: Vec::new(),
    };
    let (door, thread) = match drive {
        Drive::Inline => (Door::Inline(Mutex::new(Lock::MetaWriter, writer)), None),
        Drive::Thread => {
            let (jobs, queue) = mpsc::channel();
            let thread = exec::spawn_thread("meta-store", move || run(writer, &queue))
                .map_err(|error| fail(error.to_string()))?;
            room.wait_when_full(true);
            (Door::Thread(jobs), Some(thread))
        }
    };
    let door = Arc::new(door);
    Ok((
        StoreWriter { door, path },
        contents,
        WriterThread { thread, room },
    ))
}

fn set_up(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(LOG)?;
    transaction.open_table(VALUES)?;
    transaction.commit()?;
    Ok(())
}

fn read(database: &Database) -> Result<Contents, redb::Error> {
    let transaction = database.begin_read()?;
    let mut contents = Contents::default();
    for row in transaction.open_table(LOG)?.iter()? {
        let (index, entry) = row?;
        contents.log.push((index.value(), entry.value().to_vec()));
    }
    for row in transaction.open_table(VALUES)?.iter()? {
        let (name, value) = row?;
        let value = value.value().to_vec();
        contents.values.insert(name.value().to_owned(), value);
    }
    Ok(contents)
}

fn run(mut writer: Writer, queue: &mpsc::Receiver<Job>) {
    while let Ok(first) = queue.recv() {
        let jobs = std::iter::once(first).chain(queue.try_iter()).collect();
        writer.work(jobs);
    }
}

impl Writer {
    fn work(&mut self, jobs: Vec<Job>) {
        let mut waiting = Vec::new();
        for job in jobs {
            self.riding.extend(job.changes);
            waiting.extend(job.done);
        }
        if waiting.is_empty() {
            return;
        }
        let changes = std::mem::take(&mut self.riding);
        let result = match &self.failed {
            Some(error) => Err(error.clone()),
            None => self.commit(changes).map_err(|error| StoreError {
                path: self.path.clone(),
                reason: error.to_string(),
            }),
        };
        if let Err(error) = &result
            && self.failed.is_none()
        {
            tracing::error!(%error, "the metadata store failed and takes no more writes");
            self.failed = Some(error.clone());
        }
        for done in waiting {
            done(result.clone());
        }
    }

    /// One transaction, durable when this returns (redb's `Durability::Immediate`, the default).
    fn commit(&self, changes: Vec<Change>) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        {
            let mut log = transaction.open_table(LOG)?;
            let mut values = transaction.open_table(VALUES)?;
            for change in changes {
                match change {
                    Change::Append(entries) => {
                        for (index, entry) in entries {
                            log.insert(index, entry.as_slice())?;
                        }
                    }
                    Change::TruncateFrom(index) => log.retain_in(index.., |_, _| false)?,
                    Change::PurgeTo(index) => log.retain_in(..=index, |_, _| false)?,
                    Change::Set(name, Some(value)) => {
                        values.insert(name, value.as_slice())?;
                    }
                    Change::Set(name, None) => {
                        values.remove(name)?;
                    }
                }
            }
        }
        transaction.commit()?;
        Ok(())
    }
}

impl StoreWriter {
    /// Queues `changes`; `done` hears when they are on disk. Jobs are carried out in the order
    /// of these calls.
    pub fn write(&self, changes: Vec<Change>, done: Done) {
        self.queue(Job {
            changes,
            done: Some(done),
        });
    }

    /// Queues `changes` that nobody waits for: they reach the disk with the next [`Self::write`].
    pub fn ride_along(&self, changes: Vec<Change>) {
        self.queue(Job {
            changes,
            done: None,
        });
    }

    /// Queues `changes` at once; the future ends when they are on disk.
    ///
    /// # Errors
    /// [`StoreError`], final.
    pub fn write_and_wait(
        &self,
        changes: Vec<Change>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send + use<> {
        let (done, held) = tokio::sync::oneshot::channel();
        self.write(
            changes,
            Box::new(move |result| {
                // Nobody waits any more when Raft is being torn down.
                let _ = done.send(result);
            }),
        );
        let gone = self.gone();
        async move { held.await.unwrap_or(Err(gone)) }
    }

    fn gone(&self) -> StoreError {
        StoreError {
            path: self.path.clone(),
            reason: "its writer has ended".to_owned(),
        }
    }

    fn queue(&self, job: Job) {
        match &*self.door {
            Door::Thread(jobs) => {
                if let Err(mpsc::SendError(job)) = jobs.send(job)
                    && let Some(done) = job.done
                {
                    done(Err(self.gone()));
                }
            }
            Door::Inline(writer) => {
                let mut writer = writer.lock();
                writer.work(vec![job]);
            }
        }
    }
}
