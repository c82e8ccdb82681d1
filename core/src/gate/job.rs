//! The one record of a job on a gate.
//!
//! [`GateJob`] has two parts. The replicated part ([`Origin`], [`JobRow`], reports, kept events) is rows of the gates'
//! log and changes in [`super::command`] alone. The volatile part ([`Live`]) is this process's own: what was sent and
//! not answered, progress, streams. Dropping the record drops all of it; there is nothing else to clean.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use minicbor::{Decode, Encode};

use super::dispatch::Courier;
use super::progress::{DcSlot, Windows};
use super::state::RowName;
use super::streams::{Ring, Stream};
use crate::api::{ClientEventKind, EventPos};
use crate::bytes::Bytes;
use crate::id::{CallId, DcEpoch, DcId, GateEpoch, JobId, NodeId, Tenant, WorkflowIx};
use crate::jobs::{DcReport, JobSpec, JobStatus, WorkflowReport};
use crate::ledger::ProposalId;
use crate::time::{Duration, Instant};

/// A job.
#[derive(Clone, Debug)]
pub struct GateJob {
    /// What was asked for; never changes.
    pub origin: Origin,
    /// How it stands, by log entry.
    pub row: JobRow,
    /// Workflows that ended, by datacenter. At most workflows x targets.
    pub reports: BTreeMap<(DcId, WorkflowIx), Box<WorkflowReport>>,
    /// Reports of which some parts are in the log; gone when complete or when the job ends.
    pub parts: BTreeMap<(DcId, WorkflowIx), Parts>,
    /// Kept events; number `n` at place `n - 1`. At most [`super::command::MAX_KEPT`].
    pub events: Vec<Kept>,
    /// This process's own part.
    pub live: Live,
}

/// A submission as accepted.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Origin {
    /// Whose job it is.
    #[n(0)]
    pub tenant: Tenant,
    /// The client's idempotency key.
    #[n(1)]
    pub key: Option<String>,
    /// SHA-256 of the encoded specification.
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    pub digest: [u8; 32],
    /// The specification.
    #[n(3)]
    pub spec: Box<JobSpec>,
}

impl Origin {
    /// The idempotency key in its scope.
    pub fn key_of_tenant(&self) -> Option<(Tenant, String)> {
        self.key.as_ref().map(|key| (self.tenant.clone(), key.clone()))
    }
}

/// How a job stands.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct JobRow {
    /// Its owner.
    #[n(0)]
    pub owner: NodeId,
    /// The owner's fence.
    #[n(1)]
    pub gate_epoch: GateEpoch,
    /// Its status.
    #[n(2)]
    pub status: JobStatus,
    /// Why, for a person.
    #[n(3)]
    pub resolution: String,
    /// Into how many parts the load is divided.
    #[n(4)]
    pub slots: u16,
    /// Every datacenter that was ever asked, in the order of choice.
    #[n(5)]
    pub targets: Vec<Target>,
    /// Who takes a target's place, in order; empty once the job ended.
    #[n(6)]
    pub fallbacks: Vec<DcId>,
    /// The job is to end, or was stopped.
    #[n(7)]
    pub stop: Option<Stop>,
    /// How much of its time is used up at least; once ended, how long it took.
    #[n(8)]
    pub elapsed_ms: u32,
    /// Bytes of the reports that are kept whole.
    #[n(9)]
    pub report_bytes: u32,
    /// Whether a client has read the result.
    #[n(10)]
    pub delivered: bool,
}

impl JobRow {
    /// The row of a record that is being loaded.
    pub(super) fn empty() -> Self {
        Self {
            owner: NodeId::default(),
            gate_epoch: GateEpoch(0),
            status: JobStatus::Submitted,
            resolution: String::new(),
            slots: 0,
            targets: Vec::new(),
            fallbacks: Vec::new(),
            stop: None,
            elapsed_ms: 0,
            report_bytes: 0,
            delivered: false,
        }
    }

    /// The target in this datacenter.
    pub fn target(&self, dc: DcId) -> Option<&Target> {
        self.targets.iter().find(|target| target.dc == dc)
    }

    pub(super) fn target_mut(&mut self, dc: DcId) -> Option<&mut Target> {
        self.targets.iter_mut().find(|target| target.dc == dc)
    }

    /// Whether somebody asked for the end, and with which verdict.
    pub fn stop_verdict(&self) -> Option<JobStatus> {
        self.stop.as_ref().map(|stop| stop.verdict)
    }
}

