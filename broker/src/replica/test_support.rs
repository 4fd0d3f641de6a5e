//! For the tests of the pure cores: a log that is a list of epochs, and a small cluster of cores.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::chaos::seeded_bug::BugSet;
use crate::replica::cluster::{PartitionMeta, Peer};
use crate::replica::core::{Effect, ReplicaCore, Settings};
use crate::replica::follower::{FetchAnswer, FollowStep, LeaderSaid};
use crate::replica::leader::{FetchOutcome, FollowerFetch};
use crate::replica::log_facts::{EpochEnd, LogFacts, end_offset_in};
use crate::types::{Acks, BrokerEpoch, BrokerId, Durability, LeaderEpoch, Offset, PartitionEpoch};

pub const LAG_MAX: Duration = Duration::from_secs(5);

/// Records are `(epoch, value)`; everything is held at once unless `held` says less.
#[derive(Clone, Debug, Default)]
pub struct TestLog {
    pub start: i64,
    pub records: Vec<(i32, u32)>,
    pub held: Option<i64>,
}

impl TestLog {
    /// One record of each of these epochs.
    pub fn of(epochs: &[i32]) -> Self {
        Self {
            records: epochs.iter().map(|&epoch| (epoch, 0)).collect(),
            ..Self::default()
        }
    }

    pub fn truncate(&mut self, to: Offset) {
        self.records
            .truncate(usize::try_from(to.get() - self.start).expect("not below the start"));
    }

    pub fn restart_at(&mut self, at: Offset) {
        self.start = at.get();
        self.records.clear();
    }
}

impl LogFacts for TestLog {
    fn log_start(&self) -> Offset {
        Offset(self.start)
    }

    fn log_end(&self) -> Offset {
        Offset(self.start + i64::try_from(self.records.len()).expect("small"))
    }

    fn held_end(&self) -> Offset {
        self.held
            .map_or(self.log_end(), |held| Offset(held).min(self.log_end()))
    }

    fn is_settled(&self) -> bool {
        self.held_end() == self.log_end()
    }

    fn last_epoch(&self) -> Option<LeaderEpoch> {
        self.records.last().map(|(epoch, _)| LeaderEpoch(*epoch))
    }

    fn end_offset_for(&self, epoch: LeaderEpoch) -> EpochEnd {
        let mut starts: Vec<(LeaderEpoch, Offset)> = Vec::new();
        for (at, (epoch, _)) in self.records.iter().enumerate() {
            if starts.last().is_none_or(|(last, _)| last.get() < *epoch) {
                let offset = self.start + i64::try_from(at).expect("small");
                starts.push((LeaderEpoch(*epoch), Offset(offset)));
            }
        }
        end_offset_in(starts.into_iter(), self.log_end(), epoch)
    }
}

pub fn settings(me: i32) -> Settings {
    Settings {
        me: BrokerId(me),
        broker_epoch: BrokerEpoch(i64::from(me) * 100),
        durability: Durability::Fsync,
        lag_time_max: LAG_MAX,
        bugs: BugSet::NONE,
    }
}

pub fn ids(ids: &[i32]) -> BTreeSet<BrokerId> {
    ids.iter().map(|&id| BrokerId(id)).collect()
}

/// Replicas 1, 2 and 3, all eligible, `min.insync.replicas` 2.
pub fn meta(leader: i32, leader_epoch: i32, partition_epoch: i32, isr: &[i32]) -> PartitionMeta {
    let peers = (1..=3).map(|id| {
        let broker_epoch = BrokerEpoch(i64::from(id) * 100);
        (
            BrokerId(id),
            Peer {
                broker_epoch,
                eligible: true,
            },
        )
    });
    PartitionMeta {
        replicas: ids(&[1, 2, 3]),
        isr: ids(isr),
        leader: Some(BrokerId(leader)),
        leader_epoch: LeaderEpoch(leader_epoch),
        partition_epoch: PartitionEpoch(partition_epoch),
        min_isr: 2,
        peers: peers.collect(),
    }
}

pub fn fetch(replica: i32, leader_epoch: i32, offset: i64, last: Option<i32>) -> FollowerFetch {
    FollowerFetch {
        replica: BrokerId(replica),
        broker_epoch: BrokerEpoch(i64::from(replica) * 100),
        leader_epoch: LeaderEpoch(leader_epoch),
        offset: Offset(offset),
        last_epoch: last.map(LeaderEpoch),
    }
}

/// One replica with its log.
#[derive(Clone, Debug)]
pub struct Node {
    pub core: ReplicaCore,
    pub log: TestLog,
}

/// Brokers 1, 2 and 3, driven message by message.
#[derive(Clone, Debug)]
pub struct Cluster {
    pub nodes: BTreeMap<i32, Node>,
    pub effects: Vec<(i32, Effect)>,
    pub now: Duration,
}

