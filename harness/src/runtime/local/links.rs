//! The links between plain processes, as the nemesis has left them: which connection carries what
//! to whom, what is held, and for how long.
//!
//! A link is a stream of bytes, not of packets: it can be cut, slowed, stopped and reset, each way
//! and for each port by itself. It cannot lose or reorder anything, because the kernels at both
//! ends have acknowledged every byte already.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nemesis::NodeId;
use nemesis::agent::{Manner, RuleStatus};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

/// Bytes that are taken from a socket at once, where the link is not slow.
const PORTION: usize = 32 << 10;
/// At a rate, so many portions pass in a second.
const PORTIONS_PER_SECOND: u32 = 20;
const PORTION_LEAST: usize = 64;
/// What opening a connection costs on a link with a rate, as a packet would.
const OPENING: usize = 60;

/// Who is at one end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// Whoever is no broker of this cluster.
    Clients,
    /// A broker.
    Node(NodeId),
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Clients => f.write_str("clients"),
            Self::Node(node) => node.fmt(f),
        }
    }
}

/// A connection: who called whom at which port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Tells it from all others of this cluster.
    pub id: u64,
    /// Who connected.
    pub caller: End,
    /// Who listens.
    pub called: NodeId,
    /// At which port.
    pub port: u16,
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the caller.
    Forward,
    /// To the caller.
    Backward,
}

impl Direction {
    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::Forward => Self::Backward,
            Self::Backward => Self::Forward,
        }
    }
}

impl Route {
    /// (sender, receiver)
    fn ends(&self, direction: Direction) -> (End, End) {
        let called = End::Node(self.called);
        match direction {
            Direction::Forward => (self.caller, called),
            Direction::Backward => (called, self.caller),
        }
    }
}

/// What is done to the links of one node.
#[derive(Clone, Debug, PartialEq)]
pub enum Order {
    /// What these send does not arrive.
    Cut {
        /// Senders.
        from: Vec<End>,
        /// Ports whose connections are left alone.
        spare: Vec<u16>,
        /// If not empty: the only ports whose connections are cut.
        only: Vec<u16>,
    },
    /// What arrives at these ports of the node, and what leaves from them, takes longer.
    Delay {
        /// Of the node.
        ports: Vec<u16>,
        /// With whom; empty: everybody.
        peers: Vec<End>,
        /// What arrives.
        inbound: Duration,
        /// What leaves.
        outbound: Duration,
    },
    /// Every connection with these peers is slow, each way.
    Impair {
        /// With whom.
        peers: Vec<End>,
        /// Ports whose connections are left alone.
        spare: Vec<u16>,
        /// How slow.
        manner: Manner,
    },
    /// Connections of these peers to these ports are reset, and so are new ones.
    Reset {
        /// Of the node.
        ports: Vec<u16>,
        /// Whose.
        peers: Vec<End>,
    },
    /// Over these connections nothing arrives at the node any more.
    Strand {
        /// Those that stood when the fault began, by id.
        routes: BTreeSet<u64>,
    },
}

/// A rule at one node, and what it has met.
struct Rule {
    serial: u64,
    at: NodeId,
    tag: String,
    order: Order,
    /// By sender, by connection, or one for all: what it does in words, portions, bytes.
    met: BTreeMap<u64, (String, u64, u64)>,
    /// When a link with a rate has carried what was put on it: inbound, outbound.
    free_at: [Option<Instant>; 2],
}

impl Rule {
    /// Whether it stops what goes this way; if so, its counter.
    fn stops(&self, route: &Route, direction: Direction) -> Option<u64> {
        let (from, to) = route.ends(direction);
        if to != End::Node(self.at) {
            return None;
        }
        match &self.order {
            Order::Cut {
                from: senders,
                spare,
                only,
            } => {
                let hit = only.is_empty() || only.contains(&route.port);
                let place = senders.iter().position(|sender| *sender == from)?;
                (hit && !spare.contains(&route.port)).then_some(place as u64)
            }
            Order::Strand { routes } => routes.contains(&route.id).then_some(route.id),
            _ => None,
        }
    }

    /// Whether it slows what goes this way: how, and is it inbound.
    fn slows(&self, route: &Route, direction: Direction) -> Option<(Slowness, bool)> {
        let (from, to) = route.ends(direction);
        let here = End::Node(self.at);
        match &self.order {
            Order::Delay {
                ports,
                peers,
                inbound,
                outbound,
            } => {
                let caller = peers.is_empty() || peers.contains(&route.caller);
                if route.called != self.at || !ports.contains(&route.port) || !caller {
                    return None;
                }
                let is_inbound = direction == Direction::Forward;
                let by = if is_inbound { *inbound } else { *outbound };
                (!by.is_zero()).then_some((Slowness::By(by), is_inbound))
            }
            Order::Impair {
                peers,
                spare,
                manner,
            } => {
                let inbound = to == here && peers.contains(&from);
                let outbound = from == here && peers.contains(&to);
                let hit = (inbound || outbound) && !spare.contains(&route.port);
                hit.then_some((Slowness::In(*manner), inbound))
            }
            _ => None,
        }
    }

