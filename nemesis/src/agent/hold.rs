//! `nemesis-agent hold`: the process that owns a node's network namespace.
//!
//! It is pid 1 of the holder container (so it reaps), runs the delayer, and answers the other
//! commands over a socket in the abstract name space, which belongs to the network namespace:
//! whoever is in the pod finds it, nobody else does. One thread, one `poll`, no locks.

use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::delayer::{Delayer, Direction};
use super::press::Pressed;
use super::{LineStatus, Manner};

const NAME: &[u8] = b"nemesis-agent.hold";
const REQUEST_BYTES_MAX: u64 = 4_096;
/// The other end is on this machine and writes its line at once.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the other commands ask of the holder.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Open the lines of a fault.
    Open {
        /// Which fault.
        tag: String,
        /// Milliseconds; 0: no line.
        inbound_ms: u32,
        /// Milliseconds; 0: no line.
        outbound_ms: u32,
    },
    /// Open both lines of a fault.
    Impair {
        /// Which fault.
        tag: String,
        /// What they do to packets.
        manner: Manner,
    },
    /// Take processors and memory.
    Press {
        /// Which fault.
        tag: String,
        /// Busy threads for each processor.
        threads_per_cpu: u32,
        /// MiB.
        mib: u32,
    },
    /// Let everything go at once from now on, and give back what was taken.
    Release {
        /// Which fault; none: all.
        tag: Option<String>,
    },
    /// Close lines whose rules are gone.
    Close {
        /// Which fault; none: all.
        tag: Option<String>,
    },
    /// How much is held.
    Count,
}

/// The holder's answer.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Response {
    /// Why it was not done.
    pub error: Option<String>,
    /// The queue of the inbound line.
    pub inbound: Option<u16>,
    /// The queue of the outbound line.
    pub outbound: Option<u16>,
    /// Packets held.
    pub held: u64,
    /// What has become of the packets of each line.
    pub lines: Vec<LineStatus>,
    /// Busy threads.
    pub threads: u64,
    /// MiB taken.
    pub mib: u64,
}

/// What the holder holds.
#[derive(Default)]
struct Held {
    delayer: Delayer,
    pressed: Vec<Pressed>,
}

/// Runs until SIGTERM or SIGINT. `on_ready` is called when the holder can be reached.
pub fn run(on_ready: impl FnOnce()) -> io::Result<()> {
    let address = SocketAddr::from_abstract_name(NAME)?;
    let listener = UnixListener::bind_addr(&address)?;
    let mut wanted = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGCHLD] {
        wanted.add(signal);
    }
    wanted.thread_block()?;
    let signals = SignalFd::with_flags(&wanted, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
    let mut held = Held::default();
    on_ready();
    loop {
        let next = held.delayer.turn(Instant::now())?;
        let (signalled, asked) = wait(&signals, &listener, &held.delayer, next)?;
        if signalled && !still_wanted(&signals)? {
            return Ok(());
        }
        if asked {
            // A client that breaks off harms only itself.
            let _ = listener
                .accept()
                .and_then(|(stream, _)| serve(&stream, &mut held));
        }
    }
}

/// Sleeps until something is to be done: (a signal came, somebody asks).
fn wait(
    signals: &SignalFd,
    listener: &UnixListener,
    delayer: &Delayer,
    next: Option<Instant>,
) -> io::Result<(bool, bool)> {
    let timeout = match next {
        None => PollTimeout::NONE,
        Some(due) => {
            // Rounded up: waking a moment early would spin.
            let left = due.saturating_duration_since(Instant::now());
            let millis = left.as_micros().div_ceil(1_000).min(60_000) as u16;
            PollTimeout::from(millis)
        }
    };
    let mut fds = vec![
        PollFd::new(signals.as_fd(), PollFlags::POLLIN),
        PollFd::new(listener.as_fd(), PollFlags::POLLIN),
    ];
    fds.extend(delayer.fds().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
    match poll(&mut fds, timeout) {
        Ok(_) => {}
        Err(Errno::EINTR) => return Ok((false, false)),
        Err(error) => return Err(error.into()),
    }
    let ready = |at: usize| fds[at].any().unwrap_or(false);
    Ok((ready(0), ready(1)))
}

/// Reaps; false once somebody asked the holder to end.
fn still_wanted(signals: &SignalFd) -> io::Result<bool> {
    while let Some(info) = signals.read_signal()? {
        if info.ssi_signo != Signal::SIGCHLD as u32 {
            return Ok(false);
        }
    }
    while let Ok(status) = waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
        if status == WaitStatus::StillAlive {
            break;
        }
    }
    Ok(true)
}

fn serve(stream: &UnixStream, held: &mut Held) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    let limited = io::Read::take(stream, REQUEST_BYTES_MAX);
    BufReader::new(limited).read_line(&mut line)?;
    let mut response = match serde_json::from_str(&line) {
        Ok(request) => obey(request, held).unwrap_or_else(|error| Response {
            error: Some(error.to_string()),
            ..Response::default()
        }),
        Err(error) => Response {
            error: Some(format!("not a request: {error}")),
            ..Response::default()
        },
    };
    response.held = held.delayer.held();
    response.lines = held.delayer.lines();
    for (threads, mib) in held.pressed.iter().map(Pressed::taken) {
        response.threads += threads;
        response.mib += mib;
    }
    let mut answer = serde_json::to_vec(&response)?;
    answer.push(b'\n');
    (&*stream).write_all(&answer)
}

fn obey(request: Request, held: &mut Held) -> io::Result<Response> {
    let delayer = &mut held.delayer;
    let mut response = Response::default();
    match request {
        Request::Open {
            tag,
            inbound_ms,
            outbound_ms,
        } => {
            let mut open = |direction, ms: u32| {
                let manner = Manner {
                    delay_ms: ms,
                    ..Manner::default()
                };
                let wanted = ms > 0;
                wanted
                    .then(|| delayer.open(&tag, direction, manner))
                    .transpose()
            };
            response.inbound = open(Direction::Inbound, inbound_ms)?;
            response.outbound = open(Direction::Outbound, outbound_ms)?;
        }
        Request::Impair { tag, manner } => {
            response.inbound = Some(delayer.open(&tag, Direction::Inbound, manner)?);
            response.outbound = Some(delayer.open(&tag, Direction::Outbound, manner)?);
        }
        Request::Press {
            tag,
            threads_per_cpu,
            mib,
        } => {
            held.pressed.retain(|pressed| pressed.tag != tag);
            let pressed = Pressed::begin(&tag, threads_per_cpu, mib)?;
            held.pressed.push(pressed);
        }
        Request::Release { tag } => {
            let other = |pressed: &Pressed| tag.as_ref().is_some_and(|tag| *tag != pressed.tag);
            held.pressed.retain(other);
            delayer.release(tag.as_deref())?;
        }
        Request::Close { tag } => delayer.close(tag.as_deref())?,
        Request::Count => {}
    }
    Ok(response)
}

/// Asks the holder of this network namespace. `ConnectionRefused`: there is none.
pub fn ask(request: &Request) -> io::Result<Response> {
    let stream = UnixStream::connect_addr(&SocketAddr::from_abstract_name(NAME)?)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    (&stream).write_all(&line)?;
    let mut answer = String::new();
    BufReader::new(&stream).read_line(&mut answer)?;
    let response: Response = serde_json::from_str(&answer)?;
    match response.error {
        Some(error) => Err(io::Error::other(error)),
        None => Ok(response),
    }
}
