//! What the broker knows of itself in Prometheus' text form. Nothing is counted here: at each
//! scrape the published views and atomics are read.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::Unit;
use tokio::sync::watch;

use super::process;
use crate::api::Context;
use crate::locks;
use crate::log::LogStore;
use crate::log::metrics::{Histogram, LogMetrics};
use crate::meta::node::MetaMetrics;
use crate::metrics::RequestMetrics;
use crate::net::ListenerKind;
use crate::net::connection::Budget;
use crate::net::listener::ListenerCounts;
use crate::replica::view::PartitionView;

/// One listener's counts.
pub struct ListenerSources {
    /// Connections.
    pub counts: Arc<ListenerCounts>,
    /// Requests.
    pub requests: Arc<RequestMetrics>,
}

/// Everything that is read at a scrape.
pub struct Sources {
    /// Settings, metadata, partitions.
    pub context: Arc<Context>,
    /// The log.
    pub store: LogStore,
    /// The metadata quorum.
    pub meta: watch::Receiver<MetaMetrics>,
    /// The listeners that speak Kafka's protocol.
    pub listeners: BTreeMap<ListenerKind, ListenerSources>,
    /// Memory for requests.
    pub budget: Budget,
}

/// The collector.
pub struct Exposition {
    sources: Arc<Sources>,
}

type Labels = Vec<(&'static str, String)>;
type Encoded = Result<(), fmt::Error>;

impl fmt::Debug for Exposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exposition")
    }
}

impl Exposition {
    /// Of these sources.
    #[must_use]
    pub fn new(sources: Arc<Sources>) -> Self {
        Self { sources }
    }
}

impl Collector for Exposition {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Encoded {
        let sources = &*self.sources;
        partitions(sources, &mut encoder)?;
        alarms(sources, &mut encoder)?;
        locks(&mut encoder)?;
        wal(sources, &mut encoder)?;
        quorum(sources, &mut encoder)?;
        requests(sources, &mut encoder)?;
        connections(sources, &mut encoder)?;
        process::encode(&mut encoder)
    }
}

/// A gauge with one sample for each of `samples`.
fn gauges(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    samples: impl IntoIterator<Item = (Labels, i64)>,
) -> Encoded {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in samples {
        family.encode_family(&labels)?.encode_gauge(&value)?;
    }
    Ok(())
}

fn counters(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    samples: impl IntoIterator<Item = (Labels, u64)>,
) -> Encoded {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, value) in samples {
        let none: Option<&Exemplar<NoLabelSet, f64>> = None;
        family
            .encode_family(&labels)?
            .encode_counter(&value, none)?;
    }
    Ok(())
}

/// A histogram with one series for each of `samples`, its values multiplied by `scale`.
fn histograms<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help, unit): (&str, &str, Option<&Unit>),
    scale: f64,
    samples: impl IntoIterator<Item = (Labels, &'a Histogram)>,
) -> Encoded {
    let mut family = encoder.encode_descriptor(name, help, unit, MetricType::Histogram)?;
    for (labels, histogram) in samples {
        let snapshot = histogram.snapshot();
        let mut below = 0;
        let mut buckets: Vec<(f64, u64)> = Vec::with_capacity(snapshot.cumulative.len());
        for (bound, cumulative) in &snapshot.cumulative {
            buckets.push((*bound as f64 * scale, cumulative - below));
            below = *cumulative;
        }
        if let Some(last) = buckets.last_mut() {
            last.0 = f64::MAX;
        }
        let sum = snapshot.sum as f64 * scale;
        family
            .encode_family(&labels)?
            .encode_histogram::<NoLabelSet>(sum, snapshot.count, &buckets, None)?;
    }
    Ok(())
}

/// What is told of a partition: name, help, value.
type PartitionGauge = (&'static str, &'static str, fn(&PartitionView) -> i64);

