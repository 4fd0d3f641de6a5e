//! The partitions that this broker holds: made, changed and removed by metadata images, found by
//! handlers without locks.
//!
//! Images are applied in order by one task, and only those that know this broker's registration:
//! before that, what they say is of an earlier life. An intermediate image may be skipped; each
//! is complete in itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tracing::{error, info, warn};

use crate::clock;
use crate::config::{self, BrokerConfig};
use crate::exec;
use crate::log::{LogStore, Retention};
use crate::meta::handle::MetadataHandle;
use crate::meta::image::MetadataImage;
use crate::replica::actor::{Actor, Parts, Shared};
use crate::replica::alarm::{AlarmCounts, Limits};
use crate::replica::cluster::PartitionMeta;
use crate::replica::core::Settings;
use crate::replica::fetcher::{self, FetcherParts};
use crate::replica::partition::{Inbox, Message, Partition};
use crate::replica::scrub;
use crate::types::{BrokerEpoch, BrokerId, TopicId, TopicPartition};

/// Bytes of produced batches that may wait in mailboxes.
const INBOX_BYTES: usize = 64 << 20;
/// How often leaders look for laggards and send proposals again.
const TICK: Duration = Duration::from_millis(200);
/// How often high watermarks are checkpointed.
const CHECKPOINT: Duration = Duration::from_secs(5);

/// One topic as handlers find it.
pub struct TopicRoute {
    /// Identity.
    pub id: TopicId,
    /// Name.
    pub name: Arc<str>,
    /// By partition number; `None` where this broker holds no replica.
    pub partitions: Vec<Option<Arc<Partition>>>,
}

/// What a look-up finds.
pub enum Found<'a> {
    /// A partition of this broker.
    Here(&'a Arc<Partition>),
    /// It exists, elsewhere.
    Elsewhere,
    /// There is no such topic or partition.
    Unknown,
}

/// All topics, at one moment.
#[derive(Default)]
pub struct Routing {
    by_name: BTreeMap<String, Arc<TopicRoute>>,
    by_id: BTreeMap<TopicId, Arc<TopicRoute>>,
}

impl Routing {
    /// A partition by its topic's name.
    #[must_use]
    pub fn by_name(&self, topic: &str, partition: i32) -> Found<'_> {
        find(self.by_name.get(topic), partition)
    }

    /// A partition by its topic's identity.
    #[must_use]
    pub fn by_id(&self, topic: TopicId, partition: i32) -> Found<'_> {
        find(self.by_id.get(&topic), partition)
    }

    /// Every partition of this broker, in the order of topic names.
    pub fn partitions(&self) -> impl Iterator<Item = &Arc<Partition>> {
        self.by_name
            .values()
            .flat_map(|topic| topic.partitions.iter().flatten())
    }
}

fn find(topic: Option<&Arc<TopicRoute>>, partition: i32) -> Found<'_> {
    let slot = topic.and_then(|topic| {
        let index = usize::try_from(partition).ok()?;
        topic.partitions.get(index)
    });
    match slot {
        Some(Some(partition)) => Found::Here(partition),
        Some(None) => Found::Elsewhere,
        None => Found::Unknown,
    }
}

/// Every partition of this broker.
pub struct ReplicaManager {
    config: Arc<BrokerConfig>,
    meta: MetadataHandle,
    store: LogStore,
    routing: ArcSwap<Routing>,
    inbox: Arc<Inbox>,
    alarms: Arc<AlarmCounts>,
    started: Instant,
    stopping: watch::Sender<bool>,
}

impl ReplicaManager {
    /// Holds nothing until [`ReplicaManager::run`] has seen an image.
    #[must_use]
    pub fn new(config: Arc<BrokerConfig>, meta: MetadataHandle, store: LogStore) -> Arc<Self> {
        Arc::new(Self {
            config,
            meta,
            store,
            routing: ArcSwap::default(),
            inbox: Arc::new(Inbox::new(INBOX_BYTES)),
            alarms: Arc::default(),
            started: Instant::now(),
            stopping: watch::Sender::new(false),
        })
    }

    /// All topics now: no lock.
    #[must_use]
    pub fn routing(&self) -> Arc<Routing> {
        self.routing.load_full()
    }

