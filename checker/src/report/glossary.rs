//! What the words mean: anomalies, faults and verdicts, for somebody who meets them here first.

/// An anomaly type in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// Name as in `verdict.json`.
    pub name: &'static str,
    /// The same as a heading.
    pub title: &'static str,
    /// What it is, in one or two sentences.
    pub what: &'static str,
    /// What usually causes it.
    pub cause: &'static str,
    /// What a picture of it would show, in a row of offsets.
    pub picture: &'static str,
}

const fn term(
    name: &'static str,
    title: &'static str,
    what: &'static str,
    cause: &'static str,
    picture: &'static str,
) -> Term {
    Term {
        name,
        title,
        what,
        cause,
        picture,
    }
}

/// Anomalies, the most severe first.
pub const ANOMALIES: [Term; 47] = [
    term(
        "lost-write",
        "Lost writes",
        "A message was acknowledged, consumers read past its place, and no consumer ever got it.",
        "Acknowledged before enough replicas had it; or a new leader without it was elected.",
        "ack 7  ·  read 5 6 _ 8 9",
    ),
    term(
        "vanished",
        "Vanished messages",
        "A message was acknowledged or even read, and a later complete pass over its offsets did \
         not return it.",
        "It lived in memory, or on a replica that was not the one that survived a restart.",
        "read 5 6 7 8  ·  after restart 5 6 _ 8",
    ),
    term(
        "lost-tail",
        "Lost tails",
        "The log ends before a message that was acknowledged or read: its end was cut off.",
        "A leader was elected that had not replicated the end of the log.",
        "ack … 7 8 9  ·  log ends at 7",
    ),
    term(
        "inconsistent-offsets",
        "Two messages at one offset",
        "Different messages were seen at the same offset of the same partition.",
        "Two leaders wrote the same offsets, a replica kept records that it should have truncated, \
         or a consumer was given records above the high watermark: look who saw which.",
        "offset 7: A  ·  offset 7: B",
    ),
    term(
        "replica-divergence",
        "Replicas that differ",
        "Two replicas hold different records for one offset below both their high watermarks.",
        "A follower did not truncate what the new leader never had.",
        "broker 1: 5 6 A  ·  broker 2: 5 6 B",
    ),
    term(
        "dual-leader",
        "Two leaders in one epoch",
        "Two brokers claimed to lead one partition in the same leader epoch.",
        "An epoch was granted twice, or a broker took leadership without asking.",
        "epoch 4: broker 1  ·  epoch 4: broker 2",
    ),
    term(
        "unwritten-read",
        "Messages that nobody wrote",
        "A consumer got a message that no producer sent, or one whose checksum is wrong.",
        "Corruption on disk or on the wire, or records of another partition.",
        "sent 5 6 7  ·  read 5 ? 7",
    ),
    term(
        "duplicate",
        "Duplicates",
        "One message stands at more than one offset.",
        "A retry was appended again: deduplication by producer id and sequence is missing, or was \
         lost at a change of leader.",
        "offset 5: A  ·  offset 9: A",
    ),
    term(
        "G1a",
        "Aborted reads",
        "A consumer read a message of a write that certainly failed.",
        "An aborted or refused write stayed visible.",
        "send A fails  ·  read A",
    ),
    term(
        "stale-watermark",
        "Stale watermarks",
        "A broker answered with a high watermark that does not cover a message acknowledged, with \
         acks=all, before it was asked.",
        "The visible watermark is a cached copy, or runs behind acknowledgements.",
        "ack up to 9  ·  watermark 4",
    ),
    term(
        "watermark-regression",
        "Watermarks that go back",
        "A high watermark (or end offset) went back, although the leader epoch did not.",
        "The watermark was reset at a failover or restart, or is taken from a stale copy.",
        "watermark 9  ·  later 4",
    ),
    term(
        "visible-above-watermark",
        "Reads above the watermark",
        "A consumer got a message at or above the high watermark that a broker answered later.",
        "Fetches are bounded by the end of the log instead of by the watermark.",
        "read 9  ·  watermark 7",
    ),
    term(
        "epoch-regression",
        "Epochs that go back",
        "A broker answered with a lower leader epoch than before.",
        "Metadata was applied out of order, or lost at a restart.",
        "epoch 5  ·  later epoch 4",
    ),
    term(
        "torn-transaction",
        "Torn transactions",
        "Some, but not all messages of a transaction are visible.",
        "A marker was not written to every partition.",
        "txn {A, B}  ·  read A _",
    ),
    term(
        "zombie-write",
        "Writes of zombies",
        "A message of a fenced producer is visible.",
        "The producer epoch was not checked.",
        "epoch 2 granted  ·  write of epoch 1 visible",
    ),
    term(
        "precommitted-read",
        "Reads of one's own open transaction",
        "An operation read a message that it was itself just sending.",
        "Open transactions are visible.",
        "txn sends A, reads A",
    ),
    term(
        "double-ownership",
        "Two owners in one generation",
        "Two members of a group owned one partition in the same generation.",
        "An assignment was handed out twice.",
        "generation 3: member 1 and member 2",
    ),
    term(
        "double-consume",
        "Consumed twice",
        "Two committed transactions of one group consumed the same record.",
        "Offsets of an aborted or fenced transaction counted.",
        "txn 1 takes A  ·  txn 2 takes A",
    ),
    term(
        "committed-offset-regression",
        "Committed offsets that go back",
        "A group's committed offset went back, though nobody reset it.",
        "Lost at a move of the coordinator.",
        "committed 9  ·  later 4",
    ),
    term(
        "committed-offset-overrun",
        "Committed offsets ahead of delivery",
        "A group's committed offset is above everything delivered to it.",
        "Offsets were committed for somebody else.",
        "delivered up to 6  ·  committed 9",
    ),
    term(
        "invalid-offset",
        "Impossible offsets",
        "An acknowledgement or a record had a negative or absurd offset.",
        "An error path answered with a default value.",
        "ack at offset -1",
    ),
    term(
        "nonmonotonic-poll",
        "Reads that go back",
        "From one poll to the next a consumer was sent back to messages that it had read.",
        "The log was truncated under the consumer, or its position was reset.",
        "poll 7 8 9  ·  next poll 6 7",
    ),
    term(
        "int-nonmonotonic-poll",
        "Reads that go back within one poll",
        "Within one poll messages came out of order, or twice.",
        "Batches are delivered out of order.",
        "poll 7 9 8",
    ),
    term(
        "poll-skip",
        "Reads that skip",
        "From one poll to the next a consumer jumped over messages that exist.",
        "Paging by size dropped a batch, or the position was moved forward.",
        "poll 5 6  ·  next poll 9",
    ),
    term(
        "int-poll-skip",
        "Reads that skip within one poll",
        "Within one poll messages that exist were jumped over.",
        "A batch was left out of the answer.",
        "poll 5 6 9",
    ),
    term(
        "nonmonotonic-send",
        "Writes that go back",
        "A producer's next message got a lower offset than its last one.",
        "The log was truncated, or messages were reordered on their way.",
        "sent at 9  ·  next at 4",
    ),
    term(
        "int-nonmonotonic-send",
        "Writes out of order within one batch",
        "Within one operation a later message got a lower offset.",
        "Messages were reordered on their way.",
        "sent at 5 7 6",
    ),
    term(
        "int-send-skip",
        "Interleaved writes",
        "Between two messages of one operation lie messages of others. Kafka does not forbid it.",
        "Several producers write to one partition.",
        "sent at 5 and 9",
    ),
    term(
        "unseen",
        "Unseen messages",
        "Messages were acknowledged and never read, but nothing proves that they are gone: slow \
         is not lost.",
        "A consumer or a watermark is stuck.",
        "ack 7 8 9  ·  read up to 6",
    ),
    term(
        "not-recovered",
        "No recovery",
        "After the last fault was healed, the cluster made no progress within the limit.",
        "An election, a replica or a client is stuck.",
        "healed  ·  … nothing …",
    ),
    term(
        "non-unique-write",
        "Writes that are not unique",
        "The workload wrote one value twice: the run itself broke the rules of the check.",
        "A fault of the test, not of the broker.",
        "send A  ·  send A",
    ),
    term(
        "G0",
        "Write cycles",
        "Transactions' writes interleave: each precedes the other on some partition. Kafka does \
         not forbid it.",
        "Kafka does not isolate writes of transactions.",
        "T1 < T2 on x  ·  T2 < T1 on y",
    ),
    term(
        "G1b",
        "Intermediate reads",
        "A transaction read a state from the middle of another.",
        "Open transactions are visible.",
        "T1 writes 1 2  ·  T2 reads 1",
    ),
    term(
        "G1c",
        "Circular flow of information",
        "Transactions read from each other in a circle.",
        "Open transactions are visible.",
        "T1 reads T2  ·  T2 reads T1",
    ),
    term(
        "G-single-item",
        "Read skew",
        "A transaction saw one write of another and missed an earlier one.",
        "Reads are no snapshot.",
        "T1 sees y, not x, of T2",
    ),
    term(
        "G-nonadjacent-item",
        "Long fork",
        "Transactions saw each other's writes in orders that no one state of the lists explains.",
        "Snapshots are not of one moment.",
        "T1 misses T2  ·  T3 misses T4",
    ),
    term(
        "G2-item",
        "Write skew",
        "Transactions each missed what the other wrote.",
        "Transactions are not serialised.",
        "T1 misses T2  ·  T2 misses T1",
    ),
    term(
        "internal",
        "Internal contradictions",
        "A transaction did not see what it had itself read or written before.",
        "Reads do not come from the transaction's own state.",
        "T1 appends 1  ·  T1 reads [ ]",
    ),
    term(
        "future-read",
        "Reads of the future",
        "A transaction read what it wrote only later.",
        "Operations of a transaction are reordered.",
        "T1 reads [1]  ·  T1 appends 1",
    ),
    term(
        "dirty-update",
        "Dirty updates",
        "A committed transaction built on what an aborted one wrote.",
        "Aborts do not undo everything.",
        "T1 aborts 1  ·  T2 commits 1 2",
    ),
    term(
        "lost-update",
        "Lost updates",
        "Two transactions read one state and both changed it: one of them missed the other.",
        "Nobody checks whether a read is still current at commit.",
        "T1, T2 read [1]  ·  both append",
    ),
    term(
        "incompatible-order",
        "Incompatible orders",
        "Two reads of one list that no single order of appends explains.",
        "Replicas applied writes in different orders, or lost one.",
        "[1 2]  ·  [2 1]",
    ),
    term(
        "duplicate-elements",
        "Elements twice",
        "One read of a list shows an element twice.",
        "A write was applied twice.",
        "[1 2 1]",
    ),
    term(
        "read-skew",
        "Polls are no snapshots",
        "Polls of several partitions saw states of different moments. Kafka does not forbid it.",
        "Kafka's polls are no snapshots.",
        "poll sees y, not x",
    ),
    term(
        "empty-transaction-graph",
        "Nothing depends on anything",
        "No transaction read what another wrote: there is nothing in which a cycle could be.",
        "Nothing was read, or nothing was written.",
        "T1  ·  T2",
    ),
    term(
        "corrupt",
        "Corrupt messages",
        "A message's checksum is wrong.",
        "Corruption on disk or on the wire.",
        "read ?",
    ),
    term(
        "cycle-exists",
        "A cycle that a model rules out",
        "Transactions depend on each other in a circle that a consistency model rules out; no \
         class of cycles names it.",
        "Isolation weaker than was promised.",
        "T1 → T2 → T1",
    ),
];

