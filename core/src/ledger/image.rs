//! The digest of the image: a sum of row hashes, kept up to date row by row, and its checkpoints.
//!
//! Replicas that have applied the same entries have the same rows, so they have the same sum at the same index. It is
//! taken at every multiple of [`CHECKPOINT_EVERY`] and with each snapshot, and compared with the leader's.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::hash::Hasher;

use super::message::Checkpoint;
use crate::digest::Digest;

/// A checkpoint is taken where the applied index is a multiple of this.
pub(super) const CHECKPOINT_EVERY: u64 = 64;
/// How many checkpoints are remembered, and how many of the leader's may be ahead; the oldest go first.
const KEPT: usize = 16;

/// The hash of one row under its whole key.
pub(super) fn row_hash(key: &[u8], value: &[u8]) -> u64 {
    let mut digest = Digest::default();
    digest.write(key);
    digest.write(value);
    digest.finish()
}

/// The digest of the rows and of what others say about theirs.
#[derive(Clone, Debug, Default)]
pub(super) struct ImageDigest {
    rows: BTreeMap<Vec<u8>, u64>,
    sum: u64,
    own: VecDeque<Checkpoint>,
    heard: VecDeque<Checkpoint>,
}

impl ImageDigest {
    /// A row was written, or deleted where there are no bytes.
    pub fn set(&mut self, key: &[u8], value: Option<&[u8]>) {
        let old = match value {
            Some(bytes) => {
                let hash = row_hash(key, bytes);
                self.sum = self.sum.wrapping_add(hash);
                self.rows.insert(key.to_vec(), hash)
            }
            None => self.rows.remove(key),
        };
        self.sum = self.sum.wrapping_sub(old.unwrap_or(0));
    }

    /// The digest of all rows.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The keys of all rows, in order.
    pub fn keys(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.rows.keys()
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Takes a checkpoint; false where the leader's at the same index differs.
    pub fn checkpoint(&mut self, index: u64) -> (Checkpoint, bool) {
        let own = Checkpoint { index, digest: self.sum };
        remember(&mut self.own, own);
        let same = self.heard.iter().all(|heard| heard.index != index || heard.digest == own.digest);
        self.heard.retain(|heard| heard.index > index);
        (own, same)
    }

    /// The newest own checkpoint.
    pub fn newest(&self) -> Option<Checkpoint> {
        self.own.back().copied()
    }

    /// The leader tells one of its own; false where this node's differs.
    pub fn hear(&mut self, told: Checkpoint, applied: u64) -> bool {
        if told.index > applied {
            if self.heard.back() != Some(&told) {
                remember(&mut self.heard, told);
            }
            return true;
        }
        self.own.iter().all(|own| own.index != told.index || own.digest == told.digest)
    }

    /// Forgets everything: the rows are about to be replaced.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

fn remember(kept: &mut VecDeque<Checkpoint>, new: Checkpoint) {
    if kept.len() == KEPT {
        kept.pop_front();
    }
    kept.push_back(new);
}
