//! A harness that is killed in the middle of a fault: the next one finds what it left, and
//! removes it.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::artifacts::Artifacts;
use harness::runtime::{self, RuntimeKind, namespaces};
use nemesis::{Observer, Step, StepKind};
use tokio::sync::watch;

use crate::bites::{executor, schedule};
use crate::stage::{self, Stage, every_action};

/// For the process that is to be killed: which fault, in which folder.
const FAULT: &str = "TEST_VICTIM_FAULT";
const DIR: &str = "TEST_VICTIM_DIR";
/// Said by the victim when its fault bites.
const BITES: &str = "the fault bites";
const DEATH_LIMIT: Duration = Duration::from_secs(10);

struct Tell;

impl Observer for Tell {
    fn step(&self, step: &Step) {
        if step.kind == StepKind::Effective {
            println!("{BITES}");
        }
    }
}

/// In the victim: holds its fault until it is killed. False in the test itself.
fn be_victim(kind: RuntimeKind) -> bool {
    let (Ok(fault), Ok(dir)) = (std::env::var(FAULT), std::env::var(DIR)) else {
        return false;
    };
    let actions = every_action();
    let (_, action) = actions
        .iter()
        .find(|(name, _)| *name == fault)
        .expect("a fault");
    let dir = PathBuf::from(dir);
    let run = dir
        .file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    stage::block_on(async {
        let stage = Stage::up_in(kind, &dir, &run).await;
        let (_stop, stopped) = watch::channel(false);
        let executor = executor(&stage, Arc::new(Tell));
        let begun = tokio::time::Instant::now();
        let execution = executor
            .run(&schedule(action, 600_000), begun, stopped)
            .await;
        panic!("it was to be killed: {execution:?}");
    })
}

/// Starts the victim, and returns once its fault bites.
fn until_it_bites(mut command: Command, fault: &str, dir: &Path) -> Child {
    command
        .env(FAULT, fault)
        .env(DIR, dir)
        .stdout(Stdio::piped());
    let mut victim = command.spawn().expect("the test runs itself");
    let output = BufReader::new(victim.stdout.take().unwrap());
    let bites = output
        .lines()
        .map_while(Result::ok)
        .any(|line| line.contains(BITES));
    assert!(
        bites,
        "{fault}: the victim ended before its fault took effect"
    );
    victim
}

fn folder(parent: &Path, kind: RuntimeKind) -> PathBuf {
    let unique = uuid::Uuid::new_v4().simple().to_string();
    let dir = parent.join(format!("test-{}-{unique}", kind.name()));
    std::fs::create_dir(&dir).unwrap();
    dir
}

pub fn in_docker(test: &str) {
    let kind = RuntimeKind::Docker;
    if !stage::available(kind, test) || be_victim(kind) {
        return;
    }
    stage::agent();
    let parent = tempfile::tempdir().unwrap();
    for (fault, _) in every_action() {
        let dir = folder(parent.path(), kind);
        let run = dir.file_name().unwrap().to_string_lossy().into_owned();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", test, "--nocapture"]);
        let mut victim = until_it_bites(command, fault, &dir);
        assert!(
            !left_in_docker(&run).is_empty(),
            "{fault}: it left something to remove"
        );
        victim.kill().unwrap();
        victim.wait().unwrap();
        let healed = stage::block_on(runtime::heal(&dir.join("journal"), false)).unwrap();
        // Three holders, three brokers, three volumes, a network, and the journal.
        let mine = healed.removed.iter().filter(|line| line.contains(&run));
        assert_eq!(mine.count(), 11, "{fault}: {healed:?}");
        assert_eq!(left_in_docker(&run), Vec::<String>::new(), "{fault}");
        let again = stage::block_on(runtime::heal(&dir.join("journal"), false)).unwrap();
        assert!(
            again.removed.iter().all(|line| !line.contains(&run)),
            "{again:?}"
        );
    }
}