const PARTITION_GAUGES: &[PartitionGauge] = &[
    (
        "broker_partition_log_start_offset",
        "First offset that is kept",
        |view| view.log_start().get(),
    ),
    (
        "broker_partition_log_end_offset",
        "Offset that the next record gets",
        |view| view.end().get(),
    ),
    (
        "broker_partition_held_end_offset",
        "End of what this replica holds by its durability mode",
        |view| view.held_end.get(),
    ),
    (
        "broker_partition_high_watermark",
        "Offset up to which consumers may read",
        |view| view.hw.get(),
    ),
    (
        "broker_partition_last_stable_offset",
        "Offset up to which consumers of committed transactions may read",
        |view| view.lso().get(),
    ),
    (
        "broker_partition_leader_epoch",
        "Number of the current leadership",
        |view| i64::from(view.epoch.get()),
    ),
    (
        "broker_partition_is_leader",
        "1 where this broker leads",
        |view| i64::from(view.is_leader()),
    ),
];

const LEADER_GAUGES: &[PartitionGauge] = &[
    (
        "broker_partition_isr_size",
        "Committed in-sync replicas, told by the leader",
        |view| {
            view.leadership
                .as_ref()
                .map_or(0, |led| count(led.isr.len()))
        },
    ),
    (
        "broker_partition_watermark_stalled",
        "1 while the high watermark stands still below the log end for longer than \
         watermark-alarm-ms",
        |view| {
            view.leadership
                .as_ref()
                .map_or(0, |led| i64::from(led.is_stalled))
        },
    ),
    (
        "broker_partition_followers_behind",
        "Followers that are behind by more than follower-lag-alarm-records",
        |view| view.leadership.as_ref().map_or(0, |led| count(led.behind)),
    ),
    (
        "broker_partition_uncommitted_records",
        "Records above the high watermark, told by the leader",
        |view| view.end().get() - view.hw.get(),
    ),
    (
        "broker_partition_min_isr",
        "In-sync replicas that committing needs, told by the leader",
        |view| view.leadership.as_ref().map_or(0, |led| count(led.min_isr)),
    ),
];

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn partitions(sources: &Sources, encoder: &mut DescriptorEncoder<'_>) -> Encoded {
    let routing = sources.context.replicas.routing();
    let views: Vec<_> = routing
        .partitions()
        .map(|partition| {
            let number = partition.tp().partition.to_string();
            let labels = vec![
                ("topic", partition.topic().to_owned()),
                ("partition", number),
            ];
            (labels, partition.view())
        })
        .collect();
    for (name, help, value) in PARTITION_GAUGES {
        let samples = views
            .iter()
            .map(|(labels, view)| (labels.clone(), value(view)));
        gauges(encoder, name, help, samples)?;
    }
    let led = || views.iter().filter(|(_, view)| view.is_leader());
    for (name, help, value) in LEADER_GAUGES {
        let samples = led().map(|(labels, view)| (labels.clone(), value(view)));
        gauges(encoder, name, help, samples)?;
    }
    let lags = led().flat_map(|(labels, view)| {
        let followers = view.leadership.iter().flat_map(|led| &led.followers);
        followers.map(|follower| {
            let mut labels = labels.clone();
            labels.push(("follower", follower.id.to_string()));
            let behind = match follower.offset {
                Some(offset) => view.end().get() - offset.get(),
                None => view.end().get() - view.log_start().get(),
            };
            (labels, behind.max(0))
        })
    });
    gauges(
        encoder,
        "broker_partition_watermark_lag",
        "Records by which a follower is behind the leader's log end, and by which it can hold \
         back the high watermark",
        lags,
    )
}

fn alarms(sources: &Sources, encoder: &mut DescriptorEncoder<'_>) -> Encoded {
    let alarms = sources.context.replicas.alarms();
    let kind = |kind: &str| vec![("kind", kind.to_owned())];
    let raised = [
        ("watermark-stalled", &alarms.stalled),
        ("follower-behind", &alarms.behind),
    ];
    let raised = raised.map(|(name, count)| (kind(name), count.load(Ordering::Relaxed)));
    let help = "Alarms raised on partitions that this broker leads";
    counters(encoder, "broker_alarms", help, raised)
}

