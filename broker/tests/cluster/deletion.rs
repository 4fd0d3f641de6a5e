//! Records go, by retention and on request: at the leader, at its followers, and from the disks;
//! and what goes is only what may.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::client::{Client, batch, batch_at, numbered};
use crate::nodes::{Nodes, wait_until};

const EARLIEST: i64 = -2;
const LATEST: i64 = -1;
const OFFSET_OUT_OF_RANGE: i16 = 1;
const UNKNOWN_TOPIC: i16 = 3;

/// The leader dies; the next one says where the log starts.
fn start_at_the_next_leader(nodes: &mut Nodes, client: &mut Client, topic: &str) -> i64 {
    let killed = client.leader(topic, 0).expect("a leader");
    nodes.kill(killed);
    wait_until("another leader", || {
        client.leader(topic, 0).is_some_and(|id| id != killed)
    });
    let start = client.offset(topic, 0, EARLIEST);
    nodes.restart(killed);
    wait_until("a full ISR", || client.isr(topic, 0) == [1, 2, 3]);
    start
}

#[test]
fn the_oldest_segments_go_by_size_everywhere_and_from_the_disks() {
    let mut nodes = Nodes::start(3);
    let mut client = Client::new(nodes.addresses());
    let settings = [("segment.bytes", "20000"), ("retention.bytes", "100000")];
    client.create_topic_with("size", 1, 3, &settings);
    let values: Vec<String> = (0..10)
        .map(|at| format!("{at}-{}", "v".repeat(990)))
        .collect();
    // 1 MB in all, of which a tenth is to stay.
    let mut next = 0;
    for _ in 0..100 {
        assert_eq!(client.produce("size", 0, -1, batch(&values)), next);
        next += 10;
    }
    let mut start = 0;
    wait_until("the oldest segments to go", || {
        start = client.offset("size", 0, EARLIEST);
        start >= 870
    });
    assert!(start <= 900, "no more than asked for goes: {start}");
    assert_eq!(client.offset("size", 0, LATEST), next);
    assert_eq!(
        client.fetch_error("size", 0, start - 1),
        OFFSET_OUT_OF_RANGE
    );
    assert_eq!(
        client.read_from("size", 0, start).len() as i64,
        next - start
    );
    for id in 1..=3 {
        wait_until("the first file to be removed", || {
            !nodes.wal_files(id)[0].ends_with("00000000000000000000.wal")
        });
        assert!(nodes.wal_files(id).len() < 12, "{:?}", nodes.wal_files(id));
    }
    assert_eq!(
        start_at_the_next_leader(&mut nodes, &mut client, "size"),
        start
    );
    // On what its log begins with, a broker goes on after a restart.
    for id in 1..=3 {
        nodes.kill(id);
        nodes.restart(id);
    }
    wait_until("a full ISR", || client.isr("size", 0) == [1, 2, 3]);
    assert_eq!(client.offset("size", 0, EARLIEST), start);
    assert_eq!(client.produce("size", 0, -1, batch(&values)), next);
    nodes.stop();
}

#[test]
fn segments_go_when_their_youngest_record_is_old() {
    let nodes = Nodes::start(3);
    let mut client = Client::new(nodes.addresses());
    let settings = [("segment.ms", "1000"), ("retention.ms", "3600000")];
    client.create_topic_with("age", 1, 3, &settings);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    let now = i64::try_from(now.as_millis()).expect("in range");
    for (at, age) in [7_200_000, 7_200_000, 3_700_000, 60_000, 0]
        .iter()
        .enumerate()
    {
        let values = numbered(&format!("{age}"), 10);
        let base = client.produce("age", 0, -1, batch_at(&values, now - age));
        assert_eq!(base, at as i64 * 10);
    }
    wait_until("what is older than an hour to go", || {
        client.offset("age", 0, EARLIEST) == 30
    });
    assert_eq!(client.read_from("age", 0, 30).len(), 20);
    nodes.stop();
}

