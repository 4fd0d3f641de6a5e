//! Replication: the pure cores and the shell around them.
//!
//! Pure, with neither IO nor clock nor tokio: [`core`] (the whole replica), [`leader`] (R1 to R9),
//! [`follower`] (R10 to R12), [`isr`], [`progress`], [`watermark`], [`log_facts`], [`cluster`].
//! They are what the model checks and what the broker runs.

mod actor;
pub mod alarm;
pub mod cluster;
pub mod core;
mod fetcher;
pub mod follower;
pub mod isr;
pub mod leader;
pub mod log_facts;
pub mod manager;
pub mod partition;
pub mod progress;
pub mod publication;
mod publish;
mod scrub;
mod sequences;
mod sync;
pub mod view;
pub mod waiters;
pub mod watermark;

#[cfg(test)]
mod test_support;
