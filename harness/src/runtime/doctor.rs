//! What this machine can do, what is missing, and how to get it: the probes of `harness doctor`.
//!
//! Each probe tries the thing itself; nothing is concluded from version numbers.

use std::process::Command;

use super::{docker, namespaces};

/// How bad it is that something is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It is there.
    Good,
    /// Something else does the same: named in the finding.
    Missing,
    /// Without it nothing runs.
    Needed,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked for (`docker`, `namespaces`, `cargo`, ...).
    pub what: &'static str,
    /// How it is.
    pub health: Health,
    /// What was found, or what is missing and how to get it.
    pub detail: String,
    /// What it is for.
    pub for_what: &'static str,
}

/// Looks at everything that a run needs.
pub async fn examine() -> Vec<Finding> {
    let engine = docker::answers().await;
    let allowed = namespaces::allowed().map(|()| "the kernel allows them".to_owned());
    let neither = engine.is_err() && allowed.is_err();
    let runtime = |found: Result<String, String>| match found {
        Ok(detail) => (Health::Good, detail),
        Err(detail) if neither => (Health::Needed, detail),
        Err(detail) => (Health::Missing, detail),
    };
    let needed = |found: Result<String, String>| match found {
        Ok(detail) => (Health::Good, detail),
        Err(detail) => (Health::Needed, detail),
    };
    let finding = |what, (health, detail), for_what| Finding {
        what,
        health,
        detail,
        for_what,
    };
    vec![
        finding("docker", runtime(engine), "--runtime docker"),
        finding("namespaces", runtime(allowed), "--runtime namespaces"),
        finding(
            "cargo",
            needed(version("CARGO", "cargo", "install Rust: https://rustup.rs")),
            "building the broker's static binary",
        ),
        finding(
            "C compiler",
            needed(version(
                "CC",
                "cc",
                "Debian: sudo apt install gcc libc6-dev",
            )),
            "linking, and librdkafka",
        ),
        finding("cores", cores(), "three brokers and their clients at once"),
        finding("netfilter queue", netfilter(), "--nemesis delay-watermark"),
    ]
}

/// The first line that a program says of itself.
fn version(variable: &str, default: &str, advice: &str) -> Result<String, String> {
    let program = std::env::var_os(variable).unwrap_or_else(|| default.into());
    let missing = |why: String| Err(format!("{}: {why}; {advice}", program.to_string_lossy()));
    match Command::new(&program).arg("--version").output() {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout);
            Ok(text.lines().next().unwrap_or_default().to_owned())
        }
        Ok(output) => missing(output.status.to_string()),
        Err(error) => missing(error.to_string()),
    }
}

fn cores() -> (Health, String) {
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    if count >= 2 {
        return (Health::Good, format!("{count}"));
    }
    let detail = "1: runs are slow, and faults are hard to tell from a busy machine; 2 are better";
    (Health::Missing, detail.to_owned())
}

/// The kernel's queue for packets shows as a file in `/proc` once the module is there; where it
/// is loaded on demand it does not show before the first use.
fn netfilter() -> (Health, String) {
    if std::path::Path::new("/proc/net/netfilter/nfnetlink_queue").exists() {
        return (Health::Good, "the kernel has it".to_owned());
    }
    let detail = "not loaded (the kernel may load it when it is first used; else: sudo modprobe \
                  nfnetlink_queue xt_NFQUEUE); every other fault works without it";
    (Health::Missing, detail.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_finding_says_what_it_is_for_and_what_to_do() {
        let findings = examine().await;
        assert!(findings.len() >= 6);
        for finding in findings {
            assert!(!finding.detail.is_empty() && !finding.for_what.is_empty());
            let said = matches!(finding.health, Health::Good) || finding.detail.len() > 20;
            assert!(said, "{finding:?}");
        }
    }

    #[test]
    fn a_missing_program_comes_with_advice() {
        let found = version("NO_SUCH_VARIABLE", "no-such-program", "get it somewhere");
        assert!(found.unwrap_err().ends_with("get it somewhere"));
    }
}