    /// Whether this broker's disk has too little room for anything new.
    #[must_use]
    pub fn disk_is_full(&self) -> bool {
        self.store.disk_is_full()
    }

    /// Alarms that were raised, over all partitions.
    #[must_use]
    pub fn alarms(&self) -> &AlarmCounts {
        &self.alarms
    }

    /// Waits until produced bytes may be taken in: called before a client's request is read.
    pub async fn wait_for_room(&self) {
        self.inbox.wait_for_room().await;
        self.store.wait_for_room().await;
    }

    /// Applies images until [`ReplicaManager::stop`] is called; then every partition's log has
    /// been given back.
    pub async fn run(self: Arc<Self>) {
        let mut stopping = self.stopping.subscribe();
        let mut epochs = self.meta.watch_broker_epoch();
        loop {
            let Some(epoch) = *epochs.borrow_and_update() else {
                tokio::select! {
                    biased;
                    () = turned_true(&mut stopping) => return,
                    changed = epochs.changed() => match changed {
                        Ok(()) => continue,
                        Err(_) => return,
                    },
                }
            };
            let incarnation = Incarnation::new(Arc::clone(&self), epoch);
            if incarnation.run(&mut stopping, &mut epochs).await.is_none() {
                return;
            }
            warn!("this broker was registered anew: its replicas start over");
        }
    }

    /// Ends [`ReplicaManager::run`].
    pub fn stop(&self) {
        self.stopping.send_replace(true);
    }
}

/// The partitions under one registration of this broker.
struct Incarnation {
    manager: Arc<ReplicaManager>,
    shared: Arc<Shared>,
    held: BTreeMap<TopicPartition, Held>,
    fetchers: BTreeMap<BrokerId, tokio::task::JoinHandle<()>>,
    ended: watch::Sender<bool>,
}

/// What an incarnation reacts to.
enum Event {
    Stop,
    Registered,
    Image,
    Tick,
    Checkpoint,
    Retain,
}

/// Until the flag is set, or nobody can set it any more.
async fn turned_true(flag: &mut watch::Receiver<bool>) {
    // An error says that nobody can.
    let _ = flag.wait_for(|set| *set).await;
}

struct Held {
    partition: Arc<Partition>,
    told: Option<Arc<PartitionMeta>>,
}

impl Incarnation {
    fn new(manager: Arc<ReplicaManager>, broker_epoch: BrokerEpoch) -> Self {
        let config = &manager.config;
        let shared = Arc::new(Shared {
            settings: Settings {
                me: config.id,
                broker_epoch,
                durability: config.durability,
                lag_time_max: config.replica_lag_time_max,
                bugs: config.bugs,
            },
            meta: manager.meta.clone(),
            started: manager.started,
            following: watch::Sender::new(0),
            inbox: Arc::clone(&manager.inbox),
            alarm_limits: Limits {
                stalled_for: config.watermark_alarm,
                behind: config.follower_lag_alarm,
            },
            alarms: Arc::clone(&manager.alarms),
        });
        Self {
            manager,
            shared,
            held: BTreeMap::new(),
            fetchers: BTreeMap::new(),
            ended: watch::Sender::new(false),
        }
    }

    /// Until the broker stops (`None`) or is registered anew.
    async fn run(
        mut self,
        stopping: &mut watch::Receiver<bool>,
        epochs: &mut watch::Receiver<Option<BrokerEpoch>>,
    ) -> Option<()> {
        let mut images = self.manager.meta.watch_image();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut checkpoints = tokio::time::interval(CHECKPOINT);
        let mut retentions =
            tokio::time::interval(self.manager.config.log_retention_check_interval);
        retentions.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        images.mark_changed();
        let scrub = scrub::run(
            Arc::clone(&self.manager),
            self.manager.config.log_scrub_bytes_per_second,
            self.ended.subscribe(),
        );
        let scrub = exec::spawn("scrub", scrub);
        let again = loop {
            let event = tokio::select! {
                biased;
                () = turned_true(stopping) => Event::Stop,
                changed = epochs.changed() => changed.map_or(Event::Stop, |()| Event::Registered),
                changed = images.changed() => changed.map_or(Event::Stop, |()| Event::Image),
                _ = ticks.tick() => Event::Tick,
                _ = checkpoints.tick() => Event::Checkpoint,
                _ = retentions.tick() => Event::Retain,
            };
            match event {
                Event::Stop => break None,
                Event::Registered => break Some(()),
                Event::Image => {
                    let image = images.borrow_and_update().clone();
                    self.apply(&image).await;
                }
                Event::Tick => self.tick(),
                Event::Checkpoint => self.checkpoint(),
                Event::Retain => self.retain(&images.borrow()),
            }
        };
        self.end().await;
        // It ended, or it panicked and has said so.
        let _ = scrub.await;
        again
    }

