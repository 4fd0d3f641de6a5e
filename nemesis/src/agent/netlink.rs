//! Netlink by hand: a socket, a writer and a reader of messages and attributes.
//!
//! Enough for nftables, NFQUEUE and links, and no more. The layouts are those of
//! `linux/netlink.h`; integers in headers are in the machine's order, integers in nfnetlink
//! attributes in the network's.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send,
    setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;

/// `NLM_F_REQUEST`
pub const REQUEST: u16 = libc::NLM_F_REQUEST as u16;
/// `NLM_F_ACK`
pub const ACK: u16 = libc::NLM_F_ACK as u16;
/// `NLM_F_CREATE`
pub const CREATE: u16 = libc::NLM_F_CREATE as u16;
/// `NLM_F_EXCL`
pub const EXCL: u16 = libc::NLM_F_EXCL as u16;
/// `NLM_F_APPEND`
pub const APPEND: u16 = libc::NLM_F_APPEND as u16;
/// `NLM_F_DUMP`
pub const DUMP: u16 = libc::NLM_F_DUMP as u16;
/// `NLA_F_NESTED`
const NESTED: u16 = 1 << 15;
/// What is left of an attribute's type without its two flags.
const TYPE_MASK: u16 = 0x3fff;

const HEADER: usize = 16;
/// No answer of the kernel is larger; dumps come in several datagrams.
const RECEIVE_BYTES: usize = 64 << 10;
/// The kernel answers at once or not at all.
const PATIENCE: Duration = Duration::from_secs(3);

/// One netlink socket.
pub struct Socket {
    fd: OwnedFd,
    sequence: u32,
}

impl Socket {
    /// Opens a socket of a protocol (`NETLINK_ROUTE`, `NETLINK_NETFILTER`).
    pub fn open(protocol: SockProtocol) -> io::Result<Self> {
        let fd = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            protocol,
        )?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        setsockopt(
            &fd,
            sockopt::ReceiveTimeout,
            &TimeVal::new(PATIENCE.as_secs() as i64, 0),
        )?;
        Ok(Self { fd, sequence: 1 })
    }

    /// For `poll`.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// A number for the next message, which its answers carry.
    pub fn next_sequence(&mut self) -> u32 {
        self.sequence += 1;
        self.sequence
    }

    /// Sends one datagram of whole messages.
    pub fn send(&self, bytes: &[u8]) -> io::Result<()> {
        send(self.fd.as_raw_fd(), bytes, MsgFlags::empty())?;
        Ok(())
    }

    /// Receives one datagram. `WouldBlock`: none came in time, or (with `DONTWAIT`) none is there.
    pub fn receive(&self, flags: MsgFlags) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; RECEIVE_BYTES];
        let got = recv(self.fd.as_raw_fd(), &mut buffer, flags)?;
        buffer.truncate(got);
        Ok(buffer)
    }

    /// A larger receive buffer, in bytes, as far as this process may.
    pub fn set_receive_buffer(&self, bytes: usize) {
        if setsockopt(&self.fd, sockopt::RcvBufForce, &bytes).is_err() {
            // Without the privilege the ordinary limit holds, which only costs throughput.
            let _ = setsockopt(&self.fd, sockopt::RcvBuf, &bytes);
        }
    }

    /// Sends one message that asks for an acknowledgement, and waits for it.
    pub fn ask(&mut self, message: Message) -> io::Result<()> {
        let sequence = message.sequence;
        self.send(&message.finish())?;
        loop {
            for answer in Answers::new(&self.receive(MsgFlags::empty())?) {
                if answer.sequence == sequence
                    && let Some(code) = answer.error()
                {
                    return if code == 0 { Ok(()) } else { Err(os(code)) };
                }
            }
        }
    }

    /// Sends a dump request; gives every answer's body, header stripped, to `each`.
    pub fn dump(&mut self, message: Message, each: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        let sequence = message.sequence;
        self.send(&message.finish())?;
        loop {
            let datagram = self.receive(MsgFlags::empty())?;
            for answer in Answers::new(&datagram) {
                if answer.sequence != sequence {
                    continue;
                }
                if answer.kind == libc::NLMSG_DONE as u16 {
                    return Ok(());
                }
                match answer.error() {
                    Some(0) => return Ok(()),
                    Some(code) => return Err(os(code)),
                    None => each(answer.body),
                }
            }
        }
    }
}

/// An error as the kernel tells it in a message: a negative errno.
pub fn os(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code.unsigned_abs() as i32)
}

/// Writes one message.
pub struct Message {
    bytes: Vec<u8>,
    /// Its sequence number.
    pub sequence: u32,
}

