//! Plays a script of [`super::scripts`] into a history, all at once, by processes of its own.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::World;
use super::clients::Clients;
use super::partition::State;
use super::record::Recorder;
use super::scripts::{CLEAN, ENDS, LOGS};

/// Steps of the model between two scenes of a correct cluster: about a thousand operations.
const STEPS_BETWEEN: u64 = 3000;

/// More processes than a scene has.
pub const PROCESSES: u64 = 8;

/// Scripts are ours, so what is wrong with one is a fault of ours.
const GOOD: &str = "a good script";

/// A scene on logs.
struct Scene<'s, 'w, W: Write> {
    world: &'s mut World,
    recorder: &'s mut Recorder<'w, W>,
    /// The first of its processes, and its own number.
    base: u64,
    /// By letter.
    partitions: BTreeMap<char, usize>,
    /// By letter and label: offset and value.
    messages: BTreeMap<(char, String), (Option<i64>, i64)>,
}

/// Plays what is due, and now and then what a correct cluster does.
pub fn play_due(
    world: &mut World,
    recorder: &mut Recorder<impl Write>,
    clients: &mut Clients,
    step: u64,
) -> io::Result<()> {
    if step % STEPS_BETWEEN == STEPS_BETWEEN - 1 {
        let turn = (step / STEPS_BETWEEN) as usize % CLEAN.len();
        play(world, recorder, clients, CLEAN[turn])?;
    }
    if world.injector.idle() {
        return Ok(());
    }
    for &(injection, script) in LOGS {
        if world.injector.is_due(injection) && play(world, recorder, clients, script)? {
            world.injector.take(injection);
        }
    }
    Ok(())
}

/// Plays what is due at the end.
pub fn play_ends(
    world: &mut World,
    recorder: &mut Recorder<impl Write>,
    clients: &mut Clients,
) -> io::Result<()> {
    for &(injection, script) in ENDS {
        while world.injector.is_due(injection) && play(world, recorder, clients, script)? {
            world.injector.take(injection);
        }
    }
    Ok(())
}

/// Plays a script; `false`, and nothing is changed, where its partitions are in the middle of
/// something.
fn play(
    world: &mut World,
    recorder: &mut Recorder<impl Write>,
    clients: &mut Clients,
    script: &str,
) -> io::Result<bool> {
    let letters: Vec<char> = ['x', 'y', 'z', 'w']
        .into_iter()
        .filter(|&letter| mentions(script, letter))
        .collect();
    // Behind an open transaction nothing can be read; and there is a leader before this one.
    let quiet = (0..world.partitions.len()).filter(|&at| {
        let partition = &mut world.partitions[at];
        partition.replicate();
        partition.stable() == partition.watermark && partition.epoch > 0
    });
    let quiet: Vec<usize> = quiet.take(letters.len()).collect();
    if quiet.len() < letters.len() {
        return Ok(false);
    }
    let mut scene = Scene {
        base: clients.processes(PROCESSES),
        world,
        recorder,
        partitions: letters.into_iter().zip(quiet).collect(),
        messages: BTreeMap::new(),
    };
    for line in script.lines() {
        scene.line(line.trim())?;
    }
    Ok(true)
}

fn mentions(script: &str, letter: char) -> bool {
    let words = script.split([' ', '\n']);
    let key = |word: &str| word.trim_start_matches("offsets:").starts_with(letter);
    words
        .filter(|word| word.len() == 1 || word.contains(['=', ':', '>']))
        .any(key)
}

