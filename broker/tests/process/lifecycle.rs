//! Start, stop, death, return, and how each failure is told.

use std::io::{Read, Seek, SeekFrom, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use crate::batch::stored;
use crate::requests::{fetch, is_served, one_record, produce, produce_error};
use crate::running::{Running, command, wait_until};

fn produce_one(running: &Running, value: &[u8]) -> Vec<u8> {
    let records = one_record(value);
    let answer = running.connect().ask(&produce("t", &records));
    assert_eq!(produce_error("t", &answer), 0);
    records
}

#[test]
fn what_was_acknowledged_is_there_after_a_stop_and_after_a_death_on_the_same_port() {
    let dir = tempfile::tempdir().unwrap();
    let mut running = Running::start(dir.path(), &[]);
    running.topic("t");
    let first = produce_one(&running, b"before the stop");
    let (client, admin) = (running.client, running.admin);
    // Held open over the end: the port is bound again although a connection of it lingers.
    let mut held = running.connect();
    held.ask(&fetch("t"));
    let asked = Instant::now();
    running.terminate();
    running.wait_for_line("stopped clean=true");
    assert_eq!(running.ended().code(), Some(0));
    let complaints = |line: &&String| line.contains("WARN") || line.contains("ERROR");
    assert_eq!(running.log().iter().find(complaints), None);
    assert!(
        asked.elapsed() < Duration::from_secs(15),
        "{:?}",
        asked.elapsed()
    );

    let mut running = Running::start_at(dir.path(), client, admin, &[]);
    running.wait_until_led("t");
    let second = produce_one(&running, b"before the death");
    running.kill();

    let running = Running::start_at(dir.path(), client, admin, &[]);
    running.wait_until_led("t");
    let answer = running.connect().ask(&fetch("t"));
    for (records, offset) in [(&first, 0), (&second, 1)] {
        // Of whichever epoch each was: the broker led in a new one after each start.
        let found = (0..4).any(|epoch| {
            let stored = stored(records, offset, epoch);
            answer.windows(stored.len()).any(|window| window == stored)
        });
        assert!(found, "the record at {offset} is gone");
    }
}

#[test]
fn a_second_signal_stops_at_once() {
    let dir = tempfile::tempdir().unwrap();
    // Two of three voters are missing: handing over cannot succeed and takes its time.
    let voters = "1@127.0.0.1:1,2@127.0.0.1:2,3@127.0.0.1:3";
    let mut running = Running::start(dir.path(), &["--voters", voters]);
    running.terminate();
    running.wait_for_line("stopping");
    let mut status = None;
    wait_until("it ends", || {
        running.terminate();
        status = running.try_ended();
        status.is_some()
    });
    // 0 if it was done before the second signal counted.
    assert!(
        matches!(status.unwrap().code(), Some(0 | 143)),
        "{status:?}"
    );
}

#[test]
fn health_says_why_and_metrics_tell_of_every_part() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path(), &[]);
    running.topic("t");
    is_served(&mut running.connect(), "t");
    let (status, body) = running.get("/healthz");
    assert!(status.contains("200"), "{status} {body}");
    assert_eq!(body, r#"{"status":"ok","broker":1,"why":[]}"#);
    let (_, metrics) = running.get("/metrics");
    for series in [
        r#"broker_partition_log_end_offset{topic="t",partition="0"} 1"#,
        r#"broker_partition_high_watermark{topic="t",partition="0"} 1"#,
        r#"broker_partition_last_stable_offset{topic="t",partition="0"} 1"#,
        r#"broker_partition_isr_size{topic="t",partition="0"} 1"#,
        r#"broker_partition_is_leader{topic="t",partition="0"} 1"#,
        r#"broker_partition_leader_epoch{topic="t",partition="0"} 0"#,
        "# TYPE broker_partition_watermark_lag gauge",
        r#"broker_partition_watermark_stalled{topic="t",partition="0"} 0"#,
        r#"broker_partition_uncommitted_records{topic="t",partition="0"} 0"#,
        r#"broker_alarms_total{kind="watermark-stalled"} 0"#,
        r#"broker_alarms_total{kind="follower-behind"} 0"#,
        r#"broker_lock_contended_total{lock="wal-queue"}"#,
        r#"broker_lock_longest_hold_microseconds{lock="wal-writer"}"#,
        "# TYPE broker_wal_group_commit_frames histogram",
        "# TYPE broker_wal_fsync_seconds histogram",
        r#"broker_request_seconds_count{listener="client",api="Produce"} 1"#,
        "broker_raft_is_leader{} 1",
        "# EOF",
    ] {
        assert!(metrics.contains(series), "{series} is missing in {metrics}");
    }
    assert!(running.get("/nothing").0.contains("404"));
    // The operator's command reaches the controller, which refuses what would lose something.
    let admin = running.admin.to_string();
    let elect = |topic| {
        let (code, said) = end_of(&["elect-unclean", "--admin", &admin, topic, "0", "1"]);
        (code, said)
    };
    let (code, said) = elect("t");
    assert!(
        code == Some(74) && said.contains("broker 1 leads it"),
        "{said}"
    );
    let (code, said) = elect("u");
    assert!(code == Some(74) && said.contains("no topic"), "{said}");
    assert_eq!(elect("a/b").0, Some(64));
    drop(running);

    let alone = tempfile::tempdir().unwrap();
    let voters = "1@127.0.0.1:1,2@127.0.0.1:2,3@127.0.0.1:3";
    let running = Running::start(alone.path(), &["--voters", voters]);
    let (status, body) = running.get("/healthz");
    assert!(status.contains("503"), "{status}");
    assert!(body.contains("not registered"), "{body}");
}

