//! Three brokers (their pure cores), a network that delays, reorders and loses, and disks that
//! lose what was not synced: everything that a walk can do next.

use std::collections::BTreeMap;
use std::time::Duration;

use broker::chaos::seeded_bug::BugSet;
use broker::meta::command::LogClaim;
use broker::replica::core::{Effect, ReplicaCore, Settings};
use broker::replica::follower::{FetchAnswer, FetchPosition, FollowStep, LeaderSaid};
use broker::replica::isr::{AlterReply, Proposal};
use broker::replica::leader::{Completion, FetchOutcome, FollowerFetch};
use broker::replica::log_facts::LogFacts;
use broker::types::{Acks, BrokerEpoch, BrokerId, Durability, LeaderEpoch, Offset};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::controller::Controller;
use crate::log::{Log, Record, index};
use crate::oracle::Oracle;

pub const LAG_MAX: Duration = Duration::from_secs(1);

pub struct Node {
    /// `None` while the process is down.
    pub core: Option<ReplicaCore>,
    pub log: Log,
    pub broker_epoch: BrokerEpoch,
    /// How many of the controller's images it has been told.
    adopted: usize,
    /// It lost a tail, and the controller does not know yet.
    pub has_lost: bool,
    /// The watermark that it will find after a restart.
    checkpoint: Offset,
}

/// What is under way, to one incarnation of its receiver.
#[derive(Clone)]
pub enum Message {
    Fetch(FollowerFetch),
    Answer(FetchAnswer, Vec<Record>),
    Alter(BrokerId, BrokerEpoch, Proposal),
    Altered(Proposal, AlterReply),
}

/// Receiver (the controller is `None`) and message.
pub type Sent = (Option<(BrokerId, BrokerEpoch)>, Message);

struct Waiter {
    at: BrokerId,
    epoch: LeaderEpoch,
    acks: Acks,
    offset: Offset,
    record: Record,
}

pub struct Cluster {
    pub controller: Controller,
    pub nodes: BTreeMap<BrokerId, Node>,
    pub network: Vec<Sent>,
    pub oracle: Option<Oracle>,
    pub acknowledged_count: usize,
    waiters: Vec<Waiter>,
    values: u32,
    now: Duration,
    durability: Durability,
    bugs: BugSet,
}

impl Cluster {
    pub fn new(durability: Durability, bugs: BugSet) -> Self {
        let controller = Controller::new(bugs);
        let node = |id| {
            let node = Node {
                core: None,
                log: Log::new(durability),
                broker_epoch: controller.epoch(id),
                adopted: 0,
                has_lost: false,
                checkpoint: Offset(0),
            };
            (id, node)
        };
        let mut cluster = Self {
            nodes: (1..=3).map(BrokerId).map(node).collect(),
            controller,
            network: Vec::new(),
            oracle: Some(Oracle::default()),
            acknowledged_count: 0,
            waiters: Vec::new(),
            values: 0,
            now: Duration::ZERO,
            durability,
            bugs,
        };
        for id in (1..=3).map(BrokerId) {
            cluster.boot(id);
            cluster.adopt(id, true);
        }
        cluster
    }

    fn boot(&mut self, id: BrokerId) {
        let node = self.nodes.get_mut(&id).expect("1 to 3");
        let settings = Settings {
            me: id,
            broker_epoch: node.broker_epoch,
            durability: self.durability,
            lag_time_max: LAG_MAX,
            bugs: self.bugs,
        };
        node.core = Some(ReplicaCore::new(settings, node.checkpoint, &node.log));
    }

    pub fn ids(&self, up: bool) -> Vec<BrokerId> {
        let nodes = self
            .nodes
            .iter()
            .filter(|(_, node)| node.core.is_some() == up);
        nodes.map(|(id, _)| *id).collect()
    }

    /// Who leads in the newest epoch, if it knows.
    pub fn leader(&self) -> Option<BrokerId> {
        let image = self.controller.partition();
        let node = &self.nodes[&image.leader?];
        let leads = node.core.as_ref()?.as_leader()?.epoch() == image.leader_epoch;
        leads.then_some(image.leader?)
    }

    pub fn leads(&self, id: BrokerId) -> bool {
        let core = self.nodes[&id].core.as_ref();
        core.is_some_and(|core| core.as_leader().is_some())
    }

    /// Feeds `event` to the core of `id`, if it is up, and carries out what it asks for.
    fn feed(
        &mut self,
        id: BrokerId,
        event: impl FnOnce(&mut ReplicaCore, &mut Log, Duration) -> Vec<Effect>,
    ) {
        let now = self.now;
        let node = self.nodes.get_mut(&id).expect("1 to 3");
        let Some(core) = &mut node.core else { return };
        for effect in event(core, &mut node.log, now) {
            match effect {
                Effect::Propose(proposal) => {
                    let alter = Message::Alter(id, node.broker_epoch, proposal);
                    self.network.push((None, alter));
                }
                Effect::Truncate(to) => {
                    node.log.truncate(to);
                    let _ = core.followed(None, &node.log);
                }
                Effect::LeadershipEnded(epoch) => {
                    self.waiters.retain(|w| w.at != id || w.epoch != epoch);
                }
                Effect::HighWatermark(_) | Effect::EpochBegan(_) => {}
            }
        }
        self.look_at(id);
    }

