//! Nodes among each other: TCP under mutual TLS, datagrams under an AEAD.
//!
//! One ordered connection for each pair of nodes, dialled by one side only (`wire::dials`), kept by [`links`]; one UDP
//! socket, sealed and opened by [`datagram`]. In: frames and packets of the node's thread. Out: events into its inbox.
//! A message is never dropped without a word: a connection that cannot take it is closed, and the node hears of it.

mod datagram;
mod greeting;
mod identity;
mod links;
mod queue;
mod session;
mod socket;
#[cfg(test)]
mod tests;

pub use datagram::{DatagramSender, KeyRing, KeyRingError, MAX_DATAGRAM};
pub use identity::{IdentityError, NODE_DNS_NAME, NodeTls};
pub use links::{Links, LinksConfig, Target};
pub use queue::SendQueue;
pub use socket::{BindError, Bound, resolve, to_addr, to_socket};
pub use tidegate_core::wire::Claims;

pub(crate) use datagram::{Opener, Sealer, receive_datagrams};
