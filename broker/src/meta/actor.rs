//! The actor's life: open the store, listen, join the quorum, run the tasks, stop.
//!
//! Everything runs on one thread (in production one of its own, so that a flood of produce
//! requests cannot cause elections) and ends with [`run`]: each task is owned by it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tokio::sync::{mpsc, oneshot, watch};

use crate::config::BrokerConfig;
use crate::meta::command::LogClaim;
use crate::meta::handle::MetadataHandle;
use crate::meta::image::MetadataImage;
use crate::meta::node::{MetaError, MetaMetrics, MetaOptions};
use crate::meta::raft::{self, Core};
use crate::meta::raft_machine::Machine;
use crate::meta::raft_net::{OwnedTask, Peer, Peers};
use crate::meta::raft_store::MetaStore;
use crate::meta::raft_types::{Raft, broker_id, node_id, seed_thread};
use crate::meta::rpc::{Answer, Request};
use crate::meta::store_writer::{Drive, WriterThread};
use crate::meta::told::{self, Told};
use crate::meta::youth::{Age, Standing, Verdict};
use crate::meta::{election, fencing, lifecycle, proposals, rpc_server};
use crate::net;
use crate::types::{BrokerEpoch, BrokerId};

/// Directory of the metadata store in `data_dir`.
const DIR: &str = "meta";
/// Proposals that wait for the actor.
const INBOX: usize = 1024;
/// For the clean-shutdown marker to reach the disk; on a full one it never does.
const MARKER: Duration = Duration::from_secs(10);
/// What Raft gets to end in order; its store is safe without.
const FAREWELL: Duration = Duration::from_secs(1);

/// The order to stop.
pub struct Stop {
    /// The partitions' logs were closed and synced.
    pub logs_closed: bool,
}

/// The ends that the rest of the broker holds.
pub struct Ends {
    /// The door.
    pub handle: MetadataHandle,
    /// Figures.
    pub metrics: watch::Receiver<MetaMetrics>,
    /// Why the actor cannot go on.
    pub ended: watch::Receiver<Option<MetaError>>,
}

/// Runs the actor until it is told to stop, or `stop` is dropped (then nothing is tidied up). The
/// store's thread is handed back, to be joined once everything else of the actor is gone.
pub async fn run(
    options: MetaOptions,
    drive: Drive,
    ready: oneshot::Sender<Result<Ends, MetaError>>,
    stop: oneshot::Receiver<Stop>,
) -> Option<WriterThread> {
    let dir = options.config.data_dir.join(DIR);
    let opened =
        check(&options.config).and_then(|()| Ok(MetaStore::open(&*options.storage, &dir, drive)?));
    let (store, writer) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            let _ = ready.send(Err(error));
            return None;
        }
    };
    match Actor::start(options, store).await {
        Err(error) => {
            let _ = ready.send(Err(error));
        }
        Ok((actor, ends)) => {
            // If nobody waits for the start any more, `stop` is gone too.
            let _ = ready.send(Ok(ends));
            actor.run(stop).await;
        }
    }
    Some(writer)
}

/// Refuses settings that contradict themselves.
fn check(config: &BrokerConfig) -> Result<(), MetaError> {
    let refuse = |reason: String| Err(MetaError::Config(reason));
    let ids: BTreeSet<BrokerId> = config.voters.iter().map(|voter| voter.id).collect();
    if ids.len() != config.voters.len() {
        return refuse("two voters have the same broker id".to_owned());
    }
    if ids.iter().any(|id| id.get() < 0) {
        return refuse("a voter's broker id is negative".to_owned());
    }
    if !ids.contains(&config.id) {
        return refuse(format!(
            "broker {} is not among the voters {ids:?}",
            config.id
        ));
    }
    let (least, most) = config.raft_election_timeout;
    if config.raft_heartbeat_interval * 2 > least || least >= most {
        return refuse(format!(
            "election timeout {least:?} to {most:?}: it has to begin at two heartbeats \
             ({:?} each) or more, and to end later than it begins",
            config.raft_heartbeat_interval
        ));
    }
    if config.broker_heartbeat_interval * 2 > config.broker_session_timeout
        || config.broker_heartbeat_interval.is_zero()
    {
        return refuse(format!(
            "broker.session.timeout.ms {:?} has to be at least two heartbeats ({:?} each)",
            config.broker_session_timeout, config.broker_heartbeat_interval
        ));
    }
    Ok(())
}

struct Actor {
    core: Arc<Core>,
    stopping: Arc<AtomicBool>,
    epoch: Told<Option<BrokerEpoch>>,
    _tasks: Vec<OwnedTask>,
}

