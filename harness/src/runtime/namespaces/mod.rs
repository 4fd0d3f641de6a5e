//! The runtime without Docker: plain processes in network namespaces, as root or as anybody.
//!
//! The harness runs itself again inside fresh user, network, mount and process namespaces (the
//! agent's `enter`), where it may do as it likes: a bridge, and for each node a holder with a
//! network namespace of its own and a veth pair into the bridge. Faults are the same packets
//! dropped by the same agent as with Docker. When the harness dies, however it dies, the kernel
//! ends every process inside and with them every namespace, link and rule: nothing can be left
//! but the data on disk, which the next start removes.
//!
//! Deliberately absent: limits on CPU and memory, and images; brokers are plain processes.

mod spawn;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use nemesis::agent::{AgentCommand, AgentReply, link::Links};
use nemesis::{Cluster, ClusterError, Listener, NodeId, NodeState, Ports};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep, timeout};

use self::spawn::{Process, Spawner};
use super::plan::{self, Node, Program};
use super::{ClusterSpec, Healed, Runtime, RuntimeError, RuntimeKind, link_or_copy};
use crate::artifacts::Artifacts;

/// Set for the process inside.
const INSIDE: &str = "HARNESS_INTERNAL_NAMESPACES";
/// Why that is so, for the first lines of a run.
const WHY: &str = "HARNESS_INTERNAL_WHY";
/// Nobody else is in our network namespace: any network will do.
const NETWORK: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 0);
const BRIDGE: &str = "cluster";
/// The folder in a run's folder, and the file in it that says that it is ours to remove.
const DATA: &str = "data";
const MARK: &str = ".data-of-a-harness-run";
/// A process that was sent SIGKILL is gone within this, unless the disk hangs.
const DEATH_LIMIT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(2);

/// Whether this process is inside namespaces that [`enter`] made.
pub fn inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Whether the kernel lets this user make the namespaces; if not, why, and what would help.
pub fn allowed() -> Result<(), String> {
    let mut trial = Command::new("/proc/self/exe");
    // SAFETY: between fork and exec only system calls are made, no lock is taken and nothing is
    // allocated.
    unsafe {
        trial.pre_exec(|| {
            let flags = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS;
            if unshare(flags).is_ok() {
                // It works as it is (root). What the trial was for is known: do not go on.
                nix::libc::_exit(0)
            }
            // In two steps: some systems give a user namespace without powers inside it.
            unshare(CloneFlags::CLONE_NEWUSER)?;
            unshare(flags)?;
            nix::libc::_exit(0)
        });
    }
    match trial.status() {
        Ok(_) => Ok(()),
        Err(error) => Err(format!(
            "the kernel refuses user and network namespaces ({error}); {}",
            remedy()
        )),
    }
}

/// What forbids user namespaces here, as far as the kernel tells, and how to allow them.
fn remedy() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let knobs = [
        (
            "kernel.apparmor_restrict_unprivileged_userns",
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "0",
        ),
        (
            "kernel.unprivileged_userns_clone",
            "/proc/sys/kernel/unprivileged_userns_clone",
            "0",
            "1",
        ),
        (
            "user.max_user_namespaces",
            "/proc/sys/user/max_user_namespaces",
            "0",
            "10000",
        ),
    ];
    for (name, path, bad, good) in knobs {
        if read(path).trim() == bad {
            return format!("allow them: sudo sysctl -w {name}={good}");
        }
    }
    "run as root, or with user namespaces allowed (inside a container: --privileged, or a seccomp \
     profile that allows unshare)"
        .to_owned()
}

/// Why namespaces were chosen, as the program outside found.
pub fn why() -> String {
    std::env::var(WHY).unwrap_or_else(|_| "inside namespaces already".to_owned())
}

/// Becomes this very program again, inside.
pub fn enter(artifacts: &Artifacts, why: &str) -> Result<Infallible, RuntimeError> {
    let failed = |what: &str| RuntimeError::at::<io::Error>(what.to_owned());
    let program = std::env::current_exe().map_err(failed("finding this program"))?;
    let mut again = reentry(artifacts, &program, std::env::args_os().skip(1));
    let error = again.env(WHY, why).exec();
    Err(failed("entering namespaces")(error))
}

/// The command that runs a program inside.
pub fn reentry<A: AsRef<std::ffi::OsStr>>(
    artifacts: &Artifacts,
    program: &Path,
    arguments: impl IntoIterator<Item = A>,
) -> Command {
    let mut command = Command::new(&artifacts.agent);
    command.args(["enter", "--"]).arg(program).args(arguments);
    command.env(INSIDE, "1").envs(artifacts.for_reentry());
    command
}

