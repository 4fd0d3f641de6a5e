//! The runtime that needs nothing: brokers as plain processes on the loopback, as anybody.
//!
//! Each broker listens on an address that nobody is told, 127.N.1.ID; what it advertises, and
//! where its peers and the clients go, is 127.N.0.ID, where this process has a door for each of
//! its listeners ([`door`]). What crosses a door belongs to a link, from one node (or the clients)
//! to another, and links can be cut, slowed and reset ([`links`]). Whose a connection is, the
//! kernel tells ([`caller`]), so a broker needs no other settings than anywhere else.
//!
//! It is less than packets: the kernel accepts at a door whatever the link behind it does, and
//! acknowledges what is written; nothing is lost or overtaken; whoever knows a broker's own
//! address goes around. Each fault's fidelity says so (`harness list nemeses`).
//!
//! When the harness dies, the kernel ends the brokers; `ledger` finds what is left all the same.

mod agent;
mod caller;
mod door;
pub mod ledger;
mod links;
mod probe;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use nemesis::agent::{AgentCommand, AgentReply};
use nemesis::{Cluster, ClusterError, Listener, NodeId, NodeState, Ports, WireOrder, WireStatus};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use self::agent::{Taken, at};
use self::caller::Callers;
use self::door::Door;
use self::links::{End, Links};
use self::probe::Tickets;
use super::plan::{self, Node, Program};
use super::slot::{Slot, refused};
use super::spawn::Spawner;
use super::{ClusterSpec, Healed, Runtime, RuntimeError, RuntimeKind, data, link_or_copy};
use crate::artifacts::Artifacts;
use crate::wire::Fronts;

/// Listeners with a door; the admin listener is asked directly, as it is no part of any fault.
const LISTENERS: [Listener; 3] = [
    Listener::Client,
    Listener::Replication,
    Listener::Controller,
];
/// Networks of the loopback that are tried: 127.16.0.0 to 127.250.0.0. Others may use the first.
const NETWORKS: std::ops::RangeInclusive<u8> = 16..=250;

/// One node.
struct Seat {
    node: Node,
    /// Where its broker really listens.
    behind: Ipv4Addr,
    data: PathBuf,
    log: PathBuf,
    broker: Slot,
}

/// A cluster of plain processes.
pub struct Local {
    spec: ClusterSpec,
    nodes: Vec<Node>,
    seats: BTreeMap<NodeId, Seat>,
    program: PathBuf,
    links: Arc<Links>,
    callers: Arc<Callers>,
    tickets: Arc<Tickets>,
    taken: Taken,
    doors: Mutex<Vec<AbortHandle>>,
    /// In front of the clients' doors, if requests are to be hurt.
    fronts: Fronts,
    spawner: Spawner,
}

/// Whether this system can do it; if not, why.
pub fn allowed() -> Result<(), String> {
    let address = (Ipv4Addr::new(127, *NETWORKS.start(), 0, 1), 0);
    std::net::TcpListener::bind(address).map_err(|error| {
        format!(
            "its loopback is not all of 127.0.0.0/8 ({error}), as it is on Linux; on other systems \
             the addresses would have to be set up by hand"
        )
    })?;
    caller::can_be_found()
        .map_err(|error| format!("/proc does not tell whose a connection is ({error})"))
}

/// Ends the processes that a dead run left, and says which.
pub fn end_processes(journal: &Path, healed: &mut Healed) -> Result<(), RuntimeError> {
    let ledger = ledger::beside(journal);
    let ending = format!("ending the processes of {}", ledger.display());
    let ended = ledger::end_all(&ledger).map_err(RuntimeError::at(ending))?;
    healed.removed.extend(ended);
    Ok(())
}

/// Brings a cluster up; see [`super::up`].
pub async fn up(
    spec: &ClusterSpec,
    artifacts: &Artifacts,
) -> Result<Arc<dyn Runtime>, RuntimeError> {
    let program = match spec.program {
        Program::Broker => artifacts.broker.clone(),
        Program::Echo => artifacts.agent.clone(),
        Program::Kafka => {
            return Err(RuntimeError::Failed {
                what: "starting Apache Kafka as plain processes".to_owned(),
                why: "it runs in containers only (--runtime docker)".to_owned(),
            });
        }
    };
    let (network, listeners) = network(spec.nodes).await?;
    let node = |id: NodeId| Node::direct(id, address(network, 0, id));
    let mut cluster = Local {
        spec: spec.clone(),
        nodes: plan::ids(spec.nodes).map(node).collect(),
        seats: BTreeMap::new(),
        program,
        links: Links::new(),
        callers: Arc::default(),
        tickets: Arc::default(),
        taken: Taken::default(),
        doors: Mutex::default(),
        fronts: Fronts::default(),
        spawner: Spawner::start(),
    };
    let begun = cluster.begin(network, listeners).await;
    let cluster = Arc::new(cluster);
    if let Err(error) = begun {
        // The first error is the one to tell.
        let _ = cluster.down().await;
        return Err(error);
    }
    Ok(cluster)
}

