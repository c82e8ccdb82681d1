//! Durable rows, and the one place where effects wait for them.
//!
//! A step collects its writes in a [`Store`]; [`Store::flush`] turns them into one `Effect::Store`. An effect that must
//! not happen before a write is durable is given to [`Store::after_stored`] instead of the effect buffer; it comes out,
//! in order, when the driver reports the write's token as stored. Nothing else in the core delays an effect.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use minicbor::{Decode, Encode};

use crate::bytes::Bytes;
use crate::effect::{Effect, Effects, HaltReason};
use crate::event::Event;
use crate::observe::Observation;

/// Names one `Effect::Store` of this process. Tokens complete in order; a `Stored` covers all lower ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct StoreToken(#[n(0)] pub u64);

/// The key of a durable row. The first byte is the table (see [`table`]); the rest sorts as bytes.
pub type RowKey = Bytes;

/// Tables: the first byte of a row's key. One owner each.
pub mod table {
    /// Format number of the rows and the identity of the disk; written by the driver when it makes the disk.
    pub const META: u8 = 0;
    /// Term, vote, snapshot position, leases: the ledger's own state.
    pub const LEDGER: u8 = 1;
    /// Log entries by index (big endian).
    pub const LOG: u8 = 2;
    /// The applied state of the tier.
    pub const STATE: u8 = 3;
    /// A worker's results that no manager has acknowledged yet.
    pub const OUTBOX: u8 = 4;
}

/// One durable change.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Write {
    /// Which row.
    #[n(0)]
    pub key: RowKey,
    /// Its new bytes, or `None` to delete it.
    #[n(1)]
    pub value: Option<Bytes>,
}

/// The writes of a step and the effects that wait for earlier ones.
#[derive(Clone, Debug, Default)]
pub struct Store {
    last_issued: StoreToken,
    last_stored: StoreToken,
    batch: Vec<Write>,
    held: VecDeque<(StoreToken, Effect)>,
    failed: bool,
}

impl Store {
    /// Most effects that may wait for the disk; beyond it the disk is treated as failed, since nothing may be dropped.
    pub const MAX_HELD: usize = 65_536;

    /// Adds a row to the step's batch. Later writes of the same key win.
    pub fn put(&mut self, key: RowKey, value: Vec<u8>) {
        self.batch.push(Write { key, value: Some(Bytes(value)) });
    }

    /// Adds a deletion to the step's batch.
    pub fn delete(&mut self, key: RowKey) {
        self.batch.push(Write { key, value: None });
    }

    /// Whether the step has written anything yet.
    pub fn has_writes(&self) -> bool {
        !self.batch.is_empty()
    }

    /// The token after which everything written so far, this step included, is durable.
    pub fn barrier(&self) -> StoreToken {
        if self.batch.is_empty() { self.last_issued } else { StoreToken(self.last_issued.0 + 1) }
    }

    /// Whether everything up to `token` is durable.
    pub fn is_stored(&self, token: StoreToken) -> bool {
        token <= self.last_stored
    }

    /// Performs `effect` once everything written so far is durable: now, where nothing is outstanding.
    pub fn after_stored(&mut self, effect: Effect, out: &mut Effects) {
        let barrier = self.barrier();
        if self.is_stored(barrier) && self.held.is_empty() {
            out.push(effect);
        } else {
            assert!(
                self.held.len() < Self::MAX_HELD,
                "the disk has not answered for {} effects",
                self.held.len()
            );
            self.held.push_back((barrier, effect));
        }
    }

    /// The last step of a node that halts: `effect` is performed once everything written is durable, and what waited for
    /// the disk never is.
    pub fn end_with(&mut self, effect: Effect, out: &mut Effects) {
        self.held.clear();
        self.after_stored(effect, out);
        self.flush(out);
    }

    /// Ends a step: emits its batch, if there is one.
    pub fn flush(&mut self, out: &mut Effects) {
        if !self.batch.is_empty() && !self.failed {
            self.last_issued.0 += 1;
            let writes = core::mem::take(&mut self.batch);
            out.push(Effect::Store { token: self.last_issued, writes });
        }
    }

    /// The driver reports everything up to `token` as durable: releases what waited for it. Repeats and tokens that
    /// were never issued change nothing; the answer tells whether this one did.
    pub fn stored(&mut self, token: StoreToken, out: &mut Effects) -> bool {
        if token <= self.last_stored || token > self.last_issued || self.failed {
            return false;
        }
        self.last_stored = token;
        while self.held.front().is_some_and(|(barrier, _)| *barrier <= token) {
            out.extend(self.held.pop_front().map(|(_, effect)| effect));
        }
        true
    }

    /// One event of a node that ends as soon as everything written is durable; tells whether it has ended.
    pub fn wind_down(&mut self, event: &Event, out: &mut Effects) -> bool {
        match event {
            Event::Stored { token } => drop(self.stored(*token, out)),
            Event::StoreFailed { .. } => self.fail_and_halt(out),
            _ => {}
        }
        self.held() == 0
    }

    /// A write failed: that is told, and ends the node.
    pub fn fail_and_halt(&mut self, out: &mut Effects) {
        self.fail();
        out.push(Effect::Observe(Observation::StoreFailed));
        out.push(Effect::Halt(HaltReason::StoreFailed));
    }

    /// A write failed, which is final: what waits will never happen.
    pub fn fail(&mut self) {
        self.failed = true;
        self.held.clear();
        self.batch.clear();
    }

    /// Whether a write has failed.
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// How many effects wait for the disk.
    pub fn held(&self) -> usize {
        self.held.len()
    }
}
