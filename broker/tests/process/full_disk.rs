//! A full disk under a live broker: what is new is refused, at once and with a word; reads go on;
//! and when there is room, everything does.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::hex::hex;
use crate::requests::{create_topic, fetch, is_served, one_record, produce, produce_error};
use crate::running::{Running, wait_until};

const STORAGE_ERROR: i16 = 56;
const DISK: u64 = 64 << 20;

/// Takes all the room that is left.
fn fill(path: &Path) {
    let mut ballast = std::fs::File::create(path).expect("a file");
    let block = vec![0; 64 << 10];
    while ballast.write_all(&block).is_ok() {}
    while ballast.write_all(&[0]).is_ok() {}
}

fn code(answer: &[u8], at: usize) -> i16 {
    i16::from_be_bytes([answer[at], answer[at + 1]])
}

#[test]
fn a_full_disk_refuses_what_is_new_serves_what_is_there_and_is_no_end() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut running = Running::start_on_small_disk(dir.path(), DISK, &[]);
    running.topic("t");
    let mut connection = running.connect();
    is_served(&mut connection, "t");
    let ballast = running.disk(dir.path()).join("ballast");
    fill(&ballast);

    // The last page of the log may still have room for some.
    wait_until("records are refused", || {
        let mut request = produce("t", &one_record(&[b'v'; 1000]));
        // Patience of 200 ms.
        request[14..18].copy_from_slice(&200_i32.to_be_bytes());
        let answer = connection.ask(&request);
        produce_error("t", &answer) == STORAGE_ERROR
    });
    let asked = Instant::now();
    let answer = connection.ask(&create_topic("new"));
    assert_eq!(code(&answer, 4 + 4 + 4 + 2 + 3), STORAGE_ERROR);
    let said = String::from_utf8_lossy(&answer).into_owned();
    assert!(said.contains("the disk of broker 1 is full"), "{said}");
    let answer = connection.ask(&hex(&["0016 0000 00000001 ffff ffff 00007530"]));
    assert_eq!(code(&answer, 4 + 4), STORAGE_ERROR);
    assert!(asked.elapsed() < Duration::from_secs(5), "{asked:?}");
    let answer = connection.ask(&fetch("t"));
    assert!(answer.windows(12).any(|window| window == b"well-behaved"));
    assert!(running.get("/healthz").1.contains("disk"));
    assert_eq!(running.try_ended(), None);

    std::fs::remove_file(&ballast).expect("it is there");
    wait_until("records are taken again", || {
        let answer = connection.ask(&produce("t", &one_record(b"after")));
        produce_error("t", &answer) == 0
    });
    running.topic("new");
    is_served(&mut connection, "new");
    let answer = connection.ask(&hex(&["0016 0000 00000001 ffff ffff 00007530"]));
    assert_eq!(code(&answer, 4 + 4), 0);
    running.terminate();
    running.wait_for_line("stopped clean=true");
}