    /// Consumers read, and producers are told.
    fn look_at(&mut self, id: BrokerId) {
        let node = &self.nodes[&id];
        let Some(core) = &node.core else { return };
        let oracle = self.oracle.as_mut().expect("put back");
        if let Some(leader) = core.as_leader() {
            oracle.observe(leader.epoch(), leader.hw().get(), &node.log);
        }
        let count = &mut self.acknowledged_count;
        self.waiters.retain(|waiter| {
            if waiter.at != id {
                return true;
            }
            match core.completion(waiter.epoch, waiter.acks, waiter.offset, &node.log) {
                Some(Completion::Wait) => true,
                Some(Completion::Done) => {
                    if waiter.acks == Acks::All {
                        oracle.acknowledge(index(waiter.offset), waiter.record);
                        *count += 1;
                    }
                    false
                }
                Some(Completion::NotEnoughReplicas) | None => false,
            }
        });
    }

    /// Every follower of the walk's rules looks at everything.
    pub fn check(&mut self) -> bool {
        let mut oracle = self.oracle.take().expect("put back");
        oracle.look(self);
        let sound = oracle.broken.is_none();
        self.oracle = Some(oracle);
        sound
    }

    /// Tells `id` the next image, or the newest.
    pub fn adopt(&mut self, id: BrokerId, newest: bool) {
        let last = self.controller.images.len() - 1;
        let node = self.nodes.get_mut(&id).expect("1 to 3");
        let at = if newest { last } else { node.adopted.min(last) };
        node.adopted = at + 1;
        let image = self.controller.images[at].clone();
        self.feed(id, |core, log, now| core.adopt(&image, log, now));
    }

    pub fn produce(&mut self, id: BrokerId, acks: Acks) {
        let node = self.nodes.get_mut(&id).expect("1 to 3");
        let Some(Ok(epoch)) = node.core.as_ref().map(|core| core.admit(acks)) else {
            return;
        };
        self.values += 1;
        let record = Record {
            epoch: epoch.get(),
            value: self.values,
        };
        let offset = node.log.log_end();
        node.log.records.push(record);
        self.waiters.push(Waiter {
            at: id,
            epoch,
            acks,
            offset,
            record,
        });
        self.feed(id, |core, log, now| core.log_grew(log, now));
    }

    pub fn sync(&mut self, id: BrokerId) {
        self.feed(id, |core, log, now| {
            log.synced = log.records.len();
            core.log_grew(log, now)
        });
    }

    pub fn tick(&mut self, id: BrokerId) {
        self.feed(id, |core, log, now| core.tick(log, now));
    }

    pub fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    /// The follower's next request goes under way.
    pub fn ask(&mut self, id: BrokerId) -> bool {
        let node = &self.nodes[&id];
        let position = node.core.as_ref().and_then(|core| core.position(&node.log));
        let Some(position) = position else {
            return false;
        };
        let fetch = FollowerFetch {
            replica: id,
            broker_epoch: node.broker_epoch,
            leader_epoch: position.leader_epoch,
            offset: position.offset,
            last_epoch: position.last_epoch,
        };
        let to = (position.leader, self.nodes[&position.leader].broker_epoch);
        self.network.push((Some(to), Message::Fetch(fetch)));
        true
    }

    /// A message arrives, if the incarnation that it was sent to is still there.
    pub fn deliver(&mut self, (to, message): Sent) {
        if let Some((id, epoch)) = to
            && self.nodes[&id].broker_epoch != epoch
        {
            return;
        }
        match (to, message) {
            (Some((id, _)), Message::Fetch(fetch)) => self.serve(id, &fetch),
            (Some((id, _)), Message::Answer(answer, records)) => {
                self.feed(id, |core, log, _| follow(core, log, &answer, &records));
            }
            (Some((id, _)), Message::Altered(proposal, reply)) => {
                self.feed(id, |core, log, now| {
                    core.alter_reply(&proposal, &reply, log, now)
                });
            }
            (None, Message::Alter(from, epoch, proposal)) => {
                let reply = self.controller.alter(from, epoch, &proposal);
                let altered = Message::Altered(proposal, reply);
                self.network.push((Some((from, epoch)), altered));
            }
            _ => unreachable!("only proposals go to the controller"),
        }
    }

