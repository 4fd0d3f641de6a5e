//! Commands of a `driver.toml`, run by `sh -c` in the folder of the file.
//!
//! A command has a process group of its own: an interrupted harness takes no broker with it that
//! a command has left in the background, and a command that takes too long is ended with
//! everything that it began. What an action says goes to a file, not to a pipe: a broker in the
//! background keeps its standard output for as long as it lives.

use std::fs::OpenOptions;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Of what a failed command said, the end tells why.
const SAID_BYTES: u64 = 400;

/// Variables of a command.
pub type Variables = Vec<(&'static str, String)>;

/// Where commands are run.
#[derive(Clone, Debug)]
pub struct Shell {
    /// Their working directory.
    pub dir: PathBuf,
    /// How long one may take.
    pub limit: Duration,
}

impl Shell {
    /// Runs a command for what it does; what it says is appended to `log`.
    ///
    /// # Errors
    /// Why it failed, with the end of what it said.
    pub async fn act(
        &self,
        command: &str,
        variables: &Variables,
        log: &Path,
    ) -> Result<(), String> {
        let unwritable = |error: std::io::Error| format!("{}: {error}", log.display());
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .read(true)
            .open(log)
            .map_err(unwritable)?;
        let before = file.metadata().map_err(unwritable)?.len();
        let said = file.try_clone().map_err(unwritable)?;
        let mut process = self.command(command, variables);
        process.stdout(said.try_clone().map_err(unwritable)?);
        process.stderr(said);
        let status = self.ended(spawned(&mut process)?).await?;
        if status.success() {
            return Ok(());
        }
        let length = file.metadata().map_err(unwritable)?.len();
        let from = before.max(length.saturating_sub(SAID_BYTES));
        file.seek(SeekFrom::Start(from)).map_err(unwritable)?;
        let mut bytes = Vec::new();
        // Brokers that it began may go on writing: only so much is read.
        let reading = file.take(SAID_BYTES).read_to_end(&mut bytes);
        reading.map_err(unwritable)?;
        Err(failure(status, &String::from_utf8_lossy(&bytes)))
    }

    /// Runs a command for what it says on standard output.
    ///
    /// # Errors
    /// Why it failed, with the end of what it said on standard error.
    pub async fn ask(&self, command: &str, variables: &Variables) -> Result<Vec<u8>, String> {
        let mut process = self.command(command, variables);
        process.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = spawned(&mut process)?;
        let group = child.id();
        let output = match timeout(self.limit, child.wait_with_output()).await {
            Ok(output) => output.map_err(|error| format!("it cannot be waited for: {error}"))?,
            Err(_) => {
                end_group(group);
                return Err(self.too_late());
            }
        };
        match output.status.success() {
            true => Ok(output.stdout),
            false => Err(failure(
                output.status,
                &String::from_utf8_lossy(&output.stderr),
            )),
        }
    }

    fn command(&self, command: &str, variables: &Variables) -> Command {
        let mut process = Command::new("sh");
        process.args(["-c", command]);
        process.current_dir(&self.dir).stdin(Stdio::null());
        process.envs(variables.iter().map(|(name, value)| (name, value)));
        process.process_group(0);
        process
    }

    /// Waits for a command, but not for what it leaves in the background.
    async fn ended(&self, mut child: Child) -> Result<ExitStatus, String> {
        match timeout(self.limit, child.wait()).await {
            Ok(status) => status.map_err(|error| format!("it cannot be waited for: {error}")),
            Err(_) => {
                end_group(child.id());
                Err(self.too_late())
            }
        }
    }

    fn too_late(&self) -> String {
        format!(
            "it did not end within {} s and was killed; what is to go on belongs into the \
             background (`&`), what needs longer wants a larger `timeout-seconds`",
            self.limit.as_secs_f64()
        )
    }
}

fn spawned(process: &mut Command) -> Result<Child, String> {
    process
        .spawn()
        .map_err(|error| format!("sh cannot be run: {error}"))
}

/// SIGKILL to a command and to everything that it began and that has not left its group.
fn end_group(group: Option<u32>) {
    let Some(group) = group.and_then(|id| i32::try_from(id).ok()) else {
        return;
    };
    // It may have ended by itself just now.
    let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
}

fn failure(status: ExitStatus, said: &str) -> String {
    let said = said.trim();
    match said.is_empty() {
        true => format!("it ended with {status} and said nothing"),
        false => format!("it ended with {status}: {said}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(dir: &Path, limit: Duration) -> Shell {
        Shell {
            dir: dir.to_owned(),
            limit,
        }
    }

    #[tokio::test]
    async fn an_action_does_not_wait_for_what_it_leaves_in_the_background() {
        let dir = tempfile::tempdir().expect("temp dir");
        let shell = shell(dir.path(), Duration::from_secs(10));
        let log = dir.path().join("log");
        let command = "sleep 60 & echo $! >pid; echo up $NODE_ID";
        let variables = vec![("NODE_ID", "7".to_owned())];
        let began = std::time::Instant::now();
        shell
            .act(command, &variables, &log)
            .await
            .expect("it is done");
        assert!(began.elapsed() < Duration::from_secs(9));
        let said = std::fs::read_to_string(&log).expect("a log");
        assert_eq!(said, "up 7\n");
        shell
            .act("kill $(cat pid)", &variables, &log)
            .await
            .expect("it was running");
    }

    #[tokio::test]
    async fn a_command_that_fails_tells_why_and_only_what_it_said_itself() {
        let dir = tempfile::tempdir().expect("temp dir");
        let shell = shell(dir.path(), Duration::from_secs(10));
        let log = dir.path().join("log");
        std::fs::write(&log, "of an earlier one\n").expect("written");
        let none = Vec::new();
        let failed = shell.act("echo no such unit; exit 4", &none, &log);
        let why = failed.await.expect_err("it fails");
        assert!(why.ends_with("no such unit"), "{why}");
        assert!(why.contains('4') && !why.contains("earlier"), "{why}");
        let asked = shell.ask("echo 3 h:1; echo hm >&2", &Vec::new()).await;
        assert_eq!(asked, Ok(b"3 h:1\n".to_vec()));
        let asked = shell.ask("echo hm >&2; false", &Vec::new()).await;
        assert!(asked.expect_err("it fails").ends_with("hm"));
    }

    #[tokio::test]
    async fn a_command_that_does_not_end_is_ended_with_all_that_it_began() {
        let dir = tempfile::tempdir().expect("temp dir");
        let shell = shell(dir.path(), Duration::from_millis(300));
        let log = dir.path().join("log");
        let none = Vec::new();
        let failed = shell.act("sleep 60 & echo $! >pid; wait", &none, &log);
        let why = failed.await.expect_err("it takes too long");
        assert!(why.contains("`&`"), "{why}");
        let pid = std::fs::read_to_string(dir.path().join("pid")).expect("a process");
        let pid: i32 = pid.trim().parse().expect("a number");
        // It is reaped by whoever adopts it: poll until it is no process that runs.
        let stat = format!("/proc/{pid}/stat");
        let gone = || !std::fs::read_to_string(&stat).is_ok_and(|text| !text.contains(") Z"));
        while !gone() {
            // poll
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
