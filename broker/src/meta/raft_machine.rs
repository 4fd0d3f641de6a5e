//! Raft's view of the metadata state: applies committed entries in order and publishes the image.
//!
//! The state lives in memory; what survives a restart is the snapshot and the log after it. An
//! image is published before the proposer of its last command is answered, and only here: no
//! part of the broker ever sees an entry that is not committed.

use std::io::Cursor;
use std::sync::Arc;

use openraft::storage::RaftStateMachine;
use openraft::{
    AnyError, EntryPayload, OptionalSend, RaftSnapshotBuilder, Snapshot, StorageIOError,
};

use crate::chaos::seeded_bug::BugSet;
use crate::meta::codec::CodecError;
use crate::meta::image::MetadataImage;
use crate::meta::raft_store::{MetaStore, StoredSnapshot};
use crate::meta::raft_types::{
    Entry, LogId, MetaRaft, Response, SnapshotMeta, StorageError, StoredMembership,
};
use crate::meta::state::MetadataState;
use crate::meta::told::Teller;

/// The state, what was applied last, and who hears of it.
pub struct Machine {
    state: MetadataState,
    applied: Option<LogId>,
    membership: StoredMembership,
    store: MetaStore,
    images: Teller<Arc<MetadataImage>>,
    bugs: BugSet,
}

impl Machine {
    /// The machine as the newest snapshot in `store` left it.
    ///
    /// # Errors
    /// When that snapshot cannot be read.
    pub fn new(
        store: MetaStore,
        images: Teller<Arc<MetadataImage>>,
        bugs: BugSet,
    ) -> Result<Self, CodecError> {
        let mut machine = Self {
            state: MetadataState::default().with_bugs(bugs),
            applied: None,
            membership: StoredMembership::default(),
            store,
            images,
            bugs,
        };
        if let Some(snapshot) = machine.store.snapshot() {
            machine.state = MetadataState::decode(&snapshot.data)?.with_bugs(bugs);
            machine.applied = snapshot.meta.last_log_id;
            machine.membership = snapshot.meta.last_membership;
            machine.publish();
        }
        Ok(machine)
    }

    fn publish(&self) {
        self.images.send_replace(self.state.image());
    }

    fn apply_one(&mut self, entry: Entry) -> Response {
        let index = entry.log_id.index;
        self.applied = Some(entry.log_id);
        match entry.payload {
            EntryPayload::Normal(command) => Response(Some(self.state.apply(index, command))),
            EntryPayload::Blank => {
                self.state.skip(index);
                Response(None)
            }
            EntryPayload::Membership(membership) => {
                self.state.skip(index);
                self.membership = StoredMembership::new(Some(entry.log_id), membership);
                Response(None)
            }
        }
    }
}

impl RaftStateMachine<MetaRaft> for Machine {
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), StorageError> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Response>, StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let responses = entries.into_iter().map(|e| self.apply_one(e)).collect();
        self.publish();
        Ok(responses)
    }

    async fn get_snapshot_builder(&mut self) -> Self::SnapshotBuilder {
        SnapshotBuilder {
            state: self.state.clone(),
            applied: self.applied,
            membership: self.membership.clone(),
            store: self.store.clone(),
        }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>, StorageError> {
        Ok(Box::default())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Box<Cursor<Vec<u8>>>,
    ) -> Result<(), StorageError> {
        let data = snapshot.into_inner();
        let state = MetadataState::decode(&data).map_err(|error| {
            StorageIOError::read_snapshot(Some(meta.signature()), AnyError::new(&error))
        })?;
        save(&self.store, meta.clone(), data).await?;
        self.state = state.with_bugs(self.bugs);
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.publish();
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<MetaRaft>>, StorageError> {
        let snapshot = self.store.snapshot();
        Ok(snapshot.map(|StoredSnapshot { meta, data }| Snapshot {
            meta,
            snapshot: Box::new(Cursor::new(data.to_vec())),
        }))
    }
}

/// Writes down the state as it was when the builder was made.
pub struct SnapshotBuilder {
    state: MetadataState,
    applied: Option<LogId>,
    membership: StoredMembership,
    store: MetaStore,
}

impl RaftSnapshotBuilder<MetaRaft> for SnapshotBuilder {
    async fn build_snapshot(&mut self) -> Result<Snapshot<MetaRaft>, StorageError> {
        let name = |id: LogId| format!("{}-{}", id.leader_id, id.index);
        let meta = SnapshotMeta {
            last_log_id: self.applied,
            last_membership: self.membership.clone(),
            // The state is a function of the log, so one position has one snapshot.
            snapshot_id: self.applied.map_or_else(|| "empty".to_owned(), name),
        };
        let data = self.state.encode();
        save(&self.store, meta.clone(), data.clone()).await?;
        Ok(Snapshot {
            meta,
            snapshot: Box::new(Cursor::new(data)),
        })
    }
}

async fn save(store: &MetaStore, meta: SnapshotMeta, data: Vec<u8>) -> Result<(), StorageError> {
    let signature = meta.signature();
    let data = data.into();
    let saved = store.save_snapshot(StoredSnapshot { meta, data }).await;
    saved.map_err(|error| {
        StorageIOError::write_snapshot(Some(signature), AnyError::new(&error)).into()
    })
}
