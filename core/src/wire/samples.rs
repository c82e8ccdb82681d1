//! One example, or more, of every message: what the golden vectors and the properties of the codec are made of.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::*;
use crate::bytes::Bytes;
use crate::coordinates::Coordinate;
use crate::fault::{Fault, FaultCode};
use crate::federation::Reach;
use crate::guard::Condition;
use crate::id::*;
use crate::jobs::*;
use crate::ledger::{Checkpoint, LogBody, LogMessage, LogPos, LogRecord};
use crate::stats::{Recorder, Sketch, WindowSketch};
use crate::suspicion::extension::{Denial, Denied, Grant, Need, Plea};
use crate::swim::{Addr, Body, Claim, Fact, Incarnation, Packet};

pub(crate) fn job() -> JobId {
    JobId([0x11; 16])
}

pub(crate) fn node(byte: u8) -> NodeId {
    NodeId([byte; 16])
}

pub(crate) fn dc() -> DcId {
    DcId::new("fra-1").unwrap()
}

pub(crate) fn run() -> RunId {
    let shard = ShardKey { job: job(), workflow: WorkflowIx(2), dc: dc(), shard: 3 };
    RunId { shard, attempt: Attempt(4) }
}

pub(crate) fn sketch() -> Sketch {
    let mut recorder = Recorder::default();
    [1, 90, 90, 2_500, 41_000, u64::MAX].into_iter().for_each(|us| recorder.record(us));
    recorder.sketch()
}

pub(crate) fn window_sketch() -> WindowSketch {
    let mut recorder = Recorder::default();
    [700, 700, 9_000].into_iter().for_each(|us| recorder.record(us));
    recorder.sketch()
}

pub(crate) fn totals() -> Totals {
    let mut totals = Totals {
        ok: 5,
        err: 3,
        dropped: 1,
        vu_ms: 70_000,
        bytes_in: 1 << 40,
        bytes_out: 12,
        elapsed_ms: 7_000,
        latency: sketch(),
        service: sketch(),
        errors: Vec::new(),
    };
    totals.count_error("status 503", 2);
    totals.count_error("connect: refused", 1);
    totals
}

fn window() -> Window {
    Window { no: 6, count: 1, ok: 2, err: 1, latency: window_sketch() }
}

fn load() -> Load {
    Load { vus: 100, rate_milli: 5_000, duration_ms: 60_000, instances: 1 }
}

fn fault() -> Fault {
    Fault::new(FaultCode::NotOwner, "ask the owner").at(Some(node(9)))
}

pub(crate) fn shard_run() -> ShardRun {
    ShardRun {
        executor: ExecutorKind::Http,
        payload: Bytes(b"{\"requests\":[]}".to_vec()),
        load: load(),
        first_vu: 50,
        elapsed_before_ms: 1_000,
        cores: 2,
        run_limit_ms: 90_000,
        workflow: WorkflowIx(2),
    }
}

pub(crate) fn spec() -> JobSpec {
    let workflow = |name: &str, needs| WorkflowSpec {
        name: name.into(),
        needs,
        executor: ExecutorKind::Http,
        load: load(),
        cores: 1,
        payload: Bytes(vec![1, 2, 3]),
    };
    JobSpec {
        name: "checkout".into(),
        placement: Placement::Only(vec![dc(), DcId::new("ams").unwrap()]),
        timeout_ms: 600_000,
        on_worker_loss: OnWorkerLoss::Degrade,
        partial_results: true,
        retries: 10,
        workflow_retries: 3,
        thresholds: vec![Threshold {
            text: "p(99) < 250".into(),
            workflow: Some(WorkflowIx(1)),
            metric: Metric::Latency,
            statistic: Statistic::Quantile(990_000),
            comparison: Comparison::Below,
            value_micro: 250_000_000,
        }],
        workflows: vec![workflow("warm", vec![]), workflow("load", vec![WorkflowIx(0)])],
    }
}

fn workflow_report() -> WorkflowReport {
    WorkflowReport {
        workflow: WorkflowIx(1),
        status: WorkflowStatus::Failed,
        requested: load(),
        totals: totals(),
        uncovered_vu_ms: 8,
        shards: 4,
        lost_attempts: 1,
        start_spread_us: 900,
        start_bound_us: 2_000,
        why: "a shard failed".into(),
    }
}

