//! What goes wrong with workers, and what becomes of it.

use std::string::ToString;
use std::vec::Vec;

use super::bench::*;
use super::lifecycle::running_sleep;
use crate::Event;
use crate::effect::{Effect, Effects};
use crate::fault::{Fault, FaultCode};
use crate::id::{Attempt, BootNo, DcEpoch, GateEpoch, NodeId};
use crate::jobs::{DcReport, ExecutorKind, JobStatus, OnWorkerLoss, Outcome, StopMode, WorkflowStatus};
use crate::observe::{Observation, Stale};
use crate::wire::{AbortedWas, HeldShard, Message, Reconciled, RunPhase};

/// The final that the manager has told the gate since the messages were last taken.
fn final_of(sent: &[(NodeId, Message)]) -> DcReport {
    let mut finals = sent.iter().rev().filter_map(|(_, message)| match message {
        Message::DcFinal { report, .. } => Some((**report).clone()),
        _ => None,
    });
    finals.next().expect("the job has ended")
}

fn stops(sent: &[(NodeId, Message)]) -> Vec<(NodeId, crate::id::RunId, StopMode)> {
    sent.iter()
        .filter_map(|(to, message)| match message {
            Message::StopShard { run, mode, .. } => Some((*to, *run, *mode)),
            _ => None,
        })
        .collect()
}

/// Ten users on two workers, until both have begun.
fn running_http(on_worker_loss: OnWorkerLoss) -> Bench {
    let mut bench = Bench::new();
    bench.register(W1, 2);
    bench.register(W2, 2);
    bench.dispatch(&job([workflow("hit", ExecutorKind::Http, users(9), &[])].to_vec(), on_worker_loss), 0, 1);
    assert_eq!(bench.reserve_all().len(), 2);
    assert_eq!(bench.start_all().len(), 2);
    bench
}

fn progress(bench: &mut Bench, worker: NodeId, no: u16, seq: u64, ok: u64, elapsed_ms: u32) {
    let totals = requests(ok, elapsed_ms).into();
    let message = Message::ShardProgress { run: run(no, 1), seq, totals, windows: Vec::new() };
    bench.from(worker, message);
}

#[test]
fn users_are_divided_over_the_workers_and_numbered_over_the_whole_job() {
    let mut bench = Bench::new();
    bench.register(W1, 2);
    bench.register(W2, 2);
    let spec = job([workflow("hit", ExecutorKind::Http, users(23), &[])].to_vec(), OnWorkerLoss::Replace);
    // Of 23 users in 3 datacenters the second has 8, after 8.
    bench.dispatch(&spec, 1, 3);
    let reserved = bench.reserve_all();
    let parts: Vec<_> = reserved
        .iter()
        .map(|(to, reserve)| (*to, reserve.run, reserve.shard.load.vus, reserve.shard.first_vu))
        .collect();
    assert_eq!(parts, [(W1, run(0, 1), 4, 8), (W2, run(1, 1), 4, 12)]);
}

#[test]
fn a_refused_reservation_gives_up_all_and_costs_nothing() {
    let mut bench = Bench::new();
    bench.register(W1, 1);
    bench.register(W2, 1);
    let spec = job([workflow("nap", ExecutorKind::Sleep, sleeps(2), &[])].to_vec(), OnWorkerLoss::Replace);
    bench.dispatch(&spec, 0, 1);
    let sent = bench.sent();
    assert_eq!(sent.len(), 3);
    bench.from(W1, Message::ReserveShardReply { run: run(0, 1), dc_epoch: EPOCH, reserved: Ok(()) });
    let full = Err(Fault::new(FaultCode::NoCapacity, "no cores"));
    bench.from(W2, Message::ReserveShardReply { run: run(1, 1), dc_epoch: EPOCH, reserved: full });
    assert_eq!(stops(&bench.sent()), [(W1, run(0, 1), StopMode::Kill)], "the other one is freed");
    assert!(!bench.saw(lost(0, 1)), "not before the worker says so");
    bench.from(W1, Message::StopShardReply { run: run(0, 1), dc_epoch: EPOCH, was: AbortedWas::Freed });
    assert!(bench.saw(lost(0, 1)) && bench.saw(lost(1, 1)));
    bench.heartbeat(W1, 1, &[]);
    bench.heartbeat(W2, 1, &[]);
    bench.pass(1_000);
    let again = bench.reserve_all();
    let runs: Vec<_> = again.iter().map(|(_, reserve)| reserve.run).collect();
    assert_eq!(runs, [run(0, 2), run(1, 2)]);
    let record = &bench.manager.ledger.state().jobs[&JOB];
    assert_eq!((record.facts.retries_used, record.workflows[0].facts.retries_used), (0, 0));
    // A late answer to the attempt before changes nothing.
    bench.from(W2, Message::ReserveShardReply { run: run(1, 1), dc_epoch: EPOCH, reserved: Ok(()) });
    assert!(bench.saw(Observation::Ignored(Stale::Fence)));
}

