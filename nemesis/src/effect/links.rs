//! Cut links: packets from some nodes (and clients) are dropped where they arrive.
//!
//! It bites when a connection over each cut link stays without an answer from both ends, the
//! rules have counted what they dropped, and connections to spared listeners still come about. It
//! is gone when no rule is left and every link answers again.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use async_trait::async_trait;
use futures_util::future::{join_all, try_join_all};
use serde_json::{Value, json};

use super::{Effect, Failure, Field, Measured, SILENCE, path_is_cut, path_is_open, within};
use crate::agent::{self, AgentCommand, RuleStatus};
use crate::node::{Listener, NodeId};

/// Listeners that a probe tries, the first that is not spared.
const PROBED: [Listener; 3] = [
    Listener::Replication,
    Listener::Controller,
    Listener::Client,
];

pub(super) struct Cut {
    tag: String,
    /// (from, to): `to` no longer hears `from`.
    links: Vec<(NodeId, NodeId)>,
    spares: Vec<Listener>,
    /// If not empty: all that is cut.
    only: Vec<Listener>,
    /// Nodes that no longer hear the clients either.
    clients_of: Vec<NodeId>,
}

/// A link as a probe sees it: from whom to which listener of whom.
type Pair = (NodeId, NodeId, Listener);

impl Cut {
    pub fn new(
        tag: &str,
        links: Vec<(NodeId, NodeId)>,
        (spares, only): (&[Listener], &[Listener]),
        clients_of: Vec<NodeId>,
    ) -> Self {
        Self {
            tag: tag.to_owned(),
            links,
            spares: spares.to_vec(),
            only: only.to_vec(),
            clients_of,
        }
    }

    /// One order for each node that turns deaf.
    fn orders(&self, field: &Field) -> Result<Vec<(NodeId, AgentCommand)>, Failure> {
        let mut deaf: BTreeMap<NodeId, Vec<Ipv4Addr>> = BTreeMap::new();
        for (from, to) in &self.links {
            let ip = field.cluster.address(*from)?;
            deaf.entry(*to).or_default().push(ip);
        }
        for node in &self.clients_of {
            let clients = field.cluster.client_addresses();
            deaf.entry(*node).or_default().extend(clients);
        }
        let ports = field.cluster.ports();
        let of = |listeners: &[Listener]| -> Vec<u16> {
            listeners.iter().map(|l| ports.of(*l)).collect()
        };
        let (spare, only) = (of(&self.spares), of(&self.only));
        let order = |(node, from)| {
            let cut = agent::Cut {
                tag: self.tag.clone(),
                from,
                spare: spare.clone(),
                only: only.clone(),
            };
            (node, AgentCommand::Cut(cut))
        };
        Ok(deaf.into_iter().map(order).collect())
    }

    /// Both ends of each cut link, for one listener.
    fn pairs(&self, listener: Listener) -> Vec<Pair> {
        let ends = |(from, to): &(NodeId, NodeId)| [(*from, *to, listener), (*to, *from, listener)];
        let mut pairs: Vec<Pair> = self.links.iter().flat_map(ends).collect();
        pairs.sort_unstable();
        pairs.dedup();
        pairs
    }

    fn probed(&self) -> Option<Listener> {
        PROBED.into_iter().find(|l| self.is_cut(*l))
    }

    fn is_cut(&self, listener: Listener) -> bool {
        let hit = self.only.is_empty() || self.only.contains(&listener);
        hit && !self.spares.contains(&listener)
    }

    /// Probes all pairs, all nodes at once; `wanted` judges each result.
    async fn judge(
        &self,
        field: &Field,
        pairs: Vec<Pair>,
        wanted: fn(&agent::ProbeResult) -> bool,
    ) -> Result<Vec<Value>, Failure> {
        let mut by_prober: BTreeMap<NodeId, Vec<(NodeId, Listener)>> = BTreeMap::new();
        for (from, to, listener) in pairs {
            by_prober.entry(from).or_default().push((to, listener));
        }
        let probes = by_prober
            .iter()
            .map(|(from, to)| field.probe(*from, to, SILENCE, None));
        let results = try_join_all(probes).await?;
        let mut told = Vec::new();
        for ((from, to), results) in by_prober.iter().zip(results) {
            for ((node, listener), result) in to.iter().zip(results) {
                let seen = seen(&result);
                if !wanted(&result) {
                    return Err(Failure::Measured(format!(
                        "a connection from {from} to the {listener} port of {node}: {seen}"
                    )));
                }
                told.push(json!({"from": from, "to": node, "port": listener, "seen": seen}));
            }
        }
        Ok(told)
    }

