//! A broker's log, written to the run's folder as it comes, so that a harness that is killed has
//! left it too.

use std::path::Path;

use bollard::Docker;
use bollard::query_parameters::AttachContainerOptionsBuilder;
use futures_util::StreamExt;
use tokio::fs::OpenOptions;
use tokio::io::AsyncWriteExt;

/// Attaches to a container that is about to be started, and appends what it says to a file until
/// it ends. Each start is followed anew: nothing is lost between, nothing comes twice.
pub async fn follow(docker: &Docker, container: &str, file: &Path) -> Result<(), String> {
    let opened = OpenOptions::new()
        .create(true)
        .append(true)
        .open(file)
        .await;
    let mut file = opened.map_err(|error| format!("{}: {error}", file.display()))?;
    let options = AttachContainerOptionsBuilder::default()
        .stdout(true)
        .stderr(true)
        .stream(true)
        .build();
    let attached = docker.attach_container(container, Some(options)).await;
    let mut attached = attached.map_err(|error| super::engine::message(&error))?;
    tokio::spawn(async move {
        while let Some(Ok(piece)) = attached.output.next().await {
            // A disk that is full costs the log, not the run.
            let written = file.write_all(piece.as_ref()).await;
            if written.is_err() || file.flush().await.is_err() {
                return;
            }
        }
    });
    Ok(())
}
