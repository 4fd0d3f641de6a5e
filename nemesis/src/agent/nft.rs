//! Rules of nftables over raw netlink: one table of ours per network namespace, one rule for each
//! thing that a fault does, each with a counter and with its fault's name in its user data.
//!
//! The kernel holds the truth: rules are found by the tag that they carry, not by memory. When the
//! last rule goes the table goes. No `nft` binary is needed, only CAP_NET_ADMIN over the
//! namespace. Layouts: `linux/netfilter/nf_tables.h`.

use std::io;
use std::net::Ipv4Addr;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, SockProtocol};

use super::RuleStatus;
use super::netlink::{
    ACK, APPEND, Answers, Attributes, CREATE, DUMP, Message, REQUEST, Socket, os, text,
};

const TABLE: &str = "nemesis";
/// `NFPROTO_IPV4`
const FAMILY: u8 = 2;
/// `struct nfgenmsg`
const GENERIC: usize = 4;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const SUBSYSTEM: u16 = 10;
const NEWTABLE: u16 = SUBSYSTEM << 8;
const DELTABLE: u16 = SUBSYSTEM << 8 | 2;
const NEWCHAIN: u16 = SUBSYSTEM << 8 | 3;
const NEWRULE: u16 = SUBSYSTEM << 8 | 6;
const GETRULE: u16 = SUBSYSTEM << 8 | 7;
const DELRULE: u16 = SUBSYSTEM << 8 | 8;
/// Between the two halves of a rule's user data.
const SEPARATOR: char = '\n';
/// `NFT_USERDATA_MAXLEN`
const USERDATA_BYTES_MAX: usize = 256;

/// Where a rule looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Packets for this node.
    Input,
    /// Packets from this node.
    Output,
}

impl Hook {
    fn chain(self) -> &'static str {
        match self {
            Self::Input => "in",
            Self::Output => "out",
        }
    }

    /// `NF_INET_LOCAL_IN`, `NF_INET_LOCAL_OUT`
    fn number(self) -> u32 {
        match self {
            Self::Input => 1,
            Self::Output => 3,
        }
    }
}

/// What a packet must be for a rule to apply; all of a rule's tests must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    /// Sent from this address.
    Source(Ipv4Addr),
    /// Sent to this address.
    Destination(Ipv4Addr),
    /// Its TCP source port is this one.
    SourcePort(u16),
    /// Its TCP destination port is this one.
    DestinationPort(u16),
    /// Neither of its TCP ports is this one.
    NotPort(u16),
}

/// What happens to a packet that passed the tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It never arrived.
    Drop,
    /// Some process decides, listening on this NFQUEUE; if none listens the packet passes.
    Queue(u16),
    /// Its sender is told that there is no such connection. For TCP alone.
    Reset,
}

/// A rule to install.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The fault it belongs to.
    pub tag: String,
    /// What it does, in words; with the tag it names the rule.
    pub what: String,
    /// Where it looks.
    pub hook: Hook,
    /// For which packets.
    pub tests: Vec<Test>,
    /// What it does to them.
    pub verdict: Verdict,
}

impl Rule {
    fn userdata(&self) -> Vec<u8> {
        let mut data = format!("{}{SEPARATOR}{}", self.tag, self.what).into_bytes();
        data.truncate(USERDATA_BYTES_MAX);
        data
    }
}

struct Installed {
    handle: [u8; 8],
    chain: String,
    status: RuleStatus,
}

/// The rules of this network namespace.
pub struct Rules {
    socket: Socket,
}

impl Rules {
    /// Opens the kernel's door; fails without CAP_NET_ADMIN only when it is used.
    pub fn open() -> io::Result<Self> {
        let socket = Socket::open(SockProtocol::NetlinkNetFilter)?;
        Ok(Self { socket })
    }

    /// Makes the rules of a tag exactly these, in one transaction. Rules that stand already are
    /// left as they are, counters included.
    pub fn install(&mut self, tag: &str, rules: &[Rule]) -> io::Result<()> {
        debug_assert!(rules.iter().all(|rule| rule.tag == tag));
        let standing = self.of(tag)?;
        let same = |rule: &Rule| standing.iter().any(|i| i.status.what == rule.what);
        if standing.len() == rules.len() && rules.iter().all(same) {
            return Ok(());
        }
        match self.replace(&standing, rules, QueueForm::Native) {
            // This kernel has no `queue` expression; the xt target is the same thing.
            Err(error) if error.raw_os_error() == Some(Errno::ENOENT as i32) => {
                self.replace(&standing, rules, QueueForm::XtTarget)
            }
            other => other,
        }
    }

    fn replace(
        &mut self,
        standing: &[Installed],
        rules: &[Rule],
        form: QueueForm,
    ) -> io::Result<()> {
        let mut batch = Batch::new(&mut self.socket);
        for old in standing {
            batch.add(DELRULE, 0, |m| delete(m, old));
        }
        batch.add(NEWTABLE, CREATE, |m| m.text(1, TABLE).be32(2, 0));
        for hook in [Hook::Input, Hook::Output] {
            if rules.iter().any(|rule| rule.hook == hook) {
                batch.add(NEWCHAIN, CREATE, |m| chain(m, hook));
            }
        }
        for rule in rules {
            batch.add(NEWRULE, CREATE | APPEND, |m| encode(m, rule, form));
        }
        batch.commit()
    }

