//! The gates' replicated state: records, tombstones and their indices, and how they become rows.
//!
//! Only applied commands and loaded rows change what a row says. The indices (by owner, by idempotency key, per tenant)
//! follow in the same functions that link and unlink a record.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use minicbor::{Decode, Encode};

use super::command::GateCommand;
use super::job::{GateJob, JobRow, Kept, Origin, PartRow, Tombstone};
use crate::bytes::Bytes;
use crate::config::Limits;
use crate::id::{DcId, JobId, NodeId, Tenant, WorkflowIx};
use crate::ledger::{BadRow, Changes, Entry, State};

/// What all gates agree on.
#[derive(Clone, Debug, Default)]
pub struct GateState {
    /// Every job that is not dropped.
    pub(super) jobs: BTreeMap<JobId, GateJob>,
    /// Every job whose record was dropped, up to the bound that the dropping command names.
    pub(super) tombstones: BTreeMap<JobId, Tombstone>,
    /// Tombstones by age.
    buried: BTreeSet<(u64, JobId)>,
    /// Idempotency keys of records and tombstones.
    pub(super) keys: BTreeMap<(Tenant, String), JobId>,
    /// Records by owner.
    pub(super) by_owner: BTreeMap<NodeId, BTreeSet<JobId>>,
    /// How many records a tenant has.
    pub(super) per_tenant: BTreeMap<Tenant, u32>,
    /// Volatile: records that were dropped in this step, for their streams to be closed.
    pub(super) dropped: Vec<(JobId, GateJob)>,
}

impl GateState {
    /// Links a record and its indices.
    pub(super) fn insert(&mut self, job: JobId, record: GateJob) {
        if let Some(key) = record.origin.key_of_tenant() {
            self.keys.insert(key, job);
        }
        *self.per_tenant.entry(record.origin.tenant.clone()).or_default() += 1;
        self.by_owner.entry(record.row.owner).or_default().insert(job);
        self.jobs.insert(job, record);
    }

    /// Unlinks a record and its indices.
    pub(super) fn remove(&mut self, job: JobId) -> Option<GateJob> {
        let record = self.jobs.remove(&job)?;
        if let Some(key) = record.origin.key_of_tenant() {
            self.forget_key(&key, job);
        }
        if let Some(count) = self.per_tenant.get_mut(&record.origin.tenant) {
            *count -= 1;
            if *count == 0 {
                self.per_tenant.remove(&record.origin.tenant);
            }
        }
        self.unindex_owner(job, record.row.owner);
        Some(record)
    }

    /// Whether the places of ended jobs may soon be needed: three quarters of all, or of the tenant's, are taken.
    pub(super) fn is_crowded(&self, tenant: &Tenant, limits: &Limits) -> bool {
        let own = self.per_tenant.get(tenant).map_or(0, |count| u64::from(*count));
        let nearly = |count: u64, bound: u32| count * 4 >= u64::from(bound) * 3;
        nearly(self.jobs.len() as u64, limits.jobs) || nearly(own, limits.jobs_per_tenant)
    }

    fn unindex_owner(&mut self, job: JobId, owner: NodeId) {
        if let Some(jobs) = self.by_owner.get_mut(&owner) {
            jobs.remove(&job);
            if jobs.is_empty() {
                self.by_owner.remove(&owner);
            }
        }
    }

    pub(super) fn reindex_owner(&mut self, job: JobId, old: NodeId, new: NodeId) {
        self.unindex_owner(job, old);
        self.by_owner.entry(new).or_default().insert(job);
    }

    /// Adds a tombstone and its indices.
    pub(super) fn bury(&mut self, job: JobId, tombstone: Tombstone) {
        if let Some(key) = &tombstone.key {
            self.keys.insert((tombstone.tenant.clone(), key.clone()), job);
        }
        self.buried.insert((tombstone.dropped_at, job));
        self.tombstones.insert(job, tombstone);
    }

    /// Removes the oldest tombstone and its indices.
    pub(super) fn exhume_oldest(&mut self) -> Option<JobId> {
        let (_, job) = *self.buried.first()?;
        self.exhume(job);
        Some(job)
    }

    fn exhume(&mut self, job: JobId) {
        let Some(tombstone) = self.tombstones.remove(&job) else { return };
        self.buried.remove(&(tombstone.dropped_at, job));
        if let Some(key) = tombstone.key {
            self.forget_key(&(tombstone.tenant, key), job);
        }
    }

    /// A job's record or tombstone has gone. Its key goes with it unless the other one is there, or another job has it
    /// now: a snapshot brings what is new before it takes what is old.
    fn forget_key(&mut self, key: &(Tenant, String), job: JobId) {
        let is_there = self.jobs.contains_key(&job) || self.tombstones.contains_key(&job);
        if !is_there && self.keys.get(key) == Some(&job) {
            self.keys.remove(key);
        }
    }

