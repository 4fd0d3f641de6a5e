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
mod press;
mod probe;
mod strand;
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
    /// Makes the link of this node bad.
    Impair(Impair),
    /// Answers what arrives at some ports with a TCP reset.
    Reset(PortsOf),
    /// Drops what arrives over the connections that some ports have at this moment.
    Strand(PortsOf),
    /// Connects, and measures how long it takes to send so much.
    Flood(Flood),
    /// Takes processors and memory.
    Press(Press),
    /// Measures what it is like to need a processor here: [`AgentReply::strain`].
    Strain,
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

/// See [`AgentCommand::Impair`]: packets to and from `peers`, over any TCP port but those spared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Impair {
    /// The fault it belongs to.
    pub tag: String,
    /// With whom. Nobody else is concerned, this node itself least of all.
    pub peers: Vec<Ipv4Addr>,
    /// TCP ports whose connections, at either end, are left alone.
    pub spare: Vec<u16>,
    /// What happens to each packet, each way.
    pub manner: Manner,
}

/// What happens to the packets of a line. The default is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Manner {
    /// Each is held this long, in milliseconds.
    pub delay_ms: u32,
    /// And up to this much longer, in milliseconds; none overtakes another for it.
    pub jitter_ms: u32,
    /// So many of a hundred are held for `reorder_ms` more, and overtaken.
    pub reorder_percent: u32,
    /// See `reorder_percent`, in milliseconds.
    pub reorder_ms: u32,
    /// So many of a hundred are lost.
    pub loss_percent: u32,
    /// So many bytes a second pass; 0: all.
    pub bytes_per_second: u32,
}

/// Ports of this node, as some peers use them. See [`AgentCommand::Reset`] and
/// [`AgentCommand::Strand`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortsOf {
    /// The fault it belongs to.
    pub tag: String,
    /// TCP ports of this node.
    pub ports: Vec<u16>,
    /// Peers concerned.
    pub peers: Vec<Ipv4Addr>,
}

/// See [`AgentCommand::Flood`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flood {
    /// Where to connect.
    pub to: SocketAddrV4,
    /// How many bytes are sent: the beginning of a request of Kafka's protocol that never ends.
    pub bytes: u32,
    /// How long to wait until the other kernel has them, in milliseconds.
    pub timeout_ms: u32,
}

/// See [`AgentCommand::Press`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Press {
    /// The fault it belongs to.
    pub tag: String,
    /// Busy threads for each processor.
    pub threads_per_cpu: u32,
    /// MiB that are written to again and again.
    pub mib: u32,
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
    /// What has become of the packets of each line.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<LineStatus>,
    /// See [`AgentCommand::Strain`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strain: Option<Strain>,
}

/// One line of the delayer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct LineStatus {
    /// The fault it belongs to.
    pub tag: String,
    /// Packets that were let go.
    pub passed: u64,
    /// Packets that were lost.
    pub lost: u64,
    /// Packets that were let go after one that had come later.
    pub overtaken: u64,
}

/// What it is like to need a processor on a machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Strain {
    /// How much longer than its processor time a busy thread takes, in thousandths (1000: not).
    pub stretch: u64,
    /// Busy threads of ours.
    pub threads: u64,
    /// MiB that we hold.
    pub mib: u64,
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

impl ProbeResult {
    /// It got nowhere in the time that it had; nobody refused it.
    pub fn is_too_late(&self) -> bool {
        self.error.as_deref() == Some(TIMEOUT)
    }
}

/// [`ProbeResult::error`] of what took too long.
pub(crate) const TIMEOUT: &str = "timeout";