pub fn lost(shard: u16, attempt: u32) -> Observation {
    Observation::ShardLost { job: JOB, workflow: FIRST, shard, attempt: Attempt(attempt) }
}

#[test]
fn a_reservation_without_an_answer_is_stopped_until_the_worker_has_said_what_it_was() {
    let mut bench = Bench::new();
    bench.register(W1, 1);
    let spec = job([workflow("nap", ExecutorKind::Sleep, sleeps(1), &[])].to_vec(), OnWorkerLoss::Replace);
    bench.dispatch(&spec, 0, 1);
    bench.sent();
    bench.pass(9_000);
    assert!(matches!(&bench.sent()[..], [(W1, Message::ReserveShard(_))]), "asked again");
    bench.pass(20_000);
    let sent = bench.sent();
    assert!(stops(&sent).len() >= 3, "and stopped, again and again: {sent:?}");
    assert!(!bench.saw(lost(0, 1)), "nobody knows whether it is reserved");
    bench.from(W1, Message::StopShardReply { run: run(0, 1), dc_epoch: EPOCH, was: AbortedWas::NeverSeen });
    assert!(bench.saw(lost(0, 1)));
    let record = &bench.manager.ledger.state().jobs[&JOB];
    assert_eq!(record.facts.retries_used, 1, "it may have reached the worker");
    assert_eq!(record.workflows[0].facts.status, WorkflowStatus::RetryWait);
}

#[test]
fn a_dead_workers_users_go_on_elsewhere_with_what_remains() {
    let mut bench = running_http(OnWorkerLoss::Replace);
    bench.pass(20_000);
    progress(&mut bench, W2, 1, 1, 500, 19_000);
    bench.heartbeat(W1, 1, &[held(0, RunPhase::Running)]);
    bench.die(W2, W1);
    assert!(bench.saw(lost(1, 1)));
    bench.pass(1_000);
    bench.heartbeat(W1, 1, &[held(0, RunPhase::Running)]);
    let reserved = bench.reserve_all();
    let [(W1, replacement)] = &reserved[..] else { panic!("{reserved:?}") };
    assert_eq!((replacement.run, replacement.shard.load.vus), (run(1, 2), 4));
    let before = replacement.shard.elapsed_before_ms;
    assert!((20_000..=21_000).contains(&before), "{before}");
    assert_eq!(replacement.shard.load.duration_ms, 60_000 - before);
    assert_eq!(bench.start_all(), [(W1, run(1, 2), 0)], "alone, at once");

    bench.pass(40_000);
    bench.result(W1, run(0, 1), Outcome::Completed, requests(1_000, 60_000));
    bench.result(W1, run(1, 2), Outcome::Completed, requests(300, 60_000 - before));
    let report = final_of(&bench.sent());
    assert_eq!(report.status, JobStatus::Completed);
    let [hit] = &report.workflows[..] else { panic!() };
    assert_eq!(hit.totals.ok, 1_000 + 500 + 300, "attempts add up");
    assert_eq!((hit.totals.elapsed_ms, hit.lost_attempts), (60_000, 1));
    assert_eq!(hit.uncovered_vu_ms, u64::from(before - 19_000) * 4);
    let record = &bench.manager.ledger.state().jobs[&JOB];
    assert_eq!(record.facts.retries_used, 1);
}

pub fn held(no: u16, phase: RunPhase) -> HeldShard {
    HeldShard { run: run(no, 1), phase }
}