impl Message {
    /// Begins a message with its header.
    pub fn new(kind: u16, flags: u16, sequence: u32) -> Self {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(&0u32.to_ne_bytes());
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&flags.to_ne_bytes());
        bytes.extend_from_slice(&sequence.to_ne_bytes());
        bytes.extend_from_slice(&0u32.to_ne_bytes());
        Self { bytes, sequence }
    }

    /// Adds the fixed header of a protocol.
    pub fn fixed(mut self, header: &[u8]) -> Self {
        self.bytes.extend_from_slice(header);
        self.pad();
        self
    }

    /// Adds an attribute.
    pub fn attr(mut self, kind: u16, value: &[u8]) -> Self {
        self.put(kind, value);
        self
    }

    /// Adds an integer in the network's order.
    pub fn be32(self, kind: u16, value: u32) -> Self {
        self.attr(kind, &value.to_be_bytes())
    }

    /// Adds a short integer in the network's order.
    pub fn be16(self, kind: u16, value: u16) -> Self {
        self.attr(kind, &value.to_be_bytes())
    }

    /// Adds an integer in the machine's order.
    pub fn ne32(self, kind: u16, value: u32) -> Self {
        self.attr(kind, &value.to_ne_bytes())
    }

    /// Adds a string that ends in a zero byte.
    pub fn text(self, kind: u16, value: &str) -> Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attr(kind, &bytes)
    }

    /// Adds an attribute that holds what `fill` adds.
    pub fn nest(mut self, kind: u16, fill: impl FnOnce(Self) -> Self) -> Self {
        let at = self.bytes.len();
        self.put(kind | NESTED, &[]);
        let mut this = fill(self);
        let length = (this.bytes.len() - at) as u16;
        this.bytes[at..at + 2].copy_from_slice(&length.to_ne_bytes());
        this
    }

    fn put(&mut self, kind: u16, value: &[u8]) {
        let length = (4 + value.len()) as u16;
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.pad();
    }

    fn pad(&mut self) {
        let padded = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(padded, 0);
    }

    /// The finished bytes.
    pub fn finish(mut self) -> Vec<u8> {
        let length = self.bytes.len() as u32;
        self.bytes[0..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes
    }
}

/// One message of the kernel.
pub struct Answer<'a> {
    /// Its type.
    pub kind: u16,
    /// The sequence number of the request that it answers.
    pub sequence: u32,
    /// What follows the header.
    pub body: &'a [u8],
}

impl Answer<'_> {
    /// The code of an acknowledgement (0: done; negative: an errno), if it is one.
    pub fn error(&self) -> Option<i32> {
        if self.kind != libc::NLMSG_ERROR as u16 {
            return None;
        }
        let code = self.body.first_chunk::<4>()?;
        Some(i32::from_ne_bytes(*code))
    }
}

/// The messages in one datagram. What is cut short or contradicts itself ends the iteration.
pub struct Answers<'a> {
    rest: &'a [u8],
}

impl<'a> Answers<'a> {
    /// Reads a datagram.
    pub fn new(datagram: &'a [u8]) -> Self {
        Self { rest: datagram }
    }
}

impl<'a> Iterator for Answers<'a> {
    type Item = Answer<'a>;

    fn next(&mut self) -> Option<Answer<'a>> {
        let header = self.rest.first_chunk::<HEADER>()?;
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        if length < HEADER || length > self.rest.len() {
            return None;
        }
        let answer = Answer {
            kind: u16::from_ne_bytes([header[4], header[5]]),
            sequence: u32::from_ne_bytes([header[8], header[9], header[10], header[11]]),
            body: &self.rest[HEADER..length],
        };
        self.rest = &self.rest[length.next_multiple_of(4).min(self.rest.len())..];
        Some(answer)
    }
}

/// The attributes in a message or in another attribute: (type, value).
pub struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Attributes<'a> {
    /// Reads what follows a protocol's fixed header of `skip` bytes.
    pub fn after(body: &'a [u8], skip: usize) -> Self {
        Self {
            rest: body.get(skip..).unwrap_or_default(),
        }
    }

    /// The value of the first attribute of this type.
    pub fn find(body: &'a [u8], skip: usize, wanted: u16) -> Option<&'a [u8]> {
        Self::after(body, skip)
            .find(|(kind, _)| *kind == wanted)
            .map(|(_, value)| value)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<(u16, &'a [u8])> {
        let header = self.rest.first_chunk::<4>()?;
        let length = u16::from_ne_bytes([header[0], header[1]]) as usize;
        if length < 4 || length > self.rest.len() {
            return None;
        }
        let kind = u16::from_ne_bytes([header[2], header[3]]) & TYPE_MASK;
        let value = &self.rest[4..length];
        self.rest = &self.rest[length.next_multiple_of(4).min(self.rest.len())..];
        Some((kind, value))
    }
}

/// A string attribute without its zero byte.
pub fn text(value: &[u8]) -> String {
    let end = value
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let bytes = Message::new(7, REQUEST, 9)
            .fixed(&[1, 0, 0, 0])
            .text(1, "table")
            .nest(2, |m| m.be32(1, 0x0102_0304).attr(3, &[5]))
            .finish();
        let mut answers = Answers::new(&bytes);
        let answer = answers.next().expect("one message");
        assert_eq!((answer.kind, answer.sequence), (7, 9));
        assert_eq!(
            Attributes::find(answer.body, 4, 1).map(text),
            Some("table".to_owned())
        );
        let nest = Attributes::find(answer.body, 4, 2).expect("the nest");
        let inner: Vec<_> = Attributes::after(nest, 0).collect();
        assert_eq!(inner, vec![(1, &[1, 2, 3, 4][..]), (3, &[5][..])]);
        assert!(answers.next().is_none());
    }

    #[test]
    fn broken_datagrams_end_early_and_do_not_panic() {
        let bytes = Message::new(7, REQUEST, 9).text(1, "table").finish();
        for cut in 0..bytes.len() {
            assert!(Answers::new(&bytes[..cut]).next().is_none());
        }
        // A length below the header's and one beyond the end.
        for length in [0u8, 3, 15, 255] {
            let mut lying = bytes.clone();
            lying[0] = length;
            assert!(Answers::new(&lying).next().is_none());
            let mut attribute = vec![length, 0, 1, 0, 9];
            attribute[0] = if length == 15 { 6 } else { length };
            assert!(Attributes::after(&attribute, 0).next().is_none());
        }
        assert!(Attributes::after(&[1, 2], 4).next().is_none());
    }
}
