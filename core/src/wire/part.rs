//! What the messages are made of: records of several fields that one or more kinds carry.

use alloc::string::String;
use alloc::vec::Vec;
use minicbor::{Decode, Encode};

use crate::federation::Reach;
use crate::guard::Condition;
use crate::id::{BootNo, DcEpoch, DcId, NodeId, RunId, Term};
use crate::jobs::{JobStatus, Outcome, ShardRun, Totals};

/// Cores of a datacenter or a worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Encode, Decode)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Capacity {
    /// All cores of registered, living workers.
    #[n(0)]
    pub total_cores: u32,
    /// Those without a reservation.
    #[n(1)]
    pub free_cores: u32,
    /// Registered, living workers.
    #[n(2)]
    pub workers: u32,
}

/// What a manager tells every gate about its datacenter.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct DcLoad {
    /// The datacenter; must be the sender's own.
    #[n(0)]
    pub dc: DcId,
    /// The sender's boot.
    #[n(1)]
    pub boot: BootNo,
    /// Grows with each heartbeat of a boot.
    #[n(2)]
    pub version: u64,
    /// The sender believes that it leads its tier's log.
    #[n(3)]
    pub is_leader: bool,
    /// The log term in which it believes so, or follows.
    #[n(4)]
    pub term: Term,
    /// The leader it follows, if it knows one.
    #[n(5)]
    pub leader: Option<NodeId>,
    /// Takes new jobs: active, not draining.
    #[n(6)]
    pub accepting: bool,
    /// Capacity as the sender sees it.
    #[n(7)]
    pub capacity: Capacity,
    /// Shards that wait for cores.
    #[n(8)]
    pub queued_shards: u32,
    /// Jobs that it keeps records of.
    #[n(9)]
    pub jobs: u32,
    /// Workers that the sender knows of, dead ones too; 0 where its version does not say.
    #[n(10)]
    #[cbor(default)]
    pub known_workers: u32,
    /// Registered workers that live, by how loaded they are ([`Condition::ALL`]); all 0 where its version does not say.
    #[n(11)]
    #[cbor(default)]
    pub conditions: [u32; 4],
    /// Workers to which the sender has granted more time for a job that it owns; 0 where its version does not say.
    #[n(12)]
    #[cbor(default)]
    pub extended: u32,
}

/// Which datacenters a gate reaches.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct GateView {
    /// The sender's boot.
    #[n(0)]
    pub boot: BootNo,
    /// Grows with each of a boot.
    #[n(1)]
    pub version: u64,
    /// Each configured datacenter; at most [`GateView::MAX_DCS`].
    #[n(2)]
    pub reaches: Vec<(DcId, Reach)>,
    /// How loaded the sender is.
    #[n(3)]
    #[cbor(default)]
    pub condition: Condition,
}

impl GateView {
    /// How many datacenters answer the sender.
    pub fn reachable(&self) -> usize {
        self.reaches.iter().filter(|(_, reach)| *reach == Reach::Reachable).count()
    }

    /// Whether the sender should get jobs of others, and lead: it is no more than busy, and not all datacenters are lost
    /// to it.
    pub fn is_ready(&self) -> bool {
        let lost = |reach: &Reach| matches!(reach, Reach::Suspected | Reach::Unreachable);
        let all_lost = !self.reaches.is_empty() && self.reaches.iter().all(|(_, reach)| lost(reach));
        self.condition <= Condition::Busy && !all_lost
    }

    /// Most datacenters of one view; those beyond are not told.
    pub const MAX_DCS: usize = 256;
}

/// A datacenter has a job in its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct DispatchAccepted {
    /// The datacenter owner's fence.
    #[n(0)]
    pub dc_epoch: DcEpoch,
    /// The datacenter owner.
    #[n(1)]
    pub owner: NodeId,
}

/// What a datacenter's log says of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub enum Reconciled {
    /// It is not there.
    #[n(0)]
    Unknown,
    /// It is there.
    #[n(1)]
    Known {
        /// The datacenter owner and its fence.
        #[n(0)]
        at: DispatchAccepted,
        /// How it stands.
        #[n(1)]
        status: JobStatus,
    },
    /// It was there, ended, and was dropped.
    #[n(2)]
    Dropped {
        /// How it ended.
        #[n(0)]
        status: JobStatus,
    },
}

/// Keep cores for a run.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct ReserveShard {
    /// The run.
    #[n(0)]
    pub run: RunId,
    /// The sender's fence.
    #[n(1)]
    pub dc_epoch: DcEpoch,
    /// The datacenter owner: where progress and results go.
    #[n(2)]
    pub owner: NodeId,
    /// What to run.
    #[n(3)]
    pub shard: ShardRun,
    /// The worker's start for which the attempt was assigned. Another one refuses it: an attempt that a former
    /// process of the worker has started must not start again.
    #[n(4)]
    pub boot: BootNo,
}

/// How far a run is at its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum RunPhase {
    /// Cores are kept for it.
    #[n(0)]
    Reserved,
    /// It runs, or begins in a moment.
    #[n(1)]
    Running,
    /// It was asked to end.
    #[n(2)]
    Stopping,
    /// It has ended; its result waits in the outbox.
    #[n(3)]
    Ended,
}

/// One thing a worker holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct HeldShard {
    /// The run.
    #[n(0)]
    pub run: RunId,
    /// How far it is.
    #[n(1)]
    pub phase: RunPhase,
}

/// What a run was when it was asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum AbortedWas {
    /// Not there; it never will be.
    #[n(0)]
    NeverSeen,
    /// Reserved only; freed.
    #[n(1)]
    Freed,
    /// Running; it is stopping and its result will follow.
    #[n(2)]
    Stopping,
    /// Ended before; its result is in the outbox or was acknowledged.
    #[n(3)]
    Ended,
}

/// The end of a run.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct ShardReport {
    /// The run.
    #[n(0)]
    pub run: RunId,
    /// How it ended.
    #[n(1)]
    pub outcome: Outcome,
    /// Its final numbers.
    #[n(2)]
    pub totals: Totals,
    /// What went wrong, for a person; at most 512 bytes.
    #[n(3)]
    pub why: String,
    /// How late it began, in microseconds.
    #[n(4)]
    pub start_late_us: u32,
}