impl Actor {
    async fn start(options: MetaOptions, store: MetaStore) -> Result<(Self, Ends), MetaError> {
        let config = options.config.clone();
        let address = config.controller_listen;
        let listener = net::bind(address)
            .await
            .map_err(|error| MetaError::Listen {
                address: address.to_string(),
                reason: error.to_string(),
            })?;
        if store.past().is_new {
            store.set_age(Age::young(options.incarnation)).await?;
        }
        let log = lifecycle::claim(&config, options.recovered, options.log, &store).await?;
        // Each broker draws its own series, also when all are given one seed.
        let seed = config.seed.wrapping_add(node_id(config.id) << 32);
        seed_thread(seed);
        let (unfence, unfenced) = mpsc::channel(64);
        let core = join_quorum(&options, store, unfence).await?;

        let (proposals, inbox) = mpsc::channel(INBOX);
        let (set_epoch, epoch) = told::channel(None);
        let (set_controller, controller) = told::channel(None);
        let (set_metrics, metrics) = watch::channel(MetaMetrics::default());
        let (set_ended, ended) = watch::channel(None);
        let elections = Arc::new(AtomicU64::new(0));
        let rng = ChaCha8Rng::seed_from_u64(seed);
        let stopping = Arc::new(AtomicBool::new(false));
        let teller = Teller {
            core: core.clone(),
            stopping: stopping.clone(),
            elections: elections.clone(),
            metrics: set_metrics,
            controller: set_controller,
            ended: set_ended,
        };
        let member = Member {
            core: core.clone(),
            incarnation: options.incarnation,
            log: (log, options.log.id),
            epoch: set_epoch,
        };
        let tasks = vec![
            OwnedTask::spawn("controller", rpc_server::serve(core.clone(), listener)),
            OwnedTask::spawn("election", election::run(core.clone(), rng, elections)),
            OwnedTask::spawn("fencing", fencing::run(core.clone(), unfenced)),
            OwnedTask::spawn("proposals", proposals::serve(core.clone(), inbox)),
            OwnedTask::spawn("bootstrap", bootstrap(core.clone())),
            OwnedTask::spawn("member", teller.run(member)),
        ];
        let image = core.images.clone();
        let handle = MetadataHandle::new(proposals, image, epoch.clone(), controller);
        let ends = Ends {
            handle,
            metrics,
            ended,
        };
        let actor = Self {
            core,
            stopping,
            epoch,
            _tasks: tasks,
        };
        Ok((actor, ends))
    }

    async fn run(self, stop: oneshot::Receiver<Stop>) {
        let Ok(stop) = stop.await else {
            return;
        };
        let epoch = self.epoch.get();
        if let (true, Some(epoch)) = (stop.logs_closed, epoch) {
            let marker = self.core.store.set_clean_epoch(Some(epoch));
            match tokio::time::timeout(MARKER, marker).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "no clean-shutdown marker was left"),
                Err(_) => tracing::warn!("no clean-shutdown marker was left in time"),
            }
        }
        self.stopping.store(true, Ordering::Release);
        if tokio::time::timeout(FAREWELL, self.core.raft.shutdown())
            .await
            .is_err()
        {
            tracing::warn!("the metadata quorum's tasks did not end in time");
        }
    }
}

/// Starts Raft on what `store` holds.
async fn join_quorum(
    options: &MetaOptions,
    store: MetaStore,
    unfence: mpsc::Sender<(BrokerId, BrokerEpoch)>,
) -> Result<Arc<Core>, MetaError> {
    let config = options.config.clone();
    let (images, image) = told::channel(Arc::new(MetadataImage::default()));
    let machine = Machine::new(store.clone(), images, config.bugs);
    let machine = machine.map_err(|error| MetaError::Store {
        path: config.data_dir.join(DIR).display().to_string(),
        reason: error.to_string(),
    })?;
    let peers = peers_of(&config);
    let raft = Raft::new(
        node_id(config.id),
        raft::raft_config(&config, options.snapshot_every)?,
        peers.clone(),
        store.clone(),
        machine,
    );
    let raft = raft
        .await
        .map_err(|error| MetaError::Raft(error.to_string()))?;
    Ok(Arc::new(Core::new(
        config, raft, store, peers, image, unfence,
    )))
}

fn peers_of(config: &BrokerConfig) -> Peers {
    let mut voters: Vec<BrokerId> = config.voters.iter().map(|voter| voter.id).collect();
    voters.sort_unstable();
    let others = config.voters.iter().filter(|voter| voter.id != config.id);
    let silence = config.raft_heartbeat_interval * 3;
    let peer = |voter: &crate::config::Voter| {
        let endpoint = voter.controller.clone();
        Peer::new(config.id, voter.id, endpoint, voters.clone(), silence)
    };
    let backoff = config.raft_heartbeat_interval / 2;
    Peers::new(config.id, others.map(peer).collect(), backoff)
}