    /// Removes the rules of a tag, and the table with the last of them.
    pub fn remove(&mut self, tag: &str) -> io::Result<()> {
        let all = self.all()?;
        let (mine, others): (Vec<_>, Vec<_>) = all.iter().partition(|i| i.status.tag == tag);
        if others.is_empty() {
            return self.remove_all();
        }
        let mut batch = Batch::new(&mut self.socket);
        for old in mine {
            batch.add(DELRULE, 0, |m| delete(m, old));
        }
        batch.commit()
    }

    /// Removes everything of ours.
    pub fn remove_all(&mut self) -> io::Result<()> {
        let mut batch = Batch::new(&mut self.socket);
        batch.add(DELTABLE, 0, |m| m.text(1, TABLE));
        match batch.commit() {
            Err(error) if error.raw_os_error() == Some(Errno::ENOENT as i32) => Ok(()),
            other => other,
        }
    }

    /// All rules as they stand, with their counters.
    pub fn status(&mut self) -> io::Result<Vec<RuleStatus>> {
        Ok(self.all()?.into_iter().map(|i| i.status).collect())
    }

    fn of(&mut self, tag: &str) -> io::Result<Vec<Installed>> {
        let mut all = self.all()?;
        all.retain(|installed| installed.status.tag == tag);
        Ok(all)
    }

    fn all(&mut self) -> io::Result<Vec<Installed>> {
        let sequence = self.socket.next_sequence();
        let request = Message::new(GETRULE, REQUEST | DUMP, sequence)
            .fixed(&[FAMILY, 0, 0, 0])
            .text(1, TABLE);
        let mut rules = Vec::new();
        self.socket.dump(request, &mut |body| {
            // A kernel that ignores the filter sends other people's tables too.
            if Attributes::find(body, GENERIC, 1).map(text).as_deref() == Some(TABLE) {
                rules.extend(decode(body));
            }
        })?;
        Ok(rules)
    }
}

fn decode(body: &[u8]) -> Option<Installed> {
    let handle = Attributes::find(body, GENERIC, 3)?.try_into().ok()?;
    let chain = Attributes::find(body, GENERIC, 2).map(text)?;
    let userdata = Attributes::find(body, GENERIC, 7).unwrap_or_default();
    let userdata = String::from_utf8_lossy(userdata).into_owned();
    let (tag, what) = userdata.split_once(SEPARATOR).unwrap_or((&userdata, ""));
    let expressions = Attributes::find(body, GENERIC, 4).unwrap_or_default();
    let (bytes, packets) = counter(expressions).unwrap_or_default();
    let status = RuleStatus {
        tag: tag.to_owned(),
        what: what.to_owned(),
        packets,
        bytes,
    };
    Some(Installed {
        handle,
        chain,
        status,
    })
}

/// (bytes, packets) of the first counter among a rule's expressions.
fn counter(expressions: &[u8]) -> Option<(u64, u64)> {
    for (_, element) in Attributes::after(expressions, 0) {
        if Attributes::find(element, 0, 1).map(text).as_deref() == Some("counter") {
            let data = Attributes::find(element, 0, 2)?;
            let number = |kind| -> Option<u64> {
                let value = Attributes::find(data, 0, kind)?.try_into().ok()?;
                Some(u64::from_be_bytes(value))
            };
            return Some((number(1)?, number(2)?));
        }
    }
    None
}

fn delete(message: Message, rule: &Installed) -> Message {
    message
        .text(1, TABLE)
        .text(2, &rule.chain)
        .attr(3, &rule.handle)
}

fn chain(message: Message, hook: Hook) -> Message {
    message
        .text(1, TABLE)
        .text(3, hook.chain())
        .nest(4, |m| m.be32(1, hook.number()).be32(2, 0))
        .be32(5, libc::NF_ACCEPT as u32)
        .text(7, "filter")
}

/// How NFQUEUE is asked for.
#[derive(Clone, Copy)]
enum QueueForm {
    /// nftables' own expression.
    Native,
    /// iptables' target, through the compatibility expression.
    XtTarget,
}

fn encode(message: Message, rule: &Rule, form: QueueForm) -> Message {
    message
        .text(1, TABLE)
        .text(2, rule.hook.chain())
        .nest(4, |mut m| {
            let about_tcp = |t: &Test| !matches!(t, Test::Source(_) | Test::Destination(_));
            if rule.verdict == Verdict::Reset || rule.tests.iter().any(about_tcp) {
                m = meta_is_tcp(m);
            }
            for test in &rule.tests {
                m = encode_test(m, *test);
            }
            m = expression(m, "counter", |m| m);
            match (rule.verdict, form) {
                (Verdict::Drop, _) => drop_packet(m),
                // `NFT_REJECT_TCP_RST`
                (Verdict::Reset, _) => expression(m, "reject", |m| m.be32(1, 1)),
                (Verdict::Queue(number), QueueForm::Native) => {
                    expression(m, "queue", |m| m.be16(1, number).be16(2, 1).be16(3, 1))
                }
                (Verdict::Queue(number), QueueForm::XtTarget) => xt_queue(m, number),
            }
        })
        .attr(7, &rule.userdata())
}

