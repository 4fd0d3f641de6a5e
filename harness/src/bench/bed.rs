//! The cluster that is measured: ours, in a runtime, or somebody else's.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use nemesis::Journal;
use nemesis::journal::Owner;
use tokio::time::Instant;

use super::plan::Case;
use crate::cli::{BenchArgs, DurabilityName, Target};
use crate::clients::{ClientSettings, Library};
use crate::kafka::{CreateTopic, RequestError, newest};
use crate::run::folder::Folder;
use crate::run::site::{Site, kafka_durability};
use crate::run::{Own, journal_dir};
use crate::runtime::ClusterSpec;

const WITHIN: Duration = Duration::from_secs(10);
const WHOLE_WITHIN: Duration = Duration::from_secs(60);
const AGAIN: Duration = Duration::from_millis(50);
/// A message that takes longer is given up: the case says how many.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(60);

/// A cluster to measure, and where results go.
pub struct Bed {
    pub site: Site,
    pub folder: Folder,
    /// In words.
    pub named: String,
    journal: Option<Arc<Journal>>,
    replicas: i16,
    min_isr: i32,
}

impl Bed {
    pub async fn up(
        args: &BenchArgs,
        own: Option<&Own>,
        durability: Option<DurabilityName>,
    ) -> anyhow::Result<Self> {
        let out = args.out.join("bench");
        let folder = Folder::create(&out, 0)
            .with_context(|| format!("no folder can be made in {}", out.display()))?;
        let (site, journal, named) = match (own, &args.bootstrap) {
            (Some(own), _) => {
                let journal = Arc::new(open_journal(own, &args.out, &folder)?);
                let durability = durability.unwrap_or(DurabilityName::Fsync);
                let word = match durability {
                    DurabilityName::Replicated => "replicated",
                    DurabilityName::Fsync => "fsync",
                };
                let (brand, mut broker_args) = match args.target.target {
                    Target::Broker => ("", vec![format!("--durability={word}")]),
                    Target::Kafka => {
                        let properties = kafka_durability(durability).map(str::to_owned);
                        ("Apache Kafka ", properties.into_iter().collect())
                    }
                };
                broker_args.extend(args.target.broker_settings());
                let spec = ClusterSpec {
                    run_id: format!("bench-{}", folder.name().to_lowercase()),
                    nodes: args.brokers,
                    dir: folder.path().to_owned(),
                    journal: journal.path().to_owned(),
                    program: args.target.target.program(),
                    image: args.target.image.clone(),
                    broker_args,
                };
                let site = Site::start(own.kind, &own.artifacts, &spec).await?;
                let named = format!(
                    "{} {brand}brokers in {}, {word}",
                    args.brokers,
                    own.kind.name()
                );
                (site, Some(journal), named)
            }
            (None, Some(bootstrap)) => {
                let site = Site::external(bootstrap).await?;
                (site, None, format!("the cluster at {bootstrap}"))
            }
            (None, None) => anyhow::bail!("neither a runtime nor --bootstrap"),
        };
        let brokers = site.brokers.ids().len();
        let bed = Self {
            site,
            folder,
            named,
            journal,
            replicas: i16::try_from(brokers.min(3)).unwrap_or(3),
            min_isr: i32::try_from(brokers.min(2)).unwrap_or(2),
        };
        if let Err(error) = bed.site.ready().await {
            bed.down().await?;
            return Err(error);
        }
        Ok(bed)
    }

    /// Creates a topic of that case and waits until all its replicas are in sync.
    pub async fn topic(&self, name: &str, partitions: i32) -> anyhow::Result<()> {
        let topic = CreateTopic {
            name,
            partitions,
            replication_factor: self.replicas,
            min_insync_replicas: Some(self.min_isr),
            settings: &[],
        };
        let created = self.site.brokers.create_topic(&topic, WITHIN * 3).await;
        match created {
            Ok(()) | Err(RequestError::Unsupported { .. }) => {}
            Err(error) => return Err(error).context(format!("topic {name} cannot be created")),
        }
        self.whole(name, partitions).await
    }

    /// Waits until every partition has a leader and all replicas in sync.
    pub async fn whole(&self, topic: &str, partitions: i32) -> anyhow::Result<()> {
        let deadline = Instant::now() + WHOLE_WITHIN;
        loop {
            let views = self.site.brokers.views(Some(topic), WITHIN).await;
            let newest = newest(&views);
            let whole = newest.len() == usize::try_from(partitions).unwrap_or(0)
                && newest
                    .values()
                    .all(|p| p.leader.is_some() && p.isr.len() == p.replicas.len());
            if whole && views.len() == self.site.brokers.ids().len() {
                return Ok(());
            }
            if Instant::now() > deadline {
                anyhow::bail!("topic {topic} is not whole: {newest:?}");
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// How clients of that case are set up.
    pub fn settings(&self, case: &Case) -> ClientSettings {
        let acks = case.acks();
        ClientSettings {
            bootstrap: self.site.bootstrap.clone(),
            acks,
            idempotence: acks == crate::clients::Acks::All,
            delivery_timeout: DELIVERY_TIMEOUT,
            library: Library::Librdkafka,
        }
    }

    pub async fn down(&self) -> anyhow::Result<()> {
        self.site.down().await?;
        if let Some(journal) = &self.journal {
            // Nothing is left of the cluster: the journal has nothing more to tell.
            std::fs::remove_file(journal.path()).context("the journal cannot be removed")?;
        }
        Ok(())
    }
}

fn open_journal(own: &Own, out: &Path, folder: &Folder) -> anyhow::Result<Journal> {
    let owner = Owner {
        run: format!("bench-{}", folder.name().to_lowercase()),
        runtime: own.kind.name().to_owned(),
        dir: std::path::absolute(folder.path())?,
        pid: std::process::id(),
    };
    Journal::open(&journal_dir(out), &owner).context("the journal cannot be written")
}
