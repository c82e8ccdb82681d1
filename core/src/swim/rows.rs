//! The rows of the table, packed: of a member in 16 bytes what sets it apart from those of its network, and by number
//! what it shares with them. No row lies on two lines of memory, so whoever looks a member up reads one.
//!
//! Whoever does not fit (an address that is not IPv4-mapped, a 65,536th life or refutation in one life, a 257th network)
//! has the rest in a list of its own, at 36 bytes more.

use alloc::vec::Vec;
use smallvec::SmallVec;

use super::member::{Addr, Incarnation, MAPPED};
use super::table::Ix;
use crate::id::{BootNo, NodeId};

/// Set in flags: the rest lies in the list. The owner leaves it alone.
pub const FAR: u8 = 0b1000_0000;
/// Flags of a free row, which the owner gives to none.
pub const FREE: u8 = 0b0000_1100;
/// Most networks by number.
const NETWORKS_MAX: usize = 256;

/// What tells one member from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its id.
    pub node: NodeId,
    /// The newest incarnation that is known.
    pub incarnation: Incarnation,
    /// Where it takes datagrams.
    pub addr: Addr,
}

#[derive(Clone, Copy, Debug)]
#[repr(align(16))]
struct Row {
    name: [u8; 8],
    /// Boot and refutes; with [`FAR`] the place in the list.
    life: [u16; 2],
    host: [u8; 2],
    network: u8,
    flags: u8,
}

const _: () = assert!(size_of::<Row>() == 16);

/// What members share: the other half of the id, of an IPv4 address the first half, and the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    realm: [u8; 8],
    prefix: [u8; 2],
    port: u16,
}

/// All of a member that does not fit, but the half of the id which is in its row.
#[derive(Clone, Copy, Debug)]
struct Far {
    realm: [u8; 8],
    ip: [u8; 16],
    incarnation: [u32; 2],
    port: u16,
}

/// Rows by place, with a byte of flags each for the owner.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    rows: Vec<Row>,
    free: Vec<Ix>,
    /// Networks, and how many rows name each.
    networks: SmallVec<[(Network, u32); 1]>,
    far: Vec<Far>,
    far_free: Vec<u32>,
}

impl Rows {
    /// The place behind all others.
    pub fn end(&self) -> Ix {
        self.rows.len() as Ix
    }

    /// Places in use, from this one on.
    pub fn used(&self, from: Ix) -> impl Iterator<Item = Ix> {
        let rows = self.rows.iter().enumerate().skip(from as usize);
        rows.filter(|(_, row)| row.flags != FREE).map(|(ix, _)| ix as Ix)
    }

    /// The flags at a place.
    #[inline]
    pub fn flags(&self, ix: Ix) -> u8 {
        self.rows[ix as usize].flags
    }

    /// Sets or clears one of the owner's flags.
    pub fn set_flag(&mut self, ix: Ix, flag: u8, set: bool) {
        let flags = &mut self.rows[ix as usize].flags;
        *flags = if set { *flags | flag } else { *flags & !flag };
    }

    /// Whether the member at a place is this node.
    #[inline]
    pub fn is_of(&self, ix: Ix, node: NodeId) -> bool {
        let row = &self.rows[ix as usize];
        row.name == node.name() && self.realm(row) == node.realm()
    }

    /// The id at a place.
    #[inline]
    pub fn node(&self, ix: Ix) -> NodeId {
        let row = &self.rows[ix as usize];
        NodeId::of_halves(row.name, self.realm(row))
    }

    /// The incarnation at a place.
    #[inline]
    pub fn incarnation(&self, ix: Ix) -> Incarnation {
        let row = &self.rows[ix as usize];
        let [boot, refutes] = match row.flags & FAR {
            0 => row.life.map(u32::from),
            _ => self.far[row.far()].incarnation,
        };
        Incarnation::new(BootNo(boot), refutes)
    }

    /// The address at a place.
    #[inline]
    pub fn addr(&self, ix: Ix) -> Addr {
        let row = &self.rows[ix as usize];
        if row.flags & FAR != 0 {
            let Far { ip, port, .. } = self.far[row.far()];
            return Addr { ip, port };
        }
        let (network, mut ip) = (&self.networks[usize::from(row.network)].0, [0; 16]);
        ip[..12].copy_from_slice(&MAPPED);
        ip[12..14].copy_from_slice(&network.prefix);
        ip[14..].copy_from_slice(&row.host);
        Addr { ip, port: network.port }
    }

    /// All three.
    #[inline]
    pub fn identity(&self, ix: Ix) -> Identity {
        Identity { node: self.node(ix), incarnation: self.incarnation(ix), addr: self.addr(ix) }
    }

