//! Somebody else's cluster in the containers of a compose project (`--compose FILE`): killed,
//! stopped, paused and started by the engine.
//!
//! The project is not read but found: compose leaves the path of its file on every container. And
//! nobody is told which container is which broker: whoever answers Kafka's protocol at a published
//! port is asked who is where, and a broker is the container that publishes the port (or has the
//! address) at which it is advertised.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use bollard::Docker;
use bollard::models::ContainerSummary;
use bollard::query_parameters::{
    KillContainerOptionsBuilder, ListContainersOptionsBuilder, LogsOptionsBuilder,
    StopContainerOptionsBuilder,
};
use futures_util::StreamExt as _;
use nemesis::{FaultKind, NodeId};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::{engine, settled};
use crate::kafka::{BrokerView, Conn, describe_cluster};
use crate::runtime::driver::Driver;
use crate::runtime::driver::file::{NodeEntry, Verb};

/// The label by which compose says of which file a container is made.
const FILES: &str = "com.docker.compose.project.config_files";
/// A broker answers within this.
const WITHIN: Duration = Duration::from_secs(2);
/// A container ends within this when it is asked to.
const GRACE_SECONDS: i32 = 10;

/// A broker and its container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Member {
    id: u32,
    address: String,
    container: String,
}

/// A compose project at work.
#[derive(Debug)]
pub struct ComposeDriver {
    file: PathBuf,
    members: Vec<Member>,
}

/// A container as it matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Container {
    name: String,
    ports: BTreeSet<u16>,
    addresses: BTreeSet<String>,
}

impl ComposeDriver {
    /// Finds the containers of a compose file, and the brokers in them.
    ///
    /// # Errors
    /// What is missing, and what would help.
    pub async fn find(file: &Path) -> Result<Self, String> {
        let file = file
            .canonicalize()
            .map_err(|error| format!("{}: {error}", file.display()))?;
        let docker = engine::connect().await?;
        let options = ListContainersOptionsBuilder::default()
            .filters(&std::collections::HashMap::from([("label", vec![FILES])]))
            .build();
        let all = docker.list_containers(Some(options)).await;
        let all = all.map_err(|error| engine::message(&error))?;
        let mine = all.into_iter().filter(|one| is_of(one, &file));
        let containers: Vec<Container> = mine.map(container).collect();
        let shown = file.display();
        if containers.is_empty() {
            return Err(format!(
                "no container of {shown} is running; `docker compose -f {shown} up -d` first"
            ));
        }
        let brokers = brokers(&containers).await?;
        let members = members(&brokers, &containers)?;
        Ok(Self { file, members })
    }

    /// As it was stored by [`Driver::stored`].
    ///
    /// # Errors
    /// What is missing.
    pub fn restored(stored: &Json) -> Result<Self, String> {
        let file = stored["file"].as_str().ok_or("`file` is missing")?;
        let members = serde_json::from_value(stored["members"].clone());
        Ok(Self {
            file: PathBuf::from(file),
            members: members.map_err(|error| error.to_string())?,
        })
    }

    fn container_of(&self, node: &NodeEntry) -> Result<&str, String> {
        let member = self.members.iter().find(|member| member.id == node.id);
        let member = member.ok_or(format!("there is no container of broker {}", node.id))?;
        Ok(&member.container)
    }
}

/// Whether compose made it of that file.
fn is_of(container: &ContainerSummary, file: &Path) -> bool {
    let labels = container.labels.as_ref();
    let files = labels.and_then(|labels| labels.get(FILES));
    files.is_some_and(|files| {
        files.split(',').any(|named| {
            Path::new(named)
                .canonicalize()
                .is_ok_and(|named| named == file)
        })
    })
}

fn container(found: ContainerSummary) -> Container {
    let names = found.names.unwrap_or_default();
    let name = names.into_iter().next().or(found.id).unwrap_or_default();
    let ports = found.ports.unwrap_or_default();
    let networks = found
        .network_settings
        .and_then(|settings| settings.networks)
        .unwrap_or_default();
    let addresses = networks.into_values().filter_map(|end| end.ip_address);
    Container {
        name: name.trim_start_matches('/').to_owned(),
        ports: ports
            .into_iter()
            .filter_map(|port| port.public_port)
            .collect(),
        addresses: addresses.filter(|ip| !ip.is_empty()).collect(),
    }
}

/// What the first broker that answers at a published port says.
async fn brokers(containers: &[Container]) -> Result<Vec<BrokerView>, String> {
    for port in containers.iter().flat_map(|one| &one.ports) {
        let Ok(mut conn) = Conn::open(&format!("127.0.0.1:{port}"), WITHIN).await else {
            continue;
        };
        match describe_cluster(&mut conn, None, WITHIN).await {
            Ok(view) if !view.brokers.is_empty() => return Ok(view.brokers),
            _ => {}
        }
    }
    Err(
        "no broker answers at any port that the containers publish; publish the port of each \
         broker, and advertise it at 127.0.0.1"
            .to_owned(),
    )
}

