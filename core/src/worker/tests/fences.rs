//! Attempts and owners: who may start what, and never twice.

use alloc::collections::{BTreeMap, BTreeSet};
use expect_test::expect;
use proptest::prelude::*;

use super::*;

#[test]
fn a_higher_attempt_kills_the_running_one_and_waits_for_its_end() {
    let mut stage = Stage::running();
    stage.reserve(M1, run(0, 2), 1);
    stage.reserve(M1, run(0, 2), 1);
    stage.start(M1, run(0, 2), 1);
    stage.expect(expect![[r#"
        exec stop A/0#1 Kill
        observe Refused(UnknownShard)
        -> M1 started A/0#2 UnknownShard"#]]);
    stage.finish(run(0, 1), Outcome::Killed);
    stage.expect(expect![[r#"
        observe ended 0#1 Killed
        observe reserved 0#2
        -> M1 reserved A/0#2 ok
        store 1: put 0#1"#]]);
    stage.stored();
    stage.start(M1, run(0, 2), 1);
    stage.expect(expect![[r#"
        -> M1 result A/0#1 Killed ok=9 late=0us
        exec start A/0#2 in 100ms
        observe started 0#2"#]]);
    stage.reserve(M1, run(0, 1), 1);
    stage.expect(expect![[r#"
        observe Refused(StaleEpoch)
        -> M1 reserved A/0#1 StaleEpoch"#]]);
}

#[test]
fn a_higher_attempt_takes_the_place_of_a_reserved_one_at_once() {
    let mut stage = Stage::ready();
    stage.reserve(M1, run(0, 1), 1);
    stage.lines.clear();
    stage.reserve_with(M1, run(0, 2), 1, |reserve| reserve.shard.cores = 4);
    stage.start(M1, run(0, 1), 1);
    stage.expect(expect![[r#"
        observe reserved 0#2
        -> M1 reserved A/0#2 ok
        observe Refused(UnknownShard)
        -> M1 started A/0#1 UnknownShard"#]]);
}

#[test]
fn a_waiting_attempt_can_be_stopped_and_superseded() {
    let mut stage = Stage::running();
    stage.reserve(M1, run(0, 2), 1);
    stage.reserve(M1, run(0, 3), 1);
    stage.lines.clear();
    stage.reserve(M1, run(0, 2), 1);
    stage.stop(M1, run(0, 3), 1, StopMode::Kill);
    stage.finish(run(0, 1), Outcome::Killed);
    stage.expect(expect![[r#"
        observe Refused(StaleEpoch)
        -> M1 reserved A/0#2 StaleEpoch
        -> M1 stop A/0#3 Freed
        observe ended 0#1 Killed
        store 1: put 0#1"#]]);
    assert_eq!(stage.worker.free_cores(), 4);
}

#[test]
fn a_stop_of_an_unknown_run_forbids_it_and_lower_ones() {
    let mut stage = Stage::ready();
    stage.stop(M1, run(0, 2), 1, StopMode::Graceful);
    stage.reserve(M1, run(0, 2), 1);
    stage.reserve(M1, run(0, 1), 1);
    stage.stop(M1, run(0, 2), 1, StopMode::Graceful);
    stage.reserve(M1, run(0, 3), 1);
    stage.expect(expect![[r#"
        -> M1 stop A/0#2 NeverSeen
        observe Refused(StaleEpoch)
        -> M1 reserved A/0#2 StaleEpoch
        observe Refused(StaleEpoch)
        -> M1 reserved A/0#1 StaleEpoch
        -> M1 stop A/0#2 NeverSeen
        observe reserved 0#3
        -> M1 reserved A/0#3 ok"#]]);
}

#[test]
fn a_stop_of_a_higher_attempt_ends_the_lower_one() {
    let mut stage = Stage::ready();
    stage.reserve(M1, run(0, 1), 1);
    stage.lines.clear();
    stage.stop(M1, run(0, 2), 1, StopMode::Graceful);
    stage.start(M1, run(0, 1), 1);
    stage.expect(expect![[r#"
        -> M1 stop A/0#2 NeverSeen
        observe Refused(UnknownShard)
        -> M1 started A/0#1 UnknownShard"#]]);
    assert_eq!(stage.worker.free_cores(), 4);
}

#[test]
fn a_former_owner_is_refused_whatever_it_asks() {
    let mut stage = Stage::running();
    stage.reserve(M1, run(1, 1), 1);
    stage.receive(M2, Message::OwnerChanged { job: A, dc_epoch: DcEpoch(2), owner: M2 });
    stage.lines.clear();
    stage.start(M1, run(1, 1), 1);
    stage.reserve(M1, run(2, 1), 1);
    stage.stop(M1, run(0, 1), 1, StopMode::Kill);
    stage.receive(M1, Message::OwnerChanged { job: A, dc_epoch: DcEpoch(1), owner: M1 });
    stage.expect(expect![[r#"
        observe Refused(StaleEpoch)
        -> M1 started A/1#1 StaleEpoch at M2
        observe Refused(StaleEpoch)
        -> M1 reserved A/2#1 StaleEpoch at M2
        observe Ignored(Fence)
        observe Refused(StaleEpoch)
        -> M1 owner reply StaleEpoch at M2"#]]);
    // The attempt's fence is its own: the new owner starts what the former one has reserved.
    stage.start(M2, run(1, 1), 2);
    stage.expect(expect![[r#"
        exec start A/1#1 in 100ms
        observe started 1#1"#]]);
}

#[test]
fn a_higher_fence_is_believed_from_any_message() {
    let mut stage = Stage::running();
    stage.reserve(M2, run(1, 1), 5);
    stage.start(M1, run(1, 1), 1);
    stage.finish(run(0, 1), Outcome::Completed);
    stage.stored();
    stage.expect(expect![[r#"
        observe reserved 1#1
        -> M2 reserved A/1#1 ok
        observe Refused(StaleEpoch)
        -> M1 started A/1#1 StaleEpoch at M2
        observe ended 0#1 Completed
        store 1: put 0#1
        -> M2 result A/0#1 Completed ok=9 late=0us"#]]);
}

/// What a hostile, repeating and reordering world may do.
#[derive(Clone, Debug)]
enum Move {
    Reserve { manager: bool, shard: u16, attempt: u32, epoch: u64, cores: u16, boot: bool },
    Start { manager: bool, shard: u16, attempt: u32, epoch: u64 },
    Stop { shard: u16, attempt: u32, epoch: u64, kill: bool },
    Started { pick: usize },
    Progress { pick: usize },
    Finish { pick: usize, outcome: bool },
    Ack { shard: u16, attempt: u32, ok: bool },
    OwnerChanged { manager: bool, epoch: u64 },
    Forget,
    Link { manager: bool, up: bool },
    Accept { manager: bool },
    Stored,
    Pass { ms: u64 },
    Restart,
}

fn any_move() -> impl Strategy<Value = Move> {
    use any as a;
    let (shard, attempt, epoch) = (0u16..3, 1u32..5, 1u64..4);
    prop_oneof![
        8 => (a::<bool>(), shard.clone(), attempt.clone(), epoch.clone(), 0u16..4, proptest::bool::weighted(0.9))
            .prop_map(|(manager, shard, attempt, epoch, cores, boot)| Move::Reserve { manager, shard, attempt, epoch, cores, boot }),
        8 => (a::<bool>(), shard.clone(), attempt.clone(), epoch.clone())
            .prop_map(|(manager, shard, attempt, epoch)| Move::Start { manager, shard, attempt, epoch }),
        3 => (shard.clone(), attempt.clone(), epoch.clone(), a::<bool>())
            .prop_map(|(shard, attempt, epoch, kill)| Move::Stop { shard, attempt, epoch, kill }),
        3 => a::<usize>().prop_map(|pick| Move::Started { pick }),
        2 => a::<usize>().prop_map(|pick| Move::Progress { pick }),
        5 => (a::<usize>(), a::<bool>()).prop_map(|(pick, outcome)| Move::Finish { pick, outcome }),
        3 => (shard, attempt, a::<bool>()).prop_map(|(shard, attempt, ok)| Move::Ack { shard, attempt, ok }),
        1 => (a::<bool>(), epoch).prop_map(|(manager, epoch)| Move::OwnerChanged { manager, epoch }),
        1 => Just(Move::Forget),
        1 => (a::<bool>(), a::<bool>()).prop_map(|(manager, up)| Move::Link { manager, up }),
        2 => a::<bool>().prop_map(|manager| Move::Accept { manager }),
        3 => Just(Move::Stored),
        3 => (1u64..30_000).prop_map(|ms| Move::Pass { ms }),
        1 => Just(Move::Restart),
    ]
}

/// What the executors do, as they see it.
#[derive(Default)]
struct Executors {
    running: BTreeSet<RunId>,
    started: BTreeSet<RunId>,
    /// Ended runs whose results the worker has to keep.
    owed: BTreeMap<RunId, bool>,
}

impl Executors {
    fn pick(&self, pick: usize) -> Option<RunId> {
        self.running.iter().nth(pick % self.running.len().max(1)).copied()
    }
}

fn play(stage: &mut Stage, chosen: &Move, executors: &mut Executors) {
    let who = |manager: bool| if manager { M1 } else { M2 };
    match *chosen {
        Move::Reserve { manager, shard, attempt, epoch, cores, boot } => {
            let at = if boot { stage.worker.boot } else { BootNo(1) };
            stage.reserve_with(who(manager), run(shard, attempt), epoch, |reserve| {
                reserve.boot = at;
                reserve.shard.cores = cores;
            });
        }
        Move::Start { manager, shard, attempt, epoch } => {
            stage.start(who(manager), run(shard, attempt), epoch)
        }
        Move::Stop { shard, attempt, epoch, kill } => {
            let mode = if kill { StopMode::Kill } else { StopMode::Graceful };
            stage.stop(M1, run(shard, attempt), epoch, mode);
        }
        Move::Started { pick } => {
            if let Some(run) = executors.pick(pick) {
                stage.exec(ExecEvent::Started { run, late: Duration::ZERO });
            }
        }
        Move::Progress { pick } => {
            if let Some(run) = executors.pick(pick) {
                stage.progress(run, 1, &[0, 1]);
            }
        }
        Move::Finish { pick, outcome } => {
            if let Some(run) = executors.pick(pick) {
                executors.running.remove(&run);
                executors.owed.insert(run, true);
                stage.finish(run, if outcome { Outcome::Completed } else { Outcome::Killed });
            }
        }
        Move::Ack { shard, attempt, ok } => {
            let run = run(shard, attempt);
            let stored = if ok { Ok(()) } else { Err(Fault::new(FaultCode::NotOwner, "").at(Some(M2))) };
            if ok {
                executors.owed.remove(&run);
            }
            stage.ack(M1, run, stored);
        }
        Move::OwnerChanged { manager, epoch } => {
            let owner = who(manager);
            stage.receive(owner, Message::OwnerChanged { job: A, dc_epoch: DcEpoch(epoch), owner });
        }
        Move::Forget => {
            executors.owed.clear();
            stage.receive(M1, Message::ForgetAtWorker { jobs: vec![A] });
        }
        Move::Link { manager, up: true } => stage.connect(who(manager)),
        Move::Link { manager, up: false } => stage.step(Event::Disconnected { peer: who(manager) }),
        Move::Accept { manager } => stage.accept(who(manager)),
        Move::Stored => stage.stored(),
        Move::Pass { ms } => {
            let now = stage.now.mono.as_nanos() / 1_000_000;
            stage.at(now + ms);
        }
        Move::Restart => unreachable!("the caller restarts"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// Whatever comes, in whatever order: an attempt starts at most once, over restarts too; two attempts of a shard
    /// never run at the same time; no core is promised twice; and a result is there until it is acknowledged.
    #[test]
    fn no_order_of_events_breaks_the_rules(moves in proptest::collection::vec(any_move(), 1..120)) {
        let mut stage = Stage::ready();
        let mut executors = Executors::default();
        // An attempt belongs to one start of the worker: managers assign another one after a restart.
        let mut ever: BTreeSet<(BootNo, RunId)> = BTreeSet::new();
        for chosen in &moves {
            if matches!(chosen, Move::Restart) {
                stage.stored();
                stage = stage.restart();
                executors.running.clear();
                executors.started.clear();
                for manager in [M1, M2] {
                    stage.connect(manager);
                    stage.accept(manager);
                }
            } else {
                play(&mut stage, chosen, &mut executors);
            }
            for line in core::mem::take(&mut stage.lines) {
                let Some(rest) = line.strip_prefix("exec start A/") else { continue };
                let (shard, rest) = rest.split_once('#').unwrap();
                let run = run(shard.parse().unwrap(), rest.split_once(' ').unwrap().0.parse().unwrap());
                prop_assert!(executors.started.insert(run), "{:?} started twice", run);
                prop_assert!(ever.insert((stage.worker.boot, run)));
                prop_assert!(
                    executors.running.iter().all(|other| other.shard != run.shard),
                    "two attempts of a shard at the same time"
                );
                executors.running.insert(run);
            }
            for run in executors.owed.keys() {
                let kept = stage.worker.shard(run.shard).is_some_and(|shard| shard.results.contains_key(&run.attempt));
                let doomed = stage.worker.jobs.get(&A).is_none_or(|job| job.forgotten);
                prop_assert!(kept || doomed, "the result of {:?} is gone", run);
            }
            executors.owed.retain(|run, _| stage.worker.shard(run.shard).is_some_and(|shard| shard.results.contains_key(&run.attempt)));
        }
    }
}
