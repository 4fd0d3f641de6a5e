//! Replication: the pure cores (leader, follower, ISR, watermarks) and the shell around them.
pub mod manager;
