//! Bad company: whatever comes over one connection costs the others nothing.

use std::io::Write;
use std::net::Shutdown;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use crate::hex::{hex, show};
use crate::raw::Raw;
use crate::requests::{fetch, is_served, one_record, produce};
use crate::running::{Running, wait_until};

const OPEN: &str = r#"broker_connections{listener="client"} "#;

fn started(more: &[&str]) -> (Running, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a directory");
    let running = Running::start(dir.path(), more);
    running.topic("t");
    (running, dir)
}

#[test]
fn malformed_requests_close_their_connection_and_no_other() {
    let (running, _dir) = started(&[]);
    let mut good = running.connect();
    let frames: [&[&str]; 8] = [
        &["7fffffff"],                                       // larger than the limit
        &["ffffffff"],                                       // negative
        &["80000000"],                                       // the most negative
        &["00000000"],                                       // no header
        &["00000008 03e7 0000 00000001"],                    // no such API
        &["0000000a 0003 0063 00000001 ffff"],               // no such version
        &["0000000e 0003 0001 00000001 ffff 7fffffff"],      // 2^31-1 topics
        &["00000010 0003 0009 00000001 ffff 00 ffffffff0f"], // 2^32-1 topics
    ];
    for frame in frames {
        let mut bad = running.connect();
        bad.stream.write_all(&hex(frame)).expect("it is read");
        assert!(bad.is_closed(), "{frame:?}");
        is_served(&mut good, "t");
    }
    let faulty = running.metric(r#"broker_connections_faulty_total{listener="client"} "#);
    assert!(faulty >= 8.0, "{faulty}");
}

#[test]
fn garbage_from_a_thousand_connections_is_survived_with_little_memory_and_few_lines() {
    let (mut running, _dir) = started(&[]);
    let mut good = running.connect();
    let mut random = ChaCha8Rng::seed_from_u64(7);
    for round in 0..1000_usize {
        let mut garbage = vec![0; (random.next_u32() % 3000) as usize + 1];
        random.fill_bytes(&mut garbage);
        if round % 2 == 0 {
            // A length that fits, an API that exists: the garbage reaches the decoder.
            let length = u32::try_from(garbage.len() + 10).expect("small");
            let key = [0_u8, 1, 2, 3, 10, 18, 19, 22, 23, 32, 60][round / 2 % 11];
            let mut frame = length.to_be_bytes().to_vec();
            frame.extend_from_slice(&[0, key, 0, (round % 13) as u8, 0, 0, 0, 1, 0xff, 0xff]);
            frame.extend_from_slice(&garbage);
            garbage = frame;
        }
        let mut bad = running.connect();
        // The broker may have closed it before all of it was written.
        let _ = bad.stream.write_all(&garbage);
        let _ = bad.stream.shutdown(Shutdown::Both);
        if round % 100 == 0 {
            is_served(&mut good, "t");
        }
    }
    wait_until("all of them are gone", || running.metric(OPEN) <= 1.0);
    is_served(&mut good, "t");
    let resident = running.resident_bytes();
    assert!(resident < 300 << 20, "{resident} bytes");
    let complaints = running
        .log()
        .iter()
        .filter(|line| line.contains("WARN"))
        .count();
    assert!(complaints < 100, "{complaints} lines");
}

#[test]
fn announced_but_unsent_bytes_cost_nothing_and_half_frames_hold_up_nobody() {
    let (running, _dir) = started(&[]);
    let before = running.resident_bytes();
    // 150 frames of 100 MB each, of which 1 KB comes: 15 GB if it were believed.
    let held: Vec<Raw> = (0..150)
        .map(|_| {
            let mut slow = running.connect();
            let announced = u32::to_be_bytes(100 << 20);
            slow.stream.write_all(&announced).expect("it is read");
            slow.stream.write_all(&[0; 1024]).expect("it is read");
            slow
        })
        .collect();
    wait_until("they are all there", || running.metric(OPEN) >= 150.0);
    let mut good = running.connect();
    for _ in 0..10 {
        is_served(&mut good, "t");
    }
    let grown = running.resident_bytes().saturating_sub(before);
    assert!(grown < 100 << 20, "{grown} bytes");
    drop(held);
    wait_until("they are all gone", || running.metric(OPEN) <= 1.0);
}

#[test]
fn connections_beyond_the_limit_are_closed_and_places_are_given_again() {
    let (running, _dir) = started(&["--max-connections", "200"]);
    wait_until("nobody is connected", || running.metric(OPEN) == 0.0);
    let mut good = running.connect();
    is_served(&mut good, "t");
    let idle: Vec<Raw> = (0..199).map(|_| running.connect()).collect();
    wait_until("the house is full", || running.metric(OPEN) == 200.0);
    let mut rejected = running.connect();
    assert!(rejected.is_closed());
    is_served(&mut good, "t");
    drop(idle);
    wait_until("they are gone", || running.metric(OPEN) == 1.0);
    is_served(&mut running.connect(), "t");
}

#[test]
fn connections_leave_the_log_its_files() {
    let dir = tempfile::tempdir().expect("a directory");
    // 512 of them are for followers, the log and the rest.
    let more = ["--max-connections", "1000"];
    let mut running = Running::start_with_open_files(dir.path(), 640, &more);
    let warned = |line: &String| line.contains("max-connections: 128 instead of 1000");
    assert!(running.log().iter().any(warned));
    running.topic("t");
    let mut good = running.connect();
    is_served(&mut good, "t");
    let _crowd: Vec<Raw> = (0..200).map(|_| running.connect()).collect();
    wait_until("the house is full", || running.metric(OPEN) == 128.0);
    is_served(&mut good, "t");
}

#[test]
fn lengths_alone_leave_large_produces_their_memory() {
    let (running, _dir) = started(&[]);
    let _liars: Vec<Raw> = (0..10)
        .map(|_| {
            let mut liar = running.connect();
            let announced = u32::to_be_bytes(100 << 20);
            liar.stream.write_all(&announced).expect("it is read");
            liar
        })
        .collect();
    let mut good = running.connect();
    for _ in 0..10 {
        good.ask(&produce("t", &one_record(&vec![b'x'; 900_000])));
    }
    is_served(&mut good, "t");
}

#[test]
fn who_does_not_read_answers_holds_up_nobody() {
    let (running, _dir) = started(&[]);
    let mut good = running.connect();
    for _ in 0..20 {
        good.ask(&produce("t", &one_record(&vec![b'x'; 500_000])));
    }
    let mut deaf: Vec<Raw> = (0..3).map(|_| running.connect()).collect();
    // 10 MB an answer, none of which is read: 2 GB if all were made.
    for _ in 0..64 {
        for deaf in &mut deaf {
            deaf.send(&fetch("t"));
        }
    }
    for _ in 0..10 {
        let answer = good.ask(&fetch("t"));
        assert!(answer.len() > 9 << 20, "{}", answer.len());
    }
    let resident = running.resident_bytes();
    assert!(resident < 500 << 20, "{resident} bytes");
}

#[test]
fn a_closed_socket_does_not_spin() {
    let (running, _dir) = started(&[]);
    // A request under way, then gone without a word, in both directions or in one.
    let mut gone: Vec<Raw> = Vec::new();
    for number in 0..100 {
        let mut raw = running.connect();
        let long_poll = hex(&[
            "0001 0004 00000001 ffff",
            "ffffffff 00007530 00100000 04000000 00",
            "00000001 0001",
            "'t'",
            "00000001 00000000 0000000000000000 04000000",
        ]);
        raw.send(&long_poll);
        raw.stream.write_all(&[0, 0]).expect("it is read");
        match number % 2 {
            0 => drop(raw),
            _ => {
                raw.stream.shutdown(Shutdown::Write).expect("it is open");
                gone.push(raw);
            }
        }
    }
    let mut good = running.connect();
    is_served(&mut good, "t");
    let ticks = running.cpu_ticks();
    let from = std::time::Instant::now();
    let second = std::time::Duration::from_secs(1);
    wait_until("a second has passed", || from.elapsed() > second);
    let used = running.cpu_ticks() - ticks;
    let percent = used as f64 / from.elapsed().as_secs_f64();
    assert!(percent < 50.0, "{percent} % of a core with nothing to do");
    is_served(&mut good, "t");
}

#[test]
fn bad_lengths_within_a_request_are_refused_in_every_api() {
    let (running, _dir) = started(&[]);
    let mut good = running.connect();
    // Each API's body as a claim of as many elements, or bytes, as can be said.
    for key in [
        "0000", "0001", "0002", "0003", "000a", "0013", "0016", "0017", "0020", "003c",
    ] {
        for version in 0..=12 {
            let version = format!("{version:04x}");
            let mut bad = running.connect();
            bad.send(&hex(&[
                key,
                &version,
                "00000001 ffff",
                "ffffffff0f",
                "7fffffff",
                "7fffffff",
            ]));
            // Refused, or a request that can be answered: then with a few bytes.
            if let Ok(answer) = bad.try_receive() {
                assert!(answer.len() < 10_000, "{key} {version}: {}", show(&answer));
            }
        }
    }
    is_served(&mut good, "t");
}
