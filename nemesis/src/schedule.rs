//! When which fault is due: a pure function of a seed and a [`ScheduleSpec`].
//!
//! Nothing of the broker under test goes in, so a broker with a seeded bug meets the very faults
//! that a correct one met. The same seed and spec give the same bytes on every machine and in
//! every build (the generator is ChaCha8, and all times are whole milliseconds).
//!
//! Faults follow each other with gaps in which the cluster recovers. Each kind asked for comes up
//! in turn, in an order drawn anew for each round; within a kind, so do its variants, and the
//! first of them is the one aimed at a leader, so that a short run has one too.
//!
//! With `overlap` a fault of links or disks holds, and inside it processes and machines fail, often
//! those of the same partition: what needs two things to go wrong at once shows only then.

use std::fmt::Write;

use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::fault::{Action, Fault, FaultKind, Impairment, Shape, TRICKLE_KIB, Target};
use crate::node::{Listener, NodeId};

/// Quiet before the first fault, so that leaders are in office and producers are under way.
const LEAD_IN_MS: std::ops::RangeInclusive<u64> = 1_500..=2_500;
/// Between the end of a fault and the next: measuring that it is gone, and recovery.
const GAP_MS: std::ops::RangeInclusive<u64> = 3_500..=5_000;
/// A fault that leaves leaders in office.
const HOLD_MS: std::ops::RangeInclusive<u64> = 4_000..=7_000;
/// A fault that must bring about an election. The slowest takes the Raft leader too: 1-2 s for an
/// election there, then a broker session of 1.5 s begun anew.
const HOLD_ELECTION_MS: std::ops::RangeInclusive<u64> = 5_500..=7_500;
/// A fault shorter than this proves little: none is begun when less is left.
const HOLD_LEAST_MS: u64 = 2_500;
/// A fault that holds while others come and go inside it.
const HOLD_AROUND_MS: std::ops::RangeInclusive<u64> = 9_000..=12_000;
/// Around less than this there is no room for another.
const HOLD_AROUND_LEAST_MS: u64 = 7_000;
/// From the beginning of a fault to the first inside it, and from the last one to its end.
const MARGIN_MS: std::ops::RangeInclusive<u64> = 1_200..=2_500;
/// A fault inside another, and the time to the next one inside.
const HOLD_INSIDE_MS: std::ops::RangeInclusive<u64> = 1_000..=2_500;
const GAP_INSIDE_MS: std::ops::RangeInclusive<u64> = 800..=2_500;
/// Quiet after the last fault.
const TAIL_MS: u64 = 1_000;
/// Delays of the replication port. The largest is far below `replica.lag.time.max.ms` (5 s), so
/// that followers stay in sync and acknowledgements wait for them.
const DELAYS_MS: [u32; 6] = [20, 50, 100, 200, 400, 800];
/// Of a whole link: every answer takes twice as long, and so do heartbeats.
const LATENCIES_MS: [u32; 4] = [20, 50, 100, 150];
/// Below what the default workload sends.
const RATES_KIB: [u32; 4] = [64, 256, 1_024, 4_096];

/// What a schedule is made for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ScheduleSpec {
    /// Kinds to draw from; each comes up in turn. Empty: no faults (`none`).
    pub kinds: Vec<FaultKind>,
    /// Number of nodes.
    pub nodes: u32,
    /// Number of partitions that targets are drawn from.
    pub partitions: u32,
    /// Length of the main phase in milliseconds; all faults begin and end within it.
    pub main_ms: u64,
    /// Partitions cut the clients off as well.
    #[serde(default)]
    pub clients: bool,
    /// Processes and machines fail while links and disks do.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub overlap: bool,
    /// In each period some of the kinds, together, or none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub random: bool,
}