    /// The rules of this cut as they stand, on each node that has any to have.
    async fn rules(&self, field: &Field) -> Result<Vec<(NodeId, Vec<RuleStatus>)>, Failure> {
        let nodes = self.nodes();
        let asked = nodes
            .iter()
            .map(|node| field.agent(*node, &AgentCommand::Status));
        let replies = try_join_all(asked).await?;
        let mine = |mut reply: agent::AgentReply| {
            reply.rules.retain(|rule| rule.tag == self.tag);
            reply.rules
        };
        Ok(nodes
            .into_iter()
            .zip(replies.into_iter().map(mine))
            .collect())
    }

    async fn clients_hear(&self, field: &Field) -> Result<Vec<(NodeId, bool)>, Failure> {
        let mut heard = Vec::new();
        for node in &self.clients_of {
            let reach = field.cluster.reach(*node, Listener::Client, SILENCE);
            let reached = within(*node, "reach", reach).await?;
            heard.push((*node, reached.is_some()));
        }
        Ok(heard)
    }
}

fn seen(result: &agent::ProbeResult) -> String {
    match (result.connect_us, &result.error) {
        (Some(us), _) => format!("connected in {us} us"),
        (None, Some(error)) => error.clone(),
        (None, None) => "nothing".to_owned(),
    }
}

#[async_trait]
impl Effect for Cut {
    fn nodes(&self) -> Vec<NodeId> {
        let mut nodes: Vec<NodeId> = self.links.iter().map(|(_, to)| *to).collect();
        nodes.extend(&self.clients_of);
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }

    async fn apply(&self, field: &Field) -> Result<(), Failure> {
        let orders = self.orders(field)?;
        let orders = orders.iter().map(|(node, order)| field.agent(*node, order));
        try_join_all(orders).await.map(|_| ())
    }

    async fn bites(&self, field: &Field) -> Measured {
        let listener = self
            .probed()
            .ok_or_else(|| Failure::Measured("every listener is spared".to_owned()))?;
        let cut = self.judge(field, self.pairs(listener), path_is_cut).await?;
        let mut spared = Vec::new();
        for listener in PROBED.into_iter().filter(|l| !self.is_cut(*l)) {
            let pairs = self.pairs(listener);
            spared.extend(self.judge(field, pairs, path_is_open).await?);
        }
        if let Some((node, _)) = self
            .clients_hear(field)
            .await?
            .iter()
            .find(|(_, heard)| *heard)
        {
            let why = format!("clients still reach {node}");
            return Err(Failure::Measured(why));
        }
        let mut dropped = 0;
        for (node, rules) in self.rules(field).await? {
            // Of a port's two rules one sees nothing where the other end drops first.
            let some = rules.iter().any(|rule| rule.packets > 0);
            let excused = self.clients_of.contains(&node) || (some && !self.only.is_empty());
            for rule in rules {
                if rule.packets == 0 && !excused {
                    let why = format!("{node}: the rule `{}` has dropped nothing", rule.what);
                    return Err(Failure::Measured(why));
                }
                dropped += rule.packets;
            }
        }
        Ok(json!({"cut": cut, "spared": spared, "dropped-packets": dropped}))
    }

    async fn undo(&self, field: &Field) -> Result<(), Failure> {
        let tag = Some(self.tag.clone());
        let order = AgentCommand::Heal { tag };
        let nodes = self.nodes();
        // One node that cannot be healed must not keep the others ill.
        let healed = join_all(nodes.iter().map(|node| field.agent(*node, &order))).await;
        healed.into_iter().try_for_each(|done| done.map(|_| ()))
    }

    async fn gone(&self, field: &Field) -> Measured {
        for (node, rules) in self.rules(field).await? {
            if let Some(rule) = rules.first() {
                let why = format!("{node} still has the rule `{}`", rule.what);
                return Err(Failure::Measured(why));
            }
        }
        let listener = self.probed().unwrap_or(Listener::Client);
        let open = self
            .judge(field, self.pairs(listener), path_is_open)
            .await?;
        Ok(json!({"rules": 0, "open": open}))
    }
}
