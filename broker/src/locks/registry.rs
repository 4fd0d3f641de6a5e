//! Every lock by name: its place in the order, and what it guards. A thread takes locks in
//! ascending rank only.

/// A lock's name; there may be many locks of one name (one for each peer, say).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Lock {
    /// [`REGISTRY`] says what each is.
    PeerConnection,
    /// Producer ids that are reserved.
    ProducerIds,
    /// The logs of a store.
    LogPartitions,
    /// The committer's side of the WAL.
    WalWriter,
    /// The appenders' side of the WAL.
    WalQueue,
    /// Files that readers have open.
    WalOpened,
    /// Raft's log in memory.
    RaftMemory,
    /// The metadata store, when it has no thread.
    MetaWriter,
    /// A full disk.
    DiskRoom,
    /// Heartbeats.
    RaftSessions,
    /// Signs of a leader.
    RaftContact,
    /// A voter whose store is new.
    RaftYouth,
    /// Calls under way.
    PeerCalls,
    /// Signs of a peer.
    PeerHeard,
    /// Signs of a follower.
    PeerFollowed,
    /// Connections to the controller port.
    ControllerConnections,
    /// Lines in the log.
    ListenerComplaints,
    /// Identities of topics.
    TopicIds,
}

/// One lock.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Which.
    pub lock: Lock,
    /// What metrics call it.
    pub name: &'static str,
    /// Its place in the order.
    pub rank: u16,
    /// File of this crate that has it.
    pub file: &'static str,
    /// What it guards, who takes it, and what is done under it.
    pub guards: &'static str,
}

impl Lock {
    /// What is known of it.
    #[must_use]
    pub fn entry(self) -> &'static Entry {
        &REGISTRY[self as usize]
    }
}

const fn entry(
    lock: Lock,
    (rank, name): (u16, &'static str),
    file: &'static str,
    guards: &'static str,
) -> Entry {
    Entry {
        lock,
        name,
        rank,
        file,
        guards,
    }
}

/// All locks, in the order of [`Lock`].
pub const REGISTRY: &[Entry] = &[
    entry(
        Lock::PeerConnection,
        (10, "peer-connection"),
        "src/meta/raft_net.rs",
        "The controller connection to one peer. Held by a task while it connects, so that callers \
         share the attempt.",
    ),
    entry(
        Lock::ProducerIds,
        (15, "producer-ids"),
        "src/producer/ids.rs",
        "What is left of a block of producer ids. Held by a task while it reserves another, so \
         that callers share the reservation; one addition otherwise.",
    ),
    entry(
        Lock::LogPartitions,
        (20, "log-partitions"),
        "src/log/store.rs",
        "The table of partitions' logs. Taken to open, close and delete a partition and for the \
         checkpoint; never to append or to read.",
    ),
    entry(
        Lock::WalWriter,
        (30, "wal-writer"),
        "src/log/committer.rs",
        "The end of the WAL that is written. Only the committer's thread takes it, for as long as \
         a group's write and fdatasync take: nobody waits for it.",
    ),
    entry(
        Lock::WalQueue,
        (40, "wal-queue"),
        "src/log/committer.rs",
        "Frames that wait for the next group. Appenders push one frame, the committer takes all; \
         no IO under it.",
    ),
    entry(
        Lock::WalOpened,
        (50, "wal-opened"),
        "src/log/wal_files.rs",
        "Which WAL files readers have open. Taken once for each opening of a file; reads of open \
         files take none.",
    ),
    entry(
        Lock::RaftMemory,
        (60, "raft-memory"),
        "src/meta/raft_store.rs",
        "Raft's log, vote and snapshot in memory, and the order of changes on their way to disk. \
         No IO under it, but in simulations.",
    ),
    entry(
        Lock::MetaWriter,
        (70, "meta-writer"),
        "src/meta/store_writer.rs",
        "The metadata database where it has no thread of its own: simulations only.",
    ),
    entry(
        Lock::DiskRoom,
        (80, "disk-room"),
        "src/storage/room.rs",
        "Whether a full disk is waited for. Taken with each write of the metadata database.",
    ),
    entry(
        Lock::RaftSessions,
        (90, "raft-sessions"),
        "src/meta/raft.rs",
        "Sessions of brokers, on the active controller: one heartbeat at a time.",
    ),
    entry(
        Lock::RaftContact,
        (100, "raft-contact"),
        "src/meta/raft.rs",
        "When a leader was heard: one assignment.",
    ),
    entry(
        Lock::RaftYouth,
        (105, "raft-youth"),
        "src/meta/raft.rs",
        "What a voter whose store is new has heard of the others: at the start only.",
    ),
    entry(
        Lock::PeerCalls,
        (110, "peer-calls"),
        "src/meta/raft_net.rs",
        "Who waits for which answer of a peer: one insertion or removal.",
    ),
    entry(
        Lock::PeerHeard,
        (120, "peer-heard"),
        "src/meta/raft_net.rs",
        "When something came on a connection: one assignment.",
    ),
    entry(
        Lock::PeerFollowed,
        (130, "peer-followed"),
        "src/meta/raft_net.rs",
        "When a peer answered as a follower: one assignment.",
    ),
    entry(
        Lock::ControllerConnections,
        (140, "controller-connections"),
        "src/meta/rpc_server.rs",
        "Which connection of each peer is the newest: one look for each call.",
    ),
    entry(
        Lock::ListenerComplaints,
        (150, "listener-complaints"),
        "src/net/listener.rs",
        "How many lines on faulty connections were logged: three assignments.",
    ),
    entry(
        Lock::TopicIds,
        (160, "topic-ids"),
        "src/api/mod.rs",
        "The generator of topic identities: one draw for each topic that is created.",
    ),
];
