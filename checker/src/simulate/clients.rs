//! Producers and consumers, each doing one thing at a time, all at the same time.

use std::collections::VecDeque;
use std::io::{self, Write};

use rand::Rng;

use super::damage::{damage, swap_two_sends};
use super::partition::State;
use super::record::{MicroOp, Polled, Recorder};
use super::{Injection, Plan, World, tick};

/// How an operation will end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Ok,
    Fail,
    Info,
}

/// What a client is in the middle of.
#[derive(Debug)]
enum Doing {
    Nothing,
    /// Invoked; its effect is still to come.
    Invoked(Fate),
    /// Its effect has come; waits until its messages are committed.
    Effected(Fate),
    /// A transaction whose records are in the log, not yet decided.
    Undecided(Fate),
}

/// One producer or consumer.
#[derive(Debug)]
pub struct Client {
    process: u64,
    consumer: bool,
    doing: Doing,
    /// What it asked, filled in as far as it got.
    pub mops: Vec<MicroOp>,
    transactional: bool,
    assigned: Vec<u32>,
    positions: Vec<i64>,
    saved: Vec<i64>,
    /// The last record read of each partition since it was assigned.
    pub last: Vec<Option<(i64, i64)>>,
}

impl Client {
    fn function(&self) -> &'static str {
        match (self.transactional, self.mops.first()) {
            (true, _) => "txn",
            (false, Some(MicroOp::Send(..))) => "send",
            (false, _) => "poll",
        }
    }
}

/// A message that its producer has given up on, and which may yet be written.
#[derive(Debug)]
struct Late {
    partition: u32,
    value: i64,
}

/// All clients.
#[derive(Debug)]
pub struct Clients {
    plan: Plan,
    clients: Vec<Client>,
    late: VecDeque<Late>,
    /// By partition: where a consumer that takes it over goes on, as from a group's offsets.
    group: Vec<i64>,
    /// By partition: the highest offset that anybody has polled.
    polled: Vec<i64>,
    next_process: u64,
    /// Operations begun.
    pub started: u64,
}

impl Clients {
    /// Two thirds produce, one third consumes; with transactions everybody does both.
    pub fn new(plan: &Plan, world: &mut World) -> Clients {
        let mut clients = Clients {
            plan: plan.clone(),
            clients: Vec::new(),
            late: VecDeque::new(),
            group: vec![0; world.partitions.len()],
            polled: vec![-1; world.partitions.len()],
            next_process: 0,
            started: 0,
        };
        for at in 0..plan.clients.max(2) {
            let client = clients.fresh(at % 3 == 0);
            clients.clients.push(client);
        }
        clients
    }

    fn fresh(&mut self, consumer: bool) -> Client {
        let process = self.next_process;
        self.next_process += 1;
        Client {
            process,
            consumer,
            doing: Doing::Nothing,
            mops: Vec::new(),
            transactional: false,
            assigned: Vec::new(),
            positions: self.group.clone(),
            saved: self.group.clone(),
            last: vec![None; self.group.len()],
        }
    }

    /// Whether anybody is in the middle of something.
    pub fn busy(&self) -> bool {
        self.clients
            .iter()
            .any(|client| !matches!(client.doing, Doing::Nothing))
    }

    /// One client takes one step.
    pub fn step(
        &mut self,
        world: &mut World,
        recorder: &mut Recorder<impl Write>,
        more: bool,
    ) -> io::Result<()> {
        self.deliver_late(world, 0.05);
        let at = world.pick(self.clients.len());
        match self.clients[at].doing {
            Doing::Nothing if more => self.invoke(at, world, recorder),
            Doing::Nothing => Ok(()),
            Doing::Invoked(fate) => {
                self.take_effect(at, fate, world);
                Ok(())
            }
            Doing::Undecided(fate) => {
                self.decide(at, fate, world);
                Ok(())
            }
            Doing::Effected(fate) => self.complete(at, fate, world, recorder),
        }
    }

    /// Messages given up on appear, each with this probability; nobody is told.
    pub fn deliver_late(&mut self, world: &mut World, probability: f64) {
        while !self.late.is_empty() && world.chance(probability) {
            // In the order in which they were sent.
            let Some(late) = self.late.pop_front() else {
                return;
            };
            world.partitions[late.partition as usize].append(late.value, State::Plain);
        }
    }

    fn invoke(
        &mut self,
        at: usize,
        world: &mut World,
        recorder: &mut Recorder<impl Write>,
    ) -> io::Result<()> {
        let transactional = world.chance(self.plan.transactions);
        let consumes = transactional || self.clients[at].consumer;
        if consumes && (self.clients[at].assigned.is_empty() || world.chance(0.02)) {
            return self.reassign(at, world, recorder);
        }
        let trouble = self.plan.trouble;
        let fate = match () {
            () if world.chance(trouble) => Fate::Info,
            () if world.chance(trouble) => Fate::Fail,
            () => Fate::Ok,
        };
        let mut mops = Vec::new();
        if transactional {
            for _ in 0..world.random.random_range(1..=4) {
                let poll = world.chance(0.5);
                mops.push(if poll {
                    MicroOp::Poll(None)
                } else {
                    self.send(world)
                });
            }
        } else if consumes {
            mops.push(MicroOp::Poll(None));
        } else {
            for _ in 0..world.random.random_range(1..=self.plan.batch.max(1)) {
                mops.push(self.send(world));
            }
        }
        let client = &mut self.clients[at];
        client.mops = mops;
        client.transactional = transactional;
        client.saved.clone_from(&client.positions);
        client.doing = Doing::Invoked(fate);
        self.started += 1;
        tick(world);
        recorder.data(client.process, "invoke", client.function(), &client.mops)
    }

