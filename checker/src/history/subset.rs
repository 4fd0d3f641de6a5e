//! A part of a history: some of its operations, at the places in time that they had.

use super::arena::Arena;
use super::{Detail, Function, History, NO_DETAIL, OpId};

impl History {
    /// The history of these operations alone (ascending), with the run's settings, phases and
    /// faults. Keys, values, indices and moments are those of the whole.
    #[must_use]
    pub fn subset(&self, ops: &[OpId]) -> History {
        let mut part = History {
            keys: self.keys.clone(),
            values: self.values.clone(),
            processes: self.processes.clone(),
            phases: self.phases.clone(),
            nemesis: self.nemesis.clone(),
            config: self.config.clone(),
            events: self.events,
            ..History::default()
        };
        for &id in ops {
            self.copy_op(id, &mut part);
        }
        // Rare as these are, each operation's stand together and in order.
        let place = |id: OpId| ops.binary_search(&id).ok().map(|at| OpId(at as u32));
        let samples = self.samples.iter();
        part.samples = samples
            .filter_map(|sample| place(sample.op).map(|op| super::Sample { op, ..*sample }))
            .collect();
        let drains = self.drains.iter();
        part.drains = drains
            .filter_map(|drain| place(drain.op).map(|op| super::Drain { op, ..*drain }))
            .collect();
        let audits = self.audits.iter();
        part.audits = audits
            .filter_map(|audit| {
                let op = place(audit.op)?;
                Some(super::Audit {
                    op,
                    ..audit.clone()
                })
            })
            .collect();
        let offsets = self.group_offsets.iter();
        part.group_offsets = offsets
            .filter_map(|told| {
                let op = place(told.op)?;
                Some(super::GroupOffsets { op, ..told.clone() })
            })
            .collect();
        part
    }

    fn copy_op(&self, id: OpId, part: &mut History) {
        let mut op = *self.op(id);
        let runs = part.runs.len() as u32;
        for run in self.runs(&op) {
            let mut kept = *run;
            kept.start = Arena::store(&mut part.records, run, self.records(run));
            part.runs.push(kept);
        }
        op.runs = (runs, part.runs.len() as u32 - runs);
        if let Some(detail) = self.detail(&op) {
            part.details.push(Detail::clone(detail));
            op.detail = part.details.len() as u32 - 1;
        } else {
            op.detail = NO_DETAIL;
        }
        part.ops.push(op);
    }

    /// Operations that say how the run was set up and what was done to it, not what clients saw.
    #[must_use]
    pub fn is_context(&self, id: OpId) -> bool {
        matches!(
            self.op(id).function,
            Function::Config | Function::Phase | Function::Nemesis
        )
    }
}
