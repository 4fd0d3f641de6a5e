//! Processes written down, so that those of a harness that was killed can be found and ended.
//!
//! Beside a run's journal, `<run>.processes` has a line for each broker that was started: its id,
//! when it began, and in which boot of the machine. An id alone proves nothing, because the kernel
//! gives it away again; with the time of its beginning it does.
//!
//! This is the second line: where the kernel can, it ends the brokers when their harness dies.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

const EXTENSION: &str = "processes";
/// A process that was sent SIGKILL is gone within this, unless the disk hangs.
const DEATH_LIMIT: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(5);

/// One process, told from any other that ever had its id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Noted {
    /// Its id.
    pub pid: u32,
    /// When it began, in ticks of the kernel's clock since the machine did.
    pub began: u64,
    /// Which start of the machine that was.
    pub boot: String,
}

impl Noted {
    /// The process that has this id now.
    pub fn now(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name may hold spaces and brackets; what is counted begins after the last bracket,
        // with the third field. A zombie has ended.
        let (_, fields) = stat.rsplit_once(") ")?;
        let mut fields = fields.split_ascii_whitespace();
        if fields.next()? == "Z" {
            return None;
        }
        let began = fields.nth(18)?.parse().ok()?;
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let boot = boot.trim().to_owned();
        Some(Self { pid, began, boot })
    }

    /// Whether it still exists.
    pub fn exists(&self) -> bool {
        Self::now(self.pid).as_ref() == Some(self)
    }
}

/// The file beside a run's journal.
pub fn beside(journal: &Path) -> PathBuf {
    journal.with_extension(EXTENSION)
}

/// Writes a process down.
pub fn note(ledger: &Path, pid: u32) -> io::Result<()> {
    let Some(noted) = Noted::now(pid) else {
        // It has ended already.
        return Ok(());
    };
    let mut line = serde_json::to_vec(&noted)?;
    line.push(b'\n');
    let mut file = OpenOptions::new().create(true).append(true).open(ledger)?;
    file.write_all(&line)
}

/// Ends what is written down and still exists, and removes the file. Returns a line for each
/// process that was ended.
pub fn end_all(ledger: &Path) -> io::Result<Vec<String>> {
    let text = match fs::read_to_string(ledger) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    // The last line of a killed owner may be cut short.
    let noted = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    let mut ended = Vec::new();
    for process in noted.filter(Noted::exists) {
        match kill(Pid::from_raw(process.pid as i32), Signal::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => return Err(error.into()),
        }
        let deadline = Instant::now() + DEATH_LIMIT;
        while process.exists() {
            if Instant::now() > deadline {
                let why = format!("process {} does not end", process.pid);
                return Err(io::Error::other(why));
            }
            std::thread::sleep(PAUSE);
        }
        ended.push(format!("process {}", process.pid));
    }
    fs::remove_file(ledger)?;
    Ok(ended)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn what_is_written_down_is_ended_and_what_only_has_its_id_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = beside(&dir.path().join("run.jsonl"));
        assert_eq!(ledger, dir.path().join("run.processes"));
        let sleeper = || Command::new("sleep").arg("600").spawn().unwrap();
        let (mut ours, mut other) = (sleeper(), sleeper());
        note(&ledger, ours.id()).unwrap();
        let mut stranger = Noted::now(other.id()).unwrap();
        assert!(stranger.exists());
        // As if the id had been another's before.
        stranger.began -= 1;
        assert!(!stranger.exists());
        let line = serde_json::to_string(&stranger).unwrap();
        let text = fs::read_to_string(&ledger).unwrap();
        fs::write(&ledger, format!("{text}{line}\n{{\"pid\":1")).unwrap();
        // Somebody has to take note of its end, or it stays a zombie: which counts as ended.
        let ended = end_all(&ledger).unwrap();
        assert_eq!(ended, [format!("process {}", ours.id())]);
        assert!(!ours.wait().unwrap().success());
        assert_eq!(other.try_wait().unwrap(), None, "it is somebody else's");
        assert!(!ledger.exists() && end_all(&ledger).unwrap().is_empty());
        other.kill().unwrap();
        other.wait().unwrap();
    }
}