impl<W: Write> Scene<'_, '_, W> {
    fn line(&mut self, line: &str) -> io::Result<()> {
        let (line, beside) = line.split_once(" ; ").unwrap_or((line, ""));
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[0] {
            "log" => {
                let at = self.partition(words[1]);
                for label in &words[2..] {
                    let value = self.world.partitions[at].fresh_value();
                    let offset = self.world.partitions[at].append(value, State::Plain);
                    self.messages
                        .insert(named(words[1], label), (Some(offset), value));
                }
                self.world.partitions[at].replicate();
                Ok(())
            }
            "hide" | "cut" => {
                let offset = self.message(words[1], words[2]).0.expect(GOOD);
                let at = self.partition(words[1]);
                let partition = &mut self.world.partitions[at];
                match words[0] {
                    "hide" => partition.decide(offset, State::Aborted),
                    _ => partition.cut(offset),
                }
                Ok(())
            }
            "sample" => self.sample(&words[1..]),
            "audit" => self.audit(&words[1..]),
            "wait" => {
                let seconds: u64 = words[1].parse().expect(GOOD);
                self.recorder.wait(seconds * 1_000_000_000);
                Ok(())
            }
            "nemesis" => {
                let value = format!(
                    r#"{{"fault":"kill","id":"kill-{}","step":"{}"}}"#,
                    self.base, words[1]
                );
                self.event("\"nemesis\"", "info", "kill", &value, "")
            }
            who => self.operation(who, &words[1..], beside),
        }
    }

    fn partition(&self, word: &str) -> usize {
        let letter = word.chars().next().expect(GOOD);
        self.partitions[&letter]
    }

    fn key(&self, word: &str) -> String {
        format!("\"t-{}\"", self.partition(word))
    }

    /// A message; one that stands in no log is given a value.
    fn message(&mut self, key: &str, label: &str) -> (Option<i64>, i64) {
        let at = self.partition(key);
        let partition = &mut self.world.partitions[at];
        *self
            .messages
            .entry(named(key, label))
            .or_insert_with(|| (None, partition.fresh_value()))
    }

    fn operation(&mut self, who: &str, words: &[&str], beside: &str) -> io::Result<()> {
        let number: u64 = who.trim_end_matches(['>', '<']).parse().expect(GOOD);
        let process = (self.base + number).to_string();
        let beside = match beside.replace('$', &self.base.to_string()) {
            fields if fields.is_empty() => fields,
            fields => format!(",{fields}"),
        };
        let (kind, words) = match who.ends_with('>') {
            true => ("invoke", words),
            false => (words[0], &words[1..]),
        };
        if !who.ends_with('<') {
            let asked = self.value("invoke", words[0], &words[1..]);
            self.event(&process, "invoke", words[0], &asked, &beside)?;
        }
        if kind == "invoke" {
            return Ok(());
        }
        let answer = self.value(kind, words[0], &words[1..]);
        self.event(&process, kind, words[0], &answer, &beside)
    }

    fn value(&mut self, kind: &str, f: &str, words: &[&str]) -> String {
        if f.ends_with("-offsets") {
            let offsets: Vec<String> = words.iter().map(|word| self.after(word)).collect();
            let group = self.base;
            return format!(
                r#"{{"group":"g-{group}","offsets":{{{}}}}}"#,
                offsets.join(",")
            );
        }
        let mops = words.iter().map(|word| self.micro_op(kind, word));
        let mops: Vec<String> = mops.collect();
        format!("[{}]", mops.join(","))
    }

    /// `x>1`: the offset after a message.
    fn after(&mut self, word: &str) -> String {
        let (key, label) = word.split_once('>').expect(GOOD);
        let offset = self.message(key, label).0.expect(GOOD) + 1;
        format!("{}:{offset}", self.key(key))
    }

