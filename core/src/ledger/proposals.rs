//! Proposals: this node's own until they are applied, and the replicated memory that applies each of them once.
//!
//! A proposal is named by (node, boot, n). It is repeated to whoever seems to lead until it is applied here; the
//! replicated table of applied proposals drops repeats. Numbers are given without gaps and an undecided one holds back
//! all that are [`MAX_UNDECIDED`] above it, so the table needs one number and a short set per node.

use alloc::collections::{BTreeMap, BTreeSet};
use minicbor::{Decode, Encode};

use super::ProposalId;
use crate::bytes::Bytes;
use crate::id::{BootNo, DiskId, NodeId};
use crate::time::Instant;

/// Most undecided commands of the tier's own kind; beyond it `NoQuorum`.
pub const MAX_UNDECIDED: usize = 1_024;
/// Numbers further than this above the last contiguous one are refused: the proposals plus a few of the ledger's own.
pub(super) const WINDOW: u64 = MAX_UNDECIDED as u64 + 64;
/// The largest encoded command, in bytes.
pub const MAX_COMMAND: usize = 64 * 1024;

/// What an entry's payload is.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub(super) struct Proposal<C> {
    #[n(0)]
    pub id: ProposalId,
    #[n(1)]
    pub command: Command<C>,
}

/// The ledger's own commands around those of the tier.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub(super) enum Command<C> {
    /// The tier's.
    #[n(0)]
    Tier(#[n(0)] C),
    /// The proposing node holds a lease; its boot is the proposal's.
    #[n(1)]
    LeaseRenewed {
        #[n(0)]
        disk: DiskId,
        #[n(1)]
        renew_no: u64,
        /// The minor version that the node runs.
        #[n(2)]
        minor: u16,
    },
    /// A node's lease is over, if this is still its newest renewal.
    #[n(2)]
    LeaseEnded {
        #[n(0)]
        node: NodeId,
        #[n(1)]
        boot: BootNo,
        #[n(2)]
        renew_no: u64,
    },
}

/// Which proposals of one node are applied. Replicated; a row per node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(super) struct AppliedSet {
    /// The newest boot that has proposed; proposals of older ones are over.
    #[n(0)]
    pub boot: BootNo,
    /// All up to here are applied.
    #[n(1)]
    pub up_to: u64,
    /// Applied ones above it; fewer than [`WINDOW`].
    #[n(2)]
    pub above: BTreeSet<u64>,
}

impl AppliedSet {
    /// Whether a proposal is still to be applied.
    pub fn is_due(&self, id: ProposalId) -> bool {
        match id.boot.cmp(&self.boot) {
            core::cmp::Ordering::Less => false,
            core::cmp::Ordering::Greater => (1..=WINDOW).contains(&id.n),
            core::cmp::Ordering::Equal => {
                id.n > self.up_to && id.n - self.up_to <= WINDOW && !self.above.contains(&id.n)
            }
        }
    }

    /// Notes a proposal as applied; false where it was not due.
    pub fn note(&mut self, id: ProposalId) -> bool {
        if !self.is_due(id) {
            return false;
        }
        if id.boot > self.boot {
            *self = Self { boot: id.boot, ..Self::default() };
        }
        self.above.insert(id.n);
        while self.above.remove(&(self.up_to + 1)) {
            self.up_to += 1;
        }
        true
    }
}

/// One of this node's undecided proposals.
#[derive(Clone, Debug)]
pub(super) struct Undecided {
    pub bytes: Bytes,
    pub kind: Kind,
}

/// Who waits for a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Tier,
    Renewal,
    End(NodeId),
}

/// This node's undecided proposals. Volatile: they end with the process.
#[derive(Clone, Debug, Default)]
pub(super) struct Proposals {
    last: u64,
    pub undecided: BTreeMap<u64, Undecided>,
    /// Those of the ledger's own kinds: one of each at a time.
    own: BTreeMap<Kind, u64>,
    /// When all of them are told to the leader again.
    pub repeat_at: Option<Instant>,
}

impl Proposals {
    /// The number of the next proposal, or `None` while too many are undecided.
    pub fn next(&self, kind: Kind) -> Option<u64> {
        let n = self.last + 1;
        let oldest = self.undecided.first_key_value().map_or(n, |(oldest, _)| *oldest);
        let room = if kind == Kind::Tier { MAX_UNDECIDED as u64 } else { WINDOW };
        (n - oldest < room).then_some(n)
    }

    /// Keeps a proposal until it is decided.
    pub fn keep(&mut self, n: u64, undecided: Undecided) {
        debug_assert_eq!(n, self.last + 1);
        self.last = n;
        if undecided.kind != Kind::Tier {
            self.own.insert(undecided.kind, n);
        }
        self.undecided.insert(n, undecided);
    }

    /// A proposal is applied; tells its kind where it was undecided.
    pub fn decided(&mut self, n: u64) -> Option<Kind> {
        let kind = self.undecided.remove(&n)?.kind;
        self.own.remove(&kind);
        if self.undecided.is_empty() {
            self.repeat_at = None;
        }
        Some(kind)
    }

    /// Whether one of this kind is undecided.
    pub fn has(&self, kind: Kind) -> bool {
        self.own.contains_key(&kind)
    }
}
