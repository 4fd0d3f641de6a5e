//! When writes were wanted and none was acknowledged.
//!
//! A gap of a key begins when a send for it is outstanding and nothing has been acknowledged
//! since, and ends with the next acknowledgement. Between two sends nobody waits, so a slow
//! workload makes no gaps; but a send that follows within [`RETRY_PAUSE`] of an unsuccessful one
//! continues its gap, because that is a client that tries again.

use super::{Bins, ended, sent};
use crate::history::{Function, History, KeyId, Outcome, RunKind};

/// A pause of at most this much between two tries is part of the gap, in ns.
const RETRY_PAUSE: i64 = 1_000_000_000;

/// A time without acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gap {
    /// Since when somebody waited.
    pub from: i64,
    /// When the next acknowledgement came, or when the last one who waited gave up.
    pub until: i64,
    /// Whether an acknowledgement ended it.
    pub ended: bool,
}

impl Gap {
    /// Its length in ns.
    #[must_use]
    pub fn length(&self) -> i64 {
        self.until - self.from
    }
}

/// Gaps of a run.
#[derive(Clone, Debug, Default)]
pub struct Availability {
    /// By key (dense): gaps of at least `floor`, in order of time.
    pub keys: Vec<Vec<Gap>>,
    /// Acknowledgement times of all keys, sorted.
    pub acknowledged: Vec<i64>,
    /// By key: acknowledgement times, sorted, one per operation and time.
    acknowledged_by_key: Vec<Vec<i64>>,
    /// By key: whether anybody sent anything to it.
    wanted: Vec<bool>,
    /// When sends, polls and transactions were invoked, sorted.
    invoked: Vec<i64>,
    /// Shorter gaps are not listed, in ns.
    pub floor: i64,
}

/// What one fault cost.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// Operations invoked inside.
    pub ops: u64,
    /// Messages acknowledged inside.
    pub acknowledged: u64,
    /// The longest gap that overlaps it, of the key that suffered most.
    pub gap: Option<(KeyId, Gap)>,
    /// From its effect until no partition made anybody wait any more.
    pub recovery: Recovery,
}

/// How long writers suffered from a fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Recovery {
    /// Nobody had to wait for long.
    #[default]
    AtOnce,
    /// After so many ns the last gap ended.
    After(i64),
    /// Some gap was never ended by an acknowledgement.
    Never,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Acknowledged,
    Invoked,
    /// It ended, and left nobody waiting.
    Served,
    /// It ended, and what it wanted is still wanted.
    GivenUp,
}

/// Finds the gaps of at least `floor` ns.
#[must_use]
pub fn availability(history: &History, bins: &Bins, floor: i64) -> Availability {
    let keys = history.keys().len();
    let mut events: Vec<Vec<(i64, Event)>> = vec![Vec::new(); keys];
    let mut availability = Availability {
        keys: Vec::with_capacity(keys),
        acknowledged: Vec::new(),
        acknowledged_by_key: vec![Vec::new(); keys],
        wanted: vec![false; keys],
        invoked: invocations(history),
        floor,
    };
    let mut touched: Vec<KeyId> = Vec::new();
    for op in history.ops() {
        if !matches!(op.function, Function::Send | Function::Txn) || op.invoked.time < 0 {
            continue;
        }
        touched.clear();
        let sends = history
            .runs(op)
            .iter()
            .filter(|run| run.kind == RunKind::Send);
        touched.extend(sends.map(|run| run.key));
        touched.sort_unstable();
        touched.dedup();
        for key in &touched {
            availability.wanted[key.at()] = true;
            events[key.at()].push((op.invoked.time, Event::Invoked));
            let event = match op.outcome {
                Outcome::Ok => Event::Served,
                _ => Event::GivenUp,
            };
            events[key.at()].push((ended(op, bins.end), event));
        }
        sent(history, op, bins.end, |message| {
            if message.acknowledged {
                availability.acknowledged.push(message.heard);
                let times = &mut availability.acknowledged_by_key[message.key.at()];
                if times.last() != Some(&message.heard) {
                    times.push(message.heard);
                    events[message.key.at()].push((message.heard, Event::Acknowledged));
                }
            }
        });
    }
    availability.acknowledged.sort_unstable();
    for times in &mut availability.acknowledged_by_key {
        times.sort_unstable();
    }
    for events in &mut events {
        events.sort_unstable();
        availability.keys.push(gaps(events, floor));
    }
    availability
}

fn invocations(history: &History) -> Vec<i64> {
    let data = history.ops().iter().filter(|op| op.function.is_data());
    let mut times: Vec<i64> = data.map(|op| op.invoked.time).collect();
    times.sort_unstable();
    times
}

/// How many of the sorted times lie in `[from, until]`.
fn within(times: &[i64], from: i64, until: i64) -> u64 {
    let begun = times.partition_point(|time| *time < from);
    (times.partition_point(|time| *time <= until).max(begun) - begun) as u64
}

