//! Faults through the executor, which measures; here the measurements are looked at once more,
//! and told as a table.

use std::fmt::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use harness::runtime::{Runtime, RuntimeKind};
use nemesis::agent::AgentCommand;
use nemesis::executor::ExecutedFault;
use nemesis::{
    Action, Execution, Executor, Fault, FaultKind, Listener, NodeId, NodeState, Observer, Schedule,
    ScheduleSpec, Step,
};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::stage::{FixedRoles, Stage, every_action};

const HELD_MS: u64 = 300;
const REACH: Duration = Duration::from_millis(300);

#[derive(Default)]
pub struct Steps(pub Mutex<Vec<Step>>);

impl Observer for Steps {
    fn step(&self, step: &Step) {
        self.0.lock().unwrap().push(step.clone());
    }
}

/// One fault, at once, for so long.
pub fn schedule(action: &Action, for_ms: u64) -> Schedule {
    Schedule {
        seed: 0,
        spec: ScheduleSpec {
            kinds: vec![action.kind()],
            nodes: 3,
            partitions: 1,
            main_ms: for_ms,
            clients: false,
            overlap: false,
            random: false,
        },
        faults: vec![Fault {
            id: 1,
            at_ms: 0,
            for_ms,
            action: action.clone(),
        }],
    }
}

pub fn executor(stage: &Stage, observer: Arc<dyn Observer>) -> Executor {
    Executor {
        cluster: stage.cluster.clone(),
        roles: Arc::new(FixedRoles),
        observer,
        journal: stage.journal.clone(),
    }
}

async fn carry_out(stage: &Stage, action: &Action) -> Execution {
    let (_stop, stopped) = watch::channel(false);
    let executor = executor(stage, Arc::new(Steps::default()));
    executor
        .run(&schedule(action, HELD_MS), Instant::now(), stopped)
        .await
}

pub async fn every_fault(kind: RuntimeKind) {
    let begun = Instant::now();
    let stage = Stage::up(kind).await;
    let (client, ip) = (
        stage.cluster.client_address(NodeId(1)),
        stage.cluster.address(NodeId(1)),
    );
    let published = std::env::var_os("HARNESS_DOCKER_PUBLISH").is_some();
    assert_eq!(client.unwrap().ip() != ip.unwrap(), published);
    let mut table = format!(
        "\n{} ({} to come up)\n{:<28} {:>9} {:>9}  measured\n",
        kind.name(),
        ms(begun.elapsed().as_millis() as u64),
        "fault",
        "bites in",
        "heals in",
    );
    for (name, action) in every_action() {
        let execution = carry_out(&stage, &action).await;
        assert!(execution.error.is_none(), "{name}: {:?}", execution.error);
        let executed = &execution.faults[0];
        look_at(name, executed);
        writeln!(table, "{}", row(name, executed)).unwrap();
        nothing_is_left(&stage, name).await;
    }
    let begun = Instant::now();
    stage.down().await;
    let down = ms(begun.elapsed().as_millis() as u64);
    eprintln!("{table}{down} to go down\n");
}

fn ms(ms: u64) -> String {
    format!("{ms} ms")
}

fn measured<'a>(executed: &'a ExecutedFault, step: &str, what: &str) -> &'a Value {
    &executed.measured[step][what]
}

fn row(name: &str, executed: &ExecutedFault) -> String {
    let took = |from: Option<u64>, to: Option<u64>| ms(to.unwrap() - from.unwrap());
    let bites = took(executed.asked_ms, executed.effective_ms);
    let held = executed.effective_ms.map(|at| at + executed.fault.for_ms);
    let heals = took(held, executed.verified_ms);
    let effect = |what| measured(executed, "effective", what);
    let gone = |what| measured(executed, "verified", what);
    let detail = match &executed.fault.action {
        Action::Partition { .. } => format!(
            "{} probes silent, {} spared connect, {} packets dropped; then {} connect, {} rules",
            effect("cut").as_array().unwrap().len(),
            effect("spared").as_array().unwrap().len(),
            effect("dropped-packets"),
            gone("open").as_array().unwrap().len(),
            gone("rules"),
        ),
        Action::DelayWatermark { .. } => format!(
            "connect {} us (added {} us); then {} us, {} rules",
            effect("connect-us"),
            effect("expected-us"),
            gone("connect-us"),
            gone("rules"),
        ),
        Action::Kill { .. } => format!(
            "port: {}; then answers in {} us",
            effect("client-port"),
            gone("answer-us")
        ),
        Action::Pause { .. } => format!(
            "accepts {}, answers {}; then answers in {} us",
            effect("accepts"),
            effect("answers"),
            gone("answer-us")
        ),
        _ => format!(
            "{}; then {}",
            executed.measured["effective"], executed.measured["verified"]
        ),
    };
    format!("{name:<28} {bites:>9} {heals:>9}  {detail}")
}

