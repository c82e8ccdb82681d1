//! From submission to the drop of the record.

use super::*;
use crate::guard::Usage;
use crate::jobs::{Comparison, Metric, Statistic, Threshold};

#[test]
fn a_job_goes_through_one_datacenter_and_is_forgotten() {
    let mut world = World::new();
    world.up("eu-m0", 50);
    let (job, out) = world.submit(sleep_job());
    let sends = sent(&out);
    let (to, Message::Dispatch { slot: 0, slots: 1, remaining_ms: 60_000, gate_epoch, owner, .. }) =
        &sends[0]
    else {
        panic!("not dispatched: {sends:?}")
    };
    assert_eq!((*to, *gate_epoch, *owner), (manager("eu-m0"), GateEpoch(1), gate_id("g0")));
    assert_eq!(sends.len(), 1);
    assert!(observed(&out).contains(&Observation::Dispatched { job, dc: dc("eu") }));

    let out = world.accept("eu-m0", job);
    assert!(observed(&out).contains(&Observation::DcAccepted { job, dc: dc("eu"), dc_epoch: DcEpoch(1) }));
    assert_eq!(world.status_of(job), JobStatus::Running);

    let done = Message::WorkflowResult { job, dc_epoch: DcEpoch(1), report: Box::new(report(0, 1)) };
    let out = world.hear("eu-m0", done.clone());
    let acked =
        Message::WorkflowResultAck { job, workflow: WorkflowIx(0), dc_epoch: DcEpoch(1), stored: Ok(()) };
    assert_eq!(sent(&out), [(manager("eu-m0"), acked.clone())]);
    assert_eq!(
        sent(&world.hear("eu-m0", done)),
        [(manager("eu-m0"), acked)],
        "a repeat is acknowledged again"
    );

    let out = world.finish("eu-m0", job);
    let acked = Message::DcFinalAck { job, dc_epoch: DcEpoch(1), stored: Ok(()) };
    assert_eq!(sent(&out), [(manager("eu-m0"), acked.clone())]);
    assert!(observed(&out).contains(&Observation::JobFinal { job, status: JobStatus::Completed }));
    assert_eq!(sent(&world.finish("eu-m0", job)), [(manager("eu-m0"), acked)]);

    let result = world.result_of(job);
    assert_eq!((result.status, result.totals().ok), (JobStatus::Completed, 1));
    assert_eq!((result.per_dc.len(), result.missing.len()), (1, 0));

    assert!(world.gate.mentions(job) > 0);
    world.acknowledge(job);
    let out = world.pass(300_000);
    assert!(observed(&out).contains(&Observation::JobDropped(job)), "read, and kept for 300 s");
    assert!(!observed(&out).contains(&Observation::ResultUnread(job)));
    assert_eq!(world.gate.mentions(job), 0);
    assert!(sent(&out).contains(&(manager("eu-m0"), Message::Forget { jobs: vec![job] })));
    let answer = world.call(tenant("t"), Request::Status { job }).0;
    assert_eq!(fault(&answer), FaultCode::Expired);
    let acked = sent(&world.finish("eu-m0", job));
    assert!(matches!(&acked[..], [(_, Message::DcFinalAck { stored: Ok(()), .. })]), "over: {acked:?}");
}

#[test]
fn a_result_that_nobody_acknowledged_is_kept_for_a_day_unless_its_place_is_needed() {
    let ended = |tenant_jobs: u32| {
        let mut world = World::with(|config| config.limits.jobs_per_tenant = tenant_jobs);
        world.up("eu-m0", 50);
        let (job, _) = world.submit(sleep_job());
        world.accept("eu-m0", job);
        world.finish("eu-m0", job);
        (world, job)
    };
    let unread = |out: &[Effect], job| observed(out).contains(&Observation::ResultUnread(job));
    let (mut world, job) = ended(2);
    assert_eq!(
        world
            .pass(86_399_000)
            .iter()
            .filter(|effect| matches!(effect, Effect::Observe(Observation::JobDropped(_))))
            .count(),
        0
    );
    assert!(unread(&world.pass(2_000), job));

    let (mut world, job) = ended(1);
    assert!(!unread(&world.pass(299_000), job), "it is kept as long as one that was read");
    assert!(unread(&world.pass(61_000), job));
}

