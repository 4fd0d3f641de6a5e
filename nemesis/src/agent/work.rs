//! Carries out one [`AgentCommand`] in the network namespace that this process is in.
//!
//! The order of healing matters and is kept here: delays to zero, what is held drains, rules are
//! deleted, lines are closed.

use std::io;
use std::net::Ipv4Addr;

use super::hold::{self, Request};
use super::nft::{Hook, Rule, Rules, Test, Verdict};
use super::{
    AgentCommand, AgentReply, Cut, Delay, Impair, PortsOf, Press, RuleStatus, Strain, press, probe,
    strand,
};

/// Carries it out; every failure is in the reply.
pub fn obey(command: &AgentCommand) -> AgentReply {
    let done = match command {
        AgentCommand::Cut(order) => cut(order),
        AgentCommand::Delay(order) => delay(order),
        AgentCommand::Heal { tag } => heal(tag.as_deref()),
        AgentCommand::Status => status(None),
        AgentCommand::Probe(order) => Ok(AgentReply {
            ok: true,
            probes: probe::run(order),
            ..AgentReply::default()
        }),
        AgentCommand::Impair(order) => impair(order),
        AgentCommand::Reset(order) => reset(order),
        AgentCommand::Strand(order) => strand(order),
        AgentCommand::Flood(order) => Ok(AgentReply {
            ok: true,
            probes: vec![probe::flood(order)],
            ..AgentReply::default()
        }),
        AgentCommand::Press(order) => press(order),
        AgentCommand::Strain => strain(),
    };
    done.unwrap_or_else(|error| AgentReply {
        error: Some(error.to_string()),
        ..AgentReply::default()
    })
}

fn cut(order: &Cut) -> io::Result<AgentReply> {
    let rules: Vec<Rule> = order
        .from
        .iter()
        .flat_map(|ip| rules_of(order, *ip))
        .collect();
    Rules::open()?.install(&order.tag, &rules)?;
    status(Some(&order.tag))
}

fn rules_of(order: &Cut, from: Ipv4Addr) -> Vec<Rule> {
    let rule = |what: String, more: Vec<Test>| {
        let mut tests = vec![Test::Source(from)];
        tests.extend(more);
        tests.extend(order.spare.iter().map(|port| Test::NotPort(*port)));
        Rule {
            tag: order.tag.clone(),
            what,
            hook: Hook::Input,
            tests,
            verdict: Verdict::Drop,
        }
    };
    let spare = if order.spare.is_empty() {
        String::new()
    } else {
        format!(" but ports {:?}", order.spare)
    };
    if order.only.is_empty() {
        return vec![rule(format!("drop from {from}{spare}"), Vec::new())];
    }
    let both_ends = |port: &u16| {
        [
            rule(
                format!("drop from {from} to port {port}{spare}"),
                vec![Test::DestinationPort(*port)],
            ),
            rule(
                format!("drop from {from}, port {port}{spare}"),
                vec![Test::SourcePort(*port)],
            ),
        ]
    };
    order.only.iter().flat_map(both_ends).collect()
}

fn delay(order: &Delay) -> io::Result<AgentReply> {
    let lines = hold::ask(&Request::Open {
        tag: order.tag.clone(),
        inbound_ms: order.inbound_ms,
        outbound_ms: order.outbound_ms,
    })
    .map_err(no_holder)?;
    let peers: Vec<Option<Ipv4Addr>> = if order.peers.is_empty() {
        vec![None]
    } else {
        order.peers.iter().copied().map(Some).collect()
    };
    let mut rules = Vec::new();
    for port in &order.ports {
        for peer in &peers {
            if let Some(queue) = lines.inbound {
                let tests = vec![peer.map(Test::Source), Some(Test::DestinationPort(*port))];
                let ms = order.inbound_ms;
                rules.push(delay_rule(
                    order,
                    Hook::Input,
                    tests,
                    queue,
                    *port,
                    *peer,
                    ms,
                ));
            }
            if let Some(queue) = lines.outbound {
                let tests = vec![peer.map(Test::Destination), Some(Test::SourcePort(*port))];
                let ms = order.outbound_ms;
                rules.push(delay_rule(
                    order,
                    Hook::Output,
                    tests,
                    queue,
                    *port,
                    *peer,
                    ms,
                ));
            }
        }
    }
    Rules::open()?.install(&order.tag, &rules)?;
    status(Some(&order.tag))
}