/// A spec that no schedule can be made for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// No node, or no partition, to aim at.
    #[error("a schedule needs at least one broker and one partition (got {nodes}, {partitions})")]
    Nobody {
        /// Brokers asked for.
        nodes: u32,
        /// Partitions asked for.
        partitions: u32,
    },
    /// A network between brokers needs two of them.
    #[error("--nemesis {kind} needs at least two brokers; with --brokers 1 use kill or pause")]
    TooFewNodes {
        /// The kind that needs more.
        kind: FaultKind,
    },
    /// Overlapping needs two sorts of faults.
    #[error(
        "--overlap needs a fault that holds (of links, or slow-disk) and one to come inside it \
         (kill, pause, or one of the others); --nemesis {kinds} has not both"
    )]
    NothingToOverlap {
        /// The kinds asked for.
        kinds: String,
    },
    /// Not one fault fits.
    #[error(
        "the main phase of {main_ms} ms is too short for a fault: {least_ms} ms are needed; \
         give --time more, or --nemesis none"
    )]
    TooShort {
        /// The length asked for.
        main_ms: u64,
        /// The least that always holds a fault.
        least_ms: u64,
    },
}

/// A list of faults in order of time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// What it was drawn from.
    pub seed: u64,
    /// What it was drawn for.
    pub spec: ScheduleSpec,
    /// The faults, ids counted from 1.
    pub faults: Vec<Fault>,
}

impl Schedule {
    /// Draws the schedule of a seed.
    pub fn generate(seed: u64, spec: &ScheduleSpec) -> Result<Self, SpecError> {
        check(spec)?;
        let mut draw = Draw::new(seed, spec);
        let faults = if spec.random {
            draw.by_period()
        } else if spec.overlap {
            draw.overlapping()
        } else {
            draw.in_turn()
        };
        Ok(Self {
            seed,
            spec: spec.clone(),
            faults,
        })
    }

    /// The schedule as stored in `schedule.json`: the same bytes for the same schedule.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a schedule is plain data");
        text.push('\n');
        text
    }

    /// The schedule for people, as `--dry-run` prints it: the same bytes for the same schedule.
    pub fn to_text(&self) -> String {
        let mut kinds = names(&self.spec.kinds);
        if self.spec.overlap {
            kinds.push_str(" (overlapping)");
        }
        if self.spec.random {
            kinds.push_str(" (random subsets)");
        }
        let mut text = format!(
            "schedule of seed {}: nemesis {kinds}, {} brokers, {} partitions, {} s\n",
            self.seed,
            self.spec.nodes,
            self.spec.partitions,
            seconds(self.spec.main_ms),
        );
        if self.faults.is_empty() {
            text.push_str("no faults\n");
            return text;
        }
        text.push_str("  #      at     for  fault            what\n");
        for fault in &self.faults {
            let line = writeln!(
                text,
                "{:>3} {:>7} {:>7}  {:<16} {}",
                fault.id,
                seconds(fault.at_ms),
                seconds(fault.for_ms),
                fault.action.kind().name(),
                fault.action.describe(),
            );
            line.expect("writing to a string cannot fail");
        }
        text
    }
}

fn names(kinds: &[FaultKind]) -> String {
    if kinds.is_empty() {
        return "none".to_owned();
    }
    let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
    names.join(",")
}

/// Faults that hold, and faults that come inside them.
struct Sorts {
    around: Vec<FaultKind>,
    inside: Vec<FaultKind>,
}

impl Sorts {
    fn of(kinds: &[FaultKind]) -> Self {
        let mut kinds = kinds.to_vec();
        kinds.sort_unstable();
        kinds.dedup();
        let (around, inside) = kinds.into_iter().partition(|kind| kind.holds());
        Self { around, inside }
    }
}

fn seconds(ms: u64) -> String {
    format!("{}.{:03}", ms / 1_000, ms % 1_000)
}

fn check(spec: &ScheduleSpec) -> Result<(), SpecError> {
    let overlaps = Sorts::of(&spec.kinds);
    if spec.overlap && (overlaps.around.is_empty() || overlaps.inside.is_empty()) {
        let kinds = names(&spec.kinds);
        return Err(SpecError::NothingToOverlap { kinds });
    }
    if spec.kinds.is_empty() {
        return Ok(());
    }
    if spec.nodes == 0 || spec.partitions == 0 {
        return Err(SpecError::Nobody {
            nodes: spec.nodes,
            partitions: spec.partitions,
        });
    }
    let networked = |kind: &&FaultKind| kind.is_of_links() || **kind == FaultKind::Chase;
    if let Some(kind) = spec.kinds.iter().find(networked)
        && spec.nodes < 2
    {
        return Err(SpecError::TooFewNodes { kind: *kind });
    }
    let hold_ms = if spec.overlap || spec.random {
        HOLD_AROUND_LEAST_MS
    } else {
        HOLD_LEAST_MS
    };
    let least_ms = LEAD_IN_MS.end() + hold_ms + TAIL_MS;
    if spec.main_ms < least_ms {
        return Err(SpecError::TooShort {
            main_ms: spec.main_ms,
            least_ms,
        });
    }
    Ok(())
}