/// 127.N.SIDE.ID: the doors on side 0, the brokers on side 1.
fn address(network: u8, side: u8, id: NodeId) -> Ipv4Addr {
    let id = u8::try_from(id.0).unwrap_or(u8::MAX);
    Ipv4Addr::new(127, network, side, id)
}

type Listeners = Vec<(NodeId, Listener, TcpListener)>;

/// Finds a network that nobody uses, and takes it: by listening at all its doors.
async fn network(nodes: u32) -> Result<(u8, Listeners), RuntimeError> {
    // Not everybody begins at the same: two clusters that start at once would meet each time.
    let count = u32::from(NETWORKS.end() - NETWORKS.start()) + 1;
    let first = std::process::id() % count;
    let mut last = None;
    for step in 0..count {
        let offset = (first + step) % count;
        let network = NETWORKS.start() + u8::try_from(offset).unwrap_or(0);
        match take(network, nodes).await {
            Ok(listeners) => return Ok((network, listeners)),
            Err(error) => last = Some(error),
        }
    }
    let why = last.map(|error| error.to_string()).unwrap_or_default();
    Err(RuntimeError::Failed {
        what: "finding a network on the loopback that nobody uses".to_owned(),
        why: format!(
            "{why}; somebody who listens on ports {} to {} of every address is in the way",
            Ports::REFERENCE.client,
            Ports::REFERENCE.admin
        ),
    })
}

async fn take(network: u8, nodes: u32) -> io::Result<Listeners> {
    let mut listeners = Vec::new();
    for id in plan::ids(nodes) {
        for listener in LISTENERS {
            let port = Ports::REFERENCE.of(listener);
            let door = TcpListener::bind((address(network, 0, id), port)).await?;
            listeners.push((id, listener, door));
        }
        for listener in [LISTENERS.as_slice(), &[Listener::Admin]].concat() {
            // Only to see that it is free: the broker will listen there.
            let port = Ports::REFERENCE.of(listener);
            TcpListener::bind((address(network, 1, id), port)).await?;
        }
    }
    Ok(listeners)
}

impl Local {
    async fn begin(&mut self, network: u8, listeners: Listeners) -> Result<(), RuntimeError> {
        let data = data::make(&self.spec.dir)?;
        let logs = self.spec.dir.join("brokers");
        let making = format!("making {}", logs.display());
        fs::create_dir_all(&logs).map_err(RuntimeError::at(making))?;
        for node in &mut self.nodes {
            let (id, behind) = (node.id, address(network, 1, node.id));
            // No door: it is asked by the harness alone.
            node.admin = at(behind, Listener::Admin).into();
            if self.spec.wire {
                let opened = self.fronts.open(id, node.client);
                node.client = opened.map_err(RuntimeError::at("opening a front for clients"))?;
            }
            let seat = Seat {
                node: *node,
                behind,
                data: data.join(id.0.to_string()),
                log: logs.join(format!("{}.log", id.0)),
                broker: Slot::new(id),
            };
            self.seats.insert(id, seat);
        }
        for (node, listener, door) in listeners {
            let behind = self.seat(node)?.behind;
            let door = Door {
                node,
                listener: door,
                behind: at(behind, listener).into(),
                links: self.links.clone(),
                callers: self.callers.clone(),
                tickets: self.tickets.clone(),
            };
            let serving = tokio::spawn(door.serve()).abort_handle();
            self.doors().push(serving);
        }
        for node in self.nodes() {
            self.start(node).await?;
        }
        Ok(())
    }

    fn doors(&self) -> std::sync::MutexGuard<'_, Vec<AbortHandle>> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seat(&self, node: NodeId) -> Result<&Seat, ClusterError> {
        self.seats.get(&node).ok_or(ClusterError::NoSuchNode(node))
    }

    /// What the broker of a seat is told: it listens behind its doors, and advertises them.
    fn arguments(&self, seat: &Seat) -> Vec<String> {
        let more = &self.spec.broker_args;
        let data = seat.data.display().to_string();
        let mut arguments = self
            .spec
            .program
            .arguments(&self.nodes, &seat.node, &data, more);
        if self.spec.program == Program::Echo {
            arguments.push(format!("--address={}", seat.behind));
            return arguments;
        }
        let door = at(seat.node.ip, Listener::Replication);
        arguments.push(format!("--replication-advertised={door}"));
        for (flag, listener) in [
            ("--client-listen", Listener::Client),
            ("--replication-listen", Listener::Replication),
            ("--controller-listen", Listener::Controller),
            ("--admin-listen", Listener::Admin),
        ] {
            // In place of what it is told where it has an address of its own.
            arguments.retain(|argument| !argument.starts_with(flag));
            arguments.push(format!("{flag}={}", at(seat.behind, listener)));
        }
        arguments
    }
}

#[async_trait]
impl Cluster for Local {
    fn nodes(&self) -> Vec<NodeId> {
        self.nodes.iter().map(|node| node.id).collect()
    }

    fn address(&self, node: NodeId) -> Result<Ipv4Addr, ClusterError> {
        self.seat(node).map(|seat| seat.node.ip)
    }

    fn ports(&self) -> Ports {
        Ports::REFERENCE
    }

