//! Owners that change, vanish, or come early; jobs that are forgotten.

use expect_test::expect;

use super::*;

/// Everything but heartbeats since the last comparison.
fn quiet(stage: &mut Stage) {
    stage.lines.retain(|line| !line.contains("heartbeat"));
}

#[test]
fn runs_whose_owner_is_silent_for_too_long_are_stopped() {
    let mut stage = Stage::running();
    stage.reserve(M1, run(1, 1), 1);
    stage.at_with(&[M1, M2], 5_000);
    stage.start(M1, run(1, 1), 1);
    stage.step(Event::Disconnected { peer: M1 });
    stage.at_with(&[M2], 44_999);
    stage.lines.clear();
    stage.at(45_000);
    quiet(&mut stage);
    stage.expect(expect![[r#"
        observe orphaned 0#1
        exec stop A/0#1 Graceful
        observe orphaned 1#1
        exec stop A/1#1 Graceful"#]]);
    stage.finish(run(0, 1), Outcome::Cancelled);
    stage.stored();
    stage.at_with(&[M2], 50_000);
    quiet(&mut stage);
    stage.expect(expect![[r#"
        observe ended 0#1 Cancelled
        store 1: put 0#1
        -> M1 result A/0#1 Cancelled ok=9 late=0us orphaned: its manager was gone
        exec stop A/1#1 Kill
        -> M2 result A/0#1 Cancelled ok=9 late=0us orphaned: its manager was gone"#]]);
    stage.finish(run(1, 1), Outcome::Killed);
    stage.stored();
    stage.connect(M1);
    quiet(&mut stage);
    stage.expect(expect![[r#"
        observe ended 1#1 Killed
        store 2: put 1#1
        -> M1 result A/1#1 Killed ok=9 late=0us orphaned: its manager was gone
        -> M1 register boot=3 cores=4 executors=2 held=[A/0#1 ended, A/1#1 ended]
        -> M1 result A/0#1 Cancelled ok=9 late=0us orphaned: its manager was gone
        -> M1 result A/1#1 Killed ok=9 late=0us orphaned: its manager was gone"#]]);
}

#[test]
fn a_new_owner_takes_over_what_runs_and_what_has_ended() {
    let mut stage = Stage::running();
    stage.reserve(M1, run(1, 1), 1);
    stage.start(M1, run(1, 1), 1);
    stage.finish(run(1, 1), Outcome::Completed);
    stage.stored();
    stage.progress(run(0, 1), 5, &[0]);
    stage.step(Event::Disconnected { peer: M1 });
    stage.lines.clear();
    stage.at_with(&[M2], 20_000);
    stage.lines.clear();
    stage.receive(M2, Message::OwnerChanged { job: A, dc_epoch: DcEpoch(2), owner: M2 });
    stage.receive(M2, Message::OwnerChanged { job: A, dc_epoch: DcEpoch(2), owner: M2 });
    stage.at(20_600);
    quiet(&mut stage);
    stage.expect(expect![[r#"
        -> M2 owner reply held=[A/0#1 running, A/1#1 ended]
        -> M2 result A/1#1 Completed ok=9 late=0us
        -> M2 owner reply held=[A/0#1 running, A/1#1 ended]
        -> M2 result A/1#1 Completed ok=9 late=0us
        -> M2 progress A/0#1 seq=1 ok=5 windows=[0+1]"#]]);
    stage.at_with(&[M2], 60_000);
    assert!(!stage.lines.iter().any(|line| line.contains("orphaned")));
}

#[test]
fn an_owner_that_comes_before_its_shards_is_remembered_for_a_minute() {
    let mut stage = Stage::ready();
    stage.receive(M2, Message::OwnerChanged { job: A, dc_epoch: DcEpoch(2), owner: M2 });
    stage.receive(M1, Message::OwnerChanged { job: A, dc_epoch: DcEpoch(3), owner: M2 });
    stage.reserve(M1, run(0, 1), 1);
    stage.expect(expect![[r#"
        -> M2 owner reply held=[]
        observe Ignored(Sender)
        observe Refused(StaleEpoch)
        -> M1 reserved A/0#1 StaleEpoch at M2"#]]);
    stage.at_with(&[M1, M2], 59_000);
    stage.lines.clear();
    stage.at_with(&[M1, M2], 60_000);
    quiet(&mut stage);
    stage.expect(expect!["observe dropped A"]);
    assert_eq!(stage.worker.mentions(A), 0);
}

#[test]
fn a_forgotten_job_is_killed_and_leaves_nothing() {
    let mut stage = Stage::running();
    stage.reserve(M1, run(1, 1), 1);
    stage.start(M1, run(1, 1), 1);
    stage.finish(run(1, 1), Outcome::Completed);
    stage.stored();
    assert_eq!(stage.rows.len(), 1);
    stage.lines.clear();
    stage.receive(M2, Message::ForgetAtWorker { jobs: vec![A, B] });
    stage.reserve(M1, run(2, 1), 1);
    stage.finish(run(0, 1), Outcome::Killed);
    stage.expect(expect![[r#"
        exec stop A/0#1 Kill
        store 2: delete 1#1
        observe Refused(Expired)
        -> M1 reserved A/2#1 Expired
        observe ended 0#1 Killed
        observe dropped A"#]]);
    stage.stored();
    assert_eq!((stage.worker.mentions(A), stage.rows.len(), stage.worker.free_cores()), (0, 0, 4));
}

#[test]
fn an_ended_job_is_remembered_for_a_day() {
    let mut stage = Stage::running();
    stage.finish(run(0, 1), Outcome::Completed);
    stage.stored();
    stage.ack(M1, run(0, 1), Ok(()));
    assert_eq!(stage.worker.mentions(A), 2, "the record and its timer");
    let ended = stage.now.mono;
    assert_eq!(stage.worker.timers.deadline(Timer::Memory(A)), Some(ended + MEMORY));

    // What a stop forbids is remembered as long, even where only the owner was known before.
    stage.receive(M2, Message::OwnerChanged { job: B, dc_epoch: DcEpoch(1), owner: M2 });
    assert_eq!(stage.worker.timers.deadline(Timer::Memory(B)), Some(ended + EARLY_OWNER));
    stage.stop(M2, run_of(B, 0, 1), 1, StopMode::Graceful);
    assert_eq!(stage.worker.timers.deadline(Timer::Memory(B)), Some(ended + MEMORY));
}

#[test]
fn at_the_bound_the_job_that_was_idle_for_longest_is_forgotten() {
    let mut stage = Stage::ready();
    let job = |no: usize| {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&(no as u64).to_be_bytes());
        JobId(id)
    };
    for no in 0..SHARDS_MAX {
        stage.now.mono += Duration::from_nanos(1);
        stage.stop(M1, run_of(job(no), 0, 1), 1, StopMode::Graceful);
    }
    assert_eq!(stage.worker.jobs.len(), SHARDS_MAX);
    stage.reserve(M1, run(0, 1), 1);
    assert_eq!(stage.worker.jobs.len(), SHARDS_MAX);
    assert!(stage.worker.jobs.contains_key(&A) && !stage.worker.jobs.contains_key(&job(0)));
}

#[test]
fn a_late_word_of_a_dropped_job_starts_nothing() {
    let mut stage = Stage::ready();
    stage.reserve(M1, run(0, 1), 1);
    stage.start(M1, run(0, 1), 1);
    stage.receive(M1, Message::ForgetAtWorker { jobs: vec![A] });
    stage.finish(run(0, 1), Outcome::Killed);
    assert_eq!(stage.worker.jobs.len(), 0);
    stage.lines.clear();

    stage.reserve(M2, run(0, 1), 1);
    stage.start(M2, run(0, 1), 1);
    stage.receive(M2, Message::OwnerChanged { job: A, dc_epoch: DcEpoch(2), owner: M2 });
    stage.stop(M2, run(0, 1), 2, StopMode::Kill);
    assert!(!stage.lines.iter().any(|line| line.starts_with("exec")), "{:?}", stage.lines);
    assert_eq!(stage.worker.jobs.len(), 0, "and nothing mentions it");
}