#[test]
fn records_are_deleted_on_request_at_every_replica() {
    let mut nodes = Nodes::start(3);
    let mut client = Client::new(nodes.addresses());
    client.create_topic("gone", 1, 3);
    for round in 0..10 {
        client.produce("gone", 0, -1, batch(&numbered(&format!("r{round}"), 10)));
    }
    assert_eq!(
        client.delete_records("gone", 0, 35),
        (0, 35),
        "inside a batch"
    );
    assert_eq!(client.offset("gone", 0, EARLIEST), 35);
    assert_eq!(client.fetch_error("gone", 0, 34), OFFSET_OUT_OF_RANGE);
    assert_eq!(
        client.delete_records("gone", 0, 20),
        (0, 35),
        "nothing comes back"
    );
    assert_eq!(client.delete_records("gone", 0, 101).0, OFFSET_OUT_OF_RANGE);
    assert_eq!(client.delete_records("gone", 0, -5).0, OFFSET_OUT_OF_RANGE);
    assert_eq!(client.read_from("gone", 0, 35).len(), 65);
    assert_eq!(
        start_at_the_next_leader(&mut nodes, &mut client, "gone"),
        35
    );

    // A broker that is gone is not waited for, and follows when it is back.
    let leader = client.leader("gone", 0).expect("a leader");
    let absent = (1..=3).find(|id| *id != leader).expect("another");
    nodes.kill(absent);
    wait_until("it to be known", || client.isr("gone", 0).len() == 2);
    assert_eq!(
        client.delete_records("gone", 0, -1),
        (0, 100),
        "-1: the high watermark"
    );
    assert_eq!(client.offset("gone", 0, EARLIEST), 100);
    client.produce("gone", 0, -1, batch(&numbered("after", 10)));
    nodes.restart(absent);
    wait_until("a full ISR", || client.isr("gone", 0) == [1, 2, 3]);
    for other in (1..=3).filter(|id| *id != absent) {
        nodes.kill(other);
        nodes.restart(other);
        wait_until("a full ISR", || client.isr("gone", 0) == [1, 2, 3]);
    }
    assert_eq!(client.offset("gone", 0, EARLIEST), 100);
    assert_eq!(client.read_from("gone", 0, 100).len(), 10);
    assert_eq!(client.delete_records_of_nothing(), UNKNOWN_TOPIC);
    nodes.stop();
}

/// Flips a bit in the middle of the record that holds `value`, where it lies in a broker's log.
fn flip(nodes: &Nodes, id: i32, value: &str) {
    for path in nodes.wal_files(id) {
        let bytes = std::fs::read(&path).expect("a file");
        let found = bytes
            .windows(value.len())
            .position(|window| window == value.as_bytes());
        if let Some(at) = found {
            let at = at + value.len() / 2;
            let file = OpenOptions::new().write(true).open(&path).expect("a file");
            let flipped = [bytes[at] ^ 4];
            file.write_all_at(&flipped, at as u64)
                .expect("it is written");
            return;
        }
    }
    panic!("{value} is nowhere in the log of broker {id}");
}

#[test]
fn a_flipped_bit_on_a_follower_is_found_and_the_records_are_fetched_again() {
    let mut nodes = Nodes::start(3);
    let mut client = Client::new(nodes.addresses());
    client.create_topic("bits", 1, 3);
    let mut expected = Vec::new();
    for round in 0..20 {
        let values = numbered(&format!("round-{round}-of-many"), 10);
        client.produce("bits", 0, -1, batch(&values));
        expected.extend(values);
    }
    let leader = client.leader("bits", 0).expect("a leader");
    let follower = (1..=3).find(|id| *id != leader).expect("another");
    flip(&nodes, follower, "round-7-of-many-5");
    wait_until("the damage to be found and mended", || {
        nodes.mended(follower) == 1
    });
    wait_until("a full ISR", || client.isr("bits", 0) == [1, 2, 3]);
    // Its copy is as good as any: it has to lead now.
    let others: Vec<_> = (1..=3).filter(|id| *id != follower).collect();
    nodes.kill(others[0]);
    wait_until("the ISR to shrink", || client.isr("bits", 0).len() == 2);
    nodes.kill(others[1]);
    nodes.restart(others[0]);
    wait_until("it to lead", || client.leader("bits", 0) == Some(follower));
    wait_until("everything to be readable", || {
        let read = client.read_all("bits", 0);
        read.into_iter().map(|(_, value)| value).collect::<Vec<_>>() == expected
    });
    nodes.stop();
}
