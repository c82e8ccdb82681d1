//! A job from dispatch to its end.

use std::vec::Vec;

use super::bench::*;
use crate::fault::{Fault, FaultCode};
use crate::id::{DcEpoch, GateEpoch};
use crate::jobs::{ExecutorKind, JobStatus, OnWorkerLoss, Outcome, WorkflowStatus};
use crate::observe::Observation;
use crate::wire::{DispatchAccepted, Message};

/// One sleep job on one worker, until its run has begun.
pub fn running_sleep() -> Bench {
    let mut bench = Bench::new();
    bench.register(W1, 4);
    bench.dispatch(
        &job([workflow("nap", ExecutorKind::Sleep, sleeps(1), &[])].to_vec(), OnWorkerLoss::Replace),
        0,
        1,
    );
    assert_eq!(bench.reserve_all().len(), 1);
    assert_eq!(bench.start_all().len(), 1);
    bench
}

#[test]
fn one_sleep_job_to_the_end() {
    let mut bench = Bench::new();
    bench.register(W1, 4);
    let spec = job([workflow("nap", ExecutorKind::Sleep, sleeps(1), &[])].to_vec(), OnWorkerLoss::Replace);
    bench.dispatch(&spec, 0, 1);
    let sent = bench.sent();
    let [
        (GATE, Message::DispatchReply { job: JOB, gate_epoch: GateEpoch(1), reply }),
        (W1, Message::ReserveShard(reserve)),
    ] = &sent[..]
    else {
        panic!("a reply to the gate, then a reservation: {sent:?}");
    };
    assert_eq!(reply, &Ok(DispatchAccepted { dc_epoch: EPOCH, owner: ME }));
    assert_eq!((reserve.run, reserve.dc_epoch, reserve.owner), (run(0, 1), EPOCH, ME));
    assert_eq!((reserve.shard.load.instances, reserve.shard.first_vu, reserve.shard.cores), (1, 0, 1));

    bench.reserved(W1, reserve);
    assert_eq!(bench.start_all(), [(W1, run(0, 1), 200_000)], "the lead, less an unknown way");
    bench.result(W1, run(0, 1), Outcome::Completed, requests(1, 10_000));
    let sent = bench.sent();
    let [(W1, Message::ShardResultAck { run: acked, stored: Ok(()) }), rest @ ..] = &sent[..] else {
        panic!("an acknowledgement first: {sent:?}");
    };
    assert_eq!(*acked, run(0, 1));
    let [
        (GATE, Message::WorkflowResult { report: result, .. }),
        (GATE, Message::DcFinal { report, dc_epoch: EPOCH, .. }),
    ] = rest
    else {
        panic!("the workflow's result and the final: {rest:?}");
    };
    assert_eq!((result.status, result.totals.ok, result.shards), (WorkflowStatus::Completed, 1, 1));
    assert_eq!((report.status, report.dc), (JobStatus::Completed, dc()));
    assert_eq!(report.workflows, [(**result).clone()]);

    // Not acknowledged yet: both are sent again.
    bench.pass(1_000);
    assert!(bench.ack_all().len() >= 2);
    bench.pass(60_000);
    assert_eq!(bench.sent(), [], "acknowledged: never again");
    bench.from(GATE, Message::Forget { jobs: [JOB].to_vec() });
    assert!(bench.saw(Observation::JobDropped(JOB)));
    assert_eq!(bench.manager.mentions(JOB), 0);
}

#[test]
fn a_repeated_dispatch_is_answered_from_the_log() {
    let mut bench = running_sleep();
    let spec = job([workflow("other", ExecutorKind::Sleep, sleeps(3), &[])].to_vec(), OnWorkerLoss::Fail);
    bench.dispatch(&spec, 0, 1);
    let at = DispatchAccepted { dc_epoch: EPOCH, owner: ME };
    let reply = |gate_epoch, reply| Message::DispatchReply { job: JOB, gate_epoch, reply };
    assert_eq!(bench.sent(), [(GATE, reply(GateEpoch(1), Ok(at)))]);

    let message = Message::Dispatch {
        job: JOB,
        gate_epoch: GateEpoch(5),
        owner: GATE2,
        spec: spec.into(),
        slot: 0,
        slots: 1,
        remaining_ms: 1_000,
        half_rtt_us: 0,
    };
    bench.from(GATE2, message.clone());
    assert_eq!(bench.sent(), [(GATE2, reply(GateEpoch(5), Ok(at)))], "the new owner is in the log");
    bench.dispatch(
        &job([workflow("nap", ExecutorKind::Sleep, sleeps(1), &[])].to_vec(), OnWorkerLoss::Replace),
        0,
        1,
    );
    let sent = bench.sent();
    let [(GATE, Message::DispatchReply { reply: Err(Fault { code: FaultCode::StaleEpoch, .. }), .. })] =
        &sent[..]
    else {
        panic!("the old owner is refused: {sent:?}");
    };
}