fn held() -> Vec<HeldShard> {
    use RunPhase::*;
    [Reserved, Running, Stopping, Ended].map(|phase| HeldShard { run: run(), phase }).to_vec()
}

fn log_append() -> LogMessage {
    let body = LogBody::Append {
        term: Term(4),
        commit: 17,
        prev: LogPos { term: Term(3), index: 18 },
        entries: vec![
            LogRecord { term: Term(4), payload: None },
            LogRecord { term: Term(4), payload: Some(Bytes(vec![1, 2])) },
        ],
        checkpoint: Some(Checkpoint { index: 16, digest: 99 }),
    };
    LogMessage { boot: BootNo(2), disk: DiskId([0x33; 16]), body }
}

/// A datagram with one rumour.
pub(crate) fn packet() -> Packet {
    let addr = Addr { ip: [0xfe; 16], port: 7_000 };
    let incarnation = Incarnation::of_boot(BootNo(2));
    let fact = Fact { node: node(4), incarnation, claim: Claim::Dead, role: Role::Manager, addr };
    let body = Body::Ping { seq: 77, target: node(6) };
    Packet { from: node(3), incarnation, role: Role::Worker, addr, body, facts: vec![fact], digest: None }
}

fn coordinate() -> Coordinate {
    let at_us = [1, -2, 300, -40_000, 5_000_000, 0, 0, 10_000_000];
    Coordinate { at_us, height_us: 10, adjustment_us: -7, error_permille: 1_500 }
}

/// At least one of each kind, both branches of each reply.
pub(crate) fn messages() -> Vec<Message> {
    let mut all = from_gates();
    all.extend(from_managers());
    all.extend(from_workers());
    all
}

fn from_gates() -> Vec<Message> {
    let (job, gate_epoch, dc_epoch, owner) = (job(), GateEpoch(2), DcEpoch(3), node(5));
    vec![
        Message::Log(Box::new(log_append())),
        Message::Ping { token: u64::MAX },
        Message::Pong { token: 0, coordinate: None, condition: Condition::default() },
        Message::Pong { token: 1, coordinate: Some(coordinate()), condition: Condition::Stressed },
        Message::Dispatch {
            job,
            gate_epoch,
            owner,
            spec: Box::new(spec()),
            slot: 1,
            slots: 2,
            remaining_ms: 1_000,
            half_rtt_us: 5,
        },
        Message::WorkflowResultAck { job, workflow: WorkflowIx(1), dc_epoch, stored: Ok(()) },
        Message::WorkflowResultAck { job, workflow: WorkflowIx(1), dc_epoch, stored: Err(fault()) },
        Message::DcFinalAck { job, dc_epoch, stored: Ok(()) },
        Message::StopInDc { job, gate_epoch, verdict: JobStatus::TimedOut },
        Message::GateOwnerChanged { job, gate_epoch, owner },
        Message::DcOwnerChangedAck { job, dc_epoch, stored: Ok(gate_epoch) },
        Message::Reconcile { jobs: vec![(job, gate_epoch)] },
        Message::Forget { jobs: vec![job] },
        Message::GateView(GateView {
            boot: BootNo(1),
            version: 9,
            reaches: vec![(dc(), Reach::Suspected)],
            condition: Condition::Busy,
        }),
    ]
}

