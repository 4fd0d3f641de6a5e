//! Runs made up for tests of the report: a small cluster of three brokers is acted out with a
//! seeded generator, and written down as the harness writes a run down.
//!
//! They are plausible, not real: the point is that every picture and table has something to show.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value as Json, json};

const MS: i64 = 1_000_000;
const S: i64 = 1_000 * MS;

/// What kind of run to make up.
#[derive(Clone, Copy, Debug)]
pub struct Plot {
    pub seed: u64,
    /// Length of the main phase in seconds.
    pub seconds: i64,
    /// Messages of one batch.
    pub batch: i64,
    /// Messages that are acknowledged and then lost.
    pub lost: usize,
    /// The history ends in the middle of a line, and there is no verdict.
    pub cut_off: bool,
    /// Each message has its own time of acknowledgement.
    pub ack_times: bool,
}

impl Default for Plot {
    fn default() -> Self {
        Plot {
            seed: 42,
            seconds: 30,
            batch: 60,
            lost: 0,
            cut_off: false,
            ack_times: false,
        }
    }
}

struct Fault {
    kind: &'static str,
    partition: usize,
    asked: i64,
    effective: i64,
    healed: i64,
    verified: i64,
    target: i64,
}

/// One message of the log.
#[derive(Clone, Copy)]
struct Message {
    visible: i64,
    value: i64,
    lost: bool,
}

/// A partition: its log, and its leader over time as (from, leader, epoch).
#[derive(Default)]
struct Partition {
    log: Vec<Message>,
    next_value: i64,
    reigns: Vec<(i64, i64, i64)>,
}

impl Partition {
    fn reign(&self, time: i64) -> (i64, i64, i64) {
        let at = self.reigns.partition_point(|(from, ..)| *from <= time);
        self.reigns[at.saturating_sub(1)]
    }
}

/// Events with their times, to be sorted.
#[derive(Default)]
struct Tape {
    events: Vec<(i64, usize, Json)>,
}

impl Tape {
    fn add(&mut self, time: i64, event: Json) {
        self.events.push((time, self.events.len(), event));
    }

    fn op(&mut self, process: Json, f: &str, (from, to): (i64, i64), values: [Json; 2]) {
        let [asked, answered] = values;
        let mut event = json!({"process": process, "type": "invoke", "f": f, "value": asked});
        self.add(from, event.clone());
        event["type"] = json!("ok");
        event["value"] = answered;
        self.add(to, event);
    }

    fn note(&mut self, time: i64, process: &str, f: &str, value: Json) {
        let event = json!({"process": process, "type": "ok", "f": f, "value": value});
        self.add(time, event);
    }
}

const PARTITIONS: usize = 6;

/// Writes a run into `dir`.
pub fn write(dir: &Path, plot: Plot) {
    let mut rng = ChaCha8Rng::seed_from_u64(plot.seed);
    let begin = 2 * S;
    let end = begin + plot.seconds * S;
    let mut tape = Tape::default();
    tape.note(0, "sampler", "config", config(plot));
    tape.note(1, "sampler", "phase", json!("setup"));
    tape.note(begin, "sampler", "phase", json!("main"));
    let faults = faults(&mut rng, begin, end);
    let mut partitions = reigns(&faults);
    for fault in &faults {
        steps(&mut tape, fault);
    }
    produce(
        &mut tape,
        &mut rng,
        plot,
        (begin, end),
        &faults,
        &mut partitions,
    );
    lose(&mut rng, plot, &mut partitions);
    consume(&mut tape, &mut rng, (begin, end), &partitions);
    sample(&mut tape, (begin, end + 4 * S), &partitions);
    tape.note(end, "sampler", "phase", json!("healed"));
    drain(&mut tape, end + S, 100, "drain", &partitions);
    tape.note(end + 5 * S / 2, "sampler", "phase", json!("restart"));
    audit(&mut tape, end + 3 * S, &partitions);
    drain(&mut tape, end + 5 * S, 200, "drain-again", &partitions);
    let lines = lines(tape);
    fs::create_dir_all(dir.join("brokers")).expect("a temporary folder can be written");
    store(dir, plot, &faults, &partitions, &lines);
}

fn config(plot: Plot) -> Json {
    json!({"acks": "all", "idempotence": true, "isolation": "read_uncommitted", "min-isr": 2,
        "replication-factor": 3, "sub-via": "assign", "workload": "batch", "seed": plot.seed,
        "nemesis": ["partition", "kill", "pause"], "partitions": PARTITIONS})
}

