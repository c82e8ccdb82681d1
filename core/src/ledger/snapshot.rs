//! The image as rows to a follower that lags behind the retained log.
//!
//! A transfer sends all rows in parts, one part at a time, and goes on applying: a row that changes after it was sent
//! is sent again. A part after which nothing is left to send is the last one. Every row was then sent as it is at that
//! moment or after its last change, so all parts together are the image of exactly that applied index. Where rows
//! change faster than parts arrive, the whole rest is encoded in one step once the transfer has sent twice the image.
//!
//! The follower keeps the parts aside and installs all rows at once, in one write with the new positions.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use super::image::row_hash;
use super::message::{ImageEnd, ImageRow, LogBody, LogMessage, LogPos};
use super::raft::to_noraft;
use super::rows::{self, ImageKey};
use super::{BadRow, Ledger, ProposalId, State};
use crate::bytes::Bytes;
use crate::effect::{Effect, Effects, HaltReason};
use crate::id::{NodeId, Term};
use crate::observe::{Observation, Stale};
use crate::store::Store;
use crate::time::Instant;

/// Rows of one part at most; settling a step encodes the other half of the 64 that a step may.
pub(super) const ROWS_A_PART: usize = 32;
/// A follower takes no image larger than this, in bytes.
const IMAGE_BYTES: usize = 1 << 30;

/// An image on its way to a follower. As leader only.
#[derive(Clone, Debug)]
pub(super) struct Transfer {
    id: u64,
    part: u64,
    /// Rows to send, or to send again.
    todo: BTreeSet<Vec<u8>>,
    /// The part that waits for its acknowledgement, and when it was last sent.
    in_flight: Part,
    sent_at: Instant,
    /// Parts that were encoded together.
    prepared: VecDeque<Part>,
    rows_sent: usize,
}

/// The content of one message.
#[derive(Clone, Debug, Default)]
struct Part {
    rows: Vec<ImageRow>,
    end: Option<ImageEnd>,
}

impl Transfer {
    /// A row has changed.
    pub fn touch(&mut self, key: &[u8]) {
        if self.prepared.is_empty() && self.in_flight.end.is_none() {
            self.todo.insert(key.to_vec());
        }
    }

    fn body(&self, term: Term) -> LogBody {
        let Part { rows, end } = self.in_flight.clone();
        LogBody::Image { term, transfer: self.id, part: self.part, rows, end }
    }
}

/// An image that is arriving. As follower only.
#[derive(Clone, Debug)]
pub(super) struct Staging {
    from: NodeId,
    term: Term,
    transfer: u64,
    next: u64,
    rows: BTreeMap<Vec<u8>, Bytes>,
    bytes: usize,
}

impl<S: State> Ledger<S> {
    /// Starts to send the image, unless it is on its way.
    pub(super) fn begin_image(&mut self, to: NodeId, store: &mut Store, out: &mut Effects) {
        if self.images.contains_key(&to) {
            return;
        }
        self.transfers += 1;
        let mut transfer = Transfer {
            id: self.transfers,
            part: 0,
            todo: self.image.keys().cloned().collect(),
            in_flight: Part::default(),
            sent_at: self.last_now,
            prepared: VecDeque::new(),
            rows_sent: 0,
        };
        transfer.in_flight = self.next_part(&mut transfer);
        self.send(to, transfer.body(self.term()), store, out);
        self.images.insert(to, transfer);
    }

    /// Encodes what is next.
    fn next_part(&self, transfer: &mut Transfer) -> Part {
        if let Some(part) = transfer.prepared.pop_front() {
            return part;
        }
        let all_at_once = transfer.rows_sent > 2 * self.image.len() + ROWS_A_PART;
        loop {
            let mut part = self.encode_part(&mut transfer.todo);
            transfer.rows_sent += part.rows.len();
            if transfer.todo.is_empty() {
                part.end = Some(ImageEnd { at: self.applied, digest: self.image.sum() });
            }
            let more = all_at_once && part.end.is_none();
            transfer.prepared.push_back(part);
            if !more {
                return transfer.prepared.pop_front().expect("one was just prepared");
            }
        }
    }

