//! A producer that is replaced by its next incarnation again and again, while the old one goes on
//! sending: what a paused process does when it wakes up.
//!
//! The successor has the same producer id and the next epoch (KIP-360). Once a write of it is
//! acknowledged, its predecessor is fenced: whatever that sends has to be refused.

use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::clients::own::OwnProducer;
use crate::clients::{BatchOutcome, Outgoing};
use crate::history::{Event, Kind, Process, Value};
use crate::workload::Clients;
use crate::workload::plan::Plan;
use crate::workload::producers;

const PAUSE: Duration = Duration::from_millis(700);

/// Until it is stopped.
pub async fn run(clients: Clients, mut plan: Plan, mut stopped: watch::Receiver<bool>) {
    let mut old: Option<OwnProducer> = None;
    loop {
        let pause = sleep(PAUSE);
        tokio::select! {
            biased;
            // An error says that nobody can stop it any more.
            _ = stopped.wait_for(|stop| *stop) => return,
            () = pause => {}
        }
        let mut predecessor = match old.take() {
            Some(old) => old,
            None => OwnProducer::new(&clients.settings),
        };
        if send(&clients, &mut predecessor, &plan.one_each()).await != Kind::Ok {
            continue;
        }
        let Some(mut successor) = predecessor.successor() else {
            continue;
        };
        // Only what is acknowledged to the successor fences the predecessor for certain.
        if send(&clients, &mut successor, &plan.one_each()).await == Kind::Ok {
            send(&clients, &mut predecessor, &plan.one_each()).await;
            old = Some(successor);
        }
    }
}

/// One operation of a process of its own, with the producer's id and epoch.
async fn send(clients: &Clients, producer: &mut OwnProducer, batch: &[Outgoing]) -> Kind {
    let process = clients.new_process();
    if producer.identity().is_none() && !producer.introduce(&clients.topic).await {
        return Kind::Fail;
    }
    record(clients, process, producer, Kind::Invoke, batch, None);
    let never = || false;
    let sending = producer.send_batch(&clients.topic, clients.run, batch, &never);
    let outcome = sending.await;
    record(
        clients,
        process,
        producer,
        outcome.kind,
        batch,
        Some(&outcome),
    );
    outcome.kind
}

fn record(
    clients: &Clients,
    process: Process,
    producer: &OwnProducer,
    kind: Kind,
    batch: &[Outgoing],
    outcome: Option<&BatchOutcome>,
) {
    let topic = clients.topic.clone();
    let value = match outcome {
        None => Value::Sending(topic, producers::invoked(clients, batch)),
        Some(outcome) => Value::Sent(topic, producers::concluded(clients, batch, outcome)),
    };
    let mut event = Event::new(process, kind, "send", value);
    let identity = producer.identity().map(|(id, epoch)| json!([id, epoch]));
    event
        .beside
        .extend(identity.map(|pair| ("producer".to_owned(), pair)));
    let errors = outcome.and_then(|outcome| outcome.errors.to_json());
    clients.recorder.record(event.with_error(errors));
}
