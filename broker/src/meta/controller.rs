//! PURE: the controller's decisions on one partition: who leads, who is in sync, who could lead.
//!
//! A partition changes in one way only, [`change`]: given the ISR that is to be, it works out the
//! ELR (KIP-966) and the leader, and raises the epochs. Its invariants hold after every change:
//! * no fenced, stopping or unknown broker is in an ISR, and ISR and ELR are disjoint;
//! * there is a leader if and only if the ISR is not empty, and the leader is in it;
//! * I14: the partition epoch grows by one, the leader epoch by one if and only if the leader
//!   changes (to nobody, too);
//! * I15: a new leader comes from the ISR, else from the ELR, else, when both are empty, it is the
//!   one who led last (I16: after unclean restarts in replicated durability), unless its log is
//!   known to be gone while there are other replicas.
//!
//! Unclean is only what an operator orders ([`elect_unclean`]). Shape: Kafka's
//! `PartitionChangeBuilder`. Reassignment is absent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::chaos::seeded_bug::{BugSet, SeededBug};
use crate::invariants::{Invariant, uphold_that};
use crate::meta::command::{AlterPartition, Rejected};
use crate::meta::image::{BrokerImage, PartitionImage};
use crate::types::{BrokerEpoch, BrokerId, LeaderEpoch, PartitionEpoch};

/// What a decision on one partition rests on, besides the partition.
#[derive(Clone, Copy)]
pub struct Rules<'a> {
    /// Every registered broker.
    pub brokers: &'a BTreeMap<BrokerId, Arc<BrokerImage>>,
    /// `min.insync.replicas` of the topic, capped at the number of replicas.
    pub min_isr: usize,
    /// Rules that are switched off.
    pub bugs: BugSet,
}

impl Rules<'_> {
    /// Whether the broker may lead and be in an ISR.
    #[must_use]
    pub fn active(&self, id: BrokerId) -> bool {
        self.brokers.get(&id).is_some_and(|broker| broker.active())
    }
}

/// A partition that was just made: all replicas are live and in sync.
#[must_use]
pub fn create(replicas: Vec<BrokerId>) -> PartitionImage {
    let leader = Some(replicas[0]);
    PartitionImage {
        isr: replicas.clone(),
        elr: Vec::new(),
        last_known_leader: leader,
        leader,
        leader_epoch: LeaderEpoch(0),
        partition_epoch: PartitionEpoch(0),
        replicas,
    }
}

/// `broker` was fenced, is stopping, or is a new incarnation: it leaves the ISR, and if it led,
/// somebody else does from here on. `lost` says that its log may lack acknowledged records: then
/// it leaves the ELR too. `None` when nothing changes. Call it after the broker's record changed.
#[must_use]
pub fn leave(
    old: &PartitionImage,
    broker: BrokerId,
    lost: bool,
    rules: Rules<'_>,
) -> Option<PartitionImage> {
    let concerned = old.isr.contains(&broker) || lost && old.elr.contains(&broker);
    let stay = |id: &BrokerId| *id != broker;
    let isr = old.isr.iter().copied().filter(stay).collect();
    concerned.then(|| change(old, isr, lost.then_some(broker), rules))
}

/// `broker` registered anew without the log that it had (fsync mode): it leaves like one that
/// `lost` acknowledged records, and inherits nothing. If it led last, another replica, out of sync
/// and so no member, may hold records that were committed and that it lacks: with ISR and ELR
/// empty the partition stays without a leader rather than going on at an offset that was used.
/// A partition of one replica has nobody to wait for.
#[must_use]
pub fn lose(old: &PartitionImage, broker: BrokerId, rules: Rules<'_>) -> Option<PartitionImage> {
    if old.replicas.len() == 1 || old.last_known_leader != Some(broker) {
        return leave(old, broker, true, rules);
    }
    let heirless = PartitionImage {
        last_known_leader: None,
        ..old.clone()
    };
    leave(&heirless, broker, true, rules).or_else(|| Some(supersede(&heirless)))
}

/// `broker` became active: it is elected where nobody leads and it is eligible.
#[must_use]
pub fn arrive(old: &PartitionImage, broker: BrokerId, rules: Rules<'_>) -> Option<PartitionImage> {
    if old.leader.is_some() || !old.replicas.contains(&broker) {
        return None;
    }
    let new = change(old, old.isr.clone(), None, rules);
    new.leader.is_some().then_some(new)
}

