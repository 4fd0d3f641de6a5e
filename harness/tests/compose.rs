//! Somebody else's cluster in the containers of a compose project: our own broker, in containers
//! that carry the label that compose would put on them (so that no compose is needed here), reached
//! through published ports, which the engine's proxy keeps open when the broker behind is dead.
//!
//! Without a Docker engine the test says so and passes; with REQUIRE_DOCKER=1 it fails instead.

use std::path::Path;
use std::process::{Command, Output};

use harness::artifacts::{self, BuildOptions};
use harness::runtime::docker;
use serde_json::Value as Json;

const LABEL: &str = "com.docker.compose.project.config_files";
const NODES: u32 = 3;

/// Runs the engine's command line, which must do it.
fn engine(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output();
    let output = output.expect("docker runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "docker {arguments:?}: {said}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn engine_is_there() -> bool {
    let output = Command::new("docker").arg("version").output();
    if output.is_ok_and(|output| output.status.success()) {
        return true;
    }
    let required = std::env::var("REQUIRE_DOCKER").is_ok_and(|value| value == "1");
    assert!(!required, "REQUIRE_DOCKER=1, but no engine answers");
    eprintln!("SKIPPED: no Docker engine answers");
    false
}

/// Containers of a project, gone when it is dropped.
struct Project {
    name: String,
    ports: Vec<u16>,
}

impl Project {
    fn up(image: &str, file: &Path) -> Self {
        // A free port each, kept by nobody until its container takes it.
        let free = || {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
            let address = listener.local_addr().expect("an address");
            (listener, address.port())
        };
        let (listeners, ports): (Vec<_>, Vec<u16>) = (0..NODES).map(|_| free()).unzip();
        drop(listeners);
        let name = format!("compose-test-{}", std::process::id());
        let project = Self { name, ports };
        engine(&["network", "create", &project.name]);
        let names: Vec<String> = (1..=NODES).map(|id| project.container(id)).collect();
        let voters: Vec<String> = (1..)
            .zip(&names)
            .map(|(id, name)| format!("{id}@{name}:9094"))
            .collect();
        for (id, port) in (1..).zip(&project.ports) {
            let name = project.container(id);
            let file = file.canonicalize().expect("it is there");
            engine(&[
                "run",
                "-d",
                "--name",
                &name,
                "--network",
                &project.name,
                "--label",
                &format!("{LABEL}={}", file.display()),
                "-p",
                &format!("127.0.0.1:{port}:9092"),
                image,
                &format!("--id={id}"),
                &format!("--voters={}", voters.join(",")),
                "--data-dir=/data",
                "--client-listen=0.0.0.0:9092",
                &format!("--client-advertised=127.0.0.1:{port}"),
                "--replication-listen=0.0.0.0:9093",
                &format!("--replication-advertised={name}:9093"),
                "--controller-listen=0.0.0.0:9094",
                "--replica-lag-time-max-ms=2000",
            ]);
        }
        project
    }

    fn container(&self, id: u32) -> String {
        format!("{}-{id}", self.name)
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        for id in 1..=NODES {
            // What was never made cannot be removed.
            let container = self.container(id);
            let mut removal = Command::new("docker");
            let _ = removal.args(["rm", "-f", "-v", &container]).output();
        }
        let mut removal = Command::new("docker");
        let _ = removal.args(["network", "rm", &self.name]).output();
    }
}

fn explain(output: &Output) -> String {
    format!(
        "{:?}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containers_of_somebody_else_are_killed_and_paused_behind_their_published_ports() {
    if !engine_is_there() {
        return;
    }
    let options = BuildOptions { seeded_bugs: false };
    let mut say = |line: &str| eprintln!("{line}");
    let built = artifacts::build(&artifacts::workspace(), options, &mut say).expect("built");
    let image = docker::broker_image(&built).await.expect("an image");
    let dir = tempfile::tempdir().expect("temp dir");
    let file = dir.path().join("compose.yaml");
    std::fs::write(&file, "name: under-test\n").expect("written");
    let project = Project::up(&image, &file);
    let output = Command::new(env!("CARGO_BIN_EXE_harness"))
        .arg("--compose")
        .arg(&file)
        .arg("--out")
        .arg(dir.path())
        .args(["--nemesis", "kill,pause", "--seed", "11", "--time", "24"])
        .args(["--messages", "20000"])
        .output()
        .expect("the binary runs");
    assert_eq!(output.status.code(), Some(0), "{}", explain(&output));
    let text = std::fs::read_to_string(dir.path().join("latest/schedule.json"));
    let schedule: Json = serde_json::from_str(&text.expect("it is stored")).expect("JSON");
    let executed = schedule["executed"].as_array().expect("a list");
    let seen = |kind: &str| {
        executed
            .iter()
            .any(|fault| fault["kind"] == kind && fault["verified-ms"].is_u64())
    };
    assert!(seen("kill") && seen("pause"), "{schedule:#}");
    // Each broker runs again, and what it logged is kept.
    for id in 1..=NODES {
        let container = project.container(id);
        let state = engine(&["inspect", "-f", "{{.State.Status}}", &container]);
        assert_eq!(state, "running", "{container}");
        let log = dir.path().join(format!("latest/brokers/{id}.log"));
        let written = std::fs::metadata(&log).is_ok_and(|file| file.len() > 0);
        assert!(written, "{log:?}");
    }
}

#[test]
fn a_project_that_does_not_run_is_told_with_the_mend() {
    if !engine_is_there() {
        return;
    }
    let dir = tempfile::tempdir().expect("temp dir");
    let file = dir.path().join("compose.yaml");
    std::fs::write(&file, "name: under-test\n").expect("written");
    let output = Command::new(env!("CARGO_BIN_EXE_harness"))
        .arg("--compose")
        .arg(&file)
        .output()
        .expect("the binary runs");
    assert_eq!(output.status.code(), Some(5), "{}", explain(&output));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("docker compose -f"), "{said}");
}
