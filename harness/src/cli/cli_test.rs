//! The command line: exit codes, defaults, typos.

use clap::CommandFactory as _;

use super::*;
use crate::cli::run_args::{NemesisList, RuntimeName, Workload};
use crate::clients::Acks;

fn parse(arguments: &[&str]) -> Result<RunArgs, clap::Error> {
    let cli = Cli::try_parse_from(std::iter::once(&"harness").chain(arguments))?;
    match cli.command {
        None => Ok(cli.run),
        Some(Command::Run(args)) => Ok(*args),
        Some(other) => panic!("{other:?}"),
    }
}

fn exit(arguments: &[&str]) -> Exit {
    let arguments = std::iter::once("harness").chain(arguments.iter().copied());
    main(arguments.map(std::ffi::OsString::from))
}

#[test]
fn the_definition_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn run_is_the_default_command_with_the_default_workload() {
    let bare = parse(&["--nemesis", "partition"]).expect("parses");
    let named = parse(&["run", "--nemesis", "partition"]).expect("parses");
    for args in [bare, named] {
        assert_eq!(args.workload, Workload::Batch);
        assert_eq!((args.producers, args.consumers, args.brokers), (4, 2, 3));
        assert_eq!(args.trickles, 6);
        assert_eq!(
            (args.partitions(), args.messages(), args.batch),
            (6, 100_000, 5000)
        );
        assert_eq!((args.acks, args.idempotence()), (Acks::All, true));
        assert_eq!(
            (args.replication_factor(), args.min_insync_replicas()),
            (3, 2)
        );
        assert_eq!(args.size, 100..=10_240);
        assert!(args.validate().is_ok());
    }
}

#[test]
fn large_batch_has_the_storys_own_defaults() {
    let args = parse(&["--workload", "large-batch"]).expect("parses");
    assert_eq!((args.messages(), args.partitions()), (5000, 3));
    assert_eq!(args.nemesis(), NemesisList::default());
}

#[test]
fn usage_errors_are_64_and_help_is_0() {
    assert_eq!(exit(&["--no-such-flag"]), Exit::Usage);
    assert_eq!(exit(&["--nemesis", "volcano"]), Exit::Usage);
    assert_eq!(exit(&["--messages", "0"]), Exit::Usage);
    assert_eq!(exit(&["--size", "9..1"]), Exit::Usage);
    assert_eq!(exit(&["no-such-command"]), Exit::Usage);
    assert_eq!(exit(&["--runtime", "external"]), Exit::Usage);
    assert_eq!(
        exit(&["--min-insync-replicas", "3", "--replication-factor", "2"]),
        Exit::Usage
    );
    assert_eq!(exit(&["--help"]), Exit::Valid);
    assert_eq!(exit(&["--version"]), Exit::Valid);
    assert_eq!(exit(&["check", "/no/such/folder"]), Exit::BadInput);
}

#[test]
fn typos_are_answered_with_what_was_meant() {
    let says = |arguments: &[&str]| parse(arguments).expect_err("a typo").to_string();
    assert!(says(&["--nemesis", "partiton"]).contains("did you mean `partition`?"));
    assert!(says(&["--nemesis", "kill,puase"]).contains("did you mean `pause`?"));
    assert!(says(&["--seeded-bug", "hw-is-loe"]).contains("did you mean `hw-is-leo`?"));
    assert!(says(&["--nemsis", "kill"]).contains("--nemesis"));
    assert!(says(&["--workload", "bach"]).contains("batch"));
}

#[test]
fn lists_of_faults_are_read_and_repeated_ones_count_once() {
    let args = parse(&["--nemesis", "partition,kill,partition"]).expect("parses");
    assert_eq!(args.nemesis().to_string(), "partition,kill");
    let none = parse(&["--nemesis", "none"]).expect("parses");
    assert_eq!(none.nemesis().to_string(), "none");
}

#[test]
fn sizes_are_read() {
    let size = |text| parse(&["--size", text]).map(|args| args.size);
    assert_eq!(size("1K..2K").expect("parses"), 1024..=2048);
    assert_eq!(size("100..=200").expect("parses"), 100..=200);
    assert_eq!(size("512").expect("parses"), 512..=512);
    assert!(size("10..20").is_err(), "no room for value and checksum");
    assert!(size("1..1G").is_err());
}

#[test]
fn a_cluster_of_somebody_else_takes_no_faults() {
    let external = parse(&["--bootstrap", "h:9092", "--nemesis", "none"]).expect("parses");
    assert_eq!(external.runtime(), RuntimeName::External);
    assert!(external.validate().is_ok());
    let faults = parse(&["--bootstrap", "h:9092", "--nemesis", "kill"]).expect("parses");
    assert!(
        faults
            .validate()
            .expect_err("refused")
            .contains("--nemesis none")
    );
}

#[test]
fn what_apache_kafka_does_not_have_is_refused_by_name() {
    let refused = |more: &[&str]| {
        let arguments: Vec<&str> = ["--target", "kafka"].iter().chain(more).copied().collect();
        let args = parse(&arguments).expect("parses");
        args.validate().expect_err("refused")
    };
    assert!(refused(&["--runtime", "sim"]).contains("--runtime docker"));
    assert!(refused(&["--runtime", "namespaces"]).contains("--runtime docker"));
    assert!(refused(&["--seeded-bug", "M05"]).contains("--target kafka"));
    let image = parse(&["--image", "mine:1"]).expect("parses");
    assert!(
        image
            .validate()
            .expect_err("refused")
            .contains("--target kafka")
    );
    let kafka = parse(&["--target", "kafka"]).expect("parses");
    assert_eq!(kafka.validate(), Ok(()));
    assert_eq!(kafka.durability(), DurabilityName::Replicated);
}

#[test]
fn every_flag_is_explained() {
    for command in std::iter::once(&Cli::command()).chain(Cli::command().get_subcommands()) {
        for argument in command.get_arguments().filter(|a| a.get_id() != "help") {
            assert!(
                argument.get_help().is_some(),
                "{} of {} has no help",
                argument.get_id(),
                command.get_name()
            );
        }
    }
}
