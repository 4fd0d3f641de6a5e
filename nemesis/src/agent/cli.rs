//! The agent's command line, in both directions: [`AgentCommand::arguments`] writes what
//! [`Cli`] reads.

use std::net::{Ipv4Addr, SocketAddrV4};

use clap::{Args, Parser, Subcommand};

use super::{AgentCommand, Cut, Delay, Flood, Impair, Manner, PortsOf, Press, Probe};

/// Acts inside a node's network namespace: cuts, delays, probes. Prints one line of JSON.
#[derive(Debug, Parser)]
#[command(name = "nemesis-agent", version, about, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub order: Order,
}

/// What the agent can do.
#[derive(Debug, Subcommand)]
pub enum Order {
    /// Own the network namespace: run the delayer, reap, wait for SIGTERM
    Hold(HoldArgs),
    /// Drop what arrives from some addresses
    Cut(CutArgs),
    /// Hold back the packets of some ports of this node
    Delay(DelayArgs),
    /// Remove the rules and delays of one fault, or all
    Heal(TagArg),
    /// Print the rules with their counters
    Status,
    /// Connect to addresses and measure how that goes
    Probe(ProbeArgs),
    /// Delay, reorder, lose or slow down all packets between this node and some peers
    Impair(ImpairArgs),
    /// Answer what arrives at some ports of this node with a TCP reset
    Reset(PortsArgs),
    /// Drop what arrives over the connections that some ports of this node have now
    Strand(PortsArgs),
    /// Connect, send so many bytes, and measure how long that takes
    Flood(FloodArgs),
    /// Take processors and memory until healed
    Press(PressArgs),
    /// Measure how long a busy thread waits for a processor
    Strain,
    /// Set up a link of this network namespace
    Link(LinkArgs),
    /// Run a command inside fresh user, network, mount and process namespaces
    Enter(EnterArgs),
    /// Send back what is sent (stands in for a broker in tests)
    Echo(EchoArgs),
}

/// `hold`
#[derive(Debug, Args)]
pub struct HoldArgs {
    /// Begin by making a network namespace of its own
    #[arg(long)]
    pub new_network: bool,
}

/// `cut`
#[derive(Debug, Args)]
pub struct CutArgs {
    /// The fault's name
    #[arg(long)]
    tag: String,
    /// Senders that are no longer heard
    #[arg(long, value_delimiter = ',', required = true)]
    from: Vec<Ipv4Addr>,
    /// TCP ports whose connections are left alone
    #[arg(long, value_delimiter = ',')]
    spare: Vec<u16>,
    /// Cut only connections with one of these TCP ports
    #[arg(long, value_delimiter = ',')]
    only: Vec<u16>,
}

/// `delay`
#[derive(Debug, Args)]
pub struct DelayArgs {
    /// The fault's name
    #[arg(long)]
    tag: String,
    /// TCP ports of this node
    #[arg(long, value_delimiter = ',', required = true)]
    port: Vec<u16>,
    /// Peers concerned (default: all)
    #[arg(long, value_delimiter = ',')]
    peer: Vec<Ipv4Addr>,
    /// Delay of what arrives, in milliseconds
    #[arg(long, default_value_t = 0)]
    inbound_ms: u32,
    /// Delay of what leaves, in milliseconds
    #[arg(long, default_value_t = 0)]
    outbound_ms: u32,
}

/// `impair`
#[derive(Debug, Args)]
pub struct ImpairArgs {
    /// The fault's name
    #[arg(long)]
    tag: String,
    /// With whom
    #[arg(long, value_delimiter = ',', required = true)]
    peer: Vec<Ipv4Addr>,
    /// TCP ports whose connections are left alone
    #[arg(long, value_delimiter = ',')]
    spare: Vec<u16>,
    /// Each packet is held this long, in milliseconds
    #[arg(long, default_value_t = 0)]
    delay_ms: u32,
    /// And up to this much longer
    #[arg(long, default_value_t = 0)]
    jitter_ms: u32,
    /// So many of a hundred packets are overtaken
    #[arg(long, default_value_t = 0)]
    reorder_percent: u32,
    /// For which they are held this long
    #[arg(long, default_value_t = 0)]
    reorder_ms: u32,
    /// So many of a hundred packets are lost
    #[arg(long, default_value_t = 0)]
    loss_percent: u32,
    /// So many bytes a second pass (0: all)
    #[arg(long, default_value_t = 0)]
    bytes_per_second: u32,
}

