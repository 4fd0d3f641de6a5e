use super::*;

fn set(ids: &[i32]) -> BTreeSet<BrokerId> {
    ids.iter().map(|&id| BrokerId(id)).collect()
}

fn isr(ids: &[i32]) -> Isr {
    Isr::committed_at(set(ids), PartitionEpoch(4))
}

fn expanding() -> Isr {
    let mut isr = isr(&[1, 2]);
    isr.expand(BrokerId(3));
    assert_eq!(isr.take_due(), Some(set(&[1, 2, 3])));
    isr
}

#[test]
fn a_joiner_counts_at_once_and_a_leaver_until_the_commit() {
    let joining = expanding();
    assert_eq!(joining.maximal(), set(&[1, 2, 3]));
    assert!(joining.counts(BrokerId(3), BugSet::NONE));
    assert_eq!(joining.committed(), &set(&[1, 2]));

    let mut leaving = isr(&[1, 2, 3]);
    leaving.shrink(set(&[3]));
    assert_eq!(leaving.take_due(), Some(set(&[1, 2])));
    assert_eq!(leaving.maximal(), set(&[1, 2, 3]));
    assert!(leaving.counts(BrokerId(3), BugSet::NONE));
}

#[test]
fn m13_counts_a_leaver_no_more_before_the_commit() {
    let mut leaving = isr(&[1, 2, 3]);
    leaving.shrink(set(&[3]));
    let bugs = BugSet::NONE.with(SeededBug::ShrinkBeforeCommit);
    assert!(!leaving.counts(BrokerId(3), bugs));
    assert!(leaving.counts(BrokerId(2), bugs));
}

#[test]
fn a_proposal_is_sent_once_and_again_when_its_fate_is_unknown() {
    let mut isr = expanding();
    assert_eq!(isr.take_due(), None, "in flight");
    isr.reply(PartitionEpoch(4), &AlterReply::Unknown, BugSet::NONE);
    assert_eq!(isr.maximal(), set(&[1, 2, 3]), "it may have been committed");
    assert_eq!(isr.take_due(), Some(set(&[1, 2, 3])));
    isr.reply(PartitionEpoch(4), &AlterReply::Outdated, BugSet::NONE);
    assert_eq!(isr.take_due(), None, "only a newer image can tell");
    assert_eq!(isr.maximal(), set(&[1, 2, 3]));
    assert!(isr.adopt(&set(&[1, 2, 3]), PartitionEpoch(5)));
    assert!(isr.is_settled());
}

#[test]
fn an_ineligible_joiner_is_rolled_back() {
    let mut isr = expanding();
    isr.reply(PartitionEpoch(4), &AlterReply::Ineligible, BugSet::NONE);
    assert!(isr.is_settled());
    assert_eq!(isr.maximal(), set(&[1, 2]));
}

#[test]
fn a_joiner_whose_first_try_may_still_be_committed_counts_until_that_is_impossible() {
    let mut isr = expanding();
    isr.reply(PartitionEpoch(4), &AlterReply::Unknown, BugSet::NONE);
    assert!(isr.take_due().is_some());
    isr.reply(PartitionEpoch(4), &AlterReply::Ineligible, BugSet::NONE);
    assert!(isr.counts(BrokerId(3), BugSet::NONE));
    assert_eq!(isr.take_due(), None);
    assert!(
        isr.adopt(&set(&[1, 2]), PartitionEpoch(5)),
        "the refusal raised the partition epoch"
    );
    assert!(!isr.counts(BrokerId(3), BugSet::NONE));
}

#[test]
fn only_newer_states_are_adopted() {
    let mut isr = expanding();
    assert!(!isr.adopt(&set(&[1]), PartitionEpoch(4)));
    assert!(!isr.adopt(&set(&[1]), PartitionEpoch(3)));
    assert!(!isr.is_settled());
    assert!(isr.adopt(&set(&[1, 2]), PartitionEpoch(6)));
    assert!(isr.is_settled());
    // The late answer to what was proposed before.
    isr.reply(PartitionEpoch(4), &AlterReply::Ineligible, BugSet::NONE);
    assert_eq!(isr.committed(), &set(&[1, 2]));
}
