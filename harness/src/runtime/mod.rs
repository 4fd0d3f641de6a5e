//! Where a cluster runs: containers, or network namespaces without any privilege.
//!
//! A [`Runtime`] brings brokers up, offers the nemesis its [`nemesis::Cluster`], and takes
//! everything down. In both runtimes a node is a *pod*: a holder (our agent) that owns the
//! network namespace with its address, and the broker inside it, so that a kill of the broker
//! keeps address, port and the rules of the nemesis.
//!
//! The order of a run: [`heal`] what others left, [`select`], [`crate::artifacts::build`],
//! [`enter`], then [`up`], and [`Runtime::down`] at the end.

pub mod docker;
pub mod doctor;
mod kafka;
pub mod namespaces;
mod plan;
pub mod sim;

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use nemesis::{Cluster, ClusterError, NodeId, journal};

use crate::artifacts::Artifacts;

pub use kafka::IMAGE as KAFKA_IMAGE;
pub use plan::Program;

/// The runtimes there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuntimeKind {
    /// Containers of a Docker engine.
    Docker,
    /// Plain processes in network namespaces; no Docker, no root.
    Namespaces,
}

impl RuntimeKind {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Namespaces => "namespaces",
        }
    }
}

/// What `--runtime` asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RuntimeChoice {
    /// Docker where its engine answers, else namespaces.
    #[default]
    Auto,
    /// This one or none.
    Only(RuntimeKind),
}

/// A runtime that works here, and why it was taken, in words for the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selected {
    /// Which.
    pub kind: RuntimeKind,
    /// `"Docker 20.10.24 answers at unix:///var/run/docker.sock"`.
    pub why: String,
}

/// What could not be done. All of them are infrastructure (exit 5), none says anything about the
/// broker under test.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// Neither the runtime asked for, nor any, works on this machine.
    #[error("no runtime works here:\n{missing}\n`harness doctor` says how to get one")]
    NoRuntime {
        /// What is missing, a line for each runtime.
        missing: String,
    },
    /// The engine or the kernel refused.
    #[error("{what}: {why}")]
    Failed {
        /// What was tried.
        what: String,
        /// The answer.
        why: String,
    },
    /// About one node.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
}

impl RuntimeError {
    /// For `map_err`: what was tried when this error came.
    pub(crate) fn at<E: std::fmt::Display>(what: impl Into<String>) -> impl FnOnce(E) -> Self {
        let what = what.into();
        move |error| Self::Failed {
            what,
            why: error.to_string(),
        }
    }
}

/// What a cluster is to be.
#[derive(Clone, Debug)]
pub struct ClusterSpec {
    /// Names the run in labels and in the journal: letters, digits, `-`.
    pub run_id: String,
    /// Number of brokers; ids are counted from 1.
    pub nodes: u32,
    /// The run's folder: logs go to `brokers/<id>.log` in it.
    pub dir: PathBuf,
    /// The file of this run's open [`nemesis::Journal`]: whoever finds something of this run later
    /// sees by its lock whether the run is alive.
    pub journal: PathBuf,
    /// What plays the broker.
    pub program: Program,
    /// The image of a program that is not built here; [`KAFKA_IMAGE`] where none is named.
    pub image: Option<String>,
    /// Further arguments of every broker's command line (`--wal-roll-bytes=8388608`, ...).
    pub broker_args: Vec<String>,
}

/// A cluster that is up. Dropping it does not take it down: call [`Runtime::down`].
#[async_trait]
pub trait Runtime: Cluster {
    /// Which runtime this is.
    fn kind(&self) -> RuntimeKind;

    /// The run's id, as in its labels.
    fn run_id(&self) -> &str;

    /// What clients use as `bootstrap.servers`. Valid for as long as the cluster is up, across
    /// kills and restarts.
    fn bootstrap(&self) -> String;

    /// Where clients reach one node; equal to what the broker advertises.
    fn client_address(&self, node: NodeId) -> Result<SocketAddr, ClusterError>;

    /// Where `/healthz` and `/metrics` of one node are reached from here.
    fn admin_address(&self, node: NodeId) -> Result<SocketAddr, ClusterError>;

    /// Where the log of one node's broker is written, from its first start on.
    fn log_file(&self, node: NodeId) -> Result<PathBuf, ClusterError>;

    /// Copies the data directory of a stopped broker to `to`, which must not exist yet. Refused
    /// while the broker runs. The copy may share its bytes with the original, so it is to be read
    /// before the broker is started again, and not to be written to.
    async fn copy_data(&self, node: NodeId, to: &Path) -> Result<(), ClusterError>;

    /// SIGKILL to every broker at once, then starts them all. Returns when the processes exist.
    async fn restart_all(&self) -> Result<(), ClusterError>;

    /// From now on the cluster outlives this process: only `harness heal` removes it.
    fn keep(&self) -> Result<(), RuntimeError>;

    /// Removes everything that this runtime made: processes, containers, networks, volumes,
    /// namespaces, data. Can be called again; an error says what is left.
    async fn down(&self) -> Result<(), RuntimeError>;
}

