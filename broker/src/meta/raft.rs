//! The actor around `openraft::Raft`: what its tasks share, and what it answers to others.
//!
//! This file and its neighbours `raft_*` are the only ones that know openraft.

use std::sync::Arc;
use std::time::Duration;

use openraft::error::{ClientWriteError, InitializeError, RaftError};
use openraft::raft::{AppendEntriesResponse, VoteRequest, VoteResponse};
use openraft::{RaftMetrics, ServerState, SnapshotPolicy};
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use crate::config::BrokerConfig;
use crate::locks::{Lock, Mutex, MutexGuard};
use crate::meta::command::Command;
use crate::meta::image::MetadataImage;
use crate::meta::node::MetaError;
use crate::meta::raft_net::Peers;
use crate::meta::raft_store::MetaStore;
use crate::meta::raft_types::{LogId, Raft, broker_id, node_id};
use crate::meta::rpc::{
    Answer, Heartbeat, HeartbeatAnswer, MAX_APPEND_ENTRIES, ProposeAnswer, Request,
    SNAPSHOT_CHUNK_BYTES,
};
use crate::meta::sessions::Sessions;
use crate::meta::told::Told;
use crate::meta::youth::{Age, Standing, Youth};
use crate::types::{BrokerEpoch, BrokerId};

/// openraft's settings for ours. Elections are not left to openraft: `election` decides when to
/// stand, with a pre-vote that openraft 0.9 lacks.
///
/// # Errors
/// [`MetaError::Config`].
pub fn raft_config(
    config: &BrokerConfig,
    snapshot_every: u64,
) -> Result<Arc<openraft::Config>, MetaError> {
    let millis = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
    let heartbeat = millis(config.raft_heartbeat_interval);
    // A follower that has heard its leader within openraft's upper bound refuses to vote: the
    // same span as our pre-vote's, so that a pre-vote that is granted is followed by a vote.
    let lease = millis(config.raft_election_timeout.0);
    let raft = openraft::Config {
        cluster_name: "metadata".to_owned(),
        heartbeat_interval: heartbeat,
        election_timeout_min: (lease / 2).max(heartbeat + 1),
        election_timeout_max: lease,
        enable_elect: false,
        max_payload_entries: MAX_APPEND_ENTRIES,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(snapshot_every),
        // A follower that is behind by less gets entries, not the whole state.
        max_in_snapshot_log_to_keep: snapshot_every / 2,
        replication_lag_threshold: snapshot_every * 2,
        snapshot_max_chunk_size: SNAPSHOT_CHUNK_BYTES,
        install_snapshot_timeout: millis(Duration::from_secs(5)),
        ..openraft::Config::default()
    };
    let valid = raft.validate().map_err(|error| {
        MetaError::Config(format!(
            "raft.heartbeat.interval and raft.election.timeout do not fit: {error}"
        ))
    })?;
    Ok(Arc::new(valid))
}

/// What the tasks of the actor share.
pub struct Core {
    /// Settings.
    pub config: Arc<BrokerConfig>,
    /// openraft.
    pub raft: Raft,
    /// openraft's view of itself.
    pub metrics: watch::Receiver<RaftMetrics<u64, openraft::EmptyNode>>,
    /// Votes, log and snapshot.
    pub store: MetaStore,
    /// The other voters.
    pub peers: Peers,
    /// What is applied here.
    pub images: Told<Arc<MetadataImage>>,
    /// Brokers that are to be unfenced; for the controller's task.
    pub unfence: mpsc::Sender<(BrokerId, BrokerEpoch)>,
    sessions: Mutex<Sessions>,
    /// When this broker last heard a leader, or voted for one.
    contact: Mutex<Option<Duration>>,
    /// What was heard of the others while this store is new.
    pub youth: Mutex<Youth>,
    started: tokio::time::Instant,
}

impl Core {
    /// Ties the parts together.
    #[must_use]
    pub fn new(
        config: Arc<BrokerConfig>,
        raft: Raft,
        store: MetaStore,
        peers: Peers,
        images: Told<Arc<MetadataImage>>,
        unfence: mpsc::Sender<(BrokerId, BrokerEpoch)>,
    ) -> Self {
        Self {
            metrics: raft.metrics(),
            sessions: Mutex::new(
                Lock::RaftSessions,
                Sessions::new(config.broker_session_timeout).with_bugs(config.bugs),
            ),
            contact: Mutex::new(Lock::RaftContact, None),
            youth: Mutex::new(
                Lock::RaftYouth,
                Youth::new(peers.iter().map(|peer| peer.id)),
            ),
            started: tokio::time::Instant::now(),
            config,
            raft,
            store,
            peers,
            images,
            unfence,
        }
    }

    /// Time since the start.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// The newest applied image.
    #[must_use]
    pub fn image(&self) -> Arc<MetadataImage> {
        self.images.get()
    }

