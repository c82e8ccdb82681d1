//! Restart, takeover, isolation and drain.

use super::*;

/// Another gate becomes the owner by log entry; as its lease does not hold, the lone log leader takes the job back.
fn taken_away_and_back(world: &mut World, job: JobId) -> Vec<Effect> {
    let command = GateCommand::OwnerAssigned { jobs: vec![(job, GateEpoch(2), gate_id("g1"))] };
    let mut out = Effects::new();
    let now = world.now();
    world.gate.propose(now, command, About::Assign, &mut out).expect("there is room");
    world.event(Event::Wake)
}

#[test]
fn a_new_owner_tells_the_datacenters_and_goes_on() {
    let mut world = World::new();
    world.up("eu-m0", 50);
    world.up("us-m0", 50);
    let (job, _) = world.submit(JobSpec { placement: Placement::Count(2), ..sleep_job() });
    world.accept("eu-m0", job);
    let (call, _) = world.stream(job, None, 100);
    let out = taken_away_and_back(&mut world, job);
    assert_eq!(words(&out, call), ["owner 2", "end"], "the old owner's readers go to the new one");
    assert!(observed(&out).contains(&Observation::JobOwner {
        job,
        gate_epoch: GateEpoch(3),
        owner: gate_id("g0")
    }));
    let messages = sent(&out);
    let told = Message::GateOwnerChanged { job, gate_epoch: GateEpoch(3), owner: gate_id("g0") };
    assert!(messages.contains(&(manager("eu-m0"), told)), "{messages:?}");
    let asked = messages.iter().any(|(to, message)| {
        *to == manager("us-m0") && matches!(message, Message::Dispatch { gate_epoch: GateEpoch(3), .. })
    });
    assert!(asked, "who has not accepted is asked: {messages:?}");

    // Answers to the former owner's requests mean nothing now.
    let stale = Message::DispatchReply {
        job,
        gate_epoch: GateEpoch(1),
        reply: Ok(DispatchAccepted { dc_epoch: DcEpoch(1), owner: manager("us-m0") }),
    };
    assert_eq!(observed(&world.hear("us-m0", stale)), [Observation::Ignored(Stale::Fence)]);
    let at = DispatchAccepted { dc_epoch: DcEpoch(1), owner: manager("eu-m0") };
    let reply = Message::GateOwnerChangedReply { job, gate_epoch: GateEpoch(3), reply: Ok(at) };
    world.hear("eu-m0", reply);
    world.accept("us-m0", job);
    let out = world.pass(10_000);
    assert!(!sent(&out).iter().any(|(_, message)| matches!(message, Message::GateOwnerChanged { .. })));
    world.finish("eu-m0", job);
    world.finish("us-m0", job);
    assert_eq!(world.result_of(job).totals().ok, 2);
}

#[test]
fn a_new_owner_shows_no_progress_before_every_datacenter_has_reported() {
    let mut world = World::new();
    world.up("eu-m0", 50);
    world.up("us-m0", 50);
    let (job, _) = world.submit(JobSpec { placement: Placement::Count(2), ..sleep_job() });
    world.accept("eu-m0", job);
    world.accept("us-m0", job);
    taken_away_and_back(&mut world, job);
    let (call, _) = world.stream(job, None, 100);
    let numbers = |seq| Message::DcProgress {
        job,
        dc_epoch: DcEpoch(1),
        seq,
        status: JobStatus::Running,
        workflows: vec![(WorkflowStatus::Running, Totals { ok: 10, ..Totals::default() })],
        windows: vec![],
    };
    let mut out = world.hear("eu-m0", numbers(1));
    out.extend(world.pass(1_000));
    assert_eq!(words(&out, call), [] as [&str; 0]);
    out = world.hear("us-m0", numbers(1));
    out.extend(world.pass(1_000));
    assert_eq!(words(&out, call), ["progress 20"]);
}

