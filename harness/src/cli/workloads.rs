//! Workloads by name. But for `large-batch`, which has phases of its own, a workload is `batch`
//! with other defaults: flags that hold where nobody says otherwise.

use clap::ValueEnum;

/// What is sent and read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Workload {
    /// Producers and consumers at a rate, in batches, for a while.
    Batch,
    /// One batch of 5,000 messages into a fresh topic, read at once: the test that found the bug
    /// this project began with.
    LargeBatch,
    /// Most messages go to one partition.
    HotPartition,
    /// Half of the consumers read slowly, and far behind the end.
    SlowConsumers,
    /// Few messages of up to 900 kB.
    LargeMessages,
    /// Two hundred partitions.
    ManyPartitions,
    /// Consumers are members of a group (of a broker that has groups).
    Group,
    /// Batches are transactions (of a broker that has them).
    Transactions,
    /// Each producer sends its next batch when the last one is acknowledged, as fast as it can.
    ClosedLoop,
}

impl Workload {
    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::LargeBatch => "large-batch",
            Self::HotPartition => "hot-partition",
            Self::SlowConsumers => "slow-consumers",
            Self::LargeMessages => "large-messages",
            Self::ManyPartitions => "many-partitions",
            Self::Group => "group",
            Self::Transactions => "transactions",
            Self::ClosedLoop => "closed-loop",
        }
    }

    /// What it does, in a line.
    #[must_use]
    pub fn about(self) -> &'static str {
        match self {
            Self::Batch => {
                "producers and consumers at a rate, in batches of 5,000, with a trickle of small \
                 ones"
            }
            Self::LargeBatch => "one batch of 5,000 into a fresh topic, read at once",
            Self::HotPartition => "nine of ten messages of large batches go to one partition",
            Self::SlowConsumers => {
                "half of the consumers pause after each poll, and read far behind the end"
            }
            Self::LargeMessages => "payloads of 100 kB to 900 kB, in batches of 10",
            Self::ManyPartitions => "200 partitions, of which most batches meet all",
            Self::Group => {
                "consumers are members of a group and commit what they have read; needs --target \
                 kafka or --bootstrap"
            }
            Self::Transactions => {
                "batches are transactions, of which one in ten is aborted on purpose; needs \
                 --target kafka or --bootstrap"
            }
            Self::ClosedLoop => {
                "the next batch follows the last one's acknowledgements: as fast as it goes"
            }
        }
    }

    /// Flags and values that hold where nothing else is said.
    #[must_use]
    pub fn defaults(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Batch | Self::LargeBatch => &[],
            Self::HotPartition => &[("hot", "0.9")],
            Self::SlowConsumers => &[("consumers", "4"), ("slow-consumers", "2")],
            Self::LargeMessages => &[
                ("size", "100000..900000"),
                ("batch", "10"),
                ("messages", "600"),
                ("trickles", "0"),
            ],
            Self::ManyPartitions => &[("partitions", "200")],
            Self::Group => &[("sub-via", "subscribe"), ("consumers", "3")],
            Self::Transactions => &[("transactions", "true"), ("batch", "500")],
            Self::ClosedLoop => &[("rate", "0"), ("batch", "500")],
        }
    }

    /// All of them.
    pub fn every() -> impl Iterator<Item = Self> {
        Self::value_variants().iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::RunArgs;

    #[test]
    fn a_workload_has_the_name_that_the_command_line_knows() {
        for workload in Workload::every() {
            let parsed = Workload::from_str(workload.name(), false);
            assert_eq!(parsed, Ok(workload));
        }
    }

    #[test]
    fn the_defaults_of_each_workload_are_a_run() {
        for workload in Workload::every() {
            let defaults = workload.defaults().iter();
            let words = defaults.map(|(flag, value)| match *value {
                "true" => format!("--{flag}"),
                value => format!("--{flag}={value}"),
            });
            let more = [
                "--target=kafka".to_owned(),
                format!("--workload={}", workload.name()),
            ];
            let args = RunArgs::parsed(words.chain(more)).expect("flags");
            assert_eq!(args.validate(), Ok(()), "{}", workload.name());
        }
    }
}
