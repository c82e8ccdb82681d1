//! Bounds of a decoded message: what the types alone cannot say.
//!
//! A message that passes holds no list, text or number outside its bound, so that no machine has to look again.
//! Whether it is true, fresh or wanted is for the machines to judge.

use super::message::Message;
use super::part::{DcLoad, GateView, HeldShard, ReserveShard, ShardReport};
use crate::fault::Fault;
use crate::id::{DcId, RunId, ShardKey, WorkflowIx};
use crate::jobs::{DcReport, JobSpec, Load, ShardRun, Totals, Window, WorkflowReport};

/// Most jobs in one list.
pub const MAX_JOBS: usize = 256;
/// Most things that a worker can hold: runs and unacknowledged results.
pub const MAX_HELD: usize = 2_048;
/// Most windows of one shard in one message: beyond it neighbours are merged.
pub const MAX_SHARD_WINDOWS: usize = 32;
/// Most windows of a datacenter in one message.
pub const MAX_DC_WINDOWS: usize = 512;
/// Most executors that a worker can list.
pub const MAX_EXECUTORS: usize = 16;
/// Longest explanation for a person, in bytes.
pub const MAX_WHY: usize = 512;

/// The bound that a message breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfBounds(pub &'static str);

type Checked = Result<(), OutOfBounds>;

fn check(holds: bool, rule: &'static str) -> Checked {
    if holds { Ok(()) } else { Err(OutOfBounds(rule)) }
}

impl Message {
    /// Checks every bound.
    pub fn validate(&self) -> Checked {
        match self {
            Self::Log(_) | Self::Ping { .. } => Ok(()),
            Self::Pong { coordinate, .. } => {
                check(coordinate.is_none_or(|coordinate| coordinate.is_legal()), "coordinate")
            }
            Self::DcHeartbeat(load) => dc_load(load),
            Self::Dispatch { spec, slot, slots, .. } => {
                check(slot < slots && usize::from(*slots) <= JobSpec::MAX_TARGETS, "slot of slots")?;
                spec.validate().map_err(|_| OutOfBounds("specification"))
            }
            Self::DcProgress { workflows, windows, .. } => {
                check(workflows.len() <= JobSpec::MAX_WORKFLOWS, "workflows")?;
                check(windows.len() <= MAX_DC_WINDOWS, "windows")?;
                workflows.iter().try_for_each(|(_, sum)| totals(sum))?;
                windows.iter().try_for_each(|(ix, part)| workflow(*ix).and_then(|()| window(part)))
            }
            Self::WorkflowResult { report, .. } => workflow_report(report),
            Self::DcFinal { report, .. } => dc_report(report),
            Self::StopInDc { verdict, .. } => check(verdict.is_final(), "verdict"),
            Self::WorkflowResultAck { workflow: ix, stored, .. } => {
                workflow(*ix)?;
                fault(stored)
            }
            Self::DispatchReply { reply, .. } | Self::GateOwnerChangedReply { reply, .. } => fault(reply),
            Self::DcFinalAck { stored, .. } => fault(stored),
            Self::StopInDcReply { recorded, .. } => fault(recorded),
            Self::DcOwnerChangedAck { stored, .. } => fault(stored),
            Self::Reconcile { jobs } => check(jobs.len() <= MAX_JOBS, "jobs"),
            Self::ReconcileReply { jobs } => check(jobs.len() <= MAX_JOBS, "jobs"),
            Self::Forget { jobs } | Self::ForgetAtWorker { jobs } => check(jobs.len() <= MAX_JOBS, "jobs"),
            Self::GateView(view) => gate_view(view),
            Self::GateOwnerChanged { .. } | Self::DcOwnerChanged { .. } | Self::OwnerChanged { .. } => Ok(()),

            Self::RegisterWorker { executors, held: list, .. } => {
                check(executors.len() <= MAX_EXECUTORS, "executors")?;
                held(list)
            }
            Self::RegisterWorkerReply { accepted, .. } => fault(accepted),
            Self::WorkerHeartbeat { held: list, .. } => held(list),
            Self::ReserveShard(reserve) => reserve_shard(reserve),
            Self::ReserveShardReply { run: id, reserved, .. } => run(id).and_then(|()| fault(reserved)),
            Self::StartShard { run: id, .. } | Self::StopShard { run: id, .. } => run(id),
            Self::StopShardReply { run: id, .. } | Self::ShardProgressAck { run: id, .. } => run(id),
            Self::ShardStarted { run: id, started, .. } => run(id).and_then(|()| fault(started)),
            Self::ShardProgress { run: id, totals: sum, windows, .. } => {
                run(id)?;
                totals(sum)?;
                check(windows.len() <= MAX_SHARD_WINDOWS, "windows")?;
                windows.iter().try_for_each(window)
            }
            Self::ShardResult(report) => shard_report(report),
            Self::ShardResultAck { run: id, stored } => run(id).and_then(|()| fault(stored)),
            Self::MoreTime { .. } | Self::MoreTimeReply { .. } => Ok(()),
            Self::OwnerChangedReply { held: reply, .. } => match reply {
                Ok(list) => held(list),
                Err(_) => fault(reply),
            },
        }
    }
}

