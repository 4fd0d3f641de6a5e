//! The analyses: each anomaly has one file with one definition, a bad history and a good one.
//!
//! Order of work: facts are derived once ([`facts`]), then each analysis looks at them and adds
//! what it found. None changes what another sees, but for one thing: a message whose loss is proven
//! is not reported as `unseen` too ([`claims`]).
//!
//! Deliberately absent: any judgement of what is allowed. That is the profile's part.

mod claims;
mod committed_offset_overrun;
mod committed_offset_regression;
pub mod cycles;
mod double_consume;
mod double_ownership;
mod dual_leader;
mod duplicate;
mod epoch_regression;
pub mod facts;
mod findings;
mod g1a;
mod group_offsets;
mod inconsistent_offsets;
mod int_nonmonotonic_poll;
mod int_nonmonotonic_send;
mod int_poll_skip;
mod int_send_skip;
mod invalid_offset;
mod kind;
pub mod list_append;
mod lost_tail;
mod lost_write;
mod non_unique_write;
mod nonmonotonic_poll;
mod nonmonotonic_send;
mod not_recovered;
mod passes;
mod poll_skip;
mod precommitted_read;
pub mod read_skew;
pub mod realtime_lag;
mod rebalances;
pub mod recheck;
mod replica_divergence;
mod stale_watermark;
mod steps;
#[cfg(test)]
pub(crate) mod testing;
mod torn_transaction;
mod unseen;
mod unwritten_read;
mod vanished;
mod visible_above_watermark;
mod watermark_regression;
mod watermarks;
mod zombie_write;

pub use claims::Claims;
pub use findings::{About, Details, Finding, Findings, Found, Judge};
pub use kind::Kind;
pub use lost_tail::final_end;
pub use passes::{Pass, Passes};
pub use watermarks::{Answer, KeyAnswers, Watermarks};

use std::thread;

use facts::{Dialect, Facts};
use group_offsets::GroupOffsets;
use realtime_lag::WorstLag;
use rebalances::Rebalances;
use steps::Steps;

use crate::Options;

/// The evidence beside the facts, collected once.
#[derive(Debug)]
pub struct Evidence {
    /// Answers to `list-offsets`.
    pub watermarks: Watermarks,
    /// Complete passes.
    pub passes: Passes,
    /// Messages whose loss is proven.
    pub claims: Claims,
    /// How far behind a consumer was at worst.
    pub worst_lag: Option<WorstLag>,
}

/// Runs every analysis of the dialect. Those that need nothing of each other run at the same time.
#[must_use]
pub fn run<'j>(facts: &Facts, judge: &'j dyn Judge, options: &Options) -> (Findings<'j>, Evidence) {
    let watermarks = Watermarks::collect(facts.history);
    let none = || Findings::new(judge, options.limit);
    let (mut findings, mut evidence, others) = thread::scope(|scope| {
        let order = scope.spawn(|| {
            let mut findings = none();
            order(facts, &mut findings);
            (findings, realtime_lag::worst(facts))
        });
        let cycles = scope.spawn(|| {
            let mut findings = none();
            cycles::find(facts, options.ww_deps, &mut findings);
            if facts.dialect == Dialect::Own {
                brokers(facts, &watermarks, &mut findings);
                groups(facts, &mut findings);
            }
            let few = facts.history.ops().len() <= read_skew::OPERATIONS_MAX;
            if facts.dialect == Dialect::Own && (few || options.strict_reads) {
                read_skew::find(facts, &mut findings);
            }
            findings
        });
        let mut findings = none();
        let (passes, claims) = messages(facts, &watermarks, options, &mut findings);
        let (order, worst_lag) = order.join().expect("an analysis does not panic");
        let cycles = cycles.join().expect("an analysis does not panic");
        let evidence = Evidence {
            watermarks: Watermarks::default(),
            passes,
            claims,
            worst_lag,
        };
        (findings, evidence, [order, cycles])
    });
    others.into_iter().for_each(|other| findings.absorb(other));
    evidence.watermarks = watermarks;
    unseen::find(facts, &evidence.claims, options.limit, &mut findings);
    (findings, evidence)
}

/// What became of each message.
fn messages(
    facts: &Facts,
    watermarks: &Watermarks,
    options: &Options,
    findings: &mut Findings,
) -> (Passes, Claims) {
    let mut claims = Claims::default();
    let mut passes = Passes::default();
    lost_write::find(facts, watermarks, &mut claims, findings);
    inconsistent_offsets::find(facts, findings);
    duplicate::find(facts, findings);
    g1a::find(facts, findings);
    unwritten_read::find(facts, findings);
    precommitted_read::find(facts, findings);
    if facts.dialect == Dialect::Own {
        passes = Passes::collect(facts);
        lost_tail::find(facts, &passes, watermarks, &mut claims, findings);
        vanished::find(facts, &passes, watermarks, &mut claims, findings);
        torn_transaction::find(facts, &passes, watermarks, findings);
        invalid_offset::find(facts, findings);
        non_unique_write::find(facts, findings);
        not_recovered::find(facts, options.recovery_limit, findings);
    }
    (passes, claims)
}

/// In which order clients read and wrote.
fn order(facts: &Facts, findings: &mut Findings) {
    let steps = Steps::walk(facts);
    let rebalances = match facts.dialect {
        Dialect::Own => Rebalances::collect(facts),
        Dialect::Jepsen => Rebalances::default(),
    };
    poll_skip::find(facts, &steps, &rebalances, findings);
    nonmonotonic_poll::find(facts, &steps, &rebalances, findings);
    int_poll_skip::find(facts, &steps, findings);
    int_nonmonotonic_poll::find(facts, &steps, findings);
    nonmonotonic_send::find(facts, &steps, findings);
    int_nonmonotonic_send::find(facts, &steps, findings);
    int_send_skip::find(facts, &steps, findings);
}

/// Producers and groups that hold each other off.
fn groups(facts: &Facts, findings: &mut Findings) {
    zombie_write::find(facts, findings);
    double_ownership::find(facts, findings);
    double_consume::find(facts, findings);
    let offsets = GroupOffsets::collect(facts.history);
    committed_offset_regression::find(facts, &offsets, findings);
    committed_offset_overrun::find(facts, &offsets, findings);
}

/// What brokers say of themselves.
fn brokers(facts: &Facts, watermarks: &Watermarks, findings: &mut Findings) {
    stale_watermark::find(facts, watermarks, findings);
    watermark_regression::find(facts, watermarks, findings);
    visible_above_watermark::find(facts, watermarks, findings);
    epoch_regression::find(facts, watermarks, findings);
    dual_leader::find(facts, watermarks, findings);
    replica_divergence::find(facts, findings);
}
