//! What goes into a step.

use alloc::boxed::Box;
use alloc::string::String;
use minicbor::{Decode, Encode};

use crate::api::{Identity, Request};
use crate::fault::FaultCode;
use crate::guard::Usage;
use crate::id::{BootNo, CallId, NodeId};
use crate::jobs::ExecEvent;
use crate::store::StoreToken;
use crate::swim::{Addr, Packet};
use crate::wire::{Dialect, Malformed, Message};

/// The closed list of what the world tells a node. Every event can be encoded and holds no handle.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub enum Event {
    /// The first event of a process: the driver listens and the rows are loaded.
    #[n(0)]
    Start,
    /// Time has passed; also allowed early, late and for nothing.
    #[n(1)]
    Wake,
    /// A message on the ordered connection; the peer is proven by the connection.
    #[n(2)]
    Received {
        /// The sender.
        #[n(0)]
        peer: NodeId,
        /// The message.
        #[n(1)]
        message: Box<Message>,
    },
    /// A datagram that was sealed with the cluster's key.
    #[n(3)]
    Datagram {
        /// Where it came from.
        #[n(0)]
        from: Addr,
        /// The packet.
        #[n(1)]
        packet: Box<Packet>,
    },
    /// Bytes that are no message.
    #[n(4)]
    Malformed {
        /// The sender, where the connection or the seal proves one.
        #[n(0)]
        peer: Option<NodeId>,
        /// What is wrong with them.
        #[n(1)]
        why: Malformed,
    },
    /// The ordered connection to a peer is up.
    #[n(5)]
    Connected {
        /// The peer.
        #[n(0)]
        peer: NodeId,
        /// The peer's boot number, from the handshake.
        #[n(1)]
        boot: BootNo,
        /// What is spoken on it, as both greetings have it.
        #[n(2)]
        dialect: Dialect,
    },
    /// The ordered connection to a peer is gone. What was sent last may or may not have arrived.
    #[n(6)]
    Disconnected {
        /// The peer.
        #[n(0)]
        peer: NodeId,
    },
    /// Everything up to this token is durable.
    #[n(7)]
    Stored {
        /// The newest durable write.
        #[n(0)]
        token: StoreToken,
    },
    /// A write failed. Final.
    #[n(8)]
    StoreFailed {
        /// The write.
        #[n(0)]
        token: StoreToken,
        /// What the disk said, for the operator.
        #[n(1)]
        why: String,
    },
    /// News of an execution (workers only).
    #[n(9)]
    Exec(#[n(0)] Box<ExecEvent>),
    /// A client calls; there will be exactly one answer.
    #[n(10)]
    Api {
        /// Names the call.
        #[n(0)]
        call: CallId,
        /// Who calls.
        #[n(1)]
        identity: Identity,
        /// What it asks for.
        #[n(2)]
        request: Box<Request>,
    },
    /// The stream that this call opened can take this many more events (credit is added to what is left).
    #[n(11)]
    ApiWritable {
        /// The call.
        #[n(0)]
        call: CallId,
        /// How many more.
        #[n(1)]
        credit: u32,
    },
    /// The caller is gone: no answer and no event can reach it.
    #[n(12)]
    ApiClosed {
        /// The call.
        #[n(0)]
        call: CallId,
    },
    /// The operator asks the node to finish and leave (SIGTERM).
    #[n(13)]
    Drain,
    /// How loaded the machine is: once a second.
    #[n(14)]
    Usage(#[n(0)] Usage),
    /// A greeting was refused, by the rules of [`crate::wire::Hello::judge`] or as one that nobody expects here: there is
    /// no connection.
    #[n(15)]
    GreetingRefused {
        /// Who greeted, as far as a certificate proves it.
        #[n(0)]
        peer: Option<NodeId>,
        /// Why it was refused.
        #[n(1)]
        code: FaultCode,
    },
}