/// Decides where to run, by asking what works. Inside namespaces that [`enter`] made the answer
/// is those namespaces.
pub async fn select(choice: RuntimeChoice) -> Result<Selected, RuntimeError> {
    if namespaces::inside() {
        let why = namespaces::why();
        let kind = RuntimeKind::Namespaces;
        return Ok(Selected { kind, why });
    }
    let mut missing = Vec::new();
    if choice != RuntimeChoice::Only(RuntimeKind::Namespaces) {
        match docker::answers().await {
            Ok(why) => {
                let kind = RuntimeKind::Docker;
                return Ok(Selected { kind, why });
            }
            Err(why) => missing.push(format!("  docker: {why}")),
        }
    }
    if choice != RuntimeChoice::Only(RuntimeKind::Docker) {
        match namespaces::allowed() {
            Ok(()) => {
                let kind = RuntimeKind::Namespaces;
                let why = match missing.pop() {
                    Some(no) => format!("network namespaces work; not{no}").replace("  ", " "),
                    None => "network namespaces work".to_owned(),
                };
                return Ok(Selected { kind, why });
            }
            Err(why) => missing.push(format!("  namespaces: {why}")),
        }
    }
    let missing = missing.join("\n");
    Err(RuntimeError::NoRuntime { missing })
}

/// For [`RuntimeKind::Namespaces`]: replaces this process by itself inside fresh namespaces, with
/// the same arguments, and does not return; inside, returns at once. For Docker: returns at once.
///
/// Call it after [`crate::artifacts::build`] (inside there is no network to the outside) and
/// before anything is opened that should not be opened twice. The process keeps its id, its
/// terminal and its exit code.
pub fn enter(selected: &Selected, artifacts: &Artifacts) -> Result<(), RuntimeError> {
    match selected.kind {
        RuntimeKind::Docker => Ok(()),
        RuntimeKind::Namespaces if namespaces::inside() => Ok(()),
        RuntimeKind::Namespaces => {
            namespaces::enter(artifacts, &selected.why).map(|never| match never {})
        }
    }
}

/// Brings a cluster up: every broker's process exists when this returns (whether the cluster
/// serves, the caller finds out over the protocol). On error nothing is left.
pub async fn up(
    kind: RuntimeKind,
    spec: &ClusterSpec,
    artifacts: &Artifacts,
) -> Result<Arc<dyn Runtime>, RuntimeError> {
    if spec.nodes == 0 || spec.nodes > plan::NODES_MAX {
        let max = plan::NODES_MAX;
        return Err(RuntimeError::Failed {
            what: format!("a cluster of {} brokers", spec.nodes),
            why: format!("between 1 and {max} are possible"),
        });
    }
    match kind {
        RuntimeKind::Docker => Ok(docker::up(spec, artifacts).await?),
        RuntimeKind::Namespaces => Ok(namespaces::up(spec, artifacts).await?),
    }
}

/// What was found of runs whose harness is dead, and removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Healed {
    /// One line for each thing removed (`container harness-ab12-n1`, ...).
    pub removed: Vec<String>,
    /// One line for each run that was left alone because its harness is alive.
    pub alive: Vec<String>,
}

/// Heals what killed harnesses left: open journals in `journal_dir`, and labelled containers,
/// networks and volumes of the Docker engine, if one answers. Called at every start and by
/// `harness heal`.
///
/// Processes and namespaces of the `namespaces` runtime need no healing: the kernel ended them
/// with their harness. Their data is removed here.
///
/// Clusters that were to be kept (`--keep`) go only where `kept` says so.
pub async fn heal(journal_dir: &Path, kept: bool) -> Result<Healed, RuntimeError> {
    let mut healed = Healed::default();
    let reading = format!("reading the journals in {}", journal_dir.display());
    let found = journal::find(journal_dir).map_err(RuntimeError::at(reading))?;
    // Held until everything is gone: two cleaners do not meet.
    let dead: Vec<journal::Found> = found.into_iter().filter(|f| !f.alive()).collect();
    if !namespaces::inside() {
        docker::heal(&dead, kept, &mut healed).await?;
    }
    for journal in dead {
        let path = journal.path.clone();
        if let Some(owner) = &journal.owner {
            namespaces::remove_data(&owner.dir, &mut healed)?;
            let open: Vec<String> = journal.open.iter().map(|l| l.kind.clone()).collect();
            let open = if open.is_empty() {
                String::new()
            } else {
                format!(", killed during {}", open.join(" and "))
            };
            healed.removed.push(format!("run {}{open}", owner.run));
        }
        let removing = format!("removing {}", path.display());
        journal.close().map_err(RuntimeError::at(removing))?;
    }
    Ok(healed)
}

/// A copy of a directory: a hard link for each file where the file system allows it.
fn link_or_copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            link_or_copy(&entry.path(), &target)?;
        } else if kind.is_file() && fs::hard_link(entry.path(), &target).is_err() {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
