//! Where a test plays: finds out whether it can, goes inside namespaces if it must, and brings a
//! cluster up for it.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use harness::artifacts::{self, Artifacts};
use harness::runtime::{
    self, ClusterSpec, Program, Runtime, RuntimeChoice, RuntimeKind, namespaces,
};
use nemesis::journal::Owner;
use nemesis::{
    Action, Impairment, Journal, Leadership, Listener, NodeId, NodeState, Roles, Shape, Target,
};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Where {
    Docker,
    /// Clients come through published ports, as where containers cannot be reached.
    DockerPublished,
    Namespaces,
    NamespacesAsNobody,
    Local,
}

impl Where {
    fn kind(self) -> RuntimeKind {
        match self {
            Self::Docker | Self::DockerPublished => RuntimeKind::Docker,
            Self::Namespaces | Self::NamespacesAsNobody => RuntimeKind::Namespaces,
            Self::Local => RuntimeKind::Local,
        }
    }
}

/// Asks the runtime for published ports.
const PUBLISH: &str = "HARNESS_DOCKER_PUBLISH";

/// The user without any privilege, on any Linux.
const NOBODY: u32 = 65_534;

/// Runs a test where it belongs, or says aloud why not.
pub fn on<T: Future<Output = ()>>(place: Where, test: &str, body: impl FnOnce(RuntimeKind) -> T) {
    let kind = place.kind();
    if !available(kind, test) {
        return;
    }
    if kind == RuntimeKind::Namespaces && !namespaces::inside() {
        again_inside(place, test);
        return;
    }
    if place == Where::DockerPublished && std::env::var_os(PUBLISH).is_none() {
        let exe = std::env::current_exe().expect("a test knows its file");
        let mut command = std::process::Command::new(exe);
        command
            .args(["--exact", test, "--nocapture"])
            .env(PUBLISH, "1");
        let status = command.status().expect("the test runs itself");
        assert!(status.success(), "{test} failed with {PUBLISH}=1");
        return;
    }
    block_on(body(kind));
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.expect("tokio starts").block_on(future)
}

/// Whether a runtime works here. Skipping is told; `REQUIRE_DOCKER=1` forbids it for Docker.
pub fn available(kind: RuntimeKind, test: &str) -> bool {
    let found = block_on(runtime::select(RuntimeChoice::Only(kind)));
    let Err(why) = found else { return true };
    let required = std::env::var("REQUIRE_DOCKER").is_ok_and(|value| value == "1");
    assert!(kind != RuntimeKind::Docker || !required, "{why}");
    skipped(test, &why.to_string());
    false
}

/// Standard error of a test is shown only when it fails; this is to be seen.
pub fn skipped(test: &str, why: &str) {
    let line = format!("SKIPPED {test}: {why}\n");
    let mut errors = std::fs::File::create("/dev/stderr").unwrap();
    let _ = std::io::Write::write_all(&mut errors, line.as_bytes());
}

/// The agent, built once by whoever comes first.
pub fn agent() -> Artifacts {
    let built = artifacts::build_agent(&artifacts::workspace(), &mut |line| eprintln!("{line}"));
    built.expect("the agent is built")
}

/// This very test, inside.
fn again_inside(place: Where, test: &str) {
    let artifacts = agent();
    let exe = std::env::current_exe().expect("a test knows its file");
    let arguments = ["--exact", test, "--nocapture"];
    let is_root = nix::unistd::geteuid().is_root();
    let status = if place == Where::NamespacesAsNobody && is_root {
        // What root owns need not be readable for others: the files are put where they are.
        let shared = tempfile::tempdir().unwrap();
        let open = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(shared.path(), open).unwrap();
        let copy = |from: &Path, name: &str| -> PathBuf {
            let to = shared.path().join(name);
            std::fs::copy(from, &to).unwrap();
            std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o755)).unwrap();
            to
        };
        let exe = copy(&exe, "test");
        let agent = copy(&artifacts.agent, "nemesis-agent");
        let artifacts = Artifacts {
            broker: agent.clone(),
            agent,
            seeded_bugs: false,
        };
        let mut command = namespaces::reentry(&artifacts, &exe, arguments);
        // Supplementary groups go when root sets a user.
        command.uid(NOBODY).gid(NOBODY);
        command
            .current_dir(shared.path())
            .env("TMPDIR", shared.path());
        command.status()
    } else {
        namespaces::reentry(&artifacts, &exe, arguments).status()
    };
    assert!(
        status.expect("the agent runs").success(),
        "{test} failed inside"
    );
}

