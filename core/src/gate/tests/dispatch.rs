//! Choosing datacenters, asking them, and going on without one.

use super::*;
use crate::wire::Reconciled;

fn dispatched(out: &[Effect]) -> Vec<NodeId> {
    sent(out)
        .into_iter()
        .filter_map(|(to, message)| matches!(message, Message::Dispatch { .. }).then_some(to))
        .collect()
}

fn refuse(world: &mut World, name: &str, job: JobId, fault: Fault) -> Vec<Effect> {
    world.hear(name, Message::DispatchReply { job, gate_epoch: GateEpoch(1), reply: Err(fault) })
}

fn target(world: &World, job: JobId, name: &str) -> TargetState {
    world.gate.ledger.state().jobs[&job].row.target(dc(name)).expect("a target").state
}

#[test]
fn the_datacenter_with_more_room_is_chosen_and_the_other_is_the_fallback() {
    let mut world = World::new();
    world.up("eu-m0", 20);
    world.up("us-m0", 90);
    let (job, out) = world.submit(sleep_job());
    assert_eq!(dispatched(&out), [manager("us-m0")]);
    assert_eq!(world.gate.ledger.state().jobs[&job].row.fallbacks, [dc("eu")]);
}

#[test]
fn a_redirect_is_followed_at_once_and_silence_leads_to_the_next_manager() {
    let mut world = World::new();
    world.up("eu-m0", 50);
    world.event(Event::Connected {
        peer: manager("eu-m1"),
        boot: BootNo(1),
        dialect: crate::wire::Dialect::OURS,
    });
    let (job, out) = world.submit(sleep_job());
    assert_eq!(dispatched(&out), [manager("eu-m0")]);
    let elsewhere = Fault::new(FaultCode::NotLeader, "not here").at(Some(manager("eu-m1")));
    assert_eq!(dispatched(&refuse(&mut world, "eu-m0", job, elsewhere)), [manager("eu-m1")]);
    assert_eq!(dispatched(&world.pass(4_999)), []);
    assert_eq!(dispatched(&world.pass(1)), [manager("eu-m0")]);
    // The answer to the earlier request is as good.
    world.accept("eu-m1", job);
    assert_eq!(world.status_of(job), JobStatus::Running);
}

#[test]
fn a_datacenter_without_room_is_replaced_and_owed_nothing() {
    let mut world = World::new();
    world.up("us-m0", 90);
    world.up("eu-m0", 20);
    let (job, _) = world.submit(sleep_job());
    let out = refuse(&mut world, "us-m0", job, Fault::new(FaultCode::NoCapacity, "full"));
    assert!(observed(&out).contains(&Observation::TargetReplaced { job, dc: dc("us") }));
    assert_eq!(dispatched(&out), [manager("eu-m0")]);
    assert_eq!(target(&world, job, "us"), TargetState::Replaced { clear: true });
    world.accept("eu-m0", job);
    world.finish("eu-m0", job);
    let result = world.result_of(job);
    assert_eq!((result.status, result.per_dc.len(), result.missing.len()), (JobStatus::Completed, 1, 0));
}

#[test]
fn a_silent_datacenter_is_replaced_by_log_entry_and_owed_a_stop_until_it_answers() {
    let mut world = World::new();
    world.up("us-m0", 90);
    world.up("eu-m0", 20);
    let (job, _) = world.submit(sleep_job());
    let out = world.pass(10_000);
    let position = |test: &dyn Fn(&Effect) -> bool| out.iter().position(test).expect("it happens");
    let replaced =
        position(&|effect| *effect == Effect::Observe(Observation::TargetReplaced { job, dc: dc("us") }));
    let asked = position(&|effect| {
        matches!(effect, Effect::Send { to, message } if *to == manager("eu-m0")
            && matches!(**message, Message::Dispatch { slot: 0, slots: 1, .. }))
    });
    assert!(replaced < asked, "the log first");
    let stop = Message::StopInDc { job, gate_epoch: GateEpoch(1), verdict: JobStatus::Failed };
    assert!(sent(&out).contains(&(manager("us-m0"), stop.clone())));
    assert_eq!(target(&world, job, "us"), TargetState::Replaced { clear: false });

    // Its late acceptance changes nothing; the stop is repeated until it is recorded there.
    world.accept("us-m0", job);
    assert_eq!(target(&world, job, "us"), TargetState::Replaced { clear: false });
    assert!(sent(&world.pass(5_000)).contains(&(manager("us-m0"), stop)));
    let reply = Message::StopInDcReply { job, gate_epoch: GateEpoch(1), recorded: Ok(()) };
    world.hear("us-m0", reply);
    assert_eq!(target(&world, job, "us"), TargetState::Replaced { clear: true });

    // What it delivers does not count, and is acknowledged so that it can forget it.
    let out = world.finish("us-m0", job);
    assert!(matches!(&sent(&out)[..], [(_, Message::DcFinalAck { stored: Ok(()), .. })]));
    assert_ne!(world.status_of(job), JobStatus::Completed);
}

