//! Starts processes in network namespaces, and knows when they ended.
//!
//! All of them are started by one thread that lives as long as the cluster: the kernel ties
//! "die with your parent" to the thread that forked, and a worker of tokio may end early. Each
//! process is waited for by a thread of its own, so that none stays a zombie.

use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, mpsc};
use std::thread;

use nix::sched::{CloneFlags, setns};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use tokio::sync::{oneshot, watch};

/// A process that was started here.
#[derive(Clone, Debug)]
pub struct Process {
    pid: u32,
    /// Its exit code once it ended (128 + n for a signal n; `None` inside if that is unknown).
    ended: watch::Receiver<Option<Option<i32>>>,
}

impl Process {
    /// Its id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// `None` while it exists; then its exit code, if known.
    pub fn ended(&self) -> Option<Option<i32>> {
        *self.ended.borrow()
    }

    /// Returns when it ended.
    pub async fn wait(&self) {
        let mut ended = self.ended.clone();
        // An error means that its waiter is gone, which only happens after it told.
        let _ = ended.wait_for(Option::is_some).await;
    }

    fn watch(mut child: Child) -> Self {
        let (tell, ended) = watch::channel(None);
        let pid = child.id();
        thread::spawn(move || {
            let code = child.wait().ok().and_then(code);
            let _ = tell.send(Some(code));
        });
        Self { pid, ended }
    }
}

fn code(status: ExitStatus) -> Option<i32> {
    status.code().or(status.signal().map(|signal| 128 + signal))
}

struct Job {
    command: Command,
    namespace: Option<Arc<OwnedFd>>,
    answer: oneshot::Sender<io::Result<Child>>,
}

/// The thread that starts processes; it ends when this is dropped, and they with it.
pub struct Spawner {
    jobs: mpsc::Sender<Job>,
}

impl Spawner {
    pub fn start() -> Self {
        let (jobs, queue) = mpsc::channel::<Job>();
        thread::spawn(move || {
            for job in queue {
                let _ = job.answer.send(spawn(job.command, job.namespace));
            }
        });
        Self { jobs }
    }

    async fn child(&self, command: Command, namespace: Option<Arc<OwnedFd>>) -> io::Result<Child> {
        let (answer, answered) = oneshot::channel();
        let job = Job {
            command,
            namespace,
            answer,
        };
        let gone = || io::Error::other("the thread that starts processes is gone");
        self.jobs.send(job).map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }

    /// Starts a process whose output goes where the command says.
    pub async fn silent(
        &self,
        mut command: Command,
        namespace: Option<Arc<OwnedFd>>,
    ) -> io::Result<Process> {
        command.stdin(Stdio::null());
        self.child(command, namespace).await.map(Process::watch)
    }

    /// Starts a process and waits for the first line that it says on standard output (all that
    /// it said, if it ends without one).
    pub async fn talking(
        &self,
        mut command: Command,
        namespace: Option<Arc<OwnedFd>>,
    ) -> io::Result<(Process, String)> {
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = self.child(command, namespace).await?;
        let output = child.stdout.take().expect("it is piped");
        let process = Process::watch(child);
        let (tell, told) = oneshot::channel();
        thread::spawn(move || {
            let _ = tell.send(first_line(output));
        });
        let line = told.await.map_err(io::Error::other)??;
        Ok((process, line))
    }
}

fn first_line(mut output: impl Read) -> io::Result<String> {
    let mut line = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let got = output.read(&mut buffer)?;
        line.extend_from_slice(&buffer[..got]);
        if got == 0 || line.contains(&b'\n') {
            return Ok(String::from_utf8_lossy(&line).trim().to_owned());
        }
    }
}

fn spawn(mut command: Command, namespace: Option<Arc<OwnedFd>>) -> io::Result<Child> {
    // A terminal's Ctrl-C is for the harness, which takes its time; brokers get no signal of it.
    command.process_group(0);
    // SAFETY: between fork and exec only system calls are made: no lock, no allocation.
    unsafe {
        command.pre_exec(move || {
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            if let Some(namespace) = &namespace {
                setns(namespace, CloneFlags::CLONE_NEWNET)?;
            }
            Ok(())
        });
    }
    command.spawn()
}
