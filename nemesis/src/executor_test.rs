//! The executor against a cluster in memory, whose rules, processes and delays are as real as the
//! probes that look at them, and which can be told to lie.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Mutex;

use async_trait::async_trait;

use super::*;
use crate::agent::{AgentCommand, AgentReply, ProbeResult, RuleStatus};
use crate::cluster::{DiskOrder, NodeState};
use crate::fault::{Action, Shape, Target};
use crate::journal::{self, Owner};
use crate::node::{Listener, Ports};
use crate::roles::Leadership;
use crate::schedule::ScheduleSpec;

/// What the cluster in memory gets wrong.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Lie {
    #[default]
    None,
    /// Rules are installed and drop nothing.
    RulesWithoutEffect,
    /// Healing says yes and removes nothing.
    HealsNothing,
    /// A killed process stays.
    SurvivesKill,
    /// A killed process does not come up again.
    StaysDown,
    /// The sync that is to fail never comes.
    SyncsNothing,
}

#[derive(Default)]
struct Node {
    stopped: bool,
    paused: bool,
    /// (tag, sender, spared ports, packets dropped)
    cuts: Vec<(String, Ipv4Addr, Vec<u16>, u64)>,
    /// (tag, ports, both delays together)
    delays: Vec<(String, Vec<u16>, u64)>,
}

struct Fake {
    lie: Lie,
    nodes: Mutex<BTreeMap<NodeId, Node>>,
    leader: Option<NodeId>,
    sync_will_fail: Mutex<bool>,
}

fn ip(node: NodeId) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, node.0 as u8)
}

impl Fake {
    fn new(lie: Lie, leader: Option<u32>) -> Arc<Self> {
        let nodes = (1..=3).map(|id| (NodeId(id), Node::default())).collect();
        Arc::new(Self {
            lie,
            nodes: Mutex::new(nodes),
            leader: leader.map(NodeId),
            sync_will_fail: Mutex::default(),
        })
    }

    fn change(&self, node: NodeId, change: impl FnOnce(&mut Node)) {
        change(self.nodes.lock().unwrap().get_mut(&node).unwrap());
    }

    fn drops(&self, at: &mut Node, from: Ipv4Addr, port: u16) -> bool {
        let mut dropped = false;
        for (_, sender, spare, packets) in &mut at.cuts {
            if *sender == from && !spare.contains(&port) && self.lie != Lie::RulesWithoutEffect {
                *packets += 1;
                dropped = true;
            }
        }
        dropped
    }

    fn probe(&self, from: NodeId, to: std::net::SocketAddrV4, say: bool) -> ProbeResult {
        let mut nodes = self.nodes.lock().unwrap();
        let target = NodeId(to.ip().octets()[3].into());
        let there = self.drops(nodes.get_mut(&target).unwrap(), ip(from), to.port());
        let back = self.drops(nodes.get_mut(&from).unwrap(), ip(target), to.port());
        let node = &nodes[&target];
        let late = node
            .delays
            .iter()
            .filter(|d| d.1.contains(&to.port()) && from != target);
        let connect_us = 200 + late.map(|delay| delay.2 * 1_000).sum::<u64>();
        let refused = node.stopped.then(|| "refused".to_owned());
        let error = if there || back {
            Some("timeout".to_owned())
        } else {
            refused
        };
        let silent = node.paused.then(|| "timeout".to_owned());
        ProbeResult {
            to,
            connect_us: error.is_none().then_some(connect_us),
            answer_us: (say && error.is_none() && silent.is_none()).then_some(90),
            error: error.or(silent.filter(|_| say)),
        }
    }

    fn status(&self, node: NodeId) -> AgentReply {
        let nodes = self.nodes.lock().unwrap();
        let rule = |tag: &String, packets| RuleStatus {
            tag: tag.clone(),
            what: "a rule".to_owned(),
            packets,
            bytes: 0,
        };
        let cuts = nodes[&node].cuts.iter().map(|cut| rule(&cut.0, cut.3));
        let delays = nodes[&node].delays.iter().map(|delay| rule(&delay.0, 1));
        AgentReply {
            ok: true,
            rules: cuts.chain(delays).collect(),
            ..AgentReply::default()
        }
    }