#[test]
fn a_restarted_gate_goes_on_from_its_rows() {
    let mut world = World::new();
    world.up("eu-m0", 50);
    let (running, _) = world.submit(JobSpec { timeout_ms: 20_000, ..sleep_job() });
    world.accept("eu-m0", running);
    let (stopping, _) = world.submit(sleep_job());
    world.accept("eu-m0", stopping);
    world.call(tenant("t"), Request::Cancel { job: stopping, reason: String::new() });
    let (ended, _) = world.submit(sleep_job());
    world.accept("eu-m0", ended);
    world.finish("eu-m0", ended);
    let before = world.result_of(ended);
    let rows = |world: &World| {
        let state = world.gate.ledger.state();
        let row = |key: Vec<u8>| (key.clone(), crate::ledger::State::row(state, &key));
        crate::ledger::State::keys(state).into_iter().map(row).collect::<Vec<_>>()
    };
    let kept = rows(&world);
    let mut world = world.restart();
    assert_eq!(rows(&world), kept, "the disk holds the state, byte for byte");
    assert_eq!(world.result_of(ended), before);
    assert_eq!(world.status_of(stopping), JobStatus::Cancelling);
    let out = world.up("eu-m0", 50);
    let told = |job| Message::GateOwnerChanged { job, gate_epoch: GateEpoch(1), owner: gate_id("g0") };
    for job in [running, stopping] {
        assert!(sent(&out).contains(&(manager("eu-m0"), told(job))), "{:?}", sent(&out));
    }
    let at = DispatchAccepted { dc_epoch: DcEpoch(1), owner: manager("eu-m0") };
    let known = |job| Message::GateOwnerChangedReply { job, gate_epoch: GateEpoch(1), reply: Ok(at) };
    let stop = Message::StopInDc { job: stopping, gate_epoch: GateEpoch(1), verdict: JobStatus::Cancelled };
    assert_eq!(sent(&world.hear("eu-m0", known(stopping))), [(manager("eu-m0"), stop)]);
    world.hear("eu-m0", known(running));
    // Its time was not used up by the gate's absence, and not forgotten either.
    let out = world.pass(20_000);
    let stop = Message::StopInDc { job: running, gate_epoch: GateEpoch(1), verdict: JobStatus::TimedOut };
    assert!(sent(&out).contains(&(manager("eu-m0"), stop)));
}

#[test]
fn a_gate_whose_lease_has_run_out_does_nothing_as_an_owner() {
    let mut world = World::new();
    world.up("eu-m0", 50);
    let (job, _) = world.submit(sleep_job());
    world.accept("eu-m0", job);
    // The disk does not answer: no renewal is ever committed.
    let mut out = vec![];
    while world.now_ms < 12_000 {
        world.now_ms += 500;
        out.extend(world.step(Event::Wake));
    }
    assert!(observed(&out).contains(&Observation::Isolated));
    let (call, out) = world.begin(tenant("t"), Request::Cancel { job, reason: String::new() });
    let answer = out.iter().find_map(|effect| match effect {
        Effect::Answer { call: of, answer } if *of == call => Some(fault(answer)),
        _ => None,
    });
    assert_eq!(answer, Some(FaultCode::NoQuorum));
    let report = Box::new(dc_report("eu", JobStatus::Completed, vec![report(0, 1)]));
    let message = Box::new(Message::DcFinal { job, dc_epoch: DcEpoch(1), report });
    let out = world.step(Event::Received { peer: manager("eu-m0"), message });
    let answers = sent(&out);
    let [(_, Message::DcFinalAck { stored: Err(fault), .. })] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!(fault.code, FaultCode::NoQuorum, "kept by its sender");
    // Reads go on.
    let (_, out) = world.begin(tenant("t"), Request::Status { job });
    assert!(matches!(&out[..], [Effect::Answer { answer, .. }] if matches!(**answer, Answer::Status(_))));
}

#[test]
fn a_lone_gate_drains_by_ending_once_everything_is_on_its_disk() {
    let mut world = World::new();
    world.up("eu-m0", 50);
    let (job, _) = world.submit(sleep_job());
    let (call, _) = world.stream(job, None, 100);
    let request = Request::Submit { key: None, spec: Box::new(sleep_job()) };
    let (under_way, _) = world.begin(tenant("t"), request.clone());
    let out = world.step(Event::Drain);
    assert!(observed(&out).contains(&Observation::Draining));
    assert!(!out.iter().any(|effect| matches!(effect, Effect::Halt(_))), "a call waits for the disk");
    let (refused, out) = world.begin(tenant("t"), request);
    let answered = |out: &[Effect], call: CallId| {
        out.iter().find_map(|effect| match effect {
            Effect::Answer { call: of, answer } if *of == call => Some((**answer).clone()),
            _ => None,
        })
    };
    assert_eq!(fault(&answered(&out, refused).expect("an answer")), FaultCode::Draining);
    let out = world.sync();
    assert!(matches!(answered(&out, under_way), Some(Answer::Submitted(_))));
    assert_eq!(words(&out, call).last().map(String::as_str), Some("end"));
    assert_eq!(out.last(), Some(&Effect::Halt(HaltReason::Drained)));
    assert_eq!((world.event(Event::Wake), world.gate.wake_at()), (vec![], None));
    let mut world = world.restart();
    assert_ne!(world.status_of(job), JobStatus::Completed, "its jobs are here again");
}

#[test]
fn a_failed_disk_is_the_end() {
    let mut world = World::new();
    let out = world.step(Event::StoreFailed { token: StoreToken(9), why: "full".to_string() });
    assert_eq!(out, [Effect::Observe(Observation::StoreFailed), Effect::Halt(HaltReason::StoreFailed)]);
    assert_eq!(world.step(Event::Wake), []);
}
