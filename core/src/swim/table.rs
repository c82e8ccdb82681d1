//! The table of all other members: dense rows, found by id through a hash index and named by place ([`Ix`]) inside the
//! machine.
//!
//! A row has 32 bytes, and no row lies on two lines of memory; with its entries in the index (at most 9) and in the order
//! of questions (2), and with what a list holds ready to grow (a sixteenth), a member costs 40 to 46 bytes. What only few members need at a time (suspicions,
//! rumours, waits of strangers) lies beside the table, keyed by place.
//! Iteration is by place, which depends on the order of learning and never on a hash.

use alloc::vec::Vec;

use super::MEMBERS_MAX;
use super::member::{Addr, Claim, Fact, Incarnation, MAPPED, MemberStatus};
use crate::id::{NodeId, Role};
use crate::index::{Index, hash};

/// A member's place in the table. Stable while the member is remembered.
pub type Ix = crate::index::Ix;
/// A place as long lists keep it.
pub type Short = u16;
/// Leaves of the digest, each over the members whose id begins with the same seven bits.
pub const LEAVES: usize = 128;

const CLAIM: u8 = 0b0000_0011;
const ROLE: u8 = 0b0000_1100;
const CONFIRMED: u8 = 0b0001_0000;
const SEED: u8 = 0b0010_0000;
const ORDERED: u8 = 0b0100_0000;
const FAR: u8 = 0b1000_0000;
const FREE: [u8; 16] = [0; 16];

/// One member, packed. A free row has the zero id, which no fact may carry.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
struct Row {
    node: [u8; 16],
    incarnation: [u32; 2],
    /// An IPv4-mapped address, or with [`FAR`] a place in the list of others.
    ip: [u8; 4],
    port: u16,
    flags: u8,
}

const _: () = assert!(size_of::<Row>() == 32);
const _: () = assert!(MEMBERS_MAX < Short::MAX as usize);

/// One member as this node knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// The newest fact. Who accused is not remembered here: a suspect's claim names the subject itself.
    pub fact: Fact,
    /// Whether the member itself was ever heard. Never taken back while the record lives.
    pub confirmed: bool,
    /// Whether configuration names it: such a record is never forgotten.
    pub seed: bool,
}

impl Member {
    /// What others on this node see.
    pub fn status(&self) -> MemberStatus {
        match self.confirmed {
            true => self.fact.claim.status(),
            false => MemberStatus::Unconfirmed,
        }
    }

    /// Takes in a fact about the same node; tells whether it was newer.
    pub fn merge(&mut self, fact: &Fact) -> bool {
        let newer = fact.key() > self.fact.key();
        if newer {
            // Attributes belong to an incarnation: another claim about the same one does not move the member.
            let (role, addr) = match fact.incarnation > self.fact.incarnation {
                true => (fact.role, fact.addr),
                false => (self.fact.role, self.fact.addr),
            };
            self.fact = Fact { role, addr, ..*fact };
        }
        newer
    }

    /// Said to be alive, heard or not.
    pub fn is_rumoured(&self) -> bool {
        self.fact.incarnation.is_legal() && self.fact.claim.rank() < Claim::Dead.rank()
    }

    /// Heard, and alive or suspected.
    pub fn is_live(&self) -> bool {
        self.confirmed && self.fact.claim.rank() < Claim::Dead.rank()
    }
}

/// All other members, and how many of them count.
#[derive(Clone, Debug)]
pub struct Members {
    rows: Vec<Row>,
    free: Vec<Ix>,
    index: Index,
    /// Mixed into the hash of ids, so that nobody can choose ids that collide.
    salt: u64,
    /// Addresses that are not IPv4-mapped.
    far: Vec<Addr>,
    far_free: Vec<u32>,
    live: usize,
    live_workers: usize,
    rumoured: usize,
    leaves: [u32; LEAVES],
}

impl Members {
    /// An empty table.
    pub fn new(salt: u64) -> Self {
        Self {
            rows: Vec::new(),
            free: Vec::new(),
            index: Index::default(),
            salt,
            far: Vec::new(),
            far_free: Vec::new(),
            live: 0,
            live_workers: 0,
            rumoured: 0,
            leaves: [0; LEAVES],
        }
    }

    /// The place of a node.
    #[inline]
    pub fn find(&self, node: NodeId) -> Option<Ix> {
        let rows = &self.rows;
        self.index.find(hash(self.salt, &node.0), |ix| rows[ix as usize].node == node.0)
    }

    /// The order of what is known of a member: what a fact has to exceed to be news.
    #[inline]
    pub fn key(&self, ix: Ix) -> (Incarnation, u8) {
        let row = &self.rows[ix as usize];
        (row.incarnation(), row.flags & CLAIM)
    }

