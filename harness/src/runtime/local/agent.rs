//! What `nemesis-agent` does inside a pod, done to the links between plain processes.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use nemesis::agent::press::{self, Pressed};
use nemesis::agent::{AgentCommand, AgentReply, Impair, Press, Probe, Strain};
use nemesis::{Listener, NodeId, Ports};

use super::links::{End, Order};
use super::probe::{self, Path};
use super::{LISTENERS, Local};

/// Processors and memory taken for faults, by node.
pub type Taken = Mutex<Vec<(NodeId, Pressed)>>;

impl Local {
    /// Carries out one order at a node.
    pub(super) async fn obey(&self, node: NodeId, command: &AgentCommand) -> AgentReply {
        let done = self.carry_out(node, command).await;
        let (rules, held) = self.links.status(node);
        match done {
            Ok(mut reply) => {
                reply.ok = true;
                reply.rules = rules;
                reply.held = held;
                reply
            }
            Err(error) => AgentReply {
                error: Some(error),
                rules,
                ..AgentReply::default()
            },
        }
    }

    async fn carry_out(&self, node: NodeId, command: &AgentCommand) -> Result<AgentReply, String> {
        let mut reply = AgentReply::default();
        let order = match command {
            AgentCommand::Cut(cut) => (&cut.tag, self.cut(cut)?),
            AgentCommand::Delay(delay) => {
                let ms = |ms: u32| Duration::from_millis(ms.into());
                let order = Order::Delay {
                    ports: delay.ports.clone(),
                    peers: self.ends(&delay.peers)?,
                    inbound: ms(delay.inbound_ms),
                    outbound: ms(delay.outbound_ms),
                };
                (&delay.tag, order)
            }
            AgentCommand::Impair(impair) => (&impair.tag, self.impair(impair)?),
            AgentCommand::Silence(_) => {
                let why = "the power of a machine is lost with its disk: --runtime docker or \
                           namespaces";
                return Err(why.to_owned());
            }
            AgentCommand::Reset(ports) => {
                let peers = self.ends(&ports.peers)?;
                let ports_of = ports.ports.clone();
                let order = Order::Reset {
                    ports: ports_of,
                    peers,
                };
                (&ports.tag, order)
            }
            AgentCommand::Strand(ports) => {
                let peers = self.ends(&ports.peers)?;
                let routes = self.links.standing(node, &ports.ports, &peers);
                (&ports.tag, Order::Strand { routes })
            }
            AgentCommand::Heal { tag } => {
                self.links.heal(node, tag.as_deref());
                self.give_back(node, tag.as_deref());
                return Ok(reply);
            }
            AgentCommand::Status => return Ok(reply),
            AgentCommand::Probe(order) => {
                reply.probes = self.probe_all(node, order).await?;
                return Ok(reply);
            }
            AgentCommand::Flood(order) => {
                let (path, address) = self.path(End::Node(node), order.to)?;
                reply.probes = vec![probe::flood(path, address, order).await];
                return Ok(reply);
            }
            AgentCommand::Press(order) => return self.press(node, order).map(|()| reply),
            AgentCommand::Strain => {
                reply.strain = Some(self.strain(node).await?);
                return Ok(reply);
            }
        };
        let (tag, order) = order;
        self.links.obey(node, tag, order);
        Ok(reply)
    }

    fn cut(&self, cut: &nemesis::agent::Cut) -> Result<Order, String> {
        Ok(Order::Cut {
            from: self.ends(&cut.from)?,
            spare: cut.spare.clone(),
            only: cut.only.clone(),
        })
    }

    fn impair(&self, impair: &Impair) -> Result<Order, String> {
        let manner = impair.manner;
        if manner.loss_percent > 0 || manner.reorder_percent > 0 {
            let why = "a stream of bytes loses and reorders nothing: loss and reorder need packets \
                       (--runtime docker or namespaces)";
            return Err(why.to_owned());
        }
        Ok(Order::Impair {
            peers: self.ends(&impair.peers)?,
            spare: impair.spare.clone(),
            manner,
        })
    }

    /// Who has these addresses.
    fn ends(&self, addresses: &[Ipv4Addr]) -> Result<Vec<End>, String> {
        let end = |address: &Ipv4Addr| {
            if *address == Ipv4Addr::LOCALHOST {
                return Ok(End::Clients);
            }
            let seat = self.seats.values().find(|seat| seat.node.ip == *address);
            let node = seat.map(|seat| End::Node(seat.node.id));
            node.ok_or_else(|| format!("nobody has the address {address}"))
        };
        addresses.iter().map(end).collect()
    }

    /// How `from` gets to what the nemesis calls by this address, and where that really is.
    pub(super) fn path(&self, from: End, to: SocketAddrV4) -> Result<(Path, SocketAddr), String> {
        let seat = self.seats.values().find(|seat| seat.node.ip == *to.ip());
        let seat = seat.ok_or_else(|| format!("nobody has the address {}", to.ip()))?;
        let has_door = LISTENERS
            .iter()
            .any(|l| Ports::REFERENCE.of(*l) == to.port());
        if !has_door || from == End::Node(seat.node.id) {
            let behind = SocketAddr::from((seat.behind, to.port()));
            return Ok((Path::Straight, behind));
        }
        let door = Path::Door(self.tickets.clone(), from);
        Ok((door, SocketAddr::V4(to)))
    }

    async fn probe_all(
        &self,
        node: NodeId,
        order: &Probe,
    ) -> Result<Vec<nemesis::agent::ProbeResult>, String> {
        let limit = Duration::from_millis(order.timeout_ms.max(1).into());
        let mut all = Vec::with_capacity(order.to.len());
        for to in &order.to {
            let (path, address) = self.path(End::Node(node), *to)?;
            all.push(probe::probe(
                path,
                address,
                *to,
                limit,
                order.say.as_deref(),
            ));
        }
        Ok(join_all(all).await)
    }

    fn press(&self, node: NodeId, order: &Press) -> Result<(), String> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |(at, pressed): &(NodeId, Pressed)| *at == node && pressed.tag == order.tag;
        if taken.iter().any(same) {
            return Ok(());
        }
        let pressed = Pressed::begin(&order.tag, order.threads_per_cpu, order.mib);
        taken.push((node, pressed.map_err(|error| error.to_string())?));
        Ok(())
    }

    /// Ends what was taken beside a node.
    fn give_back(&self, node: NodeId, tag: Option<&str>) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = |(at, pressed): &(NodeId, Pressed)| {
            *at == node && tag.is_none_or(|tag| pressed.tag == tag)
        };
        taken.retain(|pressed| !mine(pressed));
    }

    async fn strain(&self, node: NodeId) -> Result<Strain, String> {
        let stretch = tokio::task::spawn_blocking(press::stretch).await;
        let stretch = stretch.map_err(|error| error.to_string())?;
        let mut strain = Strain {
            stretch: stretch.map_err(|error| error.to_string())?,
            ..Strain::default()
        };
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, pressed) in taken.iter().filter(|(at, _)| *at == node) {
            let (threads, mib) = pressed.taken();
            strain.threads += threads;
            strain.mib += mib;
        }
        Ok(strain)
    }
}

/// Where a listener of a node is, as the nemesis calls it.
pub fn at(ip: Ipv4Addr, listener: Listener) -> SocketAddrV4 {
    SocketAddrV4::new(ip, Ports::REFERENCE.of(listener))
}