/// Removes the data of a run that is over, if it is marked as such.
pub fn remove_data(run_dir: &Path, healed: &mut Healed) -> Result<(), RuntimeError> {
    let data = run_dir.join(DATA);
    if !data.join(MARK).exists() {
        return Ok(());
    }
    let removing = format!("removing {}", data.display());
    fs::remove_dir_all(&data).map_err(RuntimeError::at(removing))?;
    healed.removed.push(format!("data {}", data.display()));
    Ok(())
}

struct Pod {
    node: Node,
    data: PathBuf,
    log: PathBuf,
    namespace: Arc<OwnedFd>,
    holder: Process,
    /// The broker, once it was started; ended ones stay until the next start.
    broker: Mutex<Option<Process>>,
}

/// A cluster in network namespaces.
pub struct Namespaces {
    spec: ClusterSpec,
    nodes: Vec<Node>,
    pods: BTreeMap<NodeId, Pod>,
    program: PathBuf,
    agent: PathBuf,
    spawner: Spawner,
}

/// Brings a cluster up; see [`super::up`].
pub async fn up(
    spec: &ClusterSpec,
    artifacts: &Artifacts,
) -> Result<Arc<dyn Runtime>, RuntimeError> {
    if !inside() {
        return Err(RuntimeError::Failed {
            what: "starting brokers in network namespaces".to_owned(),
            why: "this process has not entered namespaces of its own".to_owned(),
        });
    }
    let node = |id: NodeId| Node::direct(id, plan::address_in(NETWORK, id.0));
    let program = match spec.program {
        Program::Broker => artifacts.broker.clone(),
        Program::Echo => artifacts.agent.clone(),
        Program::Kafka => {
            return Err(RuntimeError::Failed {
                what: "starting Apache Kafka in network namespaces".to_owned(),
                why: "it runs in containers only (--runtime docker)".to_owned(),
            });
        }
    };
    let mut cluster = Namespaces {
        spec: spec.clone(),
        nodes: plan::ids(spec.nodes).map(node).collect(),
        pods: BTreeMap::new(),
        program,
        agent: artifacts.agent.clone(),
        spawner: Spawner::start(),
    };
    let begun = cluster.begin().await;
    let cluster = Arc::new(cluster);
    if let Err(error) = begun {
        // The first error is the one to tell.
        let _ = cluster.down().await;
        return Err(error);
    }
    Ok(cluster)
}

impl Namespaces {
    async fn begin(&mut self) -> Result<(), RuntimeError> {
        let data = self.spec.dir.join(DATA);
        let logs = self.spec.dir.join("brokers");
        for dir in [&data, &logs] {
            let making = format!("making {}", dir.display());
            fs::create_dir_all(dir).map_err(RuntimeError::at(making))?;
        }
        fs::write(data.join(MARK), "").map_err(RuntimeError::at("marking the data"))?;
        self.bridge()
            .map_err(RuntimeError::at("making a bridge in our network namespace"))?;
        for node in self.nodes.clone() {
            let pod = self.pod(node, &data, &logs).await?;
            self.pods.insert(node.id, pod);
        }
        for node in self.nodes() {
            self.start(node).await?;
        }
        Ok(())
    }