#[test]
fn a_job_that_allows_it_goes_on_with_less() {
    let mut bench = running_http(OnWorkerLoss::Degrade);
    bench.pass(20_000);
    progress(&mut bench, W2, 1, 1, 500, 19_000);
    bench.die(W2, W1);
    bench.pass(40_000);
    bench.result(W1, run(0, 1), Outcome::Completed, requests(1_000, 60_000));
    let report = final_of(&bench.sent());
    let [hit] = &report.workflows[..] else { panic!() };
    assert_eq!((report.status, hit.status), (JobStatus::Completed, WorkflowStatus::Completed));
    assert_eq!((hit.totals.ok, hit.uncovered_vu_ms), (1_500, 41_000 * 4));
}

#[test]
fn a_job_that_does_not_allow_it_fails_and_stops_the_rest() {
    let mut bench = running_http(OnWorkerLoss::Fail);
    progress(&mut bench, W2, 1, 1, 500, 400);
    bench.sent();
    bench.die(W2, W1);
    assert_eq!(stops(&bench.sent()), [(W1, run(0, 1), StopMode::Graceful)]);
    bench.result(W1, run(0, 1), Outcome::Cancelled, requests(30, 500));
    let report = final_of(&bench.sent());
    assert_eq!((report.status, report.workflows[0].status), (JobStatus::Failed, WorkflowStatus::Failed));
    assert_eq!(report.workflows[0].totals.ok, 530);
    assert_eq!(report.workflows[0].why, "its worker is dead");
}

#[test]
fn retries_are_limited() {
    let mut spec =
        job([workflow("nap", ExecutorKind::Sleep, sleeps(1), &[])].to_vec(), OnWorkerLoss::Replace);
    spec.workflow_retries = 1;
    let mut bench = Bench::new();
    [W1, W2, W3].into_iter().for_each(|worker| bench.register(worker, 1));
    bench.dispatch(&spec, 0, 1);
    for (worker, witness) in [(W1, W3), (W2, W3)] {
        bench.reserve_all();
        bench.start_all();
        bench.die(worker, witness);
        [W2, W3].into_iter().for_each(|worker| bench.heartbeat(worker, 1, &[]));
        bench.pass(2_000);
    }
    let report = final_of(&bench.sent());
    assert_eq!(report.status, JobStatus::Failed);
    let why = "no retries left (job 1 of 10, workflow 1 of 1): its worker is dead";
    assert_eq!((report.workflows[0].why.as_str(), report.workflows[0].lost_attempts), (why, 2));
}

#[test]
fn a_restarted_worker_has_lost_what_it_does_not_hold() {
    let mut bench = running_sleep();
    bench.event(Event::Disconnected { peer: W1 });
    bench.pass(500);
    assert!(!bench.saw(lost(0, 1)), "a lost connection is no death");
    bench.register_boot(W1, 4, 1, &[held(0, RunPhase::Running)]);
    assert!(!bench.saw(lost(0, 1)), "nor is a new one of the same process");
    bench.event(Event::Disconnected { peer: W1 });
    bench.register_boot(W1, 4, 2, &[]);
    assert!(bench.saw(lost(0, 1)));
    bench.pass(1_000);
    let again = bench.reserve_all();
    assert_eq!((again[0].1.run, again[0].1.boot), (run(0, 2), BootNo(2)));
    // The result of the lost attempt comes after all: acknowledged, and of no use.
    bench.result(W1, run(0, 1), Outcome::Completed, requests(1, 10_000));
    let sent = bench.sent();
    let ack = Message::ShardResultAck { run: run(0, 1), stored: Ok(()) };
    assert!(sent.contains(&(W1, ack)), "{sent:?}");
    assert_eq!(bench.manager.ledger.state().jobs[&JOB].workflows[0].totals.ok, 0);
}

#[test]
fn a_result_that_a_restarted_worker_still_holds_counts() {
    let mut bench = running_sleep();
    bench.event(Event::Disconnected { peer: W1 });
    bench.register_boot(W1, 4, 2, &[held(0, RunPhase::Ended)]);
    assert!(!bench.saw(lost(0, 1)));
    bench.result(W1, run(0, 1), Outcome::Completed, requests(1, 10_000));
    assert_eq!(final_of(&bench.sent()).status, JobStatus::Completed);
}

