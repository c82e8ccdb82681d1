//! One shard from reservation to receipt, refusals, limits, and draining.

use expect_test::expect;

use super::*;

#[test]
fn a_shard_runs_once_and_its_result_is_kept_until_it_is_acknowledged() {
    let mut stage = Stage::ready();
    stage.at(500);
    stage.reserve(M1, run(0, 1), 1);
    stage.expect(expect![[r#"
        observe reserved 0#1
        -> M1 reserved A/0#1 ok
        -> M1 heartbeat v5 free=2 held=[A/0#1 reserved]
        -> M2 heartbeat v5 free=2 held=[A/0#1 reserved]"#]]);
    stage.start(M1, run(0, 1), 1);
    stage.exec(ExecEvent::Started { run: run(0, 1), late: Duration::from_micros(140) });
    stage.expect(expect![[r#"
        exec start A/0#1 in 100ms
        observe started 0#1
        -> M1 started A/0#1 ok 140"#]]);
    stage.progress(run(0, 1), 3, &[0]);
    stage.at(1_100);
    stage.expect(expect!["-> M1 progress A/0#1 seq=1 ok=3 windows=[0+1]"]);
    stage.receive(M1, Message::ShardProgressAck { run: run(0, 1), seq: 1, windows_through: 1 });
    stage.finish(run(0, 1), Outcome::Completed);
    stage.expect(expect![[r#"
        observe ended 0#1 Completed
        -> M1 heartbeat v6 free=4 held=[A/0#1 ended]
        -> M2 heartbeat v6 free=4 held=[A/0#1 ended]
        store 1: put 0#1"#]]);
    stage.stored();
    stage.ack(M1, run(0, 1), Ok(()));
    stage.expect(expect![[r#"
        -> M1 result A/0#1 Completed ok=9 late=140us
        observe acked 0#1
        store 2: delete 0#1"#]]);
    stage.stored();
    assert!(stage.rows.is_empty());
    stage.receive(M1, Message::ForgetAtWorker { jobs: vec![A] });
    stage.expect(expect!["observe dropped A"]);
    assert_eq!(stage.worker.mentions(A), 0);
}

#[test]
fn repeats_get_the_same_answer_and_start_nothing() {
    let mut stage = Stage::ready();
    stage.reserve(M1, run(0, 1), 1);
    stage.reserve(M1, run(0, 1), 1);
    stage.start(M1, run(0, 1), 1);
    stage.lines.clear();
    stage.start(M1, run(0, 1), 1);
    stage.expect(expect![[""]]);
    stage.exec(ExecEvent::Started { run: run(0, 1), late: Duration::from_micros(7) });
    stage.start(M1, run(0, 1), 1);
    stage.reserve(M1, run(0, 1), 1);
    stage.expect(expect![[r#"
        -> M1 started A/0#1 ok 7
        -> M1 started A/0#1 ok 7
        -> M1 reserved A/0#1 ok"#]]);
    stage.finish(run(0, 1), Outcome::Completed);
    stage.stored();
    stage.lines.clear();
    stage.start(M1, run(0, 1), 1);
    stage.reserve(M1, run(0, 1), 1);
    stage.expect(expect![[r#"
        -> M1 started A/0#1 ok 7
        observe Refused(StaleEpoch)
        -> M1 reserved A/0#1 StaleEpoch"#]]);
    stage.ack(M1, run(0, 1), Ok(()));
    stage.lines.clear();
    stage.start(M1, run(0, 1), 1);
    stage.reserve(M1, run(0, 1), 1);
    stage.finish(run(0, 1), Outcome::Completed);
    stage.expect(expect![[r#"
        observe Refused(UnknownShard)
        -> M1 started A/0#1 UnknownShard
        observe Refused(StaleEpoch)
        -> M1 reserved A/0#1 StaleEpoch
        observe Ignored(Unknown)"#]]);
}

#[test]
fn cores_are_kept_all_or_none() {
    let mut stage = Stage::ready();
    stage.at(500);
    stage.reserve(M1, run(0, 1), 1);
    stage.reserve_with(M1, run(1, 1), 1, |reserve| reserve.shard.cores = 3);
    stage.reserve(M2, run_of(B, 0, 1), 1);
    stage.reserve_with(M1, run(2, 1), 1, |reserve| reserve.shard.cores = 1);
    stage.expect(expect![[r#"
        observe reserved 0#1
        -> M1 reserved A/0#1 ok
        -> M1 heartbeat v5 free=2 held=[A/0#1 reserved]
        -> M2 heartbeat v5 free=2 held=[A/0#1 reserved]
        observe Refused(NoCapacity)
        -> M1 reserved A/1#1 NoCapacity
        observe reserved 0#1
        -> M2 reserved B/0#1 ok
        observe Refused(NoCapacity)
        -> M1 reserved A/2#1 NoCapacity"#]]);
    assert_eq!(stage.worker.free_cores(), 0);
    stage.at(600);
    stage.expect(expect![[r#"
        -> M1 heartbeat v6 free=0 held=[A/0#1 reserved, B/0#1 reserved]
        -> M2 heartbeat v6 free=0 held=[A/0#1 reserved, B/0#1 reserved]"#]]);
}

#[test]
fn a_reservation_that_is_not_used_frees_itself() {
    let mut stage = Stage::ready();
    stage.reserve(M1, run(0, 1), 1);
    stage.at_with(&[M1, M2], 10_000);
    assert_eq!(stage.worker.free_cores(), 4);
    stage.lines.clear();
    stage.start(M1, run(0, 1), 1);
    stage.expect(expect![[r#"
        observe Refused(UnknownShard)
        -> M1 started A/0#1 UnknownShard"#]]);
    stage.reserve(M1, run(0, 1), 1);
    stage.start(M1, run(0, 1), 1);
    stage.expect(expect![[r#"
        observe reserved 0#1
        -> M1 reserved A/0#1 ok
        exec start A/0#1 in 100ms
        observe started 0#1"#]]);
}

#[test]
fn what_cannot_run_here_is_refused() {
    let mut stage = Stage::ready();
    stage.reserve_with(M1, run(0, 1), 1, |reserve| reserve.shard.executor = ExecutorKind::Command);
    stage.reserve_with(M1, run(0, 1), 1, |reserve| reserve.shard.cores = 5);
    stage.reserve_with(M1, run(0, 1), 1, |reserve| reserve.shard.cores = 0);
    stage.reserve_with(M1, run(0, 1), 1, |reserve| reserve.boot = BootNo(2));
    stage.reserve_with(M1, run(0, 1), 1, |reserve| reserve.owner = M2);
    stage.reserve_with(M1, run(0, 1), 1, |reserve| reserve.run.shard.dc = DcId::new("ams").unwrap());
    stage.reserve(M1, run(0, 0), 1);
    stage.start(M1, run(0, 1), 1);
    stage.expect(expect![[r#"
        observe Refused(Infeasible)
        -> M1 reserved A/0#1 Infeasible
        observe Refused(Invalid)
        -> M1 reserved A/0#1 Invalid
        observe Refused(Invalid)
        -> M1 reserved A/0#1 Invalid
        observe Refused(StaleEpoch)
        -> M1 reserved A/0#1 StaleEpoch
        observe Ignored(Invalid)
        observe Ignored(Invalid)
        observe Ignored(Invalid)
        observe Refused(UnknownShard)
        -> M1 started A/0#1 UnknownShard"#]]);
    assert!(stage.worker.jobs.is_empty(), "refusals leave nothing behind");

    let mut stage = Stage::boot(Vec::new(), BOOT);
    stage.connect(M1);
    stage.reserve(M1, run(0, 1), 1);
    stage.expect(expect![[r#"
        -> M1 register boot=3 cores=4 executors=2 held=[]
        observe Refused(NotReady)
        -> M1 reserved A/0#1 NotReady"#]]);
}

#[test]
fn a_run_is_killed_at_its_limit() {
    let mut stage = Stage::running();
    stage.at_with(&[M1], 90_101);
    assert!(stage.lines.iter().any(|line| line == "exec stop A/0#1 Kill"));
    stage.lines.clear();
    stage.finish(run(0, 1), Outcome::Killed);
    stage.stored();
    stage.expect(expect![[r#"
        observe ended 0#1 TimedOut
        store 1: put 0#1
        -> M1 result A/0#1 TimedOut ok=9 late=0us killed after its limit of 90000 ms"#]]);
}

#[test]
fn time_in_the_drivers_queue_counts_against_the_notice() {
    let mut stage = Stage::ready();
    stage.reserve(M1, run(0, 1), 1);
    stage.lines.clear();
    stage.now.waited = Duration::from_millis(30);
    stage.start(M1, run(0, 1), 1);
    stage.expect(expect![[r#"
        exec start A/0#1 in 70ms
        observe started 0#1"#]]);

    let mut stage = Stage::ready();
    stage.reserve(M1, run(0, 1), 1);
    stage.lines.clear();
    stage.now.waited = Duration::from_millis(250);
    stage.start(M1, run(0, 1), 1);
    stage.exec(ExecEvent::Started { run: run(0, 1), late: Duration::from_millis(1) });
    stage.expect(expect![[r#"
        exec start A/0#1 in 0ms
        observe started 0#1
        -> M1 started A/0#1 ok 151000"#]]);
}

#[test]
fn a_stop_is_polite_first_and_a_kill_when_asked_again() {
    let mut stage = Stage::running();
    stage.stop(M1, run(0, 1), 1, StopMode::Graceful);
    stage.stop(M1, run(0, 1), 1, StopMode::Graceful);
    stage.stop(M1, run(0, 1), 1, StopMode::Kill);
    stage.stop(M1, run(0, 1), 1, StopMode::Graceful);
    stage.expect(expect![[r#"
        exec stop A/0#1 Graceful
        -> M1 stop A/0#1 Stopping
        -> M1 stop A/0#1 Stopping
        exec stop A/0#1 Kill
        -> M1 stop A/0#1 Stopping
        -> M1 stop A/0#1 Stopping"#]]);
    stage.finish(run(0, 1), Outcome::Killed);
    stage.stored();
    stage.stop(M1, run(0, 1), 1, StopMode::Kill);
    stage.ack(M1, run(0, 1), Ok(()));
    stage.stop(M1, run(0, 1), 1, StopMode::Kill);
    stage.expect(expect![[r#"
        observe ended 0#1 Killed
        store 1: put 0#1
        -> M1 result A/0#1 Killed ok=9 late=0us
        -> M1 stop A/0#1 Ended
        observe acked 0#1
        store 2: delete 0#1
        -> M1 stop A/0#1 Ended"#]]);
}

#[test]
fn a_reserved_run_is_freed_by_a_stop_for_ever() {
    let mut stage = Stage::ready();
    stage.reserve(M1, run(0, 1), 1);
    stage.lines.clear();
    stage.stop(M1, run(0, 1), 1, StopMode::Graceful);
    stage.start(M1, run(0, 1), 1);
    stage.reserve(M1, run(0, 1), 1);
    stage.expect(expect![[r#"
        -> M1 stop A/0#1 Freed
        observe Refused(UnknownShard)
        -> M1 started A/0#1 UnknownShard
        observe Refused(StaleEpoch)
        -> M1 reserved A/0#1 StaleEpoch"#]]);
}

#[test]
fn a_draining_worker_finishes_its_runs_and_leaves() {
    let mut stage = Stage::running();
    stage.step(Event::Drain);
    stage.step(Event::Drain);
    stage.reserve(M1, run(1, 1), 1);
    stage.expect(expect![[r#"
        observe Draining
        observe Ignored(Duplicate)
        observe Refused(Draining)
        -> M1 reserved A/1#1 Draining"#]]);
    stage.finish(run(0, 1), Outcome::Completed);
    stage.stored();
    stage.lines.clear();
    stage.ack(M1, run(0, 1), Ok(()));
    stage.expect(expect![[r#"
        observe acked 0#1
        store 2: delete 0#1
        halt Drained"#]]);
    stage.step(Event::Wake);
    assert_eq!((stage.lines.len(), stage.worker.wake_at()), (0, None), "nothing after the end");
}

#[test]
fn a_drain_has_an_end_even_without_managers() {
    let mut stage = Stage::running();
    stage.step(Event::Drain);
    stage.at_with(&[M1], 89_000);
    stage.lines.clear();
    // Its own limit, the kill, and a receipt that never comes: results are durable.
    stage.reserve_with(M1, run(0, 2), 1, |_| {});
    stage.expect(expect![[r#"
        observe Refused(Draining)
        -> M1 reserved A/0#2 Draining"#]]);
    stage.at_with(&[M1], 90_200);
    stage.finish(run(0, 1), Outcome::Killed);
    stage.stored();
    stage.at_with(&[M1], 330_000);
    stage.lines.clear();
    stage.at_with(&[M1], 400_000);
    stage.lines.retain(|line| !line.contains("heartbeat"));
    stage.expect(expect![[r#"
        -> M1 result A/0#1 TimedOut ok=9 late=0us killed after its limit of 90000 ms
        halt Drained"#]]);
    assert_eq!(stage.rows.len(), 1);
}

#[test]
fn at_the_end_of_the_drain_time_runs_are_stopped() {
    let mut stage = Stage::ready();
    stage.reserve_with(M1, run(0, 1), 1, |reserve| reserve.shard.run_limit_ms = 3_600_000);
    stage.start(M1, run(0, 1), 1);
    stage.exec(ExecEvent::Started { run: run(0, 1), late: Duration::ZERO });
    stage.step(Event::Drain);
    stage.at_with(&[M1], 299_990);
    stage.lines.clear();
    stage.at_with(&[M1], 300_010);
    stage.expect(expect!["exec stop A/0#1 Graceful"]);
    stage.at_with(&[M1], 305_010);
    assert!(stage.lines.iter().any(|line| line == "exec stop A/0#1 Kill"));
    stage.finish(run(0, 1), Outcome::Killed);
    stage.lines.clear();
    stage.stored();
    stage.expect(expect!["-> M1 result A/0#1 Killed ok=9 late=0us its worker was drained"]);
}

#[test]
fn an_idle_worker_drains_at_once() {
    let mut stage = Stage::ready();
    stage.step(Event::Drain);
    stage.expect(expect![[r#"
        observe Draining
        halt Drained"#]]);
}
