//! The way of a proposal to the leader: handed over, repeated, appended once.

use alloc::vec::Vec;

use super::message::{LogBody, LogMessage, LogRecord};
use super::proposals::Proposal;
use super::replicate::Fresh;
use super::{Ledger, MAX_COMMAND, ProposalId, RetainedLog, State, rows};
use crate::bytes::Bytes;
use crate::effect::{Effect, Effects};
use crate::id::{BootNo, NodeId};
use crate::observe::{Observation, Stale};
use crate::store::Store;
use crate::time::Instant;

impl<S: State> Ledger<S> {
    /// Appends a new proposal where this node leads, or sends it to who seems to.
    pub(super) fn hand_to_leader(
        &mut self,
        now: Instant,
        id: ProposalId,
        bytes: Bytes,
        store: &mut Store,
        out: &mut Effects,
    ) {
        self.proposals.repeat_at.get_or_insert(now + self.waits.tick);
        if self.is_leader() {
            self.append_proposals(alloc::vec![(id, bytes)], store, out);
        } else if let Some(leader) = self.election.leader {
            self.send(leader, LogBody::Propose { proposals: alloc::vec![bytes] }, store, out);
        }
    }

    /// Repeats what is undecided when it is time.
    pub(super) fn wake_proposals(&mut self, now: Instant, store: &mut Store, out: &mut Effects) {
        if self.proposals.repeat_at.is_some_and(|due| due <= now) {
            self.tell_undecided(store, out);
        }
    }

    /// Hands the oldest undecided proposals to who leads, as many as a message holds.
    pub(super) fn tell_undecided(&mut self, store: &mut Store, out: &mut Effects) {
        if self.proposals.undecided.is_empty() {
            return;
        }
        self.proposals.repeat_at = Some(self.last_now + self.waits.tick);
        if self.is_leader() {
            return self.append_undecided(store, out);
        }
        let mut room = LogMessage::MAX_BYTES;
        let mut proposals = Vec::new();
        for undecided in self.proposals.undecided.values() {
            let Some(left) = room.checked_sub(undecided.bytes.len()) else { break };
            room = left;
            proposals.push(undecided.bytes.clone());
        }
        if let Some(leader) = self.election.leader {
            self.send(leader, LogBody::Propose { proposals }, store, out);
        }
    }

    /// As leader: appends every undecided proposal of this node that is not in the log.
    pub(super) fn append_undecided(&mut self, store: &mut Store, out: &mut Effects) {
        let name = |n: &u64| ProposalId { node: self.me, boot: self.boot, n: *n };
        let open = self.proposals.undecided.iter().filter(|(n, _)| !self.log.is_waiting(name(n)));
        let own = open.map(|(n, undecided)| (name(n), undecided.bytes.clone())).collect();
        self.append_proposals(own, store, out);
    }

    /// Proposals of another voter.
    pub(super) fn receive_propose(
        &mut self,
        (from, boot): (NodeId, BootNo),
        proposals: Vec<Bytes>,
        store: &mut Store,
        out: &mut Effects,
    ) {
        if !self.is_leader() {
            out.push(Effect::Observe(Observation::Ignored(Stale::State)));
            return;
        }
        let name = |bytes: Bytes| {
            let proposal = rows::decode::<Proposal<S::Command>>(&bytes).ok()?;
            let fits = bytes.len() <= MAX_COMMAND && (proposal.id.node, proposal.id.boot) == (from, boot);
            fits.then_some((proposal.id, bytes))
        };
        match proposals.into_iter().map(name).collect::<Option<Vec<_>>>() {
            Some(named) => self.append_proposals(named, store, out),
            None => out.push(Effect::Observe(Observation::Ignored(Stale::Invalid))),
        }
    }

    /// As leader: appends proposals that are neither in the log nor applied, while there is room and the
    /// office is not being handed over. What is left out is repeated by its proposer.
    fn append_proposals(
        &mut self,
        proposals: Vec<(ProposalId, Bytes)>,
        store: &mut Store,
        out: &mut Effects,
    ) {
        if self.election.heir.is_some() {
            return;
        }
        let mut fresh = Fresh { after: self.last().index, records: Vec::new() };
        let mut bytes = self.log.bytes();
        for (id, payload) in proposals {
            let due = self.applied_sets.get(&id.node).is_none_or(|applied| applied.is_due(id));
            let repeated = fresh.records.iter().any(|(_, other)| *other == Some(id));
            if bytes > RetainedLog::MAX_BYTES || !due || repeated || self.log.is_waiting(id) {
                continue;
            }
            let record = LogRecord { term: self.term(), payload: Some(payload) };
            bytes += record.size();
            let position = self.raft.node.propose_command();
            debug_assert!(!position.is_invalid());
            fresh.records.push((record, Some(id)));
        }
        if !fresh.records.is_empty() {
            self.drain(fresh, store, out);
        }
    }
}