#[test]
fn a_submission_is_answered_when_its_entry_is_durable_and_not_before() {
    let mut world = World::new();
    world.up("eu-m0", 50);
    let request = Request::Submit { key: None, spec: Box::new(sleep_job()) };
    let (call, out) = world.begin(tenant("t"), request);
    assert!(
        !out.iter().any(|effect| matches!(effect, Effect::Answer { .. } | Effect::Send { .. })),
        "{out:?}"
    );
    let out = world.sync();
    let answered =
        out.iter().position(|effect| matches!(effect, Effect::Answer { call: of, .. } if *of == call));
    assert!(answered.is_some(), "{out:?}");
}

#[test]
fn a_call_that_waits_too_long_is_answered_and_its_repeat_finds_the_job() {
    let mut world = World::new();
    world.up("eu-m0", 50);
    let request = || Request::Submit { key: Some("k".into()), spec: Box::new(sleep_job()) };
    let (call, _) = world.begin(tenant("t"), request());
    world.now_ms += 5_000;
    let out = world.step(Event::Wake);
    let answer = out.iter().find_map(|effect| match effect {
        Effect::Answer { call: of, answer } if *of == call => Some(fault(answer)),
        _ => None,
    });
    assert_eq!(answer, Some(FaultCode::NoQuorum));
    let out = world.sync();
    assert!(!out.iter().any(|effect| matches!(effect, Effect::Answer { .. })), "answered once: {out:?}");
    let (answer, _) = world.call(tenant("t"), request());
    let Answer::Submitted(Submitted { job, repeated: true, .. }) = answer else { panic!("{answer:?}") };
    assert_eq!(world.status_of(job), JobStatus::Submitted.max(world.status_of(job)));
}

#[test]
fn the_same_key_gives_the_same_job_and_another_specification_a_conflict() {
    let mut world = World::new();
    world.up("eu-m0", 50);
    let submit = |world: &mut World, who: &str, spec: JobSpec| {
        world.call(tenant(who), Request::Submit { key: Some("k".into()), spec: Box::new(spec) }).0
    };
    let Answer::Submitted(first) = submit(&mut world, "t", sleep_job()) else { panic!("not accepted") };
    assert!(!first.repeated);
    let again = submit(&mut world, "t", sleep_job());
    assert_eq!(again, Answer::Submitted(Submitted { repeated: true, ..first.clone() }));
    let other = JobSpec { timeout_ms: 1, ..sleep_job() };
    assert_eq!(fault(&submit(&mut world, "t", other)), FaultCode::Conflict);
    let Answer::Submitted(foreign) = submit(&mut world, "u", sleep_job()) else { panic!("not accepted") };
    assert_ne!(foreign.job, first.job, "a key belongs to its tenant");

    world = world.restart();
    let again = submit(&mut world, "t", sleep_job());
    assert_eq!(again, Answer::Submitted(Submitted { repeated: true, ..first }), "also after a restart");
}

#[test]
fn two_submissions_with_one_key_under_way_become_one_job() {
    let mut world = World::new();
    world.up("eu-m0", 50);
    let request = |ms| Request::Submit {
        key: Some("k".into()),
        spec: Box::new(JobSpec { timeout_ms: ms, ..sleep_job() }),
    };
    let (one, _) = world.begin(tenant("t"), request(60_000));
    let (two, _) = world.begin(tenant("t"), request(60_000));
    let (three, _) = world.begin(tenant("t"), request(1));
    let out = world.sync();
    let answer = |call: CallId| {
        out.iter()
            .find_map(|effect| match effect {
                Effect::Answer { call: of, answer } if *of == call => Some((**answer).clone()),
                _ => None,
            })
            .expect("an answer")
    };
    let (Answer::Submitted(first), Answer::Submitted(second)) = (answer(one), answer(two)) else {
        panic!("not accepted")
    };
    assert_eq!((first.job, second.repeated), (second.job, true));
    assert_eq!(fault(&answer(three)), FaultCode::Conflict);
    assert_eq!(world.gate.ledger.state().jobs.len(), 1);
}

