//! Ambushes on replicas that join the ISR.

use std::time::Duration;

use broker::moments::Moment;
use nemesis::NodeId;
use rand::Rng as _;
use tokio::time::sleep;

use super::field::{self, CONTROLLER, Field, REPLICATION, Scene};
use crate::runtime::sim::Crash;

/// Longer than a follower may lag, and shorter than two of it.
const LEAVES_AFTER: (u64, u64) = (2_600, 3_300);
const JOINS_WITHIN: Duration = Duration::from_secs(4);

/// Whether a leader is about to let this node join this partition (of any topic: ids are not
/// known here, and the others are of no account).
fn joins(moment: Moment, number: i32, node: NodeId) -> bool {
    matches!(moment, Moment::ExpandProposed { partition, joiner }
        if partition.partition == number && joiner.get() == node.0.cast_signed())
}

impl Field {
    /// Has a follower leave the ISR for lag, and be about to come back.
    async fn leaves(&mut self, scene: &Scene, joiner: NodeId) {
        let others = self.all_but(&[joiner]);
        self.cut(joiner, &others, REPLICATION);
        self.pause(LEAVES_AFTER.0, LEAVES_AFTER.1).await;
        self.tell(&format!("{joiner} may join partition {}", scene.partition));
        for node in others {
            self.mend(node);
        }
        self.mend(joiner);
    }

    /// See [`super::Ambush::Joiner`].
    pub(super) async fn joiner(&mut self, scene: &Scene) {
        let (joiner, number, leader) = (scene.others[0], scene.partition, scene.leader);
        if scene.controller == Some(leader) {
            // It would hear itself.
            return;
        }
        self.leaves(scene, joiner).await;
        let mut proposed = false;
        let rest = self.all_but(&[joiner]);
        let struck = self
            .when(
                JOINS_WITHIN,
                move |node, moment| {
                    proposed |= node == leader && joins(moment, number, joiner);
                    // The controller has it committed, and has told nobody.
                    proposed && node != leader && moment == Moment::MetaCommitted
                },
                move |cluster, _| {
                    let world = cluster.world();
                    let others: Vec<NodeId> = cluster
                        .all()
                        .into_iter()
                        .filter(|node| *node != leader)
                        .collect();
                    field::deafen(world, leader, &others, CONTROLLER);
                    field::cut(world, joiner, &rest, REPLICATION);
                },
            )
            .await;
        if !struck {
            return;
        }
        self.pause(150, 1_200).await;
        self.tell(&format!("{leader} is killed"));
        self.crash(leader, Crash::Kill);
        self.pause(20, 300).await;
        for node in self.all_but(&[]) {
            self.mend_port(node, CONTROLLER);
        }
        // It is elected before it gets what it lacks.
        self.pause(800, 1_500).await;
        for node in self.all_but(&[]) {
            self.mend(node);
        }
        self.pause(400, 1_200).await;
        self.start(leader);
    }

    /// See [`super::Ambush::FencedJoiner`].
    pub(super) async fn fenced_joiner(&mut self, scene: &Scene) {
        let leader = scene.leader;
        let (joiner, next) = (scene.others[1], scene.others[0]);
        // It is fenced, and goes on fetching.
        self.cut(joiner, &self.all_but(&[joiner]), CONTROLLER);
        self.pause(2_000, 2_600).await;
        let late = self.rng.random_range(300..=800);
        self.hold_back(leader, late);
        self.pause(900, 1_300).await;
        self.cut(joiner, &[leader, next], REPLICATION);
        self.pause(20, 200).await;
        self.tell(&format!("{leader} is killed, {next} is to lead"));
        self.crash(leader, Crash::Kill);
        // Two of three can elect; it still gets no records.
        for node in self.all_but(&[]) {
            self.mend_port(node, CONTROLLER);
        }
        let number = scene.partition;
        let led = self
            .when(
                Duration::from_secs(6),
                move |node, moment| {
                    node == next
                        && matches!(moment, Moment::LeaderBegan { partition, .. }
                            if partition.partition == number)
                },
                |_, _| {},
            )
            .await;
        if !led {
            return;
        }
        for node in [joiner, leader, next] {
            self.mend(node);
        }
        self.hold_back(next, late);
        let joined = self
            .when(
                Duration::from_secs(5),
                move |node, moment| node == next && joins(moment, number, joiner),
                |_, _| {},
            )
            .await;
        if joined {
            // The controller commits it, and nothing more arrives.
            sleep(Duration::from_millis(self.rng.random_range(15..=150))).await;
            self.tell(&format!("{next} is killed, {joiner} has joined"));
            self.crash(next, Crash::Kill);
            self.pause(300, 900).await;
            self.start(leader);
            self.pause(1_500, 2_500).await;
        }
    }

    /// See [`super::Ambush::RebornJoiner`].
    pub(super) async fn reborn_joiner(&mut self, scene: &Scene) {
        let (joiner, number) = (scene.others[0], scene.partition);
        let (leader, rest) = (scene.leader, self.all_but(&[joiner]));
        self.slow(joiner, Duration::from_millis(900));
        self.leaves(scene, joiner).await;
        let struck = self
            .when(
                JOINS_WITHIN,
                move |_, moment| joins(moment, number, joiner),
                move |cluster, leader| {
                    let world = cluster.world();
                    let others: Vec<NodeId> = cluster
                        .all()
                        .into_iter()
                        .filter(|node| *node != leader)
                        .collect();
                    field::cut(world, leader, &others, CONTROLLER);
                    cluster.crash(joiner, Crash::PowerLoss);
                    field::cut(world, joiner, &rest, REPLICATION);
                },
            )
            .await;
        if !struck {
            return;
        }
        self.slow(joiner, Duration::ZERO);
        self.pause(10, 60).await;
        self.start(joiner);
        self.pause(350, 700).await;
        // What the leader proposed arrives now; of the joiner it still hears nothing.
        let others = self.all_but(&[joiner]);
        for node in &others {
            self.mend(*node);
        }
        self.mend(joiner);
        self.cut(joiner, &others, REPLICATION);
        self.pause(150, 700).await;
        self.tell(&format!("{leader} is killed"));
        self.crash(leader, Crash::Kill);
        self.pause(50, 200).await;
        for node in self.all_but(&[]) {
            self.mend(node);
        }
        self.pause(1_200, 2_200).await;
        self.start(leader);
    }
}
