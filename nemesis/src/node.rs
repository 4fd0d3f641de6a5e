//! How the nemesis names the machines of a cluster and the doors into them.
//!
//! A node is a number from 1; which broker, container or process that is, a runtime knows.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One node of the cluster, counted from 1. Equal to the broker's id in our own clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub u32);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

/// A listener of a broker. The reference broker has all four; a broker that has one port for
/// everything offers only [`Listener::Client`], and faults that need another are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Listener {
    /// Kafka's protocol for clients.
    Client,
    /// Followers' fetches: where the high watermark travels.
    Replication,
    /// Raft and the controller.
    Controller,
    /// Health and metrics.
    Admin,
}

impl Listener {
    /// The name in schedules, histories and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Replication => "replication",
            Self::Controller => "controller",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The port of each listener inside a node; the same on every node of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    /// See [`Listener::Client`].
    pub client: u16,
    /// See [`Listener::Replication`].
    pub replication: u16,
    /// See [`Listener::Controller`].
    pub controller: u16,
    /// See [`Listener::Admin`].
    pub admin: u16,
}

impl Ports {
    /// The ports inside a pod of the reference broker.
    pub const REFERENCE: Self = Self {
        client: 9092,
        replication: 9093,
        controller: 9094,
        admin: 9095,
    };

    /// The port of one listener.
    pub fn of(&self, listener: Listener) -> u16 {
        match listener {
            Listener::Client => self.client,
            Listener::Replication => self.replication,
            Listener::Controller => self.controller,
            Listener::Admin => self.admin,
        }
    }
}
