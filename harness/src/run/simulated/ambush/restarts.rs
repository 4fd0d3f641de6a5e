//! Ambushes made of restarts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nemesis::Cluster as _;
use rand::Rng as _;
use tokio::time::{Instant, sleep};

use super::field::{Field, REPLICATION, Scene};
use crate::runtime::sim::Crash;

/// For a new leader to be there.
const ELECTED_WITHIN: Duration = Duration::from_millis(1_200);

impl Field {
    /// See [`super::Ambush::Blips`].
    pub(super) async fn blips(&mut self, scene: &Scene) {
        for node in self.cluster.nodes() {
            let others = self.all_but(&[node]);
            self.deafen(node, &others, REPLICATION);
        }
        let mut leader = scene.leader;
        for _ in 0..self.rng.random_range(2..=3) {
            // It appends what nobody else gets, and who led before it may be back.
            self.pause(100, 1_300).await;
            self.tell(&format!("{leader} restarts"));
            self.crash(leader, Crash::Kill);
            self.pause(10, 150).await;
            self.start(leader);
            let began = Instant::now();
            while began.elapsed() < ELECTED_WITHIN {
                match self.leader(scene.partition).await {
                    Some(next) if next != leader => {
                        leader = next;
                        break;
                    }
                    _ => sleep(Duration::from_millis(20)).await,
                }
            }
        }
        self.pause(60, 350).await;
    }

    /// See [`super::Ambush::Torn`].
    pub(super) async fn torn(&mut self, scene: &Scene) {
        for _ in 0..self.rng.random_range(1..=2) {
            let leader = self.leader(scene.partition).await.unwrap_or(scene.leader);
            self.slow(leader, Duration::from_millis(600));
            self.pause(700, 1_400).await;
            self.tell(&format!("{leader} loses power"));
            self.crash(leader, Crash::TornWrites);
            self.slow(leader, Duration::ZERO);
            self.pause(20, 300).await;
            self.start(leader);
            self.pause(1_500, 2_500).await;
        }
    }

    /// See [`super::Ambush::Stutter`].
    pub(super) async fn stutter(&mut self, scene: &Scene) {
        for _ in 0..self.rng.random_range(2..=4) {
            let leader = self.leader(scene.partition).await.unwrap_or(scene.leader);
            self.freeze(leader, true).await;
            self.pause(300, 1_100).await;
            self.freeze(leader, false).await;
            self.pause(400, 900).await;
        }
    }

    /// See [`super::Ambush::LastStanding`].
    pub(super) async fn last_standing(&mut self, scene: &Scene) {
        let leader = scene.leader;
        self.slow(leader, Duration::from_secs(8));
        self.pause(300, 800).await;
        // The controller hears all of them: the followers leave for lag.
        self.cut(leader, &scene.others, REPLICATION);
        self.pause(2_600, 3_800).await;
        self.tell(&format!("{leader} loses power"));
        self.crash(leader, Crash::PowerLoss);
        self.slow(leader, Duration::ZERO);
        self.mend(leader);
        for other in &scene.others {
            self.mend(*other);
        }
        self.pause(50, 1_500).await;
        self.start(leader);
        self.pause(1_500, 2_500).await;
    }

    /// See [`super::Ambush::Commits`].
    pub(super) async fn commits(&mut self) {
        let moments = [
            "meta-appended",
            "meta-synced",
            "meta-committed",
            "meta-applied",
        ];
        let moment = moments[self.rng.random_range(0..moments.len())];
        let how = [Crash::Kill, Crash::PowerLoss, Crash::TornWrites];
        let how = how[self.rng.random_range(0..how.len())];
        // Not always the first who comes to it.
        let skip = self.rng.random_range(0..4);
        let (seen, hit) = (AtomicU32::new(0), Arc::new(AtomicU32::new(0)));
        let told = hit.clone();
        let struck = self
            .when(
                Duration::from_secs(4),
                move |_, reached| {
                    let meant = reached.of_commit() == Some(moment);
                    meant && seen.fetch_add(1, Ordering::Relaxed) >= skip
                },
                move |cluster, node| {
                    cluster.crash(node, how);
                    told.store(node.0, Ordering::Relaxed);
                },
            )
            .await;
        if struck {
            let node = hit.load(Ordering::Relaxed);
            self.tell(&format!("n{node} ended by {how:?} at {moment}"));
            self.pause(50, 2_500).await;
        }
        self.cluster.start_all();
        // No time to recover: the next one comes while elections and joins are under way.
        self.pause(0, 500).await;
    }
}
