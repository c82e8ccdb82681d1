//! Asking: whose turn it is, the round that is open, and the questions that this node asks for others.
//!
//! Everything here is bookkeeping; the machine in `mod.rs` sends and arms.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use smallvec::SmallVec;

use super::member::Addr;
use crate::id::NodeId;
use crate::rng::NodeRng;

/// Members asked to ask in our place.
pub const PROXIES: usize = 3;
/// Most questions under way for others. At the bound the asker gets a nack at once.
pub const RELAYS_MAX: usize = 128;
/// Most of them for one asker; policy as above.
pub const RELAYS_PER_ASKER: usize = 8;

/// Whose turn it is: everyone once in random order, then a new order. A member is asked once in `2n - 1` rounds at worst.
#[derive(Clone, Debug, Default)]
pub struct Order {
    nodes: Vec<NodeId>,
    cursor: usize,
}

impl Order {
    /// Puts a member at a random place: nobody is skipped, and it may have to wait for the next traversal.
    pub fn insert(&mut self, node: NodeId, rng: &mut NodeRng) {
        let place = rng.below(self.nodes.len() as u64 + 1) as usize;
        self.nodes.insert(place, node);
        if place <= self.cursor {
            self.cursor += 1;
        }
    }

    /// Takes a member out: nobody is skipped.
    pub fn remove(&mut self, node: NodeId) {
        if let Some(place) = self.nodes.iter().position(|other| *other == node) {
            self.nodes.remove(place);
            if place < self.cursor {
                self.cursor -= 1;
            }
        }
    }

    /// The next member.
    pub fn next(&mut self, rng: &mut NodeRng) -> Option<NodeId> {
        if self.cursor >= self.nodes.len() {
            rng.shuffle(&mut self.nodes);
            self.cursor = 0;
        }
        let node = self.nodes.get(self.cursor).copied();
        self.cursor += 1;
        node
    }

    /// Everyone in it, in no particular order.
    #[cfg(test)]
    pub fn nodes(&self) -> &[NodeId] {
        &self.nodes
    }

    /// Up to `count` different members that `fits` accepts, at random.
    pub fn sample(
        &self,
        count: usize,
        rng: &mut NodeRng,
        fits: impl Fn(NodeId) -> bool,
    ) -> SmallVec<[NodeId; PROXIES]> {
        let mut chosen = SmallVec::new();
        let mut nodes = self.nodes.clone();
        while chosen.len() < count && !nodes.is_empty() {
            let pick = rng.below(nodes.len() as u64) as usize;
            let node = nodes.swap_remove(pick);
            if fits(node) {
                chosen.push(node);
            }
        }
        chosen
    }
}

/// The question of one period.
#[derive(Clone, Debug)]
pub struct Round {
    /// Whom it is about.
    pub target: NodeId,
    /// Its number.
    pub seq: u32,
    /// Whether an answer came, by whatever way.
    pub answered: bool,
    /// Who was asked to ask.
    pub proxies: SmallVec<[NodeId; PROXIES]>,
}

/// A question that this node asks for another.
#[derive(Clone, Copy, Debug)]
pub struct Relay {
    /// Who wants to know.
    pub asker: NodeId,
    /// Where its question came from.
    pub asker_addr: Addr,
    /// The question's number there.
    pub asker_seq: u32,
    /// Whom it is about.
    pub target: NodeId,
    /// Whether the asker was told that no answer has come.
    pub nacked: bool,
}

/// The questions that this node asks for others, by its own number.
#[derive(Clone, Debug, Default)]
pub struct Relays(BTreeMap<u32, Relay>);

impl Relays {
    /// Takes one on; `false` where there are too many.
    pub fn insert(&mut self, seq: u32, relay: Relay) -> bool {
        let of_asker = self.0.values().filter(|other| other.asker == relay.asker).count();
        let room = self.0.len() < RELAYS_MAX && of_asker < RELAYS_PER_ASKER;
        if room {
            self.0.insert(seq, relay);
        }
        room
    }

    /// One under way.
    pub fn get_mut(&mut self, seq: u32) -> Option<&mut Relay> {
        self.0.get_mut(&seq)
    }

    /// How many are under way.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Ends one.
    pub fn remove(&mut self, seq: u32) -> Option<Relay> {
        self.0.remove(&seq)
    }
}