fn encode_test(message: Message, test: Test) -> Message {
    const NETWORK: u32 = 1;
    const TRANSPORT: u32 = 2;
    const EQUAL: u32 = 0;
    const UNEQUAL: u32 = 1;
    match test {
        Test::Source(ip) => field(message, NETWORK, 12, EQUAL, &ip.octets()),
        Test::Destination(ip) => field(message, NETWORK, 16, EQUAL, &ip.octets()),
        Test::SourcePort(port) => field(message, TRANSPORT, 0, EQUAL, &port.to_be_bytes()),
        Test::DestinationPort(port) => field(message, TRANSPORT, 2, EQUAL, &port.to_be_bytes()),
        Test::NotPort(port) => {
            let message = field(message, TRANSPORT, 0, UNEQUAL, &port.to_be_bytes());
            field(message, TRANSPORT, 2, UNEQUAL, &port.to_be_bytes())
        }
    }
}

/// One element of a rule's list of expressions.
fn expression(message: Message, name: &str, data: impl FnOnce(Message) -> Message) -> Message {
    message.nest(1, |m| m.text(1, name).nest(2, data))
}

/// Loads a field of the packet into register 1 and compares it.
fn field(message: Message, base: u32, offset: u32, operator: u32, value: &[u8]) -> Message {
    let message = expression(message, "payload", |m| {
        m.be32(1, 1)
            .be32(2, base)
            .be32(3, offset)
            .be32(4, value.len() as u32)
    });
    compare(message, operator, value)
}

fn compare(message: Message, operator: u32, value: &[u8]) -> Message {
    expression(message, "cmp", |m| {
        m.be32(1, 1).be32(2, operator).nest(3, |m| m.attr(1, value))
    })
}

fn meta_is_tcp(message: Message) -> Message {
    const L4PROTO: u32 = 16;
    let message = expression(message, "meta", |m| m.be32(1, 1).be32(2, L4PROTO));
    compare(message, 0, &[libc::IPPROTO_TCP as u8])
}

fn drop_packet(message: Message) -> Message {
    expression(message, "immediate", |m| {
        m.be32(1, 0)
            .nest(2, |m| m.nest(2, |m| m.be32(1, libc::NF_DROP as u32)))
    })
}

/// `struct xt_NFQ_info_v3`: queue, number of queues, flags (1: bypass), padded to eight bytes.
fn xt_queue(message: Message, number: u16) -> Message {
    let mut info = Vec::with_capacity(8);
    for word in [number, 1, 1, 0] {
        info.extend_from_slice(&word.to_ne_bytes());
    }
    expression(message, "target", |m| {
        m.text(1, "NFQUEUE").be32(2, 3).attr(3, &info)
    })
}

/// One transaction: all of it or nothing.
struct Batch<'a> {
    socket: &'a mut Socket,
    bytes: Vec<u8>,
    begin: u32,
    expected: Vec<u32>,
}

impl<'a> Batch<'a> {
    fn new(socket: &'a mut Socket) -> Self {
        let begin = socket.next_sequence();
        Self {
            socket,
            bytes: bracket(BATCH_BEGIN, begin),
            begin,
            expected: Vec::new(),
        }
    }

    fn add(&mut self, kind: u16, flags: u16, fill: impl FnOnce(Message) -> Message) {
        let sequence = self.socket.next_sequence();
        let message = Message::new(kind, REQUEST | ACK | flags, sequence);
        let message = fill(message.fixed(&[FAMILY, 0, 0, 0]));
        self.bytes.extend_from_slice(&message.finish());
        self.expected.push(sequence);
    }

    /// The first error the kernel names, if it names one; waits for every acknowledgement.
    fn commit(mut self) -> io::Result<()> {
        if self.expected.is_empty() {
            return Ok(());
        }
        let end = self.socket.next_sequence();
        self.bytes.extend_from_slice(&bracket(BATCH_END, end));
        self.socket.send(&self.bytes)?;
        let mut first_error = None;
        while !self.expected.is_empty() {
            let datagram = match self.socket.receive(MsgFlags::empty()) {
                Err(_) if first_error.is_some() => break,
                other => other?,
            };
            for answer in Answers::new(&datagram) {
                let Some(code) = answer.error() else { continue };
                if code != 0 && (answer.sequence >= self.begin && answer.sequence <= end) {
                    first_error.get_or_insert(code);
                }
                self.expected
                    .retain(|sequence| *sequence != answer.sequence);
                if answer.sequence == self.begin {
                    self.expected.clear();
                }
            }
        }
        first_error.map_or(Ok(()), |code| Err(os(code)))
    }
}

fn bracket(kind: u16, sequence: u32) -> Vec<u8> {
    let subsystem = SUBSYSTEM.to_be_bytes();
    Message::new(kind, REQUEST, sequence)
        .fixed(&[0, 0, subsystem[0], subsystem[1]])
        .finish()
}