    fn micro_op(&mut self, kind: &str, word: &str) -> String {
        if let Some(offsets) = word.strip_prefix("offsets:") {
            let group = self.base;
            return format!(r#"["offsets","g-{group}",{{{}}}]"#, self.after(offsets));
        }
        if let Some((key, message)) = word.split_once('=') {
            let (label, told) = message.split_once('@').unwrap_or((message, ""));
            let (offset, value) = self.message(key, label);
            let offset = match (told, offset) {
                ("", Some(offset)) if kind == "ok" => offset.to_string(),
                ("", _) => "null".to_owned(),
                (told, _) => told.to_owned(),
            };
            let key = self.key(key);
            return match kind {
                "invoke" => format!(r#"["send",{key},{value}]"#),
                _ => format!(r#"["send",{key},[{offset},{value}]]"#),
            };
        }
        if kind == "invoke" {
            return r#"["poll"]"#.to_owned();
        }
        let (key, labels) = word.split_once(':').expect(GOOD);
        let records = labels.split(',').map(|label| {
            let (offset, value) = self.message(key, label);
            format!("[{},{value}]", offset.expect(GOOD))
        });
        let records: Vec<String> = records.collect();
        format!(r#"["poll",{{{}:[{}]}}]"#, self.key(key), records.join(","))
    }

    fn sample(&mut self, words: &[&str]) -> io::Result<()> {
        let at = self.partition(words[0]);
        let mut watermark = self.world.partitions[at].watermark;
        let (mut leader, mut epoch) = {
            let partition = &self.world.partitions[at];
            (partition.leader, partition.epoch)
        };
        let mut asked = leader;
        let brokers = self.world.brokers;
        match words.get(1) {
            // Another one claims the same epoch.
            Some(&"other") => {
                leader = leader % brokers + 1;
                asked = leader;
            }
            // The same broker speaks of the leader before.
            Some(&"before") => {
                leader = (leader + brokers - 2) % brokers + 1;
                epoch -= 1;
            }
            Some(word) => {
                let label = word.strip_prefix("hw=").expect(GOOD);
                watermark = self.message(words[0], label).0.expect(GOOD);
            }
            None => {}
        }
        self.recorder.sample_invoked()?;
        let key = self.key(words[0]);
        let answer = format!(
            r#"{{{key}:{{"log-start":0,"lso":{watermark},"high-watermark":{watermark},"leader":{leader},"epoch":{epoch},"asked":{asked}}}}}"#
        );
        self.event("\"sampler\"", "ok", "list-offsets", &answer, "")
    }

    fn audit(&mut self, words: &[&str]) -> io::Result<()> {
        let (at, broker) = (self.partition(words[0]), words[1]);
        let epoch = self.world.partitions[at].epoch;
        let watermark = self.world.partitions[at].watermark;
        let mut next = 0;
        let mut records = Vec::new();
        for label in &words[2..] {
            let (offset, value) = self.message(words[0], label);
            // One that stands in no log stands here after the one before it.
            next = offset.unwrap_or(next + 1);
            records.push(format!("[{next},{epoch},{value}]"));
        }
        let value = format!(
            r#"{{{}:{{"broker":{broker},"high-watermark":{watermark},"records":[{}]}}}}"#,
            self.key(words[0]),
            records.join(",")
        );
        self.event("\"sampler\"", "ok", "audit", &value, "")
    }

    fn event(
        &mut self,
        process: &str,
        kind: &str,
        f: &str,
        value: &str,
        beside: &str,
    ) -> io::Result<()> {
        self.recorder.begin(process, kind, f).push_str(value);
        self.recorder.end(beside)
    }
}

fn named(key: &str, label: &str) -> (char, String) {
    (key.chars().next().expect(GOOD), label.to_owned())
}

/// Plays a script of lists: on keys and by processes of its own, from these numbers on.
pub fn play_lists(
    recorder: &mut Recorder<impl Write>,
    script: &str,
    (first_key, base): (u64, u64),
) -> io::Result<()> {
    for line in script.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let who = words[0];
        let number: u64 = who.trim_end_matches(['>', '<']).parse().expect(GOOD);
        let (kind, words) = match who.ends_with('>') {
            true => ("invoke", &words[1..]),
            false => (words[1], &words[2..]),
        };
        let mut event = |kind: &str| {
            let mops = words.iter().map(|word| list_op(word, kind, first_key));
            let mops: Vec<String> = mops.collect();
            let line = recorder.begin(base + number, kind, "txn");
            line.push_str(&format!("[{}]", mops.join(",")));
            recorder.end("")
        };
        if !who.ends_with(['>', '<']) {
            event("invoke")?;
        }
        event(kind)?;
    }
    Ok(())
}

/// Keys that a script of lists may have.
pub const KEYS: u64 = 4;

fn list_op(word: &str, kind: &str, first_key: u64) -> String {
    let (letter, rest) = word.split_at(1);
    let key = first_key + "xyzw".find(letter).expect(GOOD) as u64;
    match rest.strip_prefix('+') {
        Some(element) => format!(r#"["append",{key},{element}]"#),
        None if kind == "ok" && rest != "?" => format!(r#"["r",{key},{rest}]"#),
        None => format!(r#"["r",{key},null]"#),
    }
}
