//! Images built from nothing but a binary: an archive in memory with a Dockerfile and the file.
//!
//! The tag holds a checksum of everything in the archive, so an image that exists is the right
//! one and is not built again, and a broker with seeded bugs has an image of its own.

use std::collections::HashMap;
use std::path::Path;

use bollard::Docker;
use bollard::query_parameters::{
    BuildImageOptionsBuilder, ListImagesOptionsBuilder, RemoveImageOptions,
};
use futures_util::StreamExt;

use super::engine;
use crate::artifacts::Artifacts;
use crate::runtime::RuntimeError;

/// On our images, so that old ones are found.
const LABEL: &str = "harness.image";
/// Images that no run used for this long are removed, in seconds.
const OLD_SECONDS: i64 = 24 * 3600;

/// The Dockerfile of the repository, so that by hand and by harness the same image comes out.
const BROKER: &str = include_str!("../../../../Dockerfile");
/// The holder has a name in the image that says what it is, and root, so that it may be given
/// CAP_NET_ADMIN; every other capability is taken from it.
const HOLDER: &str = "FROM scratch\nCOPY nemesis-agent /nemesis-agent\n\
                      ENTRYPOINT [\"/nemesis-agent\"]\nCMD [\"hold\"]\n";
/// The agent in the broker's image.
const ECHO: &str = "broker";

/// The images of a cluster.
#[derive(Clone, Debug)]
pub struct Images {
    pub broker: String,
    pub holder: String,
}

/// What goes into an image.
struct Recipe<'a> {
    repository: &'a str,
    variant: &'a str,
    dockerfile: &'a str,
    /// Under which name.
    file: &'a str,
    content: Vec<u8>,
}

/// An image of somebody else's broker, which must be there already, beside our holder.
pub async fn beside(
    docker: &Docker,
    artifacts: &Artifacts,
    broker: &str,
) -> Result<Images, RuntimeError> {
    let found = docker.inspect_image(broker).await;
    found.map_err(|error| RuntimeError::Failed {
        what: format!("the image {broker}"),
        why: format!(
            "{}; `targets/kafka/build-image.sh` makes {}, `docker pull` fetches a published one",
            engine::message(&error),
            crate::runtime::KAFKA_IMAGE,
        ),
    })?;
    Ok(Images {
        broker: broker.to_owned(),
        holder: built(docker, holder(artifacts)?).await?,
    })
}

fn read(path: &Path) -> Result<Vec<u8>, RuntimeError> {
    let reading = format!("reading {}", path.display());
    std::fs::read(path).map_err(RuntimeError::at(reading))
}

fn holder(artifacts: &Artifacts) -> Result<Recipe<'static>, RuntimeError> {
    Ok(Recipe {
        repository: "harness-holder",
        variant: "agent",
        dockerfile: HOLDER,
        file: "nemesis-agent",
        content: read(&artifacts.agent)?,
    })
}

/// Builds the images that do not exist yet.
pub async fn prepare(
    docker: &Docker,
    artifacts: &Artifacts,
    echo: bool,
) -> Result<Images, RuntimeError> {
    let (variant, program) = match (echo, artifacts.seeded_bugs) {
        (true, _) => ("echo", &artifacts.agent),
        (false, true) => ("seeded-bugs", &artifacts.broker),
        (false, false) => ("clean", &artifacts.broker),
    };
    let broker = Recipe {
        repository: "harness-broker",
        variant,
        dockerfile: BROKER,
        file: ECHO,
        content: read(program)?,
    };
    let holder = holder(artifacts)?;
    let (broker, holder) = (built(docker, broker), built(docker, holder));
    let (broker, holder) = futures_util::future::try_join(broker, holder).await?;
    Ok(Images { broker, holder })
}

