//! Which registrations count.

use std::vec::Vec;

use super::bench::*;
use super::faults::{held, lost};
use super::lifecycle::running_sleep;
use crate::Event;
use crate::id::{BootNo, DiskId};
use crate::jobs::ExecutorKind;
use crate::observe::{Observation, Stale};
use crate::wire::{Message, RunPhase};

/// A driver that delivers again what it holds for lost may do so to the next process of a manager.
#[test]
fn a_registration_for_the_process_before_says_nothing_of_now() {
    let mut bench = running_sleep().restart();
    bench.event(Event::Connected { peer: W1, boot: BootNo(1), dialect: crate::wire::Dialect::OURS });
    bench.from(W1, registration(1, BootNo(1)));
    assert!(bench.saw(Observation::Ignored(Stale::Fence)));
    assert_eq!(bench.sent(), []);
    bench.register_boot(W1, 4, 1, &[held(0, RunPhase::Running)]);
    bench.pass(1_000);
    assert!(!bench.saw(lost(0, 1)), "it holds its run");
}

#[test]
fn a_registration_older_than_a_heartbeat_says_nothing_of_now() {
    let mut bench = running_sleep();
    let process = bench.manager.boot;
    bench.heartbeat(W1, 3, &[held(0, RunPhase::Running)]);
    bench.from(W1, registration(1, process));
    assert!(bench.saw(Observation::Ignored(Stale::Sequence)));
    bench.pass(1_000);
    assert!(!bench.saw(lost(0, 1)), "it holds its run");
}

/// A worker in a container begins with an empty disk each time, and counts its starts from one.
#[test]
fn a_worker_with_an_empty_disk_is_a_new_one() {
    let mut bench = running_sleep();
    let process = bench.manager.boot;
    bench.heartbeat(W1, 3, &[held(0, RunPhase::Running)]);
    let mut registration = registration(1, process);
    if let Message::RegisterWorker { disk, .. } = &mut registration {
        *disk = DiskId([2; 16]);
    }
    bench.from(W1, registration);
    assert!(bench.saw(Observation::WorkerRegistered(W1)));
    assert!(bench.saw(lost(0, 1)), "the run was the former disk's");
}

/// A connection that is up anew may bring what was said on the one before.
#[test]
fn an_old_registration_of_the_same_process_loses_nothing_at_a_new_manager() {
    let mut bench = running_sleep().restart();
    bench.register_boot(W1, 4, 1, &[]);
    assert!(!bench.saw(lost(0, 1)), "what it holds it says when it is asked");
    let held = Ok([held(0, RunPhase::Running)].to_vec());
    bench.from(W1, Message::OwnerChangedReply { job: JOB, dc_epoch: EPOCH, held });
    assert!(!bench.saw(lost(0, 1)));
}

/// A registration of a worker that holds nothing.
fn registration(version: u64, manager: BootNo) -> Message {
    let (executors, disk) = ([ExecutorKind::Sleep].to_vec(), DiskId([1; 16]));
    Message::RegisterWorker { boot: BootNo(1), cores: 4, executors, held: Vec::new(), version, manager, disk }
}
