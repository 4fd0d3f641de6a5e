//! PURE: what a voter may do whose metadata store is new.
//!
//! Raft rests on two promises: a vote is not given twice in one term, and what was acknowledged is
//! kept. A voter whose disk was replaced has forgotten both. If it voted, two leaders could be
//! elected in one term; if it voted for a log that lacks what it once held, committed metadata
//! would vanish. So a new store votes for nobody and takes no entries: it is *young*, until it
//! knows what it may have promised (the recovery of Viewstamped Replication, section 4.3 of Liskov
//! and Cowling 2012, for Raft).
//!
//! It asks every other voter for its term and the end of its log. Every answer comes after this
//! store was made, and so after the last promise that was forgotten:
//! * whoever was promised a vote in a term had that term itself, and a leader with that vote has a
//!   majority that has it: the forgotten votes are of terms up to the highest answer. Below and in
//!   that term it will not vote, nor follow leaders of lower terms;
//! * what was committed with its help is held by somebody else of the majority that committed it,
//!   so the longest log among the answers holds it: it votes for no shorter log.
//!
//! That is sound if every majority has a member that has forgotten nothing, so most of the others
//! must not be young themselves. When *all* are, the cluster is new, and there is nothing to know.
//! A voter that grew up at this founding remembers the stores of the others: one of them that
//! restarts before it has grown up itself is told so, and need ask nobody else.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::meta::raft_types::LogId;
use crate::types::BrokerId;

/// What a voter that has grown up must respect for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Floor {
    /// The highest term in which a forgotten vote may have been given.
    pub term: u64,
    /// The end of the longest log that it may have helped to commit.
    pub last: Option<LogId>,
}

/// A voter's store: which it is, and how far it has come. Kept on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Age {
    /// Drawn when the store was made; nil for a store from before there were ages.
    pub store: Uuid,
    /// Set once it has grown up.
    pub floor: Option<Floor>,
    /// The cluster was new then: this voter may form the group. With the others' stores.
    pub founding: Option<BTreeMap<BrokerId, Uuid>>,
}

impl Age {
    /// A store that was just made.
    #[must_use]
    pub fn young(store: Uuid) -> Self {
        Self {
            store,
            floor: None,
            founding: None,
        }
    }

    /// A store that holds votes or entries, but no age: nothing was forgotten.
    #[must_use]
    pub fn of_old() -> Self {
        Self {
            floor: Some(Floor::default()),
            founding: Some(BTreeMap::new()),
            store: Uuid::nil(),
        }
    }

    /// Whether it may neither vote nor follow yet.
    #[must_use]
    pub fn is_young(&self) -> bool {
        self.floor.is_none()
    }

    /// Whether a candidate of `term` whose log ends at `last` may be voted for.
    #[must_use]
    pub fn may_vote(&self, term: u64, last: Option<LogId>) -> bool {
        self.may_elect(last) && self.floor.is_some_and(|floor| term > floor.term)
    }

    /// The same without a term, for pre-votes and for its own candidacy.
    #[must_use]
    pub fn may_elect(&self, last: Option<LogId>) -> bool {
        self.floor.is_some_and(|floor| last >= floor.last)
    }

    /// Whether entries of a leader of `term` may be taken.
    #[must_use]
    pub fn may_follow(&self, term: u64) -> bool {
        self.floor.is_some_and(|floor| term >= floor.term)
    }

    /// Whether the store of `id` was there when the cluster was founded.
    #[must_use]
    pub fn knew(&self, id: BrokerId, store: Uuid) -> bool {
        let founding = self.founding.as_ref();
        founding.is_some_and(|stores| stores.get(&id) == Some(&store))
    }
}

/// What one voter says to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Who says it.
    pub id: BrokerId,
    /// Its store.
    pub store: Uuid,
    /// It has not grown up.
    pub young: bool,
    /// Its term, as on its disk.
    pub term: u64,
    /// The end of its log.
    pub last: Option<LogId>,
    /// It was there when the cluster was founded, and so was the asker's store.
    pub knew_you: bool,
}

/// What a young voter has heard since its process began.
#[derive(Debug)]
pub struct Youth {
    others: BTreeSet<BrokerId>,
    /// The first answer of each: it may have grown up since.
    young: BTreeMap<BrokerId, Uuid>,
    grown: BTreeMap<BrokerId, Floor>,
    vouched: bool,
}

/// What comes of what was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not yet: these have not answered.
    Wait(Vec<BrokerId>),
    /// All have, but too many stores are new: what they forgot cannot be known.
    TooManyNew(Vec<BrokerId>),
    /// It has grown up.
    Grown(Age),
}

impl Youth {
    /// Nothing is heard yet.
    #[must_use]
    pub fn new(others: impl IntoIterator<Item = BrokerId>) -> Self {
        Self {
            others: others.into_iter().collect(),
            young: BTreeMap::new(),
            grown: BTreeMap::new(),
            vouched: false,
        }
    }

    /// Another voter has spoken (it answered, or asked).
    pub fn hear(&mut self, said: &Standing) {
        if !self.others.contains(&said.id) {
            return;
        }
        self.vouched |= said.knew_you;
        let first = !self.young.contains_key(&said.id) && !self.grown.contains_key(&said.id);
        let replaced = self
            .young
            .get(&said.id)
            .is_some_and(|store| *store != said.store);
        if said.young && (first || replaced) {
            self.young.insert(said.id, said.store);
        } else if !said.young && (first || replaced) {
            self.young.remove(&said.id);
            let floor = Floor {
                term: said.term,
                last: said.last,
            };
            self.grown.insert(said.id, floor);
        }
    }

