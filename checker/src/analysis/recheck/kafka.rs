//! Witnesses of Kafka histories.

use super::{Claim, Finding, Raw, Seen, claim, cycles, integer, integers, text};
use crate::analysis::Kind;
use crate::history::{Op, Outcome, RunKind, Sample};

/// Checks one witness. Types that name no operation (counts, times) have nothing to look up.
pub fn check(raw: &Raw, kind: Kind, finding: &Finding) -> Claim {
    match kind {
        Kind::LostWrite | Kind::LostTail | Kind::Vanished => missing(raw, kind, finding),
        Kind::InconsistentOffsets | Kind::Duplicate => places(raw, kind, finding),
        Kind::G1a | Kind::UnwrittenRead | Kind::PrecommittedRead | Kind::NonUniqueWrite => {
            reads(raw, kind, finding)
        }
        Kind::PollSkip
        | Kind::NonmonotonicPoll
        | Kind::IntPollSkip
        | Kind::IntNonmonotonicPoll
        | Kind::NonmonotonicSend
        | Kind::IntNonmonotonicSend
        | Kind::IntSendSkip => steps(raw, kind, finding),
        Kind::StaleWatermark
        | Kind::VisibleAboveWatermark
        | Kind::WatermarkRegression
        | Kind::EpochRegression => answers(raw, kind, finding),
        Kind::TornTransaction | Kind::ZombieWrite | Kind::DoubleConsume => {
            transactions(raw, kind, finding)
        }
        _ if finding.details.contains_key("cycle") => {
            let by = cycles::Steps {
                write: RunKind::Send,
                read: RunKind::Poll,
            };
            cycles::check(raw, finding, &by)
        }
        _ => Ok(()),
    }
}

fn message<'r>(raw: &'r Raw, finding: &Finding) -> Result<&'r Seen, &'static str> {
    raw.message(finding).ok_or("it is about a message")
}

fn missing(raw: &Raw, kind: Kind, finding: &Finding) -> Claim {
    let seen = message(raw, finding)?;
    let read_ok = |&(id, _): &(_, _)| raw.history.op(id).outcome == Outcome::Ok;
    match kind {
        Kind::LostWrite => {
            claim(!seen.sends.is_empty(), "somebody sent it")?;
            claim(!seen.polls.iter().any(read_ok), "no ok poll returned it")?;
            let max_read = raw.op(finding, "max-read");
            claim(
                max_read.is_none_or(|op| raw.touches(op, RunKind::Poll, finding.key)),
                "its place was passed by a poll of the key",
            )
        }
        Kind::LostTail => {
            let (offset, end) = (integer(finding, "offset"), integer(finding, "end"));
            claim(offset.is_some() && end <= offset, "the end is not above it")?;
            let op = raw
                .op(finding, "op")
                .ok_or("somebody was asked for the end")?;
            let says = samples(raw, op, finding).any(|sample| sample.high_watermark == end);
            claim(says, "that is what was answered")
        }
        _ => {
            let op = raw.op(finding, "op").ok_or("a pass missed it")?;
            let within = seen
                .polls
                .iter()
                .map(|&(id, _)| raw.history.op(id))
                .any(|poll| {
                    poll.process == op.process
                        && poll.invoked.seq >= op.invoked.seq
                        && poll.completed.seq <= op.completed.seq
                });
            claim(!within, "the pass did not return it")
        }
    }
}

