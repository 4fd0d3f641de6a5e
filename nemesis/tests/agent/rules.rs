//! Cuts.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use nemesis::agent::{AgentCommand, Cut};

use crate::lab::{Node, lab};

fn cut(tag: &str, from: &Node, spare: &[u16], only: &[u16]) -> AgentCommand {
    AgentCommand::Cut(Cut {
        tag: tag.to_owned(),
        from: vec![from.ip],
        spare: spare.to_vec(),
        only: only.to_vec(),
    })
}

fn heal(tag: &str) -> AgentCommand {
    AgentCommand::Heal {
        tag: Some(tag.to_owned()),
    }
}

/// Whether a datagram arrives: TCP would need both ways.
fn hears(listener: &Node, speaker: &Node) -> bool {
    const PORT: u16 = 7_777;
    let bound = listener.within(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)).unwrap());
    bound
        .set_read_timeout(Some(Duration::from_millis(250)))
        .unwrap();
    let to = (listener.ip, PORT);
    speaker.within(move || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        socket.send_to(b"hello", to).unwrap();
    });
    bound.recv(&mut [0; 16]).is_ok()
}

pub fn a_cut_is_one_way() {
    let [a, b] = lab();
    assert!(hears(&a, &b) && hears(&b, &a));
    b.obeys(&cut("f1", &a, &[], &[]));
    assert!(!hears(&b, &a), "b no longer hears a");
    assert!(hears(&a, &b), "a still hears b");
    assert!(
        !a.connects(&b, 9092) && !b.connects(&a, 9092),
        "TCP needs both ways"
    );
    let rules = b.obeys(&AgentCommand::Status).rules;
    assert_eq!(rules.len(), 1);
    assert!(rules[0].packets >= 3 && rules[0].bytes > 0, "{rules:?}");
    assert!(a.obeys(&AgentCommand::Status).rules.is_empty());
    assert!(b.obeys(&heal("f1")).rules.is_empty());
    assert!(hears(&b, &a) && a.connects(&b, 9092) && b.connects(&a, 9092));
}

pub fn ports_are_spared_or_hit_alone() {
    let [a, b] = lab();
    b.obeys(&cut("spare", &a, &[9094], &[]));
    // Either end of the spared listener's connections.
    assert!(a.connects(&b, 9094) && b.connects(&a, 9094));
    assert!(!a.connects(&b, 9092) && !b.connects(&a, 9093));
    b.obeys(&heal("spare"));
    b.obeys(&cut("only", &a, &[], &[9093]));
    assert!(!a.connects(&b, 9093) && !b.connects(&a, 9093));
    assert!(a.connects(&b, 9092) && b.connects(&a, 9092) && b.connects(&a, 9094));
    b.obeys(&heal("only"));
    assert!(a.connects(&b, 9093) && b.connects(&a, 9093));
}

pub fn orders_can_be_repeated_and_healed_one_by_one() {
    let [a, b] = lab();
    b.obeys(&cut("f1", &a, &[9094], &[]));
    assert!(!a.connects(&b, 9092));
    let counted = b.obeys(&AgentCommand::Status).rules;
    assert!(counted[0].packets > 0);
    // The same again changes nothing, not even the counter.
    assert_eq!(b.obeys(&cut("f1", &a, &[9094], &[])).rules, counted);
    // Something else under the same name takes its place.
    let replaced = b.obeys(&cut("f1", &a, &[9092], &[])).rules;
    assert!(
        replaced.len() == 1 && replaced[0].packets == 0,
        "{replaced:?}"
    );
    assert!(a.connects(&b, 9092) && !a.connects(&b, 9094));
    // A second fault on the same link, and the first goes: the second stays.
    b.obeys(&cut("f2", &a, &[], &[9093]));
    b.obeys(&heal("f1"));
    assert!(a.connects(&b, 9094) && !a.connects(&b, 9093));
    let left = b.obeys(&AgentCommand::Status).rules;
    assert!(
        left.len() == 2 && left.iter().all(|rule| rule.tag == "f2"),
        "{left:?}"
    );
    // What is not there can be healed; and everything at once.
    b.obeys(&heal("never"));
    assert!(b.obeys(&AgentCommand::Heal { tag: None }).rules.is_empty());
    assert!(b.obeys(&AgentCommand::Heal { tag: None }).rules.is_empty());
    assert!(a.connects(&b, 9093));
}
