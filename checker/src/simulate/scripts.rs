//! Scenes that are played into a generated history: what a fault looks like that no single
//! operation can show, and the same kinds of things done rightly.
//!
//! One line is one event, or an operation whole:
//!
//! ```text
//! log x 1 2                    messages 1 and 2 are written to partition x, and committed
//! hide x 2 | cut x 1           a message is gone from its log | so is all from there on
//! 1 ok send x=1 x=2            process 1 sends messages 1 and 2 to x, and is told their offsets
//! 1> txn x=1 y:3               an invocation alone: sends 1 to x, polls
//! 1< ok txn x=1 y:3            its completion: the poll returned message 3 of y
//! 1 ok poll x:1,2 ; "group":"g-$"    fields beside the value; $ is a number of this scene's own
//! 1 ok commit-offsets x>2      the offset after message 2
//! sample x hw=2                a broker answers: its high watermark is the offset of message 2
//! audit x 1 1 2                broker 1 holds messages 1 and 2 of x
//! wait 40 | nemesis verified   seconds pass | a step of a fault
//! ```
//!
//! For lists: `1 ok x+1 y[1,2] z?`: appends 1 to x, reads 1 and 2 in y, and z to no avail.

use super::Injection;

/// Faults in histories of logs.
pub const LOGS: &[(Injection, &str)] = &[
    (
        Injection::NonmonotonicSend,
        "log x 2 1
         1 ok send x=1
         1 ok send x=2",
    ),
    (
        Injection::G0,
        "log x 1 2 3
         1> send x=1 x=3
         2> send x=2
         1< ok send x=1 x=3
         2< ok send x=2",
    ),
    (
        Injection::G0Realtime,
        "log x 2 1
         1 ok send x=1
         2 ok send x=2",
    ),
    (
        Injection::G1c,
        "log x 1
         log y 1
         1> txn x=1 y:1
         2> txn y=1 x:1
         1< ok txn x=1 y:1
         2< ok txn y=1 x:1",
    ),
    (
        Injection::G1cRealtime,
        "log x 1
         1 ok poll x:1
         2 ok send x=1",
    ),
    (
        Injection::ReadSkew,
        "log x 1 2
         log y 3
         1 ok send x=1
         2 ok send x=2 y=3
         3 ok poll x:1 y:3",
    ),
    (
        Injection::ZombieWrite,
        "log x 1 2
         1 ok send x=1 ; \"producer\":[$,4]
         2 ok send x=2 ; \"producer\":[$,3]
         3 ok poll x:1,2",
    ),
    (
        Injection::DoubleOwnership,
        "log x 1 2
         1 ok send x=1 x=2
         2 ok poll x:1 ; \"group\":\"g-$\",\"member\":\"a\",\"generation\":1
         3 ok poll x:2 ; \"group\":\"g-$\",\"member\":\"b\",\"generation\":1",
    ),
    (
        Injection::DoubleConsume,
        "log x 1
         log y 1 2
         1 ok send x=1
         2 ok txn x:1 y=1 offsets:x>1
         3 ok txn x:1 y=2 offsets:x>1",
    ),
    (
        Injection::CommittedOffsetRegression,
        "log x 1 2
         1 ok send x=1 x=2
         2 ok poll x:1,2 ; \"group\":\"g-$\"
         2 ok commit-offsets x>2
         3 ok fetch-offsets x>1",
    ),
    (
        Injection::CommittedOffsetOverrun,
        "log x 1 2 3
         1 ok send x=1 x=2 x=3
         2 ok poll x:1,2 ; \"group\":\"g-$\"
         2 ok commit-offsets x>3
         3 ok poll x:1,2,3",
    ),
    (
        Injection::NonUniqueWrite,
        "log x 1
         1 ok send x=1
         2 fail send x=1",
    ),
    (
        Injection::InvalidOffset,
        "log x 1
         1 ok send x=1@-7",
    ),
    (
        Injection::StaleWatermark,
        "log x 1 2
         1 ok send x=1 x=2
         sample x hw=2",
    ),
    (
        Injection::VisibleAboveWatermark,
        "log x 1 2
         1> send x=1 x=2
         2 ok poll x:1,2
         sample x hw=2
         1< info send x=1 x=2",
    ),
    (
        Injection::DualLeader,
        "sample x
         sample x other",
    ),
    (
        Injection::EpochRegression,
        "sample x
         sample x before",
    ),
    (
        Injection::ReplicaDivergence,
        "log x 1 2
         1 ok send x=1 x=2
         audit x 1 1 2
         audit x 2 1 3",
    ),
    (
        Injection::Vanished,
        "log x 1 2 3
         1 ok send x=1 x=2 x=3
         2 ok poll x:1,2,3
         hide x 2",
    ),
    (
        Injection::TornTransaction,
        "log x 1
         log y 1
         1 ok txn x=1 y=1
         2 ok poll x:1
         hide y 1",
    ),
];

/// Faults at the end of a history of logs, before its complete passes if it has them.
pub const ENDS: &[(Injection, &str)] = &[
    (
        Injection::LostTail,
        "log x 1
         1 ok send x=1
         cut x 1",
    ),
    (
        Injection::Unseen,
        "log x 1
         1 ok send x=1",
    ),
    (
        Injection::NotRecovered,
        "nemesis effective
         nemesis healed
         nemesis verified
         1> send x=1
         wait 40
         1< info send x=1",
    ),
    // Nobody reads what comes after these, so that they are not parts of larger tangles.
    (
        Injection::GNonadjacentItem,
        "log x 1 2
         log y 1
         log z 1 2
         log w 1
         1 ok send x=1 z=1
         2 ok send x=2 y=1
         3 ok send z=2 w=1
         4 ok poll x:1 w:1
         5 ok poll y:1 z:1",
    ),
    (
        Injection::G2Item,
        "log x 1 2
         log y 1 2
         1 ok send x=1 y=1
         2> txn y=2 x:1
         3> txn x=2 y:1
         2< ok txn y=2 x:1
         3< ok txn x=2 y:1",
    ),
];

