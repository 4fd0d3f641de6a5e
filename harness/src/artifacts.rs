//! The static binaries that go into a node: the broker and the nemesis agent, built by cargo when
//! they are not up to date (cargo decides, in a fraction of a second).
//!
//! A broker with seeded bugs and one without never share a file name: which one runs is told by
//! the name of its file and of its image. Both are copied out of cargo's directory under a lock,
//! and the copy is asked what it is, so that neither a second harness nor somebody's own build in
//! between can swap them.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

/// What to build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuildOptions {
    /// With the feature `seeded-bugs`.
    pub seeded_bugs: bool,
}

/// Where the binaries are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifacts {
    /// The broker: `broker`, or `broker-seeded-bugs`.
    pub broker: PathBuf,
    /// The agent.
    pub agent: PathBuf,
    /// Whether the broker has the feature `seeded-bugs`.
    pub seeded_bugs: bool,
}

/// Why there are no binaries.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Cargo could not be run.
    #[error("cannot run {program:?} to build the broker: {source}; is Rust installed (rustup.rs)?")]
    NoCargo {
        /// What was run.
        program: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Cargo said no.
    #[error(
        "building the static broker failed ({status}); a C compiler is needed too (Debian: \
         apt install gcc libc6-dev). By hand:\n  {command}"
    )]
    Failed {
        /// How cargo ended.
        status: ExitStatus,
        /// What can be run by hand.
        command: String,
    },
    /// A file could not be copied to its place.
    #[error("cannot write {path:?}: {source}")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What was built is not what was asked for.
    #[error("{path:?} {found}; remove it and try again")]
    Mistaken {
        /// Which file.
        path: PathBuf,
        /// What it is instead.
        found: String,
    },
}

/// Where the artifacts are, for a harness that runs itself again where cargo would not work.
const PLACED: &str = "HARNESS_INTERNAL_ARTIFACTS";
const AGENT: &str = "nemesis-agent";

impl Artifacts {
    fn at(place: &Path, options: BuildOptions) -> Self {
        let name = if options.seeded_bugs {
            "broker-seeded-bugs"
        } else {
            "broker"
        };
        Self {
            broker: place.join(name),
            agent: place.join(AGENT),
            seeded_bugs: options.seeded_bugs,
        }
    }

    /// What the environment must say for [`build`] to give these very files back.
    pub(crate) fn for_reentry(&self) -> Option<(&'static str, PathBuf)> {
        let place = self.agent.parent()?;
        Some((PLACED, place.to_owned()))
    }
}

/// The workspace that this harness was built from.
pub fn workspace() -> PathBuf {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_dir.parent().unwrap_or(crate_dir).to_owned()
}

/// Builds what is not up to date. Cargo's own output goes to standard error only when there is
/// something to compile; `say` is called with one line before that.
pub fn build(
    workspace: &Path,
    options: BuildOptions,
    say: &mut dyn FnMut(&str),
) -> Result<Artifacts, BuildError> {
    let mut arguments = vec!["-p", "broker", "-p", "nemesis", "--bins"];
    if options.seeded_bugs {
        // Not `broker/seeded-bugs`: the broker's tests depend on the broker itself, and cargo would
        // take that for a feature of this development dependency, and build without it.
        arguments.extend(["--features", "seeded-bugs"]);
    }
    let place = |target_dir: &Path, built: &Path| {
        let artifacts = Artifacts::at(target_dir, options);
        install(&built.join("broker"), &artifacts.broker)?;
        install(&built.join(AGENT), &artifacts.agent)?;
        Ok(artifacts)
    };
    let artifacts = match std::env::var_os(PLACED) {
        Some(there) => Artifacts::at(Path::new(&there), options),
        None => make(workspace, &arguments, say, place)?,
    };
    identify(&artifacts)?;
    Ok(artifacts)
}

/// Builds the agent alone, to stand in for the broker too ([`crate::runtime::Program::Echo`]).
pub fn build_agent(workspace: &Path, say: &mut dyn FnMut(&str)) -> Result<Artifacts, BuildError> {
    let place = |target_dir: &Path, built: &Path| {
        let agent = target_dir.join(AGENT);
        install(&built.join(AGENT), &agent)?;
        Ok(agent)
    };
    let agent = match std::env::var_os(PLACED) {
        Some(there) => Path::new(&there).join(AGENT),
        None => make(workspace, &["-p", "nemesis", "--bins"], say, place)?,
    };
    Ok(Artifacts {
        broker: agent.clone(),
        agent,
        seeded_bugs: false,
    })
}

/// Compiles, and has the results put in their place, which only one process does at a time.
fn make<T>(
    workspace: &Path,
    arguments: &[&str],
    say: &mut dyn FnMut(&str),
    place: impl FnOnce(&Path, &Path) -> Result<T, BuildError>,
) -> Result<T, BuildError> {
    let target_dir = match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => workspace.join(dir),
        None => workspace.join("target"),
    };
    let there = target_dir.join("static");
    let unwritable = |path: &Path| {
        let path = path.to_owned();
        move |source| BuildError::Write { path, source }
    };
    fs::create_dir_all(&there).map_err(unwritable(&there))?;
    let lock_path = there.join(".lock");
    let lock = File::create(&lock_path).map_err(unwritable(&lock_path))?;
    lock.lock().map_err(unwritable(&lock_path))?;
    let host = host_triple()?;
    compile(workspace, &host, arguments, say)?;
    place(&there, &target_dir.join(&host).join("release"))
}

fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// The machine's own target; a cross build is not meant here, but `crt-static` needs `--target`,
/// or it would go for procedural macros too.
fn host_triple() -> Result<String, BuildError> {
    let program = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let no_rustc = |source| BuildError::NoCargo {
        program: PathBuf::from(&program),
        source,
    };
    let output = Command::new(&program).arg("-vV").output();
    let output = output.map_err(no_rustc)?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned)
        .ok_or_else(|| no_rustc(io::Error::other("it does not name its host")))
}

fn compile(
    workspace: &Path,
    host: &str,
    what: &[&str],
    say: &mut dyn FnMut(&str),
) -> Result<(), BuildError> {
    // The environment's flags go before those of `.cargo/config.toml`, so both are named here.
    const FLAGS: &str = "--cfg tokio_unstable -C target-feature=+crt-static";
    let mut arguments = vec!["build", "--release", "--target", host];
    arguments.extend(what);
    let by_hand = format!("RUSTFLAGS=\"{FLAGS}\" cargo {}", arguments.join(" "));
    let mut command = Command::new(cargo());
    command
        .current_dir(workspace)
        .args(&arguments)
        .env("RUSTFLAGS", FLAGS)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    if io::stderr().is_terminal() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    let mut child = command.spawn().map_err(|source| BuildError::NoCargo {
        program: PathBuf::from(cargo()),
        source,
    })?;
    let output = child.stderr.take().expect("it is piped");
    pass_on(BufReader::new(output), &by_hand, say);
    let failed = |status| BuildError::Failed {
        status,
        command: by_hand.clone(),
    };
    match child.wait() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(failed(status)),
        Err(source) => Err(BuildError::NoCargo {
            program: PathBuf::from(cargo()),
            source,
        }),
    }
}

/// Shows what cargo says, unless all it says is that there was nothing to do.
fn pass_on(output: impl BufRead, by_hand: &str, say: &mut dyn FnMut(&str)) {
    let mut silent = true;
    for line in output.split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        if silent && line.contains("Finished") {
            continue;
        }
        if silent {
            say(&format!("building static binaries: {by_hand}"));
            silent = false;
        }
        say!("{line}");
    }
}

/// Copies a binary to its place, whole or not at all: whoever runs the old one keeps it.
fn install(from: &Path, to: &Path) -> Result<(), BuildError> {
    let fresh = to.with_extension("new");
    let copied = fs::copy(from, &fresh).and_then(|_| fs::rename(&fresh, to));
    copied.map_err(|source| BuildError::Write {
        path: to.to_owned(),
        source,
    })
}

/// Asks the broker whether it has seeded bugs: only one that has knows the flag.
fn identify(artifacts: &Artifacts) -> Result<(), BuildError> {
    let mistaken = |found: String| BuildError::Mistaken {
        path: artifacts.broker.clone(),
        found,
    };
    let output = Command::new(&artifacts.broker)
        .arg("--help")
        .env_clear()
        .output()
        .map_err(|error| mistaken(format!("does not run here ({error})")))?;
    if !output.status.success() {
        return Err(mistaken(format!("does not run here ({})", output.status)));
    }
    let has_bugs = String::from_utf8_lossy(&output.stdout).contains("--seeded-bug");
    if has_bugs == artifacts.seeded_bugs {
        return Ok(());
    }
    let found = if has_bugs {
        "is a broker with seeded bugs, and one without was asked for"
    } else {
        "is a broker without seeded bugs, and one with them was asked for"
    };
    Err(mistaken(found.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_is_quoted_only_when_it_has_something_to_say() {
        let mut said = Vec::new();
        let quiet = "    Finished `release` profile [optimized] target(s) in 0.2s\n";
        pass_on(quiet.as_bytes(), "cargo build", &mut |line| {
            said.push(line.to_owned())
        });
        assert!(said.is_empty());
        let busy = "   Compiling broker v0.1.0\n    Finished `release` profile\n";
        pass_on(busy.as_bytes(), "cargo build", &mut |line| {
            said.push(line.to_owned())
        });
        assert_eq!(said, ["building static binaries: cargo build"]);
    }

    #[test]
    fn a_binary_replaces_the_old_one_while_that_is_open() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("built"), dir.path().join("placed"));
        fs::write(&from, "one").unwrap();
        install(&from, &to).unwrap();
        let running = File::open(&to).unwrap();
        fs::write(&from, "two").unwrap();
        install(&from, &to).unwrap();
        assert_eq!(io::read_to_string(running).unwrap(), "one");
        assert_eq!(fs::read_to_string(&to).unwrap(), "two");
    }

    #[test]
    fn a_program_that_is_no_broker_is_refused() {
        let artifacts = |seeded_bugs, broker: &str| Artifacts {
            broker: PathBuf::from(broker),
            agent: PathBuf::new(),
            seeded_bugs,
        };
        let error = identify(&artifacts(true, "/bin/true")).unwrap_err();
        assert!(error.to_string().contains("without seeded bugs"), "{error}");
        let error = identify(&artifacts(false, "/no/such/broker")).unwrap_err();
        assert!(error.to_string().contains("does not run here"), "{error}");
    }
}
