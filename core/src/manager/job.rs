//! The one record of a job in a datacenter.
//!
//! A record has two parts. The *facts* are rows of the replicated state: only [`super::command`] changes them, and only
//! by committed commands. The *live* part is this process's own: requests under way, newest progress, outbox marks. It
//! is rebuilt by duties after a restart or takeover, so losing it loses no decision. Dropping the record is the whole
//! cleanup.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use minicbor::{Decode, Encode};

use super::numbers::Parts;
use super::retry::Ask;
use crate::id::{Attempt, BootNo, DcEpoch, DcId, GateEpoch, JobId, NodeId, RunId, ShardKey, WorkflowIx};
use crate::jobs::{
    DcReport, ExecutorKind, JobSpec, JobStatus, Load, Outcome, StopMode, Totals, Window, WorkflowReport,
    WorkflowSpec, WorkflowStatus,
};
use crate::suspicion::JobSuspicions;
use crate::time::{Duration, Instant, Now};
use crate::wire::{DispatchAccepted, MAX_DC_WINDOWS};

/// What was dispatched here. Never changes.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Accepted {
    /// The job.
    #[n(0)]
    pub job: JobId,
    /// What to run.
    #[n(1)]
    pub spec: Box<JobSpec>,
    /// Which part of the load: place `slot` of `slots`.
    #[n(2)]
    pub slot: u16,
    /// See `slot`.
    #[n(3)]
    pub slots: u16,
    /// What was left of the job's time when it was dispatched.
    #[n(4)]
    pub remaining_ms: u32,
    /// Half the least round trip between the gate and the manager it asked, in microseconds; 0 where unknown.
    #[n(5)]
    pub half_rtt_us: u32,
}

/// The replicated facts of a job that change.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct JobFacts {
    /// The job owner's fence.
    #[n(0)]
    pub gate_epoch: GateEpoch,
    /// The job owner: where progress and results go.
    #[n(1)]
    pub gate: NodeId,
    /// The datacenter owner's fence.
    #[n(2)]
    pub dc_epoch: DcEpoch,
    /// The datacenter owner.
    #[n(3)]
    pub owner: NodeId,
    /// A recorded stop: how the job has to end.
    #[n(4)]
    pub verdict: Option<JobStatus>,
    /// How it ended.
    #[n(5)]
    pub ended: Option<JobStatus>,
    /// How long it has run, at least: as the newest decision that says so counted it.
    #[n(6)]
    pub elapsed_ms: u32,
    /// Re-executions that were paid from the job's budget.
    #[n(7)]
    pub retries_used: u16,
}

/// The replicated facts of a workflow.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct WorkflowFacts {
    /// How it stands.
    #[n(0)]
    pub status: WorkflowStatus,
    /// How many shards its plan has; 0 without a plan.
    #[n(1)]
    pub planned: u16,
    /// Re-executions that were paid from its budget.
    #[n(2)]
    pub retries_used: u16,
    /// It cannot complete any more: what still runs is being stopped.
    #[n(3)]
    pub failing: bool,
    /// Virtual users' time lost with workers.
    #[n(5)]
    pub uncovered_vu_ms: u64,
    /// Attempts that were lost after they had begun.
    #[n(6)]
    pub lost_attempts: u16,
    /// How far apart its shards may have started beyond what they measured, in microseconds.
    #[n(7)]
    pub start_bound_us: u32,
    /// Why it does not complete.
    #[n(8)]
    pub why: String,
}

/// How far a shard is, by the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum ShardPhase {
    /// Given to a worker; it has not been told to begin.
    #[n(0)]
    Reserved,
    /// The worker was told to begin, or is about to be.
    #[n(1)]
    Running,
    /// The attempt is over without a result; a higher one may follow.
    #[n(2)]
    Lost,
    /// Lost, and nothing follows: it counts with what earlier attempts measured.
    #[n(3)]
    GivenUp,
    /// It ended.
    #[n(4)]
    Done(#[n(0)] Outcome),
}

