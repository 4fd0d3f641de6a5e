//! The analyses: each anomaly has one file with one definition, a bad history and a good one.
//!
//! Order of work: facts are derived once ([`facts`]), then each analysis looks at them and adds
//! what it found. None changes what another sees, but for one thing: a message whose loss is proven
//! is not reported as `unseen` too ([`claims`]).
//!
//! Deliberately absent: any judgement of what is allowed. That is the profile's part.

mod claims;
pub mod cycles;
mod dual_leader;
mod duplicate;
mod epoch_regression;
pub mod facts;
mod findings;
mod g1a;
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
pub mod realtime_lag;
mod replica_divergence;
mod stale_watermark;
mod steps;
#[cfg(test)]
pub(crate) mod testing;
mod unseen;
mod unwritten_read;
mod vanished;
mod visible_above_watermark;
mod watermark_regression;
mod watermarks;

pub use claims::Claims;
pub use findings::{About, Details, Finding, Findings, Found, Judge};
pub use kind::Kind;
pub use lost_tail::final_end;
pub use passes::{Pass, Passes};
pub use watermarks::{Answer, KeyAnswers, Watermarks};

use facts::{Dialect, Facts};
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
}

/// Runs every analysis of the dialect.
#[must_use]
pub fn run<'j>(facts: &Facts, judge: &'j dyn Judge, options: &Options) -> (Findings<'j>, Evidence) {
    let mut findings = Findings::new(judge, options.limit);
    let watermarks = Watermarks::collect(facts.history);
    let mut claims = Claims::default();
    lost_write::find(facts, &watermarks, &mut claims, &mut findings);
    inconsistent_offsets::find(facts, &mut findings);
    duplicate::find(facts, &mut findings);
    g1a::find(facts, &mut findings);
    unwritten_read::find(facts, &mut findings);
    precommitted_read::find(facts, &mut findings);
    order(facts, &mut findings);
    let mut passes = Passes::default();
    if facts.dialect == Dialect::Own {
        passes = Passes::collect(facts);
        lost_tail::find(facts, &passes, &watermarks, &mut claims, &mut findings);
        vanished::find(facts, &passes, &watermarks, &mut claims, &mut findings);
        brokers(facts, &watermarks, &mut findings);
        invalid_offset::find(facts, &mut findings);
        non_unique_write::find(facts, &mut findings);
        not_recovered::find(facts, options.recovery_limit, &mut findings);
    }
    cycles::find(facts, options.ww_deps, &mut findings);
    unseen::find(facts, &claims, options.limit, &mut findings);
    (
        findings,
        Evidence {
            watermarks,
            passes,
            claims,
        },
    )
}

/// In which order clients read and wrote.
fn order(facts: &Facts, findings: &mut Findings) {
    let steps = Steps::walk(facts);
    poll_skip::find(facts, &steps, findings);
    nonmonotonic_poll::find(facts, &steps, findings);
    int_poll_skip::find(facts, &steps, findings);
    int_nonmonotonic_poll::find(facts, &steps, findings);
    nonmonotonic_send::find(facts, &steps, findings);
    int_nonmonotonic_send::find(facts, &steps, findings);
    int_send_skip::find(facts, &steps, findings);
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
