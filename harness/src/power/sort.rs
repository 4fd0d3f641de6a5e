//! Which runs are of one sort: those that differ in their seed alone. Everything else that could
//! make one run find what another cannot is compared: settings, the runtime, the builds of the
//! harness and of the broker, and, where the faults were not drawn from the seed, the faults.

use std::path::Path;

use nemesis::Schedule;
use serde_json::{Map, Value as Json, json};

use crate::cli::RunArgs;
use crate::run::schedule_spec;

/// What follows from the seed, or is the same by definition.
const DRAWN: [&str; 4] = ["seed", "faults", "clock-rates", "links"];

/// The sort of a run, for `run.json`; `config` is what its history begins with.
#[must_use]
pub fn sort(args: &RunArgs, config: &Json, broker: Option<&Path>) -> Json {
    let settings = config.as_object().cloned().unwrap_or_default();
    let settings = settings
        .into_iter()
        .filter(|(name, _)| !DRAWN.contains(&name.as_str()));
    let mut settings: Map<String, Json> = settings.collect();
    settings.insert("overlap".to_owned(), json!(args.overlap));
    settings.insert("cut-clients".to_owned(), json!(args.cut_clients));
    let image = args.target.image.as_ref().filter(|_| broker.is_none());
    settings.insert("image".to_owned(), json!(image));
    let seed = config["seed"].as_u64().unwrap_or_default();
    let drawn = Schedule::generate(seed, &schedule_spec(args)).map(|schedule| schedule.faults);
    let written = args.faults.as_ref();
    // A replay of what the seed would have given is no other sort.
    let written = written.filter(|faults| drawn.as_ref().ok() != Some(faults));
    let faults = written.map(|faults| {
        let text = serde_json::to_vec(faults).unwrap_or_default();
        format!("{:08x}", crc32c::crc32c(&text))
    });
    let harness = std::env::current_exe().ok();
    json!({
        "settings": settings,
        "faults": faults,
        "builds": {
            "harness": harness.as_deref().and_then(build),
            "broker": broker.and_then(build),
        },
    })
}

/// Tells one build of a program from another: a checksum of the file, and its length.
fn build(program: &Path) -> Option<String> {
    let bytes = std::fs::read(program).ok()?;
    Some(format!("{:08x}-{}", crc32c::crc32c(&bytes), bytes.len()))
}

/// The same without the builds, to compare across them.
#[must_use]
pub fn across_builds(sort: &Json) -> Json {
    let mut sort = sort.clone();
    if let Some(fields) = sort.as_object_mut() {
        fields.remove("builds");
    }
    sort
}

/// A sort in a few words: its nemesis, runtime, and what is not as it is by default.
#[must_use]
pub fn name(sort: &Json) -> String {
    let settings = &sort["settings"];
    let text = |name: &str| match &settings[name] {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut words = vec![
        format!("nemesis {}", text("nemesis")),
        text("runtime"),
        format!("target {}", text("target")),
        format!("acks {}", text("acks")),
        format!("{} messages", text("messages")),
        format!("{} s", text("time-seconds")),
    ];
    if settings["overlap"] == true {
        words.push("overlapping".to_owned());
    }
    if let Some(bug) = settings["seeded-bug"].as_str() {
        words.push(format!("seeded bug {bug}"));
    }
    if sort["faults"].is_string() {
        words.push(format!("schedule {}", text_of(&sort["faults"])));
    }
    words.join(", ")
}

fn text_of(json: &Json) -> &str {
    json.as_str().unwrap_or_default()
}
