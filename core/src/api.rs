//! Between clients and gates: calls, answers and the events of a job. HTTP is the runtime's affair.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use minicbor::{Decode, Encode};

use crate::fault::Fault;
use crate::federation::Health;
use crate::id::{DcEpoch, DcId, GateEpoch, JobId, NodeId, Tenant, WorkflowIx};
use crate::jobs::{JobResult, JobSpec, JobStatus, Totals, Window, WorkflowStatus};
use crate::wire::Capacity;

/// Who calls, as the driver has proven it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Identity {
    /// Whose quota the call counts against.
    #[n(0)]
    pub tenant: Tenant,
    /// Whether it may see and cancel the jobs of every tenant.
    #[n(1)]
    pub operator: bool,
}

/// What a client asks of any gate.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub enum Request {
    /// Accept a job. Answered when the job is in the gates' log: it is then never lost.
    #[n(0)]
    Submit {
        /// Makes a repeat safe: 1 to 128 bytes.
        #[n(0)]
        key: Option<String>,
        /// The job.
        #[n(1)]
        spec: Box<JobSpec>,
    },
    /// How does a job stand?
    #[n(1)]
    Status {
        /// The job.
        #[n(0)]
        job: JobId,
    },
    /// Jobs after this one, by id; of all tenants for operators.
    #[n(2)]
    List {
        /// Where to go on.
        #[n(0)]
        after: Option<JobId>,
        /// At most this many, at most 200.
        #[n(1)]
        limit: u16,
    },
    /// Record a cancel. Answered when it is in the log; the end comes as an event.
    #[n(3)]
    Cancel {
        /// The job.
        #[n(0)]
        job: JobId,
        /// For people; at most 256 bytes.
        #[n(1)]
        reason: String,
    },
    /// The final result.
    #[n(4)]
    Result {
        /// The job.
        #[n(0)]
        job: JobId,
    },
    /// Open a stream of the job's events: `Answer::Stream`, then pushes. Asked after the final event it is the caller's
    /// acknowledgement of the result.
    #[n(5)]
    Events {
        /// The job.
        #[n(0)]
        job: JobId,
        /// After this event; from the start where `None`.
        #[n(1)]
        after: Option<EventPos>,
        /// How many events the caller takes before it says more (`Event::ApiWritable`).
        #[n(2)]
        credit: u32,
    },
    /// The datacenters as this gate sees them.
    #[n(6)]
    Datacenters,
    /// The gates as this gate sees them.
    #[n(7)]
    Members,
}

/// The one answer to a call.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub enum Answer {
    /// To `Submit`.
    #[n(0)]
    Submitted(#[n(0)] Submitted),
    /// To `Status`.
    #[n(1)]
    Status(#[n(0)] JobView),
    /// To `List`.
    #[n(2)]
    Jobs {
        /// By id.
        #[n(0)]
        jobs: Vec<JobView>,
        /// Where to go on, if there are more.
        #[n(1)]
        next: Option<JobId>,
    },
    /// To `Cancel`: it is recorded.
    #[n(3)]
    CancelRecorded {
        /// The job.
        #[n(0)]
        job: JobId,
        /// False where it had been recorded before.
        #[n(1)]
        first: bool,
    },
    /// To `Result`.
    #[n(4)]
    Result(#[n(0)] Box<JobResult>),
    /// To `Events`: pushes follow under the same call.
    #[n(5)]
    Stream,
    /// To `Datacenters`.
    #[n(6)]
    Datacenters(#[n(0)] Vec<DcView>),
    /// To `Members`.
    #[n(7)]
    Members(#[n(0)] Vec<MemberView>),
    /// A refusal: nothing was changed.
    #[n(8)]
    Fault(#[n(0)] Fault),
    /// To `Events` after the final event: the caller has read everything, the result with it.
    #[n(9)]
    NothingFollows,
}

/// An accepted job.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Submitted {
    /// The job.
    #[n(0)]
    pub job: JobId,
    /// Its owner.
    #[n(1)]
    pub owner: NodeId,
    /// The owner's fence.
    #[n(2)]
    pub gate_epoch: GateEpoch,
    /// True where an earlier call with the same key had been accepted.
    #[n(3)]
    pub repeated: bool,
}

/// A job as its record says.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct JobView {
    /// The job.
    #[n(0)]
    pub job: JobId,
    /// Its name.
    #[n(1)]
    pub name: String,
    /// Its tenant.
    #[n(2)]
    pub tenant: Tenant,
    /// Its status.
    #[n(3)]
    pub status: JobStatus,
    /// Why, for a person.
    #[n(4)]
    pub resolution: String,
    /// Its owner.
    #[n(5)]
    pub owner: NodeId,
    /// The owner's fence.
    #[n(6)]
    pub gate_epoch: GateEpoch,
    /// Since acceptance, by the answering gate's clock.
    #[n(7)]
    pub elapsed_ms: u32,
    /// Its datacenters.
    #[n(8)]
    pub per_dc: Vec<DcProgressView>,
}

/// One datacenter's progress in a job, as the owner last heard.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct DcProgressView {
    /// The datacenter.
    #[n(0)]
    pub dc: DcId,
    /// How the job stands there.
    #[n(1)]
    pub status: JobStatus,
    /// Cumulative numbers, all workflows merged.
    #[n(2)]
    pub totals: Totals,
    /// How old they are.
    #[n(3)]
    pub age_ms: u32,
    /// The workflows by place.
    #[n(4)]
    pub workflows: Vec<WorkflowStatus>,
}

/// A datacenter as a gate sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct DcView {
    /// Its name.
    #[n(0)]
    pub dc: DcId,
    /// Whether a job can go there now.
    #[n(1)]
    pub usable: bool,
    /// Its log leader, if known.
    #[n(2)]
    pub leader: Option<NodeId>,
    /// Its capacity, as the leader last said.
    #[n(3)]
    pub capacity: Capacity,
    /// Managers connected to this gate.
    #[n(4)]
    pub managers: u16,
    /// Least measured round trip to it, in microseconds; `None` where unknown.
    #[n(5)]
    pub rtt_us: Option<u32>,
    /// Age of the figures.
    #[n(6)]
    pub age_ms: u32,
    /// How fit it is.
    #[n(7)]
    pub health: Health,
    /// Its region.
    #[n(8)]
    pub region: DcId,
    /// How fit its region is as a whole.
    #[n(9)]
    pub region_health: Health,
}

/// A node as a gate sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct MemberView {
    /// The node.
    #[n(0)]
    pub node: NodeId,
    /// Its name.
    #[n(1)]
    pub name: String,
    /// Its liveness.
    #[n(2)]
    pub status: crate::swim::MemberStatus,
    /// Whether it leads the gates' log.
    #[n(3)]
    pub leader: bool,
    /// How many jobs it owns.
    #[n(4)]
    pub jobs: u32,
    /// Whether its lease holds.
    #[n(5)]
    pub active: bool,
    /// Whether it is a good one to ask: it is no more than busy, and not all datacenters are lost to it.
    #[n(6)]
    pub ready: bool,
    /// How many datacenters answer it.
    #[n(7)]
    pub reaches: u16,
}

