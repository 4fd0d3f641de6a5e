//! Somebody else's cluster, worked by a `driver.toml`: our own broker, started by plain commands
//! as three processes on loopback addresses. No privilege, no Docker.
//!
//! What is shown: faults of processes bite and heal over the protocol alone; a seeded bug is
//! caught through them; a harness that was killed in a fault leaves a cluster that the next one
//! mends; topics are removed; mistakes in the file are told with their place.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use harness::artifacts::{self, Artifacts, BuildOptions};
use serde_json::Value as Json;

const LIMIT: Duration = Duration::from_secs(60);

/// Brokers that are started, killed and paused by commands of a file.
struct Cluster {
    dir: tempfile::TempDir,
}

/// Clusters of one process have networks of their own.
static NETWORK: AtomicU8 = AtomicU8::new(0);

impl Cluster {
    /// A folder with a `driver.toml`; nothing runs yet. `more` are flags of every broker.
    fn new(more: &str) -> Self {
        let dir = tempfile::tempdir().expect("temp dir");
        let broker = artifacts().broker;
        // Loopback is 127/8: each node has an address, so that all have the same ports. The process
        // id keeps concurrent tests apart.
        let id = std::process::id();
        let (a, b) = (100 + id % 100, id / 100 % 250);
        let c = u32::from(NETWORK.fetch_add(10, Ordering::Relaxed));
        let ip = |node: u32| format!("127.{a}.{b}.{}", c + node);
        let voters: Vec<String> = (1..=3)
            .map(|node| format!("{node}@{}:9094", ip(node)))
            .collect();
        let mut text = format!(
            r#"
[commands]
start = '''
{broker} --id=$NODE_ID --voters={voters} --data-dir=data-$NODE_ID --client-listen=$NODE_ADDRESS \
  --replication-listen=$NODE_HOST:9093 --controller-listen=$NODE_HOST:9094 \
  --admin-listen=$NODE_HOST:9095 --replica-lag-time-max-ms=2000 {more} >>$NODE_ID.log 2>&1 &
echo $! >$NODE_ID.pid
'''
stop = "kill $(cat $NODE_ID.pid)"
kill = "kill -9 $(cat $NODE_ID.pid)"
pause = "kill -STOP $(cat $NODE_ID.pid)"
resume = "kill -CONT $(cat $NODE_ID.pid)"
logs = "cat $NODE_ID.log"
"#,
            broker = broker.display(),
            voters = voters.join(","),
        );
        for node in 1..=3 {
            let ip = ip(node);
            text.push_str(&format!("[[node]]\nid = {node}\naddress = \"{ip}:9092\"\n"));
        }
        std::fs::write(dir.path().join("driver.toml"), text).expect("written");
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn harness(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_harness"));
        command.arg("--driver").arg(self.path("driver.toml"));
        command.arg("--out").arg(self.path("results"));
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let run = self.harness().args(arguments).output();
        run.expect("the binary runs")
    }

    /// The letter that the kernel gives a broker's process; `None`: there is no such process.
    fn state(&self, node: u32) -> Option<char> {
        let pid = std::fs::read_to_string(self.path(&format!("{node}.pid"))).ok()?;
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).ok()?;
        let letter = stat.rsplit_once(") ")?.1.chars().next()?;
        (letter != 'Z').then_some(letter)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in 1..=3 {
            if self.state(node).is_some() {
                let kill = format!("kill -9 $(cat {node}.pid)");
                let mut kill = sh(self.dir.path(), &kill);
                // Nothing more can be done for one that cannot be killed.
                let _ = kill.status();
            }
        }
    }
}

fn sh(dir: &Path, command: &str) -> Command {
    let mut sh = Command::new("sh");
    sh.args(["-c", command]).current_dir(dir);
    sh
}

fn artifacts() -> Artifacts {
    let options = BuildOptions { seeded_bugs: true };
    let mut say = |line: &str| eprintln!("{line}");
    artifacts::build(&artifacts::workspace(), options, &mut say).expect("it is built")
}

