//! The cases of a bench: one base case, and from it one thing changed at a time.

use serde::Serialize;

use crate::cli::BenchArgs;
use crate::clients::Acks;

/// How hard producers push.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "value")]
pub enum Load {
    /// As fast as the client's queue allows.
    Full,
    /// Messages a second of all producers together, whatever the cluster does (open loop).
    Rate(f64),
    /// That share of what the base case reached.
    ShareOfBase(f64),
}

/// One case.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Case {
    /// What is changed against the base case.
    pub name: String,
    /// What producers wait for: 0, 1 or all.
    pub acks: String,
    /// Payload in bytes.
    pub size: usize,
    /// Partitions of the topic.
    pub partitions: i32,
    /// Producers.
    pub producers: u32,
    /// Consumers that read the tail meanwhile.
    pub consumers: u32,
    /// How hard producers push.
    pub load: Load,
}

const BASE: &str = "base";

impl Case {
    /// The case that the others differ from in one thing.
    pub fn is_base(&self) -> bool {
        self.name == BASE
    }

    /// What producers wait for.
    pub fn acks(&self) -> Acks {
        self.acks.parse().expect("made from a parsed one")
    }
}

/// All cases, the base case first.
pub fn cases(args: &BenchArgs) -> Vec<Case> {
    let base = Case {
        name: BASE.to_owned(),
        acks: Acks::All.to_string(),
        size: 1_000,
        partitions: 6,
        producers: 4,
        consumers: 0,
        load: Load::Full,
    };
    let named = |name: String| Case {
        name,
        ..base.clone()
    };
    let mut cases = vec![base.clone()];
    cases.push(Case {
        load: Load::ShareOfBase(0.5),
        ..named("half the load".to_owned())
    });
    cases.push(Case {
        consumers: 3,
        ..named("3 consumers at the tail".to_owned())
    });
    cases.push(Case {
        acks: Acks::One.to_string(),
        ..named("acks=1".to_owned())
    });
    for &size in args.sizes.iter().filter(|size| **size != base.size) {
        cases.push(Case {
            size,
            ..named(format!("{size} bytes"))
        });
    }
    for &partitions in args.partitions.iter().filter(|n| **n != base.partitions) {
        cases.push(Case {
            partitions,
            ..named(format!("{partitions} partitions"))
        });
    }
    for &producers in args.producers.iter().filter(|n| **n != base.producers) {
        cases.push(Case {
            producers,
            ..named(format!("{producers} producers"))
        });
    }
    cases.retain(|case| {
        args.only
            .as_deref()
            .is_none_or(|word| case.name.contains(word))
    });
    cases
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Alone {
        #[command(flatten)]
        bench: BenchArgs,
    }

    fn args(line: &[&str]) -> BenchArgs {
        let line = std::iter::once("bench").chain(line.iter().copied());
        Alone::try_parse_from(line).expect("parses").bench
    }

    #[test]
    fn one_thing_is_changed_at_a_time_and_every_case_has_its_own_name() {
        let cases = cases(&args(&[]));
        assert!(cases[0].is_base());
        let names: BTreeSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
        assert_eq!(names.len(), cases.len());
        let base = &cases[0];
        for case in &cases[1..] {
            let changed = [
                case.acks != base.acks,
                case.size != base.size,
                case.partitions != base.partitions,
                case.producers != base.producers,
                case.consumers != base.consumers,
                case.load != base.load,
            ];
            assert_eq!(changed.iter().filter(|c| **c).count(), 1, "{case:?}");
        }
    }

    #[test]
    fn cases_are_chosen_by_a_part_of_their_name() {
        let cases = cases(&args(&["--only", "bytes", "--sizes", "100,1000,5000"]));
        let names: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
        assert_eq!(names, ["100 bytes", "5000 bytes"]);
    }
}
