//! The single writer of one partition: a task that owns its log, its core and its producers.
//!
//! It takes everything that waits in its mailbox, works on it, and only then publishes one view
//! and answers: an answer never says more than the published view shows. The core decides; this
//! file carries out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use crate::chaos::seeded_bug::{BugSet, SeededBug};
use crate::invariants::{Invariant, uphold};
use crate::log::{AppendError, PartitionLog, ProducedBatch};
use crate::meta::command::{AlterPartition, Applied, Command, Rejected};
use crate::meta::handle::{MetadataHandle, ProposeError};
use crate::producer::state::{AppendedBatch, ProducerStates, SequencedBatch, Verdict};
use crate::replica::alarm::{AlarmCounts, AlarmWatch, Change, Facts, Limits};
use crate::replica::core::{Effect, ReplicaCore, Settings};
use crate::replica::follower::{FetchAnswer, FollowStep, LeaderSaid};
use crate::replica::isr::{AlterReply, Proposal};
use crate::replica::leader::{AppendRefusal, Completion, FetchOutcome};
use crate::replica::partition::{Inbox, Message, ProduceFailure, ProduceOutcome, Produced, Taken};
use crate::replica::publication::Publication;
use crate::replica::publish::{facts_of, view_of};
use crate::replica::sequences::{fold_batches, fold_producers, sequence_error, sequenced};
use crate::replica::view::{Published, SWEEP_FROM, VisibleHw};
use crate::replica::waiters::ProduceWaiters;
use crate::types::{Acks, BrokerId, LeaderEpoch, Offset, TopicPartition};

/// Messages worked on between two views.
const MESSAGES_PER_TURN: usize = 256;

/// What all partitions of a broker share.
pub struct Shared {
    /// The unchanging part of every core.
    pub settings: Settings,
    /// Where proposals go.
    pub meta: MetadataHandle,
    /// When the process began: the zero of every core's clock.
    pub started: Instant,
    /// Bumped when a partition begins to follow somebody: fetchers look for work.
    pub following: watch::Sender<u64>,
    /// Bytes in mailboxes.
    pub inbox: Arc<Inbox>,
    /// When to raise an alarm.
    pub alarm_limits: Limits,
    /// Alarms that were raised.
    pub alarms: Arc<AlarmCounts>,
}

/// A produce that waits for its records to be held.
struct Waiting {
    epoch: LeaderEpoch,
    base_offset: Offset,
    reply: oneshot::Sender<ProduceOutcome>,
}

/// The writer of one partition.
pub(super) struct Actor {
    shared: Arc<Shared>,
    tp: TopicPartition,
    log: PartitionLog,
    core: ReplicaCore,
    producers: ProducerStates,
    /// Appended, not folded yet: only with the seeded bug check-then-act-sequences.
    unfolded: Vec<(SequencedBatch, Offset)>,
    mailbox: mpsc::UnboundedReceiver<Message>,
    own_mailbox: mpsc::WeakUnboundedSender<Message>,
    /// A [`Message::Held`] is on its way.
    held_pending: Arc<AtomicBool>,
    published: Published,
    visible_hw: VisibleHw,
    produces: ProduceWaiters<Waiting>,
    /// Fetchers that wait for the next position.
    settling: Vec<oneshot::Sender<Taken>>,
    /// The view shows where to fetch next.
    has_position: bool,
    /// Where each follower's log starts, as it said last in this epoch.
    starts: BTreeMap<BrokerId, Offset>,
    /// Answers of this turn, sent after the view is published.
    answers: Vec<Answer>,
    /// The log or what is held of it changed in this turn.
    grew: bool,
    alarms: AlarmWatch,
}

enum Answer {
    Produce(oneshot::Sender<ProduceOutcome>, ProduceOutcome),
    Fetch(oneshot::Sender<FetchOutcome>, FetchOutcome),
    Delete(
        oneshot::Sender<Result<Offset, ResponseError>>,
        Result<Offset, ResponseError>,
    ),
}