    fn is_well(&self) -> bool {
        let nodes = self.nodes.lock().unwrap();
        let well = |n: &Node| !n.stopped && !n.paused && n.cuts.is_empty() && n.delays.is_empty();
        nodes.values().all(well)
    }
}

#[async_trait]
impl Cluster for Fake {
    fn nodes(&self) -> Vec<NodeId> {
        self.nodes.lock().unwrap().keys().copied().collect()
    }

    fn address(&self, node: NodeId) -> Result<Ipv4Addr, ClusterError> {
        Ok(ip(node))
    }

    fn ports(&self) -> Ports {
        Ports::REFERENCE
    }

    fn question(&self) -> (Listener, String) {
        (Listener::Admin, "?".to_owned())
    }

    fn client_addresses(&self) -> Vec<Ipv4Addr> {
        vec![Ipv4Addr::new(10, 0, 0, 254)]
    }

    async fn agent(
        &self,
        node: NodeId,
        command: &AgentCommand,
    ) -> Result<AgentReply, ClusterError> {
        match command {
            AgentCommand::Cut(cut) => self.change(node, |n| {
                let rule = |from: &Ipv4Addr| (cut.tag.clone(), *from, cut.spare.clone(), 0);
                n.cuts.extend(cut.from.iter().map(rule));
            }),
            AgentCommand::Delay(delay) => self.change(node, |n| {
                let both = u64::from(delay.inbound_ms + delay.outbound_ms);
                n.delays
                    .push((delay.tag.clone(), delay.ports.clone(), both));
            }),
            AgentCommand::Heal { tag } if self.lie != Lie::HealsNothing => {
                self.change(node, |n| {
                    let other = |it: &String| tag.as_ref().is_some_and(|tag| tag != it);
                    n.cuts.retain(|cut| other(&cut.0));
                    n.delays.retain(|delay| other(&delay.0));
                });
            }
            AgentCommand::Probe(probe) => {
                let one = |to: &_| self.probe(node, *to, probe.say.is_some());
                return Ok(AgentReply {
                    ok: true,
                    probes: probe.to.iter().map(one).collect(),
                    ..AgentReply::default()
                });
            }
            // What it does not know it does not do: the measurement will say so.
            _ => {}
        }
        Ok(self.status(node))
    }

    async fn reach(
        &self,
        node: NodeId,
        _listener: Listener,
        limit: Duration,
    ) -> Result<Option<Duration>, ClusterError> {
        let mut nodes = self.nodes.lock().unwrap();
        let client = self.client_addresses()[0];
        let cut = self.drops(nodes.get_mut(&node).unwrap(), client, 9092);
        Ok((!cut).then_some(limit / 100))
    }

    async fn kill(&self, node: NodeId) -> Result<(), ClusterError> {
        self.change(node, |n| n.stopped = self.lie != Lie::SurvivesKill);
        Ok(())
    }

    async fn stop(&self, node: NodeId, _grace: Duration) -> Result<(), ClusterError> {
        self.kill(node).await
    }

    async fn start(&self, node: NodeId) -> Result<(), ClusterError> {
        self.change(node, |n| n.stopped = self.lie == Lie::StaysDown);
        Ok(())
    }

    async fn pause(&self, node: NodeId) -> Result<(), ClusterError> {
        self.change(node, |n| n.paused = true);
        Ok(())
    }

    async fn resume(&self, node: NodeId) -> Result<(), ClusterError> {
        self.change(node, |n| n.paused = false);
        Ok(())
    }

    async fn disk(&self, _: NodeId, order: DiskOrder) -> Result<(), ClusterError> {
        *self.sync_will_fail.lock().unwrap() = order == DiskOrder::FailSync(true);
        Ok(())
    }

    async fn sync_will_fail(&self, _: NodeId) -> Result<bool, ClusterError> {
        Ok(self.lie == Lie::SyncsNothing && *self.sync_will_fail.lock().unwrap())
    }