    fn encode_part(&self, todo: &mut BTreeSet<Vec<u8>>) -> Part {
        let mut part = Part::default();
        let mut bytes = 0;
        while part.rows.len() < self.waits.image_rows
            && let Some(key) = todo.pop_first()
        {
            let value = self.image_row(&key).map(Bytes);
            let size = key.len() + value.as_ref().map_or(0, |value| value.len());
            if bytes + size > LogMessage::MAX_BYTES && !part.rows.is_empty() {
                todo.insert(key);
                break;
            }
            bytes += size;
            part.rows.push(ImageRow { key: key.into(), value });
        }
        part
    }

    /// Sends parts again that were not acknowledged in time.
    pub(super) fn resend_images(&mut self, now: Instant, store: &mut Store, out: &mut Effects) {
        let (term, patience) = (self.term(), self.waits.tick);
        let mut late = Vec::new();
        for (to, transfer) in &mut self.images {
            if now.since(transfer.sent_at) >= patience && self.election.hears(*to, now) {
                transfer.sent_at = now;
                late.push((*to, transfer.body(term)));
            }
        }
        for (to, body) in late {
            self.send(to, body, store, out);
        }
    }

    /// A follower answers a part and says which it wants next. One that lacks earlier parts, since it has restarted,
    /// gets a new image.
    pub(super) fn receive_image_ack(
        &mut self,
        from: NodeId,
        (term, id): (Term, u64),
        (part, next): (u64, u64),
        store: &mut Store,
        out: &mut Effects,
    ) {
        let current = term == self.term();
        if current {
            self.election.hear_follower(from, self.last_now);
        }
        let Some(mut transfer) = self.images.remove(&from) else { return };
        let fits = current && transfer.id == id && transfer.part == part;
        if fits && next <= part {
            return self.begin_image(from, store, out);
        }
        if fits {
            if transfer.in_flight.end.is_some() {
                return;
            }
            transfer.part += 1;
            transfer.in_flight = self.next_part(&mut transfer);
            transfer.sent_at = self.last_now;
            self.send(from, transfer.body(term), store, out);
        }
        self.images.insert(from, transfer);
    }

    /// A part of an image from the leader.
    pub(super) fn receive_image(&mut self, from: NodeId, image: Image, store: &mut Store, out: &mut Effects) {
        let follows = image.term == self.term() && !self.is_leader() && self.election.leader == Some(from);
        if !follows {
            out.push(Effect::Observe(Observation::Ignored(Stale::Fence)));
            return;
        }
        self.election.hear_leader(from, self.last_now);
        self.election.rearm(self.last_now);
        let sound = image.rows.iter().all(|row| ImageKey::parse(&row.key).is_some());
        if !sound || image.end.is_some_and(|end| end.at.term > image.term) {
            out.push(Effect::Observe(Observation::Ignored(Stale::Invalid)));
            return;
        }
        let (term, transfer, part, end) = (image.term, image.transfer, image.part, image.end);
        let (next, complete) = self.stage(from, image);
        if complete && let (Some(end), Some(staging)) = (end, self.staging.take()) {
            self.take_image(staging, end, store, out);
        }
        self.send(from, LogBody::ImageAck { term, transfer, part, next }, store, out);
    }

    /// Puts a part aside; returns which is next and whether this one completed the image.
    fn stage(&mut self, from: NodeId, image: Image) -> (u64, bool) {
        let known = |staging: &Staging| {
            (staging.from, staging.term, staging.transfer) == (from, image.term, image.transfer)
        };
        if !self.staging.as_ref().is_some_and(known) {
            if image.part > 0 {
                // The end of a transfer that was installed is repeated until its acknowledgement arrives.
                let repeated = image.end.is_some_and(|end| end.at.index <= self.applied.index);
                return (if repeated { image.part + 1 } else { 0 }, false);
            }
            let (term, transfer) = (image.term, image.transfer);
            self.staging = Some(Staging { from, term, transfer, next: 0, rows: BTreeMap::new(), bytes: 0 });
        }
        let staging = self.staging.as_mut().expect("it was just made");
        if image.part != staging.next {
            return (staging.next, false);
        }
        staging.next += 1;
        for row in image.rows {
            staging.bytes += row.key.len() + row.value.as_ref().map_or(0, |value| value.len());
            match row.value {
                Some(value) => drop(staging.rows.insert(row.key.0, value)),
                None => drop(staging.rows.remove(&row.key.0)),
            }
        }
        let next = staging.next;
        if staging.bytes > IMAGE_BYTES {
            self.staging = None;
        }
        (next, image.end.is_some())
    }

