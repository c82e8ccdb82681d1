//! Loaded workers: who gets new shards, and what is said of them.

use std::vec::Vec;

use super::bench::*;
use crate::fault::FaultCode;
use crate::guard::Condition;
use crate::id::NodeId;
use crate::jobs::{ExecutorKind, OnWorkerLoss};
use crate::manager::{Alert, Crowd};
use crate::observe::Observation;
use crate::wire::{Capacity, DcLoad, Message};

fn naps(instances: u16) -> crate::jobs::JobSpec {
    job([workflow("nap", ExecutorKind::Sleep, sleeps(instances), &[])].to_vec(), OnWorkerLoss::Replace)
}

fn hits(users_in_all: u32) -> crate::jobs::JobSpec {
    job([workflow("hit", ExecutorKind::Http, users(users_in_all), &[])].to_vec(), OnWorkerLoss::Replace)
}

/// Where the shards of a job go on two workers of these cores and loads.
fn placed(spec: &crate::jobs::JobSpec, first: (u16, Condition), second: (u16, Condition)) -> Vec<NodeId> {
    let mut bench = Bench::new();
    for (worker, (cores, condition)) in [(W1, first), (W2, second)] {
        bench.register(worker, cores);
        bench.loaded(worker, cores, condition);
    }
    bench.dispatch(spec, 0, 1);
    let mut workers: Vec<NodeId> = bench.reserve_all().iter().map(|(worker, _)| *worker).collect();
    workers.sort();
    workers
}

#[test]
fn a_loaded_worker_is_filled_after_the_others() {
    use Condition::*;
    for (loaded, other) in [(Busy, Healthy), (Stressed, Healthy), (Stressed, Busy)] {
        // However many cores it has.
        let eight = placed(&naps(8), (16, loaded), (8, other));
        assert_eq!(eight, [W2; 8], "{loaded:?} and {other:?}");
        let ten = placed(&naps(10), (16, loaded), (8, other));
        assert_eq!(ten, [[W1; 2].as_slice(), &[W2; 8]].concat(), "{loaded:?} and {other:?}");
    }
}

#[test]
fn an_overloaded_worker_gets_nothing_and_is_not_missing() {
    let mut bench = Bench::new();
    bench.register(W1, 8);
    bench.loaded(W1, 8, Condition::Overloaded);
    bench.pass(60_000);
    bench.loaded(W1, 8, Condition::Overloaded);
    // "Never" would be wrong: it is only overloaded.
    for _ in 0..2 {
        bench.from(GATE, Bench::dispatch_message(&naps(1), 0, 1));
        let refused = bench.sent().into_iter().find_map(|(_, message)| match message {
            Message::DispatchReply { reply: Err(fault), .. } => Some(fault.code),
            _ => None,
        });
        assert_eq!(refused, Some(FaultCode::NoCapacity));
    }
    assert!(!bench.saw(Observation::WorkerLost(W1)));
    bench.loaded(W1, 8, Condition::Stressed);
    bench.dispatch(&naps(1), 0, 1);
    assert_eq!(bench.reserve_all().len(), 1);
}

#[test]
fn a_load_test_takes_every_worker_that_is_not_overloaded() {
    use Condition::*;
    assert_eq!(placed(&hits(10), (8, Busy), (8, Healthy)), [W1, W2]);
    assert_eq!(placed(&hits(10), (8, Stressed), (8, Healthy)), [W1, W2]);
    assert_eq!(placed(&hits(10), (8, Overloaded), (8, Busy)), [W2]);
    assert_eq!(placed(&hits(10), (8, Stressed), (8, Overloaded)), [W1]);
}

/// The newest word to the gates.
fn told(bench: &mut Bench) -> DcLoad {
    bench.pass(5_000);
    let heartbeat = |(_, message): (NodeId, Message)| match message {
        Message::DcHeartbeat(load) => Some(load),
        _ => None,
    };
    bench.all_sent().into_iter().filter_map(heartbeat).next_back().expect("a heartbeat every 5 s")
}

#[test]
fn gates_hear_how_loaded_the_workers_are_and_of_trouble_once() {
    use Condition::*;
    let mut bench = Bench::new();
    let worker = |no: u8| NodeId([no; 16]);
    let loads = [Healthy, Healthy, Healthy, Healthy, Healthy, Busy, Busy, Stressed, Stressed, Overloaded];
    for (no, load) in (1..).zip(loads) {
        bench.register(worker(no), 4);
        bench.loaded(worker(no), 4, load);
    }
    let load = told(&mut bench);
    assert_eq!(load.conditions, [5, 2, 2, 1]);
    assert_eq!(load.capacity, Capacity { total_cores: 40, free_cores: 36, workers: 10 });
    let alert = |alert, nodes| Observation::Alert { of: Crowd::Workers, alert, nodes, all: 10 };
    let said = |bench: &Bench| bench.seen.iter().filter(|it| matches!(it, Observation::Alert { .. })).count();
    assert_eq!(said(&bench), 0);

    for no in 6..10 {
        bench.loaded(worker(no), 4, Overloaded);
        bench.loaded(worker(no), 4, Overloaded);
    }
    assert!(bench.saw(alert(Alert::ManyOverloaded, 5)));
    for no in 6..11 {
        bench.loaded(worker(no), 4, Busy);
    }
    assert!(bench.saw(Observation::AlertOver { of: Crowd::Workers, alert: Alert::ManyOverloaded }));
    for no in 3..6 {
        bench.loaded(worker(no), 4, Stressed);
    }
    assert!(bench.saw(alert(Alert::FewHealthy, 8)));
    assert_eq!(said(&bench), 2);
}
