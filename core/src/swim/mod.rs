//! Who is alive: SWIM over datagrams.
//!
//! The group of a gate is the gates; the group of a manager or worker is its datacenter's managers and workers.

use alloc::vec::Vec;
use minicbor::{Decode, Encode};

use crate::id::NodeId;

/// Where a node takes datagrams: an IPv6 (or IPv4-mapped) address and a port. The core compares and carries it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Addr {
    /// The address.
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub ip: [u8; 16],
    /// The UDP port.
    #[n(1)]
    pub port: u16,
}

/// What a node believes of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cbor(index_only)]
pub enum MemberStatus {
    /// Known from configuration or rumour; never heard.
    #[n(0)]
    Unconfirmed,
    /// It answers.
    #[n(1)]
    Alive,
    /// It did not answer; it may refute.
    #[n(2)]
    Suspect,
    /// It is dead until it says otherwise with a higher incarnation.
    #[n(3)]
    Dead,
    /// It left by itself.
    #[n(4)]
    Left,
}

/// One datagram. (Placeholder shape: the membership machine defines it.)
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Packet {
    /// The sender.
    #[n(0)]
    pub from: NodeId,
    /// What is said.
    #[n(1)]
    pub body: Vec<u8>,
}
