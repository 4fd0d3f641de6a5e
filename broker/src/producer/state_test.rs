use proptest::prelude::*;

use super::*;
use crate::invariants::tripped;

fn batch(producer: i64, epoch: i16, base_sequence: i32, records: i32) -> SequencedBatch {
    SequencedBatch {
        producer_id: ProducerId(producer),
        producer_epoch: ProducerEpoch(epoch),
        base_sequence,
        records,
        max_timestamp_ms: 0,
    }
}

fn append(states: &mut ProducerStates, batch: &SequencedBatch, at: i64) {
    assert_eq!(states.validate(batch), Verdict::Accept, "{batch:?}");
    states.fold(batch, Offset(at));
}

#[test]
fn sequences_go_on_and_gaps_are_refused() {
    let mut states = ProducerStates::default();
    append(&mut states, &batch(1, 0, 0, 10), 100);
    append(&mut states, &batch(1, 0, 10, 5), 110);
    let gap = states.validate(&batch(1, 0, 16, 1));
    assert_eq!(gap, Verdict::OutOfOrderSequence { expected: 15 });
    append(&mut states, &batch(2, 0, 0, 1), 115);
    append(&mut states, &batch(1, 0, 15, 1), 116);
}

#[test]
fn an_unknown_producer_starts_at_zero_unless_it_may_have_been_forgotten() {
    let whole = ProducerStates::for_log_starting_at(Offset::ZERO);
    let refused = Verdict::OutOfOrderSequence { expected: 0 };
    assert_eq!(whole.validate(&batch(1, 0, 7, 1)), refused);
    assert_eq!(whole.validate(&batch(1, 3, 0, 1)), Verdict::Accept);
    let cut = ProducerStates::for_log_starting_at(Offset(1));
    assert_eq!(cut.validate(&batch(1, 0, 7, 1)), Verdict::Accept);
}

#[test]
fn the_last_five_batches_are_told_as_duplicates_with_their_offsets() {
    let mut states = ProducerStates::default();
    for number in 0..6 {
        append(
            &mut states,
            &batch(1, 0, number * 10, 10),
            i64::from(number) * 100,
        );
    }
    for number in 1..6 {
        let Verdict::Duplicate(original) = states.validate(&batch(1, 0, number * 10, 10)) else {
            panic!("batch {number} is remembered");
        };
        assert_eq!(original.base_offset, Offset(i64::from(number) * 100));
        assert_eq!(original.last_offset, Offset(i64::from(number) * 100 + 9));
    }
    let forgotten = states.validate(&batch(1, 0, 0, 10));
    assert_eq!(forgotten, Verdict::OutOfOrderSequence { expected: 60 });
    // The same beginning with another end is no repetition.
    let other = states.validate(&batch(1, 0, 50, 9));
    assert_eq!(other, Verdict::OutOfOrderSequence { expected: 60 });
}

#[test]
fn a_new_epoch_starts_at_zero_and_an_old_one_is_refused() {
    let mut states = ProducerStates::default();
    append(&mut states, &batch(1, 0, 0, 3), 0);
    let refused = Verdict::OutOfOrderSequence { expected: 0 };
    assert_eq!(states.validate(&batch(1, 1, 3, 1)), refused);
    append(&mut states, &batch(1, 1, 0, 3), 3);
    // Not a duplicate: the batch of the old epoch with the same sequence numbers is another one.
    let current = ProducerEpoch(1);
    let fenced = Verdict::InvalidProducerEpoch { current };
    assert_eq!(states.validate(&batch(1, 0, 0, 3)), fenced);
    assert_eq!(states.validate(&batch(1, 0, 3, 1)), fenced);
    append(&mut states, &batch(1, 1, 3, 1), 6);
}

#[test]
fn sequence_numbers_wrap_after_the_largest() {
    let mut states = ProducerStates::default();
    append(&mut states, &batch(1, 0, 0, i32::MAX), 0);
    // From 2^31-1 over the edge: 2^31-1, 0, 1.
    let over = batch(1, 0, i32::MAX, 3);
    assert_eq!(over.last_sequence(), 1);
    append(&mut states, &over, 1 << 40);
    assert!(matches!(states.validate(&over), Verdict::Duplicate(_)));
    append(&mut states, &batch(1, 0, 2, 1), (1 << 40) + 3);
}

