//! The replicated state of a datacenter's tier, as rows.
//!
//! A job has one constant row, one of facts, one of numbers for each workflow that measured something, and one for
//! every [`SHARDS_A_ROW`] shards that ever had an attempt; a dropped job leaves a row that says how it ended. A command
//! changes few of them (a step of the ledger encodes at most 64).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use minicbor::{Decode, Encode};

use super::command::Command;
use super::job::{Accepted, DcJob, JobFacts, JobLive, Shard, ShardFacts, Workflow, WorkflowFacts};
use super::numbers::PartRow;
use crate::id::{DcEpoch, GateEpoch, JobId, NodeId, WorkflowIx};
use crate::jobs::JobStatus;
use crate::ledger::{BadRow, Changes, Entry, State};
use crate::wire::{decode_row, encode_row};

/// Shards that share a row: the largest workflow has 16 such rows.
pub const SHARDS_A_ROW: u16 = 64;

/// The applied state of a datacenter's managers.
#[derive(Clone, Debug, Default)]
pub struct ManagerState {
    /// One record per job.
    pub jobs: BTreeMap<JobId, DcJob>,
    /// How dropped jobs ended: at most [`ManagerState::MAX_DROPPED`], the oldest go first.
    pub dropped: BTreeMap<JobId, JobStatus>,
}

/// The row of a job's changing facts.
#[derive(Encode, Decode)]
struct FactsRow {
    #[n(0)]
    job: JobFacts,
    #[n(1)]
    workflows: Vec<WorkflowFacts>,
}

/// A row of shards.
#[derive(Encode, Decode)]
struct ShardsRow {
    #[n(0)]
    shards: Vec<(u16, ShardFacts)>,
}

impl ManagerState {
    /// Most dropped jobs that are remembered. The same for every replica, so it cannot be configured.
    pub const MAX_DROPPED: usize = 65_536;
    /// The format of the rows.
    const FORMAT: u8 = 1;

    /// Remembers how a dropped job ended; tells which one had to make room.
    pub(super) fn remember_dropped(&mut self, job: JobId, status: JobStatus) -> Option<JobId> {
        self.dropped.insert(job, status);
        if self.dropped.len() <= Self::MAX_DROPPED {
            return None;
        }
        self.dropped.pop_first().map(|(oldest, _)| oldest)
    }

    /// The rows of a job's record.
    pub(super) fn rows_of(&self, job: JobId) -> Vec<RowName> {
        let Some(record) = self.jobs.get(&job) else { return Vec::new() };
        let mut rows = alloc::vec![RowName::Accepted(job), RowName::Facts(job)];
        for (workflow, known) in record.places().zip(&record.workflows) {
            if known.totals != Default::default() {
                rows.push(RowName::Totals(job, workflow));
            }
            for (no, shard) in &known.shards {
                rows.extend(shard.parts.bytes.keys().map(|part| RowName::Part(job, workflow, *no, *part)));
            }
            let groups: BTreeSet<u16> = known.shards.keys().map(|no| no / SHARDS_A_ROW).collect();
            rows.extend(groups.into_iter().map(|group| RowName::Shards(job, workflow, group)));
        }
        rows
    }

    fn encode(&self, name: RowName) -> Option<Vec<u8>> {
        if let RowName::Dropped(job) = name {
            return self.dropped.get(&job).map(|status| encode_row(Self::FORMAT, status));
        }
        let record = self.jobs.get(&name.job())?;
        match name {
            RowName::Accepted(_) => Some(encode_row(Self::FORMAT, &record.accepted)),
            RowName::Facts(_) => {
                let workflows = record.workflows.iter().map(|known| known.facts.clone()).collect();
                Some(encode_row(Self::FORMAT, &FactsRow { job: record.facts.clone(), workflows }))
            }
            RowName::Totals(_, workflow) => {
                let totals = &record.workflow(workflow)?.totals;
                (*totals != Default::default()).then(|| encode_row(Self::FORMAT, totals))
            }
            RowName::Shards(_, workflow, group) => {
                let shards = &record.workflow(workflow)?.shards;
                let row: Vec<_> =
                    shards.range(shards_of(group)).map(|(no, shard)| (*no, shard.facts.clone())).collect();
                (!row.is_empty()).then(|| encode_row(Self::FORMAT, &ShardsRow { shards: row }))
            }
            RowName::Part(_, workflow, no, part) => {
                let parts = &record.workflow(workflow)?.shards.get(&no)?.parts;
                let bytes = parts.bytes.get(&part)?.clone();
                Some(encode_row(Self::FORMAT, &PartRow { digest: parts.digest, bytes }))
            }
            RowName::Dropped(_) => None,
        }
    }

