//! Links over rtnetlink: a bridge, a veth pair with one end in another network namespace, an
//! address. What the namespaces runtime needs in place of iproute2.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::net::if_::if_nametoindex;
use nix::sys::socket::SockProtocol;

use super::netlink::{ACK, CREATE, EXCL, Message, REQUEST, Socket};

const NEWLINK: u16 = libc::RTM_NEWLINK;
const NEWADDR: u16 = libc::RTM_NEWADDR;
const IFNAME: u16 = libc::IFLA_IFNAME;
const MASTER: u16 = libc::IFLA_MASTER;
const LINKINFO: u16 = libc::IFLA_LINKINFO;
const INFO_KIND: u16 = 1;
const INFO_DATA: u16 = 2;
const VETH_PEER: u16 = 1;
const NET_NS_FD: u16 = 28;
const ADDRESS: u16 = 1;
const LOCAL: u16 = 2;
const UP: u32 = libc::IFF_UP as u32;

/// The links of the network namespace that this thread is in.
pub struct Links {
    socket: Socket,
}

impl Links {
    /// Opens the kernel's door.
    pub fn open() -> io::Result<Self> {
        let socket = Socket::open(SockProtocol::NetlinkRoute)?;
        Ok(Self { socket })
    }

    /// Creates a bridge, up.
    pub fn add_bridge(&mut self, name: &str) -> io::Result<()> {
        self.new_link(CREATE | EXCL, header(0, UP, UP), |m| {
            m.text(IFNAME, name)
                .nest(LINKINFO, |m| m.text(INFO_KIND, "bridge"))
        })
    }

    /// Creates a veth pair: `name` here, as a port of `bridge` and up, `peer` in `namespace`.
    pub fn add_veth(
        &mut self,
        name: &str,
        bridge: &str,
        peer: &str,
        namespace: BorrowedFd<'_>,
    ) -> io::Result<()> {
        let master = if_nametoindex(bridge)?;
        self.new_link(CREATE | EXCL, header(0, 0, 0), |m| {
            m.text(IFNAME, name).nest(LINKINFO, |m| {
                m.text(INFO_KIND, "veth").nest(INFO_DATA, |m| {
                    m.nest(VETH_PEER, |m| {
                        m.fixed(&header(0, 0, 0))
                            .text(IFNAME, peer)
                            .ne32(NET_NS_FD, namespace.as_raw_fd() as u32)
                    })
                })
            })
        })?;
        let index = if_nametoindex(name)?;
        self.new_link(0, header(index, UP, UP), |m| m.ne32(MASTER, master))
    }

    /// Sets a link up.
    pub fn up(&mut self, name: &str) -> io::Result<()> {
        let index = if_nametoindex(name)?;
        self.new_link(0, header(index, UP, UP), |m| m)
    }

    /// Gives a link an address.
    pub fn add_address(&mut self, name: &str, ip: Ipv4Addr, prefix: u8) -> io::Result<()> {
        let index = if_nametoindex(name)?;
        let mut fixed = vec![libc::AF_INET as u8, prefix, 0, 0];
        fixed.extend_from_slice(&index.to_ne_bytes());
        let sequence = self.socket.next_sequence();
        let message = Message::new(NEWADDR, REQUEST | ACK | CREATE | EXCL, sequence)
            .fixed(&fixed)
            .attr(LOCAL, &ip.octets())
            .attr(ADDRESS, &ip.octets());
        self.socket.ask(message)
    }

    fn new_link(
        &mut self,
        flags: u16,
        fixed: [u8; 16],
        fill: impl FnOnce(Message) -> Message,
    ) -> io::Result<()> {
        let sequence = self.socket.next_sequence();
        let message = Message::new(NEWLINK, REQUEST | ACK | flags, sequence).fixed(&fixed);
        self.socket.ask(fill(message))
    }
}

/// `struct ifinfomsg`
fn header(index: u32, flags: u32, change: u32) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[4..8].copy_from_slice(&index.to_ne_bytes());
    bytes[8..12].copy_from_slice(&flags.to_ne_bytes());
    bytes[12..16].copy_from_slice(&change.to_ne_bytes());
    bytes
}