#[test]
fn negative_numbers_are_malformed() {
    let states = ProducerStates::default();
    for bad in [batch(1, 0, -1, 1), batch(1, -1, 0, 1), batch(1, 0, 0, 0)] {
        assert_eq!(states.validate(&bad), Verdict::Malformed);
    }
}

#[test]
fn of_too_many_producers_the_one_that_wrote_longest_ago_is_forgotten() {
    let mut states = ProducerStates::default();
    let many = i64::try_from(PRODUCERS_REMEMBERED).unwrap();
    for producer in 0..many {
        append(&mut states, &batch(producer, 0, 0, 5), 5 * producer);
    }
    // The first one writes again, so the second is the oldest.
    append(&mut states, &batch(0, 0, 5, 5), 5 * many);
    assert!(!states.may_have_forgotten());
    append(&mut states, &batch(many, 0, 0, 5), 5 * many + 5);
    assert!(states.may_have_forgotten());
    assert_eq!(states.len(), PRODUCERS_REMEMBERED);
    assert!(states.get(ProducerId(0)).is_some() && states.get(ProducerId(1)).is_none());
    // It goes on where it may have been; who is known is not believed so easily.
    append(&mut states, &batch(1, 0, 5, 1), 5 * many + 10);
    assert!(states.get(ProducerId(2)).is_none());
    let known = states.validate(&batch(3, 0, 6, 1));
    assert_eq!(known, Verdict::OutOfOrderSequence { expected: 5 });
    assert_eq!(states.len(), PRODUCERS_REMEMBERED);
}

#[test]
fn m28_forgets_a_batch_that_is_still_in_flight() {
    let verdicts = [BugSet::NONE, BugSet::NONE.with(SeededBug::DedupeWindow1)].map(|bugs| {
        let mut states = ProducerStates::default().with_bugs(bugs);
        append(&mut states, &batch(1, 0, 0, 1), 0);
        append(&mut states, &batch(1, 0, 1, 1), 1);
        states.validate(&batch(1, 0, 0, 1))
    });
    assert!(matches!(verdicts[0], Verdict::Duplicate(first) if first.base_offset == Offset(0)));
    assert_eq!(verdicts[1], Verdict::OutOfOrderSequence { expected: 2 });
}

#[test]
fn m30_takes_a_batch_of_a_producer_that_has_been_replaced() {
    let bugs = BugSet::NONE.with(SeededBug::NoProducerEpochFence);
    let verdicts = [BugSet::NONE, bugs].map(|bugs| {
        let mut states = ProducerStates::default().with_bugs(bugs);
        append(&mut states, &batch(1, 0, 0, 1), 0);
        append(&mut states, &batch(1, 1, 0, 1), 1);
        let zombie = batch(1, 0, 1, 1);
        let verdict = states.validate(&zombie);
        if verdict == Verdict::Accept {
            states.appended(&zombie, Offset(2));
        }
        verdict
    });
    let current = ProducerEpoch(1);
    let fenced = Verdict::InvalidProducerEpoch { current };
    assert_eq!(verdicts, [fenced, Verdict::Accept]);
    assert!(tripped().contains(&Invariant::SequencesContiguous));
}

/// The rules again, from their definition: the whole log is looked at, nothing is summed up.
#[derive(Default)]
struct NaiveLog {
    log: Vec<(SequencedBatch, i64)>,
}

impl NaiveLog {
    fn end(&self) -> i64 {
        let records = self.log.iter().map(|(batch, _)| i64::from(batch.records));
        records.sum()
    }