    /// Installs an image that is whole and ahead of what this node has.
    fn take_image(&mut self, staging: Staging, end: ImageEnd, store: &mut Store, out: &mut Effects) {
        let committed = self.raft.node.commit_index().get().max(self.applied.index);
        if end.at.index <= committed {
            return;
        }
        let sum = staging.rows.iter().fold(0u64, |sum, (key, value)| sum.wrapping_add(row_hash(key, value)));
        if sum != end.digest {
            out.push(Effect::Observe(Observation::StateDiverged(end.at.index)));
            return;
        }
        let former = self.leases.0.clone();
        if self.load_image(&staging.rows, store) == Err(BadRow) {
            self.halted = Some(HaltReason::BadRows);
            return;
        }
        self.take_log_position(end.at, store);
        for (key, value) in staging.rows {
            store.put(key.into(), value.0);
        }
        self.applied = end.at;
        store.put(rows::positions_key(), rows::encode(&self.positions()));
        out.push(Effect::Observe(Observation::SnapshotInstalled(end.at.index)));
        self.after_image(&former);
        let (term, last) = (self.term(), self.last());
        self.send(staging.from, LogBody::AppendReply { term, last }, store, out);
    }

    /// The log begins at the image's place now; what follows it stays where it fits.
    fn take_log_position(&mut self, at: LogPos, store: &mut Store) {
        let (first, last) = (self.log.base().index + 1, self.log.last_index());
        let taken = self.raft.node.handle_snapshot_installed(to_noraft(at), self.raft.group.clone());
        assert!(taken, "an image ahead of what is committed is always taken");
        self.log.truncate(self.last().index);
        self.log.compact(at);
        let kept = at.index + 1..=self.log.last_index();
        for gone in (first..=last).filter(|index| !kept.contains(index)) {
            store.delete(rows::log_key(gone));
        }
    }

    /// Replaces state, leases and applied proposals in memory; nothing is written where a row does not decode.
    fn load_image(&mut self, new: &BTreeMap<Vec<u8>, Bytes>, store: &mut Store) -> Result<(), BadRow> {
        let gone: Vec<Vec<u8>> = self.image.keys().filter(|key| !new.contains_key(*key)).cloned().collect();
        self.image.clear();
        self.leases.0.clear();
        self.applied_sets.clear();
        for (key, value) in new {
            self.load_image_row(ImageKey::parse(key).ok_or(BadRow)?, value)?;
            self.image.set(key, Some(value));
        }
        for key in gone {
            if let Some(ImageKey::State(key)) = ImageKey::parse(&key) {
                self.state.drop_row(key);
            }
            store.delete(key.into());
        }
        Ok(())
    }

    /// What an image brought is told as if it had been seen to happen.
    fn after_image(&mut self, former: &BTreeMap<NodeId, super::lease::Lease>) {
        self.done.reset = true;
        self.done.leases = true;
        let changed = |node: &NodeId| former.get(node) != self.leases.0.get(node);
        let changed: Vec<NodeId> = self.leases.0.keys().copied().filter(changed).collect();
        for node in changed {
            self.look_at_lease(node);
        }
        self.heed_version();
        if self.leases.is_old_disk(self.me, self.boot, self.disk) {
            self.halted = Some(HaltReason::OldDisk);
        }
        let undecided: Vec<u64> = self.proposals.undecided.keys().copied().collect();
        let applied = self.applied_sets.get(&self.me).cloned().unwrap_or_default();
        for n in undecided {
            let id = ProposalId { node: self.me, boot: self.boot, n };
            if !applied.is_due(id) {
                self.decided(id, false);
            }
        }
    }
}

/// The parts of [`LogBody::Image`].
#[derive(Debug)]
pub(super) struct Image {
    pub term: Term,
    pub transfer: u64,
    pub part: u64,
    pub rows: Vec<ImageRow>,
    pub end: Option<ImageEnd>,
}
