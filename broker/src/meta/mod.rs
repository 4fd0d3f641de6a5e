//! Cluster metadata: one Raft group, one state machine, one immutable image.
//!
//! Three rules (design: metadata through Raft as an actor):
//! * a command is validated when it is *applied*, in log order, never before it is proposed;
//! * brokers act only on applied images, in order ([`image::MetadataImage::index`] grows);
//! * heartbeat timing lives on the active controller and is not replicated.
//!
//! The pure half (`command`, `state`, `controller`, `image`) knows no IO, clock or tokio.

pub mod codec;
pub mod command;
pub mod controller;
pub mod handle;
pub mod image;
pub mod node;
pub mod placement;
pub mod raft_machine;
pub mod raft_store;
pub mod raft_types;
pub mod state;
pub mod store_writer;

pub use node::{MetaError, MetaMetrics, MetaNode, start};