fn from_managers() -> Vec<Message> {
    let (job, gate_epoch, dc_epoch, owner, run) = (job(), GateEpoch(2), DcEpoch(3), node(5), run());
    let at = DispatchAccepted { dc_epoch, owner };
    let terminal = Fault::new(FaultCode::AlreadyTerminal(JobStatus::Cancelled), String::new());
    let report = DcReport {
        dc: dc(),
        status: JobStatus::Partial,
        workflows: vec![workflow_report()],
        cancelled: 1,
        killed: 2,
        elapsed_ms: 61_000,
    };
    vec![
        Message::DcHeartbeat(DcLoad {
            dc: dc(),
            boot: BootNo(1),
            version: 2,
            is_leader: true,
            term: Term(3),
            leader: Some(owner),
            accepting: true,
            capacity: Capacity { total_cores: 8, free_cores: 4, workers: 2 },
            queued_shards: 1,
            jobs: 2,
            known_workers: 3,
            conditions: [1, 1, 0, 0],
            extended: 2,
        }),
        Message::DispatchReply { job, gate_epoch, reply: Ok(at) },
        Message::DispatchReply { job, gate_epoch, reply: Err(terminal) },
        Message::DcProgress {
            job,
            dc_epoch,
            seq: 9,
            status: JobStatus::Running,
            workflows: vec![
                (WorkflowStatus::Completed, totals()),
                (WorkflowStatus::Running, Totals::default()),
            ],
            windows: vec![(WorkflowIx(0), window())],
        },
        Message::WorkflowResult { job, dc_epoch, report: Box::new(workflow_report()) },
        Message::DcFinal { job, dc_epoch, report: Box::new(report) },
        Message::StopInDcReply { job, gate_epoch, recorded: Ok(()) },
        Message::GateOwnerChangedReply { job, gate_epoch, reply: Ok(at) },
        Message::DcOwnerChanged { job, dc_epoch, owner },
        Message::ReconcileReply {
            jobs: vec![
                (job, Reconciled::Unknown),
                (job, Reconciled::Known { at, status: JobStatus::Running }),
                (job, Reconciled::Dropped { status: JobStatus::Failed }),
            ],
        },
        Message::RegisterWorkerReply { boot: BootNo(7), accepted: Ok(()) },
        Message::ReserveShard(Box::new(ReserveShard {
            run,
            dc_epoch,
            owner,
            shard: shard_run(),
            boot: BootNo(7),
        })),
        Message::StartShard { run, dc_epoch, start_in_us: 200_000 },
        Message::StopShard { run, dc_epoch, mode: StopMode::Kill },
        Message::ShardProgressAck { run, seq: 4, windows_through: 6 },
        Message::ShardResultAck { run, stored: Ok(()) },
        Message::OwnerChanged { job, dc_epoch, owner },
        Message::ForgetAtWorker { jobs: vec![job] },
        Message::MoreTimeReply {
            job,
            dc_epoch,
            seq: 2,
            ends_in_ms: 12_500,
            granted: Ok(Grant { time_ms: 7_500, left: 3, warning: false }),
        },
        Message::MoreTimeReply {
            job,
            dc_epoch,
            seq: 3,
            ends_in_ms: 5_000,
            granted: Err(Denied { denial: Denial::NoProgress, before: 401, now: 401 }),
        },
    ]
}

fn from_workers() -> Vec<Message> {
    let (job, dc_epoch, run) = (job(), DcEpoch(3), run());
    vec![
        Message::RegisterWorker {
            boot: BootNo(7),
            cores: 16,
            executors: vec![ExecutorKind::Sleep, ExecutorKind::Http, ExecutorKind::Command],
            held: held(),
            version: 8,
            manager: BootNo(2),
            disk: DiskId([6; 16]),
        },
        Message::WorkerHeartbeat {
            boot: BootNo(7),
            version: 8,
            free_cores: 3,
            draining: false,
            held: held(),
            condition: Condition::Busy,
        },
        Message::ReserveShardReply { run, dc_epoch, reserved: Ok(()) },
        Message::ReserveShardReply { run, dc_epoch, reserved: Err(fault()) },
        Message::ShardStarted { run, dc_epoch, started: Ok(140) },
        Message::StopShardReply { run, dc_epoch, was: AbortedWas::Stopping },
        Message::ShardProgress { run, seq: 5, totals: Box::new(totals()), windows: vec![window()] },
        Message::ShardResult(Box::new(ShardReport {
            run,
            outcome: Outcome::TimedOut,
            totals: totals(),
            why: "killed after 90 s".into(),
            start_late_us: 140,
        })),
        Message::OwnerChangedReply { job, dc_epoch, held: Ok(held()) },
        Message::OwnerChangedReply { job, dc_epoch, held: Err(fault()) },
        Message::MoreTime {
            job,
            dc_epoch,
            plea: Plea {
                seq: 2,
                need: Need::Contention,
                active: 5,
                overdue: 2,
                done: Some(401),
                of: Some(1_000),
                permille: 400,
                wants_ms: 40_000,
            },
        },
    ]
}