/// The term for an anomaly type; variants (`G1c-realtime`) have the term of what they vary.
#[must_use]
pub fn anomaly(name: &str) -> Option<&'static Term> {
    let exact = ANOMALIES.iter().find(|term| term.name == name);
    exact.or_else(|| {
        if name.ends_with("-cycle-exists") {
            return anomaly("cycle-exists");
        }
        let stem = name
            .trim_end_matches("-realtime")
            .trim_end_matches("-process");
        ANOMALIES.iter().find(|term| term.name == stem)
    })
}

/// Position in the order of severity; unknown types come last.
#[must_use]
pub fn severity(name: &str) -> usize {
    let known = anomaly(name);
    known.map_or(ANOMALIES.len(), |term| {
        let at = ANOMALIES.iter().position(|other| other.name == term.name);
        at.unwrap_or(ANOMALIES.len())
    })
}

/// Heading for an anomaly type.
#[must_use]
pub fn title(name: &str) -> String {
    anomaly(name).map_or_else(|| name.to_owned(), |term| term.title.to_owned())
}

/// What a kind of fault does.
#[must_use]
pub fn fault(kind: &str) -> Option<&'static str> {
    let text = match kind {
        "partition" => {
            "The network between some brokers is cut: packets are dropped, nobody is told. Clients \
             usually stay connected, so a broker that is cut off still hears them, and must not \
             acknowledge what the others do not have."
        }
        "kill" => {
            "A broker's process is killed at once (SIGKILL) and started again later. Whatever it \
             had not written to its disk is gone."
        }
        "pause" => {
            "A broker's process is frozen and thawed later. It does not notice that time passed, \
             and may still believe that it leads."
        }
        "delay-watermark" => {
            "Replication traffic is held back, so that followers learn late what the leader has, \
             and how far the high watermark is. On a correct broker this costs time, not messages."
        }
        _ => return None,
    };
    Some(text)
}

