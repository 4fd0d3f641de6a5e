//! What the analyses found: every finding is judged and counted, a bounded number is kept in
//! detail.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use super::kind::Kind;
use crate::history::{History, KeyId, OpId, Value};

/// One anomaly.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Its detail fields, by the names of anomalies.md.
    pub details: Map<String, Json>,
    /// The key it is about, where it is about one.
    pub key: Option<KeyId>,
    /// The value it is about, where it is about one.
    pub value: Option<Value>,
}

/// What a profile may need to know of a finding to allow it.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// The key.
    pub key: KeyId,
    /// For missing messages: an ok poll had returned it before.
    pub was_read: bool,
    /// What excuses a type in general is known not to excuse this one: a consumer's position moved
    /// although its group was not rebalanced.
    pub inexcusable: bool,
    /// A transaction sent it.
    pub transactional: bool,
}

impl About {
    /// About a message that is missing.
    #[must_use]
    pub fn message(key: KeyId, was_read: bool) -> About {
        About {
            was_read,
            ..About::from(key)
        }
    }

    /// The same, where the usual excuse is known not to hold.
    #[must_use]
    pub fn inexcusable(self, inexcusable: bool) -> About {
        About {
            inexcusable,
            ..self
        }
    }

    /// The same about something that a transaction sent.
    #[must_use]
    pub fn transactional(self, transactional: bool) -> About {
        About {
            transactional,
            ..self
        }
    }
}

impl From<KeyId> for About {
    fn from(key: KeyId) -> About {
        About {
            key,
            was_read: false,
            inexcusable: false,
            transactional: false,
        }
    }
}

/// Decides what is allowed; the profile's part.
pub trait Judge: Sync {
    /// Whether a finding of that type is allowed.
    fn allows(&self, kind: Kind, about: Option<About>) -> bool;
}

/// The findings of one type.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// How many there are.
    pub total: u64,
    /// The first of them.
    pub listed: Vec<Finding>,
}

/// All findings, by type.
pub struct Findings<'j> {
    judge: &'j dyn Judge,
    limit: usize,
    forbidden: BTreeMap<Kind, Found>,
    allowed: BTreeMap<Kind, Found>,
}

impl<'j> Findings<'j> {
    /// Keeps at most `limit` findings of each type in detail.
    #[must_use]
    pub fn new(judge: &'j dyn Judge, limit: usize) -> Findings<'j> {
        Findings {
            judge,
            limit,
            forbidden: BTreeMap::new(),
            allowed: BTreeMap::new(),
        }
    }

    /// Takes over what another analysis found.
    pub fn absorb(&mut self, other: Findings) {
        for (mine, theirs) in [
            (&mut self.forbidden, other.forbidden),
            (&mut self.allowed, other.allowed),
        ] {
            for (kind, found) in theirs {
                let known = mine.entry(kind).or_default();
                known.total += found.total;
                let room = self.limit.saturating_sub(known.listed.len());
                known.listed.extend(found.listed.into_iter().take(room));
            }
        }
    }

    fn found(&mut self, kind: Kind, about: Option<About>) -> &mut Found {
        let allowed = self.judge.allows(kind, about);
        let found = if allowed {
            &mut self.allowed
        } else {
            &mut self.forbidden
        };
        found.entry(kind).or_default()
    }

    /// Counts a finding, and keeps it if there is room.
    pub fn add(&mut self, kind: Kind, about: impl Into<About>, detail: impl FnOnce() -> Finding) {
        let limit = self.limit;
        let found = self.found(kind, Some(about.into()));
        found.total += 1;
        if found.listed.len() < limit {
            found.listed.push(detail());
        }
    }

    /// A finding about no single key, that stands for `total` of them.
    pub fn add_whole(&mut self, kind: Kind, total: u64, detail: impl FnOnce() -> Finding) {
        let limit = self.limit;
        let found = self.found(kind, None);
        found.total += total;
        if found.listed.len() < limit {
            found.listed.push(detail());
        }
    }

    /// What the profile forbids, the gravest type first.
    pub fn forbidden(&self) -> impl Iterator<Item = (Kind, &Found)> {
        self.forbidden.iter().map(|(&kind, found)| (kind, found))
    }

    /// What the profile allows.
    pub fn allowed(&self) -> impl Iterator<Item = (Kind, &Found)> {
        self.allowed.iter().map(|(&kind, found)| (kind, found))
    }

    /// What was found of one forbidden type.
    #[must_use]
    pub fn get(&self, kind: Kind) -> Option<&Found> {
        self.forbidden.get(&kind)
    }

    /// How many were found of one type, allowed or not.
    #[must_use]
    pub fn total(&self, kind: Kind) -> u64 {
        let total = |found: &BTreeMap<Kind, Found>| found.get(&kind).map_or(0, |f| f.total);
        total(&self.forbidden) + total(&self.allowed)
    }
}

/// Builds a finding's details in the history's own terms.
pub struct Details<'h> {
    history: &'h History,
    finding: Finding,
}

impl<'h> Details<'h> {
    /// Nothing yet.
    #[must_use]
    pub fn new(history: &'h History) -> Details<'h> {
        let finding = Finding {
            details: Map::new(),
            key: None,
            value: None,
        };
        Details { history, finding }
    }

    /// `key`: the key's name.
    #[must_use]
    pub fn key(mut self, key: KeyId) -> Self {
        self.finding.key = Some(key);
        let name = self.history.keys().name(key).to_owned();
        self.json("key", name)
    }

    /// `value`: the message.
    #[must_use]
    pub fn value(mut self, value: Value) -> Self {
        self.finding.value = Some(value);
        let value = self.history.values().json(value);
        self.json("value", value)
    }

    /// A list of messages.
    #[must_use]
    pub fn values(self, name: &str, values: impl IntoIterator<Item = Value>) -> Self {
        let table = self.history.values();
        let values: Vec<_> = values.into_iter().map(|value| table.json(value)).collect();
        self.json(name, values)
    }

    /// An operation, by the index of its completion; null where there is none.
    #[must_use]
    pub fn op(self, name: &str, op: Option<OpId>) -> Self {
        let index = op.map(|op| self.history.op(op).index);
        self.json(name, index)
    }

    /// Operations, by the index of their completions.
    #[must_use]
    pub fn ops(self, name: &str, ops: &[OpId]) -> Self {
        let indices: Vec<_> = ops.iter().map(|&op| self.history.op(op).index).collect();
        self.json(name, indices)
    }

    /// Any other field.
    #[must_use]
    pub fn json(mut self, name: &str, value: impl Into<Json>) -> Self {
        self.finding.details.insert(name.to_owned(), value.into());
        self
    }

    /// The finding.
    #[must_use]
    pub fn finish(self) -> Finding {
        self.finding
    }
}
