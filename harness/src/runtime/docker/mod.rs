//! The runtime in containers, through the engine's API.
//!
//! A node is two containers. The *holder* runs the agent (every capability dropped but
//! CAP_NET_ADMIN) and owns the network namespace: address, rules, published ports. The *broker*
//! (no capability, not root, nothing but its binary) joins that namespace and has a volume. So the
//! broker can be killed and started without losing anything but its process, and a fault is an
//! `exec` of the agent in the holder.
//!
//! Clients reach a node at its own address where the engine is on this machine, else through
//! published ports (`HARNESS_DOCKER_PUBLISH=1` asks for that).
//!
//! Everything carries labels (run, journal, host), by which it is removed at the end, or by the
//! next harness if this one is killed.

mod engine;
mod heal;
mod image;
mod logs;
mod network;

use std::collections::HashMap;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bollard::Docker;
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use bollard::models::{
    ContainerCreateBody, ContainerStateStatusEnum, EndpointIpamConfig, EndpointSettings,
    HostConfig, HostConfigLogConfig, Mount, MountType, NetworkingConfig, PortBinding,
    VolumeCreateRequest,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, DownloadFromContainerOptionsBuilder,
    KillContainerOptionsBuilder, StopContainerOptionsBuilder,
};
use futures_util::StreamExt;
use futures_util::future::try_join_all;
use nemesis::agent::{AgentCommand, AgentReply};
use nemesis::{Cluster, ClusterError, Listener, NodeId, NodeState, Ports};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout};

use self::image::Images;
use super::kafka;
use super::plan::{self, API_VERSIONS, Node, Program};
use super::{ClusterSpec, Runtime, RuntimeError, RuntimeKind, link_or_copy};
use crate::artifacts::Artifacts;

pub use heal::heal;

const DATA: &str = "/data";
const AGENT: &str = "/nemesis-agent";
/// Between two looks at a container that is on its way to another state.
const POLL: Duration = Duration::from_millis(10);
/// A killed process is gone within this, unless the disk hangs.
const DEATH_LIMIT: Duration = Duration::from_secs(10);

/// Whether an engine answers: which, in words; or what is missing.
pub async fn answers() -> Result<String, String> {
    let docker = engine::connect().await?;
    let version = docker.version().await.map_err(|e| engine::message(&e))?;
    let version = version
        .version
        .unwrap_or_else(|| "of no version".to_owned());
    Ok(format!("Docker {version} answers at {}", engine::place()))
}

/// The name of the broker's image, which is built if need be.
pub async fn broker_image(artifacts: &Artifacts) -> Result<String, RuntimeError> {
    let docker = engine::connect()
        .await
        .map_err(RuntimeError::at("connecting to Docker"))?;
    let images = image::prepare(&docker, artifacts, false).await?;
    Ok(images.broker)
}

/// A cluster in containers.
pub struct Containers {
    docker: Docker,
    spec: ClusterSpec,
    images: Images,
    /// `harness-<run>`: the network, and the first part of every other name.
    name: String,
    labels: HashMap<String, String>,
    subnet: Ipv4Addr,
    /// Containers are reached at their own addresses; else through published ports.
    direct: bool,
    nodes: Vec<Node>,
}

/// Brings a cluster up; see [`super::up`].
pub async fn up(
    spec: &ClusterSpec,
    artifacts: &Artifacts,
) -> Result<Arc<dyn Runtime>, RuntimeError> {
    let docker = engine::connect()
        .await
        .map_err(RuntimeError::at("connecting to Docker"))?;
    let images = images(&docker, spec, artifacts).await?;
    let name = format!("harness-{}", spec.run_id);
    let labels = engine::labels(&spec.run_id, &spec.journal);
    let begun = async {
        let subnet = network::create(&docker, &name, labels.clone()).await?;
        let mut cluster = Containers {
            docker: docker.clone(),
            spec: spec.clone(),
            images,
            name,
            labels,
            subnet,
            direct: network::may_be_direct(subnet),
            nodes: Vec::new(),
        };
        cluster.begin().await?;
        Ok(cluster)
    };
    match begun.await {
        Ok(cluster) => Ok(Arc::new(cluster)),
        Err(error) => {
            // The first error is the one to tell.
            let _ = heal::remove_run(&docker, &spec.run_id).await;
            Err(error)
        }
    }
}