fn gaps(events: &[(i64, Event)], floor: i64) -> Vec<Gap> {
    let mut found = Vec::new();
    let mut outstanding = 0u64;
    let mut waiting: Option<i64> = None;
    // When the last one who waited gave up, while nobody waits.
    let mut given_up: Option<i64> = None;
    let mut note = |gap: Gap| {
        if gap.length() >= floor {
            found.push(gap);
        }
    };
    for &(time, event) in events {
        match event {
            Event::Invoked => {
                if let (Some(from), Some(until)) = (waiting, given_up)
                    && time - until > RETRY_PAUSE
                {
                    note(Gap {
                        from,
                        until,
                        ended: false,
                    });
                    waiting = None;
                }
                given_up = None;
                outstanding += 1;
                waiting.get_or_insert(time);
            }
            Event::Acknowledged => {
                if let Some(from) = waiting {
                    note(Gap {
                        from,
                        until: time,
                        ended: true,
                    });
                }
                waiting = (outstanding > 0).then_some(time);
                given_up = None;
            }
            Event::Served | Event::GivenUp => {
                outstanding = outstanding.saturating_sub(1);
                if outstanding == 0 && event == Event::Served {
                    waiting = None;
                } else if outstanding == 0 {
                    given_up = waiting.map(|_| time);
                }
            }
        }
    }
    if let Some(from) = waiting {
        let last = events.last().map_or(from, |(time, _)| *time);
        note(Gap {
            from,
            until: given_up.unwrap_or(last),
            ended: false,
        });
    }
    found
}

impl Availability {
    /// The first and the last acknowledgement of a key.
    #[must_use]
    pub fn span(&self, key: KeyId) -> Option<(i64, i64)> {
        let times = &self.acknowledged_by_key[key.at()];
        Some((*times.first()?, *times.last()?))
    }

    /// Whether anybody sent anything to a key.
    #[must_use]
    pub fn wanted(&self, key: KeyId) -> bool {
        self.wanted[key.at()]
    }

    /// The longest gap of all keys.
    #[must_use]
    pub fn worst(&self) -> Option<(KeyId, Gap)> {
        self.worst_within(i64::MIN, i64::MAX)
    }

    /// The longest gap of all keys among those that overlap `[from, until]`.
    #[must_use]
    pub fn worst_within(&self, from: i64, until: i64) -> Option<(KeyId, Gap)> {
        let all = self.keys.iter().enumerate().flat_map(|(key, gaps)| {
            let key = KeyId(key as u32);
            gaps.iter().map(move |gap| (key, *gap))
        });
        all.filter(|(_, gap)| gap.until > from && gap.from < until)
            .max_by_key(|(key, gap)| (gap.length(), std::cmp::Reverse(*key)))
    }

    /// Messages acknowledged in `[from, until]`.
    #[must_use]
    pub fn acknowledged_within(&self, from: i64, until: i64) -> u64 {
        within(&self.acknowledged, from, until)
    }

    /// What a fault in `[from, until]` cost.
    #[must_use]
    pub fn cost(&self, from: i64, until: i64) -> Cost {
        let gaps = self.keys.iter().flatten();
        let mut recovery = Recovery::AtOnce;
        for gap in gaps.filter(|gap| gap.until > from && gap.from < until) {
            let after = match gap.ended {
                true => Recovery::After(gap.until - from),
                false => Recovery::Never,
            };
            recovery = recovery.max(after);
        }
        Cost {
            ops: within(&self.invoked, from, until),
            acknowledged: self.acknowledged_within(from, until),
            gap: self.worst_within(from, until),
            recovery,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000_000;

    #[test]
    fn nobody_waits_between_two_sends() {
        let events = [
            (0, Event::Invoked),
            (S, Event::Acknowledged),
            (S, Event::Served),
            (60 * S, Event::Invoked),
            (61 * S, Event::Acknowledged),
            (61 * S, Event::Served),
        ];
        let found = gaps(&events, 2 * S);
        assert_eq!(found, []);
    }

    #[test]
    fn tries_that_follow_each_other_are_one_gap() {
        let events = [
            (0, Event::Invoked),
            (5 * S, Event::GivenUp),
            (5 * S + 1, Event::Invoked),
            (8 * S, Event::Acknowledged),
            (8 * S, Event::Served),
        ];
        let gap = Gap {
            from: 0,
            until: 8 * S,
            ended: true,
        };
        assert_eq!(gaps(&events, S), [gap]);
    }

    #[test]
    fn who_gives_up_for_good_ends_a_gap_without_an_acknowledgement() {
        let events = [
            (0, Event::Invoked),
            (5 * S, Event::GivenUp),
            (20 * S, Event::Invoked),
            (21 * S, Event::Acknowledged),
            (21 * S, Event::Served),
        ];
        let gap = Gap {
            from: 0,
            until: 5 * S,
            ended: false,
        };
        assert_eq!(gaps(&events, 2 * S), [gap]);
    }
}