fn faults(rng: &mut ChaCha8Rng, begin: i64, end: i64) -> Vec<Fault> {
    let kinds = ["partition", "kill", "pause", "partition", "delay-watermark"];
    let each = (end - begin) / kinds.len() as i64;
    let fault = |(at, kind): (usize, &&'static str)| {
        let asked = begin + each * at as i64 + each / 5 + rng.random_range(0..each / 10);
        let effective = asked + rng.random_range(90..260) * MS;
        let healed = effective + each / 2;
        Fault {
            kind,
            partition: rng.random_range(0..PARTITIONS),
            asked,
            effective,
            healed,
            verified: healed + rng.random_range(100..800) * MS,
            target: 0,
        }
    };
    let mut faults: Vec<Fault> = kinds.iter().enumerate().map(fault).collect();
    let mut leaders: Vec<i64> = (0..PARTITIONS).map(|p| p as i64 % 3 + 1).collect();
    for fault in &mut faults {
        fault.target = leaders[fault.partition];
        if fault.kind != "delay-watermark" {
            for leader in leaders.iter_mut().filter(|leader| **leader == fault.target) {
                *leader = *leader % 3 + 1;
            }
        }
    }
    faults
}

/// Every fault but a delay costs its target all leaderships, some time after its effect.
fn reigns(faults: &[Fault]) -> Vec<Partition> {
    let mut partitions: Vec<Partition> = (0..PARTITIONS)
        .map(|p| Partition {
            reigns: vec![(0, p as i64 % 3 + 1, 0)],
            ..Partition::default()
        })
        .collect();
    for fault in faults
        .iter()
        .filter(|fault| fault.kind != "delay-watermark")
    {
        for (p, partition) in partitions.iter_mut().enumerate() {
            let (_, leader, epoch) = partition.reign(fault.effective);
            if leader == fault.target {
                let from = fault.effective + (1_400 + 130 * p as i64) * MS;
                partition.reigns.push((from, leader % 3 + 1, epoch + 1));
            }
        }
    }
    partitions
}

fn steps(tape: &mut Tape, fault: &Fault) {
    let steps = [
        ("asked", fault.asked),
        ("effective", fault.effective),
        ("healed", fault.healed),
        ("verified", fault.verified),
    ];
    for (step, time) in steps {
        let value = json!({"fault": fault.kind, "id": fault.asked / MS, "step": step,
            "targets": [format!("n{}", fault.target)], "role": "leader",
            "partition": format!("batch-{}", fault.partition)});
        tape.note(time, "nemesis", fault.kind, value);
    }
}

/// When a write that reaches the partition at `time` is acknowledged.
fn acknowledged(rng: &mut ChaCha8Rng, time: i64, faults: &[Fault], partition: &Partition) -> i64 {
    let normal = time + rng.random_range(3_000..24_000) * MS / 1_000;
    let hit = faults.iter().find(|fault| {
        let (_, leader, _) = partition.reign(fault.effective);
        leader == fault.target && (fault.effective..fault.healed).contains(&time)
    });
    let Some(fault) = hit else {
        return normal;
    };
    if fault.kind == "delay-watermark" {
        return normal + rng.random_range(120..260) * MS;
    }
    let next = partition
        .reigns
        .iter()
        .find(|(from, ..)| *from > fault.effective);
    let elected = next.map_or(fault.healed, |(from, ..)| *from);
    normal.max(elected + rng.random_range(20..120) * MS)
}

fn produce(
    tape: &mut Tape,
    rng: &mut ChaCha8Rng,
    plot: Plot,
    (begin, end): (i64, i64),
    faults: &[Fault],
    partitions: &mut [Partition],
) {
    let mut clocks: Vec<(i64, u64)> = (0..4).map(|p| (begin + p * 7 * MS, p as u64)).collect();
    let mut fresh = 40;
    while let Some(at) = (0..clocks.len())
        .filter(|at| clocks[*at].0 < end)
        .min_by_key(|at| clocks[*at])
    {
        let (from, process) = clocks[at];
        let mut invoked = Vec::new();
        let mut completed = Vec::new();
        let mut times = Vec::new();
        let mut done = from;
        let mut timed_out = false;
        for n in 0..plot.batch {
            let p = n as usize % partitions.len();
            let sent = from + n * 40_000;
            let heard = acknowledged(rng, sent, faults, &partitions[p]);
            let partition = &mut partitions[p];
            let value = partition.next_value;
            partition.next_value += 1;
            let key = format!("batch-{p}");
            invoked.push(json!(["send", key, value]));
            let gives_up = heard - from > 2 * S && rng.random_bool(0.3);
            timed_out |= gives_up;
            done = done.max(if gives_up { from + 2 * S } else { heard });
            let offset = partition.log.len() as i64;
            let message = Message {
                visible: heard,
                value,
                lost: false,
            };
            partition.log.push(message);
            let offset = if gives_up { json!(null) } else { json!(offset) };
            completed.push(json!(["send", key, [offset, value]]));
            times.push(if gives_up { json!(null) } else { json!(heard) });
        }
        tape.add(
            from,
            json!({"process": process, "type": "invoke", "f": "send", "value": invoked}),
        );
        let mut event = json!({"process": process, "type": "ok", "f": "send", "value": completed});
        if plot.ack_times {
            event["ack-times"] = json!(times);
        }
        if timed_out {
            event["type"] = json!("info");
            event["error"] = json!({"code": "_MSG_TIMED_OUT",
                "message": "Local: Message timed out <b>bold</b>"});
            fresh += 1;
        }
        tape.add(done, event);
        clocks[at] = (done + 2 * MS, if timed_out { fresh } else { process });
    }
}