    /// The member at a place in use.
    #[inline]
    pub fn at(&self, ix: Ix) -> Member {
        let row = &self.rows[ix as usize];
        debug_assert!(row.node != FREE, "only places in use are named");
        let node = NodeId(row.node);
        let claim = match row.flags & CLAIM {
            0 => Claim::Alive,
            1 => Claim::Suspect { by: node },
            2 => Claim::Dead,
            _ => Claim::Left,
        };
        let role = match (row.flags & ROLE) >> 2 {
            0 => Role::Gate,
            1 => Role::Manager,
            _ => Role::Worker,
        };
        let fact = Fact { node, incarnation: row.incarnation(), claim, role, addr: self.addr(row) };
        Member { fact, confirmed: row.flags & CONFIRMED != 0, seed: row.flags & SEED != 0 }
    }

    /// The address at a place in use.
    #[inline]
    pub fn addr_at(&self, ix: Ix) -> Addr {
        self.addr(&self.rows[ix as usize])
    }

    /// The id at a place in use.
    #[inline]
    pub fn node(&self, ix: Ix) -> NodeId {
        NodeId(self.rows[ix as usize].node)
    }

    /// The status at a place in use.
    #[inline]
    pub fn status(&self, ix: Ix) -> MemberStatus {
        let flags = self.rows[ix as usize].flags;
        if flags & CONFIRMED == 0 {
            return MemberStatus::Unconfirmed;
        }
        match flags & CLAIM {
            0 => MemberStatus::Alive,
            1 => MemberStatus::Suspect,
            2 => MemberStatus::Dead,
            _ => MemberStatus::Left,
        }
    }

    /// Whether the member stands in the order of questions.
    pub fn is_ordered(&self, ix: Ix) -> bool {
        self.rows[ix as usize].flags & ORDERED != 0
    }

    /// Remembers whether it does.
    pub fn set_ordered(&mut self, ix: Ix, ordered: bool) {
        let flags = &mut self.rows[ix as usize].flags;
        *flags = if ordered { *flags | ORDERED } else { *flags & !ORDERED };
    }

    /// The record of a node.
    #[cfg(test)]
    pub fn get(&self, node: NodeId) -> Option<Member> {
        self.find(node).map(|ix| self.at(ix))
    }

    /// Whether nobody else can be remembered.
    pub fn is_full(&self) -> bool {
        self.index.len() >= MEMBERS_MAX
    }

    /// Adds a record; the node must not be known.
    pub fn add(&mut self, member: &Member) -> Ix {
        let ix = self.free.pop().unwrap_or(self.rows.len() as Ix);
        let row = Row { node: FREE, incarnation: [0; 2], ip: [0; 4], port: 0, flags: 0 };
        match self.rows.get_mut(ix as usize) {
            Some(slot) => *slot = row,
            None => push_sparingly(&mut self.rows, row),
        }
        self.write(ix, member);
        self.index.insert(hash(self.salt, &member.fact.node.0), ix);
        ix
    }

    /// Replaces the record at a place in use, which is about the same node.
    pub fn set(&mut self, ix: Ix, member: &Member) {
        let old = self.at(ix);
        self.count(&old, false);
        if old.fact.addr != member.fact.addr {
            self.drop_addr(ix);
        }
        self.write(ix, member);
    }

    /// Drops a record.
    pub fn remove(&mut self, ix: Ix) {
        let old = self.at(ix);
        self.count(&old, false);
        self.drop_addr(ix);
        self.index.remove(hash(self.salt, &old.fact.node.0), ix);
        self.rows[ix as usize].node = FREE;
        self.rows[ix as usize].flags = 0;
        self.free.push(ix);
    }