fn look_at(name: &str, executed: &ExecutedFault) {
    assert!(executed.skipped.is_none(), "{name}");
    assert!(executed.measured["effective"].is_object(), "{name}");
    match &executed.fault.action {
        Action::Partition { spares, .. } => {
            let packets = measured(executed, "effective", "dropped-packets");
            // What clients send is not sent here.
            let clients_alone = executed.fault.action.kind() == FaultKind::ClientPartition;
            assert!(clients_alone || packets.as_u64().unwrap() > 0, "{name}");
            if !executed.measured["about"]["only"].is_null() {
                return;
            }
            let spared = measured(executed, "effective", "spared")
                .as_array()
                .unwrap();
            assert_eq!(spared.is_empty(), spares.is_empty(), "{name}");
        }
        Action::DelayWatermark {
            inbound_ms,
            outbound_ms,
            ..
        } => {
            let added = u64::from(inbound_ms + outbound_ms) * 1_000;
            let during = measured(executed, "effective", "connect-us")
                .as_u64()
                .unwrap();
            let after = measured(executed, "verified", "connect-us")
                .as_u64()
                .unwrap();
            assert!(during >= added, "{name}: {during} us");
            assert!(after < added / 2, "{name}: {after} us");
        }
        Action::Kill { .. } => {
            assert_eq!(measured(executed, "effective", "client-port"), "refused");
        }
        Action::Pause { .. } => {
            assert_eq!(measured(executed, "effective", "answers"), false);
        }
        // The executor's measurements are errors where they do not find the effect.
        _ => assert!(executed.measured["verified"].is_object(), "{name}"),
    }
}

/// By other means than the executor's: every rule, every process, every client's connection.
async fn nothing_is_left(stage: &Stage, name: &str) {
    let cluster = &stage.cluster;
    for node in cluster.nodes() {
        let reply = cluster.agent(node, &AgentCommand::Status).await.unwrap();
        assert!(
            reply.rules.is_empty(),
            "{name}: {node} has {:?}",
            reply.rules
        );
        assert_eq!(reply.held, 0, "{name}: {node}");
        assert_eq!(
            cluster.state(node).await.unwrap(),
            NodeState::Running,
            "{name}"
        );
        let reached = cluster.reach(node, Listener::Client, REACH).await.unwrap();
        assert!(
            reached.is_some(),
            "{name}: a client cannot connect to {node}"
        );
    }
}

pub async fn two_clusters(kind: RuntimeKind) {
    let (first, second) = tokio::join!(Stage::up(kind), Stage::up(kind));
    let ip = |stage: &Stage| stage.cluster.address(NodeId(1)).unwrap();
    assert_ne!(ip(&first), ip(&second));
    // A cleaner leaves both alone: their harness is this process.
    let journals = first.dir.join("journal");
    let healed = harness::runtime::heal(&journals, false).await.unwrap();
    assert!(
        healed
            .alive
            .iter()
            .any(|line| line.contains(first.cluster.run_id()))
    );
    assert!(
        healed
            .alive
            .iter()
            .any(|line| line.contains(second.cluster.run_id()))
    );
    nothing_is_left(&first, "first").await;
    nothing_is_left(&second, "second").await;
    first.down().await;
    nothing_is_left(&second, "second, after the first went down").await;
    second.down().await;
}

pub async fn data_and_logs(kind: RuntimeKind) {
    let stage = Stage::up(kind).await;
    let (cluster, node) = (&stage.cluster, NodeId(3));
    let to = stage.dir.join("copy");
    assert!(
        cluster.copy_data(node, &to).await.is_err(),
        "its broker runs"
    );
    assert!(!to.exists());
    // A process that is killed at once has had no time to say anything.
    started(cluster.as_ref(), node, 1).await;
    cluster.restart_all().await.unwrap();
    started(cluster.as_ref(), node, 2).await;
    for node in cluster.nodes() {
        assert_eq!(cluster.state(node).await.unwrap(), NodeState::Running);
    }
    cluster
        .stop(node, Duration::from_millis(200))
        .await
        .unwrap();
    // Twice is once.
    cluster
        .stop(node, Duration::from_millis(200))
        .await
        .unwrap();
    cluster.kill(node).await.unwrap();
    let state = cluster.state(node).await.unwrap();
    assert!(
        matches!(state, NodeState::Stopped { code: Some(_) }),
        "{state:?}"
    );
    cluster.copy_data(node, &to).await.unwrap();
    assert!(to.is_dir());
    cluster.start(node).await.unwrap();
    cluster.start(node).await.unwrap();
    started(stage.cluster.as_ref(), node, 3).await;
    stage.down().await;
}

/// Waits until a node's log tells of so many starts.
async fn started(cluster: &dyn Runtime, node: NodeId, count: usize) {
    let log = cluster.log_file(node).unwrap();
    let starts = || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        text.matches("echo on ports").count()
    };
    let deadline = Instant::now() + Duration::from_secs(10);
    while starts() < count && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(10)).await; // a poll's pause
    }
    assert_eq!(starts(), count);
}
