//! The world: machines by address, the links between them, and the one random generator.
//!
//! Rules stand at the receiving machine, as nftables rules do in the containers: a cut drops what
//! arrives, a delay holds back what goes to or comes from a port.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use tokio::time::Instant;

use super::net::Backlog;

/// Where the harness and its clients are.
pub const OUTSIDE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 254);

/// The time of day at which every world begins, in milliseconds since 1970.
const DAWN_MILLIS: i64 = 1_700_000_000_000;

/// The first port that a connection is made from.
const EPHEMERAL: u16 = 32_768;

thread_local! {
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
}

/// What the links are like when nothing is wrong with them.
#[derive(Clone, Copy, Debug)]
pub struct Links {
    /// One way, drawn for each segment from this range.
    pub latency: (Duration, Duration),
    /// How often a segment gets lost on the way and is sent again, which costs `resend`. Other
    /// connections overtake meanwhile.
    pub loss: f64,
    /// See `loss`.
    pub resend: Duration,
}

impl Default for Links {
    fn default() -> Self {
        Self {
            latency: (Duration::from_micros(50), Duration::from_millis(1)),
            loss: 0.0,
            resend: Duration::from_millis(200),
        }
    }
}

/// Drops what arrives at a machine from some others.
#[derive(Clone, Debug)]
pub struct Cut {
    /// The fault that it belongs to.
    pub tag: String,
    /// Senders.
    pub from: Vec<Ipv4Addr>,
    /// Connections with one of these ports at either end are left alone.
    pub spare: Vec<u16>,
    /// If not empty: only connections with one of these ports are cut.
    pub only: Vec<u16>,
}

/// Holds back the traffic of a machine's ports.
#[derive(Clone, Debug)]
pub struct Delay {
    /// The fault that it belongs to.
    pub tag: String,
    /// Ports of this machine.
    pub ports: Vec<u16>,
    /// With whom; empty: everybody.
    pub peers: Vec<Ipv4Addr>,
    /// What arrives at the ports.
    pub inbound: Duration,
    /// What leaves from them.
    pub outbound: Duration,
}

/// A rule that stands, and how often it was met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleCount {
    /// The fault that it belongs to.
    pub tag: String,
    /// In words.
    pub what: String,
    /// Segments.
    pub packets: u64,
}

struct Rule<R> {
    rule: R,
    packets: u64,
}

pub(super) struct Machine {
    powered: bool,
    next_port: u16,
    pub(super) listeners: BTreeMap<u16, Arc<Backlog>>,
    cuts: Vec<Rule<Cut>>,
    delays: Vec<Rule<Delay>>,
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            powered: true,
            next_port: EPHEMERAL,
            listeners: BTreeMap::new(),
            cuts: Vec::new(),
            delays: Vec::new(),
        }
    }
}

pub(super) struct State {
    rng: ChaCha8Rng,
    links: Links,
    pub(super) machines: BTreeMap<Ipv4Addr, Machine>,
    /// Who waits for a link to change.
    blocked: Vec<Waker>,
    /// When somebody first asked for the time of day.
    dawn: Option<Instant>,
}

/// The world of one simulation. Cheap to clone.
#[derive(Clone)]
pub struct World {
    state: Arc<Mutex<State>>,
}

/// While it lives, the seams of this thread lead into its world.
pub struct Entered(());

impl Drop for Entered {
    fn drop(&mut self) {
        WORLD.set(None);
    }
}

/// The world that this thread simulates, if it simulates one.
#[must_use]
pub fn current() -> Option<World> {
    WORLD.with_borrow(Clone::clone)
}

impl World {
    /// The time of day, in milliseconds since 1970.
    #[must_use]
    pub fn unix_millis(&self) -> i64 {
        let dawn = *self.state().dawn.get_or_insert_with(Instant::now);
        let since = dawn.elapsed().as_millis();
        DAWN_MILLIS.saturating_add(i64::try_from(since).unwrap_or(i64::MAX))
    }