/// `reset`, `strand`
#[derive(Debug, Args)]
pub struct PortsArgs {
    /// The fault's name
    #[arg(long)]
    tag: String,
    /// TCP ports of this node
    #[arg(long, value_delimiter = ',', required = true)]
    port: Vec<u16>,
    /// Peers concerned
    #[arg(long, value_delimiter = ',', required = true)]
    peer: Vec<Ipv4Addr>,
}

impl From<PortsArgs> for PortsOf {
    fn from(args: PortsArgs) -> Self {
        Self {
            tag: args.tag,
            ports: args.port,
            peers: args.peer,
        }
    }
}

/// `flood`
#[derive(Debug, Args)]
pub struct FloodArgs {
    /// Where to connect
    #[arg(long)]
    to: SocketAddrV4,
    /// How many bytes
    #[arg(long)]
    bytes: u32,
    /// How long to wait, in milliseconds
    #[arg(long, default_value_t = 5_000)]
    timeout_ms: u32,
}

/// `press`
#[derive(Debug, Args)]
pub struct PressArgs {
    /// The fault's name
    #[arg(long)]
    tag: String,
    /// Busy threads for each processor
    #[arg(long, default_value_t = 0)]
    threads_per_cpu: u32,
    /// MiB that are written to again and again
    #[arg(long, default_value_t = 0)]
    mib: u32,
}

/// `heal`
#[derive(Debug, Args)]
pub struct TagArg {
    /// The fault's name (default: everything)
    #[arg(long)]
    tag: Option<String>,
}

/// `probe`
#[derive(Debug, Args)]
pub struct ProbeArgs {
    /// Where to connect
    #[arg(long, value_delimiter = ',', required = true)]
    to: Vec<SocketAddrV4>,
    /// How long to wait, in milliseconds
    #[arg(long, default_value_t = 500)]
    timeout_ms: u32,
    /// Send this, and wait for an answer (`\0` is a zero byte, `\\` a backslash)
    #[arg(long, value_parser = unescaped)]
    say: Option<String>,
}

/// No argument of a process may hold a zero byte, and questions in Kafka's protocol do.
fn escaped(say: &str) -> String {
    say.replace('\\', r"\\").replace('\0', r"\0")
}

fn unescaped(text: &str) -> Result<String, String> {
    let mut said = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        said.push(match (c, (c == '\\').then(|| rest.next()).flatten()) {
            ('\\', Some('0')) => '\0',
            ('\\', Some('\\')) => '\\',
            ('\\', _) => return Err(format!(r"`{text}`: a backslash stands before 0 or \ only")),
            (plain, _) => plain,
        });
    }
    Ok(said)
}

/// `link`
#[derive(Debug, Args)]
pub struct LinkArgs {
    /// Its name
    #[arg(long)]
    pub name: String,
    /// Its address
    #[arg(long)]
    pub address: Ipv4Addr,
    /// Length of the network's prefix
    #[arg(long, default_value_t = 24)]
    pub prefix: u8,
}

/// `enter`
#[derive(Debug, Args)]
pub struct EnterArgs {
    /// Only say whether it would work
    #[arg(long)]
    pub check: bool,
    /// Do without a process namespace, as where the kernel refuses a fresh /proc
    #[arg(long)]
    pub no_process_namespace: bool,
    /// What to run
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<String>,
}

/// `echo`
#[derive(Debug, Args)]
pub struct EchoArgs {
    /// Ports to listen on
    #[arg(long, value_delimiter = ',', required = true)]
    pub port: Vec<u16>,
}