fn places(raw: &Raw, kind: Kind, finding: &Finding) -> Claim {
    let stands = |seen: &Seen, offset: i64| {
        let all = seen.sends.iter().chain(&seen.polls);
        all.into_iter().any(|&(_, at)| at == Some(offset))
    };
    if kind == Kind::Duplicate {
        let seen = message(raw, finding)?;
        let offsets: Vec<i64> = finding.details["offsets"]
            .as_array()
            .map_or_else(Vec::new, |all| {
                all.iter().filter_map(serde_json::Value::as_i64).collect()
            });
        claim(offsets.len() > 1, "it has several offsets")?;
        return claim(
            offsets.iter().all(|&offset| stands(seen, offset)),
            "it was seen at each of them",
        );
    }
    let offset = integer(finding, "offset").ok_or("it has an offset")?;
    let values = finding.details["values"]
        .as_array()
        .ok_or("it has values")?;
    let seen = values.iter().map(|value| {
        let value = raw.history.values().find(value)?;
        raw.seen.get(&(finding.key?, value))
    });
    let all = seen
        .collect::<Option<Vec<_>>>()
        .ok_or("its values are in the history")?;
    claim(all.len() > 1, "there are several of them")?;
    claim(
        all.into_iter().all(|seen| stands(seen, offset)),
        "each was seen there",
    )
}

fn reads(raw: &Raw, kind: Kind, finding: &Finding) -> Claim {
    if finding.details.contains_key("corrupt") {
        return claim(raw.op(finding, "reader").is_some(), "somebody was given it");
    }
    let seen = message(raw, finding)?;
    let of = |op: Option<&Op>, places: &[(crate::history::OpId, Option<i64>)]| {
        op.is_some_and(|op| {
            places
                .iter()
                .any(|&(id, _)| raw.history.op(id).index == op.index)
        })
    };
    match kind {
        Kind::G1a => {
            let failed = seen
                .sends
                .iter()
                .any(|&(id, _)| raw.history.op(id).outcome == Outcome::Fail);
            claim(failed, "a send of it failed")?;
            let reader = raw.op(finding, "reader");
            claim(
                reader.is_some_and(|op| op.outcome == Outcome::Ok),
                "the reader ended ok",
            )?;
            claim(of(reader, &seen.polls), "the reader was given it")
        }
        Kind::UnwrittenRead => {
            claim(seen.sends.is_empty(), "nobody sent it")?;
            claim(
                of(raw.op(finding, "reader"), &seen.polls),
                "the reader was given it",
            )
        }
        Kind::PrecommittedRead => {
            let op = raw.op(finding, "op");
            claim(
                of(op, &seen.sends) && of(op, &seen.polls),
                "one operation sent and polled it",
            )
        }
        _ => claim(seen.sends.len() > 1, "it was sent more than once"),
    }
}

fn steps(raw: &Raw, kind: Kind, finding: &Finding) -> Claim {
    let delta = integer(finding, "delta").ok_or("it has a delta")?;
    let skip = matches!(kind, Kind::PollSkip | Kind::IntPollSkip | Kind::IntSendSkip);
    claim(
        if skip { delta > 1 } else { delta < 1 },
        "its delta is of its type",
    )?;
    let polls = matches!(
        kind,
        Kind::PollSkip | Kind::NonmonotonicPoll | Kind::IntPollSkip | Kind::IntNonmonotonicPoll
    );
    let run = if polls { RunKind::Poll } else { RunKind::Send };
    let (from, to) = match finding.details.get("ops") {
        Some(_) => match raw.ops(finding, "ops")[..] {
            [from, to] => (from, to),
            _ => return Err("it names two operations"),
        },
        None => {
            let op = raw.op(finding, "op").ok_or("it names an operation")?;
            (op, op)
        }
    };
    claim(from.process == to.process, "they are of one process")?;
    claim(
        from.completed.seq <= to.completed.seq,
        "one came after the other",
    )?;
    let values = finding
        .details
        .get("values")
        .and_then(serde_json::Value::as_array);
    let Some([first, second]) = values.map(Vec::as_slice) else {
        return claim(
            raw.touches(to, run, finding.key),
            "the later one is about the key",
        );
    };
    let key = text(finding, "key");
    claim(
        raw.has(from, run, key, first),
        "the earlier one has the earlier value",
    )?;
    claim(
        raw.has(to, run, key, second),
        "the later one has the later value",
    )
}