#[test]
fn refusals_say_why_and_store_nothing() {
    let mut world = World::with(|config| config.limits.jobs_per_tenant = 1);
    let submit = |world: &mut World, spec: JobSpec| {
        world.call(tenant("t"), Request::Submit { key: None, spec: Box::new(spec) }).0
    };
    assert_eq!(fault(&submit(&mut world, sleep_job())), FaultCode::NoDatacenter);
    world.up("eu-m0", 50);
    let only = |name| JobSpec { placement: Placement::Only(vec![dc(name)]), ..sleep_job() };
    assert_eq!(fault(&submit(&mut world, only("mars"))), FaultCode::Invalid);
    assert_eq!(fault(&submit(&mut world, only("us"))), FaultCode::NoDatacenter, "known, and nobody is there");
    let mut wide = sleep_job();
    wide.workflows[0].load.instances = 101;
    assert_eq!(fault(&submit(&mut world, wide.clone())), FaultCode::NoDatacenter, "us may have the cores");
    world.up("us-m0", 50);
    assert_eq!(fault(&submit(&mut world, wide.clone())), FaultCode::NoDatacenter, "more workers may come");
    world.pass(15_000);
    for name in ["eu-m0", "us-m0"] {
        world.heartbeat(name, 50, true);
    }
    assert_eq!(fault(&submit(&mut world, wide)), FaultCode::Infeasible);
    assert_eq!(
        fault(&submit(&mut world, JobSpec { name: String::new(), ..sleep_job() })),
        FaultCode::Invalid
    );
    let mut large = sleep_job();
    large.thresholds.push(Threshold {
        text: "x".repeat(70_000),
        workflow: None,
        metric: Metric::Requests,
        statistic: Statistic::Value,
        comparison: Comparison::Above,
        value_micro: 0,
    });
    assert_eq!(fault(&submit(&mut world, large)), FaultCode::TooLarge);
    assert_eq!(world.gate.ledger.state().jobs.len(), 0);

    let (job, _) = world.submit(sleep_job());
    assert_eq!(fault(&submit(&mut world, sleep_job())), FaultCode::Overloaded);
    let foreign = world.call(tenant("u"), Request::Status { job }).0;
    assert_eq!(fault(&foreign), FaultCode::UnknownJob);
    assert!(matches!(world.call(operator(), Request::Status { job }).0, Answer::Status(_)));
}

#[test]
fn a_loaded_gate_takes_no_new_work_and_serves_what_it_has() {
    let mut world = World::new();
    world.up("eu-m0", 8);
    let (job, _) = world.submit(sleep_job());
    let list = Request::List { after: None, limit: 10 };
    let submit = |world: &mut World| {
        world.call(tenant("t"), Request::Submit { key: None, spec: Box::new(sleep_job()) }).0
    };
    let is_overloaded =
        |answer: &Answer| matches!(answer, Answer::Fault(it) if it.code == FaultCode::Overloaded);
    for (permille, takes_work, lists) in
        [(0, true, true), (800, true, true), (900, true, false), (990, false, false)]
    {
        world.event(Event::Usage(Usage { cpu_permille: 1_000, memory_permille: permille }));
        assert_eq!(!is_overloaded(&submit(&mut world)), takes_work, "{permille}");
        for whole in [list.clone(), Request::Datacenters, Request::Members] {
            assert_eq!(!is_overloaded(&world.call(operator(), whole).0), lists, "{permille}");
        }
        assert!(matches!(world.call(operator(), Request::Status { job }).0, Answer::Status(_)));
        let stop = Request::Cancel { job, reason: String::new() };
        assert!(!is_overloaded(&world.call(operator(), stop).0));
    }
    for _ in 0..6 {
        world.event(Event::Usage(Usage::default()));
    }
    assert!(!is_overloaded(&submit(&mut world)));
}

#[test]
fn job_ids_are_unique_and_grow_when_the_wall_clock_jumps_back() {
    let mut ids = super::super::submit::JobIds::new([1; 32]);
    let made: Vec<JobId> = [5_000, 5_000, 4_000, 0, 5_001].map(|ms| ids.next(WallTime(ms))).to_vec();
    assert!(made.is_sorted_by(|one, other| one.0[..8] < other.0[..8]), "{made:?}");
}

