//! Idempotent producers: sequence numbers per producer and partition (KIP-98), and producer ids.

pub mod ids;
pub mod state;
