//! Streams: order, replay, credit, gaps.

use super::*;
use crate::api::EventPos;
use crate::jobs::Window;

/// A running job in `eu`, at a gate whose ring holds few events.
fn running(ring: u16) -> (World, JobId) {
    let mut world = World::with(|config| config.limits.event_ring = ring);
    world.up("eu-m0", 50);
    let (job, _) = world.submit(sleep_job());
    world.accept("eu-m0", job);
    (world, job)
}

fn progress(job: JobId, seq: u64, ok: u64, windows: &[(u32, u64)]) -> Message {
    let window = |&(no, ok)| (WorkflowIx(0), Window { no, count: 1, ok, ..Window::default() });
    Message::DcProgress {
        job,
        dc_epoch: DcEpoch(1),
        seq,
        status: JobStatus::Running,
        workflows: vec![(WorkflowStatus::Running, Totals { ok, ..Totals::default() })],
        windows: windows.iter().map(window).collect(),
    }
}

#[test]
fn a_reader_gets_every_kept_event_in_order_and_the_end() {
    let (mut world, job) = running(200);
    let (call, mut out) = world.stream(job, None, 100);
    out.extend(world.hear("eu-m0", progress(job, 1, 5, &[])));
    out.extend(world.pass(250));
    out.extend(world.finish("eu-m0", job));
    assert_eq!(
        words(&out, call),
        ["accepted", "eu owner 1", "running", "progress 5", "workflow completed", "final completed", "end"]
    );
    let positions: Vec<EventPos> = pushed(&out, call).into_iter().flatten().map(|event| event.pos).collect();
    assert!(positions.is_sorted_by(|one, other| one < other), "{positions:?}");
    assert_eq!(world.gate.streams.len(), 0);
    assert!(!world.gate.ledger.state().jobs[&job].row.delivered, "what was sent may not have arrived");
    let (answer, _) = world.call(tenant("t"), Request::Result { job });
    assert!(matches!(answer, Answer::Result(_)), "{answer:?}");
    assert!(!world.gate.ledger.state().jobs[&job].row.delivered, "nor may this");
    let (answer, _) =
        world.call(tenant("t"), Request::Events { job, after: positions.last().copied(), credit: 1 });
    assert_eq!(answer, Answer::NothingFollows);
    assert!(world.gate.ledger.state().jobs[&job].row.delivered, "who names the final event has read it");
}

#[test]
fn a_final_event_that_nobody_took_is_not_delivered() {
    let (mut world, job) = running(200);
    let (call, _) = world.stream(job, None, 100);
    world.finish("eu-m0", job);
    world.event(Event::ApiClosed { call });
    assert_eq!(world.gate.streams.len(), 0);
    world.pass(300_000);
    let (call, out) = world.stream(job, None, 100);
    let last = words(&out, call).into_iter().rev().nth(1);
    assert_eq!(last.as_deref(), Some("final completed"), "it waits for its reader");
}

#[test]
fn a_reader_goes_on_after_its_cursor_also_at_a_restarted_gate() {
    let (mut world, job) = running(200);
    let (call, out) = world.stream(job, None, 2);
    let first: Vec<_> = pushed(&out, call).into_iter().flatten().collect();
    assert_eq!(words(&out, call), ["accepted", "eu owner 1"], "no more than the credit");
    world.finish("eu-m0", job);
    let all = |world: &mut World, after| {
        let (call, out) = world.stream(job, after, 100);
        pushed(&out, call).into_iter().flatten().collect::<Vec<_>>()
    };
    let whole = all(&mut world, None);
    assert_eq!(whole[..2], first[..]);
    assert_eq!(all(&mut world, Some(first[1].pos)), whole[2..]);
    let mut world = world.restart();
    assert_eq!(all(&mut world, None), whole, "the same events under the same numbers");
    assert_eq!(all(&mut world, Some(first[0].pos)), whole[1..]);
    let last = whole.last().map(|event| event.pos);
    let (answer, _) = world.call(tenant("t"), Request::Events { job, after: last, credit: 100 });
    assert_eq!(answer, Answer::NothingFollows);
}

