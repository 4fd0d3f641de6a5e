//! `nemesis-agent enter -- COMMAND`: runs a command as the master of fresh namespaces (user,
//! network, mounts, and processes where possible), with root's powers inside and none outside.
//!
//! Three processes: this one, which waits outside and passes signals on; an init inside, which
//! reaps; the command. When any of them dies, all of them die, and with them every process inside
//! and every namespace: nothing can be left behind. A process namespace does that by itself;
//! where a fresh `/proc` is refused (inside some containers) init kills what is left.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs;
use std::io;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::SignalFd;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, execvp, fork, getegid, geteuid, getppid};

use super::link::Links;

/// Which namespaces are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// A user namespace: needed without root.
    pub user: bool,
    /// A process namespace.
    pub processes: bool,
}

/// In the order in which they are tried.
const PLANS: [Plan; 4] = [
    Plan {
        user: false,
        processes: true,
    },
    Plan {
        user: true,
        processes: true,
    },
    Plan {
        user: false,
        processes: false,
    },
    Plan {
        user: true,
        processes: false,
    },
];

/// What a fork gave: in the child, or in the parent with the child's id.
enum Side {
    Child,
    Parent(Pid),
}

fn split() -> io::Result<Side> {
    // SAFETY: the agent has one thread when it forks (`enter` is its whole work), so no lock can
    // be held by a thread that the child lacks.
    match unsafe { fork() }? {
        ForkResult::Child => Ok(Side::Child),
        ForkResult::Parent { child } => Ok(Side::Parent(child)),
    }
}

/// The first plan that works here, tried in processes that are thrown away; with a process
/// namespace only if `processes` allows it. Call it in a process that has one thread.
pub fn choose(processes: bool) -> io::Result<Plan> {
    let mut refusal = io::Error::other("no plan was tried");
    for plan in PLANS
        .into_iter()
        .filter(|plan| processes || !plan.processes)
    {
        match attempt(plan)? {
            Ok(()) => return Ok(plan),
            Err(error) => refusal = error,
        }
    }
    Err(refusal)
}

/// Outer error: the trial itself failed; inner: the kernel refused the plan.
fn attempt(plan: Plan) -> io::Result<io::Result<()>> {
    let code = match split()? {
        Side::Child => std::process::exit(trial(plan)),
        Side::Parent(child) => exit_code(waitpid(child, None)?),
    };
    Ok(match code {
        Some(0) => Ok(()),
        Some(errno) => Err(io::Error::from_raw_os_error(errno)),
        None => Err(io::Error::other("the trial was killed")),
    })
}

/// The errno of the first refusal, or 0, as an exit code.
fn trial(plan: Plan) -> i32 {
    let code = |error: io::Error| error.raw_os_error().unwrap_or(libc::EIO);
    if let Err(error) = separate(plan) {
        return code(error);
    }
    let inside = || -> io::Result<()> {
        settle(plan)?;
        Links::open()?.add_bridge("trial")
    };
    match split() {
        Ok(Side::Child) => std::process::exit(inside().err().map_or(0, code)),
        Ok(Side::Parent(child)) => match waitpid(child, None) {
            Ok(status) => exit_code(status).unwrap_or(libc::EIO),
            Err(errno) => errno as i32,
        },
        Err(error) => code(error),
    }
}

/// Leaves the old namespaces. The process namespace takes effect for children.
fn separate(plan: Plan) -> io::Result<()> {
    let (user, group) = (geteuid(), getegid());
    if plan.user {
        // Apart from the rest: where a security module grants a user namespace without powers
        // in it, the next call is the one that fails.
        unshare(CloneFlags::CLONE_NEWUSER)?;
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("0 {user} 1"))?;
        fs::write("/proc/self/gid_map", format!("0 {group} 1"))?;
    }
    let mut flags = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS;
    flags.set(CloneFlags::CLONE_NEWPID, plan.processes);
    unshare(flags)?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>)?;
    Ok(())
}

/// Makes the new namespaces usable, from inside.
fn settle(plan: Plan) -> io::Result<()> {
    if plan.processes {
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        mount(Some("proc"), "/proc", Some("proc"), flags, None::<&str>)?;
    }
    Links::open()?.up("lo")
}