/// Exit code and what is told on stderr.
fn end_of(arguments: &[&str]) -> (Option<i32>, String) {
    let output = command(arguments).output().expect("it can be started");
    (
        output.status.code(),
        String::from_utf8(output.stderr).expect("text"),
    )
}

#[test]
fn usage_and_settings_end_with_their_codes_and_a_mend() {
    let (code, text) = end_of(&["--no-such-flag"]);
    assert_eq!(code, Some(64), "{text}");
    let (code, text) = end_of(&["--durability", "sometimes", "--id", "-3"]);
    assert_eq!(code, Some(78), "{text}");
    assert!(
        text.contains("--durability") && text.contains("--id"),
        "{text}"
    );
    let (code, text) = end_of(&["--log", "no=such=filter"]);
    assert_eq!(code, Some(78), "{text}");
    let help = command(&["--help"]).output().expect("it can be started");
    assert_eq!(help.status.code(), Some(0));
    assert!(
        String::from_utf8(help.stdout)
            .expect("text")
            .contains("Exit codes")
    );
}

#[test]
fn a_taken_port_and_a_taken_directory_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().display().to_string();
    let taken = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, text) = end_of(&["--data-dir", &data, "--client-listen", &address]);
    assert_eq!(code, Some(74), "{text}");
    assert!(
        text.contains("client-listen") && text.contains(&address),
        "{text}"
    );

    let running = Running::start(dir.path(), &[]);
    let (code, text) = end_of(&["--data-dir", &data, "--client-listen", "127.0.0.1:0"]);
    assert_eq!(code, Some(74), "{text}");
    assert!(text.contains("in use by another process"), "{text}");
    drop(running);
}

#[test]
fn a_corrupt_log_is_told_with_its_place_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let mut running = Running::start(dir.path(), &[]);
    running.topic("t");
    for _ in 0..3 {
        produce_one(&running, &[b'x'; 2000]);
    }
    running.terminate();
    assert_eq!(running.ended().code(), Some(0));
    let log = dir.path().join("log");
    let files = std::fs::read_dir(&log)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let largest = files
        .max_by_key(|path| path.metadata().unwrap().len())
        .unwrap();
    let mut file = std::fs::File::options()
        .read(true)
        .write(true)
        .open(&largest)
        .unwrap();
    let mut byte = [0];
    let middle = SeekFrom::Start(1000);
    file.seek(middle).unwrap();
    file.read_exact(&mut byte).unwrap();
    file.seek(middle).unwrap();
    file.write_all(&[byte[0] ^ 1]).unwrap();
    let before = std::fs::read(&largest).unwrap();

    let data = dir.path().display().to_string();
    let any = "127.0.0.1:0";
    let (code, text) = end_of(&["--data-dir", &data, "--client-listen", any]);
    assert_eq!(code, Some(74), "{text}");
    let name = largest.file_name().unwrap().to_string_lossy();
    assert!(
        text.contains(&*name) && text.contains("corrupt at byte"),
        "{text}"
    );
    assert!(
        std::fs::read(&largest).unwrap() == before,
        "the file was changed"
    );
    let (code, text) = end_of(&["dump-log", &data]);
    assert_eq!(code, Some(74), "{text}");
}

#[test]
fn an_exchanged_log_and_another_brokers_log_are_refused() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    for dir in &dirs {
        let mut running = Running::start(dir.path(), &[]);
        running.topic("t");
        produce_one(&running, b"mine");
        running.terminate();
        assert_eq!(running.ended().code(), Some(0));
    }
    let data = dirs[0].path().display().to_string();
    let any = "127.0.0.1:0";
    let start = [
        "--data-dir",
        &data,
        "--client-listen",
        any,
        "--replication-listen",
        any,
        "--controller-listen",
        any,
        "--admin-listen",
        any,
    ];
    let other = ["--id", "2", "--voters", "2@127.0.0.1:1"];
    let (code, text) = end_of(&[&start[..], &other].concat());
    assert_eq!(code, Some(78), "{text}");
    assert!(text.contains("is the log of broker 1"), "{text}");

    let [mine, yours] = [0, 1].map(|at: usize| dirs[at].path().join("log"));
    let aside = dirs[0].path().join("aside");
    std::fs::rename(&mine, &aside).unwrap();
    std::fs::rename(&yours, &mine).unwrap();
    let (code, text) = end_of(&start);
    assert_eq!(code, Some(78), "{text}");
    assert!(text.contains("not the one with which"), "{text}");

    std::fs::rename(&mine, &yours).unwrap();
    std::fs::rename(&aside, &mine).unwrap();
    let running = Running::start(dirs[0].path(), &[]);
    running.wait_until_led("t");
}
