//! Cluster metadata: one Raft group, one state machine, one immutable image.
//!
//! Three rules (design: metadata through Raft as an actor):
//! * a command is validated when it is *applied*, in log order, never before it is proposed;
//! * brokers act only on applied images, in order ([`image::MetadataImage::index`] grows);
//! * heartbeat timing lives on the active controller and is not replicated.
//!
//! The pure half (`command`, `state`, `controller`, `placement`, `sessions`, `image`) knows no IO,
//! clock or tokio. Around it: `node` (start, watch, stop) and `actor` (the tasks); `raft*` is all
//! that knows openraft (`raft_store` and `store_writer` on redb, `raft_machine`, `raft_net`),
//! `rpc` and `rpc_server` the controller port; `election`, `bootstrap` in `actor`, `proposals`,
//! `fencing` (the controller's side) and `lifecycle` (the broker's side) are one task each.

mod actor;
pub mod codec;
pub mod command;
pub mod controller;
mod election;
mod fencing;
pub mod handle;
pub mod image;
mod lifecycle;
pub mod node;
pub mod placement;
mod proposals;
mod raft;
mod raft_machine;
mod raft_net;
mod raft_store;
mod raft_types;
mod rpc;
mod rpc_server;
mod sessions;
pub mod state;
mod store_writer;
pub mod told;
pub mod youth;

pub use node::{MetaError, MetaMetrics, MetaNode, MetaOptions, start, start_here, start_with};
