//! What moves a ledger: start, messages, time, the disk.

use super::message::LogRecord;
use super::proposals::{Command, Kind, Proposal};
use super::{Ledger, LogMessage, ProposalId, State};
use crate::bytes::Bytes;
use crate::effect::{Effect, Effects};
use crate::id::{NodeId, Term};
use crate::observe::{Observation, Stale};
use crate::store::Store;
use crate::time::{Duration, Instant, Now};

impl<S: State> Ledger<S> {
    /// The first call after [`Ledger::new`].
    pub fn start(&mut self, now: Now, store: &mut Store, out: &mut Effects) {
        self.last_now = now.mono;
        store.put(super::rows::hard_key(), super::rows::encode(&self.raft.hard()));
        let others = self.leases.0.keys().copied().filter(|node| *node != self.me);
        others.for_each(|node| self.lease.saw(node, now.mono));
        if self.raft.voters() == 1 {
            self.raft.node.handle_election_timeout();
            self.drain(&[], store, out);
        }
        self.renew_lease(now.mono, store, out);
    }

    /// A message of another voter.
    pub fn receive(
        &mut self,
        now: Now,
        _from: NodeId,
        _message: LogMessage,
        _store: &mut Store,
        out: &mut Effects,
    ) {
        self.last_now = now.mono;
        out.push(Effect::Observe(Observation::Ignored(Stale::Sender)));
    }

    /// Does everything that is due.
    pub fn wake(&mut self, now: Now, store: &mut Store, out: &mut Effects) {
        self.last_now = now.mono;
        if self.renewal_due().is_some_and(|due| due <= now.mono) {
            self.renew_lease(now.mono, store, out);
        }
        if self.leaving {
            self.end_own_lease(now.mono, store, out);
        }
    }

    /// The disk has confirmed writes: to be called after [`Store::stored`].
    pub fn stored(&mut self, now: Now, store: &mut Store, _out: &mut Effects) {
        self.last_now = now.mono;
        self.log.confirm(store);
    }

    /// What membership says of another voter: a hint.
    pub fn peer_alive(&mut self, _node: NodeId, _alive: bool) {}

    /// A measured round trip to another voter: election timers never go below four times the largest.
    pub fn round_trip(&mut self, _node: NodeId, _rtt: Duration) {}

    /// The earliest deadline.
    pub fn wake_at(&self) -> Option<Instant> {
        if self.backlog { Some(self.last_now) } else { self.renewal_due() }
    }

    /// Leaves cleanly: from now on this node does not act as an owner, and its lease is ended by log entry.
    pub fn release_lease(&mut self, now: Now, store: &mut Store, out: &mut Effects) {
        self.last_now = now.mono;
        self.leaving = true;
        self.lease.give_up();
        self.end_own_lease(now.mono, store, out);
    }

    fn renewal_due(&self) -> Option<Instant> {
        if self.leaving || self.proposals.has(Kind::Renewal) {
            return None;
        }
        self.lease.proposed_at().map(|at| at + self.waits.lease_renew)
    }

    fn renew_lease(&mut self, now: Instant, store: &mut Store, out: &mut Effects) {
        let renew_no = self.lease.propose(now);
        let command = Command::LeaseRenewed { disk: self.disk, renew_no };
        self.submit(now, command, Kind::Renewal, store, out).expect("there is room for one renewal");
    }

    fn end_own_lease(&mut self, now: Instant, store: &mut Store, out: &mut Effects) {
        let kind = Kind::End(self.me);
        let own =
            self.leases.0.get(&self.me).copied().filter(|lease| lease.boot == self.boot && !lease.ended);
        if let Some(lease) = own
            && !self.proposals.has(kind)
        {
            let command = Command::LeaseEnded { node: self.me, boot: lease.boot, renew_no: lease.renew_no };
            self.submit(now, command, kind, store, out).expect("there is room for one end");
        }
    }

    /// Appends the proposal where this node leads.
    pub(super) fn hand_to_leader(
        &mut self,
        _now: Instant,
        id: ProposalId,
        bytes: Bytes,
        store: &mut Store,
        out: &mut Effects,
    ) {
        if self.is_leader() {
            self.append_own(id, bytes, store, out);
        }
    }

    /// Appends a proposal as leader, unless it is in the log or was applied.
    fn append_own(&mut self, id: ProposalId, bytes: Bytes, store: &mut Store, out: &mut Effects) {
        let due = self.applied_sets.get(&id.node).is_none_or(|applied| applied.is_due(id));
        if due && !self.log.is_waiting(id) {
            self.raft.node.propose_command();
            let record = LogRecord { term: self.raft.term(), payload: Some(bytes) };
            self.drain(&[record], store, out);
        }
    }

    /// Performs what noraft asks for. `fresh` are the payloads of what it appends.
    pub(super) fn drain(&mut self, fresh: &[LogRecord], store: &mut Store, out: &mut Effects) {
        let actions = core::mem::take(self.raft.node.actions_mut());
        if actions.save_current_term || actions.save_voted_for {
            store.put(super::rows::hard_key(), super::rows::encode(&self.raft.hard()));
        }
        if let Some(entries) = &actions.append_log_entries {
            let mut fresh = fresh.iter();
            for (pos, entry) in entries.iter_with_positions() {
                let record = match entry {
                    noraft::LogEntry::Term(term) => LogRecord { term: Term(term.get()), payload: None },
                    _ => fresh.next().expect("a payload for each command").clone(),
                };
                let id = record.payload.as_ref().map(|payload| {
                    super::rows::decode::<Proposal<S::Command>>(payload).expect("payloads are checked").id
                });
                store.put(super::rows::log_key(pos.index.get()), super::rows::encode(&record));
                self.log.push(record, id);
            }
            self.log.written(store.barrier());
        }
        let _ = out;
    }
}