    /// A world without machines; they come into being when they are named.
    #[must_use]
    pub fn new(seed: u64, links: Links) -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                rng: ChaCha8Rng::seed_from_u64(seed),
                links,
                machines: BTreeMap::new(),
                blocked: Vec::new(),
                dawn: None,
            })),
        }
    }

    /// Makes this the world of this thread.
    #[must_use]
    pub fn enter(&self) -> Entered {
        WORLD.set(Some(self.clone()));
        Entered(())
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A draw from the world's generator.
    pub fn draw<T>(&self, draw: impl FnOnce(&mut ChaCha8Rng) -> T) -> T {
        draw(&mut self.state().rng)
    }

    /// Cuts links at `machine`.
    pub fn cut(&self, machine: Ipv4Addr, cut: Cut) {
        let mut state = self.state();
        let cuts = &mut state.machine(machine).cuts;
        cuts.retain(|old| old.rule.tag != cut.tag);
        cuts.push(Rule {
            rule: cut,
            packets: 0,
        });
    }

    /// Delays ports of `machine`.
    pub fn delay(&self, machine: Ipv4Addr, delay: Delay) {
        let mut state = self.state();
        let delays = &mut state.machine(machine).delays;
        delays.retain(|old| old.rule.tag != delay.tag);
        delays.push(Rule {
            rule: delay,
            packets: 0,
        });
    }

    /// Removes the rules of one fault at `machine`, or all of them.
    pub fn heal(&self, machine: Ipv4Addr, tag: Option<&str>) {
        let mut state = self.state();
        let machine = state.machine(machine);
        let stays = |of: &str| tag.is_some_and(|tag| tag != of);
        machine.cuts.retain(|cut| stays(&cut.rule.tag));
        machine.delays.retain(|delay| stays(&delay.rule.tag));
        state.changed();
    }

    /// The rules that stand at `machine`.
    #[must_use]
    pub fn rules(&self, machine: Ipv4Addr) -> Vec<RuleCount> {
        let mut state = self.state();
        let machine = state.machine(machine);
        let cuts = machine.cuts.iter().map(|cut| RuleCount {
            tag: cut.rule.tag.clone(),
            what: format!("drop from {:?}", cut.rule.from),
            packets: cut.packets,
        });
        let delays = machine.delays.iter().map(|delay| RuleCount {
            tag: delay.rule.tag.clone(),
            what: format!("delay ports {:?}", delay.rule.ports),
            packets: delay.packets,
        });
        cuts.chain(delays).collect()
    }

    /// Takes the power away, or gives it back. Without power a machine says nothing, not even
    /// that its processes are gone: call it before the processes are killed.
    pub fn power(&self, machine: Ipv4Addr, on: bool) {
        let mut state = self.state();
        state.machine(machine).powered = on;
        state.changed();
    }
}

impl State {
    pub fn machine(&mut self, machine: Ipv4Addr) -> &mut Machine {
        self.machines.entry(machine).or_default()
    }

    fn changed(&mut self) {
        self.blocked.drain(..).for_each(Waker::wake);
    }

    pub fn powered(&mut self, machine: Ipv4Addr) -> bool {
        self.machine(machine).powered
    }

    /// Wakes `waker` when a link changes.
    pub fn wake_on_change(&mut self, waker: &Waker) {
        if !self.blocked.iter().any(|known| known.will_wake(waker)) {
            self.blocked.push(waker.clone());
        }
    }

    /// Whether a segment sent now would be dropped.
    pub fn is_cut(&mut self, from: SocketAddrV4, to: SocketAddrV4) -> bool {
        let has = |ports: &[u16]| ports.contains(&from.port()) || ports.contains(&to.port());
        let cuts = &mut self.machine(*to.ip()).cuts;
        let met = cuts.iter_mut().find(|cut| {
            let Cut {
                from: senders,
                spare,
                only,
                ..
            } = &cut.rule;
            senders.contains(from.ip()) && !has(spare) && (only.is_empty() || has(only))
        });
        if let Some(cut) = met {
            cut.packets += 1;
            return true;
        }
        false
    }

    /// How long a segment sent now is under way.
    pub fn transit(&mut self, from: SocketAddrV4, to: SocketAddrV4) -> Duration {
        let Links {
            latency: (least, most),
            loss,
            resend,
        } = self.links;
        let mut takes = self.rng.random_range(least..=most);
        if loss > 0.0 && self.rng.random_bool(loss) {
            takes += resend;
        }
        takes += self.held(*to.ip(), to.port(), *from.ip(), |delay| delay.inbound);
        takes += self.held(*from.ip(), from.port(), *to.ip(), |delay| delay.outbound);
        takes
    }

    fn held(
        &mut self,
        machine: Ipv4Addr,
        port: u16,
        peer: Ipv4Addr,
        which: fn(&Delay) -> Duration,
    ) -> Duration {
        let mut held = Duration::ZERO;
        for delay in &mut self.machine(machine).delays {
            let rule = &delay.rule;
            let concerns = rule.peers.is_empty() || rule.peers.contains(&peer);
            if rule.ports.contains(&port) && concerns {
                delay.packets += 1;
                held += which(rule);
            }
        }
        held
    }

    /// After a cut was healed, the sender's next try comes after up to this long.
    pub fn next_try(&mut self) -> Duration {
        let most = self.links.resend * 3;
        self.rng.random_range(Duration::ZERO..=most)
    }

    /// A port to connect from.
    pub fn ephemeral(&mut self, machine: Ipv4Addr) -> u16 {
        let machine = self.machine(machine);
        let port = machine.next_port;
        machine.next_port = port.checked_add(1).unwrap_or(EPHEMERAL);
        port
    }
}
