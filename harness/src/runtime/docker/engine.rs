//! The engine: whether it answers, what its errors mean, and the labels by which everything of
//! ours is found again.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use nemesis::{ClusterError, NodeId};
use tokio::time::timeout;

/// On everything that a run makes: the run's id.
pub const RUN: &str = "harness.run";
/// The path of the run's journal, whose lock says whether the run is alive.
pub const JOURNAL: &str = "harness.journal";
/// On which machine that path means something.
pub const HOST: &str = "harness.host";

/// An engine that is there answers within this.
const PATIENCE: Duration = Duration::from_secs(5);

/// Connects to the engine that `DOCKER_HOST` names, or the usual socket, and agrees on a version
/// of the API. The error says what is wrong and what would help.
pub async fn connect() -> Result<Docker, String> {
    let place = place();
    let help = |error: Error| {
        let text = error.to_string();
        let advice = if place.starts_with("unix://") {
            "; is the engine installed and running? (Debian: sudo apt install docker.io)"
        } else {
            "; only unix:// is spoken here"
        };
        format!("no engine answers at {place}: {text}{advice}")
    };
    if let Some(path) = place.strip_prefix("unix://")
        && !Path::new(path).exists()
    {
        return Err(format!(
            "there is no engine at {path}; install and start one (Debian: sudo apt install \
             docker.io), or set DOCKER_HOST"
        ));
    }
    if let Some(path) = place.strip_prefix("unix://")
        && let Err(error) = UnixStream::connect(path)
        && error.kind() == ErrorKind::PermissionDenied
    {
        return Err(format!(
            "this user may not use the engine at {place} (sudo usermod -aG docker $USER, then log \
             in again)"
        ));
    }
    let docker = Docker::connect_with_defaults().map_err(help)?;
    match timeout(PATIENCE, docker.negotiate_version()).await {
        Ok(agreed) => agreed.map_err(help),
        Err(_) => Err(format!(
            "the engine at {place} does not answer within {} s",
            PATIENCE.as_secs()
        )),
    }
}

/// Where the engine is, or should be.
pub fn place() -> String {
    let default = || "unix:///var/run/docker.sock".to_owned();
    std::env::var("DOCKER_HOST").unwrap_or_else(|_| default())
}

/// Whether the engine says that there is no such thing.
pub fn is_missing(error: &Error) -> bool {
    has_status(error, &[404])
}

/// Whether the engine says that a container is in the wanted state already: what is to be started
/// runs, what is to be killed does not.
pub fn is_so_already(error: &Error) -> bool {
    has_status(error, &[304, 409])
}

fn has_status(error: &Error, wanted: &[u16]) -> bool {
    match error {
        Error::DockerResponseServerError { status_code, .. } => wanted.contains(status_code),
        _ => false,
    }
}

/// The error of something that failed on one node.
pub fn on(node: NodeId, what: &str) -> impl Fn(Error) -> ClusterError + use<> {
    let what = what.to_owned();
    move |error| ClusterError::Refused {
        what: what.clone(),
        node,
        why: message(&error),
    }
}

/// What the engine said, without our client's words around it.
pub fn message(error: &Error) -> String {
    match error {
        Error::DockerResponseServerError { message, .. } => message.clone(),
        other => other.to_string(),
    }
}

/// This machine, as far as journals are concerned: its kernel's boot, and its host name, which a
/// container that was given the engine's socket does not share.
pub fn this_host() -> String {
    let read = |name: &str| {
        let text = std::fs::read_to_string(Path::new("/proc/sys/kernel").join(name));
        text.unwrap_or_default().trim().to_owned()
    };
    format!("{}/{}", read("random/boot_id"), read("hostname"))
}

/// The labels of a run.
pub fn labels(run: &str, journal: &Path) -> HashMap<String, String> {
    let journal = std::path::absolute(journal).unwrap_or_else(|_| journal.to_owned());
    HashMap::from([
        (RUN.to_owned(), run.to_owned()),
        (JOURNAL.to_owned(), journal.display().to_string()),
        (HOST.to_owned(), this_host()),
    ])
}

/// A filter for things with one of our labels: of one run, or of any.
pub fn filter(run: Option<&str>) -> HashMap<String, Vec<String>> {
    let label = match run {
        Some(run) => format!("{RUN}={run}"),
        None => RUN.to_owned(),
    };
    HashMap::from([("label".to_owned(), vec![label])])
}
