//! Disks that do as the nemesis tells them, under the data directories of brokers.
//!
//! Each is a file system in user space (FUSE) that our agent serves: a process of this machine,
//! spoken to over its standard input and output. It is mounted before its broker starts, and only
//! for runs that ask for such faults: every write goes through one process more.
//!
//! It unmounts itself when this process is gone. If it is killed with it, a stale mount is left,
//! which [`unmount_below`] takes away, told by the journal where to look.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nemesis::agent::disk::{DiskReply, DiskRequest, DiskSpec, SOURCE, unmount};
use nemesis::agent::{AgentCommand, Silence};
use nemesis::{Cluster, ClusterError, DiskOrder, DiskReport, NodeId};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::Mutex;
use tokio::time::timeout;

/// What the kernel offers it through.
const DEVICE: &str = "/dev/fuse";
/// No order takes longer on a machine that works.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
/// The name of the rules of a machine without power.
const DARK: &str = "power";

/// Whether this machine and this user can have such disks; if not, why, and what would help.
pub fn possible() -> Result<(), String> {
    match fs::OpenOptions::new().read(true).write(true).open(DEVICE) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(format!(
            "{DEVICE} is not there: load it (sudo modprobe fuse); inside a container: \
             --device {DEVICE} --cap-add SYS_ADMIN"
        )),
        Err(error) => Err(format!(
            "{DEVICE}: {error}; run as root, or let everybody have it (sudo chmod 666 {DEVICE}, \
             as most distributions do)"
        )),
    }
}

struct Talk {
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// One disk.
pub struct Disk {
    node: NodeId,
    at: PathBuf,
    process: Mutex<Child>,
    talk: Mutex<Talk>,
    /// Its machine has no power: nothing gets in or out until it is started.
    dark: AtomicBool,
}

impl Disk {
    /// Makes an empty disk and mounts it in `place`: at `<node>`, with its bytes beside it.
    ///
    /// # Errors
    /// The kernel's or the agent's, in words.
    pub async fn mount(
        agent: &Path,
        place: &Path,
        node: NodeId,
        (ordered, seed): (bool, u64),
    ) -> Result<Self, String> {
        possible()?;
        let io = |error: io::Error| error.to_string();
        let place = std::path::absolute(place).map_err(io)?;
        let spec = DiskSpec {
            at: place.join(node.0.to_string()),
            backing: place.join(format!("{}.disk", node.0)),
            ordered,
            seed: seed ^ u64::from(node.0),
        };
        for dir in [&spec.at, &spec.backing] {
            fs::create_dir_all(dir).map_err(io)?;
        }
        let mut command = Command::new(agent);
        command.args(spec.arguments()).env_clear();
        // A terminal's Ctrl-C is for the harness, which takes its time.
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0);
        let mut process = command.spawn().map_err(io)?;
        let (Some(input), Some(output)) = (process.stdin.take(), process.stdout.take()) else {
            return Err("the agent has no standard input or output".to_owned());
        };
        let output = BufReader::new(output);
        let disk = Self {
            node,
            at: spec.at,
            process: Mutex::new(process),
            talk: Mutex::new(Talk { input, output }),
            dark: AtomicBool::new(false),
        };
        disk.hear().await?;
        Ok(disk)
    }

    /// Where it is mounted.
    pub fn at(&self) -> &Path {
        &self.at
    }

    async fn hear(&self) -> Result<DiskReport, String> {
        let mut talk = self.talk.lock().await;
        read(&mut talk.output).await
    }

    async fn ask(&self, request: &DiskRequest) -> Result<DiskReport, String> {
        let mut line = serde_json::to_vec(request).map_err(|error| error.to_string())?;
        line.push(b'\n');
        let mut talk = self.talk.lock().await;
        let sent = talk.input.write_all(&line).await;
        sent.map_err(|error| format!("the disk is gone: {error}"))?;
        read(&mut talk.output).await
    }

    fn refused(&self, what: String, why: String) -> ClusterError {
        let node = self.node;
        ClusterError::Refused { what, node, why }
    }

