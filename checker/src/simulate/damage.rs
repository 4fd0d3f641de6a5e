//! How each kind of fault is put into an operation that ended ok.

use super::clients::Client;
use super::partition::State;
use super::record::{MicroOp, Polled};
use super::{Injection, World};

/// No value of a partition is as large.
const UNWRITTEN: i64 = 1 << 40;

/// Puts in what is due and fits this operation.
pub fn damage(client: &mut Client, world: &mut World, polled_up_to: &[i64]) {
    damage_sends(client, world, polled_up_to);
    let own = client.mops.iter().find_map(|mop| match *mop {
        MicroOp::Send(partition, value, Some(offset)) => Some((partition, (offset, value))),
        _ => None,
    });
    for mop in &mut client.mops {
        if let MicroOp::Poll(Some(polled)) = mop {
            if let Some((partition, record)) = own
                && world.injector.take(Injection::PrecommittedRead)
            {
                polled.push((partition, vec![record]));
                return;
            }
            damage_poll(polled, &client.last, world);
        }
    }
}

fn damage_sends(client: &Client, world: &mut World, polled_up_to: &[i64]) {
    for mop in &client.mops {
        let MicroOp::Send(partition, value, Some(offset)) = *mop else {
            continue;
        };
        let log = &mut world.partitions[partition as usize];
        let unread = polled_up_to[partition as usize] < offset;
        if unread && world.injector.take(Injection::LostWrite) {
            log.decide(offset, State::Aborted);
        } else if world.injector.take(Injection::Duplicate) {
            log.append(value, State::Plain);
        }
    }
}

fn damage_poll(polled: &mut Polled, last: &[Option<(i64, i64)>], world: &mut World) {
    let injector = &mut world.injector;
    for (partition, records) in polled {
        let seen = last[*partition as usize];
        let count = records.len();
        if count >= 3 && injector.take(Injection::IntPollSkip) {
            records.remove(count / 2);
        } else if count >= 3 && injector.take(Injection::InconsistentOffsets) {
            records[count - 1].1 = records[0].1;
        } else if count >= 2 && injector.take(Injection::IntNonmonotonicPoll) {
            records.swap(count - 1, count - 2);
        } else if count >= 2 && injector.take(Injection::UnwrittenRead) {
            records[count - 1].1 += UNWRITTEN;
        } else if count >= 2 && seen.is_some() && injector.take(Injection::PollSkip) {
            records.remove(0);
        } else if let Some(seen) = seen
            && injector.take(Injection::NonmonotonicPoll)
        {
            records.insert(0, seen);
        }
    }
}

/// Two messages of a batch that went to one partition change places.
pub fn swap_two_sends(mops: &mut [MicroOp], world: &mut World) {
    for at in 1..mops.len() {
        let (head, tail) = mops.split_at_mut(at);
        let (Some(MicroOp::Send(a, _, Some(first))), Some(MicroOp::Send(b, _, Some(second)))) =
            (head.last_mut(), tail.first_mut())
        else {
            continue;
        };
        if a == b && world.injector.take(Injection::IntNonmonotonicSend) {
            world.partitions[*a as usize].swap_values(*first, *second);
            std::mem::swap(first, second);
            return;
        }
    }
}
