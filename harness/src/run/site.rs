//! The cluster under test: one of our own in some runtime, or somebody else's.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use nemesis::NodeState;
use tokio::time::Instant;

use crate::artifacts::Artifacts;
use crate::cli::{DurabilityName, RunArgs, Target};
use crate::kafka::{Brokers, ClusterView, CreateTopic, RequestError, newest};
use crate::runtime::{self, ClusterSpec, Program, Runtime, RuntimeKind};

/// The cluster comes up within this time, or never.
const UP_WITHIN: Duration = Duration::from_secs(40);
const WITHIN: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_millis(100);
/// WAL files are this small, so that rolls and reads from disk happen in every run.
const WAL_ROLL_BYTES: u64 = 8 << 20;
/// A follower that is cut off leaves the in-sync replicas within a fault, not after it: what is
/// acknowledged then rests on the fewest copies that the promise allows.
pub const LAG_MAX_MS: u64 = 2_000;

/// A cluster that is up.
pub struct Site {
    /// Who can kill and cut; nobody in somebody else's cluster.
    pub runtime: Option<Arc<dyn Runtime>>,
    /// Each broker, to ask it.
    pub brokers: Arc<Brokers>,
    /// `bootstrap.servers`.
    pub bootstrap: String,
    /// Where each broker's `/metrics` are.
    pub admin: Vec<(i32, String)>,
}

impl Site {
    /// Brings up a cluster of our own.
    ///
    /// # Errors
    /// Where the runtime cannot; nothing is left then.
    pub async fn own(
        kind: RuntimeKind,
        artifacts: &Artifacts,
        args: &RunArgs,
        seed: u64,
        spec: ClusterSpec,
    ) -> anyhow::Result<Self> {
        let spec = ClusterSpec {
            broker_args: broker_args(args, seed),
            ..spec
        };
        Self::start(kind, artifacts, &spec).await
    }

    /// Brings up the cluster of that specification.
    ///
    /// # Errors
    /// Where the runtime cannot; nothing is left then.
    pub async fn start(
        kind: RuntimeKind,
        artifacts: &Artifacts,
        spec: &ClusterSpec,
    ) -> anyhow::Result<Self> {
        let runtime = runtime::up(kind, spec, artifacts).await?;
        match Self::around(runtime.clone(), spec.program) {
            Ok(site) => Ok(site),
            Err(error) => {
                runtime.down().await?;
                Err(error)
            }
        }
    }

    fn around(runtime: Arc<dyn Runtime>, program: Program) -> anyhow::Result<Self> {
        let mut addresses = Vec::new();
        let mut admin = Vec::new();
        for node in runtime.nodes() {
            let id = i32::try_from(node.0).context("more nodes than broker ids")?;
            addresses.push((id, runtime.client_address(node)?.to_string()));
            // Only the reference broker has such a listener.
            if program == Program::Broker {
                admin.push((id, runtime.admin_address(node)?.to_string()));
            }
        }
        Ok(Self {
            brokers: Arc::new(Brokers::new(addresses)),
            bootstrap: runtime.bootstrap(),
            admin,
            runtime: Some(runtime),
        })
    }

    /// Finds somebody else's cluster.
    ///
    /// # Errors
    /// Where none of the addresses answers.
    pub async fn external(bootstrap: &str) -> anyhow::Result<Self> {
        let brokers = Brokers::discover(bootstrap, WITHIN)
            .await
            .with_context(|| format!("no cluster at --bootstrap {bootstrap}"))?;
        Ok(Self {
            runtime: None,
            brokers: Arc::new(brokers),
            bootstrap: bootstrap.to_owned(),
            admin: Vec::new(),
        })
    }

