//! The retained log: what noraft does not keep (the payloads), what of it is durable, and how large it is.

use alloc::collections::{BTreeMap, VecDeque};

use super::ProposalId;
use super::message::{LogPos, LogRecord};
use crate::id::Term;
use crate::store::{Store, StoreToken};

/// Entries after `base`, in memory as on disk.
#[derive(Clone, Debug, Default)]
pub(super) struct RetainedLog {
    base: LogPos,
    records: VecDeque<LogRecord>,
    bytes: usize,
    /// Appends that the disk has not confirmed: up to which index each reaches.
    writing: VecDeque<(StoreToken, u64)>,
    durable: u64,
    /// Proposals in entries that are not applied yet, so that a leader does not append them twice.
    waiting: BTreeMap<ProposalId, u64>,
}

impl RetainedLog {
    /// A leader takes no further proposal while its log is larger, in bytes.
    pub const MAX_BYTES: usize = 4 * 1024 * 1024;

    /// The log as the disk holds it, all of it durable.
    pub fn restored(base: LogPos, records: VecDeque<LogRecord>) -> Self {
        let bytes = records.iter().map(LogRecord::size).sum();
        let durable = base.index + records.len() as u64;
        Self { base, records, bytes, writing: VecDeque::new(), durable, waiting: BTreeMap::new() }
    }

    /// The place before the first entry.
    pub fn base(&self) -> LogPos {
        self.base
    }

    /// The index of the last entry.
    pub fn last_index(&self) -> u64 {
        self.base.index + self.records.len() as u64
    }

    /// The size of all entries, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Everything up to here is on disk.
    pub fn durable(&self) -> u64 {
        self.durable
    }

    /// The entry at an index.
    pub fn get(&self, index: u64) -> Option<&LogRecord> {
        let place = index.checked_sub(self.base.index + 1)?;
        self.records.get(usize::try_from(place).ok()?)
    }

    /// The term of the entry at an index; known for the base, too.
    pub fn term(&self, index: u64) -> Option<Term> {
        if index == self.base.index {
            Some(self.base.term)
        } else {
            self.get(index).map(|record| record.term)
        }
    }

    /// Drops everything after `index` from memory; returns the former last index.
    pub fn truncate(&mut self, index: u64) -> u64 {
        let former = self.last_index();
        while self.last_index() > index {
            if let Some(record) = self.records.pop_back() {
                self.bytes -= record.size();
            }
        }
        self.durable = self.durable.min(index);
        for (_, reach) in &mut self.writing {
            *reach = (*reach).min(index);
        }
        self.waiting.retain(|_, at| *at <= index);
        former
    }

    /// Adds an entry in memory.
    pub fn push(&mut self, record: LogRecord, proposal: Option<ProposalId>) {
        self.bytes += record.size();
        self.records.push_back(record);
        if let Some(id) = proposal {
            self.waiting.insert(id, self.last_index());
        }
    }

    /// Notes that everything pushed so far is durable once `token` is.
    pub fn written(&mut self, token: StoreToken) {
        self.writing.push_back((token, self.last_index()));
    }

    /// Takes in what the disk has confirmed.
    pub fn confirm(&mut self, store: &Store) {
        while let Some((token, reach)) = self.writing.front().copied() {
            if !store.is_stored(token) {
                break;
            }
            self.durable = self.durable.max(reach);
            self.writing.pop_front();
        }
    }

    /// Whether a proposal lies in an entry that is not applied yet.
    pub fn is_waiting(&self, id: ProposalId) -> bool {
        self.waiting.contains_key(&id)
    }

    /// A proposal lies in an entry that is not applied yet.
    pub fn note_waiting(&mut self, id: ProposalId, index: u64) {
        self.waiting.insert(id, index);
    }

    /// A proposal's entry is applied.
    pub fn no_longer_waiting(&mut self, id: ProposalId) {
        self.waiting.remove(&id);
    }

    /// Moves the base up to `to`, which lies in the log or after its end; the entries up to there go.
    pub fn compact(&mut self, to: LogPos) {
        if self.term(to.index) == Some(to.term) {
            while self.base.index < to.index {
                let gone = self.records.pop_front().expect("the base is inside the log");
                self.bytes -= gone.size();
                self.base = LogPos { term: gone.term, index: self.base.index + 1 };
            }
            self.waiting.retain(|_, at| *at > to.index);
        } else {
            let writing = core::mem::take(&mut self.writing);
            *self = Self::restored(to, VecDeque::new());
            self.writing = writing.into_iter().map(|(token, _)| (token, to.index)).collect();
        }
    }
}