/// What a verdict means.
#[must_use]
pub fn verdict(word: &str) -> &'static str {
    match word {
        "valid" => "Every guarantee that was checked held, and the run did what it was to do.",
        "invalid" => "At least one guarantee was broken. What was found is proven by the history.",
        "vacuous" => {
            "Nothing wrong was found, but the run did not exercise what it was to exercise: it \
             proves nothing."
        }
        "stalled" => {
            "No message is proven lost, but the cluster did not deliver everything, or did not \
             get going again."
        }
        "infrastructure" => "The cluster never came up, or a fault could not be healed.",
        "unknown" => "There is too little data to say, or a bound of the checker was hit.",
        _ => "There is no verdict.",
    }
}

/// Other words of the page.
pub const WORDS: [(&str, &str); 9] = [
    (
        "acknowledged",
        "The broker told the producer that a message is written. With acks=all that is a promise: \
         it is on enough replicas to survive the loss of any one.",
    ),
    (
        "uncertain",
        "The producer was not told what became of a message (a timeout, a lost connection). It may \
         be written or not, both are right.",
    ),
    (
        "high watermark",
        "The offset up to which a partition's messages are on every in-sync replica. Consumers see \
         what lies below it.",
    ),
    (
        "unseen",
        "Messages that were acknowledged and that no consumer has read yet. The number must return \
         to zero at the end of a run.",
    ),
    (
        "leader epoch",
        "Every time a partition gets a new leader, its epoch grows by one. What a leader of an \
         older epoch says no longer counts.",
    ),
    (
        "drain",
        "After the faults, fresh consumers read every partition from its beginning to its end.",
    ),
    (
        "audit",
        "A look into the log files of one broker, record by record, while it is stopped.",
    ),
    (
        "gap",
        "A time in which somebody waited for an acknowledgement from a partition and none came.",
    ),
    (
        "witness",
        "An operation, or a few, out of the history that prove an anomaly. Operations are named by \
         their index in history.jsonl.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_checker_finds_is_explained() {
        for kind in crate::analysis::Kind::ALL {
            assert!(anomaly(kind.name()).is_some(), "{}", kind.name());
        }
    }

    #[test]
    fn terms_are_unique_and_variants_find_theirs() {
        for (at, term) in ANOMALIES.iter().enumerate() {
            assert_eq!(severity(term.name), at, "{}", term.name);
        }
        assert_eq!(title("G1c-realtime"), "Circular flow of information");
        assert_eq!(severity("never-heard-of"), ANOMALIES.len());
    }
}
