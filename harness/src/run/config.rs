//! The settings of a run as its history tells them: what profiles and vacuity need, and more.

use serde_json::{Value as Json, json};

use super::Own;
use crate::cli::{RunArgs, Setting, Workload};
use crate::history::{Event, Kind, Process, Recorder, Value};

/// Every setting.
#[must_use]
pub fn config(args: &RunArgs, seed: u64, own: Option<&Own>, faults: usize) -> Json {
    json!({
        "workload": match args.workload {
            Workload::Batch => "batch",
            Workload::LargeBatch => "large-batch",
        },
        "nemesis": args.nemesis().to_string(),
        // What vacuity holds the run to: faults that are scheduled, and complete passes.
        "faults": faults,
        "passes": if own.is_some() { 2 } else { 1 },
        "runtime": own.map_or("external", |own| own.kind.name()),
        "seed": seed,
        "acks": args.acks.to_string(),
        "idempotence": args.idempotence(),
        "isolation": "read_committed",
        "min-isr": args.min_insync_replicas(),
        "replication-factor": args.replication_factor(),
        "sub-via": "assign",
        "brokers": args.brokers,
        "partitions": args.partitions(),
        "producers": args.producers,
        "trickles": args.trickles,
        "consumers": args.consumers,
        "batch": args.batch,
        "messages": args.messages(),
        "rate": args.rate(),
        "time-seconds": args.time.as_secs_f64(),
        "size": [args.size.start(), args.size.end()],
        "durability": format!("{:?}", args.durability()).to_lowercase(),
        "target": args.target.target.name(),
        "broker-config": settings(&args.target.broker_config),
        "topic-config": settings(&args.topic_config),
        "seeded-bug": args.seeded_bug.map(|bug| bug.name()),
        "recovery-limit-seconds": args.recovery_limit.as_secs_f64(),
    })
}

/// What was asked for by name, the later one where a name is there twice.
fn settings(settings: &[Setting]) -> Json {
    let named = settings.iter().map(|(k, v)| (k.clone(), json!(v)));
    Json::Object(named.collect())
}

/// The first operation of a history.
pub fn record_config(recorder: &Recorder, config: Json) {
    let value = Value::Json(config);
    recorder.record(Event::new(Process::Sampler, Kind::Ok, "config", value));
}
