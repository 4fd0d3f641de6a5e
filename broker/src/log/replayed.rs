//! All partitions of a log directory, as replay finds them: the fold that `LogStore::open` and
//! `dump` share. Nothing in the directory is changed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::frame::Record;
use super::partition_state::{Break, PartitionState};
use super::recovery::{Replayed, batches_at, replay};
use super::store::OpenError;
use crate::chaos::seeded_bug::BugSet;
use crate::storage::Storage;
use crate::types::{BrokerEpoch, Lsn, TopicId, TopicPartition};

/// One broker's copy of every partition that it holds.
pub(super) struct Replica {
    pub dir: PathBuf,
    pub partitions: BTreeMap<TopicPartition, PartitionState>,
    /// Topics that are gone for good: their records are passed over.
    pub deleted: BTreeSet<TopicId>,
    pub clean_shutdown: Option<BrokerEpoch>,
    pub wal: Replayed,
}

impl Replica {
    /// Replays `dir`. `marker` is what the clean-shutdown marker says, if there is one.
    pub fn recover(
        storage: &dyn Storage,
        dir: &Path,
        marker: Option<(BrokerEpoch, Lsn)>,
        bugs: BugSet,
    ) -> Result<Self, OpenError> {
        let mut partitions = BTreeMap::new();
        let mut deleted = BTreeSet::new();
        let claimed_end = marker.map(|(_, end)| end);
        let wal = replay(storage, dir, (claimed_end, bugs), |lsn, record| {
            fold(&mut partitions, &mut deleted, lsn, record)
        })?;
        if let Some(end) = claimed_end.filter(|end| *end > wal.end) {
            // No file at all: replay had nothing to judge.
            return Err(OpenError::Corrupt {
                file: dir.display().to_string(),
                position: wal.end.get(),
                reason: format!("the WAL ends there, but it was closed cleanly at {end}"),
            });
        }
        Ok(Self {
            dir: dir.to_owned(),
            partitions,
            deleted,
            clean_shutdown: marker.map(|(epoch, _)| epoch),
            wal,
        })
    }
}

fn fold(
    partitions: &mut BTreeMap<TopicPartition, PartitionState>,
    deleted: &mut BTreeSet<TopicId>,
    lsn: Lsn,
    record: Record<'_>,
) -> Result<(), String> {
    match record {
        Record::Append { tp, batches } if !deleted.contains(&tp.topic) => {
            let state = partitions.entry(tp).or_default();
            state
                .check(batches)
                .map_err(|broken| explain(tp, state, broken))?;
            state.append(batches_at(lsn), batches, None);
        }
        Record::Truncate { tp, to, kept } if !deleted.contains(&tp.topic) => {
            let state = partitions.entry(tp).or_default();
            state
                .truncate(to, kept)
                .map_err(|reason| format!("{tp}: {reason}"))?;
        }
        Record::Restart { tp, at } if !deleted.contains(&tp.topic) => {
            partitions.entry(tp).or_default().restart(at);
        }
        Record::LogStart { tp, to } if !deleted.contains(&tp.topic) => {
            partitions.entry(tp).or_default().advance_log_start(to);
        }
        Record::DeleteTopic { topic } => {
            partitions.retain(|tp, _| tp.topic != topic);
            deleted.insert(topic);
        }
        Record::HighWatermarks(all) => {
            for (tp, high_watermark) in all {
                if let Some(state) = partitions.get_mut(&tp) {
                    state.high_watermark = high_watermark.max(state.log_start).min(state.end);
                }
            }
        }
        Record::Append { .. }
        | Record::Truncate { .. }
        | Record::Restart { .. }
        | Record::LogStart { .. } => {}
    }
    Ok(())
}

fn explain(tp: TopicPartition, state: &PartitionState, broken: Break) -> String {
    match broken {
        Break::Batch(error) => format!("{tp}: {error}"),
        Break::Gap(found) => {
            format!(
                "{tp}: records at offset {found} after a log that ends at {}",
                state.end
            )
        }
        Break::EpochGoesBack(found) => format!("{tp}: a batch of epoch {found} after a later one"),
    }
}