fn samples<'r>(raw: &'r Raw, op: &'r Op, finding: &Finding) -> impl Iterator<Item = &'r Sample> {
    let key = finding.key;
    let samples = raw.history.samples.iter();
    samples.filter(move |sample| {
        raw.history.op(sample.op).index == op.index && Some(sample.key) == key
    })
}

fn answers(raw: &Raw, kind: Kind, finding: &Finding) -> Claim {
    if matches!(kind, Kind::WatermarkRegression | Kind::EpochRegression) {
        let [earlier, later] = raw.ops(finding, "ops")[..] else {
            return Err("it names two answers");
        };
        claim(
            earlier.precedes(later),
            "the first arrived before the second was asked for",
        )?;
        return claim(
            integer(finding, "from") > integer(finding, "to"),
            "the second is lower",
        );
    }
    let by = if kind == Kind::StaleWatermark {
        "writer"
    } else {
        "reader"
    };
    let known = raw.op(finding, by).ok_or("somebody knew the offset")?;
    let asked = raw.op(finding, "op").ok_or("somebody was asked")?;
    claim(
        known.precedes(asked),
        "it was known before the watermark was asked for",
    )?;
    let (offset, watermark) = (
        integer(finding, "offset"),
        integer(finding, "high-watermark"),
    );
    claim(
        watermark <= offset && offset.is_some(),
        "the watermark does not cover it",
    )?;
    let run = if by == "writer" {
        RunKind::Send
    } else {
        RunKind::Poll
    };
    let runs = raw
        .history
        .runs(known)
        .iter()
        .filter(|r| r.kind == run && Some(r.key) == finding.key);
    let mut records = runs.flat_map(|run| raw.history.records(run));
    claim(
        records.any(|record| record.offset() == offset),
        "the operation has that offset",
    )?;
    let says = samples(raw, asked, finding).any(|sample| sample.high_watermark == watermark);
    claim(says, "that is what was answered")
}

fn transactions(raw: &Raw, kind: Kind, finding: &Finding) -> Claim {
    let seen = message(raw, finding)?;
    match kind {
        Kind::TornTransaction => {
            let writer = raw.op(finding, "writer").ok_or("somebody sent it")?;
            claim(seen.polls.is_empty(), "nobody was given what is missing")?;
            let sent = ["visible", "missing"].iter().all(|field| {
                let pairs = finding
                    .details
                    .get(*field)
                    .and_then(serde_json::Value::as_array);
                pairs.is_some_and(|pairs| {
                    !pairs.is_empty()
                        && pairs.iter().all(|pair| {
                            raw.has(
                                writer,
                                RunKind::Send,
                                pair[0].as_str().unwrap_or(""),
                                &pair[1],
                            )
                        })
                })
            });
            claim(sent, "one transaction sent all of it")
        }
        Kind::ZombieWrite => {
            let writer = raw.op(finding, "writer").ok_or("somebody sent it")?;
            let granted = raw.op(finding, "op").ok_or("a higher epoch was in use")?;
            claim(
                granted.invoked.seq < writer.invoked.seq,
                "the higher epoch came first",
            )?;
            let epoch = |op: &Op| raw.history.detail(op).and_then(|detail| detail.producer);
            let (Some((a, lower)), Some((b, higher))) = (epoch(writer), epoch(granted)) else {
                return Err("both say who they are");
            };
            claim(a == b && lower < higher, "the writer's epoch is lower")?;
            claim(!seen.polls.is_empty(), "it was read")
        }
        _ => {
            let listed = finding
                .details
                .get("ops")
                .map_or(0, |ops| integers(ops).count());
            let ops = raw.ops(finding, "ops");
            claim(
                ops.len() > 1 && ops.len() == listed,
                "several operations consumed it",
            )?;
            let given = |op: &&Op| {
                seen.polls
                    .iter()
                    .any(|&(id, _)| raw.history.op(id).index == op.index)
            };
            claim(ops.iter().all(given), "each was given it")
        }
    }
}
