//! One message to each partition with the run's own acks: whether the cluster takes writes.

use super::Clients;
use super::plan::Plan;
use super::producers::send;
use crate::history::Kind;

/// Sends one message to each partition from a process of its own, as a recorded operation.
/// Takes at most the clients' delivery timeout. Returns whether all were acknowledged.
pub async fn write_everywhere(clients: &Clients, plan: &mut Plan) -> bool {
    let process = clients.new_process();
    let mut producer = None;
    send(clients, process, &mut producer, &plan.one_each()).await == Kind::Ok
}
