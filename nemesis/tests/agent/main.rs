//! The agent against a real kernel: rules, delays and namespaces, in network namespaces of the
//! tests' own. They need no privilege, and skip aloud where the kernel forbids user namespaces.

mod delays;
mod entering;
mod lab;
mod rules;

use lab::inside;

#[test]
fn a_cut_is_one_way() {
    inside("a_cut_is_one_way", rules::a_cut_is_one_way);
}

#[test]
fn ports_are_spared_or_hit_alone() {
    inside(
        "ports_are_spared_or_hit_alone",
        rules::ports_are_spared_or_hit_alone,
    );
}

#[test]
fn orders_can_be_repeated_and_healed_one_by_one() {
    let name = "orders_can_be_repeated_and_healed_one_by_one";
    inside(name, rules::orders_can_be_repeated_and_healed_one_by_one);
}

#[test]
fn a_delay_holds_established_connections_too() {
    let name = "a_delay_holds_established_connections_too";
    inside(name, delays::a_delay_holds_established_connections_too);
}

#[test]
fn healing_lets_go_what_is_held_and_loses_nothing() {
    let name = "healing_lets_go_what_is_held_and_loses_nothing";
    inside(name, delays::healing_lets_go_what_is_held_and_loses_nothing);
}

#[test]
fn a_dead_agent_is_no_partition() {
    inside(
        "a_dead_agent_is_no_partition",
        delays::a_dead_agent_is_no_partition,
    );
}

#[test]
fn a_delay_without_a_holder_is_refused() {
    let name = "a_delay_without_a_holder_is_refused";
    inside(name, delays::a_delay_without_a_holder_is_refused);
}

#[test]
fn entering_keeps_exit_codes_and_passes_signals_on() {
    entering::keeps_exit_codes_and_passes_signals_on();
}

#[test]
fn whoever_enters_takes_everybody_along_when_killed() {
    entering::takes_everybody_along_when_killed();
}
