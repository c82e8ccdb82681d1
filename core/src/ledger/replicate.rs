//! noraft driven: what it asks for becomes rows and messages, and what others send is checked before it sees it.
//!
//! noraft trusts its input, so this is where a faulty peer is stopped: terms and indexes that could overflow, entries
//! whose terms do not run, payloads that do not decode, and anything that contradicts what is committed here.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::message::{Checkpoint, LogBody, LogMessage, LogPos, LogRecord};
use super::proposals::Proposal;
use super::raft::{from_noraft, to_noraft};
use super::{Ledger, MAX_COMMAND, ProposalId, RetainedLog, State, rows};
use crate::effect::{Effect, Effects};
use crate::id::{NodeId, Term};
use crate::observe::{Observation, Stale};
use crate::store::Store;
use crate::time::Instant;
use crate::wire::Message;

/// Indexes stay below it, so that no sum of two can overflow.
const INDEX_LIMIT: u64 = 1 << 62;
/// A term may be this far above one's own: far more than any election storm, far less than what would wear out the
/// number in one message.
const TERM_LEAP: u64 = 1 << 32;
/// While more effects than this wait for the disk, messages are dropped as the network might drop them.
const HELD_LIMIT: usize = 4_096;

/// Entries that noraft is about to append, with what it does not keep.
#[derive(Debug, Default)]
pub(super) struct Fresh {
    /// The index before the first.
    pub after: u64,
    pub records: Vec<(LogRecord, Option<ProposalId>)>,
}

/// Entries that a follower was sent and has not acknowledged. Volatile.
#[derive(Clone, Copy, Debug)]
pub(super) struct CatchUp {
    to: u64,
    at: Instant,
}

impl<S: State> Ledger<S> {
    /// Sends once everything written so far is durable.
    pub(super) fn send(&self, to: NodeId, body: LogBody, store: &mut Store, out: &mut Effects) {
        if store.held() < HELD_LIMIT {
            let message = LogMessage { boot: self.boot, disk: self.disk, body };
            store.after_stored(Effect::Send { to, message: Message::Log(message.into()).into() }, out);
        }
    }

    /// Gives noraft a message that was checked, and performs what follows.
    fn feed(&mut self, message: noraft::Message, fresh: Fresh, store: &mut Store, out: &mut Effects) {
        if self.raft.node.handle_message(&message).is_err() {
            out.push(Effect::Observe(Observation::Ignored(Stale::Invalid)));
        }
        self.drain(fresh, store, out);
    }

    /// Performs what noraft asks for; to be called after every call that can change it.
    pub(super) fn drain(&mut self, fresh: Fresh, store: &mut Store, out: &mut Effects) {
        let actions = core::mem::take(self.raft.node.actions_mut());
        if actions.save_current_term || actions.save_voted_for {
            store.put(rows::hard_key(), rows::encode(&self.raft.hard()));
        }
        if let Some(entries) = &actions.append_log_entries {
            self.write_entries(entries, fresh, store);
        }
        if store.has_writes() {
            self.election.writing(store.barrier(), self.last_now);
        }
        let elected = self.note_role(out);
        if actions.set_election_timeout {
            self.election.rearm(self.last_now);
        }
        if let Some(message) = actions.broadcast_message {
            for peer in self.raft.peers() {
                self.send_noraft(peer, &message, false, store, out);
            }
        }
        for (to, message) in &actions.send_messages {
            if let Some(to) = self.raft.name(*to) {
                self.send_noraft(to, message, true, store, out);
            }
        }
        for follower in actions.install_snapshots {
            if let Some(follower) = self.raft.name(follower) {
                self.begin_image(follower, store, out);
            }
        }
        if elected {
            self.append_undecided(store, out);
        }
    }

