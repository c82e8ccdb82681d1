//! What a group of machines must do under faults.

use super::world::World;
use super::*;

const SEEDS: u64 = 8;

/// Periods within which everyone knows of a crash: the longest way of the round-robin to a first prober, the longest
/// suspicion of the group, and the time that a rumour needs (all of them seconds here).
fn crash_bound_ms(members: u64) -> u64 {
    let log10 = libm::log10(members as f64).max(1.0);
    let longest = 5.0 * 6.0 * log10;
    let spread = 2.0 * f64::from(gossip::sends_max(3.0, members as usize)) + 2.0;
    (1_000.0 * (2.0 * members as f64 - 1.0 + longest + spread)) as u64
}

fn groups(seed: u64) -> impl Iterator<Item = World> {
    [3, 8, 32].into_iter().map(move |n| World::gates(seed, n)).chain(
        [(1, 1), (1, 4), (3, 29)].map(|(managers, workers)| World::datacenter(seed, managers, workers)),
    )
}

fn settled(mut world: World) -> World {
    world.start_all(10_000);
    world.run_for(40_000);
    assert!(world.converged(), "{:?}", world.strays());
    world
}

#[test]
fn a_group_finds_itself_without_a_false_word() {
    for seed in 0..SEEDS {
        for world in groups(seed) {
            let world = settled(world);
            assert_eq!(world.count_all(MemberStatus::Suspect), 0, "seed {seed} n {}", world.len());
            assert_eq!(world.count_all(MemberStatus::Dead), 0, "seed {seed} n {}", world.len());
        }
    }
}

#[test]
fn a_crash_is_found_by_all() {
    for seed in 0..SEEDS {
        for world in groups(seed) {
            let mut world = settled(world);
            let victim = (seed as usize) % world.len();
            world.crash(victim);
            world.run_for(crash_bound_ms(world.len() as u64));
            for (observer, subject, status) in world.beliefs() {
                let rumour = status == Some(MemberStatus::Unconfirmed);
                assert!(
                    subject != victim || status == Some(MemberStatus::Dead) || rumour,
                    "seed {seed} n {}: {observer} holds {victim} {status:?}",
                    world.len(),
                );
            }
            assert!(world.converged(), "{:?}", world.strays());
            assert!(world.count(victim, MemberStatus::Dead) >= 1);
            let others = (0..world.len()).filter(|node| *node != victim);
            assert_eq!(others.map(|node| world.count(node, MemberStatus::Dead)).sum::<usize>(), 0);
        }
    }
}

#[test]
fn loss_alone_kills_nobody() {
    for seed in 0..SEEDS {
        for mut world in groups(seed) {
            world.loss_permille = 100;
            world.start_all(10_000);
            world.run_for(300_000);
            assert_eq!(world.count_all(MemberStatus::Dead), 0, "seed {seed} n {}", world.len());
            world.loss_permille = 0;
            world.run_for(60_000);
            assert!(world.converged(), "seed {seed} n {}: {:?}", world.len(), world.strays());
        }
    }
}

#[test]
fn a_link_that_is_cut_one_way_kills_nobody() {
    for seed in 0..SEEDS {
        for n in [3, 8, 32] {
            let mut world = settled(World::gates(seed, n));
            world.cut.insert((0, 1));
            world.run_for(120_000);
            assert_eq!(world.count_all(MemberStatus::Dead), 0, "seed {seed} n {n}");
            world.cut.clear();
            world.run_for(40_000);
            assert!(world.converged(), "seed {seed} n {n}: {:?}", world.strays());
        }
    }
}

#[test]
fn a_node_that_nobody_hears_is_dead_and_comes_back() {
    for seed in 0..SEEDS {
        for n in [3, 8, 32] {
            let mut world = settled(World::gates(seed, n));
            (1..n.into()).for_each(|other| {
                world.cut.insert((0, other));
            });
            world.run_for(crash_bound_ms(n.into()));
            let held: Vec<_> = world.beliefs().filter(|(_, subject, _)| *subject == 0).collect();
            assert!(held.iter().all(|(_, _, status)| *status == Some(MemberStatus::Dead)), "{held:?}");
            world.cut.clear();
            world.run_for(120_000);
            assert!(world.converged(), "seed {seed} n {n}: {:?}", world.strays());
        }
    }
}

#[test]
fn whoever_is_cut_off_buries_nobody_for_long() {
    for seed in 0..SEEDS {
        let mut world = settled(World::gates(seed, 8));
        let before = world.history.len();
        world.partition(&[0]);
        // Longer than the longest suspicion of the group, 30 s, and less than twice that.
        world.run_for(50_000);
        let buried = |world: &World| {
            world.history[before..].iter().filter(|it| it.1 == 0 && it.3 == MemberStatus::Dead).count()
        };
        assert_eq!(buried(&world), 0, "seed {seed}: it may be the one that is cut off");
        assert!(world.count(0, MemberStatus::Dead) > 0, "seed {seed}: the others conclude");
        // But all others may really be dead: in the end it concludes as well. Its rounds are nine periods long by then.
        world.run_for(120_000);
        assert_eq!(buried(&world), 7, "seed {seed}");
    }
}

