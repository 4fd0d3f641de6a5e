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
//! by then, the other process may have earned with other contents. The second time it stops, so of
//! two processes that share an id by mistake only the younger goes on.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::config::BrokerConfig;
use crate::log::{LOG_DIR, LogFound};
use crate::meta::command::{Applied, Command, LogClaim};
use crate::meta::node::MetaError;
use crate::meta::raft::Core;
use crate::meta::raft_store::MetaStore;
use crate::meta::rpc::{Answer, Heartbeat, HeartbeatAnswer, Request};
use crate::meta::told::Teller;
use crate::types::{BrokerEpoch, Durability};

/// What this broker can say of its log, and the marker's end: it is removed before the broker
/// registers, so that it speaks for one stop only.
///
/// A store that never saw a registration belongs to a new disk: an empty log recovers without a
/// fault and is worth nothing. The same goes for an empty log that is not the one with which this
/// broker registered.
///
/// # Errors
/// When the store fails, or the log is another broker's or another life's.
pub async fn claim(
    config: &BrokerConfig,
    recovered: bool,
    log: LogFound,
    store: &MetaStore,
) -> Result<LogClaim, MetaError> {
    let past = store.past();
    let same = past.log_id.is_none_or(|known| known == log.id);
    if !same && !log.empty {
        return Err(MetaError::Config(format!(
            "the log in {} is not the one with which broker {} registered: directories were \
             exchanged or copied; put its own log back, or move this one away to start over from \
             the other replicas (leave the metadata where it is)",
            config.data_dir.join(LOG_DIR).display(),
            config.id
        )));
    }
    if past.clean_epoch.is_some() {
        store.set_clean_epoch(None).await?;
    }
    let kept = recovered && past.registered && same;
    Ok(match (config.durability, past.clean_epoch) {
        (Durability::Fsync, _) if kept => LogClaim::Recovered,
        (Durability::Fsync, _) => LogClaim::Lost,
        (Durability::Replicated, Some(epoch)) if kept => LogClaim::CleanShutdown(epoch),
        (Durability::Replicated, _) => LogClaim::Unclean,
    })
}

/// Registers this broker, then sends heartbeats. Returns why it is no member any more.
pub async fn run(
    core: Arc<Core>,
    incarnation: Uuid,
    (log, log_id): (LogClaim, Uuid),
    epoch: Teller<Option<BrokerEpoch>>,
) -> MetaError {
    // What was earned since then may have been earned by the other process, with another log.
    for log in [log, LogClaim::Unclean] {
        let granted = register(&core, incarnation, log).await;
        tracing::info!(broker = %core.config.id, epoch = %granted, ?log, "registered");
        if let Err(error) = core.store.set_registered(log_id).await {
            return MetaError::from(error);
        }
        if log == LogClaim::Lost {
            tell_of_orphans(&core);
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

/// Names the partitions that nobody may lead any more because this broker's log is gone.
fn tell_of_orphans(core: &Core) {
    let (id, image) = (core.config.id, core.image());
    for topic in image.topics.values() {
        for (number, partition) in topic.partitions.iter().enumerate() {
            let orphan = partition.leader.is_none()
                && partition.last_known_leader.is_none()
                && partition.elr.is_empty();
            if orphan && partition.replicas.contains(&id) {
                tracing::error!(
                    broker = %id, topic = %topic.name, partition = number,
                    "no leader, for good: the logs of all in-sync replicas are gone, and another \
                     replica may hold committed records that they had; it is left as it is until \
                     somebody orders `broker elect-unclean`"
                );
            }
        }
    }
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
    let mut images = core.images.watch();
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

    /// One life on a disk: what it claims with this log; then what it left is done.
    async fn life(
        (disk, durability): (&MemoryStorage, Durability),
        recovered: bool,
        log: LogFound,
        stopped_at: Option<i64>,
    ) -> Result<LogClaim, MetaError> {
        let config = BrokerConfig {
            durability,
            ..BrokerConfig::default()
        };
        let opened = MetaStore::open(disk, Path::new("meta"), Drive::Inline);
        let store = opened.expect("opened").0;
        let claimed = claim(&config, recovered, log, &store).await?;
        store.set_registered(log.id).await.expect("works");
        if let Some(epoch) = stopped_at {
            let marker = Some(BrokerEpoch(epoch));
            store.set_clean_epoch(marker).await.expect("works");
        }
        Ok(claimed)
    }

    fn log(id: u128, empty: bool) -> LogFound {
        let id = Uuid::from_u128(id);
        LogFound { id, empty }
    }

    const MODES: [(Durability, LogClaim); 2] = [
        (Durability::Fsync, LogClaim::Lost),
        (Durability::Replicated, LogClaim::Unclean),
    ];

    #[tokio::test]
    async fn a_marker_speaks_for_one_stop_and_an_unknown_disk_for_nothing() {
        for (durability, nothing) in MODES {
            let disk = MemoryStorage::new();
            let life = async |recovered: bool, stopped_at: Option<i64>| {
                let claimed = life((&disk, durability), recovered, log(1, false), stopped_at);
                claimed.await.expect("the same log")
            };
            let kept = |claim| match durability {
                Durability::Fsync => LogClaim::Recovered,
                Durability::Replicated => claim,
            };
            assert_eq!(life(true, Some(7)).await, nothing, "a new disk");
            let marker = LogClaim::CleanShutdown(BrokerEpoch(7));
            assert_eq!(life(true, None).await, kept(marker));
            let crashed = kept(LogClaim::Unclean);
            assert_eq!(life(true, Some(9)).await, crashed, "crashed");
            assert_eq!(life(false, None).await, nothing, "not recovered");
            assert_eq!(life(true, None).await, crashed, "marker used up");
        }
    }

    #[tokio::test]
    async fn another_log_is_worth_nothing_when_empty_and_refused_when_not() {
        for (durability, nothing) in MODES {
            let disk = MemoryStorage::new();
            let on = (&disk, durability);
            let first = life(on, true, log(1, true), None).await;
            assert_eq!(first.expect("a new disk"), nothing);
            let refused = life(on, true, log(2, false), None).await;
            let refused = refused.expect_err("exchanged").to_string();
            assert!(refused.contains("not the one with which"), "{refused}");
            let gone = life(on, true, log(2, true), Some(7)).await;
            assert_eq!(gone.expect("begun anew"), nothing);
            let marked = life(on, true, log(2, false), None).await.expect("its own");
            assert_ne!(marked, nothing, "what it holds since counts");
        }
    }
}