/// What an actor is made of.
pub(super) struct Parts {
    pub shared: Arc<Shared>,
    pub log: PartitionLog,
    pub mailbox: mpsc::UnboundedReceiver<Message>,
    pub own_mailbox: mpsc::WeakUnboundedSender<Message>,
    pub held_pending: Arc<AtomicBool>,
}

impl Actor {
    /// A replica after a start: it follows nobody until the first image comes.
    pub(super) fn new(parts: Parts) -> Self {
        let Parts {
            shared,
            log,
            mailbox,
            own_mailbox,
            held_pending,
        } = parts;
        let hw = log.checkpointed_high_watermark();
        let core = ReplicaCore::new(shared.settings.clone(), hw, &log);
        let mut visible_hw = VisibleHw::new(core.hw(), shared.started.elapsed());
        let alarms = AlarmWatch::default();
        let starts = BTreeMap::new();
        let view = view_of(&shared, &core, &log, &starts, &alarms, &mut visible_hw);
        Self {
            tp: log.topic_partition(),
            producers: fold_producers(&log.snapshot(), shared.settings.bugs),
            unfolded: Vec::new(),
            published: Arc::new(Publication::new(Arc::new(view), SWEEP_FROM)),
            shared,
            log,
            core,
            mailbox,
            own_mailbox,
            held_pending,
            visible_hw,
            produces: ProduceWaiters::default(),
            settling: Vec::new(),
            has_position: false,
            starts,
            answers: Vec::new(),
            grew: false,
            alarms,
        }
    }

    /// Where its views appear.
    pub(super) fn published(&self) -> Published {
        Arc::clone(&self.published)
    }

    /// Runs until it is stopped or nobody can reach it any more.
    pub(super) async fn run(mut self) {
        let mut turn = Vec::with_capacity(MESSAGES_PER_TURN);
        loop {
            if self.mailbox.recv_many(&mut turn, MESSAGES_PER_TURN).await == 0 {
                return;
            }
            let mut stop = None;
            for message in turn.drain(..) {
                match message {
                    Message::Stop { done } => stop = Some(done),
                    message => self.take(message),
                }
            }
            self.end_turn();
            if let Some(done) = stop {
                self.fail_waiting("this broker is stopping");
                self.send_answers();
                drop(self);
                let _ = done.send(());
                return;
            }
        }
    }

    fn take(&mut self, message: Message) {
        let now = self.now();
        match message {
            Message::Append {
                batch,
                acks,
                reply,
                share,
            } => {
                drop(share);
                self.append(&batch, acks, reply);
            }
            Message::Fetch {
                fetch,
                log_start,
                reply,
            } => {
                self.starts.insert(fetch.replica, log_start);
                let (outcome, effects) = self.core.fetch(&fetch, &self.log, now);
                self.answers.push(Answer::Fetch(reply, outcome));
                self.carry_out(effects);
            }
            Message::Fetched {
                answer,
                records,
                log_start,
                taken,
            } => {
                if self.follow(&answer, &records) {
                    self.begin_at(log_start);
                    self.settling.push(taken);
                } else {
                    let _ = taken.send(Taken::Refused);
                }
            }
            Message::Image(meta) => {
                let effects = self.core.adopt(&meta, &self.log, now);
                self.carry_out(effects);
            }
            Message::Held => {
                self.held_pending.store(false, Ordering::Release);
                self.grew = true;
            }
            Message::Altered(proposal, reply) => {
                let effects = self.core.alter_reply(&proposal, &reply, &self.log, now);
                self.carry_out(effects);
            }
            Message::Tick => {
                let effects = self.core.tick(&self.log, now);
                self.carry_out(effects);
                self.produces.retain(|waiting| !waiting.reply.is_closed());
                self.look_for_alarms(now);
            }
            Message::Retain { retention, now } if self.core.as_leader().is_some() => {
                let log = self.log.snapshot();
                self.begin_at(log.start_to_keep(&retention, now, self.core.hw()));
            }
            Message::Damaged(offset) => self.note_damage(offset),
            Message::Delete { before, reply } => {
                let deleted = self.delete_records(before);
                self.answers.push(Answer::Delete(reply, deleted));
            }
            Message::Retain { .. } | Message::Stop { .. } => {}
        }
    }