fn push(faults: &mut Vec<Fault>, at_ms: u64, for_ms: u64, action: Action) {
    let id = faults.len() as u32 + 1;
    faults.push(Fault {
        id,
        at_ms,
        for_ms,
        action,
    });
}

/// Cards to draw from in a random order; a new deck is shuffled when the old one is used up.
struct Deck<T> {
    all: Vec<T>,
    left: Vec<T>,
}

impl<T: Clone> Deck<T> {
    /// The cards of `first` come off first, in their order; then all of them, shuffled.
    fn new(all: Vec<T>, first: Vec<T>) -> Self {
        let left = first.into_iter().rev().collect();
        Self { all, left }
    }

    fn draw(&mut self, rng: &mut ChaCha8Rng) -> Option<T> {
        if self.left.is_empty() {
            self.left = self.all.clone();
            self.left.shuffle(rng);
        }
        self.left.pop()
    }
}

/// Variants of a partition.
#[derive(Clone, Copy)]
enum Cut {
    Leader,
    LeaderSparingController,
    Controller,
    One,
    Halves,
    Ring,
    Bridge,
}

/// Variants of a target.
#[derive(Clone, Copy)]
enum Aim {
    Leader,
    Follower,
    Controller,
    One,
}

struct Draw<'a> {
    rng: ChaCha8Rng,
    spec: &'a ScheduleSpec,
    kinds: Deck<FaultKind>,
    cuts: Deck<Cut>,
    kills: Deck<Aim>,
    pauses: Deck<Aim>,
    delays: Deck<Aim>,
    /// For all other kinds.
    others: Deck<Aim>,
}

