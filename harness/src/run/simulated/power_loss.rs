//! `harness power-loss`: what survives when one, two or all of three brokers lose power at the
//! same moment, in both durability modes; as a table, simulated.
//!
//! A machine that loses power loses every write that was not synced (in half of the cases parts
//! of them are there: torn). Producers ask for acks=all. Where the durability mode promises that
//! nothing is lost, a loss is a defect; where it promises nothing, the loss is shown, and that the
//! checker finds it.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::Context as _;
use checker::verdict::Conclusion;
use nemesis::{Action, NodeId, Schedule};
use rand::seq::SliceRandom;
use serde_json::json;

use super::{Simulated, is_bad, judge, simulate};
use crate::cli::{DurabilityName, PowerLossArgs, RunArgs};
use crate::exit::Exit;
use crate::run::schedule_spec;
use crate::seed::{self, Use};

const BROKERS: u32 = 3;

/// One row: who loses power, and what is promised then.
#[derive(Clone, Copy)]
struct Case {
    durability: DurabilityName,
    min_isr: i32,
    /// Brokers that lose power at once.
    dark: usize,
}

impl Case {
    /// In fsync mode always; else while fewer lose power than hold what is acknowledged.
    fn promised(self) -> bool {
        let held_by = usize::try_from(self.min_isr).unwrap_or(0);
        self.durability == DurabilityName::Fsync || self.dark < held_by
    }

    fn mode(self) -> &'static str {
        match self.durability {
            DurabilityName::Fsync => "fsync",
            DurabilityName::Replicated => "replicated",
        }
    }
}

fn cases() -> Vec<Case> {
    let case = |durability, min_isr, dark| Case {
        durability,
        min_isr,
        dark,
    };
    let (fsync, replicated) = (DurabilityName::Fsync, DurabilityName::Replicated);
    vec![
        case(fsync, 2, 1),
        case(fsync, 2, 2),
        case(fsync, 2, 3),
        case(replicated, 2, 1),
        case(replicated, 3, 2),
        case(replicated, 2, 2),
        case(replicated, 2, 3),
    ]
}

/// What all seeds of a case came to.
#[derive(Default, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
struct Row {
    durability: &'static str,
    min_isr: i32,
    dark: usize,
    promised: bool,
    seeds: Vec<u64>,
    power_losses: usize,
    acknowledged: u64,
    /// Acknowledged messages that are gone, as the checker counts them: never read (lost-write,
    /// lost-tail),
    lost: u64,
    /// or gone after they had been read (vanished).
    vanished: u64,
    /// Seeds in which some are.
    seeds_with_loss: Vec<u64>,
    /// Seeds in which anything was wrong.
    bad_seeds: Vec<u64>,
    /// Every anomaly, and how often.
    anomalies: BTreeMap<String, u64>,
    /// Assertions of brokers that failed.
    panics: Vec<String>,
}

impl Row {
    fn outcome(&self) -> &'static str {
        match (self.promised, self.bad_seeds.is_empty(), self.gone()) {
            (true, true, _) => "kept",
            (true, false, _) => "BROKEN",
            (false, _, 0) => "not given; nothing was lost",
            (false, ..) => "not given; lost, and found by the checker",
        }
    }

    fn gone(&self) -> u64 {
        self.lost + self.vanished
    }
}

/// Simulates every row, prints and stores the table.
///
/// # Errors
/// Where it cannot be stored.
pub fn main(args: &PowerLossArgs) -> anyhow::Result<Exit> {
    let began = Instant::now();
    let mut rows = Vec::new();
    for case in cases() {
        let row = simulate_case(args, case)?;
        say!("{}", line(&row));
        rows.push(row);
    }
    let page = markdown(args, &rows);
    let stored = json!({
        "seeds": args.seeds,
        "first-seed": args.seed,
        "rows": rows,
        "seconds": began.elapsed().as_secs_f64(),
    });
    let folder = args.out.join("power-loss");
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("no folder can be made in {}", args.out.display()))?;
    std::fs::write(folder.join("table.md"), &page).context("the table cannot be written")?;
    std::fs::write(folder.join("table.json"), format!("{stored:#}\n"))
        .context("the table cannot be written")?;
    match args.json {
        true => tell!("{stored}"),
        false => tell_raw!("{page}"),
    }
    let broken = rows
        .iter()
        .any(|row| row.promised && !row.bad_seeds.is_empty());
    // That the loss of everything is seen shows that a loss elsewhere would be.
    let blind = rows.iter().all(|row| row.promised || row.gone() == 0);
    Ok(match broken || blind {
        true => Exit::Invalid,
        false => Exit::Valid,
    })
}