impl ShardPhase {
    /// Whether a worker may hold cores for it.
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Reserved | Self::Running)
    }
}

/// The replicated facts of a shard's newest attempt.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ShardFacts {
    /// Its fence.
    #[n(0)]
    pub attempt: Attempt,
    /// Who runs it.
    #[n(1)]
    pub worker: NodeId,
    /// Its part of the load; the duration is that of this attempt.
    #[n(2)]
    pub load: Load,
    /// Number of its first virtual user (or instance) in the whole job.
    #[n(3)]
    pub first_vu: u32,
    /// How much of the workflow's duration was over when this attempt was planned.
    #[n(4)]
    pub elapsed_before_ms: u32,
    /// How far it is.
    #[n(5)]
    pub phase: ShardPhase,
    /// Up to where in the workflow's duration the counted numbers reach.
    #[n(6)]
    pub covered_ms: u32,
    /// How late it began.
    #[n(7)]
    pub start_late_us: Option<u32>,
    /// The worker's process that it was given to: another one must not start it.
    #[n(8)]
    pub boot: BootNo,
}

/// What is proposed for a record and not decided yet: each at most once at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Duty {
    /// Adopt a gate owner.
    GateOwner,
    /// Hand the record to another manager.
    Owner,
    /// Plan a workflow's shards (in parts).
    Plan(WorkflowIx, u16),
    /// Begin a workflow, or one replaced shard of it.
    Begin(WorkflowIx, Option<u16>),
    /// Give up a workflow's reservations, or one attempt.
    Lose(WorkflowIx, Option<u16>),
    /// Take a part of large numbers in.
    Part(WorkflowIx, u16, u16),
    /// Take a result in.
    Done(WorkflowIx, u16),
    /// Record a stop.
    Stop,
    /// End the job here.
    End,
    /// Drop the record.
    Reap,
}

/// This process's own part of a job's record.
#[derive(Clone, Debug, Default)]
pub struct JobLive {
    /// When this process first saw the record, and how long the job had run by then.
    pub seen: Option<(Instant, u32)>,
    /// When this process saw the end.
    pub ended_at: Option<Instant>,
    /// For which fence the rest was built; another fence resets it.
    pub epoch: DcEpoch,
    /// Workers that may hold shards from before this process owned the record.
    pub told: BTreeMap<NodeId, Told>,
    /// `DcOwnerChanged` to the gate.
    pub owner_notice: Outbox,
    /// `DcFinal` to the gate.
    pub final_notice: Outbox,
    /// A gate that was named as the owner by another one.
    pub gate_hint: Option<NodeId>,
    /// Who waits for the stop to be in the log.
    pub stop_asked: Option<(NodeId, GateEpoch)>,
    /// Who waits for the gate owner to be in the log.
    pub gate_asked: Option<(NodeId, GateEpoch, GateQuestion)>,
    /// A gate has told this process that it wants the job.
    pub wanted: bool,
    /// Undecided proposals.
    pub proposed: BTreeMap<Duty, u64>,
    /// Newest progress message of this process.
    pub progress_no: u32,
    /// When it was sent.
    pub progress_at: Option<Instant>,
    /// The statuses that it carried.
    pub progress_statuses: Vec<WorkflowStatus>,
    /// Windows that no progress message has carried yet: at most [`JobLive::MAX_WINDOWS`], the oldest go first.
    pub windows: VecDeque<(WorkflowIx, Window)>,
    /// The gates know nothing of the job (any more): the record goes as soon as it has ended.
    pub forgotten: bool,
    /// Workers that live and do nothing for the job.
    pub suspicions: JobSuspicions,
}

/// Which message waits for the gate owner to be adopted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateQuestion {
    /// A repeated dispatch.
    Dispatch,
    /// A new owner's announcement.
    OwnerChanged,
}

impl JobLive {
    /// Most windows that wait for a progress message.
    pub const MAX_WINDOWS: usize = MAX_DC_WINDOWS;