#[test]
fn a_job_that_no_datacenter_takes_waits_and_then_fails_with_the_reason() {
    let mut world = World::new();
    world.up("eu-m0", 50);
    let (job, _) = world.submit(JobSpec { timeout_ms: 600_000, ..sleep_job() });
    refuse(&mut world, "eu-m0", job, Fault::new(FaultCode::NoCapacity, "full"));
    assert_eq!(world.status_of(job), JobStatus::Queued);
    let mut asked = 0;
    for _ in 0..59 {
        let out = world.pass(1_000);
        asked += dispatched(&out).len();
        if !dispatched(&out).is_empty() {
            refuse(&mut world, "eu-m0", job, Fault::new(FaultCode::NoCapacity, "full"));
        }
        world.heartbeat("eu-m0", 0, true);
    }
    assert!(asked > 30, "asked again every second, {asked} times");
    assert_eq!(world.status_of(job), JobStatus::Queued);
    let out = world.pass(1_000);
    let stops: Vec<_> =
        sent(&out).into_iter().filter(|(_, message)| matches!(message, Message::StopInDc { .. })).collect();
    assert_eq!(stops.len(), 1, "it may have been taken at the last moment");
    let unknown = Err(Fault::new(FaultCode::UnknownJob, "no"));
    world.hear("eu-m0", Message::StopInDcReply { job, gate_epoch: GateEpoch(1), recorded: unknown });
    let result = world.result_of(job);
    assert_eq!(result.status, JobStatus::Failed);
    assert!(
        result.resolution.contains("no datacenter took the job in time: eu: NoCapacity: full"),
        "{result:?}"
    );
    assert_eq!(result.missing.len(), 1);
}

#[test]
fn with_partial_results_the_job_goes_on_without_a_datacenter_that_never_comes() {
    let mut world = World::new();
    world.up("eu-m0", 50);
    let spec = JobSpec {
        placement: Placement::Only(vec![dc("eu"), dc("us")]),
        timeout_ms: 600_000,
        partial_results: true,
        ..sleep_job()
    };
    let (job, _) = world.submit(spec);
    world.accept("eu-m0", job);
    assert_eq!(world.status_of(job), JobStatus::Dispatching);
    world.pass(60_000);
    assert_eq!(target(&world, job, "us"), TargetState::Missing { clear: true });
    assert_eq!(world.status_of(job), JobStatus::Running);
    world.finish("eu-m0", job);
    let result = world.result_of(job);
    assert_eq!(result.status, JobStatus::Partial);
    assert_eq!(result.missing, [(dc("us"), "us: no manager is connected".to_string())]);
}

#[test]
fn answers_of_an_old_fence_of_strangers_and_to_nothing_change_nothing() {
    let mut world = World::new();
    world.up("eu-m0", 50);
    let (job, _) = world.submit(sleep_job());
    let before = world.gate.ledger.state().jobs[&job].row.clone();
    let reply = |gate_epoch| Message::DispatchReply {
        job,
        gate_epoch,
        reply: Ok(DispatchAccepted { dc_epoch: DcEpoch(1), owner: manager("eu-m0") }),
    };
    let ignored = |out: Vec<Effect>| {
        observed(&out)
            .into_iter()
            .find_map(|it| match it {
                Observation::Ignored(why) => Some(why),
                _ => None,
            })
            .expect("ignored")
    };
    assert_eq!(ignored(world.hear("eu-m0", reply(GateEpoch(0)))), Stale::Fence);
    assert_eq!(ignored(world.hear("eu-m0", reply(GateEpoch(2)))), Stale::Fence);
    assert_eq!(ignored(world.hear("us-m0", reply(GateEpoch(1)))), Stale::Unknown);
    assert_eq!(ignored(world.hear("mars-m0", reply(GateEpoch(1)))), Stale::Sender);
    let stranger = JobId([1; 16]);
    let lost = Message::StopInDcReply { job: stranger, gate_epoch: GateEpoch(1), recorded: Ok(()) };
    assert_eq!(ignored(world.hear("eu-m0", lost)), Stale::Unknown);
    assert_eq!(world.gate.ledger.state().jobs[&job].row, before);
}