#[test]
fn strays_are_stopped() {
    let mut bench = running_sleep();
    let stray = HeldShard { run: run(0, 7), phase: RunPhase::Running };
    bench.heartbeat(W1, 3, &[held(0, RunPhase::Running), stray]);
    assert_eq!(stops(&bench.sent()), [(W1, run(0, 7), StopMode::Kill)]);
    // A heartbeat that does not name what the worker has confirmed: it is not there any more.
    bench.heartbeat(W1, 4, &[]);
    assert!(bench.saw(lost(0, 1)));
}

#[test]
fn a_stop_is_recorded_then_polite_then_by_force() {
    let mut bench = running_http(OnWorkerLoss::Replace);
    progress(&mut bench, W2, 1, 1, 50, 900);
    bench.sent();
    let stop = Message::StopInDc { job: JOB, gate_epoch: GateEpoch(1), verdict: JobStatus::Cancelled };
    bench.from(GATE, stop.clone());
    let sent = bench.sent();
    let recorded = Message::StopInDcReply { job: JOB, gate_epoch: GateEpoch(1), recorded: Ok(()) };
    assert_eq!(sent[0], (GATE, recorded.clone()));
    let polite: Vec<_> = stops(&sent);
    assert_eq!(polite, [(W1, run(0, 1), StopMode::Graceful), (W2, run(1, 1), StopMode::Graceful)]);
    bench.result(W1, run(0, 1), Outcome::Cancelled, requests(70, 1_000));
    bench.from(GATE, stop);
    assert!(bench.sent().contains(&(GATE, recorded)), "answered again");
    bench.pass(5_000);
    assert_eq!(stops(&bench.sent()), [(W2, run(1, 1), StopMode::Kill)]);
    bench.pass(24_000);
    assert!(bench.sent().iter().all(|(_, message)| !matches!(message, Message::DcFinal { .. })));
    bench.pass(1_500);
    let report = final_of(&bench.sent());
    assert_eq!((report.status, report.cancelled, report.killed), (JobStatus::Cancelled, 1, 1));
    assert_eq!(report.workflows[0].status, WorkflowStatus::Cancelled);
    assert_eq!(report.workflows[0].totals.ok, 120, "what was measured counts");
    // The worker comes back and is told.
    bench.heartbeat(W2, 1, &[held(1, RunPhase::Running)]);
    assert_eq!(stops(&bench.sent()), [(W2, run(1, 1), StopMode::Kill)]);
}

#[test]
fn a_stop_after_the_end_changes_nothing() {
    let mut bench = running_sleep();
    bench.result(W1, run(0, 1), Outcome::Completed, requests(1, 10_000));
    bench.sent();
    let stop = Message::StopInDc { job: JOB, gate_epoch: GateEpoch(1), verdict: JobStatus::Cancelled };
    bench.from(GATE, stop);
    let sent = bench.sent();
    let answered = sent.iter().any(|(_, message)| match message {
        Message::StopInDcReply { recorded: Err(fault), .. } => {
            fault.code == FaultCode::AlreadyTerminal(JobStatus::Completed)
        }
        _ => false,
    });
    assert!(answered, "{sent:?}");
    assert_eq!(final_of(&sent).status, JobStatus::Completed, "and corrects the gate");
}

/// A gate takes the word that a job is unknown for its end: it must not hear it of one that is being taken in.
#[test]
fn a_stop_that_comes_while_the_job_is_taken_in_is_put_off() {
    let mut bench = Bench::new();
    bench.register(W1, 4);
    let spec = job([workflow("nap", ExecutorKind::Sleep, sleeps(1), &[])].to_vec(), OnWorkerLoss::Replace);
    let stop = Message::StopInDc { job: JOB, gate_epoch: GateEpoch(1), verdict: JobStatus::Cancelled };
    let (now, mut out) = (bench.now(), Effects::new());
    for message in [Bench::dispatch_message(&spec, 0, 1), stop.clone()] {
        bench.manager.step_into(now, Event::Received { peer: GATE, message: message.into() }, &mut out);
    }
    let reply = out.iter().find_map(|effect| match effect {
        Effect::Send { message, .. } => match &**message {
            Message::StopInDcReply { recorded, .. } => Some(recorded.clone()),
            _ => None,
        },
        _ => None,
    });
    assert_eq!(reply.expect("an answer").expect_err("not yet").code, FaultCode::NotReady);
    let token = out.iter().find_map(|effect| match effect {
        Effect::Store { token, .. } => Some(*token),
        _ => None,
    });
    bench.event(Event::Stored { token: token.expect("the job goes to the log") });
    bench.sent();
    bench.from(GATE, stop);
    let recorded = Message::StopInDcReply { job: JOB, gate_epoch: GateEpoch(1), recorded: Ok(()) };
    assert!(bench.sent().contains(&(GATE, recorded)));
}