impl Cluster {
    pub fn new(bugs: BugSet) -> Self {
        let node = |id| {
            let log = TestLog::default();
            let settings = Settings {
                bugs,
                ..settings(id)
            };
            let core = ReplicaCore::new(settings, Offset(0), &log);
            (id, Node { core, log })
        };
        Self {
            nodes: (1..=3).map(node).collect(),
            effects: Vec::new(),
            now: Duration::ZERO,
        }
    }

    pub fn node(&mut self, id: i32) -> &mut Node {
        self.nodes.get_mut(&id).expect("1, 2 or 3")
    }

    pub fn hw(&self, id: i32) -> i64 {
        self.nodes[&id].core.hw().get()
    }

    pub fn image(&mut self, to: &[i32], meta: &PartitionMeta) {
        let now = self.now;
        for &id in to {
            let Node { core, log } = self.node(id);
            let mut effects = core.adopt(meta, log, now);
            for effect in effects.clone() {
                if let Effect::Truncate(to) = effect {
                    log.truncate(to);
                    effects.extend(core.followed(None, log));
                }
            }
            self.effects
                .extend(effects.into_iter().map(|effect| (id, effect)));
        }
    }

    pub fn append(&mut self, id: i32, value: u32) {
        let now = self.now;
        let Node { core, log } = self.node(id);
        let epoch = core.admit(Acks::All).expect("leads with enough replicas");
        log.records.push((epoch.get(), value));
        let effects = core.log_grew(log, now);
        self.effects
            .extend(effects.into_iter().map(|effect| (id, effect)));
    }

    /// The follower's request, if it has a leader.
    pub fn ask(&self, id: i32) -> Option<(FollowerFetch, FetchAnswer)> {
        let Node { core, log } = &self.nodes[&id];
        let asked = core.position(log)?;
        let request = FollowerFetch {
            replica: BrokerId(id),
            broker_epoch: core.settings().broker_epoch,
            leader_epoch: asked.leader_epoch,
            offset: asked.offset,
            last_epoch: asked.last_epoch,
        };
        let said = LeaderSaid::OutOfRange {
            log_start: Offset(0),
        };
        Some((request, FetchAnswer { asked, said }))
    }

    /// The leader's answer to a request: what it says, and the records.
    pub fn serve(
        &mut self,
        leader: i32,
        request: &FollowerFetch,
    ) -> (FetchOutcome, Vec<(i32, u32)>, Offset) {
        let now = self.now;
        let Node { core, log } = self.node(leader);
        let (outcome, effects) = core.fetch(request, log, now);
        let from = usize::try_from(request.offset.get() - log.start).unwrap_or(0);
        let records = log.records.get(from..).unwrap_or_default().to_vec();
        let hw = core.hw();
        self.effects
            .extend(effects.into_iter().map(|effect| (leader, effect)));
        (outcome, records, hw)
    }

    /// One fetch from end to end; what the follower did.
    pub fn fetch(&mut self, follower: i32) -> Option<FollowStep> {
        let (request, mut answer) = self.ask(follower)?;
        let leader = answer.asked.leader.get();
        let (outcome, records, hw) = self.serve(leader, &request);
        answer.said = match outcome {
            FetchOutcome::Refused(_) => return None,
            FetchOutcome::OutOfRange { log_start } => LeaderSaid::OutOfRange { log_start },
            FetchOutcome::Diverging(end) => LeaderSaid::Diverging(end),
            FetchOutcome::Recorded => LeaderSaid::Records {
                first: records
                    .first()
                    .map(|(epoch, _)| (request.offset, LeaderEpoch(*epoch))),
                leader_hw: hw,
            },
        };
        Some(self.deliver(follower, &answer, &records))
    }

    /// An answer reaches the follower.
    pub fn deliver(
        &mut self,
        follower: i32,
        answer: &FetchAnswer,
        records: &[(i32, u32)],
    ) -> FollowStep {
        let Node { core, log } = self.node(follower);
        let step = core.follow(answer, log);
        match step {
            FollowStep::Ignore | FollowStep::Refuse => return step,
            FollowStep::Keep => {}
            FollowStep::Append => log.records.extend_from_slice(records),
            FollowStep::Truncate(to) => log.truncate(to),
            FollowStep::RestartAt(at) => log.restart_at(at),
        }
        let leader_hw = match answer.said {
            LeaderSaid::Records { leader_hw, .. } => Some(leader_hw),
            _ => None,
        };
        let effects = core.followed(leader_hw, log);
        self.effects
            .extend(effects.into_iter().map(|effect| (follower, effect)));
        step
    }
}
