//! The replicated log of a tier.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use minicbor::{Decode, Encode};

use crate::bytes::Bytes;
use crate::id::{BootNo, JobId, NodeId};
use crate::observe::Observation;

/// What voters of a tier say to each other. (Placeholder shape: the ledger defines it.)
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct LogMessage {
    /// The message.
    #[n(0)]
    pub body: Bytes,
}

/// The applied state of a tier: a fold over its committed commands.
///
/// The replicated part is the rows. Fields that are not part of a row are the node's own (volatile) and survive as
/// they can when [`State::load_row`] replaces a row.
pub trait State {
    /// What is decided.
    type Command: Clone + core::fmt::Debug + PartialEq + Encode<()> + for<'b> Decode<'b, ()>;

    /// Applies one committed command. A function of the replicated state and the command alone: no clock, no own
    /// identity, no randomness, so that every replica computes the same rows. A command that no longer fits (an old
    /// fence, an ended job) changes nothing.
    fn apply(&mut self, entry: &Entry<Self::Command>, changes: &mut Changes);

    /// The bytes of a row, or `None` where it does not exist (any more).
    fn row(&self, key: &[u8]) -> Option<Vec<u8>>;

    /// Every row's key, in order. Keys have at least one byte and do not include the table byte.
    fn keys(&self) -> Vec<Vec<u8>>;

    /// Takes a row from disk or from a snapshot.
    fn load_row(&mut self, key: &[u8], bytes: &[u8]) -> Result<(), BadRow>;

    /// Drops a row, as a snapshot that does not have it demands.
    fn drop_row(&mut self, key: &[u8]);
}

/// A row that does not decode, or is of a newer format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadRow;

/// A committed command and who proposed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<C> {
    /// Its place in the log.
    pub index: u64,
    /// Who proposed it.
    pub proposal: ProposalId,
    /// What is decided.
    pub command: C,
}

/// Names a proposal for ever: repeats of it are applied once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct ProposalId {
    /// Who proposes.
    #[n(0)]
    pub node: NodeId,
    /// In which start of its process.
    #[n(1)]
    pub boot: BootNo,
    /// Which of its proposals.
    #[n(2)]
    pub n: u64,
}

/// What an application changed, collected for the step.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Rows to write; read back through [`State::row`] once per step.
    pub rows: BTreeSet<Vec<u8>>,
    /// Jobs whose duties must be looked at again.
    pub jobs: BTreeSet<JobId>,
    /// Testimony.
    pub observations: Vec<Observation>,
}