    /// Notices a change of term or office; true where this node was just elected.
    fn note_role(&mut self, out: &mut Effects) -> bool {
        let (term, leads) = (self.raft.term(), self.raft.is_leader());
        let (old_term, led) = core::mem::replace(&mut self.role, (term, leads));
        if term != old_term {
            self.election.new_term();
        }
        if led && (!leads || term != old_term) {
            out.push(Effect::Observe(Observation::LostLeadership(old_term)));
            self.images.clear();
            self.catching_up.clear();
        }
        let elected = leads && (!led || term != old_term);
        if elected {
            out.push(Effect::Observe(Observation::BecameLeader(term)));
            self.election.lead(self.raft.peers().into_iter(), self.last_now);
            self.election.tick_at = self.last_now + self.waits.tick;
            self.election.leader = Some(self.me);
        }
        elected
    }

    /// Puts noraft's new entries into log and rows, replacing what they replace there.
    fn write_entries(&mut self, entries: &noraft::LogEntries, fresh: Fresh, store: &mut Store) {
        let former = self.log.last_index();
        let mut fresh: BTreeMap<u64, _> = (fresh.after + 1..).zip(fresh.records).collect();
        let mut pushed = false;
        for (pos, entry) in entries.iter_with_positions() {
            let pos = from_noraft(pos);
            if !pushed && self.log.term(pos.index) == Some(pos.term) {
                continue;
            }
            if !pushed {
                self.cut_log(pos.index - 1);
                pushed = true;
            }
            let (record, id) = match entry {
                noraft::LogEntry::Term(_) => (LogRecord { term: pos.term, payload: None }, None),
                _ => fresh.remove(&pos.index).expect("noraft appends what it was given"),
            };
            store.put(rows::log_key(pos.index), rows::encode(&record));
            self.log.push(record, id);
        }
        self.cut_log(entries.last_position().index.get());
        for gone in self.log.last_index() + 1..=former {
            store.delete(rows::log_key(gone));
        }
        if pushed {
            self.log.written(store.barrier());
        }
    }

    /// Drops what follows `index` from the log; what is applied stays, whatever anybody says.
    fn cut_log(&mut self, index: u64) {
        assert!(index >= self.applied.index, "an applied entry is replaced");
        self.log.truncate(index);
    }

    /// Turns one of noraft's messages into ours.
    fn send_noraft(
        &mut self,
        to: NodeId,
        message: &noraft::Message,
        repair: bool,
        store: &mut Store,
        out: &mut Effects,
    ) {
        let term = Term(message.term().get());
        let body = match message {
            noraft::Message::RequestVoteCall { last_position, .. } => {
                LogBody::Vote { term, last: from_noraft(*last_position) }
            }
            noraft::Message::RequestVoteReply { vote_granted, .. } => {
                LogBody::VoteReply { term, granted: *vote_granted }
            }
            noraft::Message::AppendEntriesReply { last_position, .. } => {
                LogBody::AppendReply { term, last: from_noraft(*last_position) }
            }
            noraft::Message::AppendEntriesCall { entries, commit_index, .. } => {
                let prev = from_noraft(entries.prev_position());
                if repair && self.is_under_way(to, prev.index, entries.last_position().index.get()) {
                    return;
                }
                let entries = self.cut_entries(prev.index, entries.last_position().index.get());
                if repair && !entries.is_empty() {
                    let to_index = prev.index + entries.len() as u64;
                    self.catching_up.insert(to, CatchUp { to: to_index, at: self.last_now });
                }
                let commit = commit_index.get();
                LogBody::Append { term, commit, prev, entries, checkpoint: self.image.newest() }
            }
        };
        self.send(to, body, store, out);
    }

    /// Whether a follower that asks for more was sent it a moment ago: each stray message of a leader makes a follower
    /// that lags ask again, and answering all of them would multiply the load.
    fn is_under_way(&self, to: NodeId, prev: u64, last: u64) -> bool {
        let patience = self.waits.tick.scale(1, 2);
        last > prev
            && self
                .catching_up
                .get(&to)
                .is_some_and(|sent| prev < sent.to && self.last_now.since(sent.at) < patience)
    }

    /// The entries after `prev`, up to `last`, cut at the size of a message; at least one.
    fn cut_entries(&self, prev: u64, last: u64) -> Vec<LogRecord> {
        let mut room = LogMessage::MAX_BYTES;
        let mut entries = Vec::new();
        for index in prev + 1..=last {
            let record = self.log.get(index).expect("a leader sends what it has");
            if record.size() > room && !entries.is_empty() {
                break;
            }
            room = room.saturating_sub(record.size());
            entries.push(record.clone());
        }
        entries
    }