fn locks(encoder: &mut DescriptorEncoder<'_>) -> Encoded {
    type Figure = fn(&locks::Figures) -> u64;
    let micros = |span: std::time::Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
    let of = |figure: &dyn Fn(&locks::Figures) -> u64| {
        let sample = |entry: &locks::Entry| {
            let labels = vec![("lock", entry.name.to_owned())];
            (labels, figure(&locks::figures(entry.lock)))
        };
        locks::REGISTRY.iter().map(sample).collect::<Vec<_>>()
    };
    let counts: [(&str, &str, Figure); 2] = [
        ("broker_lock_taken", "How often the lock was taken", |f| {
            f.taken
        }),
        (
            "broker_lock_contended",
            "How often somebody had the lock when it was asked for",
            |f| f.waited,
        ),
    ];
    for (name, help, figure) in counts {
        counters(encoder, name, help, of(&figure))?;
    }
    let waited = of(&|figures| micros(figures.wait));
    let help = "Time spent waiting for the lock, in microseconds";
    counters(encoder, "broker_lock_wait_microseconds", help, waited)?;
    let longest = [
        (
            "broker_lock_longest_wait_microseconds",
            "Longest wait for the lock since the start",
            of(&|figures| micros(figures.longest_wait)),
        ),
        (
            "broker_lock_longest_hold_microseconds",
            "Longest time that the lock was held since the start",
            of(&|figures| micros(figures.longest_hold)),
        ),
    ];
    for (name, help, samples) in longest {
        let samples = samples.into_iter();
        gauges(
            encoder,
            name,
            help,
            samples.map(|(labels, value)| (labels, signed(value))),
        )?;
    }
    Ok(())
}

fn wal(sources: &Sources, encoder: &mut DescriptorEncoder<'_>) -> Encoded {
    const MICROS: f64 = 1e-6;
    let log = sources.store.metrics();
    let none = || Labels::new();
    let one = |histogram| [(none(), histogram)];
    let seconds = Some(&Unit::Seconds);
    let frames = (
        "broker_wal_group_commit_frames",
        "Frames per group commit",
        None,
    );
    histograms(encoder, frames, 1.0, one(&log.group_frames))?;
    let bytes = (
        "broker_wal_group_commit",
        "Bytes per group commit",
        Some(&Unit::Bytes),
    );
    histograms(encoder, bytes, 1.0, one(&log.group_bytes))?;
    let fsync = ("broker_wal_fsync", "Time of one fdatasync", seconds);
    histograms(encoder, fsync, MICROS, one(&log.fsync_micros))?;
    let commit = (
        "broker_wal_commit",
        "Time of one group commit, write and sync",
        seconds,
    );
    histograms(encoder, commit, MICROS, one(&log.commit_micros))?;
    wal_counters(log, encoder)?;
    let now = [
        (
            "broker_wal_files",
            "Files of the write-ahead log",
            log.files.get(),
        ),
        (
            "broker_wal_queued_bytes",
            "Bytes that wait to be written",
            log.queued_bytes.get(),
        ),
        (
            "broker_wal_cached_bytes",
            "Recent batches in memory",
            log.cached_bytes.get(),
        ),
        (
            "broker_wal_disk_full",
            "1 while appends are refused for want of room",
            log.disk_full.get(),
        ),
    ];
    for (name, help, value) in now {
        gauges(encoder, name, help, [(none(), signed(value))])?;
    }
    Ok(())
}

