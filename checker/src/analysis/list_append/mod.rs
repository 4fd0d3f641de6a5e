//! list-append: transactions over named lists, each a sequence of appends and reads (Kingsbury and
//! Alvaro, "Elle", 2020). `--model list-append`.
//!
//! Every element is appended once, and a read returns the whole list, so the longest read of a key
//! tells the order of its appends, and with it who depends on whom. Anomalies have Elle's names;
//! which of them are forbidden follows from the consistency models that must hold ([`models`]).

mod classes;
pub use classes::ALL as ALL_CLASSES;
mod dirty_update;
mod g1;
pub mod graph;
pub mod index;
mod internal;
mod lost_update;
pub mod models;
mod orders;
#[cfg(test)]
mod testing;

use std::collections::BTreeSet;

use super::cycles::elle;
use super::findings::{About, Details, Findings, Judge};
use super::kind::Kind;
use crate::{CheckError, History, Options};
use graph::Clock;
use index::Lists;

/// What must hold, and what follows from that.
#[derive(Debug)]
pub struct Demand {
    prohibited: BTreeSet<&'static str>,
    /// The models, under their proper names.
    pub models: Vec<&'static str>,
}

impl Demand {
    /// What the options demand; strict serializability where they say nothing.
    ///
    /// # Errors
    /// [`CheckError::Usage`] for a model or an anomaly that does not exist.
    pub fn new(options: &Options) -> Result<Demand, CheckError> {
        let named = options.consistency_models.iter().map(|name| {
            models::model(name).ok_or_else(|| {
                let message = crate::suggest::unknown("consistency model", name, &models::names());
                CheckError::Usage(message)
            })
        });
        let mut held = named.collect::<Result<Vec<_>, _>>()?;
        if held.is_empty() {
            held.push("strong-serializable");
        }
        let insisted = options.anomalies.iter().map(|name| {
            Kind::named(name).map(Kind::name).ok_or_else(|| {
                let names: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
                CheckError::Usage(crate::suggest::unknown("anomaly", name, &names))
            })
        });
        let insisted = insisted.collect::<Result<_, _>>()?;
        let mut prohibited = models::prohibited(&held);
        prohibited.extend(models::implying(&insisted));
        Ok(Demand {
            prohibited,
            models: held,
        })
    }

    fn clock(&self) -> Clock {
        let any = |suffix: &str| {
            classes::ALL.iter().any(|class| {
                let name = class.kind.name();
                name.ends_with(suffix) && self.prohibited.contains(name)
            })
        };
        match () {
            () if any("-realtime") => Clock::Realtime,
            () if any("-process") => Clock::Process,
            () => Clock::None,
        }
    }
}

impl Judge for Demand {
    fn allows(&self, kind: Kind, _: Option<About>) -> bool {
        !self.prohibited.contains(kind.name())
    }
}

/// Runs every analysis.
#[must_use]
pub fn run<'d>(history: &History, demand: &'d Demand, options: &Options) -> Findings<'d> {
    let lists = Lists::derive(history);
    let mut findings = Findings::new(demand, options.limit);
    internal::find(&lists, &mut findings);
    g1::find(&lists, &mut findings);
    orders::find(&lists, &mut findings);
    dirty_update::find(&lists, &mut findings);
    lost_update::find(&lists, &mut findings);
    phantoms(&lists, &mut findings);
    if let Some(graph) = graph::build_if_cyclic(&lists, demand.clock()) {
        if graph.edges() == 0 {
            findings.add_whole(Kind::EmptyTransactionGraph, 1, || {
                Details::new(history).finish()
            });
        }
        let timed =
            (demand.clock() == Clock::Realtime).then(|| lists.txns().map(|(id, op)| (id.0, op)));
        let cycles = elle::search(history.ops(), &graph, classes::ALL, timed);
        for cycle in cycles.named.into_iter().chain(cycles.exist) {
            findings.add_whole(cycle.kind, 1, || graph::detail(&lists, &cycle));
        }
    }
    findings
}

/// Elements appended twice, and elements read that nobody appended: where Elle refuses or stops.
fn phantoms(lists: &Lists, findings: &mut Findings) {
    for key in &lists.keys {
        for element in &key.elements {
            let kind = match element.appends {
                1 => continue,
                0 => Kind::UnwrittenRead,
                _ => Kind::NonUniqueWrite,
            };
            findings.add(kind, key.key, || {
                Details::new(lists.history)
                    .key(key.key)
                    .value(element.value)
                    .op("writer", element.writer())
                    .finish()
            });
        }
    }
}
