//! Apache Kafka as the broker under test: KRaft, every node broker and controller at once.

use nemesis::Ports;

use super::plan::Node;

/// The image that `targets/kafka/build-image.sh` makes.
pub const IMAGE: &str = "harness-kafka:4.3.1";

/// What a container of it does: a shell script for `sh -c`.
pub const START: &str = include_str!("../../../targets/kafka/start.sh");

/// The properties of one node. `more` comes last, and so is what counts where a name is there
/// twice.
///
/// A listener for each way, as the reference broker has, so that the same faults can cut the same
/// ways. Failures are noticed sooner than by default, so that a fault of some seconds has an
/// election and a smaller ISR within it, not after it: a broker is dead after 2 s (9), a follower
/// out of sync after 2 s (30), a controller without a leader after 1.5 s (2), and an election among
/// them is given up after 0.5 s (1). The worst is a leader that is the controller, too: all but
/// one of them, after each other.
pub fn properties(nodes: &[Node], node: &Node, data_dir: &str, more: &[String]) -> Vec<String> {
    let Ports {
        replication,
        controller,
        client,
        ..
    } = Ports::REFERENCE;
    let (id, ip) = (node.id.0, node.ip);
    let voters: Vec<String> = nodes
        .iter()
        .map(|n| format!("{}@{}:{controller}", n.id.0, n.ip))
        .collect();
    let replicas = nodes.len().min(3);
    let mut properties = vec![
        "process.roles=broker,controller".to_owned(),
        format!("node.id={id}"),
        format!("controller.quorum.voters={}", voters.join(",")),
        format!(
            "listeners=CLIENT://0.0.0.0:{client},REPLICATION://{ip}:{replication},\
             CONTROLLER://{ip}:{controller}"
        ),
        format!(
            "advertised.listeners=CLIENT://{},REPLICATION://{ip}:{replication}",
            node.client
        ),
        "listener.security.protocol.map=CLIENT:PLAINTEXT,REPLICATION:PLAINTEXT,\
         CONTROLLER:PLAINTEXT"
            .to_owned(),
        "inter.broker.listener.name=REPLICATION".to_owned(),
        "controller.listener.names=CONTROLLER".to_owned(),
        format!("log.dirs={data_dir}/log"),
        "auto.create.topics.enable=false".to_owned(),
        format!("offsets.topic.replication.factor={replicas}"),
        format!("transaction.state.log.replication.factor={replicas}"),
        "broker.session.timeout.ms=2000".to_owned(),
        "controller.quorum.fetch.timeout.ms=1500".to_owned(),
        "controller.quorum.election.timeout.ms=500".to_owned(),
        "broker.heartbeat.interval.ms=500".to_owned(),
        "replica.lag.time.max.ms=2000".to_owned(),
    ];
    properties.extend(more.iter().cloned());
    properties
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::runtime::plan::{address_in, ids};

    #[test]
    fn each_node_has_a_listener_for_each_way_and_the_last_word_is_the_users() {
        let network = Ipv4Addr::new(10, 1, 2, 0);
        let nodes: Vec<Node> = ids(3)
            .map(|id| Node::direct(id, address_in(network, id.0)))
            .collect();
        let more = ["replica.lag.time.max.ms=30000".to_owned()];
        let lines = properties(&nodes, &nodes[1], "/data", &more);
        for expected in [
            "node.id=2",
            "controller.quorum.voters=1@10.1.2.11:9094,2@10.1.2.12:9094,3@10.1.2.13:9094",
            "listeners=CLIENT://0.0.0.0:9092,REPLICATION://10.1.2.12:9093,\
             CONTROLLER://10.1.2.12:9094",
            "advertised.listeners=CLIENT://10.1.2.12:9092,REPLICATION://10.1.2.12:9093",
        ] {
            assert!(lines.iter().any(|line| line == expected), "no {expected}");
        }
        assert_eq!(lines.last(), more.last());
    }

    #[test]
    fn the_image_is_of_the_version_that_the_pom_names() {
        let pom = include_str!("../../../targets/kafka/pom.xml");
        let (_, version) = IMAGE.split_once(':').expect("a tag");
        assert!(pom.contains(&format!("<kafka.version>{version}</kafka.version>")));
    }
}
