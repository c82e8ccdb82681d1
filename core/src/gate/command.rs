//! What the gates decide: the commands of their log. [`super::apply`] says what each decision changes.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use minicbor::{Decode, Encode};

use super::job::{DcEnd, Origin};
use crate::bytes::Bytes;
use crate::id::{DcEpoch, DcId, GateEpoch, JobId, NodeId, WorkflowIx};
use crate::jobs::JobStatus;

/// Bytes of a report in one command: with the rest of it, under the 64 KiB of a log entry.
pub const PART_BYTES: usize = 48 * 1024;
/// Most parts of one report: 1.5 MiB, more than the largest pair of histograms takes.
pub const MAX_PARTS: u16 = 32;
/// Reports of one job that are kept with their histograms, in bytes. Beyond it a report keeps its counters only, and
/// says so.
pub const MAX_REPORT_BYTES: u32 = 4 * 1024 * 1024;
/// Kept events of one job; the last place is kept for the final one.
pub const MAX_KEPT: usize = 4_096;
/// Jobs of one [`GateCommand::OwnerAssigned`]: each changes two rows, and an entry is to change 32 at most.
pub const MAX_ASSIGNED: usize = 16;

/// What an owner says with each of its decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ByOwner {
    /// The job.
    #[n(0)]
    pub job: JobId,
    /// The owner's fence. Another one than the record's: the command changes nothing.
    #[n(1)]
    pub gate_epoch: GateEpoch,
    /// Since acceptance, by the owner's clock: what a later owner knows of the time that is used up.
    #[n(2)]
    pub elapsed_ms: u32,
}

/// One decision.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum GateCommand {
    /// The job exists.
    #[n(0)]
    JobAccepted(#[n(0)] Box<Accept>),
    /// A target that has not accepted is given up; another datacenter may take its place.
    #[n(1)]
    TargetsChosen {
        /// By whom.
        #[n(0)]
        by: ByOwner,
        /// The target that is given up.
        #[n(1)]
        dc: DcId,
        /// Whether it provably does not run the job. Where not, a stop is owed to it.
        #[n(2)]
        clear: bool,
        /// Why.
        #[n(3)]
        why: String,
        /// Who takes its place; `None`: nobody.
        #[n(4)]
        instead: Option<DcId>,
    },
    /// Every candidate has refused for now.
    #[n(2)]
    JobQueued {
        /// By whom.
        #[n(0)]
        by: ByOwner,
        /// Why.
        #[n(1)]
        why: String,
    },
    /// A datacenter has the job in its log, or has a new owner for it.
    #[n(3)]
    DcOwnerSeen {
        /// By whom.
        #[n(0)]
        by: ByOwner,
        /// Where, and its owner.
        #[n(1)]
        at: DcAt,
    },
    /// A workflow ended in a datacenter: one part of its encoded report.
    #[n(4)]
    WorkflowDone {
        /// By whom.
        #[n(0)]
        by: ByOwner,
        /// Where, and who says so.
        #[n(1)]
        at: DcAt,
        /// Which.
        #[n(2)]
        workflow: WorkflowIx,
        /// Which part, from 0.
        #[n(3)]
        part: u16,
        /// Of how many.
        #[n(4)]
        parts: u16,
        /// The part.
        #[n(5)]
        bytes: Bytes,
    },
    /// The job ended in a datacenter. Its workflows are in the log already.
    #[n(5)]
    DcFinal {
        /// By whom.
        #[n(0)]
        by: ByOwner,
        /// Where, and who says so.
        #[n(1)]
        at: DcAt,
        /// How.
        #[n(2)]
        end: DcEnd,
    },
    /// A datacenter provably does not run the job (any more), and no result of it will count.
    #[n(6)]
    DcClear {
        /// By whom.
        #[n(0)]
        by: ByOwner,
        /// Where.
        #[n(1)]
        dc: DcId,
        /// Why there is no result of it.
        #[n(2)]
        why: String,
    },
    /// The job is to end: a cancel by a client (at any gate), or its owner's decision.
    #[n(7)]
    StopRecorded {
        /// The job.
        #[n(0)]
        job: JobId,
        /// The owner's fence; `None` for a cancel, which any gate may record.
        #[n(1)]
        gate_epoch: Option<GateEpoch>,
        /// `Cancelled`, `TimedOut` or `Failed`.
        #[n(2)]
        verdict: JobStatus,
        /// Why, for a person.
        #[n(3)]
        reason: String,
        /// Since acceptance, by the proposing gate's clock.
        #[n(4)]
        elapsed_ms: u32,
    },
    /// Other gates own these jobs from now on; each with its new fence. At most [`MAX_ASSIGNED`].
    #[n(8)]
    OwnerAssigned {
        /// Job, its new fence, its new owner.
        #[n(0)]
        jobs: Vec<(JobId, GateEpoch, NodeId)>,
    },
    /// The job ends now, without what is missing. (Where nothing is missing, the last `DcFinal` ends it.)
    #[n(9)]
    JobFinal {
        /// By whom.
        #[n(0)]
        by: ByOwner,
        /// What the datacenters without a result are missing for.
        #[n(1)]
        why: String,
    },
    /// A client has read the result.
    #[n(10)]
    ResultDelivered {
        /// The job.
        #[n(0)]
        job: JobId,
    },
    /// The record is dropped; a tombstone stays.
    #[n(11)]
    JobReaped {
        /// By whom.
        #[n(0)]
        by: ByOwner,
        /// How many tombstones are kept: the oldest go.
        #[n(1)]
        keep: u32,
    },
    /// Changes nothing: where it is applied, everything that was decided before it was proposed is applied too.
    #[n(12)]
    Barrier,
}

/// An accepted job.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Accept {
    /// The job.
    #[n(0)]
    pub job: JobId,
    /// What was asked for.
    #[n(1)]
    pub origin: Origin,
    /// The first owner.
    #[n(2)]
    pub owner: NodeId,
    /// Where it is to run, each with its own part of the load.
    #[n(3)]
    pub targets: Vec<DcId>,
    /// Who takes a target's place, in order.
    #[n(4)]
    pub fallbacks: Vec<DcId>,
}

/// A datacenter's owner of the job, as it states itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct DcAt {
    /// The datacenter.
    #[n(0)]
    pub dc: DcId,
    /// Its fence.
    #[n(1)]
    pub dc_epoch: DcEpoch,
    /// The manager.
    #[n(2)]
    pub owner: NodeId,
}
