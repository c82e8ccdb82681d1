//! One datagram: who speaks, what it is about, and rumours on its back.
//!
//! Every packet states its sender's own incarnation, role and address, so whoever receives one has heard the sender.
//! Answers go to the address that a packet came from, never to one that it names.

use alloc::vec::Vec;
use minicbor::{Decode, Encode};

use super::member::{Addr, Claim, Fact, Incarnation};
use super::table::LEAVES;
use crate::id::{NodeId, Role};

/// Most bytes of an encoded packet. The 1,200 bytes of a datagram, less what the seal around it may take.
pub const PACKET_BYTES_MAX: usize = 1_140;
/// Most facts in one packet: as many as fit, each at its largest.
pub const FACTS_MAX: usize = 14;

/// One datagram.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Packet {
    /// The sender.
    #[n(0)]
    pub from: NodeId,
    /// The sender's own incarnation.
    #[n(1)]
    pub incarnation: Incarnation,
    /// What the sender does.
    #[n(2)]
    pub role: Role,
    /// Where the sender takes datagrams.
    #[n(3)]
    pub addr: Addr,
    /// What is said.
    #[n(4)]
    pub body: Body,
    /// Facts about members: rumours, or the rows of a [`Body::Page`]. At most [`FACTS_MAX`].
    #[n(5)]
    pub facts: Vec<Fact>,
    /// With the first [`Body::Pull`] of an exchange: the digest of the sender's view, by ranges of ids. Pages then leave
    /// out the ranges in which both agree. A power of two of parts, at most 128.
    #[n(6)]
    pub digest: Option<Vec<u32>>,
}

/// What a packet is about. Numbers (`seq`) are the asker's; an answer repeats them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub enum Body {
    /// Are you there?
    #[n(0)]
    Ping {
        /// Names the question.
        #[n(0)]
        seq: u32,
        /// Who is meant: another node may have taken over its address.
        #[n(1)]
        target: NodeId,
    },
    /// I am.
    #[n(1)]
    Ack {
        /// The question.
        #[n(0)]
        seq: u32,
    },
    /// Ask that member for me.
    #[n(2)]
    PingReq {
        /// Names the question.
        #[n(0)]
        seq: u32,
        /// Who is meant.
        #[n(1)]
        target: NodeId,
        /// How long the asker waits, in milliseconds.
        #[n(2)]
        budget_ms: u32,
    },
    /// I asked, and it answered me.
    #[n(3)]
    IndirectAck {
        /// The question.
        #[n(0)]
        seq: u32,
    },
    /// I am here, but it has not answered me, or I cannot ask.
    #[n(4)]
    Nack {
        /// The question.
        #[n(0)]
        seq: u32,
    },
    /// Send me the members that you know, those after this one.
    #[n(5)]
    Pull {
        /// The last one that I got; none at the beginning.
        #[n(0)]
        after: Option<NodeId>,
        /// Take mine as well: this is the first question of an exchange.
        #[n(1)]
        mutual: bool,
        /// The parts in which our views differ, as the last page had it; then there is no digest.
        #[n(2)]
        parts: Option<Parts>,
    },
    /// Some of the members that I know: the facts.
    #[n(6)]
    Page {
        /// The question: after which member.
        #[n(0)]
        after: Option<NodeId>,
        /// Ask again after this one; none: that was all.
        #[n(1)]
        next: Option<NodeId>,
        /// The parts in which our views differ, where there is more.
        #[n(2)]
        parts: Option<Parts>,
    },
    /// Nothing but the facts.
    #[n(7)]
    Rumours,
}

/// Parts of a view: those that a digest in [`LEAVES`] parts tells apart, a bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Parts(#[n(0)] u64, #[n(1)] u64);

impl Parts {
    /// All of them.
    pub(super) const ALL: Self = Self(u64::MAX, u64::MAX);

    /// Those in which two digests of the same number of parts differ.
    pub(super) fn differing(one: &[u32], other: &[u32]) -> Self {
        let each = LEAVES / one.len();
        let differ = (0..LEAVES).filter(|leaf| one[leaf / each] != other[leaf / each]);
        Self::from_bits(differ.fold(0, |bits, leaf| bits | 1 << leaf))
    }
    /// Whether one, of [`LEAVES`], is among them.
    pub(super) fn has(self, leaf: usize) -> bool {
        self.bits() >> leaf & 1 == 1
    }
    /// Whether there are none.
    pub(super) fn is_empty(self) -> bool {
        self.bits() == 0
    }
    const fn bits(self) -> u128 {
        (self.0 as u128) << 64 | self.1 as u128
    }
    /// By bits, the lowest for the first part.
    pub(super) const fn from_bits(bits: u128) -> Self {
        Self((bits >> 64) as u64, bits as u64)
    }
}

const _: () = assert!(LEAVES == 128);

impl Packet {
    /// What the sender says of itself.
    pub fn introduction(&self) -> Fact {
        Fact {
            node: self.from,
            incarnation: self.incarnation,
            claim: Claim::Alive,
            role: self.role,
            addr: self.addr,
        }
    }

    /// Whether every value is one that a member can send.
    pub fn is_legal(&self, facts_max: usize) -> bool {
        let legal = |fact: &Fact| fact.incarnation.is_legal() && fact.node != NodeId::default();
        let parts = |digest: &Vec<u32>| digest.len().is_power_of_two() && digest.len() <= LEAVES;
        self.facts.len() <= facts_max
            && legal(&self.introduction())
            && self.facts.iter().all(legal)
            && self.digest.as_ref().is_none_or(parts)
    }

    /// Whether everyone in it can be in the group of a node with this role: gates are among themselves, managers and
    /// workers of a datacenter together.
    pub fn fits_group(&self, role: Role) -> bool {
        let gates = role == Role::Gate;
        core::iter::once(self.role)
            .chain(self.facts.iter().map(|fact| fact.role))
            .all(|role| (role == Role::Gate) == gates)
    }
}
