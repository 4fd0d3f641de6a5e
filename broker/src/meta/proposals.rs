//! Proposals of this broker: forwarded to the Raft leader, wherever it is, until they are decided.
//!
//! A try whose outcome is unknown is repeated: every command may be applied twice (`state` says
//! why), so what comes back is always a decision on this command, if not always the first one: a
//! compare-and-swap that was carried out by the first try fails in the second. All proposals are
//! in progress side by side; a slow one delays no other.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::meta::command::{Applied, Command};
use crate::meta::handle::{Proposal, ProposeError};
use crate::meta::image::MIN_INSYNC_REPLICAS;
use crate::meta::raft::Core;
use crate::meta::rpc::{Answer, ProposeAnswer, Request};

/// Proposals of this broker in progress at a time; more wait in the handle.
const MAX_IN_PROGRESS: usize = 1024;
/// Before the next try, when the leader is not known or not reached.
const PAUSE: Duration = Duration::from_millis(25);

/// Serves the handle's proposals. Runs until it is dropped, or every handle is gone.
pub async fn serve(core: Arc<Core>, mut inbox: mpsc::Receiver<Proposal>) {
    let mut in_progress = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            Some(()) = in_progress.next(), if !in_progress.is_empty() => {}
            next = inbox.recv(), if in_progress.len() < MAX_IN_PROGRESS => {
                let Some(proposal) = next else { break };
                in_progress.push(decide(core.clone(), proposal));
            }
        }
    }
    while in_progress.next().await.is_some() {}
}

async fn decide(core: Arc<Core>, proposal: Proposal) {
    let Proposal { command, mut reply } = proposal;
    let decision = tokio::select! {
        biased;
        () = reply.closed() => return,
        decision = core.propose(command) => decision,
    };
    // The proposer may have left in this very moment.
    let _ = reply.send(decision);
}

impl Core {
    /// How long a proposal is tried: a leader may have to be elected first, and once more.
    fn propose_deadline(&self) -> Duration {
        self.config.raft_election_timeout.1 * 2 + Duration::from_secs(1)
    }

    /// Puts `command` into the log and waits until it is applied here.
    ///
    /// # Errors
    /// [`ProposeError`].
    pub async fn propose(&self, mut command: Command) -> Result<Applied, ProposeError> {
        self.complete(&mut command);
        command.check_size()?;
        let deadline = tokio::time::Instant::now() + self.propose_deadline();
        let mut reason = "no leader is known".to_owned();
        loop {
            match self.attempt(&command, deadline).await {
                ProposeAnswer::Decided { index, decision } => {
                    self.applied(index, deadline).await?;
                    return Ok(decision?);
                }
                ProposeAnswer::NotLeader(Some(id)) => reason = format!("broker {id} may lead"),
                ProposeAnswer::NotLeader(None) => {}
                ProposeAnswer::Busy => reason = "the leader is busy".to_owned(),
                ProposeAnswer::Unknown(why) => reason = why,
            }
            if tokio::time::Instant::now() + PAUSE >= deadline {
                return Err(ProposeError::Unknown(reason));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Settings that decide safety are fixed when a topic is made, so that brokers with
    /// different defaults agree on them.
    fn complete(&self, command: &mut Command) {
        if let Command::CreateTopic { configs, .. } = command {
            configs
                .entry(MIN_INSYNC_REPLICAS.to_owned())
                .or_insert_with(|| self.config.min_insync_replicas.to_string());
        }
    }

    /// One try with the leader that is known now.
    async fn attempt(&self, command: &Command, deadline: Instant) -> ProposeAnswer {
        let Some(leader) = self.leader() else {
            return ProposeAnswer::NotLeader(None);
        };
        if leader == self.config.id {
            return self.propose_here(command.clone()).await;
        }
        let Some(peer) = self.peers.get(leader) else {
            return ProposeAnswer::NotLeader(None);
        };
        // The leader itself gives up a little earlier and says so.
        let patience = self.config.raft_election_timeout.1 + Duration::from_millis(500);
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        let request = Request::Propose(command.clone());
        match peer.call(request, patience.min(left)).await {
            Ok(Answer::Propose(answer)) => answer,
            Ok(other) => ProposeAnswer::Unknown(format!("broker {leader} answered {other:?}")),
            Err(error) => ProposeAnswer::Unknown(error.to_string()),
        }
    }

    async fn applied(&self, index: u64, deadline: Instant) -> Result<(), ProposeError> {
        let mut images = self.images.watch();
        let reached = images.wait_for(|image| image.index >= index);
        match tokio::time::timeout_at(deadline, reached).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(ProposeError::Stopping),
            Err(_) => Err(ProposeError::Unknown(format!(
                "entry {index} was decided, but has not reached this broker"
            ))),
        }
    }
}
