//! Committed entries become state, rows and news.
//!
//! One call applies entries until about [`ROWS_A_STEP`] rows have changed and writes those rows together with the new
//! applied index, so that the disk always holds the image of exactly one index.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::image::CHECKPOINT_EVERY;
use super::lease::LeaseChange;
use super::proposals::{Command, Kind, Proposal};
use super::rows::{self, ImageKey, Positions};
use super::{Applied, BadRow, Changes, Entry, Ledger, ProposalId, State};
use crate::effect::{Effect, Effects, HaltReason};
use crate::id::NodeId;
use crate::observe::Observation;
use crate::store::Store;

/// No further entry is applied in a step once this many rows have changed; with the rows of the last entry and those
/// of the ledger itself, a step encodes at most 64 rows for entries of up to 32.
const ROWS_A_STEP: usize = 32;

impl<S: State> Ledger<S> {
    /// Applies what is committed and on this node's own disk, writes the changed rows, and tells what happened since
    /// the last call. To be called at the end of every step, before [`Store::flush`].
    pub fn settle(&mut self, store: &mut Store, out: &mut Effects) -> Applied {
        self.log.confirm(store);
        if self.halted.is_none() {
            self.apply_committed(store, out);
            self.compact(store);
        }
        if self.lease.is_given_up() && self.halted.is_none() {
            self.end_lease(self.me, store, out);
        }
        if self.halted == Some(HaltReason::OldDisk) {
            store.put(rows::old_key(), alloc::vec![]);
        }
        self.done.halt = self.halted;
        core::mem::take(&mut self.done)
    }

    fn apply_committed(&mut self, store: &mut Store, out: &mut Effects) {
        let reach = self.raft.node.commit_index().get().min(self.log.durable());
        let mut dirty = BTreeSet::new();
        let before = self.applied.index;
        while self.applied.index < reach && dirty.len() < ROWS_A_STEP && self.halted.is_none() {
            self.apply_next(&mut dirty, out);
            if self.applied.index.is_multiple_of(CHECKPOINT_EVERY) {
                break;
            }
        }
        self.backlog = self.applied.index < reach;
        if self.applied.index == before {
            return;
        }
        self.write_rows(&dirty, store);
        store.put(rows::positions_key(), rows::encode(&self.positions()));
        if self.applied.index.is_multiple_of(CHECKPOINT_EVERY) {
            self.take_checkpoint(out);
        }
    }

    pub(super) fn positions(&self) -> Positions {
        Positions { base: self.log.base(), applied: self.applied.index }
    }

    fn take_checkpoint(&mut self, out: &mut Effects) {
        let (own, same) = self.image.checkpoint(self.applied.index);
        out.push(Effect::Observe(Observation::StateDigest { index: own.index, digest: own.digest }));
        if !same {
            out.push(Effect::Observe(Observation::StateDiverged(own.index)));
        }
    }

    fn write_rows(&mut self, dirty: &BTreeSet<Vec<u8>>, store: &mut Store) {
        for key in dirty {
            let value = self.image_row(key);
            self.image.set(key, value.as_deref());
            self.images.values_mut().for_each(|transfer| transfer.touch(key));
            match value {
                Some(bytes) => store.put(key.clone().into(), bytes),
                None => store.delete(key.clone().into()),
            }
        }
    }

    /// The bytes of a row of the image.
    pub(super) fn image_row(&self, key: &[u8]) -> Option<Vec<u8>> {
        match ImageKey::parse(key)? {
            ImageKey::Lease(node) => self.leases.0.get(&node).map(rows::encode),
            ImageKey::Applied(node) => self.applied_sets.get(&node).map(rows::encode),
            ImageKey::State(key) => self.state.row(key),
        }
    }

    /// Takes a row of the image from disk or from a snapshot.
    pub(super) fn load_image_row(&mut self, key: ImageKey<'_>, value: &[u8]) -> Result<(), BadRow> {
        match key {
            ImageKey::Lease(node) => drop(self.leases.0.insert(node, rows::decode(value)?)),
            ImageKey::Applied(node) => drop(self.applied_sets.insert(node, rows::decode(value)?)),
            ImageKey::State(key) => self.state.load_row(key, value)?,
        }
        Ok(())
    }

    /// Entries that are not applied yet must decode, since applying them cannot fail.
    pub(super) fn check_unapplied(&mut self) -> Result<(), BadRow> {
        for index in self.applied.index + 1..=self.log.last_index() {
            let record = self.log.get(index).ok_or(BadRow)?;
            if let Some(payload) = &record.payload {
                let id = rows::decode::<Proposal<S::Command>>(payload)?.id;
                self.log.note_waiting(id, index);
            }
        }
        Ok(())
    }

    fn apply_next(&mut self, dirty: &mut BTreeSet<Vec<u8>>, out: &mut Effects) {
        let index = self.applied.index + 1;
        let record = self.log.get(index).expect("a committed entry is in the log");
        self.applied.index = index;
        self.applied.term = record.term;
        let Some(payload) = &record.payload else { return };
        let proposal: Proposal<S::Command> =
            rows::decode(payload).expect("entries are decoded before they are kept");
        let id = proposal.id;
        self.log.no_longer_waiting(id);
        if !self.applied_sets.entry(id.node).or_default().note(id) {
            return;
        }
        dirty.insert(rows::applied_key(id.node));
        match proposal.command {
            Command::Tier(command) => {
                let mut changes = Changes::default();
                self.state.apply(&Entry { index, proposal: id, command }, &mut changes);
                dirty.extend(changes.rows.iter().map(|key| rows::state_key(key)));
                self.done.jobs.extend(changes.jobs);
                out.extend(changes.observations.into_iter().map(Effect::Observe));
            }
            Command::LeaseRenewed { disk, renew_no } => {
                let change = self.leases.renew(id.node, id.boot, disk, renew_no);
                self.lease_changed(id.node, change, Some(id), dirty, out);
            }
            Command::LeaseEnded { node, boot, renew_no } => {
                let change = self.leases.end(node, boot, renew_no);
                self.lease_changed(node, change, None, dirty, out);
            }
        }
        self.decided(id, true);
    }

    /// Reports one of this boot's proposals as decided.
    pub(super) fn decided(&mut self, id: ProposalId, seen: bool) {
        if (id.node, id.boot) == (self.me, self.boot) && self.proposals.decided(id.n) == Some(Kind::Tier) {
            self.done.decided.push((id.n, seen));
        }
    }

    fn lease_changed(
        &mut self,
        node: NodeId,
        change: LeaseChange,
        renewal: Option<ProposalId>,
        dirty: &mut BTreeSet<Vec<u8>>,
        out: &mut Effects,
    ) {
        if change == LeaseChange::Refused
            && renewal.is_some_and(|id| (id.node, id.boot) == (self.me, self.boot))
        {
            self.halted = Some(HaltReason::OldDisk);
        }
        if matches!(change, LeaseChange::Nothing | LeaseChange::Refused) {
            return;
        }
        dirty.insert(rows::lease_key(node));
        if matches!(change, LeaseChange::Ended | LeaseChange::Replaced) {
            out.push(Effect::Observe(Observation::LeaseEnded(node)));
        }
        self.done.leases |= change != LeaseChange::Renewed;
        self.look_at_lease(node);
    }

    /// Takes the log's newest word on a node's lease to this node's own clocks.
    pub(super) fn look_at_lease(&mut self, node: NodeId) {
        let Some(lease) = self.leases.0.get(&node) else { return };
        if node == self.me {
            self.lease.own(self.boot, lease);
        } else {
            self.lease.saw(node);
        }
    }
}
