//! Histories of list-append over a strictly serializable store: each transaction takes effect at
//! one moment between its invocation and its completion, or after it where nobody was told.
//!
//! A few keys are in use at a time; after so many appends a key is retired for a fresh one, as
//! Elle's own generator does, so that lists stay short and a history may be of any length.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{self, Write};

use rand::Rng;

use super::record::Recorder;
use super::{Injection, Injector, Plan, World, tick};

/// Appends to a key before it is retired.
const APPENDS_MAX: usize = 32;

/// One micro-op; what a read saw, once it was carried out.
#[derive(Clone, Debug)]
enum MicroOp {
    Append(u64, u64),
    Read(u64, Option<Vec<u64>>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Ok,
    Fail,
    Info,
}

#[derive(Debug)]
enum Doing {
    Nothing,
    Invoked(Fate),
    Effected(Fate),
}

#[derive(Debug)]
struct Client {
    process: u64,
    doing: Doing,
    mops: Vec<MicroOp>,
}

/// One list and its name.
#[derive(Debug)]
struct List {
    key: u64,
    given_out: usize,
    elements: Vec<u64>,
}

/// The store and its clients.
struct Store {
    /// The keys in use, and those retired while somebody may still touch them.
    lists: VecDeque<List>,
    next_key: u64,
    next_process: u64,
    late: VecDeque<Vec<MicroOp>>,
}

impl Store {
    fn fresh_key(&mut self) {
        self.lists.push_back(List {
            key: self.next_key,
            given_out: 0,
            elements: Vec::new(),
        });
        self.next_key += 1;
    }

    fn list(&mut self, key: u64) -> Option<&mut List> {
        self.lists.iter_mut().find(|list| list.key == key)
    }

