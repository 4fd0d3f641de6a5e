//! One case: producers at full speed or at a rate, consumers at the tail, for some seconds.
//!
//! Only what is acknowledged (or read) within the window counts; the latency of a message runs from
//! its hand-over to librdkafka to its report. At full speed that is mostly the wait in the client's
//! own queue: latencies of a rate below the maximum are the ones to compare.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use hdrhistogram::Histogram;
use rdkafka::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::Message as _;
use rdkafka::producer::{
    BaseProducer, BaseRecord, DeliveryResult, NoCustomPartitioner, Producer as _, ProducerContext,
};
use rdkafka::{Offset, TopicPartitionList};
use serde::Serialize;

use super::WARM_UP;
use super::bed::Bed;
use super::plan::{Case, Load};
use super::usage;
use crate::clients::ClientSettings;
use crate::run::threads::on_thread;

/// Messages and kilobytes that one producer holds at most: enough to fill the pipe, and no more,
/// since everything beyond only waits.
const QUEUE_MESSAGES: &str = "10000";
const QUEUE_KILOBYTES: &str = "32768";
/// Latencies are kept up to this, in microseconds.
const LATENCY_MAX_US: u64 = 120_000_000;
/// Reports are polled for at least this often.
const POLL: Duration = Duration::from_millis(1);

/// What came of a case. Rates are a second's, latencies milliseconds.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Measured {
    pub case: Case,
    pub seconds: f64,
    pub acknowledged: u64,
    pub failed: u64,
    pub messages_per_second: f64,
    pub megabytes_per_second: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    pub max_ms: f64,
    /// Of all consumers together, where there are any.
    pub read_per_second: Option<f64>,
    /// CPU seconds per megabyte acknowledged: all brokers, and this client.
    pub brokers_cpu_per_mb: Option<f64>,
    pub client_cpu_per_mb: f64,
    /// Of the largest broker, at the end.
    pub broker_memory_mb: Option<f64>,
}

/// Shared by the producers of a case.
struct Meter {
    epoch: Instant,
    /// The window, in nanoseconds since `epoch`: from, until.
    window: (u64, u64),
    acknowledged: AtomicU64,
    failed: AtomicU64,
    read: AtomicU64,
    stop: AtomicBool,
}

impl Meter {
    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn counts(&self, at: u64) -> bool {
        (self.window.0..self.window.1).contains(&at)
    }
}

/// Hears of each message; its ticket is the time of its hand-over.
struct Reports {
    meter: Arc<Meter>,
    latencies: Mutex<Histogram<u64>>,
}

impl ClientContext for Reports {
    fn log(&self, _: rdkafka::config::RDKafkaLogLevel, _: &str, message: &str) {
        tracing::debug!("librdkafka: {message}");
    }
}

impl ProducerContext<NoCustomPartitioner> for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, handed_over: usize) {
        let now = self.meter.now();
        if !self.meter.counts(now) {
            return;
        }
        if result.is_err() {
            self.meter.failed.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.meter.acknowledged.fetch_add(1, Ordering::Relaxed);
        let micros = now.saturating_sub(handed_over as u64) / 1_000;
        let mut latencies = self
            .latencies
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        latencies.saturating_record(micros.clamp(1, LATENCY_MAX_US));
    }
}

/// Measures one case on a topic of its own.
pub async fn run(bed: &Bed, case: &Case, seconds: Duration) -> anyhow::Result<Measured> {
    let topic = format!("bench-{}", uuid::Uuid::new_v4().simple());
    bed.topic(&topic, case.partitions).await?;
    let epoch = Instant::now();
    let nanos = |d: Duration| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
    let meter = Arc::new(Meter {
        epoch,
        window: (nanos(WARM_UP), nanos(WARM_UP + seconds)),
        acknowledged: AtomicU64::new(0),
        failed: AtomicU64::new(0),
        read: AtomicU64::new(0),
        stop: AtomicBool::new(false),
    });
    let settings = bed.settings(case);
    let mut producing = Vec::new();
    for _ in 0..case.producers {
        let (meter, settings) = (meter.clone(), settings.clone());
        let (case, topic) = (case.clone(), topic.clone());
        producing.push(std::thread::spawn(move || {
            produce(&meter, &settings, &case, &topic)
        }));
    }
    let mut reading = Vec::new();
    for number in 0..case.consumers {
        let (meter, settings) = (meter.clone(), settings.clone());
        let (case, topic) = (case.clone(), topic.clone());
        reading.push(std::thread::spawn(move || {
            read(&meter, &settings, &case, &topic, number)
        }));
    }
    tokio::time::sleep(WARM_UP.saturating_sub(epoch.elapsed())).await;
    let before = usage::now(&bed.site).await;
    tokio::time::sleep((WARM_UP + seconds).saturating_sub(epoch.elapsed())).await;
    let after = usage::now(&bed.site).await;
    meter.stop.store(true, Ordering::Relaxed);
    let mut latencies = latencies();
    let joined = on_thread("join", move || {
        for thread in producing {
            let one = thread
                .join()
                .map_err(|_| anyhow::anyhow!("a producer died"))??;
            latencies.add(one).context("histograms of one shape")?;
        }
        for thread in reading {
            thread
                .join()
                .map_err(|_| anyhow::anyhow!("a consumer died"))??;
        }
        anyhow::Ok(latencies)
    });
    let latencies = joined.await?;
    Ok(measured(case, seconds, &meter, &latencies, before, after))
}

