//! Facts as bytes. A packet's facts are one string, the sender's word on itself first. What a fact shares with the one
//! before it is not said again; the first has nothing before it and says all.
//!
//! ```text
//! head     u8        claim (2 bits), IPV4, and what differs from the fact before: REALM, ROLE, LIFE, NETWORK, PORT
//! name     8 bytes   the half of the id that tells the node apart
//! realm    8 bytes   with REALM: the other half
//! role     u8        with ROLE
//! boot     varint    with LIFE
//! refutes  varint    with LIFE
//! network  8 or 2 bytes, with IPV4; with NETWORK
//! host     8 or 2 bytes, with IPV4
//! port     u16 BE    with PORT
//! by       u8        of a suspicion: 0 for the sender, 1 and the name of who found it, or 2 and its whole id
//! ```
//!
//! So a live member like the one before, on another host of its network, takes 11 bytes. Varints have seven bits a byte,
//! the lowest first; a set eighth says that more follows.

use alloc::vec::Vec;

use super::member::{Addr, Claim, Fact, Incarnation, MAPPED};
use crate::id::{BootNo, NodeId, Role};

const IPV4: u8 = 1 << 2;
const REALM: u8 = 1 << 3;
const ROLE: u8 = 1 << 4;
const LIFE: u8 = 1 << 5;
const NETWORK: u8 = 1 << 6;
const PORT: u8 = 1 << 7;

/// Fewest bytes of a fact that follows another.
pub const LEAST: usize = 1 + 8 + 2;
/// Fewest bytes of the first.
pub const LEAST_FIRST: usize = 1 + 16 + 1 + 2 + 4 + 2;

/// What of a fact has to be said, after another one.
#[derive(Clone, Copy)]
struct Form(u8);

impl Form {
    #[inline]
    fn new(fact: &Fact, before: Option<&Fact>) -> Self {
        let ipv4 = is_ipv4(&fact.addr);
        let kind = if ipv4 { IPV4 } else { 0 };
        let Some(before) = before else { return Self(kind | REALM | ROLE | LIFE | NETWORK | PORT) };
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        Self(
            kind | flag(before.node.realm() != fact.node.realm(), REALM)
                | flag(before.role != fact.role, ROLE)
                | flag(before.incarnation != fact.incarnation, LIFE)
                | flag(is_ipv4(&before.addr) != ipv4 || network(before) != network(fact), NETWORK)
                | flag(before.addr.port != fact.addr.port, PORT),
        )
    }

    #[inline]
    fn has(self, flag: u8) -> bool {
        self.0 & flag != 0
    }

    /// Where in the 16 bytes of an address that begins which has to be said.
    #[inline]
    fn addr_from(self) -> usize {
        match (self.has(IPV4), self.has(NETWORK)) {
            (true, true) => 12,
            (true, false) => 14,
            (false, true) => 0,
            (false, false) => 8,
        }
    }
}

#[inline]
fn is_ipv4(addr: &Addr) -> bool {
    addr.ip[..12] == MAPPED
}

/// What hosts of one network share: the first half of an IPv6 address, all but two bytes of an IPv4 one.
#[inline]
fn network(fact: &Fact) -> u128 {
    let host_bits = if is_ipv4(&fact.addr) { 16 } else { 64 };
    u128::from_be_bytes(fact.addr.ip) >> host_bits
}

/// How many bytes a fact takes after the one before it, in a packet of this sender.
#[inline]
pub fn size(fact: &Fact, before: Option<&Fact>, sender: NodeId) -> usize {
    let form = Form::new(fact, before);
    let some = |flag: u8, size: usize| if form.has(flag) { size } else { 0 };
    let life = || varint_size(fact.incarnation.boot().0) + varint_size(fact.incarnation.refutes());
    1 + 8
        + some(REALM, 8)
        + some(ROLE, 1)
        + if form.has(LIFE) { life() } else { 0 }
        + (16 - form.addr_from())
        + some(PORT, 2)
        + match fact.claim {
            Claim::Suspect { by } if by == sender => 1,
            Claim::Suspect { by } if by.realm() == fact.node.realm() => 9,
            Claim::Suspect { .. } => 17,
            _ => 0,
        }
}