    /// Moves the log's start up to `at`, at most to the high watermark: what was deleted, here or
    /// at the leader, is not to be read again. Of its producers it is remembered what they wrote.
    fn begin_at(&mut self, at: Offset) {
        let at = at.min(self.core.hw());
        if at <= self.log.log_start() {
            return;
        }
        let about_producers = self.producers.store(at);
        match self.log.advance_log_start(at, about_producers) {
            Ok(()) => {
                debug!(partition = %self.tp, %at, "the log begins later");
                self.grew = true;
            }
            Err(error) => warn!(partition = %self.tp, %error, "old records are not deleted"),
        }
    }

    fn note_damage(&mut self, offset: Offset) {
        if !self.log.note_damage(offset) {
            return;
        }
        let mend = match self.core.as_leader() {
            None => "they are fetched again from the leader",
            Some(_) => {
                "this broker leads, and has nobody to ask: readers get an error; restart it in \
                 order, so that another replica leads and this one fetches them again"
            }
        };
        error!(partition = %self.tp, %offset, mend, "records on disk are not what was written");
    }

    fn delete_records(&mut self, before: Option<Offset>) -> Result<Offset, ResponseError> {
        if self.core.as_leader().is_none() {
            return Err(ResponseError::NotLeaderOrFollower);
        }
        let hw = self.core.hw();
        let before = before.unwrap_or(hw);
        if before < Offset::ZERO || before > hw {
            return Err(ResponseError::OffsetOutOfRange);
        }
        self.begin_at(before);
        match self.log.log_start() >= before {
            true => Ok(before),
            false => Err(ResponseError::KafkaStorageError),
        }
    }

    /// One high watermark, one view and one round of answers for all that was done.
    fn end_turn(&mut self) {
        if std::mem::take(&mut self.grew) {
            let effects = self.core.log_grew(&self.log, self.now());
            self.carry_out(effects);
        }
        for (batch, base_offset) in std::mem::take(&mut self.unfolded) {
            self.producers.appended(&batch, base_offset);
        }
        self.complete_produces();
        self.publish();
        self.send_answers();
        self.settle();
    }

    /// Tells fetchers that the next position is there, or that there will be none.
    fn settle(&mut self) {
        let has_position = self.core.position(&self.log).is_some();
        let newly = has_position && !std::mem::replace(&mut self.has_position, has_position);
        let follows = self.core.as_leader().is_none() && self.core.leader_id().is_some();
        if newly && self.settling.is_empty() {
            // No fetcher knows of it yet.
            self.shared.following.send_modify(|version| *version += 1);
        }
        if has_position || !follows {
            for taken in self.settling.drain(..) {
                // The fetcher may have ended.
                let _ = taken.send(Taken::Held);
            }
        }
    }

    fn append(
        &mut self,
        batch: &ProducedBatch,
        acks: Acks,
        reply: oneshot::Sender<ProduceOutcome>,
    ) {
        match self.try_append(batch, acks) {
            Ok((epoch, base_offset, last)) => {
                let waiting = Waiting {
                    epoch,
                    base_offset,
                    reply,
                };
                self.produces.park(acks, last, waiting);
            }
            Err((error, message)) => self.refuse(reply, error, &message),
        }
    }

