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
use nemesis::{Action, Impairment, Journal, Leadership, Listener, NodeId, Roles, Shape, Target};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Where {
    Docker,
    /// Clients come through published ports, as where containers cannot be reached.
    DockerPublished,
    Namespaces,
    NamespacesAsNobody,
}

impl Where {
    fn kind(self) -> RuntimeKind {
        match self {
            Self::Docker | Self::DockerPublished => RuntimeKind::Docker,
            Self::Namespaces | Self::NamespacesAsNobody => RuntimeKind::Namespaces,
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
    // Standard error of a test is shown only when it fails; this is to be seen.
    let line = format!("SKIPPED {test}: {why}\n");
    let _ = std::io::Write::write_all(
        &mut std::fs::File::create("/dev/stderr").unwrap(),
        line.as_bytes(),
    );
    false
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
        let owned = tempfile::tempdir().unwrap();
        let run = format!("test-{}", uuid::Uuid::new_v4().simple());
        let mut stage = Self::up_in(kind, owned.path(), &run).await;
        stage._owned = Some(owned);
        stage
    }

    /// Three nodes of a run of that name, in that folder.
    pub async fn up_in(kind: RuntimeKind, dir: &Path, run: &str) -> Self {
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
            program: Program::Echo,
            image: None,
            broker_args: Vec::new(),
        };
        let cluster = runtime::up(kind, &spec, &agent()).await;
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

/// Node 2 has every role; the others follow.
pub struct FixedRoles;

#[async_trait]
impl Roles for FixedRoles {
    fn partition_name(&self, partition: u32) -> String {
        format!("topic-{partition}")
    }

    async fn leader(&self, _partition: u32) -> Option<Leadership> {
        Some(Leadership {
            node: NodeId(2),
            epoch: 0,
        })
    }

    async fn in_sync(&self, _partition: u32) -> Option<Vec<NodeId>> {
        Some([1, 2, 3].map(NodeId).to_vec())
    }

    async fn controller(&self) -> Option<NodeId> {
        Some(NodeId(2))
    }
}

/// Every way in which a fault can act.
pub fn every_action() -> Vec<(&'static str, Action)> {
    [cuts(), processes(), impairments(), delays()].concat()
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
    vec![
        ("kill", Action::Kill { target: target() }),
        ("pause", Action::Pause { target: target() }),
        ("cpu", cpu),
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
    let reset = Action::Reset {
        target: leader(),
        listeners: vec![Listener::Client, Listener::Replication],
    };
    vec![
        ("latency", impair(latency)),
        ("reorder", impair(reorder)),
        ("loss", impair(Impairment::Loss { percent: 20 })),
        ("bandwidth", impair(Impairment::Rate { kib_per_second: 64 })),
        ("reset", reset),
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
