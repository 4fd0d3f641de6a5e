//! Every interleaving of publishing and waiting, by loom: no wake-up is lost.
//!
//! What is checked is the shipped file, `src/replica/publication.rs`, compiled a second time over
//! the primitives of [`sync`].

#[path = "../../src/replica/publication.rs"]
mod publication;
mod sync;

use publication::{Publication, Shows, Wake};
use std::sync::Arc;

/// What is published: a number that grows.
struct End(u32);

impl Shows for End {
    type Seen = u32;

    fn shows_else(&self, seen: &u32) -> bool {
        self.0 != *seen
    }
}

struct Bell(loom::sync::Notify);

impl Wake for Bell {
    fn wake(&self) {
        self.0.notify();
    }
}

type Published = Arc<Publication<End, Bell>>;

fn published(sweep_from: usize) -> Published {
    Arc::new(Publication::new(Arc::new(End(0)), sweep_from))
}

/// As a long poll does: looks, registers, looks, waits; until `end` is published.
fn wait_for(published: &Published, end: u32) {
    // One bell for all rounds: loom lets each wake without need once, and not for ever.
    let wake = Arc::new(Bell(loom::sync::Notify::new()));
    loop {
        let seen = published.load().0;
        if seen >= end {
            return;
        }
        if published.park(seen, &wake).0 == seen {
            wake.0.wait();
        }
    }
}

fn explore(test: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.max_branches = 10_000;
    builder.check(test);
}

#[test]
fn who_waits_hears_of_every_publication() {
    explore(|| {
        let published = published(8);
        let reader = published.clone();
        let waits = loom::thread::spawn(move || wait_for(&reader, 2));
        published.publish(Arc::new(End(1)));
        published.publish(Arc::new(End(2)));
        waits.join().expect("it is woken");
    });
}

#[test]
fn two_who_wait_at_once_are_both_woken() {
    explore(|| {
        let published = published(8);
        let waits = [(); 2].map(|()| {
            let reader = published.clone();
            loom::thread::spawn(move || wait_for(&reader, 1))
        });
        published.publish(Arc::new(End(1)));
        for waits in waits {
            waits.join().expect("it is woken");
        }
    });
}

#[test]
fn sweeping_the_dead_loses_nobody() {
    explore(|| {
        // Every second registration sweeps.
        let published = published(2);
        let gone = Arc::new(Bell(loom::sync::Notify::new()));
        published.park(0, &gone);
        drop(gone);
        let waits = [(); 2].map(|()| {
            let reader = published.clone();
            loom::thread::spawn(move || wait_for(&reader, 1))
        });
        published.publish(Arc::new(End(1)));
        for waits in waits {
            waits.join().expect("it is woken");
        }
        published.publish(Arc::new(End(2)));
        assert_eq!(
            published.parked(),
            0,
            "who was woken, or is gone, is forgotten"
        );
    });
}

/// The negative control, M45: who looks before it registers sleeps for ever in some interleaving,
/// and loom finds it.
#[test]
#[should_panic(expected = "deadlock")]
fn looking_before_registering_loses_a_wake_up() {
    explore(|| {
        let published = published(8);
        let reader = published.clone();
        let waits = loom::thread::spawn(move || {
            let seen = reader.load().0;
            if seen == 0 {
                let wake = Arc::new(Bell(loom::sync::Notify::new()));
                let _ = reader.park(seen, &wake);
                wake.0.wait();
            }
        });
        published.publish(Arc::new(End(1)));
        waits.join().expect("it is woken");
    });
}
