//! NFQUEUE over raw netlink: packets that a rule hands to this process, and its verdicts.
//!
//! Only a packet's number and length cross over (of the packet itself, its first bytes), so holding
//! ten thousand packets costs ten thousand entries here. A queue that is closed, or whose process
//! died, lets packets pass (the rules say `bypass`). Layouts: `linux/netfilter/nfnetlink_queue.h`.

use std::io;
use std::os::fd::BorrowedFd;

use nix::sys::socket::{MsgFlags, SockProtocol};

use super::netlink::{ACK, Answers, Attributes, Message, REQUEST, Socket};

const SUBSYSTEM: u16 = 3;
const PACKET: u16 = SUBSYSTEM << 8;
const VERDICT: u16 = SUBSYSTEM << 8 | 1;
const CONFIG: u16 = SUBSYSTEM << 8 | 2;
/// `struct nfgenmsg`
const GENERIC: usize = 4;
/// Packets the kernel keeps for us; beyond that they pass undelayed (fail-open).
const LENGTH_MAX: u32 = 65_536;
const RECEIVE_BUFFER_BYTES: usize = 8 << 20;
/// `NFQA_CFG_F_FAIL_OPEN`
const FAIL_OPEN: u32 = 1;
/// `NFQA_CFG_F_GSO`: large segments come whole; without it they come as they are on the wire.
const WHOLE: u32 = 4;
/// `NFQNL_COPY_PACKET`, of which the IP header: with it comes the packet's length.
const COPY: [u8; 5] = [0, 0, 0, 20, 2];

/// A packet waiting for its verdict.
pub type PacketId = u32;

/// A packet that waits, as it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Which.
    pub id: PacketId,
    /// Its length, with its headers.
    pub bytes: u32,
}

/// One queue, bound by this process.
pub struct Queue {
    socket: Socket,
    number: u16,
}

impl Queue {
    /// Binds a queue. Fails with `EBUSY` if another process has it.
    pub fn bind(number: u16, whole: bool) -> io::Result<Self> {
        let flags = if whole { FAIL_OPEN | WHOLE } else { FAIL_OPEN };
        let mut socket = Socket::open(SockProtocol::NetlinkNetFilter)?;
        socket.set_receive_buffer(RECEIVE_BUFFER_BYTES);
        let sequence = socket.next_sequence();
        socket.ask(config(number, sequence).attr(1, &[1, 0, 0, 0]))?;
        let sequence = socket.next_sequence();
        socket.ask(
            config(number, sequence)
                .attr(2, &COPY)
                .be32(3, LENGTH_MAX)
                .be32(5, flags)
                .be32(4, FAIL_OPEN | WHOLE),
        )?;
        Ok(Self { socket, number })
    }

    /// For `poll`: readable when packets wait.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Takes the packets that wait, without blocking, in the order in which they came.
    pub fn take(&self, packets: &mut Vec<Packet>) -> io::Result<()> {
        loop {
            match self.socket.receive(MsgFlags::MSG_DONTWAIT) {
                Ok(datagram) => packets.extend(Answers::new(&datagram).filter_map(|answer| {
                    if answer.kind != PACKET {
                        return None;
                    }
                    let header = Attributes::find(answer.body, GENERIC, 1)?;
                    let id = u32::from_be_bytes(*header.first_chunk::<4>()?);
                    // `NFQA_CAP_LEN`; a packet no longer than what is copied has none.
                    let length = Attributes::find(answer.body, GENERIC, 13);
                    let length = length.and_then(|l| l.first_chunk::<4>());
                    let bytes = length.map_or(COPY[3].into(), |l| u32::from_be_bytes(*l));
                    Some(Packet { id, bytes })
                })),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // A rule was deleted under a held packet (ENOENT), or the kernel's buffer ran
                // over (ENOBUFS): both tell of packets that are no longer ours.
                Err(error) if ignorable(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Lets a packet go on.
    pub fn accept(&self, packet: PacketId) -> io::Result<()> {
        self.decide(packet, libc::NF_ACCEPT as u32)
    }

    /// Loses a packet.
    pub fn drop_packet(&self, packet: PacketId) -> io::Result<()> {
        self.decide(packet, libc::NF_DROP as u32)
    }

    fn decide(&self, packet: PacketId, what: u32) -> io::Result<()> {
        let mut verdict = Vec::with_capacity(8);
        verdict.extend_from_slice(&what.to_be_bytes());
        verdict.extend_from_slice(&packet.to_be_bytes());
        let number = self.number.to_be_bytes();
        let message = Message::new(VERDICT, REQUEST, 0)
            .fixed(&[0, 0, number[0], number[1]])
            .attr(2, &verdict);
        match self.socket.send(&message.finish()) {
            Err(error) if ignorable(&error) => Ok(()),
            other => other,
        }
    }
}

fn ignorable(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    code == Some(libc::ENOENT) || code == Some(libc::ENOBUFS) || code == Some(libc::EINTR)
}

fn config(number: u16, sequence: u32) -> Message {
    let number = number.to_be_bytes();
    Message::new(CONFIG, REQUEST | ACK, sequence).fixed(&[0, 0, number[0], number[1]])
}