fn delay_rule(
    order: &Delay,
    hook: Hook,
    tests: Vec<Option<Test>>,
    queue: u16,
    port: u16,
    peer: Option<Ipv4Addr>,
    ms: u32,
) -> Rule {
    let peer = peer.map_or("anybody".to_owned(), |peer| peer.to_string());
    let way = match hook {
        Hook::Input => format!("from {peer} to port {port}"),
        Hook::Output => format!("from port {port} to {peer}"),
    };
    Rule {
        tag: order.tag.clone(),
        what: format!("delay {way} by {ms} ms"),
        hook,
        tests: tests.into_iter().flatten().collect(),
        verdict: Verdict::Queue(queue),
    }
}

fn impair(order: &Impair) -> io::Result<AgentReply> {
    let lines = hold::ask(&Request::Impair {
        tag: order.tag.clone(),
        manner: order.manner,
    })
    .map_err(no_holder)?;
    let mut rules = Vec::new();
    for peer in &order.peers {
        let ways = [
            (Hook::Input, Test::Source(*peer), lines.inbound, "from"),
            (Hook::Output, Test::Destination(*peer), lines.outbound, "to"),
        ];
        for (hook, test, queue, word) in ways {
            let queue = queue.ok_or_else(|| io::Error::other("the holder opened no line"))?;
            let mut tests = vec![test];
            tests.extend(order.spare.iter().map(|port| Test::NotPort(*port)));
            rules.push(Rule {
                tag: order.tag.clone(),
                what: format!("impair what goes {word} {peer}"),
                hook,
                tests,
                verdict: Verdict::Queue(queue),
            });
        }
    }
    Rules::open()?.install(&order.tag, &rules)?;
    status(Some(&order.tag))
}

fn reset(order: &PortsOf) -> io::Result<AgentReply> {
    let mut rules = Vec::new();
    for port in &order.ports {
        rules.extend(order.peers.iter().map(|peer| Rule {
            tag: order.tag.clone(),
            what: format!("reset what comes from {peer} to port {port}"),
            hook: Hook::Input,
            tests: vec![Test::Source(*peer), Test::DestinationPort(*port)],
            verdict: Verdict::Reset,
        }));
    }
    Rules::open()?.install(&order.tag, &rules)?;
    status(Some(&order.tag))
}

fn strand(order: &PortsOf) -> io::Result<AgentReply> {
    let connections = strand::connections(&order.ports, &order.peers)?;
    let rule = |(ours, theirs): &(std::net::SocketAddrV4, std::net::SocketAddrV4)| Rule {
        tag: order.tag.clone(),
        what: format!("drop from {theirs} to port {}", ours.port()),
        hook: Hook::Input,
        tests: vec![
            Test::Source(*theirs.ip()),
            Test::SourcePort(theirs.port()),
            Test::DestinationPort(ours.port()),
        ],
        verdict: Verdict::Drop,
    };
    let rules: Vec<Rule> = connections.iter().map(rule).collect();
    if !rules.is_empty() {
        Rules::open()?.install(&order.tag, &rules)?;
    }
    status(Some(&order.tag))
}

fn press(order: &Press) -> io::Result<AgentReply> {
    hold::ask(&Request::Press {
        tag: order.tag.clone(),
        threads_per_cpu: order.threads_per_cpu,
        mib: order.mib,
    })
    .map_err(no_holder)?;
    status(Some(&order.tag))
}

fn strain() -> io::Result<AgentReply> {
    let held = hold::ask(&Request::Count).unwrap_or_default();
    let strain = Strain {
        stretch: press::stretch()?,
        threads: held.threads,
        mib: held.mib,
    };
    Ok(AgentReply {
        ok: true,
        strain: Some(strain),
        ..AgentReply::default()
    })
}

fn heal(tag: Option<&str>) -> io::Result<AgentReply> {
    let owned = tag.map(str::to_owned);
    // Answered when everything held has been let go.
    let holder = hold::ask(&Request::Release { tag: owned.clone() });
    let mut rules = Rules::open()?;
    match tag {
        Some(tag) => rules.remove(tag)?,
        None => rules.remove_all()?,
    }
    if holder.is_ok() {
        hold::ask(&Request::Close { tag: owned })?;
    }
    status(tag)
}

fn status(tag: Option<&str>) -> io::Result<AgentReply> {
    let mut rules = Rules::open()?.status()?;
    rules.retain(|rule: &RuleStatus| tag.is_none_or(|tag| tag == rule.tag));
    let mut count = hold::ask(&Request::Count).unwrap_or_default();
    count
        .lines
        .retain(|line| tag.is_none_or(|tag| tag == line.tag));
    Ok(AgentReply {
        ok: true,
        rules,
        held: count.held,
        lines: count.lines,
        ..AgentReply::default()
    })
}

fn no_holder(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => io::Error::other(
            "no `nemesis-agent hold` runs in this network namespace, and this needs one",
        ),
        _ => error,
    }
}
