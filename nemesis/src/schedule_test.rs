//! A schedule is a pure function of its seed, always well-formed, and never vacuous by design.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::fault::{Platform, Requirement};

fn spec(kinds: &[FaultKind]) -> ScheduleSpec {
    ScheduleSpec {
        kinds: kinds.to_vec(),
        nodes: 3,
        partitions: 6,
        main_ms: 35_000,
        clients: false,
        overlap: false,
        random: false,
    }
}

fn specs() -> impl Strategy<Value = ScheduleSpec> {
    let kinds = prop::collection::vec(prop::sample::select(FaultKind::BASIC.to_vec()), 0..5);
    (kinds, 2..8u32, 1..20u32, 6_000..200_000u64, any::<bool>()).prop_map(
        |(kinds, nodes, partitions, main_ms, clients)| ScheduleSpec {
            kinds,
            nodes,
            partitions,
            main_ms,
            clients,
            overlap: false,
            random: false,
        },
    )
}

proptest! {
    #[test]
    fn is_a_pure_function_and_reads_back(seed: u64, spec in specs()) {
        let first = Schedule::generate(seed, &spec).unwrap();
        let second = Schedule::generate(seed, &spec).unwrap();
        prop_assert_eq!(first.to_json(), second.to_json());
        prop_assert_eq!(first.to_text(), second.to_text());
        let read: Schedule = serde_json::from_str(&first.to_json()).unwrap();
        prop_assert_eq!(read, first);
    }

    #[test]
    fn faults_come_inside_those_that_hold(seed: u64, main_ms in 30_000..100_000u64) {
        let kinds = [FaultKind::Partition, FaultKind::DelayWatermark, FaultKind::Kill];
        let spec = ScheduleSpec { main_ms, overlap: true, ..spec(&kinds) };
        let schedule = Schedule::generate(seed, &spec).unwrap();
        prop_assert_eq!(&schedule, &Schedule::generate(seed, &spec).unwrap());
        let (inside, around): (Vec<&Fault>, Vec<&Fault>) =
            schedule.faults.iter().partition(|fault| fault.action.kind() == FaultKind::Kill);
        prop_assert!(around.len() >= 2, "{}", schedule.to_text());
        prop_assert!(inside.len() >= around.len(), "{}", schedule.to_text());
        for pair in around.windows(2) {
            let end = pair[0].at_ms + pair[0].for_ms;
            prop_assert!(end + GAP_MS.start() <= pair[1].at_ms);
        }
        for (place, fault) in inside.iter().enumerate() {
            let holding = around.iter().filter(|other| other.holds_around(fault));
            prop_assert_eq!(holding.count(), 1, "{}", schedule.to_text());
            let later = inside[place + 1..].iter();
            let mut later = later.map(|other| other.at_ms);
            prop_assert!(later.all(|at| at > fault.at_ms + fault.for_ms));
        }
        for (index, fault) in schedule.faults.iter().enumerate() {
            prop_assert_eq!(fault.id as usize, index + 1);
            prop_assert!(fault.at_ms + fault.for_ms + TAIL_MS <= main_ms);
        }
    }

    #[test]
    fn is_well_formed(seed: u64, spec in specs()) {
        let schedule = Schedule::generate(seed, &spec).unwrap();
        prop_assert_eq!(schedule.faults.is_empty(), spec.kinds.is_empty());
        let mut free_from = 0;
        for (index, fault) in schedule.faults.iter().enumerate() {
            prop_assert_eq!(fault.id as usize, index + 1);
            prop_assert!(fault.at_ms >= free_from, "faults overlap");
            prop_assert!(fault.for_ms >= HOLD_LEAST_MS);
            prop_assert!(fault.at_ms + fault.for_ms + TAIL_MS <= spec.main_ms);
            prop_assert!(spec.kinds.contains(&fault.action.kind()));
            free_from = fault.at_ms + fault.for_ms + GAP_MS.start();
        }
    }

    #[test]
    fn every_cut_cuts_something_and_only_between_brokers(seed: u64, nodes in 2..8u32) {
        let mut spec = spec(&[FaultKind::Partition]);
        spec.nodes = nodes;
        spec.main_ms = 120_000;
        let all: Vec<NodeId> = (1..=nodes).map(NodeId).collect();
        for fault in Schedule::generate(seed, &spec).unwrap().faults {
            let Action::Partition { shape, .. } = &fault.action else { unreachable!() };
            let links = shape.deaf(&all, Some(NodeId(1)));
            prop_assert!(!links.is_empty(), "{shape} cuts nothing");
            prop_assert!(links.iter().all(|(from, to)| from != to));
            if !matches!(shape, Shape::Ring { .. }) {
                let mirrored = |(from, to): &(NodeId, NodeId)| links.contains(&(*to, *from));
                prop_assert!(links.iter().all(mirrored), "{shape} is one-way");
            }
        }
    }
}