/// The name of the image, built if need be.
async fn built(docker: &Docker, recipe: Recipe<'_>) -> Result<String, RuntimeError> {
    let archive = archive(&recipe).map_err(RuntimeError::at("packing an image"))?;
    let name = format!(
        "{}:{}-{:08x}-{}",
        recipe.repository,
        recipe.variant,
        crc32c::crc32c(&archive),
        recipe.content.len(),
    );
    if docker.inspect_image(&name).await.is_ok() {
        return Ok(name);
    }
    let labels = HashMap::from([(LABEL, recipe.repository)]);
    let options = BuildImageOptionsBuilder::default()
        .dockerfile("Dockerfile")
        .t(&name)
        .rm(true)
        .forcerm(true)
        .labels(&labels)
        .build();
    let body = bollard::body_full(archive.into());
    let mut output = docker.build_image(options, None, Some(body));
    let mut said = String::new();
    let failed = |why: String| RuntimeError::Failed {
        what: format!("building the image {name}"),
        why,
    };
    while let Some(step) = output.next().await {
        let step = step.map_err(|error| failed(engine::message(&error)))?;
        if let Some(detail) = step.error_detail {
            let why = detail.message.unwrap_or_default();
            return Err(failed(format!("{why}; before that:\n{said}")));
        }
        said.extend(step.stream);
    }
    // A stream that breaks off is no success.
    let exists = docker.inspect_image(&name).await;
    exists.map_err(|error| failed(engine::message(&error)))?;
    remove_old(docker, recipe.repository, &name).await;
    Ok(name)
}

/// Owner, times and order are fixed, so that the engine's cache knows the layers again.
fn archive(recipe: &Recipe<'_>) -> std::io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut add = |name: &str, kind, mode, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(mode);
        header.set_mtime(0);
        header.set_cksum();
        archive.append_data(&mut header, name, content)
    };
    let dockerfile = recipe.dockerfile.as_bytes();
    add("Dockerfile", tar::EntryType::Regular, 0o644, dockerfile)?;
    add("data", tar::EntryType::Directory, 0o755, &[])?;
    add(recipe.file, tar::EntryType::Regular, 0o755, &recipe.content)?;
    archive.into_inner()
}

/// Best effort: an image in use, or gone already, stays as it is.
async fn remove_old(docker: &Docker, repository: &str, keep: &str) {
    let label = format!("{LABEL}={repository}");
    let filters = HashMap::from([("label", vec![label.as_str()])]);
    let options = ListImagesOptionsBuilder::default()
        .filters(&filters)
        .build();
    let images = docker.list_images(Some(options)).await.unwrap_or_default();
    let now = nemesis::journal::unix_ms() as i64 / 1_000;
    for image in images {
        let old = now - image.created > OLD_SECONDS;
        if old && !image.repo_tags.iter().any(|tag| tag == keep) {
            let options = None::<RemoveImageOptions>;
            let _ = docker.remove_image(&image.id, options, None).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_binary_makes_the_same_archive() {
        let recipe = |content: &[u8]| Recipe {
            repository: "r",
            variant: "v",
            dockerfile: BROKER,
            file: "broker",
            content: content.to_vec(),
        };
        let first = archive(&recipe(b"elf")).unwrap();
        assert_eq!(first, archive(&recipe(b"elf")).unwrap());
        assert_ne!(first, archive(&recipe(b"fle")).unwrap());
        let mut read = tar::Archive::new(first.as_slice());
        let entries = read.entries().unwrap();
        let paths = entries.map(|e| e.unwrap().path().unwrap().display().to_string());
        assert_eq!(paths.collect::<Vec<_>>(), ["Dockerfile", "data", "broker"]);
    }

    #[test]
    fn the_dockerfile_needs_no_shell() {
        for line in BROKER.lines().filter(|line| !line.starts_with('#')) {
            assert!(!line.starts_with("RUN"), "{line}");
            if line.starts_with("ENTRYPOINT") || line.starts_with("CMD") {
                assert!(line.contains('['), "exec form only: {line}");
            }
        }
    }
}