    /// Appends, or finds where the same batch is already. Returns the epoch in which it may be
    /// acknowledged, and its first and last offset.
    fn try_append(
        &mut self,
        batch: &ProducedBatch,
        acks: Acks,
    ) -> Result<(LeaderEpoch, Offset, Offset), (ResponseError, String)> {
        let epoch = self.core.admit(acks).map_err(|refusal| match refusal {
            AppendRefusal::NotLeader => (
                ResponseError::NotLeaderOrFollower,
                "this broker does not lead the partition".to_owned(),
            ),
            AppendRefusal::NotEnoughReplicas => (
                ResponseError::NotEnoughReplicas,
                "fewer replicas are in sync than min.insync.replicas asks for".to_owned(),
            ),
        })?;
        let sequenced = sequenced(batch.header());
        if let Some(sequenced) = &sequenced {
            match self.producers.validate(sequenced) {
                Verdict::Accept => {}
                Verdict::Duplicate(first) => return Ok(self.repeated(epoch, &first)),
                verdict => return Err(sequence_error(&verdict)),
            }
        }
        let appended = self.log.append(epoch, batch).map_err(|error| {
            let code = ResponseError::try_from_code(error.code());
            let code = code.unwrap_or(ResponseError::UnknownServerError);
            (code, error.to_string())
        })?;
        if let Some(sequenced) = &sequenced {
            match self.bugs().has(SeededBug::CheckThenActSequences) {
                false => self.producers.appended(sequenced, appended.base_offset),
                true => self.unfolded.push((*sequenced, appended.base_offset)),
            }
        }
        self.grew = true;
        Ok((epoch, appended.base_offset, appended.end.plus(-1)))
    }

    /// A repetition of `first` is acknowledged like the original: with its offsets, when those
    /// are held.
    fn repeated(&self, epoch: LeaderEpoch, first: &AppendedBatch) -> (LeaderEpoch, Offset, Offset) {
        let end = self.log.written_end();
        if self.bugs().has(SeededBug::DuplicateNewOffset) {
            return (epoch, end, end.plus(-1));
        }
        let early = self.bugs().has(SeededBug::DuplicateAckedEarly);
        // What is below every end is held already.
        let last = if early { Offset(-1) } else { first.last_offset };
        (epoch, first.base_offset, last)
    }

    fn bugs(&self) -> BugSet {
        self.shared.settings.bugs
    }

    /// Does to the log what a leader's answer asks for. Returns whether it could.
    fn follow(&mut self, answer: &FetchAnswer, records: &Bytes) -> bool {
        let step = self.core.follow(answer, &self.log);
        let done = match step {
            FollowStep::Ignore => return true,
            FollowStep::Refuse => {
                match answer.said {
                    LeaderSaid::Diverging(_) => error!(
                        partition = %self.tp, ?answer,
                        "the leader's log lacks what is committed here: nothing is cut, and this \
                         replica stays out of sync; when a disk of the leader was replaced, this \
                         may be the last copy: look at both with dump-log, remove none of them"
                    ),
                    _ => warn!(partition = %self.tp, ?answer, "the answer contradicts this log"),
                }
                return false;
            }
            FollowStep::Keep => Ok(()),
            FollowStep::Append if self.log.is_damaged() => {
                let (from, _) = self.log.fetch_position();
                self.log.mend(records).inspect(|()| {
                    self.grew = true;
                    info!(partition = %self.tp, offset = %from, "damaged records were replaced");
                })
            }
            FollowStep::RestartAt(at) if self.log.is_damaged() && at <= self.log.written_end() => {
                // What is damaged is no more in the leader's log.
                self.begin_at(at);
                Ok(())
            }
            FollowStep::Append => self.log.append_as_follower(records).map(|_| {
                self.grew = true;
                fold_batches(&mut self.producers, records);
            }),
            FollowStep::Truncate(to) => self.truncate(to),
            FollowStep::RestartAt(at) => self.restart_at(at),
        };
        if let Err(error) = done {
            warn!(partition = %self.tp, %error, "the leader's records are not taken over");
            return false;
        }
        let leader_hw = match answer.said {
            LeaderSaid::Records { leader_hw, .. } => Some(leader_hw),
            LeaderSaid::Diverging(_) | LeaderSaid::OutOfRange { .. } => None,
        };
        let effects = self.core.followed(leader_hw, &self.log);
        self.carry_out(effects);
        true
    }

