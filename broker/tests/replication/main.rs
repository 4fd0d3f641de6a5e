//! Replication between real brokers in one process: real logs, real sockets between followers and
//! leaders, the real metadata state machine; only the controller is scripted, so that a test says
//! who is fenced, who leads, and whose link is cut.

mod client;
mod cluster;
mod failover;
mod flow;
mod protocol;
mod reading;