async fn images(
    docker: &Docker,
    spec: &ClusterSpec,
    artifacts: &Artifacts,
) -> Result<Images, RuntimeError> {
    match spec.program {
        Program::Broker => image::prepare(docker, artifacts, false).await,
        Program::Echo => image::prepare(docker, artifacts, true).await,
        Program::Kafka => {
            let name = spec.image.as_deref().unwrap_or(kafka::IMAGE);
            image::beside(docker, artifacts, name).await
        }
    }
}

impl Containers {
    async fn begin(&mut self) -> Result<(), RuntimeError> {
        let logs = self.spec.dir.join("brokers");
        let making = format!("making {}", logs.display());
        std::fs::create_dir_all(&logs).map_err(RuntimeError::at(making))?;
        // Ports are known once holders run; only then can brokers be told what to advertise.
        self.nodes = self.holders().await?;
        if self.direct && !network::is_reached(self.nodes[0].ip).await {
            // Something between here and there drops packets: the engine's proxy gets through.
            self.direct = false;
            heal::remove_containers(&self.docker, &self.spec.run_id).await?;
            self.nodes = self.holders().await?;
        }
        let this = &*self;
        let brokers = this.nodes.iter().map(|node| this.create_broker(node));
        try_join_all(brokers).await?;
        try_join_all(this.nodes.iter().map(|node| this.start(node.id))).await?;
        Ok(())
    }

    async fn holders(&self) -> Result<Vec<Node>, ClusterError> {
        try_join_all(plan::ids(self.spec.nodes).map(|id| self.create_holder(id))).await
    }

    fn holder(&self, node: NodeId) -> String {
        format!("{}-{node}-net", self.name)
    }

    fn broker(&self, node: NodeId) -> String {
        format!("{}-{node}", self.name)
    }

    async fn create_holder(&self, id: NodeId) -> Result<Node, ClusterError> {
        let name = self.holder(id);
        let failed = |what: &str| engine::on(id, &format!("{what} the holder"));
        let ip = plan::address_in(self.subnet, id.0);
        let endpoint = EndpointSettings {
            ipam_config: Some(EndpointIpamConfig {
                ipv4_address: Some(ip.to_string()),
                ..EndpointIpamConfig::default()
            }),
            aliases: Some(vec![id.to_string()]),
            ..EndpointSettings::default()
        };
        let mut host = HostConfig {
            network_mode: Some(self.name.clone()),
            cap_drop: Some(vec!["ALL".to_owned()]),
            cap_add: Some(vec!["NET_ADMIN".to_owned()]),
            ..HostConfig::default()
        };
        if !self.direct {
            host.port_bindings = Some(published().map(|key| (key, Some(any_port()))).into());
        }
        let body = ContainerCreateBody {
            image: Some(self.images.holder.clone()),
            hostname: Some(id.to_string()),
            labels: Some(self.labels.clone()),
            exposed_ports: (!self.direct).then(|| published().to_vec()),
            host_config: Some(host),
            networking_config: Some(NetworkingConfig {
                endpoints_config: Some(HashMap::from([(self.name.clone(), endpoint)])),
            }),
            ..ContainerCreateBody::default()
        };
        let options = CreateContainerOptionsBuilder::default().name(&name).build();
        let created = self.docker.create_container(Some(options), body).await;
        created.map_err(failed("creating"))?;
        let started = self.docker.start_container(&name, None).await;
        started.map_err(failed("starting"))?;
        let mut node = Node::direct(id, ip);
        if !self.direct {
            let [client, admin] = self.published_ports(id).await?;
            (node.client, node.admin) = (client, admin);
        }
        Ok(node)
    }

    /// Where the client and admin listeners of a node are found on this host.
    async fn published_ports(&self, id: NodeId) -> Result<[SocketAddr; 2], ClusterError> {
        let inspected = self.docker.inspect_container(&self.holder(id), None).await;
        let inspected = inspected.map_err(engine::on(id, "asking for published ports"))?;
        let ports = inspected
            .network_settings
            .and_then(|n| n.ports)
            .unwrap_or_default();
        let port = |key: &str| -> Option<SocketAddr> {
            let binding = ports.get(key)?.as_ref()?.first()?;
            let port: u16 = binding.host_port.as_ref()?.parse().ok()?;
            Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        };
        let [client, admin] = published().map(|key| port(&key));
        client
            .zip(admin)
            .map(|(c, a)| [c, a])
            .ok_or_else(|| ClusterError::Refused {
                what: "asking for published ports".to_owned(),
                node: id,
                why: "the engine published none".to_owned(),
            })
    }