    /// Carries out a transaction at this moment. One that aborts reads, and leaves nothing behind.
    fn take_effect(&mut self, mops: &mut [MicroOp], commits: bool) {
        let before: Vec<(u64, usize)> = mops
            .iter()
            .filter_map(|mop| match *mop {
                MicroOp::Append(key, _) => Some((key, self.list(key)?.elements.len())),
                MicroOp::Read(..) => None,
            })
            .collect();
        for mop in &mut *mops {
            match mop {
                MicroOp::Append(key, element) => {
                    if let Some(list) = self.list(*key) {
                        list.elements.push(*element);
                    }
                }
                MicroOp::Read(key, seen) => {
                    *seen = self.list(*key).map(|list| list.elements.clone());
                }
            }
        }
        for (key, length) in before.into_iter().rev().filter(|_| !commits) {
            if let Some(list) = self.list(key) {
                list.elements.truncate(length);
            }
        }
    }
}

/// Writes a list-append history.
pub(super) fn generate(plan: &Plan, world: &mut World, out: &mut impl Write) -> io::Result<()> {
    let mut recorder = Recorder::new(out);
    let mut store = Store {
        lists: VecDeque::new(),
        next_key: 0,
        next_process: 0,
        late: VecDeque::new(),
    };
    (0..plan.partitions.max(1)).for_each(|_| store.fresh_key());
    let mut clients: Vec<Client> = Vec::new();
    clients.resize_with(plan.clients.max(1) as usize, || fresh(&mut store));
    let mut started = 0;
    let mut busy = 0;
    while started < plan.operations || busy > 0 {
        if world.chance(0.05)
            && let Some(mut mops) = store.late.pop_front()
        {
            store.take_effect(&mut mops, true);
        }
        let at = world.pick(clients.len());
        match clients[at].doing {
            Doing::Nothing if started < plan.operations => {
                clients[at].mops = transaction(plan, world, &mut store);
                clients[at].doing = Doing::Invoked(fate(plan, world));
                write(&mut recorder, &clients[at], "invoke", false)?;
                (started, busy) = (started + 1, busy + 1);
                tick(world);
            }
            Doing::Nothing => {}
            Doing::Invoked(fate) => {
                let mut mops = std::mem::take(&mut clients[at].mops);
                match fate {
                    Fate::Info if world.chance(0.3) => store.late.push_back(mops.clone()),
                    Fate::Info if world.chance(0.3) => {}
                    _ => {
                        let appends = mops.iter().any(|mop| matches!(mop, MicroOp::Append(..)));
                        let stays = appends
                            && fate == Fate::Fail
                            && world.injector.take(Injection::AbortedRead);
                        store.take_effect(&mut mops, fate != Fate::Fail || stays);
                    }
                }
                if fate == Fate::Ok && !world.injector.idle() {
                    damage(&mut mops, &mut world.injector);
                }
                clients[at].mops = mops;
                clients[at].doing = Doing::Effected(fate);
            }
            Doing::Effected(fate) => {
                let kind = match fate {
                    Fate::Ok => "ok",
                    Fate::Fail => "fail",
                    Fate::Info => "info",
                };
                write(&mut recorder, &clients[at], kind, fate == Fate::Ok)?;
                match fate {
                    Fate::Info => clients[at] = fresh(&mut store),
                    _ => clients[at].doing = Doing::Nothing,
                }
                busy -= 1;
            }
        }
    }
    Ok(())
}

/// Puts faults into what a transaction read.
fn damage(mops: &mut [MicroOp], injector: &mut Injector) {
    if mops.len() > 1 {
        return; // Two reads of one key would contradict each other in other ways too.
    }
    for mop in mops {
        let MicroOp::Read(_, Some(seen)) = mop else {
            continue;
        };
        let count = seen.len();
        if count >= 3 && injector.take(Injection::StaleRead) {
            seen.truncate(count / 2);
        } else if count >= 3 && injector.take(Injection::IncompatibleOrder) {
            seen.swap(count - 1, count - 2);
        } else if count >= 3 && injector.take(Injection::DuplicateElements) {
            seen.push(seen[count - 1]);
        }
    }
}

fn fresh(store: &mut Store) -> Client {
    store.next_process += 1;
    Client {
        process: store.next_process - 1,
        doing: Doing::Nothing,
        mops: Vec::new(),
    }
}

fn fate(plan: &Plan, world: &mut World) -> Fate {
    match () {
        () if world.chance(plan.trouble) => Fate::Info,
        () if world.chance(plan.trouble) => Fate::Fail,
        () => Fate::Ok,
    }
}

fn transaction(plan: &Plan, world: &mut World, store: &mut Store) -> Vec<MicroOp> {
    let active = plan.partitions.max(1) as usize;
    let length = world.random.random_range(1..=plan.batch.max(1));
    let mut mops = Vec::new();
    for _ in 0..length {
        let at = store.lists.len() - active + world.pick(active);
        let list = &mut store.lists[at];
        let key = list.key;
        if world.chance(0.5) {
            mops.push(MicroOp::Read(key, None));
            continue;
        }
        list.given_out += 1;
        mops.push(MicroOp::Append(key, list.given_out as u64));
        if list.given_out == APPENDS_MAX {
            // Retired, but kept as long as a transaction in flight may touch it.
            let list = store.lists.remove(at).expect("it was just picked");
            let retired = store.lists.len() + 1 - active;
            store.lists.insert(retired, list);
            store.fresh_key();
            if store.lists.len() > active + 256 {
                store.lists.pop_front();
            }
        }
    }
    mops
}

fn write(
    recorder: &mut Recorder<impl Write>,
    client: &Client,
    kind: &str,
    told: bool,
) -> io::Result<()> {
    let line = recorder.begin(client.process, kind, "txn");
    line.push('[');
    for (at, mop) in client.mops.iter().enumerate() {
        if at > 0 {
            line.push(',');
        }
        let written = match mop {
            MicroOp::Append(key, element) => write!(line, r#"["append",{key},{element}]"#),
            MicroOp::Read(key, Some(seen)) if told => write_read(line, *key, seen),
            MicroOp::Read(key, _) => write!(line, r#"["r",{key},null]"#),
        };
        written.expect("writing to a string cannot fail");
    }
    line.push(']');
    recorder.end("")
}

fn write_read(line: &mut String, key: u64, seen: &[u64]) -> std::fmt::Result {
    write!(line, r#"["r",{key},["#)?;
    for (at, element) in seen.iter().enumerate() {
        let comma = if at > 0 { "," } else { "" };
        write!(line, "{comma}{element}")?;
    }
    line.push_str("]]");
    Ok(())
}