fn fault<T>(reply: &Result<T, Fault>) -> Checked {
    match reply {
        Ok(_) => Ok(()),
        Err(fault) => check(fault.detail.len() <= Fault::MAX_DETAIL, "detail"),
    }
}

fn why(text: &str) -> Checked {
    check(text.len() <= MAX_WHY, "why")
}

fn workflow(ix: WorkflowIx) -> Checked {
    check(usize::from(ix.0) < JobSpec::MAX_WORKFLOWS, "workflow")
}

fn shard_key(key: &ShardKey) -> Checked {
    workflow(key.workflow)?;
    check(key.dc != DcId::NONE && key.shard < JobSpec::MAX_SHARDS, "shard")
}

fn run(run: &RunId) -> Checked {
    check(run.attempt.0 > 0, "attempt")?;
    shard_key(&run.shard)
}

fn held(list: &[HeldShard]) -> Checked {
    check(list.len() <= MAX_HELD, "held")?;
    list.iter().try_for_each(|shard| run(&shard.run))
}

fn dc_load(load: &DcLoad) -> Checked {
    check(load.dc != DcId::NONE, "datacenter")?;
    check(load.capacity.free_cores <= load.capacity.total_cores, "free cores")?;
    check(load.known_workers == 0 || load.capacity.workers <= load.known_workers, "workers")
}

fn gate_view(view: &GateView) -> Checked {
    check(view.reaches.len() <= GateView::MAX_DCS, "datacenters")?;
    check(view.reaches.iter().all(|(dc, _)| *dc != DcId::NONE), "datacenter")?;
    check(view.reaches.is_sorted_by(|a, b| a.0 < b.0), "order of datacenters")
}

fn load(load: &Load) -> Checked {
    check(load.duration_ms <= JobSpec::MAX_TIMEOUT_MS && load.instances <= JobSpec::MAX_SHARDS, "load")
}

fn reserve_shard(reserve: &ReserveShard) -> Checked {
    run(&reserve.run)?;
    shard_run(&reserve.shard)?;
    check(reserve.shard.workflow == reserve.run.shard.workflow, "workflow of the run")
}

fn shard_run(shard: &ShardRun) -> Checked {
    check(shard.payload.len() <= JobSpec::MAX_PAYLOAD, "payload")?;
    check(shard.cores > 0, "cores")?;
    check(shard.run_limit_ms > 0, "run limit")?;
    load(&shard.load)
}

fn totals(totals: &Totals) -> Checked {
    check(totals.errors.len() <= Totals::MAX_KINDS, "kinds of errors")?;
    check(totals.errors.iter().all(|error| error.kind.len() <= Totals::MAX_KIND_LEN), "kind of error")?;
    check(totals.errors.is_sorted_by(|a, b| a.kind < b.kind), "order of errors")
}

fn window(window: &Window) -> Checked {
    check(window.count > 0 && window.no.checked_add(u32::from(window.count)).is_some(), "window")
}

fn shard_report(report: &ShardReport) -> Checked {
    run(&report.run)?;
    totals(&report.totals)?;
    why(&report.why)
}

fn workflow_report(report: &WorkflowReport) -> Checked {
    workflow(report.workflow)?;
    check(report.status.is_final(), "status of a workflow")?;
    load(&report.requested)?;
    totals(&report.totals)?;
    why(&report.why)
}

fn dc_report(report: &DcReport) -> Checked {
    check(report.dc != DcId::NONE, "datacenter")?;
    check(report.status.is_final(), "status")?;
    check(report.workflows.len() <= JobSpec::MAX_WORKFLOWS, "workflows")?;
    report.workflows.iter().try_for_each(workflow_report)
}