    /// A leadership judges sequence numbers by what the log says (invariant I19).
    fn remember_producers(&mut self) {
        if self.core.as_leader().is_none() {
            return;
        }
        if self.bugs().has(SeededBug::ProducerStateNotRebuilt) {
            self.producers = ProducerStates::forgetful().with_bugs(self.bugs());
        }
        let end = self.log.written_end();
        let mut folded = self.producers.end() <= end;
        if cfg!(debug_assertions) {
            let fold = fold_producers(&self.log.snapshot(), self.bugs());
            folded &= self.producers.agrees_with(&fold);
        }
        uphold(Invariant::ProducersAreFolded, self.bugs(), folded);
    }

    /// Says what began to go wrong, or ended.
    fn look_for_alarms(&mut self, now: Duration) {
        let Some(facts) = facts_of(&self.core, &self.log) else {
            return;
        };
        let Facts { hw, end, .. } = facts;
        for change in self.alarms.look(self.shared.alarm_limits, &facts, now) {
            self.shared.alarms.count(change);
            match change {
                Change::Stalled(waited) => warn!(
                    partition = %self.tp, %hw, %end, ?waited,
                    "ALARM: the high watermark does not move"
                ),
                Change::Moves => info!(partition = %self.tp, %hw, "the high watermark moves again"),
                Change::Behind(follower, records) => warn!(
                    partition = %self.tp, %follower, records, %end,
                    "ALARM: a follower is far behind"
                ),
                Change::CaughtUp(follower) => {
                    info!(partition = %self.tp, %follower, "the follower has caught up");
                }
            }
        }
    }

    fn restart_at(&mut self, at: Offset) -> Result<(), AppendError> {
        info!(partition = %self.tp, %at, "below the leader's log: starting anew");
        self.log.restart_at(at)?;
        self.producers = ProducerStates::for_log_starting_at(at).with_bugs(self.bugs());
        self.grew = true;
        Ok(())
    }

