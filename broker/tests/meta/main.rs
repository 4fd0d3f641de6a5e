//! Metadata quorums in one process, on loopback, with real disks: formation, loss of leaders,
//! fencing, restarts, compaction, and strangers on the controller port.

mod cluster;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use broker::meta::command::{Applied, Command, LogClaim, Rejected};
use broker::meta::handle::{MetadataHandle, ProposeError};
use broker::meta::image::{Endpoint, MIN_INSYNC_REPLICAS, MetadataImage};
use broker::meta::{MetaError, MetaOptions, start_here};
use broker::types::{BrokerEpoch, BrokerId, Durability, TopicId};
use cluster::{Cluster, PATIENCE, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn creation(name: &str, replication_factor: i16) -> Command {
    Command::CreateTopic {
        name: name.to_owned(),
        id: TopicId(uuid::Uuid::new_v4()),
        partitions: 3,
        replication_factor,
        configs: BTreeMap::new(),
    }
}

async fn create(handle: &MetadataHandle, name: &str, replication_factor: i16) {
    let command = creation(name, replication_factor);
    let created = handle.propose(command).await;
    assert!(
        matches!(created, Ok(Applied::TopicCreated { .. })),
        "{name}: {created:?}"
    );
    assert!(
        handle.image().topic_by_name(name).is_some(),
        "an answered proposal is applied here"
    );
}

fn leaders(image: &MetadataImage, topic: &str) -> Vec<Option<BrokerId>> {
    let topic = image.topic_by_name(topic).expect("there");
    topic.partitions.iter().map(|p| p.leader).collect()
}

#[tokio::test]
async fn a_cluster_of_one_works_and_remembers() {
    let mut cluster = Cluster::new(1);
    cluster.start(1).await;
    cluster.all_live(1).await;
    let first = cluster.handle(1).broker_epoch().expect("registered");
    create(&cluster.handle(1), "t", 1).await;
    let cluster_id = cluster.image(1).cluster_id.clone();

    cluster.kill(1).await;
    cluster.start(1).await;
    cluster.all_live(1).await;
    let image = cluster.image(1);
    assert!(cluster.handle(1).broker_epoch().expect("registered") > first);
    assert_eq!(image.cluster_id, cluster_id);
    assert_eq!(leaders(&image, "t"), [Some(BrokerId(1)); 3]);
    let again = cluster.handle(1).propose(creation("t", 1)).await;
    assert!(
        matches!(again, Err(ProposeError::Rejected(Rejected::TopicExists(_)))),
        "{again:?}"
    );
}

#[tokio::test]
async fn three_brokers_form_one_quorum_in_any_order() {
    for order in [[3, 1, 2], [2, 3, 1]] {
        let mut cluster = Cluster::new(3);
        for id in order {
            cluster.start(id).await;
        }
        cluster.all_live(3).await;
        for id in 1..=3 {
            create(&cluster.handle(id), &format!("from-{id}"), 3).await;
        }
        cluster.converge().await;
        let image = cluster.image(1);
        assert_eq!(image.topics.len(), 3);
        for topic in image.topics.values() {
            assert_eq!(
                topic.configs[MIN_INSYNC_REPLICAS], "2",
                "the proposer's default is written down"
            );
        }
        let controllers: Vec<_> = (1..=3).map(|id| cluster.handle(id).controller()).collect();
        assert!(
            controllers[0].is_some() && controllers.iter().all(|c| *c == controllers[0]),
            "{controllers:?}"
        );
    }
}

/// Nobody leads, and nobody is elected while there is time enough for several elections.
async fn nobody_leads(cluster: &Cluster) {
    let elected = tokio::time::timeout(Duration::from_secs(2), cluster.leader()).await;
    assert!(elected.is_err(), "broker {elected:?} leads");
}

#[tokio::test]
async fn a_quorum_is_founded_when_every_voter_has_come_in_any_order() {
    let mut cluster = Cluster::new(3);
    cluster.start(2).await;
    cluster.start(3).await;
    nobody_leads(&cluster).await;
    // One that restarts before it has grown up is the same as before.
    cluster.kill(3).await;
    cluster.start(1).await;
    cluster.start(3).await;
    cluster.all_live(3).await;
    cluster.kill(1).await;
    cluster.all_live(2).await;
    create(&cluster.handle(2), "t", 2).await;
    cluster.start(1).await;
    cluster.all_live(3).await;
    cluster.converge().await;
    assert!(cluster.image(1).topic_by_name("t").is_some());
}

/// With one broker down, what is committed is held by two. One of these loses its disk: it must
/// not elect the one that was down, which knows nothing of it.
#[tokio::test]
async fn a_voter_with_a_new_disk_does_not_vote_away_what_was_committed() {
    let mut cluster = Cluster::new(3);
    cluster.start_all().await;
    cluster.all_live(3).await;
    cluster.kill(3).await;
    create(&cluster.handle(1), "t", 2).await;
    cluster.converge().await;
    cluster.kill(1).await;
    cluster.kill(2).await;
    cluster.replace_disk(2);
    cluster.start(2).await;
    cluster.start(3).await;
    nobody_leads(&cluster).await;
    cluster.start(1).await;
    cluster.all_live(3).await;
    cluster.converge().await;
    for id in 1..=3 {
        assert!(
            cluster.image(id).topic_by_name("t").is_some(),
            "{id} lost it"
        );
    }
    // From here on the new disk counts like any other.
    cluster.kill(1).await;
    cluster.all_live(2).await;
    create(&cluster.handle(2), "u", 2).await;
    let leader = cluster.leader().await;
    cluster.kill(leader).await;
    cluster.start(1).await;
    cluster.start(leader).await;
    cluster.all_live(3).await;
    assert!(cluster.image(1).topic_by_name("u").is_some());
}

/// Creates topics through one broker until told to stop; the names that were acknowledged.
async fn create_until(
    handle: MetadataHandle,
    prefix: String,
    mut stop: tokio::sync::watch::Receiver<bool>,
) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for n in 0.. {
        let name = format!("{prefix}-{n}");
        let proposed = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            proposed = handle.propose(creation(&name, 1)) => proposed,
        };
        match proposed {
            Ok(Applied::TopicCreated { .. }) => acknowledged.push(name),
            Err(ProposeError::Stopping) => break,
            // No live broker at that moment, or no answer in time: not acknowledged.
            Err(_) => {}
            other => panic!("{other:?}"),
        }
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_while_leaders_are_killed_again_and_again() {
    let mut cluster = Cluster::new(3);
    cluster.start_all().await;
    cluster.all_live(3).await;
    let mut acknowledged = Vec::new();
    for round in 0..5 {
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let proposers: Vec<_> = (1..=3)
            .map(|id| {
                let prefix = format!("r{round}-b{id}");
                let proposing = create_until(cluster.handle(id), prefix, stopped.clone());
                tokio::spawn(proposing)
            })
            .collect();
        let leader = cluster.leader().await;
        let count = cluster.image(leader).topics.len();
        eventually("topics are being created", || {
            cluster.image(leader).topics.len() > count + 20
        })
        .await;
        cluster.kill(leader).await;
        let survivor = 1 + leader % 3;
        cluster.another_leader(survivor, leader).await;
        let count = cluster.image(survivor).topics.len();
        eventually("topics are being created again", || {
            cluster.image(survivor).topics.len() > count + 20
        })
        .await;
        stop.send_replace(true);
        for proposer in proposers {
            acknowledged.extend(proposer.await.expect("no panic"));
        }
        cluster.start(leader).await;
    }
    cluster.all_live(3).await;
    cluster.converge().await;
    for id in 1..=3 {
        let image = cluster.image(id);
        let lost: Vec<_> = acknowledged
            .iter()
            .filter(|name| image.topic_by_name(name).is_none())
            .collect();
        assert!(lost.is_empty(), "broker {id} lost {lost:?}");
    }
    assert!(acknowledged.len() > 200, "{}", acknowledged.len());

    // And after everybody crashed at once.
    for id in 1..=3 {
        cluster.kill(id).await;
    }
    cluster.start_all().await;
    cluster.all_live(3).await;
    let image = cluster.image(2);
    assert!(
        acknowledged
            .iter()
            .all(|t| image.topic_by_name(t).is_some())
    );
}

#[tokio::test]
async fn a_silent_broker_is_fenced_and_comes_back_with_a_new_epoch() {
    let mut cluster = Cluster::new(3);
    cluster.start_all().await;
    cluster.all_live(3).await;
    create(&cluster.handle(1), "t", 3).await;
    let leader = cluster.leader().await;
    let victim = 1 + leader % 3;
    let witness = 1 + victim % 3;
    let lost = BrokerId(victim);
    let epoch = cluster.image(leader).brokers[&lost].epoch;
    cluster.kill(victim).await;
    cluster
        .image_where(witness, |image| {
            let led = leaders(image, "t");
            image.brokers[&lost].fenced && led.iter().all(|l| l.is_some_and(|l| l != lost))
        })
        .await;
    cluster.start(victim).await;
    cluster.all_live(3).await;
    assert!(cluster.image(witness).brokers[&lost].epoch > epoch);
    let image = cluster.image(witness);
    assert!(!leaders(&image, "t").contains(&Some(lost)));
}

#[tokio::test]
async fn losing_the_controller_fences_it_alone() {
    let mut cluster = Cluster::new(3);
    cluster.start_all().await;
    cluster.all_live(3).await;
    let leader = cluster.leader().await;
    let survivor = 1 + leader % 3;
    let epochs: BTreeMap<BrokerId, BrokerEpoch> = epochs(&cluster.image(survivor));
    cluster.kill(leader).await;
    let mut images = cluster.handle(survivor).watch_image();
    let fenced = images.wait_for(|image| {
        for broker in image.brokers.values().filter(|b| b.id.get() != leader) {
            assert!(!broker.fenced, "{broker:?} was fenced with the controller");
        }
        image.brokers[&BrokerId(leader)].fenced
    });
    let fenced = tokio::time::timeout(PATIENCE, fenced).await;
    assert!(fenced.expect("in time").is_ok());
    assert_eq!(epochs, self::epochs(&cluster.image(survivor)));
}

fn epochs(image: &MetadataImage) -> BTreeMap<BrokerId, BrokerEpoch> {
    image.brokers.values().map(|b| (b.id, b.epoch)).collect()
}

#[tokio::test]
async fn a_broker_that_stops_in_order_leads_nothing_when_it_goes() {
    let mut cluster = Cluster::new(3);
    for config in cluster.configs.values_mut() {
        config.durability = Durability::Replicated;
    }
    cluster.start_all().await;
    cluster.all_live(3).await;
    create(&cluster.handle(1), "t", 3).await;
    cluster.node(2).controlled_shutdown(PATIENCE).await;
    let image = cluster.image(2);
    assert!(image.brokers[&BrokerId(2)].in_controlled_shutdown);
    assert!(!leaders(&image, "t").contains(&Some(BrokerId(2))));
    cluster.stop(2, true).await;
    cluster.start(2).await;
    cluster.all_live(3).await;
    let topic = cluster.image(2).topic_by_name("t").expect("there").clone();
    for partition in &topic.partitions {
        assert!(!partition.isr.contains(&BrokerId(2)), "it has to catch up");
    }
}

#[tokio::test]
async fn a_broker_whose_id_another_takes_registers_once_more_and_then_stops() {
    let mut cluster = Cluster::new(3);
    cluster.start_all().await;
    cluster.all_live(3).await;
    // At the minimum of three, whoever leaves the ISR stays eligible.
    let mut creation = creation("t", 3);
    if let Command::CreateTopic { configs, .. } = &mut creation {
        configs.insert(MIN_INSYNC_REPLICAS.to_owned(), "3".to_owned());
    }
    let created = cluster.handle(1).propose(creation).await;
    assert!(created.is_ok(), "{created:?}");
    let mut ended = cluster.node(2).ended();
    for round in 0..2 {
        let before = cluster.handle(2).broker_epoch().expect("registered");
        let endpoint = Endpoint {
            host: "elsewhere".to_owned(),
            port: 1,
        };
        let theft = Command::RegisterBroker {
            id: BrokerId(2),
            incarnation: uuid::Uuid::new_v4(),
            cluster_id: String::new(),
            client: endpoint.clone(),
            replication: endpoint,
            log: LogClaim::Recovered,
        };
        cluster.handle(1).propose(theft).await.expect("registered");
        if round == 0 {
            let mut epoch = cluster.handle(2).watch_broker_epoch();
            let renewed = epoch.wait_for(|epoch| epoch.is_some_and(|e| e > before));
            let renewed = tokio::time::timeout(PATIENCE, renewed).await;
            assert!(renewed.expect("in time").is_ok());
            cluster.all_live(3).await;
            let topic = cluster.image(2).topic_by_name("t").expect("there").clone();
            for p in &topic.partitions {
                let member = p.isr.contains(&BrokerId(2)) || p.elr.contains(&BrokerId(2));
                assert!(!member, "the other's membership is not this log's: {p:?}");
            }
        }
    }
    let why = tokio::time::timeout(PATIENCE, ended.wait_for(Option::is_some)).await;
    let why = why.expect("in time").expect("told").clone();
    assert!(
        matches!(why, Some(MetaError::Superseded(BrokerId(2)))),
        "{why:?}"
    );
}

#[tokio::test]
async fn a_broker_that_was_away_catches_up_from_a_snapshot() {
    let mut cluster = Cluster::new(3);
    cluster.snapshot_every = 20;
    cluster.start_all().await;
    cluster.all_live(3).await;
    let leader = cluster.leader().await;
    let away = 1 + leader % 3;
    cluster.kill(away).await;
    for n in 0..60 {
        create(&cluster.handle(leader), &format!("t{n}"), 1).await;
    }
    let metrics = cluster.node(leader).metrics();
    assert!(
        metrics.borrow().snapshot_index > 20,
        "{:?}",
        *metrics.borrow()
    );
    cluster.start(away).await;
    cluster.all_live(3).await;
    cluster.converge().await;
    assert_eq!(cluster.image(away).topics.len(), 60);

    // What was compacted survives a crash of everybody.
    for id in 1..=3 {
        cluster.kill(id).await;
    }
    cluster.start_all().await;
    cluster.all_live(3).await;
    assert_eq!(cluster.image(away).topics.len(), 60);
}

#[tokio::test]
async fn many_proposals_are_in_progress_side_by_side() {
    let mut cluster = Cluster::new(3);
    cluster.start_all().await;
    cluster.all_live(3).await;
    let leader = cluster.leader().await;
    let follower = 1 + leader % 3;
    let handle = cluster.handle(follower);
    let proposals: Vec<_> = (0..300)
        .map(|n| {
            let handle = handle.clone();
            tokio::spawn(async move { create(&handle, &format!("t{n}"), 1).await })
        })
        .collect();
    for proposal in proposals {
        proposal.await.expect("created");
    }
    assert_eq!(handle.image().topics.len(), 300);
}

#[tokio::test]
async fn without_a_majority_a_proposal_ends_undecided() {
    let mut cluster = Cluster::new(3);
    cluster.start_all().await;
    cluster.all_live(3).await;
    cluster.kill(2).await;
    cluster.kill(3).await;
    let proposed = cluster.handle(1).propose(creation("t", 1)).await;
    assert!(
        matches!(proposed, Err(ProposeError::Unknown(_))),
        "{proposed:?}"
    );
    cluster.start(2).await;
    cluster.start(3).await;
    cluster.all_live(3).await;
    create(&cluster.handle(1), "u", 1).await;
}

#[tokio::test]
async fn strangers_on_the_controller_port_harm_nobody() {
    let mut cluster = Cluster::new(3);
    cluster.start_all().await;
    cluster.all_live(3).await;
    let term = cluster.node(1).metrics().borrow().term;
    let hello = |from: i32, to: i32| {
        let json = format!("{{\"from\":{from},\"to\":{to},\"voters\":[1,2,3]}}");
        let mut frame = vec![1; 1];
        frame.extend(0_u64.to_be_bytes());
        frame.extend(u32::try_from(json.len()).expect("small").to_be_bytes());
        frame.extend(json.as_bytes());
        let mut whole = u32::try_from(frame.len())
            .expect("small")
            .to_be_bytes()
            .to_vec();
        whole.extend(frame);
        whole
    };
    let mut garbage_after_hello = hello(9, 1);
    garbage_after_hello.extend([0, 0, 0, 20].iter().chain(&[0xFF; 20]));
    let attacks: [Vec<u8>; 6] = [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        vec![0xFF; 64],
        vec![0x7F, 0xFF, 0xFF, 0xFF, 1],
        hello(2, 3),
        hello(1, 1),
        garbage_after_hello,
    ];
    for attack in attacks {
        let address = cluster.configs[&1].controller_listen;
        let mut stream = tokio::net::TcpStream::connect(address).await.expect("open");
        stream.write_all(&attack).await.expect("sent");
        stream.shutdown().await.expect("closed");
        let mut answer = Vec::new();
        let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "the connection is ended: {attack:?}");
    }
    create(&cluster.handle(1), "t", 3).await;
    assert_eq!(cluster.node(1).metrics().borrow().term, term);
}

