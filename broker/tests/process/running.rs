//! A broker process of a cluster of one, on ports that are free.

use std::ffi::{CStr, CString};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::raw::Raw;
use crate::requests::create_topic;

const PATIENCE: Duration = Duration::from_secs(60);

/// A process with its log; killed when dropped.
pub struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
    seen: Vec<String>,
    pub client: SocketAddr,
    pub admin: SocketAddr,
}

/// The binary with `arguments`, its log at level info.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_broker"));
    let inherited = std::env::vars_os().map(|(name, _)| name);
    for name in inherited.filter(|name| name.to_string_lossy().starts_with("BROKER_")) {
        command.env_remove(name);
    }
    command.env_remove("RUST_LOG").args(arguments);
    command
}

/// Arguments for a broker in `dir`, on `ports` for clients and for the admin listener.
fn arguments(dir: &Path, client: SocketAddr, admin: SocketAddr) -> Vec<String> {
    let any = "127.0.0.1:0".to_owned();
    let settings = [
        ("--data-dir", dir.display().to_string()),
        ("--client-listen", client.to_string()),
        ("--admin-listen", admin.to_string()),
        ("--replication-listen", any.clone()),
        ("--controller-listen", any),
    ];
    settings
        .into_iter()
        .flat_map(|(name, value)| [name.to_owned(), value])
        .collect()
}

impl Running {
    /// Starts on free ports and waits until it listens.
    pub fn start(dir: &Path, more: &[&str]) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Self::start_at(dir, any, any, more)
    }

    /// Starts on free ports as a process that may have no more than `files` open files.
    pub fn start_with_open_files(dir: &Path, files: u64, more: &[&str]) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Self::launch(dir, (any, any), more, |command| {
            let limit = libc::rlimit {
                rlim_cur: files,
                rlim_max: files,
            };
            // SAFETY: the call gets a pointer to a structure that lives longer than it runs.
            let set =
                move || match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } {
                    0 => Ok(()),
                    _ => Err(std::io::Error::last_os_error()),
                };
            // SAFETY: between fork and exec there is one system call and no allocation.
            unsafe { command.pre_exec(set) };
        })
    }

    /// Starts on a disk of its own: a tmpfs of `bytes` at `dir`, which only this process and
    /// [`Self::disk`] see. It is gone with the process.
    pub fn start_on_small_disk(dir: &Path, bytes: u64, more: &[&str]) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let at = CString::new(dir.as_os_str().as_bytes()).expect("a path");
        let size = CString::new(format!("size={bytes}")).expect("a number");
        // SAFETY: a question.
        let (user, group) = unsafe { (libc::geteuid(), libc::getegid()) };
        let maps = [
            (c"/proc/self/setgroups", "deny".to_owned()),
            (c"/proc/self/uid_map", format!("0 {user} 1")),
            (c"/proc/self/gid_map", format!("0 {group} 1")),
        ];
        Self::launch(dir, (any, any), more, |command| {
            let mount = move || match user {
                0 => own_disk(libc::CLONE_NEWNS, &[], &at, &size),
                _ => own_disk(libc::CLONE_NEWNS | libc::CLONE_NEWUSER, &maps, &at, &size),
            };
            // SAFETY: between fork and exec there are system calls and no allocations.
            unsafe { command.pre_exec(mount) };
        })
    }

    /// A directory as the process sees it.
    pub fn disk(&self, dir: &Path) -> PathBuf {
        let inside = dir.strip_prefix("/").expect("an absolute path");
        PathBuf::from(format!("/proc/{}/root", self.child.id())).join(inside)
    }

    /// Starts on these ports.
    pub fn start_at(dir: &Path, client: SocketAddr, admin: SocketAddr, more: &[&str]) -> Self {
        Self::launch(dir, (client, admin), more, |_| {})
    }

    fn launch(
        dir: &Path,
        (client, admin): (SocketAddr, SocketAddr),
        more: &[&str],
        prepare: impl FnOnce(&mut Command),
    ) -> Self {
        let arguments = arguments(dir, client, admin);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut command = command(&[&arguments[..], more].concat());
        prepare(&mut command);
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it can be started");
        let stderr = child.stderr.take().expect("piped");
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut running = Self {
            child,
            lines,
            seen: Vec::new(),
            client,
            admin,
        };
        let line = running.wait_for_line("listening");
        running.client = field(&line, "client=");
        running.admin = field(&line, "admin=");
        running
    }

    /// The next line of its log that contains `text`.
    pub fn wait_for_line(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("no line with {text:?} in:\n{}", self.seen.join("\n"));
            };
            self.seen.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
    }

    /// A topic of one partition, ready to be used.
    pub fn topic(&self, name: &str) {
        let answer = self.connect().ask(&create_topic(name));
        let error = &answer[4 + 4 + 4 + 2 + name.len()..][..2];
        assert_eq!(error, [0, 0]);
        self.wait_until_led(name);
    }

    /// Waits until a fetch of the topic is answered without an error.
    pub fn wait_until_led(&self, topic: &str) {
        wait_until("the topic is led", || {
            let answer = self.connect().ask(&crate::requests::fetch(topic));
            let at = 4 + 4 + 4 + 2 + topic.len() + 4 + 4;
            answer[at..at + 2] == [0, 0]
        });
    }

    pub fn connect(&self) -> Raw {
        Raw::connect(self.client)
    }

    /// Status line and body of an answer of the admin listener.
    pub fn get(&self, path: &str) -> (String, String) {
        let mut stream = TcpStream::connect(self.admin).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let request = format!("GET {path} HTTP/1.1\r\nhost: broker\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("it is read");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        let status = head.lines().next().expect("a status").to_owned();
        (status, body.to_owned())
    }

    /// The value of one metric.
    pub fn metric(&self, series: &str) -> f64 {
        let (_, body) = self.get("/metrics");
        let line = body.lines().find_map(|line| line.strip_prefix(series));
        let value = line.unwrap_or_else(|| panic!("no {series} in {body}"));
        value.trim().parse().expect("a number")
    }

    /// From /proc, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kib.and_then(|kib| kib.parse::<u64>().ok()).expect("a size") * 1024
    }

    /// CPU time used so far, from /proc, in hundredths of a second.
    pub fn cpu_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
        let stat = stat.expect("it runs");
        let after_name = stat.rsplit(')').next().expect("a name in parentheses");
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        let ticks = |at: usize| fields[at].parse::<u64>().expect("a number");
        ticks(11) + ticks(12)
    }

    /// Asks it to stop.
    pub fn terminate(&self) {
        let pid = libc::pid_t::try_from(self.child.id()).expect("a process id");
        // SAFETY: a signal to a child that has not been waited for.
        assert_eq!(unsafe { libc::kill(pid, libc::SIGTERM) }, 0);
    }

    pub fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// Its log so far.
    pub fn log(&mut self) -> &[String] {
        self.seen.extend(self.lines.try_iter());
        &self.seen
    }

    pub fn try_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it can be waited for")
    }

    /// Waits for its end.
    pub fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the process ends", || {
            status = self.try_ended();
            status.is_some()
        });
        status.expect("it ended")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // An error says that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            self.seen.extend(self.lines.try_iter());
            eprintln!("log of the broker:\n{}", self.seen.join("\n"));
        }
    }
}