/// What a correct cluster does, and a checker must not mistake for any of the above.
pub const CLEAN: &[&str] = &[
    // A producer is fenced by its successor, and told so.
    "log x 1 2
     1 ok send x=1 ; \"producer\":[$,3]
     1> send x=3 ; \"producer\":[$,3]
     2 ok send x=2 ; \"producer\":[$,4]
     1< fail send x=3 ; \"producer\":[$,3]
     3 ok poll x:1,2",
    // A partition changes its owner with the generation.
    "log x 1 2
     1 ok send x=1 x=2
     2 ok poll x:1 ; \"group\":\"g-$\",\"member\":\"a\",\"generation\":1
     3 ok poll x:2 ; \"group\":\"g-$\",\"member\":\"b\",\"generation\":2",
    // Two transactions of a group consume one record each.
    "log x 1 2
     log y 1 2
     1 ok send x=1 x=2
     2 ok txn x:1 y=1 offsets:x>1
     3 ok txn x:2 y=2 offsets:x>2",
    // Offsets are committed up to what was delivered, and are what was committed.
    "log x 1 2
     1 ok send x=1 x=2
     2 ok poll x:1 ; \"group\":\"g-$\"
     2 ok commit-offsets x>1
     3 ok fetch-offsets x>1
     3 ok poll x:2 ; \"group\":\"g-$\"
     3 ok commit-offsets x>2
     2 ok fetch-offsets x>2",
];

/// Faults in histories of lists.
pub const LISTS: &[(Injection, &str)] = &[
    (
        Injection::G0,
        "1> x+1 y+1
         2> x+2 y+2
         1< ok x+1 y+1
         2< ok x+2 y+2
         3 ok x[1,2]
         3 ok y[2,1]",
    ),
    (Injection::G0Process, "1 ok x+1\n1 ok x+2\n2 ok x[2,1]"),
    (Injection::G0Realtime, "1 ok x+1\n2 ok x+2\n3 ok x[2,1]"),
    (
        Injection::G1c,
        "1> x+1 y[1]
         2> y+1 x[1]
         1< ok x+1 y[1]
         2< ok y+1 x[1]",
    ),
    (Injection::G1cProcess, "1 ok x[1]\n1 ok x+1"),
    (Injection::G1cRealtime, "1 ok x[1]\n2 ok x+1"),
    (
        Injection::GSingleItem,
        "1> x[] y[1]
         2> x+1 y+1
         1< ok x[] y[1]
         2< ok x+1 y+1
         3 ok x[1]",
    ),
    (
        Injection::GSingleItemProcess,
        "1 ok x+1\n1 ok x[]\n2 ok x[1]",
    ),
    (
        Injection::GNonadjacentItem,
        "1> x[] w[1]
         2> x+1 y+1
         3> y[1] z[]
         4> z+1 w+1
         1< ok x[] w[1]
         2< ok x+1 y+1
         3< ok y[1] z[]
         4< ok z+1 w+1
         5 ok x[1]
         5 ok z[1]",
    ),
    (
        Injection::GNonadjacentItemProcess,
        "3> y[1] z[]
         2> x+1 y+1
         4 ok z+1
         4 ok x[]
         2< ok x+1 y+1
         3< ok y[1] z[]
         5 ok x[1]
         6 ok z[1]",
    ),
    (
        Injection::GNonadjacentItemRealtime,
        "3> y[1] z[]
         2> x+1 y+1
         4 ok z+1
         1 ok x[]
         2< ok x+1 y+1
         3< ok y[1] z[]
         5 ok x[1]
         5 ok z[1]",
    ),
    (
        Injection::G2Item,
        "1> x[] y+1
         2> y[] x+1
         1< ok x[] y+1
         2< ok y[] x+1
         3 ok x[1]
         3 ok y[1]",
    ),
    (
        Injection::G2ItemProcess,
        "2> y[] x+1
         3 ok y+1
         3 ok x[]
         2< ok y[] x+1
         4 ok x[1]
         5 ok y[1]",
    ),
    (
        Injection::G2ItemRealtime,
        "2> y[] x+1
         3 ok y+1
         1 ok x[]
         2< ok y[] x+1
         4 ok x[1]
         4 ok y[1]",
    ),
    (
        Injection::G1b,
        "1> x+1 x+2
         2> x[1]
         2< ok x[1]
         1< ok x+1 x+2
         3 ok x[1,2]",
    ),
    (Injection::Internal, "1 ok x[] x+1 x[]\n2 ok x[1]"),
    (Injection::FutureRead, "1 ok x[1] x+1"),
    (Injection::DirtyUpdate, "1 fail x+1\n2 ok x+2\n3 ok x[1,2]"),
    (
        Injection::LostUpdate,
        "1 ok x+1
         2> x[1] x+2
         3> x[1] x+3
         2< ok x[1] x+2
         3< ok x[1] x+3
         4 ok x[1,2,3]",
    ),
    (Injection::UnwrittenRead, "1 ok x[7]"),
    (Injection::NonUniqueWrite, "1 ok x+1\n2 ok x+1\n3 ok x[1]"),
];