impl GateJob {
    /// How the job is over for a datacenter, as far as the log has it: it has ended, is to end, or waits for nothing more
    /// from there.
    pub fn over_at(&self, dc: DcId) -> Option<JobStatus> {
        let ended = Some(self.row.status).filter(|status| status.is_final());
        let closed =
            || self.row.target(dc).is_some_and(|target| !target.is_open()).then_some(JobStatus::Failed);
        ended.or_else(|| self.row.stop_verdict()).or_else(closed)
    }
}

/// A datacenter that the job was given to.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Target {
    /// Which.
    #[n(0)]
    pub dc: DcId,
    /// Which part of the load is its.
    #[n(1)]
    pub slot: u16,
    /// How far it is.
    #[n(2)]
    pub state: TargetState,
    /// The newest known fence there; 0 before it has accepted.
    #[n(3)]
    pub dc_epoch: DcEpoch,
    /// The manager of that fence.
    #[n(4)]
    pub owner: Option<NodeId>,
    /// Why there is no result of it.
    #[n(5)]
    pub why: String,
}

impl Target {
    pub(super) fn planned(dc: DcId, slot: u16) -> Self {
        Self { dc, slot, state: TargetState::Planned, dc_epoch: DcEpoch(0), owner: None, why: String::new() }
    }

    /// Whether the job waits for it.
    pub fn is_open(&self) -> bool {
        matches!(self.state, TargetState::Planned | TargetState::Accepted)
    }

    /// Whether the job is made of it: it was not replaced.
    pub fn counts(&self) -> bool {
        !matches!(self.state, TargetState::Replaced { .. })
    }

    /// Whether a stop is owed to it although the job does not wait for it.
    pub fn is_owed_a_stop(&self) -> bool {
        matches!(self.state, TargetState::Replaced { clear: false } | TargetState::Missing { clear: false })
    }

    /// How the job ended there.
    pub fn end(&self) -> Option<DcEnd> {
        match self.state {
            TargetState::Ended(end) => Some(end),
            _ => None,
        }
    }
}

/// How far a target is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum TargetState {
    /// To be asked, or asked.
    #[n(0)]
    Planned,
    /// It has the job in its log.
    #[n(1)]
    Accepted,
    /// Its final is here.
    #[n(2)]
    Ended(#[n(0)] DcEnd),
    /// Nothing will come of it, and the result says so. `clear`: it provably does not run the job.
    #[n(3)]
    Missing {
        /// Whether nothing is owed to it.
        #[n(0)]
        clear: bool,
    },
    /// Another datacenter has taken its part. `clear` as above.
    #[n(4)]
    Replaced {
        /// Whether nothing is owed to it.
        #[n(0)]
        clear: bool,
    },
}

/// A datacenter's final, without its workflows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct DcEnd {
    /// How the job ended there.
    #[n(0)]
    pub status: JobStatus,
    /// Shards that stopped when asked.
    #[n(1)]
    pub cancelled: u32,
    /// Shards that were killed or out of reach.
    #[n(2)]
    pub killed: u32,
    /// How long it ran there.
    #[n(3)]
    pub elapsed_ms: u32,
}

/// The decision that a job is to end.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Stop {
    /// `Cancelled`, `TimedOut` or `Failed`.
    #[n(0)]
    pub verdict: JobStatus,
    /// Why, for a person.
    #[n(1)]
    pub reason: String,
    /// Whose proposal it was: of several cancels one is the first.
    #[n(2)]
    pub proposal: ProposalId,
}

/// A report of which not all parts are in the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// The fence it came under.
    pub dc_epoch: DcEpoch,
    /// How many parts it has.
    pub parts: u16,
    /// Those that are here.
    pub have: BTreeMap<u16, Bytes>,
}

/// One part, as a row.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct PartRow {
    /// See [`Parts`].
    #[n(0)]
    pub dc_epoch: DcEpoch,
    /// See [`Parts`].
    #[n(1)]
    pub parts: u16,
    /// The part.
    #[n(2)]
    pub bytes: Bytes,
}

/// A kept event.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Kept {
    /// As clients see it.
    #[n(0)]
    Event(#[n(0)] ClientEventKind),
    /// The final one: built from the record when it is read.
    #[n(1)]
    Final,
}

/// What is left of a dropped job: it tells `Expired` from "never existed", and answers repeats of its submission.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Tombstone {
    /// The log index that dropped it: tombstones go in this order.
    #[n(0)]
    pub dropped_at: u64,
    /// How the job ended.
    #[n(1)]
    pub status: JobStatus,
    /// Its last owner.
    #[n(2)]
    pub owner: NodeId,
    /// The last fence.
    #[n(3)]
    pub gate_epoch: GateEpoch,
    /// Whose it was.
    #[n(4)]
    pub tenant: Tenant,
    /// Its idempotency key.
    #[n(5)]
    pub key: Option<String>,
    /// The digest of its specification.
    #[n(6)]
    #[cbor(with = "minicbor::bytes")]
    pub digest: [u8; 32],
}