fn lose(rng: &mut ChaCha8Rng, plot: Plot, partitions: &mut [Partition]) {
    let log = &mut partitions[2].log;
    let from = log.len() / 3 + rng.random_range(0..10);
    for message in log.iter_mut().skip(from).take(plot.lost) {
        message.lost = true;
    }
}

fn consume(
    tape: &mut Tape,
    rng: &mut ChaCha8Rng,
    (begin, end): (i64, i64),
    partitions: &[Partition],
) {
    for consumer in 0..2usize {
        let process = 10 + consumer;
        let keys: Vec<usize> = (0..PARTITIONS).filter(|p| p % 2 == consumer).collect();
        let names: Vec<String> = keys.iter().map(|p| format!("batch-{p}")).collect();
        let assigned = [json!(names), json!(names)];
        tape.op(
            json!(process),
            "assign",
            (begin - S, begin - S + MS),
            assigned,
        );
        let mut at = [0; PARTITIONS];
        let mut time = begin;
        while time < end + S {
            let took = rng.random_range(20..60) * MS;
            let mut read = BTreeMap::new();
            for &p in &keys {
                let records = visible(&partitions[p].log, &mut at[p], time, 500);
                if !records.is_empty() {
                    read.insert(format!("batch-{p}"), records);
                }
            }
            let values = [json!([["poll"]]), json!([["poll", read]])];
            tape.op(json!(process), "poll", (time, time + took), values);
            time += took + MS;
        }
    }
}

/// The next records of a log that are visible at a time, in order.
fn visible(log: &[Message], at: &mut usize, time: i64, most: usize) -> Vec<Json> {
    let mut records = Vec::new();
    while let Some(message) = log.get(*at).filter(|message| message.visible <= time) {
        if records.len() == most {
            break;
        }
        if !message.lost {
            records.push(json!([*at, message.value]));
        }
        *at += 1;
    }
    records
}

fn sample(tape: &mut Tape, (from, until): (i64, i64), partitions: &[Partition]) {
    let mut time = from;
    while time < until {
        let mut answer = BTreeMap::new();
        for (p, partition) in partitions.iter().enumerate() {
            let end = partition.log.partition_point(|m| m.visible <= time);
            let (_, leader, epoch) = partition.reign(time);
            answer.insert(
                format!("batch-{p}"),
                json!({"log-start": 0, "lso": end, "high-watermark": end, "leader": leader,
                    "epoch": epoch, "asked": leader}),
            );
        }
        let values = [json!(null), json!(answer)];
        tape.op(
            json!("sampler"),
            "list-offsets",
            (time, time + 3 * MS),
            values,
        );
        time += 200 * MS;
    }
}

fn drain(tape: &mut Tape, from: i64, process: u64, phase: &str, partitions: &[Partition]) {
    tape.note(from, "sampler", "phase", json!(phase));
    let mut ranges = BTreeMap::new();
    let mut time = from + MS;
    let asked = json!({"process": process, "type": "invoke", "f": "drain", "value": null});
    tape.add(time, asked);
    for (p, partition) in partitions.iter().enumerate() {
        let key = format!("batch-{p}");
        let mut at = 0;
        while at < partition.log.len() {
            let records = visible(&partition.log, &mut at, i64::MAX, 1_000);
            let read = BTreeMap::from([(key.clone(), records)]);
            let values = [json!([["poll"]]), json!([["poll", read]])];
            tape.op(json!(process), "poll", (time + MS, time + 9 * MS), values);
            time += 10 * MS;
        }
        ranges.insert(key, json!([0, partition.log.len()]));
    }
    let done = json!({"process": process, "type": "ok", "f": "drain", "value": ranges});
    tape.add(time + MS, done);
}