/// Runs the command inside; ends this process with its exit code.
pub fn run(command: &[String], processes: bool) -> io::Result<Infallible> {
    let plan = choose(processes)?;
    let signals = signals();
    signals.thread_block()?;
    separate(plan)?;
    let parent = std::process::id();
    match split()? {
        Side::Child => {
            die_with(parent, plan)?;
            settle(plan)?;
            let code = init(command, &signals, plan)?;
            std::process::exit(code)
        }
        Side::Parent(child) => {
            let code = attend(child, &signals, false)?;
            std::process::exit(code)
        }
    }
}

fn die_with(parent: u32, plan: Plan) -> io::Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    // It may have died before that. Inside a process namespace its id is 0.
    let expected = if plan.processes { 0 } else { parent as i32 };
    if getppid().as_raw() == expected {
        Ok(())
    } else {
        Err(io::Error::other("the parent died"))
    }
}

fn init(command: &[String], signals: &SigSet, plan: Plan) -> io::Result<i32> {
    if !plan.processes {
        prctl::set_child_subreaper(true)?;
    }
    let child = match split()? {
        Side::Child => {
            let error = start(command, signals);
            eprintln!("cannot run {:?}: {error}", command.first());
            std::process::exit(127)
        }
        Side::Parent(child) => child,
    };
    let code = attend(child, signals, true)?;
    if !plan.processes {
        kill_all_children();
    }
    Ok(code)
}

fn start(command: &[String], signals: &SigSet) -> io::Error {
    let prepare = || -> io::Result<Vec<CString>> {
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        signals.thread_unblock()?;
        let text = |word: &String| CString::new(word.as_str());
        Ok(command.iter().map(text).collect::<Result<_, _>>()?)
    };
    match prepare() {
        Ok(words) if words.is_empty() => io::Error::other("no command"),
        Ok(words) => match execvp(&words[0], &words) {
            Ok(never) => match never {},
            Err(errno) => errno.into(),
        },
        Err(error) => error,
    }
}

fn signals() -> SigSet {
    let mut set = SigSet::empty();
    for signal in [
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGQUIT,
        Signal::SIGUSR1,
        Signal::SIGCHLD,
    ] {
        set.add(signal);
    }
    set
}

/// Waits for the child, reaping others if `reap`, and passes on signals that were sent to this
/// process alone. What a terminal sends, every process of the group gets by itself.
fn attend(child: Pid, signals: &SigSet, reap: bool) -> io::Result<i32> {
    let source = SignalFd::new(signals)?;
    loop {
        let whom = if reap { Pid::from_raw(-1) } else { child };
        loop {
            match waitpid(whom, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) => break,
                Ok(status) if status.pid() == Some(child) => {
                    if let Some(code) = exit_code(status) {
                        return Ok(code);
                    }
                }
                Ok(_) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let Some(info) = source.read_signal()? else {
            continue;
        };
        let signal = Signal::try_from(info.ssi_signo as i32)?;
        if signal != Signal::SIGCHLD && info.ssi_code != libc::SI_KERNEL {
            // It may have ended this very moment.
            let _ = kill(child, signal);
        }
    }
}

/// `None` while it has not ended; 128 + n for a signal n.
fn exit_code(status: WaitStatus) -> Option<i32> {
    match status {
        WaitStatus::Exited(_, code) => Some(code),
        WaitStatus::Signaled(_, signal, _) => Some(128 + signal as i32),
        _ => None,
    }
}

/// Kills this process's children, and their children as they fall to it, until there are none.
fn kill_all_children() {
    let me = std::process::id();
    while let Ok(status) = waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
        if status != WaitStatus::StillAlive {
            continue;
        }
        for child in children_of(me) {
            let _ = kill(child, Signal::SIGKILL);
        }
        let _ = waitpid(Pid::from_raw(-1), None);
    }
}

fn children_of(parent: u32) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let child = |entry: io::Result<fs::DirEntry>| {
        let name = entry.ok()?.file_name();
        let pid: i32 = name.to_str()?.parse().ok()?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name may hold spaces and brackets; the fields begin after the last bracket.
        let (_, fields) = stat.rsplit_once(") ")?;
        let ppid: u32 = fields.split(' ').nth(1)?.parse().ok()?;
        (ppid == parent).then_some(Pid::from_raw(pid))
    };
    entries.filter_map(child).collect()
}
