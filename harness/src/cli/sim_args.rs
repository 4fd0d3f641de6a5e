//! Flags that only simulations have: how clients of ours behave, and ambushes.

use std::time::Duration;

use clap::Args;

use crate::clients::{Breaches, Manners, OffsetReset};
use crate::run::simulated::Ambush;

/// Flags of `run --runtime sim`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "Simulation only")]
pub struct SimArgs {
    /// Strikes at moments that no schedule hits: faults that wait for something to happen in a
    /// broker.
    #[arg(long, value_enum, value_name = "NAME")]
    pub ambush: Option<Ambush>,
    /// Milliseconds until a producer sends a batch without an answer again [default: 4000].
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(50..=60_000))]
    pub request_timeout: Option<u64>,
    /// Record batches of a partition that a producer has on their way at once [default: 1].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=5))]
    pub pipeline: Option<u16>,
    /// What a consumer does whose offset is out of range [default: error].
    #[arg(long, value_enum, value_name = "HOW")]
    pub offset_reset: Option<OffsetReset>,
    /// Milliseconds that a consumer's fetch may wait for records [default: 200].
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pub fetch_wait: Option<u64>,
    /// Consumers forget their offset now and then, and ask for it by time.
    #[arg(long)]
    pub seek_by_time: bool,
    /// One more producer is replaced by its next incarnation again and again, and the old ones go
    /// on sending.
    #[arg(long)]
    pub zombies: bool,
}

impl SimArgs {
    /// How the clients behave.
    #[must_use]
    pub fn manners(&self) -> Manners {
        let usual = Manners::default();
        let millis = |asked: Option<u64>, usual| asked.map_or(usual, Duration::from_millis);
        Manners {
            answer_within: millis(self.request_timeout, usual.answer_within),
            pipeline: self.pipeline.map_or(usual.pipeline, usize::from),
            reset: self.offset_reset.unwrap_or(usual.reset),
            seeks_by_time: self.seek_by_time,
            fetch_wait: millis(self.fetch_wait, usual.fetch_wait),
            breaches: Breaches::default(),
        }
    }

    /// The same flags again, for a command that repeats a run.
    #[must_use]
    pub fn flags(&self) -> String {
        use clap::ValueEnum as _;
        let mut flags = String::new();
        let mut add = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                flags.push_str(&format!(" --{name} {value}"));
            }
        };
        let ambush = self.ambush.and_then(|ambush| ambush.to_possible_value());
        add("ambush", ambush.map(|value| value.get_name().to_owned()));
        add(
            "request-timeout",
            self.request_timeout.map(|ms| ms.to_string()),
        );
        add("pipeline", self.pipeline.map(|depth| depth.to_string()));
        let reset = self
            .offset_reset
            .and_then(|reset| reset.to_possible_value());
        add(
            "offset-reset",
            reset.map(|value| value.get_name().to_owned()),
        );
        add("fetch-wait", self.fetch_wait.map(|ms| ms.to_string()));
        for (flag, set) in [
            (" --seek-by-time", self.seek_by_time),
            (" --zombies", self.zombies),
        ] {
            if set {
                flags.push_str(flag);
            }
        }
        flags
    }
}