#[test]
fn a_cancel_is_recorded_then_done_and_never_undone() {
    let mut world = World::new();
    world.up("eu-m0", 50);
    let (job, _) = world.submit(sleep_job());
    world.accept("eu-m0", job);
    let cancel = Request::Cancel { job, reason: "enough".into() };
    let (answer, out) = world.call(tenant("t"), cancel.clone());
    assert_eq!(answer, Answer::CancelRecorded { job, first: true });
    let stop = Message::StopInDc { job, gate_epoch: GateEpoch(1), verdict: JobStatus::Cancelled };
    assert_eq!(sent(&out), [(manager("eu-m0"), stop)]);
    assert_eq!(world.status_of(job), JobStatus::Cancelling);
    assert_eq!(world.call(tenant("t"), cancel.clone()).0, Answer::CancelRecorded { job, first: false });

    let recorded = Message::StopInDcReply { job, gate_epoch: GateEpoch(1), recorded: Ok(()) };
    assert_eq!(sent(&world.hear("eu-m0", recorded)), []);
    // It completed there before the stop came; the cancel stands.
    let out = world.finish("eu-m0", job);
    assert!(observed(&out).contains(&Observation::JobFinal { job, status: JobStatus::Cancelled }));
    let result = world.result_of(job);
    assert_eq!((result.status, result.resolution.as_str()), (JobStatus::Cancelled, "enough"));
    assert_eq!(result.per_dc[0].status, JobStatus::Completed);
    let (answer, _) = world.call(tenant("t"), cancel);
    assert_eq!(answer, Answer::CancelRecorded { job, first: false });
}

#[test]
fn a_result_that_was_logged_before_the_cancel_stands() {
    let mut world = World::new();
    world.up("eu-m0", 50);
    let (job, _) = world.submit(sleep_job());
    world.accept("eu-m0", job);
    world.finish("eu-m0", job);
    let (answer, _) = world.call(tenant("t"), Request::Cancel { job, reason: String::new() });
    assert_eq!(fault(&answer), FaultCode::AlreadyTerminal(JobStatus::Completed));
    assert_eq!(world.status_of(job), JobStatus::Completed);
}

#[test]
fn a_cancel_without_confirmation_ends_at_its_deadline_and_names_who_is_missing() {
    let mut world = World::new();
    world.up("eu-m0", 50);
    let (job, _) = world.submit(sleep_job());
    world.accept("eu-m0", job);
    world.call(tenant("t"), Request::Cancel { job, reason: String::new() });
    world.down("eu-m0");
    let out = world.pass(29_000);
    assert!(!observed(&out).iter().any(|it| matches!(it, Observation::JobFinal { .. })));
    let out = world.pass(1_000);
    assert!(observed(&out).contains(&Observation::JobFinal { job, status: JobStatus::Cancelled }));
    let result = world.result_of(job);
    assert_eq!(result.missing, [(dc("eu"), "it did not confirm the stop in time".to_string())]);
    // The stop is still owed: it is sent as soon as the datacenter is back.
    let out = world.up("eu-m0", 50);
    assert!(
        sent(&out).iter().any(|(_, message)| matches!(message, Message::StopInDc { .. })),
        "{:?}",
        sent(&out)
    );
}

#[test]
fn a_job_that_nobody_was_asked_to_run_is_cancelled_at_once() {
    let mut world = World::new();
    world.up("eu-m0", 50);
    let request = Request::Submit { key: None, spec: Box::new(sleep_job()) };
    let (call, _) = world.begin(tenant("t"), request);
    world.step(Event::Disconnected { peer: manager("eu-m0") });
    let out = world.sync();
    let job = out
        .iter()
        .find_map(|effect| match effect {
            Effect::Answer { call: of, answer } if *of == call => match &**answer {
                Answer::Submitted(submitted) => Some(submitted.job),
                other => panic!("{other:?}"),
            },
            _ => None,
        })
        .expect("an answer");
    let (answer, out) = world.call(tenant("t"), Request::Cancel { job, reason: String::new() });
    assert_eq!(answer, Answer::CancelRecorded { job, first: true });
    assert_eq!(sent(&out), []);
    assert_eq!(world.status_of(job), JobStatus::Cancelled);
}