    /// Takes a place for a member.
    pub fn add(&mut self, member: &Identity, flags: u8) -> Ix {
        let ix = self.free.pop().unwrap_or(self.end());
        if ix == self.end() {
            let row = Row { name: [0; 8], life: [0; 2], host: [0; 2], network: 0, flags: FREE };
            push_sparingly(&mut self.rows, row);
        }
        self.write(ix, member, flags);
        ix
    }

    /// Replaces what stands at a place in use.
    pub fn set(&mut self, ix: Ix, member: &Identity, flags: u8) {
        self.release(ix);
        self.write(ix, member, flags);
    }

    /// Frees a place.
    pub fn remove(&mut self, ix: Ix) {
        self.release(ix);
        self.rows[ix as usize].flags = FREE;
        self.free.push(ix);
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        let networks = if self.networks.spilled() { self.networks.capacity() } else { 0 };
        self.rows.capacity() * size_of::<Row>()
            + self.free.capacity() * size_of::<Ix>()
            + networks * size_of::<(Network, u32)>()
            + self.far.capacity() * size_of::<Far>()
            + self.far_free.capacity() * size_of::<u32>()
    }

    #[inline]
    fn realm(&self, row: &Row) -> [u8; 8] {
        match row.flags & FAR {
            0 => self.networks[usize::from(row.network)].0.realm,
            _ => self.far[row.far()].realm,
        }
    }

    fn write(&mut self, ix: Ix, member: &Identity, flags: u8) {
        // Most that change stay in their network.
        let network = self.network(member, self.rows[ix as usize].network);
        let row = &mut self.rows[ix as usize];
        row.name = member.node.name();
        row.flags = flags & !FAR;
        let life = [member.incarnation.boot().0, member.incarnation.refutes()];
        match (network, life.map(u16::try_from)) {
            (Some(network), [Ok(boot), Ok(refutes)]) => {
                self.networks[usize::from(network)].1 += 1;
                row.network = network;
                row.life = [boot, refutes];
                row.host = [member.addr.ip[14], member.addr.ip[15]];
            }
            _ => {
                row.flags |= FAR;
                let place = keep(&mut self.far, &mut self.far_free, member);
                row.life = [(place >> 16) as u16, place as u16];
            }
        }
    }

    /// What the row at a place refers to is one less's.
    fn release(&mut self, ix: Ix) {
        let row = &self.rows[ix as usize];
        match row.flags & FAR {
            0 => self.networks[usize::from(row.network)].1 -= 1,
            _ => self.far_free.push(row.far() as u32),
        }
    }

    /// The number of a member's network, a new one if need be; none where there is no room or it has none.
    fn network(&mut self, member: &Identity, likely: u8) -> Option<u8> {
        let [prefix @ .., _, _] = member.addr.ip.strip_prefix(&MAPPED)? else { return None };
        let prefix = prefix.try_into().ok()?;
        let network = Network { realm: member.node.realm(), prefix, port: member.addr.port };
        if self.networks.get(usize::from(likely)).is_some_and(|(other, _)| *other == network) {
            return Some(likely);
        }
        let place = |fits: &dyn Fn(&(Network, u32)) -> bool| self.networks.iter().position(fits);
        if let Some(place) = place(&|(other, _)| *other == network) {
            return Some(place as u8);
        }
        let place = place(&|(_, users)| *users == 0).unwrap_or(self.networks.len());
        match self.networks.get_mut(place) {
            Some(unused) => *unused = (network, 0),
            None if place < NETWORKS_MAX => self.networks.push((network, 0)),
            None => return None,
        }
        Some(place as u8)
    }
}

impl Row {
    #[inline]
    fn far(&self) -> usize {
        usize::from(self.life[0]) << 16 | usize::from(self.life[1])
    }
}

fn keep(far: &mut Vec<Far>, free: &mut Vec<u32>, member: &Identity) -> u32 {
    let life = member.incarnation;
    let kept = Far {
        realm: member.node.realm(),
        ip: member.addr.ip,
        incarnation: [life.boot().0, life.refutes()],
        port: member.addr.port,
    };
    match free.pop() {
        Some(place) => {
            far[place as usize] = kept;
            place
        }
        None => {
            push_sparingly(far, kept);
            far.len() as u32 - 1
        }
    }
}

/// Adds to a list that may be long and shall not hold half as much again ready: it grows by a sixteenth.
pub fn push_sparingly<T>(list: &mut Vec<T>, item: T) {
    if list.len() == list.capacity() {
        list.reserve_exact((list.len() / 16).max(4));
    }
    list.push(item);
}