impl<'a> Draw<'a> {
    fn new(seed: u64, spec: &'a ScheduleSpec) -> Self {
        let mut kinds = spec.kinds.clone();
        kinds.sort_unstable();
        kinds.dedup();
        let mut cuts = vec![
            Cut::Leader,
            Cut::LeaderSparingController,
            Cut::Controller,
            Cut::One,
            Cut::Halves,
        ];
        // Of two nodes, each is the other's whole circle, and nobody is in the middle.
        if spec.nodes >= 3 {
            cuts.extend([Cut::Ring, Cut::Bridge]);
        }
        let aims = vec![Aim::Leader, Aim::Leader, Aim::Controller, Aim::One];
        let delays = vec![Aim::Leader, Aim::Leader, Aim::Follower, Aim::One];
        Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
            spec,
            kinds: Deck::new(kinds, Vec::new()),
            cuts: Deck::new(cuts, vec![Cut::Leader]),
            kills: Deck::new(aims.clone(), vec![Aim::Leader]),
            pauses: Deck::new(aims, vec![Aim::Leader]),
            delays: Deck::new(delays.clone(), vec![Aim::Leader]),
            others: Deck::new(delays, vec![Aim::Leader]),
        }
    }

    /// Faults that follow each other.
    fn in_turn(&mut self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut at_ms = self.rng.random_range(LEAD_IN_MS);
        while let Some(kind) = self.kind() {
            let action = self.action(kind);
            let length = if action.requires().is_some() {
                HOLD_ELECTION_MS
            } else {
                HOLD_MS
            };
            let left = self.spec.main_ms.saturating_sub(TAIL_MS + at_ms);
            let for_ms = self.rng.random_range(length).min(left);
            if for_ms < HOLD_LEAST_MS {
                break;
            }
            push(&mut faults, at_ms, for_ms, action);
            at_ms += for_ms + self.rng.random_range(GAP_MS);
        }
        faults
    }

    /// Faults that hold, with others inside them.
    fn overlapping(&mut self) -> Vec<Fault> {
        let sorts = Sorts::of(&self.spec.kinds);
        let mut around = Deck::new(sorts.around, Vec::new());
        let mut inside = Deck::new(sorts.inside, Vec::new());
        let mut faults = Vec::new();
        let mut at_ms = self.rng.random_range(LEAD_IN_MS);
        while let Some(kind) = around.draw(&mut self.rng) {
            let action = self.action(kind);
            let left = self.spec.main_ms.saturating_sub(TAIL_MS + at_ms);
            let for_ms = self.rng.random_range(HOLD_AROUND_MS).min(left);
            if for_ms < HOLD_AROUND_LEAST_MS {
                break;
            }
            let whom = action.target().cloned();
            push(&mut faults, at_ms, for_ms, action);
            self.fill(&mut faults, (at_ms, for_ms), &mut inside, whom.as_ref());
            at_ms += for_ms + self.rng.random_range(GAP_MS);
        }
        faults
    }

    /// In half of the cases, an action aimed at the leader of the partition that the fault around
    /// it is aimed at.
    fn near(&mut self, mut action: Action, whom: Option<&Target>) -> Action {
        let near = self.rng.random();
        if let Some(Target::Leader { partition } | Target::Follower { partition }) = whom
            && let Some(target) = action.target_mut()
            && near
        {
            *target = Target::Leader {
                partition: *partition,
            };
        }
        action
    }

    fn kind(&mut self) -> Option<FaultKind> {
        self.kinds.draw(&mut self.rng)
    }

    fn action(&mut self, kind: FaultKind) -> Action {
        const NEVER_EMPTY: &str = "a deck of variants is never empty";
        match kind {
            FaultKind::Partition => {
                let cut = self.cuts.draw(&mut self.rng).expect(NEVER_EMPTY);
                self.partition(cut)
            }
            FaultKind::Kill => {
                let aim = self.kills.draw(&mut self.rng).expect(NEVER_EMPTY);
                let target = self.target(aim);
                Action::Kill { target }
            }
            FaultKind::Pause => {
                let aim = self.pauses.draw(&mut self.rng).expect(NEVER_EMPTY);
                let target = self.target(aim);
                Action::Pause { target }
            }
            FaultKind::DelayWatermark => {
                let aim = self.delays.draw(&mut self.rng).expect(NEVER_EMPTY);
                let target = self.target(aim);
                let (inbound_ms, outbound_ms) = self.delay();
                Action::DelayWatermark {
                    target,
                    inbound_ms,
                    outbound_ms,
                }
            }
            _ => self.simulated(kind),
        }
    }

    /// A fault that is not one of the first four.
    fn simulated(&mut self, kind: FaultKind) -> Action {
        if kind == FaultKind::Blackout {
            let mut nodes = self.order();
            let least = (nodes.len() / 2 + 1).min(nodes.len());
            nodes.truncate(self.rng.random_range(least..=nodes.len()));
            nodes.sort_unstable();
            let torn = self.rng.random();
            return Action::Blackout { nodes, torn };
        }
        let aim = self.others.draw(&mut self.rng).unwrap_or(Aim::One);
        let target = self.target(aim);
        match kind {
            FaultKind::OneWay => Action::Partition {
                shape: Shape::OneWay {
                    target,
                    deaf: self.rng.random(),
                },
                spares: if self.rng.random_ratio(1, 4) {
                    vec![Listener::Controller]
                } else {
                    Vec::new()
                },
                only: Vec::new(),
                clients: false,
            },
            kind if kind >= FaultKind::PortPartition => self.further(kind, target),
            FaultKind::LoseUnsynced => Action::PowerLoss {
                target,
                torn: false,
            },
            FaultKind::TornWrites => Action::PowerLoss { target, torn: true },
            FaultKind::DiskFull => Action::DiskFull { target },
            FaultKind::SyncError => Action::SyncError { target },
            _ => Action::SlowDisk {
                target,
                sync_ms: *DELAYS_MS.choose(&mut self.rng).expect("not empty"),
            },
        }
    }

    /// The kinds that came later.
    fn further(&mut self, kind: FaultKind, target: Target) -> Action {
        let impair = |target, impairment| Action::Impair { target, impairment };
        let listeners = vec![Listener::Client, Listener::Replication];
        match kind {
            FaultKind::PortPartition | FaultKind::ClientPartition => self.one_port(kind, target),
            FaultKind::Latency => {
                let delay_ms = *LATENCIES_MS.choose(&mut self.rng).expect("not empty");
                let jitter_ms = self.rng.random_range(0..=delay_ms);
                let impairment = Impairment::Latency {
                    delay_ms,
                    jitter_ms,
                };
                impair(target, impairment)
            }
            FaultKind::Reorder => {
                let percent = self.rng.random_range(10..=40);
                let delay_ms = self.rng.random_range(20..=80);
                impair(target, Impairment::Reorder { percent, delay_ms })
            }
            FaultKind::Loss => {
                let percent = self.rng.random_range(10..=30);
                impair(target, Impairment::Loss { percent })
            }
            FaultKind::Bandwidth => {
                let kib_per_second = *RATES_KIB.choose(&mut self.rng).expect("not empty");
                impair(target, Impairment::Rate { kib_per_second })
            }
            FaultKind::Trickle => {
                let kib_per_second = self.rng.random_range(2..=TRICKLE_KIB);
                impair(target, Impairment::Rate { kib_per_second })
            }
            FaultKind::Reset => Action::Reset { target, listeners },
            FaultKind::HalfOpen => Action::HalfOpen { target, listeners },
            FaultKind::Stop => Action::Stop { target },
            FaultKind::RollingRestart => {
                let down_ms = self.rng.random_range(200..=1_500);
                let order = self.order();
                Action::RollingRestart { order, down_ms }
            }
            FaultKind::Chase => {
                let target = self.target(Aim::Leader);
                let times = self.rng.random_range(2..=3);
                Action::Chase { target, times }
            }
            other => {
                let cpu = other == FaultKind::Cpu;
                Action::Pressure {
                    target,
                    threads_per_cpu: if cpu { 4 } else { 0 },
                    mib: if cpu { 0 } else { 512 },
                }
            }
        }
    }

    /// A cut of one port, or of the clients.
    fn one_port(&mut self, kind: FaultKind, target: Target) -> Action {
        let of_clients = kind == FaultKind::ClientPartition;
        let shape = match self.rng.random_range(0..4) {
            0 if of_clients => Shape::AllClients,
            _ if of_clients => Shape::Clients { target },
            0 => Shape::OneWay {
                target,
                deaf: self.rng.random(),
            },
            _ => Shape::Isolate { target },
        };
        let ports = [Listener::Replication, Listener::Controller];
        let only = if of_clients {
            Vec::new()
        } else {
            vec![*ports.choose(&mut self.rng).expect("not empty")]
        };
        Action::Partition {
            shape,
            spares: Vec::new(),
            only,
            clients: false,
        }
    }

    /// In each period a random subset of the kinds, none included: of those that hold, at most
    /// one; beside it, or inside it, one after the other, of the others.
    fn by_period(&mut self) -> Vec<Fault> {
        let sorts = Sorts::of(&self.spec.kinds);
        let mut around = Deck::new(sorts.around, Vec::new());
        let nested = |kind: &FaultKind| kind.is_of_one_process() || *kind == FaultKind::Cpu;
        let (nested, alone): (Vec<_>, Vec<_>) = sorts.inside.into_iter().partition(nested);
        let mut nested = Deck::new(nested, Vec::new());
        let mut alone = Deck::new(alone, Vec::new());
        let mut faults = Vec::new();
        let mut at_ms = self.rng.random_range(LEAD_IN_MS);
        let mut first = true;
        loop {
            let left = self.spec.main_ms.saturating_sub(TAIL_MS + at_ms);
            let for_ms = self.rng.random_range(HOLD_AROUND_MS).min(left);
            if for_ms < HOLD_AROUND_LEAST_MS {
                return faults;
            }
            // A run without any fault proves nothing: the first period has one.
            let subset = self.rng.random_range(u32::from(first)..8);
            first = false;
            let outer = match subset {
                0 => None,
                1..=2 => nested.draw(&mut self.rng),
                3 => alone.draw(&mut self.rng),
                _ => around.draw(&mut self.rng),
            };
            let outer = outer.or_else(|| match subset {
                0 => None,
                _ => {
                    let some = around.draw(&mut self.rng);
                    let some = some.or_else(|| nested.draw(&mut self.rng));
                    some.or_else(|| alone.draw(&mut self.rng))
                }
            });
            if let Some(kind) = outer {
                let action = self.action(kind);
                let whom = action.target().cloned();
                push(&mut faults, at_ms, for_ms, action);
                if subset >= 5 && kind.holds() {
                    self.fill(&mut faults, (at_ms, for_ms), &mut nested, whom.as_ref());
                }
            }
            at_ms += for_ms + self.rng.random_range(GAP_MS);
        }
    }

    /// Puts faults inside one that holds for so long from then on.
    fn fill(
        &mut self,
        faults: &mut Vec<Fault>,
        (at_ms, for_ms): (u64, u64),
        inside: &mut Deck<FaultKind>,
        whom: Option<&Target>,
    ) {
        let end_ms = at_ms + for_ms - self.rng.random_range(MARGIN_MS);
        let mut inner_ms = at_ms + self.rng.random_range(MARGIN_MS);
        loop {
            let hold_ms = self.rng.random_range(HOLD_INSIDE_MS);
            if inner_ms + hold_ms > end_ms {
                break;
            }
            let Some(kind) = inside.draw(&mut self.rng) else {
                break;
            };
            let action = self.action(kind);
            let action = self.near(action, whom);
            push(faults, inner_ms, hold_ms, action);
            inner_ms += hold_ms + self.rng.random_range(GAP_INSIDE_MS);
        }
    }

    fn partition(&mut self, cut: Cut) -> Action {
        let shape = match cut {
            Cut::Leader | Cut::LeaderSparingController => Shape::Isolate {
                target: self.target(Aim::Leader),
            },
            Cut::Controller => Shape::Isolate {
                target: Target::Controller,
            },
            Cut::One => Shape::Isolate {
                target: self.target(Aim::One),
            },
            Cut::Halves => {
                let mut side = self.order();
                side.truncate((self.spec.nodes as usize / 2).max(1));
                side.sort_unstable();
                Shape::Halves { side }
            }
            Cut::Ring => Shape::Ring {
                order: self.order(),
            },
            Cut::Bridge => Shape::Bridge {
                order: self.order(),
            },
        };
        let spares_controller = match cut {
            Cut::LeaderSparingController => true,
            Cut::Leader | Cut::Controller => false,
            Cut::One | Cut::Halves | Cut::Ring | Cut::Bridge => self.rng.random_ratio(1, 4),
        };
        let spares = if spares_controller {
            vec![Listener::Controller]
        } else {
            Vec::new()
        };
        Action::Partition {
            shape,
            spares,
            only: Vec::new(),
            clients: self.spec.clients,
        }
    }

    fn target(&mut self, aim: Aim) -> Target {
        let partition = self.rng.random_range(0..self.spec.partitions);
        match aim {
            Aim::Leader => Target::Leader { partition },
            Aim::Follower => Target::Follower { partition },
            Aim::Controller => Target::Controller,
            Aim::One => Target::Node {
                node: NodeId(self.rng.random_range(1..=self.spec.nodes)),
            },
        }
    }

    /// All nodes in a random order.
    fn order(&mut self) -> Vec<NodeId> {
        let mut order: Vec<NodeId> = (1..=self.spec.nodes).map(NodeId).collect();
        order.shuffle(&mut self.rng);
        order
    }

    /// (inbound, outbound), not both zero.
    fn delay(&mut self) -> (u32, u32) {
        let mut some = || *DELAYS_MS.choose(&mut self.rng).expect("not empty");
        let (inbound_ms, outbound_ms) = (some(), some());
        match self.rng.random_range(0..3) {
            0 => (inbound_ms, 0),
            1 => (0, outbound_ms),
            _ => (inbound_ms, outbound_ms),
        }
    }
}

#[cfg(test)]
#[path = "schedule_test.rs"]
mod tests;