impl Order {
    /// The command, if it is one of those that a cluster's runtime sends.
    pub fn command(self) -> Result<AgentCommand, Self> {
        Ok(match self {
            Self::Cut(CutArgs {
                tag,
                from,
                spare,
                only,
            }) => AgentCommand::Cut(Cut {
                tag,
                from,
                spare,
                only,
            }),
            Self::Delay(args) => AgentCommand::Delay(Delay {
                tag: args.tag,
                ports: args.port,
                peers: args.peer,
                inbound_ms: args.inbound_ms,
                outbound_ms: args.outbound_ms,
            }),
            Self::Heal(TagArg { tag }) => AgentCommand::Heal { tag },
            Self::Status => AgentCommand::Status,
            Self::Probe(ProbeArgs {
                to,
                timeout_ms,
                say,
            }) => AgentCommand::Probe(Probe {
                to,
                timeout_ms,
                say,
            }),
            Self::Impair(args) => AgentCommand::Impair(Impair {
                tag: args.tag,
                peers: args.peer,
                spare: args.spare,
                manner: Manner {
                    delay_ms: args.delay_ms,
                    jitter_ms: args.jitter_ms,
                    reorder_percent: args.reorder_percent,
                    reorder_ms: args.reorder_ms,
                    loss_percent: args.loss_percent,
                    bytes_per_second: args.bytes_per_second,
                },
            }),
            Self::Reset(args) => AgentCommand::Reset(args.into()),
            Self::Strand(args) => AgentCommand::Strand(args.into()),
            Self::Flood(args) => AgentCommand::Flood(Flood {
                to: args.to,
                bytes: args.bytes,
                timeout_ms: args.timeout_ms,
            }),
            Self::Press(args) => AgentCommand::Press(Press {
                tag: args.tag,
                threads_per_cpu: args.threads_per_cpu,
                mib: args.mib,
            }),
            Self::Strain => AgentCommand::Strain,
            other => return Err(other),
        })
    }
}

impl AgentCommand {
    /// The arguments that make `nemesis-agent` do this.
    pub fn arguments(&self) -> Vec<String> {
        let mut words = Words::default();
        match self {
            Self::Cut(cut) => {
                words.word("cut").option("--tag", &cut.tag);
                words.list("--from", &cut.from);
                words.list("--spare", &cut.spare).list("--only", &cut.only);
            }
            Self::Delay(delay) => {
                words.word("delay").option("--tag", &delay.tag);
                words.list("--port", &delay.ports);
                words.list("--peer", &delay.peers);
                words.option("--inbound-ms", delay.inbound_ms);
                words.option("--outbound-ms", delay.outbound_ms);
            }
            Self::Heal { tag } => {
                words.word("heal");
                if let Some(tag) = tag {
                    words.option("--tag", tag);
                }
            }
            Self::Status => {
                words.word("status");
            }
            Self::Probe(probe) => {
                words.word("probe").list("--to", &probe.to);
                words.option("--timeout-ms", probe.timeout_ms);
                if let Some(say) = &probe.say {
                    words.option("--say", escaped(say));
                }
            }
            Self::Impair(impair) => words.impair(impair),
            Self::Reset(order) => words.ports("reset", order),
            Self::Strand(order) => words.ports("strand", order),
            Self::Flood(flood) => {
                words.word("flood").option("--to", flood.to);
                words.option("--bytes", flood.bytes);
                words.option("--timeout-ms", flood.timeout_ms);
            }
            Self::Press(press) => {
                words.word("press").option("--tag", &press.tag);
                words.option("--threads-per-cpu", press.threads_per_cpu);
                words.option("--mib", press.mib);
            }
            Self::Strain => {
                words.word("strain");
            }
        }
        words.0
    }

    /// What it is called in messages.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Cut(_) => "cut",
            Self::Delay(_) => "delay",
            Self::Heal { .. } => "heal",
            Self::Status => "status",
            Self::Probe(_) => "probe",
            Self::Impair(_) => "impair",
            Self::Reset(_) => "reset",
            Self::Strand(_) => "strand",
            Self::Flood(_) => "flood",
            Self::Press(_) => "press",
            Self::Strain => "strain",
        }
    }
}

#[derive(Default)]
struct Words(Vec<String>);

impl Words {
    fn word(&mut self, word: &str) -> &mut Self {
        self.0.push(word.to_owned());
        self
    }

    /// In one word, so that a value that begins with `-` stays a value.
    fn option(&mut self, name: &str, value: impl ToString) -> &mut Self {
        self.0.push(format!("{name}={}", value.to_string()));
        self
    }

    fn list<T: ToString>(&mut self, name: &str, values: &[T]) -> &mut Self {
        if values.is_empty() {
            return self;
        }
        let values: Vec<String> = values.iter().map(ToString::to_string).collect();
        self.option(name, values.join(","))
    }