    /// Takes a window in; the same window of another shard is added to it.
    pub fn add_window(&mut self, workflow: WorkflowIx, window: Window) {
        let same = |known: &&mut (WorkflowIx, Window)| {
            (known.0, known.1.no, known.1.count) == (workflow, window.no, window.count)
        };
        if let Some((_, sum)) = self.windows.iter_mut().find(same) {
            sum.ok = sum.ok.saturating_add(window.ok);
            sum.err = sum.err.saturating_add(window.err);
            sum.latency.merge(&window.latency);
            return;
        }
        if self.windows.len() >= Self::MAX_WINDOWS {
            self.windows.pop_front();
        }
        self.windows.push_back((workflow, window));
    }
}

/// A message that is repeated until it is acknowledged.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outbox {
    /// When and how often it was sent.
    pub ask: Ask,
    /// It was acknowledged.
    pub acked: bool,
}

/// Whether a worker has answered a new owner.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told {
    /// When it was asked.
    pub ask: Ask,
    /// It has said what it holds.
    pub answered: bool,
}

/// A workflow of the record.
#[derive(Clone, Debug)]
pub struct Workflow {
    /// Replicated.
    pub facts: WorkflowFacts,
    /// Replicated: what finished and given-up attempts measured.
    pub totals: Totals,
    /// Replicated: every shard that ever had an attempt, by number; the plan is those below `facts.planned`.
    pub shards: BTreeMap<u16, Shard>,
    /// This process's own.
    pub live: WorkflowLive,
}

/// This process's own part of a workflow.
#[derive(Clone, Debug, Default)]
pub struct WorkflowLive {
    /// The reservations are being given up: whether that is paid from the budget.
    pub aborting: Option<Abort>,
    /// Not planned again before this.
    pub retry_at: Option<Instant>,
    /// Tries so far, for the back-off.
    pub tries: u32,
    /// When its shards were asked to begin.
    pub start_at: Option<Instant>,
    /// When it was seen to run.
    pub running_since: Option<Instant>,
    /// When its stop began.
    pub stopping_since: Option<Instant>,
    /// `WorkflowResult` to the gate.
    pub notice: Outbox,
    /// Cores that an undecided plan takes.
    pub planning: Vec<(NodeId, u16)>,
    /// Workers that refused its shards; tried last.
    pub refused_by: Vec<NodeId>,
}

/// Why reservations are given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abort {
    /// A worker refused: nothing was executed and nothing is paid.
    Refused,
    /// A worker did not answer, is gone, or will always refuse: a retry is paid.
    Paid,
}

/// A shard of the record.
#[derive(Clone, Debug)]
pub struct Shard {
    /// Replicated.
    pub facts: ShardFacts,
    /// Replicated: parts of large numbers that have not been used yet.
    pub parts: Parts,
    /// This process's own; of the newest attempt.
    pub live: ShardLive,
}

/// This process's own part of a shard.
#[derive(Clone, Debug, Default)]
pub struct ShardLive {
    /// Since when a reservation is wanted.
    pub asked: Option<Instant>,
    /// `ReserveShard`.
    pub reserve: Ask,
    /// The worker has said that it keeps cores.
    pub reserved: bool,
    /// The reservation was refused, or is being given up.
    pub aborting: Option<Abort>,
    /// `StartShard`.
    pub start: Ask,
    /// The worker has said that it began.
    pub started: bool,
    /// How much later than planned the newest `StartShard` asked for, in microseconds.
    pub start_extra_us: u32,
    /// `StopShard`.
    pub stop: Ask,
    /// How the worker was asked to stop it.
    pub stop_mode: Option<StopMode>,
    /// The worker holds nothing of it, and never will.
    pub absent: bool,
    /// Newest progress number.
    pub seq: u64,
    /// Newest cumulative numbers.
    pub totals: Option<Box<Totals>>,
    /// Windows below this have arrived.
    pub windows_through: u32,
    /// Who waits for the result to be in the log.
    pub result_from: Option<NodeId>,
    /// Not placed again before this.
    pub retry_at: Option<Instant>,
    /// What its worker had told of its time when that was looked at last, in ms, and when.
    pub pace_mark: Option<(Instant, u32)>,
    /// When its worker last told of it.
    pub heard: Option<Instant>,
    /// It is being ended because its worker is dead for the job.
    pub deserted: bool,
}