proptest! {
    #[test]
    fn random_subsets_come_by_period(seed: u64, main_ms in 30_000..200_000u64) {
        let kinds = FaultKind::offered(Platform::Docker).collect();
        let spec = ScheduleSpec { kinds, main_ms, random: true, ..spec(&[]) };
        let schedule = Schedule::generate(seed, &spec).unwrap();
        prop_assert!(!schedule.faults.is_empty());
        let ends = |fault: &Fault| fault.at_ms + fault.for_ms;
        for (index, fault) in schedule.faults.iter().enumerate() {
            prop_assert_eq!(fault.id as usize, index + 1);
            prop_assert!(ends(fault) + TAIL_MS <= main_ms);
            for later in &schedule.faults[index + 1..] {
                let apart = later.at_ms >= ends(fault) || fault.holds_around(later);
                prop_assert!(apart, "{}", schedule.to_text());
                let inside = !fault.holds_around(later) || later.action.kind().is_of_one_process()
                    || later.action.kind() == FaultKind::Cpu;
                prop_assert!(inside, "{}", schedule.to_text());
            }
        }
    }
}

#[test]
fn all_that_a_runtime_offers_comes_in_turn() {
    for platform in [Platform::Docker, Platform::Sim] {
        let kinds: Vec<FaultKind> = FaultKind::offered(platform).collect();
        let spec = ScheduleSpec {
            main_ms: 400_000,
            ..spec(&kinds)
        };
        let schedule = Schedule::generate(3, &spec).unwrap();
        let seen: BTreeSet<_> = schedule.faults.iter().map(|f| f.action.kind()).collect();
        assert_eq!(seen, kinds.into_iter().collect());
    }
}

#[test]
fn there_are_periods_without_any_fault_and_with_several() {
    let kinds: Vec<FaultKind> = FaultKind::offered(Platform::Docker).collect();
    let spec = ScheduleSpec {
        main_ms: 100_000,
        random: true,
        ..spec(&kinds)
    };
    let schedules = (0..50).map(|seed| Schedule::generate(seed, &spec).unwrap().faults.len());
    let counts: BTreeSet<usize> = schedules.collect();
    assert!(
        counts.first() < Some(&6) && counts.last() > Some(&12),
        "{counts:?}"
    );
}

/// The same seed gives the same faults in every build, on every machine: this text is fixed.
#[test]
fn the_schedule_of_a_seed_never_changes() {
    let mut spec = spec(&FaultKind::BASIC);
    spec.main_ms = 150_000;
    let schedule = Schedule::generate(42, &spec).unwrap();
    assert_eq!(schedule.to_text(), include_str!("schedule_seed_42.txt"));
}

#[test]
fn a_default_run_has_a_fault_aimed_at_a_leader_of_each_kind_that_can_be() {
    for kind in [FaultKind::Partition, FaultKind::Kill, FaultKind::Pause] {
        for seed in 0..200 {
            let schedule = Schedule::generate(seed, &spec(&[kind])).unwrap();
            assert!(schedule.faults.len() >= 3, "{}", schedule.to_text());
            let required = schedule.faults.iter().filter_map(|f| f.action.requires());
            assert!(required.count() >= 1, "{}", schedule.to_text());
        }
    }
}

