//! Simulated machines: processes, a network between them, and nothing else of an operating system.
//!
//! Everything runs on one thread under tokio's paused clock, which jumps to the next timer when
//! nobody has anything to do: a second in which nothing happens costs nothing. All randomness is
//! one seeded generator, drawn from in an order that the seed decides, so a run repeats itself
//! exactly. The seams lead here: `exec` starts tasks as part of the process that asks for them,
//! `net` makes connections between machines; files are `storage::memory`.
//!
//! Why not turmoil: its network knows pairs of hosts, and our faults name ports (a cut that spares
//! the controller's, a delay of the replication port); it has no retransmission, so a cut that is
//! healed leaves connections dead that TCP would revive, with the old messages still in them,
//! which is the danger that epochs are there for; it cannot stop a process (SIGSTOP); its crash
//! runs destructors before the disk forgets; and it pays for each millisecond that passes.
//!
//! Only with the feature `simulation`; a release build of the broker has none of it.

pub mod net;
pub mod process;
pub mod world;

pub use process::{Fate, Process};
pub use world::{Cut, Delay, Links, RuleCount, World};