    /// Whether records or their indices mention a job; tombstones and idempotency keys do not count.
    pub(super) fn mentions(&self, job: JobId) -> usize {
        usize::from(self.jobs.contains_key(&job))
            + self.by_owner.values().filter(|jobs| jobs.contains(&job)).count()
            + self.dropped.iter().filter(|(dropped, _)| *dropped == job).count()
    }
}

/// The name of a row of the gates' state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowName {
    /// [`Origin`].
    Origin(JobId),
    /// [`JobRow`].
    Main(JobId),
    /// A workflow's report.
    Report(JobId, (DcId, WorkflowIx)),
    /// A [`PartRow`].
    Part(JobId, (DcId, WorkflowIx), u16),
    /// A [`Kept`] event, from 1.
    Event(JobId, u64),
    /// A [`Tombstone`].
    Tombstone(JobId),
}

impl RowName {
    // In key order a record's origin comes before its other rows.
    const ORIGIN: u8 = 1;
    const MAIN: u8 = 2;
    const REPORT: u8 = 3;
    const PART: u8 = 4;
    const EVENT: u8 = 5;
    const TOMBSTONE: u8 = 6;

    /// The row's key: a kind, the job, what tells rows of a job apart.
    pub fn key(self) -> Vec<u8> {
        let (kind, job) = match self {
            Self::Origin(job) => (Self::ORIGIN, job),
            Self::Main(job) => (Self::MAIN, job),
            Self::Report(job, _) => (Self::REPORT, job),
            Self::Part(job, ..) => (Self::PART, job),
            Self::Event(job, _) => (Self::EVENT, job),
            Self::Tombstone(job) => (Self::TOMBSTONE, job),
        };
        let mut key = Vec::with_capacity(48);
        key.push(kind);
        key.extend_from_slice(&job.0);
        match self {
            Self::Origin(_) | Self::Main(_) | Self::Tombstone(_) => {}
            Self::Report(_, place) => put_place(&mut key, place),
            Self::Part(_, place, part) => {
                put_place(&mut key, place);
                key.extend_from_slice(&part.to_be_bytes());
            }
            Self::Event(_, kept) => key.extend_from_slice(&kept.to_be_bytes()),
        }
        key
    }

    /// Reads a key.
    pub fn parse(key: &[u8]) -> Option<Self> {
        let (kind, rest) = key.split_first()?;
        let (job, rest) = rest.split_first_chunk::<16>()?;
        let job = JobId(*job);
        match (*kind, rest) {
            (Self::ORIGIN, []) => Some(Self::Origin(job)),
            (Self::MAIN, []) => Some(Self::Main(job)),
            (Self::TOMBSTONE, []) => Some(Self::Tombstone(job)),
            (Self::REPORT, place) => match take_place(place)? {
                (place, []) => Some(Self::Report(job, place)),
                _ => None,
            },
            (Self::PART, place) => {
                let (place, part) = take_place(place)?;
                Some(Self::Part(job, place, u16::from_be_bytes(part.try_into().ok()?)))
            }
            (Self::EVENT, kept) => Some(Self::Event(job, u64::from_be_bytes(kept.try_into().ok()?))),
            _ => None,
        }
    }
}

fn put_place(key: &mut Vec<u8>, (dc, workflow): (DcId, WorkflowIx)) {
    let name = dc.as_str().as_bytes();
    key.extend_from_slice(name);
    key.resize(key.len() + DcId::MAX_LEN - name.len(), 0);
    key.extend_from_slice(&workflow.0.to_be_bytes());
}

fn take_place(bytes: &[u8]) -> Option<((DcId, WorkflowIx), &[u8])> {
    let (name, rest) = bytes.split_first_chunk::<{ DcId::MAX_LEN }>()?;
    let (workflow, rest) = rest.split_first_chunk::<2>()?;
    let name = core::str::from_utf8(name).ok()?.trim_end_matches('\0');
    Some(((DcId::new(name).ok()?, WorkflowIx(u16::from_be_bytes(*workflow))), rest))
}

fn encode<T: Encode<()>>(value: &T) -> Vec<u8> {
    minicbor::to_vec(value).expect("encoding into memory")
}

fn decode<T: for<'b> Decode<'b, ()>>(bytes: &[u8]) -> Result<T, BadRow> {
    minicbor::decode(bytes).map_err(|_| BadRow)
}

impl State for GateState {
    type Command = GateCommand;

    fn apply(&mut self, entry: &Entry<GateCommand>, changes: &mut Changes) {
        self.apply_command(entry, changes);
    }