    pub(super) fn receive_vote(
        &mut self,
        from: NodeId,
        (term, last): (Term, LogPos),
        store: &mut Store,
        out: &mut Effects,
    ) {
        let Some(number) = self.raft.number(from).filter(|_| self.fits(term, last)) else {
            return refuse(out);
        };
        let (term, last_position) = (noraft::Term::new(term.0), to_noraft(last));
        let message = noraft::Message::RequestVoteCall { from: number, term, last_position };
        self.feed(message, Fresh::default(), store, out);
    }

    pub(super) fn receive_vote_reply(
        &mut self,
        from: NodeId,
        (term, vote_granted): (Term, bool),
        store: &mut Store,
        out: &mut Effects,
    ) {
        let Some(number) = self.raft.number(from).filter(|_| self.fits(term, LogPos::default())) else {
            return refuse(out);
        };
        let term = noraft::Term::new(term.0);
        let message = noraft::Message::RequestVoteReply { from: number, term, vote_granted };
        self.feed(message, Fresh::default(), store, out);
    }

    /// Takes over a higher term that a voter has proven to exist.
    pub(super) fn learn_term(&mut self, from: NodeId, term: Term, store: &mut Store, out: &mut Effects) {
        self.receive_vote_reply(from, (term, false), store, out);
    }

    pub(super) fn receive_append_reply(
        &mut self,
        from: NodeId,
        (term, last): (Term, LogPos),
        store: &mut Store,
        out: &mut Effects,
    ) {
        let Some(number) = self.raft.number(from).filter(|_| self.fits(term, last)) else {
            return refuse(out);
        };
        if term == self.term() {
            self.election.hear_follower(from, self.last_now);
        }
        if self.catching_up.get(&from).is_some_and(|sent| last.index >= sent.to) {
            self.catching_up.remove(&from);
        }
        let committed = self.raft.node.commit_index();
        let (term, last_position) = (noraft::Term::new(term.0), to_noraft(last));
        let message = noraft::Message::AppendEntriesReply { from: number, term, last_position };
        self.feed(message, Fresh::default(), store, out);
        if self.is_leader() && self.raft.node.commit_index() > committed {
            // Followers apply when they hear of it; the next tick would be late.
            self.raft.node.heartbeat();
            self.drain(Fresh::default(), store, out);
        }
        self.hand_over(self.last_now, store, out);
    }

    pub(super) fn receive_append(
        &mut self,
        from: NodeId,
        append: Append,
        store: &mut Store,
        out: &mut Effects,
    ) {
        let (term, checkpoint) = (append.term, append.checkpoint);
        let Some(number) = self.raft.number(from).filter(|_| self.is_sound(&append)) else {
            return refuse(out);
        };
        let Some(fresh) = self.decode_entries(append.prev.index, append.entries) else {
            return refuse(out);
        };
        let entries = fresh.records.iter().map(|(record, _)| match record.payload {
            Some(_) => noraft::LogEntry::Command,
            None => noraft::LogEntry::Term(noraft::Term::new(record.term.0)),
        });
        let message = noraft::Message::AppendEntriesCall {
            from: number,
            term: noraft::Term::new(term.0),
            commit_index: noraft::LogIndex::new(append.commit),
            entries: noraft::LogEntries::from_iter(to_noraft(append.prev), entries),
        };
        self.feed(message, fresh, store, out);
        if term == self.term() && !self.is_leader() {
            if self.election.hear_leader(from, self.last_now) {
                self.tell_undecided(store, out);
            }
            if checkpoint.is_some_and(|told| !self.image.hear(told, self.applied.index)) {
                let index = checkpoint.map_or(0, |told| told.index);
                out.push(Effect::Observe(Observation::StateDiverged(index)));
            }
        }
    }

    /// Whether a sender of this term may have this place in its log.
    fn fits(&self, term: Term, pos: LogPos) -> bool {
        let leap = self.term().0.saturating_add(TERM_LEAP);
        term.0 <= leap && pos.term <= term && pos.index < INDEX_LIMIT
    }