    fn load_accepted(&mut self, job: JobId, bytes: &[u8]) -> Result<(), BadRow> {
        let accepted: Accepted = decode_row(Self::FORMAT, bytes)?;
        if accepted.job != job || accepted.spec.validate().is_err() {
            return Err(BadRow);
        }
        if self.jobs.get(&job).is_none_or(|record| record.accepted != accepted) {
            let facts = JobFacts {
                gate_epoch: GateEpoch(0),
                gate: NodeId::default(),
                dc_epoch: DcEpoch(0),
                owner: NodeId::default(),
                verdict: None,
                ended: None,
                elapsed_ms: 0,
                retries_used: 0,
            };
            let workflows = accepted.spec.workflows.iter().map(|_| Workflow::new()).collect();
            self.jobs.insert(job, DcJob { accepted, facts, workflows, live: JobLive::default() });
        }
        Ok(())
    }
}

impl DcJob {
    fn load_facts(&mut self, row: FactsRow) -> Result<(), BadRow> {
        if row.workflows.len() != self.workflows.len() {
            return Err(BadRow);
        }
        self.facts = row.job;
        for (known, facts) in self.workflows.iter_mut().zip(row.workflows) {
            known.facts = facts;
        }
        Ok(())
    }
}

impl Workflow {
    /// Takes a row of shards; what this process knows of the same attempts stays.
    fn load_shards(&mut self, group: u16, row: ShardsRow) -> Result<(), BadRow> {
        if row.shards.iter().any(|(no, _)| !shards_of(group).contains(no)) {
            return Err(BadRow);
        }
        let mut before = self.shards.split_off(&shards_of(group).start);
        let mut after = before.split_off(&shards_of(group).end);
        for (no, facts) in row.shards {
            let same = before.remove(&no).filter(|shard| shard.facts.attempt == facts.attempt);
            let (parts, live) = same.map_or_else(Default::default, |shard| (shard.parts, shard.live));
            self.shards.insert(no, Shard { facts, parts, live });
        }
        self.shards.append(&mut after);
        Ok(())
    }
}

/// The numbers of the shards in a row; `group` is below 1,024.
fn shards_of(group: u16) -> core::ops::Range<u16> {
    let first = group.saturating_mul(SHARDS_A_ROW);
    first..first.saturating_add(SHARDS_A_ROW)
}

impl State for ManagerState {
    type Command = Command;

    fn apply(&mut self, entry: &Entry<Command>, changes: &mut Changes) {
        self.apply_command(&entry.command, changes);
    }

    fn row(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.encode(RowName::parse(key)?)
    }

    fn keys(&self) -> Vec<Vec<u8>> {
        let mut keys: BTreeSet<Vec<u8>> =
            self.dropped.keys().map(|job| RowName::Dropped(*job).key()).collect();
        for job in self.jobs.keys() {
            keys.extend(self.rows_of(*job).into_iter().map(RowName::key));
        }
        keys.into_iter().collect()
    }

    /// Rows come in key order: a job's constant row before its others.
    fn load_row(&mut self, key: &[u8], bytes: &[u8]) -> Result<(), BadRow> {
        let name = RowName::parse(key).ok_or(BadRow)?;
        match name {
            RowName::Dropped(job) => {
                self.dropped.insert(job, decode_row(Self::FORMAT, bytes)?);
                return Ok(());
            }
            RowName::Accepted(job) => return self.load_accepted(job, bytes),
            RowName::Facts(_) | RowName::Totals(..) | RowName::Shards(..) | RowName::Part(..) => {}
        }
        let record = self.jobs.get_mut(&name.job()).ok_or(BadRow)?;
        match name {
            RowName::Totals(_, workflow) => {
                record.workflow_mut(workflow).ok_or(BadRow)?.totals = decode_row(Self::FORMAT, bytes)?;
                Ok(())
            }
            RowName::Shards(_, workflow, group) => {
                let row = decode_row(Self::FORMAT, bytes)?;
                record.workflow_mut(workflow).ok_or(BadRow)?.load_shards(group, row)
            }
            RowName::Part(_, workflow, no, part) => {
                let row: PartRow = decode_row(Self::FORMAT, bytes)?;
                let known = record.workflow_mut(workflow).ok_or(BadRow)?;
                known.shards.get_mut(&no).ok_or(BadRow)?.parts.add(row.digest, part, row.bytes);
                Ok(())
            }
            _ => record.load_facts(decode_row(Self::FORMAT, bytes)?),
        }
    }

