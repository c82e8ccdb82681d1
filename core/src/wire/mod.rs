//! What nodes say to each other, and how it becomes bytes.

mod message;

pub use message::{
    AbortedWas, Capacity, DcLoad, DispatchAccepted, HeldShard, Message, Reconciled, ReserveShard, RunPhase,
    ShardReport,
};

use minicbor::{Decode, Encode};

/// What is wrong with received bytes. Each is counted; none changes anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Malformed {
    /// The length or the header is wrong.
    #[n(0)]
    Frame,
    /// Larger than its kind may be.
    #[n(1)]
    TooLarge,
    /// The body does not decode.
    #[n(2)]
    Body,
    /// It decodes, but a value is outside its bounds.
    #[n(3)]
    Bounds,
    /// A kind that this version does not know.
    #[n(4)]
    UnknownKind,
    /// The sender's role may not send this kind.
    #[n(5)]
    Role,
    /// A datagram whose seal is wrong.
    #[n(6)]
    Seal,
    /// A datagram that was seen before, or of an earlier boot.
    #[n(7)]
    Replay,
}
