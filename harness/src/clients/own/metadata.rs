//! Who leads, and connections to those who do.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::kafka::{Conn, describe_cluster};

/// For a connection, and for a question about the cluster.
pub const ASK_WITHIN: Duration = Duration::from_millis(1000);

/// A partition's leader as it was last told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leader {
    /// Who.
    pub id: i32,
    /// Since which leader epoch.
    pub epoch: i32,
}

/// What a client knows of the cluster.
pub struct Known {
    bootstrap: Vec<String>,
    topic: String,
    addresses: BTreeMap<i32, String>,
    leaders: BTreeMap<i32, Leader>,
    conns: BTreeMap<i32, Conn>,
    /// Whom to ask next: each in turn.
    turn: usize,
    stale: bool,
}

impl Known {
    /// Nothing but where to ask.
    #[must_use]
    pub fn new(bootstrap: &str, topic: &str) -> Self {
        Self {
            bootstrap: bootstrap.split(',').map(str::to_owned).collect(),
            topic: topic.to_owned(),
            addresses: BTreeMap::new(),
            leaders: BTreeMap::new(),
            conns: BTreeMap::new(),
            turn: 0,
            stale: true,
        }
    }

    /// What is known may be wrong.
    pub fn doubt(&mut self) {
        self.stale = true;
    }

    /// Asks the next broker, if there is reason to. A leader of an older epoch than the one known
    /// is not believed. Returns whether there is nothing to doubt now.
    pub async fn refresh(&mut self) -> bool {
        if !self.stale {
            return true;
        }
        let address = self.bootstrap[self.turn % self.bootstrap.len()].clone();
        self.turn += 1;
        let asked = async {
            let mut conn = Conn::open(&address, ASK_WITHIN).await.ok()?;
            describe_cluster(&mut conn, Some(&self.topic), ASK_WITHIN)
                .await
                .ok()
        };
        let Some(view) = asked.await else {
            return false;
        };
        for broker in view.brokers {
            self.addresses.insert(broker.id, broker.address);
        }
        for (partition, seen) in view.partitions {
            let known = self.leaders.get(&partition).map_or(-1, |known| known.epoch);
            if let Some(id) = seen.leader
                && seen.epoch >= known
            {
                let epoch = seen.epoch;
                self.leaders.insert(partition, Leader { id, epoch });
            }
        }
        self.stale = false;
        true
    }

    /// Who leads `partition`.
    #[must_use]
    pub fn leader(&self, partition: i32) -> Option<Leader> {
        self.leaders.get(&partition).copied()
    }

    /// A connection to broker `id` for one request: one that is open, or where to open one.
    pub fn take(&mut self, id: i32) -> Option<Line> {
        let open = self.conns.remove(&id);
        let address = self.addresses.get(&id)?.clone();
        Some(Line { open, address })
    }

    /// Any broker, for a question that each can answer.
    pub fn take_any(&mut self) -> Option<(i32, Line)> {
        let ids: Vec<i32> = self.addresses.keys().copied().collect();
        let id = *ids.get(self.turn % ids.len().max(1))?;
        self.turn += 1;
        Some((id, self.take(id)?))
    }

    /// Gives a connection back, if it can be used again.
    pub fn give_back(&mut self, id: i32, conn: Option<Conn>) {
        if let Some(conn) = conn.filter(Conn::usable) {
            self.conns.insert(id, conn);
        }
    }
}

/// A connection, or the way to one.
pub struct Line {
    open: Option<Conn>,
    address: String,
}

impl Line {
    /// The connection; `None` where there is none to be had in time.
    pub async fn conn(self) -> Option<Conn> {
        match self.open {
            Some(conn) => Some(conn),
            None => Conn::open(&self.address, ASK_WITHIN).await.ok(),
        }
    }
}
