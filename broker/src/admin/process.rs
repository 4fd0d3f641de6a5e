//! CPU and memory of this process. The name of the CPU time is the one that Prometheus' own client
//! libraries use.

use std::fmt;

use nix::sys::resource::{UsageWho, getrusage};
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// Writes what the kernel tells (`getrusage`); nothing where it tells nothing.
pub fn encode(encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else {
        return Ok(());
    };
    let cpu = usage.user_time() + usage.system_time();
    let seconds = cpu.tv_sec() as f64 + cpu.tv_usec() as f64 / 1e6;
    let counter = ConstCounter::new(seconds);
    let about = "User and system CPU time of this process";
    let unit = Some(&Unit::Seconds);
    let kind = EncodeMetric::metric_type(&counter);
    counter.encode(encoder.encode_descriptor("process_cpu", about, unit, kind)?)?;
    // Linux counts in KiB.
    let bytes = usage.max_rss().saturating_mul(1024);
    let gauge = ConstGauge::new(bytes);
    let about = "Most memory of this process that was resident at once";
    let unit = Some(&Unit::Bytes);
    let kind = EncodeMetric::metric_type(&gauge);
    gauge.encode(encoder.encode_descriptor("process_max_resident_memory", about, unit, kind)?)
}
