//! The messages on the ordered connection of two nodes.
//!
//! There is no correlation number: a reply names what it answers by the same key and fence as the request, so a late,
//! repeated or reordered reply can be judged by itself. Durations are milliseconds or microseconds; no clock reading
//! crosses the wire. Replies carry `Result<_, Fault>`: a refusal is never mistaken for success.

use alloc::boxed::Box;
use alloc::vec::Vec;
use minicbor::{Decode, Encode};

use super::part::{
    AbortedWas, DcLoad, DispatchAccepted, GateView, HeldShard, Reconciled, ReserveShard, ShardReport,
};
use crate::coordinates::Coordinate;
use crate::fault::Fault;
use crate::guard::Condition;
use crate::id::{BootNo, DcEpoch, DiskId, GateEpoch, JobId, NodeId, RunId, WorkflowIx};
use crate::jobs::{
    DcReport, ExecutorKind, JobSpec, JobStatus, StopMode, Totals, Window, WorkflowReport, WorkflowStatus,
};
use crate::ledger::LogMessage;
use crate::suspicion::extension::{Denied, Grant, Plea};

/// Every message. The comment of each names link, delivery and fence.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub enum Message {
    /// Voter to voter of one tier. May be lost, repeated and reordered.
    #[n(0)]
    Log(#[n(0)] Box<LogMessage>),

    /// Any to any: measures the round trip of a connection. Answered at once.
    #[n(1)]
    Ping {
        /// Chosen by the sender.
        #[n(0)]
        token: u64,
    },
    /// The answer to `Ping`.
    #[n(2)]
    Pong {
        /// The ping's.
        #[n(0)]
        token: u64,
        /// Where the sender stands; absent from versions that do not know.
        #[n(1)]
        coordinate: Option<Coordinate>,
        /// How loaded the sender is; healthy where its version does not say.
        #[n(2)]
        #[cbor(default)]
        condition: Condition,
    },

    // ---- gate and manager ----
    /// Manager to every gate: on connection, every 5 s, at once when the leader or free cores change. Newest wins.
    #[n(10)]
    DcHeartbeat(#[n(0)] DcLoad),
    /// Gate to a manager, the log leader by belief: run this job here. Repeated until answered; idempotent by
    /// (job, datacenter). Fence: `gate_epoch`.
    #[n(11)]
    Dispatch {
        /// The job.
        #[n(0)]
        job: JobId,
        /// The owner's fence.
        #[n(1)]
        gate_epoch: GateEpoch,
        /// The owner: where progress and results go.
        #[n(2)]
        owner: NodeId,
        /// What to run.
        #[n(3)]
        spec: Box<JobSpec>,
        /// Which part of the load: place `slot` of `slots`.
        #[n(4)]
        slot: u16,
        /// See `slot`.
        #[n(5)]
        slots: u16,
        /// What is left of the job's time.
        #[n(6)]
        remaining_ms: u32,
        /// Half the least round trip of this link, in microseconds, for starting together; 0 where unknown.
        #[n(7)]
        half_rtt_us: u32,
    },
    /// Manager to gate: the job is in the datacenter's log, or why not (`NotLeader` names the leader).
    #[n(12)]
    DispatchReply {
        /// The job.
        #[n(0)]
        job: JobId,
        /// The fence of the request.
        #[n(1)]
        gate_epoch: GateEpoch,
        /// Accepted, or why not.
        #[n(2)]
        reply: Result<DispatchAccepted, Fault>,
    },
    /// Datacenter owner to job owner: cumulative numbers, every second and on a change. Newest (epoch, seq) wins.
    #[n(13)]
    DcProgress {
        /// The job.
        #[n(0)]
        job: JobId,
        /// The sender's fence.
        #[n(1)]
        dc_epoch: DcEpoch,
        /// From 1 in each epoch.
        #[n(2)]
        seq: u64,
        /// How the job stands there.
        #[n(3)]
        status: JobStatus,
        /// Status and cumulative numbers of each workflow, by place.
        #[n(4)]
        workflows: Vec<(WorkflowStatus, Totals)>,
        /// Windows closed since the last message. May be lost: no total depends on them.
        #[n(5)]
        windows: Vec<(WorkflowIx, Window)>,
    },
    /// Job owner to datacenter owner: a workflow's result is in the gates' log (`stored`), or why not.
    #[n(14)]
    WorkflowResultAck {
        /// The job.
        #[n(0)]
        job: JobId,
        /// The workflow.
        #[n(1)]
        workflow: WorkflowIx,
        /// The fence of the result.
        #[n(2)]
        dc_epoch: DcEpoch,
        /// Only `Ok` removes it from the sender's outbox. `NotOwner` names whom to send it to.
        #[n(3)]
        stored: Result<(), Fault>,
    },
    /// Datacenter owner to job owner: a workflow ended. In the outbox until acknowledged. Fence: `dc_epoch`.
    #[n(15)]
    WorkflowResult {
        /// The job.
        #[n(0)]
        job: JobId,
        /// The sender's fence.
        #[n(1)]
        dc_epoch: DcEpoch,
        /// What came out.
        #[n(2)]
        report: Box<WorkflowReport>,
    },
    /// Datacenter owner to job owner: the job ended here. In the outbox until acknowledged. Fence: `dc_epoch`.
    #[n(16)]
    DcFinal {
        /// The job.
        #[n(0)]
        job: JobId,
        /// The sender's fence.
        #[n(1)]
        dc_epoch: DcEpoch,
        /// What came out.
        #[n(2)]
        report: Box<DcReport>,
    },
    /// Job owner to datacenter owner: the final is in the gates' log, or why not.
    #[n(17)]
    DcFinalAck {
        /// The job.
        #[n(0)]
        job: JobId,
        /// The fence of the final.
        #[n(1)]
        dc_epoch: DcEpoch,
        /// Only `Ok` removes it from the sender's outbox.
        #[n(2)]
        stored: Result<(), Fault>,
    },
    /// Job owner to datacenter owner: stop the job (a cancel, or its time is over). Repeated until answered;
    /// idempotent by job. Fence: `gate_epoch`.
    #[n(18)]
    StopInDc {
        /// The job.
        #[n(0)]
        job: JobId,
        /// The owner's fence.
        #[n(1)]
        gate_epoch: GateEpoch,
        /// `Cancelled`, `TimedOut` or `Failed` (fail fast, or this datacenter was replaced).
        #[n(2)]
        verdict: JobStatus,
    },
    /// Datacenter owner to job owner: the stop is in the datacenter's log. The end comes as `DcFinal`.
    #[n(19)]
    StopInDcReply {
        /// The job.
        #[n(0)]
        job: JobId,
        /// The fence of the request.
        #[n(1)]
        gate_epoch: GateEpoch,
        /// Recorded; `UnknownJob` proves that it does not run here.
        #[n(2)]
        recorded: Result<(), Fault>,
    },
    /// New job owner to the datacenter owner. Repeated until answered. Fence: `gate_epoch`.
    #[n(20)]
    GateOwnerChanged {
        /// The job.
        #[n(0)]
        job: JobId,
        /// The new fence.
        #[n(1)]
        gate_epoch: GateEpoch,
        /// The new owner.
        #[n(2)]
        owner: NodeId,
    },
    /// The datacenter owner sends to the new owner from now on.
    #[n(21)]
    GateOwnerChangedReply {
        /// The job.
        #[n(0)]
        job: JobId,
        /// The fence of the request.
        #[n(1)]
        gate_epoch: GateEpoch,
        /// Its own fence, or why not.
        #[n(2)]
        reply: Result<DispatchAccepted, Fault>,
    },
    /// New datacenter owner to the job owner. In the outbox until acknowledged. Fence: `dc_epoch`.
    #[n(22)]
    DcOwnerChanged {
        /// The job.
        #[n(0)]
        job: JobId,
        /// The new fence.
        #[n(1)]
        dc_epoch: DcEpoch,
        /// The new owner.
        #[n(2)]
        owner: NodeId,
    },
    /// The change is in the gates' log, or why not.
    #[n(23)]
    DcOwnerChangedAck {
        /// The job.
        #[n(0)]
        job: JobId,
        /// The fence of the request.
        #[n(1)]
        dc_epoch: DcEpoch,
        /// Only `Ok` removes it from the sender's outbox.
        #[n(2)]
        stored: Result<GateEpoch, Fault>,
    },
    /// Gate to any manager of a datacenter, every 30 s and after each connection: what do you know of these jobs,
    /// which I own?
    #[n(24)]
    Reconcile {
        /// Jobs with their fences; at most 256.
        #[n(0)]
        jobs: Vec<(JobId, GateEpoch)>,
    },
    /// What the datacenter's log says of them.
    #[n(25)]
    ReconcileReply {
        /// Each job that was asked for.
        #[n(0)]
        jobs: Vec<(JobId, Reconciled)>,
    },
    /// Gate to manager: these jobs are reaped (or were never owned); their records may be dropped. May be lost.
    #[n(26)]
    Forget {
        /// At most 256.
        #[n(0)]
        jobs: Vec<JobId>,
    },

    /// Gate to every other gate, every 5 s and at once when one of them changes: which datacenters it reaches. Newest
    /// (boot, version) wins. May be lost.
    #[n(27)]
    GateView(#[n(0)] GateView),

    // ---- manager and worker ----
    /// Worker to every manager of its datacenter, on each connection. Repeated until answered.
    #[n(40)]
    RegisterWorker {
        /// The worker's boot; a higher one declares the shards of lower ones lost.
        #[n(0)]
        boot: BootNo,
        /// Cores to allocate.
        #[n(1)]
        cores: u16,
        /// Executors it may run.
        #[n(2)]
        executors: Vec<ExecutorKind>,
        /// What it holds.
        #[n(3)]
        held: Vec<HeldShard>,
        /// In one row with the versions of its heartbeats: what is older says nothing of now.
        #[n(4)]
        version: u64,
        /// The process of the manager that is meant. Another one knows no earlier version, so it could not tell an old
        /// list of what is held from a new one.
        #[n(5)]
        manager: BootNo,
        /// The worker's disk. Starts are counted on it: with another one, nothing that was given before is held.
        #[n(6)]
        disk: DiskId,
    },
    /// Manager to worker.
    #[n(41)]
    RegisterWorkerReply {
        /// The boot of the request.
        #[n(0)]
        boot: BootNo,
        /// Registered, or why not.
        #[n(1)]
        accepted: Result<(), Fault>,
    },
    /// Worker to every manager, every second (every six where it is told of runs meanwhile) and when free cores change. Newest (boot, version) wins.
    #[n(42)]
    WorkerHeartbeat {
        /// The worker's boot.
        #[n(0)]
        boot: BootNo,
        /// Grows with each.
        #[n(1)]
        version: u64,
        /// Cores without a reservation.
        #[n(2)]
        free_cores: u16,
        /// Takes no new reservations.
        #[n(3)]
        draining: bool,
        /// What it holds: all of it, so that lost and stray shards show.
        #[n(4)]
        held: Vec<HeldShard>,
        /// How loaded it is; healthy where its version does not say.
        #[n(5)]
        #[cbor(default)]
        condition: Condition,
    },
    /// Datacenter owner to worker: keep cores for this run. Idempotent by run. Fences: attempt, `dc_epoch`.
    #[n(43)]
    ReserveShard(#[n(0)] Box<ReserveShard>),
    /// Worker to datacenter owner.
    #[n(44)]
    ReserveShardReply {
        /// The run.
        #[n(0)]
        run: RunId,
        /// The fence of the request.
        #[n(1)]
        dc_epoch: DcEpoch,
        /// Reserved, or why not.
        #[n(2)]
        reserved: Result<(), Fault>,
    },
    /// Datacenter owner to worker: begin `start_in_us` after the receipt. Idempotent by run.
    #[n(45)]
    StartShard {
        /// The run.
        #[n(0)]
        run: RunId,
        /// The sender's fence.
        #[n(1)]
        dc_epoch: DcEpoch,
        /// Already less half the least round trip of the link.
        #[n(2)]
        start_in_us: u32,
    },
    /// Worker to datacenter owner: begun, this much after the asked instant; or why not.
    #[n(46)]
    ShardStarted {
        /// The run.
        #[n(0)]
        run: RunId,
        /// The sender's owner at that time.
        #[n(1)]
        dc_epoch: DcEpoch,
        /// How late it began, in microseconds.
        #[n(2)]
        started: Result<u32, Fault>,
    },
    /// Datacenter owner to worker: free the reservation or stop the run; an unknown run is success and is remembered,
    /// so that a late reservation of it is refused. Repeated until answered.
    #[n(47)]
    StopShard {
        /// The run.
        #[n(0)]
        run: RunId,
        /// The sender's fence.
        #[n(1)]
        dc_epoch: DcEpoch,
        /// How.
        #[n(2)]
        mode: StopMode,
    },
    /// Worker to datacenter owner: what it was. A run that is stopping reports its end as `ShardResult`.
    #[n(48)]
    StopShardReply {
        /// The run.
        #[n(0)]
        run: RunId,
        /// The fence of the request.
        #[n(1)]
        dc_epoch: DcEpoch,
        /// What it was.
        #[n(2)]
        was: AbortedWas,
    },
    /// Worker to datacenter owner: cumulative numbers every 500 ms. Newest `seq` wins. Fence: attempt.
    #[n(49)]
    ShardProgress {
        /// The run.
        #[n(0)]
        run: RunId,
        /// From 1 in each attempt.
        #[n(1)]
        seq: u64,
        /// Since the attempt began.
        #[n(2)]
        totals: Box<Totals>,
        /// Closed windows that were not acknowledged yet; at most 32.
        #[n(3)]
        windows: Vec<Window>,
    },
    /// Datacenter owner to worker: windows up to `windows_through` have arrived.
    #[n(50)]
    ShardProgressAck {
        /// The run.
        #[n(0)]
        run: RunId,
        /// The newest progress seen.
        #[n(1)]
        seq: u64,
        /// Windows with lower numbers are no longer needed.
        #[n(2)]
        windows_through: u32,
    },
    /// Worker to datacenter owner: a run ended. Durable in the outbox until acknowledged. Fence: attempt.
    #[n(51)]
    ShardResult(#[n(0)] Box<ShardReport>),
    /// Datacenter owner to worker: the result is in the datacenter's log, or is superseded; or why not.
    #[n(52)]
    ShardResultAck {
        /// The run.
        #[n(0)]
        run: RunId,
        /// Only `Ok` removes it from the outbox: stored, or superseded by a higher attempt and of no more use.
        #[n(1)]
        stored: Result<(), Fault>,
    },
    /// New datacenter owner to every worker that may hold shards of the job. Repeated until answered.
    #[n(53)]
    OwnerChanged {
        /// The job.
        #[n(0)]
        job: JobId,
        /// The new fence.
        #[n(1)]
        dc_epoch: DcEpoch,
        /// The new owner.
        #[n(2)]
        owner: NodeId,
    },
    /// Worker to the new owner: what it holds of the job.
    #[n(54)]
    OwnerChangedReply {
        /// The job.
        #[n(0)]
        job: JobId,
        /// The fence of the request.
        #[n(1)]
        dc_epoch: DcEpoch,
        /// What it holds; or `StaleEpoch`.
        #[n(2)]
        held: Result<Vec<HeldShard>, Fault>,
    },
    /// Manager to worker: these jobs are dropped here; whatever the worker still keeps of them may go. May be lost.
    #[n(55)]
    ForgetAtWorker {
        /// At most 256.
        #[n(0)]
        jobs: Vec<JobId>,
    },
    /// Worker to datacenter owner: no progress of this job was acknowledged for long; more time is wanted before that
    /// counts as silence. Repeated until answered; idempotent by `seq`. Fence: `dc_epoch`.
    #[n(56)]
    MoreTime {
        /// The job.
        #[n(0)]
        job: JobId,
        /// The sender's owner at that time.
        #[n(1)]
        dc_epoch: DcEpoch,
        /// What is asked.
        #[n(2)]
        plea: Plea,
    },
    /// Datacenter owner to worker: more time, or why not.
    #[n(57)]
    MoreTimeReply {
        /// The job.
        #[n(0)]
        job: JobId,
        /// The fence of the request.
        #[n(1)]
        dc_epoch: DcEpoch,
        /// The plea's.
        #[n(2)]
        seq: u64,
        /// How long until silence counts, as it is now.
        #[n(3)]
        ends_in_ms: u32,
        /// What is granted.
        #[n(4)]
        granted: Result<Grant, Denied>,
    },
}
