//! Rumours on their way: which facts ride on the next packets, and for how long.
//!
//! A fact is sent `lambda x ln(n + 1)` times and then rests: with that many copies everyone has it with high probability
//! (SWIM, section 4.1; lambda as in memberlist). The facts that were sent least go first.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::member::Fact;
use crate::id::NodeId;

/// Most facts under way. At the bound the most often sent one makes room: it is the one that most have.
pub const RUMOURS_MAX: usize = 1_000;
/// Sends of a fact per `ln(n + 1)`.
const LAMBDA: f64 = 3.0;

/// Facts that still travel, one for each subject.
#[derive(Clone, Debug, Default)]
pub struct Gossip {
    rumours: BTreeMap<NodeId, Rumour>,
    order: BTreeSet<(u32, u64, NodeId)>,
    queued: u64,
}

#[derive(Clone, Copy, Debug)]
struct Rumour {
    fact: Fact,
    sends: u32,
    queued: u64,
}

/// How often a fact is sent in a group of `members`, this node included.
pub fn sends_max(members: usize) -> u32 {
    libm::floor(LAMBDA * libm::log(members as f64 + 1.0)).max(1.0) as u32
}

impl Gossip {
    /// Sends a fact from now on, in place of an older one about the same node.
    pub fn push(&mut self, fact: Fact) {
        self.remove(fact.node);
        if self.rumours.len() >= RUMOURS_MAX
            && let Some(&(_, _, node)) = self.order.last()
        {
            self.remove(node);
        }
        self.queued += 1;
        self.insert(Rumour { fact, sends: 0, queued: self.queued });
    }

    /// Stops sending about a node.
    pub fn remove(&mut self, node: NodeId) {
        if let Some(rumour) = self.rumours.remove(&node) {
            self.order.remove(&(rumour.sends, rumour.queued, node));
        }
    }

    /// Adds up to `room` facts to a packet for `to` (about others than `to`) and counts them as sent.
    pub fn fill(&mut self, facts: &mut Vec<Fact>, room: usize, to: NodeId, members: usize) {
        let chosen: Vec<NodeId> =
            self.order.iter().map(|(_, _, node)| *node).filter(|node| *node != to).take(room).collect();
        for node in chosen {
            if let Some(mut rumour) = self.rumours.get(&node).copied() {
                facts.push(rumour.fact);
                self.remove(node);
                rumour.sends += 1;
                if rumour.sends < sends_max(members) {
                    self.insert(rumour);
                }
            }
        }
    }

    /// How many facts are under way.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.rumours.len()
    }

    fn insert(&mut self, rumour: Rumour) {
        self.order.insert((rumour.sends, rumour.queued, rumour.fact.node));
        self.rumours.insert(rumour.fact.node, rumour);
    }
}