#[test]
fn without_any_gate_the_datacenter_ends_the_job_itself() {
    let mut spec =
        job([workflow("nap", ExecutorKind::Sleep, sleeps(1), &[])].to_vec(), OnWorkerLoss::Replace);
    spec.timeout_ms = 20_000;
    let mut bench = Bench::new();
    bench.register(W1, 4);
    bench.dispatch(&spec, 0, 1);
    bench.reserve_all();
    bench.start_all();
    bench.event(Event::Disconnected { peer: GATE });
    for seq in 1..=31 {
        bench.pass(10_000);
        progress(&mut bench, W1, 0, seq, 0, 10_000 * seq as u32);
    }
    assert_eq!(stops(&bench.sent()), []);
    bench.pass(10_000);
    assert_eq!(stops(&bench.sent())[0], (W1, run(0, 1), StopMode::Graceful));
    bench.result(W1, run(0, 1), Outcome::Cancelled, requests(0, 320_000));
    assert!(bench.saw(Observation::DcJobFinal { job: JOB, status: JobStatus::TimedOut }));
}

#[test]
fn a_living_worker_that_is_silent_for_a_job_is_dead_for_it_and_its_run_is_replaced() {
    let mut bench = running_http(OnWorkerLoss::Replace);
    let mut seq = 0;
    let mut talk = |bench: &mut Bench, ms: u64, both: bool| {
        for _ in 0..ms / 1_000 {
            bench.pass(1_000);
            seq += 1;
            progress(bench, W2, 1, seq, 0, 500 * seq as u32);
            if both {
                progress(bench, W1, 0, seq, 0, 500 * seq as u32);
            }
        }
    };
    let suspected = Observation::WorkerSuspected { job: JOB, worker: W1 };
    let dead = Observation::WorkerDeadForJob { job: JOB, worker: W1 };
    let back = Observation::WorkerBackForJob { job: JOB, worker: W1 };
    talk(&mut bench, 5_000, true);
    talk(&mut bench, 59_000, false);
    assert!(!bench.saw(suspected));
    talk(&mut bench, 1_000, false);
    assert!(bench.saw(suspected) && !bench.saw(dead));
    // It speaks in time: refuted, and the silence counts from here.
    talk(&mut bench, 1_000, true);
    assert!(bench.saw(back));
    talk(&mut bench, 61_000, false);
    assert!(!bench.saw(dead));
    bench.sent();
    talk(&mut bench, 2_000, false);
    assert!(bench.saw(dead));
    assert_eq!(stops(&bench.sent())[0], (W1, run(0, 1), StopMode::Kill));
    // Nothing replaces the run before its worker has said that it is over.
    talk(&mut bench, 20_000, false);
    let lost = |bench: &Bench| {
        let (workflow, attempt) = (crate::id::WorkflowIx(0), Attempt(1));
        bench.saw(Observation::ShardLost { job: JOB, workflow, shard: 0, attempt })
    };
    assert!(!lost(&bench));
    bench.result(W1, run(0, 1), Outcome::Killed, requests(7, 3_000));
    assert!(lost(&bench));
}

#[test]
fn a_worker_that_cannot_be_reached_is_not_suspected_for_a_job() {
    let mut bench = running_http(OnWorkerLoss::Replace);
    let suspected = Observation::WorkerSuspected { job: JOB, worker: W1 };
    for seq in 1..=61 {
        bench.pass(1_000);
        progress(&mut bench, W2, 1, seq, 0, 500 * seq as u32);
    }
    assert!(bench.saw(suspected));
    // Its machine dies before the verdict: membership judges it, and it has no other death.
    bench.event(Event::Disconnected { peer: W1 });
    bench.pass(10_000);
    assert!(!bench.saw(Observation::WorkerDeadForJob { job: JOB, worker: W1 }));
}

