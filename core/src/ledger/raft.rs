//! noraft, and the names of the voters in it.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::message::LogPos;
use super::rows::{Hard, Loaded};
use crate::id::{NodeId, Term};

/// The consensus algorithm with the voters' numbers in it.
#[derive(Clone, Debug)]
pub(super) struct Raft {
    pub node: noraft::Node,
    pub group: noraft::ClusterConfig,
    numbers: BTreeMap<NodeId, noraft::NodeId>,
    names: BTreeMap<noraft::NodeId, NodeId>,
}

/// A place as noraft writes it.
pub(super) fn to_noraft(pos: LogPos) -> noraft::LogPosition {
    noraft::LogPosition::new(noraft::Term::new(pos.term.0), noraft::LogIndex::new(pos.index))
}

/// A place of noraft.
pub(super) fn from_noraft(pos: noraft::LogPosition) -> LogPos {
    LogPos { term: Term(pos.term.get()), index: pos.index.get() }
}

impl Raft {
    /// The algorithm as the disk left it. A voter's number is the head of its id; `None` where two voters share it.
    pub fn restored(me: NodeId, voters: &BTreeSet<NodeId>, loaded: &Loaded<'_>) -> Option<Self> {
        let number = |id: &NodeId| {
            let mut head = [0; 8];
            head.copy_from_slice(&id.0[..8]);
            noraft::NodeId::new(u64::from_be_bytes(head))
        };
        let numbers: BTreeMap<_, _> = voters.iter().map(|id| (*id, number(id))).collect();
        let names: BTreeMap<_, _> = voters.iter().map(|id| (number(id), *id)).collect();
        if names.len() != voters.len() {
            return None;
        }
        let mut group = noraft::ClusterConfig::new();
        group.voters.extend(names.keys().copied());
        let hard = loaded.hard.clone().unwrap_or_default();
        let mut term = loaded.positions.base.term;
        let entries = loaded.log.iter().map(|record| {
            if record.term > term {
                term = record.term;
                noraft::LogEntry::Term(noraft::Term::new(term.0))
            } else {
                noraft::LogEntry::Command
            }
        });
        let entries = noraft::LogEntries::from_iter(to_noraft(loaded.positions.base), entries);
        let log = noraft::Log::new(group.clone(), entries);
        let vote = hard.vote.and_then(|vote| numbers.get(&vote).copied());
        let mut node = noraft::Node::restart(numbers[&me], noraft::Term::new(hard.term.0), vote, log);
        drop(core::mem::take(node.actions_mut()));
        Some(Self { node, group, numbers, names })
    }

    /// Term, vote and voters, as the disk must know them.
    pub fn hard(&self) -> Hard {
        Hard {
            term: self.term(),
            vote: self.node.voted_for().and_then(|vote| self.name(vote)),
            voters: self.numbers.keys().copied().collect(),
        }
    }

    /// The current term.
    pub fn term(&self) -> Term {
        Term(self.node.current_term().get())
    }

    /// Whether this node believes that it leads.
    pub fn is_leader(&self) -> bool {
        self.node.role().is_leader()
    }

    /// Starts noraft again from its own term, vote and log, as a follower: what a crash and restart would do.
    pub fn restart(&mut self) {
        let (term, vote, log) = (self.node.current_term(), self.node.voted_for(), self.node.log().clone());
        self.node = noraft::Node::restart(self.node.id(), term, vote, log);
    }

    /// How many voters there are.
    pub fn voter_count(&self) -> usize {
        self.numbers.len()
    }

    /// All of them.
    pub fn voters(&self) -> impl Iterator<Item = NodeId> {
        self.names.values().copied()
    }

    /// The voter with this number.
    pub fn name(&self, number: noraft::NodeId) -> Option<NodeId> {
        self.names.get(&number).copied()
    }

    /// The number of a voter.
    pub fn number(&self, name: NodeId) -> Option<noraft::NodeId> {
        self.numbers.get(&name).copied()
    }

    /// The other voters.
    pub fn peers(&self) -> Vec<NodeId> {
        self.names.iter().filter(|(number, _)| **number != self.node.id()).map(|(_, name)| *name).collect()
    }
}