/// The leader's proposal, validated in log order (Kafka's `validateAlterPartitionData`).
///
/// # Errors
/// The refusals of KIP-497 and KIP-903; which of them lets the leader take its proposal back is
/// told at [`Rejected::IneligibleReplica`].
pub fn alter(
    old: &PartitionImage,
    proposal: &AlterPartition,
    rules: Rules<'_>,
) -> Result<PartitionImage, Rejected> {
    if proposal.leader_epoch != old.leader_epoch {
        let current = old.leader_epoch;
        return Err(Rejected::FencedLeaderEpoch { current });
    }
    if old.leader != Some(proposal.leader) {
        let reason = format!("broker {} does not lead it", proposal.leader);
        return Err(Rejected::InvalidRequest(reason));
    }
    if proposal.partition_epoch != old.partition_epoch {
        let current = old.partition_epoch;
        return Err(Rejected::InvalidUpdateVersion { current });
    }
    let isr: Vec<BrokerId> = proposal.new_isr.iter().map(|(id, _)| *id).collect();
    let distinct: BTreeSet<_> = isr.iter().copied().collect();
    if distinct.len() != isr.len() || !isr.iter().all(|id| old.replicas.contains(id)) {
        let reason = format!("ISR {isr:?} is not a set of replicas {:?}", old.replicas);
        return Err(Rejected::InvalidRequest(reason));
    }
    if !distinct.contains(&proposal.leader) {
        let reason = format!("ISR {isr:?} lacks the leader {}", proposal.leader);
        return Err(Rejected::InvalidRequest(reason));
    }
    for (id, epoch) in &proposal.new_isr {
        let member = old.isr.contains(id);
        let broker = rules.brokers.get(id).filter(|broker| broker.active());
        let any = rules.bugs.has(SeededBug::StaleBrokerEpoch);
        if !member && broker.is_none_or(|broker| broker.epoch != *epoch && !any) {
            return Err(Rejected::IneligibleReplica(*id));
        }
    }
    let registered = |(id, epoch): &(BrokerId, BrokerEpoch)| {
        let broker = rules.brokers.get(id);
        old.isr.contains(id) || broker.is_some_and(|broker| broker.epoch == *epoch)
    };
    let current = proposal.new_isr.iter().all(registered);
    uphold_that(Invariant::JoinerComplete, rules.bugs, current, || {
        format!("{:?} joins {old:?}", proposal.new_isr)
    });
    Ok(change(old, isr, None, rules))
}

/// An operator has looked at what the replicas hold, and orders that `leader` leads. Only where
/// nobody does: an order that was carried out, or is late, changes nothing.
///
/// # Errors
/// [`Rejected::InvalidRequest`].
pub fn elect_unclean(
    old: &PartitionImage,
    leader: BrokerId,
    active: bool,
) -> Result<PartitionImage, Rejected> {
    let refuse = |reason: String| Err(Rejected::InvalidRequest(reason));
    if let Some(current) = old.leader {
        return refuse(format!(
            "broker {current} leads it: there is nothing to elect"
        ));
    }
    if !old.replicas.contains(&leader) {
        return refuse(format!(
            "broker {leader} is none of its replicas {:?}",
            old.replicas
        ));
    }
    if !active {
        return refuse(format!("broker {leader} is fenced or stopping"));
    }
    Ok(PartitionImage {
        replicas: old.replicas.clone(),
        isr: vec![leader],
        elr: Vec::new(),
        last_known_leader: Some(leader),
        leader: Some(leader),
        leader_epoch: LeaderEpoch(old.leader_epoch.0 + 1),
        partition_epoch: next_partition_epoch(old),
    })
}

/// The same partition under a new partition epoch: every proposal that names the old one will be
/// refused.
#[must_use]
pub fn supersede(old: &PartitionImage) -> PartitionImage {
    PartitionImage {
        partition_epoch: next_partition_epoch(old),
        ..old.clone()
    }
}

