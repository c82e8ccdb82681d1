//! The table of all other members: packed rows (`rows.rs`), found by id through a hash index and named by place ([`Ix`])
//! inside the machine.
//!
//! A row has 16 bytes; with its entries in the index (at most 9) and in the order of questions (2), and with what a list
//! holds ready to grow (a sixteenth), a member costs 23 to 29 bytes. What only few members need at a time (suspicions,
//! rumours, waits of strangers) lies beside the table, keyed by place. Iteration is by place, which depends on the order
//! of learning and never on a hash.

use alloc::vec::Vec;

use super::MEMBERS_MAX;
use super::member::{Addr, Claim, Fact, Incarnation, MemberStatus};
use super::rows::{FREE, Identity, Rows};
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
const _: () = assert!(FREE & ROLE == ROLE, "no role looks free");
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
    rows: Rows,
    index: Index,
    /// Mixed into the hash of ids, so that nobody can choose ids that collide.
    salt: u64,
    live: usize,
    live_workers: usize,
    rumoured: usize,
    leaves: [u32; LEAVES],
}

impl Members {
    /// An empty table.
    pub fn new(salt: u64) -> Self {
        Self {
            rows: Rows::default(),
            index: Index::default(),
            salt,
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
        self.index.find(hash(self.salt, &node.0), |ix| rows.is_of(ix, node))
    }

    /// The order of what is known of a member: what a fact has to exceed to be news.
    #[inline]
    pub fn key(&self, ix: Ix) -> (Incarnation, u8) {
        (self.rows.incarnation(ix), self.rows.flags(ix) & CLAIM)
    }

    /// The member at a place in use.
    #[inline]
    pub fn at(&self, ix: Ix) -> Member {
        let flags = self.rows.flags(ix);
        debug_assert!(flags != FREE, "only places in use are named");
        let Identity { node, incarnation, addr } = self.rows.identity(ix);
        let claim = match flags & CLAIM {
            0 => Claim::Alive,
            1 => Claim::Suspect { by: node },
            2 => Claim::Dead,
            _ => Claim::Left,
        };
        let role = match (flags & ROLE) >> 2 {
            0 => Role::Gate,
            1 => Role::Manager,
            _ => Role::Worker,
        };
        let fact = Fact { node, incarnation, claim, role, addr };
        Member { fact, confirmed: flags & CONFIRMED != 0, seed: flags & SEED != 0 }
    }

    /// The address at a place in use.
    #[inline]
    pub fn addr_at(&self, ix: Ix) -> Addr {
        self.rows.addr(ix)
    }

    /// The id at a place in use.
    #[inline]
    pub fn node(&self, ix: Ix) -> NodeId {
        self.rows.node(ix)
    }

    /// The status at a place in use.
    #[inline]
    pub fn status(&self, ix: Ix) -> MemberStatus {
        let flags = self.rows.flags(ix);
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
        self.rows.flags(ix) & ORDERED != 0
    }

    /// Remembers whether it does.
    pub fn set_ordered(&mut self, ix: Ix, ordered: bool) {
        self.rows.set_flag(ix, ORDERED, ordered);
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
        let ix = self.rows.add(&identity(member), flags(member));
        self.count(member, true);
        self.index.insert(hash(self.salt, &member.fact.node.0), ix);
        ix
    }

    /// Replaces the record at a place in use, which is about the same node.
    pub fn set(&mut self, ix: Ix, member: &Member) {
        let old = self.at(ix);
        self.count(&old, false);
        self.rows.set(ix, &identity(member), flags(member) | self.rows.flags(ix) & ORDERED);
        self.count(member, true);
    }

    /// Drops a record.
    pub fn remove(&mut self, ix: Ix) {
        let old = self.at(ix);
        self.count(&old, false);
        self.index.remove(hash(self.salt, &old.fact.node.0), ix);
        self.rows.remove(ix);
    }

    /// All records, by place.
    pub fn iter(&self) -> impl Iterator<Item = (Ix, Member)> + '_ {
        self.rows.used(0).map(|ix| (ix, self.at(ix)))
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
        let told = self.rows.used(from).filter(|ix| self.rows.incarnation(*ix).is_legal());
        told.map(|ix| (ix, self.rows.node(ix)))
    }

    /// The place behind all others.
    pub fn end(&self) -> Ix {
        self.rows.end()
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
        self.rows.heap_bytes() + self.index.heap_bytes()
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

fn identity(member: &Member) -> Identity {
    let Fact { node, incarnation, addr, .. } = member.fact;
    Identity { node, incarnation, addr }
}

fn flags(member: &Member) -> u8 {
    let role = match member.fact.role {
        Role::Gate => 0,
        Role::Manager => 1,
        Role::Worker => 2,
    };
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    member.fact.claim.rank() | role << 2 | flag(member.confirmed, CONFIRMED) | flag(member.seed, SEED)
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