    /// Whether `store` has grown up.
    #[must_use]
    pub fn judge(&self, store: Uuid) -> Verdict {
        let grown = |floor, founding| {
            Verdict::Grown(Age {
                store,
                floor: Some(floor),
                founding,
            })
        };
        if self.vouched || self.young.len() == self.others.len() {
            return grown(Floor::default(), Some(self.young.clone()));
        }
        let heard = |id: &&BrokerId| self.young.contains_key(id) || self.grown.contains_key(id);
        let missing: Vec<_> = self
            .others
            .iter()
            .filter(|id| !heard(id))
            .copied()
            .collect();
        if !missing.is_empty() {
            return Verdict::Wait(missing);
        }
        // Every majority has one that has forgotten nothing.
        let voters = self.others.len() + 1;
        let majority = voters / 2 + 1;
        if self.grown.len() + majority <= voters {
            return Verdict::TooManyNew(self.young.keys().copied().collect());
        }
        let floors = self.grown.values();
        let floor = Floor {
            term: floors.clone().map(|floor| floor.term).max().unwrap_or(0),
            last: floors.map(|floor| floor.last).max().flatten(),
        };
        grown(floor, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log_id(term: u64, index: u64) -> Option<LogId> {
        let leader = openraft::CommittedLeaderId::new(term, 1);
        Some(LogId::new(leader, index))
    }

    fn said(id: i32, term: Option<u64>, last: Option<LogId>) -> Standing {
        Standing {
            id: BrokerId(id),
            store: Uuid::from_u128(u128::from(id.unsigned_abs())),
            young: term.is_none(),
            term: term.unwrap_or(0),
            last,
            knew_you: false,
        }
    }

    const MINE: Uuid = Uuid::from_u128(99);

    fn youth() -> Youth {
        Youth::new([BrokerId(2), BrokerId(3)])
    }

    #[test]
    fn a_lone_voter_has_nobody_to_ask() {
        let Verdict::Grown(age) = Youth::new([]).judge(MINE) else {
            panic!("it is the cluster");
        };
        assert!(age.may_vote(1, None) && age.founding.is_some());
    }

    #[test]
    fn a_new_cluster_is_founded_when_all_have_come() {
        let mut youth = youth();
        assert_eq!(
            youth.judge(MINE),
            Verdict::Wait(vec![BrokerId(2), BrokerId(3)])
        );
        youth.hear(&said(2, None, None));
        assert_eq!(youth.judge(MINE), Verdict::Wait(vec![BrokerId(3)]));
        youth.hear(&said(3, None, None));
        // The first answer counts: one that has grown up since did so at the same founding.
        youth.hear(&said(3, Some(1), log_id(1, 1)));
        let Verdict::Grown(age) = youth.judge(MINE) else {
            panic!("all are young");
        };
        assert_eq!(age.floor, Some(Floor::default()));
        assert!(age.knew(BrokerId(2), Uuid::from_u128(2)));
        assert!(!age.knew(BrokerId(2), Uuid::from_u128(7)), "another disk");
    }

    #[test]
    fn a_replaced_disk_respects_what_it_may_have_promised() {
        let mut youth = youth();
        youth.hear(&said(2, Some(4), log_id(3, 20)));
        assert_eq!(youth.judge(MINE), Verdict::Wait(vec![BrokerId(3)]));
        youth.hear(&said(3, Some(5), log_id(4, 10)));
        let Verdict::Grown(age) = youth.judge(MINE) else {
            panic!("both others have answered");
        };
        assert_eq!(age.founding, None, "it may not form a group");
        assert!(
            !age.may_vote(5, log_id(4, 10)),
            "it may have voted in term 5"
        );
        assert!(age.may_vote(6, log_id(4, 10)));
        assert!(
            !age.may_vote(6, log_id(3, 20)),
            "an older log may lack what it held"
        );
        assert!(!age.may_follow(4) && age.may_follow(5));
        assert!(!age.may_elect(None), "its own log, as long as it is empty");
    }

    #[test]
    fn two_replaced_disks_of_three_are_too_many() {
        let mut youth = youth();
        youth.hear(&said(2, None, None));
        youth.hear(&said(3, Some(5), log_id(4, 10)));
        assert_eq!(youth.judge(MINE), Verdict::TooManyNew(vec![BrokerId(2)]));
        let age = Age::young(MINE);
        assert!(!age.may_vote(9, log_id(9, 99)) && !age.may_follow(9));
    }

    #[test]
    fn whoever_was_known_at_the_founding_needs_no_other_answer() {
        let mut youth = youth();
        youth.hear(&Standing {
            knew_you: true,
            ..said(3, Some(5), log_id(4, 10))
        });
        let Verdict::Grown(age) = youth.judge(MINE) else {
            panic!("it is vouched for");
        };
        assert_eq!(age.floor, Some(Floor::default()));
    }

    #[test]
    fn one_replaced_disk_of_five_asks_all_and_two_are_not_too_many() {
        let mut youth = Youth::new((2..=5).map(BrokerId));
        youth.hear(&said(2, None, None));
        for id in 3..=4 {
            youth.hear(&said(id, Some(2), log_id(2, 2)));
        }
        assert_eq!(youth.judge(MINE), Verdict::Wait(vec![BrokerId(5)]));
        youth.hear(&said(5, Some(2), log_id(2, 2)));
        assert!(matches!(youth.judge(MINE), Verdict::Grown(_)));
    }
}