    /// Waits until every broker answers, knows all the others and a controller.
    ///
    /// # Errors
    /// Where that takes too long; the message says what was seen last.
    pub async fn ready(&self) -> anyhow::Result<()> {
        let all: BTreeSet<i32> = self.brokers.ids().into_iter().collect();
        let deadline = Instant::now() + UP_WITHIN;
        loop {
            let views = self.brokers.views(None, WITHIN).await;
            let complete = |view: &ClusterView| {
                let known: BTreeSet<i32> = view.brokers.iter().map(|b| b.id).collect();
                view.controller.is_some() && known == all
            };
            if views.len() == all.len() && views.values().all(complete) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let seen: Vec<String> = views
                    .iter()
                    .map(|(id, view)| {
                        let known: Vec<i32> = view.brokers.iter().map(|b| b.id).collect();
                        format!(
                            "broker {id} knows {known:?}, controller {:?}",
                            view.controller
                        )
                    })
                    .collect();
                bail!(
                    "the cluster did not come up within {} s: {}; the brokers' logs are in the \
                     run's folder",
                    UP_WITHIN.as_secs(),
                    if seen.is_empty() {
                        "no broker answers".to_owned()
                    } else {
                        seen.join("; ")
                    }
                );
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Creates a topic and waits until every broker knows a leader, and all replicas in sync, for
    /// each of its partitions. Returns how many partitions it has.
    ///
    /// # Errors
    /// Where the topic cannot be created, or has no leaders in time.
    pub async fn create_topic(&self, name: &str, args: &RunArgs) -> anyhow::Result<i32> {
        // Of somebody else's cluster we know only now how many brokers there are.
        let brokers = i16::try_from(self.brokers.ids().len()).unwrap_or(i16::MAX);
        let factor = match args.replication_factor {
            Some(asked) => asked,
            None => args.replication_factor().min(brokers),
        };
        let min = args.min_insync_replicas().min(i32::from(factor));
        let topic = CreateTopic {
            name,
            partitions: args.partitions(),
            replication_factor: factor,
            min_insync_replicas: Some(min),
            settings: &args.topic_config,
        };
        let auto_create = match self.brokers.create_topic(&topic, WITHIN * 5).await {
            Ok(()) => false,
            // A broker without CreateTopics may make topics that are asked for.
            Err(RequestError::Unsupported { .. }) => true,
            Err(error) => return Err(error).context(format!("topic {name} cannot be created")),
        };
        let wanted = (!auto_create).then(|| args.partitions());
        let deadline = Instant::now() + UP_WITHIN;
        loop {
            if auto_create {
                self.brokers.touch_topic(name, WITHIN).await;
            }
            let views = self.brokers.views(Some(name), WITHIN).await;
            if let Some(partitions) = served(&views, self.brokers.ids().len(), wanted) {
                return Ok(partitions);
            }
            if Instant::now() > deadline {
                let newest = newest(&views);
                bail!("topic {name} has no leader for each partition: {newest:?}");
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Starts whichever brokers are stopped, and leaves the cluster to the user.
    ///
    /// # Errors
    /// Where a broker does not come up, or the mark that keeps it cannot be written.
    pub async fn keep(&self) -> anyhow::Result<()> {
        let Some(runtime) = &self.runtime else {
            return Ok(());
        };
        runtime.keep()?;
        for node in runtime.nodes() {
            if matches!(runtime.state(node).await?, NodeState::Stopped { .. }) {
                runtime.start(node).await?;
            }
        }
        self.ready().await
    }

    /// Takes the cluster down, if it is ours.
    ///
    /// # Errors
    /// Where something is left.
    pub async fn down(&self) -> anyhow::Result<()> {
        if let Some(runtime) = &self.runtime {
            runtime.down().await?;
        }
        Ok(())
    }
}

/// The number of partitions, once each broker sees a leader and a full ISR for each of them.
fn served(
    views: &std::collections::BTreeMap<i32, ClusterView>,
    brokers: usize,
    wanted: Option<i32>,
) -> Option<i32> {
    let count = i32::try_from(views.values().next()?.partitions.len()).ok()?;
    let full = |view: &ClusterView| {
        i32::try_from(view.partitions.len()) == Ok(count)
            && view.partitions.values().all(|partition| {
                partition.leader.is_some() && partition.isr.len() == partition.replicas.len()
            })
    };
    let enough = count > 0 && wanted.is_none_or(|wanted| wanted == count);
    (enough && views.len() == brokers && views.values().all(full)).then_some(count)
}

/// Settings of every broker of our own cluster.
fn broker_args(args: &RunArgs, seed: u64) -> Vec<String> {
    let mut arguments = match args.target.target {
        Target::Broker => reference_args(args, seed),
        Target::Kafka => kafka_args(args),
    };
    arguments.extend(args.target.broker_settings());
    arguments
}

/// Properties of Apache Kafka.
fn kafka_args(args: &RunArgs) -> Vec<String> {
    let mut properties = vec![format!(
        "min.insync.replicas={}",
        args.min_insync_replicas()
    )];
    properties.extend(kafka_durability(args.durability()).map(str::to_owned));
    properties
}

/// Kafka leaves syncing to the operating system, unless it is to sync after each message.
pub(crate) fn kafka_durability(durability: DurabilityName) -> Option<&'static str> {
    match durability {
        DurabilityName::Fsync => Some("log.flush.interval.messages=1"),
        DurabilityName::Replicated => None,
    }
}

/// Flags of the reference broker.
fn reference_args(args: &RunArgs, seed: u64) -> Vec<String> {
    let durability = match args.durability() {
        DurabilityName::Fsync => "fsync",
        DurabilityName::Replicated => "replicated",
    };
    let settings = [
        ("--wal-roll-bytes", WAL_ROLL_BYTES.to_string()),
        ("--durability", durability.to_owned()),
        (
            "--min-insync-replicas",
            args.min_insync_replicas().to_string(),
        ),
        ("--replica-lag-time-max-ms", LAG_MAX_MS.to_string()),
        ("--seed", seed.to_string()),
    ];
    let mut arguments: Vec<String> = settings
        .into_iter()
        .flat_map(|(flag, value)| [flag.to_owned(), value])
        .collect();
    if let Some(bug) = args.seeded_bug {
        arguments.extend(["--seeded-bug".to_owned(), bug.name().to_owned()]);
    }
    arguments
}