/// What an undecided proposal of a record is about: one of each at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// A target is given up.
    Choose(DcId),
    /// The job waits for capacity.
    Queue,
    /// A datacenter's owner.
    DcOwner(DcId),
    /// A part of a report.
    Workflow(DcId, WorkflowIx, u16),
    /// A datacenter's final.
    DcFinal(DcId),
    /// A datacenter is clear.
    Clear(DcId),
    /// The owner ends the job.
    Stop,
    /// The job ends without what is missing.
    Final,
    /// The result was read.
    Delivered,
    /// The record is dropped.
    Reap,
}

/// What is owed to a manager once the log has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ack {
    /// A workflow's result.
    Workflow(WorkflowIx),
    /// A final.
    Final,
    /// A change of owner.
    Owner,
}

/// What this process knows of a job and the log does not.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// When the record was first seen, and how much of the job's time was used up then.
    pub clock: Option<(Instant, u32)>,
    /// The job was accepted in this process and has had no other owner: what was not sent was never sent.
    pub fresh: bool,
    /// Since when it is seen as ended.
    pub ended: Option<Instant>,
    /// Since when it is seen as stopping.
    pub stopping: Option<Instant>,
    /// Since when a target waits for a datacenter that takes it.
    pub unplaced: Option<Instant>,
    /// The status that was last testified.
    pub testified: Option<JobStatus>,
    /// Requests under way, by target.
    pub couriers: BTreeMap<DcId, Courier>,
    /// Newest progress, by target.
    pub progress: BTreeMap<DcId, DcSlot>,
    /// Whether progress changed since the last push.
    pub progress_changed: bool,
    /// When progress was last pushed.
    pub pushed: Option<Instant>,
    /// Statistics windows.
    pub windows: Windows,
    /// Volatile events.
    pub ring: Ring,
    /// Readers; at most `Limits::streams_per_job`.
    pub streams: BTreeMap<CallId, Stream>,
    /// Undecided proposals.
    pub proposed: BTreeMap<Topic, u64>,
    /// Reports that are not in the log yet.
    pub reports: BTreeMap<(DcId, WorkflowIx), (DcEpoch, NodeId, Box<WorkflowReport>)>,
    /// Finals that are not in the log yet.
    pub finals: BTreeMap<DcId, (DcEpoch, NodeId, Box<DcReport>)>,
    /// Who waits for what to be in the log.
    pub acks: BTreeSet<(NodeId, DcId, DcEpoch, Ack)>,
}

impl GateJob {
    /// A record without events.
    pub fn new(origin: Origin, row: JobRow) -> Self {
        Self {
            origin,
            row,
            reports: BTreeMap::new(),
            parts: BTreeMap::new(),
            events: Vec::new(),
            live: Live::default(),
        }
    }

    /// Starts this process's clock of the job, if it does not run.
    pub fn see(&mut self, now: Instant) {
        self.live.clock.get_or_insert((now, self.row.elapsed_ms));
    }

    /// Milliseconds since acceptance, as far as this process knows: never more than they really are.
    pub fn elapsed_ms(&self, now: Instant) -> u32 {
        if self.row.status.is_final() {
            return self.row.elapsed_ms;
        }
        let own = self.live.clock.map_or(0, |(at, ms)| ms.saturating_add(now.since(at).as_wire_millis()));
        own.max(self.row.elapsed_ms)
    }

    /// When `elapsed_ms` will have reached this.
    pub fn when_elapsed(&self, ms: u32, now: Instant) -> Instant {
        now + Duration::from_millis(u64::from(ms.saturating_sub(self.elapsed_ms(now))))
    }

    /// The position of the newest kept event.
    pub fn newest_kept(&self) -> u64 {
        self.events.len() as u64
    }

    /// The position of a kept event.
    pub const fn kept_pos(kept: u64) -> EventPos {
        EventPos { kept, epoch: GateEpoch(0), vol: 0 }
    }

    /// The names of all its rows.
    pub fn row_names(&self, job: JobId) -> impl Iterator<Item = RowName> + '_ {
        let parts = self.parts.iter();
        [RowName::Origin(job), RowName::Main(job)]
            .into_iter()
            .chain(self.reports.keys().map(move |place| RowName::Report(job, *place)))
            .chain(parts.flat_map(move |(place, staged)| {
                staged.have.keys().map(move |part| RowName::Part(job, *place, *part))
            }))
            .chain((1..=self.newest_kept()).map(move |kept| RowName::Event(job, kept)))
    }
}
