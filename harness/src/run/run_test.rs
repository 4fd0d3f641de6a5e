//! What a run is made of, without any cluster.

use super::*;
use crate::cli::Workload;

fn args(arguments: &[&str]) -> RunArgs {
    let words = arguments.iter().map(ToString::to_string);
    RunArgs::parsed(words).expect("parses")
}

fn dry_run(arguments: &[&str], seed: u64) -> [String; 2] {
    let args = args(arguments);
    let schedule = schedule_of(&args, seed).expect("a schedule");
    [Form::Text, Form::Json].map(|form| shown(&args, &schedule, form))
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
    let command = replay_command(original, 77, "results/x/");
    let words: Vec<&str> = command.split(' ').skip(5).collect();
    let mut replayed = args(&words);
    assert_eq!(replayed.seed.take(), Some(77));
    let fields = |args: &RunArgs| {
        let given = Vec::new();
        format!(
            "{:?}",
            RunArgs {
                given,
                ..args.clone()
            }
        )
    };
    assert_eq!(fields(original), fields(&replayed));
}

#[test]
fn a_schedule_with_its_settings_is_the_same_run_again() {
    let flags = [
        "--nemesis",
        "partition,kill",
        "--overlap",
        "--messages",
        "2000",
        "--size",
        "1K..2K",
        "--no-idempotence",
        "--topic-config",
        "retention.ms=600000",
        "--topic-config",
        "segment.bytes=1000000",
        "--time",
        "50",
    ];
    let drawn = args(&flags);
    let schedule = schedule_of(&drawn, 7).expect("a schedule");
    let dir = tempfile::tempdir().expect("temp dir");
    let file = dir.path().join("s.toml");
    std::fs::write(&file, shown(&drawn, &schedule, Form::Toml)).expect("written");
    let clap = <crate::cli::Cli as clap::CommandFactory>::command();
    let layer = crate::cli::settings::schedule_layer(&clap, file.to_str().expect("a path"));
    let layer = layer.expect("its settings are understood");
    let words = layer
        .iter()
        .flat_map(|((_, flag), setting)| setting.words(flag));
    let words: Vec<String> = words.collect();
    let mut read = RunArgs::parsed(words).expect("flags");
    read.schedule = Some(file);
    read.read_schedule().expect("understood");
    assert_eq!(read.faults.as_ref(), Some(&schedule.faults));
    assert_eq!(read.seed, Some(7));
    let again = schedule_of(&read, 7).expect("a schedule");
    assert_eq!(again.faults, schedule.faults);
    let settings = |args: &RunArgs| config::config(args, 7, None, 0);
    assert_eq!(settings(&read), settings(&drawn));
}

#[test]
fn what_is_sent_and_when_is_a_function_of_the_seed_in_every_workload() {
    let sent = |args: &RunArgs, seed: u64| {
        let spec = main_phase::plan_spec(args, seed, args.partitions());
        let writers = main_phase::writers(args, &spec).into_iter();
        let three = writers.map(|(mut plan, pace)| {
            let batches: Vec<_> = (0..3).map(|n| (pace.due(n), plan.next_batch())).collect();
            batches
        });
        three.collect::<Vec<_>>()
    };
    for workload in Workload::every() {
        let defaults = workload.defaults().iter();
        let valued = defaults.filter(|(_, value)| *value != "true");
        let words = valued.map(|(flag, value)| format!("--{flag}={value}"));
        let args = RunArgs::parsed(words).expect("flags");
        assert_eq!(sent(&args, 5), sent(&args, 5), "{}", workload.name());
        assert_ne!(sent(&args, 5), sent(&args, 6), "{}", workload.name());
    }
}