    fn validate(&self, batch: &SequencedBatch) -> Verdict {
        let own = self
            .log
            .iter()
            .filter(|(b, _)| b.producer_id == batch.producer_id);
        let Some(current) = own.clone().map(|(b, _)| b.producer_epoch).max() else {
            return match batch.base_sequence {
                0 => Verdict::Accept,
                _ => Verdict::OutOfOrderSequence { expected: 0 },
            };
        };
        if batch.producer_epoch < current {
            return Verdict::InvalidProducerEpoch { current };
        }
        let same: Vec<_> = own
            .filter(|(b, _)| b.producer_epoch == batch.producer_epoch)
            .collect();
        let newest_five = same.iter().rev().take(5);
        for (known, offset) in newest_five {
            if (known.base_sequence, known.records) == (batch.base_sequence, batch.records) {
                return Verdict::Duplicate(AppendedBatch {
                    first_sequence: known.base_sequence,
                    last_sequence: known.last_sequence(),
                    base_offset: Offset(*offset),
                    last_offset: Offset(*offset + i64::from(known.records) - 1),
                    max_timestamp_ms: 0,
                });
            }
        }
        let produced: i64 = same.iter().map(|(b, _)| i64::from(b.records)).sum();
        let expected = i32::try_from(produced % (1 << 31)).unwrap();
        match batch.base_sequence == expected {
            true => Verdict::Accept,
            false => Verdict::OutOfOrderSequence { expected },
        }
    }
}

/// What one producer tries: the next batch, a repetition, or something wrong.
#[derive(Clone, Debug)]
enum Attempt {
    Next {
        records: i32,
    },
    NewEpoch {
        records: i32,
    },
    Repeat {
        back: usize,
    },
    Anything {
        epoch: i16,
        base_sequence: i32,
        records: i32,
    },
}

fn attempt() -> impl Strategy<Value = Attempt> {
    let records = prop_oneof![4 => 1..5, 1 => Just(1 << 30)];
    prop_oneof![
        6 => records.clone().prop_map(|records| Attempt::Next { records }),
        1 => records.prop_map(|records| Attempt::NewEpoch { records }),
        3 => (0_usize..8).prop_map(|back| Attempt::Repeat { back }),
        2 => (0_i16..4, 0..20, 1..5).prop_map(|(epoch, base_sequence, records)| {
            Attempt::Anything { epoch, base_sequence, records }
        }),
    ]
}

fn realise(naive: &NaiveLog, producer: i64, attempt: &Attempt) -> SequencedBatch {
    let own = naive.log.iter().map(|(b, _)| b);
    let own: Vec<_> = own.filter(|b| b.producer_id.get() == producer).collect();
    let epoch = own
        .iter()
        .map(|b| b.producer_epoch.get())
        .max()
        .unwrap_or(0);
    match *attempt {
        Attempt::Next { records } => {
            let newest = own.iter().rev().find(|b| b.producer_epoch.get() == epoch);
            let next = newest.map_or(0, |b| advance(b.last_sequence(), 1));
            batch(producer, epoch, next, records)
        }
        Attempt::NewEpoch { records } => batch(producer, epoch.saturating_add(1), 0, records),
        Attempt::Repeat { back } => match own.iter().rev().nth(back) {
            Some(known) => **known,
            None => batch(producer, epoch, 0, 1),
        },
        Attempt::Anything {
            epoch,
            base_sequence,
            records,
        } => batch(producer, epoch, base_sequence, records),
    }
}

proptest! {
    /// I20 against the definition, and I19: at any length of the log the state is a fold of it,
    /// so that a replica that starts late, or truncates and folds again, has the same.
    #[test]
    fn state_decides_as_the_whole_log_would(
        attempts in prop::collection::vec((0_i64..3, attempt()), 1..120),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut naive = NaiveLog::default();
        let mut states = ProducerStates::default();
        let mut after_each = vec![states.clone()];
        for (producer, attempt) in &attempts {
            let batch = realise(&naive, *producer, attempt);
            let verdict = states.validate(&batch);
            prop_assert_eq!(verdict, naive.validate(&batch), "{:?} after {:?}", batch, naive.log);
            if verdict == Verdict::Accept {
                let at = naive.end();
                states.fold(&batch, Offset(at));
                naive.log.push((batch, at));
                after_each.push(states.clone());
            }
        }
        let kept = cut.index(naive.log.len() + 1);
        let mut again = ProducerStates::default();
        for (batch, at) in &naive.log[..kept] {
            again.fold(batch, Offset(*at));
        }
        prop_assert_eq!(&again, &after_each[kept]);
    }
}
