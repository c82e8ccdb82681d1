//! Registration, heartbeats, isolation, strangers.

use expect_test::expect;

use super::*;

#[test]
fn registration_is_repeated_until_it_is_accepted() {
    let mut stage = Stage::boot(Vec::new(), BOOT);
    stage.connect(M1);
    stage.at(5_000);
    stage.expect(expect![[r#"
        -> M1 register boot=3 cores=4 executors=2 held=[]
        -> M1 register boot=3 cores=4 executors=2 held=[]"#]]);
    let no = Err(Fault::new(FaultCode::NotReady, "not yet"));
    stage.receive(M1, Message::RegisterWorkerReply { boot: BOOT, accepted: no });
    stage.receive(M1, Message::RegisterWorkerReply { boot: BootNo(2), accepted: Ok(()) });
    stage.at(10_000);
    stage.accept(M1);
    stage.accept(M1);
    stage.at(11_000);
    stage.expect(expect![[r#"
        observe Refused(NotReady)
        observe Ignored(Duplicate)
        -> M1 register boot=3 cores=4 executors=2 held=[]
        observe Active
        -> M1 heartbeat v14 free=4 held=[]
        observe Ignored(Duplicate)
        -> M1 heartbeat v15 free=4 held=[]"#]]);
}

#[test]
fn each_connection_registers_anew() {
    let mut stage = Stage::running();
    stage.step(Event::Disconnected { peer: M1 });
    stage.at(1_000);
    stage.connect(M1);
    stage.at(2_000);
    stage.expect(expect![[r#"
        -> M1 register boot=3 cores=4 executors=2 held=[A/0#1 running]
        -> M2 heartbeat v7 free=2 held=[A/0#1 running]"#]]);
    stage.step(Event::Disconnected { peer: M1 });
    stage.step(Event::Disconnected { peer: M1 });
    stage.expect(expect!["observe Ignored(Unknown)"]);
}

#[test]
fn managers_hear_of_free_cores_at_once_but_not_of_each_of_a_gang() {
    let mut stage = Stage::ready();
    stage.at(1_500);
    stage.lines.clear();
    for shard in 0..2 {
        stage.reserve_with(M1, run(shard, 1), 1, |reserve| reserve.shard.cores = 1);
        stage.at(1_510 + u64::from(shard));
    }
    stage.at(1_620);
    stage.expect(expect![[r#"
        observe reserved 0#1
        -> M1 reserved A/0#1 ok
        -> M1 heartbeat v6 free=3 held=[A/0#1 reserved]
        -> M2 heartbeat v6 free=3 held=[A/0#1 reserved]
        observe reserved 1#1
        -> M1 reserved A/1#1 ok
        -> M1 heartbeat v7 free=2 held=[A/0#1 reserved, A/1#1 reserved]
        -> M2 heartbeat v7 free=2 held=[A/0#1 reserved, A/1#1 reserved]"#]]);
}

#[test]
fn without_any_manager_the_worker_is_isolated_until_one_accepts_it_again() {
    let mut stage = Stage::ready();
    stage.at_with(&[M2], 30_000);
    stage.at(69_999);
    stage.lines.clear();
    stage.at(70_000);
    stage.lines.retain(|line| !line.contains("heartbeat"));
    stage.expect(expect![[r#"
        observe Isolated
        -> M1 register boot=3 cores=4 executors=2 held=[]
        -> M2 register boot=3 cores=4 executors=2 held=[]"#]]);
    stage.reserve(M1, run(0, 1), 1);
    stage.accept(M1);
    stage.reserve(M1, run(0, 1), 1);
    stage.lines.retain(|line| !line.contains("heartbeat"));
    stage.expect(expect![[r#"
        observe Refused(NotReady)
        -> M1 reserved A/0#1 NotReady
        observe Active
        observe reserved 0#1
        -> M1 reserved A/0#1 ok"#]]);
}

#[test]
fn strangers_and_clients_get_nothing() {
    let mut stage = Stage::ready();
    let stranger = NodeId([0x66; 16]);
    stage.connect(stranger);
    stage
        .receive(stranger, Message::StopShard { run: run(0, 1), dc_epoch: DcEpoch(9), mode: StopMode::Kill });
    stage.receive(M1, Message::DcHeartbeat(dc_load()));
    stage.exec(ExecEvent::Started { run: run(0, 1), late: Duration::ZERO });
    stage.progress(run(0, 1), 1, &[]);
    stage.finish(run(0, 1), Outcome::Completed);
    stage.step(Event::Malformed { peer: Some(M1), why: crate::wire::Malformed::Body });
    stage.expect(expect![[r#"
        observe Ignored(Sender)
        observe Ignored(Sender)
        observe Ignored(Sender)
        observe Ignored(Unknown)
        observe Ignored(Unknown)
        observe Ignored(Unknown)
        observe Malformed(Body)"#]]);
    stage.step(Event::Api {
        call: crate::id::CallId(1),
        identity: crate::api::Identity { tenant: "t".into(), operator: false },
        request: Box::new(crate::api::Request::Members),
    });
    stage.expect(expect![[r#"
        observe Refused(RoleDenied)
        Answer { call: CallId(1), answer: Fault(Fault { code: RoleDenied, retry_after_ms: 0, owner: None, detail: "a worker serves no clients: ask a gate" }) }"#]]);
    assert!(stage.worker.jobs.is_empty());
}

fn dc_load() -> crate::wire::DcLoad {
    crate::wire::DcLoad {
        dc: dc(),
        boot: BOOT,
        version: 1,
        is_leader: true,
        term: crate::id::Term(1),
        leader: None,
        accepting: true,
        capacity: crate::wire::Capacity::default(),
        queued_shards: 0,
        jobs: 0,
        known_workers: 0,
        conditions: [0; 4],
        extended: 0,
    }
}
