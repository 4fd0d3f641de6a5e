//! The connections that a node has at some of its ports, as the kernel lists them.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

/// `TCP_ESTABLISHED`
const ESTABLISHED: &str = "01";
/// More rules than this help nobody.
const CONNECTIONS_MAX: usize = 256;

/// Both ends of each established connection at one of `ports` with one of `peers`: ours, theirs.
pub fn connections(
    ports: &[u16],
    peers: &[Ipv4Addr],
) -> io::Result<Vec<(SocketAddrV4, SocketAddrV4)>> {
    let mut all = parse(&fs::read_to_string("/proc/self/net/tcp")?);
    // Who listens for both families has its connections there; a kernel may have only one family.
    all.extend(parse(
        &fs::read_to_string("/proc/self/net/tcp6").unwrap_or_default(),
    ));
    all.retain(|(ours, theirs)| ports.contains(&ours.port()) && peers.contains(theirs.ip()));
    all.sort_unstable();
    all.dedup();
    all.truncate(CONNECTIONS_MAX);
    Ok(all)
}

fn parse(table: &str) -> Vec<(SocketAddrV4, SocketAddrV4)> {
    let connection = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let ends = (fields.next()?, fields.next()?);
        let state = fields.next()?;
        (state == ESTABLISHED).then_some((address(ends.0)?, address(ends.1)?))
    };
    table.lines().filter_map(connection).collect()
}

/// `0100007F:1F90`: words in the machine's order, the port as it is written. Of the six family,
/// addresses of the four family as it has them.
fn address(text: &str) -> Option<SocketAddrV4> {
    let (ip, port) = text.split_once(':')?;
    let word = match ip.len() {
        8 => ip,
        32 if ip.starts_with("0000000000000000") => ip.get(24..)?,
        _ => return None,
    };
    let word = u32::from_str_radix(word, 16).ok()?;
    let port = u16::from_str_radix(port, 16).ok()?;
    Some(SocketAddrV4::new(Ipv4Addr::from(word.to_ne_bytes()), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn the_kernels_table_is_read() {
        let table = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:2384 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1
   1: 0B00630A:2384 0C00630A:D431 01 00000000:00000000 00:00000000 00000000     0        0 2
   2: 0000000000000000FFFF00000B00630A:2385 0000000000000000FFFF00000C00630A:D432 01 0:0 0:0 0 0
";
        let told: Vec<String> = parse(table)
            .iter()
            .map(|(ours, theirs)| format!("{ours} {theirs}"))
            .collect();
        let expected = [
            "10.99.0.11:9092 10.99.0.12:54321",
            "10.99.0.11:9093 10.99.0.12:54322",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn our_own_connections_are_found() {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let _client = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        let found = connections(&[port], &[Ipv4Addr::LOCALHOST]).unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(connections(&[port], &[Ipv4Addr::UNSPECIFIED]).unwrap(), []);
    }
}