    async fn create_broker(&self, node: &Node) -> Result<(), ClusterError> {
        let id = node.id;
        let name = self.broker(id);
        let volume = VolumeCreateRequest {
            name: Some(name.clone()),
            labels: Some(self.labels.clone()),
            ..VolumeCreateRequest::default()
        };
        let made = self.docker.create_volume(volume).await;
        made.map_err(engine::on(id, "creating a volume"))?;
        let mount = Mount {
            target: Some(DATA.to_owned()),
            source: Some(name.clone()),
            typ: Some(MountType::VOLUME),
            ..Mount::default()
        };
        let log = HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(HashMap::from([("max-size".to_owned(), "20m".to_owned())])),
        };
        let more = &self.spec.broker_args;
        // Whoever owns /data in an image that is not ours, root can write there without a right.
        let (entrypoint, user) = match self.spec.program {
            Program::Kafka => {
                let words = ["/bin/sh", "-c", kafka::START, "start"].map(str::to_owned);
                (Some(words.to_vec()), Some("0:0".to_owned()))
            }
            Program::Broker | Program::Echo => (None, None),
        };
        let body = ContainerCreateBody {
            image: Some(self.images.broker.clone()),
            entrypoint,
            user,
            cmd: Some(self.spec.program.arguments(&self.nodes, node, DATA, more)),
            labels: Some(self.labels.clone()),
            host_config: Some(HostConfig {
                network_mode: Some(format!("container:{}", self.holder(id))),
                cap_drop: Some(vec!["ALL".to_owned()]),
                security_opt: Some(vec!["no-new-privileges".to_owned()]),
                mounts: Some(vec![mount]),
                log_config: Some(log),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        let options = CreateContainerOptionsBuilder::default().name(&name).build();
        let created = self.docker.create_container(Some(options), body).await;
        created.map_err(engine::on(id, "creating the broker"))?;
        Ok(())
    }

    fn known(&self, node: NodeId) -> Result<&Node, ClusterError> {
        plan::find(&self.nodes, node)
    }

    /// Runs the agent in the holder; what it said on standard output.
    async fn exec(
        &self,
        node: NodeId,
        command: &AgentCommand,
    ) -> Result<String, bollard::errors::Error> {
        let mut words = vec![AGENT.to_owned()];
        words.extend(command.arguments());
        let options = CreateExecOptions {
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(words),
            ..CreateExecOptions::default()
        };
        let exec = self.docker.create_exec(&self.holder(node), options).await?;
        let attached = StartExecOptions::default();
        let mut said = String::new();
        if let StartExecResults::Attached { mut output, .. } =
            self.docker.start_exec(&exec.id, Some(attached)).await?
        {
            while let Some(piece) = output.next().await {
                said.push_str(&piece?.to_string());
            }
        }
        Ok(said)
    }

    /// The directory of a node's volume, where the engine is on this machine and this user may
    /// read it: then nothing needs to be copied through the engine.
    async fn volume_here(&self, node: NodeId) -> Option<PathBuf> {
        let volume = self.docker.inspect_volume(&self.broker(node)).await.ok()?;
        let path = PathBuf::from(volume.mountpoint);
        std::fs::read_dir(&path).is_ok().then_some(path)
    }

    /// Waits until the broker is in a state.
    async fn until(
        &self,
        node: NodeId,
        what: &str,
        limit: Duration,
        wanted: impl Fn(NodeState) -> bool,
    ) -> Result<(), ClusterError> {
        let deadline = Instant::now() + limit;
        while !wanted(self.state(node).await?) {
            if Instant::now() >= deadline {
                let what = what.to_owned();
                return Err(ClusterError::TimedOut { what, node, limit });
            }
            sleep(POLL).await;
        }
        Ok(())
    }
}

/// The listeners that are published where containers cannot be reached directly.
fn published() -> [String; 2] {
    let key = |listener| format!("{}/tcp", Ports::REFERENCE.of(listener));
    [key(Listener::Client), key(Listener::Admin)]
}

fn any_port() -> Vec<PortBinding> {
    vec![PortBinding {
        host_ip: Some(Ipv4Addr::LOCALHOST.to_string()),
        host_port: Some("0".to_owned()),
    }]
}

/// Takes as done what the engine says is so already.
fn settled(done: Result<(), bollard::errors::Error>) -> Result<(), bollard::errors::Error> {
    match done {
        Err(error) if engine::is_so_already(&error) => Ok(()),
        other => other,
    }
}

#[async_trait]
impl Cluster for Containers {
    fn nodes(&self) -> Vec<NodeId> {
        self.nodes.iter().map(|node| node.id).collect()
    }

    fn address(&self, node: NodeId) -> Result<Ipv4Addr, ClusterError> {
        self.known(node).map(|node| node.ip)
    }

    fn ports(&self) -> Ports {
        Ports::REFERENCE
    }

    fn question(&self) -> (Listener, String) {
        self.spec.program.question()
    }

    fn client_addresses(&self) -> Vec<Ipv4Addr> {
        // Whether a client connects directly or through a published port, the node sees the
        // gateway.
        vec![plan::address_in(self.subnet, 0)]
    }

    async fn agent(
        &self,
        node: NodeId,
        command: &AgentCommand,
    ) -> Result<AgentReply, ClusterError> {
        self.known(node)?;
        let what = format!("`{}` of the agent", command.name());
        let said = self
            .exec(node, command)
            .await
            .map_err(engine::on(node, &what))?;
        serde_json::from_str(said.trim()).map_err(|error| ClusterError::Refused {
            what,
            node,
            why: format!("{error}: {said:?}"),
        })
    }

    async fn reach(
        &self,
        node: NodeId,
        listener: Listener,
        limit: Duration,
    ) -> Result<Option<Duration>, ClusterError> {
        let node = self.known(node)?;
        let to = match listener {
            Listener::Client => node.client,
            Listener::Admin => node.admin,
            other => SocketAddr::from((node.ip, self.ports().of(other))),
        };
        let begin = Instant::now();
        let reaching = async {
            let mut stream = tokio::net::TcpStream::connect(to).await?;
            if !self.direct {
                // The engine's proxy accepts whatever is behind it: only an answer counts.
                stream.write_all(API_VERSIONS.as_bytes()).await?;
                stream.read_u8().await?;
            }
            Ok::<_, std::io::Error>(())
        };
        let reached = timeout(limit, reaching).await;
        Ok(matches!(reached, Ok(Ok(()))).then(|| begin.elapsed()))
    }

    async fn kill(&self, node: NodeId) -> Result<(), ClusterError> {
        self.known(node)?;
        let options = KillContainerOptionsBuilder::default()
            .signal("KILL")
            .build();
        // A frozen process takes the signal when it thaws.
        let _ = self.docker.unpause_container(&self.broker(node)).await;
        let killed = self
            .docker
            .kill_container(&self.broker(node), Some(options))
            .await;
        settled(killed).map_err(engine::on(node, "kill -9 of the broker"))?;
        let gone = |state| matches!(state, NodeState::Stopped { .. });
        self.until(node, "kill -9 of the broker", DEATH_LIMIT, gone)
            .await
    }

    async fn stop(&self, node: NodeId, grace: Duration) -> Result<(), ClusterError> {
        self.known(node)?;
        let seconds = i32::try_from(grace.as_secs().max(1)).unwrap_or(i32::MAX);
        let options = StopContainerOptionsBuilder::default().t(seconds).build();
        let stopped = self
            .docker
            .stop_container(&self.broker(node), Some(options))
            .await;
        settled(stopped).map_err(engine::on(node, "stopping the broker"))
    }

    async fn start(&self, node: NodeId) -> Result<(), ClusterError> {
        if matches!(self.state(node).await?, NodeState::Running) {
            return Ok(());
        }
        let name = self.broker(node);
        logs::follow(&self.docker, &name, &self.log_file(node)?)
            .await
            .map_err(|why| ClusterError::Refused {
                what: "following the broker's log".to_owned(),
                node,
                why,
            })?;
        let started = self.docker.start_container(&name, None).await;
        settled(started).map_err(engine::on(node, "starting the broker"))
    }

    async fn pause(&self, node: NodeId) -> Result<(), ClusterError> {
        self.known(node)?;
        let paused = self.docker.pause_container(&self.broker(node)).await;
        settled(paused).map_err(engine::on(node, "pausing the broker"))
    }

    async fn resume(&self, node: NodeId) -> Result<(), ClusterError> {
        if self.state(node).await? != NodeState::Paused {
            return Ok(());
        }
        let resumed = self.docker.unpause_container(&self.broker(node)).await;
        settled(resumed).map_err(engine::on(node, "resuming the broker"))
    }

    async fn state(&self, node: NodeId) -> Result<NodeState, ClusterError> {
        self.known(node)?;
        let inspected = self
            .docker
            .inspect_container(&self.broker(node), None)
            .await;
        let inspected = inspected.map_err(engine::on(node, "asking for the broker's state"))?;
        let state = inspected.state.unwrap_or_default();
        Ok(match state.status {
            Some(ContainerStateStatusEnum::RUNNING) => NodeState::Running,
            Some(ContainerStateStatusEnum::PAUSED) => NodeState::Paused,
            _ => NodeState::Stopped {
                code: state.exit_code.and_then(|code| i32::try_from(code).ok()),
            },
        })
    }
}

#[async_trait]
impl Runtime for Containers {
    fn kind(&self) -> RuntimeKind {
        RuntimeKind::Docker
    }

    fn run_id(&self) -> &str {
        &self.spec.run_id
    }

    fn bootstrap(&self) -> String {
        let addresses: Vec<String> = self.nodes.iter().map(|n| n.client.to_string()).collect();
        addresses.join(",")
    }

    fn client_address(&self, node: NodeId) -> Result<SocketAddr, ClusterError> {
        self.known(node).map(|node| node.client)
    }

    fn admin_address(&self, node: NodeId) -> Result<SocketAddr, ClusterError> {
        self.known(node).map(|node| node.admin)
    }

    fn log_file(&self, node: NodeId) -> Result<PathBuf, ClusterError> {
        let id = self.known(node)?.id.0;
        Ok(self.spec.dir.join("brokers").join(format!("{id}.log")))
    }

    async fn copy_data(&self, node: NodeId, to: &Path) -> Result<(), ClusterError> {
        let what = "copying the data directory";
        let refused = |why: String| ClusterError::Refused {
            what: what.to_owned(),
            node,
            why,
        };
        if !matches!(self.state(node).await?, NodeState::Stopped { .. }) {
            return Err(refused("its broker runs".to_owned()));
        }
        let io = |error: std::io::Error| refused(error.to_string());
        if let Some(volume) = self.volume_here(node).await {
            return link_or_copy(&volume, to).map_err(io);
        }
        std::fs::create_dir(to).map_err(io)?;
        let packed_path = to.with_extension("tar");
        let mut packed = std::fs::File::create_new(&packed_path).map_err(io)?;
        let options = DownloadFromContainerOptionsBuilder::default()
            .path(DATA)
            .build();
        let name = self.broker(node);
        let mut pieces = self.docker.download_from_container(&name, Some(options));
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(engine::on(node, what))?;
            packed.write_all(&piece).map_err(io)?;
        }
        unpack(&packed_path, to).map_err(io)?;
        std::fs::remove_file(&packed_path).map_err(io)
    }

    async fn restart_all(&self) -> Result<(), ClusterError> {
        try_join_all(self.nodes.iter().map(|node| self.kill(node.id))).await?;
        try_join_all(self.nodes.iter().map(|node| self.start(node.id))).await?;
        Ok(())
    }

    fn keep(&self) -> Result<(), RuntimeError> {
        let mark = heal::kept_mark(&self.spec.journal);
        let marking = format!("writing {}", mark.display());
        std::fs::write(&mark, &self.spec.run_id).map_err(RuntimeError::at(marking))
    }

    async fn down(&self) -> Result<(), RuntimeError> {
        heal::remove_run(&self.docker, &self.spec.run_id)
            .await
            .map(|_| ())
    }
}

/// Unpacks what is under the archive's one top directory.
fn unpack(packed: &Path, to: &Path) -> std::io::Result<()> {
    let mut archive = tar::Archive::new(std::fs::File::open(packed)?);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let inner: PathBuf = path.components().skip(1).collect();
        let plain = inner
            .components()
            .all(|part| matches!(part, std::path::Component::Normal(_)));
        if !plain || inner.as_os_str().is_empty() {
            continue;
        }
        let kind = entry.header().entry_type();
        if kind.is_dir() {
            std::fs::create_dir_all(to.join(&inner))?;
        } else if kind.is_file() {
            std::io::copy(&mut entry, &mut std::fs::File::create(to.join(&inner))?)?;
        }
    }
    Ok(())
}
