//! The place of one node's broker where brokers are plain processes: what signals do to it, and
//! what became of it.

use std::fs;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nemesis::{ClusterError, NodeId, NodeState};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep, timeout};

use super::spawn::Process;

/// A process that was sent SIGKILL is gone within this, unless the disk hangs.
const DEATH_LIMIT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(2);

/// The broker of one node: none yet, one that runs, or one that ended.
#[derive(Debug)]
pub struct Slot {
    node: NodeId,
    process: Mutex<Option<Process>>,
}

impl Slot {
    /// An empty one.
    pub fn new(node: NodeId) -> Self {
        let process = Mutex::new(None);
        Self { node, process }
    }

    /// The broker, if it was ever started; ended ones stay until the next start.
    pub fn process(&self) -> Option<Process> {
        let process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        process.clone()
    }

    /// A new process has the place from now on.
    pub fn put(&self, process: Process) {
        let mut place = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        *place = Some(process);
    }

    /// Whether there is a process, whatever it does.
    pub fn is_taken(&self) -> bool {
        self.process().is_some_and(|it| it.ended().is_none())
    }

    /// SIGKILL, and waits for the end.
    pub async fn kill(&self) -> Result<(), ClusterError> {
        if self.end(Signal::SIGKILL, DEATH_LIMIT).await? {
            return Ok(());
        }
        Err(ClusterError::TimedOut {
            what: "kill -9 of the broker".to_owned(),
            node: self.node,
            limit: DEATH_LIMIT,
        })
    }

    /// SIGTERM, and waits for the end up to `grace`; then as [`Slot::kill`].
    pub async fn stop(&self, grace: Duration) -> Result<(), ClusterError> {
        if self.end(Signal::SIGTERM, grace).await? {
            return Ok(());
        }
        self.kill().await
    }

    async fn end(&self, signal: Signal, limit: Duration) -> Result<bool, ClusterError> {
        let Some(broker) = self.process() else {
            return Ok(true);
        };
        let sent = send(&broker, signal);
        sent.map_err(|error| refused(&format!("{signal} to the broker"), self.node, &error))?;
        Ok(timeout(limit, broker.wait()).await.is_ok())
    }

    /// SIGSTOP, and waits until it stands still.
    pub async fn pause(&self) -> Result<(), ClusterError> {
        let failed = |error: io::Error| refused("SIGSTOP to the broker", self.node, &error);
        let Some(broker) = self.process() else {
            return Err(failed(io::Error::other("it was never started")));
        };
        send(&broker, Signal::SIGSTOP).map_err(failed)?;
        // A process stops when each of its threads comes by.
        let deadline = Instant::now() + DEATH_LIMIT;
        while self.state() == NodeState::Running && Instant::now() < deadline {
            sleep(POLL).await;
        }
        Ok(())
    }

    /// SIGCONT.
    pub fn resume(&self) -> Result<(), ClusterError> {
        let Some(broker) = self.process() else {
            return Ok(());
        };
        let sent = send(&broker, Signal::SIGCONT);
        sent.map_err(|error| refused("SIGCONT to the broker", self.node, &error))
    }

    /// What became of it, as the kernel says now.
    pub fn state(&self) -> NodeState {
        let Some(broker) = self.process() else {
            return NodeState::Stopped { code: None };
        };
        if let Some(code) = broker.ended() {
            return NodeState::Stopped { code };
        }
        match state_letter(broker.pid()) {
            Some('T' | 't') => NodeState::Paused,
            Some('Z' | 'X') | None => NodeState::Stopped { code: None },
            Some(_) => NodeState::Running,
        }
    }
}

/// A signal to a process; to one that ended it is nothing.
pub fn send(process: &Process, signal: Signal) -> io::Result<()> {
    if process.ended().is_none() {
        kill(Pid::from_raw(process.pid() as i32), signal)?;
    }
    Ok(())
}

/// For errors of one node.
pub fn refused(what: &str, node: NodeId, why: &dyn std::fmt::Display) -> ClusterError {
    ClusterError::Refused {
        what: what.to_owned(),
        node,
        why: why.to_string(),
    }
}

/// The state that the kernel gives a process: `R`, `S`, `T`, ...
fn state_letter(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold spaces and brackets; the state comes after the last bracket.
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.chars().next()
}
