//! Facts as bytes. A packet's facts are one string, the sender's word on itself first.
//!
//! ```text
//! head     u8        claim (2 bits), role (2 bits), and four flags
//! node     16 bytes
//! boot     varint    the life
//! refutes  varint    with REFUTED
//! network  8 or 2 bytes, with IPV4; not with SAME_NETWORK: it is the one of the fact before
//! host     8 or 2 bytes, with IPV4
//! port     u16 BE    not with SAME_PORT: it is the one of the fact before
//! by       u8        of a suspicion: 0 for the sender, or 1 and the 16 bytes of who found it
//! ```
//!
//! So a live member of the sender's network takes 20 bytes, 16 of them its id. Varints have seven bits a byte, the lowest
//! first; a set eighth says that more follows.

use alloc::vec::Vec;

use super::member::{Addr, Claim, Fact, Incarnation, MAPPED};
use crate::id::{BootNo, NodeId, Role};

const IPV4: u8 = 1 << 4;
const SAME_NETWORK: u8 = 1 << 5;
const SAME_PORT: u8 = 1 << 6;
const REFUTED: u8 = 1 << 7;

/// Fewest bytes of a fact that is not a packet's first.
pub const LEAST: usize = 20;

/// What of an address has to be said, after another one.
struct Form {
    flags: u8,
    /// Where in the 16 bytes it begins.
    from: usize,
}

impl Form {
    fn new(addr: &Addr, before: Option<&Addr>) -> Self {
        let v4 = addr.ip[..12] == MAPPED;
        let of_network = |addr: &Addr| u64::from_be_bytes(first(addr.ip));
        let network = match v4 {
            // What stands before an IPv4 address is the same for all: the network is told apart by two bytes more.
            true => before.is_some_and(|before| before.ip[..14] == addr.ip[..14]),
            false => before.is_some_and(|it| it.ip[..12] != MAPPED && of_network(it) == of_network(addr)),
        };
        let port = before.is_some_and(|before| before.port == addr.port);
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        Self::of_flags(flag(v4, IPV4) | flag(network, SAME_NETWORK) | flag(port, SAME_PORT))
    }

    fn of_flags(flags: u8) -> Self {
        let from = match (flags & IPV4 != 0, flags & SAME_NETWORK != 0) {
            (true, false) => 12,
            (true, true) => 14,
            (false, false) => 0,
            (false, true) => 8,
        };
        Self { flags, from }
    }

    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// How many bytes a fact takes after the one before it, in a packet of this sender.
#[inline]
pub fn size(fact: &Fact, before: Option<&Addr>, sender: NodeId) -> usize {
    let form = Form::new(&fact.addr, before);
    let refutes = fact.incarnation.refutes();
    1 + 16
        + varint_size(fact.incarnation.boot().0)
        + if refutes == 0 { 0 } else { varint_size(refutes) }
        + (16 - form.from)
        + if form.has(SAME_PORT) { 0 } else { 2 }
        + match fact.claim {
            Claim::Suspect { by } if by == sender => 1,
            Claim::Suspect { .. } => 17,
            _ => 0,
        }
}

/// Appends a fact.
pub fn put(fact: &Fact, before: Option<&Addr>, sender: NodeId, out: &mut Vec<u8>) {
    let form = Form::new(&fact.addr, before);
    let refutes = fact.incarnation.refutes();
    let role = match fact.role {
        Role::Gate => 0,
        Role::Manager => 1,
        Role::Worker => 2,
    };
    let refuted = if refutes > 0 { REFUTED } else { 0 };
    out.push(fact.claim.rank() | role << 2 | form.flags | refuted);
    out.extend_from_slice(&fact.node.0);
    put_varint(fact.incarnation.boot().0, out);
    if refutes > 0 {
        put_varint(refutes, out);
    }
    out.extend_from_slice(&fact.addr.ip[form.from..]);
    if !form.has(SAME_PORT) {
        out.extend_from_slice(&fact.addr.port.to_be_bytes());
    }
    match fact.claim {
        Claim::Suspect { by } if by == sender => out.push(0),
        Claim::Suspect { by } => {
            out.push(1);
            out.extend_from_slice(&by.0);
        }
        _ => {}
    }
}

/// Takes a fact off the front; none where that is no fact. The first fact of a packet is its sender's.
pub fn take(bytes: &mut &[u8], before: Option<&Addr>, sender: Option<NodeId>) -> Option<Fact> {
    let [head] = fixed(bytes)?;
    let form = Form::of_flags(head);
    let node = NodeId(fixed(bytes)?);
    let boot = take_varint(bytes)?;
    let refutes = if form.has(REFUTED) { take_varint(bytes)? } else { 0 };
    let mut addr = Addr::default();
    if form.has(IPV4) {
        addr.ip[..12].copy_from_slice(&MAPPED);
    }
    if form.has(SAME_NETWORK) {
        let of_kind = |before: &&Addr| (before.ip[..12] == MAPPED) == form.has(IPV4);
        addr.ip[..form.from].copy_from_slice(&before.filter(of_kind)?.ip[..form.from]);
    }
    addr.ip[form.from..].copy_from_slice(split(bytes, 16 - form.from)?);
    addr.port = if form.has(SAME_PORT) { before?.port } else { u16::from_be_bytes(fixed(bytes)?) };
    let claim = match head & 3 {
        0 => Claim::Alive,
        1 => Claim::Suspect {
            by: match fixed(bytes)? {
                [0] => sender.unwrap_or(node),
                [1] => NodeId(fixed(bytes)?),
                _ => return None,
            },
        },
        2 => Claim::Dead,
        _ => Claim::Left,
    };
    let role = match head >> 2 & 3 {
        0 => Role::Gate,
        1 => Role::Manager,
        2 => Role::Worker,
        _ => return None,
    };
    Some(Fact { node, incarnation: Incarnation::new(BootNo(boot), refutes), claim, role, addr })
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

fn first(ip: [u8; 16]) -> [u8; 8] {
    let mut half = [0; 8];
    half.copy_from_slice(&ip[..8]);
    half
}
