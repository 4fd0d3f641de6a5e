//! The recorder: order, crash safety, failure.

use serde_json::{Value as Json, json};

use super::*;
use crate::history::{Kind, Process, Value};

fn note(process: u64, n: u64) -> Event {
    Event::new(
        Process::Client(process),
        Kind::Ok,
        "note",
        Value::Json(json!(n)),
    )
}

fn lines(path: &Path) -> Vec<Json> {
    let text = std::fs::read_to_string(path).expect("the history is there");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("each line is JSON"))
        .collect()
}

#[test]
fn many_threads_give_one_order_that_agrees_with_time() {
    let dir = tempfile::tempdir().expect("temp dir");
    let path = dir.path().join("history.jsonl");
    let (recorder, thread) = start(&path).expect("starts");
    std::thread::scope(|scope| {
        for process in 0..8 {
            let recorder = recorder.clone();
            scope.spawn(move || {
                for n in 0..500 {
                    recorder.record(note(process, n));
                }
            });
        }
    });
    assert_eq!(thread.finish().expect("all written"), 8 * 500);
    let lines = lines(&path);
    assert_eq!(lines.len(), 8 * 500);
    let mut last_time = 0;
    let mut last_by_process = [None; 8];
    for (position, line) in lines.iter().enumerate() {
        assert_eq!(line["index"], json!(position));
        let time = line["time"].as_u64().expect("a time");
        assert!(time >= last_time, "time goes back at {position}");
        last_time = time;
        let process = line["process"].as_u64().expect("a process") as usize;
        let n = line["value"].as_u64();
        assert!(n > last_by_process[process], "process order is kept");
        last_by_process[process] = n;
    }
}

#[test]
fn what_is_recorded_is_in_the_file_soon_without_any_flush() {
    let dir = tempfile::tempdir().expect("temp dir");
    let path = dir.path().join("history.jsonl");
    let (recorder, _thread) = start(&path).expect("starts");
    for n in 0..10 {
        recorder.record(note(1, n));
    }
    // A harness that is killed now flushes nothing any more: the file alone must hold it.
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let whole = std::fs::read_to_string(&path).expect("readable");
        if whole.lines().count() == 10 {
            break;
        }
        assert!(Instant::now() < deadline, "only {} bytes", whole.len());
        std::thread::yield_now();
    }
    assert_eq!(lines(&path).len(), 10);
}

#[test]
fn flush_waits_for_the_file() {
    let dir = tempfile::tempdir().expect("temp dir");
    let path = dir.path().join("history.jsonl");
    let (recorder, thread) = start(&path).expect("starts");
    for n in 0..1000 {
        recorder.record(note(1, n));
        if n % 100 == 99 {
            recorder.flush().expect("flushes");
            assert_eq!(lines(&path).len() as u64, n + 1);
        }
    }
    assert_eq!(thread.finish().expect("ends"), 1000);
}

#[test]
fn a_disk_that_refuses_is_told_and_blocks_nobody() {
    // /dev/full refuses every write with ENOSPC, as a full disk does.
    let (recorder, thread) = start(Path::new("/dev/full")).expect("opens");
    recorder.record(note(1, 1));
    let error = recorder.flush().expect_err("nothing can be written");
    assert!(error.to_string().contains("/dev/full"), "{error}");
    assert!(recorder.failure().is_some());
    recorder.record(note(1, 2));
    assert!(thread.finish().is_err());
}