/// Asked of the engine by its own command line or, without one, by the label that we set.
fn left_in_docker(run: &str) -> Vec<String> {
    let lists = [
        vec!["ps", "-a", "--format", "{{.Names}}"],
        vec!["network", "ls", "--format", "{{.Name}}"],
        vec!["volume", "ls", "--format", "{{.Name}}"],
    ];
    let mut left = Vec::new();
    for list in lists {
        let output = Command::new("docker").args(&list).output();
        let output = output.expect("the engine comes with its command line");
        assert!(output.status.success(), "docker {list:?}: {output:?}");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        left.extend(
            text.lines()
                .filter(|line| line.contains(run))
                .map(str::to_owned),
        );
    }
    left
}

pub fn in_namespaces(test: &str) {
    let kind = RuntimeKind::Namespaces;
    if !stage::available(kind, test) || be_victim(kind) {
        return;
    }
    let parent = tempfile::tempdir().unwrap();
    // An agent under a name of its own: its processes are told from everybody else's.
    let agent = parent.path().join("nemesis-agent");
    std::fs::copy(stage::agent().agent, &agent).unwrap();
    let artifacts = Artifacts {
        broker: agent.clone(),
        agent: agent.clone(),
        seeded_bugs: false,
    };
    for (fault, _) in every_action() {
        let dir = folder(parent.path(), kind);
        let exe = std::env::current_exe().unwrap();
        let command = namespaces::reentry(&artifacts, &exe, ["--exact", test, "--nocapture"]);
        let mut victim = until_it_bites(command, fault, &dir);
        let running = processes_of(&agent);
        // Outside, init, three holders, and three brokers unless one is killed.
        assert!(running.len() >= 7, "{fault}: {running:?}");
        // Of our processes alone: others may run clusters at the same time.
        let outside = namespace_of(std::process::id()).expect("we are in one");
        let mut ours: BTreeSet<u64> = running.iter().copied().filter_map(namespace_of).collect();
        ours.remove(&outside);
        assert!(ours.len() >= 4, "{fault}: {ours:?}");
        victim.kill().unwrap();
        victim.wait().unwrap();
        // Killed from outside, the rest follows within moments: every process of ours, and the
        // harness inside, which holds the journal.
        let journal = dir.join("journal").join(dir.file_name().unwrap());
        let journal = journal.with_extension("jsonl");
        let dying = || !processes_of(&agent).is_empty() || nemesis::journal::alive(&journal);
        let deadline = Instant::now() + DEATH_LIMIT;
        while dying() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5)); // a poll's pause
        }
        assert_eq!(processes_of(&agent), Vec::<u32>::new(), "{fault}");
        let all: BTreeSet<u64> = pids().into_iter().filter_map(namespace_of).collect();
        let left: Vec<&u64> = all.intersection(&ours).collect();
        assert_eq!(left, Vec::<&u64>::new(), "{fault}: network namespaces");
        assert!(dir.join("data").exists());
        let healed = stage::block_on(runtime::heal(&dir.join("journal"), false)).unwrap();
        assert!(
            healed.removed.iter().any(|line| line.starts_with("run ")),
            "{healed:?}"
        );
        assert!(!dir.join("data").exists(), "{fault}: data is left");
        assert!(
            std::fs::read_dir(dir.join("journal"))
                .unwrap()
                .next()
                .is_none()
        );
    }
}

fn pids() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let names = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    names.collect()
}

/// Processes whose program, or whose argument, is this file.
fn processes_of(program: &Path) -> Vec<u32> {
    let mentions = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let program = program.as_os_str().as_encoded_bytes();
        line.windows(program.len()).any(|window| window == program)
    };
    pids().into_iter().filter(mentions).collect()
}

/// The network namespace that a process is in.
fn namespace_of(pid: u32) -> Option<u64> {
    Some(std::fs::metadata(format!("/proc/{pid}/ns/net")).ok()?.ino())
}
