//! What a run is made of, without any cluster.

use clap::Parser as _;

use super::*;
use crate::cli::Cli;

fn args(arguments: &[&str]) -> RunArgs {
    let arguments = std::iter::once(&"harness").chain(arguments);
    Cli::try_parse_from(arguments).expect("parses").run
}

fn dry_run(arguments: &[&str], seed: u64) -> [String; 2] {
    let schedule = Schedule::generate(seed, &schedule_spec(&args(arguments))).expect("a schedule");
    [false, true].map(|json| shown(&schedule, json))
}

#[test]
fn the_schedule_is_the_same_bytes_with_and_without_a_seeded_bug() {
    let faults = ["--nemesis", "partition,kill,pause,delay-watermark"];
    let mut with_bug = faults.to_vec();
    with_bug.extend(["--seeded-bug", "hw-is-leo"]);
    for seed in 0..50 {
        assert_eq!(dry_run(&faults, seed), dry_run(&with_bug, seed));
        assert_ne!(dry_run(&faults, seed), dry_run(&faults, seed + 1));
    }
}

#[test]
fn the_replay_command_gives_the_same_run() {
    let original = args(&[
        "--nemesis",
        "kill,pause",
        "--messages",
        "2000",
        "--acks",
        "1",
        "--size",
        "1K..2K",
        "--rate",
        "500",
        "--seeded-bug",
        "M05",
        "--runtime",
        "namespaces",
        "--cut-clients",
        "--overlap",
    ]);
    repeats(&original);
    let kafka = args(&[
        "--nemesis",
        "kill",
        "--target",
        "kafka",
        "--image",
        "registry.example/kafka:4.3.1",
        "--broker-config",
        "unclean.leader.election.enable=true",
        "--topic-config",
        "retention.ms=600000",
        "--durability",
        "fsync",
    ]);
    kafka.validate().expect("possible");
    repeats(&kafka);
}

fn repeats(original: &RunArgs) {
    let command = replay_command(original, 77);
    let words: Vec<&str> = command.split(' ').skip(5).collect();
    let replayed = args(&words);
    assert_eq!(replayed.seed, Some(77));
    assert_eq!(format!("{original:?}"), {
        let mut replayed = replayed;
        replayed.seed = None;
        format!("{replayed:?}")
    });
}

#[test]
fn a_word_that_a_shell_would_read_otherwise_is_quoted() {
    assert_eq!(quoted("a.b=1"), "a.b=1");
    assert_eq!(quoted("a=$(reboot)"), "'a=$(reboot)'");
    assert_eq!(quoted("it's"), r"'it'\''s'");
}
