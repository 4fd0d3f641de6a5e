//! The registry is complete, the order is kept, the figures are true, and the watchdog rings.

use std::sync::{Arc, mpsc};

use super::*;

#[test]
fn the_registry_is_in_order_and_says_something_of_each() {
    let mut ranks: Vec<_> = REGISTRY.iter().map(|entry| entry.rank).collect();
    for (at, entry) in REGISTRY.iter().enumerate() {
        assert_eq!(entry.lock as usize, at, "{}", entry.name);
        assert!(entry.guards.len() > 30, "{}", entry.name);
    }
    ranks.sort_unstable();
    ranks.dedup();
    assert_eq!(ranks.len(), REGISTRY.len(), "no two have one place");
}

#[test]
fn every_lock_is_made_where_the_registry_says_and_nowhere_else() {
    use crate::invariants::links::sources;
    let sources = sources("src");
    for entry in REGISTRY {
        let name = format!("Lock::{:?},", entry.lock);
        let made: Vec<_> = sources
            .iter()
            .filter(|(path, _)| !path.starts_with("src/locks"))
            .filter(|(_, text)| text.contains(&name))
            .map(|(path, _)| path.as_str())
            .collect();
        assert_eq!(made, [entry.file], "{}", entry.name);
    }
}

#[test]
fn the_page_lists_every_lock_as_the_code_does() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/locks.md");
    let page = std::fs::read_to_string(path).expect("the page");
    let lines: Vec<_> = page.lines().filter(|line| line.starts_with("| ")).collect();
    let expected = rows();
    assert_eq!(
        lines.len(),
        expected.len() + 1,
        "a row for each, and the head"
    );
    for (line, row) in lines[1..].iter().zip(&expected) {
        let stale = "docs/locks.md is stale: cargo run -p broker --example locks";
        assert!(line.starts_with(row.as_str()), "{stale}\n{line}\n{row}");
    }
}

#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "lock order: `wal-writer`")]
fn taking_locks_out_of_order_panics_before_it_can_hang() {
    let queue = Mutex::new(Lock::WalQueue, ());
    let writer = Mutex::new(Lock::WalWriter, ());
    let in_order = (writer.lock(), queue.lock());
    drop(in_order);
    let _queue = queue.lock();
    let _writer = writer.lock();
}

#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "lock order: `topic-ids`")]
fn taking_a_lock_twice_panics() {
    let lock = Mutex::new(Lock::TopicIds, ());
    let _once = lock.lock();
    let _twice = lock.lock();
}

#[test]
#[cfg(debug_assertions)]
fn a_wait_is_counted_and_the_watchdog_says_who_waits_for_whom() {
    watchdog::ring_after(Duration::from_millis(1));
    let lock = Arc::new(Mutex::new(Lock::RaftContact, 0));
    let before = figures(Lock::RaftContact);
    let held = lock.lock();
    let me = format!("{:?}", std::thread::current().id());
    let (done, waited) = mpsc::channel();
    let waiter = lock.clone();
    let work = move || {
        *waiter.lock() += 1;
        // The test may have failed already.
        let _ = done.send(());
    };
    let thread = crate::exec::spawn_thread("stuck", work).expect("a thread");
    let rung = || {
        watchdog::reports().into_iter().any(|report| {
            report.lock == "raft-contact"
                && report.waiter.starts_with("stuck ")
                && report.holder.as_deref() == Some(me.as_str())
        })
    };
    let deadline = Instant::now() + Duration::from_secs(30);
    while !rung() {
        assert!(Instant::now() < deadline, "{:?}", watchdog::reports());
        std::thread::yield_now();
    }
    drop(held);
    waited.recv().expect("it got the lock");
    thread.join().expect("no panic");
    let after = figures(Lock::RaftContact);
    assert!(after.taken >= before.taken + 2 && after.waited > before.waited);
    assert!(after.longest_wait > Duration::from_millis(1));
    assert!(after.longest_hold > Duration::from_millis(1));
    assert_eq!(*lock.lock(), 1);
}

#[test]
fn waiting_for_a_condition_is_no_hold() {
    let pair = Arc::new((Mutex::new(Lock::DiskRoom, false), Condvar::default()));
    let other = pair.clone();
    let work = move || {
        *other.0.lock() = true;
        other.1.notify_all();
    };
    let guard = pair.0.lock();
    let thread = crate::exec::spawn_thread("setter", work).expect("a thread");
    let guard = pair.1.wait_while(guard, |set| !*set);
    assert!(*guard);
    let guard = pair.1.wait_timeout(guard, Duration::from_millis(1));
    assert!(*guard);
    drop(guard);
    thread.join().expect("no panic");
}