/// Which container each broker is.
fn members(brokers: &[BrokerView], containers: &[Container]) -> Result<Vec<Member>, String> {
    let mut members: BTreeMap<u32, Member> = BTreeMap::new();
    for broker in brokers {
        let (address, id) = (&broker.address, broker.id);
        let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
        let publishes = |one: &&Container| {
            let local = ["127.0.0.1", "localhost"].contains(&host);
            one.addresses.contains(host)
                || local && port.parse().is_ok_and(|port| one.ports.contains(&port))
        };
        let found = containers.iter().find(publishes).ok_or(format!(
            "broker {id} is advertised at {address}, which no container of the project publishes; \
             clients here need 127.0.0.1 and a published port"
        ))?;
        let id = u32::try_from(id).map_err(|_| format!("a broker with the id {id}"))?;
        let member = Member {
            id,
            address: address.clone(),
            container: found.name.clone(),
        };
        members.insert(id, member);
    }
    Ok(members.into_values().collect())
}

async fn act(docker: &Docker, name: &str, verb: Verb) -> Result<(), bollard::errors::Error> {
    let done = match verb {
        Verb::Start => docker.start_container(name, None).await,
        Verb::Stop => {
            let options = StopContainerOptionsBuilder::default()
                .t(GRACE_SECONDS)
                .build();
            docker.stop_container(name, Some(options)).await
        }
        Verb::Kill => {
            let options = KillContainerOptionsBuilder::default()
                .signal("KILL")
                .build();
            docker.kill_container(name, Some(options)).await
        }
        Verb::Pause => docker.pause_container(name).await,
        Verb::Resume => docker.unpause_container(name).await,
    };
    settled(done)
}

#[async_trait]
impl Driver for ComposeDriver {
    fn name(&self) -> String {
        self.file.display().to_string()
    }

    fn has(&self, _verb: Verb) -> bool {
        true
    }

    fn offers(&self, kind: FaultKind) -> bool {
        matches!(
            kind,
            FaultKind::Kill
                | FaultKind::Chase
                | FaultKind::Stop
                | FaultKind::RollingRestart
                | FaultKind::Pause
        )
    }

    async fn nodes(&self) -> Result<Vec<NodeEntry>, String> {
        let entry = |member: &Member| NodeEntry {
            id: member.id,
            address: member.address.clone(),
        };
        Ok(self.members.iter().map(entry).collect())
    }

    async fn act(&self, node: &NodeEntry, verb: Verb, _dir: &Path) -> Result<(), String> {
        let name = self.container_of(node)?;
        let docker = engine::connect().await?;
        let done = act(&docker, name, verb).await;
        done.map_err(|error| format!("container {name}: {}", engine::message(&error)))
    }

    async fn log(&self, node: &NodeEntry) -> Result<Option<Vec<u8>>, String> {
        let docker = engine::connect().await?;
        let options = LogsOptionsBuilder::default()
            .stdout(true)
            .stderr(true)
            .build();
        let mut pieces = docker.logs(self.container_of(node)?, Some(options));
        let mut text = Vec::new();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|error| engine::message(&error))?;
            text.extend_from_slice(piece.as_ref());
        }
        Ok(Some(text))
    }

    async fn role_of(&self, _role: &str, _partition: Option<(&str, u32)>) -> Option<NodeId> {
        None
    }

    fn stored(&self) -> Json {
        json!({"driver": "compose", "file": self.file, "members": self.members})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(id: i32, address: &str) -> BrokerView {
        BrokerView {
            id,
            address: address.to_owned(),
        }
    }

    fn publishes(name: &str, ports: &[u16], address: &str) -> Container {
        Container {
            name: name.to_owned(),
            ports: ports.iter().copied().collect(),
            addresses: BTreeSet::from([address.to_owned()]),
        }
    }

    #[test]
    fn a_broker_is_the_container_that_publishes_where_it_is_advertised() {
        let containers = [
            publishes("a", &[19092, 8081], "172.20.0.2"),
            publishes("b", &[29092], "172.20.0.3"),
        ];
        let brokers = [view(7, "172.20.0.2:9092"), view(0, "localhost:29092")];
        let members = members(&brokers, &containers).expect("both are found");
        let told: Vec<(u32, &str)> = members
            .iter()
            .map(|m| (m.id, m.container.as_str()))
            .collect();
        assert_eq!(told, [(0, "b"), (7, "a")]);
    }

    #[test]
    fn a_broker_that_clients_cannot_reach_is_told() {
        let containers = [publishes("a", &[19092], "172.20.0.2")];
        let why = members(&[view(0, "redpanda-0:9092")], &containers).expect_err("unreachable");
        assert!(
            why.contains("broker 0 is advertised at redpanda-0:9092"),
            "{why}"
        );
    }
}
