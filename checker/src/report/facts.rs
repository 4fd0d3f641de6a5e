//! Everything that the page and the pictures say, computed once from the folder.

use serde_json::Value as Json;

use super::chart::lanes::Sighting;
use super::chart::{Picture, Timeline, availability, lanes, latency, leaders, rate, unseen};
use super::chart::{scale, watermark};
use super::data::availability::Availability;
use super::data::errors::ErrorRow;
use super::data::faults::{Fault, faults};
use super::data::latency::Latency;
use super::data::leaders::Leaders;
use super::data::lookup::Lookup;
use super::data::names::Names;
use super::data::rate::Rates;
use super::data::unseen::Unseen;
use super::data::watermark::WatermarkLag;
use super::data::{self, Bins};
use super::folder::Folder;
use super::witness;
use crate::history::{Function, History, Keys};
use crate::verdict::Verdict;

/// Columns of most pictures.
const COLUMNS: usize = 480;
/// Faults drawn and listed; a run with more is summed up in words.
pub const DRAWN: usize = 600;
/// Phases drawn.
const PHASES: usize = 100;
/// Shorter gaps are not drawn, in ns.
const GAP_FLOOR: i64 = 250_000_000;

/// What is known of a run.
pub struct Facts<'a> {
    /// Name of the run's folder.
    pub name: &'a str,
    /// The history; empty where there is none.
    pub history: &'a History,
    /// The verdict, where there is one.
    pub verdict: Option<&'a Verdict>,
    /// The folder.
    pub folder: &'a Folder,
    /// End of the run in ns.
    pub end: i64,
    /// Faults, in order.
    pub faults: Vec<Fault>,
    /// Beginnings of phases.
    pub phases: Vec<(i64, String)>,
    /// Messages per bin.
    pub rates: Rates,
    /// Latencies of writes.
    pub latency: Latency,
    /// Unseen messages.
    pub unseen: Unseen,
    /// Watermark lag.
    pub lag: WatermarkLag,
    /// Leaders.
    pub leaders: Leaders,
    /// Gaps.
    pub availability: Availability,
    /// Errors by code.
    pub errors: Vec<ErrorRow>,
    /// Operations that witnesses and stories name.
    pub lookup: Lookup<'a>,
    /// Where anomalies lie.
    pub sightings: Vec<Sighting>,
    bins: Bins,
    latency_bins: Bins,
}

impl<'a> Facts<'a> {
    /// Complete passes over every key, as the verdict counts them.
    #[must_use]
    pub fn passes(&self) -> u64 {
        self.verdict.map_or(0, |verdict| verdict.counts.passes)
    }

    /// Changes of leader before the restart of every broker that ends a run.
    #[must_use]
    pub fn leader_changes(&self) -> u64 {
        let mut phases = self.history.phases.iter();
        let restart = phases.find(|phase| phase.name == "restart");
        let until = restart.map_or(i64::MAX, |phase| phase.at.time);
        self.leaders.changes_within(i64::MIN, until)
    }

    /// Computes the facts.
    #[must_use]
    pub fn gather(folder: &'a Folder, nothing: &'a History) -> Facts<'a> {
        let history = folder.history.as_ref().unwrap_or(nothing);
        let verdict = folder.verdict.as_ref();
        let end = data::end_of(history);
        let bins = Bins::of(end, COLUMNS);
        // Quantiles of a handful of operations per bin say more than those of single ones.
        let sends = history.ops().iter();
        let sends = sends.filter(|op| op.function == Function::Send).count();
        let latency_bins = Bins::of(end, (sends / 3).clamp(40, COLUMNS / 2));
        let wanted = verdict.map_or_else(Vec::new, witness::operations);
        let lookup = Lookup::new(history, &wanted, end);
        let sightings = verdict.map_or_else(Vec::new, |verdict| {
            witness::sightings(verdict, |index| lookup.time(index))
        });
        let phases = history.phases.iter();
        Facts {
            name: &folder.name,
            history,
            verdict,
            folder,
            end,
            faults: faults(Some(history), verdict),
            phases: phases
                .take(PHASES)
                .map(|phase| (phase.at.time.max(0), phase.name.clone()))
                .collect(),
            rates: data::rate::rates(history, &bins),
            latency: data::latency::latency(history, &latency_bins),
            unseen: data::unseen::unseen(history, &bins),
            lag: data::watermark::lag(history, &bins),
            leaders: data::leaders::leaders(history, end),
            availability: data::availability::availability(history, &bins, GAP_FLOOR),
            errors: data::errors::errors(history, &bins),
            lookup,
            sightings,
            bins,
            latency_bins,
        }
    }

    /// The run's time, as pictures need it.
    #[must_use]
    pub fn timeline(&self) -> Timeline<'_> {
        Timeline {
            end: self.end,
            faults: &self.faults[..self.faults.len().min(DRAWN)],
            phases: &self.phases,
        }
    }

    /// Names of keys.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        self.history.keys()
    }

    /// Faults that took effect.
    #[must_use]
    pub fn bitten(&self) -> usize {
        self.faults.iter().filter(|fault| fault.bit()).count()
    }

    /// All pictures, in the order of the page.
    #[must_use]
    pub fn pictures(&self) -> Vec<Picture> {
        let (time, bins) = (self.timeline(), &self.bins);
        let names = Names::new(self.keys());
        let mut pictures = vec![
            lanes::lanes(time, &self.sightings),
            rate::written(time, bins, &self.rates),
            rate::read(time, bins, &self.rates),
            latency::quantiles(time, &self.latency_bins, &self.latency),
            latency::raw(time, &self.latency),
            unseen::unseen(time, bins, &names, &self.unseen),
            watermark::by_partition(time, bins, &names, &self.lag),
        ];
        let followers = self.folder.metrics.follower_lag(bins);
        if !followers.is_empty() {
            pictures.push(watermark::by_follower(time, bins, followers));
        }
        pictures.push(leaders::leaders(time, &names, &self.leaders));
        pictures.push(availability::availability(time, &names, &self.availability));
        pictures
    }

    /// A setting of the run: out of the history's `config`, else out of `run.json`.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<&Json> {
        let run = || {
            let run = self.folder.run.as_ref()?;
            run.get(name).or_else(|| run.get("config")?.get(name))
        };
        self.history
            .config
            .get(name)
            .or_else(run)
            .filter(|value| !value.is_null())
    }

    /// The words of an axis for a moment; used by tables that stand beside pictures.
    #[must_use]
    pub fn ticks(&self) -> Vec<i64> {
        scale::time_ticks(self.end)
    }
}
