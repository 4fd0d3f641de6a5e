//! What every runtime starts: which node has which address, and its process's arguments.

use std::net::{Ipv4Addr, SocketAddr};

use nemesis::{ClusterError, Listener, NodeId, Ports};

use super::kafka;

/// ApiVersions, version 0, of a client whose name is empty: any Kafka broker answers it.
pub const API_VERSIONS: &str = "\0\0\0\x0a\0\x12\0\0\0\0\0\x01\0\0";

/// The process that plays the broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Program {
    /// The reference broker.
    #[default]
    Broker,
    /// Apache Kafka; its settings are lines of properties.
    Kafka,
    /// The agent's `echo`: for tests of runtimes and faults, in which no broker is wanted.
    Echo,
}

impl Program {
    /// Something that it answers when it is alive.
    pub fn question(self) -> (Listener, String) {
        match self {
            Self::Broker => (
                Listener::Admin,
                "GET /healthz HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n".to_owned(),
            ),
            Self::Kafka => (Listener::Client, API_VERSIONS.to_owned()),
            Self::Echo => (Listener::Client, "alive?\n".to_owned()),
        }
    }

    /// Its arguments on one node.
    pub fn arguments(
        self,
        nodes: &[Node],
        node: &Node,
        data_dir: &str,
        more: &[String],
    ) -> Vec<String> {
        let ports = Ports::REFERENCE;
        match self {
            Self::Broker => {
                let voter = |n: &Node| format!("{}@{}:{}", n.id.0, n.ip, ports.controller);
                let voters: Vec<String> = nodes.iter().map(voter).collect();
                let mut arguments = vec![
                    format!("--id={}", node.id.0),
                    format!("--voters={}", voters.join(",")),
                    format!("--data-dir={data_dir}"),
                    format!("--client-listen=0.0.0.0:{}", ports.client),
                    format!("--client-advertised={}", node.client),
                    format!("--replication-listen={}:{}", node.ip, ports.replication),
                    format!("--controller-listen={}:{}", node.ip, ports.controller),
                    format!("--admin-listen=0.0.0.0:{}", ports.admin),
                ];
                arguments.extend(more.iter().cloned());
                arguments
            }
            Self::Kafka => kafka::properties(nodes, node, data_dir, more),
            Self::Echo => {
                let listeners = [
                    ports.client,
                    ports.replication,
                    ports.controller,
                    ports.admin,
                ];
                let listeners = listeners.map(|port| port.to_string());
                vec!["echo".to_owned(), format!("--port={}", listeners.join(","))]
            }
        }
    }
}

/// One node's place in the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// Which.
    pub id: NodeId,
    /// Its address among the nodes.
    pub ip: Ipv4Addr,
    /// Where clients outside reach its client listener.
    pub client: SocketAddr,
    /// Where its admin listener is reached from outside.
    pub admin: SocketAddr,
}

impl Node {
    /// A node that is reached from outside at its own address.
    pub fn direct(id: NodeId, ip: Ipv4Addr) -> Self {
        let at = |listener| SocketAddr::from((ip, Ports::REFERENCE.of(listener)));
        Self {
            id,
            ip,
            client: at(Listener::Client),
            admin: at(Listener::Admin),
        }
    }
}

/// The node of that number.
pub fn find(nodes: &[Node], id: NodeId) -> Result<&Node, ClusterError> {
    let found = nodes.iter().find(|node| node.id == id);
    found.ok_or(ClusterError::NoSuchNode(id))
}

/// Numbers of the nodes of a cluster of this size.
pub fn ids(count: u32) -> impl Iterator<Item = NodeId> {
    (1..=count).map(NodeId)
}

/// The address of a node, or of the host (`number` 0), in a network `a.b.c.0/24`.
pub fn address_in(network: Ipv4Addr, number: u32) -> Ipv4Addr {
    let [a, b, c, _] = network.octets();
    let host = if number == 0 { 1 } else { 10 + number };
    Ipv4Addr::new(a, b, c, u8::try_from(host).unwrap_or(u8::MAX))
}

/// As many nodes as have addresses in a network of our size.
pub const NODES_MAX: u32 = 240;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_is_told_everybodys_controller_and_its_own_addresses() {
        let network = Ipv4Addr::new(10, 1, 2, 0);
        let node = |id: NodeId| Node::direct(id, address_in(network, id.0));
        let nodes: Vec<Node> = ids(3).map(node).collect();
        let more = ["--wal-roll-bytes=8388608".to_owned()];
        let arguments = Program::Broker.arguments(&nodes, &nodes[1], "/data", &more);
        for expected in [
            "--id=2",
            "--voters=1@10.1.2.11:9094,2@10.1.2.12:9094,3@10.1.2.13:9094",
            "--client-advertised=10.1.2.12:9092",
            "--replication-listen=10.1.2.12:9093",
            "--wal-roll-bytes=8388608",
        ] {
            assert!(arguments.iter().any(|a| a == expected), "no {expected}");
        }
        // The broker's own reader takes them, all of them.
        let mut command = vec!["broker".to_owned()];
        command.extend(arguments);
        let parsed = broker::config::cli::parse(command, []).expect("they parse");
        let broker::config::cli::Invocation::Serve(serve) = parsed else {
            panic!("it is told to serve");
        };
        assert!(serve.warnings.is_empty(), "{:?}", serve.warnings);
        assert_eq!(serve.config.wal_roll_bytes, 8 << 20);
    }
}
