//! Every fault on every runtime: it bites and it heals, by measurement; and when the process that
//! holds it is killed, nothing of it is left.
//!
//! The cluster's nodes run the agent's `echo` in place of a broker: what is tested is networks,
//! processes and cleaning up. Docker tests probe for the engine, skip aloud without one, and fail
//! where `REQUIRE_DOCKER=1`; tests of namespaces skip aloud where the kernel forbids them.

mod bites;
mod killed;
mod stage;

use stage::Where;

#[test]
fn bites_and_heals_in_docker() {
    stage::on(
        Where::Docker,
        "bites_and_heals_in_docker",
        bites::every_fault,
    );
}

#[test]
fn bites_and_heals_in_docker_through_published_ports() {
    let name = "bites_and_heals_in_docker_through_published_ports";
    stage::on(Where::DockerPublished, name, bites::every_fault);
}

#[test]
fn bites_and_heals_in_namespaces() {
    let name = "bites_and_heals_in_namespaces";
    stage::on(Where::Namespaces, name, bites::every_fault);
}

#[test]
fn bites_and_heals_in_namespaces_without_root() {
    let name = "bites_and_heals_in_namespaces_without_root";
    stage::on(Where::NamespacesAsNobody, name, bites::every_fault);
}

#[test]
fn a_second_cluster_lives_beside_the_first_in_docker() {
    let name = "a_second_cluster_lives_beside_the_first_in_docker";
    stage::on(Where::Docker, name, bites::two_clusters);
}

#[test]
fn the_data_of_a_stopped_broker_is_copied_in_docker() {
    let name = "the_data_of_a_stopped_broker_is_copied_in_docker";
    stage::on(Where::Docker, name, bites::data_and_logs);
}

#[test]
fn the_data_of_a_stopped_broker_is_copied_in_namespaces() {
    let name = "the_data_of_a_stopped_broker_is_copied_in_namespaces";
    stage::on(Where::Namespaces, name, bites::data_and_logs);
}

#[test]
fn killed_in_each_fault_in_docker_leaves_nothing() {
    killed::in_docker("killed_in_each_fault_in_docker_leaves_nothing");
}

#[test]
fn killed_in_each_fault_in_namespaces_leaves_nothing() {
    killed::in_namespaces("killed_in_each_fault_in_namespaces_leaves_nothing");
}
