//! A run's folder, read as far as it can be: whatever is missing or broken becomes a remark on
//! the page, because a run that was cut off needs its report the most.

use std::fs;
use std::io;
use std::path::Path;

use serde_json::Value as Json;

use super::RenderError;
use super::broker_log::{self, BrokerLog};
use super::metrics::{self, Metrics};
use crate::history::History;
use crate::verdict::Verdict;

/// What a run left.
#[derive(Debug, Default)]
pub struct Folder {
    /// Name of the folder.
    pub name: String,
    /// The history, where it could be read.
    pub history: Option<History>,
    /// The verdict, where there is one.
    pub verdict: Option<Verdict>,
    /// `schedule.json`.
    pub schedule: Option<Json>,
    /// `run.json`.
    pub run: Option<Json>,
    /// `metrics.jsonl`.
    pub metrics: Metrics,
    /// `brokers/*.log`, by broker.
    pub logs: Vec<BrokerLog>,
    /// What is missing or could not be read, in words.
    pub remarks: Vec<String>,
}

/// `run.json` and `schedule.json` are small; whatever is larger than this, in bytes, is not ours.
const MOST_JSON: u64 = 64 << 20;

/// Logs read; a run has three brokers.
const MOST_LOGS: usize = 32;

/// Reads what is there.
///
/// # Errors
/// When a file exists and the operating system does not let us read it.
pub fn read(dir: &Path) -> Result<Folder, RenderError> {
    let mut folder = Folder {
        name: name(dir),
        ..Folder::default()
    };
    read_history(&mut folder, dir);
    if let Some(text) = text(&dir.join("verdict.json"))? {
        match serde_json::from_str(&text) {
            Ok(verdict) => folder.verdict = Some(verdict),
            Err(error) => folder
                .remarks
                .push(format!("verdict.json cannot be understood: {error}")),
        }
    } else {
        folder.remarks.push(
            "There is no verdict.json: the run was cut off before it was checked. \
             `checker check` on this folder checks what there is."
                .to_owned(),
        );
    }
    folder.schedule = json(&mut folder.remarks, dir, "schedule.json")?;
    folder.run = json(&mut folder.remarks, dir, "run.json")?;
    if let Some(file) = open(&dir.join("metrics.jsonl"))? {
        folder.metrics = metrics::read(io::BufReader::new(file));
    }
    folder.logs = logs(dir, folder.run.as_ref())?;
    if folder
        .history
        .as_ref()
        .is_some_and(|history| history.truncated)
    {
        folder.remarks.push(
            "history.jsonl ends in the middle of a line: the run was cut off. Everything before \
             it is shown."
                .to_owned(),
        );
    }
    Ok(folder)
}

fn read_history(folder: &mut Folder, dir: &Path) {
    match crate::history::read::read_path(dir) {
        Ok(history) => folder.history = Some(history),
        Err(error) => folder.remarks.push(format!("No history: {error}")),
    }
}

/// The folder's own name: `results/latest` is a link to it.
fn name(dir: &Path) -> String {
    let real = fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
    let name = real
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_else(|| "run".to_owned())
}

fn open(path: &Path) -> Result<Option<fs::File>, RenderError> {
    match fs::File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(RenderError::Unreadable {
            path: path.to_owned(),
            source,
        }),
    }
}

fn text(path: &Path) -> Result<Option<String>, RenderError> {
    use io::Read as _;
    let Some(file) = open(path)? else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    let read = file.take(MOST_JSON).read_to_end(&mut bytes);
    read.map_err(|source| RenderError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

fn json(remarks: &mut Vec<String>, dir: &Path, name: &str) -> Result<Option<Json>, RenderError> {
    let Some(text) = text(&dir.join(name))? else {
        return Ok(None);
    };
    match serde_json::from_str(&text) {
        Ok(json) => Ok(Some(json)),
        Err(error) => {
            remarks.push(format!("{name} cannot be understood: {error}"));
            Ok(None)
        }
    }
}

fn logs(dir: &Path, run: Option<&Json>) -> Result<Vec<BrokerLog>, RenderError> {
    let Ok(entries) = fs::read_dir(dir.join("brokers")) else {
        return Ok(Vec::new());
    };
    let mut paths: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    paths.sort();
    paths.truncate(MOST_LOGS);
    let start = run.and_then(broker_log::started);
    let mut logs = Vec::new();
    for path in paths {
        let stem = path
            .file_stem()
            .map(|stem| stem.to_string_lossy().into_owned());
        let name = stem.unwrap_or_default();
        if let Some(file) = open(&path)? {
            let log = broker_log::read(io::BufReader::new(file), name, start);
            logs.push(log.map_err(|source| RenderError::Unreadable { path, source })?);
        }
    }
    Ok(logs)
}
