//! The core's testimony: every decision worth knowing, as ids and numbers.
//!
//! The runtime turns these into log lines, metrics and client-visible counts; the simulator's expectations and oracles
//! read the very same stream. An observation says what was decided, never how the code got there.

use minicbor::{Decode, Encode};

use crate::fault::FaultCode;
use crate::federation::{Health, Reach};
use crate::guard::{Condition, Pace};
use crate::id::{Attempt, DcEpoch, DcId, GateEpoch, JobId, NodeId, RunId, Term, WorkflowIx};
use crate::jobs::{JobStatus, Outcome, WorkflowStatus};
use crate::manager::{Alert, Crowd};
use crate::suspicion::extension::{Denial, Need};
use crate::swim::MemberStatus;
use crate::wire::{Features, Malformed};

/// One decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Observation {
    // ---- node ----
    /// The node may act: synced, lease held (gates, managers); registered (workers).
    #[n(0)]
    Active,
    /// The node may not act as an owner: its lease ran out, or no manager is reachable (workers).
    #[n(1)]
    Isolated,
    /// The node finishes its work and takes no more.
    #[n(2)]
    Draining,
    /// Received bytes were no message.
    #[n(3)]
    Malformed(#[n(0)] Malformed),
    /// A request was refused.
    #[n(4)]
    Refused(#[n(0)] FaultCode),
    /// A message was old, repeated or for nobody, and changed nothing.
    #[n(5)]
    Ignored(#[n(0)] Stale),
    /// A durable write failed; the node ends.
    #[n(6)]
    StoreFailed,
    /// A peer on an ordered connection did not answer a ping in time.
    #[n(7)]
    PingMissed(#[n(0)] NodeId),
    /// The node's own load has changed.
    #[n(8)]
    Condition(#[n(0)] Condition),
    /// A peer's load has changed: of a worker by its heartbeat, of others by their answers to pings.
    #[n(9)]
    PeerCondition {
        /// The peer.
        #[n(0)]
        node: NodeId,
        /// How loaded it says it is.
        #[n(1)]
        condition: Condition,
    },
    /// A peer is connected, and this is spoken with it.
    #[n(10)]
    Greeted {
        /// The peer.
        #[n(0)]
        peer: NodeId,
        /// The minor version: the lower one of both.
        #[n(1)]
        minor: u16,
        /// The features that both have.
        #[n(2)]
        features: Features,
    },
    /// A greeting was refused.
    #[n(11)]
    GreetingRefused {
        /// Who greeted, where it is proven.
        #[n(0)]
        peer: Option<NodeId>,
        /// Why.
        #[n(1)]
        code: FaultCode,
    },

    // ---- membership ----
    /// A member's status changed in this node's view.
    #[n(20)]
    Member {
        /// The member.
        #[n(0)]
        node: NodeId,
        /// Its new status.
        #[n(1)]
        status: MemberStatus,
    },
    /// The node refuted a rumour about itself.
    #[n(21)]
    Refuted,
    /// The node has heard nobody for so long that it holds a member for dead although it may be cut off itself.
    #[n(22)]
    Unheard,
    /// A member that is dead or left for long, and is not configured, is remembered no more.
    #[n(23)]
    Forgotten(#[n(0)] NodeId),

    // ---- log ----
    /// This node became the leader of its tier's log. Only a belief until it commits.
    #[n(40)]
    BecameLeader(#[n(0)] Term),
    /// This node stopped leading its tier's log.
    #[n(41)]
    LostLeadership(#[n(0)] Term),
    /// A node's lease ended by log entry.
    #[n(42)]
    LeaseEnded(#[n(0)] NodeId),
    /// The digest of the applied state at a log index, for comparison between replicas.
    #[n(43)]
    StateDigest {
        /// The index.
        #[n(0)]
        index: u64,
        /// The digest.
        #[n(1)]
        digest: u64,
    },
    /// The state was replaced by a leader's snapshot up to this index.
    #[n(44)]
    SnapshotInstalled(#[n(0)] u64),
    /// A replica's digest differs from the leader's at the same index: a fault.
    #[n(45)]
    StateDiverged(#[n(0)] u64),

    // ---- gate ----
    /// A job is in the gates' log.
    #[n(60)]
    JobAccepted(#[n(0)] JobId),
    /// A job's status changed at its owner.
    #[n(61)]
    JobStatus {
        /// The job.
        #[n(0)]
        job: JobId,
        /// The new status.
        #[n(1)]
        status: JobStatus,
    },
    /// A job's owner, by log entry, as applied at this gate.
    #[n(62)]
    JobOwner {
        /// The job.
        #[n(0)]
        job: JobId,
        /// The fence.
        #[n(1)]
        gate_epoch: GateEpoch,
        /// The owner.
        #[n(2)]
        owner: NodeId,
    },
    /// A datacenter was asked to run a job.
    #[n(63)]
    Dispatched {
        /// The job.
        #[n(0)]
        job: JobId,
        /// The datacenter.
        #[n(1)]
        dc: DcId,
    },
    /// A datacenter has the job in its log.
    #[n(64)]
    DcAccepted {
        /// The job.
        #[n(0)]
        job: JobId,
        /// The datacenter.
        #[n(1)]
        dc: DcId,
        /// The datacenter owner's fence.
        #[n(2)]
        dc_epoch: DcEpoch,
    },
    /// A target was replaced by a fallback, or given up.
    #[n(65)]
    TargetReplaced {
        /// The job.
        #[n(0)]
        job: JobId,
        /// The datacenter that was given up.
        #[n(1)]
        dc: DcId,
    },
    /// The gates' log has it that a datacenter does not run the job and that nothing of it will count.
    #[n(131)]
    TargetCleared {
        /// The job.
        #[n(0)]
        job: JobId,
        /// The datacenter.
        #[n(1)]
        dc: DcId,
    },
    /// A datacenter's final is in the gates' log.
    #[n(66)]
    DcFinal {
        /// The job.
        #[n(0)]
        job: JobId,
        /// The datacenter.
        #[n(1)]
        dc: DcId,
        /// How it ended there.
        #[n(2)]
        status: JobStatus,
    },
    /// A job's final result is decided.
    #[n(67)]
    JobFinal {
        /// The job.
        #[n(0)]
        job: JobId,
        /// Its status.
        #[n(1)]
        status: JobStatus,
    },
    /// A cancel is in the log.
    #[n(68)]
    CancelRecorded(#[n(0)] JobId),
    /// A job's record was dropped: nothing here mentions it any more.
    #[n(69)]
    JobDropped(#[n(0)] JobId),
    /// A submission was answered from an earlier one with the same key.
    #[n(70)]
    SubmitRepeated(#[n(0)] JobId),
    /// Progress of a datacenter was taken in.
    #[n(71)]
    DcProgress {
        /// The job.
        #[n(0)]
        job: JobId,
        /// The datacenter.
        #[n(1)]
        dc: DcId,
        /// Requests so far.
        #[n(2)]
        requests: u64,
    },
    /// A job's record is dropped, and no client has acknowledged its result.
    #[n(72)]
    ResultUnread(#[n(0)] JobId),
    /// A datacenter began to answer this gate, or has stopped.
    #[n(80)]
    DcReach {
        /// The datacenter.
        #[n(0)]
        dc: DcId,
        /// Whether it answers.
        #[n(1)]
        reach: Reach,
    },
    /// How fit a datacenter is for jobs has changed, as this gate judges.
    #[n(81)]
    DcHealth {
        /// The datacenter.
        #[n(0)]
        dc: DcId,
        /// How fit it is now.
        #[n(1)]
        health: Health,
    },
    /// How fit a region of several datacenters is as a whole has changed, as this gate judges.
    #[n(88)]
    RegionHealth {
        /// The region.
        #[n(0)]
        region: DcId,
        /// How fit it is now.
        #[n(1)]
        health: Health,
    },
    /// A datacenter's log has another leader, in a higher term than any before.
    #[n(82)]
    DcLeader {
        /// The datacenter.
        #[n(0)]
        dc: DcId,
        /// Its leader.
        #[n(1)]
        leader: NodeId,
        /// The term.
        #[n(2)]
        term: Term,
    },
    /// An unreachable datacenter is held as degraded, because the fault is probably this gate's; or no longer.
    #[n(83)]
    EvictionHeld {
        /// The datacenter.
        #[n(0)]
        dc: DcId,
        /// Whether it is held.
        #[n(1)]
        held: bool,
    },
    /// So many datacenters failed together that the network is the likely cause.
    #[n(84)]
    PartitionSuspected {
        /// How many.
        #[n(0)]
        dcs: u16,
    },
    /// All datacenters are well again after a suspected partition.
    #[n(85)]
    PartitionHealed,
    /// Half or more of the datacenters that answer this gate have become slow together, or no more so.
    #[n(130)]
    NetworkSlow {
        /// Whether they are slow.
        #[n(0)]
        slow: bool,
        /// How many are.
        #[n(1)]
        dcs: u16,
    },
    /// Another gate became ready to take over jobs, or is no more; or it reaches another number of datacenters.
    #[n(89)]
    GateReadiness {
        /// The gate.
        #[n(0)]
        gate: NodeId,
        /// Whether it is ready.
        #[n(1)]
        ready: bool,
        /// How many datacenters answer it.
        #[n(2)]
        reaches: u16,
    },
    /// A manager has not answered several requests to run a job, or a worker several reservations: it gets no more for a
    /// while.
    #[n(86)]
    CircuitOpened(#[n(0)] NodeId),
    /// It has answered a trial.
    #[n(87)]
    CircuitClosed(#[n(0)] NodeId),

    // ---- manager ----
    /// A job is in the datacenter's log.
    #[n(90)]
    DcJobAccepted(#[n(0)] JobId),
    /// A job's owner in this datacenter, by log entry, as applied at this manager.
    #[n(91)]
    DcOwner {
        /// The job.
        #[n(0)]
        job: JobId,
        /// The fence.
        #[n(1)]
        dc_epoch: DcEpoch,
        /// The owner.
        #[n(2)]
        owner: NodeId,
    },
    /// A worker registered, or registered again.
    #[n(92)]
    WorkerRegistered(#[n(0)] NodeId),
    /// A worker is gone: dead, or restarted.
    #[n(93)]
    WorkerLost(#[n(0)] NodeId),
    /// A workflow's status changed in this datacenter.
    #[n(94)]
    Workflow {
        /// The job.
        #[n(0)]
        job: JobId,
        /// The workflow.
        #[n(1)]
        workflow: WorkflowIx,
        /// The new status.
        #[n(2)]
        status: WorkflowStatus,
    },
    /// A shard was given to a worker, by log entry.
    #[n(95)]
    ShardReserved {
        /// The job.
        #[n(0)]
        job: JobId,
        /// The workflow.
        #[n(1)]
        workflow: WorkflowIx,
        /// The shard.
        #[n(2)]
        shard: u16,
        /// The attempt.
        #[n(3)]
        attempt: Attempt,
        /// The worker.
        #[n(4)]
        worker: NodeId,
    },
    /// A shard's attempt was given up, by log entry.
    #[n(96)]
    ShardLost {
        /// The job.
        #[n(0)]
        job: JobId,
        /// The workflow.
        #[n(1)]
        workflow: WorkflowIx,
        /// The shard.
        #[n(2)]
        shard: u16,
        /// The attempt.
        #[n(3)]
        attempt: Attempt,
    },
    /// A shard's result is in the log.
    #[n(97)]
    ShardDone {
        /// The job.
        #[n(0)]
        job: JobId,
        /// The workflow.
        #[n(1)]
        workflow: WorkflowIx,
        /// The shard.
        #[n(2)]
        shard: u16,
        /// The attempt.
        #[n(3)]
        attempt: Attempt,
        /// How it ended.
        #[n(4)]
        outcome: Outcome,
    },
    /// The job ended in this datacenter, by log entry.
    #[n(98)]
    DcJobFinal {
        /// The job.
        #[n(0)]
        job: JobId,
        /// How.
        #[n(1)]
        status: JobStatus,
    },

    /// A living worker is silent for a job: it is suspected for this job alone.
    #[n(99)]
    WorkerSuspected {
        /// The job.
        #[n(0)]
        job: JobId,
        /// The worker.
        #[n(1)]
        worker: NodeId,
    },
    /// Nothing refuted that in time: the worker's runs of this job are ended and replaced.
    #[n(100)]
    WorkerDeadForJob {
        /// The job.
        #[n(0)]
        job: JobId,
        /// The worker.
        #[n(1)]
        worker: NodeId,
    },
    /// The worker made progress for the job after all.
    #[n(101)]
    WorkerBackForJob {
        /// The job.
        #[n(0)]
        job: JobId,
        /// The worker.
        #[n(1)]
        worker: NodeId,
    },

    /// A whole tier or pool is in trouble: the gravest thing to say of it, once.
    #[n(102)]
    Alert {
        /// Of which nodes.
        #[n(0)]
        of: Crowd,
        /// What is wrong.
        #[n(1)]
        alert: Alert,
        /// How many nodes make it so.
        #[n(2)]
        nodes: u16,
        /// Of how many.
        #[n(3)]
        all: u16,
    },
    /// It is no longer so.
    #[n(103)]
    AlertOver {
        /// Of which nodes.
        #[n(0)]
        of: Crowd,
        /// What was wrong.
        #[n(1)]
        alert: Alert,
    },

    /// A worker of which nothing is heard gets more time for a job.
    #[n(104)]
    MoreTimeGranted {
        /// The job.
        #[n(0)]
        job: JobId,
        /// The worker.
        #[n(1)]
        worker: NodeId,
        /// Why it asked.
        #[n(2)]
        need: Need,
        /// How much it thought that it would need, in milliseconds.
        #[n(3)]
        wants_ms: u32,
        /// What it gets, in milliseconds.
        #[n(4)]
        time_ms: u32,
        /// How many more grants there can be.
        #[n(5)]
        left: u8,
        /// At most one.
        #[n(6)]
        warning: bool,
    },
    /// It gets none.
    #[n(105)]
    MoreTimeDenied {
        /// The job.
        #[n(0)]
        job: JobId,
        /// The worker.
        #[n(1)]
        worker: NodeId,
        /// Why it asked.
        #[n(2)]
        need: Need,
        /// Why not.
        #[n(3)]
        denial: Denial,
        /// What was done at the last grant: items, or thousandths of the time.
        #[n(4)]
        before: u64,
        /// What is done now.
        #[n(5)]
        now: u64,
    },

    /// A worker leaves so many requests without an answer that it gets none for a while; it has for so long.
    #[n(106)]
    WorkerUnhealthy {
        /// The worker.
        #[n(0)]
        worker: NodeId,
        /// Since it began, in milliseconds; 0 where it begins.
        #[n(1)]
        for_ms: u32,
    },
    /// A worker is fit for work now and not then: it gets work last for a while.
    #[n(107)]
    WorkerHeld {
        /// The worker.
        #[n(0)]
        worker: NodeId,
        /// For how long, in milliseconds.
        #[n(1)]
        for_ms: u32,
    },
    /// How the runs of a worker get on has changed.
    #[n(108)]
    WorkerPace {
        /// The worker.
        #[n(0)]
        worker: NodeId,
        /// How.
        #[n(1)]
        pace: Pace,
    },

    // ---- worker ----
    /// Cores are kept for a run.
    #[n(120)]
    RunReserved(#[n(0)] RunKey),
    /// A run was handed to its executor.
    #[n(121)]
    RunStarted(#[n(0)] RunKey),
    /// A run ended.
    #[n(122)]
    RunEnded {
        /// The run.
        #[n(0)]
        run: RunKey,
        /// How.
        #[n(1)]
        outcome: Outcome,
    },
    /// A run's result was acknowledged and left the outbox.
    #[n(123)]
    ResultAcked(#[n(0)] RunKey),
    /// A run's owner was gone for too long; its orphan policy took effect.
    #[n(124)]
    Orphaned(#[n(0)] RunKey),
    /// No progress of a job was acknowledged for long: its manager is asked for more time. Until it answers, or
    /// acknowledges progress, the worker asks nothing else.
    #[n(125)]
    MoreTimeAsked {
        /// The job.
        #[n(0)]
        job: JobId,
        /// Counts these requests.
        #[n(1)]
        seq: u64,
        /// Why.
        #[n(2)]
        need: Need,
        /// Runs of the job that are under way.
        #[n(3)]
        active: u16,
        /// Those that will end after the deadline.
        #[n(4)]
        overdue: u16,
        /// How much of their time is over, in thousandths.
        #[n(5)]
        permille: u16,
        /// How much time the worker thinks that it needs beyond the deadline, in milliseconds.
        #[n(6)]
        wants_ms: u32,
    },
}

/// A run, without the datacenter, which is the observing node's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct RunKey {
    /// The job.
    #[n(0)]
    pub job: JobId,
    /// The workflow.
    #[n(1)]
    pub workflow: WorkflowIx,
    /// The shard.
    #[n(2)]
    pub shard: u16,
    /// The attempt.
    #[n(3)]
    pub attempt: Attempt,
}

impl From<RunId> for RunKey {
    fn from(run: RunId) -> Self {
        Self {
            job: run.shard.job,
            workflow: run.shard.workflow,
            shard: run.shard.shard,
            attempt: run.attempt,
        }
    }
}

/// Why a message changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cbor(index_only)]
pub enum Stale {
    /// Its fence is lower than the known one.
    #[n(0)]
    Fence,
    /// Its sequence or version is not higher than the known one.
    #[n(1)]
    Sequence,
    /// What it speaks of is not here.
    #[n(2)]
    Unknown,
    /// It repeats what is known.
    #[n(3)]
    Duplicate,
    /// Its sender may not say that.
    #[n(4)]
    Sender,
    /// It breaks a rule.
    #[n(5)]
    Invalid,
    /// This node is not in a state to take it.
    #[n(6)]
    State,
}