    fn resets(&self, route: &Route) -> bool {
        match &self.order {
            Order::Reset { ports, peers } => {
                let (node, port) = (route.called == self.at, ports.contains(&route.port));
                node && port && peers.contains(&route.caller)
            }
            _ => false,
        }
    }

    fn count(&mut self, counter: u64, bytes: usize) {
        if let Some((_, portions, sum)) = self.met.get_mut(&counter) {
            *portions += 1;
            *sum += bytes as u64;
        }
    }
}

enum Slowness {
    By(Duration),
    In(Manner),
}

/// The counters that a rule begins with.
fn counters(order: &Order) -> BTreeMap<u64, (String, u64, u64)> {
    let one = |what: String| BTreeMap::from([(0, (what, 0, 0))]);
    match order {
        Order::Cut {
            from, spare, only, ..
        } => {
            let ports = match (only.as_slice(), spare.as_slice()) {
                ([], []) => String::new(),
                ([], spare) => format!(", but of ports {spare:?}"),
                (only, _) => format!(", only of ports {only:?}"),
            };
            let what = |from: &End| (format!("hold what {from} sends{ports}"), 0, 0);
            (0..).zip(from.iter().map(what)).collect()
        }
        Order::Delay {
            ports,
            inbound,
            outbound,
            ..
        } => one(format!(
            "hold ports {ports:?} {inbound:?} inbound, {outbound:?} outbound"
        )),
        Order::Impair { manner, .. } => one(format!("slow: {manner:?}")),
        Order::Reset { ports, .. } => one(format!("reset connections to ports {ports:?}")),
        Order::Strand { routes } => {
            let what = |id: &u64| (*id, (format!("hold what connection {id} carries"), 0, 0));
            routes.iter().map(what).collect()
        }
    }
}

struct State {
    rules: Vec<Rule>,
    next_serial: u64,
    next_route: u64,
    /// Connections that stand, with the way to reset them.
    standing: BTreeMap<u64, (Route, Arc<Notify>)>,
    /// Portions that are held, by receiver.
    held: BTreeMap<End, u64>,
    rng: ChaCha8Rng,
}

/// All links of a cluster.
pub struct Links {
    state: Mutex<State>,
    /// Told at each change of the rules.
    changed: watch::Sender<()>,
}

/// What is to become of a portion now.
enum Verdict {
    Pass,
    Until(Instant),
    Hold,
}

