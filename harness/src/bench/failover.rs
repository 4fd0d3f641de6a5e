//! How long writes wait when a broker dies: a leader alone, or one that is the controller too.
//!
//! A single producer sends a message every few milliseconds (acks=all) to one partition; its leader
//! is killed; the longest time between two acknowledgements around the death is how long a client
//! felt it, its own detection and retries included.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use nemesis::{NodeId, Roles as _};
use serde::Serialize;
use tokio::time::Instant;

use super::bed::Bed;
use super::plan::{Case, Load};
use crate::clients::{Acks, BatchProducer, Outgoing};
use crate::roles::MetadataRoles;
use crate::run::threads::on_thread;

/// Partitions to choose from: with as many, some are led by the controller and some are not.
const PARTITIONS: i32 = 12;
const PERIOD: Duration = Duration::from_millis(2);
const BEFORE: Duration = Duration::from_secs(2);
/// A cluster that has not recovered after this is told as such.
const AFTER: Duration = Duration::from_secs(20);
const AGAIN: Duration = Duration::from_millis(50);

/// One death.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Failover {
    /// The one that was killed was the controller, too.
    pub controller_too: bool,
    /// Who died.
    pub node: u32,
    /// The longest wait between two acknowledgements, in milliseconds.
    pub unavailable_ms: f64,
    /// Whether writes were acknowledged again at all.
    pub recovered: bool,
}

/// Kills `deaths` leaders that are not the controller, and as many that are.
pub async fn all(bed: &Bed, deaths: u32) -> anyhow::Result<Vec<Failover>> {
    let mut failovers = Vec::new();
    for controller_too in [false, true] {
        for _ in 0..deaths {
            let failover = one(bed, controller_too).await?;
            say!(
                "death of a leader{}: {:.0} ms",
                if controller_too {
                    " and controller"
                } else {
                    ""
                },
                failover.unavailable_ms
            );
            failovers.push(failover);
        }
    }
    Ok(failovers)
}

async fn one(bed: &Bed, controller_too: bool) -> anyhow::Result<Failover> {
    let runtime = bed
        .site
        .runtime
        .clone()
        .context("only our own are killed")?;
    let topic = format!("bench-{}", uuid::Uuid::new_v4().simple());
    bed.topic(&topic, PARTITIONS).await?;
    let roles = MetadataRoles::new(bed.site.brokers.clone(), Arc::from(topic.as_str()));
    let (partition, node) = chosen(&roles, controller_too).await?;
    let case = Case {
        name: "failover".to_owned(),
        acks: Acks::All.to_string(),
        size: 100,
        partitions: PARTITIONS,
        producers: 1,
        consumers: 0,
        load: Load::Full,
    };
    let settings = bed.settings(&case);
    let stop = Arc::new(AtomicBool::new(false));
    let (stopped, to) = (stop.clone(), topic.clone());
    let producing = tokio::spawn(on_thread("failover", move || {
        acknowledgements(&settings, &to, partition, &stopped)
    }));
    tokio::time::sleep(BEFORE).await;
    let killed = Instant::now();
    runtime.kill(node).await?;
    tokio::time::sleep(AFTER / 2).await;
    runtime.start(node).await?;
    stop.store(true, Ordering::Relaxed);
    let times = producing.await.context("the producer's task")??;
    bed.whole(&topic, PARTITIONS).await?;
    let recovered = times.iter().any(|at| *at > killed + AGAIN * 4);
    let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
    let worst = match recovered {
        true => gaps.max().unwrap_or(AFTER),
        false => AFTER,
    };
    Ok(Failover {
        controller_too,
        node: node.0,
        unavailable_ms: worst.as_secs_f64() * 1e3,
        recovered,
    })
}

/// A partition whose leader is the controller, or is not.
async fn chosen(roles: &MetadataRoles, controller_too: bool) -> anyhow::Result<(i32, NodeId)> {
    let deadline = Instant::now() + AFTER;
    loop {
        let controller = roles.controller().await;
        for partition in 0..PARTITIONS {
            let leader = roles.leader(partition.unsigned_abs()).await;
            if let (Some(leader), Some(controller)) = (leader, controller)
                && (leader.node == controller) == controller_too
            {
                return Ok((partition, leader.node));
            }
        }
        if Instant::now() > deadline {
            bail!("no leader to kill: controller {controller:?}");
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Sends one message after another, and returns when each was acknowledged.
fn acknowledgements(
    settings: &crate::clients::ClientSettings,
    topic: &str,
    partition: i32,
    stop: &AtomicBool,
) -> anyhow::Result<Vec<Instant>> {
    let mut producer = BatchProducer::new(settings)?;
    let mut times = Vec::new();
    let mut value = 0;
    while !stop.load(Ordering::Relaxed) {
        let message = Outgoing {
            partition,
            value,
            bytes: 100,
        };
        let give_up = || stop.load(Ordering::Relaxed);
        let outcome = producer.send_batch(topic, 0, &[message], &give_up);
        times.extend(outcome.heard.into_iter().flatten());
        value += 1;
        std::thread::sleep(PERIOD);
    }
    Ok(times)
}