fn field(line: &str, name: &str) -> SocketAddr {
    let rest = line.split(name).nth(1).expect("the field is there");
    let value = rest.split_whitespace().next().expect("a value");
    value.parse().expect("an address")
}

/// In a new process: its own mounts, and a tmpfs among them.
fn own_disk(
    namespaces: libc::c_int,
    maps: &[(&CStr, String)],
    at: &CStr,
    size: &CStr,
) -> std::io::Result<()> {
    let checked = |returned: libc::c_int| match returned {
        0.. => Ok(returned),
        _ => Err(std::io::Error::last_os_error()),
    };
    // SAFETY: all pointers are to strings that end with a zero and live longer than the calls.
    unsafe {
        checked(libc::unshare(namespaces))?;
        for (path, text) in maps {
            let file = checked(libc::open(path.as_ptr(), libc::O_WRONLY))?;
            let written = libc::write(file, text.as_ptr().cast(), text.len());
            libc::close(file);
            if written < 0 {
                return Err(std::io::Error::last_os_error());
            }
        }
        let (none, private) = (std::ptr::null(), libc::MS_REC | libc::MS_PRIVATE);
        let root = c"/".as_ptr();
        checked(libc::mount(none, root, none, private, none.cast()))?;
        let kind = c"tmpfs".as_ptr();
        checked(libc::mount(
            kind,
            at.as_ptr(),
            kind,
            0,
            size.as_ptr().cast(),
        ))?;
    }
    Ok(())
}

/// Waits for a condition.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        // The pause of a poll.
        std::thread::sleep(Duration::from_millis(20));
    }
}
