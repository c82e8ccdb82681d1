//! One datagram: who speaks, what it is about, and rumours on its back.
//!
//! Every packet states its sender's own incarnation, role and address, so whoever receives one has heard the sender.
//! Answers go to the address that a packet came from, never to one that it names.

use alloc::vec::Vec;
use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

use super::member::{Addr, Claim, Fact, Incarnation};
use super::pack;
use super::table::LEAVES;
use crate::id::{NodeId, Role};

/// Most bytes of an encoded packet. The 1,200 bytes of a datagram, less what the seal around it may take.
pub const PACKET_BYTES_MAX: usize = 1_140;
/// Most bytes of its facts, the sender's word on itself among them: the largest [`Body`] has 60 bytes, and 10 stand
/// around.
pub const FACTS_BYTES_MAX: usize = PACKET_BYTES_MAX - 70;
/// Most facts in one packet: as many as fit, each at its smallest, beside the sender's.
pub const FACTS_MAX: usize = (FACTS_BYTES_MAX - pack::LEAST_FIRST) / pack::LEAST;

/// One datagram. As bytes: a list of the body, the facts as one string (`pack.rs`), and the digest as another where
/// there is one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Packet {
    /// The sender.
    pub from: NodeId,
    /// The sender's own incarnation.
    pub incarnation: Incarnation,
    /// What the sender does.
    pub role: Role,
    /// Where the sender takes datagrams.
    pub addr: Addr,
    /// What is said.
    pub body: Body,
    /// Facts about members: rumours, or the rows of a [`Body::Page`]. At most [`FACTS_MAX`].
    pub facts: Vec<Fact>,
    /// With the first [`Body::Pull`] of an exchange: the digest of the sender's view, by ranges of ids. Pages then leave
    /// out the ranges in which both agree. A power of two of parts, at most 128.
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
    /// Send me the members that you know.
    #[n(5)]
    Pull {
        /// From this place in your list on: 0, or what a page had as `next`.
        #[n(0)]
        from: u32,
        /// Take mine as well: this is the first question of an exchange.
        #[n(1)]
        mutual: bool,
        /// The parts in which our views differ, as the last page had it. With neither these nor a digest all are wanted.
        #[n(2)]
        parts: Option<Parts>,
    },
    /// Some of the members that I know: the facts.
    #[n(6)]
    Page {
        /// The question: from which place on.
        #[n(0)]
        from: u32,
        /// The place after them. Whoever is new to me stands behind all others, or in the place of one forgotten.
        #[n(1)]
        next: u32,
        /// Whether there are members there: ask again.
        #[n(2)]
        more: bool,
        /// The parts in which our views differ, where there is more.
        #[n(3)]
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

impl<C> Encode<C> for Packet {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, c: &mut C) -> Result<(), encode::Error<W::Error>> {
        let mut facts = Vec::with_capacity(2 * pack::LEAST_FIRST + pack::LEAST * self.facts.len());
        let mut before = None;
        let introduction = self.introduction();
        for fact in core::iter::once(&introduction).chain(&self.facts) {
            pack::put(fact, before, self.from, &mut facts);
            before = Some(fact);
        }
        e.array(if self.digest.is_some() { 3 } else { 2 })?;
        self.body.encode(e, c)?;
        e.bytes(&facts)?;
        if let Some(digest) = &self.digest {
            let bytes: Vec<u8> = digest.iter().flat_map(|part| part.to_be_bytes()).collect();
            e.bytes(&bytes)?;
        }
        e.ok()
    }
}

impl<'b, C> Decode<'b, C> for Packet {
    fn decode(d: &mut Decoder<'b>, c: &mut C) -> Result<Self, decode::Error> {
        let bad = decode::Error::message;
        let items = d.array()?;
        let body = Body::decode(d, c)?;
        let mut bytes = d.bytes()?;
        let digest = match items {
            Some(2) => None,
            Some(3) => {
                let (parts, []) = d.bytes()?.as_chunks::<4>() else { return Err(bad("a digest")) };
                Some(parts.iter().map(|part| u32::from_be_bytes(*part)).collect())
            }
            _ => return Err(bad("a packet")),
        };
        let own = pack::take(&mut bytes, None, None).ok_or_else(|| bad("a sender"))?;
        if own.claim != Claim::Alive {
            return Err(bad("a sender"));
        }
        let mut facts: Vec<Fact> = Vec::new();
        while !bytes.is_empty() {
            let before = facts.last().unwrap_or(&own);
            let fact = pack::take(&mut bytes, Some(before), Some(own.node)).ok_or_else(|| bad("a fact"))?;
            facts.push(fact);
        }
        let Fact { node: from, incarnation, role, addr, .. } = own;
        Ok(Self { from, incarnation, role, addr, body, facts, digest })
    }
}

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