impl Links {
    /// Links that carry everything.
    pub fn new() -> Arc<Self> {
        let state = State {
            rules: Vec::new(),
            next_serial: 0,
            next_route: 0,
            standing: BTreeMap::new(),
            held: BTreeMap::new(),
            // Jitter alone is drawn from it, and the times of real sockets repeat for no seed.
            rng: ChaCha8Rng::seed_from_u64(0),
        };
        let (changed, _) = watch::channel(());
        Arc::new(Self {
            state: Mutex::new(state),
            changed,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something to the links of a node; the same thing twice is once.
    pub fn obey(&self, at: NodeId, tag: &str, order: Order) {
        let mut state = self.state();
        let same = |rule: &Rule| rule.at == at && rule.tag == tag && rule.order == order;
        if state.rules.iter().any(same) {
            return;
        }
        state.next_serial += 1;
        let mut rule = Rule {
            serial: state.next_serial,
            at,
            tag: tag.to_owned(),
            met: counters(&order),
            order,
            free_at: [None, None],
        };
        let mut hit = Vec::new();
        for (route, reset) in state.standing.values() {
            if rule.resets(route) {
                hit.push(reset.clone());
            }
        }
        hit.iter().for_each(|_| rule.count(0, 0));
        state.rules.push(rule);
        drop(state);
        hit.iter().for_each(|reset| reset.notify_one());
        self.changed.send_replace(());
    }

    /// Takes back what was done to a node's links for one fault, or for all.
    pub fn heal(&self, at: NodeId, tag: Option<&str>) {
        let mine = |rule: &Rule| rule.at == at && tag.is_none_or(|tag| rule.tag == tag);
        self.state().rules.retain(|rule| !mine(rule));
        self.changed.send_replace(());
    }

    /// The rules of a node, and how many portions on their way to it are held.
    pub fn status(&self, at: NodeId) -> (Vec<RuleStatus>, u64) {
        let state = self.state();
        let mut rules = Vec::new();
        for rule in state.rules.iter().filter(|rule| rule.at == at) {
            for (what, packets, bytes) in rule.met.values() {
                rules.push(RuleStatus {
                    tag: rule.tag.clone(),
                    what: what.clone(),
                    packets: *packets,
                    bytes: *bytes,
                });
            }
        }
        let held = state.held.get(&End::Node(at)).copied().unwrap_or(0);
        (rules, held)
    }

    /// The connections that stand at these ports of a node.
    pub fn standing(&self, at: NodeId, ports: &[u16], peers: &[End]) -> BTreeSet<u64> {
        let state = self.state();
        let hit = |(route, _): &&(Route, Arc<Notify>)| {
            route.called == at && ports.contains(&route.port) && peers.contains(&route.caller)
        };
        let routes = state.standing.values().filter(hit);
        routes.map(|(route, _)| route.id).collect()
    }

    /// A new connection; it stands until what is returned is dropped. `None`: it is reset at once.
    pub fn stand(self: &Arc<Self>, caller: End, called: NodeId, port: u16) -> Option<Standing> {
        let mut state = self.state();
        state.next_route += 1;
        let route = Route {
            id: state.next_route,
            caller,
            called,
            port,
        };
        if let Some(rule) = state.rules.iter_mut().find(|rule| rule.resets(&route)) {
            rule.count(0, 0);
            return None;
        }
        let reset = Arc::new(Notify::new());
        state.standing.insert(route.id, (route, reset.clone()));
        Some(Standing {
            links: self.clone(),
            route,
            reset,
        })
    }

    /// How many bytes are to be taken from a socket at once.
    pub fn portion(&self, route: &Route, direction: Direction) -> usize {
        let state = self.state();
        let rate = |rule: &Rule| match rule.slows(route, direction) {
            Some((Slowness::In(manner), _)) if manner.bytes_per_second > 0 => {
                Some((manner.bytes_per_second / PORTIONS_PER_SECOND) as usize)
            }
            _ => None,
        };
        let slowest = state.rules.iter().filter_map(rate).min();
        slowest.map_or(PORTION, |bytes| bytes.clamp(PORTION_LEAST, PORTION))
    }

    /// When a portion that is here now is due at the other end.
    pub fn due(&self, route: &Route, direction: Direction, bytes: usize) -> Instant {
        let now = Instant::now();
        let mut state = self.state();
        let State { rules, rng, .. } = &mut *state;
        let mut due = now;
        for rule in rules {
            let Some((slowness, inbound)) = rule.slows(route, direction) else {
                continue;
            };
            rule.count(0, bytes);
            match slowness {
                Slowness::By(time) => due += time,
                Slowness::In(manner) => {
                    let ms = |ms: u32| Duration::from_millis(ms.into());
                    due += ms(manner.delay_ms);
                    if manner.jitter_ms > 0 {
                        let most = u64::from(manner.jitter_ms) * 1_000;
                        due += Duration::from_micros(rng.random_range(0..=most));
                    }
                    if manner.bytes_per_second > 0 {
                        let size = bytes.max(OPENING) as f64;
                        let takes = size / f64::from(manner.bytes_per_second);
                        let free_at = &mut rule.free_at[usize::from(!inbound)];
                        let free = free_at.map_or(now, |at| at.max(now));
                        let free = free + Duration::from_secs_f64(takes);
                        *free_at = Some(free);
                        due = due.max(free);
                    }
                }
            }
        }
        due
    }

    /// Returns when a portion that is due then has passed the link.
    pub async fn pass(&self, route: &Route, direction: Direction, due: Instant, bytes: usize) {
        let mut changed = self.changed.subscribe();
        let mut counted = BTreeSet::new();
        let mut held: Option<Held<'_>> = None;
        loop {
            // Seen from here on: a change between the verdict and the waiting is not missed.
            changed.borrow_and_update();
            let verdict = self.verdict(route, direction, due, bytes, &mut counted);
            if !matches!(verdict, Verdict::Pass) && held.is_none() {
                held = Some(Held::new(self, route.ends(direction).1));
            }
            match verdict {
                Verdict::Pass => return,
                Verdict::Until(at) => {
                    tokio::select! {
                        () = sleep_until(at) => {}
                        _ = changed.changed() => {}
                    }
                }
                // The sender is ours, so waiting cannot fail.
                Verdict::Hold => drop(changed.changed().await),
            }
        }
    }

    fn verdict(
        &self,
        route: &Route,
        direction: Direction,
        due: Instant,
        bytes: usize,
        counted: &mut BTreeSet<u64>,
    ) -> Verdict {
        let mut state = self.state();
        let mut hold = false;
        let mut slow = false;
        for rule in &mut state.rules {
            if let Some(counter) = rule.stops(route, direction) {
                hold = true;
                if counted.insert(rule.serial) {
                    rule.count(counter, bytes);
                }
            }
            slow |= rule.slows(route, direction).is_some();
        }
        if hold {
            return Verdict::Hold;
        }
        // What was slow is let go when the link is well again.
        if slow && Instant::now() < due {
            return Verdict::Until(due);
        }
        Verdict::Pass
    }
}

/// Counts a portion as held for as long as it lives.
struct Held<'a> {
    links: &'a Links,
    by: End,
}

impl<'a> Held<'a> {
    fn new(links: &'a Links, by: End) -> Self {
        *links.state().held.entry(by).or_default() += 1;
        Self { links, by }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Some(count) = self.links.state().held.get_mut(&self.by) {
            *count -= 1;
        }
    }
}

/// A connection that stands.
pub struct Standing {
    links: Arc<Links>,
    /// Which.
    pub route: Route,
    reset: Arc<Notify>,
}

impl Standing {
    /// Returns when the connection is to be reset.
    pub async fn reset(&self) {
        self.reset.notified().await;
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        self.links.state().standing.remove(&self.route.id);
    }
}

#[cfg(test)]
#[path = "links_test.rs"]
mod tests;