    fn impair(&mut self, order: &Impair) {
        let manner = &order.manner;
        self.word("impair").option("--tag", &order.tag);
        self.list("--peer", &order.peers)
            .list("--spare", &order.spare);
        self.option("--delay-ms", manner.delay_ms);
        self.option("--jitter-ms", manner.jitter_ms);
        self.option("--reorder-percent", manner.reorder_percent);
        self.option("--reorder-ms", manner.reorder_ms);
        self.option("--loss-percent", manner.loss_percent);
        self.option("--bytes-per-second", manner.bytes_per_second);
    }

    fn ports(&mut self, word: &str, order: &PortsOf) {
        self.word(word).option("--tag", &order.tag);
        self.list("--port", &order.ports)
            .list("--peer", &order.peers);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ips() -> impl Strategy<Value = Vec<Ipv4Addr>> {
        prop::collection::vec(any::<u32>().prop_map(Ipv4Addr::from), 0..4)
    }

    fn commands() -> impl Strategy<Value = AgentCommand> {
        let ports = || prop::collection::vec(any::<u16>(), 0..3);
        let tag = || "[a-z0-9 =,-]{1,12}";
        let some_ip = any::<u32>().prop_map(Ipv4Addr::from);
        let cut = (tag(), ips(), some_ip, ports(), ports()).prop_map(
            |(tag, mut from, one, spare, only)| {
                from.push(one);
                AgentCommand::Cut(Cut {
                    tag,
                    from,
                    spare,
                    only,
                })
            },
        );
        let delay = (
            tag(),
            ports(),
            any::<u16>(),
            ips(),
            any::<u32>(),
            any::<u32>(),
        )
            .prop_map(|(tag, mut ports, port, peers, inbound_ms, outbound_ms)| {
                ports.push(port);
                AgentCommand::Delay(Delay {
                    tag,
                    ports,
                    peers,
                    inbound_ms,
                    outbound_ms,
                })
            });
        let heal = prop::option::of(tag()).prop_map(|tag| AgentCommand::Heal { tag });
        let probe = (
            any::<(u32, u16)>(),
            any::<u32>(),
            prop::option::of("[\0-~]{0,20}"),
        )
            .prop_map(|((ip, port), timeout_ms, say)| {
                AgentCommand::Probe(Probe {
                    to: vec![SocketAddrV4::new(ip.into(), port)],
                    timeout_ms,
                    say,
                })
            });
        let more = further();
        prop_oneof![cut, delay, heal, Just(AgentCommand::Status), probe, more]
    }

    fn further() -> impl Strategy<Value = AgentCommand> {
        let tag = || "[a-z0-9 =,-]{1,12}";
        let numbers = any::<[u32; 6]>();
        let address = || any::<(u32, u16)>();
        (0..6, tag(), address(), numbers).prop_map(|(which, tag, (ip, port), numbers)| {
            let order = PortsOf {
                tag: tag.clone(),
                ports: vec![port],
                peers: vec![ip.into()],
            };
            match which {
                0 => AgentCommand::Impair(Impair {
                    tag,
                    peers: order.peers,
                    spare: order.ports,
                    manner: Manner {
                        delay_ms: numbers[0],
                        jitter_ms: numbers[1],
                        reorder_percent: numbers[2],
                        reorder_ms: numbers[3],
                        loss_percent: numbers[4],
                        bytes_per_second: numbers[5],
                    },
                }),
                1 => AgentCommand::Reset(order),
                2 => AgentCommand::Strand(order),
                3 => AgentCommand::Flood(Flood {
                    to: SocketAddrV4::new(ip.into(), port),
                    bytes: numbers[0],
                    timeout_ms: numbers[1],
                }),
                4 => AgentCommand::Press(Press {
                    tag,
                    threads_per_cpu: numbers[0],
                    mib: numbers[1],
                }),
                _ => AgentCommand::Strain,
            }
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_is_read(command in commands()) {
            let mut words = vec!["nemesis-agent".to_owned()];
            words.extend(command.arguments());
            prop_assert!(words.iter().all(|word| !word.contains('\0')), "exec takes none");
            let cli = Cli::try_parse_from(&words).expect("our own arguments parse");
            prop_assert_eq!(cli.order.command().ok(), Some(command));
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
