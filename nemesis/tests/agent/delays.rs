//! Delays.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use nemesis::agent::{AgentCommand, Delay};

use crate::lab::{Node, lab};

fn delay(peers: &[Ipv4Addr], inbound_ms: u32, outbound_ms: u32) -> AgentCommand {
    AgentCommand::Delay(Delay {
        tag: "d".to_owned(),
        ports: vec![9093],
        peers: peers.to_vec(),
        inbound_ms,
        outbound_ms,
    })
}

const HEAL: AgentCommand = AgentCommand::Heal { tag: None };

fn connect(from: &Node, to: &Node, port: u16) -> TcpStream {
    let address = (to.ip, port);
    let stream = from.within(move || TcpStream::connect(address).unwrap());
    stream.set_nodelay(true).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream
}

fn echo(stream: &mut TcpStream) -> Duration {
    let begin = Instant::now();
    stream.write_all(b"x").unwrap();
    stream.read_exact(&mut [0]).unwrap();
    begin.elapsed()
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub fn a_delay_holds_established_connections_too() {
    let [a, b] = lab();
    let (mut delayed, mut other) = (connect(&a, &b, 9093), connect(&a, &b, 9092));
    echo(&mut delayed);
    b.obeys(&delay(&[], 120, 60));
    assert!(echo(&mut delayed) >= ms(180), "both ways on the port");
    assert!(echo(&mut other) < ms(120), "another port is left alone");
    let rules = b.obeys(&AgentCommand::Status).rules;
    assert_eq!(rules.len(), 2);
    assert!(rules.iter().all(|rule| rule.packets > 0), "{rules:?}");
    // Another amount, one way, one peer; then a peer that nobody is.
    b.obeys(&delay(&[a.ip], 0, 150));
    let took = echo(&mut delayed);
    assert!(took >= ms(150), "{took:?}");
    b.obeys(&delay(&[Ipv4Addr::new(10, 7, 0, 99)], 500, 500));
    assert!(echo(&mut delayed) < ms(400));
    assert!(b.obeys(&HEAL).rules.is_empty());
    assert!(echo(&mut delayed) < ms(120));
}

pub fn healing_lets_go_what_is_held_and_loses_nothing() {
    const BYTES: usize = 8 << 20;
    let [a, b] = lab();
    let mut stream = connect(&a, &b, 9093);
    b.obeys(&delay(&[], 5_000, 5_000));
    let mut sender = stream.try_clone().unwrap();
    let data: Vec<u8> = (0..BYTES).map(|at| (at % 251) as u8).collect();
    let sent = data.clone();
    let sending = thread::spawn(move || sender.write_all(&sent).unwrap());
    let deadline = Instant::now() + ms(3_000);
    while b.obeys(&AgentCommand::Status).held == 0 && Instant::now() < deadline {}
    let held = b.obeys(&AgentCommand::Status).held;
    assert!(held > 0, "nothing is held");
    let healed = Instant::now();
    let after = b.obeys(&HEAL);
    assert!(after.held == 0 && after.rules.is_empty(), "{after:?}");
    let mut back = vec![0; BYTES];
    stream.read_exact(&mut back).unwrap();
    sending.join().unwrap();
    assert!(back == data, "what came back is not what was sent");
    let took = healed.elapsed();
    eprintln!(
        "{held} packets held; {} MiB came back {took:?} after healing",
        BYTES >> 20
    );
    assert!(took < ms(4_000), "it took as long as the delay: {took:?}");
}

pub fn a_dead_agent_is_no_partition() {
    let [a, mut b] = lab();
    let mut stream = connect(&a, &b, 9093);
    b.obeys(&delay(&[], 200, 0));
    assert!(echo(&mut stream) >= ms(200));
    b.holder.kill().unwrap();
    b.holder.wait().unwrap();
    assert!(a.connects(&b, 9093), "packets pass");
    // Whoever heals finds the rules in the kernel, without the holder's help.
    assert_eq!(b.obeys(&AgentCommand::Status).rules.len(), 1);
    assert!(b.obeys(&HEAL).rules.is_empty());
    assert!(echo(&mut stream) < ms(5_000), "the connection survives");
}

pub fn a_delay_without_a_holder_is_refused() {
    let [_a, mut b] = lab();
    b.holder.kill().unwrap();
    b.holder.wait().unwrap();
    let reply = b.agent(&delay(&[], 100, 0));
    assert!(!reply.ok);
    assert!(reply.error.unwrap().contains("nemesis-agent hold"));
    assert!(b.obeys(&AgentCommand::Status).rules.is_empty());
}
