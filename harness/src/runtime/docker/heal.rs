//! Removing what runs left: everything with our label whose run is not alive.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use bollard::Docker;
use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListNetworksOptionsBuilder, ListVolumesOptionsBuilder,
    RemoveContainerOptionsBuilder, RemoveVolumeOptionsBuilder,
};
use nemesis::journal::{self, Found};

use super::{engine, network};
use crate::runtime::{Healed, RuntimeError};

/// What an engine holds of one run.
#[derive(Default)]
struct Left {
    labels: HashMap<String, String>,
    containers: Vec<String>,
    networks: Vec<String>,
    volumes: Vec<String>,
}

/// Removes what runs left that are dead: those of `dead` (journals that this process has locked),
/// and those whose journal nobody holds. Without an engine there is nothing to heal.
///
/// Clusters that were to be kept stay, unless `kept` asks for them.
pub async fn heal(dead: &[Found], kept: bool, healed: &mut Healed) -> Result<(), RuntimeError> {
    let Ok(docker) = engine::connect().await else {
        return Ok(());
    };
    for (run, left) in list(&docker, None).await? {
        let mark = kept_mark(Path::new(
            left.labels.get(engine::JOURNAL).map_or("", String::as_str),
        ));
        match alive(&left.labels, dead) {
            None if mark.exists() && !kept => {
                let why = "it was to be kept (`harness heal` removes it)";
                healed.alive.push(format!("run {run}: {why}"));
            }
            Some(why) => healed.alive.push(format!("run {run}: {why}")),
            None => {
                healed.removed.extend(remove_all(&docker, &left).await?);
                if mark.exists() {
                    let removing = format!("removing {}", mark.display());
                    std::fs::remove_file(&mark).map_err(RuntimeError::at(removing))?;
                }
            }
        }
    }
    Ok(())
}

/// The file beside a run's journal that says that its cluster is to be kept.
pub fn kept_mark(journal: &Path) -> PathBuf {
    journal.with_extension("kept")
}

/// Why a run is to be left alone, if it is.
fn alive(labels: &HashMap<String, String>, dead: &[Found]) -> Option<String> {
    let of = |label: &str| labels.get(label).map_or("", String::as_str);
    let path = Path::new(of(engine::JOURNAL));
    let same = |found: &Found| std::path::absolute(&found.path).is_ok_and(|p| p == path);
    if dead.iter().any(same) {
        return None;
    }
    let (here, there) = (engine::this_host(), of(engine::HOST).to_owned());
    let boot = |host: &str| host.split('/').next().unwrap_or_default().to_owned();
    if boot(&here) != boot(&there) {
        // The machine was started anew: whoever made this is not there any more.
        return None;
    }
    if here != there {
        let (_, name) = there.split_once('/').unwrap_or_default();
        return Some(format!(
            "it was started on host {name:?}, whose journals cannot be seen from here"
        ));
    }
    journal::alive(path).then(|| "its harness is running".to_owned())
}

/// Everything with our label, by run.
async fn list(docker: &Docker, run: Option<&str>) -> Result<BTreeMap<String, Left>, RuntimeError> {
    let filters = engine::filter(run);
    let mut all: BTreeMap<String, Left> = BTreeMap::new();
    let mut note = |labels: HashMap<String, String>, put: &dyn Fn(&mut Left)| {
        let run = labels.get(engine::RUN).cloned().unwrap_or_default();
        let left = all.entry(run).or_default();
        left.labels = labels;
        put(left);
    };
    let listing = |what: &str| {
        let what = format!("listing our {what}");
        move |error: bollard::errors::Error| RuntimeError::Failed {
            what,
            why: engine::message(&error),
        }
    };
    let options = ListContainersOptionsBuilder::default()
        .all(true)
        .filters(&filters)
        .build();
    let containers = docker.list_containers(Some(options)).await;
    for container in containers.map_err(listing("containers"))? {
        let names = container.names.unwrap_or_default();
        let name = names
            .into_iter()
            .next()
            .or(container.id)
            .unwrap_or_default();
        let name = name.trim_start_matches('/').to_owned();
        note(container.labels.unwrap_or_default(), &|left| {
            left.containers.push(name.clone());
        });
    }
    let options = ListNetworksOptionsBuilder::default()
        .filters(&filters)
        .build();
    let networks = docker.list_networks(Some(options)).await;
    for network in networks.map_err(listing("networks"))? {
        let name = network.name.unwrap_or_default();
        note(network.labels.unwrap_or_default(), &|left| {
            left.networks.push(name.clone());
        });
    }
    let options = ListVolumesOptionsBuilder::default()
        .filters(&filters)
        .build();
    let volumes = docker.list_volumes(Some(options)).await;
    for volume in volumes
        .map_err(listing("volumes"))?
        .volumes
        .unwrap_or_default()
    {
        note(volume.labels, &|left| {
            left.volumes.push(volume.name.clone())
        });
    }
    Ok(all)
}

/// Removes everything of one run. One line for each thing removed.
pub async fn remove_run(docker: &Docker, run: &str) -> Result<Vec<String>, RuntimeError> {
    let mut removed = Vec::new();
    for left in list(docker, Some(run)).await?.values() {
        removed.extend(remove_all(docker, left).await?);
    }
    Ok(removed)
}

/// Removes the containers of one run, and leaves its network.
pub async fn remove_containers(docker: &Docker, run: &str) -> Result<(), RuntimeError> {
    for mut left in list(docker, Some(run)).await?.into_values() {
        left.networks.clear();
        left.volumes.clear();
        remove_all(docker, &left).await?;
    }
    Ok(())
}

async fn remove_all(docker: &Docker, left: &Left) -> Result<Vec<String>, RuntimeError> {
    let failed = |what: &str, name: &str| {
        let what = format!("removing the {what} {name}");
        move |error: bollard::errors::Error| RuntimeError::Failed {
            what,
            why: engine::message(&error),
        }
    };
    let gone = |done: Result<(), bollard::errors::Error>| match done {
        Err(error) if engine::is_missing(&error) => Ok(()),
        other => other,
    };
    let mut removed = Vec::new();
    let containers = left.containers.iter().map(|name| async move {
        // A frozen process cannot die.
        let _ = docker.unpause_container(name).await;
        let options = RemoveContainerOptionsBuilder::default()
            .force(true)
            .v(true)
            .build();
        gone(docker.remove_container(name, Some(options)).await).map_err(failed("container", name))
    });
    futures_util::future::try_join_all(containers).await?;
    removed.extend(
        left.containers
            .iter()
            .map(|name| format!("container {name}")),
    );
    for name in &left.volumes {
        let options = RemoveVolumeOptionsBuilder::default().force(true).build();
        gone(docker.remove_volume(name, Some(options)).await).map_err(failed("volume", name))?;
        removed.push(format!("volume {name}"));
    }
    for name in &left.networks {
        network::remove(docker, name)
            .await
            .map_err(failed("network", name))?;
        removed.push(format!("network {name}"));
    }
    Ok(removed)
}