    async fn state(&self, node: NodeId) -> Result<NodeState, ClusterError> {
        let nodes = self.nodes.lock().unwrap();
        Ok(match &nodes[&node] {
            n if n.stopped => NodeState::Stopped { code: Some(134) },
            n if n.paused => NodeState::Paused,
            _ => NodeState::Running,
        })
    }
}

#[async_trait]
impl Roles for Fake {
    fn partition_name(&self, partition: u32) -> String {
        format!("topic-{partition}")
    }

    async fn leader(&self, _partition: u32) -> Option<Leadership> {
        let node = self.leader?;
        Some(Leadership { node, epoch: 4 })
    }

    async fn in_sync(&self, _partition: u32) -> Option<Vec<NodeId>> {
        Some(self.nodes())
    }

    async fn controller(&self) -> Option<NodeId> {
        self.leader
    }
}

#[derive(Default)]
struct Heard(Mutex<Vec<(u32, StepKind, Value)>>);

impl Observer for Heard {
    fn step(&self, step: &Step) {
        let mut steps = self.0.lock().unwrap();
        steps.push((step.fault.id, step.kind, step.value.clone()));
    }
}

struct Stage {
    cluster: Arc<Fake>,
    heard: Arc<Heard>,
    dir: tempfile::TempDir,
    stop: watch::Sender<bool>,
}

impl Stage {
    fn new(lie: Lie, leader: Option<u32>) -> Self {
        Self {
            cluster: Fake::new(lie, leader),
            heard: Arc::new(Heard::default()),
            dir: tempfile::tempdir().unwrap(),
            stop: watch::channel(false).0,
        }
    }

    /// Runs these actions, two seconds each, three seconds between.
    async fn run(&self, actions: &[Action]) -> Execution {
        self.carry_out(&schedule(actions)).await
    }

    async fn carry_out(&self, schedule: &Schedule) -> Execution {
        let owner = Owner {
            run: "test".to_owned(),
            runtime: "fake".to_owned(),
            dir: self.dir.path().to_owned(),
            pid: 1,
        };
        let executor = Executor {
            cluster: self.cluster.clone(),
            roles: self.cluster.clone(),
            observer: self.heard.clone(),
            journal: Arc::new(Journal::open(self.dir.path(), &owner).unwrap()),
        };
        executor
            .run(schedule, Instant::now(), self.stop.subscribe())
            .await
    }

    fn steps(&self) -> Vec<(u32, StepKind)> {
        let steps = self.heard.0.lock().unwrap();
        steps.iter().map(|(id, kind, _)| (*id, *kind)).collect()
    }

    fn value(&self, id: u32, kind: StepKind) -> Value {
        let steps = self.heard.0.lock().unwrap();
        let found = steps.iter().find(|step| step.0 == id && step.1 == kind);
        found.expect("the step was told").2.clone()
    }

    fn open_leases(&self) -> Vec<u32> {
        let found = journal::find(self.dir.path()).unwrap();
        found[0].open.iter().map(|lease| lease.fault).collect()
    }
}

fn schedule(actions: &[Action]) -> Schedule {
    let fault = |(index, action): (usize, &Action)| Fault {
        id: index as u32 + 1,
        at_ms: 1_000 + 5_000 * index as u64,
        for_ms: 2_000,
        action: action.clone(),
    };
    Schedule {
        seed: 0,
        spec: ScheduleSpec {
            kinds: Vec::new(),
            nodes: 3,
            partitions: 6,
            main_ms: 60_000,
            clients: false,
            overlap: false,
            random: false,
        },
        faults: actions.iter().enumerate().map(fault).collect(),
    }
}

const LEADER: Target = Target::Leader { partition: 5 };

fn isolate(spares: &[Listener], clients: bool) -> Action {
    Action::Partition {
        shape: Shape::Isolate { target: LEADER },
        spares: spares.to_vec(),
        only: Vec::new(),
        clients,
    }
}

fn ring() -> Action {
    Action::Partition {
        shape: Shape::Ring {
            order: [1, 2, 3].map(NodeId).to_vec(),
        },
        spares: Vec::new(),
        only: Vec::new(),
        clients: false,
    }
}

