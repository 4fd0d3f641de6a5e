//! The report: one self-contained HTML page and the same pictures as PNG, drawn from what a run
//! left in its folder and from nothing else.
//!
//! Reading order: [`folder`] reads, [`facts`] computes (with [`data`]), [`chart`] draws into
//! [`scene`]s, which become SVG in the page and PNG beside it, and [`view`] fills the page.
//!
//! Invariants:
//! * Rendering is a function of the folder: no clock, no randomness, no network, no environment,
//!   so that the same folder gives the same bytes.
//! * Every string out of the folder is hostile input: it reaches the page only escaped.
//! * The page works from `file://`, without JavaScript, and loads nothing.
//!
//! Deliberately absent: judgement. The verdict, its anomalies and its stories are the checker's;
//! this module only shows them.

pub mod broker_log;
pub mod chart;
pub mod csp;
pub mod data;
pub mod facts;
pub mod folder;
pub mod glossary;
pub mod metrics;
pub mod scene;
pub mod text;
pub mod view;
pub mod witness;

use std::path::{Path, PathBuf};

use crate::history::History;
use chart::Picture;
use facts::Facts;
use scene::{Scene, Theme, png};

/// What a rendering wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderedFiles {
    /// `report.html`.
    pub html: PathBuf,
    /// The pictures, in the order of the page.
    pub images: Vec<PathBuf>,
}

/// Why a report could not be rendered. A missing `verdict.json`, `schedule.json`, `run.json`,
/// `metrics.jsonl` or broker log is no error: the report says that it is missing.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The folder does not exist, or is not one.
    #[error("{path} is not a run's folder: give a directory under results/, or results/latest")]
    NotARun {
        /// What was given.
        path: PathBuf,
    },
    /// A file of the folder cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The report cannot be written.
    #[error("cannot write {path}: {source}; the folder must be writable")]
    Unwritable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The page's template failed, which no input should bring about.
    #[error("the page could not be put together: {0}")]
    Page(#[from] askama::Error),
}

/// Renders the report of the run whose folder is `dir`.
///
/// Reads `history.jsonl`, `verdict.json`, `schedule.json`, `run.json`, `metrics.jsonl` and
/// `brokers/*.log`, of which any but the folder itself may be missing; writes `report.html` and
/// the pictures beside them.
///
/// # Errors
/// When the folder does not exist, a file in it cannot be read, or nothing can be written to it.
pub fn render(dir: &Path) -> Result<RenderedFiles, RenderError> {
    if !dir.is_dir() {
        return Err(RenderError::NotARun {
            path: dir.to_owned(),
        });
    }
    let folder = folder::read(dir)?;
    let nothing = History::default();
    let facts = Facts::gather(&folder, &nothing);
    let pictures = facts.pictures();
    let html = dir.join("report.html");
    let page = view::page(&facts, &pictures)?;
    std::fs::write(&html, page).map_err(|source| RenderError::Unwritable {
        path: html.clone(),
        source,
    })?;
    let images = paint(dir, &facts, &pictures)?;
    Ok(RenderedFiles { html, images })
}

/// A picture that becomes a file.
struct Image {
    path: PathBuf,
    scene: Scene,
    theme: Theme,
}

/// Paints all pictures, on as many threads as there are processors to gain from.
fn paint(dir: &Path, facts: &Facts<'_>, pictures: &[Picture]) -> Result<Vec<PathBuf>, RenderError> {
    let images = images(dir, facts, pictures);
    let workers = std::thread::available_parallelism().map_or(1, |n| n.get().min(4));
    let next = std::sync::atomic::AtomicUsize::new(0);
    let work = || -> Result<(), RenderError> {
        loop {
            let at = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let Some(image) = images.get(at) else {
                return Ok(());
            };
            let written = png::write(&image.scene, image.theme, &image.path);
            written.map_err(|source| RenderError::Unwritable {
                path: image.path.clone(),
                source,
            })?;
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().expect("painting does not panic"))
    })?;
    Ok(images.into_iter().map(|image| image.path).collect())
}

/// Names of the files, and which pictures stand one below the other in them.
const FILES: [(&str, &[&str]); 8] = [
    ("latency-raw.png", &["latency-raw"]),
    ("latency-quantiles.png", &["latency-quantiles"]),
    ("rate.png", &["rate", "read"]),
    ("unseen.png", &["unseen"]),
    (
        "watermark-lag.png",
        &["watermark-lag", "watermark-lag-followers"],
    ),
    ("availability.png", &["availability"]),
    ("leaders.png", &["leaders"]),
    ("faults.png", &["faults"]),
];

fn images(dir: &Path, facts: &Facts<'_>, pictures: &[Picture]) -> Vec<Image> {
    let head = view::head(facts);
    let overview = chart::overview::overview(&head, pictures);
    // The largest first, so that no thread is left with it at the end.
    let mut images = vec![
        Image {
            path: dir.join("overview.png"),
            scene: overview.clone(),
            theme: Theme::Light,
        },
        Image {
            path: dir.join("overview-dark.png"),
            scene: overview,
            theme: Theme::Dark,
        },
    ];
    for (name, ids) in FILES {
        let mut scene = Scene::default();
        for id in ids {
            if let Some(picture) = pictures.iter().find(|picture| picture.id == *id) {
                scene.stack(&picture.scene);
            }
        }
        images.push(Image {
            path: dir.join(name),
            scene,
            theme: Theme::Light,
        });
    }
    images
}
