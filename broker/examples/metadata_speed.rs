//! How fast the metadata quorum is on this machine: `cargo run -p broker --example metadata_speed`.
//!
//! Three brokers' metadata actors in one process, on loopback and on the temporary directory's
//! disk, with the default timeouts. Prints how long forming the quorum takes, how long a proposal
//! takes through the leader and through a follower (alone, and with 64 at a time), and how long
//! the cluster is without a controller after the leader's death.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use broker::config::{BrokerConfig, Voter};
use broker::meta::command::Command;
use broker::meta::handle::MetadataHandle;
use broker::meta::image::Endpoint;
use broker::meta::{MetaNode, MetaOptions, start_with};
use broker::types::{BrokerId, TopicId};
use tokio::time::Instant;

const PATIENCE: Duration = Duration::from_secs(60);
/// Failovers that are measured.
const DEATHS: usize = 10;

struct Cluster {
    configs: BTreeMap<BrokerId, BrokerConfig>,
    nodes: BTreeMap<BrokerId, MetaNode>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut cluster = Cluster {
        configs: configs(dir.path()),
        nodes: BTreeMap::new(),
    };
    let begun = tokio::time::Instant::now();
    for id in cluster.configs.keys().copied().collect::<Vec<_>>() {
        cluster.start(id).await?;
    }
    cluster.all_live().await?;
    println!("formed, all registered and unfenced: {:?}", begun.elapsed());

    let leader = cluster.leader(None).await?;
    let follower = *cluster
        .nodes
        .keys()
        .find(|id| **id != leader)
        .context("three brokers")?;
    for (who, id) in [("leader", leader), ("follower", follower)] {
        for at_a_time in [1, 64] {
            let handle = cluster.nodes[&id].handle();
            let (rate, latencies) = proposals(&handle, at_a_time).await?;
            println!(
                "proposals through the {who}, {at_a_time} at a time: {rate:.0}/s, {}",
                summary(latencies)
            );
        }
    }

    let mut without = Vec::new();
    for _ in 0..DEATHS {
        let leader = cluster.leader(None).await?;
        let begun = tokio::time::Instant::now();
        cluster.nodes.remove(&leader).context("runs")?.kill().await;
        let next = cluster.leader(Some(leader)).await?;
        propose(&cluster.nodes[&next].handle()).await?;
        without.push(begun.elapsed());
        cluster.start(leader).await?;
        cluster.all_live().await?;
    }
    println!(
        "from the leader's death to the next decision: {}",
        summary(without)
    );
    for (_, node) in std::mem::take(&mut cluster.nodes) {
        node.stop(true).await;
    }
    Ok(())
}

fn configs(dir: &std::path::Path) -> BTreeMap<BrokerId, BrokerConfig> {
    let host = |id: i32| std::net::Ipv4Addr::new(127, 9, 4, u8::try_from(id).unwrap_or(u8::MAX));
    let voters: Vec<Voter> = (1..=3)
        .map(|id| Voter {
            id: BrokerId(id),
            controller: Endpoint {
                host: host(id).to_string(),
                port: 9094,
            },
        })
        .collect();
    let config = |id: i32| BrokerConfig {
        id: BrokerId(id),
        voters: voters.clone(),
        data_dir: dir.join(id.to_string()),
        controller_listen: (host(id), 9094).into(),
        ..BrokerConfig::default()
    };
    (1..=3).map(|id| (BrokerId(id), config(id))).collect()
}

impl Cluster {
    async fn start(&mut self, id: BrokerId) -> Result<()> {
        let config = Arc::new(self.configs[&id].clone());
        let node = start_with(MetaOptions::new(config, true)).await?;
        self.nodes.insert(id, node);
        Ok(())
    }

    async fn all_live(&self) -> Result<()> {
        for (id, node) in &self.nodes {
            let mut images = node.handle().watch_image();
            let mut epoch = node.handle().watch_broker_epoch();
            let live = async {
                epoch.wait_for(Option::is_some).await?;
                let all = images.wait_for(|image| {
                    image.brokers.len() == 3 && image.brokers.values().all(|b| !b.fenced)
                });
                all.await?;
                anyhow::Ok(())
            };
            let waited = tokio::time::timeout(PATIENCE, live).await;
            waited.with_context(|| format!("broker {id} does not see three live brokers"))??;
        }
        Ok(())
    }

    /// Somebody who leads by his own account, and is not `except`.
    async fn leader(&self, except: Option<BrokerId>) -> Result<BrokerId> {
        let begun = tokio::time::Instant::now();
        while begun.elapsed() < PATIENCE {
            let leads = |node: &MetaNode| node.metrics().borrow().is_controller;
            let mut nodes = self.nodes.iter();
            if let Some((id, _)) = nodes.find(|(id, node)| Some(**id) != except && leads(node)) {
                return Ok(*id);
            }
            tokio::time::sleep(Duration::from_millis(1)).await; // a poll's pause
        }
        bail!("nobody leads")
    }
}

/// One small command.
async fn propose(handle: &MetadataHandle) -> Result<Duration> {
    let begun = tokio::time::Instant::now();
    let command = Command::CreateTopic {
        name: format!("t-{}", uuid::Uuid::new_v4()),
        id: TopicId(uuid::Uuid::new_v4()),
        partitions: 1,
        replication_factor: 1,
        configs: BTreeMap::new(),
    };
    handle.propose(command).await?;
    Ok(begun.elapsed())
}

/// Some seconds of proposals by `at_a_time` proposers: decisions a second, and how long each took.
async fn proposals(handle: &MetadataHandle, at_a_time: usize) -> Result<(f64, Vec<Duration>)> {
    let begun = tokio::time::Instant::now();
    let until: Instant = begun + Duration::from_secs(3);
    let proposers: Vec<_> = (0..at_a_time)
        .map(|_| {
            let handle = handle.clone();
            tokio::spawn(async move {
                let mut took = Vec::new();
                while tokio::time::Instant::now() < until {
                    took.push(propose(&handle).await?);
                }
                anyhow::Ok(took)
            })
        })
        .collect();
    let mut latencies = Vec::new();
    for proposer in proposers {
        latencies.extend(proposer.await??);
    }
    let rate = latencies.len() as f64 / begun.elapsed().as_secs_f64();
    Ok((rate, latencies))
}

fn summary(mut took: Vec<Duration>) -> String {
    took.sort_unstable();
    let at = |share: f64| {
        let last = took.len().saturating_sub(1);
        took[((last as f64) * share) as usize]
    };
    format!("p50 {:?}, p99 {:?}, max {:?}", at(0.5), at(0.99), at(1.0))
}
