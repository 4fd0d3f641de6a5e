//! The runtime of a cluster that somebody else set up: its processes are worked by commands of
//! theirs (`--driver FILE`), and what became of them is seen over Kafka's protocol alone.
//!
//! * [`file`]: `driver.toml`; [`commands`] and [`shell`]: its commands, run
//! * [`heal`]: what a killed harness left, taken back at the next start
//!
//! Nothing is believed because a command ended well: a broker is dead when nobody answers at its
//! address, paused when connections are accepted and nothing is answered, and well when
//! ApiVersions is answered. Links cannot be cut from here, and disks cannot be read.

mod commands;
pub mod file;
mod heal;
mod shell;

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{join_all, try_join_all};
use nemesis::agent::{AgentCommand, AgentReply, Probe, ProbeResult, work};
use nemesis::journal::Lease;
use nemesis::{Cluster, ClusterError, FaultKind, Journal, Listener, NodeId, NodeState, Ports};
use tokio::time::{Instant, sleep};

use self::file::{NodeEntry, Verb};
use super::plan::API_VERSIONS;
use super::{Runtime, RuntimeError, RuntimeKind};

pub use commands::FileDriver;
pub use heal::heal;

/// A broker that is well answers ApiVersions within this; one that does not stands still.
const ANSWER_LIMIT: Duration = Duration::from_millis(1000);
/// What a command did is seen within this, or it did not do it.
const SEEN_LIMIT: Duration = Duration::from_secs(10);
/// A broker that was started answers within this.
const UP_LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);
/// Of the lease for brokers that were started for a run: no fault has this number.
const STARTED: u32 = 0;
const STARTED_KIND: &str = "started";

/// Who works the processes of a cluster, and knows its brokers.
#[async_trait]
pub trait Driver: Send + Sync {
    /// In words, for the user (`driver.toml`).
    fn name(&self) -> String;

    /// Whether there is a way to do this.
    fn has(&self, verb: Verb) -> bool;

    /// Whether a fault can be done and undone.
    fn offers(&self, kind: FaultKind) -> bool;

    /// The brokers, in the order of their ids.
    async fn nodes(&self) -> Result<Vec<NodeEntry>, String>;

    /// Does something to one of them; what is said on the way goes to a file in `dir`.
    async fn act(&self, node: &NodeEntry, verb: Verb, dir: &Path) -> Result<(), String>;

    /// Everything that one of them has logged; `None`: nobody knows.
    async fn log(&self, node: &NodeEntry) -> Result<Option<Vec<u8>>, String>;

    /// Who has a role, where somebody but the brokers knows. `None`: ask the brokers.
    async fn role_of(&self, role: &str, partition: Option<(&str, u32)>) -> Option<NodeId>;

    /// What [`heal`] needs to work these processes when this harness is dead.
    fn stored(&self) -> serde_json::Value;
}

/// One broker.
#[derive(Clone, Debug)]
struct Place {
    node: NodeId,
    at: SocketAddrV4,
    entry: NodeEntry,
}

/// Somebody else's cluster, whose processes can be worked.
pub struct Driven {
    run_id: String,
    dir: PathBuf,
    places: Vec<Place>,
    driver: Arc<dyn Driver>,
    /// Brokers that were down and have been started for this run.
    started: Mutex<Vec<NodeId>>,
}

/// Takes hold of a cluster: brokers that are down are started, and the journal knows of them.
///
/// # Errors
/// Where a broker does not answer in the end; what was started is stopped again then.
pub async fn up(
    driver: Arc<dyn Driver>,
    run_id: String,
    dir: &Path,
    journal: &Journal,
) -> Result<Arc<Driven>, RuntimeError> {
    let cluster = Arc::new(Driven::of(driver, run_id, dir).await?);
    heal::store(dir, cluster.driver.as_ref())?;
    if let Err(error) = cluster.begin(journal).await {
        // The first error is the one to tell.
        let _ = cluster.down().await;
        return Err(error);
    }
    Ok(cluster)
}

impl Driven {
    async fn of(driver: Arc<dyn Driver>, run_id: String, dir: &Path) -> Result<Self, RuntimeError> {
        let asking = format!("asking {} for the brokers", driver.name());
        let entries = driver.nodes().await.map_err(RuntimeError::at(asking))?;
        let places = try_join_all(entries.into_iter().map(place)).await?;
        Ok(Self {
            run_id,
            dir: dir.to_owned(),
            places,
            driver,
            started: Mutex::default(),
        })
    }