#[tokio::test]
async fn contradictory_settings_and_a_taken_port_are_refused_with_the_reason() {
    let mut cluster = Cluster::new(1);
    let config = cluster.configs[&1].clone();
    let attempt = async |config: broker::config::BrokerConfig| {
        let started = broker::meta::start(Arc::new(config), true).await;
        started.err().expect("refused").to_string()
    };
    let mut stranger = config.clone();
    stranger.id = BrokerId(7);
    assert!(attempt(stranger).await.contains("broker 7"));
    let mut hasty = config.clone();
    hasty.raft_election_timeout = (Duration::from_millis(1), Duration::from_millis(2));
    assert!(attempt(hasty).await.contains("election timeout"));
    cluster.start(1).await;
    let mut second = config.clone();
    second.data_dir = config.data_dir.join("second");
    let reason = attempt(second).await;
    assert!(
        reason.contains(&config.controller_listen.to_string()),
        "{reason}"
    );
    let reason = attempt(config).await;
    assert!(reason.contains("raft.redb"), "{reason}");
}

#[tokio::test]
async fn everything_runs_on_one_thread_when_asked_to() {
    let cluster = Cluster::new(3);
    let mut nodes = Vec::new();
    for config in cluster.configs.values() {
        let options = MetaOptions::new(Arc::new(config.clone()), true);
        nodes.push(start_here(options).await.expect("started"));
    }
    for node in &nodes {
        let mut images = node.handle().watch_image();
        let live = images.wait_for(|image| cluster::live(image) == 3);
        let live = tokio::time::timeout(PATIENCE, live).await;
        assert!(live.expect("in time").is_ok());
    }
    create(&nodes[0].handle(), "t", 3).await;
    for node in nodes {
        node.stop(true).await;
    }
}