    fn checkpoint(&self) {
        if let Err(error) = self.manager.store.checkpoint() {
            warn!(%error, "high watermarks are not checkpointed");
        }
    }

    /// Time matters to who leads others. A leader without followers has nobody to watch and
    /// nothing to propose: of those there may be thousands.
    fn tick(&self) {
        for held in self.held.values() {
            let has_followers = held
                .told
                .as_ref()
                .is_some_and(|told| told.replicas.len() > 1);
            if has_followers && held.partition.view().is_leader() {
                held.partition.send(Message::Tick);
            }
        }
    }

    /// Has leaders delete what is old, or too much. Followers follow their leader's log start.
    fn retain(&self, image: &MetadataImage) {
        let now = clock::unix_millis();
        let mut of_topic = None;
        for (tp, held) in &self.held {
            let retention = match of_topic {
                Some((topic, retention)) if topic == tp.topic => retention,
                _ => image
                    .topics
                    .get(&tp.topic)
                    .map(|topic| config::topic::retention(&self.manager.config, &topic.configs)),
            };
            of_topic = Some((tp.topic, retention));
            let retention = retention.filter(Retention::deletes);
            if let Some(retention) = retention
                && held.partition.view().is_leader()
            {
                held.partition.send(Message::Retain { retention, now });
            }
        }
    }

    async fn apply(&mut self, image: &MetadataImage) {
        let me = self.shared.settings.me;
        let broker_epoch = self.shared.settings.broker_epoch;
        let knows_me = image.brokers.get(&me);
        if knows_me.is_none_or(|broker| broker.epoch != broker_epoch) {
            return;
        }
        self.remove_deleted(image).await;
        let mut topics_changed = self.routing_differs(image);
        for topic in image.topics.values() {
            for (index, partition) in topic.partitions.iter().enumerate() {
                if !partition.replicas.contains(&me) {
                    continue;
                }
                let index = i32::try_from(index).expect("partition numbers fit in 32 bits");
                let tp = TopicPartition {
                    topic: topic.id,
                    partition: index,
                };
                if !self.held.contains_key(&tp) {
                    topics_changed |= self.open(tp, &topic.name);
                }
                self.tell(tp, image);
            }
        }
        if topics_changed {
            self.publish(image);
        }
        self.start_fetchers(image);
    }

    fn routing_differs(&self, image: &MetadataImage) -> bool {
        let routing = self.manager.routing.load();
        routing.by_id.len() != image.topics.len()
            || image.topics.iter().any(|(id, topic)| {
                let known = routing.by_id.get(id);
                known.is_none_or(|route| route.partitions.len() != topic.partitions.len())
            })
    }

    /// Opens the log of a partition that this broker is to hold, and starts its writer.
    fn open(&mut self, tp: TopicPartition, topic: &str) -> bool {
        let (mailbox, receiver) = mpsc::unbounded_channel();
        let held_pending = Arc::new(AtomicBool::new(false));
        let on_held = {
            let mailbox = mailbox.downgrade();
            let pending = Arc::clone(&held_pending);
            Arc::new(move || {
                if !pending.swap(true, Ordering::AcqRel)
                    && let Some(mailbox) = mailbox.upgrade()
                {
                    // A partition that has ended wants to know no more.
                    let _ = mailbox.send(Message::Held);
                }
            })
        };
        let log = match self.manager.store.partition(tp, on_held) {
            Ok(log) => log,
            Err(error) => {
                error!(partition = %tp, %error, "this replica stays closed");
                return false;
            }
        };
        let actor = Actor::new(Parts {
            shared: Arc::clone(&self.shared),
            log,
            mailbox: receiver,
            own_mailbox: mailbox.downgrade(),
            held_pending,
        });
        let partition = Arc::new(Partition::new(
            tp,
            Arc::from(topic),
            mailbox,
            actor.published(),
            Arc::clone(&self.shared.inbox),
        ));
        exec::spawn("partition", actor.run());
        let told = None;
        self.held.insert(tp, Held { partition, told });
        true
    }

