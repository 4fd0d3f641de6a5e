//! The cluster as a state machine: what can happen next, and what must hold always.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use broker::chaos::seeded_bug::BugSet;
use broker::meta::command::LogClaim;
use broker::replica::cluster::PartitionMeta;
use broker::replica::core::Effect;
use broker::replica::follower::{FetchAnswer, FetchPosition, FollowStep, LeaderSaid};
use broker::replica::isr::{AlterReply, Proposal};
use broker::replica::leader::{Completion, FetchOutcome, FollowerFetch};
use broker::replica::log_facts::LogFacts;
use broker::types::{Acks, BrokerEpoch, BrokerId, Durability, LeaderEpoch, Offset};
use stateright::{Model, Property};

use crate::controller::Controller;
use crate::ghost::Ghost;
use crate::replica::{ListLog, Record, Replica, index};

/// When events happen, and when ticks do: see `Replica::new`.
const NOW: Duration = Duration::ZERO;
const LATER: Duration = Duration::from_secs(1);

/// How far the model goes.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Records that clients send.
    pub records: u8,
    /// Leader epochs.
    pub epochs: i32,
    /// Committed changes of the partition (partition epochs after the first).
    pub changes: i32,
    /// Brokers' sessions that may end.
    pub fences: u8,
    /// Fetches that are not answered at once: the request, or the answer, stays under way.
    pub delayed: u8,
    /// Answers of the controller that may get lost.
    pub lost_replies: u8,
    /// Processes that may die and start again: with all of their log in fsync mode, with any
    /// part of it in replicated mode.
    pub crashes: u8,
    /// Controllers that may fall over while proposals are under way.
    pub failovers: u8,
    /// Elections without anybody leaving.
    pub moves: u8,
    /// The third broker begins outside of the ISR.
    pub third_outside: bool,
    /// Clients also send with acks=1, where acks=all is refused.
    pub acks_one: bool,
    /// When a record counts as held.
    pub durability: Durability,
}

impl Bounds {
    pub const SMALL: Bounds = Bounds {
        records: 1,
        epochs: 2,
        changes: 2,
        fences: 0,
        delayed: 0,
        lost_replies: 0,
        crashes: 0,
        failovers: 0,
        moves: 9,
        third_outside: false,
        acks_one: false,
        durability: Durability::Fsync,
    };
}

/// What is under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    Fetch {
        to: BrokerId,
        fetch: FollowerFetch,
    },
    Answer {
        to: BrokerId,
        answer: FetchAnswer,
        records: Vec<Record>,
    },
    Alter {
        from: BrokerId,
        epoch: BrokerEpoch,
        proposal: Proposal,
    },
    Altered {
        to: BrokerId,
        proposal: Proposal,
        reply: AlterReply,
    },
}

/// A producer that waits for acks=all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Waiter {
    at: BrokerId,
    epoch: LeaderEpoch,
    offset: Offset,
    record: Record,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub replicas: Vec<Replica>,
    pub controller: Controller,
    /// Every image that the controller has committed.
    pub images: Vec<Arc<PartitionMeta>>,
    pub network: Vec<Message>,
    pub waiters: Vec<Waiter>,
    pub sent: u8,
    pub lost: u8,
    pub fenced: u8,
    pub delayed: u8,
    pub crashed: u8,
    pub failed_over: u8,
    pub moved: u8,
    pub ghost: Ghost,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Produce(BrokerId),
    /// A follower's fetch with its answer, at once.
    Fetch(BrokerId),
    /// A follower's fetch that stays under way.
    DelayFetch(BrokerId),
    /// A follower's fetch whose answer stays under way.
    DelayAnswer(BrokerId),
    Deliver(Message),
    LoseReply(Message),
    Tick(BrokerId),
    Adopt(BrokerId),
    Fence(BrokerId),
    Unfence(BrokerId),
    MoveLeader(BrokerId),
    /// The process dies and starts again with the first so many records.
    Crash(BrokerId, usize),
    /// Another broker becomes the controller: whoever waits for a decision hears of none, and
    /// the proposal may yet be decided.
    Failover,
}

