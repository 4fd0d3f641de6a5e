//! `harness bench`: how fast a cluster is, and how long it is gone when a broker dies.
//!
//! * [`plan`]: which cases; [`load`]: one case, measured; [`failover`]: deaths, measured
//! * [`bed`]: the cluster; [`usage`]: its CPU and memory; [`table`]: what is printed and stored
//!
//! The same client, the same cases and the same clock serve our own broker and any other one
//! (`--bootstrap`), so that numbers of the same minute can be compared. Nothing is judged here.

mod bed;
mod failover;
mod load;
mod plan;
mod table;
mod usage;

use std::time::Duration;

use anyhow::Context as _;

use crate::cli::{BenchArgs, DurabilityName};
use crate::exit::Exit;
use bed::Bed;
use load::Measured;
use plan::{Case, Load};

/// Everything that was measured on one cluster.
#[derive(Debug, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Results {
    /// When it was begun, UTC.
    pub started: String,
    /// `fsync`, `replicated`, or nothing known.
    pub durability: Option<String>,
    /// The runtime, or the address of somebody else's cluster.
    pub cluster: String,
    /// The machine.
    pub machine: serde_json::Value,
    /// Each case with what came of it.
    pub cases: Vec<Measured>,
    /// Each death with how long it was felt.
    pub failovers: Vec<failover::Failover>,
}

/// `harness bench`.
#[must_use]
pub fn main(args: &BenchArgs) -> Exit {
    match prepared(args) {
        Ok(()) => Exit::Valid,
        Err(error) => {
            say!("error: {error:#}");
            Exit::Infrastructure
        }
    }
}

fn prepared(args: &BenchArgs) -> anyhow::Result<()> {
    // Before anything asynchronous: namespaces are entered with one thread.
    let own = match &args.bootstrap {
        Some(_) => None,
        None => Some(crate::run::own_runtime(&args.as_run_args()?)?),
    };
    let tokio = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("no asynchronous runtime")?;
    let done = tokio.block_on(async {
        let kinds: Vec<Option<DurabilityName>> = match &own {
            Some(_) => args.durability.iter().copied().map(Some).collect(),
            None => vec![None],
        };
        for durability in kinds {
            on_one_cluster(args, own.as_ref(), durability).await?;
        }
        Ok(())
    });
    tokio.shutdown_background();
    done
}

async fn on_one_cluster(
    args: &BenchArgs,
    own: Option<&crate::run::Own>,
    durability: Option<DurabilityName>,
) -> anyhow::Result<()> {
    let bed = Bed::up(args, own, durability).await?;
    say!("{} is up; results in {}", bed.named, bed.folder.shown(""));
    let measured = measure(args, &bed, durability).await;
    // Down in any case: what failed is told after it.
    let down = bed.down().await;
    let results = measured?;
    down?;
    bed.folder
        .write_json("bench.json", &serde_json::to_value(&results)?)?;
    let text = table::markdown(&results);
    std::fs::write(bed.folder.file("bench.md"), &text)?;
    bed.folder.make_latest()?;
    if args.json {
        tell!("{}", serde_json::to_string(&results)?);
    } else {
        tell_raw!("{text}");
        tell!("stored: {}", bed.folder.shown("bench.json"));
    }
    Ok(())
}

async fn measure(
    args: &BenchArgs,
    bed: &Bed,
    durability: Option<DurabilityName>,
) -> anyhow::Result<Results> {
    let started = jiff::Timestamp::now().to_string();
    let mut cases = Vec::new();
    let mut base_rate = None;
    for case in plan::cases(args) {
        let Some(case) = with_rate(case, base_rate) else {
            continue;
        };
        let measured = load::run(bed, &case, args.seconds).await?;
        say!("{}", table::line(&measured));
        if case.is_base() {
            base_rate = Some(measured.messages_per_second);
        }
        cases.push(measured);
    }
    let failovers = match bed.site.runtime {
        Some(_) => failover::all(bed, args.deaths).await?,
        None => Vec::new(),
    };
    Ok(Results {
        started,
        durability: durability.map(|d| format!("{d:?}").to_lowercase()),
        cluster: bed.named.clone(),
        machine: crate::run::machine(),
        cases,
        failovers,
    })
}

/// A share of the base case's speed needs that case first.
fn with_rate(mut case: Case, base: Option<f64>) -> Option<Case> {
    if let Load::ShareOfBase(share) = case.load {
        case.load = Load::Rate(base? * share);
    }
    Some(case)
}

/// How long a warm-up lasts: connections, first segments, the client's own ramp.
const WARM_UP: Duration = Duration::from_secs(2);
