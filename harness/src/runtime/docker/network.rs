//! A network of our own for each cluster, on a subnet that nobody uses.

use std::collections::HashMap;
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::{Ipam, IpamConfig, NetworkCreateRequest};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::engine;
use crate::runtime::{RuntimeError, plan};

/// Ours are 10.128.0.0/24 to 10.255.255.0/24: the upper half of what is private and large.
const SECOND_OCTET: u8 = 128;
/// So many are tried before giving up.
const ATTEMPTS: u32 = 64;

/// Creates the network of a run: its subnet.
pub async fn create(
    docker: &Docker,
    name: &str,
    labels: HashMap<String, String>,
) -> Result<Ipv4Addr, RuntimeError> {
    let mut refusal = "no subnet is free".to_owned();
    for attempt in 0..ATTEMPTS {
        let subnet = candidate(name, attempt);
        if routed_here(subnet) {
            continue;
        }
        let config = IpamConfig {
            subnet: Some(format!("{subnet}/24")),
            gateway: Some(plan::address_in(subnet, 0).to_string()),
            ..IpamConfig::default()
        };
        let request = NetworkCreateRequest {
            name: name.to_owned(),
            driver: Some("bridge".to_owned()),
            ipam: Some(Ipam {
                config: Some(vec![config]),
                ..Ipam::default()
            }),
            labels: Some(labels.clone()),
            ..NetworkCreateRequest::default()
        };
        match docker.create_network(request).await {
            Ok(_) => return Ok(subnet),
            Err(error) => refusal = engine::message(&error),
        }
        if !refusal.contains("overlap") {
            break;
        }
    }
    Err(RuntimeError::Failed {
        what: format!("creating the network {name}"),
        why: refusal,
    })
}

/// Where to look, spread by the run's name so that runs side by side seldom meet.
fn candidate(name: &str, attempt: u32) -> Ipv4Addr {
    let number = crc32c::crc32c(name.as_bytes()).wrapping_add(attempt);
    let [_, _, second, third] = number.to_be_bytes();
    Ipv4Addr::new(10, SECOND_OCTET | second, third, 0)
}

/// Whether this machine has a route into the subnet other than its default route (a VPN, ...).
fn routed_here(subnet: Ipv4Addr) -> bool {
    let table = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    table.lines().skip(1).any(|line| covers(line, subnet))
}

/// A line of `/proc/net/route`: interface, destination, gateway, ..., mask at the eighth place;
/// addresses are hexadecimal in the machine's order.
fn covers(line: &str, subnet: Ipv4Addr) -> bool {
    let mut fields = line.split_whitespace();
    let hex = |text: &str| u32::from_str_radix(text, 16).ok();
    let destination = fields.nth(1).and_then(hex);
    let mask = fields.nth(5).and_then(hex);
    let (Some(destination), Some(mask)) = (destination, mask) else {
        return false;
    };
    let subnet = u32::from_ne_bytes(subnet.octets());
    mask != 0 && subnet & mask == destination & mask
}

/// Set to `1`: clients use published ports even where containers could be reached directly.
const PUBLISH: &str = "HARNESS_DOCKER_PUBLISH";
/// A container on this machine answers within this, or a firewall is in between.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether containers may be reached at their own addresses from here: the gateway of the network
/// is an address of this machine. (With Docker Desktop, a rootless or a remote engine it is not.)
pub fn may_be_direct(subnet: Ipv4Addr) -> bool {
    let asked_not_to = std::env::var(PUBLISH).is_ok_and(|value| value == "1");
    !asked_not_to && TcpListener::bind((plan::address_in(subnet, 0), 0)).is_ok()
}

/// Whether a container that runs is indeed reached: its kernel refuses a connection to a port on
/// which nobody listens.
pub async fn is_reached(ip: Ipv4Addr) -> bool {
    const DISCARD: u16 = 9;
    match timeout(PATIENCE, TcpStream::connect((ip, DISCARD))).await {
        Ok(Ok(_)) => true,
        Ok(Err(error)) => error.kind() == std::io::ErrorKind::ConnectionRefused,
        Err(_) => false,
    }
}

/// Removes a network; one that is not there is removed.
pub async fn remove(docker: &Docker, name: &str) -> Result<(), Error> {
    match docker.remove_network(name).await {
        Err(error) if engine::is_missing(&error) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_in_the_way_unless_it_is_the_default() {
        let subnet = Ipv4Addr::new(10, 200, 3, 0);
        // 10.200.0.0/16, as the kernel of a little-endian machine writes it.
        let through_a_vpn = "tun0\t0000C80A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0";
        let by_default = "eth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0";
        let elsewhere = "eth0\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0";
        if cfg!(target_endian = "little") {
            assert!(covers(through_a_vpn, subnet));
        }
        assert!(!covers(by_default, subnet));
        assert!(!covers(elsewhere, subnet));
        assert!(!covers("", subnet));
    }

    #[test]
    fn candidates_are_private_and_differ() {
        let first = candidate("harness-a", 0);
        assert_ne!(first, candidate("harness-a", 1));
        for attempt in 0..ATTEMPTS {
            let [a, b, _, d] = candidate("harness-b", attempt).octets();
            assert!(a == 10 && b >= SECOND_OCTET && d == 0);
        }
    }
}