    fn send(&self, world: &mut World) -> MicroOp {
        let partition = world.pick(world.partitions.len());
        let value = world.partitions[partition].fresh_value();
        MicroOp::Send(partition as u32, value, None)
    }

    fn reassign(
        &mut self,
        at: usize,
        world: &mut World,
        recorder: &mut Recorder<impl Write>,
    ) -> io::Result<()> {
        // The further the logs go, the rarer somebody starts over.
        let longest = self.group.iter().max().copied().unwrap_or(0);
        let seek = world.chance(0.2 / (1.0 + longest as f64 / 1000.0));
        let mut partitions: Vec<u32> = Vec::new();
        for number in 0..world.partitions.len() as u32 {
            if world.chance(0.6) {
                partitions.push(number);
            }
        }
        if partitions.is_empty() {
            partitions.push(0);
        }
        let client = &mut self.clients[at];
        for number in 0..world.partitions.len() {
            let kept =
                client.assigned.contains(&(number as u32)) && partitions.contains(&(number as u32));
            if seek || !kept {
                client.last[number] = None;
            }
            if seek {
                client.positions[number] = 0;
            } else if !kept {
                client.positions[number] = self.group[number];
            }
        }
        client.assigned.clone_from(&partitions);
        recorder.assign(client.process, "invoke", &partitions, seek)?;
        recorder.assign(client.process, "ok", &partitions, seek)
    }

    /// The brokers carry out what was asked.
    fn take_effect(&mut self, at: usize, fate: Fate, world: &mut World) {
        let mut mops = std::mem::take(&mut self.clients[at].mops);
        let transactional = self.clients[at].transactional;
        for mop in mops
            .iter_mut()
            .filter(|mop| matches!(mop, MicroOp::Poll(_)))
        {
            *mop = MicroOp::Poll(Some(self.poll(at, world)));
        }
        // Without an answer: some prefix of the batch is written now, some of the rest later.
        let sends = mops
            .iter()
            .filter(|mop| matches!(mop, MicroOp::Send(..)))
            .count();
        let written = match fate {
            Fate::Ok => sends,
            Fate::Fail if transactional => sends,
            Fate::Fail if sends > 0 && world.injector.take(Injection::AbortedRead) => sends,
            Fate::Fail => 0,
            Fate::Info if transactional => sends,
            Fate::Info => world.pick(sends + 1),
        };
        let comes_late = fate == Fate::Info && world.chance(0.5);
        let sent = mops.iter_mut().filter_map(|mop| match mop {
            MicroOp::Send(partition, value, offset) => Some((*partition, *value, offset)),
            MicroOp::Poll(_) => None,
        });
        for (place, (partition, value, offset)) in sent.enumerate() {
            let state = if transactional {
                State::Open
            } else {
                State::Plain
            };
            if place < written {
                *offset = Some(world.partitions[partition as usize].append(value, state));
            } else if comes_late {
                self.late.push_back(Late { partition, value });
            }
        }
        if !transactional && written == sends && !world.injector.idle() {
            swap_two_sends(&mut mops, world);
        }
        let client = &mut self.clients[at];
        client.mops = mops;
        client.doing = match transactional && sends > 0 {
            true => Doing::Undecided(fate),
            false => Doing::Effected(fate),
        };
    }

    fn poll(&mut self, at: usize, world: &mut World) -> Polled {
        let mut polled = Vec::new();
        let mut left = self.plan.poll.max(1) as usize;
        let client = &mut self.clients[at];
        // Nobody is passed over for long: the first in line changes.
        let first = world.pick(client.assigned.len());
        let (head, tail) = client.assigned.split_at(first);
        for &number in tail.iter().chain(head) {
            let position = &mut client.positions[number as usize];
            let (records, next) = world.partitions[number as usize].read(*position, left);
            *position = next;
            left -= records.len();
            if let Some(&(offset, _)) = records.last() {
                let polled = &mut self.polled[number as usize];
                *polled = offset.max(*polled);
            }
            if !records.is_empty() {
                polled.push((number, records));
            }
        }
        polled
    }