    fn truncate(&mut self, to: Offset) -> Result<(), AppendError> {
        let end = self.log.written_end();
        info!(partition = %self.tp, %to, %end, "truncating what the leader does not have");
        self.log.truncate(to)?;
        self.producers = fold_producers(&self.log.snapshot(), self.bugs());
        self.grew = true;
        Ok(())
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::HighWatermark(hw) => self.log.note_high_watermark(hw),
                Effect::Propose(proposal) => self.propose(proposal),
                Effect::LeadershipEnded(epoch) => {
                    info!(partition = %self.tp, %epoch, "leadership ended");
                    self.alarms = AlarmWatch::default();
                    self.fail_waiting("leadership ended before the records were committed");
                }
                Effect::EpochBegan(epoch) => {
                    let leader = self.core.leader_id();
                    info!(partition = %self.tp, %epoch, ?leader, "a leader epoch began");
                    self.remember_producers();
                    // A fetch of the epoch before is of no use any more.
                    self.has_position = false;
                    self.settling.clear();
                    self.starts.clear();
                }
                Effect::Truncate(to) => {
                    if let Err(error) = self.truncate(to) {
                        warn!(partition = %self.tp, %error, "cannot truncate");
                    }
                    let effects = self.core.followed(None, &self.log);
                    self.carry_out(effects);
                }
            }
        }
    }

    /// Asks the controller, without waiting here; the answer comes as a message.
    fn propose(&self, proposal: Proposal) {
        let Some(mailbox) = self.own_mailbox.upgrade() else {
            return;
        };
        let meta = self.shared.meta.clone();
        let command = Command::AlterPartition(AlterPartition {
            leader: self.shared.settings.me,
            leader_broker_epoch: self.shared.settings.broker_epoch,
            partition: self.tp,
            leader_epoch: proposal.leader_epoch,
            partition_epoch: proposal.partition_epoch,
            new_isr: proposal.new_isr.clone(),
        });
        info!(partition = %self.tp, isr = ?proposal.new_isr, "proposing an ISR");
        crate::exec::spawn("alter-partition", async move {
            let reply = alter_reply(meta.propose(command).await);
            // A partition that has ended needs no answer.
            let _ = mailbox.send(Message::Altered(proposal, reply));
        });
    }

    fn complete_produces(&mut self) {
        if self.produces.is_empty() {
            return;
        }
        let (mut held, mut committed) = (self.log.held_end(), self.core.hw());
        if !self.bugs().is_empty() {
            // A seeded bug may acknowledge more than is held or committed: ask for all.
            (held, committed) = (self.log.written_end(), self.log.written_end());
        }
        for (acks, end) in [(Acks::One, held), (Acks::All, committed)] {
            for (last, waiting) in self.produces.take_below(acks, end) {
                self.complete(acks, last, waiting);
            }
        }
    }

    fn complete(&mut self, acks: Acks, last: Offset, waiting: Waiting) {
        let outcome = match self.core.completion(waiting.epoch, acks, last, &self.log) {
            Some(Completion::Wait) => {
                self.produces.park(acks, last, waiting);
                return;
            }
            Some(Completion::Done) => Ok(Produced {
                base_offset: waiting.base_offset,
                log_start: self.log.log_start(),
            }),
            Some(Completion::NotEnoughReplicas) => Err(ProduceFailure {
                error: ResponseError::NotEnoughReplicasAfterAppend,
                message: format!("{}: the ISR shrank after the append", self.tp),
            }),
            None => Err(self.failure(
                ResponseError::NotLeaderOrFollower,
                "leadership ended before the records were committed",
            )),
        };
        self.answers.push(Answer::Produce(waiting.reply, outcome));
    }

    fn failure(&self, error: ResponseError, message: &str) -> ProduceFailure {
        let message = format!("{}: {message}", self.tp);
        ProduceFailure { error, message }
    }

    fn refuse(
        &mut self,
        reply: oneshot::Sender<ProduceOutcome>,
        error: ResponseError,
        message: &str,
    ) {
        let failure = self.failure(error, message);
        self.answers.push(Answer::Produce(reply, Err(failure)));
    }

    fn fail_waiting(&mut self, why: &str) {
        for waiting in self.produces.take_all() {
            self.refuse(waiting.reply, ResponseError::NotLeaderOrFollower, why);
        }
    }

    fn publish(&mut self) {
        let Self {
            shared,
            core,
            log,
            starts,
            alarms,
            visible_hw,
            ..
        } = self;
        let view = view_of(shared, core, log, starts, alarms, visible_hw);
        let before = self.published.load();
        let same_leadership = before.is_leader() && view.is_leader() && before.epoch == view.epoch;
        let monotone = !same_leadership || before.hw <= view.hw;
        let bugs = self.shared.settings.bugs;
        uphold(Invariant::HwMonotone, bugs, monotone);
        self.published.publish(Arc::new(view));
    }

    fn send_answers(&mut self) {
        for answer in self.answers.drain(..) {
            // Who has stopped waiting needs no answer.
            match answer {
                Answer::Produce(reply, outcome) => drop(reply.send(outcome)),
                Answer::Fetch(reply, outcome) => drop(reply.send(outcome)),
                Answer::Delete(reply, outcome) => drop(reply.send(outcome)),
            }
        }
    }

    fn now(&self) -> Duration {
        self.shared.started.elapsed()
    }
}

/// R9: the outcome of a proposal, in the core's terms.
fn alter_reply(outcome: Result<Applied, ProposeError>) -> AlterReply {
    match outcome {
        Ok(Applied::PartitionAltered {
            partition_epoch,
            isr,
        }) => AlterReply::Committed {
            partition_epoch,
            isr: isr.into_iter().collect(),
        },
        Ok(_) => AlterReply::Outdated,
        Err(ProposeError::Rejected(rejected)) => match rejected {
            Rejected::IneligibleReplica(_) => AlterReply::Ineligible,
            Rejected::FencedLeaderEpoch { .. }
            | Rejected::InvalidUpdateVersion { .. }
            | Rejected::UnknownPartition
            | Rejected::InvalidRequest(_) => AlterReply::Outdated,
            _ => AlterReply::TryAgain,
        },
        Err(ProposeError::Unknown(_) | ProposeError::Stopping) => AlterReply::Unknown,
    }
}

#[cfg(test)]
#[path = "actor_test.rs"]
mod tests;