    async fn begin(&self, journal: &Journal) -> Result<(), RuntimeError> {
        let mut down = Vec::new();
        for place in &self.places {
            if matches!(self.state(place.node).await?, NodeState::Stopped { .. }) {
                down.push(place.node);
            }
        }
        if down.is_empty() {
            return Ok(());
        }
        if !self.driver.has(Verb::Start) {
            return Err(RuntimeError::Failed {
                what: format!("brokers {}", listed(&down)),
                why: format!(
                    "they do not answer, and {} has no `start`",
                    self.driver.name()
                ),
            });
        }
        say!("brokers {} are down and are started", listed(&down));
        let lease = Lease {
            fault: STARTED,
            kind: STARTED_KIND.to_owned(),
            nodes: down.clone(),
            tag: STARTED_KIND.to_owned(),
            deadline_ms: u64::MAX,
        };
        let writing = format!("writing {}", journal.path().display());
        journal.lease(&lease).map_err(RuntimeError::at(writing))?;
        *self.started.lock().unwrap_or_else(PoisonError::into_inner) = down.clone();
        try_join_all(down.iter().map(|node| self.start(*node))).await?;
        try_join_all(down.iter().map(|node| self.until_well(*node))).await?;
        Ok(())
    }

    fn place(&self, node: NodeId) -> Result<&Place, ClusterError> {
        let found = self.places.iter().find(|place| place.node == node);
        found.ok_or(ClusterError::NoSuchNode(node))
    }

    async fn act(&self, node: NodeId, verb: Verb) -> Result<(), ClusterError> {
        let place = self.place(node)?;
        let logs = self.dir.join("brokers");
        let done = self.driver.act(&place.entry, verb, &logs).await;
        done.map_err(|why| refused(verb, node, why))
    }

    /// Has a broker end, and waits until nobody answers in its place.
    async fn take_down(&self, node: NodeId, verb: Verb) -> Result<(), ClusterError> {
        let before = self.state(node).await?;
        let done = self.act(node, verb).await;
        // A command may well complain that there is nobody to be ended.
        if !matches!(before, NodeState::Stopped { .. }) {
            done?;
        }
        let gone = |state| matches!(state, NodeState::Stopped { .. });
        self.until(node, verb, gone).await
    }

    /// Waits until what a command was to do is seen.
    async fn until(
        &self,
        node: NodeId,
        verb: Verb,
        wanted: impl Fn(NodeState) -> bool,
    ) -> Result<(), ClusterError> {
        let deadline = Instant::now() + SEEN_LIMIT;
        loop {
            let state = self.state(node).await?;
            if wanted(state) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let at = self.place(node)?.at;
                let seen = match state {
                    NodeState::Running => "still answers",
                    NodeState::Paused => "still accepts connections, and answers nothing",
                    NodeState::Stopped { .. } => "does not accept connections",
                };
                let why = format!("the command ended well, but the broker at {at} {seen}");
                return Err(refused(verb, node, why));
            }
            sleep(POLL).await;
        }
    }

    /// Waits until a broker answers.
    async fn until_well(&self, node: NodeId) -> Result<(), ClusterError> {
        let deadline = Instant::now() + UP_LIMIT;
        while self.state(node).await? != NodeState::Running {
            if Instant::now() >= deadline {
                return Err(ClusterError::TimedOut {
                    what: "coming up after `start`".to_owned(),
                    node,
                    limit: UP_LIMIT,
                });
            }
            sleep(POLL).await;
        }
        Ok(())
    }

    /// Brings a broker back to where it answers, whatever was done to it.
    async fn restore(&self, node: NodeId) -> Result<(), ClusterError> {
        match self.state(node).await? {
            NodeState::Running => return Ok(()),
            NodeState::Paused => self.resume(node).await?,
            NodeState::Stopped { .. } => self.start(node).await?,
        }
        self.until_well(node).await
    }

    /// Ends brokers that were started for a run.
    async fn end(&self, nodes: &[NodeId]) -> Result<(), RuntimeError> {
        for ended in join_all(nodes.iter().map(|node| self.end_one(*node))).await {
            ended?;
        }
        Ok(())
    }

    async fn end_one(&self, node: NodeId) -> Result<(), ClusterError> {
        match self.state(node).await? {
            NodeState::Stopped { .. } => return Ok(()),
            // One that stands still would not hear that it is to end.
            NodeState::Paused if self.driver.has(Verb::Resume) => self.resume(node).await?,
            _ => {}
        }
        match self.driver.has(Verb::Stop) {
            true => self.stop(node, SEEN_LIMIT).await,
            false => self.kill(node).await,
        }
    }

    /// Who has a role, where the driver knows better than the brokers.
    pub async fn role_of(&self, role: &str, partition: Option<(&str, u32)>) -> Option<NodeId> {
        self.driver.role_of(role, partition).await
    }

    /// Stores what the brokers logged in the run's folder; what cannot be had, in words.
    pub async fn gather_logs(&self) -> Vec<String> {
        let mut failures = Vec::new();
        for place in &self.places {
            let path = log_of(&self.dir, place.node);
            let stored = match self.driver.log(&place.entry).await {
                Ok(None) => Ok(()),
                Ok(Some(text)) => std::fs::write(path, text).map_err(|error| error.to_string()),
                Err(why) => Err(why),
            };
            if let Err(why) = stored {
                failures.push(format!("the log of {} cannot be had: {why}", place.node));
            }
        }
        failures
    }

    async fn probe(&self, to: Vec<SocketAddrV4>, limit: Duration) -> Vec<ProbeResult> {
        let order = AgentCommand::Probe(Probe {
            to,
            timeout_ms: u32::try_from(limit.as_millis()).unwrap_or(u32::MAX),
            say: Some(API_VERSIONS.to_owned()),
        });
        let asked = tokio::task::spawn_blocking(move || work::obey(&order)).await;
        asked.expect("a probe does not panic").probes
    }
}