/// Appends a fact.
pub fn put(fact: &Fact, before: Option<&Fact>, sender: NodeId, out: &mut Vec<u8>) {
    let form = Form::new(fact, before);
    out.push(fact.claim.rank() | form.0);
    out.extend_from_slice(&fact.node.name());
    if form.has(REALM) {
        out.extend_from_slice(&fact.node.realm());
    }
    if form.has(ROLE) {
        out.push(match fact.role {
            Role::Gate => 0,
            Role::Manager => 1,
            Role::Worker => 2,
        });
    }
    if form.has(LIFE) {
        put_varint(fact.incarnation.boot().0, out);
        put_varint(fact.incarnation.refutes(), out);
    }
    out.extend_from_slice(&fact.addr.ip[form.addr_from()..]);
    if form.has(PORT) {
        out.extend_from_slice(&fact.addr.port.to_be_bytes());
    }
    match fact.claim {
        Claim::Suspect { by } if by == sender => out.push(0),
        Claim::Suspect { by } if by.realm() == fact.node.realm() => {
            out.push(1);
            out.extend_from_slice(&by.name());
        }
        Claim::Suspect { by } => {
            out.push(2);
            out.extend_from_slice(&by.0);
        }
        _ => {}
    }
}

/// Takes a fact off the front; none where that is no fact. The first fact of a packet is its sender's.
pub fn take(bytes: &mut &[u8], before: Option<&Fact>, sender: Option<NodeId>) -> Option<Fact> {
    let [head] = fixed(bytes)?;
    let form = Form(head);
    let name = fixed(bytes)?;
    let realm = if form.has(REALM) { fixed(bytes)? } else { before?.node.realm() };
    let node = NodeId::of_halves(name, realm);
    let role = if form.has(ROLE) { take_role(bytes)? } else { before?.role };
    let incarnation = match form.has(LIFE) {
        true => Incarnation::new(BootNo(take_varint(bytes)?), take_varint(bytes)?),
        false => before?.incarnation,
    };
    let mut addr = Addr::default();
    if !form.has(NETWORK) {
        // Another kind of address has no network in common with this one.
        addr.ip = before.filter(|before| is_ipv4(&before.addr) == form.has(IPV4))?.addr.ip;
    } else if form.has(IPV4) {
        addr.ip[..12].copy_from_slice(&MAPPED);
    }
    let from = form.addr_from();
    addr.ip[from..].copy_from_slice(split(bytes, 16 - from)?);
    addr.port = if form.has(PORT) { u16::from_be_bytes(fixed(bytes)?) } else { before?.addr.port };
    let claim = match head & 3 {
        0 => Claim::Alive,
        1 => Claim::Suspect { by: take_accuser(bytes, sender.unwrap_or(node), realm)? },
        2 => Claim::Dead,
        _ => Claim::Left,
    };
    Some(Fact { node, incarnation, claim, role, addr })
}

fn take_role(bytes: &mut &[u8]) -> Option<Role> {
    match fixed(bytes)? {
        [0] => Some(Role::Gate),
        [1] => Some(Role::Manager),
        [2] => Some(Role::Worker),
        _ => None,
    }
}

fn take_accuser(bytes: &mut &[u8], sender: NodeId, realm: [u8; 8]) -> Option<NodeId> {
    match fixed(bytes)? {
        [0] => Some(sender),
        [1] => Some(NodeId::of_halves(fixed(bytes)?, realm)),
        [2] => Some(NodeId(fixed(bytes)?)),
        _ => None,
    }
}

fn varint_size(number: u32) -> usize {
    // One byte for each seven bits, and one for none.
    (38 - (number | 1).leading_zeros() as usize) / 7
}

fn put_varint(mut number: u32, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn take_varint(bytes: &mut &[u8]) -> Option<u32> {
    let mut number = 0u64;
    for place in 0..5 {
        let [byte] = fixed(bytes)?;
        number |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return number.try_into().ok();
        }
    }
    None
}

fn fixed<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    split(bytes, N)?.try_into().ok()
}

fn split<'b>(bytes: &mut &'b [u8], count: usize) -> Option<&'b [u8]> {
    let (taken, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(taken)
}