/// A cluster with everything around it.
pub struct Stage {
    pub cluster: Arc<dyn Runtime>,
    pub journal: Arc<Journal>,
    pub dir: PathBuf,
    _owned: Option<tempfile::TempDir>,
}

impl Stage {
    /// Three nodes in a folder of their own.
    pub async fn up(kind: RuntimeKind) -> Self {
        Self::up_with(kind, false).await
    }

    /// The same, on disks that do as they are told.
    pub async fn up_with(kind: RuntimeKind, disks: bool) -> Self {
        let owned = tempfile::tempdir().unwrap();
        let run = format!("test-{}", uuid::Uuid::new_v4().simple());
        let mut stage = Self::up_in(kind, owned.path(), &run, disks).await;
        stage._owned = Some(owned);
        stage
    }

    /// Three nodes of that program, with somebody between them and their clients.
    pub async fn of(kind: RuntimeKind, program: Program, artifacts: &Artifacts) -> Self {
        let owned = tempfile::tempdir().unwrap();
        let run = format!("test-{}", uuid::Uuid::new_v4().simple());
        let mut stage =
            Self::made(kind, owned.path(), &run, (program, false, true), artifacts).await;
        stage._owned = Some(owned);
        stage
    }

    /// Three nodes of a run of that name, in that folder.
    pub async fn up_in(kind: RuntimeKind, dir: &Path, run: &str, disks: bool) -> Self {
        let what = (Program::Echo, disks, false);
        Self::made(kind, dir, run, what, &agent()).await
    }

    /// `what`: the program, whether disks are ours, and whether somebody is before the brokers.
    async fn made(
        kind: RuntimeKind,
        dir: &Path,
        run: &str,
        (program, disks, wire): (Program, bool, bool),
        artifacts: &Artifacts,
    ) -> Self {
        let owner = Owner {
            run: run.to_owned(),
            runtime: kind.name().to_owned(),
            dir: dir.to_owned(),
            pid: std::process::id(),
        };
        let journal = Arc::new(Journal::open(&dir.join("journal"), &owner).unwrap());
        let spec = ClusterSpec {
            run_id: run.to_owned(),
            nodes: 3,
            dir: dir.to_owned(),
            journal: journal.path().to_owned(),
            program,
            image: None,
            disks,
            broker_args: Vec::new(),
            wire,
        };
        let cluster = runtime::up(kind, &spec, artifacts).await;
        Self {
            cluster: cluster.expect("the cluster comes up"),
            journal,
            dir: dir.to_owned(),
            _owned: None,
        }
    }

    pub async fn down(self) {
        self.cluster.down().await.expect("it goes down");
        let journal = Arc::into_inner(self.journal).expect("nobody else has it");
        journal.close().expect("the journal is removed");
    }
}

/// Node 2 has every role, and if it does not run the next one that does.
pub struct Succession(pub Arc<dyn Runtime>);

impl Succession {
    async fn first(&self) -> Option<NodeId> {
        for node in [2, 3, 1].map(NodeId) {
            if self.0.state(node).await.ok()? == NodeState::Running {
                return Some(node);
            }
        }
        None
    }
}

#[async_trait]
impl Roles for Succession {
    fn partition_name(&self, partition: u32) -> String {
        format!("topic-{partition}")
    }

    async fn leader(&self, _partition: u32) -> Option<Leadership> {
        let node = self.first().await?;
        Some(Leadership { node, epoch: 0 })
    }

    async fn in_sync(&self, _partition: u32) -> Option<Vec<NodeId>> {
        Some([1, 2, 3].map(NodeId).to_vec())
    }

    async fn controller(&self) -> Option<NodeId> {
        self.first().await
    }
}

/// Every way in which a fault can act on a runtime.
pub fn every_action(kind: RuntimeKind) -> Vec<(&'static str, Action)> {
    let mut all = [cuts(), processes(), impairments(), delays()].concat();
    all.retain(|(_, action)| action.kind().fidelity(kind.platform()).is_some());
    all
}

