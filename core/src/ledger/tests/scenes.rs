//! One fault at a time in a calm world: what each mechanism is there for.

use super::state::{Numbers, boot, voter};
use super::world::{MS, World};
use crate::effect::{Effect, Effects, HaltReason};
use crate::id::{BootNo, DiskId};
use crate::ledger::{Ledger, LogBody, LogMessage};
use crate::store::Store;
use crate::time::{Instant, Now};

/// A calm world that has a leader, and who that is.
fn settled(seed: u64, voters: usize) -> (World, usize) {
    let mut world = World::calm(seed, voters);
    world.run(3_000 * MS);
    let leader = world.leader().expect("a calm world has a leader");
    (world, leader)
}

#[test]
fn a_voter_that_was_cut_off_disturbs_nobody() {
    for seed in 0..10 {
        let (mut world, leader) = settled(seed, 3);
        let term = world.ledger(leader).term();
        world.isolate((leader + 1) % 3);
        world.run(8_000 * MS);
        world.cut.clear();
        world.run(12_000 * MS);
        assert_eq!(world.ledger((leader + 1) % 3).term(), term, "seed {seed}");
        assert_eq!(world.leader(), Some(leader), "seed {seed}");
    }
}

#[test]
fn a_leader_that_nobody_answers_steps_down() {
    for seed in 0..10 {
        let (mut world, leader) = settled(seed, 5);
        world.cut.extend((0..5).map(|other| (other, leader)));
        world.run(6_000 * MS);
        assert!(!world.ledger(leader).is_leader(), "it is heard, but hears nobody, seed {seed}");
        assert_ne!(world.leader(), None, "seed {seed}");
    }
}

#[test]
fn a_leader_whose_disk_hangs_loses_office_though_it_seems_alive() {
    for seed in 0..10 {
        let (mut world, leader) = settled(seed, 3);
        world.machines[leader].disk_free_at = 60_000 * MS;
        world.run(8_000 * MS);
        assert!(!world.ledger(leader).is_leader(), "seed {seed}");
        assert_ne!(world.leader(), None, "seed {seed}");
    }
}

#[test]
fn a_leader_that_leaves_hands_over_at_once() {
    for seed in 0..10 {
        let (mut world, leader) = settled(seed, 3);
        world.step(leader, |process, now, out| {
            process.ledger.release_lease(now, &mut process.store, out);
        });
        world.run(world.now + 1_000 * MS);
        let heir = world.leader().expect("the old one goes on until it is replaced");
        assert_ne!(heir, leader, "seed {seed}");
        assert!(!world.ledger(heir).holders().any(|holder| holder == voter(leader)), "seed {seed}");
    }
}

#[test]
fn a_voter_that_lags_gets_the_state_while_it_changes() {
    for seed in 0..5 {
        let (mut world, leader) = settled(seed, 3);
        let late = (leader + 1) % 3;
        world.isolate(late);
        world.pause = 3 * MS;
        world.run(6_000 * MS);
        world.cut.clear();
        world.delay = 120;
        let images = world.reached.images;
        world.run(20_000 * MS);
        assert!(world.reached.images > images, "seed {seed}");
        let behind = world.ledger(leader).applied() - world.ledger(late).applied();
        assert!(behind < 500, "{behind} entries behind, seed {seed}");
    }
}

#[test]
fn a_group_that_cannot_be_is_refused() {
    let new = |voters: &[usize], allow_two_voters| {
        let mut boot = boot(0, 1, 0);
        boot.config.allow_two_voters = allow_two_voters;
        let voters = voters.iter().map(|n| voter(*n)).collect();
        Ledger::new(&boot, voters, Numbers::default()).map(|_| ())
    };
    assert_eq!(new(&[0, 1], false), Err(HaltReason::BadVoters), "the loss of either would stop it");
    assert_eq!(new(&[0, 1], true), Ok(()));
    assert_eq!(new(&[1, 2, 3], false), Err(HaltReason::BadVoters), "this node is no voter");
    assert_eq!(new(&[], false), Err(HaltReason::BadVoters));
    assert_eq!(new(&[0], false), Ok(()));
}

/// What voter 1 does with a message of voter 0 that claims this boot and disk.
fn answer(world: &mut World, boot: u32, disk: u8) -> Effects {
    let mut answer = Effects::new();
    world.step(1, |process, now, _| {
        let message = LogMessage {
            boot: BootNo(boot),
            disk: DiskId([disk; 16]),
            body: LogBody::Propose { proposals: alloc::vec![] },
        };
        let mut store = Store::default();
        process.ledger.receive(now, voter(0), message, &mut store, &mut answer);
    });
    answer
}

#[test]
fn an_old_disk_is_told_so_and_halts() {
    let (mut world, _) = settled(1, 3);
    world.crash(0);
    world.start(0);
    world.run(6_000 * MS);
    let told = |effects: &Effects| {
        let refusal = |effect: &Effect| match effect {
            Effect::Send { to, message } if *to == voter(0) => match &**message {
                crate::wire::Message::Log(message) => matches!(message.body, LogBody::OldDisk { .. }),
                _ => false,
            },
            _ => false,
        };
        effects.iter().any(refusal)
    };
    assert!(!told(&answer(&mut world, 2, 0)), "as the log knows it");
    assert!(!told(&answer(&mut world, 3, 0)), "a later boot");
    assert!(told(&answer(&mut world, 1, 0)), "an earlier boot: an old image of the disk");
    assert!(told(&answer(&mut world, 2, 9)), "another disk");

    let mut store = Store::default();
    let mut out = Effects::new();
    let now = Now { mono: Instant::from_nanos(1), ..Now::default() };
    let voters = (0..3).map(voter).collect();
    let mut old = Ledger::new(&boot(0, 1, 0), voters, Numbers::default()).expect("it does not know yet");
    old.start(now, &mut store, &mut out);
    let refusal = |boot| LogMessage {
        boot: BootNo(1),
        disk: DiskId([1; 16]),
        body: LogBody::OldDisk { boot: BootNo(boot), disk: DiskId([0; 16]) },
    };
    old.receive(now, voter(1), refusal(1), &mut store, &mut out);
    assert_eq!(old.settle(&mut store, &mut out).halt, None, "a refusal of an earlier start is late");
    old.receive(now, voter(1), refusal(2), &mut store, &mut out);
    out.clear();
    assert_eq!(old.settle(&mut store, &mut out).halt, Some(HaltReason::OldDisk));
    store.end_with(Effect::Halt(HaltReason::OldDisk), &mut out);
    let [Effect::Store { writes, token }] = &out[..] else { panic!("it halts once it is written: {out:?}") };
    let rows = writes.iter().map(|write| (write.key.clone(), write.value.clone().expect("a row"))).collect();
    // Later starts of this disk would have a number that nobody knows.
    let later = crate::Boot { rows, ..boot(0, 5, 0) };
    let voters = (0..3).map(voter).collect();
    assert_eq!(Ledger::new(&later, voters, Numbers::default()).err(), Some(HaltReason::OldDisk));
    let (mut ends, token) = (Effects::new(), *token);
    assert!(store.stored(token, &mut ends));
    assert!(ends.iter().any(|effect| matches!(effect, Effect::Halt(HaltReason::OldDisk))), "{ends:?}");
}
