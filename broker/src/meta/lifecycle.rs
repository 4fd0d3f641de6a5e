//! This broker as a member of the cluster: registration, heartbeats, and whether it still is one.
//!
//! A process registers once and keeps its registration for life. When its session ends it is
//! fenced, not removed: it goes on sending heartbeats, and the first that reaches the controller
//! with everything applied gets it unfenced in the same broker epoch. That is sound because the
//! process has lost nothing; only a new process (another incarnation) may have, and gets a new
//! epoch.
//!
//! When the image shows another incarnation under this broker's id, it is either a late copy of
//! its own former life's registration or another process with the same id. Once it registers
//! anew, which undoes the first, but claims nothing for its log: what the broker id is a member of
//! by then, the other process may have earned with other contents. The second time it stops, so of two processes that share an id
//! by mistake only the younger goes on.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use uuid::Uuid;

use crate::config::BrokerConfig;
use crate::meta::command::{Applied, Command, LogClaim};
use crate::meta::node::MetaError;
use crate::meta::raft::Core;
use crate::meta::raft_store::MetaStore;
use crate::meta::rpc::{Answer, Heartbeat, HeartbeatAnswer, Request};
use crate::meta::store_writer::StoreError;
use crate::types::{BrokerEpoch, Durability};

/// What this broker can say of its log, and the marker's end: it is removed before the broker
/// registers, so that it speaks for one stop only.
///
/// A store that never saw a registration belongs to a new disk: an empty log recovers without a
/// fault and is worth nothing.
///
/// # Errors
/// When the store fails.
pub async fn claim(
    config: &BrokerConfig,
    recovered: bool,
    store: &MetaStore,
) -> Result<LogClaim, StoreError> {
    let past = store.past();
    if past.clean_epoch.is_some() {
        store.set_clean_epoch(None).await?;
    }
    if !recovered || !past.registered {
        return Ok(LogClaim::Unclean);
    }
    Ok(match (config.durability, past.clean_epoch) {
        (Durability::Fsync, _) => LogClaim::Recovered,
        (Durability::Replicated, Some(epoch)) => LogClaim::CleanShutdown(epoch),
        (Durability::Replicated, None) => LogClaim::Unclean,
    })
}

/// Registers this broker, then sends heartbeats. Returns why it is no member any more.
pub async fn run(
    core: Arc<Core>,
    incarnation: Uuid,
    log: LogClaim,
    epoch: watch::Sender<Option<BrokerEpoch>>,
) -> MetaError {
    // What was earned since then may have been earned by the other process, with another log.
    for log in [log, LogClaim::Unclean] {
        let granted = register(&core, incarnation, log).await;
        tracing::info!(broker = %core.config.id, epoch = %granted, ?log, "registered");
        if let Err(error) = core.store.set_registered().await {
            return MetaError::from(error);
        }
        epoch.send_replace(Some(granted));
        tokio::select! {
            biased;
            () = superseded(&core, incarnation) => {}
            () = send_heartbeats(&core, granted) => {}
        }
        tracing::warn!(broker = %core.config.id, "another process registered under this id");
    }
    MetaError::Superseded(core.config.id)
}

async fn register(core: &Core, incarnation: Uuid, log: LogClaim) -> BrokerEpoch {
    let config = &core.config;
    let command = Command::RegisterBroker {
        id: config.id,
        incarnation,
        cluster_id: incarnation.to_string(),
        client: config.client_advertised.clone(),
        replication: config.replication_advertised.clone(),
        log,
    };
    loop {
        match core.propose(command.clone()).await {
            Ok(Applied::Registered { epoch }) => return epoch,
            Ok(other) => unreachable!("a registration was answered with {other:?}"),
            Err(error) => tracing::warn!(broker = %config.id, %error, "not registered yet"),
        }
        tokio::time::sleep(config.broker_heartbeat_interval).await;
    }
}

