//! Apache Kafka under the harness, as a user starts it.
//!
//! It needs Docker and the image of `targets/kafka/build-image.sh`; where that is absent the test
//! says so and passes, with REQUIRE_KAFKA=1 it fails instead.

use std::process::{Command, Stdio};

use serde_json::Value as Json;

const IMAGE: &str = "harness-kafka:4.3.1";

fn image_is_there() -> bool {
    let inspected = Command::new("docker")
        .args(["image", "inspect", IMAGE])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if inspected.is_ok_and(|status| status.success()) {
        return true;
    }
    let required = std::env::var("REQUIRE_KAFKA").is_ok_and(|value| value == "1");
    assert!(!required, "REQUIRE_KAFKA=1, but there is no {IMAGE}");
    eprintln!("SKIPPED: no image {IMAGE}; `targets/kafka/build-image.sh` makes it");
    false
}

#[test]
fn apache_kafka_survives_the_death_of_a_node_and_the_history_says_whose_it_is() {
    if !image_is_there() {
        return;
    }
    let out = tempfile::tempdir().expect("temp dir");
    let folder = out.path().to_str().expect("a plain path");
    let output = Command::new(env!("CARGO_BIN_EXE_harness"))
        .args(["--target", "kafka", "--nemesis", "kill", "--seed", "3"])
        .args(["--messages", "40000", "--time", "20", "--out", folder])
        .args(["--topic-config", "retention.ms=600000"])
        .output()
        .expect("the binary runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let path = out.path().join("latest/run.json");
    let text = std::fs::read_to_string(path).expect("it is stored");
    let run: Json = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!(run["config"]["target"], "kafka");
    assert_eq!(run["config"]["durability"], "replicated");
    assert_eq!(run["config"]["topic-config"]["retention.ms"], "600000");
    let command = run["command"].as_str().expect("a command");
    assert!(command.contains("--target kafka"), "{command}");
}

#[test]
fn an_image_that_is_not_there_is_named_with_the_mend() {
    let docker = Command::new("docker").arg("version").output();
    if !docker.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: no Docker");
        return;
    }
    let out = tempfile::tempdir().expect("temp dir");
    let folder = out.path().to_str().expect("a plain path");
    let output = Command::new(env!("CARGO_BIN_EXE_harness"))
        .args([
            "--target",
            "kafka",
            "--image",
            "no-such-image:1",
            "--out",
            folder,
        ])
        .output()
        .expect("the binary runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(said.contains("no-such-image:1"), "{said}");
    assert!(said.contains("targets/kafka/build-image.sh"), "{said}");
}
