//! The phases after the faults: recovery, complete passes, and a restart of every broker between
//! them.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::interrupt::Patience;
use super::phases::{DRAIN_PATIENCE, Run};
use super::recovery;
use crate::sampler::Sampler;
use crate::workload::drain::{Drained, drain};

const DRAIN_PATIENCE_INTERRUPTED: Duration = Duration::from_secs(4);
const RANGES_WITHIN: Duration = Duration::from_secs(10);

impl Run<'_> {
    pub(super) fn sampler(&self, topic: usize) -> Sampler {
        let clients = &self.topics[topic];
        Sampler {
            brokers: self.site.brokers.clone(),
            recorder: self.recorder.clone(),
            topic: clients.topic.clone(),
            partitions: clients.partitions,
        }
    }

    /// Waits until the cluster is whole again, as long as the user does.
    pub(super) async fn recover(&mut self, topic: usize) {
        let interrupts = self.interrupts.clone();
        let limit = match self.patience() {
            Patience::Whole => self.args.recovery_limit,
            _ => self.args.recovery_limit.min(DRAIN_PATIENCE_INTERRUPTED * 2),
        };
        let recovered = recovery::wait(
            &self.topics[topic],
            &self.site.brokers,
            &mut self.probes[topic],
            limit,
            &|| interrupts.patience() == Patience::None,
        )
        .await;
        if !recovered.whole {
            say!("not recovered: {}", recovered.missing);
        }
        let note = json!({"whole": recovered.whole, "seconds": recovered.after.as_secs_f64(),
            "missing": recovered.missing});
        let entry = self.notes.entry("recoveries").or_insert_with(|| json!([]));
        if let Some(list) = entry.as_array_mut() {
            list.push(note);
        }
    }

    /// Reads every topic with fresh consumers, up to ends asked from every broker.
    pub(super) async fn drain_all(&mut self, phase: &str) -> anyhow::Result<()> {
        self.enter(phase)?;
        let began = Instant::now();
        let patience = if self.hurried() {
            DRAIN_PATIENCE_INTERRUPTED
        } else {
            DRAIN_PATIENCE
        };
        let mut total = Drained::default();
        for topic in 0..self.topics.len() {
            let sampler = self.sampler(topic);
            let clients = self.topics[topic].group();
            let acknowledged_to = clients.acknowledged_to();
            let ranges = sampler.ranges(&acknowledged_to, RANGES_WITHIN).await;
            self.board.counters(clients.stats.clone());
            let consumers = self.args.consumers;
            let drained = drain(&clients, &ranges, consumers, patience).await;
            // Ends asked after the pass: a tail that is gone by then is lost, not late.
            sampler.ranges(&acknowledged_to, RANGES_WITHIN).await;
            total.records += drained.records;
            total.bytes += drained.bytes;
            if !drained.short.is_empty() {
                say!("{phase}: ends not reached: {:?}", drained.short);
            }
            if self.patience() == Patience::None {
                break;
            }
        }
        self.recorder.flush()?;
        let note = json!({"records": total.records, "bytes": total.bytes,
            "seconds": began.elapsed().as_secs_f64()});
        self.note(phase, note);
        Ok(())
    }

    /// Kill -9 of every broker, and a start: what was read once may have come from memory.
    pub(super) async fn restart(&mut self) -> anyhow::Result<()> {
        let Some(runtime) = self.site.runtime.clone() else {
            return Ok(());
        };
        self.enter("restart")?;
        let began = Instant::now();
        runtime.restart_all().await?;
        self.site.ready().await?;
        for topic in 0..self.topics.len() {
            self.recover(topic).await;
        }
        self.note("restart-seconds", json!(began.elapsed().as_secs_f64()));
        Ok(())
    }
}
