//! What nodes say to each other, and how it becomes bytes.

mod frame;
mod hello;
mod kind;
mod mark;
mod message;
mod part;
mod row;
#[cfg(test)]
pub(crate) mod samples;
mod skim;
#[cfg(test)]
mod tests;
mod validate;
mod version;

pub use frame::{
    Frame, HEADER_LEN, LENGTH_LEN, MAX_FRAME, MAX_PACKET, TooLarge, decode_frame, decode_packet,
    encode_frame, encode_packet, split_frame,
};
pub use hello::{Claims, ConnectionKind, Hello, HelloAck, dials};
pub use kind::{Class, Kind, may_connect, may_send};
pub use mark::Mark;
pub use message::Message;
pub use part::{
    AbortedWas, Capacity, DcLoad, DispatchAccepted, GateView, HeldShard, Reconciled, ReserveShard, RunPhase,
    ShardReport,
};
pub use row::{decode_row, encode_row};
pub use validate::{MAX_DC_WINDOWS, MAX_HELD, MAX_JOBS, MAX_SHARD_WINDOWS, MAX_WHY, OutOfBounds};
pub use version::{Dialect, Feature, Features, MINOR};

use minicbor::{Decode, Encode};

/// The protocol's major version: nodes of different ones refuse each other.
pub const MAJOR: u8 = 1;

/// What is wrong with received bytes. Each is counted; none changes anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
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
    /// A datagram of another cluster.
    #[n(8)]
    Cluster,
    /// A datagram of another major version.
    #[n(9)]
    Version,
}

impl Malformed {
    /// Whether the connection must be closed: its frames have lost their borders, or its peer breaks the rules on
    /// purpose. Otherwise only one frame is lost.
    pub const fn ends_connection(self) -> bool {
        matches!(self, Self::Frame | Self::TooLarge | Self::Role)
    }
}
