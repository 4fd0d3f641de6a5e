//! `metrics.jsonl`: samples of the brokers' `/metrics`, one line each:
//! `{"time": ns, "broker": id, "metrics": {"name{label=\"value\"}": number, ...}}`, or with the
//! exposition as it came in `"text"`. Lines that are neither are passed over and counted.

use std::collections::BTreeMap;
use std::io::BufRead;

use serde_json::Value as Json;

use super::data::Bins;

/// A series: broker, name and labels as `name{label="value"}`, and its samples.
type Samples = BTreeMap<(String, String), Vec<(i64, f64)>>;

/// Samples by series.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    series: Samples,
    /// Lines read.
    pub lines: u64,
    /// Of these, lines that could not be understood.
    pub strange: u64,
}

/// Series kept: those that the report draws. Others are passed over at once.
const KEPT: [&str; 2] = ["watermark_lag", "isr_size"];
/// Bounds, because a file may be anything.
const MOST_SERIES: usize = 10_000;
const MOST_SAMPLES: usize = 4_000_000;

/// Reads samples; an unreadable rest is like no rest.
#[must_use]
pub fn read(reader: impl BufRead) -> Metrics {
    let mut metrics = Metrics::default();
    let mut samples = 0;
    for line in reader.split(b'\n') {
        let Ok(line) = line else { break };
        if line.is_empty() {
            continue;
        }
        metrics.lines += 1;
        let json: Option<Json> = serde_json::from_slice(&line).ok();
        let read = json.and_then(|json| sample(&mut metrics.series, &json));
        match read {
            Some(count) => samples += count,
            None => metrics.strange += 1,
        }
        if samples > MOST_SAMPLES {
            break;
        }
    }
    metrics
}

fn sample(series: &mut Samples, json: &Json) -> Option<usize> {
    let time = json.get("time")?.as_i64()?;
    let broker = match json.get("broker")? {
        Json::String(name) => name.clone(),
        other => other.to_string(),
    };
    let mut count = 0;
    let mut keep = |name: &str, value: f64| {
        let known = KEPT.iter().any(|kept| name.contains(kept));
        if !known || !value.is_finite() || series.len() >= MOST_SERIES {
            return;
        }
        let key = (broker.clone(), name.to_owned());
        series.entry(key).or_default().push((time, value));
        count += 1;
    };
    if let Some(all) = json.get("metrics").and_then(Json::as_object) {
        for (name, value) in all {
            if let Some(value) = value.as_f64() {
                keep(name, value);
            }
        }
        return Some(count);
    }
    for line in json.get("text")?.as_str()?.lines() {
        let line = line.trim();
        if line.starts_with('#') {
            continue;
        }
        if let Some((name, value)) = line.rsplit_once(' ')
            && let Ok(value) = value.parse()
        {
            keep(name, value);
        }
    }
    Some(count)
}

impl Metrics {
    /// Whether there is anything to draw.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// Watermark lag of followers by bin: the worst sample of each bin, all partitions of one
    /// follower together, so that there is one line per pair of brokers.
    #[must_use]
    pub fn follower_lag(&self, bins: &Bins) -> Vec<(String, Vec<Option<f64>>)> {
        let mut lines: BTreeMap<String, Vec<Option<f64>>> = BTreeMap::new();
        for ((broker, name), samples) in &self.series {
            if !name.contains("watermark_lag") {
                continue;
            }
            let follower = label(name, "follower").or_else(|| label(name, "replica"));
            let line = match follower {
                Some(follower) => format!("follower {follower} of leader {broker}"),
                None => format!("broker {broker}"),
            };
            let line = lines.entry(line).or_insert_with(|| vec![None; bins.count]);
            for (time, value) in samples {
                let slot = &mut line[bins.at(*time)];
                *slot = Some(slot.map_or(*value, |worst| worst.max(*value)));
            }
        }
        lines.into_iter().collect()
    }
}

/// The value of a label in `name{label="value",...}`.
fn label<'a>(name: &'a str, label: &str) -> Option<&'a str> {
    let labels = name.split_once('{')?.1.trim_end_matches('}');
    labels.split(',').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        (key.trim() == label).then(|| value.trim().trim_matches('"'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_shapes_are_read_and_strange_lines_counted() {
        let file = concat!(
            r#"{"time":5,"broker":1,"metrics":{"#,
            r#""broker_watermark_lag{partition=\"t-0\",follower=\"2\"}":7,"other":1}}"#,
            "\n",
            r##"{"time":9,"broker":1,"text":"# HELP x\n"##,
            r#"broker_watermark_lag{partition=\"t-1\",follower=\"2\"} 11\n"}"#,
            "\nnonsense\n",
        );
        let metrics = read(file.as_bytes());
        assert_eq!((metrics.lines, metrics.strange), (3, 1));
        let lag = metrics.follower_lag(&Bins::of(10, 4));
        assert_eq!(lag.len(), 1);
        assert_eq!(lag[0].0, "follower 2 of leader 1");
        assert_eq!(lag[0].1[0], Some(11.0));
    }
}