pub struct System {
    bounds: Bounds,
    bugs: BugSet,
    brokers: BTreeSet<BrokerId>,
}

fn slot(id: BrokerId) -> usize {
    usize::try_from(id.get() - 1).expect("brokers are numbered from 1")
}

impl System {
    pub fn new(bounds: Bounds, bugs: BugSet) -> Self {
        Self {
            bounds,
            bugs,
            brokers: (1..=3).map(BrokerId).collect(),
        }
    }

    /// Forgets what can have no effect any more, so that states that differ in nothing else are
    /// one: images that everybody has adopted, answers of epochs that are over.
    fn forget(state: &mut State) {
        let adopted = state
            .replicas
            .iter()
            .map(|replica| replica.images)
            .min()
            .unwrap_or(0);
        let over = adopted.min(state.images.len() - 1);
        state.images.drain(..over);
        for replica in &mut state.replicas {
            replica.images -= over;
        }
        let replicas = &state.replicas;
        let epoch = |id: BrokerId| replicas[slot(id)].core.epoch();
        state.network.retain(|message| match message {
            Message::Answer { to, answer, .. } => answer.asked.leader_epoch >= epoch(*to),
            Message::Altered { to, proposal, .. } => proposal.leader_epoch >= epoch(*to),
            Message::Fetch { .. } | Message::Alter { .. } => true,
        });
    }