    /// Whether an append could have been sent by a leader of its term, and does not contradict what is committed.
    fn is_sound(&self, append: &Append) -> bool {
        let committed = self.raft.node.commit_index().get().max(self.applied.index);
        let is_old = append.term < self.term();
        let agrees = |pos: LogPos| {
            let known = self.log.term(pos.index).filter(|_| pos.index <= committed);
            is_old || known.is_none_or(|known| known == pos.term)
        };
        let mut last = append.prev;
        for record in &append.entries {
            let runs = match record.payload {
                Some(_) => record.term == last.term,
                None => record.term > last.term,
            };
            last = LogPos { term: record.term, index: last.index.saturating_add(1) };
            if !runs || !agrees(last) {
                return false;
            }
        }
        self.fits(append.term, append.prev) && self.fits(append.term, last) && agrees(append.prev)
    }

    /// Decodes the entries' names; `None` where one is no proposal. Entries for which there is no room are left to a
    /// repeat, when earlier ones are applied and compacted.
    fn decode_entries(&self, after: u64, entries: Vec<LogRecord>) -> Option<Fresh> {
        let mut records = Vec::with_capacity(entries.len());
        let mut bytes = self.log.bytes();
        for (index, record) in (after + 1..).zip(entries) {
            let is_new = self.log.term(index) != Some(record.term) && index > self.log.base().index;
            if is_new && bytes > RetainedLog::MAX_BYTES {
                break;
            }
            bytes += if is_new { record.size() } else { 0 };
            let id = match &record.payload {
                Some(payload) if payload.len() > MAX_COMMAND => return None,
                Some(payload) => Some(rows::decode::<Proposal<S::Command>>(payload).ok()?.id),
                None => None,
            };
            records.push((record, id));
        }
        Some(Fresh { after, records })
    }

    /// Gives up applied entries of the log that no follower seems to need; a short tail stays for slow ones.
    pub(super) fn compact(&mut self, store: &mut Store) {
        let keep = u64::from(self.waits.log_keep);
        let held = self.log.last_index() - self.log.base().index;
        if held <= 2 * keep && self.log.bytes() <= COMPACT_BYTES {
            return;
        }
        let patient = self.log.bytes() <= 2 * COMPACT_BYTES;
        let needed = if patient { self.needed_by_followers() } else { u64::MAX };
        let tail = if self.log.bytes() <= COMPACT_BYTES { keep } else { 0 };
        let wanted = self.applied.index.saturating_sub(tail).min(needed);
        let to = wanted.min(self.log.base().index + DELETES_A_STEP);
        if to <= self.log.base().index {
            return;
        }
        let at = LogPos { term: self.log.term(to).expect("it is in the log"), index: to };
        if !self.raft.node.handle_snapshot_installed(to_noraft(at), self.raft.group.clone()) {
            return;
        }
        for gone in self.log.base().index + 1..=to {
            store.delete(rows::log_key(gone));
        }
        self.log.compact(at);
        store.put(rows::positions_key(), rows::encode(&self.positions()));
    }

    /// As leader: the last entry that every follower has which answers.
    fn needed_by_followers(&self) -> u64 {
        let answering =
            self.raft.peers().into_iter().filter(|peer| self.election.hears(*peer, self.last_now));
        let held = answering.filter_map(|peer| self.raft.node.follower_match_index(self.raft.number(peer)?));
        held.map(noraft::LogIndex::get).min().filter(|_| self.is_leader()).unwrap_or(u64::MAX)
    }
}

/// Larger logs are compacted without a tail; twice as large ones without regard to slow followers.
const COMPACT_BYTES: usize = 1024 * 1024;
/// Rows of entries deleted in one step.
const DELETES_A_STEP: u64 = 256;

/// The parts of [`LogBody::Append`].
#[derive(Debug)]
pub(super) struct Append {
    pub term: Term,
    pub commit: u64,
    pub prev: LogPos,
    pub entries: Vec<LogRecord>,
    pub checkpoint: Option<Checkpoint>,
}

fn refuse(out: &mut Effects) {
    out.push(Effect::Observe(Observation::Ignored(Stale::Invalid)));
}
