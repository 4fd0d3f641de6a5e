//! What `nemesis-agent` does inside a container, done to the simulated network.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use broker::meta::image::Endpoint;
use broker::net;
use broker::sim::{Cut, Delay, World, process};
use futures_util::future::join_all;
use nemesis::agent::{AgentCommand, AgentReply, Probe, ProbeResult, RuleStatus};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout};

/// Carries out one order at the machine `here`.
pub async fn obey(world: &World, here: Ipv4Addr, command: &AgentCommand) -> AgentReply {
    let mut reply = AgentReply {
        ok: true,
        ..AgentReply::default()
    };
    match command {
        AgentCommand::Cut(cut) => {
            let cut = Cut {
                tag: cut.tag.clone(),
                from: cut.from.clone(),
                spare: cut.spare.clone(),
                only: cut.only.clone(),
            };
            world.cut(here, cut);
        }
        AgentCommand::Delay(delay) => {
            let delay = Delay {
                tag: delay.tag.clone(),
                ports: delay.ports.clone(),
                peers: delay.peers.clone(),
                inbound: Duration::from_millis(u64::from(delay.inbound_ms)),
                outbound: Duration::from_millis(u64::from(delay.outbound_ms)),
            };
            world.delay(here, delay);
        }
        AgentCommand::Heal { tag } => world.heal(here, tag.as_deref()),
        AgentCommand::Status => {}
        AgentCommand::Probe(probe) => reply.probes = probes(here, probe).await,
        other => {
            reply.ok = false;
            reply.error = Some(format!("a simulated network has no `{}`", other.name()));
        }
    }
    let rules = world.rules(here).into_iter().map(|rule| RuleStatus {
        tag: rule.tag,
        what: rule.what,
        packets: rule.packets,
        bytes: 0,
    });
    reply.rules = rules.collect();
    reply
}

/// An address as the broker's network takes it.
#[must_use]
pub fn endpoint(host: Ipv4Addr, port: u16) -> Endpoint {
    Endpoint {
        host: host.to_string(),
        port,
    }
}

async fn probes(here: Ipv4Addr, probe: &Probe) -> Vec<ProbeResult> {
    let within = Duration::from_millis(u64::from(probe.timeout_ms.max(1)));
    let each = probe.to.iter().map(|to| {
        let probing = one(*to, within, probe.say.as_deref());
        process::on_machine(here, probing)
    });
    join_all(each).await
}

async fn one(to: SocketAddrV4, within: Duration, say: Option<&str>) -> ProbeResult {
    let mut result = ProbeResult {
        to,
        connect_us: None,
        answer_us: None,
        error: None,
    };
    let micros = |since: Instant| u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
    let began = Instant::now();
    let mut stream = match net::connect(&endpoint(*to.ip(), to.port()), within).await {
        Ok(stream) => stream,
        Err(error) => {
            result.error = Some(name(&error));
            return result;
        }
    };
    result.connect_us = Some(micros(began));
    let Some(say) = say else {
        return result;
    };
    let asked = Instant::now();
    let answer = async {
        stream.write_all(say.as_bytes()).await?;
        stream.read_u8().await
    };
    match timeout(within, answer).await {
        Ok(Ok(_)) => result.answer_us = Some(micros(asked)),
        Ok(Err(error)) => result.error = Some(name(&error)),
        Err(_) => result.error = Some("timeout".to_owned()),
    }
    result
}

fn name(error: &std::io::Error) -> String {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::TimedOut => "timeout".to_owned(),
        ErrorKind::ConnectionRefused => "refused".to_owned(),
        ErrorKind::ConnectionReset => "reset".to_owned(),
        ErrorKind::UnexpectedEof => "closed".to_owned(),
        _ => error.to_string(),
    }
}
