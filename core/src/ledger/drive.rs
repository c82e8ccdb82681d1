//! What moves a ledger: its start, messages, time, the disk.

use alloc::vec::Vec;

use super::message::LogBody;
use super::proposals::{Command, Kind};
use super::replicate::{Append, Fresh};
use super::snapshot::Image;
use super::{Ledger, LogMessage, State, rows};
use crate::effect::{Effect, Effects, HaltReason};
use crate::id::NodeId;
use crate::observe::{Observation, Stale};
use crate::store::Store;
use crate::time::{Instant, Now};

impl<S: State> Ledger<S> {
    /// The first call after [`Ledger::new`].
    pub fn start(&mut self, now: Now, store: &mut Store, out: &mut Effects) {
        self.clock(now);
        store.put(rows::hard_key(), rows::encode(&self.raft.hard()));
        let others = self.leases.0.keys().copied().filter(|node| *node != self.me);
        others.for_each(|node| self.lease.saw(node));
        self.lease.now(now.mono);
        if self.raft.voter_count() == 1 {
            self.raft.node.handle_election_timeout();
            self.drain(Fresh::default(), store, out);
        } else {
            self.election.arm_first(now.mono);
        }
        self.renew_lease(now.mono, store, out);
    }

    /// Takes the time of a step.
    pub(super) fn clock(&mut self, now: Now) {
        self.last_now = now.mono;
        self.lease.now(now.mono);
    }

    /// A message of another voter. One that does not fit changes nothing and is observed as ignored.
    pub fn receive(
        &mut self,
        now: Now,
        from: NodeId,
        message: LogMessage,
        store: &mut Store,
        out: &mut Effects,
    ) {
        self.clock(now);
        let is_refusal = matches!(message.body, LogBody::OldDisk { .. });
        if from == self.me || self.raft.number(from).is_none() {
            out.push(Effect::Observe(Observation::Ignored(Stale::Sender)));
        } else if self.leases.is_old_disk(from, message.boot, message.disk) {
            out.push(Effect::Observe(Observation::Ignored(Stale::Fence)));
            let known = self.leases.0[&from];
            if !is_refusal {
                self.send(from, LogBody::OldDisk { boot: known.boot, disk: known.disk }, store, out);
            }
        } else if self.halted.is_none() {
            self.receive_body(from, message, store, out);
        }
    }

    fn receive_body(&mut self, from: NodeId, message: LogMessage, store: &mut Store, out: &mut Effects) {
        match message.body {
            LogBody::Vote { term, last } => self.receive_vote(from, (term, last), store, out),
            LogBody::VoteReply { term, granted } => {
                self.receive_vote_reply(from, (term, granted), store, out)
            }
            LogBody::Append { term, commit, prev, entries, checkpoint } => {
                self.receive_append(from, Append { term, commit, prev, entries, checkpoint }, store, out);
            }
            LogBody::AppendReply { term, last } => self.receive_append_reply(from, (term, last), store, out),
            LogBody::PreVote { term, last } => self.receive_pre_vote(from, term, last, store, out),
            LogBody::PreVoteReply { asked, term, granted } => {
                self.receive_pre_vote_reply(from, (asked, term, granted), store, out);
            }
            LogBody::Propose { proposals } => {
                self.receive_propose((from, message.boot), proposals, store, out);
            }
            LogBody::Image { term, transfer, part, rows, end } => {
                self.receive_image(from, Image { term, transfer, part, rows, end }, store, out);
            }
            LogBody::ImageAck { term, transfer, part, next } => {
                self.receive_image_ack(from, (term, transfer), (part, next), store, out);
            }
            LogBody::HandOver { term } => self.receive_hand_over(from, term, store, out),
            LogBody::OldDisk { boot, disk } => {
                if disk != self.disk || boot > self.boot {
                    self.halted = Some(HaltReason::OldDisk);
                }
            }
        }
    }

