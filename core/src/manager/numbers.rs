//! Numbers that are too large for one log entry travel in parts.
//!
//! Two full histograms of a long run can be larger than an entry may be. Their bytes are then cut: each part is a
//! command and a row of its own, and the command that uses them names how many there are and the digest of the whole.
//! One whose parts are not all there changes nothing and is proposed again.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::hash::Hasher;
use minicbor::{Decode, Encode};

use super::command::Command;
use super::context::Context;
use super::job::{DcJob, Duty};
use crate::bytes::Bytes;
use crate::digest::Digest;
use crate::id::RunId;
use crate::jobs::Totals;
use crate::wire::{decode_row, encode_row};

/// Bytes in one part; leaves room for the rest of an entry.
pub const PART_BYTES: usize = 48 * 1024;
/// Most parts: more than the largest pair of histograms takes.
pub const MAX_PARTS: u16 = 32;
const FORMAT: u8 = 1;

/// Numbers that came in parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct InParts {
    /// Of all their bytes.
    #[n(0)]
    pub digest: u64,
    /// How many parts.
    #[n(1)]
    pub count: u16,
}

/// The parts that are in the log for a shard's newest attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// Of what.
    pub digest: u64,
    /// By place.
    pub bytes: BTreeMap<u16, Bytes>,
}

/// One part as a row.
#[derive(Encode, Decode)]
pub struct PartRow {
    /// Of what.
    #[n(0)]
    pub digest: u64,
    /// The bytes.
    #[n(1)]
    pub bytes: Bytes,
}

impl Parts {
    /// Adds a part; the parts of anything else go.
    pub fn add(&mut self, digest: u64, part: u16, bytes: Bytes) {
        if self.digest != digest {
            *self = Self { digest, bytes: BTreeMap::new() };
        }
        self.bytes.insert(part, bytes);
    }

    /// The numbers, if all parts are there.
    pub fn read(&self, wanted: InParts) -> Option<Totals> {
        let whole: Vec<u8> = self.bytes.values().flat_map(|bytes| bytes.iter().copied()).collect();
        let complete = self.bytes.len() == usize::from(wanted.count)
            && self.digest == wanted.digest
            && digest(&whole) == wanted.digest;
        if complete { decode_row(FORMAT, &whole).ok() } else { None }
    }
}

/// The numbers cut in parts; `None` where they fit into an entry.
pub fn cut(totals: &Totals) -> Option<(InParts, Vec<Bytes>)> {
    let whole = encode_row(FORMAT, totals);
    if whole.len() <= PART_BYTES {
        return None;
    }
    let parts: Vec<Bytes> = whole.chunks(PART_BYTES).map(|part| Bytes(part.to_vec())).collect();
    Some((InParts { digest: digest(&whole), count: parts.len() as u16 }, parts))
}

fn digest(bytes: &[u8]) -> u64 {
    let mut digest = Digest::default();
    digest.write(bytes);
    digest.finish()
}

/// The commands that bring the parts into the log.
pub fn commands(run: RunId, cut: InParts, parts: Vec<Bytes>) -> impl Iterator<Item = (Duty, Command)> {
    (0u16..).zip(parts).map(move |(part, bytes)| {
        let command = Command::Part { run, digest: cut.digest, part, bytes };
        (Duty::Part(run.shard.workflow, run.shard.shard, part), command)
    })
}

impl DcJob {
    /// Proposes the parts of numbers that are too large for an entry; they are taken out of `totals`.
    pub(super) fn propose_parts(
        &mut self,
        cx: &mut Context<'_>,
        run: RunId,
        totals: &mut Totals,
    ) -> Option<InParts> {
        let (whole, parts) = cut(totals)?;
        *totals = Totals::default();
        for (duty, command) in commands(run, whole, parts) {
            self.propose(cx, duty, command);
        }
        Some(whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::ErrorCount;

    #[test]
    fn parts_make_the_whole_in_any_order_and_nothing_else_does() {
        // Not what a worker sends, but large without a histogram.
        let errors =
            (0..2_000u64).map(|no| ErrorCount { kind: std::format!("{no:090}"), count: no }).collect();
        let totals = Totals { ok: 5, errors, ..Totals::default() };
        let (whole, parts) = cut(&totals).expect("too large for an entry");
        assert!(whole.count > 2 && whole.count <= MAX_PARTS);
        let mut kept = Parts::default();
        kept.add(1, 0, Bytes(std::vec![1]));
        for (part, bytes) in (0..whole.count).zip(parts).rev() {
            assert_eq!(kept.read(whole), None);
            kept.add(whole.digest, part, bytes);
        }
        assert_eq!(kept.read(whole), Some(totals));
        assert_eq!(kept.read(InParts { digest: 0, ..whole }), None);
        assert_eq!(cut(&Totals::default()), None);
    }
}