#[test]
fn whoever_reaches_one_other_only_buries_nobody() {
    for seed in 0..SEEDS {
        for n in [8, 16] {
            let mut world = settled(World::gates(seed, n));
            for other in 2..n.into() {
                world.cut.extend([(0, other), (other, 0)]);
            }
            world.run_for(300_000);
            let of_others = world.history.iter().filter(|it| it.2 != id(1) && it.3 == MemberStatus::Dead);
            assert_eq!(of_others.collect::<Vec<_>>(), Vec::<&_>::new(), "seed {seed} n {n}");
        }
    }
}

#[test]
fn a_restart_is_a_new_life() {
    for seed in 0..SEEDS {
        for world in groups(seed) {
            let mut world = settled(world);
            let victim = (seed as usize + 1) % world.len();
            for down_ms in [1_500, crash_bound_ms(world.len() as u64)] {
                world.crash(victim);
                world.run_for(down_ms);
                world.start(victim);
                world.run_for(60_000);
                assert!(world.converged(), "seed {seed} n {} {:?}", world.len(), world.strays());
            }
            let node = id(victim as u8 + 1);
            let observer = (victim + 1) % world.len();
            let seen =
                world.swim(observer).members().find(|member| member.node == node).expect("it is known");
            let workers = seen.status == MemberStatus::Unconfirmed;
            assert!(workers || seen.boot == BootNo(3), "{seen:?}");
        }
    }
}

#[test]
fn a_partition_heals_without_help() {
    for seed in 0..SEEDS {
        for world in groups(seed) {
            let mut world = settled(world);
            let side: Vec<usize> = (0..world.len()).filter(|node| node % 2 == 0).collect();
            world.partition(&side);
            world.run_for(2 * crash_bound_ms(world.len() as u64));
            assert!(world.count_all(MemberStatus::Dead) > 0, "the partition was felt");
            world.cut.clear();
            world.run_for(180_000);
            assert!(world.converged(), "seed {seed} n {}: {:?}", world.len(), world.strays());
        }
    }
}

/// Workers do not ask each other: where one manager asks alone, there is no second witness to wait for.
#[test]
fn a_lone_manager_waits_for_no_second_witness() {
    for seed in 0..SEEDS {
        let mut world = settled(World::datacenter(seed, 1, 3));
        world.crash(1);
        world.crash(2);
        // Three rounds of up to nine periods, and the shortest suspicion.
        world.run_for(32_000);
        let held =
            world.beliefs().filter(|(observer, subject, _)| *observer == 0 && [1, 2].contains(subject));
        assert!(held.into_iter().all(|(_, _, status)| status == Some(MemberStatus::Dead)), "seed {seed}");
    }
}

/// A lone manager is configured with none but itself: when it comes back from a leave, the workers must ask it.
#[test]
fn a_configured_member_that_left_is_asked_again() {
    for seed in 0..SEEDS {
        let mut world = settled(World::datacenter(seed, 1, 2));
        world.leave(0);
        world.run_for(3_000);
        assert_eq!(world.count(0, MemberStatus::Left), 2, "seed {seed}");
        world.crash(0);
        world.run_for(20_000);
        world.start(0);
        world.run_for(60_000);
        assert!(world.converged(), "seed {seed}: {:?}", world.strays());
    }
}

#[test]
fn whoever_leaves_is_not_mourned() {
    for seed in 0..SEEDS {
        for world in groups(seed) {
            let mut world = settled(world);
            let leaver = world.len() - 1;
            world.leave(leaver);
            world.run_for(2_000);
            world.crash(leaver);
            world.run_for(crash_bound_ms(world.len() as u64));
            assert_eq!(world.count(leaver, MemberStatus::Dead), 0, "seed {seed} n {}", world.len());
            assert!(world.count(leaver, MemberStatus::Left) >= 1);
            world.start(leaver);
            world.run_for(60_000);
            assert!(world.converged(), "seed {seed} n {}: {:?}", world.len(), world.strays());
        }
    }
}

#[test]
fn equal_seeds_send_equal_bytes() {
    let run = |seed| {
        let mut world = World::gates(seed, 8);
        world.loss_permille = 50;
        world.start_all(5_000);
        world.run_for(30_000);
        world.crash(3);
        world.run_for(60_000);
        world.digest()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

/// What makes a start through one member cheap: it tells everyone of everyone else, and nobody repeats that.
#[test]
fn who_joins_is_told_once() {
    for seed in 0..2 {
        let mut world = World::behind_one(seed, 200);
        world.start_all(1_000);
        while !world.listed() {
            world.run_for(100);
        }
        let pairs = 200 * 199;
        assert!(world.facts < 2 * pairs, "seed {seed}: {} facts for {pairs} pairs", world.facts);
        world.run_for(10_000);
        assert_eq!(world.count_all(MemberStatus::Suspect), 0);
    }
}
