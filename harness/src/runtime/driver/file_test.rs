//! What is read of a `driver.toml`, and how each mistake in one is told.

use super::*;

const WHOLE: &str = r#"
timeout-seconds = 5

[commands]
start = "up $NODE_ID"
kill = "kill -9 $(cat $NODE_ID.pid)"
pause = "kill -STOP $(cat $NODE_ID.pid)"
resume = "kill -CONT $(cat $NODE_ID.pid)"
logs = "cat $NODE_ID.log"

[[node]]
id = 3
address = "127.0.0.1:9392"

[[node]]
id = 0
address = "broker-0.example:9092"
"#;

fn parse(text: &str) -> Result<DriverFile, FileError> {
    DriverFile::parse(Path::new("driver.toml"), text.to_owned())
}

/// The whole file with one part exchanged.
fn wrong(from: &str, to: &str) -> String {
    assert!(WHOLE.contains(from), "{from}");
    let error = parse(&WHOLE.replacen(from, to, 1)).expect_err("it is refused");
    error.to_string()
}

#[test]
fn a_whole_file_offers_what_its_commands_can_undo() {
    let file = parse(WHOLE).expect("it is read");
    assert_eq!(file.limit, Duration::from_secs(5));
    let ids: Vec<u32> = file.nodes.iter().map(|node| node.id).collect();
    assert_eq!(ids, [0, 3]);
    assert_eq!(file.command(Verb::Start), Some("up $NODE_ID"));
    assert!(file.offers(FaultKind::Kill) && file.offers(FaultKind::Pause));
    // There is no `stop`.
    assert!(!file.offers(FaultKind::Stop) && !file.offers(FaultKind::Partition));
}

#[test]
fn a_key_that_does_not_exist_is_told_with_the_one_that_was_meant() {
    assert_eq!(
        wrong("kill = ", "kil = "),
        "driver.toml:6:1: unknown key `kil`; did you mean `kill`?"
    );
    assert_eq!(
        wrong("address = \"127", "adress = \"127"),
        "driver.toml:13:1: unknown key `adress`; did you mean `address`?"
    );
    let strange = wrong("logs = ", "volcano = ");
    assert!(strange.starts_with("driver.toml:9:1: unknown key `volcano`; there are start, stop"));
}

#[test]
fn every_mistake_is_told_with_its_place_and_its_mend() {
    for (from, to, expected) in [
        (
            "start = \"up $NODE_ID\"\n",
            "",
            "driver.toml:5:8: `kill` needs `start`",
        ),
        (
            "\"cat $NODE_ID.log\"",
            "\" \"",
            "driver.toml:9:8: `logs` is empty",
        ),
        (
            "id = 0",
            "id = 3",
            "driver.toml:16:6: a second node with id 3",
        ),
        ("id = 0", "id = \"x\"", "driver.toml:16:6: invalid type"),
        (
            "broker-0.example:9092",
            "broker-0.example",
            "driver.toml:17:11: `broker-0.example` is not HOST:PORT",
        ),
        (
            "broker-0.example:9092",
            "127.0.0.1:9392",
            "driver.toml:17:11: a second node at",
        ),
        (
            "timeout-seconds = 5",
            "timeout-seconds = 0",
            "driver.toml:2:19: `timeout-seconds`",
        ),
        ("[commands]", "[commands", "driver.toml:4:"),
    ] {
        let said = wrong(from, to);
        assert!(said.starts_with(expected), "{said}\nnot {expected}");
    }
    let without = parse("[commands]\nstart = \"x\"\n").expect_err("there is nobody");
    assert!(without.why.contains("[[node]]"), "{without}");
    let absent = DriverFile::read(Path::new("no-such-driver.toml")).expect_err("it is not there");
    assert!(absent.why.contains("cannot be read"), "{absent}");
}
