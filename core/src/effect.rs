//! What comes out of a step.

use alloc::boxed::Box;
use alloc::vec::Vec;
use minicbor::{Decode, Encode};
use smallvec::SmallVec;

use crate::api::{Answer, ClientEvent};
use crate::id::{CallId, NodeId};
use crate::jobs::ExecCommand;
use crate::observe::Observation;
use crate::store::{StoreToken, Write};
use crate::swim::{Addr, Packet};
use crate::wire::Message;

/// The effects of one step, in order.
pub type Effects = SmallVec<[Effect; 4]>;

/// The closed list of what a node asks of the world. The driver performs them in order and decides nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub enum Effect {
    /// Send on the ordered connection to a peer. Lost without notice where there is no connection.
    #[n(0)]
    Send {
        /// The receiver.
        #[n(0)]
        to: NodeId,
        /// What to send.
        #[n(1)]
        message: Box<Message>,
    },
    /// Send one datagram. May be lost, repeated and reordered.
    #[n(1)]
    SendDatagram {
        /// Where the receiver listens.
        #[n(0)]
        to: Addr,
        /// What to send.
        #[n(1)]
        packet: Box<Packet>,
    },
    /// Write these rows in one atomic, durable transaction, then report [`crate::Event::Stored`].
    #[n(2)]
    Store {
        /// Names the write.
        #[n(0)]
        token: StoreToken,
        /// The rows.
        #[n(1)]
        writes: Vec<Write>,
    },
    /// Start or stop an execution (workers only).
    #[n(3)]
    Exec(#[n(0)] Box<ExecCommand>),
    /// The one answer to an API call.
    #[n(4)]
    Answer {
        /// The call.
        #[n(0)]
        call: CallId,
        /// The answer.
        #[n(1)]
        answer: Box<Answer>,
    },
    /// The next event of a stream that an API call opened.
    #[n(5)]
    Push {
        /// The call that opened the stream.
        #[n(0)]
        call: CallId,
        /// The event; `None` ends the stream.
        #[n(1)]
        event: Option<Box<ClientEvent>>,
    },
    /// Testimony: a decision worth knowing.
    #[n(6)]
    Observe(#[n(0)] Observation),
    /// The node has ended and the process must exit; nothing is performed after this.
    #[n(7)]
    Halt(#[n(0)] HaltReason),
}

/// Why a node ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum HaltReason {
    /// It was drained: nothing is left to do here.
    #[n(0)]
    Drained,
    /// A durable write failed.
    #[n(1)]
    StoreFailed,
    /// The tier knows this node by another disk, or by a higher boot number: this disk image is old.
    #[n(2)]
    OldDisk,
    /// Rows of a newer format, or rows that do not decode.
    #[n(3)]
    BadRows,
    /// The configured voters cannot be used: this node is not among them, there are two without leave to lose either,
    /// or this disk has voted in another group.
    #[n(4)]
    BadVoters,
    /// All voters of the tier have run a newer minor version than this one, and its log may hold what this one does not
    /// know.
    #[n(5)]
    OldVersion,
}

const _: () = assert!(size_of::<Effect>() <= 64);