#[test]
fn a_job_whose_time_is_over_is_stopped_and_timed_out() {
    let mut world = World::new();
    world.up("eu-m0", 50);
    let (job, _) = world.submit(JobSpec { timeout_ms: 8_000, ..sleep_job() });
    world.accept("eu-m0", job);
    let out = world.pass(7_999);
    assert!(!sent(&out).iter().any(|(_, message)| matches!(message, Message::StopInDc { .. })));
    let out = world.pass(1);
    let stop = Message::StopInDc { job, gate_epoch: GateEpoch(1), verdict: JobStatus::TimedOut };
    assert!(sent(&out).contains(&(manager("eu-m0"), stop)));
    let report = Box::new(dc_report("eu", JobStatus::TimedOut, vec![]));
    world.hear("eu-m0", Message::DcFinal { job, dc_epoch: DcEpoch(1), report });
    let result = world.result_of(job);
    assert_eq!((result.status, result.resolution.as_str()), (JobStatus::TimedOut, "its time was over"));
}

#[test]
fn a_run_that_measured_nothing_fails() {
    let mut world = World::new();
    world.up("eu-m0", 50);
    let mut spec = sleep_job();
    spec.workflows[0].executor = ExecutorKind::Http;
    spec.workflows[0].load.vus = 1;
    let run = |world: &mut World, ok| {
        let (job, _) = world.submit(spec.clone());
        world.accept("eu-m0", job);
        let report = Box::new(dc_report("eu", JobStatus::Completed, vec![report(0, ok)]));
        world.hear("eu-m0", Message::DcFinal { job, dc_epoch: DcEpoch(1), report });
        world.result_of(job)
    };
    let result = run(&mut world, 0);
    assert_eq!(result.status, JobStatus::Failed);
    assert!(result.resolution.contains("nothing was measured"), "{}", result.resolution);
    assert_eq!(run(&mut world, 1).status, JobStatus::Completed);
}

#[test]
fn thresholds_are_judged_on_what_all_datacenters_measured() {
    let mut world = World::new();
    world.up("eu-m0", 50);
    world.up("us-m0", 50);
    let threshold = |metric, statistic, comparison, value: u64| Threshold {
        text: "t".to_string(),
        workflow: None,
        metric,
        statistic,
        comparison,
        value_micro: value * 1_000_000,
    };
    let spec = JobSpec {
        placement: Placement::Count(2),
        thresholds: vec![
            threshold(Metric::Requests, Statistic::Value, Comparison::Equal, 8),
            threshold(Metric::Rate, Statistic::Value, Comparison::AtMost, 7),
            threshold(Metric::Latency, Statistic::Quantile(990_000), Comparison::Below, 1_000),
        ],
        ..sleep_job()
    };
    let (job, _) = world.submit(spec);
    for (name, ok) in [("eu", 3), ("us", 5)] {
        world.accept(&alloc::format!("{name}-m0"), job);
        let report = Box::new(dc_report(name, JobStatus::Completed, vec![report(0, ok)]));
        world.hear(&alloc::format!("{name}-m0"), Message::DcFinal { job, dc_epoch: DcEpoch(1), report });
    }
    let verdicts: Vec<_> =
        world.result_of(job).verdicts.iter().map(|it| (it.ok, it.measured_micro)).collect();
    assert_eq!(
        verdicts,
        [(true, Some(8_000_000)), (false, Some(8_000_000)), (false, None)],
        "8 requests, 3/s + 5/s, and no latency was measured"
    );
}

#[test]
fn one_failed_datacenter_does_not_end_the_others_and_decides_the_status() {
    for (partial_results, status) in [(true, JobStatus::Partial), (false, JobStatus::Failed)] {
        let mut world = World::new();
        world.up("eu-m0", 50);
        world.up("us-m0", 50);
        let spec = JobSpec { placement: Placement::Count(2), partial_results, ..sleep_job() };
        let (job, _) = world.submit(spec);
        world.accept("eu-m0", job);
        world.accept("us-m0", job);
        let mut failed = report(0, 0);
        failed.status = WorkflowStatus::Failed;
        failed.why = "no such host".to_string();
        let report = Box::new(dc_report("us", JobStatus::Failed, vec![failed]));
        world.hear("us-m0", Message::DcFinal { job, dc_epoch: DcEpoch(1), report });
        assert_eq!(world.status_of(job), JobStatus::Running);
        world.finish("eu-m0", job);
        let result = world.result_of(job);
        assert_eq!(result.status, status);
        assert!(
            result.resolution.contains("us: failed, workflow \"sleep\": no such host"),
            "{}",
            result.resolution
        );
    }
}