    /// Carries out what the core of `id` asked for, then looks at the watermark and the waiters.
    fn settle(state: &mut State, id: BrokerId, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Propose(proposal) => {
                    let epoch = state.replicas[slot(id)].core.settings().broker_epoch;
                    let alter = Message::Alter {
                        from: id,
                        epoch,
                        proposal,
                    };
                    push(&mut state.network, alter);
                }
                Effect::Truncate(to) => {
                    let replica = &mut state.replicas[slot(id)];
                    replica.log.truncate(to);
                    let _ = replica.core.followed(None, &replica.log);
                    state.ghost.truncated = true;
                }
                Effect::LeadershipEnded(epoch) => {
                    state
                        .waiters
                        .retain(|waiter| waiter.at != id || waiter.epoch != epoch);
                }
                Effect::HighWatermark(_) | Effect::EpochBegan(_) => {}
            }
        }
        let replica = &state.replicas[slot(id)];
        if let Some(leader) = replica.core.as_leader() {
            state
                .ghost
                .observe(leader.epoch(), leader.hw().get(), &replica.log);
        }
        let ghost = &mut state.ghost;
        state.waiters.retain(|waiter| {
            if waiter.at != id {
                return true;
            }
            let core = &replica.core;
            match core.completion(waiter.epoch, Acks::All, waiter.offset, &replica.log) {
                Some(Completion::Wait) => true,
                Some(Completion::Done) => {
                    ghost.acknowledge(index(waiter.offset), waiter.record);
                    false
                }
                Some(Completion::NotEnoughReplicas) | None => false,
            }
        });
    }

    /// The controller has decided something: brokers will be told. `None` beyond the bounds.
    fn commit(&self, state: &mut State) -> Option<()> {
        let image = state.controller.image();
        let before = state.images.last().expect("there is a first image");
        let within = image.leader_epoch.get() < self.bounds.epochs
            && image.partition_epoch.get() <= self.bounds.changes;
        let elected = image
            .leader
            .filter(|_| image.leader_epoch > before.leader_epoch);
        state.ghost.elected_from_elr |= elected.is_some_and(|id| !before.isr.contains(&id));
        if image != **before {
            state.images.push(Arc::new(image));
        }
        within.then_some(())
    }

    fn adopt(state: &mut State, id: BrokerId) {
        let replica = &mut state.replicas[slot(id)];
        let image = state.images[replica.images].clone();
        replica.images += 1;
        let effects = replica.core.adopt(&image, &replica.log, NOW);
        Self::settle(state, id, effects);
    }

    fn produce(&self, state: &mut State, id: BrokerId) -> Option<()> {
        let replica = &mut state.replicas[slot(id)];
        let waits = replica.core.admit(Acks::All);
        let admitted = match waits {
            Err(_) if self.bounds.acks_one => replica.core.admit(Acks::One),
            waits => waits,
        };
        let epoch = admitted.ok()?;
        let record = Record {
            epoch: epoch.get(),
            value: state.sent,
        };
        state.sent += 1;
        let offset = replica.log.log_end();
        replica.log.0.push(record);
        let waiter = Waiter {
            at: id,
            epoch,
            offset,
            record,
        };
        state.waiters.extend(waits.is_ok().then_some(waiter));
        let effects = replica.core.log_grew(&replica.log, NOW);
        Self::settle(state, id, effects);
        Some(())
    }

    /// What the follower `id` would send now, unless it waits for the answer to a fetch that it
    /// sent in this epoch.
    fn next_fetch(state: &State, id: BrokerId) -> Option<(BrokerId, FollowerFetch)> {
        let replica = &state.replicas[slot(id)];
        let position = replica.core.position(&replica.log)?;
        let fetch = FollowerFetch {
            replica: id,
            broker_epoch: replica.core.settings().broker_epoch,
            leader_epoch: position.leader_epoch,
            offset: position.offset,
            last_epoch: position.last_epoch,
        };
        Some((position.leader, fetch))
    }

    fn fetch(state: &mut State, id: BrokerId) -> Option<()> {
        let (to, fetch) = Self::next_fetch(state, id)?;
        if let Some((answer, records)) = Self::serve(state, to, &fetch) {
            Self::deliver_answer(state, id, &answer, &records);
        }
        Some(())
    }

    fn delay_fetch(state: &mut State, id: BrokerId) -> Option<()> {
        let (to, fetch) = Self::next_fetch(state, id)?;
        state.delayed += 1;
        push(&mut state.network, Message::Fetch { to, fetch });
        Some(())
    }

    fn delay_answer(state: &mut State, id: BrokerId) -> Option<()> {
        let (to, fetch) = Self::next_fetch(state, id)?;
        state.delayed += 1;
        let (answer, records) = Self::serve(state, to, &fetch)?;
        push(
            &mut state.network,
            Message::Answer {
                to: id,
                answer,
                records,
            },
        );
        Some(())
    }

    fn deliver(&self, state: &mut State, message: &Message) -> Option<()> {
        match message {
            Message::Fetch { to, fetch } => {
                if let Some((answer, records)) = Self::serve(state, *to, fetch) {
                    Self::deliver_answer(state, fetch.replica, &answer, &records);
                }
            }
            Message::Answer {
                to,
                answer,
                records,
            } => {
                Self::deliver_answer(state, *to, answer, records);
            }
            Message::Alter {
                from,
                epoch,
                proposal,
            } => {
                let members = state.controller.image().isr.len();
                let reply = state.controller.alter(*from, *epoch, proposal);
                state.ghost.joined |= state.controller.image().isr.len() > members;
                self.commit(state)?;
                if state.replicas[slot(*from)].core.settings().broker_epoch != *epoch {
                    // Who asked is gone.
                    return Some(());
                }
                let proposal = proposal.clone();
                push(
                    &mut state.network,
                    Message::Altered {
                        to: *from,
                        proposal,
                        reply,
                    },
                );
            }
            Message::Altered {
                to,
                proposal,
                reply,
            } => {
                let replica = &mut state.replicas[slot(*to)];
                let effects = replica.core.alter_reply(proposal, reply, &replica.log, NOW);
                Self::settle(state, *to, effects);
            }
        }
        Some(())
    }

    /// The leader's side of a fetch; `None` where it answers with an error.
    fn serve(
        state: &mut State,
        to: BrokerId,
        fetch: &FollowerFetch,
    ) -> Option<(FetchAnswer, Vec<Record>)> {
        let replica = &mut state.replicas[slot(to)];
        let (outcome, effects) = replica.core.fetch(fetch, &replica.log, NOW);
        let from = index(fetch.offset).min(replica.log.0.len());
        let records = replica.log.0[from..].to_vec();
        let said = match outcome {
            FetchOutcome::Refused(_) => None,
            FetchOutcome::Diverging(end) => Some(LeaderSaid::Diverging(end)),
            FetchOutcome::OutOfRange { log_start } => Some(LeaderSaid::OutOfRange { log_start }),
            FetchOutcome::Recorded => Some(LeaderSaid::Records {
                first: records
                    .first()
                    .map(|record| (fetch.offset, LeaderEpoch(record.epoch))),
                leader_hw: replica.core.hw(),
            }),
        };
        Self::settle(state, to, effects);
        let asked = FetchPosition {
            leader: to,
            leader_epoch: fetch.leader_epoch,
            offset: fetch.offset,
            last_epoch: fetch.last_epoch,
        };
        Some((FetchAnswer { asked, said: said? }, records))
    }

    fn deliver_answer(state: &mut State, to: BrokerId, answer: &FetchAnswer, records: &[Record]) {
        let replica = &mut state.replicas[slot(to)];
        match replica.core.follow(answer, &replica.log) {
            FollowStep::Refuse if matches!(answer.said, LeaderSaid::Diverging(_)) => {
                state.ghost.broken = Some("R11: told where the logs part, it cannot go on");
                return;
            }
            FollowStep::Ignore | FollowStep::Refuse => return,
            FollowStep::Keep => {}
            FollowStep::Append => replica.log.0.extend_from_slice(records),
            FollowStep::Truncate(end) => {
                replica.log.truncate(end);
                state.ghost.truncated = true;
            }
            FollowStep::RestartAt(_) => replica.log = ListLog::default(),
        }
        let leader_hw = match answer.said {
            LeaderSaid::Records { leader_hw, .. } => Some(leader_hw),
            _ => None,
        };
        let effects = replica.core.followed(leader_hw, &replica.log);
        Self::settle(state, to, effects);
    }

    /// The process of `id` dies and starts again, with what its disk kept of its log.
    fn crash(&self, state: &mut State, id: BrokerId, keep: usize) -> Option<()> {
        state.crashed += 1;
        let replica = &state.replicas[slot(id)];
        let mut log = replica.log.clone();
        state.ghost.lost_a_tail |= keep < log.0.len();
        log.0.truncate(keep);
        state.waiters.retain(|waiter| waiter.at != id);
        state.network.retain(|message| match message {
            Message::Answer { to, .. } | Message::Altered { to, .. } => *to != id,
            Message::Fetch { .. } | Message::Alter { .. } => true,
        });
        let claim = match self.bounds.durability {
            Durability::Fsync => LogClaim::Recovered,
            Durability::Replicated => LogClaim::Unclean,
        };
        let epoch = state.controller.register(id, state.crashed, claim);
        let images = state.images.len();
        self.commit(state)?;
        let disk = (log, self.bounds.durability);
        let mut replica = Replica::new((id, epoch), disk, self.bugs);
        replica.images = images.min(state.images.len() - 1);
        state.replicas[slot(id)] = replica;
        Some(())
    }

    /// What replicated durability promises: a tail may be lost as long as another replica has
    /// everything that was committed.
    fn may_crash(&self, state: &State, id: BrokerId) -> bool {
        let others = self.brokers.iter().filter(|other| **other != id);
        state.crashed < self.bounds.crashes
            && (self.bounds.durability == Durability::Fsync
                || others
                    .into_iter()
                    .any(|other| holds_committed(state, *other)))
    }

    fn fail_over(&self, state: &mut State) -> Option<()> {
        let waiting: Vec<_> = state
            .network
            .iter()
            .filter_map(|message| match message {
                Message::Alter { from, proposal, .. } => Some((*from, proposal.clone())),
                _ => None,
            })
            .collect();
        if waiting.is_empty() {
            return None;
        }
        for (to, proposal) in waiting {
            let reply = AlterReply::Unknown;
            let unknown = Message::Altered {
                to,
                proposal,
                reply,
            };
            self.deliver(state, &unknown)?;
        }
        Some(())
    }

    fn apply(&self, state: &mut State, action: &Action) -> Option<()> {
        match action {
            Action::Produce(id) => self.produce(state, *id),
            Action::Fetch(id) => Self::fetch(state, *id),
            Action::DelayFetch(id) => Self::delay_fetch(state, *id),
            Action::DelayAnswer(id) => Self::delay_answer(state, *id),
            Action::Deliver(message) => {
                state.network.retain(|other| other != message);
                self.deliver(state, message)
            }
            Action::LoseReply(message) => {
                state.network.retain(|other| other != message);
                state.lost += 1;
                let Message::Altered { to, proposal, .. } = message else {
                    return None;
                };
                let reply = AlterReply::Unknown;
                let (to, proposal) = (*to, proposal.clone());
                self.deliver(
                    state,
                    &Message::Altered {
                        to,
                        proposal,
                        reply,
                    },
                )
            }
            Action::Tick(id) => {
                let replica = &mut state.replicas[slot(*id)];
                let effects = replica.core.tick(&replica.log, LATER);
                Self::settle(state, *id, effects);
                Some(())
            }
            Action::Adopt(id) => {
                Self::adopt(state, *id);
                Some(())
            }
            Action::Fence(id) => {
                state.fenced += 1;
                state.controller.fence(*id)?;
                self.commit(state)
            }
            Action::Unfence(id) => {
                state.controller.unfence(*id)?;
                self.commit(state)
            }
            Action::MoveLeader(id) => {
                state.moved += 1;
                state.controller.move_leader(self.bugs, *id)?;
                self.commit(state)
            }
            Action::Crash(id, keep) => self.crash(state, *id, *keep),
            Action::Failover => {
                state.failed_over += 1;
                self.fail_over(state)
            }
        }
    }
}