/// Ends when another process has registered under this broker's id.
async fn superseded(core: &Core, incarnation: Uuid) {
    let id = core.config.id;
    let mut images = core.images.clone();
    let another = images.wait_for(|image| {
        let broker = image.brokers.get(&id);
        broker.is_some_and(|broker| broker.incarnation != incarnation)
    });
    if another.await.is_err() {
        // The actor is being torn down: whoever does that says why.
        std::future::pending::<()>().await;
    }
}

async fn send_heartbeats(core: &Core, epoch: BrokerEpoch) {
    let interval = core.config.broker_heartbeat_interval;
    let mut metrics = core.metrics.clone();
    loop {
        let leader = core.leader();
        let answer = send_heartbeat(core, epoch).await;
        let image = core.image();
        let fenced = image.live_broker(core.config.id).is_none();
        tracing::trace!(broker = %core.config.id, ?leader, ?answer, "heartbeat");
        // A fenced broker is of no use to anybody: it asks more often.
        let pause = if fenced { interval / 5 } else { interval };
        let another_leader = metrics
            .wait_for(|now| now.current_leader.map(crate::meta::raft_types::broker_id) != leader);
        let waited = tokio::time::timeout(pause, another_leader).await;
        let stopped = matches!(waited, Ok(Err(_)));
        drop(waited);
        if stopped {
            // Raft has stopped: whoever stopped it says why.
            std::future::pending::<()>().await;
        }
    }
}

async fn send_heartbeat(core: &Core, epoch: BrokerEpoch) -> Option<HeartbeatAnswer> {
    let heartbeat = Heartbeat {
        id: core.config.id,
        epoch,
        applied: core.image().index,
    };
    let leader = core.leader()?;
    if leader == core.config.id {
        return Some(core.heartbeat(heartbeat));
    }
    let patience = core.config.broker_heartbeat_interval * 2;
    let patience = patience.max(Duration::from_millis(100));
    let peer = core.peers.get(leader)?;
    match peer.call(Request::Heartbeat(heartbeat), patience).await {
        Ok(Answer::Heartbeat(answer)) => Some(answer),
        Ok(other) => {
            tracing::warn!(%leader, ?other, "a heartbeat was answered with something else");
            None
        }
        Err(error) => {
            tracing::debug!(%leader, %error, "heartbeat not answered");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::meta::store_writer::Drive;
    use crate::storage::memory::MemoryStorage;

    /// The claims of successive lives on one disk; after each, what the life left is done.
    #[tokio::test]
    async fn a_marker_speaks_for_one_stop_and_an_unknown_disk_for_nothing() {
        for durability in [Durability::Fsync, Durability::Replicated] {
            let disk = MemoryStorage::new();
            let config = BrokerConfig {
                durability,
                ..BrokerConfig::default()
            };
            let life = async |recovered: bool, stopped_at: Option<i64>| {
                let opened = MetaStore::open(&disk, Path::new("meta"), Drive::Inline);
                let store = opened.expect("opened").0;
                let claimed = claim(&config, recovered, &store).await.expect("works");
                store.set_registered().await.expect("works");
                if let Some(epoch) = stopped_at {
                    let marker = Some(BrokerEpoch(epoch));
                    store.set_clean_epoch(marker).await.expect("works");
                }
                claimed
            };
            let kept = |claim| match durability {
                Durability::Fsync => LogClaim::Recovered,
                Durability::Replicated => claim,
            };
            assert_eq!(life(true, Some(7)).await, LogClaim::Unclean, "a new disk");
            let marker = LogClaim::CleanShutdown(BrokerEpoch(7));
            assert_eq!(life(true, None).await, kept(marker));
            assert_eq!(
                life(true, Some(9)).await,
                kept(LogClaim::Unclean),
                "crashed"
            );
            assert_eq!(life(false, None).await, LogClaim::Unclean, "not recovered");
            assert_eq!(
                life(true, None).await,
                kept(LogClaim::Unclean),
                "marker used up"
            );
        }
    }
}