fn delay() -> Action {
    Action::DelayWatermark {
        target: LEADER,
        inbound_ms: 50,
        outbound_ms: 20,
    }
}

const FOUR: [StepKind; 4] = [
    StepKind::Asked,
    StepKind::Effective,
    StepKind::Healed,
    StepKind::Verified,
];

#[tokio::test(start_paused = true)]
async fn every_fault_goes_through_its_four_steps_and_leaves_nothing() {
    let stage = Stage::new(Lie::None, Some(2));
    let actions = [
        isolate(&[], false),
        isolate(&[Listener::Controller], false),
        isolate(&[], true),
        ring(),
        Action::Kill { target: LEADER },
        Action::Pause { target: LEADER },
        delay(),
    ];
    let execution = stage.run(&actions).await;
    assert!(execution.error.is_none(), "{:?}", execution.error);
    let ids = 1..=actions.len() as u32;
    let expected: Vec<_> = ids.flat_map(|id| FOUR.map(|kind| (id, kind))).collect();
    assert_eq!(stage.steps(), expected);
    assert!(stage.cluster.is_well());
    assert_eq!(stage.open_leases(), Vec::<u32>::new());
    for executed in &execution.faults {
        assert_eq!(executed.asked_ms, Some(executed.fault.at_ms));
        let held = executed.healed_ms.unwrap() - executed.effective_ms.unwrap();
        assert_eq!(held, executed.fault.for_ms);
        assert!(executed.verified_ms >= executed.healed_ms);
    }
}

#[tokio::test(start_paused = true)]
async fn a_fault_inside_another_is_taken_back_before_that_one() {
    let stage = Stage::new(Lie::None, Some(2));
    let mut schedule = schedule(&[isolate(&[], false), Action::Kill { target: LEADER }]);
    schedule.faults[0].for_ms = 4_000;
    // Due as soon as the other one is asked for, and for as long.
    schedule.faults[1].at_ms = schedule.faults[0].at_ms + 1;
    schedule.faults[1].for_ms = 3_999;
    let execution = stage.carry_out(&schedule).await;
    assert!(execution.error.is_none(), "{:?}", execution.error);
    let expected = [
        (1, StepKind::Asked),
        (1, StepKind::Effective),
        (2, StepKind::Asked),
        (2, StepKind::Effective),
        (2, StepKind::Healed),
        (1, StepKind::Healed),
    ];
    let steps = stage.steps();
    let (told, verified) = steps.split_at(expected.len());
    assert_eq!(told, expected);
    assert_eq!(verified.len(), 2, "{verified:?}");
    assert!(verified.iter().all(|(_, kind)| *kind == StepKind::Verified));
    for id in [1, 2] {
        let asked = stage.value(id, StepKind::Asked);
        assert_eq!(asked["requires"], "nothing", "one hinders the other");
    }
    assert!(stage.cluster.is_well());
}