/// The network is a set that is kept sorted by arrival; a message is in it once.
fn push(network: &mut Vec<Message>, message: Message) {
    if !network.contains(&message) {
        network.push(message);
    }
}

impl Model for System {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let outside = self.bounds.third_outside.then_some(BrokerId(3));
        let controller = Controller::new(self.bugs, outside);
        let disk = || (ListLog::default(), self.bounds.durability);
        let start = |id| Replica::new((id, controller.epoch(id)), disk(), self.bugs);
        let replicas = self.brokers.iter().copied().map(start).collect();
        let mut state = State {
            replicas,
            images: vec![Arc::new(controller.image())],
            controller,
            network: Vec::new(),
            waiters: Vec::new(),
            sent: 0,
            lost: 0,
            fenced: 0,
            delayed: 0,
            crashed: 0,
            failed_over: 0,
            moved: 0,
            ghost: Ghost::default(),
        };
        for id in &self.brokers {
            Self::adopt(&mut state, *id);
        }
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.ghost.broken.is_some() {
            return;
        }
        for id in &self.brokers {
            let replica = &state.replicas[slot(*id)];
            if replica.core.as_leader().is_some() {
                if state.sent < self.bounds.records {
                    actions.push(Action::Produce(*id));
                }
                actions.push(Action::Tick(*id));
            } else {
                actions.push(Action::Fetch(*id));
                if state.delayed < self.bounds.delayed {
                    actions.extend([Action::DelayFetch(*id), Action::DelayAnswer(*id)]);
                }
            }
            if replica.images < state.images.len() {
                actions.push(Action::Adopt(*id));
            }
            actions.push(Action::Unfence(*id));
            if state.moved < self.bounds.moves {
                actions.push(Action::MoveLeader(*id));
            }
            if self.may_crash(state, *id) {
                let all = replica.log.0.len();
                let least = match self.bounds.durability {
                    Durability::Fsync => all,
                    Durability::Replicated => 0,
                };
                actions.extend((least..=all).map(|keep| Action::Crash(*id, keep)));
            }
            if state.fenced < self.bounds.fences {
                actions.push(Action::Fence(*id));
            }
        }
        if state.failed_over < self.bounds.failovers {
            actions.push(Action::Failover);
        }
        for message in &state.network {
            actions.push(Action::Deliver(message.clone()));
            if matches!(message, Message::Altered { .. }) && state.lost < self.bounds.lost_replies {
                actions.push(Action::LoseReply(message.clone()));
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        self.apply(&mut state, &action)?;
        Self::forget(&mut state);
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always(SAFETY[0], |_, state: &State| state.ghost.broken.is_none()),
            Property::always(SAFETY[1], |_, state: &State| leader_is_complete(state)),
            Property::always(SAFETY[2], |_, state: &State| members_are_complete(state)),
            Property::always(SAFETY[3], |_, state: &State| quorums_overlap(state)),
        ];
        properties.extend(expected(&self.bounds));
        properties
    }
}

