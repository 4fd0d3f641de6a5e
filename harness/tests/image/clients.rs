//! Clients that somebody else wrote, as processes: what they are given, and what they print.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/image/client.py");
/// Nothing here takes longer, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client program.
pub enum Client {
    /// `kcat`, on whatever librdkafka the system has.
    Kcat,
    /// A Python that has confluent-kafka.
    Python(PathBuf),
}

impl Client {
    /// kcat, if it is installed.
    pub fn kcat() -> Option<Self> {
        let there = answers("kcat".into(), &["-V"]);
        found(there, "kcat (Debian: apt install kcat)").then_some(Self::Kcat)
    }

    /// Python with confluent-kafka, if it is installed.
    pub fn python() -> Option<Self> {
        let python = std::env::var_os("CLIENTS_PYTHON").unwrap_or_else(|| "python3".into());
        let python = PathBuf::from(python);
        let there = answers(python.clone(), &["-c", "import confluent_kafka"]);
        let what = "confluent-kafka for Python (CLIENTS_PYTHON names the interpreter)";
        found(there, what).then_some(Self::Python(python))
    }

    /// What is in the cluster, in the client's words.
    pub async fn list(&self, bootstrap: &str) -> String {
        run(self.command(&["-L"], "list", bootstrap, ""), "").await
    }

    /// Sends each line as a message, and waits for every acknowledgement (acks=all).
    pub async fn produce(&self, bootstrap: &str, topic: &str, lines: &[String]) {
        let options = ["-P", "-t", topic, "-X", "acks=all"];
        let command = self.command(&options, "produce", bootstrap, topic);
        run(command, &(lines.join("\n") + "\n")).await;
    }

    /// Reads all partitions from the beginning to the end.
    pub async fn consume(&self, bootstrap: &str, topic: &str, count: usize) -> Vec<String> {
        let options = ["-C", "-t", topic, "-o", "beginning", "-e", "-q"];
        let mut command = self.command(&options, "consume", bootstrap, topic);
        if matches!(self, Self::Python(_)) {
            command.arg(count.to_string());
        }
        let told = run(command, "").await;
        told.lines().map(str::to_owned).collect()
    }

    fn command(&self, options: &[&str], verb: &str, bootstrap: &str, topic: &str) -> Command {
        match self {
            Self::Kcat => {
                let mut command = Command::new("kcat");
                command.args(["-b", bootstrap]).args(options);
                // Debian's librdkafka asks too little of a broker that it cannot place.
                command.args(["-X", "broker.version.fallback=2.3.0"]);
                command
            }
            Self::Python(python) => {
                let mut command = Command::new(python);
                command.args([SCRIPT, verb, bootstrap, topic]);
                command
            }
        }
    }
}

fn answers(program: PathBuf, arguments: &[&str]) -> bool {
    let mut command = std::process::Command::new(program);
    let command = command.args(arguments);
    let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

fn found(there: bool, what: &str) -> bool {
    let required = std::env::var("REQUIRE_CLIENTS").is_ok_and(|value| value == "1");
    assert!(there || !required, "REQUIRE_CLIENTS=1, but no {what}");
    if !there {
        eprintln!("SKIPPED: no {what}");
    }
    there
}

/// Runs a client to its end, which must be a good one; what it printed.
async fn run(mut command: Command, input: &str) -> String {
    command.kill_on_drop(true).stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the client starts");
    let mut stdin = child.stdin.take().expect("it has an input");
    let input = input.to_owned();
    let fed = tokio::spawn(async move { stdin.write_all(input.as_bytes()).await });
    let ended = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
    let output = ended.expect("the client comes to an end").expect("ends");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{told}\n{complaints}",
        output.status
    );
    fed.await.expect("not aborted").expect("it read its input");
    told
}

/// Messages to send: each with a number of its own.
pub fn lines(count: usize) -> Vec<String> {
    (0..count)
        .map(|n| format!("{n:06} {}", "x".repeat(100)))
        .collect()
}

/// Order is kept within a partition only.
pub fn sorted(lines: &[String]) -> Vec<&str> {
    let mut lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    lines.sort_unstable();
    lines
}