#[test]
fn a_list_of_kinds_brings_each_of_them() {
    let kinds = [FaultKind::Partition, FaultKind::Kill, FaultKind::Pause];
    for seed in 0..200 {
        let schedule = Schedule::generate(seed, &spec(&kinds)).unwrap();
        let seen: BTreeSet<_> = schedule.faults.iter().map(|f| f.action.kind()).collect();
        assert_eq!(seen.len(), kinds.len(), "{}", schedule.to_text());
    }
}

#[test]
fn every_variant_of_a_partition_comes_up() {
    let mut spec = spec(&[FaultKind::Partition]);
    spec.main_ms = 600_000;
    let text = Schedule::generate(7, &spec).unwrap().to_text();
    for part in [
        "isolate leader",
        "isolate controller",
        "isolate node",
        "| the others",
        "ring",
        "bridge",
        "spares the port of controller",
    ] {
        assert!(text.contains(part), "no `{part}` in\n{text}");
    }
}

#[test]
fn only_what_forces_an_election_requires_one() {
    let target = Target::Leader { partition: 2 };
    let cut = |spares: &[Listener]| Action::Partition {
        shape: Shape::Isolate {
            target: target.clone(),
        },
        spares: spares.to_vec(),
        only: Vec::new(),
        clients: false,
    };
    let required = Some(Requirement::LeaderEpochChange { partition: 2 });
    assert_eq!(cut(&[]).requires(), required);
    assert_eq!(cut(&[Listener::Replication]).requires(), required);
    assert_eq!(cut(&[Listener::Controller]).requires(), None);
    let kill = |target| Action::Kill { target };
    assert_eq!(kill(target.clone()).requires(), required);
    assert_eq!(kill(Target::Controller).requires(), None);
    assert_eq!(kill(Target::Node { node: NodeId(1) }).requires(), None);
    let delay = Action::DelayWatermark {
        target,
        inbound_ms: 5,
        outbound_ms: 0,
    };
    assert_eq!(delay.requires(), None);
}

#[test]
fn a_ring_of_three_leaves_everybody_hearing_one_other() {
    let order: Vec<NodeId> = [2, 3, 1].map(NodeId).to_vec();
    let ring = Shape::Ring {
        order: order.clone(),
    };
    let mut links = ring.deaf(&order, None);
    links.sort_unstable();
    let pair = |a, b| (NodeId(a), NodeId(b));
    assert_eq!(links, vec![pair(1, 2), pair(2, 3), pair(3, 1)]);
}

#[test]
fn a_bridge_of_three_cuts_the_ends_from_each_other() {
    let order: Vec<NodeId> = [2, 3, 1].map(NodeId).to_vec();
    let bridge = Shape::Bridge {
        order: order.clone(),
    };
    let mut links = bridge.deaf(&order, None);
    links.sort_unstable();
    assert_eq!(links, vec![(NodeId(1), NodeId(2)), (NodeId(2), NodeId(1))]);
}

#[test]
fn refuses_what_cannot_be() {
    let generate = |change: &dyn Fn(&mut ScheduleSpec)| {
        let mut spec = spec(&[FaultKind::Partition]);
        change(&mut spec);
        Schedule::generate(1, &spec).map(|s| s.faults.len())
    };
    assert_eq!(
        generate(&|s| s.nodes = 1),
        Err(SpecError::TooFewNodes {
            kind: FaultKind::Partition
        })
    );
    assert!(matches!(
        generate(&|s| s.partitions = 0),
        Err(SpecError::Nobody { .. })
    ));
    assert!(matches!(
        generate(&|s| s.main_ms = 5_999),
        Err(SpecError::TooShort { .. })
    ));
    assert_eq!(generate(&|s| s.kinds.clear()), Ok(0));
}

#[test]
fn overlapping_needs_two_sorts_of_faults() {
    for kinds in [
        &[][..],
        &[FaultKind::Kill, FaultKind::Pause],
        &[FaultKind::Partition],
    ] {
        let spec = ScheduleSpec {
            overlap: true,
            ..spec(kinds)
        };
        let error = Schedule::generate(1, &spec).unwrap_err();
        assert!(error.to_string().contains("--overlap needs"), "{error}");
    }
}
