//! Looks through what is on disk, a little at a time, round and round: damage is to be found while
//! other replicas still have what was written. What is in memory is looked at when it is not any
//! more.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::replica::manager::ReplicaManager;
use crate::types::{Offset, TopicPartition};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);
/// Between two rounds through everything.
const REST: Duration = Duration::from_secs(5);

/// Runs until `ended`, reading `per_second` bytes at most; 0: not at all.
pub(super) async fn run(
    manager: Arc<ReplicaManager>,
    per_second: usize,
    mut ended: watch::Receiver<bool>,
) {
    if per_second == 0 {
        return;
    }
    tokio::select! {
        biased;
        _ = ended.wait_for(|ended| *ended) => {}
        () = look_for_ever(&manager, per_second.div_ceil(10)) => {}
    }
}

async fn look_for_ever(manager: &ReplicaManager, bytes: usize) {
    let mut at: Option<(TopicPartition, Offset)> = None;
    loop {
        tokio::time::sleep(PAUSE).await;
        let routing = manager.routing();
        let mut all: Vec<_> = routing.partitions().collect();
        all.sort_unstable_by_key(|partition| partition.tp());
        let from = at.map_or(0, |(tp, _)| all.partition_point(|p| p.tp() < tp));
        let Some(partition) = all.get(from) else {
            at = None;
            drop(routing);
            tokio::time::sleep(REST).await;
            continue;
        };
        let tp = partition.tp();
        let view = partition.view();
        let begin = match at {
            Some((known, offset)) if known == tp => offset,
            _ => view.log_start(),
        };
        let (next, damaged) = view.look_through(begin, bytes);
        if let Some(offset) = damaged {
            partition.damaged_at(offset);
        }
        at = match next < view.end() {
            true => Some((tp, next)),
            false => all.get(from + 1).map(|later| (later.tp(), Offset::ZERO)),
        };
        if at.is_none() {
            drop(routing);
            tokio::time::sleep(REST).await;
        }
    }
}
