//! Where nothing is wrong, consumers have what was acknowledged before long.
//!
//! A broker that forgets to wake a fetch loses nothing, and no anomaly tells of it: the records
//! come with the next ones. So it is looked at while it happens, in runs without a fault.

use std::time::Duration;

use broker::sim::Links;
use tokio::time::{Instant, sleep};

use crate::workload::Clients;

const LOOK: Duration = Duration::from_millis(10);

/// How late is too late: a few times what these links cost, each segment lost once.
pub fn bound(links: &Links) -> Duration {
    match links.loss == 0.0 && links.latency.1 <= Duration::from_millis(2) {
        true => Duration::from_millis(150),
        false => Duration::from_millis(2_500),
    }
}

/// Notes a breach when an acknowledged record is unread for long, until the consumers stop.
pub async fn watch(clients: Clients, within: Duration) {
    let mut waiting: Vec<Option<(i64, Instant)>> = vec![None; clients.seen_to().len()];
    while !clients.stopping() {
        let ends = clients.acknowledged_to().into_iter().zip(clients.seen_to());
        for ((partition, slot), (acknowledged, seen)) in (0..).zip(&mut waiting).zip(ends) {
            if acknowledged <= seen {
                *slot = None;
                continue;
            }
            match slot {
                Some((since, _)) if *since != seen => *slot = Some((seen, Instant::now())),
                None => *slot = Some((seen, Instant::now())),
                Some((_, began)) if began.elapsed() > within => {
                    let what = format!(
                        "partition {partition}: offset {seen} was acknowledged, and for {within:?} \
                         no consumer had it, though nothing was wrong"
                    );
                    clients
                        .settings
                        .manners
                        .breaches
                        .note("late-delivery", what);
                    return;
                }
                Some(_) => {}
            }
        }
        sleep(LOOK).await;
    }
}
