//! Whole clusters in simulated time: a handful of seeds of every kind of fault, and the same seed
//! twice, byte by byte.

use checker::verdict::Conclusion;
use clap::Parser as _;
use harness::cli::{Cli, RunArgs};
use harness::run::schedule_spec;
use harness::run::simulated::{Simulated, judge, simulate};
use nemesis::Schedule;

fn arguments(flags: &str) -> RunArgs {
    let words = ["harness", "--runtime", "sim"].into_iter();
    let cli = Cli::try_parse_from(words.chain(flags.split_whitespace())).expect("flags");
    cli.run.for_simulation()
}

fn run(args: &RunArgs, seed: u64) -> Simulated {
    let schedule = Schedule::generate(seed, &schedule_spec(args)).expect("a schedule");
    simulate(args, seed, schedule).expect("a runtime")
}

#[test]
fn seeds_of_every_fault_are_valid_and_did_enough() {
    let args = arguments("--nemesis partition,kill,pause,delay-watermark");
    for seed in 1..=4 {
        let simulated = run(&args, seed);
        assert_eq!(simulated.panics, [""; 0], "seed {seed}");
        assert_eq!(simulated.broken, [""; 0], "seed {seed}");
        let verdict = judge(&args, &simulated).expect("a history");
        let sentence = &verdict.sentence;
        assert_eq!(
            verdict.verdict,
            Conclusion::Valid,
            "seed {seed}: {sentence}"
        );
        assert!(simulated.counts(), "seed {seed} did too little");
    }
}

#[test]
fn a_seed_repeats_itself_byte_by_byte() {
    let args = arguments("--nemesis partition,kill,pause,delay-watermark");
    let histories = [5, 6, 5, 6].map(|seed| run(&args, seed).history);
    assert!(histories[0] == histories[2], "seed 5 differs from itself");
    assert!(histories[1] == histories[3], "seed 6 differs from itself");
    assert!(histories[0] != histories[1], "two seeds are one");
}

#[test]
fn fail_fast_ends_a_run_at_its_first_violation() {
    let args = arguments("--nemesis partition,kill --seeded-bug hw-is-leo --fail-fast");
    let interrupted = br#""value":"interrupted""#;
    let stopped = (1..=20)
        .map(|seed| (seed, run(&args, seed)))
        .find(|(_, simulated)| {
            let history = &simulated.history;
            history
                .windows(interrupted.len())
                .any(|part| part == interrupted)
        });
    let (seed, simulated) = stopped.expect("readers see what is cut off later");
    let verdict = judge(&args, &simulated).expect("a history");
    let sentence = &verdict.sentence;
    assert_eq!(
        verdict.verdict,
        Conclusion::Invalid,
        "seed {seed}: {sentence}"
    );
    let patient = arguments("--nemesis partition,kill --seeded-bug hw-is-leo");
    let whole = run(&patient, seed);
    assert!(
        simulated.simulated < whole.simulated,
        "seed {seed} was not cut short"
    );
}
