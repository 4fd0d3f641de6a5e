//! Two nodes on a bridge, each a holder in a network namespace of its own; and ways to act there.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nemesis::agent::link::Links;
use nemesis::agent::{AgentCommand, AgentReply, Probe, ProbeResult};
use nix::sched::{CloneFlags, setns};

pub const AGENT: &str = env!("CARGO_BIN_EXE_nemesis-agent");
const INSIDE: &str = "NEMESIS_TEST_INSIDE";
pub const PORTS: [u16; 3] = [9092, 9093, 9094];
const SILENCE_MS: u32 = 250;

/// Whether namespaces can be made here; if not, that is told.
pub fn possible(test: &str) -> bool {
    let check = Command::new(AGENT).args(["enter", "--check"]).output();
    let check = check.expect("the agent runs");
    if !check.status.success() {
        let line = format!("SKIPPED {test}: {}", String::from_utf8_lossy(&check.stdout));
        // Past the test's capture: this is to be seen.
        let mut stderr = File::create("/dev/stderr").expect("there is a standard error");
        let _ = std::io::Write::write_all(&mut stderr, line.as_bytes());
    }
    check.status.success()
}

/// Runs a test inside namespaces of its own, by running this file again for it alone.
pub fn inside(test: &str, body: fn()) {
    if std::env::var_os(INSIDE).is_some() {
        body();
        return;
    }
    if !possible(test) {
        return;
    }
    let exe = std::env::current_exe().expect("a test knows its file");
    let output = Command::new(AGENT)
        .args(["enter", "--"])
        .arg(exe)
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("the agent runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    eprintln!("{said}");
    assert!(output.status.success(), "{test} failed inside:\n{said}");
}

pub struct Node {
    pub ip: Ipv4Addr,
    pub holder: Child,
    namespace: Arc<OwnedFd>,
    echo: Child,
}

/// Two nodes.
pub fn lab() -> [Node; 2] {
    let mut links = Links::open().unwrap();
    links.add_bridge("lab").unwrap();
    [1, 2].map(|number| Node::new(&mut links, number))
}

impl Node {
    fn new(links: &mut Links, number: u8) -> Self {
        let mut holder = Command::new(AGENT)
            .args(["hold", "--new-network"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        let output = holder.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut ready).unwrap();
        assert!(ready.contains("\"ok\":true"), "{ready}");
        let namespace = File::open(format!("/proc/{}/ns/net", holder.id())).unwrap();
        let namespace: Arc<OwnedFd> = Arc::new(namespace.into());
        let veth = format!("veth{number}");
        links
            .add_veth(&veth, "lab", "eth0", namespace.as_fd())
            .unwrap();
        let ip = Ipv4Addr::new(10, 7, 0, number);
        in_namespace(&namespace, move || {
            let mut links = Links::open().unwrap();
            links.add_address("eth0", ip, 24).unwrap();
            links.up("eth0").unwrap();
        });
        let ports = PORTS.map(|port| port.to_string()).join(",");
        let mut echo = Command::new(AGENT);
        echo.args(["echo", "--port", &ports]).stdout(Stdio::null());
        let echo = command_in(&namespace, echo).spawn().unwrap();
        let node = Self {
            ip,
            holder,
            namespace,
            echo,
        };
        // The link and the server need a moment.
        let deadline = Instant::now() + Duration::from_secs(10);
        while node.probe(&node, 9094).connect_us.is_none() && Instant::now() < deadline {}
        node
    }

    /// An order to this node's agent, as a runtime gives it.
    pub fn agent(&self, command: &AgentCommand) -> AgentReply {
        let mut agent = Command::new(AGENT);
        agent.args(command.arguments());
        let output = command_in(&self.namespace, agent).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let reply: AgentReply = serde_json::from_str(&text).expect("one line of JSON");
        assert_eq!(reply.ok, output.status.success());
        reply
    }

    /// An order that is carried out.
    pub fn obeys(&self, command: &AgentCommand) -> AgentReply {
        let reply = self.agent(command);
        assert!(reply.ok, "{command:?}: {reply:?}");
        reply
    }

    pub fn probe(&self, to: &Node, port: u16) -> ProbeResult {
        let probe = Probe {
            to: vec![std::net::SocketAddrV4::new(to.ip, port)],
            timeout_ms: SILENCE_MS,
            say: None,
        };
        self.obeys(&AgentCommand::Probe(probe)).probes.remove(0)
    }

    pub fn connects(&self, to: &Node, port: u16) -> bool {
        self.probe(to, port).connect_us.is_some()
    }

    /// Runs something on a thread that is in this node's network.
    pub fn within<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        in_namespace(&self.namespace, work)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        for child in [&mut self.echo, &mut self.holder] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn in_namespace<T: Send + 'static>(
    namespace: &Arc<OwnedFd>,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let namespace = namespace.clone();
    let thread = thread::spawn(move || {
        setns(&namespace, CloneFlags::CLONE_NEWNET).unwrap();
        work()
    });
    thread.join().expect("the work is done")
}

fn command_in(namespace: &Arc<OwnedFd>, mut command: Command) -> Command {
    let namespace = namespace.clone();
    // SAFETY: between fork and exec there is one system call: no lock, no allocation.
    unsafe {
        command.pre_exec(move || Ok(setns(&namespace, CloneFlags::CLONE_NEWNET)?));
    }
    command
}
