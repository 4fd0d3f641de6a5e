//! What replication sees of the controller: a sequence of images, each the outcome of one
//! decision in log order.

use std::collections::{BTreeMap, BTreeSet};

use broker::replica::cluster::{PartitionMeta, Peer};
use broker::replica::isr::{AlterReply, Proposal};
use broker::types::{BrokerEpoch, BrokerId, LeaderEpoch, PartitionEpoch};

/// The partition as it was created: the first broker leads, all are in sync.
pub fn first_image(brokers: &BTreeSet<BrokerId>) -> PartitionMeta {
    let peer = Peer {
        broker_epoch: BrokerEpoch(1),
        eligible: true,
    };
    PartitionMeta {
        replicas: brokers.clone(),
        isr: brokers.clone(),
        leader: brokers.first().copied(),
        leader_epoch: LeaderEpoch(0),
        partition_epoch: PartitionEpoch(0),
        min_isr: 2,
        peers: brokers
            .iter()
            .map(|id| (*id, peer))
            .collect::<BTreeMap<_, _>>(),
    }
}

/// The session of `id` ended: it leaves the ISR (unless it is the last member), and where it led
/// another member is elected. `None` where nobody could be.
pub fn fence(image: &PartitionMeta, id: BrokerId) -> Option<PartitionMeta> {
    let mut next = image.clone();
    let peer = next.peers.get_mut(&id)?;
    if !peer.eligible || image.isr.len() < 2 {
        return None;
    }
    peer.eligible = false;
    let was_member = next.isr.remove(&id);
    if image.leader == Some(id) {
        next.leader = next.isr.iter().copied().find(|id| next.peers[id].eligible);
        next.leader?;
        next.leader_epoch.0 += 1;
    }
    if was_member {
        next.partition_epoch.0 += 1;
    }
    Some(next)
}

/// The heartbeats of `id` are back.
pub fn unfence(image: &PartitionMeta, id: BrokerId) -> Option<PartitionMeta> {
    let mut next = image.clone();
    let peer = next.peers.get_mut(&id)?;
    (!peer.eligible).then(|| peer.eligible = true)?;
    Some(next)
}

/// Leadership moves to another member without anybody leaving (a preferred-leader election).
pub fn move_leader(image: &PartitionMeta, to: BrokerId) -> Option<PartitionMeta> {
    let may = image.leader != Some(to) && image.isr.contains(&to) && image.peers[&to].eligible;
    may.then(|| {
        let mut next = image.clone();
        next.leader = Some(to);
        next.leader_epoch.0 += 1;
        next.partition_epoch.0 += 1;
        next
    })
}

/// Decides a leader's proposal (KIP-497): compare-and-swap, with every member eligible.
pub fn alter(
    image: &PartitionMeta,
    from: BrokerId,
    proposal: &Proposal,
) -> (Option<PartitionMeta>, AlterReply) {
    let current = image.leader == Some(from)
        && image.leader_epoch == proposal.leader_epoch
        && image.partition_epoch == proposal.partition_epoch;
    if !current {
        return (None, AlterReply::Outdated);
    }
    let eligible = |(id, epoch): &(BrokerId, BrokerEpoch)| {
        image
            .peers
            .get(id)
            .is_some_and(|peer| peer.eligible && peer.broker_epoch == *epoch)
    };
    if !proposal.new_isr.iter().all(eligible) {
        return (None, AlterReply::Ineligible);
    }
    let mut next = image.clone();
    next.isr = proposal.new_isr.iter().map(|(id, _)| *id).collect();
    next.partition_epoch.0 += 1;
    let reply = AlterReply::Committed {
        partition_epoch: next.partition_epoch,
        isr: next.isr.clone(),
    };
    (Some(next), reply)
}
