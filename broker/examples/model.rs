//! The model at any bound, and the cases of the KIPs:
//! `cargo run --release -p broker --example model -- --bound large [--seconds 3600]`.
//!
//! Bounds: `small`, `medium`, `crashes`, `large`, or the name of a case (`kip-101` ..). Says how
//! many states there are, and how long it took; exits with 1 when a property breaks. With
//! `--seconds` it stops after that time and says that it has not seen all.

#[path = "../tests/model/controller.rs"]
mod controller;
#[path = "../tests/model/ghost.rs"]
mod ghost;
#[path = "../tests/model/kips.rs"]
mod kips;
#[path = "../tests/model/replica.rs"]
mod replica;
#[path = "../tests/model/system.rs"]
mod system;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use broker::chaos::seeded_bug::BugSet;
use broker::types::Durability;
use stateright::{Checker, HasDiscoveries, Model};
use system::{Bounds, SAFETY, System};

fn bounds(name: &str) -> Option<Bounds> {
    let small = Bounds::SMALL;
    let crashes = Bounds {
        epochs: 3,
        changes: 4,
        fences: 1,
        crashes: 1,
        moves: 1,
        durability: Durability::Replicated,
        ..small
    };
    Some(match name {
        "small" => small,
        "medium" => Bounds {
            records: 2,
            delayed: 1,
            ..small
        },
        "crashes" => crashes,
        "large" => Bounds {
            records: 3,
            delayed: 1,
            lost_replies: 1,
            failovers: 1,
            ..crashes
        },
        case => kips::ALL.iter().find(|known| known.name == case)?.bounds,
    })
}

fn value<'a>(arguments: &'a [String], name: &str) -> Option<&'a str> {
    let at = arguments.iter().position(|argument| argument == name)?;
    arguments.get(at + 1).map(String::as_str)
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let name = value(&arguments, "--bound").unwrap_or("small");
    let Some(bounds) = bounds(name) else {
        eprintln!("{name} is no bound: small, medium, crashes, large, or kip-...");
        return ExitCode::from(2);
    };
    let seconds: Option<u64> = value(&arguments, "--seconds").and_then(|text| text.parse().ok());
    let case = kips::ALL.iter().find(|case| case.name == name);
    let old = case.map(|case| case.old_rule.name());
    println!("{name}: {bounds:?}");
    if let Some(old) = old {
        println!("(the rule before it: `cargo test -p broker --test model kip_`, {old})");
    }
    let begun = Instant::now();
    let mut checker = System::new(bounds, BugSet::NONE).checker();
    if let Some(seconds) = seconds {
        checker = checker.timeout(Duration::from_secs(seconds));
    }
    let checker = checker
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_dfs()
        .join();
    let took = begun.elapsed();
    println!(
        "{} states, depth {}, {took:.1?}, {}",
        checker.unique_state_count(),
        checker.max_depth(),
        match seconds {
            Some(seconds) if took >= Duration::from_secs(seconds) => "not all of them: time is up",
            _ => "all of them",
        }
    );
    let mut broken = false;
    for name in SAFETY {
        if let Some(path) = checker.discovery(name) {
            broken = true;
            println!("BROKEN: {name}");
            for action in path.into_actions() {
                println!("  {action:?}");
            }
        }
    }
    ExitCode::from(u8::from(broken))
}
