use std::io::Write;
use std::time::Duration;

use super::*;
use crate::types::{BrokerId, Durability};

fn parsed(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Invocation, CliError> {
    let arguments = std::iter::once("broker").chain(arguments.iter().copied());
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    parse(arguments, environment.iter().map(owned))
}

fn serve(arguments: &[&str], environment: &[(&str, &str)]) -> Serve {
    match parsed(arguments, environment).unwrap() {
        Invocation::Serve(serve) => *serve,
        other => panic!("{other:?}"),
    }
}

fn refused(arguments: &[&str], environment: &[(&str, &str)]) -> (i32, String) {
    let error = parsed(arguments, environment).unwrap_err();
    (error.exit_code(), error.to_string())
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

#[test]
fn nothing_given_is_a_cluster_of_one_on_loopback() {
    let serve = serve(&[], &[]);
    assert!(serve.config.client_listen.ip().is_loopback());
    assert_eq!(serve.config.voters.len(), 1);
    assert_eq!(serve.log_filter, DEFAULT_FILTER);
    assert_ne!(serve.config.seed, 0);
    assert_eq!(serve.warnings, Vec::<String>::new());
}

#[test]
fn flags_go_before_environment_before_file() {
    let file = file("id = 3\nnum-partitions = 3\nmin_insync_replicas = 1\n");
    let path = file.path().to_str().unwrap();
    let environment = [("BROKER_ID", "2"), ("BROKER_NUM_PARTITIONS", "2")];
    let serve = serve(&["--config", path, "--id", "1"], &environment);
    assert_eq!(serve.config.id, BrokerId(1));
    assert_eq!(serve.config.num_partitions, 2);
    assert_eq!(serve.config.min_insync_replicas, 1);
}

#[test]
fn a_whole_cluster_of_three_and_kafkas_names_in_the_file() {
    let file = file(
        "broker.id = 2\n\
         controller.quorum.voters = [\"1@b1:9094\", \"2@b2:9094\", \"3@b3:9094\"]\n\
         replica.lag.time.max.ms = 2000\n\
         durability = \"replicated\"\n",
    );
    let path = file.path().to_str().unwrap();
    let listen = ["--config", path, "--client-listen", "10.0.0.2:9092"];
    let config = serve(&listen, &[]).config;
    assert_eq!(config.voters.len(), 3);
    assert_eq!(config.replica_lag_time_max, Duration::from_secs(2));
    assert_eq!(config.durability, Durability::Replicated);
    assert_eq!(config.client_advertised.host, "10.0.0.2");
}

#[test]
fn wrong_values_name_the_place_and_all_are_told_at_once() {
    let file = file("durability = \"sometimes\"\nno-such-thing = 1\n");
    let path = file.path().to_str().unwrap();
    let environment = [("BROKER_NUM_PARTITIONS", "none")];
    let (code, text) = refused(&["--config", path, "--id", "x"], &environment);
    assert_eq!(code, EXIT_CONFIG);
    for part in [
        "--id: \"x\"",
        "environment variable BROKER_NUM_PARTITIONS: \"none\"",
        "durability: \"sometimes\" is neither fsync nor replicated",
        "no-such-thing is no setting (did you mean",
        path,
    ] {
        assert!(text.contains(part), "{part} is missing in: {text}");
    }
}

#[test]
fn the_whole_is_checked_too() {
    let (code, text) = refused(&["--id", "4", "--voters", "1@a:1,2@b:1"], &[]);
    assert_eq!(code, EXIT_CONFIG);
    assert!(text.contains("add 4@HOST:PORT"), "{text}");
    let (code, text) = refused(&["--client-listen", "0.0.0.0:9092"], &[]);
    assert_eq!(code, EXIT_CONFIG);
    assert!(text.contains("client-advertised"), "{text}");
}

#[test]
fn usage_files_and_help_end_with_their_codes() {
    assert_eq!(refused(&["--no-such-flag"], &[]).0, EXIT_USAGE);
    assert_eq!(refused(&["dump-log"], &[]).0, EXIT_USAGE);
    assert_eq!(refused(&["--config", "/no/such/file"], &[]).0, EXIT_IO);
    let broken = file("id = = 1");
    let path = broken.path().to_str().unwrap();
    assert_eq!(refused(&["--config", path], &[]).0, EXIT_CONFIG);
    let Invocation::Print(help) = parsed(&["--help"], &[]).unwrap() else {
        panic!("help is printed");
    };
    for setting in SETTINGS {
        assert!(help.contains(&format!("--{}", setting.name)));
    }
    assert!(help.contains("Exit codes"));
}

#[test]
fn unknown_variables_are_told_and_dump_log_is_found() {
    let serve = serve(&[], &[("BROKER_SEDE", "1"), ("PATH", "/bin")]);
    assert_eq!(serve.warnings.len(), 1);
    assert!(
        serve.warnings[0].contains("BROKER_SEED"),
        "{:?}",
        serve.warnings
    );
    let Invocation::DumpLog { dir, records } = parsed(&["dump-log", "/data"], &[]).unwrap() else {
        panic!("dump-log is a command");
    };
    assert_eq!((dir, records), (PathBuf::from("/data"), true));
}

#[test]
fn seeded_bugs_are_known_by_name_and_number() {
    use crate::chaos::seeded_bug::SeededBug;
    let both = ["--seeded-bug", "hw-is-leo", "--seeded-bug", "M09"];
    let bugs = serve(&both, &[]).config.bugs;
    assert!(bugs.has(SeededBug::HwIsLeo) && bugs.has(SeededBug::NoTruncate));
    assert!(!bugs.has(SeededBug::AcksAllAs1));
    assert_eq!(refused(&["--seeded-bug", "M99"], &[]).0, EXIT_CONFIG);
}