#[test]
fn a_restart_goes_on_from_the_rows() {
    let mut bench = running_http(OnWorkerLoss::Replace);
    bench.result(W1, run(0, 1), Outcome::Completed, requests(10, 60_000));
    let mut bench = bench.restart();
    let reconcile = Message::Reconcile {
        jobs: [(JOB, GateEpoch(1)), (crate::id::JobId([3; 16]), GateEpoch(1))].to_vec(),
    };
    bench.from(GATE, reconcile);
    let sent = bench.sent();
    let [(GATE, Message::ReconcileReply { jobs })] = &sent[..] else { panic!("{sent:?}") };
    let at = crate::wire::DispatchAccepted { dc_epoch: EPOCH, owner: ME };
    assert_eq!(jobs[0].1, Reconciled::Known { at, status: JobStatus::Running });
    assert_eq!(jobs[1].1, Reconciled::Unknown);

    bench.register_boot(W2, 2, 1, &[held(1, RunPhase::Running)]);
    let sent = bench.sent();
    let told = Message::OwnerChanged { job: JOB, dc_epoch: EPOCH, owner: ME };
    assert_eq!(sent, [(W2, told)], "nothing else before the worker has said what it holds");
    bench.from(
        W2,
        Message::OwnerChangedReply {
            job: JOB,
            dc_epoch: EPOCH,
            held: Ok([held(1, RunPhase::Running)].to_vec()),
        },
    );
    let asks = |message: &Message| matches!(message, Message::DcOwnerChanged { job: JOB, .. });
    bench.pass(20_000);
    let sent = bench.sent();
    assert!(sent.iter().all(|(to, message)| *to == GATE && asks(message)), "it runs: {sent:?}");
    bench.result(W2, run(1, 1), Outcome::Completed, requests(20, 60_000));
    let report = final_of(&bench.sent());
    assert_eq!((report.status, report.workflows[0].totals.ok), (JobStatus::Completed, 30));
}

#[test]
fn a_worker_that_never_comes_back_after_a_restart_is_given_up() {
    let mut bench = running_sleep().restart();
    bench.pass(59_000);
    assert!(!bench.saw(lost(0, 1)), "it may still run");
    bench.pass(2_000);
    assert!(bench.saw(lost(0, 1)));
}

#[test]
fn a_worker_that_only_its_connection_knew_keeps_its_run_as_long_as_it_may_run_it() {
    let mut bench = running_sleep();
    // The manager has looked for much longer than a worker runs alone.
    for _ in 0..6 {
        bench.pass(15_000);
        bench.heartbeat(W1, 3, &[held(0, RunPhase::Running)]);
    }
    bench.event(Event::Disconnected { peer: W1 });
    bench.pass(55_000);
    assert!(!bench.saw(lost(0, 1)), "it may still run");
    bench.pass(10_000);
    assert!(bench.saw(lost(0, 1)), "it has stopped by itself by now");
}

#[test]
fn what_ran_and_is_not_held_after_a_restart_is_lost() {
    let mut bench = running_sleep().restart();
    bench.register(W1, 4);
    bench.sent();
    bench.from(W1, Message::OwnerChangedReply { job: JOB, dc_epoch: EPOCH, held: Ok(Vec::new()) });
    assert!(bench.saw(lost(0, 1)));
}

#[test]
fn progress_is_taken_in_order_and_passed_on() {
    let mut bench = running_http(OnWorkerLoss::Replace);
    bench.all_sent();
    progress(&mut bench, W1, 0, 2, 20, 1_000);
    progress(&mut bench, W1, 0, 1, 10, 500);
    progress(&mut bench, W2, 1, 1, 7, 1_000);
    progress(&mut bench, W1, 0, 3, 19, 1_500);
    assert!(bench.saw(Observation::Ignored(Stale::Invalid)), "a count went back");
    let acks = bench.sent().len();
    assert_eq!(acks, 3);
    bench.pass(1_000);
    let sums: Vec<u64> = bench
        .all_sent()
        .iter()
        .filter_map(|(_, message)| match message {
            Message::DcProgress { workflows, .. } => Some(workflows[0].1.ok),
            _ => None,
        })
        .collect();
    assert_eq!(sums, [27]);
    let foreign =
        Message::ShardProgress { run: run(0, 9), seq: 1, totals: requests(1, 1).into(), windows: Vec::new() };
    bench.from(W1, foreign);
    assert!(bench.saw(Observation::Ignored(Stale::Fence)));
}

