//! The agent: what runs inside a node's network namespace, and how it is spoken to.
//!
//! `nemesis-agent` is one static binary. As `hold` it owns the namespace; every other command is
//! run beside it, does one thing to the kernel's tables and prints one line of JSON, an
//! [`AgentReply`]. The kernel is the only store of rules: an agent that was killed forgets nothing.

pub mod cli;
mod delayer;
pub mod echo;
pub mod enter;
pub mod hold;
pub mod link;
mod netlink;
mod nfqueue;
mod nft;
mod probe;
pub mod work;

use std::net::{Ipv4Addr, SocketAddrV4};

use serde::{Deserialize, Serialize};

/// One order to the agent. `tag` names the fault that a rule belongs to, so that it can be healed
/// alone; giving an order twice has the effect of giving it once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentCommand {
    /// Drops what arrives from these addresses.
    Cut(Cut),
    /// Holds back packets of some ports.
    Delay(Delay),
    /// Removes the rules and delays of one tag, or everything the agent ever installed.
    Heal {
        /// Which fault's; `None`: all.
        tag: Option<String>,
    },
    /// Reports rules with their counters, and delays.
    Status,
    /// Connects to each address, and reports how that went.
    Probe(Probe),
}

/// See [`AgentCommand::Cut`]: one-way, at the receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The fault it belongs to.
    pub tag: String,
    /// Senders that are no longer heard.
    pub from: Vec<Ipv4Addr>,
    /// TCP ports whose connections, at either end, are left alone.
    pub spare: Vec<u16>,
    /// If not empty: only connections with one of these TCP ports at either end are cut.
    pub only: Vec<u16>,
}

/// See [`AgentCommand::Delay`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delay {
    /// The fault it belongs to.
    pub tag: String,
    /// TCP ports of this node whose traffic is delayed.
    pub ports: Vec<u16>,
    /// Peers concerned; empty: all.
    pub peers: Vec<Ipv4Addr>,
    /// What arrives at these ports is held this long, in milliseconds.
    pub inbound_ms: u32,
    /// What leaves from these ports is held this long, in milliseconds.
    pub outbound_ms: u32,
}

/// See [`AgentCommand::Probe`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Where to connect, all at once.
    pub to: Vec<SocketAddrV4>,
    /// How long to wait for each, in milliseconds.
    pub timeout_ms: u32,
    /// Sent once connected; the probe then succeeds only when at least one byte comes back.
    pub say: Option<String>,
}

/// The answer to any order: one line of JSON on standard output.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct AgentReply {
    /// Whether the order was carried out.
    pub ok: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The rules that stand now (those of the order's tag, or all for `status`).
    pub rules: Vec<RuleStatus>,
    /// One for each address probed, in order.
    pub probes: Vec<ProbeResult>,
    /// Packets that the delayer holds now.
    pub held: u64,
}

/// One rule in the kernel, as read back from it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RuleStatus {
    /// The fault it belongs to.
    pub tag: String,
    /// What it does, in words.
    pub what: String,
    /// Packets that it has met.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// How one connection went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ProbeResult {
    /// Where to.
    pub to: SocketAddrV4,
    /// Time to connect in microseconds; absent if it did not come about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect_us: Option<u64>,
    /// Time from sending to the first byte of an answer in microseconds, if one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer_us: Option<u64>,
    /// Why it failed (`timeout`, `refused`, ...).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