    /// All records, by place.
    pub fn iter(&self) -> impl Iterator<Item = (Ix, Member)> + '_ {
        let used = |(_, row): &(usize, &Row)| row.node != FREE;
        self.rows.iter().enumerate().filter(used).map(|(ix, _)| (ix as Ix, self.at(ix as Ix)))
    }

    /// How many were heard themselves and are alive or suspected.
    pub fn live(&self) -> usize {
        self.live
    }

    /// How many of the live ones are workers.
    pub fn live_workers(&self) -> usize {
        self.live_workers
    }

    /// How many are said to be alive, heard or not.
    pub fn rumoured(&self) -> usize {
        self.rumoured
    }

    /// Members of whom something was said, by place from this one on.
    pub fn told(&self, from: Ix) -> impl Iterator<Item = (Ix, NodeId)> + '_ {
        let told = |row: &Row| row.node != FREE && row.incarnation().is_legal();
        let rows = self.rows.iter().enumerate().skip(from as usize).filter(move |(_, row)| told(row));
        rows.map(|(ix, row)| (ix as Ix, NodeId(row.node)))
    }

    /// The place behind all others.
    pub fn end(&self) -> Ix {
        self.rows.len() as Ix
    }

    /// How many members there are, configured ones that were never heard of included.
    pub fn told_of(&self) -> usize {
        self.index.len()
    }

    /// The digest of the view, with this one fact added, in a power of two of parts, at most [`LEAVES`]. Equal views
    /// have equal digests; suspicion does not count, since it passes by itself.
    pub fn digest(&self, parts: usize, own: &Fact) -> Vec<u32> {
        let each = LEAVES / parts;
        let mut digest: Vec<u32> =
            self.leaves.chunks(each).map(|leaves| leaves.iter().fold(0, |sum, leaf| sum ^ leaf)).collect();
        digest[leaf(own.node, parts)] ^= trace(own);
        digest
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.rows.capacity() * size_of::<Row>()
            + self.free.capacity() * size_of::<Ix>()
            + self.index.heap_bytes()
            + self.far.capacity() * size_of::<Addr>()
            + self.far_free.capacity() * size_of::<u32>()
    }

    fn write(&mut self, ix: Ix, member: &Member) {
        let addr = member.fact.addr;
        let old = self.rows[ix as usize];
        let same = old.node == member.fact.node.0 && old.node != FREE && self.addr(&old) == addr;
        let (ip, far) = match mapped(&addr) {
            _ if same => (old.ip, old.flags & FAR),
            Some(ip) => (ip, 0),
            None => (self.keep_addr(addr).to_be_bytes(), FAR),
        };
        let role = match member.fact.role {
            Role::Gate => 0,
            Role::Manager => 1,
            Role::Worker => 2,
        };
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        let raw = member.fact.incarnation.raw();
        self.rows[ix as usize] = Row {
            node: member.fact.node.0,
            incarnation: [(raw >> 32) as u32, raw as u32],
            ip,
            port: addr.port,
            flags: member.fact.claim.rank()
                | role << 2
                | flag(member.confirmed, CONFIRMED)
                | flag(member.seed, SEED)
                | old.flags & ORDERED
                | far,
        };
        self.count(member, true);
    }

    #[inline]
    fn addr(&self, row: &Row) -> Addr {
        if row.flags & FAR != 0 {
            return self.far[u32::from_be_bytes(row.ip) as usize];
        }
        let mut ip = [0; 16];
        ip[..12].copy_from_slice(&MAPPED);
        ip[12..].copy_from_slice(&row.ip);
        Addr { ip, port: row.port }
    }

    fn keep_addr(&mut self, addr: Addr) -> u32 {
        match self.far_free.pop() {
            Some(place) => {
                self.far[place as usize] = addr;
                place
            }
            None => {
                push_sparingly(&mut self.far, addr);
                self.far.len() as u32 - 1
            }
        }
    }

    fn drop_addr(&mut self, ix: Ix) {
        let row = &mut self.rows[ix as usize];
        if row.flags & FAR != 0 {
            row.flags &= !FAR;
            self.far_free.push(u32::from_be_bytes(row.ip));
        }
    }

    fn count(&mut self, member: &Member, add: bool) {
        let step = |count: usize| if add { count + 1 } else { count - 1 };
        if member.is_live() {
            self.live = step(self.live);
            if member.fact.role == Role::Worker {
                self.live_workers = step(self.live_workers);
            }
        }
        if member.is_rumoured() {
            self.rumoured = step(self.rumoured);
        }
        if member.fact.incarnation.is_legal() {
            self.leaves[leaf(member.fact.node, LEAVES)] ^= trace(&member.fact);
        }
    }
}

impl Row {
    #[inline]
    fn incarnation(&self) -> Incarnation {
        Incarnation::from_raw(u64::from(self.incarnation[0]) << 32 | u64::from(self.incarnation[1]))
    }
}

/// Adds to a list that may be long and shall not hold half as much again ready: it grows by a sixteenth.
pub fn push_sparingly<T>(list: &mut Vec<T>, item: T) {
    if list.len() == list.capacity() {
        list.reserve_exact((list.len() / 16).max(4));
    }
    list.push(item);
}

/// What a fact adds to a digest.
fn trace(fact: &Fact) -> u32 {
    let over = u64::from(fact.claim.rank() >= Claim::Dead.rank());
    hash(fact.incarnation.raw() << 1 | over, &fact.node.0) as u32
}

/// Which of `parts` parts of a digest a node belongs to.
pub fn leaf(node: NodeId, parts: usize) -> usize {
    usize::from(node.0[0]) * parts / 256
}

fn mapped(addr: &Addr) -> Option<[u8; 4]> {
    addr.ip.strip_prefix(&MAPPED)?.try_into().ok()
}