/// Sees to it that the group is formed at the first start of a cluster. The voter with the lowest
/// id does it at once, the others after a while, if it has not: so that usually one stands for the
/// leadership and not three against each other.
async fn bootstrap(core: Arc<Core>) {
    if core.age().is_young()
        && let Err(error) = grow_up(&core).await
    {
        tracing::error!(%error, "this voter cannot note its age, and stays out of the quorum");
        return;
    }
    if core.age().founding.is_none() {
        // The group exists, and will send what there is.
        return;
    }
    let lowest = core.config.voters.iter().map(|voter| voter.id).min();
    if lowest != Some(core.config.id) {
        let mut metrics = core.metrics.clone();
        let formed = metrics.wait_for(|now| now.membership_config.log_id().is_some());
        let patience = core.config.raft_election_timeout.1;
        if tokio::time::timeout(patience, formed).await.is_ok() {
            return;
        }
    }
    if let Err(error) = core.form_group().await {
        tracing::error!(%error, "the metadata quorum was not formed");
    }
}

/// Asks the others until it is known what a voter with this disk may have promised.
async fn grow_up(core: &Core) -> Result<(), MetaError> {
    let store = core.age().store;
    let period = core.config.raft_heartbeat_interval;
    for round in 0_u32.. {
        let ask = |peer: &Arc<Peer>| {
            let (peer, said) = (peer.clone(), core.standing(peer.id, store));
            let patience = core.lease() / 2;
            async move { peer.call(Request::Standing(said), patience).await }
        };
        let answers = futures_util::future::join_all(core.peers.iter().map(ask)).await;
        let verdict = {
            let mut youth = core.youth.lock();
            let said = |answer: &Standing| youth.hear(answer);
            let standing = |answer| match answer {
                Ok(Answer::Standing(standing)) => Some(standing),
                _ => None,
            };
            let standings: Vec<Standing> = answers.into_iter().filter_map(standing).collect();
            standings.iter().for_each(said);
            youth.judge(store)
        };
        let loud = round % 50 == 10;
        match verdict {
            Verdict::Grown(age) => {
                let (floor, founding) = (age.floor, age.founding.is_some());
                tracing::info!(?floor, founding, "this voter's store has grown up");
                core.store.set_age(age).await?;
                return Ok(());
            }
            Verdict::Wait(missing) if loud => tracing::warn!(
                ?missing,
                "the metadata store of this voter is new: it does not vote until every other \
                 voter has said what it knows"
            ),
            Verdict::TooManyNew(young) if loud => tracing::error!(
                ?young,
                "the metadata store of this voter is new, and so are others', but not all: what \
                 they held is lost; bring back one of the old disks"
            ),
            Verdict::Wait(_) | Verdict::TooManyNew(_) => {}
        }
        tokio::time::sleep(period).await;
    }
    Ok(())
}

/// What this broker is in the cluster.
struct Member {
    core: Arc<Core>,
    incarnation: uuid::Uuid,
    log: (LogClaim, uuid::Uuid),
    epoch: told::Teller<Option<BrokerEpoch>>,
}

/// Tells the rest of the broker what becomes of the actor.
struct Teller {
    core: Arc<Core>,
    /// The end was asked for.
    stopping: Arc<AtomicBool>,
    elections: Arc<AtomicU64>,
    metrics: watch::Sender<MetaMetrics>,
    controller: told::Teller<Option<BrokerId>>,
    ended: watch::Sender<Option<MetaError>>,
}

impl Teller {
    async fn run(self, member: Member) {
        let Member {
            core,
            incarnation,
            log,
            epoch,
        } = member;
        let why = tokio::select! {
            biased;
            why = self.tell() => why,
            why = lifecycle::run(core, incarnation, log, epoch) => why,
        };
        if self.stopping.load(Ordering::Acquire) {
            tracing::debug!(%why, "metadata has ended, as it was told to");
        } else {
            tracing::error!(broker = %self.core.config.id, error = %why, "metadata has ended");
            self.ended.send_replace(Some(why));
        }
        // What was told last stays readable until the broker stops.
        std::future::pending::<()>().await;
    }

    /// Keeps the figures and the controller up to date, until Raft stops.
    async fn tell(&self) -> MetaError {
        let mut raft = self.core.metrics.clone();
        let mut told_leader = None;
        loop {
            let (figures, state) = {
                let now = raft.borrow_and_update();
                let index = |id: Option<openraft::LogId<u64>>| id.map_or(0, |id| id.index);
                let leader = now.current_leader.map(broker_id);
                let figures = MetaMetrics {
                    term: now.current_term,
                    leader,
                    is_controller: leader == Some(self.core.config.id),
                    last_log_index: now.last_log_index.unwrap_or(0),
                    applied_index: index(now.last_applied),
                    snapshot_index: index(now.snapshot),
                    elections_started: self.elections.load(Ordering::Relaxed),
                    since_quorum: now.millis_since_quorum_ack.map(Duration::from_millis),
                };
                (figures, now.running_state.clone())
            };
            let leader = figures.leader;
            if told_leader != Some(leader) {
                told_leader = Some(leader);
                self.controller.send_replace(leader);
            }
            self.metrics.send_replace(figures);
            if let Err(fatal) = state {
                return MetaError::Raft(fatal.to_string());
            }
            if raft.changed().await.is_err() {
                return MetaError::Raft("its tasks have ended".to_owned());
            }
        }
    }
}