fn explain(output: &Output) -> String {
    format!(
        "{:?}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn stored(cluster: &Cluster, file: &str) -> Json {
    let path = cluster.path("results/latest").join(file);
    let text = std::fs::read_to_string(&path).expect("it is stored");
    serde_json::from_str(&text).expect("it is JSON")
}

/// Polls until it is so.
fn until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !so() {
        assert!(Instant::now() < deadline, "{what} never came to be");
        // poll
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn processes_of_somebody_else_are_killed_and_paused_and_nothing_is_left() {
    let cluster = Cluster::new("");
    let flags = ["--nemesis", "kill,pause", "--seed", "11", "--messages"];
    let output = cluster.run(&[&flags[..], &["20000", "--time", "24"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", explain(&output));

    let schedule = stored(&cluster, "schedule.json");
    let executed = schedule["executed"].as_array().expect("a list");
    let done: Vec<&str> = executed
        .iter()
        .filter(|fault| fault["effective-ms"].is_u64() && fault["verified-ms"].is_u64())
        .filter_map(|fault| fault["kind"].as_str())
        .collect();
    assert!(
        done.contains(&"kill") && done.contains(&"pause"),
        "{done:?}"
    );

    // Both passes: every broker was killed and started between them.
    let run = stored(&cluster, "run.json");
    assert!(run["notes"]["restart-seconds"].is_f64(), "{run}");
    assert_eq!(run["config"]["runtime"], "external");
    let command = run["command"].as_str().expect("a command");
    assert!(command.contains("--driver"), "{command}");
    // Our broker cannot remove topics, and the run says so.
    assert!(run["notes"]["topics"]["left"].is_array(), "{run}");

    // Brokers that were started for the run are gone with it; what they logged is kept.
    for node in 1..=3 {
        assert_eq!(cluster.state(node), None, "broker {node}");
        let log = cluster.path(&format!("results/latest/brokers/{node}.log"));
        assert!(
            std::fs::metadata(&log).is_ok_and(|file| file.len() > 0),
            "{log:?}"
        );
    }
    let journals = std::fs::read_dir(cluster.path("results/.journal")).expect("a folder");
    assert_eq!(journals.count(), 0);
}

#[test]
fn a_seeded_bug_is_caught_through_the_commands() {
    let cluster = Cluster::new("--seeded-bug=hw-from-metadata");
    let flags = ["--nemesis", "kill", "--seed", "5", "--messages", "20000"];
    let output = cluster.run(&[&flags[..], &["--time", "24"]].concat());
    assert_eq!(output.status.code(), Some(1), "{}", explain(&output));
    let verdict = stored(&cluster, "verdict.json");
    assert_eq!(verdict["verdict"], "invalid");
}

fn started(cluster: &Cluster, arguments: &[&str]) -> Child {
    let said = std::fs::File::create(cluster.path("said")).expect("created");
    cluster
        .harness()
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(said)
        .spawn()
        .expect("the binary runs")
}

/// Waits until some broker's process is in that state (`None`: gone), and says whose.
fn hit(cluster: &Cluster, state: Option<char>) -> u32 {
    let mut node = 0;
    until("a fault", || {
        let all = (1..=3).all(|node| cluster.path(&format!("{node}.pid")).exists());
        node = (1..=3)
            .find(|node| cluster.state(*node) == state)
            .unwrap_or(0);
        all && node != 0
    });
    node
}

#[test]
fn what_a_killed_harness_left_is_mended_by_the_next_one() {
    for (nemesis, state) in [("pause", Some('T')), ("kill", None)] {
        let cluster = Cluster::new("");
        // The cluster runs already: it is not the harness's to take down.
        for node in 1..=3 {
            start(&cluster, node);
        }
        let mut harness = started(&cluster, &["--nemesis", nemesis, "--time", "60"]);
        let node = hit(&cluster, state);
        harness.kill().expect("it was running");
        harness.wait().expect("it is ours");
        assert_eq!(cluster.state(node), state, "nobody mends it by itself");

        let healed = Command::new(env!("CARGO_BIN_EXE_harness"))
            .args(["heal", "--out"])
            .arg(cluster.path("results"))
            .output()
            .expect("the binary runs");
        assert_eq!(healed.status.code(), Some(0), "{}", explain(&healed));
        let said = String::from_utf8_lossy(&healed.stdout).into_owned();
        assert!(
            said.contains(&format!("a fault of broker {node}")),
            "{said}"
        );
        for node in 1..=3 {
            let state = cluster.state(node);
            assert!(
                state.is_some_and(|letter| letter != 'T'),
                "{node}: {state:?}"
            );
        }
    }
}

/// Starts a broker as its owner would, by the command of the file.
fn start(cluster: &Cluster, node: u32) {
    let text = std::fs::read_to_string(cluster.path("driver.toml")).expect("a file");
    let document: toml::Table = text.parse().expect("TOML");
    let command = document["commands"]["start"].as_str().expect("a command");
    let nodes = document["node"].as_array().expect("nodes");
    let address = nodes[node as usize - 1]["address"].as_str().expect("one");
    let (host, _) = address.split_once(':').expect("HOST:PORT");
    let mut sh = sh(cluster.dir.path(), command);
    sh.env("NODE_ID", node.to_string());
    sh.env("NODE_ADDRESS", address).env("NODE_HOST", host);
    assert!(sh.status().expect("sh runs").success());
}

#[test]
fn a_command_that_does_nothing_is_found_out() {
    let cluster = Cluster::new("");
    let path = cluster.path("driver.toml");
    let text = std::fs::read_to_string(&path).expect("a file");
    let text = text.replace("kill -9 $(cat $NODE_ID.pid)", "true");
    std::fs::write(&path, text).expect("written");
    let flags = ["--nemesis", "kill", "--seed", "5", "--messages", "2000"];
    let output = cluster.run(&[&flags[..], &["--time", "12"]].concat());
    assert_eq!(output.status.code(), Some(5), "{}", explain(&output));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("still answers"), "{said}");
}

#[test]
fn mistakes_are_told_before_anything_is_done() {
    let cluster = Cluster::new("");
    let path = cluster.path("driver.toml");
    let refused = |arguments: &[&str], code: i32, expected: &str| {
        let output = cluster.run(arguments);
        assert_eq!(output.status.code(), Some(code), "{}", explain(&output));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(expected), "{said}");
    };
    let partition = ["--nemesis", "partition"];
    refused(&partition, 64, "somebody else's network");
    let text = std::fs::read_to_string(&path).expect("a file");
    std::fs::write(&path, text.replace("\nresume = ", "\nresum = ")).expect("written");
    refused(&[], 65, "driver.toml:11:1: unknown key `resum`");
    let without: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with("pause") && !line.starts_with("resume"))
        .collect();
    std::fs::write(&path, without.join("\n")).expect("written");
    refused(&["--nemesis", "pause"], 64, "has no commands for it");
}

#[test]
fn a_driver_that_mistakes_one_broker_for_another_is_found_out_before_it_hits_one() {
    let cluster = Cluster::new("");
    for node in 1..=3 {
        start(&cluster, node);
    }
    let path = cluster.path("driver.toml");
    let text = std::fs::read_to_string(&path).expect("a file");
    let swapped = text.replace("id = 1", "id = 9").replace("id = 2", "id = 1");
    std::fs::write(&path, swapped.replace("id = 9", "id = 2")).expect("written");
    let output = cluster.run(&["--nemesis", "kill"]);
    assert_eq!(output.status.code(), Some(5), "{}", explain(&output));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("the driver says that broker"), "{said}");
    // They were not the run's to take down.
    assert!((1..=3).all(|node| cluster.state(node).is_some()));
}