    fn row(&self, key: &[u8]) -> Option<Vec<u8>> {
        match RowName::parse(key)? {
            RowName::Origin(job) => Some(encode(&self.jobs.get(&job)?.origin)),
            RowName::Main(job) => Some(encode(&self.jobs.get(&job)?.row)),
            RowName::Report(job, place) => Some(encode(self.jobs.get(&job)?.reports.get(&place)?)),
            RowName::Part(job, place, part) => {
                let staged = self.jobs.get(&job)?.parts.get(&place)?;
                let bytes = staged.have.get(&part)?.clone();
                Some(encode(&PartRow { dc_epoch: staged.dc_epoch, parts: staged.parts, bytes }))
            }
            RowName::Event(job, kept) => {
                let place = usize::try_from(kept).ok()?.checked_sub(1)?;
                Some(encode(self.jobs.get(&job)?.events.get(place)?))
            }
            RowName::Tombstone(job) => Some(encode(self.tombstones.get(&job)?)),
        }
    }

    fn keys(&self) -> Vec<Vec<u8>> {
        let records = self.jobs.iter().flat_map(|(job, record)| record.row_names(*job));
        let tombstones = self.tombstones.keys().map(|job| RowName::Tombstone(*job));
        let mut keys: Vec<_> = records.chain(tombstones).map(RowName::key).collect();
        keys.sort_unstable();
        keys
    }

    fn load_row(&mut self, key: &[u8], bytes: &[u8]) -> Result<(), BadRow> {
        match RowName::parse(key).ok_or(BadRow)? {
            RowName::Origin(job) => self.load_origin(job, decode(bytes)?),
            RowName::Main(job) => self.load_main(job, decode(bytes)?)?,
            RowName::Report(job, place) => {
                self.jobs.get_mut(&job).ok_or(BadRow)?.reports.insert(place, decode(bytes)?);
            }
            RowName::Part(job, place, part) => self.load_part(job, place, part, decode(bytes)?)?,
            RowName::Event(job, kept) => self.load_event(job, kept, decode(bytes)?)?,
            RowName::Tombstone(job) => {
                self.exhume(job);
                self.bury(job, decode(bytes)?);
            }
        }
        Ok(())
    }

    fn drop_row(&mut self, key: &[u8]) {
        let Some(name) = RowName::parse(key) else { return };
        match name {
            RowName::Origin(job) => {
                let record = self.remove(job);
                self.dropped.extend(record.map(|record| (job, record)));
            }
            // Goes with its origin.
            RowName::Main(_) => {}
            RowName::Tombstone(job) => self.exhume(job),
            RowName::Report(job, place) => {
                self.jobs.get_mut(&job).and_then(|record| record.reports.remove(&place));
            }
            RowName::Part(job, place, part) => {
                let Some(record) = self.jobs.get_mut(&job) else { return };
                if let Some(staged) = record.parts.get_mut(&place) {
                    staged.have.remove(&part);
                    if staged.have.is_empty() {
                        record.parts.remove(&place);
                    }
                }
            }
            RowName::Event(job, kept) => {
                // Events are numbered without gaps and only added: a state without this one has none after it.
                let keep = usize::try_from(kept.saturating_sub(1)).unwrap_or(usize::MAX);
                if let Some(record) = self.jobs.get_mut(&job) {
                    record.events.truncate(keep);
                }
            }
        }
    }
}

impl GateState {
    /// A record begins with its origin; until its other row comes it stands as nobody's.
    fn load_origin(&mut self, job: JobId, origin: Origin) {
        match self.jobs.get_mut(&job) {
            // Never changes.
            Some(record) => record.origin = origin,
            None => self.insert(job, GateJob::new(origin, JobRow::empty())),
        }
    }

    fn load_main(&mut self, job: JobId, row: JobRow) -> Result<(), BadRow> {
        let record = self.jobs.get_mut(&job).ok_or(BadRow)?;
        let new = row.owner;
        let old = core::mem::replace(&mut record.row, row).owner;
        self.reindex_owner(job, old, new);
        Ok(())
    }

    fn load_part(
        &mut self,
        job: JobId,
        place: (DcId, WorkflowIx),
        part: u16,
        row: PartRow,
    ) -> Result<(), BadRow> {
        let staged = self.jobs.get_mut(&job).ok_or(BadRow)?.parts.entry(place).or_default();
        staged.dc_epoch = row.dc_epoch;
        staged.parts = row.parts;
        staged.have.insert(part, row.bytes);
        Ok(())
    }

    fn load_event(&mut self, job: JobId, kept: u64, event: Kept) -> Result<(), BadRow> {
        let events = &mut self.jobs.get_mut(&job).ok_or(BadRow)?.events;
        let place = usize::try_from(kept).ok().and_then(|kept| kept.checked_sub(1)).ok_or(BadRow)?;
        if place > events.len() {
            return Err(BadRow);
        }
        match events.get_mut(place) {
            Some(old) => *old = event,
            None => events.push(event),
        }
        Ok(())
    }
}

/// The bytes of a report, cut into parts for the log.
pub(super) fn parts_of<T: Encode<()>>(value: &T, part_bytes: usize) -> Vec<Bytes> {
    encode(value).chunks(part_bytes).map(|part| Bytes(part.to_vec())).collect()
}