fn wal_counters(log: &LogMetrics, encoder: &mut DescriptorEncoder<'_>) -> Encoded {
    let none = || Labels::new();
    let sums = [
        ("broker_wal_commits", "Group commits", log.commits.get()),
        ("broker_wal_frames", "Frames written", log.frames.get()),
        (
            "broker_wal_written_bytes",
            "Bytes written, frame headers included",
            log.bytes.get(),
        ),
        (
            "broker_wal_files_removed",
            "Files of the write-ahead log that were removed because nothing in them lived",
            log.files_removed.get(),
        ),
        (
            "broker_wal_checkpoints",
            "Checkpoints of the log's index",
            log.checkpoints.get(),
        ),
        (
            "broker_wal_copied_bytes",
            "Bytes of records that were written again so that an old file could be removed",
            log.copied_bytes.get(),
        ),
        (
            "broker_log_damaged",
            "Runs of records on disk that were found not to be what was written",
            log.damaged.get(),
        ),
        (
            "broker_log_mended",
            "Those that were replaced by the leader's",
            log.mended.get(),
        ),
    ];
    for (name, help, value) in sums {
        counters(encoder, name, help, [(none(), value)])?;
    }
    Ok(())
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn quorum(sources: &Sources, encoder: &mut DescriptorEncoder<'_>) -> Encoded {
    let meta = sources.meta.borrow().clone();
    let leader = meta.leader.map_or(-1, |id| i64::from(id.get()));
    let image = sources.context.meta.image();
    let epoch = sources.context.meta.broker_epoch();
    let fenced = image.live_broker(sources.context.config.id).is_none();
    let now = [
        ("broker_raft_term", "Raft's term", signed(meta.term)),
        (
            "broker_raft_leader",
            "Broker that is the active controller, -1 for none known",
            leader,
        ),
        (
            "broker_raft_is_leader",
            "1 on the active controller",
            i64::from(meta.is_controller),
        ),
        (
            "broker_raft_last_log_index",
            "Last index in the Raft log here",
            signed(meta.last_log_index),
        ),
        (
            "broker_raft_applied_index",
            "Last index applied here",
            signed(meta.applied_index),
        ),
        (
            "broker_raft_snapshot_index",
            "Last index in the newest snapshot",
            signed(meta.snapshot_index),
        ),
        (
            "broker_metadata_image_index",
            "Index of the image that this broker acts on",
            signed(image.index),
        ),
        (
            "broker_registration_epoch",
            "Broker epoch, -1 before registration",
            epoch.map_or(-1, |e| e.get()),
        ),
        (
            "broker_fenced",
            "1 while this broker is fenced or not registered",
            i64::from(fenced),
        ),
    ];
    for (name, help, value) in now {
        gauges(encoder, name, help, [(Labels::new(), value)])?;
    }
    let started = [(Labels::new(), meta.elections_started)];
    counters(
        encoder,
        "broker_raft_elections_started",
        "Elections that this broker stood for",
        started,
    )
}

fn requests(sources: &Sources, encoder: &mut DescriptorEncoder<'_>) -> Encoded {
    const MICROS: f64 = 1e-6;
    let by_listener = sources.listeners.iter();
    let series = by_listener.flat_map(|(listener, of)| {
        of.requests.by_api().iter().map(|api| {
            let key = format!("{:?}", api.key);
            let labels = vec![("listener", listener.name().to_owned()), ("api", key)];
            (labels, &api.latency_micros)
        })
    });
    let help = "Time from a request's last byte to its answer, waiting included";
    let descriptor = ("broker_request", help, Some(&Unit::Seconds));
    histograms(encoder, descriptor, MICROS, series)
}

fn connections(sources: &Sources, encoder: &mut DescriptorEncoder<'_>) -> Encoded {
    type Count = fn(&ListenerCounts) -> &AtomicU64;
    let read = |count: Count| {
        sources.listeners.iter().map(move |(listener, of)| {
            let labels = vec![("listener", listener.name().to_owned())];
            (labels, count(&of.counts).load(Ordering::Relaxed))
        })
    };
    let open = read(|counts| &counts.open).map(|(labels, value)| (labels, signed(value)));
    gauges(encoder, "broker_connections", "Connections open now", open)?;
    let sums: [(&str, &str, Count); 3] = [
        (
            "broker_connections_accepted",
            "Connections accepted",
            |counts| &counts.accepted,
        ),
        (
            "broker_connections_rejected",
            "Connections closed for being too many",
            |c| &c.rejected,
        ),
        (
            "broker_connections_faulty",
            "Connections closed for what came over them",
            |counts| &counts.faulty,
        ),
    ];
    for (name, help, value) in sums {
        counters(encoder, name, help, read(value))?;
    }
    let free = [(Labels::new(), count(sources.budget.free_bytes()))];
    let help = "Memory for large requests that is free";
    gauges(encoder, "broker_request_memory_free_bytes", help, free)
}