fn audit(tape: &mut Tape, from: i64, partitions: &[Partition]) {
    for broker in 1..=3i64 {
        let partition = &partitions[2];
        let kept = partition.log.iter().enumerate().filter(|(_, m)| !m.lost);
        let records: Vec<Json> = kept.map(|(o, m)| json!([o, 0, m.value])).collect();
        let held = json!({"batch-2": {"broker": broker, "high-watermark": partition.log.len(),
            "records": records}});
        let time = from + broker * 100 * MS;
        let values = [json!(null), held];
        tape.op(json!("sampler"), "audit", (time, time + 50 * MS), values);
    }
}

fn lines(mut tape: Tape) -> Vec<String> {
    tape.events.sort_by_key(|(time, order, _)| (*time, *order));
    let events = tape.events.into_iter().enumerate();
    events
        .map(|(index, (time, _, mut event))| {
            event["index"] = json!(index);
            event["time"] = json!(time);
            event.to_string()
        })
        .collect()
}

fn store(dir: &Path, plot: Plot, faults: &[Fault], partitions: &[Partition], lines: &[String]) {
    let mut text = lines.join("\n");
    text.push('\n');
    if plot.cut_off {
        text.truncate(text.len() * 2 / 3);
    }
    write_file(dir, "history.jsonl", &text);
    let command = format!(
        "cargo run -p harness -- --nemesis partition,kill,pause --seed {}",
        plot.seed
    );
    let run = json!({"replay": command, "seed": plot.seed, "started": "2026-01-02T03:04:05Z",
        "nemesis": "partition,kill,pause", "runtime": "docker",
        "versions": {"broker": "0.1.0", "librdkafka": "2.12.1", "kernel": "6.18"}});
    write_file(dir, "run.json", &run.to_string());
    let schedule: Vec<Json> = faults
        .iter()
        .map(|fault| json!({"fault": fault.kind, "at-ms": fault.asked / MS}))
        .collect();
    write_file(
        dir,
        "schedule.json",
        &json!({"generated": schedule}).to_string(),
    );
    for broker in 1..=3 {
        write_file(dir, &format!("brokers/{broker}.log"), &log(broker, faults));
    }
    write_file(dir, "metrics.jsonl", &metrics(faults));
    if !plot.cut_off {
        let verdict = verdict(faults, partitions, lines);
        write_file(dir, "verdict.json", &verdict.to_string());
    }
}

fn write_file(dir: &Path, name: &str, text: &str) {
    fs::write(dir.join(name), text).expect("a temporary folder can be written");
}

fn log(broker: i64, faults: &[Fault]) -> String {
    let mut text = String::from("2026-01-02T03:04:05.1Z  INFO broker: starting\n");
    for fault in faults {
        let second = 5 + fault.effective / S;
        let (level, what) = match broker == fault.target {
            true => ("WARN", "lost the leadership of"),
            false => ("INFO", "new leader for"),
        };
        let _ = writeln!(
            text,
            "2026-01-02T03:{:02}:{:02}.500Z  {level} broker::replica: {what} batch-{} \u{1b}[31m<i>",
            4 + second / 60,
            second % 60,
            fault.partition
        );
    }
    text
}

fn metrics(faults: &[Fault]) -> String {
    let mut text = String::new();
    for step in 0..150i64 {
        let time = 2 * S + step * 200 * MS;
        for broker in 1..=3i64 {
            let cut = faults
                .iter()
                .find(|fault| (fault.effective..fault.healed).contains(&time));
            let lag = cut.map_or(2, |fault| (time - fault.effective) / (10 * MS));
            let name = format!(
                "broker_watermark_lag{{partition=\"batch-0\",follower=\"{}\"}}",
                broker % 3 + 1
            );
            let line = json!({"time": time, "broker": broker, "metrics": {name: lag}});
            let _ = writeln!(text, "{line}");
        }
    }
    text
}