/// The record of a job.
#[derive(Clone, Debug)]
pub struct DcJob {
    /// Replicated, constant.
    pub accepted: Accepted,
    /// Replicated.
    pub facts: JobFacts,
    /// By place.
    pub workflows: Vec<Workflow>,
    /// This process's own.
    pub live: JobLive,
}

impl Workflow {
    /// As accepted: blocked until something finds it ready.
    pub fn new() -> Self {
        let facts = WorkflowFacts {
            status: WorkflowStatus::Blocked,
            planned: 0,
            retries_used: 0,
            failing: false,
            uncovered_vu_ms: 0,
            lost_attempts: 0,
            start_bound_us: 0,
            why: String::new(),
        };
        Self { facts, totals: Totals::default(), shards: BTreeMap::new(), live: WorkflowLive::default() }
    }

    /// The shards of the plan.
    pub fn plan(&self) -> impl Iterator<Item = (u16, &Shard)> {
        self.shards.range(..self.facts.planned).map(|(no, shard)| (*no, shard))
    }

    /// Whether every shard of the plan is in the log.
    pub fn plan_is_whole(&self) -> bool {
        self.facts.planned > 0
            && self.plan().filter(|(_, shard)| shard.facts.phase == ShardPhase::Reserved).count()
                == usize::from(self.facts.planned)
    }

    /// Whether a worker may hold cores for it.
    pub fn has_live_shards(&self) -> bool {
        self.plan().any(|(_, shard)| shard.facts.phase.is_live())
    }

    /// Finished attempts and the newest numbers of running ones.
    pub fn running_totals(&self, kind: ExecutorKind) -> Totals {
        let mut sum = self.totals.clone();
        for (_, shard) in self.plan().filter(|(_, shard)| shard.facts.phase.is_live()) {
            if let Some(totals) = &shard.live.totals {
                sum.merge(&shard.facts.counted(kind, totals));
            }
        }
        sum
    }

    /// How much of its duration is over: by this process's clock since it saw the start, or by the furthest shard.
    pub fn elapsed_ms(&self, now: Now) -> u32 {
        let clock = self.live.running_since.map_or(0, |since| now.mono.since(since).as_wire_millis());
        let reached = self.plan().map(|(_, shard)| {
            let reported = shard.live.totals.as_ref().map_or(0, |totals| totals.elapsed_ms);
            shard.facts.covered_ms.max(shard.facts.elapsed_before_ms.saturating_add(reported))
        });
        reached.fold(clock, u32::max)
    }

    /// The measured spread of the first starts, in microseconds.
    fn start_spread_us(&self) -> u32 {
        let late = |(_, shard): (u16, &Shard)| {
            shard.facts.start_late_us.filter(|_| shard.facts.elapsed_before_ms == 0)
        };
        let (first, last) = self
            .plan()
            .filter_map(late)
            .fold((u32::MAX, 0), |(first, last), late| (first.min(late), last.max(late)));
        last.saturating_sub(first)
    }
}

impl ShardFacts {
    /// An attempt's numbers as they are counted: on the time line of the workflow.
    pub fn counted(&self, kind: ExecutorKind, totals: &Totals) -> Totals {
        let mut counted = totals.clone();
        if kind.attempts_add_up() {
            counted.elapsed_ms = counted.elapsed_ms.saturating_add(self.elapsed_before_ms);
        }
        counted
    }
}

impl DcJob {
    /// How the job stands here.
    pub fn status(&self) -> JobStatus {
        match (self.facts.ended, self.facts.verdict) {
            (Some(ended), _) => ended,
            (None, Some(_)) => JobStatus::Cancelling,
            (None, None) if self.all_ended() => JobStatus::Completing,
            (None, None) => JobStatus::Running,
        }
    }

