//! The record of one job at a worker: its fence, its owner, its shards. Dropping it is the whole cleanup.
//!
//! Pure data with the questions that the handlers ask of it; no effect is made here.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::plea::{Course, Pleading};
use super::progress::Progress;
use crate::id::{Attempt, DcEpoch, NodeId, RunId, ShardKey, WorkflowIx};
use crate::jobs::{ShardRun, StopMode};
use crate::store::StoreToken;
use crate::wire::{HeldShard, ReserveShard, RunPhase, ShardReport};

/// One job at this worker.
#[derive(Clone, Debug)]
pub(super) struct WorkerJob {
    /// Where progress and results go: the owner, or whom a manager has named in its place.
    pub owner: NodeId,
    /// The highest fence seen. Messages with a lower one change nothing.
    pub dc_epoch: DcEpoch,
    /// Its shards by (workflow, shard).
    pub shards: BTreeMap<ShardPlace, Shard>,
    /// Redirects that results have followed since they were last sent by themselves.
    pub hops: u8,
    /// The managers have dropped the job: what still runs is killed, and its results are of no use.
    pub forgotten: bool,
    /// Whether the owner was asked for more time.
    pub pleading: Pleading,
}

/// A shard inside its job.
pub(super) type ShardPlace = (WorkflowIx, u16);

/// The place of a shard in its job's record.
pub(super) fn place(key: ShardKey) -> ShardPlace {
    (key.workflow, key.shard)
}

/// One shard. Its attempts take turns: at most one is active.
#[derive(Clone, Debug, Default)]
pub(super) struct Shard {
    /// The highest attempt that was started, stopped or superseded: neither it nor a lower one is taken any more.
    pub spent: Attempt,
    /// The highest attempt that was started.
    pub started: Attempt,
    /// The attempt that holds cores.
    pub active: Option<Run>,
    /// A higher attempt, which is taken when the active one has ended.
    pub waiting: Option<Box<ReserveShard>>,
    /// Results that are not acknowledged.
    pub results: BTreeMap<Attempt, Kept>,
}

/// A result in the outbox.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    /// Durable with this write; not to be sent before.
    pub token: StoreToken,
    pub report: ShardReport,
}

/// An attempt that holds cores.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub attempt: Attempt,
    pub cores: u16,
    pub run_limit_ms: u32,
    pub phase: Phase,
    /// How late it began, once it has.
    pub late_us: Option<u32>,
    /// How late the request to start was already when it was handled.
    pub overdue_us: u32,
    pub progress: Progress,
    /// Once it was started.
    pub course: Option<Course>,
}

/// How far a run is.
#[derive(Clone, Debug)]
pub(super) enum Phase {
    /// Cores are kept; nothing has started.
    Reserved(Box<ShardRun>),
    /// Its executor has it.
    Started,
    /// Its executor was asked to end it.
    Stopping(StopMode, Cause),
}

/// Who wanted a run to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// Its owner, or a higher attempt.
    Asked,
    /// Its own limit.
    Limit,
    /// Nobody: its owner was gone for too long.
    Orphaned,
    /// The worker is being drained.
    Drained,
}

impl WorkerJob {
    /// A record that knows only whom it belongs to.
    pub fn new(owner: NodeId, dc_epoch: DcEpoch) -> Self {
        let pleading = Pleading::default();
        Self { owner, dc_epoch, shards: BTreeMap::new(), hops: 0, forgotten: false, pleading }
    }

    /// Every attempt that holds cores.
    pub fn active(&self) -> impl Iterator<Item = (ShardPlace, &Run)> {
        self.shards.iter().filter_map(|(place, shard)| shard.active.as_ref().map(|run| (*place, run)))
    }

    /// The same, without places.
    pub fn runs(&self) -> impl Iterator<Item = &Run> {
        self.active().map(|(_, run)| run)
    }

    /// Whether a run is under way that nobody has asked to stop.
    pub fn is_running(&self) -> bool {
        self.runs().any(|run| matches!(run.phase, Phase::Started))
    }

    /// How many results wait.
    pub fn results(&self) -> usize {
        self.shards.values().map(|shard| shard.results.len()).sum()
    }

    /// Whether nothing runs, waits to run or waits to be acknowledged: only memory is left.
    pub fn is_idle(&self) -> bool {
        self.shards
            .values()
            .all(|shard| shard.active.is_none() && shard.waiting.is_none() && shard.results.is_empty())
    }

    /// Everything that a manager must know of, in order.
    pub fn held(&self, key: impl Fn(ShardPlace) -> ShardKey) -> Vec<HeldShard> {
        let mut held = Vec::new();
        for (&place, shard) in &self.shards {
            let of = |attempt, phase| HeldShard { run: RunId { shard: key(place), attempt }, phase };
            held.extend(shard.results.keys().map(|&attempt| of(attempt, RunPhase::Ended)));
            held.extend(shard.active.iter().map(|run| of(run.attempt, run.phase.as_seen())));
        }
        held
    }
}

impl Shard {
    /// The active run, if it is this attempt.
    pub fn run_mut(&mut self, attempt: Attempt) -> Option<&mut Run> {
        self.active.as_mut().filter(|run| run.attempt == attempt)
    }
}

impl Phase {
    /// The phase as managers know it.
    pub const fn as_seen(&self) -> RunPhase {
        match self {
            Self::Reserved(_) => RunPhase::Reserved,
            Self::Started => RunPhase::Running,
            Self::Stopping(..) => RunPhase::Stopping,
        }
    }
}