/// The one way in which a partition changes: `isr` is the ISR to be, `lost` a replica whose log
/// may lack acknowledged records.
#[must_use]
fn change(
    old: &PartitionImage,
    isr: Vec<BrokerId>,
    lost: Option<BrokerId>,
    rules: Rules<'_>,
) -> PartitionImage {
    let isr = in_order_of(&old.replicas, |id| isr.contains(&id));
    let elr = eligible(old, &isr, lost, rules);
    let stays = old
        .leader
        .filter(|leader| isr.contains(leader) && rules.active(*leader));
    let leader = stays.or_else(|| elect(old, &isr, &elr, rules));
    let (isr, elr) = match leader {
        // Elected from outside the ISR, which was empty: it is the ISR now.
        Some(leader) if !isr.contains(&leader) => {
            let isr = vec![leader];
            let elr = eligible(old, &isr, lost, rules);
            (isr, elr)
        }
        _ => (isr, elr),
    };
    let elected = leader != old.leader;
    let new = PartitionImage {
        replicas: old.replicas.clone(),
        isr,
        elr,
        last_known_leader: leader.or(old.last_known_leader),
        leader,
        leader_epoch: LeaderEpoch(old.leader_epoch.0 + i32::from(elected)),
        partition_epoch: next_partition_epoch(old),
    };
    assert_legal(old, &new, lost, rules);
    new
}

/// The ELR beside `isr`: who left the ISR while it was below its minimum. The high watermark
/// stands still under the minimum, so each of them has every committed record; at the minimum it
/// moves again, and their claim is void (KIP-966).
fn eligible(
    old: &PartitionImage,
    isr: &[BrokerId],
    lost: Option<BrokerId>,
    rules: Rules<'_>,
) -> Vec<BrokerId> {
    if isr.len() >= rules.min_isr || rules.bugs.has(SeededBug::LastReplicaStanding) {
        return Vec::new();
    }
    in_order_of(&old.replicas, |id| {
        (old.isr.contains(&id) || old.elr.contains(&id)) && !isr.contains(&id) && lost != Some(id)
    })
}

/// Clean elections only (I15): an active member of the ISR, the preferred replica first; with
/// the ISR empty, one of the ELR; with both empty, who led last (I16).
fn elect(
    old: &PartitionImage,
    isr: &[BrokerId],
    elr: &[BrokerId],
    rules: Rules<'_>,
) -> Option<BrokerId> {
    let mut candidates = isr.iter().chain(elr).copied();
    candidates.find(|id| rules.active(*id)).or_else(|| {
        if rules.bugs.has(SeededBug::UncleanElection) {
            return old.replicas.iter().copied().find(|id| rules.active(*id));
        }
        let last = old.last_known_leader.filter(|id| rules.active(*id));
        last.filter(|_| isr.is_empty() && elr.is_empty())
    })
}

fn in_order_of(replicas: &[BrokerId], keep: impl Fn(BrokerId) -> bool) -> Vec<BrokerId> {
    replicas.iter().copied().filter(|id| keep(*id)).collect()
}

fn next_partition_epoch(old: &PartitionImage) -> PartitionEpoch {
    PartitionEpoch(old.partition_epoch.0 + 1)
}

/// The invariants of one change; a breach is a bug here, and going on would spread it.
fn assert_legal(
    old: &PartitionImage,
    new: &PartitionImage,
    lost: Option<BrokerId>,
    rules: Rules<'_>,
) {
    let change = || format!("{old:?} -> {new:?}");
    let elected = old.leader != new.leader;
    let grow = new.partition_epoch.0 == old.partition_epoch.0 + 1
        && new.leader_epoch.0 == old.leader_epoch.0 + i32::from(elected);
    uphold_that(Invariant::EpochsGrow, rules.bugs, grow, change);
    if elected && let Some(leader) = new.leader {
        let claim =
            |id: BrokerId| (old.isr.contains(&id) || old.elr.contains(&id)) && lost != Some(id);
        let heir =
            old.last_known_leader == Some(leader) && !old.replicas.iter().any(|id| claim(*id));
        let clean = rules.active(leader) && (claim(leader) || heir);
        uphold_that(Invariant::CleanElection, rules.bugs, clean, change);
    }
    let lost_stays = lost.is_some_and(|id| new.elr.contains(&id) || new.isr.contains(&id));
    uphold_that(Invariant::LostLogsLeave, rules.bugs, !lost_stays, change);
    let fits = new.leader.is_some() != new.isr.is_empty()
        && new.leader.is_none_or(|leader| new.isr.contains(&leader))
        && new
            .isr
            .iter()
            .all(|id| new.replicas.contains(id) && rules.active(*id))
        && new
            .elr
            .iter()
            .all(|id| new.replicas.contains(id) && !new.isr.contains(id));
    uphold_that(Invariant::CleanElection, rules.bugs, fits, change);
}