/// Which node that is, and where.
async fn place(entry: NodeEntry) -> Result<Place, RuntimeError> {
    let looking = format!("looking up {}", entry.address);
    let found = tokio::net::lookup_host(&entry.address)
        .await
        .map_err(RuntimeError::at(looking.clone()))?;
    let at = found.into_iter().find_map(|at| match at {
        SocketAddr::V4(at) => Some(at),
        SocketAddr::V6(_) => None,
    });
    let at = at.ok_or(RuntimeError::Failed {
        what: looking,
        why: "it has no IPv4 address".to_owned(),
    })?;
    let node = NodeId(entry.id);
    Ok(Place { node, at, entry })
}

fn log_of(dir: &Path, node: NodeId) -> PathBuf {
    dir.join("brokers").join(format!("{}.log", node.0))
}

fn listed(nodes: &[NodeId]) -> String {
    let names: Vec<String> = nodes.iter().map(|node| node.0.to_string()).collect();
    names.join(", ")
}

fn refused(verb: Verb, node: NodeId, why: String) -> ClusterError {
    ClusterError::Refused {
        what: format!("`{}`", verb.name()),
        node,
        why,
    }
}

/// What a broker's answer to ApiVersions says of its process.
fn state_of(probe: &ProbeResult) -> NodeState {
    if probe.answer_us.is_some() {
        NodeState::Running
    } else if probe.connect_us.is_some() && probe.is_too_late() {
        NodeState::Paused
    } else {
        // Also where something in front accepts for it and hangs up: nobody is behind that.
        NodeState::Stopped { code: None }
    }
}

#[async_trait]
impl Cluster for Driven {
    fn nodes(&self) -> Vec<NodeId> {
        self.places.iter().map(|place| place.node).collect()
    }

    fn address(&self, node: NodeId) -> Result<Ipv4Addr, ClusterError> {
        self.place(node).map(|place| *place.at.ip())
    }

    fn ports(&self) -> Ports {
        let client = self.places.first().map_or(0, |place| place.at.port());
        Ports {
            client,
            ..Ports::REFERENCE
        }
    }

    fn endpoint(&self, node: NodeId, listener: Listener) -> Result<SocketAddrV4, ClusterError> {
        let place = self.place(node)?;
        if listener == Listener::Client {
            return Ok(place.at);
        }
        Err(ClusterError::Refused {
            what: format!("finding the {listener} port"),
            node,
            why: "of somebody else's broker only the client port is known".to_owned(),
        })
    }

    fn healing_limit(&self) -> Duration {
        UP_LIMIT
    }

    fn question(&self) -> (Listener, String) {
        (Listener::Client, API_VERSIONS.to_owned())
    }

    fn client_addresses(&self) -> Vec<Ipv4Addr> {
        Vec::new()
    }

    /// Nothing of ours is on the nodes: only probes are possible, and they are made from here.
    async fn agent(
        &self,
        node: NodeId,
        command: &AgentCommand,
    ) -> Result<AgentReply, ClusterError> {
        let AgentCommand::Probe(order) = command else {
            return Err(ClusterError::Refused {
                what: format!("`{}` of the agent", command.name()),
                node,
                why: "there is no agent on the nodes of somebody else's cluster".to_owned(),
            });
        };
        let limit = Duration::from_millis(u64::from(order.timeout_ms));
        let mut probes = self.probe(order.to.clone(), limit).await;
        if order.say.is_none() {
            for probe in &mut probes {
                if matches!(state_of(probe), NodeState::Stopped { .. }) {
                    probe.connect_us = None;
                }
            }
        }
        Ok(AgentReply {
            ok: true,
            probes,
            ..AgentReply::default()
        })
    }

