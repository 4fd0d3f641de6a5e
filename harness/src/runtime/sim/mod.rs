//! A cluster in this process: whole brokers on simulated machines (`broker::sim`), each with a
//! disk in memory that can lose, tear and refuse what is written to it.
//!
//! It offers the nemesis what the other runtimes offer, so the same schedules, executed by the
//! same executor with the same measurements, meet the same broker. There is nothing to take down.

mod agent;
mod machine;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use broker::config::BrokerConfig;
use broker::net;
use broker::sim::{World, process};
use broker::storage::Storage as _;
use nemesis::agent::{AgentCommand, AgentReply};
use nemesis::{Cluster, ClusterError, DiskOrder, Listener, NodeId, NodeState, Ports};

use machine::Machine;
pub use machine::{Crash, Ended};

/// ApiVersions, version 0, of a client without a name: what any broker answers at once.
const QUESTION: &str = "\0\0\0\u{a}\0\u{12}\0\0\0\0\0\u{1}\0\0";

/// The brokers of one simulation.
pub struct SimCluster {
    world: World,
    machines: BTreeMap<NodeId, Mutex<Machine>>,
}

/// Where a node is.
#[must_use]
pub fn address_of(node: NodeId) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, u8::try_from(node.0).unwrap_or(u8::MAX))
}

impl SimCluster {
    /// Machines with empty disks, all of them off, one for each of `clock_rates`, which say how
    /// fast its clock runs. `config` is what all brokers have in common.
    #[must_use]
    pub fn new(world: &World, seed: u64, clock_rates: &[f64], config: &BrokerConfig) -> Arc<Self> {
        let nodes = u32::try_from(clock_rates.len()).expect("few nodes");
        let ids = (1..=nodes).map(NodeId);
        let all: Vec<NodeId> = ids.clone().collect();
        let machines = ids.zip(clock_rates).map(|(node, rate)| {
            let machine = Machine::new(world, seed, node, &all, config, *rate);
            (node, Mutex::new(machine))
        });
        Arc::new(Self {
            world: world.clone(),
            machines: machines.collect(),
        })
    }

    fn machine(&self, node: NodeId) -> Result<MutexGuard<'_, Machine>, ClusterError> {
        let machine = self.machines.get(&node);
        let machine = machine.ok_or(ClusterError::NoSuchNode(node))?;
        Ok(machine.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn each(&self) -> impl Iterator<Item = MutexGuard<'_, Machine>> {
        let machines = self.machines.values();
        machines.map(|machine| machine.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Starts every broker that does not run.
    pub fn start_all(&self) {
        self.each().for_each(|mut machine| machine.start());
    }

    /// Ends every broker at once, in this way.
    pub fn end_all(&self, how: Crash) {
        self.each().for_each(|mut machine| machine.crash(how));
    }

    /// Brokers that ended by themselves so far, with why: nobody told them to.
    #[must_use]
    pub fn ended(&self) -> Vec<Ended> {
        self.each().flat_map(|machine| machine.ended()).collect()
    }

    /// The disk of one broker, to be read.
    ///
    /// # Errors
    /// No such node.
    pub fn disk_of(
        &self,
        node: NodeId,
    ) -> Result<broker::storage::memory::MemoryStorage, ClusterError> {
        Ok(self.machine(node)?.disk())
    }
}

#[async_trait]
impl Cluster for SimCluster {
    fn nodes(&self) -> Vec<NodeId> {
        self.machines.keys().copied().collect()
    }

    fn address(&self, node: NodeId) -> Result<Ipv4Addr, ClusterError> {
        let known = self.machines.contains_key(&node);
        let address = known.then(|| address_of(node));
        address.ok_or(ClusterError::NoSuchNode(node))
    }

    fn ports(&self) -> Ports {
        Ports::REFERENCE
    }

    fn question(&self) -> (Listener, String) {
        (Listener::Client, QUESTION.to_owned())
    }

    fn client_addresses(&self) -> Vec<Ipv4Addr> {
        vec![broker::sim::world::OUTSIDE]
    }

    async fn agent(
        &self,
        node: NodeId,
        command: &AgentCommand,
    ) -> Result<AgentReply, ClusterError> {
        let here = self.address(node)?;
        Ok(agent::obey(&self.world, here, command).await)
    }

    async fn reach(
        &self,
        node: NodeId,
        listener: Listener,
        limit: Duration,
    ) -> Result<Option<Duration>, ClusterError> {
        let began = tokio::time::Instant::now();
        let endpoint = agent::endpoint(self.address(node)?, Ports::REFERENCE.of(listener));
        let reached =
            process::on_machine(broker::sim::world::OUTSIDE, net::connect(&endpoint, limit));
        let reached = reached.await.is_ok();
        Ok(reached.then(|| began.elapsed()))
    }

    async fn kill(&self, node: NodeId) -> Result<(), ClusterError> {
        self.machine(node)?.crash(Crash::Kill);
        Ok(())
    }

    async fn stop(&self, node: NodeId, grace: Duration) -> Result<(), ClusterError> {
        let stopping = self.machine(node)?.stop();
        // An error says that it did not end in time: then it is killed.
        let _ = tokio::time::timeout(grace, stopping).await;
        self.machine(node)?.crash(Crash::Kill);
        Ok(())
    }

    async fn start(&self, node: NodeId) -> Result<(), ClusterError> {
        self.machine(node)?.start();
        Ok(())
    }

    async fn pause(&self, node: NodeId) -> Result<(), ClusterError> {
        self.machine(node)?.pause();
        Ok(())
    }

    async fn resume(&self, node: NodeId) -> Result<(), ClusterError> {
        self.machine(node)?.resume();
        Ok(())
    }

    async fn disk(&self, node: NodeId, order: DiskOrder) -> Result<(), ClusterError> {
        self.machine(node)?.disk_order(order);
        Ok(())
    }

    async fn room(&self, node: NodeId) -> Result<u64, ClusterError> {
        let disk = self.machine(node)?.disk();
        let refused = |error: std::io::Error| ClusterError::Refused {
            what: "room".to_owned(),
            node,
            why: error.to_string(),
        };
        disk.free_space("/data".as_ref()).map_err(refused)
    }

    async fn sync_will_fail(&self, node: NodeId) -> Result<bool, ClusterError> {
        Ok(self.machine(node)?.disk().will_fail_datasync())
    }

    async fn state(&self, node: NodeId) -> Result<NodeState, ClusterError> {
        Ok(self.machine(node)?.state())
    }
}