    fn drop_row(&mut self, key: &[u8]) {
        match RowName::parse(key) {
            Some(RowName::Accepted(job)) => {
                self.jobs.remove(&job);
            }
            Some(RowName::Totals(job, workflow)) => {
                if let Some(known) = self.jobs.get_mut(&job).and_then(|record| record.workflow_mut(workflow))
                {
                    known.totals = Default::default();
                }
            }
            Some(RowName::Shards(job, workflow, group)) => {
                if let Some(known) = self.jobs.get_mut(&job).and_then(|record| record.workflow_mut(workflow))
                {
                    known.shards.retain(|no, _| !shards_of(group).contains(no));
                }
            }
            Some(RowName::Part(job, workflow, no, part)) => {
                let known = self.jobs.get_mut(&job).and_then(|record| record.workflow_mut(workflow));
                if let Some(shard) = known.and_then(|known| known.shards.get_mut(&no)) {
                    shard.parts.bytes.remove(&part);
                }
            }
            Some(RowName::Dropped(job)) => {
                self.dropped.remove(&job);
            }
            // It goes with the constant row.
            Some(RowName::Facts(_)) | None => {}
        }
    }
}

/// The name of a row. As a key: table, job, kind of row, places (big endian), so that a job's rows are neighbours and
/// its constant row is the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowName {
    /// What was dispatched.
    Accepted(JobId),
    /// The facts of the job and its workflows.
    Facts(JobId),
    /// What a workflow measured.
    Totals(JobId, WorkflowIx),
    /// A group of a workflow's shards.
    Shards(JobId, WorkflowIx, u16),
    /// A part of large numbers of a shard.
    Part(JobId, WorkflowIx, u16, u16),
    /// How a dropped job ended.
    Dropped(JobId),
}

impl RowName {
    const JOBS: u8 = 1;
    const DROPPED: u8 = 2;

    /// The row that holds a shard.
    pub const fn of_shard(job: JobId, workflow: WorkflowIx, no: u16) -> Self {
        Self::Shards(job, workflow, no / SHARDS_A_ROW)
    }

    /// Whose row it is.
    pub const fn job(self) -> JobId {
        match self {
            Self::Accepted(job)
            | Self::Facts(job)
            | Self::Totals(job, _)
            | Self::Shards(job, ..)
            | Self::Part(job, ..)
            | Self::Dropped(job) => job,
        }
    }

    /// The key, without the table's byte.
    pub fn key(self) -> Vec<u8> {
        let table = if matches!(self, Self::Dropped(_)) { Self::DROPPED } else { Self::JOBS };
        let mut key = alloc::vec![table];
        key.extend(self.job().0);
        match self {
            Self::Accepted(_) => key.push(0),
            Self::Facts(_) => key.push(1),
            Self::Totals(_, workflow) => {
                key.push(2);
                key.extend(workflow.0.to_be_bytes());
            }
            Self::Shards(_, workflow, group) => {
                key.push(3);
                key.extend(workflow.0.to_be_bytes());
                key.extend(group.to_be_bytes());
            }
            Self::Part(_, workflow, no, part) => {
                key.push(4);
                key.extend([workflow.0, no, part].into_iter().flat_map(u16::to_be_bytes));
            }
            Self::Dropped(_) => {}
        }
        key
    }

    /// The name that a key stands for.
    pub fn parse(key: &[u8]) -> Option<Self> {
        let (&table, rest) = key.split_first()?;
        let (job, rest) = rest.split_first_chunk::<16>()?;
        let (job, place) = (JobId(*job), |a: &u8, b: &u8| u16::from_be_bytes([*a, *b]));
        match (table, rest) {
            (Self::DROPPED, []) => Some(Self::Dropped(job)),
            (Self::JOBS, [0]) => Some(Self::Accepted(job)),
            (Self::JOBS, [1]) => Some(Self::Facts(job)),
            (Self::JOBS, [2, a, b]) => Some(Self::Totals(job, WorkflowIx(place(a, b)))),
            (Self::JOBS, [3, a, b, c, d]) => Some(Self::Shards(job, WorkflowIx(place(a, b)), place(c, d))),
            (Self::JOBS, [4, a, b, c, d, e, f]) => {
                Some(Self::Part(job, WorkflowIx(place(a, b)), place(c, d), place(e, f)))
            }
            _ => None,
        }
    }
}