    /// The sessions that this broker keeps while it is the active controller.
    pub fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock()
    }

    /// The Raft leader, as far as this broker knows.
    #[must_use]
    pub fn leader(&self) -> Option<BrokerId> {
        self.metrics.borrow().current_leader.map(broker_id)
    }

    /// Whether this broker is the Raft leader, as far as it knows.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.metrics.borrow().state == ServerState::Leader
    }

    /// The term in which this broker is the active controller: it leads, and has applied an
    /// entry of its own term, and so everything that was committed before.
    #[must_use]
    pub fn controller_term(&self) -> Option<u64> {
        let metrics = self.metrics.borrow();
        let applied = metrics.last_applied?.leader_id.term;
        let active = metrics.state == ServerState::Leader && applied == metrics.current_term;
        active.then_some(applied)
    }

    /// Whether a majority followed this broker recently.
    #[must_use]
    pub fn in_touch(&self) -> bool {
        self.peers.in_touch(self.lease())
    }

    /// A leader that was heard within this span counts as alive.
    #[must_use]
    pub fn lease(&self) -> Duration {
        self.config.raft_election_timeout.0
    }

    /// When this broker last heard a leader, or voted for one.
    #[must_use]
    pub fn last_contact(&self) -> Option<Duration> {
        *self.contact.lock()
    }

    fn note_contact(&self) {
        let mut contact = self.contact.lock();
        *contact = Some(self.now());
    }

    /// Answers another voter.
    pub async fn answer(&self, request: Request) -> Answer {
        match request {
            Request::Append(append) if !self.age().may_follow(append.vote.leader_id().term) => {
                Answer::Young
            }
            Request::Append(append) => {
                let result = self.raft.append_entries(append).await;
                if matches!(&result, Ok(answer) if !answer_denies(answer)) {
                    self.note_contact();
                }
                Answer::Append(result)
            }
            Request::Vote(vote) if !self.may_vote(&vote) => Answer::Vote(Ok(VoteResponse {
                vote: self.store.vote(),
                vote_granted: false,
                last_log_id: self.store.last_log_id(),
            })),
            Request::Vote(vote) => {
                let result = self.raft.vote(vote).await;
                if matches!(&result, Ok(answer) if answer.vote_granted) {
                    self.note_contact();
                }
                Answer::Vote(result)
            }
            Request::Snapshot(chunk) if !self.age().may_follow(chunk.vote.leader_id().term) => {
                Answer::Young
            }
            Request::Snapshot(chunk) => {
                let result = self.raft.install_snapshot(chunk).await;
                if result.is_ok() {
                    self.note_contact();
                }
                Answer::Snapshot(result)
            }
            Request::PreVote { last_log_id } => Answer::PreVote {
                granted: self.would_vote_for(last_log_id),
            },
            Request::Standing(asker) => {
                self.youth.lock().hear(&asker);
                Answer::Standing(self.standing(asker.id, asker.store))
            }
            Request::Propose(command) => Answer::Propose(self.propose_here(command).await),
            Request::Heartbeat(heartbeat) => Answer::Heartbeat(self.heartbeat(heartbeat)),
        }
    }

    /// Pre-vote: nobody leads that we know of, and the candidate has all that we have.
    fn would_vote_for(&self, last_log_id: Option<LogId>) -> bool {
        let now = self.now();
        let hears = |at: Duration| now.saturating_sub(at) < self.lease();
        let led = self.last_contact().is_some_and(hears);
        let leads = self.leads() && self.in_touch();
        !led && !leads
            && last_log_id >= self.store.last_log_id()
            && self.age().may_elect(last_log_id)
    }

    /// How old this voter's store is: a new one takes no part yet.
    #[must_use]
    pub fn age(&self) -> Age {
        self.store.age()
    }

    fn may_vote(&self, request: &VoteRequest<u64>) -> bool {
        let term = request.vote.leader_id().term;
        self.age().may_vote(term, request.last_log_id)
    }

    /// What this voter says of itself to `asker`.
    #[must_use]
    pub fn standing(&self, asker: BrokerId, store: Uuid) -> Standing {
        let age = self.age();
        Standing {
            id: self.config.id,
            store: age.store,
            young: age.is_young(),
            term: self.store.term(),
            last: self.store.last_log_id(),
            knew_you: age.knew(asker, store),
        }
    }

    /// Puts `command` into the log, if this broker is the Raft leader.
    pub async fn propose_here(&self, command: Command) -> ProposeAnswer {
        let patience = self.config.raft_election_timeout.1;
        match tokio::time::timeout(patience, self.raft.client_write(command)).await {
            Ok(Ok(written)) => ProposeAnswer::Decided {
                index: written.log_id.index,
                decision: written
                    .data
                    .0
                    .expect("a command's entry is answered with a decision"),
            },
            Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward)))) => {
                ProposeAnswer::NotLeader(forward.leader_id.map(broker_id))
            }
            Ok(Err(other)) => ProposeAnswer::Unknown(other.to_string()),
            Err(_) => ProposeAnswer::Unknown(format!(
                "the leader, broker {}, has not committed it within {patience:?}",
                self.config.id
            )),
        }
    }

    /// A broker's sign of life, this one's included.
    pub fn heartbeat(&self, heartbeat: Heartbeat) -> HeartbeatAnswer {
        if self.controller_term().is_none() {
            return HeartbeatAnswer::NotController;
        }
        let image = self.image();
        let reaction = self.sessions().heartbeat(self.now(), heartbeat, &image);
        if let Some(registration) = reaction.unfence {
            // When the queue is full, the next heartbeat asks again.
            let _ = self.unfence.try_send(registration);
        }
        reaction.answer
    }

    /// Forms the group with the voters of the settings, if this broker belongs to none yet.
    /// Safe whoever else does the same, at any time: all begin with the same first entry.
    ///
    /// # Errors
    /// When Raft has stopped.
    pub async fn form_group(&self) -> Result<(), MetaError> {
        let voters = self.config.voters.iter().map(|voter| node_id(voter.id));
        let voters: std::collections::BTreeSet<u64> = voters.collect();
        match self.raft.initialize(voters).await {
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
            Err(error) => Err(MetaError::Raft(error.to_string())),
        }
    }
}

/// Whether a follower's answer says that the sender is no leader any more.
fn answer_denies(answer: &AppendEntriesResponse<u64>) -> bool {
    matches!(answer, AppendEntriesResponse::HigherVote(_))
}