#[test]
fn credit_holds_events_back_and_more_of_it_lets_them_go() {
    let (mut world, job) = running(200);
    let (call, out) = world.stream(job, None, 1);
    assert_eq!(words(&out, call), ["accepted"]);
    assert_eq!(words(&world.event(Event::ApiWritable { call, credit: 1 }), call), ["eu owner 1"]);
    let out = world.event(Event::ApiWritable { call: CallId(99), credit: 1 });
    assert_eq!(observed(&out), [Observation::Ignored(Stale::Unknown)]);
    world.event(Event::ApiClosed { call });
    assert_eq!(words(&world.finish("eu-m0", job), call), [] as [&str; 0]);
}

#[test]
fn newer_progress_replaces_older_and_what_is_overwritten_shows_as_a_gap() {
    let (mut world, job) = running(2);
    let (call, out) = world.stream(job, None, 3);
    assert_eq!(words(&out, call).len(), 3);
    for no in 0..5 {
        world.hear("eu-m0", progress(job, u64::from(no) + 1, u64::from(no), &[(no, 1)]));
        world.pass(250);
    }
    let out = world.event(Event::ApiWritable { call, credit: 100 });
    assert_eq!(words(&out, call), ["gap 4", "window 4 r1 1", "progress 4"], "one progress, two places");
    let (late, out) = world.stream(job, None, 100);
    assert_eq!(words(&out, late)[3..], ["gap 0", "window 4 r1 1", "progress 4"], "how many is not known");
}

#[test]
fn progress_is_pushed_at_most_every_quarter_second_and_only_when_it_changed() {
    let (mut world, job) = running(200);
    let (call, _) = world.stream(job, None, 100);
    let mut out = vec![];
    for seq in 1..=10 {
        out.extend(world.hear("eu-m0", progress(job, seq, seq, &[])));
        out.extend(world.pass(100));
    }
    out.extend(world.pass(5_000));
    assert_eq!(
        words(&out, call),
        ["progress 1", "progress 3", "progress 5", "progress 8", "progress 10"],
        "every 250 ms from the first"
    );
}

#[test]
fn old_and_shrinking_numbers_are_not_shown() {
    let (mut world, job) = running(200);
    let (call, _) = world.stream(job, None, 100);
    let mut out = world.hear("eu-m0", progress(job, 5, 50, &[]));
    out.extend(world.pass(250));
    let late = world.hear("eu-m0", progress(job, 4, 40, &[]));
    assert_eq!(observed(&late), [Observation::Ignored(Stale::Sequence)]);
    out.extend(world.hear("eu-m0", progress(job, 6, 30, &[])));
    out.extend(world.pass(250));
    assert_eq!(words(&out, call), ["progress 50", "progress 50"]);
}

#[test]
fn a_window_waits_for_every_datacenter_and_a_late_part_is_a_new_revision() {
    let mut world = World::new();
    world.up("eu-m0", 50);
    world.up("us-m0", 50);
    let (job, _) = world.submit(JobSpec { placement: Placement::Count(2), ..sleep_job() });
    world.accept("eu-m0", job);
    world.accept("us-m0", job);
    let (call, _) = world.stream(job, None, 100);
    let mut out = world.hear("eu-m0", progress(job, 1, 1, &[(0, 3), (1, 3)]));
    out.extend(world.hear("us-m0", progress(job, 1, 1, &[(0, 4)])));
    out.extend(world.pass(1_000));
    assert_eq!(words(&out, call), ["progress 1", "window 0 r1 7", "progress 2"]);
    let mut out = world.pass(1_500);
    assert_eq!(words(&out, call), ["window 1 r1 3 part"], "shown after 2 s without the other");
    out = world.hear("us-m0", progress(job, 2, 2, &[(1, 5)]));
    out.extend(world.pass(300));
    assert_eq!(words(&out, call), ["window 1 r2 8", "progress 3"]);
}

#[test]
fn the_thirty_third_reader_is_refused() {
    let (mut world, job) = running(200);
    for _ in 0..32 {
        world.stream(job, None, 1);
    }
    let (answer, _) = world.call(tenant("t"), Request::Events { job, after: None, credit: 1 });
    assert_eq!(fault(&answer), FaultCode::Overloaded);
    let ahead = Some(EventPos { kept: 99, ..EventPos::default() });
    let (answer, _) = world.call(tenant("t"), Request::Events { job, after: ahead, credit: 1 });
    assert_eq!(fault(&answer), FaultCode::Invalid);
}