    /// A message is lost; who waits for a decision gives up waiting. A proposal may be decided
    /// nevertheless.
    pub fn lose(&mut self, (to, message): Sent, late: bool) {
        let proposal = match &message {
            Message::Alter(from, epoch, proposal) => Some(((*from, *epoch), proposal.clone())),
            Message::Altered(proposal, _) => to.map(|to| (to, proposal.clone())),
            Message::Fetch(_) | Message::Answer(..) => None,
        };
        if late && matches!(message, Message::Alter(..)) {
            self.network.push((to, message));
        }
        if let Some((to, proposal)) = proposal {
            let unknown = Message::Altered(proposal, AlterReply::Unknown);
            self.deliver((Some(to), unknown));
        }
    }

    fn serve(&mut self, id: BrokerId, fetch: &FollowerFetch) {
        let mut said = None;
        self.feed(id, |core, log, now| {
            let (outcome, effects) = core.fetch(fetch, log, now);
            let from = index(fetch.offset).min(log.records.len());
            let records = log.records[from..].to_vec();
            said = match outcome {
                FetchOutcome::Refused(_) => None,
                FetchOutcome::Diverging(end) => Some((LeaderSaid::Diverging(end), vec![])),
                FetchOutcome::OutOfRange { log_start } => {
                    Some((LeaderSaid::OutOfRange { log_start }, vec![]))
                }
                FetchOutcome::Recorded => {
                    let first = records
                        .first()
                        .map(|r| (fetch.offset, LeaderEpoch(r.epoch)));
                    let leader_hw = core.hw();
                    Some((LeaderSaid::Records { first, leader_hw }, records))
                }
            };
            effects
        });
        if let Some((said, records)) = said {
            let asked = FetchPosition {
                leader: id,
                leader_epoch: fetch.leader_epoch,
                offset: fetch.offset,
                last_epoch: fetch.last_epoch,
            };
            let to = Some((fetch.replica, fetch.broker_epoch));
            let answer = Message::Answer(FetchAnswer { asked, said }, records);
            self.network.push((to, answer));
        }
    }

    /// Whether the power of `id` may fail. With records held by being written, what is promised
    /// is to survive one unclean stop at a time (`min.insync.replicas` is 2): everybody else has
    /// registered since theirs, and somebody else can lead.
    pub fn may_crash(&self, id: BrokerId) -> bool {
        if self.durability == Durability::Fsync {
            return true;
        }
        let image = self.controller.partition();
        let mut candidates = image.isr.iter().chain(&image.elr);
        candidates.any(|other| *other != id) && self.ids(false).is_empty()
    }

    /// Power fails: some or all of what was not synced is lost.
    pub fn crash(&mut self, id: BrokerId, rng: &mut ChaCha8Rng) {
        let node = self.nodes.get_mut(&id).expect("1 to 3");
        let Some(core) = node.core.take() else { return };
        let keep = rng.random_range(node.log.synced..=node.log.records.len());
        node.has_lost = keep < node.log.records.len() && self.durability != Durability::Fsync;
        node.log.records.truncate(keep);
        node.log.synced = keep;
        node.checkpoint = Offset(rng.random_range(0..=core.hw().get()));
        self.waiters.retain(|waiter| waiter.at != id);
    }

    /// The process starts again, and registers.
    pub fn restart(&mut self, id: BrokerId) {
        let claim = match self.durability {
            Durability::Fsync => LogClaim::Recovered,
            Durability::Replicated => LogClaim::Unclean,
        };
        let epoch = self.controller.register(id, claim);
        let node = self.nodes.get_mut(&id).expect("1 to 3");
        node.broker_epoch = epoch;
        node.has_lost = false;
        node.adopted = self.controller.images.len();
        self.boot(id);
    }

    /// Everything works: `rounds` times, messages arrive and time passes.
    pub fn settle_down(&mut self, rounds: usize) {
        for _ in 0..rounds {
            for id in self.ids(true) {
                self.adopt(id, true);
                self.sync(id);
                if !self.leads(id) {
                    self.ask(id);
                }
            }
            while let Some(sent) = (!self.network.is_empty()).then(|| self.network.remove(0)) {
                self.deliver(sent);
            }
            self.pass(LAG_MAX / 4);
            for id in self.ids(true) {
                self.tick(id);
            }
        }
    }
}

/// A follower takes over what its leader said.
fn follow(
    core: &mut ReplicaCore,
    log: &mut Log,
    answer: &FetchAnswer,
    records: &[Record],
) -> Vec<Effect> {
    match core.follow(answer, log) {
        FollowStep::Ignore | FollowStep::Refuse => return Vec::new(),
        FollowStep::Keep => {}
        FollowStep::Append => log.records.extend_from_slice(records),
        FollowStep::Truncate(to) => log.truncate(to),
        FollowStep::RestartAt(_) => log.truncate(Offset(0)),
    }
    let leader_hw = match answer.said {
        LeaderSaid::Records { leader_hw, .. } => Some(leader_hw),
        _ => None,
    };
    core.followed(leader_hw, log)
}
