//! Whose a connection is: which broker's process has the socket that it comes from.
//!
//! All brokers and clients have the same address, so the kernel is asked: the table of connections
//! has the socket's inode, and the process that has it open is its owner. No broker needs to
//! cooperate. Whoever is no broker of the cluster is a client.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nemesis::NodeId;

use super::links::End;

/// Connections over IPv4, and those of programs that speak IPv4 through IPv6 sockets.
const TABLES: [&str; 2] = ["/proc/self/net/tcp", "/proc/self/net/tcp6"];

/// The processes that are brokers.
#[derive(Debug, Default)]
pub struct Callers {
    brokers: Mutex<BTreeMap<NodeId, u32>>,
}

impl Callers {
    /// From now on this process is a node's broker.
    pub fn is(&self, node: NodeId, pid: u32) {
        self.brokers().insert(node, pid);
    }

    fn brokers(&self) -> MutexGuard<'_, BTreeMap<NodeId, u32>> {
        self.brokers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who made the connection that goes from there to here.
    pub async fn of(self: &Arc<Self>, from: SocketAddr, here: SocketAddr) -> End {
        let brokers = self.brokers().clone();
        let found = tokio::task::spawn_blocking(move || find(&brokers, from, here));
        match found.await {
            Ok(Ok(Some(node))) => End::Node(node),
            _ => End::Clients,
        }
    }
}

/// Whether this system tells whose a connection is.
pub fn can_be_found() -> io::Result<()> {
    fs::read_to_string(TABLES[0])?;
    fs::read_dir("/proc/self/fd").map(|_| ())
}

fn find(
    brokers: &BTreeMap<NodeId, u32>,
    from: SocketAddr,
    here: SocketAddr,
) -> io::Result<Option<NodeId>> {
    let Some(inode) = inode(from, here)? else {
        return Ok(None);
    };
    let socket = format!("socket:[{inode}]");
    let has_it = |pid: u32| {
        let open = fs::read_dir(format!("/proc/{pid}/fd"))
            .into_iter()
            .flatten();
        let mut links = open
            .flatten()
            .filter_map(|entry| fs::read_link(entry.path()).ok());
        links.any(|link| link.as_os_str() == socket.as_str())
    };
    let owner = brokers.iter().find(|(_, pid)| has_it(**pid));
    Ok(owner.map(|(node, _)| *node))
}

/// The inode of the socket at the calling end.
fn inode(from: SocketAddr, here: SocketAddr) -> io::Result<Option<String>> {
    let (SocketAddr::V4(from), SocketAddr::V4(here)) = (from, here) else {
        return Ok(None);
    };
    let entry = |at: std::net::SocketAddrV4| {
        let ip = u32::from_ne_bytes(at.ip().octets());
        format!("{ip:08X}:{:04X}", at.port())
    };
    let (from, here) = (entry(from), entry(here));
    for table in TABLES {
        let Ok(text) = fs::read_to_string(table) else {
            continue;
        };
        if let Some(inode) = text.lines().find_map(|line| in_line(line, &from, &here)) {
            return Ok(Some(inode.to_owned()));
        }
    }
    Ok(None)
}

/// `sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode ...`
fn in_line<'a>(line: &'a str, local: &str, remote: &str) -> Option<&'a str> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let same = fields.next()?.ends_with(local) && fields.next()?.ends_with(remote);
    let inode = fields.nth(6)?;
    (same && inode != "0").then_some(inode)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_connection_is_of_the_process_that_has_its_socket() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let here = listener.local_addr().unwrap();
        let stream = TcpStream::connect(here).unwrap();
        let from = stream.local_addr().unwrap();
        let me = std::process::id();
        let brokers = BTreeMap::from([(NodeId(1), 1), (NodeId(2), me)]);
        assert_eq!(find(&brokers, from, here).unwrap(), Some(NodeId(2)));
        // Of nobody, if we are none of them.
        let brokers = BTreeMap::from([(NodeId(1), 1)]);
        assert_eq!(find(&brokers, from, here).unwrap(), None);
    }

    #[test]
    fn an_entry_is_read_from_either_table() {
        let four = "   1: 0100007F:A3F2 0100417F:2384 01 00000000:00000000 02:00000D50 00000000 \
                    1000        0 4711 2 0000000000000000 20 4 30 10 -1";
        let six = "   1: 0000000000000000FFFF00000100007F:A3F2 \
                   0000000000000000FFFF00000100417F:2384 01 00000000:00000000 00:00000000 \
                   00000000  1000        0 4712 1 0000000000000000 20 0 0 10 -1";
        let (local, remote) = ("0100007F:A3F2", "0100417F:2384");
        assert_eq!(in_line(four, local, remote), Some("4711"));
        assert_eq!(in_line(six, local, remote), Some("4712"));
        assert_eq!(in_line(four, remote, local), None);
        assert_eq!(in_line("", local, remote), None);
    }
}