/// What must be possible within bounds that allow it: a model in which nothing happens proves
/// nothing.
pub fn expected(bounds: &Bounds) -> Vec<Property<System>> {
    let mut expected = vec![
        Property::sometimes("a record is acknowledged", |_, state: &State| {
            !state.ghost.acknowledged.is_empty()
        }),
        Property::sometimes("a broker leaves or joins the ISR", |_, state: &State| {
            state.ghost.joined || state.controller.image().isr.len() < 3
        }),
    ];
    if bounds.moves > 0 {
        expected.push(Property::sometimes(
            "two brokers believe to lead",
            |_, state: &State| {
                let leads = |replica: &&Replica| replica.core.as_leader().is_some();
                state.replicas.iter().filter(leads).count() > 1
            },
        ));
    }
    if bounds.moves > 0 && bounds.changes >= 2 {
        expected.push(Property::sometimes(
            "acknowledged in a later epoch",
            |_, state: &State| {
                let mut records = state.ghost.acknowledged.values();
                records.any(|record| record.epoch > 0)
            },
        ));
        expected.push(Property::sometimes(
            "a follower truncates",
            |_, state: &State| state.ghost.truncated,
        ));
        expected.push(Property::sometimes(
            "a broker joins the ISR",
            |_, state: &State| state.ghost.joined,
        ));
    }
    if bounds.crashes > 0 && bounds.durability == Durability::Replicated {
        expected.push(Property::sometimes("a tail is lost", |_, state: &State| {
            state.ghost.lost_a_tail
        }));
    }
    let elr = bounds.fences > 0 && bounds.crashes > 0;
    if elr && bounds.changes >= 3 && bounds.epochs >= 3 {
        expected.push(Property::sometimes(
            "a member of the ELR is elected",
            |_, state: &State| state.ghost.elected_from_elr,
        ));
    }
    expected
}

/// The safety properties, by name.
pub const SAFETY: [&str; 4] = [
    "I1, I4, I5, I8, I17: what is readable stays so, and what is acknowledged is committed",
    "I6, I15: the elected leader holds every committed record",
    "I7: every member of the ISR and of the ELR holds every committed record",
    "I9, I13: the leader counts everybody who may be elected",
];

fn holds_committed(state: &State, id: BrokerId) -> bool {
    let committed = &state.ghost.committed;
    state.replicas[slot(id)].log.0.starts_with(committed)
}

fn leader_is_complete(state: &State) -> bool {
    let image = state.images.last().expect("there is a first image");
    image
        .leader
        .is_none_or(|leader| holds_committed(state, leader))
}

fn members_are_complete(state: &State) -> bool {
    let candidates = state.controller.candidates();
    candidates.iter().all(|id| holds_committed(state, *id))
}

fn quorums_overlap(state: &State) -> bool {
    let image = state.images.last().expect("there is a first image");
    let Some(id) = image.leader else { return true };
    let Some(leader) = state.replicas[slot(id)].core.as_leader() else {
        return true;
    };
    leader.epoch() != image.leader_epoch || leader.isr().maximal().is_superset(&image.isr)
}
