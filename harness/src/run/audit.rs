//! What the disks hold: the log of every broker, read after all of them were stopped.
//!
//! This tells a message that no replica has from one that is there and was not served, and finds
//! replicas that differ where no reader has looked. Nothing is repaired: the logs are read as
//! recovery would read them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use broker::log::dump::{Found, scan_log};
use nemesis::NodeId;
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::threads::on_thread;
use crate::history::{Event, Kind, Process, Recorder, Value};
use crate::runtime::Runtime;
use crate::value;

const STOP_WITHIN: Duration = Duration::from_secs(10);

/// The topics of a run by their identity on disk.
pub type Topics = BTreeMap<Uuid, String>;

/// Stops every broker and records an `audit` operation for each. Returns what could not be read.
pub async fn audit(
    runtime: &dyn Runtime,
    topics: &Topics,
    run: u64,
    scratch: &Path,
    recorder: &Recorder,
) -> Vec<String> {
    let mut broken = Vec::new();
    let nodes = runtime.nodes();
    let stops = nodes.iter().map(|node| runtime.stop(*node, STOP_WITHIN));
    for result in futures_util::future::join_all(stops).await {
        if let Err(error) = result {
            broken.push(format!("a broker could not be stopped: {error}"));
        }
    }
    for node in nodes {
        let copy = scratch.join(format!(".data-{}", node.0));
        let job = Job {
            broker: node.0,
            dir: copy,
            topics: topics.clone(),
            run,
        };
        if let Err(error) = audit_one(runtime, node, job, recorder).await {
            broken.push(format!(
                "the log of broker {node} could not be audited: {error:#}"
            ));
        }
    }
    broken
}

struct Job {
    broker: u32,
    dir: PathBuf,
    topics: Topics,
    run: u64,
}

async fn audit_one(
    runtime: &dyn Runtime,
    node: NodeId,
    job: Job,
    recorder: &Recorder,
) -> anyhow::Result<()> {
    let dir = job.dir.clone();
    let event = |kind, value| Event::new(Process::Sampler, kind, "audit", value);
    recorder.record(event(Kind::Invoke, Value::Json(Json::Null)));
    let read = match runtime.copy_data(node, &dir).await {
        Ok(()) => on_thread("audit", move || read(&job)).await,
        Err(error) => Err(error).context("its data cannot be copied"),
    };
    let done = match read {
        Ok(text) => event(Kind::Ok, Value::Text(text)),
        Err(ref error) => {
            let why = json!({"code": "AUDIT", "message": format!("{error:#}")});
            event(Kind::Fail, Value::Json(Json::Null)).with_error(Some(why))
        }
    };
    let failed = done.error.clone();
    recorder.record(done);
    if dir.exists() {
        std::fs::remove_dir_all(&dir).context("the copy of its data cannot be removed")?;
    }
    match failed {
        None => Ok(()),
        Some(why) => Err(anyhow::anyhow!(
            "{}",
            why["message"].as_str().unwrap_or("?")
        )),
    }
}

/// The value of one `audit` operation: each key with the records of this replica.
fn read(job: &Job) -> anyhow::Result<String> {
    let topics = &job.topics;
    told(job.broker, topics, job.run, |found| {
        Ok(scan_log(&job.dir, found)?)
    })
}

/// The value of one `audit` operation, of whatever `scan` tells.
pub fn told(
    broker: u32,
    topics: &Topics,
    run: u64,
    scan: impl FnOnce(&mut dyn FnMut(Found<'_>)) -> anyhow::Result<()>,
) -> anyhow::Result<String> {
    let mut text = String::from("{");
    // The partition that is being read, with the partition's number; none where it is not ours.
    let mut current: Option<i32> = None;
    let mut first_record = true;
    scan(&mut |found| match found {
        Found::Partition {
            tp,
            log_start,
            log_end,
            high_watermark,
        } => {
            close(&mut text, current.take());
            let Some(name) = topics.get(&tp.topic.0) else {
                return;
            };
            let comma = if text.len() > 1 { "," } else { "" };
            // Writing to a string cannot fail.
            let _ = write!(
                text,
                r#"{comma}"{name}-{}":{{"broker":{},"log-start":{log_start},"log-end":{log_end},"high-watermark":{high_watermark},"records":["#,
                tp.partition, broker
            );
            current = Some(tp.partition);
            first_record = true;
        }
        Found::Record {
            offset,
            epoch,
            value,
        } => {
            let Some(partition) = current else { return };
            let comma = if first_record { "" } else { "," };
            first_record = false;
            let payload = value.unwrap_or_default();
            let _ = match value::decode(payload, run, partition) {
                Ok(value) => write!(text, "{comma}[{offset},{epoch},{value}]"),
                Err(why) => {
                    let why = Json::from(why.to_string());
                    write!(
                        text,
                        r#"{comma}[{offset},{epoch},null,{{"corrupt":{why}}}]"#
                    )
                }
            };
        }
        Found::Damage { offset } => {
            tracing::warn!(broker, %offset, "a log cannot be read from here on");
        }
    })?;
    close(&mut text, current);
    text.push('}');
    Ok(text)
}

fn close(text: &mut String, current: Option<i32>) {
    if current.is_some() {
        text.push_str("]}");
    }
}
