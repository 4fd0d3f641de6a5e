//! Three whole brokers in one process, each on a runtime of its own that can be killed: real
//! sockets, real logs, real metadata quorum, and a client that speaks frames.

mod client;
mod deletion;
mod nodes;

use std::time::Duration;

use client::{Client, batch, numbered};
use nodes::{Nodes, wait_until};

/// Bounds every wait of these tests.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn what_is_acknowledged_survives_the_death_of_its_leader() {
    let mut nodes = Nodes::start(3);
    let mut client = Client::new(nodes.addresses());
    client.create_topic("life", 3, 3);
    let mut kept = Vec::new();
    for partition in 0..3 {
        let values = numbered(&format!("before-{partition}"), 50);
        let base = client.produce("life", partition, -1, batch(&values));
        kept.push((partition, base, values));
    }
    let killed = client.leader("life", 0).expect("a leader");
    nodes.kill(killed);
    wait_until("another leader of every partition", || {
        (0..3).all(|p| {
            client
                .leader("life", p)
                .is_some_and(|leader| leader != killed)
        })
    });
    for partition in 0..3 {
        let values = numbered(&format!("after-{partition}"), 50);
        let base = client.produce("life", partition, -1, batch(&values));
        kept.push((partition, base, values));
    }
    nodes.restart(killed);
    wait_until("a full ISR of every partition", || {
        (0..3).all(|p| client.isr("life", p) == [1, 2, 3])
    });
    // Now the broker that was dead is as good as any: all others die.
    for other in (1..=3).filter(|id| *id != killed) {
        nodes.kill(other);
        nodes.restart(other);
        wait_until("a full ISR again", || {
            (0..3).all(|p| client.isr("life", p) == [1, 2, 3])
        });
    }
    for (partition, base, values) in &kept {
        let read = client.read_all("life", *partition);
        let from = usize::try_from(*base).expect("positive");
        let found: Vec<_> = read[from..from + values.len()]
            .iter()
            .map(|(_, v)| v)
            .collect();
        assert_eq!(
            found,
            values.iter().collect::<Vec<_>>(),
            "partition {partition}"
        );
    }
    nodes.stop();
}

#[test]
fn all_brokers_die_at_once_and_nothing_acknowledged_is_lost() {
    let mut nodes = Nodes::start(3);
    let mut client = Client::new(nodes.addresses());
    client.create_topic("dark", 2, 3);
    let mut expected = Vec::new();
    for round in 0..20 {
        let values = numbered(&format!("round-{round}"), 10);
        assert_eq!(
            client.produce("dark", round % 2, -1, batch(&values)),
            i64::from(round / 2) * 10
        );
        if round % 2 == 0 {
            expected.extend(values);
        }
    }
    for id in 1..=3 {
        nodes.kill(id);
    }
    for id in 1..=3 {
        nodes.restart(id);
    }
    wait_until("leaders", || {
        (0..2).all(|p| client.leader("dark", p).is_some())
    });
    wait_until("everything to be readable", || {
        client.read_all("dark", 0).len() >= expected.len()
    });
    let read: Vec<_> = client
        .read_all("dark", 0)
        .into_iter()
        .map(|(_, value)| value)
        .collect();
    assert_eq!(read, expected);
    nodes.stop();
}

#[test]
fn a_follower_that_is_gone_for_long_leaves_the_isr_and_comes_back() {
    let mut nodes = Nodes::start(3);
    let mut client = Client::new(nodes.addresses());
    client.create_topic("isr", 1, 3);
    client.produce("isr", 0, -1, batch(&numbered("a", 10)));
    let leader = client.leader("isr", 0).expect("a leader");
    let gone = (1..=3).find(|id| *id != leader).expect("another");
    nodes.kill(gone);
    let rest: Vec<_> = (1..=3).filter(|id| *id != gone).collect();
    wait_until("the ISR to shrink", || client.isr("isr", 0) == rest);
    for round in 0..5 {
        client.produce("isr", 0, -1, batch(&numbered(&format!("b{round}"), 10)));
    }
    nodes.restart(gone);
    wait_until("the ISR to grow", || client.isr("isr", 0) == [1, 2, 3]);
    nodes.kill(leader);
    wait_until("a new leader", || {
        client.leader("isr", 0).is_some_and(|id| id != leader)
    });
    wait_until("all of it", || client.read_all("isr", 0).len() == 60);
    nodes.stop();
}