    /// How it is.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn report(&self) -> Result<DiskReport, ClusterError> {
        let told = self.ask(&DiskRequest::Report).await;
        told.map_err(|why| self.refused("asking the disk".to_owned(), why))
    }

    /// Does something to it. For a loss of power the machine falls silent first: a process that
    /// is killed says so to its peers, one that has no power does not.
    ///
    /// # Errors
    /// Any step's.
    pub async fn obey(&self, cluster: &dyn Cluster, order: DiskOrder) -> Result<(), ClusterError> {
        if let DiskOrder::LosePower { .. } = order {
            let tag = DARK.to_owned();
            let peers = peers(cluster, self.node)?;
            self.dark.store(true, Ordering::Relaxed);
            let silence = AgentCommand::Silence(Silence { tag, peers });
            self.agent(cluster, &silence).await?;
            cluster.kill(self.node).await?;
        }
        let done = self.ask(&DiskRequest::Order(order)).await;
        done.map_err(|why| self.refused(format!("{order:?} of the disk"), why))?;
        Ok(())
    }

    /// The machine has power again, before its broker starts.
    ///
    /// # Errors
    /// The agent's.
    pub async fn power_on(&self, cluster: &dyn Cluster) -> Result<(), ClusterError> {
        if self.dark.load(Ordering::Relaxed) {
            let tag = Some(DARK.to_owned());
            self.agent(cluster, &AgentCommand::Heal { tag }).await?;
            self.dark.store(false, Ordering::Relaxed);
        }
        Ok(())
    }

    async fn agent(&self, cluster: &dyn Cluster, order: &AgentCommand) -> Result<(), ClusterError> {
        let reply = cluster.agent(self.node, order).await?;
        match reply.error {
            Some(why) if !reply.ok => Err(self.refused(format!("`{}`", order.name()), why)),
            _ => Ok(()),
        }
    }

    /// Unmounts it; its broker must be gone.
    ///
    /// # Errors
    /// The kernel's.
    pub async fn down(&self) -> io::Result<()> {
        if mounts_below(&self.at)?.is_empty() {
            return Ok(());
        }
        unmount(&self.at)?;
        // It has nothing left to serve.
        self.process.lock().await.kill().await
    }
}

async fn read(output: &mut BufReader<ChildStdout>) -> Result<DiskReport, String> {
    let mut line = String::new();
    match timeout(ANSWER_LIMIT, output.read_line(&mut line)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err(format!("no answer within {} s", ANSWER_LIMIT.as_secs())),
    }
    let reply: DiskReply =
        serde_json::from_str(&line).map_err(|error| format!("{error}: {line:?}"))?;
    match (reply.error, reply.report) {
        (Some(error), _) => Err(error),
        (None, Some(report)) => Ok(report),
        (None, None) => Err("it reports nothing".to_owned()),
    }
}

fn peers(cluster: &dyn Cluster, node: NodeId) -> Result<Vec<std::net::Ipv4Addr>, ClusterError> {
    let mut peers = cluster.client_addresses();
    for other in cluster.nodes().into_iter().filter(|other| *other != node) {
        peers.push(cluster.address(other)?);
    }
    Ok(peers)
}

/// Our mounts at `dir` and below it, the deepest first.
fn mounts_below(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let dir = std::path::absolute(dir)?;
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    let ours = table.lines().filter_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        // Numbers, then the root within the file system, then where it is; spaces are `\040`.
        let at = left.split(' ').nth(4)?.replace("\\040", " ");
        let source = right.split(' ').nth(1)?;
        (source == SOURCE).then(|| PathBuf::from(at))
    });
    let mut below: Vec<PathBuf> = ours.filter(|at| at.starts_with(&dir)).collect();
    below.sort_by(|a, b| b.cmp(a));
    Ok(below)
}

/// Takes away mounts that outlived their disks.
///
/// # Errors
/// The kernel's.
pub fn unmount_below(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let stale = mounts_below(dir)?;
    for at in &stale {
        match unmount(at) {
            // A disk whose harness is gone unmounts itself: it was faster.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
            other => other?,
        }
    }
    Ok(stale)
}
