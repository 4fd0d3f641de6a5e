//! When this broker stands for the Raft leadership: after a random time without a leader, and only
//! if a majority would vote for it.
//!
//! The question before the election (pre-vote, Raft thesis 9.6) keeps a broker that was cut off
//! from coming back with a higher term and ending a leadership that works. openraft 0.9 has none,
//! so its own election timer is off and this one triggers its elections.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::meta::raft::Core;
use crate::meta::rpc::{Answer, Request};

/// Draws between the two, the first included.
fn draw(rng: &mut ChaCha8Rng, (from, to): (Duration, Duration)) -> Duration {
    let spread = to.saturating_sub(from).as_micros();
    let extra = rng.random_range(0..u64::try_from(spread).unwrap_or(u64::MAX).max(1));
    from + Duration::from_micros(extra)
}

/// Watches for the leader's silence, and stands when it lasts. Runs until it is dropped.
pub async fn run(core: Arc<Core>, mut rng: ChaCha8Rng, started: Arc<AtomicU64>) {
    let (least, most) = core.config.raft_election_timeout;
    let heartbeat = core.config.raft_heartbeat_interval;
    let alone = core.peers.majority() == 1;
    // Who restarts does not know of a leader yet, but a pre-vote disturbs nobody: ask early.
    let mut patience = if alone {
        Duration::ZERO
    } else {
        draw(&mut rng, (heartbeat * 2, least.max(heartbeat * 3)))
    };
    let mut since = core.now();
    loop {
        let deadline = since.max(core.last_contact().unwrap_or_default()) + patience;
        let now = core.now();
        if now < deadline {
            tokio::time::sleep(deadline - now).await;
            continue;
        }
        since = now;
        let may_stand = core.age().may_elect(core.store.last_log_id());
        if core.leads() || !is_voter(&core) || !may_stand {
            patience = if alone {
                heartbeat
            } else {
                draw(&mut rng, (least, most))
            };
        } else if alone || would_win(&core).await {
            tracing::info!(broker = %core.config.id, "stands for the metadata leadership");
            started.fetch_add(1, Ordering::Relaxed);
            if core.raft.trigger().elect().await.is_err() {
                return;
            }
            // Votes are being written to disks; a split vote is tried again apart from others.
            since = core.now();
            patience = draw(&mut rng, (least / 2, least));
        } else {
            since = core.now();
            patience = draw(&mut rng, (heartbeat, heartbeat * 2));
        }
    }
}

/// Whether the group has been formed, with this broker in it.
fn is_voter(core: &Core) -> bool {
    let metrics = core.metrics.borrow();
    let voters = metrics.membership_config.membership();
    let is_me = |node: u64| metrics.id == node;
    voters.voter_ids().any(is_me)
}

/// Asks everybody at once; true as soon as a majority would vote for this broker.
async fn would_win(core: &Core) -> bool {
    let last_log_id = core.store.last_log_id();
    let patience = core.lease() / 2;
    let ask = |peer: &Arc<crate::meta::raft_net::Peer>| {
        let peer = peer.clone();
        async move {
            let request = Request::PreVote { last_log_id };
            let answer = peer.call(request, patience).await;
            matches!(answer, Ok(Answer::PreVote { granted: true }))
        }
    };
    let mut answers: FuturesUnordered<_> = core.peers.iter().map(ask).collect();
    let mut granted = 1;
    while granted < core.peers.majority() {
        match answers.next().await {
            Some(true) => granted += 1,
            Some(false) => {}
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn draws_stay_within_their_bounds() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let bounds = (Duration::from_millis(10), Duration::from_millis(20));
        let draws: Vec<_> = (0..1000).map(|_| draw(&mut rng, bounds)).collect();
        assert!(draws.iter().all(|d| (bounds.0..bounds.1).contains(d)));
        assert!(draws.iter().any(|d| *d > Duration::from_millis(18)));
        let none = (bounds.0, bounds.0);
        assert_eq!(draw(&mut rng, none), bounds.0);
    }
}