    /// Does everything that is due.
    pub fn wake(&mut self, now: Now, store: &mut Store, out: &mut Effects) {
        self.clock(now);
        if self.halted.is_some() {
            return;
        }
        self.wake_election(now.mono, store, out);
        self.wake_proposals(now.mono, store, out);
        if self.renewal_due().is_some_and(|due| due <= now.mono) {
            self.renew_lease(now.mono, store, out);
        }
        let has_others = || self.holders().any(|holder| holder != self.me);
        if self.lease.is_late() && has_others() {
            self.lease.rest(now.mono);
            self.end_lease(self.me, store, out);
        }
        if self.lease.is_given_up() {
            self.end_lease(self.me, store, out);
        }
        let over = self.ends_due().filter(|(_, due)| *due <= now.mono).map(|(node, _)| node);
        for node in over.collect::<Vec<_>>() {
            self.end_lease(node, store, out);
        }
    }

    /// The disk has confirmed writes: to be called after [`Store::stored`].
    pub fn stored(&mut self, now: Now, store: &mut Store, _out: &mut Effects) {
        self.clock(now);
        self.log.confirm(store);
        self.election.confirmed(store, now.mono);
    }

    /// The earliest deadline.
    pub fn wake_at(&self) -> Option<Instant> {
        if self.halted.is_some() {
            return None;
        }
        if self.backlog {
            return Some(self.last_now);
        }
        let election = match (self.is_leader(), self.raft.voter_count()) {
            (_, 1) => None,
            (true, _) => Some(self.election.tick_at),
            (false, _) => Some(self.election.due),
        };
        let ends = self.ends_due().map(|(_, due)| due).min();
        [election, self.proposals.repeat_at, self.renewal_due(), ends].into_iter().flatten().min()
    }

    /// Leaves cleanly: from now on this node does not act as an owner, its lease is ended by log entry, and as leader
    /// it hands over to a follower that has everything.
    pub fn release_lease(&mut self, now: Now, store: &mut Store, out: &mut Effects) {
        self.clock(now);
        self.lease.give_up();
        self.end_lease(self.me, store, out);
    }

    /// When the own lease is renewed next: one renewal at a time, since only the newest proof counts.
    fn renewal_due(&self) -> Option<Instant> {
        if self.proposals.has(Kind::Renewal) {
            return None;
        }
        self.lease.next_renewal(self.waits.lease_renew)
    }

    fn renew_lease(&mut self, now: Instant, store: &mut Store, out: &mut Effects) {
        let renew_no = self.lease.propose(now);
        let command = Command::LeaseRenewed { disk: self.disk, renew_no, minor: self.minor };
        // Without room for it, the next renewal is due a period later.
        let _ = self.submit(now, command, Kind::Renewal, store, out);
    }

    /// As leader: other holders and when their end may be proposed, unless it is under way.
    fn ends_due(&self) -> impl Iterator<Item = (NodeId, Instant)> + '_ {
        // Asked twice a step, and of most nodes in vain: only a leader looks at the leases at all.
        let holders = self.is_leader().then(|| self.leases.holders()).into_iter().flatten();
        let others = holders.filter(|node| *node != self.me && !self.proposals.has(Kind::End(*node)));
        others.filter_map(|node| Some((node, self.lease.may_end_at(node)?)))
    }

    /// Proposes the end of a lease as it stands, unless it is ended or that is under way.
    pub(super) fn end_lease(&mut self, node: NodeId, store: &mut Store, out: &mut Effects) {
        let kind = Kind::End(node);
        let open =
            self.leases.0.get(&node).copied().filter(|lease| !lease.ended && !self.proposals.has(kind));
        if let Some(lease) = open {
            let command = Command::LeaseEnded { node, boot: lease.boot, renew_no: lease.renew_no };
            if self.submit(self.last_now, command, kind, store, out).is_err() && node != self.me {
                self.lease.saw(node);
            }
        }
    }
}
