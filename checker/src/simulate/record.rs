//! Writes events as our recorder does: one line each, in real-time order.

use std::fmt::{Display, Write as _};
use std::io::{self, Write};

use super::Plan;
use super::partition::{Partition, State};

/// What a poll returned: (offset, value) by partition.
pub type Polled = Vec<(u32, Vec<(i64, i64)>)>;

/// A micro-op, filled in as far as it got.
#[derive(Clone, Debug)]
pub enum MicroOp {
    /// Partition, value, offset.
    Send(u32, i64, Option<i64>),
    /// `None` before it was carried out.
    Poll(Option<Polled>),
}

/// Numbers events and gives them times.
pub struct Recorder<'w, W: Write> {
    out: &'w mut W,
    index: u64,
    time: u64,
    line: String,
}

impl<'w, W: Write> Recorder<'w, W> {
    /// Into that writer.
    pub fn new(out: &'w mut W) -> Recorder<'w, W> {
        Recorder {
            out,
            index: 0,
            time: 0,
            line: String::new(),
        }
    }

    /// Begins an event, up to its value; the line to write it to.
    pub fn begin(&mut self, process: impl Display, kind: &str, f: &str) -> &mut String {
        // Any growing clock will do; this one has no equal steps.
        self.time += 1_000 + (self.index * 7919) % 50_000;
        let (index, time) = (self.index, self.time);
        self.index += 1;
        self.line.clear();
        self.put(format_args!(
            r#"{{"index":{index},"time":{time},"process":{process},"type":"{kind}","f":"{f}","value":"#
        ));
        &mut self.line
    }

    fn put(&mut self, text: std::fmt::Arguments) {
        self.line
            .write_fmt(text)
            .expect("writing to a string cannot fail");
    }

    /// Ends it, with what stands beside its value.
    pub fn end(&mut self, beside: &str) -> io::Result<()> {
        self.line.push_str(beside);
        self.line.push_str("}\n");
        self.out.write_all(self.line.as_bytes())
    }

    /// The run's settings.
    pub fn config(&mut self, plan: &Plan) -> io::Result<()> {
        self.begin("\"sampler\"", "ok", "config");
        self.put(format_args!(
            r#"{{"acks":"all","idempotence":true,"isolation":"read_committed","min-isr":2,"replication-factor":3,"sub-via":"assign","workload":"simulated","seed":{}}}"#,
            plan.seed
        ));
        self.end("")
    }

    /// The run enters a phase.
    pub fn phase(&mut self, name: &str) -> io::Result<()> {
        self.begin("\"sampler\"", "ok", "phase");
        self.put(format_args!("\"{name}\""));
        self.end("")
    }

    /// A send, poll or transaction.
    pub fn data(&mut self, process: u64, kind: &str, f: &str, mops: &[MicroOp]) -> io::Result<()> {
        self.begin(process, kind, f);
        self.line.push('[');
        for (at, mop) in mops.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            match mop {
                MicroOp::Send(partition, value, _) if kind == "invoke" => {
                    self.put(format_args!(r#"{comma}["send","t-{partition}",{value}]"#));
                }
                MicroOp::Send(partition, value, Some(offset)) => {
                    self.put(format_args!(
                        r#"{comma}["send","t-{partition}",[{offset},{value}]]"#
                    ));
                }
                MicroOp::Send(partition, value, None) => {
                    self.put(format_args!(
                        r#"{comma}["send","t-{partition}",[null,{value}]]"#
                    ));
                }
                MicroOp::Poll(None) => self.put(format_args!(r#"{comma}["poll"]"#)),
                MicroOp::Poll(Some(records)) => {
                    self.put(format_args!("{comma}"));
                    self.polled(records);
                }
            }
        }
        self.line.push(']');
        let error = matches!(kind, "info" | "fail");
        self.end(if error {
            r#","error":{"code":"TIMED_OUT"}"#
        } else {
            ""
        })
    }

    fn polled(&mut self, by_partition: &[(u32, Vec<(i64, i64)>)]) {
        self.line.push_str(r#"["poll",{"#);
        for (at, (partition, records)) in by_partition.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            self.put(format_args!(r#"{comma}"t-{partition}":["#));
            for (at, (offset, value)) in records.iter().enumerate() {
                let comma = if at > 0 { "," } else { "" };
                self.put(format_args!("{comma}[{offset},{value}]"));
            }
            self.line.push(']');
        }
        self.line.push_str("}]");
    }

    /// A consumer takes partitions.
    pub fn assign(
        &mut self,
        process: u64,
        kind: &str,
        partitions: &[u32],
        seek: bool,
    ) -> io::Result<()> {
        self.begin(process, kind, "assign");
        let keys: Vec<String> = partitions
            .iter()
            .map(|number| format!("\"t-{number}\""))
            .collect();
        self.put(format_args!("[{}]", keys.join(",")));
        self.end(if seek {
            r#","seek-to-beginning?":true"#
        } else {
            ""
        })
    }

    /// A complete pass begins.
    pub fn drain_invoked(&mut self, process: u64) -> io::Result<()> {
        self.begin(process, "invoke", "drain");
        self.line.push_str("null");
        self.end("")
    }

    /// A complete pass ends.
    pub fn drained(&mut self, process: u64, ranges: &[(u32, i64, i64)]) -> io::Result<()> {
        self.begin(process, "ok", "drain");
        let ranges: Vec<String> = ranges
            .iter()
            .map(|(p, from, to)| format!(r#""t-{p}":[{from},{to}]"#))
            .collect();
        self.put(format_args!("{{{}}}", ranges.join(",")));
        self.end("")
    }

    /// The sampler asks.
    pub fn sample_invoked(&mut self) -> io::Result<()> {
        self.begin("\"sampler\"", "invoke", "list-offsets");
        self.line.push_str("null");
        self.end("")
    }

    /// A broker answers for the partitions that it leads; with `deposed`, also for those that it
    /// believes to lead still.
    pub fn sample(
        &mut self,
        partitions: &[Partition],
        broker: i64,
        deposed: bool,
    ) -> io::Result<()> {
        if !deposed {
            self.sample_invoked()?;
        }
        self.begin("\"sampler\"", "ok", "list-offsets");
        self.line.push('{');
        let mut first = true;
        for partition in partitions {
            let old = partition
                .deposed
                .filter(|old| deposed && old.broker == broker);
            let (epoch, watermark, stable) = match old {
                _ if partition.leader == broker => {
                    (partition.epoch, partition.watermark, partition.stable())
                }
                Some(old) => (old.epoch, old.watermark, old.stable),
                None => continue,
            };
            let comma = if std::mem::replace(&mut first, false) {
                ""
            } else {
                ","
            };
            self.put(format_args!(
                r#"{comma}"t-{}":{{"log-start":0,"lso":{stable},"high-watermark":{watermark},"leader":{broker},"epoch":{epoch},"asked":{broker}}}"#,
                partition.number
            ));
        }
        self.line.push('}');
        self.end("")
    }

    /// What a replica holds.
    pub fn audit(&mut self, partition: &Partition, broker: i64) -> io::Result<()> {
        self.begin("\"sampler\"", "ok", "audit");
        let (number, watermark) = (partition.number, partition.watermark);
        self.put(format_args!(
            r#"{{"t-{number}":{{"broker":{broker},"high-watermark":{watermark},"records":["#,
        ));
        let kept = partition.log.iter();
        let kept = kept.filter(|record| record.state != State::Aborted);
        for (at, record) in kept.enumerate() {
            let comma = if at > 0 { "," } else { "" };
            let (offset, epoch, value) = (record.offset, record.epoch, record.value);
            self.put(format_args!("{comma}[{offset},{epoch},{value}]"));
        }
        self.end("]}}")
    }
}