fn measured(
    case: &Case,
    seconds: Duration,
    meter: &Meter,
    latencies: &Histogram<u64>,
    before: usage::Usage,
    after: usage::Usage,
) -> Measured {
    let acknowledged = meter.acknowledged.load(Ordering::Relaxed);
    let megabytes = acknowledged as f64 * case.size as f64 / 1e6;
    let quantile = |q: f64| latencies.value_at_quantile(q) as f64 / 1e3;
    let per_second = |count: f64| count / seconds.as_secs_f64();
    let per_mb = |cpu: f64| {
        if megabytes > 0.0 {
            cpu / megabytes
        } else {
            0.0
        }
    };
    let brokers_cpu = after.brokers_cpu.zip(before.brokers_cpu);
    let read = meter.read.load(Ordering::Relaxed);
    Measured {
        case: case.clone(),
        seconds: seconds.as_secs_f64(),
        acknowledged,
        failed: meter.failed.load(Ordering::Relaxed),
        messages_per_second: per_second(acknowledged as f64),
        megabytes_per_second: per_second(megabytes),
        p50_ms: quantile(0.5),
        p99_ms: quantile(0.99),
        p999_ms: quantile(0.999),
        max_ms: latencies.max() as f64 / 1e3,
        read_per_second: (case.consumers > 0).then(|| per_second(read as f64)),
        brokers_cpu_per_mb: brokers_cpu.map(|(after, before)| per_mb(after - before)),
        client_cpu_per_mb: per_mb(after.client_cpu - before.client_cpu),
        broker_memory_mb: after.memory_max.map(|bytes| bytes / 1e6),
    }
}

fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MAX_US, 3).expect("bounds and digits are in range")
}

fn produce(
    meter: &Arc<Meter>,
    settings: &ClientSettings,
    case: &Case,
    topic: &str,
) -> anyhow::Result<Histogram<u64>> {
    let reports = Reports {
        meter: meter.clone(),
        latencies: Mutex::new(latencies()),
    };
    let mut config = settings.producer();
    config
        // Order does not matter here, and acks=1 is to have what acks=all has.
        .set("max.in.flight.requests.per.connection", "5")
        .set("queue.buffering.max.messages", QUEUE_MESSAGES)
        .set("queue.buffering.max.kbytes", QUEUE_KILOBYTES);
    let producer: BaseProducer<Reports, NoCustomPartitioner> =
        config.create_with_context(reports)?;
    let payload: Vec<u8> = (0..case.size).map(|i| (i % 251) as u8).collect();
    let pause = match case.load {
        Load::Rate(rate) if rate > 0.0 => {
            let seconds = f64::from(case.producers) / rate;
            Some(Duration::from_secs_f64(seconds))
        }
        _ => None,
    };
    let mut sent: u32 = 0;
    while !meter.stop.load(Ordering::Relaxed) {
        if let Some(pause) = pause {
            let due = pause.mul_f64(f64::from(sent));
            let early = due.saturating_sub(meter.epoch.elapsed());
            if !early.is_zero() {
                // Never less than a millisecond: a producer that spins takes the brokers' cores.
                producer.poll(early.max(POLL));
                continue;
            }
        }
        // What is due counts from then on, or a slow cluster would be spared (coordinated
        // omission); at full speed a message is due when there is room for it.
        let born = pause.map_or_else(
            || meter.now(),
            |pause| u64::try_from(pause.mul_f64(f64::from(sent)).as_nanos()).unwrap_or(u64::MAX),
        );
        // No key and no partition: the client fills one batch after another, as it would for
        // anybody (KIP-480, sticky partitions).
        let record =
            BaseRecord::<(), [u8], usize>::with_opaque_to(topic, born as usize).payload(&payload);
        match producer.send(record) {
            Ok(()) => sent = sent.wrapping_add(1),
            Err((error, _)) if is_full(&error) => {
                producer.poll(POLL);
            }
            Err((error, _)) => return Err(error).context("a message cannot be sent"),
        }
        if sent.is_multiple_of(64) {
            producer.poll(Duration::ZERO);
        }
    }
    producer.purge(rdkafka::producer::PurgeConfig::default().queue().inflight());
    producer.poll(POLL);
    let reports = producer.client().context();
    let latencies = reports
        .latencies
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    Ok(latencies.clone())
}

fn is_full(error: &rdkafka::error::KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull)
}

/// Reads the tail of its share of the partitions.
fn read(
    meter: &Arc<Meter>,
    settings: &ClientSettings,
    case: &Case,
    topic: &str,
    number: u32,
) -> anyhow::Result<()> {
    let mut config = settings.reader();
    // librdkafka assigns to members of a group only; offsets are given and none is committed, so no
    // coordinator is needed, and a broker without one will do.
    config.set("group.id", "bench");
    let consumer: BaseConsumer = config.create()?;
    let mut share = TopicPartitionList::new();
    for partition in 0..case.partitions {
        if partition.unsigned_abs() % case.consumers == number {
            share.add_partition_offset(topic, partition, Offset::Beginning)?;
        }
    }
    consumer.assign(&share)?;
    while !meter.stop.load(Ordering::Relaxed) {
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(20))
            && message.payload().is_some()
            && meter.counts(meter.now())
        {
            meter.read.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(())
}