#[test]
fn a_drained_manager_leaves_its_jobs_for_the_restart() {
    let mut bench = running_sleep();
    bench.event(Event::Drain);
    bench.pass(10_000);
    assert_eq!(bench.halted, Some(crate::effect::HaltReason::Drained));
    let mut bench = bench.restart();
    bench.register_boot(W1, 4, 1, &[held(0, RunPhase::Running)]);
    bench.result(W1, run(0, 1), Outcome::Completed, requests(1, 10_000));
    assert_eq!(final_of(&bench.sent()).status, JobStatus::Completed);
}

/// Found by the fuzz target `steps`: the last deadline passes in the step of another event.
#[test]
fn nothing_follows_the_end_of_a_drained_manager() {
    let mut bench = Bench::new();
    // The log does not answer, so the lease is waited for until time is over.
    bench.manager.step_into(bench.now(), Event::Drain, &mut crate::Effects::new());
    for _ in 0..100 {
        bench.now_ms += 500;
        let mut out = crate::Effects::new();
        let event = Event::Malformed { peer: None, why: crate::wire::Malformed::Body };
        bench.manager.step_into(bench.now(), event, &mut out);
        if let Some(end) = out.iter().position(|effect| matches!(effect, crate::Effect::Halt(_))) {
            assert_eq!(end + 1, out.len(), "{out:?}");
            assert_eq!(bench.manager.wake_at(), None);
            return;
        }
    }
    panic!("it never ends");
}

#[test]
fn what_is_not_for_a_manager_is_refused_or_ignored() {
    let mut bench = running_sleep();
    let before = bench.manager.ledger.applied();
    let spec = job([workflow("nap", ExecutorKind::Sleep, sleeps(1), &[])].to_vec(), OnWorkerLoss::Replace);
    let dispatch = Message::Dispatch {
        job: crate::id::JobId([5; 16]),
        gate_epoch: GateEpoch(1),
        owner: GATE,
        spec: spec.into(),
        slot: 0,
        slots: 1,
        remaining_ms: 1_000,
        half_rtt_us: 0,
    };
    bench.from(W1, dispatch);
    assert!(bench.saw(Observation::Ignored(Stale::Sender)), "a worker dispatches nothing");
    let stop = Message::StopInDc { job: JOB, gate_epoch: GateEpoch(0), verdict: JobStatus::Cancelled };
    bench.from(GATE, stop);
    assert!(bench.saw(Observation::Refused(FaultCode::StaleEpoch)));
    bench.from(GATE, Message::DcFinalAck { job: JOB, dc_epoch: DcEpoch(4), stored: Ok(()) });
    let identity = crate::api::Identity { tenant: "t".to_string(), operator: false };
    let request = crate::api::Request::Members.into();
    let mut out = crate::Effects::new();
    let call = crate::id::CallId(1);
    bench.manager.step_into(bench.now(), Event::Api { call, identity, request }, &mut out);
    let answers = out.iter().filter(|effect| matches!(effect, crate::Effect::Answer { .. })).count();
    assert_eq!((answers, bench.manager.ledger.applied()), (1, before));
}

#[test]
fn a_failed_disk_ends_it() {
    let mut bench = running_sleep();
    bench.event(Event::StoreFailed { token: crate::store::StoreToken(99), why: "full".to_string() });
    assert_eq!(bench.halted, Some(crate::effect::HaltReason::StoreFailed));
    bench.sent();
    bench.result(W1, run(0, 1), Outcome::Completed, requests(1, 10_000));
    assert_eq!(bench.sent(), []);
}

#[test]
fn a_stop_of_a_job_that_is_over_leaves_the_fence_of_its_gate() {
    let mut bench = running_sleep();
    bench.result(W1, run(0, 1), Outcome::Completed, requests(1, 60_000));
    let stop = |gate_epoch| Message::StopInDc { job: JOB, gate_epoch, verdict: JobStatus::Cancelled };
    bench.sent();
    bench.from(GATE, stop(GateEpoch(2)));
    let answers = bench.sent();
    let answered = |(_, message): &(NodeId, Message)| {
        matches!(message, Message::StopInDcReply { gate_epoch: GateEpoch(2), .. })
    };
    assert!(answers.iter().any(answered), "{answers:?}");
    bench.from(GATE, stop(GateEpoch(1)));
    assert!(bench.saw(Observation::Refused(FaultCode::StaleEpoch)), "the owner of before");
}
