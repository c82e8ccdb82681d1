//! The outbox, over slow disks, silent managers, redirects and restarts; and progress.

use expect_test::expect;

use super::*;

fn quiet(stage: &mut Stage) {
    stage.lines.retain(|line| !line.contains("heartbeat"));
}

#[test]
fn nothing_is_sent_before_it_is_durable() {
    let mut stage = Stage::running();
    stage.finish(run(0, 1), Outcome::Failed);
    stage.at_with(&[M1, M2], 6_000);
    stage.receive(M2, Message::OwnerChanged { job: A, dc_epoch: DcEpoch(2), owner: M2 });
    quiet(&mut stage);
    stage.expect(expect![[r#"
        observe ended 0#1 Failed
        store 1: put 0#1
        -> M2 owner reply held=[A/0#1 ended]"#]]);
    stage.stored();
    stage.expect(expect!["-> M1 result A/0#1 Failed ok=9 late=0us"]);
    stage.at_with(&[M1, M2], 11_000);
    quiet(&mut stage);
    stage.expect(expect!["-> M2 result A/0#1 Failed ok=9 late=0us"]);
}

#[test]
fn a_result_goes_out_again_until_it_is_acknowledged() {
    let mut stage = Stage::running();
    stage.finish(run(0, 1), Outcome::Completed);
    stage.stored();
    stage.lines.clear();
    stage.ack(M1, run(0, 1), Err(Fault::new(FaultCode::NoQuorum, "")));
    stage.at_with(&[M1, M2], 10_200);
    quiet(&mut stage);
    stage.expect(expect![[r#"
        observe Refused(NoQuorum)
        -> M1 result A/0#1 Completed ok=9 late=0us
        -> M1 result A/0#1 Completed ok=9 late=0us"#]]);
    stage.step(Event::Disconnected { peer: M1 });
    stage.connect(M1);
    stage.ack(M1, run(0, 1), Ok(()));
    stage.ack(M1, run(0, 1), Ok(()));
    stage.ack(M1, run_of(B, 0, 1), Ok(()));
    quiet(&mut stage);
    stage.expect(expect![[r#"
        -> M1 register boot=3 cores=4 executors=2 held=[A/0#1 ended]
        -> M1 result A/0#1 Completed ok=9 late=0us
        observe acked 0#1
        store 2: delete 0#1
        observe Ignored(Duplicate)
        observe Ignored(Unknown)"#]]);
    stage.at_with(&[M1, M2], 30_000);
    quiet(&mut stage);
    stage.expect(expect![[r#"
        -> M1 register boot=3 cores=4 executors=2 held=[]
        -> M1 register boot=3 cores=4 executors=2 held=[]
        -> M1 register boot=3 cores=4 executors=2 held=[]"#]]);
}

#[test]
fn redirects_are_followed_and_do_not_go_round_for_ever() {
    let mut stage = Stage::running();
    stage.finish(run(0, 1), Outcome::Completed);
    stage.stored();
    stage.lines.clear();
    let not_owner = |owner| Err(Fault::new(FaultCode::NotOwner, "").at(Some(owner)));
    stage.ack(M1, run(0, 1), not_owner(M2));
    stage.ack(M2, run(0, 1), not_owner(M1));
    stage.ack(M1, run(0, 1), not_owner(M2));
    stage.ack(M2, run(0, 1), not_owner(M1));
    stage.ack(M2, run(0, 1), not_owner(NodeId([9; 16])));
    stage.expect(expect![[r#"
        -> M2 result A/0#1 Completed ok=9 late=0us
        -> M1 result A/0#1 Completed ok=9 late=0us
        -> M2 result A/0#1 Completed ok=9 late=0us
        observe Refused(NotOwner)
        observe Refused(NotOwner)"#]]);
}

#[test]
fn results_survive_a_restart_and_runs_do_not() {
    let mut stage = Stage::running();
    stage.reserve(M1, run(1, 1), 1);
    stage.start(M1, run(1, 1), 1);
    stage.finish(run(1, 1), Outcome::Completed);
    stage.stored();
    let mut stage = stage.restart();
    stage.connect(M2);
    stage.accept(M2);
    stage.expect(expect![[r#"
        -> M2 register boot=4 cores=4 executors=2 held=[A/1#1 ended]
        observe Active
        -> M2 heartbeat v2 free=4 held=[A/1#1 ended]"#]]);
    // Its owner is not there: another manager knows who is.
    stage.at_with(&[M2], 5_000);
    quiet(&mut stage);
    stage.expect(expect!["-> M2 result A/1#1 Completed ok=9 late=0us"]);
    stage.connect(M1);
    stage.lines.clear();
    stage.ack(M1, run(1, 1), Ok(()));
    // A late reservation for the former process, and for a run that has ended.
    stage.reserve_with(M1, run(0, 1), 1, |reserve| reserve.boot = BOOT);
    stage.reserve(M1, run(1, 1), 1);
    stage.expect(expect![[r#"
        observe acked 1#1
        store 1: delete 1#1
        observe Refused(StaleEpoch)
        -> M1 reserved A/0#1 StaleEpoch
        observe Refused(StaleEpoch)
        -> M1 reserved A/1#1 StaleEpoch"#]]);
}

#[test]
fn rows_that_cannot_be_read_end_the_node() {
    let mut stage = Stage::running();
    stage.finish(run(0, 1), Outcome::Completed);
    stage.stored();
    let (key, bytes) = stage.rows.pop_first().unwrap();
    let boot = |key: &RowKey, bytes: Vec<u8>| {
        let config = stage.worker.config.clone();
        let rows = vec![(key.clone(), Bytes(bytes))];
        Worker::new(Boot { config, boot: BootNo(4), disk: DiskId([1; 16]), seed: [0; 32], rows })
    };
    assert!(boot(&key, bytes.to_vec()).is_ok());
    let mut newer = bytes.to_vec();
    newer[0] += 1;
    assert_eq!(boot(&key, newer).err(), Some(HaltReason::BadRows));
    assert_eq!(boot(&key, bytes[..bytes.len() - 1].to_vec()).err(), Some(HaltReason::BadRows));
    let mut other = key.clone();
    other.0[24] += 1;
    assert_eq!(boot(&other, bytes.to_vec()).err(), Some(HaltReason::BadRows));
}

#[test]
fn a_full_outbox_takes_no_reservation() {
    let mut stage = Stage::running();
    stage.worker.config.limits.worker_outbox = 2;
    stage.finish(run(0, 1), Outcome::Completed);
    stage.reserve(M1, run(1, 1), 1);
    stage.lines.clear();
    stage.reserve(M1, run(2, 1), 1);
    stage.expect(expect![[r#"
        observe Refused(Overloaded)
        -> M1 reserved A/2#1 Overloaded"#]]);
    stage.stored();
    stage.ack(M1, run(0, 1), Ok(()));
    stage.lines.clear();
    stage.reserve(M1, run(2, 1), 1);
    stage.expect(expect![[r#"
        observe reserved 2#1
        -> M1 reserved A/2#1 ok"#]]);
}

#[test]
fn a_failed_disk_is_the_end() {
    let mut stage = Stage::running();
    stage.finish(run(0, 1), Outcome::Completed);
    stage.lines.clear();
    stage.step(Event::StoreFailed { token: StoreToken(1), why: "disk full".into() });
    stage.step(Event::Stored { token: StoreToken(1) });
    stage.at(60_000);
    stage.expect(expect![[r#"
        observe StoreFailed
        halt StoreFailed"#]]);
}

#[test]
fn progress_is_cumulative_and_windows_wait_for_their_receipt() {
    let mut stage = Stage::running();
    stage.progress(run(0, 1), 2, &[0]);
    stage.progress(run(0, 1), 4, &[]);
    stage.at(700);
    quiet(&mut stage);
    stage.expect(expect!["-> M1 progress A/0#1 seq=1 ok=4 windows=[0+1]"]);
    stage.progress(run(0, 1), 6, &[1]);
    stage.at(1_200);
    quiet(&mut stage);
    stage.expect(expect!["-> M1 progress A/0#1 seq=2 ok=6 windows=[0+1 1+1]"]);
    stage.receive(M1, Message::ShardProgressAck { run: run(0, 1), seq: 2, windows_through: 1 });
    stage.receive(M2, Message::ShardProgressAck { run: run(0, 1), seq: 2, windows_through: 9 });
    stage.at(1_700);
    quiet(&mut stage);
    stage.expect(expect![[r#"
        observe Ignored(Sender)
        -> M1 progress A/0#1 seq=3 ok=6 windows=[1+1]"#]]);
    stage.receive(M1, Message::ShardProgressAck { run: run(0, 1), seq: 3, windows_through: 2 });
    stage.at(4_000);
    quiet(&mut stage);
    stage.expect(expect![[""]]);
}

#[test]
fn without_a_connection_progress_waits_and_the_newest_is_sent() {
    let mut stage = Stage::running();
    stage.step(Event::Disconnected { peer: M1 });
    for second in 0..40u32 {
        stage.progress(run(0, 1), u64::from(second), &[second]);
        stage.at_with(&[M2], 1_000 * u64::from(second + 1));
    }
    stage.lines.clear();
    stage.connect(M1);
    stage.at(40_600);
    stage.lines.retain(|line| line.contains("progress"));
    stage.expect(expect!["-> M1 progress A/0#1 seq=1 ok=39 windows=[0+2 2+2 4+2 6+2 8+2 10+2 12+2 14+2 16+1 17+1 18+1 19+1 20+1 21+1 22+1 23+1 24+1 25+1 26+1 27+1 28+1 29+1 30+1 31+1 32+1 33+1 34+1 35+1 36+1 37+1 38+1 39+1]"]);
}

#[test]
fn the_last_windows_go_out_with_the_end() {
    let mut stage = Stage::running();
    stage.exec(ExecEvent::Finished {
        run: run(0, 1),
        outcome: Outcome::Failed,
        totals: totals(3),
        windows: vec![window(0)],
        why: "x".repeat(600),
    });
    let shard = stage.worker.shard(run(0, 1).shard).unwrap();
    assert_eq!(shard.results[&Attempt(1)].report.why.len(), crate::wire::MAX_WHY);
    stage.expect(expect![[r#"
        -> M1 progress A/0#1 seq=1 ok=3 windows=[0+1]
        observe ended 0#1 Failed
        store 1: put 0#1"#]]);
}
