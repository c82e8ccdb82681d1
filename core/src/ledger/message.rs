//! What voters of a tier say to each other: the messages of the log, as they travel and as they are bounded.
//!
//! Every message names the sender's start (boot and disk), so that an old disk image is refused before it can vote
//! away what the tier has decided. Messages may be lost, repeated and reordered; none may be forged, since the
//! connection proves the sender.

use alloc::vec::Vec;
use minicbor::{Decode, Encode};

use crate::bytes::Bytes;
use crate::id::{BootNo, DiskId, Term};

/// A message from one voter to another.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct LogMessage {
    /// Which start of the sender's disk speaks.
    #[n(0)]
    pub boot: BootNo,
    /// The sender's disk.
    #[n(1)]
    pub disk: DiskId,
    /// What it says.
    #[n(2)]
    pub body: LogBody,
}

/// A place in the log: an index alone does not name an entry, since an uncommitted one may be replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct LogPos {
    /// The term of the leader that appended the entry.
    #[n(0)]
    pub term: Term,
    /// Counts from 1; 0 is the place before the first entry.
    #[n(1)]
    pub index: u64,
}

/// An entry as it lies on disk, in memory and in a message.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct LogRecord {
    /// The term of the leader that appended it.
    #[n(0)]
    pub term: Term,
    /// The encoded proposal; `None` for the entry with which a leader opens its term.
    #[n(1)]
    pub payload: Option<Bytes>,
}

impl LogRecord {
    /// What the entry counts against the bounds of messages and of the retained log, in bytes.
    pub fn size(&self) -> usize {
        16 + self.payload.as_ref().map_or(0, |payload| payload.len())
    }
}

/// The digest of the applied state at a log index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Checkpoint {
    /// The index.
    #[n(0)]
    pub index: u64,
    /// The digest.
    #[n(1)]
    pub digest: u64,
}

/// One row of a snapshot: its whole key with the table's byte, and its bytes; `None` where it was sent before and is
/// gone now.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct ImageRow {
    /// The key.
    #[n(0)]
    pub key: Bytes,
    /// The bytes.
    #[n(1)]
    pub value: Option<Bytes>,
}

/// The end of a snapshot: all its rows together are the state at this place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct ImageEnd {
    /// The last applied entry.
    #[n(0)]
    pub at: LogPos,
    /// The digest of all rows.
    #[n(1)]
    pub digest: u64,
}

/// What a voter can say. `term` is the sender's term unless said otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub enum LogBody {
    /// A candidate asks for a vote.
    #[n(0)]
    Vote {
        /// The candidate's term.
        #[n(0)]
        term: Term,
        /// The end of its log.
        #[n(1)]
        last: LogPos,
    },
    /// The answer to a vote request.
    #[n(1)]
    VoteReply {
        /// The voter's term.
        #[n(0)]
        term: Term,
        /// Whether it is given.
        #[n(1)]
        granted: bool,
    },
    /// A leader's entries, or its heartbeat where there are none.
    #[n(2)]
    Append {
        /// The leader's term.
        #[n(0)]
        term: Term,
        /// Everything up to here is committed.
        #[n(1)]
        commit: u64,
        /// The place before the first entry.
        #[n(2)]
        prev: LogPos,
        /// The entries; together at most [`LogMessage::MAX_BYTES`].
        #[n(3)]
        entries: Vec<LogRecord>,
        /// The leader's newest checkpoint, for comparison.
        #[n(4)]
        checkpoint: Option<Checkpoint>,
    },
    /// A follower's log ends here, durably.
    #[n(3)]
    AppendReply {
        /// The follower's term.
        #[n(0)]
        term: Term,
        /// The end of its log.
        #[n(1)]
        last: LogPos,
    },
    /// Would you vote for me in this term? Changes nothing at the receiver.
    #[n(4)]
    PreVote {
        /// The term that the sender would open.
        #[n(0)]
        term: Term,
        /// The end of its log.
        #[n(1)]
        last: LogPos,
    },
    /// The answer to `PreVote`.
    #[n(5)]
    PreVoteReply {
        /// The term of the question.
        #[n(0)]
        asked: Term,
        /// The voter's own term.
        #[n(1)]
        term: Term,
        /// Whether it would.
        #[n(2)]
        granted: bool,
    },
    /// Encoded proposals of the sender for the leader; together at most [`LogMessage::MAX_BYTES`].
    #[n(6)]
    Propose {
        /// The proposals, oldest first.
        #[n(0)]
        proposals: Vec<Bytes>,
    },
    /// A part of a snapshot.
    #[n(7)]
    Image {
        /// The leader's term.
        #[n(0)]
        term: Term,
        /// Which transfer of this leader in this term.
        #[n(1)]
        transfer: u64,
        /// Which part of it, from 0.
        #[n(2)]
        part: u64,
        /// At most [`LogMessage::MAX_BYTES`]. A later row of the same key replaces an earlier one.
        #[n(3)]
        rows: Vec<ImageRow>,
        /// In the last part.
        #[n(4)]
        end: Option<ImageEnd>,
    },
    /// The answer to a part of a snapshot.
    #[n(8)]
    ImageAck {
        /// The follower's term.
        #[n(0)]
        term: Term,
        /// The transfer.
        #[n(1)]
        transfer: u64,
        /// The part that is answered.
        #[n(2)]
        part: u64,
        /// The part that is wanted next: not above `part` where the follower lacks earlier ones.
        #[n(3)]
        next: u64,
    },
    /// A leader that leaves asks the receiver to campaign at once.
    #[n(9)]
    HandOver {
        /// The leader's term.
        #[n(0)]
        term: Term,
    },
    /// The tier knows the receiver by this start and disk, so the receiver runs on an old disk.
    #[n(10)]
    OldDisk {
        /// The highest boot in the log.
        #[n(0)]
        boot: BootNo,
        /// The disk in the log.
        #[n(1)]
        disk: DiskId,
    },
}

impl LogMessage {
    /// Entries, proposals or rows of one message are cut at this many bytes.
    pub const MAX_BYTES: usize = 256 * 1024;
}