fn simulate_case(args: &PowerLossArgs, case: Case) -> anyhow::Result<Row> {
    let run = args.as_run_args(case.durability, case.min_isr)?;
    let mut row = Row {
        durability: case.mode(),
        min_isr: case.min_isr,
        dark: case.dark,
        promised: case.promised(),
        ..Row::default()
    };
    for seed in args.seed..args.seed.saturating_add(args.seeds) {
        let schedule = schedule(&run, seed, case.dark)?;
        let losses = schedule.faults.len();
        let simulated = simulate(&run, seed, schedule)?;
        let verdict = judge(&run, &simulated)?;
        row.seeds.push(seed);
        row.power_losses += losses;
        row.acknowledged += simulated.acknowledged;
        row.panics.extend(simulated.panics.iter().cloned());
        for (name, count) in &verdict.totals {
            *row.anomalies.entry(name.clone()).or_default() += count;
        }
        let count = |name: &str| verdict.totals.get(name).copied().unwrap_or(0);
        let (lost, vanished) = (count("lost-write") + count("lost-tail"), count("vanished"));
        row.lost += lost;
        row.vanished += vanished;
        if lost + vanished > 0 {
            row.seeds_with_loss.push(seed);
        }
        let idle = verdict.verdict == Conclusion::Vacuous;
        if is_bad(&simulated, &verdict) || idle || !did_enough(&simulated) {
            row.bad_seeds.push(seed);
        }
    }
    Ok(row)
}

/// A run that acknowledged next to nothing shows nothing.
fn did_enough(simulated: &Simulated) -> bool {
    simulated.acknowledged >= 1000
}

/// The seed's blackouts, each of exactly `dark` machines.
fn schedule(run: &RunArgs, seed: u64, dark: usize) -> anyhow::Result<Schedule> {
    let mut schedule = Schedule::generate(seed, &schedule_spec(run))?;
    let mut rng = seed::stream(seed, Use::World, 1);
    for fault in &mut schedule.faults {
        if let Action::Blackout { nodes, .. } = &mut fault.action {
            let mut all: Vec<_> = (1..=BROKERS).map(NodeId).collect();
            all.shuffle(&mut rng);
            all.truncate(dark);
            all.sort_unstable();
            *nodes = all;
        }
    }
    Ok(schedule)
}

fn line(row: &Row) -> String {
    format!(
        "{:10} min.insync.replicas {} {} of {BROKERS} dark: {} seeds, {} acknowledged, {} lost, \
         {} vanished: {}",
        row.durability,
        row.min_isr,
        row.dark,
        row.seeds.len(),
        row.acknowledged,
        row.lost,
        row.vanished,
        row.outcome()
    )
}

fn markdown(args: &PowerLossArgs, rows: &[Row]) -> String {
    let mut page = format!(
        "# Power loss\n\n\
         {BROKERS} brokers, replication factor 3, acks=all, simulated; seeds {} to {} in each row. \
         Brokers lose power at the same moment, and with it every write that was not synced; half \
         of the time parts of those writes are there. \
         `cargo run -p harness -- power-loss --seed {} --seeds {}`\n\n\
         Lost: acknowledged, and never read (lost-write, lost-tail). Vanished: read, and gone \
         afterwards.\n\n\
         | durability | min.insync.replicas | brokers dark at once | promised | power losses | \
         acknowledged | lost | vanished | seeds with loss | promise |\n\
         |---|---:|---:|---|---:|---:|---:|---:|---:|---|\n",
        args.seed,
        args.seed.saturating_add(args.seeds) - 1,
        args.seed,
        args.seeds
    );
    for row in rows {
        page.push_str(&format!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
            row.durability,
            row.min_isr,
            row.dark,
            if row.promised { "yes" } else { "no" },
            row.power_losses,
            row.acknowledged,
            row.lost,
            row.vanished,
            row.seeds_with_loss.len(),
            row.outcome()
        ));
    }
    page
}