    fn question(&self) -> (Listener, String) {
        self.spec.program.question()
    }

    fn client_addresses(&self) -> Vec<Ipv4Addr> {
        vec![Ipv4Addr::LOCALHOST]
    }

    async fn agent(
        &self,
        node: NodeId,
        command: &AgentCommand,
    ) -> Result<AgentReply, ClusterError> {
        self.seat(node)?;
        Ok(self.obey(node, command).await)
    }

    async fn reach(
        &self,
        node: NodeId,
        listener: Listener,
        limit: Duration,
    ) -> Result<Option<Duration>, ClusterError> {
        let to = at(self.address(node)?, listener);
        let path = self.path(End::Clients, to);
        let (path, address) = path.map_err(|why| refused("reaching a node", node, &why))?;
        let result = probe::probe(path, address, to, limit, None).await;
        Ok(result.connect_us.map(Duration::from_micros))
    }

    async fn kill(&self, node: NodeId) -> Result<(), ClusterError> {
        self.seat(node)?.broker.kill().await
    }

    async fn stop(&self, node: NodeId, grace: Duration) -> Result<(), ClusterError> {
        self.seat(node)?.broker.stop(grace).await
    }

    async fn start(&self, node: NodeId) -> Result<(), ClusterError> {
        let seat = self.seat(node)?;
        if seat.broker.is_taken() {
            return Ok(());
        }
        let failed = |error: io::Error| refused("starting the broker", node, &error);
        fs::create_dir_all(&seat.data).map_err(failed)?;
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&seat.log);
        let log = log.map_err(failed)?;
        let mut command = Command::new(&self.program);
        // Settings come from the arguments alone, as in a container.
        command.args(self.arguments(seat)).env_clear();
        command.stdout(log.try_clone().map_err(failed)?).stderr(log);
        let broker = self.spawner.silent(command, None).await.map_err(failed)?;
        let ledger = ledger::beside(&self.spec.journal);
        let noted = ledger::note(&ledger, broker.pid());
        self.callers.is(node, broker.pid());
        seat.broker.put(broker);
        noted.map_err(|error| refused("writing the broker's process down", node, &error))
    }

    async fn pause(&self, node: NodeId) -> Result<(), ClusterError> {
        self.seat(node)?.broker.pause().await
    }

    async fn resume(&self, node: NodeId) -> Result<(), ClusterError> {
        self.seat(node)?.broker.resume()
    }

    async fn wire(&self, node: NodeId, order: &WireOrder) -> Result<Vec<WireStatus>, ClusterError> {
        self.fronts.obey(node, order)
    }

    async fn state(&self, node: NodeId) -> Result<NodeState, ClusterError> {
        Ok(self.seat(node)?.broker.state())
    }
}

#[async_trait]
impl Runtime for Local {
    fn kind(&self) -> RuntimeKind {
        RuntimeKind::Local
    }

    fn run_id(&self) -> &str {
        &self.spec.run_id
    }

    fn bootstrap(&self) -> String {
        let addresses: Vec<String> = self.nodes.iter().map(|n| n.client.to_string()).collect();
        addresses.join(",")
    }

    fn client_address(&self, node: NodeId) -> Result<SocketAddr, ClusterError> {
        plan::find(&self.nodes, node).map(|node| node.client)
    }

    fn direct_address(&self, node: NodeId) -> Result<SocketAddr, ClusterError> {
        let behind = self.fronts.behind(node);
        behind.map_or_else(|| self.client_address(node), Ok)
    }

    fn admin_address(&self, node: NodeId) -> Result<SocketAddr, ClusterError> {
        plan::find(&self.nodes, node).map(|node| node.admin)
    }

    fn log_file(&self, node: NodeId) -> Result<PathBuf, ClusterError> {
        self.seat(node).map(|seat| seat.log.clone())
    }

    async fn copy_data(&self, node: NodeId, to: &Path) -> Result<(), ClusterError> {
        let what = "copying the data directory";
        if !matches!(self.state(node).await?, NodeState::Stopped { .. }) {
            return Err(refused(what, node, &"its broker runs"));
        }
        let data = &self.seat(node)?.data;
        link_or_copy(data, to).map_err(|error| refused(what, node, &error))
    }

    async fn restart_all(&self) -> Result<(), ClusterError> {
        let nodes = self.nodes();
        let kills = nodes.iter().map(|node| self.kill(*node));
        futures_util::future::try_join_all(kills).await?;
        for node in nodes {
            self.start(node).await?;
        }
        Ok(())
    }

    fn keep(&self) -> Result<(), RuntimeError> {
        Err(RuntimeError::Failed {
            what: "keeping the cluster".to_owned(),
            why: "its links end with the harness; Docker could".to_owned(),
        })
    }

    async fn down(&self) -> Result<(), RuntimeError> {
        for node in self.seats.keys() {
            self.kill(*node).await?;
        }
        for door in self.doors().drain(..) {
            door.abort();
        }
        end_processes(&self.spec.journal, &mut Healed::default())?;
        data::remove(&self.spec.dir, &mut Healed::default())
    }
}