/// Every way in which a disk can fail.
pub fn every_disk_action() -> Vec<(&'static str, Action)> {
    let target = leader;
    let power = |torn| Action::PowerLoss {
        target: leader(),
        torn,
    };
    let blackout = Action::Blackout {
        nodes: [1, 3].map(NodeId).to_vec(),
        torn: false,
    };
    let slow = Action::SlowDisk {
        target: target(),
        sync_ms: 300,
    };
    vec![
        ("lose unsynced", power(false)),
        ("torn writes", power(true)),
        ("blackout", blackout),
        ("disk full", Action::DiskFull { target: target() }),
        ("slow disk", slow),
        ("sync error", Action::SyncError { target: target() }),
        ("read error", Action::ReadError { target: target() }),
        ("bit flip", Action::BitFlip { target: target() }),
        ("truncation", Action::Truncation { target: target() }),
    ]
}

fn leader() -> Target {
    Target::Leader { partition: 0 }
}

fn cut(shape: Shape, spares: &[Listener], clients: bool) -> Action {
    Action::Partition {
        shape,
        spares: spares.to_vec(),
        only: Vec::new(),
        clients,
    }
}

fn cuts() -> Vec<(&'static str, Action)> {
    let order = [3, 1, 2].map(NodeId).to_vec();
    let isolate = || Shape::Isolate { target: leader() };
    let halves = Shape::Halves {
        side: vec![NodeId(1)],
    };
    let ring = Shape::Ring {
        order: order.clone(),
    };
    let one_way = Shape::OneWay {
        target: leader(),
        deaf: true,
    };
    let one_port = Action::Partition {
        shape: isolate(),
        spares: Vec::new(),
        only: vec![Listener::Replication],
        clients: false,
    };
    let clients = Shape::Clients { target: leader() };
    vec![
        ("isolate", cut(isolate(), &[], false)),
        ("isolate, clients too", cut(isolate(), &[], true)),
        (
            "isolate, controller spared",
            cut(isolate(), &[Listener::Controller], false),
        ),
        ("halves", cut(halves, &[], false)),
        ("ring", cut(ring, &[], false)),
        ("bridge", cut(Shape::Bridge { order }, &[], false)),
        ("one-way", cut(one_way, &[], false)),
        ("port partition", one_port),
        ("clients", cut(clients, &[], false)),
    ]
}

fn processes() -> Vec<(&'static str, Action)> {
    let target = leader;
    let cpu = Action::Pressure {
        target: leader(),
        threads_per_cpu: 4,
        mib: 0,
    };
    let memory = Action::Pressure {
        target: leader(),
        threads_per_cpu: 0,
        mib: 64,
    };
    let rolling = Action::RollingRestart {
        order: [3, 1, 2].map(NodeId).to_vec(),
        down_ms: 100,
    };
    let chase = Action::Chase {
        target: leader(),
        times: 3,
    };
    vec![
        ("kill", Action::Kill { target: target() }),
        ("pause", Action::Pause { target: target() }),
        ("stop", Action::Stop { target: target() }),
        ("rolling restart", rolling),
        ("chase", chase),
        ("cpu", cpu),
        ("memory", memory),
    ]
}

fn impairments() -> Vec<(&'static str, Action)> {
    let impair = |impairment| Action::Impair {
        target: leader(),
        impairment,
    };
    let latency = Impairment::Latency {
        delay_ms: 60,
        jitter_ms: 40,
    };
    let reorder = Impairment::Reorder {
        percent: 40,
        delay_ms: 60,
    };
    let listeners = || vec![Listener::Client, Listener::Replication];
    let reset = Action::Reset {
        target: leader(),
        listeners: listeners(),
    };
    let half_open = Action::HalfOpen {
        target: leader(),
        listeners: listeners(),
    };
    vec![
        ("latency", impair(latency)),
        ("reorder", impair(reorder)),
        ("loss", impair(Impairment::Loss { percent: 20 })),
        ("bandwidth", impair(Impairment::Rate { kib_per_second: 64 })),
        ("trickle", impair(Impairment::Rate { kib_per_second: 4 })),
        ("reset", reset),
        ("half-open", half_open),
    ]
}

fn delays() -> Vec<(&'static str, Action)> {
    let delay = |inbound_ms, outbound_ms| Action::DelayWatermark {
        target: leader(),
        inbound_ms,
        outbound_ms,
    };
    vec![
        ("delay inbound", delay(100, 0)),
        ("delay outbound", delay(0, 100)),
        ("delay both", delay(300, 200)),
    ]
}