    /// Tells a partition what the image says of it, if that is news.
    fn tell(&mut self, tp: TopicPartition, image: &MetadataImage) {
        let (Some(held), Some(meta)) = (self.held.get_mut(&tp), PartitionMeta::of(image, tp))
        else {
            return;
        };
        if held.told.as_deref() != Some(&meta) {
            let meta = Arc::new(meta);
            held.told = Some(Arc::clone(&meta));
            held.partition.send(Message::Image(meta));
        }
    }

    async fn remove_deleted(&mut self, image: &MetadataImage) {
        let gone: Vec<_> = self
            .held
            .keys()
            .filter(|tp| !image.topics.contains_key(&tp.topic))
            .copied()
            .collect();
        for tp in &gone {
            if let Some(held) = self.held.remove(tp) {
                info!(partition = %tp, topic = held.partition.topic(), "the topic was deleted");
                stop(&held.partition).await;
            }
        }
        let mut topics: Vec<_> = gone.iter().map(|tp| tp.topic).collect();
        topics.dedup();
        for topic in topics {
            if let Err(error) = self.manager.store.delete_topic(topic) {
                warn!(%topic, %error, "the deleted topic's records stay on disk");
            }
        }
    }

    fn publish(&self, image: &MetadataImage) {
        let mut routing = Routing::default();
        for topic in image.topics.values() {
            let partitions = (0..topic.partitions.len()).map(|index| {
                let partition = i32::try_from(index).ok()?;
                let topic = topic.id;
                let held = self.held.get(&TopicPartition { topic, partition })?;
                Some(Arc::clone(&held.partition))
            });
            let route = Arc::new(TopicRoute {
                id: topic.id,
                name: Arc::from(topic.name.as_str()),
                partitions: partitions.collect(),
            });
            routing.by_id.insert(topic.id, Arc::clone(&route));
            routing.by_name.insert(topic.name.clone(), route);
        }
        self.manager.routing.store(Arc::new(routing));
        // Fetchers find their partitions by the routing.
        self.shared.following.send_modify(|version| *version += 1);
    }

    /// One fetcher for each other broker; it sleeps while it has nothing to follow there.
    fn start_fetchers(&mut self, image: &MetadataImage) {
        for id in image
            .brokers
            .keys()
            .filter(|id| **id != self.shared.settings.me)
        {
            if self.fetchers.contains_key(id) {
                continue;
            }
            let parts = FetcherParts {
                leader: *id,
                manager: Arc::clone(&self.manager),
                settings: self.shared.settings.clone(),
                config: Arc::clone(&self.manager.config),
                meta: self.manager.meta.clone(),
                store: self.manager.store.clone(),
                following: self.shared.following.subscribe(),
                ended: self.ended.subscribe(),
            };
            let task = exec::spawn("fetcher", fetcher::run(parts));
            self.fetchers.insert(*id, task);
        }
    }

    /// Stops fetching, then every partition.
    async fn end(self) {
        self.ended.send_replace(true);
        for fetcher in self.fetchers.into_values() {
            // It ended, or it panicked and has said so.
            let _ = fetcher.await;
        }
        self.manager.routing.store(Arc::default());
        for held in self.held.values() {
            stop(&held.partition).await;
        }
        if let Err(error) = self.manager.store.checkpoint() {
            warn!(%error, "high watermarks are not checkpointed");
        }
    }
}

async fn stop(partition: &Partition) {
    let (done, ended) = oneshot::channel();
    partition.send(Message::Stop { done });
    // An error means that it has ended already.
    let _ = ended.await;
}
