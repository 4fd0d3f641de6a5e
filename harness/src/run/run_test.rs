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
    let command = replay_command(&original, 77);
    let words: Vec<&str> = command.split(' ').skip(5).collect();
    let replayed = args(&words);
    assert_eq!(replayed.seed, Some(77));
    assert_eq!(format!("{original:?}"), {
        let mut replayed = replayed;
        replayed.seed = None;
        format!("{replayed:?}")
    });
}
