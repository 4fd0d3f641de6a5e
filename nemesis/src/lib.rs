//! What can go wrong with a cluster, to whom, when and how, and undoing it for certain.
//!
//! # Layout
//! * [`fault`]: fault kinds, targets by role, shapes of partitions: data only.
//! * [`schedule`]: faults in time, a pure function of a seed.
//! * [`cluster`] and [`roles`]: what the nemesis asks of a runtime and of whoever talks to the
//!   cluster.
//! * [`executor`]: applies a schedule, measures each effect and each healing.
//! * [`journal`]: leases on disk, so that nothing outlives a harness that was killed.
//! * [`agent`]: the static binary inside each node's network namespace.
//!
//! # Invariants
//! * A schedule depends on its seed and spec alone, never on the broker under test.
//! * No fault counts as applied before its effect was measured, nor as healed before its absence
//!   was measured.
//! * What is installed is written down first.
//!
//! Deliberately absent: any knowledge of Kafka's protocol, of the checker, of Docker.

pub mod agent;
pub mod cluster;
mod effect;
pub mod executor;
pub mod fault;
pub mod journal;
pub mod kind;
pub mod node;
pub mod roles;
pub mod schedule;
pub mod shape;

pub use cluster::{Cluster, ClusterError, DiskOrder, NodeState};
pub use executor::{Execution, Executor, NemesisError, Observer, Step, StepKind};
pub use fault::{Action, Fault, FaultKind, Impairment, Platform, Requirement, Shape, Target};
pub use journal::Journal;
pub use node::{Listener, NodeId, Ports};
pub use roles::{Leadership, Roles};
pub use schedule::{Schedule, ScheduleSpec};