#[test]
fn what_cannot_run_here_is_refused() {
    let mut bench = Bench::new();
    let refused = |bench: &mut Bench| match &bench.sent()[..] {
        [(GATE, Message::DispatchReply { reply: Err(fault), .. })] => fault.code,
        other => panic!("not a refusal: {other:?}"),
    };
    let small = job([workflow("nap", ExecutorKind::Sleep, sleeps(1), &[])].to_vec(), OnWorkerLoss::Replace);
    bench.dispatch(&small, 0, 1);
    assert_eq!(refused(&mut bench), FaultCode::NoCapacity, "no worker is here now");
    bench.register(W1, 4);
    let mut large = small.clone();
    large.workflows[0].cores = 5;
    bench.dispatch(&large, 0, 1);
    assert_eq!(refused(&mut bench), FaultCode::NoCapacity, "a larger one may be on its way");
    bench.register(W2, 8);
    bench.pass(15_000);
    bench.heartbeat(W1, 4, &[]);
    bench.sent();
    bench.dispatch(&large, 0, 1);
    assert_eq!(refused(&mut bench), FaultCode::NoCapacity, "the larger one is away");
    large.workflows[0].cores = 9;
    bench.dispatch(&large, 0, 1);
    assert_eq!(refused(&mut bench), FaultCode::Infeasible);
    let many = job([workflow("nap", ExecutorKind::Sleep, sleeps(5), &[])].to_vec(), OnWorkerLoss::Replace);
    bench.dispatch(&many, 0, 1);
    assert_eq!(refused(&mut bench), FaultCode::NoCapacity, "more workers may come");
    bench.dispatch(&small, 1, 1);
    assert_eq!(refused(&mut bench), FaultCode::Invalid);
    assert_eq!(bench.manager.mentions(JOB), 0);
    assert!(bench.saw(Observation::Refused(FaultCode::Infeasible)));
}

#[test]
fn a_slot_without_load_completes_at_once() {
    let mut bench = Bench::new();
    let spec = job([workflow("nap", ExecutorKind::Sleep, sleeps(1), &[])].to_vec(), OnWorkerLoss::Replace);
    bench.dispatch(&spec, 1, 2);
    let told = bench.ack_all();
    let [Message::WorkflowResult { report, .. }, Message::DcFinal { report: end, .. }] = &told[..] else {
        panic!("{told:?}");
    };
    assert_eq!((report.status, end.status), (WorkflowStatus::Completed, JobStatus::Completed));
}

#[test]
fn dependents_wait_and_are_skipped_after_a_failure() {
    let mut bench = Bench::new();
    bench.register(W1, 4);
    let graph = [
        workflow("a", ExecutorKind::Sleep, sleeps(2), &[]),
        workflow("b", ExecutorKind::Sleep, sleeps(1), &[0]),
        workflow("c", ExecutorKind::Sleep, sleeps(1), &[1]),
    ];
    bench.dispatch(&job(graph.to_vec(), OnWorkerLoss::Replace), 0, 1);
    assert_eq!(bench.reserve_all().len(), 2, "only what needs nothing");
    assert_eq!(bench.start_all().len(), 2);
    bench.result(W1, run(0, 1), Outcome::Failed, requests(0, 5));
    let sent = bench.sent();
    let stop = sent.iter().any(|(to, message)| {
        *to == W1 && matches!(message, Message::StopShard { run: stopped, .. } if *stopped == run(1, 1))
    });
    assert!(stop, "the other shard is stopped: {sent:?}");
    assert!(!bench.saw(Observation::DcJobFinal { job: JOB, status: JobStatus::Failed }));
    bench.result(W1, run(1, 1), Outcome::Cancelled, requests(0, 6));
    let told = bench.ack_all();
    let statuses: Vec<WorkflowStatus> = told
        .iter()
        .filter_map(|message| match message {
            Message::WorkflowResult { report, .. } => Some(report.status),
            _ => None,
        })
        .collect();
    assert_eq!(statuses, [WorkflowStatus::Failed, WorkflowStatus::Skipped, WorkflowStatus::Skipped]);
    assert!(bench.saw(Observation::DcJobFinal { job: JOB, status: JobStatus::Failed }));
}

#[test]
fn a_finished_workflow_frees_the_next() {
    let mut bench = Bench::new();
    bench.register(W1, 1);
    let graph = [
        workflow("a", ExecutorKind::Sleep, sleeps(1), &[]),
        workflow("b", ExecutorKind::Sleep, sleeps(1), &[0]),
    ];
    bench.dispatch(&job(graph.to_vec(), OnWorkerLoss::Replace), 0, 1);
    for workflow in [0, 1].map(crate::id::WorkflowIx) {
        let reserved = bench.reserve_all();
        assert_eq!(reserved.len(), 1);
        assert_eq!(reserved[0].1.run, run_of(workflow, 0, 1));
        bench.start_all();
        bench.result(W1, run_of(workflow, 0, 1), Outcome::Completed, requests(1, 10_000));
    }
    assert!(bench.saw(Observation::DcJobFinal { job: JOB, status: JobStatus::Completed }));
}

#[test]
fn results_go_where_the_gates_say() {
    let mut bench = running_sleep();
    bench.event(crate::Event::Connected {
        peer: GATE2,
        boot: crate::id::BootNo(1),
        dialect: crate::wire::Dialect::OURS,
    });
    bench.result(W1, run(0, 1), Outcome::Completed, requests(1, 10_000));
    assert_eq!(bench.sent().len(), 3);
    let elsewhere = Fault::new(FaultCode::NotOwner, "ask the other").at(Some(GATE2));
    bench.from(GATE, Message::DcFinalAck { job: JOB, dc_epoch: EPOCH, stored: Err(elsewhere) });
    let sent = bench.sent();
    let [(GATE2, Message::DcFinal { .. })] = &sent[..] else { panic!("{sent:?}") };
    bench.from(GATE2, Message::DcFinalAck { job: JOB, dc_epoch: DcEpoch(9), stored: Ok(()) });
    bench.pass(5_000);
    assert!(
        bench.sent().iter().any(|(_, message)| matches!(message, Message::DcFinal { .. })),
        "another fence"
    );
    bench.from(GATE2, Message::DcFinalAck { job: JOB, dc_epoch: EPOCH, stored: Ok(()) });
    bench.pass(60_000);
    assert_eq!(bench.sent(), []);
    // Nobody says forget: the record goes after its retention.
    bench.pass(300_000);
    assert!(bench.saw(Observation::JobDropped(JOB)));
    assert_eq!(bench.manager.mentions(JOB), 0);
}
