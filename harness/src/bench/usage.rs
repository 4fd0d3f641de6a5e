//! CPU and memory of the brokers, as their own `/metrics` tell them, and of this process.

use std::time::Duration;

use crate::metrics;
use crate::run::site::Site;

const WITHIN: Duration = Duration::from_secs(5);

/// Used so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// CPU seconds of all brokers; `None` where one does not tell.
    pub brokers_cpu: Option<f64>,
    /// Most bytes that were resident at once in the largest broker.
    pub memory_max: Option<f64>,
    /// CPU seconds of this process.
    pub client_cpu: f64,
}

/// Asks everybody.
pub async fn now(site: &Site) -> Usage {
    let mut brokers_cpu = (!site.admin.is_empty()).then_some(0.0);
    let mut memory_max = None::<f64>;
    for (_, address) in &site.admin {
        let samples = metrics::scrape(address, WITHIN).await.unwrap_or_default();
        let cpu = samples.get("process_cpu_seconds_total").copied();
        brokers_cpu = brokers_cpu.zip(cpu).map(|(sum, cpu)| sum + cpu);
        if let Some(&bytes) = samples.get("process_max_resident_memory_bytes") {
            memory_max = Some(memory_max.unwrap_or(0.0).max(bytes));
        }
    }
    Usage {
        brokers_cpu,
        memory_max,
        client_cpu: own_cpu(),
    }
}

fn own_cpu() -> f64 {
    use nix::sys::resource::{UsageWho, getrusage};
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else {
        return 0.0;
    };
    let cpu = usage.user_time() + usage.system_time();
    cpu.tv_sec() as f64 + cpu.tv_usec() as f64 / 1e6
}
