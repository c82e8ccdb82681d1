//! What the managers of a datacenter decide together. [`super::apply`] says what each decision changes.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use minicbor::{Decode, Encode};

use super::job::Accepted;
use super::numbers::InParts;
use crate::bytes::Bytes;
use crate::id::{Attempt, BootNo, DcEpoch, GateEpoch, JobId, NodeId, RunId, WorkflowIx};
use crate::jobs::{JobStatus, Load, Outcome, Totals};
use crate::wire::ShardReport;

/// One decision of the datacenter's tier.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum Command {
    /// The datacenter runs this job.
    #[n(0)]
    JobAccepted {
        /// What was dispatched.
        #[n(0)]
        accepted: Accepted,
        /// The job owner's fence.
        #[n(1)]
        gate_epoch: GateEpoch,
        /// The job owner.
        #[n(2)]
        gate: NodeId,
        /// The first owner here.
        #[n(3)]
        owner: NodeId,
    },
    /// A job has another owner among the gates.
    #[n(1)]
    GateOwnerSeen {
        /// The job.
        #[n(0)]
        job: JobId,
        /// Its fence.
        #[n(1)]
        gate_epoch: GateEpoch,
        /// The new owner.
        #[n(2)]
        gate: NodeId,
    },
    /// These jobs have another owner here, each with the next fence.
    #[n(2)]
    OwnerAssigned {
        /// Jobs and their new fences: at most [`Command::MAX_JOBS`].
        #[n(0)]
        jobs: Vec<(JobId, DcEpoch)>,
        /// The new owner.
        #[n(1)]
        owner: NodeId,
    },
    /// Shards are given to workers, before the workers hear of it.
    #[n(3)]
    ShardsReserved {
        /// Which workflow of which job, by whom.
        #[n(0)]
        at: At,
        /// How many shards the whole plan has; 0 where lost shards of a running workflow are replaced.
        #[n(1)]
        planned: u16,
        /// At most [`Command::MAX_SHARDS`]; a larger plan comes in parts.
        #[n(2)]
        shards: Vec<Reservation>,
    },
    /// Workers keep cores for all of these: they are told to begin.
    #[n(4)]
    ShardsStarted {
        /// Which workflow of which job, by whom.
        #[n(0)]
        at: At,
        /// The shards.
        #[n(1)]
        shards: Vec<(u16, Attempt)>,
        /// How far apart they may start beyond what they measure, in microseconds.
        #[n(2)]
        start_bound_us: u32,
    },
    /// Attempts are over without a result.
    #[n(5)]
    ShardsLost {
        /// Which workflow of which job, by whom.
        #[n(0)]
        at: At,
        /// All of a plan, or one where it has numbers.
        #[n(1)]
        shards: Vec<Loss>,
        /// Why, for a person.
        #[n(2)]
        why: String,
    },
    /// A run ended and this is its result.
    #[n(6)]
    ShardDone {
        /// As the worker reported it.
        #[n(0)]
        report: Box<ShardReport>,
        /// Its numbers, where they are not in the report.
        #[n(1)]
        numbers: Option<InParts>,
    },
    /// The job is to end with this status.
    #[n(7)]
    StopRecorded {
        /// The job.
        #[n(0)]
        job: JobId,
        /// The fence of the gate that asks, or the known one.
        #[n(1)]
        gate_epoch: GateEpoch,
        /// `Cancelled`, `TimedOut` or `Failed`.
        #[n(2)]
        verdict: JobStatus,
        /// How long the job has run.
        #[n(3)]
        elapsed_ms: u32,
    },
    /// Every workflow has ended: the job ends here.
    #[n(8)]
    JobFinal {
        /// The job.
        #[n(0)]
        job: JobId,
        /// The owner's fence.
        #[n(1)]
        dc_epoch: DcEpoch,
        /// How long the job ran.
        #[n(2)]
        elapsed_ms: u32,
    },
    /// Ended jobs that nobody needs any more: their records go.
    #[n(9)]
    JobsReaped {
        /// At most [`Command::MAX_JOBS`].
        #[n(0)]
        jobs: Vec<JobId>,
    },
    /// A part of numbers that the next command about a run will use.
    #[n(10)]
    Part {
        /// The run.
        #[n(0)]
        run: RunId,
        /// Of all parts.
        #[n(1)]
        digest: u64,
        /// Which part, from 0.
        #[n(2)]
        part: u16,
        /// Its bytes.
        #[n(3)]
        bytes: Bytes,
    },
}

/// Whose workflow a command speaks of, and by which owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct At {
    /// The job.
    #[n(0)]
    pub job: JobId,
    /// The owner's fence.
    #[n(1)]
    pub dc_epoch: DcEpoch,
    /// The workflow.
    #[n(2)]
    pub workflow: WorkflowIx,
    /// How long the job has run.
    #[n(3)]
    pub elapsed_ms: u32,
}

/// One shard given to one worker.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Reservation {
    /// The shard.
    #[n(0)]
    pub no: u16,
    /// Its fence: one above the attempt before.
    #[n(1)]
    pub attempt: Attempt,
    /// Who runs it.
    #[n(2)]
    pub worker: NodeId,
    /// Its part of the load.
    #[n(3)]
    pub load: Load,
    /// Number of its first virtual user, or instance, in the whole job.
    #[n(4)]
    pub first_vu: u32,
    /// How much of the workflow's duration is over.
    #[n(5)]
    pub elapsed_before_ms: u32,
    /// The worker's process.
    #[n(6)]
    pub boot: BootNo,
}

/// One attempt that is over without a result.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Loss {
    /// The shard.
    #[n(0)]
    pub no: u16,
    /// The attempt.
    #[n(1)]
    pub attempt: Attempt,
    /// What it means.
    #[n(2)]
    pub kind: LossKind,
    /// Its newest numbers, where attempts add up (DESIGN 8): frozen here.
    #[n(3)]
    pub totals: Option<Box<Totals>>,
    /// Those numbers, where they came in parts.
    #[n(4)]
    pub numbers: Option<InParts>,
}

/// What the loss of an attempt means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum LossKind {
    /// The job's policy for lost workers decides; `paid` takes a retry from the budgets.
    #[n(0)]
    Policy {
        /// It may have been executed.
        #[n(0)]
        paid: bool,
    },
    /// Too little of the workflow remains for a replacement.
    #[n(1)]
    GiveUp,
    /// It was being stopped anyway, and counts as stopped like this.
    #[n(2)]
    Stopped(#[n(0)] Outcome),
}

impl Command {
    /// Most jobs in one command: it changes a row of each.
    pub const MAX_JOBS: usize = 32;
    /// Most reservations in one command: keeps it far under 64 KiB.
    pub const MAX_SHARDS: usize = 256;
}
