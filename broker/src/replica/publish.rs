//! From what a partition's writer owns to what readers see, and to what the core may know.

use std::collections::BTreeMap;

use crate::log::{EpochEnd, PartitionLog};
use crate::replica::actor::Shared;
use crate::replica::alarm::{AlarmWatch, Facts};
use crate::replica::core::{ReplicaCore, Role};
use crate::replica::log_facts::LogFacts;
use crate::replica::progress::Progress;
use crate::replica::view::{FollowerView, LeadershipView, PartitionView, ViewParts, VisibleHw};
use crate::types::{BrokerId, LeaderEpoch, Offset};

impl LogFacts for PartitionLog {
    fn log_start(&self) -> Offset {
        PartitionLog::log_start(self)
    }

    fn log_end(&self) -> Offset {
        self.written_end()
    }

    fn held_end(&self) -> Offset {
        PartitionLog::held_end(self)
    }

    fn is_settled(&self) -> bool {
        PartitionLog::is_settled(self)
    }

    fn last_epoch(&self) -> Option<LeaderEpoch> {
        PartitionLog::last_epoch(self)
    }

    fn fetch_position(&self) -> (Offset, Option<LeaderEpoch>) {
        PartitionLog::fetch_position(self)
    }

    fn end_offset_for(&self, epoch: LeaderEpoch) -> EpochEnd {
        PartitionLog::end_offset_for(self, epoch)
    }
}

/// The view of this moment.
pub(super) fn view_of(
    shared: &Shared,
    core: &ReplicaCore,
    log: &PartitionLog,
    starts: &BTreeMap<BrokerId, Offset>,
    alarms: &AlarmWatch,
    visible_hw: &mut VisibleHw,
) -> PartitionView {
    let bugs = shared.settings.bugs;
    let snapshot = log.snapshot();
    let leadership = match core.role() {
        Role::Follower(_) => None,
        Role::Leader(leader) => Some(LeadershipView {
            epoch_start: leader.epoch_start(),
            isr: leader.isr().committed().iter().copied().collect(),
            min_isr: leader.min_isr(),
            followers: leader
                .progress()
                .iter()
                .map(|(id, progress)| FollowerView {
                    id: *id,
                    offset: progress.offset(),
                    log_start: starts.get(id).copied(),
                })
                .collect(),
            is_stalled: alarms.is_stalled(),
            behind: alarms.behind(),
        }),
    };
    let parts = ViewParts {
        leader: core.leader_id(),
        epoch: core.epoch(),
        partition_epoch: core.partition_epoch(),
        leadership,
        position: core.position(log),
        hw: core.hw(),
        visible_hw: visible_hw.see(core.hw(), &snapshot, shared.started.elapsed(), bugs),
        held_end: log.held_end(),
        log: snapshot,
    };
    PartitionView::new(parts, bugs)
}

/// What alarms are about, when this replica leads.
pub(super) fn facts_of(core: &ReplicaCore, log: &PartitionLog) -> Option<Facts> {
    let leader = core.as_leader()?;
    let (end, log_start) = (log.written_end(), PartitionLog::log_start(log));
    let lag = |progress: &Progress| end.get() - progress.offset().unwrap_or(log_start).get();
    let followers = leader.progress().iter();
    Some(Facts {
        hw: leader.hw().get(),
        end,
        lags: followers.map(|(id, known)| (*id, lag(known))).collect(),
    })
}