    async fn reach(
        &self,
        node: NodeId,
        listener: Listener,
        limit: Duration,
    ) -> Result<Option<Duration>, ClusterError> {
        let to = self.endpoint(node, listener)?;
        let begin = Instant::now();
        let probes = self.probe(vec![to], limit).await;
        let answered = probes.iter().any(|probe| probe.answer_us.is_some());
        Ok(answered.then(|| begin.elapsed()))
    }

    async fn kill(&self, node: NodeId) -> Result<(), ClusterError> {
        self.take_down(node, Verb::Kill).await
    }

    async fn stop(&self, node: NodeId, _grace: Duration) -> Result<(), ClusterError> {
        self.take_down(node, Verb::Stop).await
    }

    async fn start(&self, node: NodeId) -> Result<(), ClusterError> {
        match self.state(node).await? {
            NodeState::Running => return Ok(()),
            // A second broker on the same data would be worse than one that stands still.
            NodeState::Paused if self.driver.has(Verb::Resume) => return self.resume(node).await,
            _ => self.act(node, Verb::Start).await?,
        }
        // One that is coming up cannot be told from one that is down: a second order to start it
        // must not come before it accepts.
        let deadline = Instant::now() + SEEN_LIMIT;
        while matches!(self.state(node).await?, NodeState::Stopped { .. })
            && Instant::now() < deadline
        {
            sleep(POLL).await;
        }
        Ok(())
    }

    async fn pause(&self, node: NodeId) -> Result<(), ClusterError> {
        self.act(node, Verb::Pause).await?;
        self.until(node, Verb::Pause, |state| state == NodeState::Paused)
            .await
    }

    async fn resume(&self, node: NodeId) -> Result<(), ClusterError> {
        self.act(node, Verb::Resume).await
    }

    async fn state(&self, node: NodeId) -> Result<NodeState, ClusterError> {
        let at = self.place(node)?.at;
        let probes = self.probe(vec![at], ANSWER_LIMIT).await;
        Ok(probes
            .first()
            .map_or(NodeState::Stopped { code: None }, state_of))
    }
}

#[async_trait]
impl Runtime for Driven {
    fn kind(&self) -> RuntimeKind {
        RuntimeKind::External
    }

    fn run_id(&self) -> &str {
        &self.run_id
    }

    fn bootstrap(&self) -> String {
        let addresses = self.places.iter().map(|place| place.entry.address.clone());
        addresses.collect::<Vec<String>>().join(",")
    }

    fn client_address(&self, node: NodeId) -> Result<SocketAddr, ClusterError> {
        self.place(node).map(|place| SocketAddr::V4(place.at))
    }

    fn admin_address(&self, node: NodeId) -> Result<SocketAddr, ClusterError> {
        self.endpoint(node, Listener::Admin).map(SocketAddr::V4)
    }

    fn log_file(&self, node: NodeId) -> Result<PathBuf, ClusterError> {
        self.place(node).map(|place| log_of(&self.dir, place.node))
    }

    fn restarts(&self) -> bool {
        self.driver.has(Verb::Kill) && self.driver.has(Verb::Start)
    }

    fn copies_data(&self) -> bool {
        false
    }

    async fn copy_data(&self, node: NodeId, _to: &Path) -> Result<(), ClusterError> {
        Err(ClusterError::Refused {
            what: "copying the data directory".to_owned(),
            node,
            why: "the data of somebody else's broker is out of reach".to_owned(),
        })
    }

    async fn restart_all(&self) -> Result<(), ClusterError> {
        let nodes = self.nodes();
        let killed = join_all(nodes.iter().map(|node| self.kill(*node))).await;
        // One that does not die must not keep the others down.
        let started = join_all(nodes.iter().map(|node| self.start(*node))).await;
        killed.into_iter().chain(started).collect()
    }

    fn keep(&self) -> Result<(), RuntimeError> {
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        started.clear();
        Ok(())
    }

    async fn down(&self) -> Result<(), RuntimeError> {
        let started =
            std::mem::take(&mut *self.started.lock().unwrap_or_else(PoisonError::into_inner));
        self.end(&started).await
    }
}