#[test]
fn a_job_that_a_datacenter_has_forgotten_is_given_to_it_again() {
    let mut world = World::new();
    world.up("eu-m0", 50);
    let (job, _) = world.submit(sleep_job());
    world.accept("eu-m0", job);
    world.down("eu-m0");
    let out = world.up("eu-m0", 50);
    assert!(sent(&out).contains(&(manager("eu-m0"), Message::Reconcile { jobs: vec![(job, GateEpoch(1))] })));
    let out = world.hear("eu-m0", Message::ReconcileReply { jobs: vec![(job, Reconciled::Unknown)] });
    assert_eq!(dispatched(&out), [manager("eu-m0")]);
}

#[test]
fn a_final_over_a_fence_that_is_too_old_is_refused_and_a_newer_one_is_adopted() {
    let mut world = World::new();
    world.up("eu-m0", 50);
    world.event(Event::Connected {
        peer: manager("eu-m1"),
        boot: BootNo(1),
        dialect: crate::wire::Dialect::OURS,
    });
    let (job, _) = world.submit(sleep_job());
    world.accept("eu-m0", job);
    let changed = Message::DcOwnerChanged { job, dc_epoch: DcEpoch(2), owner: manager("eu-m1") };
    let out = world.hear("eu-m1", changed);
    let acked = Message::DcOwnerChangedAck { job, dc_epoch: DcEpoch(2), stored: Ok(GateEpoch(1)) };
    assert_eq!(sent(&out), [(manager("eu-m1"), acked)]);
    let out = world.finish("eu-m0", job);
    let answers = sent(&out);
    let [(_, Message::DcFinalAck { stored: Err(fault), .. })] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!(fault.code, FaultCode::StaleEpoch);
    assert_eq!(world.status_of(job), JobStatus::Running);
    let report = Box::new(dc_report("eu", JobStatus::Completed, vec![report(0, 1)]));
    world.hear("eu-m1", Message::DcFinal { job, dc_epoch: DcEpoch(2), report });
    assert_eq!(world.status_of(job), JobStatus::Completed);
}

#[test]
fn a_manager_that_does_not_answer_is_let_alone_and_tried_once() {
    let mut world = World::new();
    world.up("eu-m0", 50);
    let only_eu = || JobSpec { placement: Placement::Only(vec![dc("eu")]), ..sleep_job() };
    let jobs: Vec<JobId> = (0..3).map(|_| world.submit(only_eu()).0).collect();
    let opened = Observation::CircuitOpened(manager("eu-m0"));
    let out = world.pass(5_000);
    assert_eq!(observed(&out).iter().filter(|seen| **seen == opened).count(), 1, "three silences");

    let (_, out) = world.submit(only_eu());
    assert_eq!(dispatched(&out), []);
    assert_eq!(dispatched(&world.pass(9_900)), [], "nobody asks it, whatever waits");
    assert_eq!(dispatched(&world.pass(200)).len(), 1, "one of four jobs is the trial");
    assert_eq!(dispatched(&world.pass(1_500)), []);

    let closed = Observation::CircuitClosed(manager("eu-m0"));
    let out = world.accept("eu-m0", jobs[0]);
    assert!(observed(&out).contains(&closed), "{out:?}");
    assert!(dispatched(&world.pass(2_000)).len() >= 2, "the others follow");
}

#[test]
fn who_asks_to_own_a_job_that_is_over_is_told_so() {
    let mut world = World::new();
    world.up("eu-m0", 50);
    let (job, _) = world.submit(sleep_job());
    world.accept("eu-m0", job);
    let ask = |world: &mut World| {
        let changed = Message::DcOwnerChanged { job, dc_epoch: DcEpoch(1), owner: manager("eu-m0") };
        let answers = sent(&world.hear("eu-m0", changed));
        let [(_, Message::DcOwnerChangedAck { stored, .. })] = &answers[..] else { panic!("{answers:?}") };
        stored.as_ref().map(|_| ()).map_err(|fault| fault.code)
    };
    assert_eq!(ask(&mut world), Ok(()), "it is wanted");
    world.finish("eu-m0", job);
    assert_eq!(ask(&mut world), Err(FaultCode::AlreadyTerminal(JobStatus::Completed)));
}