    /// The bridge outlives a cluster that went down: a second one in this process uses it too.
    fn bridge(&self) -> io::Result<()> {
        let mut links = Links::open()?;
        match links.add_bridge(BRIDGE) {
            Ok(()) => links.add_address(BRIDGE, plan::address_in(NETWORK, 0), 24),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    }

    async fn pod(&self, node: Node, data: &Path, logs: &Path) -> Result<Pod, RuntimeError> {
        let id = node.id;
        let failed = |what: &str| RuntimeError::at::<io::Error>(format!("{what} for {id}"));
        let mut command = Command::new(&self.agent);
        command.args(["hold", "--new-network"]).env_clear();
        let starting = failed("starting a holder");
        let (holder, ready) = self
            .spawner
            .talking(command, None)
            .await
            .map_err(starting)?;
        if !ready.contains("\"ok\":true") {
            return Err(failed("starting a holder")(io::Error::other(ready)));
        }
        let namespace = fs::File::open(format!("/proc/{}/ns/net", holder.pid()));
        let namespace: OwnedFd = namespace.map_err(failed("opening the namespace"))?.into();
        let veth = format!("node{}", id.0);
        Links::open()
            .and_then(|mut links| links.add_veth(&veth, BRIDGE, "eth0", namespace.as_fd()))
            .map_err(failed("making a veth pair"))?;
        let pod = Pod {
            node,
            data: data.join(id.0.to_string()),
            log: logs.join(format!("{}.log", id.0)),
            namespace: Arc::new(namespace),
            holder,
            broker: Mutex::new(None),
        };
        let address = format!("--address={}", node.ip);
        let link = ["link", "--name=eth0", &address].map(str::to_owned);
        let reply = self.in_pod(&pod, &link, "link").await?;
        if let Some(error) = reply.error {
            return Err(failed("setting up eth0")(io::Error::other(error)));
        }
        Ok(pod)
    }

    fn pod_of(&self, node: NodeId) -> Result<&Pod, ClusterError> {
        self.pods.get(&node).ok_or(ClusterError::NoSuchNode(node))
    }

    /// The broker, if it was ever started.
    fn broker_of(&self, node: NodeId) -> Result<Option<Process>, ClusterError> {
        let pod = self.pod_of(node)?;
        let broker = pod.broker.lock().expect("no holder of this lock panics");
        Ok(broker.clone())
    }

    async fn in_pod(
        &self,
        pod: &Pod,
        arguments: &[String],
        what: &str,
    ) -> Result<AgentReply, ClusterError> {
        let refused = |why: String| ClusterError::Refused {
            what: format!("`{what}` of the agent"),
            node: pod.node.id,
            why,
        };
        let mut command = Command::new(&self.agent);
        command.args(arguments).env_clear();
        let namespace = Some(pod.namespace.clone());
        let (_, line) = self
            .spawner
            .talking(command, namespace)
            .await
            .map_err(|error| refused(error.to_string()))?;
        serde_json::from_str(&line).map_err(|error| refused(format!("{error}: {line:?}")))
    }

    fn signal(&self, process: &Process, signal: Signal) -> io::Result<()> {
        if process.ended().is_none() {
            kill(Pid::from_raw(process.pid() as i32), signal)?;
        }
        Ok(())
    }

    async fn end(
        &self,
        node: NodeId,
        signal: Signal,
        limit: Duration,
    ) -> Result<bool, ClusterError> {
        let Some(broker) = self.broker_of(node)? else {
            return Ok(true);
        };
        let sent = self.signal(&broker, signal);
        sent.map_err(|error| refused(&format!("{signal} to the broker"), node, &error))?;
        Ok(timeout(limit, broker.wait()).await.is_ok())
    }
}

fn refused(what: &str, node: NodeId, why: &dyn std::fmt::Display) -> ClusterError {
    ClusterError::Refused {
        what: what.to_owned(),
        node,
        why: why.to_string(),
    }
}

#[async_trait]
impl Cluster for Namespaces {
    fn nodes(&self) -> Vec<NodeId> {
        self.nodes.iter().map(|node| node.id).collect()
    }

    fn address(&self, node: NodeId) -> Result<Ipv4Addr, ClusterError> {
        plan::find(&self.nodes, node).map(|node| node.ip)
    }

    fn ports(&self) -> Ports {
        Ports::REFERENCE
    }

    fn question(&self) -> (Listener, String) {
        self.spec.program.question()
    }

    fn client_addresses(&self) -> Vec<Ipv4Addr> {
        vec![plan::address_in(NETWORK, 0)]
    }

    async fn agent(
        &self,
        node: NodeId,
        command: &AgentCommand,
    ) -> Result<AgentReply, ClusterError> {
        let pod = self.pod_of(node)?;
        self.in_pod(pod, &command.arguments(), command.name()).await
    }

    async fn reach(
        &self,
        node: NodeId,
        listener: Listener,
        limit: Duration,
    ) -> Result<Option<Duration>, ClusterError> {
        let ip = self.address(node)?;
        let begin = Instant::now();
        let connecting = tokio::net::TcpStream::connect((ip, self.ports().of(listener)));
        let connected = timeout(limit, connecting).await;
        Ok(matches!(connected, Ok(Ok(_))).then(|| begin.elapsed()))
    }

    async fn kill(&self, node: NodeId) -> Result<(), ClusterError> {
        if self.end(node, Signal::SIGKILL, DEATH_LIMIT).await? {
            return Ok(());
        }
        Err(ClusterError::TimedOut {
            what: "kill -9 of the broker".to_owned(),
            node,
            limit: DEATH_LIMIT,
        })
    }