#[tokio::test(start_paused = true)]
async fn a_step_tells_the_history_what_the_checker_needs() {
    let stage = Stage::new(Lie::None, Some(2));
    stage
        .run(&[isolate(&[], false), isolate(&[Listener::Controller], false)])
        .await;
    let value = stage.value(1, StepKind::Effective);
    assert_eq!(value["fault"], "partition");
    assert_eq!(value["id"], 1);
    assert_eq!(value["step"], "effective");
    assert_eq!(value["targets"], json!([2]));
    assert_eq!(value["role"], "leader");
    assert_eq!(value["partition"], "topic-5");
    assert_eq!(value["epoch"], 4);
    assert_eq!(value["spares"], json!([]));
    assert_eq!(value["requires"], "leader-epoch-change");
    assert_eq!(value["links"].as_array().unwrap().len(), 4);
    assert!(value["measured"]["dropped-packets"].as_u64().unwrap() >= 4);
    let sparing = stage.value(2, StepKind::Effective);
    assert_eq!(sparing["spares"], json!(["controller"]));
    assert_eq!(sparing["requires"], "nothing");
    assert!(!sparing["measured"]["spared"].as_array().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_fault_that_does_not_bite_ends_the_run_as_an_error() {
    for (lie, action) in [
        (Lie::RulesWithoutEffect, isolate(&[], false)),
        (Lie::SurvivesKill, Action::Kill { target: LEADER }),
    ] {
        let stage = Stage::new(lie, Some(1));
        let execution = stage.run(&[action, delay()]).await;
        assert!(matches!(
            execution.error,
            Some(NemesisError::NoEffect { id: 1, .. })
        ));
        let steps = stage.steps();
        assert!(!steps.contains(&(1, StepKind::Effective)));
        assert!(
            steps.contains(&(1, StepKind::Verified)),
            "it is healed all the same"
        );
        assert!(
            steps.iter().all(|step| step.0 == 1),
            "no further fault begins"
        );
        assert!(stage.cluster.is_well());
    }
}

#[tokio::test(start_paused = true)]
async fn a_fault_that_cannot_be_healed_is_told_and_its_lease_stays() {
    for (lie, action) in [
        (Lie::HealsNothing, isolate(&[], false)),
        (Lie::HealsNothing, delay()),
        (Lie::StaysDown, Action::Kill { target: LEADER }),
    ] {
        let stage = Stage::new(lie, Some(1));
        let execution = stage.run(&[action]).await;
        let error = execution.error.expect("not healed");
        assert!(
            matches!(error, NemesisError::NotHealed { id: 1, .. }),
            "{error}"
        );
        if lie == Lie::StaysDown {
            assert!(error.to_string().contains("exit code 134"), "{error}");
        }
        assert_eq!(stage.open_leases(), vec![1]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_vacant_role_is_a_fault_skipped_and_the_others_go_on() {
    let stage = Stage::new(Lie::None, None);
    let execution = stage.run(&[isolate(&[], false), ring()]).await;
    assert!(execution.error.is_none());
    assert_eq!(stage.steps()[0], (1, StepKind::Skipped));
    let skipped = execution.faults[0].skipped.as_deref().unwrap();
    assert!(skipped.contains("leader of partition 5"), "{skipped}");
    // The second was due meanwhile, and waited.
    let second = &execution.faults[1];
    assert!(second.asked_ms.unwrap() >= 1_000 + RESOLVE_LIMIT.as_millis() as u64 - 200);
    assert!(second.verified_ms.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_syncs_nothing_skips_the_failed_sync_and_one_that_survives_it_is_an_error() {
    let action = Action::SyncError { target: LEADER };
    let stage = Stage::new(Lie::SyncsNothing, Some(3));
    let execution = stage.run(&[action.clone(), isolate(&[], false)]).await;
    assert!(execution.error.is_none());
    let skipped = execution.faults[0].skipped.as_deref().unwrap();
    assert!(skipped.contains("n3 synced nothing"), "{skipped}");
    assert!(execution.faults[0].verified_ms.is_some());
    assert!(
        execution.faults[1].effective_ms.is_some(),
        "the next begins"
    );
    assert!(!*stage.cluster.sync_will_fail.lock().unwrap(), "taken back");

    let stage = Stage::new(Lie::None, Some(3));
    let error = stage.run(&[action]).await.error.expect("it went on");
    assert!(matches!(error, NemesisError::NoEffect { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn stopping_heals_at_once_and_begins_nothing_more() {
    let stage = Stage::new(Lie::None, Some(3));
    let begun = Instant::now();
    let (actions, stop) = ([isolate(&[], false), delay()], stage.stop.clone());
    let (execution, ()) = tokio::join!(stage.run(&actions), async {
        tokio::time::sleep_until(begun + Duration::from_millis(1_500)).await; // a poll's pause
        stop.send(true).unwrap();
    });
    assert!(execution.error.is_none());
    assert_eq!(stage.steps(), FOUR.map(|kind| (1, kind)));
    assert_eq!(execution.faults[0].healed_ms, Some(1_500));
    assert!(stage.cluster.is_well());
    assert_eq!(stage.open_leases(), Vec::<u32>::new());
}