/// Order of what a client sees of a job, and the id of a server-sent event: `kept.epoch.vol`.
///
/// `kept` is assigned while applying the log entry that causes a kept event, so every gate computes the same number.
/// `vol` numbers the volatile events (progress, windows) that follow kept event `kept` at one owner; 0 is the kept event
/// itself. A cursor is compared on `kept` first; `vol` of another epoch means that none was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct EventPos {
    /// The kept event.
    #[n(0)]
    pub kept: u64,
    /// The owner that numbered the volatile event.
    #[n(1)]
    pub epoch: GateEpoch,
    /// The volatile event after it.
    #[n(2)]
    pub vol: u32,
}

/// One event of a job.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ClientEvent {
    /// The job.
    #[n(0)]
    pub job: JobId,
    /// Its place.
    #[n(1)]
    pub pos: EventPos,
    /// What happened.
    #[n(2)]
    pub kind: ClientEventKind,
}

/// What a client can hear of a job.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", tag = "type")
)]
pub enum ClientEventKind {
    /// Kept: the job is accepted, with these targets.
    #[n(0)]
    Accepted {
        /// Where it will run.
        #[n(0)]
        targets: Vec<DcId>,
    },
    /// Kept: the job's status changed.
    #[n(1)]
    Status {
        /// The status.
        #[n(0)]
        status: JobStatus,
        /// Why, for a person.
        #[n(1)]
        message: String,
    },
    /// Kept: a workflow ended in a datacenter.
    #[n(2)]
    WorkflowResult {
        /// The workflow.
        #[n(0)]
        workflow: WorkflowIx,
        /// The datacenter.
        #[n(1)]
        dc: DcId,
        /// How it ended.
        #[n(2)]
        status: WorkflowStatus,
        /// Why it did not complete; empty where it did.
        #[n(3)]
        why: String,
    },
    /// Kept: another gate owns the job.
    #[n(3)]
    Owner {
        /// The gate.
        #[n(0)]
        owner: NodeId,
        /// Its fence.
        #[n(1)]
        gate_epoch: GateEpoch,
    },
    /// Kept: another manager owns the job in a datacenter.
    #[n(4)]
    DcOwner {
        /// The datacenter.
        #[n(0)]
        dc: DcId,
        /// The manager.
        #[n(1)]
        owner: NodeId,
        /// Its fence.
        #[n(2)]
        dc_epoch: DcEpoch,
    },
    /// Kept: a cancel has run its course.
    #[n(5)]
    CancelDone {
        /// Shards that stopped when asked.
        #[n(0)]
        cancelled: u32,
        /// Shards that were killed or out of reach.
        #[n(1)]
        killed: u32,
    },
    /// Kept, and the last one: the result.
    #[n(6)]
    Final(#[n(0)] Box<JobResult>),
    /// Volatile: numbers so far; the newest replaces older ones.
    #[n(7)]
    Progress {
        /// Since acceptance.
        #[n(0)]
        elapsed_ms: u32,
        /// Per datacenter.
        #[n(1)]
        per_dc: Vec<DcProgressView>,
    },
    /// Volatile: a window of a workflow, merged over datacenters; a higher revision replaces a lower one.
    #[n(8)]
    StatsWindow {
        /// The workflow.
        #[n(0)]
        workflow: WorkflowIx,
        /// Its numbers.
        #[n(1)]
        window: Window,
        /// From 1.
        #[n(2)]
        revision: u32,
        /// Whether every shard's part is in it.
        #[n(3)]
        complete: bool,
    },
    /// Volatile events were not kept for this reader.
    #[n(9)]
    Gap {
        /// How many, where known.
        #[n(0)]
        missed: u32,
    },
}

impl ClientEventKind {
    /// Whether the event is caused by a log entry and kept as long as the job.
    pub const fn is_kept(&self) -> bool {
        !matches!(self, Self::Progress { .. } | Self::StatsWindow { .. } | Self::Gap { .. })
    }
}