    /// Owner and fence, as gates are told.
    pub fn at(&self) -> DispatchAccepted {
        DispatchAccepted { dc_epoch: self.facts.dc_epoch, owner: self.facts.owner }
    }

    /// Whether every workflow has ended.
    pub fn all_ended(&self) -> bool {
        self.workflows.iter().all(|workflow| workflow.facts.status.is_final())
    }

    /// The specification of a workflow; `workflow` must be one of the job's.
    pub fn spec(&self, workflow: WorkflowIx) -> &WorkflowSpec {
        &self.accepted.spec.workflows[usize::from(workflow.0)]
    }

    /// A workflow of the record.
    pub fn workflow(&self, workflow: WorkflowIx) -> Option<&Workflow> {
        self.workflows.get(usize::from(workflow.0))
    }

    /// A workflow of the record.
    pub fn workflow_mut(&mut self, workflow: WorkflowIx) -> Option<&mut Workflow> {
        self.workflows.get_mut(usize::from(workflow.0))
    }

    /// A shard of the record.
    pub fn shard(&self, key: &ShardKey) -> Option<&Shard> {
        self.workflow(key.workflow)?.shards.get(&key.shard)
    }

    /// A shard of the record.
    pub fn shard_mut(&mut self, key: &ShardKey) -> Option<&mut Shard> {
        self.workflow_mut(key.workflow)?.shards.get_mut(&key.shard)
    }

    /// The places of the workflows.
    pub fn places(&self) -> impl Iterator<Item = WorkflowIx> + use<> {
        (0..self.workflows.len() as u16).map(WorkflowIx)
    }

    /// The name of a shard's newest attempt.
    pub fn run_id(&self, dc: DcId, workflow: WorkflowIx, no: u16, attempt: Attempt) -> RunId {
        RunId { shard: ShardKey { job: self.accepted.job, workflow, dc, shard: no }, attempt }
    }

    /// This datacenter's part of a workflow's load.
    pub fn load(&self, workflow: WorkflowIx) -> Load {
        self.spec(workflow).load.part(self.accepted.slot, self.accepted.slots)
    }

    /// How long the job has run, as this process counts it.
    pub fn elapsed_ms(&self, now: Now) -> u32 {
        let counted = self
            .live
            .seen
            .map_or(0, |(seen, before)| before.saturating_add(now.mono.since(seen).as_wire_millis()));
        counted.max(self.facts.elapsed_ms)
    }

    /// What is left of the job's time.
    pub fn remaining(&self, now: Now) -> Duration {
        Duration::from_millis(u64::from(self.accepted.remaining_ms.saturating_sub(self.elapsed_ms(now))))
    }

    /// What a workflow delivered, from facts alone: every manager derives the same.
    pub fn workflow_report(&self, workflow: WorkflowIx) -> WorkflowReport {
        let known = &self.workflows[usize::from(workflow.0)];
        WorkflowReport {
            workflow,
            status: known.facts.status,
            requested: self.load(workflow),
            totals: known.totals.clone(),
            uncovered_vu_ms: known.facts.uncovered_vu_ms,
            shards: known.facts.planned,
            lost_attempts: known.facts.lost_attempts,
            start_spread_us: known.start_spread_us(),
            start_bound_us: known.facts.start_bound_us,
            why: known.facts.why.clone(),
        }
    }

    /// What the job delivered here, from facts alone; `status` is its final one.
    pub fn report(&self, dc: DcId, status: JobStatus) -> DcReport {
        let shards = || self.workflows.iter().flat_map(Workflow::plan).map(|(_, shard)| shard.facts.phase);
        let stopped = |outcome| shards().filter(|phase| *phase == ShardPhase::Done(outcome)).count() as u32;
        DcReport {
            dc,
            status,
            workflows: self.places().map(|workflow| self.workflow_report(workflow)).collect(),
            cancelled: stopped(Outcome::Cancelled),
            killed: stopped(Outcome::Killed),
            elapsed_ms: self.facts.elapsed_ms,
        }
    }
}