fn verdict(faults: &[Fault], partitions: &[Partition], lines: &[String]) -> Json {
    let acknowledged: u64 = partitions.iter().map(|p| p.log.len() as u64).sum();
    let windows: Vec<Json> = faults
        .iter()
        .map(|fault| {
            json!({"id": (fault.asked / MS).to_string(), "fault": fault.kind,
                "targets": [format!("n{}", fault.target)], "asked": fault.asked,
                "effective": fault.effective, "healed": fault.healed,
                "verified": fault.verified, "aimed-at-leader": true, "leader-changes": 2,
                "acknowledged": 512})
        })
        .collect();
    let lost = partitions[2].log.iter().enumerate().filter(|(_, m)| m.lost);
    let lost: Vec<(usize, Message)> = lost.map(|(o, m)| (o, *m)).collect();
    let details: Vec<Json> = lost.iter().map(|(o, m)| witness(*o, m, lines)).collect();
    let stories: Vec<Json> = lost
        .iter()
        .map(|(o, m)| story(*o, m, faults, lines))
        .collect();
    let (word, sentence, anomalies) = match lost.len() {
        0 => (
            "valid",
            format!("All {acknowledged} acknowledged messages were read back, twice."),
            json!({}),
        ),
        n => (
            "invalid",
            format!(
                "{n} of {acknowledged} acknowledged messages are gone: no consumer ever got them, \
                 and no replica holds them."
            ),
            json!({"lost-write": details}),
        ),
    };
    json!({"schema": 1, "verdict": word, "sentence": sentence, "anomalies": anomalies,
        "allowed": {"int-send-skip": [{"key": "batch-0", "values": [1, 4], "delta": 3, "op": 9}]},
        "totals": {"int-send-skip": 12},
        "counts": {"ops": 1, "ok": 1, "fail": 0, "info": 0, "acknowledged": acknowledged,
            "polled": acknowledged},
        "worst-realtime-lag": null, "profile": "safe",
        "clauses": {"lost-write": "acks=all with min.insync.replicas=2: an acknowledged message \
            survives the loss of any one replica"},
        "criteria": [
            {"name": "leader-changes", "achieved": 4.0, "required": 4.0, "met": true,
                "says": "every fault aimed at a leader changed a leader epoch"},
            {"name": "acks-in-faults", "achieved": 0.43, "required": 0.1, "met": true,
                "says": "43 % of the acknowledgements were invoked inside fault windows"}],
        "faults": windows, "stories": stories, "notes": []})
}

/// The index of the first completion that mentions a record.
fn mention(lines: &[String], f: &str, needle: &str) -> (i64, i64) {
    let kind = format!("\"f\":\"{f}\"");
    let line = lines
        .iter()
        .find(|line| line.contains(&kind) && line.contains(needle));
    let event: Json = line.map_or(Json::Null, |line| serde_json::from_str(line).expect("JSON"));
    let number = |name: &str| event[name].as_i64().unwrap_or(-1);
    (number("index"), number("time"))
}

fn witness(offset: usize, message: &Message, lines: &[String]) -> Json {
    let needle = format!("\"batch-2\",[{offset},{}]", message.value);
    let (writer, _) = mention(lines, "send", &needle);
    json!({"key": "batch-2", "value": message.value, "index": offset, "max-read-index": offset + 40,
        "writer": writer, "max-read": lines.len() - 40})
}

fn story(offset: usize, message: &Message, faults: &[Fault], lines: &[String]) -> Json {
    let needle = format!("\"batch-2\",[{offset},{}]", message.value);
    let (op, time) = mention(lines, "send", &needle);
    let evidence = |after: i64, actor: &str, kind: &str, present: Option<bool>, says: &str| {
        json!({"time": time + after, "op": op, "actor": actor, "kind": kind, "present": present,
            "says": says})
    };
    let fault = faults
        .iter()
        .find(|fault| (fault.asked..fault.verified).contains(&time));
    json!({"anomaly": "lost-write", "key": "batch-2", "value": message.value, "offset": offset,
        "whereabouts": "on-no-replica",
        "sentence": format!("Acknowledged at offset {offset}, then gone."),
        "faults": fault.map_or_else(Vec::new, |fault| vec![(fault.asked / MS).to_string()]),
        "evidence": [
            evidence(-20 * MS, "client 1", "sent", None, "sent in a batch of 60"),
            evidence(0, "client 1", "acknowledged", Some(true), "acknowledged by broker 3"),
            evidence(150 * MS, "broker 3", "watermark", Some(true), "high watermark covers it"),
            evidence(4 * S, "broker 1", "watermark", Some(false), "high watermark below it"),
            evidence(6 * S, "client 10", "fetch", Some(false), "read past its offset without it"),
            evidence(9 * S, "client 100", "drain", Some(false), "complete pass without it"),
            evidence(10 * S, "broker 1", "audit", Some(false), "not in its log"),
            evidence(10 * S, "broker 2", "audit", Some(false), "not in its log"),
            evidence(10 * S, "broker 3", "audit", Some(false), "not in its log")]})
}
