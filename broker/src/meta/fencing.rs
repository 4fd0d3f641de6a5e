//! The active controller's duty: brokers that fell silent are fenced, those that are back unfenced.
//!
//! The task runs on every broker and does nothing where the broker is not the active controller.
//! What it decides goes through the log like everything else, so a deposed controller decides
//! nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;

use crate::meta::command::Command;
use crate::meta::raft::Core;
use crate::meta::rpc::ProposeAnswer;
use crate::types::{BrokerEpoch, BrokerId};

/// Reviews the sessions again and again. Runs until it is dropped.
pub async fn run(core: Arc<Core>, mut unfence: mpsc::Receiver<(BrokerId, BrokerEpoch)>) {
    let pause = core.config.broker_heartbeat_interval / 2;
    let pause = pause.min(core.config.broker_session_timeout / 8);
    let mut tick = tokio::time::interval(pause);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // Brokers about which a command is on its way.
    let mut pending: BTreeSet<BrokerId> = BTreeSet::new();
    let mut commands = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            Some(id) = commands.next(), if !commands.is_empty() => {
                pending.remove(&id);
            }
            Some((id, epoch)) = unfence.recv() => {
                if pending.insert(id) {
                    let command = Command::UnfenceBroker { id, epoch };
                    commands.push(propose(core.clone(), id, command));
                }
            }
            _ = tick.tick() => {
                for (id, epoch) in review(&core) {
                    if pending.insert(id) {
                        tracing::warn!(broker = %id, %epoch, "session ended, fencing");
                        let command = Command::FenceBroker { id, epoch };
                        commands.push(propose(core.clone(), id, command));
                    }
                }
            }
        }
    }
}

fn review(core: &Core) -> Vec<(BrokerId, BrokerEpoch)> {
    let mut sessions = core.sessions();
    let Some(term) = core.controller_term() else {
        sessions.resign();
        return Vec::new();
    };
    sessions.review(core.now(), term, core.in_touch(), &core.image())
}

/// One try; if it fails, the next review or heartbeat finds the same reason again.
async fn propose(core: Arc<Core>, id: BrokerId, command: Command) -> BrokerId {
    let answer = core.propose_here(command).await;
    if !matches!(answer, ProposeAnswer::Decided { .. }) {
        tracing::debug!(broker = %id, ?answer, "fencing or unfencing was not decided");
    }
    id
}