    /// The transaction ends: a marker in each partition, and its records are readable or never.
    fn decide(&mut self, at: usize, fate: Fate, world: &mut World) {
        let commits = match fate {
            Fate::Ok => true,
            Fate::Fail => world.injector.take(Injection::AbortedRead),
            Fate::Info => world.chance(0.5),
        };
        let state = if commits {
            State::Plain
        } else {
            State::Aborted
        };
        let mut marked: Vec<u32> = Vec::new();
        for mop in &self.clients[at].mops {
            if let MicroOp::Send(partition, _, Some(offset)) = *mop {
                world.partitions[partition as usize].decide(offset, state);
                if !marked.contains(&partition) {
                    marked.push(partition);
                    world.partitions[partition as usize].append_control();
                }
            }
        }
        self.clients[at].doing = Doing::Effected(fate);
    }

    fn complete(
        &mut self,
        at: usize,
        fate: Fate,
        world: &mut World,
        recorder: &mut Recorder<impl Write>,
    ) -> io::Result<()> {
        let (mut all, mut lost) = (true, false);
        for mop in &self.clients[at].mops {
            if let MicroOp::Send(partition, value, Some(offset)) = *mop {
                let partition = &world.partitions[partition as usize];
                let committed = partition.is_committed(offset, value);
                all &= committed;
                lost |= !committed && offset < partition.watermark;
                lost |= !committed && offset >= partition.end;
            }
        }
        if !all && !lost && fate != Fate::Fail {
            return Ok(()); // Replication has not got that far: it waits.
        }
        let fate = if all || fate == Fate::Fail {
            fate
        } else {
            Fate::Info
        };
        if fate == Fate::Ok && !world.injector.idle() {
            damage(&mut self.clients[at], world, &self.polled);
        }
        let client = &mut self.clients[at];
        if fate != Fate::Ok {
            withhold(client, world, fate);
        }
        let kind = match fate {
            Fate::Ok => "ok",
            Fate::Fail => "fail",
            Fate::Info => "info",
        };
        recorder.data(client.process, kind, client.function(), &client.mops)?;
        client.doing = Doing::Nothing;
        if fate == Fate::Fail {
            // An aborted transaction, or a poll that failed: read again.
            client.positions.clone_from(&client.saved);
        } else if fate == Fate::Info {
            let consumer = client.consumer;
            self.clients[at] = self.fresh(consumer);
        } else {
            remember(client);
            for &number in &client.assigned {
                let group = &mut self.group[number as usize];
                *group = client.positions[number as usize].max(*group);
            }
        }
        Ok(())
    }

    /// Everything that is there is read once more, by fresh consumers, up to the watermark.
    pub fn drain(
        &mut self,
        world: &mut World,
        recorder: &mut Recorder<impl Write>,
    ) -> io::Result<()> {
        let partitions: Vec<u32> = (0..world.partitions.len() as u32).collect();
        for share in partitions.chunks(partitions.len().div_ceil(2)) {
            let mut client = self.fresh(true);
            client.positions.fill(0);
            let process = client.process;
            recorder.drain_invoked(process)?;
            self.read_to_the_end(client, share, world, recorder)?;
            let range = |&number: &u32| (number, 0, world.partitions[number as usize].watermark);
            let ranges: Vec<_> = share.iter().map(range).collect();
            recorder.drained(process, &ranges)?;
        }
        Ok(())
    }

    /// What nobody has read yet is read.
    pub fn catch_up(
        &mut self,
        world: &mut World,
        recorder: &mut Recorder<impl Write>,
    ) -> io::Result<()> {
        let partitions: Vec<u32> = (0..world.partitions.len() as u32).collect();
        let client = self.fresh(true);
        self.read_to_the_end(client, &partitions, world, recorder)
    }

    fn read_to_the_end(
        &mut self,
        mut client: Client,
        share: &[u32],
        world: &mut World,
        recorder: &mut Recorder<impl Write>,
    ) -> io::Result<()> {
        client.assigned = share.to_vec();
        let process = client.process;
        self.clients.push(client);
        let at = self.clients.len() - 1;
        recorder.assign(process, "invoke", share, false)?;
        recorder.assign(process, "ok", share, false)?;
        loop {
            let records = self.poll(at, world);
            let done = records.is_empty();
            let mops = [MicroOp::Poll(Some(records))];
            recorder.data(process, "invoke", "poll", &[MicroOp::Poll(None)])?;
            recorder.data(process, "ok", "poll", &mops)?;
            if done {
                return Ok(());
            }
        }
    }
}

/// What it has read last, by partition.
fn remember(client: &mut Client) {
    for mop in &client.mops {
        if let MicroOp::Poll(Some(polled)) = mop {
            for (partition, records) in polled {
                client.last[*partition as usize] = records.last().copied();
            }
        }
    }
}

/// What a client that got no good answer does not know: offsets of messages that are not committed,
/// and some of the others.
fn withhold(client: &mut Client, world: &mut World, fate: Fate) {
    let transactional = client.transactional;
    for mop in &mut client.mops {
        if let MicroOp::Send(partition, value, offset) = mop {
            let committed = offset
                .is_some_and(|o| world.partitions[*partition as usize].is_committed(o, *value));
            let told = fate == Fate::Info && committed && !transactional && world.chance(0.5);
            if !told {
                *offset = None;
            }
        }
    }
}
