//! Who led which partition when, as the sampler heard it.

use crate::history::{History, KeyId};

/// A leader's reign over one key, from the answer that first named it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reign {
    /// From when.
    pub from: i64,
    /// Until when the next one was heard of.
    pub until: i64,
    /// The leader; none where the answer names none.
    pub leader: Option<i64>,
    /// Its epoch.
    pub epoch: Option<i64>,
}

/// Reigns over all keys.
#[derive(Clone, Debug, Default)]
pub struct Leaders {
    /// By key (dense), in order of time.
    pub keys: Vec<Vec<Reign>>,
}

impl Leaders {
    /// Epoch changes of one key.
    #[must_use]
    pub fn changes(&self, key: KeyId) -> u64 {
        (self.keys[key.at()].len() as u64).saturating_sub(1)
    }

    /// Epoch changes of all keys.
    #[must_use]
    pub fn changes_in_all(&self) -> u64 {
        let changes = self
            .keys
            .iter()
            .map(|reigns| reigns.len().saturating_sub(1));
        changes.sum::<usize>() as u64
    }

    /// Epoch changes that were heard of in `[from, until]`.
    #[must_use]
    pub fn changes_within(&self, from: i64, until: i64) -> u64 {
        let begun = self.keys.iter().flat_map(|reigns| reigns.iter().skip(1));
        begun
            .filter(|reign| (from..=until).contains(&reign.from))
            .count() as u64
    }

    /// Whether any answer named an epoch.
    #[must_use]
    pub fn known(&self) -> bool {
        self.keys.iter().any(|reigns| !reigns.is_empty())
    }
}

/// Follows the highest epoch that was heard of for each key.
#[must_use]
pub fn leaders(history: &History, end: i64) -> Leaders {
    let mut leaders = Leaders {
        keys: vec![Vec::new(); history.keys().len()],
    };
    for sample in &history.samples {
        let time = super::ended(history.op(sample.op), end);
        let leader = sample.leader.filter(|leader| *leader >= 0);
        if sample.epoch.is_none() && leader.is_none() {
            continue;
        }
        let reigns = &mut leaders.keys[sample.key.at()];
        let new = match reigns.last() {
            None => true,
            Some(last) => match (sample.epoch, last.epoch) {
                (Some(epoch), Some(known)) => epoch > known,
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (None, None) => leader != last.leader,
            },
        };
        if new {
            if let Some(last) = reigns.last_mut() {
                last.until = time;
            }
            reigns.push(Reign {
                from: time,
                until: end,
                leader,
                epoch: sample.epoch,
            });
        } else if let Some(last) = reigns.last_mut()
            && last.leader.is_none()
            && sample.epoch == last.epoch
        {
            last.leader = leader;
        }
    }
    leaders
}