    async fn stop(&self, node: NodeId, grace: Duration) -> Result<(), ClusterError> {
        if self.end(node, Signal::SIGTERM, grace).await? {
            return Ok(());
        }
        self.kill(node).await
    }

    async fn start(&self, node: NodeId) -> Result<(), ClusterError> {
        let running = self.broker_of(node)?;
        if running.is_some_and(|broker| broker.ended().is_none()) {
            return Ok(());
        }
        let pod = self.pod_of(node)?;
        let failed = |error: io::Error| refused("starting the broker", node, &error);
        fs::create_dir_all(&pod.data).map_err(failed)?;
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&pod.log);
        let log = log.map_err(failed)?;
        let data = pod.data.display().to_string();
        let more = &self.spec.broker_args;
        let arguments = self
            .spec
            .program
            .arguments(&self.nodes, &pod.node, &data, more);
        let mut command = Command::new(&self.program);
        // Settings come from the arguments alone, as in a container.
        command.args(arguments).env_clear();
        command.stdout(log.try_clone().map_err(failed)?).stderr(log);
        let namespace = Some(pod.namespace.clone());
        let broker = self
            .spawner
            .silent(command, namespace)
            .await
            .map_err(failed)?;
        *pod.broker.lock().expect("no holder of this lock panics") = Some(broker);
        Ok(())
    }

    async fn pause(&self, node: NodeId) -> Result<(), ClusterError> {
        let failed = |error: io::Error| refused("SIGSTOP to the broker", node, &error);
        let Some(broker) = self.broker_of(node)? else {
            return Err(failed(io::Error::other("it was never started")));
        };
        self.signal(&broker, Signal::SIGSTOP).map_err(failed)?;
        // A process stops when each of its threads comes by.
        let deadline = Instant::now() + DEATH_LIMIT;
        while self.state(node).await? == NodeState::Running && Instant::now() < deadline {
            sleep(POLL).await;
        }
        Ok(())
    }

    async fn resume(&self, node: NodeId) -> Result<(), ClusterError> {
        if let Some(broker) = self.broker_of(node)? {
            let sent = self.signal(&broker, Signal::SIGCONT);
            sent.map_err(|error| refused("SIGCONT to the broker", node, &error))?;
        }
        Ok(())
    }

    async fn state(&self, node: NodeId) -> Result<NodeState, ClusterError> {
        let Some(broker) = self.broker_of(node)? else {
            return Ok(NodeState::Stopped { code: None });
        };
        if let Some(code) = broker.ended() {
            return Ok(NodeState::Stopped { code });
        }
        Ok(match state_letter(broker.pid()) {
            Some('T' | 't') => NodeState::Paused,
            Some('Z' | 'X') | None => NodeState::Stopped { code: None },
            Some(_) => NodeState::Running,
        })
    }
}

/// The state that the kernel gives a process: `R`, `S`, `T`, ...
fn state_letter(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold spaces and brackets; the state comes after the last bracket.
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.chars().next()
}

#[async_trait]
impl Runtime for Namespaces {
    fn kind(&self) -> RuntimeKind {
        RuntimeKind::Namespaces
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

    fn admin_address(&self, node: NodeId) -> Result<SocketAddr, ClusterError> {
        plan::find(&self.nodes, node).map(|node| node.admin)
    }

    fn log_file(&self, node: NodeId) -> Result<PathBuf, ClusterError> {
        self.pod_of(node).map(|pod| pod.log.clone())
    }

    async fn copy_data(&self, node: NodeId, to: &Path) -> Result<(), ClusterError> {
        let what = "copying the data directory";
        if !matches!(self.state(node).await?, NodeState::Stopped { .. }) {
            return Err(refused(what, node, &"its broker runs"));
        }
        let data = &self.pod_of(node)?.data;
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
            why: "namespaces end with the harness; Docker could".to_owned(),
        })
    }

    async fn down(&self) -> Result<(), RuntimeError> {
        for node in self.pods.keys() {
            self.kill(*node).await?;
        }
        for pod in self.pods.values() {
            let stopping = format!("stopping the holder of {}", pod.node.id);
            let sent = self.signal(&pod.holder, Signal::SIGKILL);
            sent.map_err(RuntimeError::at(stopping))?;
            // Its end of the veth pair goes with the namespace, and the other end with that.
            pod.holder.wait().await;
        }
        remove_data(&self.spec.dir, &mut Healed::default())
    }
}
